"""Parsers of cells as people type them: ages, dates, sides, sizes, spacings. They raise ValueError."""

import re
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Any, Literal, TypeVar

from nephroscope.base.columns import CheckedRow, Column
from nephroscope.base.identifiers import clean_name, is_no_name
from nephroscope.base.tables import UNKNOWN, parse_number
from nephroscope.base.text import plain_words
from nephroscope.intake.phase.series import PHASES
from nephroscope.intake.phase.text import phase_of_text
from nephroscope.records import Sex
from nephroscope.records.cases import LARGEST_CM, OLDEST_YEARS

Parsed = TypeVar("Parsed")
Order = Literal["day-first", "month-first", "contradictory", "unsaid"]
Side = Literal["left", "right"]
SAME_SIZE_CM = 0.1  # as people round
AGE_CAP = 90  # a higher age may identify a person; clinical tables write >89 or 90+
EXCEL_DAY_0 = date(1899, 12, 30)
EXCEL_ERRORS = ("#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!")
YEARS = "y|yr|yrs|year|years|yo|y/o|y.o.|years old|j|j.|jahre|jahr|jr|a|ans|an|anos|ano|anni|anno|岁|歳|세"
MONTHS = "m|mo|mos|month|months|monate|monat|mois|meses|mesi|个月"
MONTH_NAMES = (
    *("jan gen ene", "feb fev", "mar maer mae mrz", "apr avr abr", "may mai mag", "jun juin giu"),
    *("jul juil lug", "aug aou ago", "sep set", "oct okt ott", "nov", "dec dez dic"),
)
SIDES: dict[Side, str] = {
    "left": "left l lt li links linke linker gauche g izquierda izquierdo izq sinistra sinistro sx 左 左侧",
    "right": "right r rt re rechts rechte rechter droite droit d derecha derecho der destra destro dx 右 右侧",
}
YES = ("yes", "y", "true", "1", "x", "ja", "j", "oui", "si", "vrai", "wahr", "是")
NO = ("no", "n", "false", "0", "nein", "non", "faux", "falsch", "否")


def parse_age(text: str) -> float | None:
    """Age in years from ``63``, ``63,5``, ``63 y``, ``63 Jahre``, ``063Y``, ``18 months``, ``>89`` or ``90+`` (90).

    None for 0 (as KiTS writes it) and for unknown.

    Raises:
        ValueError: It is none of these, or not a possible age.
    """
    word = plain_words(text)
    dicom = re.fullmatch(r"(\d{3})([dwmy])", word)
    if dicom:
        per_year = {"d": 365.25, "w": 52.18, "m": 12.0, "y": 1.0}[dicom[2]]
        return parse_number(str(round(int(dicom[1]) / per_year, 2)), -1, OLDEST_YEARS) or None
    unit = re.fullmatch(rf"([<>=≥]* ?\d[\d.,]* ?\+?) ?(?:({YEARS})|({MONTHS}))", word)
    number = unit[1].strip() if unit else word
    if re.fullmatch(r"(>|>=|≥) ?(89|90)|(89|90) ?\+", number):
        return float(AGE_CAP)
    if unit and unit[3]:
        months = parse_number(number, -1e-9, 12 * OLDEST_YEARS)
        return round(months / 12, 2) if months else None
    try:
        return parse_number(number, -1e-9, OLDEST_YEARS) or None
    except ValueError as error:
        raise ValueError(text) from error


def date_order(texts: Iterable[str]) -> Order:
    """Whether a column writes the day or the month first, judged by its dates with two slashes or hyphens."""
    firsts, seconds = set(), set()
    for text in texts:
        found = re.match(r"(\d{1,2})[/-](\d{1,2})[/-]\d{4}\b", text.strip())
        if found and found[1] != found[2]:
            firsts.add(int(found[1]) > 12)
            seconds.add(int(found[2]) > 12)
    if True in firsts and True in seconds:
        return "contradictory"
    if True in firsts:
        return "day-first"
    return "month-first" if True in seconds else "unsaid"


def parse_date(text: str, order: Order) -> date | None:
    """A day from ISO, ``19580312``, ``12.03.1958``, ``12/03/1958``, ``12 Mar 1958`` or Excel's day number.

    Args:
        text: With or without a time of day after it.
        order: Order of day and month in the column, from `date_order`.

    Raises:
        ValueError: It is none of these, does not exist, or day and month can be swapped. The message does not show
            the date, which may be a date of birth.
    """
    word = re.sub(r"[ t]\d{1,2}:\d\d.*$", "", plain_words(text))
    if word in UNKNOWN:
        return None
    for pattern in (
        r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})",
        r"(\d{4})(\d\d)(\d\d)",
        r"(\d{4})年(\d+)月(\d+)日?",
    ):
        found = re.fullmatch(pattern, word)
        if found:
            return _day(int(found[1]), int(found[2]), int(found[3]))
    found = re.fullmatch(r"(\d{1,2})\. ?(\d{1,2})\. ?(\d{4})", word)
    if found:
        return _day(int(found[3]), int(found[2]), int(found[1]))
    found = re.fullmatch(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4})", word)
    if found:
        return _slashed(int(found[1]), int(found[2]), int(found[3]), order)
    found = re.fullmatch(r"([1-7]\d{4})(\.\d+)?", word)
    if found:
        return EXCEL_DAY_0 + timedelta(days=int(found[1]))
    return _named_month(word)


def _slashed(first: int, second: int, year: int, order: Order) -> date:
    if order in ("contradictory", "unsaid") and first != second:
        raise ValueError("a day and a month that can be swapped")
    return _day(year, first, second) if order == "month-first" else _day(year, second, first)


def _named_month(word: str) -> date:
    parts = re.findall(r"\d+|[a-z]+", re.sub(r"(?<=\d)(st|nd|rd|th|er)\b", "", word))
    letters = [part for part in parts if part.isalpha() and part not in ("de", "of", "del")]
    digits = [part for part in parts if part.isdigit()]
    months = [
        n
        for n, stems in enumerate(MONTH_NAMES, start=1)
        if len(letters) == 1 and letters[0].startswith(tuple(stems.split()))
    ]
    if len(months) != 1 or len(digits) != 2 or len(digits[1]) != 4 or len(digits[0]) > 2:
        raise ValueError("not a readable date")
    return _day(int(digits[1]), months[0], int(digits[0]))


def _day(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise ValueError("no such day") from None


def years_between(birth: date, later: date) -> float:
    """Completed years; above 89 it is 90, as in clinical tables.

    Raises:
        ValueError: The dates do not give a possible age.
    """
    years = later.year - birth.year - ((later.month, later.day) < (birth.month, birth.day))
    if not 0 <= years <= OLDEST_YEARS:
        raise ValueError("dates that do not give an age")
    return float(min(years, AGE_CAP))


def parse_side(text: str) -> Side | None:
    """Left or right, if exactly one of them is named."""
    words = re.findall(r"\w+", plain_words(text))
    said = [side for side, spellings in SIDES.items() if set(words) & set(spellings.split())]
    return said[0] if len(said) == 1 else None


def parse_exclude(text: str) -> tuple[bool, str] | None:
    """(excluded?, reason in the user's words); None for an empty cell and for unknown (``-``, ``n/a``).

    Any text other than yes and no is a reason.
    """
    word = plain_words(text)
    if word in UNKNOWN:
        return None
    return (word not in NO, "" if word in YES + NO else text)


def parse_name(text: str) -> str:
    """A pseudonym; empty for ``NA``, ``nan``, ``-`` and the like, which are no names.

    Raises:
        ValueError: It is a long number that a spreadsheet has rounded, such as 1.23457E+16, or an error of Excel.
    """
    if text in EXCEL_ERRORS or re.fullmatch(r"\d([.,]\d+)?e\+\d+", text.lower()):
        raise ValueError(text)
    return "" if is_no_name(text) else clean_name(text)


def parse_phase(text: str) -> str | None:
    """One of `PHASES`, from its name or from words of a description (``portal venös``); None for unknown.

    Raises:
        ValueError: The words name no phase, or several.
    """
    word = plain_words(text)
    if word in UNKNOWN or word in PHASES:
        return None if word in UNKNOWN else word
    phase = phase_of_text(text).phase
    if phase == "unknown":
        raise ValueError(text)
    return phase


def parse_reason(text: str) -> str:
    """A reason as typed; empty for ``-``, ``n/a``, ``none``."""
    return "" if plain_words(text) in UNKNOWN else text


def parse_filled(text: str) -> str:
    """The text itself, which must not be empty."""
    if not text or text in EXCEL_ERRORS:
        raise ValueError(text)
    return text


def parse_size_cm(text: str) -> float | None:
    """Centimetres, with or without the unit; ``45 mm`` is 4.5. None for 0 and for unknown."""
    found = re.fullmatch(r"(.*\d) ?(mm|cm)", plain_words(text))
    if found and found[2] == "mm":
        return parse_size_mm(found[1])
    return parse_number(found[1] if found else text, -1e-9, LARGEST_CM) or None


def parse_size_mm(text: str) -> float | None:
    """Millimetres as centimetres."""
    number = parse_number(text.lower().removesuffix("mm").strip(), -1e-9, 10 * LARGEST_CM)
    return round(number / 10, 4) if number else None


def parse_mm(text: str) -> float | None:
    """Pixel spacing in mm."""
    return parse_number(text, 0, 100)


def parse_whole(text: str) -> int | None:
    """A whole number, 0 or more."""
    number = parse_number(text, -1, 10**9)
    if number is not None and not number.is_integer():
        raise ValueError(text)
    return None if number is None else int(number)


def parse_tumor_label(text: str) -> int | None:
    """A label of a label map, from 1 to 65535."""
    number = parse_whole(text)
    if number is not None and not 1 <= number <= 65535:
        raise ValueError(text)
    return number


def parse_yes(text: str) -> bool:
    """True for yes, False for no and for unknown."""
    word = text.lower()
    if word not in {"yes", "no", "true", "false", "1", "0"} | UNKNOWN:
        raise ValueError(text)
    return word in {"yes", "true", "1"}


def parse_spacing(text: str) -> tuple[float | None, float | None]:
    r"""Spacing of rows and columns from ``0.7``, ``0.7\0.7`` or ``[0.7, 0.7]``."""
    parts = [part for part in re.split(r"[\\\s\[\]();x]+|,\s+", text) if part]
    if len(parts) > 2:
        raise ValueError(text)
    row, col = (parts + parts + ["", ""])[:2]
    return parse_mm(row), parse_mm(col)


SEXES: dict[Sex, str] = {
    "M": "m male man männlich männl männl. mann homme masculin hombre masculino uomo maschio 男",
    "F": "f female woman w weiblich weibl weibl. frau femme féminin feminin mujer femenino donna femmina 女",
    "O": "o other d divers diverse transgender_male_to_female transgender_female_to_male",
}


def parse_sex(text: str) -> Sex | None:
    """M, F or O (DICOM Patient's Sex) from the usual spellings; None for unknown.

    Raises:
        ValueError: The spelling is not known.
    """
    word = text.lower().replace("-", "_").replace(" ", "_")
    if word in UNKNOWN or word == "u":
        return None
    for sex, spellings in SEXES.items():
        if word in spellings.split():
            return sex
    raise ValueError(text)


def sex_parser(texts: Iterable[str]) -> Callable[[str], Sex | None]:
    """Parser for the sex in a column: ``H`` is *homme* or *hombre* if no ``M`` is there, which may be *mujer*."""
    words = {text.strip().casefold() for text in texts}
    if "h" not in words or "m" in words:
        return parse_sex
    return lambda text: "M" if text.casefold() == "h" else parse_sex(text)


def lenient(parse: Callable[[str], Parsed | None], text: object) -> Parsed | None:
    """A value that helps when it can be read, and does no harm when not."""
    try:
        return parse(str(text or ""))
    except ValueError:
        return None


def one_size(row: CheckedRow, in_cm: Column[Any], in_mm: Column[Any]) -> float | None:
    """The size in cm of a row with a column in cm, in mm, or both; two that differ are noted as a mistake."""
    cm: float | None = row.value(in_cm)
    of_mm: float | None = row.value(in_mm)
    if cm and of_mm and abs(cm - of_mm) > SAME_SIZE_CM:
        row.wrong(in_mm, f"the size of the other column, {10 * cm:g} mm")
    return cm or of_mm

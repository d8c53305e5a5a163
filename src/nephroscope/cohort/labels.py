"""A label table in, one row per image or per case, with columns found by their usual names."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nephroscope.cohort.manifest import LARGEST_CM, OLDEST_YEARS, parse_cohort_word
from nephroscope.cohort.tables import UNKNOWN, Mistakes, parse_number, parse_sex, read_table
from nephroscope.errors import CohortError
from nephroscope.records import DEVELOPMENT, Sex

# Compared without case, space, underscore and hyphen; where a table has several, the first named here is taken.
COLUMN_NAMES = {
    "file": "file filename image imagefile",
    "case_id": "caseid case",
    "patient_id": "patientid patient pid",
    "subtype": "subtype histology label diagnosis class tumorhistologicsubtype",
    "sex": "sex gender",
    "age_years": "ageyears age ageatnephrectomy",
    "size_cm": "sizecm size radiographicsizecm radiographicsize",
    "phase": "phase contrastphase",
    "site_id": "siteid site",
    "cohort": "cohort",
    "slice_index": "sliceindex slice",
    "spacing": "spacingxy spacing pixelspacing",
    "row_mm": "rowmm",
    "col_mm": "colmm columnmm",
    "synthetic": "synthetic",
}

SYNONYMS = (
    "papillary papillaryrcc prcc papillaryrenalcellcarcinoma",
    "chromophobe chromophobercc chrcc chromophoberenalcellcarcinoma",
    "clearcell clearcellrcc ccrcc clearcellrenalcellcarcinoma",
    "clearcellpapillary clearcellpapillaryrcc ccprcc clearcellpapillaryrenalcellcarcinoma",
    "oncocytoma renaloncocytoma",
    "angiomyolipoma aml renalangiomyolipoma",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One row of a label table, or what a file name says.

    Attributes:
        row: As a spreadsheet counts it; 0 when it comes from a file name.
        subtype: As typed.
        row_mm: Distance between rows; ``col_mm`` between columns.
    """

    row: int
    case_id: str
    subtype: str
    file: str | None = None
    patient_id: str | None = None
    sex: Sex | None = None
    age_years: float | None = None
    size_cm: float | None = None
    phase: str = "unknown"
    site_id: str = "site-1"
    cohort: str = DEVELOPMENT
    slice_index: int | None = None
    row_mm: float | None = None
    col_mm: float | None = None
    synthetic: bool = False


def read_labels(path: Path) -> list[LabelRow]:
    """All rows of a label table.

    Age 0 means unknown (KiTS writes it so) and ``>89`` or ``90+`` mean 90.

    Raises:
        CohortError: There is no such table, no column for the case or the subtype, two columns for one thing,
            or cells that cannot be understood, each named by row and column.
    """
    header, rows = read_table(path)
    where = _columns(path, header)
    mistakes = Mistakes(path.name)
    labels = [_label_row(n, row, where, header, mistakes) for n, row in rows]
    mistakes.refuse()
    if not labels:
        raise CohortError(
            where=path.name,
            expected="at least one row below the header",
            found="none",
            remedy="fill the table",
        )
    return [label for label in labels if label]


def match_subtype(text: str, subtypes: tuple[str, ...]) -> str | None:
    """The study's subtype that ``text`` means, or None: it is another one.

    Case, space, underscore and hyphen do not matter, and `SYNONYMS` are told; parts of words never match, so that
    clear cell papillary is neither papillary nor clear cell.
    """
    key = _plain(text)
    group = next((words.split() for words in SYNONYMS if key in words.split()), [key])
    exact = [subtype for subtype in subtypes if _plain(subtype) == key]
    return next(iter(exact + [subtype for subtype in subtypes if _plain(subtype) in group]), None)


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]", "", text).lower()


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    """Position of each column the table has."""
    where: dict[str, int] = {}
    for name, spellings in COLUMN_NAMES.items():
        order = spellings.split()
        found = [i for i, column in enumerate(header) if _plain(column) in order]
        if found:
            where[name] = min(found, key=lambda i: order.index(_plain(header[i])))
        if len({_plain(header[i]) for i in found}) < len(found):
            raise CohortError(
                where=path.name,
                expected=f"one column for the {name}",
                found=" and ".join(header[i] for i in found),
                remedy="rename or remove all but one",
            )
    if "subtype" not in where or not {"case_id", "patient_id"} & where.keys():
        raise CohortError(
            where=path.name,
            expected="columns named case_id (or patient_id) and subtype (or histology, diagnosis)",
            found=", ".join(header),
            remedy="rename the columns in the header",
        )
    return where


def _label_row(
    n: int, row: list[str], where: dict[str, int], header: list[str], mistakes: Mistakes
) -> LabelRow | None:
    """The label of one row, or None after noting what is wrong in it."""
    n_before = len(mistakes.found)

    def cell(name: str, parse: Callable[[str], Any], expected: str) -> Any:
        text = row[where[name]] if name in where else ""
        try:
            return parse(text)
        except ValueError:
            mistakes.add(n, header[where[name]], expected, repr(text) if text else "nothing")

    spacing = cell("spacing", _spacing, "one or two numbers of millimetres") or (None, None)
    case_id = cell("case_id", str, "a name") or cell("patient_id", str, "a name")
    if not case_id:
        mistakes.add(n, "case_id", "a name", "nothing")
    label = LabelRow(
        row=n,
        case_id=case_id,
        subtype=cell("subtype", _filled, "a subtype"),
        file=cell("file", str, "a file") or None,
        patient_id=cell("patient_id", str, "a name") or None,
        sex=cell("sex", parse_sex, "male, female, other or nothing"),
        age_years=cell("age_years", parse_age, f"years up to {OLDEST_YEARS}"),
        size_cm=cell("size_cm", _size, f"centimetres up to {LARGEST_CM}"),
        phase=cell("phase", str, "a phase") or "unknown",
        site_id=cell("site_id", str, "a site") or "site-1",
        cohort=cell("cohort", parse_cohort_word, "development, internal-test or external-test:NAME"),
        slice_index=cell("slice_index", _whole, "a whole number"),
        row_mm=cell("row_mm", _mm, "millimetres") or spacing[0],
        col_mm=cell("col_mm", _mm, "millimetres") or spacing[1],
        synthetic=cell("synthetic", _yes, "yes or no"),
    )
    return label if len(mistakes.found) == n_before else None


def parse_age(text: str) -> float | None:
    """Age in years: a number, ``>89`` or ``90+`` (90), or DICOM's ``063Y``; None for 0 and what is not known.

    Raises:
        ValueError: It is none of these, or nobody's age.
    """
    text = text.strip()
    dicom = re.fullmatch(r"(\d{3})([DWMY])", text)
    if dicom:
        per_year = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[dicom[2]]
        return parse_number(str(round(int(dicom[1]) / per_year, 2)), -1, OLDEST_YEARS) or None
    if re.fullmatch(r"(>|>=|≥) ?(89|90)|(89|90) ?\+", text):
        return 90.0
    return parse_number(text, -1e-9, OLDEST_YEARS) or None


def _filled(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _size(text: str) -> float | None:
    return parse_number(text, -1e-9, LARGEST_CM) or None


def _mm(text: str) -> float | None:
    return parse_number(text, 0, 100)


def _whole(text: str) -> int | None:
    number = parse_number(text, -1, 10**9)
    if number is not None and not number.is_integer():
        raise ValueError(text)
    return None if number is None else int(number)


def _yes(text: str) -> bool:
    word = text.lower()
    if word not in {"yes", "no", "true", "false", "1", "0"} | UNKNOWN:
        raise ValueError(text)
    return word in {"yes", "true", "1"}


def _spacing(text: str) -> tuple[float | None, float | None]:
    r"""Spacing of rows and columns from ``0.7``, ``0.7\0.7`` or ``[0.7, 0.7]``."""
    parts = [part for part in re.split(r"[\\\s\[\]();x]+|,\s+", text) if part]
    if len(parts) > 2:
        raise ValueError(text)
    row, col = (parts + parts + ["", ""])[:2]
    return _mm(row), _mm(col)

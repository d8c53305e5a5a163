"""Copy a label table with pseudonyms; only columns that the import knows and needs are kept."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.errors import CohortError
from nephroscope.base.sheet import RawTable
from nephroscope.base.tables import save_table
from nephroscope.base.text import without_accents
from nephroscope.intake.deidentify.pseudonyms import OLDEST_YEARS, Secrets
from nephroscope.intake.deidentify.verify import joined_names, name_words
from nephroscope.intake.labels.columns import open_labels, usual_name
from nephroscope.intake.labels.pathology import default_table, squeezed, words_of
from nephroscope.intake.labels.values import (
    parse_age,
    parse_sex,
    parse_side,
    parse_size_cm,
    parse_size_mm,
    parse_tumor_label,
)
from nephroscope.intake.safe_text import DEFINED_TERMS, clean_text, is_known

IDS = ("patient_id", "case_id")
AGE_SEX = ("age_years", "sex")
_TEXTS = ("subtype", "subtype_reader2", "site_id", "cohort", "exclude", "exclusion_reason")
# Five digits in a row or a date in a typed text: it may be a record number or a day.
_NUMBERS = re.compile(r"\d{5}|\d+[./-]\d+[./-]\d{2}|[A-Za-z]\d{2}[-/]\d{3}")
_NAME_TITLE = re.compile(
    r"\b(sur|first|last|full|given|family|maiden|middle|nach|vor|geburts|familien|patienten|patient)?_?names?\b|nachname"
    r"|vorname|\bnom\b|prenom|apellido|nombre|cognome|\bnome\b|naam\b|imie|nazwisko|姓名|名前|氏名|患者名|이름|성명|имя|фамилия"
    r"|physician|doctor|\barzt|radiolog|reader|operator|befunder|medecin|medico"
)
_LIKE_A_NAME = re.compile(
    r"[^\W\d_a-z][^\W\d_]+[ ,^-]+ ?[^\W\d_a-z][^\W\d_]+([ ,^-]+[^\W\d_a-z][^\W\d_]*\.?)?"
)
_SHORTEST_INSIDE = 5  # letters of a name that is also searched inside a longer word
_ENDING = re.compile(r"([-_ .]?(left|right|l|r|li|re|[a-d]|\d{1,2}|t\d|tumou?r ?\d))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatedLabels:
    """What became of a label table: counts, and positions of the columns that were dropped."""

    file: str
    n_rows: int
    n_rows_without_images: int
    columns_dropped: tuple[str, ...]
    n_cells_emptied: int


def read_labels_to_translate(path: Path) -> RawTable:
    """The table, CSV or .xlsx, with a column that shows whose rows they are.

    Raises:
        CohortError: It cannot be read, or has neither ``patient_id`` nor ``case_id``.
    """
    table = open_labels(path)
    if not {usual_name(column) for column in table.header} & set(IDS):
        raise CohortError(
            where="--labels",
            expected="a column patient_id (DICOM's PatientID) or case_id",
            found=f"{len(table.header)} columns without one",
            remedy="add the column patient_id",
        )
    return table


def names_of(table: RawTable) -> frozenset[str]:
    """Words of the names in a table, in lower case, first and last also run together.

    They stand in columns whose title says so, and in columns that are dropped and of which half the cells look like a
    name (``Meier, Hans``).
    """
    found: set[str] = set()
    for column, title in enumerate(table.header):
        cells = [row[column] for _, row in table.rows if row[column]]
        named = bool(_NAME_TITLE.search(without_accents(title)))
        alike = not usual_name(title) and 2 * sum(map(bool, map(_LIKE_A_NAME.fullmatch, cells))) > len(cells)
        if named or alike:
            found.update(word for cell in cells for word in name_words(cell) | joined_names(_commaed(cell)))
    return frozenset(word for word in found - DEFINED_TERMS if not is_known(word))


def _commaed(name: str) -> str:
    """``Hans Meier`` as ``Hans, Meier``: run together, the order does not matter."""
    return name if "," in name or "^" in name else ",".join(name.split())


def translate_labels(
    table: RawTable,
    path: Path,
    secrets: Secrets,
    pseudonyms: Mapping[str, str],
    words: Collection[str],
    *,
    age_sex: bool,
) -> TranslatedLabels:
    """Write the table with pseudonyms.

    A column stays if its title is a usual one for an identifier, subtype, size, side, phase, site, cohort, tumor or
    exclusion; any other column may name somebody. Sizes, sides, ages and the like are parsed, and emptied if they
    cannot be; texts are searched as a whole. A case that is a patient's identifier with an ending (``1234-left``)
    keeps the ending; any other case becomes ``C-`` and a keyed hash. Ages over 89 become 90.

    Args:
        table: Header and rows.
        path: File to write.
        secrets: Key used for the images.
        pseudonyms: Pseudonyms of the patients of the export.
        words: Names and identifiers found in the export, in lower case: a text with one of them is emptied.
        age_sex: Keep the columns of age and sex.
    """
    meanings = [usual_name(column) for column in table.header]
    readable = {*IDS, *_TEXTS, *_READ} - (set() if age_sex else set(AGE_SEX))
    kept = [c for c, meaning in enumerate(meanings) if meaning in readable]
    ids = [c for c in kept if meanings[c] in IDS]
    typed = {row[c].casefold() for _, row in table.rows for c in ids if len(row[c]) > 3}
    named = _search({*words, *typed})

    def cell(text: str, meaning: str) -> str:
        if not text or meaning in IDS:
            return _identifier(text, meaning, secrets, pseudonyms)
        if meaning in _READ:
            return _read(text, meaning)
        if meaning.startswith("subtype") and squeezed(words_of(text)) in default_table().whole:
            return text  # "clear cell" names nobody, even if a patient is called Clear
        return "" if named(text) or _NUMBERS.search(text) else text

    translated = [[cell(row[c], meanings[c]) for c in kept] for _, row in table.rows]
    save_table(path, [table.header[c] for c in kept], translated)
    matched = sum(
        any(row[c] in pseudonyms or _owner(row[c], pseudonyms) for c in ids) for _, row in table.rows
    )
    before = sum(bool(row[c]) for _, row in table.rows for c in kept)
    dropped = [c for c in range(len(meanings)) if c not in kept]
    return TranslatedLabels(
        file=path.name,
        n_rows=len(table.rows),
        n_rows_without_images=len(table.rows) - matched,
        columns_dropped=tuple(f"{c + 1} ({meanings[c]})" if meanings[c] else str(c + 1) for c in dropped),
        n_cells_emptied=before - sum(bool(text) for row in translated for text in row),
    )


def _search(words: Collection[str]) -> Callable[[str], bool]:
    """A function that finds these names and identifiers as whole words."""
    asian = [word for word in words if word and word[0] >= "\u2e80"]
    listed = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    inside = "|".join(
        map(re.escape, sorted(word for word in words if len(word) >= _SHORTEST_INSIDE and word.isalpha()))
    )
    pattern = (
        re.compile(rf"(?<![^\W_])(?:{listed})(?![^\W_])" + (f"|{inside}" if inside else ""))
        if words
        else None
    )

    def found(text: str) -> bool:
        text = " ".join(text.casefold().split())
        return any(word in text for word in asian) or bool(pattern and pattern.search(text))

    return found


def _identifier(text: str, meaning: str, secrets: Secrets, pseudonyms: Mapping[str, str]) -> str:
    if not text:
        return text
    if meaning == "patient_id":
        return pseudonyms.get(text, secrets.pseudonym(text))
    owner = _owner(text, pseudonyms)
    ending = text[len(owner) :]
    if owner and _ENDING.fullmatch(ending.lower()):
        return pseudonyms[owner] + ending if pseudonyms[owner] else ""
    return f"C-{secrets.letters('case', text, 10)}"


def _owner(text: str, pseudonyms: Mapping[str, str]) -> str:
    """The longest patient identifier with which the name of a case begins."""
    return max((p for p in pseudonyms if text.startswith(p)), key=len, default="")


def _read(text: str, meaning: str) -> str:
    """A cell of a number or of one of a few words; empty if it cannot be parsed, as it may then be anything."""
    try:
        return _READ[meaning](text)
    except ValueError:
        return ""


def _age(text: str) -> str:
    years = parse_age(text)
    return str(OLDEST_YEARS + 1) if years is not None and years > OLDEST_YEARS else text


def _if_read_by(parse: Callable[[str], object]) -> Callable[[str], str]:
    """The text itself if a parser finds a value in it."""
    return lambda text: text if parse(text) is not None else ""


_READ: dict[str, Callable[[str], str]] = {
    "age_years": _age,
    "sex": lambda text: parse_sex(text) or ("H" if text.casefold() == "h" else ""),
    "size_cm": _if_read_by(parse_size_cm),
    "size_mm": _if_read_by(parse_size_mm),
    "side": lambda text: parse_side(text) or "",
    "tumor_label": _if_read_by(parse_tumor_label),
    "phase": clean_text,
    "tumor_name": lambda text: clean_text(text) or "segment",  # as segments are named in the copy
}

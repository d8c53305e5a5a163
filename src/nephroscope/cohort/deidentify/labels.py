"""A label table in, the same with pseudonyms out; columns that name persons, places or days are dropped and told."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from nephroscope.cohort.deidentify.dates import OLDEST_YEARS
from nephroscope.cohort.deidentify.key import Secrets
from nephroscope.cohort.labels.columns import usual_name
from nephroscope.cohort.labels.table import open_table
from nephroscope.cohort.labels.values import parse_age
from nephroscope.cohort.tables import save_table
from nephroscope.errors import CohortError

Table = tuple[list[str], list[tuple[int, list[str]]]]
_IDENTIFYING = re.compile(
    r"name|vorname|nachname|nom|prenom|nombre|apellido|cognome|birth|dob|geburt|naissance|nacimiento|nascita|date|datum|fecha"
    r"|address|adresse|street|city|zip|plz|phone|telefon|mail|mrn|ssn|insurance|versicherung|accession|physician|doctor|arzt"
    r"|surgeon|pathologist|comment|remark|note|bemerkung|kommentar|file|path|folder|uid"
)
_PLACES_AND_DAYS = {"file", "roi", "organs", "birth_date", "scan_date", "surgery_date"}
_PATHOLOGY = re.compile(r"subtype|histolog|pathologic|patholog(y|ie)")


def read_labels_to_translate(path: Path) -> Table:
    """The table, proven to say whose its rows are.

    Raises:
        CohortError: It cannot be read, or has neither ``patient_id`` nor ``case_id``.
    """
    table = open_table(path, {})
    header, rows = table.header, table.rows
    if not {usual_name(column) for column in header} & {"patient_id", "case_id"}:
        raise CohortError(
            where="--labels",
            expected="a column patient_id (DICOM's PatientID) or case_id",
            found=f"{len(header)} columns without one",
            remedy="add patient_id",
        )
    return header, rows


def translate_labels(
    table: Table, path: Path, secrets: Secrets, pseudonyms: Mapping[str, str], words: Collection[str]
) -> dict[str, object]:
    """Write the table with pseudonyms; gives what was kept, dropped and not matched, as counts and column names.

    A case that is a patient's identifier with an ending (``1234-left``) keeps the ending; any other case becomes
    ``C-`` and a keyed hash. Ages over 89 become 90.

    Args:
        table: Header and rows.
        path: Where to write.
        secrets: The key of the images.
        pseudonyms: Of the patients of the export.
        words: Names and identifiers met in the export, in lower case: a column with one of them is dropped.
    """
    header, rows = table
    named = [c for c in range(len(header)) if _is_identifying(header[c], [row[c] for _, row in rows], words)]
    kept = [c for c in range(len(header)) if c not in named]
    translated = [
        [_cell(row[c], usual_name(header[c]), secrets, pseudonyms) for c in kept] for _, row in rows
    ]
    save_table(path, [header[c] for c in kept], translated)
    ids = [c for c in kept if usual_name(header[c]) in ("patient_id", "case_id")]
    known = sum(any(row[c] in pseudonyms or _owner(row[c], pseudonyms) for c in ids) for _, row in rows)
    return {
        "file": path.name,
        "n_rows": len(rows),
        "n_rows_without_images": len(rows) - known,
        "columns_dropped": [_title(c, header[c], words) for c in named],
    }


def _cell(text: str, meaning: str, secrets: Secrets, pseudonyms: Mapping[str, str]) -> str:
    if not text:
        return text
    if meaning == "patient_id":
        return secrets.pseudonym(text)
    if meaning == "case_id":
        owner = _owner(text, pseudonyms)
        ending = text[len(owner) :]
        if owner and re.fullmatch(
            r"([-_ .]?(left|right|l|r|li|re|[a-d]|\d{1,2}|t\d|tumou?r ?\d))?", ending.lower()
        ):
            return secrets.pseudonym(owner) + ending
        return f"C-{secrets.letters('case', text, 10)}"
    return _age(text) if meaning == "age_years" else text


def _age(text: str) -> str:
    """An age as typed; over 89 it is 90, and what cannot be read, so may be any age, is left out."""
    try:
        years = parse_age(text)
    except ValueError:
        return ""
    return str(OLDEST_YEARS + 1) if years is not None and years > OLDEST_YEARS else text


def _owner(text: str, pseudonyms: Mapping[str, str]) -> str:
    """The longest patient identifier that a case's name begins with."""
    return max((p for p in pseudonyms if text.startswith(p)), key=len, default="")


def _is_identifying(name: str, cells: list[str], words: Collection[str]) -> bool:
    meaning = usual_name(name)
    if meaning in ("patient_id", "case_id"):
        return False
    if meaning in _PLACES_AND_DAYS:
        return True
    plain = re.sub(r"[\s_-]", "", name.casefold())
    if _IDENTIFYING.search(plain) and not _PATHOLOGY.search(plain):
        return True
    return any(word in words for cell in cells for word in re.findall(r"[^\W_]+", cell.casefold()))


def _title(c: int, name: str, words: Collection[str]) -> str:
    """A column by its name, or by its number when the name holds somebody's."""
    found = any(word in words for word in re.findall(r"[^\W_]+", name.casefold()))
    return f"column {c + 1}" if found or not name else name

"""findings.json: what the imports found worth knowing, kept with the study for its report."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nephroscope.base.errors import CohortError, StudyError
from nephroscope.base.files import load_json, save_json
from nephroscope.base.tables import Mistakes, parse_number, read_table, relative_to, save_table
from nephroscope.intake.labels.values import parse_sex
from nephroscope.records import DEVELOPMENT, EXTERNAL_TEST, INTERNAL_TEST, Case, Cohort, Exclusion, Finding
from nephroscope.records.cases import LARGEST_CM, OLDEST_YEARS, parse_cohort_word

COHORT_FILE, EXCLUSIONS_FILE = "cohort.csv", "exclusions.csv"
COLUMNS = [
    *("case_id", "patient_id", "site_id", "subtype", "sex", "age_years", "size_cm", "phase", "cohort"),
    *("format", "image", "roi", "roi_reader2", "tumor_label", "tumor_name", "organs", "subtype_reader2"),
    *("source", "synthetic"),
]
REQUIRED = ("case_id", "subtype", "format", "image")


def save_cohort(cohort: Cohort, folder: Path) -> None:
    """Write cohort.csv and exclusions.csv into the study ``folder``, each at once.

    Paths below the study are written relative to it, so that a moved study finds them; a relative path is taken
    as relative to the study already.
    """
    save_table(
        folder / EXCLUSIONS_FILE,
        [f.name for f in fields(Exclusion)],
        [(x.case_id, x.reason, x.subtype) for x in cohort.exclusions],
    )
    rows = [[_cell(folder, getattr(case, name)) for name in COLUMNS] for case in cohort.cases]
    save_table(folder / COHORT_FILE, COLUMNS, rows)


def load_cohort(folder: Path, subtypes: tuple[str, ...], positive: str) -> Cohort:
    """The cohort of a study folder, tolerant of what spreadsheets do to a CSV. Images are not looked for.

    Args:
        folder: The study; relative paths in the table start here.
        subtypes: The study's, in output order.
        positive: The one whose probability is the score.

    Raises:
        StudyError: There is no cohort.csv.
        CohortError: A cell is wrong; every one is named by row and column.
    """
    path = folder / COHORT_FILE
    if not path.is_file():
        raise StudyError(
            where=f"study {folder.name}",
            expected=COHORT_FILE,
            found="none",
            remedy="run `nephroscope import` first",
        )
    header, rows = read_table(path)
    header = [name.lower().replace(" ", "_") for name in header]
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise CohortError(
            where=COHORT_FILE,
            expected=f"the columns {', '.join(REQUIRED)}",
            found=f"no {', '.join(missing)} among {', '.join(header)}",
            remedy="restore the header line",
        )
    reader = _Reader(folder.resolve(), subtypes, Mistakes(COHORT_FILE))
    cases = [reader.case(n, dict(zip(header, row, strict=True))) for n, row in rows]
    reader.mistakes.refuse()
    return Cohort(
        subtypes=subtypes,
        positive=positive,
        cases=tuple(case for case in cases if case),
        exclusions=_load_exclusions(folder),
        folder=folder.resolve(),
    )


class _Reader:
    """Turns rows into cases, and notes what is wrong in them and between them."""

    def __init__(self, folder: Path, subtypes: tuple[str, ...], mistakes: Mistakes) -> None:
        self.mistakes = mistakes
        self.seen: dict[str, int] = {}
        self.sexes: dict[str, tuple[int, Any]] = {}
        self.cells = _cells(folder, subtypes)

    def case(self, row: int, values: dict[str, str]) -> Case | None:
        """The case of one row, or None when a cell is wrong."""
        n_before = len(self.mistakes.found)
        made: dict[str, Any] = {}
        for name, cell in self.cells.items():
            text = values.get(name, "")
            try:
                made[name] = cell.parse(text)
            except ValueError:
                self.mistakes.add(row, name, cell.expected, repr(text) if text else "nothing")
        self._check_between(row, made)
        if len(self.mistakes.found) > n_before:
            return None
        made["patient_id"] = made["patient_id"] or made["case_id"]
        return Case(**made)

    def _check_between(self, row: int, made: dict[str, Any]) -> None:
        name, sex = made.get("case_id"), made.get("sex")
        if name and self.seen.setdefault(name, row) != row:
            found = f"{name!r} in row {self.seen[name]} too"
            self.mistakes.add(row, "case_id", "every case_id once", found)
        patient = made.get("patient_id") or name
        if patient and sex:
            first_row, first = self.sexes.setdefault(patient, (row, sex))
            if first != sex:
                found = f"{sex}, but {first} in row {first_row}"
                self.mistakes.add(row, "sex", f"one sex for patient {patient}", found)


@dataclass(frozen=True)
class _Cell:
    """How a column is read (ValueError: it cannot be), and what it must hold, in words."""

    parse: Callable[[str], Any]
    expected: str


def _cells(folder: Path, subtypes: tuple[str, ...]) -> dict[str, _Cell]:
    """The columns of cohort.csv."""
    path = _Cell(lambda text: folder / text if text else None, "a path")
    return {
        "case_id": _Cell(_filled, "a name"),
        "patient_id": _Cell(str, "a name"),
        "site_id": _Cell(lambda text: text or "site-1", "a name"),
        "subtype": _Cell(
            _one_of(*subtypes, ""), f"a subtype of the study ({', '.join(subtypes)}) or nothing"
        ),
        "sex": _Cell(parse_sex, "M, F, O or nothing"),
        "age_years": _number("number", OLDEST_YEARS),
        "size_cm": _number("number", LARGEST_CM),
        "phase": _Cell(lambda text: text or "unknown", "a phase"),
        "cohort": _Cell(parse_cohort_word, f"{DEVELOPMENT}, {INTERNAL_TEST} or {EXTERNAL_TEST}NAME"),
        "format": _Cell(_one_of("dicom", "nifti", "images"), "dicom, nifti or images"),
        "image": _Cell(lambda text: folder / _filled(text), "a path"),
        "roi": path,
        "roi_reader2": path,
        "tumor_label": _Cell(_label, "a whole number from 1 to 65535"),
        "tumor_name": _Cell(str, "a segment's label or code, or nothing"),
        "organs": path,
        "subtype_reader2": _Cell(lambda text: text or None, "a subtype or nothing"),
        "source": _Cell(lambda text: text or "HU", "HU, or 8-bit L40 W400"),
        "synthetic": _Cell(lambda text: _one_of("yes", "no", "")(text.lower()) == "yes", "yes or no"),
    }


def _number(word: str, high: float) -> _Cell:
    return _Cell(lambda text: parse_number(text, 0, high), f"a {word} above 0 and up to {high}")


def _filled(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _label(text: str) -> int:
    number = float(text or 1)
    if not number.is_integer() or not 1 <= number <= 65535:
        raise ValueError(text)
    return int(number)


def _one_of(*words: str) -> Callable[[str], str | None]:
    def parse(text: str) -> str | None:
        if text not in words:
            raise ValueError(text)
        return text or None

    return parse


def _cell(folder: Path, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Path):
        return relative_to(folder, value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def _load_exclusions(folder: Path) -> tuple[Exclusion, ...]:
    if not (folder / EXCLUSIONS_FILE).is_file():
        return ()
    header, rows = read_table(folder / EXCLUSIONS_FILE)
    tables = [dict(zip(header, row, strict=True)) for _, row in rows]
    return tuple(
        Exclusion(
            case_id=values.get("case_id", ""),
            reason=values.get("reason", ""),
            subtype=values.get("subtype", ""),
        )
        for values in tables
    )


FORMAT = 1


def save_findings(folder: Path, findings: Iterable[Finding]) -> None:
    """Write them into the study folder."""
    content = {"format": FORMAT, "findings": [asdict(finding) for finding in findings]}
    save_json(folder / "findings.json", content)


def load_findings(folder: Path) -> tuple[Finding, ...]:
    """Read them; none where nothing was imported yet.

    Raises:
        StudyError: The file is damaged or of a newer format.
    """
    path = folder / "findings.json"
    if not path.exists():
        return ()
    return tuple(Finding(**finding) for finding in load_json(path, FORMAT)["findings"])

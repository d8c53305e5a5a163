"""The study's tables of who is in it: cohort.csv, series.csv, rois.csv, exclusions.csv; and findings.json.

A person may edit the tables in a spreadsheet. Every mistake is named by file, row and column.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import CohortError, StudyError
from nephroscope.base.files import finish_replacing, replacing_together
from nephroscope.base.tables import Mistakes, parse_number, read_table, relative_to, save_table
from nephroscope.intake.labels.values import parse_sex
from nephroscope.records import (
    DEVELOPMENT,
    EXTERNAL_TEST,
    INTERNAL_TEST,
    Case,
    ChoiceRule,
    ClinicalFacts,
    Cohort,
    Exclusion,
    Finding,
    RoiRef,
    SeriesRef,
)
from nephroscope.records.cases import LARGEST_CM, OLDEST_YEARS, parse_cohort_word, series_name
from nephroscope.records.settings import AUTHOR

COHORT_FILE, SERIES_FILE, ROIS_FILE, EXCLUSIONS_FILE = (
    "cohort.csv",
    "series.csv",
    "rois.csv",
    "exclusions.csv",
)
TABLES = "tables"  # the group of files that are replaced together
COLUMNS = {
    COHORT_FILE: (
        *("case_id", "patient_id", "site_id", "subtype", "subtype_reader2", "sex", "age_years", "size_cm"),
        *("cohort", "synthetic"),
    ),
    SERIES_FILE: ("case_id", "series", "phase", "format", "image", "source", "organs", "series_uid"),
    ROIS_FILE: ("case_id", "author", "series", "roi", "tumor_label", "tumor_name"),
}
REQUIRED = {
    COHORT_FILE: ("case_id", "subtype"),
    SERIES_FILE: ("case_id", "format", "image"),
    ROIS_FILE: ("case_id", "author", "roi"),
}


def save_cohort(cohort: Cohort, folder: Path) -> None:
    """Write the four tables into the study ``folder``: all of them or, when something interrupts it, none.

    Paths below the study are written relative to it, so that a moved study finds them; a relative path is taken
    as relative to the study already.
    """
    rows: dict[str, list[dict[str, object]]] = {ROIS_FILE: [], SERIES_FILE: [], COHORT_FILE: []}
    for case in cohort.cases:
        own = {"case_id": case.case_id}
        rows[ROIS_FILE] += [
            {**own, **_fields(roi), "roi": roi.path, "tumor_label": roi.label, "tumor_name": roi.name}
            for roi in case.rois
        ]
        rows[SERIES_FILE] += [{**own, **_fields(one), "series": one.name} for one in case.series]
        rows[COHORT_FILE].append({**_fields(case), **_fields(case.clinical)})
    excluded = [(x.case_id, x.reason, x.subtype) for x in cohort.exclusions]
    with replacing_together(folder, TABLES) as new:
        save_table(new / EXCLUSIONS_FILE, [f.name for f in fields(Exclusion)], excluded)
        for file, listed in rows.items():
            cells = [[_cell(folder, row[name]) for name in COLUMNS[file]] for row in listed]
            save_table(new / file, COLUMNS[file], cells)


def _fields(record: Any) -> dict[str, object]:
    return {f.name: getattr(record, f.name) for f in fields(record)}


def load_cohort(
    folder: Path, subtypes: tuple[str, ...], positive: str, rule: ChoiceRule | None = None
) -> Cohort:
    """The cohort of a study folder, tolerant of what spreadsheets do to a CSV. Images are not looked for.

    Args:
        folder: The study; relative paths in the tables start here.
        subtypes: The study's, in output order.
        positive: The one whose probability is the score.
        rule: Which series and ROI of a case questions use.

    Raises:
        StudyError: A table is not there.
        CohortError: A cell is wrong; every one is named by file, row and column.
    """
    finish_replacing(folder, TABLES)
    place = folder.resolve()
    tables = {file: _Table.read(folder, file, cells) for file, cells in _cells(place, subtypes).items()}
    cases = _join(*tables.values())
    _refuse([table.mistakes for table in tables.values()])
    return Cohort(
        subtypes=subtypes,
        positive=positive,
        cases=tuple(cases),
        exclusions=_load_exclusions(folder),
        rule=rule or ChoiceRule(),
        folder=place,
    )


@dataclass(frozen=True)
class _Cell:
    """How a column is read (ValueError: it cannot be), and what it must hold, in words."""

    parse: Callable[[str], Any]
    expected: str


@dataclass
class _Table:
    """A table as read: ``rows`` by number, without the cells that could not be."""

    mistakes: Mistakes
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, file: str, cells: Mapping[str, _Cell]) -> "_Table":
        if not (folder / file).is_file():
            raise StudyError(
                where=f"study {folder.name}",
                expected=file,
                found="none",
                remedy="run `nephroscope import` first" if file == COHORT_FILE else "restore it",
            )
        header, rows = read_table(folder / file)
        header = [name.lower().replace(" ", "_") for name in header]
        missing = [name for name in REQUIRED[file] if name not in header]
        if missing:
            raise CohortError(
                where=file,
                expected=f"the columns {', '.join(REQUIRED[file])}",
                found=f"no {', '.join(missing)} among {', '.join(header)}",
                remedy="restore the header line",
            )
        table = cls(Mistakes(file))
        for number, row in rows:
            values = dict(zip(header, row, strict=True))
            table.rows[number] = table._parsed(number, values, cells)
        return table

    def _parsed(self, row: int, values: Mapping[str, str], cells: Mapping[str, _Cell]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, cell in cells.items():
            text = values.get(name, "")
            try:
                made[name] = cell.parse(text)
            except ValueError:
                self.mistakes.add(row, name, cell.expected, repr(text) if text else "nothing")
        return made

    def once(self, first: dict[Any, int], key: Any, row: int, column: str, expected: str) -> bool:
        """Note ``key`` when an earlier row has it too; True when none has."""
        if first.setdefault(key, row) == row:
            return True
        word = key[-1] if isinstance(key, tuple) else key
        self.mistakes.add(row, column, expected, f"{word!r} in row {first[key]} too")
        return False


def _join(cohort: _Table, series: _Table, rois: _Table) -> list[Case]:
    """The cases whose rows have no mistake; those between the tables are noted."""
    known = {made["case_id"] for made in cohort.rows.values() if "case_id" in made}
    of_case = _series_of_cases(series, known)
    drawn = _rois_of_cases(rois, known, of_case)
    first: dict[Any, int] = {}
    sexes: dict[str, tuple[int, str]] = {}
    cases = []
    for row, made in cohort.rows.items():
        name = made.get("case_id", "")
        alone = not name or cohort.once(first, name, row, "case_id", "every case_id once")
        if name and name not in of_case:
            cohort.mistakes.add(
                row, "case_id", f"a case with a row in {SERIES_FILE}", f"{name!r}, which has none"
            )
        patient, sex = made.get("patient_id") or name, made.get("sex")
        if patient and sex:
            first_row, first_sex = sexes.setdefault(patient, (row, sex))
            if first_sex != sex:
                found = f"{sex}, but {first_sex} in row {first_row}"
                cohort.mistakes.add(row, "sex", f"one sex for patient {patient}", found)
        if cohort.mistakes.found or series.mistakes.found or rois.mistakes.found or not alone:
            continue
        clinical = ClinicalFacts(**{f.name: made.pop(f.name) for f in fields(ClinicalFacts)})
        made["patient_id"] = patient
        cases.append(Case(**made, clinical=clinical, series=tuple(of_case[name]), rois=tuple(drawn[name])))
    return cases


def _series_of_cases(table: _Table, known: set[str]) -> dict[str, list[SeriesRef]]:
    found: dict[str, list[SeriesRef]] = {}
    first: dict[Any, int] = {}
    for row, made in table.rows.items():
        case_id = made.pop("case_id", None)
        if case_id is None or len(made) < len(COLUMNS[SERIES_FILE]) - 1:
            found.setdefault(case_id, [])
            continue
        if case_id not in known:
            table.mistakes.add(row, "case_id", f"a case of {COHORT_FILE}", repr(case_id))
        name = made.pop("series") or series_name(made["phase"])
        if table.once(first, (case_id, name), row, "series", f"every series of case {case_id} once"):
            found.setdefault(case_id, []).append(SeriesRef(name=name, **made))
    return found


def _rois_of_cases(
    table: _Table, known: set[str], series: Mapping[str, Sequence[SeriesRef]]
) -> dict[str, list[RoiRef]]:
    found: dict[str, list[RoiRef]] = defaultdict(list)
    first: dict[Any, int] = {}
    for row, made in table.rows.items():
        if len(made) < len(COLUMNS[ROIS_FILE]):
            continue
        case_id, author = made["case_id"], made["author"]
        names = [one.name for one in series.get(case_id, ())]
        on = made["series"] or (names[0] if len(names) == 1 else "")
        if case_id not in known:
            table.mistakes.add(row, "case_id", f"a case of {COHORT_FILE}", repr(case_id))
        elif on not in names:
            expected = f"a series of case {case_id} in {SERIES_FILE} ({', '.join(names) or 'none'})"
            table.mistakes.add(row, "series", expected, repr(on) if on else "nothing")
        elif table.once(first, (case_id, on, author), row, "author", f"one ROI per author on series {on}"):
            found[case_id].append(
                RoiRef(
                    author=author,
                    path=made["roi"],
                    series=on,
                    label=made["tumor_label"],
                    name=made["tumor_name"],
                )
            )
    return found


def _refuse(tables: Sequence[Mistakes]) -> None:
    """Say the mistakes of all tables at once."""
    wrong = [table for table in tables if table.found]
    if len(wrong) == 1:
        wrong[0].refuse()
    together = Mistakes(" and ".join(table.file for table in wrong))
    together.found = [(f"{t.file}, {at}", wanted, found) for t in wrong for at, wanted, found in t.found]
    together.refuse()


def _cells(folder: Path, subtypes: tuple[str, ...]) -> dict[str, dict[str, _Cell]]:
    """How each column of the three tables is read."""
    path = _Cell(lambda text: folder / text if text else None, "a path")
    filled_path = _Cell(lambda text: folder / _filled(text), "a path")
    case_id = _Cell(_filled, "a name")
    subtype = f"a subtype of the study ({', '.join(subtypes)}) or nothing"
    return {
        COHORT_FILE: {
            "case_id": case_id,
            "patient_id": _Cell(str, "a name"),
            "site_id": _Cell(lambda text: text or "site-1", "a name"),
            "subtype": _Cell(_one_of(*subtypes, ""), subtype),
            "subtype_reader2": _Cell(lambda text: text or None, "a subtype or nothing"),
            "sex": _Cell(parse_sex, "M, F, O or nothing"),
            "age_years": _number(OLDEST_YEARS),
            "size_cm": _number(LARGEST_CM),
            "cohort": _Cell(parse_cohort_word, f"{DEVELOPMENT}, {INTERNAL_TEST} or {EXTERNAL_TEST}NAME"),
            "synthetic": _Cell(lambda text: _one_of("yes", "no", "")(text.lower()) == "yes", "yes or no"),
        },
        SERIES_FILE: {
            "case_id": case_id,
            "series": _Cell(str, "a name"),
            "phase": _Cell(lambda text: text or "unknown", "a phase"),
            "format": _Cell(_one_of("dicom", "nifti", "images"), "dicom, nifti or images"),
            "image": filled_path,
            "source": _Cell(lambda text: text or "HU", "HU, or 8-bit L40 W400"),
            "organs": path,
            "series_uid": _Cell(str, "a UID or nothing"),
        },
        ROIS_FILE: {
            "case_id": case_id,
            "author": _Cell(_author, "reader-1, reader-2, consensus or model:NAME@VERSION"),
            "series": _Cell(str, "a name"),
            "roi": filled_path,
            "tumor_label": _Cell(_label, "a whole number from 1 to 65535"),
            "tumor_name": _Cell(str, "a segment's label or code, or nothing"),
        },
    }


def _number(high: float) -> _Cell:
    return _Cell(lambda text: parse_number(text, 0, high), f"a number above 0 and up to {high}")


def _filled(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _author(text: str) -> str:
    if not AUTHOR.fullmatch(text):
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
        Exclusion(**{f.name: values.get(f.name, "") for f in fields(Exclusion)}) for values in tables
    )


FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _FindingsFile:
    findings: tuple[Finding, ...]


def save_findings(folder: Path, findings: Iterable[Finding]) -> None:
    """Write them into the study folder."""
    save_document(folder / "findings.json", _FindingsFile(findings=tuple(findings)), FORMAT)


def load_findings(folder: Path) -> tuple[Finding, ...]:
    """Read them; none where nothing was imported yet.

    Raises:
        StudyError: The file is damaged or of a newer format.
    """
    path = folder / "findings.json"
    if not path.exists():
        return ()
    remedy = "remove the file; `nephroscope check` finds again what concerns the images"
    return read_document(path, _FindingsFile, FORMAT, remedy).findings

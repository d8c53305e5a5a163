"""The study's tables of who is in it: cohort.csv, series.csv, rois.csv, exclusions.csv.

A person may edit the tables in a spreadsheet. Every mistake is named by file, row and column.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from nephroscope.base.errors import CohortError, StudyError
from nephroscope.base.files import Seen, finish_replacing, relative_to, replacing_together
from nephroscope.base.tables import Mistakes, read_table, save_table
from nephroscope.records import (
    Case,
    ChoiceRule,
    ClinicalFacts,
    Cohort,
    Exclusion,
    Finding,
    RoiRef,
    SeriesRef,
)
from nephroscope.records.cases import series_name
from nephroscope.records.settings import PHASES
from nephroscope.study.cohort_cells import (
    COHORT_FILE,
    COLUMNS,
    EXCLUSIONS_FILE,
    OF_PROPOSALS,
    ROIS_FILE,
    SERIES_FILE,
    Cell,
    cells_of,
)
from nephroscope.study.edited_tables import Row, SameCell, merged_table
from nephroscope.study.findings import save_findings
from nephroscope.study.format_1 import kind_of_older

TABLES = "tables"  # the group of files that are replaced together
EXCLUSION_COLUMNS = tuple(one.name for one in fields(Exclusion))
REQUIRED = {
    COHORT_FILE: ("case_id", "subtype"),
    SERIES_FILE: ("case_id", "format", "image"),
    ROIS_FILE: ("case_id", "author", "roi"),
}


def seen_tables(folder: Path) -> tuple[Seen, ...]:
    """The four tables as they are now: to be asked before they are read, and given to `save_cohort`."""
    return tuple(Seen.of(folder / file) for file in (*COLUMNS, EXCLUSIONS_FILE))


def save_cohort(
    cohort: Cohort, folder: Path, seen: Sequence[Seen] = (), findings: Iterable[Finding] | None = None
) -> None:
    """Write the tables that change: all of them or, when something interrupts it, none.

    What people added stays: further columns, the order of rows, how a cell is written. Paths below the study are
    written relative to it, so that a moved study finds them; a relative path is taken as relative to it already.

    Args:
        cohort: All cases and exclusions.
        folder: The study.
        seen: The tables as they were read.
        findings: What findings.json is to hold; it is written with the tables. None leaves it.

    Raises:
        StudyError: A table changed since it was seen; nothing is written then.
    """
    rows: dict[str, list[dict[str, object]]] = {ROIS_FILE: [], SERIES_FILE: [], COHORT_FILE: []}
    for case in cohort.cases:
        own = {"case_id": case.case_id}
        rows[ROIS_FILE] += [
            {**own, **_fields(roi), "roi": roi.path, "tumor_label": roi.label, "tumor_name": roi.name}
            | {"state": roi.state if roi.state != "drawn" else ""}
            for roi in case.rois
        ]
        rows[SERIES_FILE] += [{**own, **_fields(one), "series": one.name} for one in case.series]
        rows[COHORT_FILE].append({**_fields(case), **_fields(case.clinical)})
    wanted = {
        file: [{name: _cell(folder, row[name]) for name in COLUMNS[file]} for row in listed]
        for file, listed in rows.items()
    }
    wanted[EXCLUSIONS_FILE] = [{**_fields(one)} for one in cohort.exclusions]
    finish_replacing(folder, TABLES)
    cells = cells_of(folder.resolve(), cohort.subtypes, PHASES)
    changed = {}
    for file, listed in wanted.items():
        columns = tuple(c for c in COLUMNS.get(file, EXCLUSION_COLUMNS) if c not in _left_out(listed))
        same = _samecells_of(cells.get(file, {}))
        table = merged_table(folder / file, listed, columns, _key_of(file, cohort), same)
        if table is not None:
            changed[file] = table
    if findings is not None and not changed:
        save_findings(folder, findings)
    if not changed:
        return
    with replacing_together(folder, TABLES, seen) as new:
        if findings is not None:
            save_findings(new, findings)
        for file, table in changed.items():
            save_table(new / file, table.header, table.rows)


def _left_out(rows: Sequence[Row]) -> tuple[str, ...]:
    """Columns that a new table does without: the state of ROIs and what goes with it, where no model drew any."""
    return tuple(name for name in ("state", *OF_PROPOSALS) if not any(row.get(name) for row in rows))


def _key_of(file: str, cohort: Cohort) -> Callable[[Row], Hashable]:
    """What makes a row of a table the same row; a series may be left out where a case has one."""
    only = {case.case_id: case.series[0].name for case in cohort.cases if len(case.series) == 1}

    def key(row: Row) -> Hashable:
        if file == EXCLUSIONS_FILE:
            return tuple(row.get(name, "") for name in EXCLUSION_COLUMNS if name != "kind")
        case_id, series = row.get("case_id", ""), row.get("series", "")
        if file == SERIES_FILE:
            return case_id, series or series_name(row.get("phase", "").casefold())
        return (case_id, series or only.get(case_id), row.get("author")) if file == ROIS_FILE else case_id

    return key


def _samecells_of(cells: Mapping[str, Cell]) -> SameCell:
    """Whether a cell as a person left it says what we would write."""

    def same(column: str, there: str, row: Row) -> bool:
        ours = row[column]
        if not there and column in ("patient_id", "series", "kind"):  # as `load_cohort` fills them
            return column != "patient_id" or ours == row["case_id"]
        parse = cells[column].parse if column in cells else str
        try:
            return bool(parse(there) == parse(ours))
        except ValueError:
            return False

    return same


def _fields(record: Any) -> dict[str, Any]:
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
    place, rule = folder.resolve(), rule or ChoiceRule()
    phases = tuple(dict.fromkeys((*PHASES, *rule.phases)))
    tables = {
        file: _Table.read(folder, file, cells) for file, cells in cells_of(place, subtypes, phases).items()
    }
    cases = _join(*tables.values())
    _refuse([table.mistakes for table in tables.values()])
    return Cohort(
        subtypes=subtypes,
        positive=positive,
        cases=tuple(cases),
        exclusions=_load_exclusions(folder),
        rule=rule,
        folder=place,
    )


@dataclass
class _Table:
    """A table as read: ``rows`` by number, without the cells that could not be."""

    mistakes: Mistakes
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, file: str, cells: Mapping[str, Cell]) -> "_Table":
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

    def _parsed(self, row: int, values: Mapping[str, str], cells: Mapping[str, Cell]) -> dict[str, Any]:
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
                    accepted=made["state"] == "accepted",
                    accepted_by=made["accepted_by"],
                    made_from=made["made_from"],
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
    found = [Exclusion(**{f.name: values.get(f.name, "") for f in fields(Exclusion)}) for values in tables]
    return tuple(found if "kind" in header else (replace(x, kind=kind_of_older(x.reason)) for x in found))

"""Read a label table (CSV or .xlsx): one label per row, which is an image or a case."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from nephroscope.base.columns import CheckedRow, CheckedTable
from nephroscope.base.errors import CohortError
from nephroscope.base.identifiers import existing
from nephroscope.base.text import counted_noun
from nephroscope.intake.labels.columns import COLUMN, DAY, LABELS, table_findings
from nephroscope.intake.labels.pathology import PathologyTable, name_of_subtype, unmapped_finding
from nephroscope.intake.labels.values import (
    Order,
    Side,
    date_order,
    one_size,
    parse_date,
    sex_parser,
    years_between,
)
from nephroscope.records import DEVELOPMENT, Finding, Sex, note, warning

AGE_AT = {"scan_date": "at the scan", "surgery_date": "at surgery, as there is no scan date"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One row of a label table, or the data in a file name.

    Attributes:
        row: Number of the row in the spreadsheet; 0 when it comes from a file name.
        subtype: As typed.
        mapped_subtype: The subtype after pathology.csv; empty where that does not map it, None before it was used.
        subtype_reader2: Subtype of the second pathology reading, as typed.
        row_mm, col_mm: Distance between rows, and between columns.
        tumor_label, tumor_name, roi: The ROI of this tumor: label or segment number, segment name, a file.
        organs: File of kidneys and vessels.
        excluded: Reason why a person excluded the case; empty otherwise.
    """

    row: int
    case_id: str
    subtype: str
    mapped_subtype: str | None = None
    file: str | None = None
    patient_id: str | None = None
    subtype_reader2: str | None = None
    sex: Sex | None = None
    age_years: float | None = None
    size_cm: float | None = None
    side: Side | None = None
    phase: str = "unknown"
    site_id: str = "site-1"
    cohort: str = DEVELOPMENT
    slice_index: int | None = None
    row_mm: float | None = None
    col_mm: float | None = None
    tumor_label: int | None = None
    tumor_name: str = ""
    roi: Path | None = None
    organs: Path | None = None
    excluded: str = ""
    synthetic: bool = False


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """Rows of a label table, and findings about it."""

    rows: list[LabelRow]
    findings: tuple[Finding, ...] = ()


def read_labels(path: Path, columns: Mapping[str, str] | None = None) -> list[LabelRow]:
    """All rows of a label table; see `read_label_table`."""
    return read_label_table(path, columns).rows


def read_label_table(
    path: Path,
    columns: Mapping[str, str] | None = None,
    pathology: PathologyTable | None = None,
    subtypes: tuple[str, ...] = (),
) -> LabelTable:
    """All rows of a label table, CSV or .xlsx; its content decides which.

    Age 0 means unknown (as in KiTS), and ``>89`` or ``90+`` mean 90. Dates of birth, scan and surgery give the age
    where it is missing, and are then discarded.

    Args:
        path: The table. Paths in its columns ``roi`` and ``organs`` may be relative to its folder.
        columns: Our name -> title, from study.toml.
        pathology: The study's pathology.csv; it fills `LabelRow.mapped_subtype`, and a finding lists what it lacks.
        subtypes: The study's subtypes; needed with ``pathology``.

    Raises:
        CohortError: The table or a required column is missing, two columns or sheets fit, or cells cannot be
            understood; each cell is named by row and column.
    """
    table = CheckedTable.read(path, LABELS.with_named(columns))
    parser = _RowParser(path, table)
    labels = [parser.label(row) for row in table.rows]
    table.refuse()
    if not labels:
        raise CohortError(
            where=path.name,
            expected="at least one row below the header",
            found="none",
            remedy="add a row for each case",
        )
    rows = [label for label in labels if label]
    findings = (*parser.findings(), *table_findings(table))
    if pathology is None:
        return LabelTable(rows=rows, findings=findings)
    mapped = map_subtypes(rows, pathology, subtypes)
    return LabelTable(rows=mapped.rows, findings=(*findings, *mapped.findings))


def map_subtypes(rows: list[LabelRow], pathology: PathologyTable, subtypes: tuple[str, ...]) -> LabelTable:
    """The rows with subtypes mapped by pathology.csv, and one finding that lists the texts it does not map."""

    @cache  # a table with a row per image repeats them
    def named(text: str) -> str | None:
        return name_of_subtype(text, subtypes, pathology)

    rows = [
        replace(
            row,
            mapped_subtype=named(row.subtype) or "",
            subtype_reader2=row.subtype_reader2 and (named(row.subtype_reader2) or row.subtype_reader2),
        )
        for row in rows
    ]
    unmapped = {row.case_id: row.subtype for row in rows if not row.mapped_subtype and not row.excluded}
    return LabelTable(rows=rows, findings=unmapped_finding(unmapped.values(), pathology))


@dataclass
class _RowParser:
    """Parses rows into labels and collects mistakes."""

    path: Path
    table: CheckedTable
    n_from_dates: dict[str, int] = field(default_factory=dict)
    n_without_patient: int = 0

    def __post_init__(self) -> None:
        table, sex = self.table, COLUMN["sex"]
        parse_sex = sex_parser(row.text(sex) for row in table.rows if table.has(sex))
        self.column = COLUMN | {"sex": replace(sex, parse=parse_sex)}
        self.orders: dict[str, Order] = {
            name: date_order(row.text(COLUMN[name]) for row in table.rows)
            for name in ("birth_date", "scan_date", "surgery_date")
            if table.has(COLUMN[name])
        }

    def label(self, row: CheckedRow) -> LabelRow | None:
        """The label of one row; None after noting what is wrong in it."""
        found = self.table.mistakes.found
        n_before = len(found)

        def cell(name: str) -> Any:
            return row.value(self.column[name])

        spacing = cell("spacing") or (None, None)
        patient_id = cell("patient_id")
        case_id = cell("case_id") or patient_id
        if not case_id and len(found) == n_before:
            self._no_name(row)
        self.n_without_patient += bool(case_id and not patient_id and self.table.has(COLUMN["patient_id"]))
        label = LabelRow(
            row=row.number,
            case_id=case_id,
            subtype=cell("subtype"),
            file=cell("file") or None,
            patient_id=patient_id or None,
            subtype_reader2=cell("subtype_reader2") or None,
            sex=cell("sex"),
            age_years=self._age(row),
            size_cm=one_size(row, self.column["size_cm"], self.column["size_mm"]),
            side=cell("side"),
            phase=cell("phase") or "unknown",
            site_id=cell("site_id") or "site-1",
            cohort=cell("cohort"),
            slice_index=cell("slice_index"),
            row_mm=cell("row_mm") or spacing[0],
            col_mm=cell("col_mm") or spacing[1],
            tumor_label=cell("tumor_label"),
            tumor_name=cell("tumor_name") or "",
            roi=self._path(cell("roi")),
            organs=self._path(cell("organs")),
            excluded=self._excluded(row),
            synthetic=cell("synthetic"),
        )
        return label if len(found) == n_before else None

    def findings(self) -> tuple[Finding, ...]:
        """What rows lack, and ages computed from dates."""
        found = [
            note("age-from-dates", f"{n} ages are completed years {when}")
            for when, n in self.n_from_dates.items()
        ]
        if self.n_without_patient:
            title = self.table.title(COLUMN["patient_id"])
            text = (
                f"{counted_noun(self.n_without_patient, 'row')} of {self.path.name} without a name in the column "
                f"{title}: each of these cases counts as a patient of its own"
            )
            found.append(warning("patient-unknown", text))
        return tuple(found)

    def _no_name(self, row: CheckedRow) -> None:
        """Note a row that says of nobody that it is about: with what stands where the name should be."""
        columns = [COLUMN[name] for name in ("case_id", "patient_id") if self.table.has(COLUMN[name])]
        typed = next((text for column in columns if (text := row.text(column))), "")
        row.table.mistakes.add(row.number, columns[0].name, "a name", repr(typed) if typed else "nothing")

    def _age(self, row: CheckedRow) -> float | None:
        """The age in the table, otherwise completed years from birth to scan, or to surgery without a scan date."""
        age = row.value(COLUMN["age_years"])
        birth = None if age is not None else self._day(row, "birth_date")
        if birth is None:
            return age if isinstance(age, float) else None
        for name, when in AGE_AT.items():
            day = self._day(row, name)
            if day is not None:
                try:
                    age = years_between(birth, day)
                except ValueError as error:
                    row.wrong(COLUMN[name], "a day after birth", str(error))
                    return None
                self.n_from_dates[when] = self.n_from_dates.get(when, 0) + 1
                return age
        return None

    def _day(self, row: CheckedRow, name: str) -> date | None:
        """A date; a mistake shows its form, never the date itself."""
        if not self.table.has(COLUMN[name]):
            return None
        text = row.text(COLUMN[name])
        try:
            return parse_date(text, self.orders[name])
        except ValueError as error:
            form = re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", text))[:24]
            row.wrong(COLUMN[name], DAY, f"{error}, written as {form}")
            return None

    def _path(self, text: str | None) -> Path | None:
        """Relative to the table's folder if there is such a file; otherwise as typed, for the import to find."""
        if not text:
            return None
        path = Path(text.replace("\\", "/"))
        next_to_table = existing(self.path.parent / path)
        return next_to_table.resolve() if next_to_table is not None else path

    def _excluded(self, row: CheckedRow) -> str:
        said = row.value(COLUMN["exclude"])
        reason = str(row.value(COLUMN["exclusion_reason"]) or "")
        if said is None:
            return reason
        out, word = said
        if not out and reason:
            row.wrong(
                COLUMN["exclusion_reason"],
                "no exclusion reason for a case that is not excluded",
                repr(reason),
            )
        return (reason or word or "excluded in the label table, without a reason") if out else ""

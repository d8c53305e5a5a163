"""A label table (CSV or .xlsx) in, one row per image or per case out, with columns found by name or by mapping."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from nephroscope.base.errors import CohortError
from nephroscope.base.tables import Mistakes
from nephroscope.intake.labels.pathology import PathologyTable, name_of_subtype, unmapped_finding
from nephroscope.intake.labels.table import RawTable, find_columns, not_read, open_table
from nephroscope.intake.labels.values import (
    Order,
    Side,
    date_order,
    parse_age,
    parse_date,
    parse_exclude,
    parse_filled,
    parse_mm,
    parse_name,
    parse_phase,
    parse_reason,
    parse_side,
    parse_size_cm,
    parse_size_mm,
    parse_spacing,
    parse_tumor_label,
    parse_whole,
    parse_yes,
    sex_parser,
    years_between,
)
from nephroscope.intake.phase.series import PHASES
from nephroscope.records import DEVELOPMENT, Finding, Sex, note
from nephroscope.records.cases import LARGEST_CM, OLDEST_YEARS, parse_cohort_word

NAME = "a name (long numbers as text, as spreadsheets round them)"
AGE_AT = {"scan_date": "at the scan", "surgery_date": "at surgery, as no scan date stands there"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One row of a label table, or what a file name says.

    Attributes:
        row: As a spreadsheet counts it; 0 when it comes from a file name.
        subtype: As typed.
        means: Name of the subtype by the study's pathology.csv; empty where that does not tell; None when not asked.
        subtype_reader2: The second pathology reading, as typed.
        row_mm: Distance between rows; ``col_mm`` between columns.
        tumor_label, tumor_name, roi: Which ROI is this tumor's: label or segment number, segment name, a file.
        organs: File with kidneys and vessels.
        excluded: Why a person left the case out; empty where nobody did.
    """

    row: int
    case_id: str
    subtype: str
    means: str | None = None
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
    """Rows of a label table, and what is worth knowing about it."""

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
    """All rows of a label table, CSV or .xlsx, told by its content.

    Age 0 means unknown (KiTS writes it so) and ``>89`` or ``90+`` mean 90. Dates of birth, scan and surgery give the
    age where no age stands, and are then forgotten.

    Args:
        path: The table. Paths in its columns ``roi`` and ``organs`` start at its folder, when there is such a file.
        columns: Our name -> header, from study.toml.
        pathology: The study's; with it, `LabelRow.means` is filled and a finding lists what it does not tell.
        subtypes: The study's; needed with ``pathology``.

    Raises:
        CohortError: There is no such table, no column for the case or the subtype, two columns or sheets for one
            thing, or cells that cannot be understood, each named by row and column.
    """
    table = open_table(path, columns or {})
    reader = _Reader(path, table, find_columns(path.name, table.header, columns or {}))
    labels = [reader.label(n, row) for n, row in table.rows]
    reader.mistakes.refuse()
    if not labels:
        raise CohortError(
            where=path.name,
            expected="at least one row below the header",
            found="none",
            remedy="fill the table",
        )
    rows = [label for label in labels if label]
    findings = (*table.findings, *reader.findings(), *not_read(path.name, table.header, reader.where))
    if pathology is None:
        return LabelTable(rows=rows, findings=findings)
    told = tell_subtypes(rows, pathology, subtypes)
    return LabelTable(rows=told.rows, findings=(*findings, *told.findings))


def tell_subtypes(rows: list[LabelRow], pathology: PathologyTable, subtypes: tuple[str, ...]) -> LabelTable:
    """The rows with what the study's pathology.csv says of them, and one finding that lists what it does not tell."""

    @cache  # a table with a row per image repeats them
    def named(text: str) -> str | None:
        return name_of_subtype(text, subtypes, pathology)

    rows = [
        replace(
            row,
            means=named(row.subtype) or "",
            subtype_reader2=row.subtype_reader2 and (named(row.subtype_reader2) or row.subtype_reader2),
        )
        for row in rows
    ]
    untold = {row.case_id: row.subtype for row in rows if not row.means and not row.excluded}
    return LabelTable(rows=rows, findings=unmapped_finding(untold.values(), pathology))


@dataclass
class _Reader:
    """Turns rows into labels, and notes what is wrong in them."""

    path: Path
    table: RawTable
    where: dict[str, int]
    mistakes: Mistakes = field(init=False)
    n_from_dates: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mistakes = Mistakes(self.path.name)
        self.parse_sex = sex_parser(
            row[self.where["sex"]] for _, row in self.table.rows if "sex" in self.where
        )
        self.orders: dict[str, Order] = {
            name: date_order(row[self.where[name]] for _, row in self.table.rows)
            for name in ("birth_date", "scan_date", "surgery_date")
            if name in self.where
        }

    def label(self, n: int, row: list[str]) -> LabelRow | None:
        """The label of one row, or None after noting what is wrong in it."""
        n_before = len(self.mistakes.found)

        def cell(name: str, parse: Callable[[str], Any], expected: str) -> Any:
            return self._cell(n, row, name, parse, expected)

        spacing = cell("spacing", parse_spacing, "one or two numbers of millimetres") or (None, None)
        patient_id = cell("patient_id", parse_name, NAME)
        case_id = cell("case_id", parse_name, NAME) or patient_id
        if not case_id and len(self.mistakes.found) == n_before:
            self.mistakes.add(n, "case_id", "a name", "nothing")
        label = LabelRow(
            row=n,
            case_id=case_id,
            subtype=cell("subtype", parse_filled, "a subtype"),
            file=cell("file", str, "a file") or None,
            patient_id=patient_id or None,
            subtype_reader2=cell("subtype_reader2", str, "a subtype") or None,
            sex=cell("sex", self.parse_sex, "male, female, other or nothing"),
            age_years=self._age(n, row),
            size_cm=cell("size_cm", parse_size_cm, f"centimetres up to {LARGEST_CM}")
            or cell("size_mm", parse_size_mm, f"millimetres up to {10 * LARGEST_CM}"),
            side=cell("side", parse_side, "left or right"),
            phase=cell("phase", parse_phase, f"{', '.join(PHASES)}, or words that name one") or "unknown",
            site_id=cell("site_id", str, "a site") or "site-1",
            cohort=cell("cohort", parse_cohort_word, "development, internal-test or external-test:NAME"),
            slice_index=cell("slice_index", parse_whole, "a whole number"),
            row_mm=cell("row_mm", parse_mm, "millimetres") or spacing[0],
            col_mm=cell("col_mm", parse_mm, "millimetres") or spacing[1],
            tumor_label=cell("tumor_label", parse_tumor_label, "a whole number from 1 to 65535"),
            tumor_name=cell("tumor_name", str, "a segment's name") or "",
            roi=cell("roi", self._path, "a path"),
            organs=cell("organs", self._path, "a path"),
            excluded=self._excluded(n, row),
            synthetic=cell("synthetic", parse_yes, "yes or no"),
        )
        return label if len(self.mistakes.found) == n_before else None

    def findings(self) -> tuple[Finding, ...]:
        """How ages came from dates."""
        return tuple(
            note("age-from-dates", f"{n} ages are completed years {what}")
            for what, n in self.n_from_dates.items()
        )

    def _cell(self, n: int, row: list[str], name: str, parse: Callable[[str], Any], expected: str) -> Any:
        if name not in self.where:
            return parse("")
        at = self.where[name]
        if (n, at) in self.table.unsaved:
            found = "a formula without its result; open the workbook, let it compute, and save it"
            self.mistakes.add(n, self.table.header[at], expected, found)
            return None
        try:
            return parse(row[at])
        except ValueError:
            self.mistakes.add(n, self.table.header[at], expected, repr(row[at]) if row[at] else "nothing")

    def _age(self, n: int, row: list[str]) -> float | None:
        """The age that stands there, else completed years from birth to scan, or to surgery without a scan date."""
        age = self._cell(n, row, "age_years", parse_age, f"years up to {OLDEST_YEARS}")
        birth = None if age is not None else self._day(n, row, "birth_date")
        if not isinstance(birth, date):
            return age if isinstance(age, float) else None
        for name, what in (
            ("scan_date", "at the scan"),
            ("surgery_date", "at surgery, as no scan date stands there"),
        ):
            day = self._day(n, row, name)
            if day is not None:
                try:
                    age = years_between(birth, day)
                except ValueError as error:
                    self.mistakes.add(n, self.table.header[self.where[name]], "a day after birth", str(error))
                    return None
                self.n_from_dates[what] = self.n_from_dates.get(what, 0) + 1
                return age
        return None

    def _day(self, n: int, row: list[str], name: str) -> date | None:
        """A date; mistakes tell its form, never itself."""
        if name not in self.where:
            return None
        text = row[self.where[name]]
        try:
            return parse_date(text, self.orders[name])
        except ValueError as error:
            form = re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", text))[:24]
            expected = "a date such as 2021-12-31 (12/03/2021 only where the column tells which is the day)"
            self.mistakes.add(n, self.table.header[self.where[name]], expected, f"{error}, written as {form}")
            return None

    def _path(self, text: str) -> Path | None:
        """Below the table's folder when it is there; else as typed, for the import to find."""
        if not text:
            return None
        path = Path(text.replace("\\", "/"))
        beside = self.path.parent / path
        return beside.resolve() if beside.exists() else path

    def _excluded(self, n: int, row: list[str]) -> str:
        said = self._cell(n, row, "exclude", parse_exclude, "yes, no or a reason")
        reason = str(self._cell(n, row, "exclusion_reason", parse_reason, "a reason") or "")
        if said is None:
            return reason
        out, word = said
        if not out and reason:
            at = self.table.header[self.where["exclusion_reason"]]
            self.mistakes.add(n, at, "no reason where the case is not excluded", repr(reason))
        return (reason or word or "excluded in the label table, without a reason") if out else ""

"""Read a label table (CSV or .xlsx): one label per row, which is an image or a case."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from nephroscope.base.errors import CohortError
from nephroscope.base.identifiers import existing
from nephroscope.base.tables import Mistakes
from nephroscope.base.text import counted_noun
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
from nephroscope.records import DEVELOPMENT, Finding, Sex, note, warning
from nephroscope.records.cases import LARGEST_CM, OLDEST_YEARS, parse_cohort_word

NAME = "a name (long numbers as text, because spreadsheets round them)"
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
    table = open_table(path, columns or {})
    parser = _RowParser(path, table, find_columns(path.name, table.header, columns or {}, table.header_row))
    labels = [parser.label(n, row) for n, row in table.rows]
    parser.mistakes.refuse()
    if not labels:
        raise CohortError(
            where=path.name,
            expected="at least one row below the header",
            found="none",
            remedy="add a row for each case",
        )
    rows = [label for label in labels if label]
    findings = (*table.findings, *parser.findings(), *not_read(path.name, table.header, parser.where))
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
    table: RawTable
    where: dict[str, int]
    mistakes: Mistakes = field(init=False)
    n_from_dates: dict[str, int] = field(default_factory=dict)
    n_without_patient: int = 0

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
        """The label of one row; None after noting what is wrong in it."""
        n_before = len(self.mistakes.found)

        def cell(name: str, parse: Callable[[str], Any], expected: str) -> Any:
            return self._cell(n, row, name, parse, expected)

        spacing = cell("spacing", parse_spacing, "one or two numbers in mm") or (None, None)
        patient_id = cell("patient_id", parse_name, NAME)
        case_id = cell("case_id", parse_name, NAME) or patient_id
        if not case_id and len(self.mistakes.found) == n_before:
            self._no_name(n, row)
        self.n_without_patient += bool(case_id and not patient_id and "patient_id" in self.where)
        label = LabelRow(
            row=n,
            case_id=case_id,
            subtype=cell("subtype", parse_filled, "a subtype"),
            file=cell("file", str, "a file") or None,
            patient_id=patient_id or None,
            subtype_reader2=cell("subtype_reader2", str, "a subtype") or None,
            sex=cell("sex", self.parse_sex, "male, female, other or nothing"),
            age_years=self._age(n, row),
            size_cm=cell("size_cm", parse_size_cm, f"a size in cm up to {LARGEST_CM}")
            or cell("size_mm", parse_size_mm, f"a size in mm up to {10 * LARGEST_CM}"),
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
        """What rows lack, and ages computed from dates."""
        found = [
            note("age-from-dates", f"{n} ages are completed years {when}")
            for when, n in self.n_from_dates.items()
        ]
        if self.n_without_patient:
            title = self.table.header[self.where["patient_id"]]
            text = (
                f"{counted_noun(self.n_without_patient, 'row')} of {self.path.name} without a name in the column "
                f"{title}: each of these cases counts as a patient of its own"
            )
            found.append(warning("patient-unknown", text))
        return tuple(found)

    def _no_name(self, n: int, row: list[str]) -> None:
        """Note a row that says of nobody that it is about: with what stands where the name should be."""
        names = [name for name in ("case_id", "patient_id") if name in self.where]
        typed = next((row[self.where[name]] for name in names if row[self.where[name]]), "")
        self.mistakes.add(n, names[0], "a name", repr(typed) if typed else "nothing")

    def _cell(self, n: int, row: list[str], name: str, parse: Callable[[str], Any], expected: str) -> Any:
        if name not in self.where:
            return parse("")
        at = self.where[name]
        if (n, at) in self.table.unsaved:
            found = "a formula without a saved result; open the workbook, let it calculate, and save it"
            self.mistakes.add(n, self.table.header[at], expected, found)
            return None
        try:
            return parse(row[at])
        except ValueError:
            self.mistakes.add(n, self.table.header[at], expected, repr(row[at]) if row[at] else "nothing")

    def _age(self, n: int, row: list[str]) -> float | None:
        """The age in the table, otherwise completed years from birth to scan, or to surgery without a scan date."""
        age = self._cell(n, row, "age_years", parse_age, f"years up to {OLDEST_YEARS}")
        birth = None if age is not None else self._day(n, row, "birth_date")
        if not isinstance(birth, date):
            return age if isinstance(age, float) else None
        for name, when in AGE_AT.items():
            day = self._day(n, row, name)
            if day is not None:
                try:
                    age = years_between(birth, day)
                except ValueError as error:
                    self.mistakes.add(n, self.table.header[self.where[name]], "a day after birth", str(error))
                    return None
                self.n_from_dates[when] = self.n_from_dates.get(when, 0) + 1
                return age
        return None

    def _day(self, n: int, row: list[str], name: str) -> date | None:
        """A date; a mistake shows its form, never the date itself."""
        if name not in self.where:
            return None
        text = row[self.where[name]]
        try:
            return parse_date(text, self.orders[name])
        except ValueError as error:
            form = re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", text))[:24]
            expected = (
                "a date such as 2021-12-31 (12/03/2021 only where other dates of the column show the order)"
            )
            self.mistakes.add(n, self.table.header[self.where[name]], expected, f"{error}, written as {form}")
            return None

    def _path(self, text: str) -> Path | None:
        """Relative to the table's folder if there is such a file; otherwise as typed, for the import to find."""
        if not text:
            return None
        path = Path(text.replace("\\", "/"))
        next_to_table = existing(self.path.parent / path)
        return next_to_table.resolve() if next_to_table is not None else path

    def _excluded(self, n: int, row: list[str]) -> str:
        said = self._cell(n, row, "exclude", parse_exclude, "yes, no or a reason")
        reason = str(self._cell(n, row, "exclusion_reason", parse_reason, "a reason") or "")
        if said is None:
            return reason
        out, word = said
        if not out and reason:
            at = self.table.header[self.where["exclusion_reason"]]
            self.mistakes.add(n, at, "no exclusion reason for a case that is not excluded", repr(reason))
        return (reason or word or "excluded in the label table, without a reason") if out else ""

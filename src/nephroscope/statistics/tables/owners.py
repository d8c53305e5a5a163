"""Which columns and rows of a CSV are meant in; the rows, and whose each is, out, with what a reader should know."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.records import counted_noun
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.tables.columns import CASE, MISSING, PATIENT, TRUTH, CsvTable, read_csv


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which columns are meant; what is not said is guessed from usual names.

    Attributes:
        only: COLUMN=VALUE, the rows to keep; all of them must hold.
        labels: A table with a row per case, whose columns are added by case.
        lower_is_positive: Low scores mean positive.
        drop_missing: Leave out rows without a value that is needed.
    """

    truth: str | None = None
    positive: str | None = None
    score: tuple[str, ...] = ()
    patient: str | None = None
    case: str | None = None
    only: tuple[str, ...] = ()
    labels: Path | None = None
    lower_is_positive: bool = False
    drop_missing: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Owners:
    """Whose each row is.

    Attributes:
        ids: Patient, or case where no patient is told, of each row.
        patients: The same, numbered.
        column: Where they stand; None where each row counts as a patient of its own.
        unit: case where each row is one, else image.
    """

    ids: tuple[str, ...]
    patients: Patients
    column: str | None
    unit: str

    @property
    def clustered(self) -> bool:
        """True where rows share patients, so that formulas for independent rows do not hold."""
        return self.patients.n < self.patients.row.size


def read_rows(path: Path, asked: Asked) -> CsvTable:
    """The table with the columns of ``labels``, and the rows that ``only`` keeps.

    Raises:
        CohortError: A table is none, no column holds the truth, or a case is not labelled.
        ConfigError: Which rows to keep is not said as COLUMN=VALUE.
    """
    table = read_csv(path)
    case = table.find(asked.case, CASE, "--case")
    if asked.labels is not None:
        labels = read_csv(asked.labels)
        key = table.need(asked.case, CASE, "--case")
        table = table.joined(labels, key, labels.need(None, (key.casefold(), *CASE), "--labels"))
    elif asked.truth is None and case is not None and table.find(None, TRUTH, "--truth") is None:
        raise CohortError(
            where=table.name,
            expected=f"a column named {', '.join(TRUTH)}",
            found=", ".join(table.header),
            remedy="name the column with --truth, or a table that tells the truth and the patient of each case "
            "with --labels, such as the predictions.csv beside a slices.csv",
        )
    return replace(
        kept(table, asked.only), remedy="correct it, or leave rows without a value out with --drop-missing"
    )


def complete(table: CsvTable, columns: Collection[str], asked: Asked) -> tuple[CsvTable, list[str]]:
    """The rows with a value in these columns, a case and a patient, where that is asked for; and what is left out."""
    if not asked.drop_missing:
        return table, []
    columns = [*columns, *(title for title in _owner_columns(table, asked, columns) if title is not None)]
    at = [table.header.index(column) for column in columns]
    rows = tuple(row for row in table.rows if all(row[1][i] not in MISSING for i in at))
    n = len(table.rows) - len(rows)
    if not n:
        return table, []
    note = f"{n} of {len(table.rows)} rows left out: no value of {' or '.join(c or '(no name)' for c in columns)}"
    return replace(table, rows=rows), [note]


def kept(table: CsvTable, only: Sequence[str]) -> CsvTable:
    """The table with the rows that hold all of COLUMN=VALUE.

    Raises:
        ConfigError: A condition is no COLUMN=VALUE, or no row holds it.
        CohortError: Its column does not exist.
    """
    for condition in only:
        column, is_one, value = condition.partition("=")
        if not is_one:
            raise ConfigError(
                where="--only", expected="COLUMN=VALUE", found=repr(condition), remedy="write it with ="
            )
        at = table.header.index(table.need(column, (), "--only"))
        values = sorted({row[at] for _, row in table.rows})
        if value not in values:
            raise ConfigError(
                where=f"{table.name}, column {column}",
                expected=f"a row with {value!r}",
                found=", ".join(values[:6]),
                remedy="correct --only",
            )
        table = replace(table, rows=tuple(row for row in table.rows if row[1][at] == value))
    return table


def owners_of(table: CsvTable, asked: Asked, truth: Sequence[str], used: Collection[str] = ()) -> Owners:
    """Whose each row is: by the patient column, else the case column, else each row for itself.

    Args:
        table: The rows.
        asked: Which columns are meant.
        truth: Of each row.
        used: Columns of truth, scores or calls: never taken for the case or patient unless asked for.

    Raises:
        CohortError: A row stands twice, or a case has two patients or two truths.
    """
    case, patient = _owner_columns(table, asked, used)
    cases = table.texts(case) if case is not None else None
    ids = table.texts(patient) if patient is not None else cases
    if cases is not None:
        _refuse_twins(table)
        _refuse_two(table, cases, truth, "one truth")
        if patient is not None:
            _refuse_two(table, cases, table.texts(patient), "one patient")
    whole = tuple(ids or (f"{i:09d}" for i in range(len(table.rows))))
    order = {value: i for i, value in enumerate(sorted(set(truth)))}
    patients = Patients.of(whole, np.array([order[value] for value in truth], dtype=np.intp))
    a_case = patients.n == len(whole) or (cases is not None and len(set(cases)) == len(cases))
    return Owners(
        ids=whole,
        patients=patients,
        column=case if patient is None else patient,
        unit="case" if a_case else "image",
    )


def notes_on(table: CsvTable, owners: Owners) -> list[str]:
    """What the reader should know of the rows: shared patients, several sets, a leak."""
    notes = []
    if owners.clustered:
        n, rows = owners.patients.n, len(table.rows)
        notes.append(
            f"{counted_noun(rows, 'row')} of {counted_noun(n, 'patient')} (column {owners.column}): "
            f"rows of one patient are not independent, "
            "so DeLong over rows does not hold; intervals and tests go over patients"
        )
    elif owners.column is None:
        notes.append("no column of patients or cases: each row is taken for a patient of its own")
    by_name = {title.casefold(): i for i, title in enumerate(table.header)}
    of_candidates = {"name", "kind", "case_id", "fold"} <= by_name.keys()  # else a name may be a patient's
    for column in ("group", *["name"] * of_candidates):
        values = sorted({row[by_name[column]] for _, row in table.rows}) if column in by_name else []
        if len(values) > 1:
            kinds = ", ".join(values[:5])
            notes.append(
                f"column {column} has {len(values)} values ({kinds}), pooled here; --only {column}=VALUE keeps one"
            )
    if "protocol" in by_name and any("LEAKY" in row[by_name["protocol"]] for _, row in table.rows):
        notes.append("LEAKY split by image: slices of one patient train and test; these figures flatter")
    return notes


def _owner_columns(table: CsvTable, asked: Asked, used: Collection[str]) -> tuple[str | None, str | None]:
    """Headers of the case and of the patient."""
    case = table.find(asked.case, CASE, "--case", used)
    return case, table.find(asked.patient, PATIENT, "--patient", used)


def _refuse_twins(table: CsvTable) -> None:
    first: dict[tuple[str, ...], int] = {}
    for number, row in table.rows:
        if row in first:
            raise CohortError(
                where=f"{table.name}, row {number}",
                expected="every row once",
                found=f"the same as row {first[row]} in every cell",
                remedy="remove one, or add a column that tells them apart, such as slice_index",
            )
        first[row] = number


def _refuse_two(table: CsvTable, cases: Sequence[str], values: Sequence[str], expected: str) -> None:
    first: dict[str, tuple[str, int]] = {}
    for (number, _), case, value in zip(table.rows, cases, values, strict=True):
        known, row = first.setdefault(case, (value, number))
        if known != value:
            raise CohortError(
                where=f"{table.name}, row {number}, case {case}",
                expected=f"{expected} of a case",
                found=f"another in row {row}",
                remedy="correct the row, or name other columns with --case and --patient",
            )

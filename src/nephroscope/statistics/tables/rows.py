"""The rows of a table that a statistic uses, and which patient each belongs to, with notes for the user."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from nephroscope.base.errors import ConfigError
from nephroscope.records import counted_noun
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.tables.columns import CASE, MISSING, PATIENT, TRUTH, CsvTable, read_csv

FOLD = ("fold", "folds", "cv_fold", "fold_id")
WEIGHTS = ("weight", "weights", "sample_weight", "sample_weights", "w", "ipw", "case_weight")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Which columns and rows to use; a column that is not named is found by its usual names.

    Attributes:
        only: COLUMN=VALUE, the rows to keep; all conditions must hold.
        labels: A table with a row per case, whose columns are added by case.
        lower_is_positive: Low scores mean positive.
        drop_missing: Leave out rows in which a required value is missing.
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
    """Which patient each row belongs to.

    Attributes:
        ids: Patient of each row, or case where there is no column of patients.
        patients: The same, numbered.
        column: The column they are from; None where each row counts as another patient.
        unit: case where each row is one, else image.
    """

    ids: tuple[str, ...]
    patients: Patients
    column: str | None
    unit: Literal["image", "case"]

    @property
    def clustered(self) -> bool:
        """True where rows share patients, so that formulas for independent rows do not hold."""
        return self.patients.n < self.patients.row.size


def read_rows(path: Path, options: ReadOptions) -> CsvTable:
    """The table with the columns of ``labels``, and the rows that ``only`` keeps.

    Raises:
        CohortError: A file is not a table, no column holds the truth, or a case is not labelled.
        ConfigError: A condition for the rows to keep is not COLUMN=VALUE.
    """
    table = read_csv(path)
    case = table.find(options.case, CASE, "--case")
    if options.labels is not None:
        labels = read_csv(options.labels)
        key = table.need(options.case, CASE, "--case")
        table = table.joined(labels, key, labels.need(None, (key.casefold(), *CASE), "--labels"))
    elif options.truth is None and case is not None and table.find(None, TRUTH, "--truth") is None:
        raise table.refusal(
            f"a column named {', '.join(TRUTH)}",
            table.titles,
            "name the column with --truth, or with --labels a table with the truth and the patient of each "
            "case, such as the predictions.csv in the same folder as a slices.csv",
        )
    return replace(
        _rows_with(table, options.only),
        remedy="correct it, or leave out rows without a value with --drop-missing",
    )


def drop_missing(
    table: CsvTable, columns: Collection[str], options: ReadOptions
) -> tuple[CsvTable, list[str]]:
    """The rows with a value in these columns, a case and a patient, and a note on the others; all rows by default."""
    if not options.drop_missing:
        return table, []
    columns = [*columns, *(title for title in _owner_columns(table, options, columns) if title is not None)]
    at = [table.header.index(column) for column in columns]
    rows = tuple(row for row in table.rows if all(row[1][i] not in MISSING for i in at))
    n = len(table.rows) - len(rows)
    if not n:
        return table, []
    note = f"{n} of {len(table.rows)} rows left out: no value of {' or '.join(c or '(no name)' for c in columns)}"
    return replace(table, rows=rows), [note]


def _rows_with(table: CsvTable, only: Sequence[str]) -> CsvTable:
    """The rows that fulfil every condition COLUMN=VALUE.

    Raises:
        ConfigError: A condition is no COLUMN=VALUE, or no row holds it.
        CohortError: Its column does not exist.
    """
    for condition in only:
        column, is_one, value = condition.partition("=")
        if not is_one:
            raise ConfigError(
                where="--only", expected="COLUMN=VALUE", found=repr(condition), remedy="add the ="
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


def owners_of(
    table: CsvTable, options: ReadOptions, truth: Sequence[str], used: Collection[str] = ()
) -> Owners:
    """Which patient each row belongs to: by the patient column, else the case column, else each row another one.

    Args:
        table: The rows.
        options: Which columns to use.
        truth: Of each row.
        used: Columns of truth, scores or calls: never taken for the case or patient unless asked for.

    Raises:
        CohortError: A row occurs twice, or a case has two patients or two truths.
    """
    case, patient = _owner_columns(table, options, used)
    cases = table.texts(case) if case is not None else None
    ids = table.texts(patient) if patient is not None else cases
    if cases is not None:
        _refuse_twins(table)
        table.check_same(cases, truth, "one truth")
        if patient is not None:
            table.check_same(cases, table.texts(patient), "one patient")
    whole = tuple(ids or (f"{i:09d}" for i in range(len(table.rows))))
    order = {value: i for i, value in enumerate(sorted(set(truth)))}
    folds = {fold: i for i, fold in enumerate(sorted(set(_folds(table))))}
    patients = Patients.of(whole, np.array([order[value] for value in truth], dtype=np.intp), folds.values())
    a_case = patients.n == len(whole) or (cases is not None and len(set(cases)) == len(cases))
    return Owners(
        ids=whole,
        patients=patients,
        column=case if patient is None else patient,
        unit="case" if a_case else "image",
    )


def notes_on(table: CsvTable, owners: Owners) -> list[str]:
    """What the user should know about the rows: shared patients, several test sets, a leak."""
    notes = []
    if owners.clustered:
        n, rows = owners.patients.n, len(table.rows)
        notes.append(
            f"{counted_noun(rows, 'row')} of {counted_noun(n, 'patient')} (column {owners.column}): rows of one "
            "patient are not independent, so intervals and tests are computed by patient"
        )
    elif owners.column is None:
        notes.append("no column of patients or cases: each row is taken as a different patient")
    notes += _notes_on_folds(table, owners)
    if weights := [title for title in table.header if title.casefold() in WEIGHTS]:
        notes.append(f"column {', '.join(weights)} is not used: every row counts once")
    by_name = {title.casefold(): i for i, title in enumerate(table.header)}
    of_candidates = {"name", "kind", "case_id", "fold"} <= by_name.keys()  # else a name may be a patient's
    for column in ("group", *["name"] * of_candidates):
        values = sorted({row[by_name[column]] for _, row in table.rows}) if column in by_name else []
        if len(values) > 1:
            kinds = ", ".join(values[:5])
            notes.append(
                f"column {column} has {len(values)} values ({kinds}), pooled here; --only {column}=VALUE selects one"
            )
    if "protocol" in by_name and any("LEAKY" in row[by_name["protocol"]] for _, row in table.rows):
        notes.append(
            "LEAKY split by image: slices of one patient are used in both training and testing, so "
            "these figures are too good"
        )
    return notes


def _folds(table: CsvTable) -> list[str]:
    """The fold that answered each row; empty without such a column, or where a cell of it is empty."""
    title = next((title for title in table.header if title.casefold() in FOLD), None)
    cells = [] if title is None else table.cells(title)
    return cells if MISSING.isdisjoint(cells) else []


def _notes_on_folds(table: CsvTable, owners: Owners) -> list[str]:
    """That the rows are cross-validated, and a patient who is in several folds."""
    if owners.patients.n_folds < 2:
        return []
    folds, of = _folds(table), dict[str, set[str]]()
    for patient, fold in zip(owners.ids, folds, strict=True):
        of.setdefault(patient, set()).add(fold)
    notes = [
        f"rows of {owners.patients.n_folds} folds, taken as cross-validated: the headline and tests have the larger "
        "variance of several fits; --only fold=VALUE selects one"
    ]
    if shared := sum(len(folds) > 1 for folds in of.values()):
        notes.append(
            f"{counted_noun(shared, 'patient')} in several folds: a fit that answered one of their rows may have "
            "learned from another"
        )
    return notes


def _owner_columns(
    table: CsvTable, options: ReadOptions, used: Collection[str]
) -> tuple[str | None, str | None]:
    """Headers of the case and of the patient."""
    case = table.find(options.case, CASE, "--case", used)
    return case, table.find(options.patient, PATIENT, "--patient", used)


def _refuse_twins(table: CsvTable) -> None:
    first: dict[tuple[str, ...], int] = {}
    for number, row in table.rows:
        if row in first:
            raise table.refusal(
                "every row once",
                f"the same as row {first[row]} in every cell",
                "remove one, or add a column in which they differ, such as slice_index",
                f"row {number}",
            )
        first[row] = number

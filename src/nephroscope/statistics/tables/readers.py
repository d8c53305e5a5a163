"""Tables of several readers: ratings for the multi-reader analysis, calls for kappa."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.base.tables import LISTED
from nephroscope.base.text import is_not_sure
from nephroscope.statistics.kappa import Weights
from nephroscope.statistics.metrics import Floats
from nephroscope.statistics.mrmc_design import Design, Figure, numbered
from nephroscope.statistics.tables.columns import CASE, MISSING, PATIENT, TRUTH, CsvTable, number_of

READER = ("reader", "reader_id", "observer", "rater", "radiologist")
TREATMENT = ("treatment", "modality", "test", "system", "condition", "aided", "method")
RATING = ("rating", "score", "confidence", "probability", "p", "call")


@dataclass(frozen=True, kw_only=True)
class MrmcColumns:
    """Which column is which; None: by its usual name. ``positive`` is the truth's positive value."""

    reader: str | None = None
    treatment: str | None = None
    case: str | None = None
    truth: str | None = None
    rating: str | None = None
    patient: str | None = None
    positive: str | None = None


def read_design(table: CsvTable, columns: MrmcColumns, figure: Figure, threshold: float | None) -> Design:
    """The crossing that a table holds.

    Args:
        table: One row per reader, treatment and case; without a column of treatments there is one.
        columns: Which is which.
        figure: For shares, ratings become 1 from ``threshold`` on, else 0.
        threshold: None where ratings are 0 and 1.

    Raises:
        CohortError: A row is twice or missing, a case has two truths or patients, or a rating is no number.
    """
    readers = table.texts(table.need(columns.reader, READER, "--reader"))
    treatment = table.find(columns.treatment, TREATMENT, "--treatment")
    treatments = table.texts(treatment) if treatment else ["all"] * len(readers)
    cases = table.texts(table.need(columns.case, CASE, "--case"))
    truth, _ = table.positives(table.need(columns.truth, TRUTH, "--truth"), columns.positive)
    ratings = table.numbers(table.need(columns.rating, RATING, "--rating"))
    patient = table.find(columns.patient, PATIENT, "--patient")
    patients = table.texts(patient) if patient else cases
    if figure != "auc":
        ratings = _called(table.name, ratings, threshold)
    truth_of = dict(zip(cases, truth.tolist(), strict=True))
    patient_of = dict(zip(cases, patients, strict=True))
    rows = list(zip(table.rows, cases, truth.tolist(), patients, strict=True))
    for (number, _), case, positive, owner in rows:
        if truth_of[case] != positive or patient_of[case] != owner:
            raise CohortError(
                where=f"{table.name}, row {number}, case {case}",
                expected="one truth and one patient for a case in all its rows",
                found="another one in another row",
                remedy="correct the table",
            )
    names = (_order(treatments), _order(readers), tuple(truth_of))
    cells = list(zip(treatments, readers, cases, strict=True))
    return Design(
        treatments=names[0],
        readers=names[1],
        ratings=_crossing(table, names, cells, ratings),
        truth=np.array([truth_of[case] for case in names[2]]),
        patient=numbered([patient_of[case] for case in names[2]]),
    )


def _crossing(
    table: CsvTable,
    names: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]],
    cells: Sequence[tuple[str, str, str]],
    ratings: Floats,
) -> Floats:
    """Ratings as (I, J, n), every cell filled once."""
    at = [{name: i for i, name in enumerate(of)} for of in names]
    crossing = np.full([len(of) for of in names], np.nan)
    for (number, _), (treatment, reader, case), rating in zip(table.rows, cells, ratings, strict=True):
        where = (at[0][treatment], at[1][reader], at[2][case])
        if not np.isnan(crossing[where]):
            raise CohortError(
                where=f"{table.name}, row {number}",
                expected="one rating of a case by a reader with a treatment",
                found=f"a second one of case {case} by reader {reader} with treatment {treatment}",
                remedy="remove one of the rows, or name the column of treatments with --treatment",
            )
        crossing[where] = rating
    missing = np.argwhere(np.isnan(crossing))
    if len(missing):
        listed = "; ".join(
            f"reader {names[1][j]}, case {names[2][k]}, treatment {names[0][i]}"
            for i, j, k in missing[:LISTED]
        )
        more = f"; and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
        raise CohortError(
            where=table.name,
            expected="a rating of every case by every reader with every treatment",
            found=f"{len(missing)} of {crossing.size} missing: {listed}{more}",
            remedy="add these rows, or leave the cases or readers out; nested designs are not analysed",
        )
    return crossing


def _called(name: str, ratings: Floats, threshold: float | None) -> Floats:
    """1 where the case is called positive, else 0."""
    if threshold is not None:
        called: Floats = (ratings >= threshold).astype(float)
        return called
    if not np.isin(ratings, (0, 1)).all():
        raise CohortError(
            where=f"{name}, column of ratings",
            expected="calls, 0 or 1, for sensitivity, specificity and accuracy",
            found="other numbers",
            remedy="say from which rating on a case is called positive: --threshold",
        )
    return ratings


def _order(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


CALL = ("call", "label", "rating", "diagnosis", "subtype", "answer", "category")


@dataclass(frozen=True, kw_only=True)
class KappaColumns:
    """Which column is which; None: by its usual name. ``wide``: one column per reader instead."""

    reader: str | None = None
    case: str | None = None
    call: str | None = None
    patient: str | None = None
    wide: Sequence[str] = ()


def read_readings(table: CsvTable, columns: KappaColumns) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Reader to call by case, and whose each case is. An empty call, or NA, is none.

    Raises:
        CohortError: A reader calls a case twice, a reader or a call is written in two ways, a case has two patients,
            or there are fewer than two readers.
    """
    case = table.find(columns.case, CASE, "--case")
    cases = table.texts(case) if case else [f"row {number}" for number, _ in table.rows]
    patient = table.find(columns.patient, PATIENT, "--patient")
    patients = table.texts(patient) if patient else cases
    patient_of: dict[str, str] = {}
    for (number, _), name, owner in zip(table.rows, cases, patients, strict=True):
        if patient_of.setdefault(name, owner) != owner:
            raise _refusal(table, number, f"one patient of case {name}", f"{owner} and {patient_of[name]}")
    if columns.wide:
        names = [table.need(name, (), "--columns") for name in columns.wide]
        given = [
            (n, reader, c, row[table.header.index(reader)])
            for reader in names
            for n, c, row in _by(table, cases)
        ]
    else:
        readers = table.texts(table.need(columns.reader, READER, "--reader, or --columns in a wide table"))
        at = table.header.index(table.need(columns.call, CALL, "--call"))
        given = [(n, r, c, row[at]) for r, (n, c, row) in zip(readers, _by(table, cases), strict=True)]
    _refuse_two_spellings(table, given)
    _refuse_two_cases(table, given)
    readings: dict[str, dict[str, str]] = {}
    for number, reader, name, call in given:
        of_reader = readings.setdefault(reader, {})
        if name in of_reader:
            raise _refusal(table, number, f"one call of case {name} by reader {reader}", "a second one")
        if call not in MISSING:
            of_reader[name] = call
    if len(readings) < 2:
        raise CohortError(
            where=table.name,
            expected="two readers or more",
            found=f"{len(readings)}",
            remedy="add readers, or name their columns with --columns",
        )
    return readings, patient_of


def order_of(
    readings: Mapping[str, Mapping[str, str]], order: Sequence[str], weights: Weights
) -> tuple[str, ...]:
    """Calls from lowest to highest where weights need them; empty without weights. "Not sure" needs no place.

    Raises:
        ConfigError: The calls are no numbers and no order is said, or it lacks a call.
    """
    if weights == "none" and not order:
        return ()
    calls = {call for of in readings.values() for call in of.values() if not is_not_sure(call)}
    missing = sorted(calls - set(order))
    if order and not missing:
        return tuple(order)
    values = {call: number_of(call) for call in calls}
    if not order and all(map(math.isfinite, values.values())) and len(set(values.values())) == len(calls):
        return tuple(sorted(calls, key=lambda call: values[call]))
    seen = list(values.values())
    no_numbers = sorted(c for c, value in values.items() if not math.isfinite(value) or seen.count(value) > 1)
    raise ConfigError(
        where="--order",
        expected=f"every call from lowest to highest, for {weights} weights",
        found=f"{' '.join(order)}; the table also has {', '.join(missing)}"
        if order
        else f"nothing, and calls that are no numbers, or one number twice: {', '.join(no_numbers)}",
        remedy="list all calls after --order",
    )


def _refuse_two_spellings(table: CsvTable, given: Sequence[tuple[int, str, str, str]]) -> None:
    """One reader as "Dr. A" and "dr a" would be two, who never meet on a case."""
    first: dict[str, tuple[str, int]] = {}
    for number, reader, _, _ in given:
        name, row = first.setdefault(
            " ".join(re.findall(r"\w+", reader.casefold())) or reader, (reader, number)
        )
        if name != reader:
            raise CohortError(
                where=f"{table.name}, row {number}",
                expected=f"a reader written in one way ({name}, in row {row})",
                found=reader,
                remedy="write the reader alike in all rows, or give two readers names that differ in more",
            )


def _refuse_two_cases(table: CsvTable, given: Sequence[tuple[int, str, str, str]]) -> None:
    """ChRCC and chrcc are one call, and as two they would disagree."""
    first: dict[str, str] = {}
    for number, _, _, call in given:
        known = first.setdefault(call.casefold(), call)
        if known != call and call not in MISSING and not is_not_sure(call):
            raise _refusal(table, number, f"a call written in one way ({known}, as in another row)", call)


def _by(table: CsvTable, cases: Sequence[str]) -> list[tuple[int, str, tuple[str, ...]]]:
    """Row number, case and cells of each row."""
    return [(number, case, row) for (number, row), case in zip(table.rows, cases, strict=True)]


def _refusal(table: CsvTable, number: int, expected: str, found: str) -> CohortError:
    return CohortError(
        where=f"{table.name}, row {number}", expected=expected, found=found, remedy="correct the table"
    )

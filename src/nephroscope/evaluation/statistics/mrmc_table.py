"""A long table, one row per reader, treatment and case, in; a full crossing out, or what it lacks, cell by cell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nephroscope.cohort.tables import LISTED
from nephroscope.errors import CohortError
from nephroscope.evaluation.metrics import Floats
from nephroscope.evaluation.statistics.columns import CASE, PATIENT, TRUTH, CsvTable
from nephroscope.evaluation.statistics.mrmc_design import Design, Figure, numbered

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

"""Tables of several readers: ratings for the multi-reader analysis, calls for kappa."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

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


def read_design(
    table: CsvTable, columns: Mapping[str, str | None], figure: Figure, threshold: float | None
) -> Design:
    """The crossing of readers, treatments and cases in a table.

    Args:
        table: One row per reader, treatment and case; without a column of treatments there is one.
        columns: Title of the column ``reader``, ``treatment``, ``case``, ``truth``, ``rating`` and ``patient``, None
            for the usual one; and ``positive``, the positive value of the truth.
        figure: For shares, ratings become 1 from ``threshold`` on, else 0.
        threshold: None where ratings are 0 and 1.

    Raises:
        CohortError: A row occurs twice or is missing, a case has two truths or patients, or a rating is no number.
    """
    readers = table.texts(table.need(columns["reader"], READER, "--reader"))
    treatment = table.find(columns["treatment"], TREATMENT, "--treatment")
    treatments = table.texts(treatment) if treatment else ["all"] * len(readers)
    cases = table.texts(table.need(columns["case"], CASE, "--case"))
    title = table.need(columns["truth"], TRUTH, "--truth")
    truth, _ = table.positives(title, columns["positive"])
    ratings = table.numbers(table.need(columns["rating"], RATING, "--rating"))
    patient = table.find(columns["patient"], PATIENT, "--patient")
    patients = table.texts(patient) if patient else cases
    if figure != "auc":
        ratings = _called(table, ratings, threshold)
    table.check_same(cases, table.texts(title), "one truth")
    table.check_same(cases, patients, "one patient")
    truth_of = dict(zip(cases, truth.tolist(), strict=True))
    patient_of = dict(zip(cases, patients, strict=True))
    names = (tuple(dict.fromkeys(treatments)), tuple(dict.fromkeys(readers)), tuple(truth_of))
    return Design(
        treatments=names[0],
        readers=names[1],
        ratings=_crossing(table, names, list(zip(treatments, readers, cases, strict=True)), ratings),
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
            raise table.refusal(
                "one rating of a case by a reader with a treatment",
                f"a second one of case {case} by reader {reader} with treatment {treatment}",
                "remove one of the rows, or name the column of treatments with --treatment",
                f"row {number}",
            )
        crossing[where] = rating
    missing = np.argwhere(np.isnan(crossing))
    if len(missing):
        listed = "; ".join(
            f"reader {names[1][j]}, case {names[2][k]}, treatment {names[0][i]}"
            for i, j, k in missing[:LISTED]
        )
        more = f"; and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
        raise table.refusal(
            "a rating of every case by every reader with every treatment",
            f"{len(missing)} of {crossing.size} missing: {listed}{more}",
            "add these rows, or leave the cases or readers out; nested designs are not analyzed",
        )
    return crossing


def _called(table: CsvTable, ratings: Floats, threshold: float | None) -> Floats:
    """1 where the case is called positive, else 0."""
    if threshold is not None:
        return np.where(ratings >= threshold, 1.0, 0.0)
    if not np.isin(ratings, (0, 1)).all():
        raise table.refusal(
            "calls, 0 or 1, for sensitivity, specificity and accuracy",
            "other numbers",
            "give the lowest rating that is called positive: --threshold",
            "column of ratings",
        )
    return ratings


CALL = ("call", "label", "rating", "diagnosis", "subtype", "answer", "category")


def read_readings(
    table: CsvTable, columns: Mapping[str, str | None], wide: Sequence[str]
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Each reader's call by case, and the patient of each case. An empty call, or NA, is none.

    Args:
        table: One row per reader and case, or per case.
        columns: Title of the column ``reader``, ``case``, ``call`` and ``patient``, None for the usual one.
        wide: Columns of the readers, where there is one row per case.

    Raises:
        CohortError: A reader calls a case twice, a reader or a call is written in two ways, a case has two patients,
            or there are fewer than two readers.
    """
    numbers = [number for number, _ in table.rows]
    case = table.find(columns["case"], CASE, "--case")
    cases = table.texts(case) if case else [f"row {number}" for number in numbers]
    patient = table.find(columns["patient"], PATIENT, "--patient")
    patients = table.texts(patient) if patient else cases
    table.check_same(cases, patients, "one patient")
    if wide:
        titles = [table.need(title, (), "--columns") for title in wide]
        of_titles = ([title] * len(cases) for title in titles)
        parts = zip(of_titles, map(table.cells, titles), strict=True)
    else:
        readers = table.texts(table.need(columns["reader"], READER, "--reader, or --columns in a wide table"))
        parts = zip([readers], [table.cells(table.need(columns["call"], CALL, "--call"))], strict=True)
    given = [row for of, calls in parts for row in zip(numbers, of, cases, calls, strict=True)]
    refuse_two_spellings(table.name, [(number, reader, reader) for number, reader, _, _ in given])
    readings: dict[str, dict[str, str]] = {}
    first: dict[str, str] = {}
    for number, reader, name, call in given:
        of_reader, known = readings.setdefault(reader, {}), first.setdefault(call.casefold(), call)
        place, remedy = f"row {number}", "correct the table"
        if known != call and call not in MISSING and not is_not_sure(call):  # ChRCC and chrcc would disagree
            expected = f"a call written in one way ({known}, as in another row)"
            raise table.refusal(expected, call, remedy, place)
        if name in of_reader:
            raise table.refusal(f"one call of case {name} by reader {reader}", "a second one", remedy, place)
        if call not in MISSING:
            of_reader[name] = call
    if len(readings) < 2:
        remedy = "add readers, or name their columns with --columns"
        raise table.refusal("two readers or more", f"{len(readings)}", remedy)
    return readings, dict(zip(cases, patients, strict=True))


def refuse_two_spellings(table: str, rows: Iterable[tuple[int, str, str]]) -> None:
    """One reader as "Dr. A" and "dr a" would count as two, who never read the same case.

    Args:
        table: Name of the file.
        rows: Row number, name of the reader, and the name with what else must be the same in all rows.

    Raises:
        CohortError: A reader is written in two ways.
    """
    first: dict[str, tuple[str, int]] = {}
    for number, reader, written in rows:
        name = " ".join(re.findall(r"\w+", reader.casefold())) or reader
        known, row = first.setdefault(name, (written, number))
        if known != written:
            raise CohortError(
                where=f"{table}, row {number}",
                expected=f"a reader written in one way ({known}, in row {row})",
                found=written,
                remedy="write the reader the same way in all rows, or give two readers clearly different names",
            )


def order_of(
    readings: Mapping[str, Mapping[str, str]], order: Sequence[str], weights: Weights
) -> tuple[str, ...]:
    """Calls from lowest to highest where weights need them; empty without weights. "Not sure" needs no place.

    Raises:
        ConfigError: The calls are no numbers and no order is given, or a call is missing in it.
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

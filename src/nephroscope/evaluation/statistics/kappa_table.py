"""A table of calls, long or with a column per reader, in; each reader's call of each case out."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nephroscope.errors import CohortError, ConfigError
from nephroscope.evaluation.kappa import Weights
from nephroscope.evaluation.not_sure import is_not_sure
from nephroscope.evaluation.statistics.columns import CASE, MISSING, PATIENT, CsvTable, number_of
from nephroscope.evaluation.statistics.mrmc_table import READER

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

"""Two columns of calls compared with the truth: how often each is correct, overall and by class, with tests."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nephroscope.base.errors import ConfigError
from nephroscope.base.tables import Mistakes
from nephroscope.records import EvaluationConfig
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.mcnemar import McNemarTest, mcnemar
from nephroscope.statistics.metrics import Bools
from nephroscope.statistics.tables.columns import MISSING, TRUTH, CsvTable
from nephroscope.statistics.tables.rows import (
    Owners,
    ReadOptions,
    drop_missing,
    notes_on,
    owners_of,
    read_rows,
)

CALL = re.compile(
    r"(call|pred|prediction|predicted|y_pred|reader|rater|model|decision)s?([_ .-].+)?", re.IGNORECASE
)

EVERYDAY = {"0", "1", "2", "0.0", "1.0", "yes", "no", "y", "n", "true", "false", "t", "f", "+", "-"}


@dataclass(frozen=True, kw_only=True)
class ComparedCalls:
    """Tests by name: ``all`` (accuracy), then one for each value of the truth (its sensitivity)."""

    columns: tuple[str, str]
    truth: str
    n_rows: int
    n_patients: int
    tests: dict[str, McNemarTest]
    notes: tuple[str, ...]


def compare_calls(
    path: Path, call: Sequence[str], options: ReadOptions, config: EvaluationConfig
) -> ComparedCalls:
    """Compare two columns of calls with the truth.

    Args:
        path: The table.
        call: Two columns; none for the only two that are named as calls are, or hold the words of the truth.
        options: Columns of truth, patient and case, and the rows to keep.
        config: Confidence; resamples and seed where rows share patients.

    Raises:
        ConfigError: There are not two columns of calls.
        CohortError: A column is missing, or a call is not a value of the truth.
    """
    table = read_rows(path, options)
    column = table.need(options.truth, TRUTH, "--truth")
    titles = [table.need(title, (), "--call") for title in call] or _usual_calls(table, column)
    if len(set(titles)) != 2 or len(titles) != 2 or column in titles:
        raise ConfigError(
            where="--call",
            expected=f"two columns of calls other than the truth ({column})",
            found=", ".join(call or titles) or f"none among {table.titles}",
            remedy="name two",
        )
    table, left_out = drop_missing(table, (column, *titles), options)
    texts = np.array(table.texts(column))
    right = [_right(table, title, texts) for title in titles]
    owners = owners_of(table, options, texts.tolist(), (column, *titles))
    masks = {"all": np.ones(texts.size, dtype=bool)}
    masks |= {str(value): texts == value for value in sorted(set(texts.tolist()))}
    tests = {name: _test(right, mask, owners, texts, config) for name, mask in masks.items()}
    return ComparedCalls(
        columns=(titles[0], titles[1]),
        truth=column,
        n_rows=texts.size,
        n_patients=owners.patients.n,
        tests=tests,
        notes=(*left_out, *notes_on(table, owners)),
    )


def _usual_calls(table: CsvTable, truth: str) -> list[str]:
    """Columns named as calls are, with a cell that is a value of the truth; else those that hold its words alone.

    Columns of yes and no could be anything, and are not used.
    """
    words = {row[table.header.index(truth)] for _, row in table.rows}
    cells = {title: {row[i] for _, row in table.rows} - set(MISSING) for i, title in enumerate(table.header)}
    named = [t for t in table.header if t != truth and CALL.fullmatch(t) and cells[t] & words]
    if named or {word.casefold() for word in words} & EVERYDAY:
        return named
    return [t for t in table.header if t != truth and cells[t] and cells[t] <= words]


def _test(
    right: Sequence[Bools],
    mask: Bools,
    owners: Owners,
    truth: np.ndarray[tuple[int], np.dtype[np.str_]],
    config: EvaluationConfig,
) -> McNemarTest:
    one, two = (each[mask] for each in right)
    own = [owners.ids[i] for i in np.flatnonzero(mask).tolist()]
    _, classes = np.unique(truth[mask], return_inverse=True)
    patients = replace(Patients.of(own, classes.astype(np.intp)), n_folds=owners.patients.n_folds)
    return mcnemar(one, two, patients, config, owners.unit)


def _right(table: CsvTable, title: str, truth: np.ndarray[tuple[int], np.dtype[np.str_]]) -> Bools:
    """Which calls are right, (n,); a word that the truth never uses is refused, not counted as wrong."""
    mistakes, known = Mistakes(table.name), sorted(set(truth.tolist()))
    calls = table.texts(title)
    for (number, _), value in zip(table.rows, calls, strict=True):
        if value not in known:
            mistakes.add(number, title, f"a value of the truth ({', '.join(known[:6])})", repr(value))
    mistakes.refuse()
    right: Bools = np.array(calls) == truth
    return right

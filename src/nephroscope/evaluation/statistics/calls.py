"""A CSV of two columns of calls in; how often each is right, by class too, and the tests out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nephroscope.cohort.tables import Mistakes
from nephroscope.errors import ConfigError
from nephroscope.evaluation.intervals import Patients
from nephroscope.evaluation.metrics import Bools
from nephroscope.evaluation.statistics.columns import TRUTH, CsvTable
from nephroscope.evaluation.statistics.mcnemar import McNemarTest, clustered_mcnemar, exact_mcnemar
from nephroscope.evaluation.statistics.owners import Asked, notes_on, owners_of, read_rows
from nephroscope.records import EvaluationConfig


@dataclass(frozen=True, kw_only=True)
class ComparedCalls:
    """Tests by name: ``all`` (accuracy), then one for each value of the truth (its sensitivity)."""

    columns: tuple[str, str]
    truth: str
    n_rows: int
    n_patients: int
    tests: dict[str, McNemarTest]
    notes: tuple[str, ...]


def compare_calls(path: Path, call: Sequence[str], asked: Asked, config: EvaluationConfig) -> ComparedCalls:
    """Compare two columns of calls with the truth.

    Args:
        path: The table.
        call: Two columns.
        asked: Columns of truth, patient and case, and the rows to keep.
        config: Confidence; resamples and seed where rows share patients.

    Raises:
        ConfigError: There are not two columns of calls.
        CohortError: A column is missing, or a call is no value of the truth.
    """
    table = read_rows(path, asked)
    column = table.need(asked.truth, TRUTH, "--truth")
    titles = [table.need(title, (), "--call") for title in call]
    if len(set(titles)) != 2 or len(titles) != 2 or column in titles:
        raise ConfigError(
            where="--call",
            expected=f"two columns beside the truth, {column}",
            found=", ".join(call) or "none",
            remedy="name two",
        )
    texts = np.array(table.texts(column))
    right = [_right(table, title, texts) for title in titles]
    owners = owners_of(table, asked, texts.tolist())
    masks = {"all": np.ones(texts.size, dtype=bool)}
    masks |= {str(value): texts == value for value in sorted(set(texts.tolist()))}
    tests = {name: _test(right, mask, owners.ids, texts, config) for name, mask in masks.items()}
    return ComparedCalls(
        columns=(titles[0], titles[1]),
        truth=column,
        n_rows=texts.size,
        n_patients=owners.patients.n,
        tests=tests,
        notes=tuple(notes_on(table, owners)),
    )


def _test(
    right: Sequence[Bools],
    mask: Bools,
    ids: Sequence[str],
    truth: np.ndarray[tuple[int], np.dtype[np.str_]],
    config: EvaluationConfig,
) -> McNemarTest:
    one, two = (each[mask] for each in right)
    own = [ids[i] for i in np.flatnonzero(mask).tolist()]
    if len(set(own)) == len(own):
        return exact_mcnemar(one, two, config.confidence)
    _, classes = np.unique(truth[mask], return_inverse=True)
    return clustered_mcnemar(one, two, Patients.of(own, classes.astype(np.intp)), config)


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

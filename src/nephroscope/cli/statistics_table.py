"""What the statistics of a table share on the command line: options, how figures are written, shape of the answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import CohortError
from nephroscope.cli.command import Command, NamesOption, Outcome, PathOption, Switch, TextOption, table
from nephroscope.records import Estimate, EvaluationConfig, counted_noun, p_words

if TYPE_CHECKING:
    from nephroscope.statistics.tables.rows import ReadOptions
    from nephroscope.statistics.tables.scores import Scored

TablePath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.csv")]


@dataclass(frozen=True, kw_only=True)
class IntervalCommand(Command):
    """Options of every statistic with bootstrap intervals."""

    file: TablePath
    """The table, as CSV."""
    confidence: float = 0.95
    """Confidence level of every interval."""
    resamples: int = 2000
    """Number of bootstrap resamples of patients."""
    seed: int = 0
    """Random seed of the bootstrap."""

    @property
    def config(self) -> EvaluationConfig:
        """The settings of the intervals."""
        return EvaluationConfig(confidence=self.confidence, resamples=self.resamples, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class TableCommand(IntervalCommand):
    """Options of every statistic of predictions or calls: a row per case, or per slice with a column of patients."""

    truth: TextOption = None
    """Column of the truth; by default truth, outcome, label, subtype ..."""
    patient: TextOption = None
    """Column of the patient; by default patient_id, patient, subject ..."""
    case: TextOption = None
    """Column of the case; by default case_id, case, id."""
    labels: PathOption = None
    """A second table with a row per case; its columns (truth, patient_id ...) are joined by case."""
    only: Annotated[tuple[str, ...], tyro.conf.arg(metavar="COLUMN=VALUE ...", help_behavior_hint="")] = ()
    """Use only rows with COLUMN=VALUE, such as group=out-of-fold."""
    drop_missing: Switch = False
    """Leave out rows in which a required value is missing (empty, NA); a note says how many."""

    @property
    def read_options(self) -> "ReadOptions":
        """Which columns and rows are used."""
        from nephroscope.statistics.tables.rows import ReadOptions

        known = {field.name for field in fields(ReadOptions)}
        return ReadOptions(**{name: value for name, value in vars(self).items() if name in known})


@dataclass(frozen=True, kw_only=True)
class ScoreCommand(TableCommand):
    """Further options of statistics of scores or probabilities."""

    positive: TextOption = None
    """Value of the truth that counts as positive; needed unless it is 1, yes, true or positive."""
    score: NamesOption = ()
    """Columns of scores; by default score, probability, prob, p_SUBTYPE, model_A ..."""


@dataclass(frozen=True, kw_only=True)
class ProbabilityCommand(ScoreCommand):
    """Statistics of probabilities; a positive value among more than two is compared with all others together."""

    def scored(self) -> "Scored":
        """The columns of the table.

        Raises:
            ConfigError: A column is the probability of another value than the positive one.
        """
        from nephroscope.statistics.tables.scores import read_probabilities

        return read_probabilities(self.file, self.read_options)

    def probabilities(self) -> "Scored":
        """The same; every cell of every column of scores is a number from 0 to 1.

        Raises:
            CohortError: A cell is not; where most are not, the column is refused as a whole.
        """
        found = self.scored()
        for name, values in found.scores.items():
            outside = int(((values < 0) | (values > 1)).sum())
            if 2 * outside > values.size:
                raise CohortError(
                    where=f"{found.table.name}, column {name}",
                    expected="probabilities from 0 to 1",
                    found=f"{outside} of {values.size} rows outside, from {values.min():g} to {values.max():g}",
                    remedy="name the column of probabilities with --score",
                )
            found.table.numbers(name, 0.0, 1.0)
        return found


def answer(
    scored: "Scored",
    rows: Sequence[Mapping[str, object]],
    lines: Iterable[str],
    notes: Sequence[str],
    more: Mapping[str, object] | None = None,
) -> Outcome:
    """Facts of the table, an entry for each column of scores under ``scores``, and the first also at the top level.

    Args:
        scored: The table.
        rows: An entry for each column; values may be records.
        lines: What is printed below the first line.
        notes: What the user should know.
        more: Further facts; with them the rows are the caller's.
    """
    patients = scored.owners.patients.n
    n, n_positive = scored.is_positive.size, int(scored.is_positive.sum())
    facts = {
        "file": scored.table.name,
        "rows": n,
        "positive_rows": n_positive,
        "patients": patients,
        "patient_column": scored.owners.column,
        "clustered": scored.owners.clustered,
        "truth": scored.truth,
        "positive": scored.positive,
        "notes": list(notes),
    }
    head = (
        f"{scored.table.name}: {counted_noun(n, 'row')} of {counted_noun(patients, 'patient')}; {scored.truth} is "
        f"{scored.positive} (positive) in {counted_noun(n_positive, 'row')}, another in {n - n_positive}"
    )
    data = as_plain({**facts, **(more or {"scores": rows}), **rows[0]})
    return Outcome(data=data, text="\n".join([head, *lines, *note_lines(notes)]))


def limits_text(estimate: Estimate) -> list[str]:
    """Value and interval of an estimate, as two cells."""
    if estimate.low is None or estimate.high is None:
        return [number_text(estimate.value), "none"]
    return [number_text(estimate.value), f"{estimate.low:.4f} to {estimate.high:.4f}"]


def figures_table(figures: Mapping[str, Estimate], head: str, column: str = "value") -> str:
    """Name, value, interval and method of each figure."""
    rows = [[name, *limits_text(estimate), estimate.method] for name, estimate in figures.items()]
    return table(rows, [head, column, "interval", "method"])


def point_text(value: float, low: float, high: float) -> list[str]:
    """Value and limits of a point of a curve, as two cells; a limit that does not exist is NaN."""
    limits = f"{low:.4f} to {high:.4f}" if low == low else "none"
    return [f"{round(value, 4) + 0.0:.4f}", limits]


def number_text(value: float | None) -> str:
    """Four digits, or nothing."""
    return "" if value is None else f"{value:.4f}"


def p_text(value: float | None) -> str:
    """A p-value to four decimals, as the packages in R print it; none where there is no test."""
    return "none" if value is None else p_words(value, 4)


def note_lines(notes: Iterable[str]) -> list[str]:
    """Notes as lines."""
    return [f"note: {note}" for note in notes]

"""What the statistics of a table share on the command line: their options, and how figures are written."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nephroscope.cli.command import Command
from nephroscope.records import Estimate, EvaluationConfig, p_words

if TYPE_CHECKING:
    from nephroscope.statistics.tables.owners import Asked

TablePath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.csv")]


@dataclass(frozen=True, kw_only=True)
class TableCommand(Command):
    """What every statistic of a table has."""

    file: TablePath
    """CSV with a row per case, or per slice with the patient beside it."""
    truth: str | None = None
    """Column of the truth; by default truth, outcome, label, subtype ..."""
    patient: str | None = None
    """Column of the patient; by default patient_id, patient, subject ..."""
    case: str | None = None
    """Column of the case; by default case_id, case, id."""
    labels: Path | None = None
    """A table with a row per case, whose columns (truth, patient_id ...) are added by case."""
    only: tuple[str, ...] = ()
    """Keep the rows that hold COLUMN=VALUE, such as group=out-of-fold."""
    drop_missing: bool = False
    """Leave out rows without a value (empty, NA) that is needed; how many is told."""
    confidence: float = 0.95
    """Of every interval."""
    resamples: int = 2000
    """Patient-bootstrap resamples."""
    seed: int = 0
    """Of the bootstrap."""

    @property
    def config(self) -> EvaluationConfig:
        """The settings of the intervals."""
        return EvaluationConfig(confidence=self.confidence, resamples=self.resamples, seed=self.seed)

    @property
    def asked(self) -> "Asked":
        """Which columns and rows are meant."""
        from nephroscope.statistics.tables.owners import Asked

        known = {field.name for field in fields(Asked)}
        return Asked(**{name: value for name, value in vars(self).items() if name in known})


@dataclass(frozen=True, kw_only=True)
class ScoreCommand(TableCommand):
    """What statistics of scores have beside."""

    positive: str | None = None
    """Value of the truth that counts as positive; needed unless it is 1, yes, true or positive."""
    score: tuple[str, ...] = ()
    """Columns of scores; by default score, probability, prob, p_SUBTYPE, model_A ..."""
    lower_is_positive: bool = False
    """Low scores mean positive. Never guessed."""


def limits_text(estimate: Estimate) -> list[str]:
    """Value and interval of an estimate, as two cells."""
    if estimate.low is None or estimate.high is None:
        return [number_text(estimate.value), "none"]
    return [number_text(estimate.value), f"{estimate.low:.4f} to {estimate.high:.4f}"]


def number_text(value: float | None) -> str:
    """Four digits, or nothing."""
    return "" if value is None else f"{value:.4f}"


def p_text(value: float | None) -> str:
    """A p-value to four decimals, as the packages in R print it; none where there is no test."""
    return "none" if value is None else p_words(value, 4)


def told(notes: Iterable[str]) -> list[str]:
    """Notes as lines."""
    return [f"note: {note}" for note in notes]

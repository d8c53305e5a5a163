"""What statistics of probabilities share on the command line: options, reading of columns, shape of the answer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nephroscope.base.errors import CohortError
from nephroscope.cli.command import Outcome
from nephroscope.cli.statistics_table import TableCommand, told
from nephroscope.records import counted_noun

if TYPE_CHECKING:
    from nephroscope.statistics.metrics import Floats
    from nephroscope.statistics.tables.scores import Scored


@dataclass(frozen=True, kw_only=True)
class ProbabilityCommand(TableCommand):
    """What statistics of probabilities have beside."""

    positive: str | None = None
    """Value of the truth that the probability is of; needed unless it is 1, yes, true or positive. Of more than two
    values, this one stands against all others."""
    score: tuple[str, ...] = ()
    """Columns of probabilities; by default score, probability, prob, p_SUBTYPE, model_A ..."""

    def scored(self) -> "Scored":
        """The table's columns.

        Raises:
            ConfigError: A column is the probability of another value than the positive one.
        """
        from nephroscope.statistics.tables.scores import read_probabilities

        return read_probabilities(self.file, self.asked)

    def probabilities(self) -> "Scored":
        """The same, every cell of every column of scores being a number from 0 to 1.

        Raises:
            CohortError: A cell is none; where most are not, the column is refused as a whole.
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


def limited(value: "float | Floats", low: "float | Floats", high: "float | Floats") -> list[str]:
    """Value and limits of a point of a curve, as two cells."""
    known = float(low) == float(low)  # a limit that cannot be had is NaN
    return [
        f"{round(float(value), 4) + 0.0:.4f}",
        f"{float(low):.4f} to {float(high):.4f}" if known else "none",
    ]


def head_text(scored: "Scored") -> str:
    """How many rows, patients and positives there are."""
    n, positive = scored.is_positive.size, int(scored.is_positive.sum())
    return (
        f"{scored.table.name}: {counted_noun(n, 'row')} of "
        f"{counted_noun(scored.owners.patients.n, 'patient')}; {scored.truth} is "
        f"{scored.positive} (positive) in {counted_noun(positive, 'row')}, another in {n - positive}"
    )


def unit_of(scored: "Scored") -> Literal["image", "case"]:
    """What a row is."""
    return "case" if scored.owners.unit == "case" else "image"


def outcome_of(
    scored: "Scored", rows: Sequence[dict[str, Any]], lines: Iterable[str], more: Sequence[str] = ()
) -> Outcome:
    """Facts of the table, every column under ``scores``, and the first also at the top."""
    notes = [*_notes(scored), *more]
    facts = {
        "file": scored.table.name,
        "rows": scored.is_positive.size,
        "positive_rows": int(scored.is_positive.sum()),
        "patients": scored.owners.patients.n,
        "patient_column": scored.owners.column,
        "clustered": scored.owners.clustered,
        "truth": scored.truth,
        "positive": scored.positive,
        "notes": notes,
    }
    return Outcome(data=facts | {"scores": list(rows)} | rows[0], text="\n".join([*lines, *told(notes)]))


def _notes(scored: "Scored") -> list[str]:
    """The table's notes; what they say of AUC formulas is said of intervals."""
    return [note.replace("so DeLong over rows does not hold; ", "so ") for note in scored.notes]

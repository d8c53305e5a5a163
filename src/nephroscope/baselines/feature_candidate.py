"""A candidate from a table of features: study data in, a penalised logistic regression on some columns out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nephroscope.baselines.candidate import StudyData
from nephroscope.baselines.features import FeatureTable
from nephroscope.baselines.folds import Floats, Ints
from nephroscope.baselines.logistic import FittedLogistic, fit_logistic

METHOD = (
    "ridge-penalised logistic regression (multinomial for more than two subtypes); inside the training cases gaps "
    "are filled with medians and marked, features scaled, and the penalty of least log loss chosen in 5 folds of "
    "patients"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedFeatures:
    """A regression and the table from which it reads a case's features."""

    table: FeatureTable
    logistic: FittedLogistic

    def probabilities(self, case_ids: Sequence[str]) -> Floats:
        """Probabilities (n, K) of the subtypes in the cohort's order."""
        return self.logistic.probabilities(self.table.rows(case_ids))


def _lacks_nothing(data: StudyData) -> str:
    return ""


def _tells_nothing(data: StudyData) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, kw_only=True)
class FeatureCandidate:
    """What one file of `candidates/` makes: a name, what it is, and how its features are got.

    Attributes:
        name: Column of tables, option of commands.
        told: What it is, in a sentence for the report's methods.
        table: Its features, computed or from the cache; a row for every case of the cohort.
        lacks: Why there cannot be any on this study, known without computing them; empty when there can.
        tells: What a reader must know of them on this study.
    """

    name: str
    told: str
    table: Callable[[StudyData], FeatureTable]
    lacks: Callable[[StudyData], str] = _lacks_nothing
    tells: Callable[[StudyData], tuple[str, ...]] = _tells_nothing

    def missing(self, data: StudyData) -> str:
        """Why it cannot be computed on this study; empty when it can."""
        if reason := self.lacks(data):
            return reason
        table = self.table(data)
        return f"{self.name}: not one value is known ({_first(table)})" if table.empty else ""

    def remarks(self, data: StudyData) -> tuple[str, ...]:
        """What a reader must know: what `tells` says, and how many cases have gaps, with a reason."""
        table = self.table(data)
        gaps = sum(case_id in table.notes for case_id in table.case_ids)
        told = (f"{gaps} of {len(table.case_ids)} cases with gaps ({_first(table)})",) if gaps else ()
        return (*self.tells(data), *told)

    def fit(self, data: StudyData, case_ids: Sequence[str], labels: Ints, seed: int) -> FittedFeatures:
        """Learn from these cases alone."""
        table, by_id = self.table(data), data.cohort.by_id
        rows = table.rows(case_ids)
        patient_ids = [by_id[case_id].patient_id for case_id in case_ids]
        logistic = fit_logistic(rows, labels, patient_ids, len(data.cohort.subtypes), seed)
        return FittedFeatures(table=table, logistic=logistic)


def _first(table: FeatureTable) -> str:
    return next((_of_case(*item) for item in table.notes.items()), "no reason is known")


def _of_case(case_id: str, note: str) -> str:
    return f"case {case_id}: {note.removeprefix(f'case {case_id}: ')}"

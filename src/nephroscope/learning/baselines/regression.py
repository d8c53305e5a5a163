"""A learner from a table of features: penalised logistic regression on its columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nephroscope.learning.baselines.features import FeatureTable
from nephroscope.learning.baselines.inner_folds import (
    INNER_FOLDS,
    SMALLEST,
    Floats,
    Ints,
    by_patient,
    log_losses,
    patient_folds,
)
from nephroscope.learning.learner import StudyData

# Inverse of the ridge penalty, from "the prevalence, whatever the features say" to "almost none".
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
MOST_ROUNDS = 10_000  # of the solver; far more than it needs, as the penalty keeps weights finite
FARTHEST_SD = 10.0  # a value further from the training cases' mean than this many SD counts as this far


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedLogistic:
    """Filling, scaling and weights learnt from training cases.

    Attributes:
        strength: The inverse penalty that was chosen; None where all training cases are of one subtype.
        inner_loss: Mean log loss over patients, in inner folds, by inverse penalty; empty where none was chosen.
    """

    n_subtypes: int
    strength: float | None
    inner_loss: dict[float, float]
    counts: Ints
    steps: Any
    model: Any

    def probabilities(self, values: Floats) -> Floats:
        """Probabilities (n, K) of rows of features (n, F), NaN where not known."""
        return _spread(self.model, _prepare(self.steps, values), self.counts)


def fit_logistic(
    values: Floats, labels: Ints, patient_ids: Sequence[str], n_subtypes: int, seed: int
) -> FittedLogistic:
    """Choose the penalty by the log loss in inner folds of patients, then fit on all cases.

    Of equal losses the stronger penalty is taken.

    Args:
        values: Features (n, F); NaN where not known.
        labels: Index of each case's subtype, (n,).
        patient_ids: Of each case: all tumors of a patient are in one inner fold.
        n_subtypes: K; a subtype may have no training case.
        seed: Of the inner folds.
    """
    counts = np.bincount(labels, minlength=n_subtypes).astype(np.intp)
    losses = _inner_losses(values, labels, patient_ids, (n_subtypes, seed))
    strength = min(losses, key=lambda c: (round(losses[c], 9), c)) if losses else STRENGTHS[0]
    steps = _steps().fit(values)
    model = _model(_prepare(steps, values), labels, strength)
    return FittedLogistic(
        n_subtypes=n_subtypes,
        strength=strength if model is not None else None,
        inner_loss=losses,
        counts=counts,
        steps=steps,
        model=model,
    )


def _inner_losses(
    values: Floats, labels: Ints, patient_ids: Sequence[str], sizes_and_seed: tuple[int, int]
) -> dict[float, float]:
    """Mean over patients of the log loss of cases that were left out, by inverse penalty; empty for one patient."""
    n_subtypes, seed = sizes_and_seed
    folds = patient_folds(labels, patient_ids, INNER_FOLDS, seed)
    if folds.max(initial=0) == 0 or len(np.unique(labels)) < 2:
        return {}
    left_out = {strength: np.empty((len(labels), n_subtypes)) for strength in STRENGTHS}
    for fold in range(folds.max() + 1):
        train, test = folds != fold, folds == fold
        steps = _steps().fit(values[train])
        counts = np.bincount(labels[train], minlength=n_subtypes).astype(np.intp)
        prepared, asked = _prepare(steps, values[train]), _prepare(steps, values[test])
        turn = _turn(prepared)
        for strength, probabilities in left_out.items():
            model = _model(prepared @ turn, labels[train], strength)
            probabilities[test] = _spread(model, asked @ turn, counts)
    return {
        strength: float(by_patient(log_losses(probabilities, labels), patient_ids).mean())
        for strength, probabilities in left_out.items()
    }


def _steps() -> Any:
    """Median for what is not known, with a column that says so; then mean 0 and SD 1."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    filled = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return make_pipeline(filled, StandardScaler())


def _prepare(steps: Any, values: Floats) -> Floats:
    prepared: Floats = np.clip(steps.transform(values), -FARTHEST_SD, FARTHEST_SD)
    return prepared


def _turn(prepared: Floats) -> Floats:
    """A rotation (F, r) onto the r directions in which (n, F) cases differ; identity where that saves nothing.

    A ridge penalty does not see rotations, and its weights have no part outside these directions: the fit is the
    same. Source: Hastie and Tibshirani, Efficient quadratic regularization for expression arrays, Biostatistics 2004.
    """
    n, n_features = prepared.shape
    if n_features <= n:
        return np.eye(n_features)
    directions: Floats = np.linalg.svd(prepared, full_matrices=False)[2].T
    return directions


def _model(prepared: Floats, labels: Ints, strength: float) -> Any:
    """The regression, multinomial for more than two subtypes; None where there is only one."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        return None
    model = LogisticRegression(C=strength, max_iter=MOST_ROUNDS, tol=1e-6)
    return model.fit(prepared, labels)


def _spread(model: Any, prepared: Floats, counts: Ints) -> Floats:
    """Probabilities over all subtypes: one without training cases gets Laplace's 1 / (n + K), the others the rest.

    None is quite zero. Without a model (one subtype alone) every case gets (count + 1) / (n + K).
    """
    shares = (counts + 1) / (counts.sum() + len(counts))
    spread: Floats = np.tile(shares, (len(prepared), 1))
    if model is not None:
        seen = counts > 0
        spread[:, seen] = model.predict_proba(prepared) * shares[seen].sum()
    return (1 - SMALLEST) * spread + SMALLEST / len(counts)


METHOD = (
    "ridge-penalized logistic regression (multinomial for more than two subtypes); inside the training cases gaps "
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


def _always_available(data: StudyData) -> str:
    return ""


def _no_notes(data: StudyData) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, kw_only=True)
class FeatureLearner:
    """A baseline from one row of features for each case.

    Attributes:
        name: Column of tables, option of commands.
        description: What it is, in a sentence for the report's methods.
        table: Its features, computed or from the cache; a row for every case of the cohort.
        unavailable: Why there cannot be any on this study, known without computing them; empty when there can.
        notes: Sentences on them for this study.
    """

    name: str
    description: str
    table: Callable[[StudyData], FeatureTable]
    unavailable: Callable[[StudyData], str] = _always_available
    notes: Callable[[StudyData], tuple[str, ...]] = _no_notes

    def missing(self, data: StudyData) -> str:
        """Why it cannot be computed on this study; empty when it can."""
        if reason := self.unavailable(data):
            return reason
        table = self.table(data)
        return f"{self.name}: not one value is known ({_first(table)})" if table.empty else ""

    def remarks(self, data: StudyData) -> tuple[str, ...]:
        """The notes on its features, and how many cases have gaps, with a reason."""
        table = self.table(data)
        gaps = sum(case_id in table.notes for case_id in table.case_ids)
        gap_note = (f"{gaps} of {len(table.case_ids)} cases with gaps ({_first(table)})",) if gaps else ()
        return (*self.notes(data), *gap_note)

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

"""Elastic-net logistic regression on features of training cases; everything is chosen inside these cases.

The number of features, the penalty's strength and its mix are those with the lowest cross-entropy in an inner
cross-validation by patient, in which the features are selected again within each inner training part.

Source: elastic net, Zou and Hastie 2005, J R Stat Soc B 67:301.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from nephroscope.learning.baselines.inner_folds import (
    INNER_FOLDS,
    Floats,
    Ints,
    by_patient,
    log_losses,
    patient_folds,
)

COUNTS = (5, 10, 20)  # features at most
STRENGTHS = (0.03, 0.3, 3.0)  # scikit-learn's C: the inverse of the penalty
MIXES = (0.2, 0.8)  # share of the L1 penalty
CORRELATED = 0.9  # absolute Spearman correlation
LARGEST = 5.0  # standardised values are cut here: ratios of textures can be enormous


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the inner cross-validation chose."""

    n_features: int
    strength: float
    mix: float


class Selection:
    """Median, scale and the columns worth having, in the order of their worth; learnt from training rows alone.

    Dropped are columns that hardly vary or have no value in half of the rows, and of columns that are correlated
    the one that separates the subtypes less. The order is that of the analysis of variance's F.

    Args:
        values: (n, p), NaN where a feature is not defined.
        labels: (n,).
    """

    def __init__(self, values: Floats, labels: Ints) -> None:
        known = np.isfinite(values)
        filled = np.where(known, values, 0.0)
        usable = known.mean(axis=0) > 0.5
        self.median = np.array(
            [np.median(filled[known[:, j], j]) if usable[j] else 0.0 for j in range(values.shape[1])]
        )
        filled = np.where(known, values, self.median)
        self.mean, sd = filled.mean(axis=0), filled.std(axis=0)
        varied = usable & (sd > 1e-6 * np.maximum(1e-6, np.abs(self.mean)))
        self.sd = np.where(varied, sd, 1.0)
        self.columns = _distinct(self._scaled(values), labels, np.flatnonzero(varied))

    def __call__(self, values: Floats, n_features: int) -> Floats:
        """The best ``n_features`` columns, standardised, (n, at most n_features)."""
        return self._scaled(values)[:, self.columns[:n_features]]

    def _scaled(self, values: Floats) -> Floats:
        filled = np.where(np.isfinite(values), values, self.median)
        scaled: Floats = np.clip((filled - self.mean) / self.sd, -LARGEST, LARGEST)
        return scaled


def _distinct(scaled: Floats, labels: Ints, columns: Ints) -> Ints:
    """Columns by falling F, without those correlated with a better one; at most the largest count."""
    from scipy.stats import rankdata

    groups = [scaled[labels == label][:, columns] for label in np.unique(labels)]
    within = sum(((group - group.mean(axis=0)) ** 2).sum(axis=0) for group in groups)
    total = ((scaled[:, columns] - scaled[:, columns].mean(axis=0)) ** 2).sum(axis=0)
    worth = (total - within) / np.maximum(within, 1e-12)  # F, but for a factor that all columns share
    ordered = columns[np.argsort(-worth, kind="stable")]
    ranks = rankdata(scaled[:, ordered], axis=0)
    ranks = (ranks - ranks.mean(axis=0)) / np.maximum(ranks.std(axis=0), 1e-12)
    kept: list[int] = []
    for j in range(ordered.size):
        if len(kept) == max(COUNTS):
            break
        rho = ranks[:, kept].T @ ranks[:, j] / len(ranks) if kept else np.zeros(0)
        if not kept or np.abs(rho).max() <= CORRELATED:
            kept.append(j)
    return ordered[kept]


class ElasticNet:
    """A fitted model: features (n, p) in, probabilities (n, K) out.

    Args:
        values: (n, p), NaN where a feature is not defined.
        labels: Index of each row's subtype, (n,).
        patients: patient_id of each row; inner folds go by it.
        n_subtypes: K.
        seed: Of the inner folds and the solver.
    """

    def __init__(
        self, values: Floats, labels: Ints, patients: Sequence[str], n_subtypes: int, seed: int
    ) -> None:
        counts = np.bincount(labels, minlength=n_subtypes)
        self.seen = counts > 0
        self.shares = (counts + 1) / (counts.sum() + n_subtypes)  # Laplace's, for what nothing is known of
        self.selection = Selection(values, labels)
        self.choice: Choice | None = None
        self._model: Any = None
        if self.seen.sum() > 1 and self.selection.columns.size:
            self.choice = choose(values, labels, patients, seed)
            self._model = _fit(self.selection(values, self.choice.n_features), labels, self.choice, seed)

    def probabilities(self, values: Floats) -> Floats:
        """Probabilities (n, K); the shares of the training cases where nothing could be learnt."""
        result: Floats = np.tile(self.shares, (len(values), 1))
        if self._model is not None and self.choice is not None:
            known = self._model.predict_proba(self.selection(values, self.choice.n_features))
            result[:, self.seen] = known * self.shares[self.seen].sum()
        return result


def choose(values: Floats, labels: Ints, patients: Sequence[str], seed: int) -> Choice:
    """The setting with the lowest cross-entropy over patients that were left out; of equals the simplest.

    Features are selected again within each inner training part. Where a part lacks a subtype it is passed over.
    """
    choices = [
        Choice(n_features=count, strength=strength, mix=mix)
        for count, strength, mix in product(COUNTS, STRENGTHS, MIXES)
    ]
    losses: list[list[Floats]] = [[] for _ in choices]
    tested: list[str] = []
    folds = patient_folds(labels, patients, INNER_FOLDS, seed)
    for fold in range(folds.max() + 1):
        train, test = folds != fold, folds == fold
        if np.unique(labels[train]).size < np.unique(labels).size:
            continue
        selection = Selection(values[train], labels[train])
        if not selection.columns.size:
            continue
        tested += [patient for patient, out in zip(patients, test, strict=True) if out]
        for held, choice in zip(losses, choices, strict=True):
            model = _fit(selection(values[train], choice.n_features), labels[train], choice, seed)
            p = model.predict_proba(selection(values[test], choice.n_features))
            held.append(log_losses(p, np.searchsorted(model.classes_, labels[test])))
    if not tested:
        return choices[0]
    means = [round(float(by_patient(np.concatenate(held), tested).mean()), 9) for held in losses]
    return choices[means.index(min(means))]


def _fit(scaled: Floats, labels: Ints, choice: Choice, seed: int) -> Any:
    import sklearn
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    newer = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) >= (1, 8)
    named = {} if newer else {"penalty": "elasticnet"}  # later versions read it from the mix
    model = LogisticRegression(
        solver="saga",
        C=choice.strength,
        l1_ratio=choice.mix,
        max_iter=2000,
        tol=1e-3,
        random_state=seed,
        **named,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the penalty keeps a hardly converged fit sane
        return model.fit(scaled, labels)

"""Combine several learners: a weight for each, from their out-of-fold probabilities and the labels.

The probabilities must come from folds that did not train on the case. With few cases weights stay near the mean.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from nephroscope.base.errors import ConfigError
from nephroscope.learning.baselines.inner_folds import (
    INNER_FOLDS,
    Floats,
    Ints,
    by_patient,
    log_losses,
    patient_folds,
)

SHRINKAGES = (
    math.inf,
    1000.0,
    300.0,
    100.0,
    30.0,
    10.0,
    3.0,
    1.0,
    0.3,
)  # strongest first: inf is the plain mean
SUREST = 1e-3  # members are taken to be no surer than this: so few cases cannot prove more


@dataclass(frozen=True, kw_only=True)
class StackWeights:
    """How members are combined: the softmax of their weighted logits plus offsets.

    Attributes:
        weights: One for each member, not negative; 1/m each is the plain mean of logits.
        offsets: One for each subtype.
        shrinkage: How strongly weights were held to the plain mean; None where they are the plain mean.
    """

    weights: tuple[float, ...]
    offsets: tuple[float, ...]
    shrinkage: float | None

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def fit_stack(member_p: Floats, labels: Ints, patient_ids: Sequence[str], seed: int) -> StackWeights:
    """Weights of members, held to the plain mean as strongly as inner folds of patients allow.

    Of the strengths tried, the strongest is taken whose log loss is no worse than the best one's by more than a
    standard error of their paired difference over patients: so weights leave the mean only for a reason.
    Source: Breiman, Stacked regressions, Machine Learning 1996 (weights not negative); Hastie, Tibshirani and
    Friedman, The Elements of Statistical Learning, 7.10 (one standard error).

    Args:
        member_p: Out-of-fold probabilities (m, n, K).
        labels: Index of each case's subtype, (n,).
        patient_ids: Of each case.
        seed: Of the inner folds.

    Raises:
        ConfigError: There is no member, a probability is not finite, or the shapes disagree.
    """
    logits = _logits(member_p)
    if logits.shape[1] != len(labels) or len(labels) != len(patient_ids):
        raise _refused(f"one label and patient for each of {logits.shape[1]} cases", f"{len(labels)} labels")
    folds = patient_folds(labels, patient_ids, INNER_FOLDS, seed)
    if len(np.unique(labels)) < 2 or folds.max() == 0:
        return _solve(logits, labels, patient_ids, math.inf)
    losses = {}
    for shrinkage in SHRINKAGES:
        left_out = np.empty(logits.shape[1:])
        for fold in range(folds.max() + 1):
            train, test = folds != fold, folds == fold
            patients = [each for each, inside in zip(patient_ids, train, strict=True) if inside]
            solved = _solve(logits[:, train], labels[train], patients, shrinkage)
            left_out[test] = _combine(solved, logits[:, test])
        losses[shrinkage] = by_patient(log_losses(left_out, labels), patient_ids)
    return _solve(logits, labels, patient_ids, _strongest_as_good(losses))


def apply_stack(weights: StackWeights, member_p: Floats) -> Floats:
    """Probabilities (n, K) of what the members say, (m, n, K).

    Raises:
        ConfigError: The members are others in number, or a probability is not finite.
    """
    logits = _logits(member_p)
    if (logits.shape[0], logits.shape[2]) != (len(weights.weights), len(weights.offsets)):
        expected = f"{len(weights.weights)} members and {len(weights.offsets)} subtypes"
        raise _refused(expected, f"{logits.shape[0]} and {logits.shape[2]}")
    return _combine(weights, logits)


def _strongest_as_good(losses: dict[float, Floats]) -> float:
    best = min(losses, key=lambda shrinkage: (round(float(losses[shrinkage].mean()), 9), -shrinkage))
    for shrinkage in SHRINKAGES:
        worse = losses[shrinkage] - losses[best]
        error = float(worse.std(ddof=1)) / math.sqrt(len(worse)) if len(worse) > 1 else math.inf
        if worse.mean() <= error:
            return shrinkage
    return best


def _logits(member_p: Floats) -> Floats:
    """Centered log probabilities (m, n, K)."""
    p = np.asarray(member_p, np.float64)
    if p.ndim != 3 or 0 in (p.shape[0], p.shape[2]):
        raise _refused("probabilities (members, cases, subtypes) of one member or more", f"shape {p.shape}")
    if not np.isfinite(p).all():
        raise _refused("finite probabilities", f"{int((~np.isfinite(p)).sum())} that are not")
    logs = np.log(np.clip(p, SUREST, 1.0))
    centered: Floats = logs - logs.mean(axis=2, keepdims=True)
    return centered


def _combine(weights: StackWeights, logits: Floats) -> Floats:
    scores = np.tensordot(np.array(weights.weights), logits, axes=1) + np.array(weights.offsets)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _solve(logits: Floats, labels: Ints, patient_ids: Sequence[str], shrinkage: float) -> StackWeights:
    """Least of: sum over patients of their mean log loss + shrinkage x (|weights - 1/m|^2 + |offsets|^2)."""
    from scipy.optimize import minimize

    m, _, n_subtypes = logits.shape
    start = np.concatenate([np.full(m, 1 / m), np.zeros(n_subtypes)])
    if math.isinf(shrinkage) or len(labels) == 0:
        return _weights(start, m, None)
    _, place = np.unique(np.asarray(patient_ids), return_inverse=True)
    share = 1 / np.bincount(place)[place]  # of each case in its patient
    truth = np.eye(n_subtypes)[labels]

    def loss_and_slope(x: Floats) -> tuple[float, Floats]:
        scores = np.tensordot(x[:m], logits, axes=1) + x[m:]
        top = scores.max(axis=1, keepdims=True)
        logs = scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
        away = (np.exp(logs) - truth) * share[:, None]  # (n, K)
        slope = np.concatenate([np.tensordot(logits, away, axes=2), away.sum(axis=0)])
        loss = -float((share[:, None] * truth * logs).sum()) + shrinkage * float(((x - start) ** 2).sum())
        return loss, slope + 2 * shrinkage * (x - start)

    bounds = [(0.0, None)] * m + [(None, None)] * n_subtypes
    return _weights(
        minimize(loss_and_slope, start, jac=True, bounds=bounds, method="L-BFGS-B").x, m, shrinkage
    )


def _weights(x: Floats, m: int, shrinkage: float | None) -> StackWeights:
    return StackWeights(
        weights=tuple(float(value) for value in x[:m]),
        offsets=tuple(float(value) for value in x[m:]),
        shrinkage=shrinkage,
    )


def _refused(expected: str, found: str) -> ConfigError:
    return ConfigError(
        where="stack",
        expected=expected,
        found=found,
        remedy="give the probabilities of each member for every case",
    )

"""The probabilities of a run rescaled by fits on other patients: temperature or Platt scaling.

Temperature divides the log odds by one number; Platt scaling also shifts them. The order of the cases in a fold does
not change, and so neither does its AUC; what a probability means does. Calls are not changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.optimize import minimize_scalar

from nephroscope.base.errors import ConfigError
from nephroscope.records import OUT_OF_FOLD, Answer
from nephroscope.statistics.logistic import TINY, expit, fit_logistic, logit
from nephroscope.statistics.metrics import Bools, Floats, Ints

How = Literal["temperature", "platt"]
LEAST, MOST = 0.05, 20.0  # bounds of a slope: the order of cases is kept, even if the classes do not overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescaling:
    """The fit for one fold or test set: log odds x become ``intercept + slope * x``.

    With a temperature T, slope is 1/T and intercept 0; for more than two subtypes it multiplies log probabilities.
    Platt scaling of more than two is done for each subtype against the rest, and rescaled to sum to 1.

    Attributes:
        applied_to: Name of the test set, and its fold if it has several.
        fitted_on: Cases and patients of the fit, in words.
        fewest: Cases of the rarest subtype in the fit.
    """

    how: How
    applied_to: str
    fitted_on: str
    n_cases: int
    n_patients: int
    intercept: dict[str, float]
    slope: dict[str, float]
    note: str = ""
    fewest: int = 0


def recalibrate(
    predictions: Sequence[Answer], subtypes: Sequence[str], positive: str, how: How
) -> tuple[tuple[Answer, ...], tuple[Rescaling, ...]]:
    """Predictions with rescaled probabilities, and every fit.

    Out-of-fold cases of a fold are rescaled by a fit on those of the other folds, other test sets by a fit on
    all out-of-fold cases; no patient is ever in both. ``call``, ``forced_call`` and slices stay as they are.

    Raises:
        ConfigError: There are not out-of-fold cases of every subtype to fit on.

    Source:
        Platt 1999, Advances in Large Margin Classifiers (with his targets); Guo 2017, ICML (temperature).
    """
    inner = [p for p in predictions if p.group == OUT_OF_FOLD and p.truth is not None]
    changed: dict[str, Answer] = {}
    fits = []
    for name, fold in dict.fromkeys(_part(p) for p in predictions):
        members = [p for p in predictions if _part(p) == (name, fold)]
        theirs = {p.patient_id for p in members}
        fitted_on = [p for p in inner if p.patient_id not in theirs]
        title = f"{name}, fold {fold}" if fold >= 0 else name
        fit = _fit(fitted_on, subtypes, positive, how, title)
        rescaled = _rescale(_matrix(members, subtypes), subtypes, positive, fit)
        for member, row in zip(members, rescaled, strict=True):
            probabilities = dict(zip(subtypes, row.tolist(), strict=True))
            changed[member.group + "\0" + member.case_id] = replace(member, probabilities=probabilities)
        fits.append(fit)
    return tuple(changed[p.group + "\0" + p.case_id] for p in predictions), tuple(fits)


def _part(p: Answer) -> tuple[str, int]:
    """Test set, and fold where folds count."""
    return p.group, p.fold if p.group == OUT_OF_FOLD else -1


def _matrix(members: Sequence[Answer], subtypes: Sequence[str]) -> Floats:
    return np.array([[p.probabilities[s] for s in subtypes] for p in members], dtype=np.float64)


def _fit(
    members: Sequence[Answer], subtypes: Sequence[str], positive: str, how: How, title: str
) -> Rescaling:
    counts = {s: sum(m.truth == s for m in members) for s in subtypes}
    if min(counts.values()) == 0:
        raise ConfigError(
            where=f"recalibration of {title}",
            expected="out-of-fold cases of every subtype, from other patients, to fit on",
            found=", ".join(f"{n} {s}" for s, n in counts.items()),
            remedy="divide into two folds or more with cases of each subtype in each",
        )
    p = _matrix(members, subtypes)
    truth = np.array([list(subtypes).index(m.truth or "") for m in members], dtype=np.intp)
    if how == "temperature":
        slopes = {"all": _inverse_temperature(p, truth)}
        intercepts = {"all": 0.0}
    else:
        whom = (positive,) if len(subtypes) == 2 else tuple(subtypes)
        pairs = {s: _platt(p[:, list(subtypes).index(s)], truth == list(subtypes).index(s)) for s in whom}
        intercepts, slopes = {s: a for s, (a, _) in pairs.items()}, {s: b for s, (_, b) in pairs.items()}
    at_bound = any(not LEAST * 1.001 < b < MOST * 0.999 for b in slopes.values())
    note = (
        "the fit stopped at its limit: the classes hardly overlap, or the probabilities carry no information"
    )
    n_patients = len({m.patient_id for m in members})
    return Rescaling(
        how=how,
        applied_to=title,
        fitted_on=f"{len(members)} out-of-fold cases of {n_patients} other patients",
        n_cases=len(members),
        n_patients=n_patients,
        intercept=intercepts,
        slope=slopes,
        note=note if at_bound else "",
        fewest=min(counts.values()),
    )


def _inverse_temperature(p: Floats, truth: Ints) -> float:
    """The factor on the log probabilities (n, K) under which the truth is likeliest, within bounds."""
    x = np.log(np.clip(p, TINY, 1.0))
    rows = np.arange(truth.size)

    def loss(log_factor: float) -> float:
        scaled = np.exp(log_factor) * x
        return float((np.logaddexp.reduce(scaled, axis=1) - scaled[rows, truth]).mean())

    found = minimize_scalar(
        loss, bounds=(np.log(LEAST), np.log(MOST)), method="bounded", options={"xatol": 1e-8}
    )
    return float(np.exp(found.x))


def _platt(p: Floats, is_positive: Bools) -> tuple[float, float]:
    """Intercept and slope of the log odds, fitted to Platt's targets, which keep the fit finite."""
    yes = int(is_positive.sum())
    no = is_positive.size - yes
    target = np.where(is_positive, (yes + 1) / (yes + 2), 1 / (no + 2))
    x = logit(p)
    ones = np.ones((1, x.size))
    a, b = 0.0, 0.0
    if np.ptp(x) > 1e-9:
        a, b = fit_logistic(np.column_stack([np.ones(x.size), x]), target, ones)[0]
    if not LEAST <= b <= MOST:  # negative or infinite: keep the order, at the nearer bound
        b = MOST if b > MOST else LEAST
        a = fit_logistic(np.ones((x.size, 1)), target, ones, offset=b * x)[0, 0]
    return float(a), float(b)


def _rescale(p: Floats, subtypes: Sequence[str], positive: str, fit: Rescaling) -> Floats:
    if fit.how == "temperature":
        scaled = fit.slope["all"] * np.log(np.clip(p, TINY, 1.0))
        q: Floats = np.exp(scaled - np.logaddexp.reduce(scaled, axis=1)[:, None])
        return q
    if len(subtypes) == 2:
        at = list(subtypes).index(positive)
        yes = expit(fit.intercept[positive] + fit.slope[positive] * logit(p[:, at]))
        return np.column_stack([yes, 1 - yes] if at == 0 else [1 - yes, yes])
    each = np.column_stack(
        [expit(fit.intercept[s] + fit.slope[s] * logit(p[:, i])) for i, s in enumerate(subtypes)]
    )
    shares: Floats = each / each.sum(axis=1, keepdims=True)
    return shares

"""Calibration: whether the probabilities mean what they say, as figures and as a curve.

Intercept and slope are those of a logistic regression of the outcome on the log odds of the probability: 0 and 1 for
well calibrated probabilities. With a slope below 1 they are too extreme (overconfident), above 1 too close to the
average (underconfident). With an intercept below 0 they are too high on the whole, above 0 too low.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.statistics.intervals import (
    ALIKE,
    ONE_PATIENT,
    Interval,
    Patients,
    Unit,
    clopper_pearson,
    loss_interval,
    no_estimate,
    percentile_interval,
    percentile_limits,
    wilson,
)
from nephroscope.statistics.logistic import expit, fit_logistic, intercept_and_slope, logit, spline
from nephroscope.statistics.metrics import Bools, Floats, Ints
from nephroscope.statistics.resampling import (
    Cells,
    Curve,
    bootstrap_words,
    is_alone,
    no_curve,
    patients_of_each,
    patients_words,
    whole_draws,
    widened_band,
)

FEWEST = 5  # patients of each class that a curve needs
RIDGE = 0.01  # on standardised columns, so that every resample has a curve
GRID = 51
UNSETTLED = "the fit did not settle"
ROWS_A_BIN, MOST_BINS = 10, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One group of rows with like probabilities: their mean, and the share that is positive with its interval."""

    mean_p: float
    observed: Estimate


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CalibrationCurve:
    """The smooth curve (observed share ``y`` over probability ``x``) with its band, and grouped points."""

    curve: Curve
    bins: tuple[Bin, ...]


def calibrate(
    p: Floats, is_positive: Bools, patients: Patients, config: EvaluationConfig, unit: Unit = "case"
) -> dict[str, Estimate]:
    """Intercept (slope held at 1), slope, observed to expected, Brier and scaled Brier score, ICI, E50, E90.

    If every row is another patient's, intercept and slope have profile-likelihood intervals and O:E one on the log
    scale; everything else, and everything if a patient has several rows, is resampled by patient. ``p`` is the
    probability of the positive class, (n,).

    Source:
        Cox 1958, Biometrika 45:562 (intercept, slope); Debray 2017, BMJ 356:i6460 (O:E); Brier 1950; Kattan and Gerds
        2018, Diagn Progn Res 2:7 (scaled Brier); Austin and Steyerberg 2019, Stat Med 38:4051 (ICI, E50, E90).
    """
    found = intercept_and_slope(p, is_positive, patients, config, unit)
    found |= _brier(p, is_positive, patients, config, unit)
    return found | _distances(p, is_positive, patients, config, unit)


def calibrate_each(
    p: Floats, truth: Ints, subtypes: Sequence[str], patients: Patients, config: EvaluationConfig
) -> dict[str, dict[str, Estimate]]:
    """Calibration of every subtype against the rest; ``p`` (n, K) in the order of ``subtypes``."""
    return {s: calibrate(p[:, i], truth == i, patients, config) for i, s in enumerate(subtypes)}


def calibration_curve(
    p: Floats, is_positive: Bools, patients: Patients, config: EvaluationConfig, unit: Unit = "case"
) -> CalibrationCurve:
    """The smooth curve with a patient-bootstrap band, over the range of ``p``, and grouped points.

    The curve is a logistic regression on a restricted cubic spline of the log odds, lightly penalized. It is empty,
    with the reason, if a class has fewer than five patients.

    Source:
        Austin and Steyerberg 2014, Stat Med 33:517; Van Calster 2016, J Clin Epidemiol 74:167, who ask for 200
        of each class for a reliable curve.
    """
    bins = _bins(p, is_positive, patients, config, unit)
    why = _no_smooth(p, is_positive, patients)
    if why:
        return CalibrationCurve(curve=no_curve(patients, why), bins=bins)
    grid = np.linspace(p.min(), p.max(), GRID)
    cells = Cells.of(p, is_positive, whole_draws(patients), bins=logit(p))
    m = cells.value.size
    columns = spline(logit(p), logit(np.concatenate([cells.value, grid])))

    def values(weights: Floats) -> Floats:
        coefficients = fit_logistic(columns[:m], cells.flag, weights, ridge=RIDGE)
        return expit(coefficients @ columns[m:].T)

    y = values(cells.count[None])[0]
    if np.isnan(y).any():
        return CalibrationCurve(curve=no_curve(patients, UNSETTLED), bins=bins)
    low, high = percentile_limits(cells.resampled(values, y, config), config.confidence)
    low, high = widened_band(y, (low, high), patients, (0.0, 1.0))
    kind = "linear" if columns.shape[1] == 2 else f"restricted cubic spline, {columns.shape[1]} knots"
    words = f"logistic, {kind}; {bootstrap_words(patients, config)}"
    if min(patients_of_each(patients, is_positive)) < 200:
        words += "; fewer than the 200 of each class that a curve should have"
    curve = Curve(x=grid, y=y, low=low, high=high, n=p.size, n_patients=patients.n, method=words)
    return CalibrationCurve(curve=curve, bins=bins)


def _brier(
    p: Floats, is_positive: Bools, patients: Patients, config: EvaluationConfig, unit: Unit
) -> dict[str, Estimate]:
    """Brier score, and by how much it is below that of the prevalence; perfect probabilities only have a bound."""
    cells = Cells.of(p, is_positive, whole_draws(patients), bins=logit(p))

    def scores(off: Floats, yes: Bools, weights: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            total = weights.sum(axis=1)
            brier, share = weights @ off / total, weights @ yes / total
            scaled = 1 - brier / (share * (1 - share))
        return np.stack([brier, np.where(share * (1 - share) > 0, scaled, np.nan)], axis=1)

    off, n = (cells.value - cells.flag) ** 2, p.size
    value = scores((p - is_positive) ** 2, is_positive, np.ones((1, n)))[0]
    drawn = cells.resampled(lambda weights: scores(off, cells.flag, weights), value, config)
    found = {}
    for name, at, resamples in zip(("brier", "scaled_brier"), value, drawn.T, strict=True):
        if not np.isfinite(at):
            found[name] = no_estimate("undefined: one class only", n, unit)
            continue
        interval = percentile_interval(resamples, patients_words(patients), config.confidence)
        interval = interval.widened(float(at), patients.n_folds, (-inf, 1.0))
        if name == "brier":
            interval = brier_interval((p - is_positive) ** 2, patients, 1.0, config.confidence)
        if is_alone(patients, is_positive) and not (name == "brier" and at < ALIKE):
            interval = Interval(None, None, ONE_PATIENT)
        found[name] = interval.around(float(at), n, unit)
    return found


def brier_interval(loss: Floats, patients: Patients, most: float, confidence: float) -> Interval:
    """The interval of a Brier score of at most ``most``; perfect probabilities only have a bound."""
    if loss.mean() < ALIKE:
        bound = clopper_pearson(0, patients.n, confidence)[1]
        how = f"bound: Clopper-Pearson for the share of patients off, none of {patients.n}"
        return Interval.of((0.0, bound), f"no probability is off; {how}", confidence)
    return loss_interval(loss, patients, most, confidence)


def _distances(
    p: Floats, is_positive: Bools, patients: Patients, config: EvaluationConfig, unit: Unit
) -> dict[str, Estimate]:
    """Mean, median and 90th percentile of the distance between probability and curve, over the rows."""
    names = ("ici", "e50", "e90")
    why = _no_smooth(p, is_positive, patients)
    if why:
        return {name: no_estimate(f"undefined: {why}", p.size, unit) for name in names}
    cells = Cells.of(p, is_positive, whole_draws(patients), bins=logit(p))

    def values(p_of: Floats, flag: Bools, columns: Floats, weights: Floats) -> Floats:
        off = np.abs(expit(fit_logistic(columns, flag, weights, ridge=RIDGE) @ columns.T) - p_of)
        mean = (off * weights).sum(axis=1) / weights.sum(axis=1)
        return np.column_stack([mean, _quantiles(off, weights, (0.5, 0.9))])

    value = values(p, is_positive, spline(logit(p), logit(p)), np.ones((1, p.size)))[0]
    if np.isnan(value).any():
        return {name: no_estimate(f"undefined: {UNSETTLED}", p.size, unit) for name in names}
    columns = spline(logit(p), logit(cells.value))
    drawn = cells.resampled(lambda w: values(cells.value, cells.flag, columns, w), value, config)
    found = {}
    for name, v, column in zip(names, value, drawn.T, strict=True):
        interval = percentile_interval(column, patients_words(patients), config.confidence)
        if interval.low is not None and interval.high is not None:
            words = f"{interval.method}; never below 0, so high in small samples"
            interval = Interval(min(interval.low, float(v)), max(interval.high, float(v)), words)
            interval = interval.widened(float(v), patients.n_folds, (0.0, 1.0))
        found[name] = interval.around(float(v), p.size, unit)
    return found


def _quantiles(values: Floats, weights: Floats, shares: Sequence[float]) -> Floats:
    """Smallest value (b, q) at which each share of the weight of its row is reached; NaN for rows with NaN."""
    order = np.argsort(values, axis=1)
    heaped = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    heaped /= heaped[:, -1:]
    at = np.stack([(heaped >= share - 1e-12).argmax(axis=1) for share in shares], axis=1)
    reached: Floats = np.take_along_axis(values, np.take_along_axis(order, at, axis=1), axis=1)
    return reached


def _bins(
    p: Floats, is_positive: Bools, patients: Patients, config: EvaluationConfig, unit: Unit
) -> tuple[Bin, ...]:
    """Groups of about as many rows each, at least ten where there are so many; equal probabilities together."""
    n_bins = max(1, min(MOST_BINS, p.size // ROWS_A_BIN))
    edges = np.unique(np.quantile(p, np.arange(1, n_bins) / n_bins))
    group = np.searchsorted(edges, p, side="right")
    found = []
    for g in np.unique(group):
        inside = group == g
        n, k = int(inside.sum()), int(is_positive[inside].sum())
        n_patients = patients.count(inside)
        words = "Wilson" if n == n_patients else f"Wilson on {n_patients} patients"
        limits = wilson(k / n * n_patients, n_patients, config.confidence)
        observed = Interval.of(limits, words, config.confidence).around(k / n, n, unit)
        found.append(Bin(mean_p=float(p[inside].mean()), observed=observed))
    return tuple(found)


def _no_smooth(p: Floats, is_positive: Bools, patients: Patients) -> str:
    """Why there is no curve; empty if there is one."""
    yes, no = patients_of_each(patients, is_positive)
    if min(yes, no) < FEWEST:
        return f"a curve needs {FEWEST} patients of each class, found {yes} and {no}"
    if np.ptp(p) < 1e-9:
        return "all probabilities are equal"
    return ""

"""Calibration: whether the probabilities mean what they say, as figures and as a curve.

Intercept and slope are those of a logistic regression of the outcome on the log odds of the probability: 0 and 1 for
well calibrated probabilities. With a slope below 1 they are too extreme (overconfident), above 1 too close to the
average (underconfident). With an intercept below 0 they are too high on the whole, above 0 too low.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2
from scipy.stats import t as student

from nephroscope.records import Estimate, EvaluationConfig, counted_noun
from nephroscope.statistics.cross_validation import fold_words, variance_factor
from nephroscope.statistics.intervals import (
    ALIKE,
    NOTHING,
    ONE_PATIENT,
    Interval,
    Patients,
    Unit,
    clopper_pearson,
    logit_limits,
    no_estimate,
    percent,
    percentile_interval,
    share_limits,
)
from nephroscope.statistics.logistic import (
    expit,
    fit_logistic,
    intercept_and_slope,
    log_likelihood,
    logit,
    spline,
)
from nephroscope.statistics.metrics import Bools, Floats, Ints
from nephroscope.statistics.resampling import (
    Cells,
    Curve,
    is_alone,
    no_curve,
    patients_of_each,
    patients_words,
    whole_draws,
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
    scale, by patient bootstrap if a patient has several rows; the Brier scores go by t over patients, the distances
    by patient bootstrap. ``p`` is the probability of the positive class, (n,).

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
    """The smooth curve with its pointwise band, over the range of ``p``, and grouped points.

    The curve is a logistic regression on a restricted cubic spline of the log odds, lightly penalized. It is empty,
    with the reason, if a class has fewer than five patients. The band is that of the regression's standard errors on
    the scale of log odds: bootstrap bands hold 0.79 to 0.95 (`benchmarks/interval_coverage.py`).

    Source:
        Austin and Steyerberg 2014, Stat Med 33:517; Van Calster 2016, J Clin Epidemiol 74:167, who ask for 200
        of each class for a reliable curve.
    """
    bins = _bins(p, is_positive, patients, config, unit)
    why = _no_smooth(p, is_positive, patients)
    if why:
        return CalibrationCurve(curve=no_curve(patients, why), bins=bins)
    grid = np.linspace(p.min(), p.max(), GRID)
    columns = spline(logit(p), logit(np.concatenate([p, grid])))
    at, fitted = (
        columns[p.size :],
        fit_logistic(columns[: p.size], is_positive, np.ones((1, p.size)), ridge=RIDGE)[0],
    )
    y = expit(at @ fitted)
    if np.isnan(y).any():
        return CalibrationCurve(curve=no_curve(patients, UNSETTLED), bins=bins)
    half, df = _half_width(columns[: p.size], is_positive, fitted, at, patients, config.confidence)
    low, high = expit(at @ fitted - half), expit(at @ fitted + half)
    kind = "linear" if columns.shape[1] == 2 else f"restricted cubic spline, {columns.shape[1]} knots"
    errors = "" if patients.n == p.size else f", robust over {counted_noun(patients.n, 'patient')}"
    words = f"logistic, {kind}; band from its standard errors{errors}, t with {df} df, {percent(config.confidence)}"
    words += fold_words(patients.n_folds)
    if min(patients_of_each(patients, is_positive)) < 200:
        words += "; fewer than the 200 of each class that a curve should have"
    curve = Curve(x=grid, y=y, low=low, high=high, n=p.size, n_patients=patients.n, method=words)
    return CalibrationCurve(curve=curve, bins=bins)


def _half_width(
    columns: Floats, is_positive: Bools, fitted: Floats, at: Floats, patients: Patients, confidence: float
) -> tuple[Floats, int]:
    """Half the width of the band at ``at`` (g, k) on the scale of log odds, by t, and its degrees of freedom.

    Source:
        McCullagh and Nelder 1989, section 4.4; where patients have several rows Liang and Zeger 1986, Biometrika
        73:13 (robust over patients).
    """
    p = expit(columns @ fitted)
    penalty = RIDGE * np.diag(np.r_[0.0, np.ones(fitted.size - 1)])
    inverse = np.linalg.inv((columns * (p * (1 - p))[:, None]).T @ columns + penalty)
    covariance = inverse
    if patients.n < is_positive.size:
        score = np.array([patients.per_patient(one) for one in ((is_positive - p)[:, None] * columns).T])
        covariance = inverse @ (score @ score.T) @ inverse * patients.n / (patients.n - 1)
    df = max(patients.n - fitted.size, 1)
    error = np.sqrt(variance_factor(patients.n_folds) * np.einsum("gi,ij,gj->g", at, covariance, at))
    return float(student.ppf((1 + confidence) / 2, df)) * error, df


def _brier(
    p: Floats, is_positive: Bools, patients: Patients, config: EvaluationConfig, unit: Unit
) -> dict[str, Estimate]:
    """Brier score, and by how much it is below that of the prevalence; perfect probabilities only have a bound."""
    loss, share = (p - is_positive) ** 2, float(is_positive.mean())
    brier, alone = float(loss.mean()), is_alone(patients, is_positive)
    whole, most = brier_interval(loss, patients, 1.0, config.confidence), share * (1 - share)
    one = Interval(None, None, ONE_PATIENT)
    found = {"brier": (one if alone and brier >= ALIKE else whole).around(brier, p.size, unit)}
    if most == 0:
        return found | {"scaled_brier": no_estimate("undefined: one class only", p.size, unit)}
    scaled = one if alone else _scaled_interval(loss, is_positive, patients, config.confidence)
    if brier < ALIKE and not alone and whole.high is not None:
        scaled = Interval(1 - whole.high / most, 1.0, whole.method)
    return found | {"scaled_brier": scaled.around(1 - brier / most, p.size, unit)}


def _scaled_interval(loss: Floats, is_positive: Bools, patients: Patients, confidence: float) -> Interval:
    """The interval of the scaled Brier score: t over patients of the log of score over that of the prevalence.

    Source:
        Delta method; Kattan and Gerds 2018, Diagn Progn Res 2:7 (the score). The bootstrap holds 0.92 with 20 cases.
    """
    brier, share, n = float(loss.mean()), float(is_positive.mean()), loss.size
    if patients.n < 2 or brier < ALIKE:
        return Interval(None, None, ONE_PATIENT)
    most = share * (1 - share)
    pull = (loss - brier) / brier - (1 - 2 * share) * (is_positive - share) / most
    sums = patients.per_patient(pull)
    factor = variance_factor(patients.n_folds) * patients.n / (patients.n - 1)
    quantile = float(student.ppf((1 + confidence) / 2, patients.n - 1))
    half = quantile * (factor * float(sums @ sums)) ** 0.5 / n
    low, high = (1 - brier / most * float(np.exp(sign * half)) for sign in (1, -1))
    words = f"t with {patients.n - 1} df on the log scale{fold_words(patients.n_folds)}"
    return Interval.of((low, high), words, confidence)


def brier_interval(loss: Floats, patients: Patients, most: float, confidence: float) -> Interval:
    """The interval of a Brier score of at most ``most``; perfect probabilities only have a bound."""
    if loss.mean() < ALIKE:
        bound = clopper_pearson(0, patients.n, confidence)[1]
        how = f"bound: Clopper-Pearson for the share of patients off, none of {patients.n}"
        return Interval.of((0.0, bound), f"no probability is off; {how}", confidence)
    return loss_interval(loss, patients, most, confidence)


def loss_interval(loss: Floats, patients: Patients, most: float, confidence: float) -> Interval:
    """The interval of a mean loss between 0 and ``most``, such as a Brier score: by t over patients, logit scale.

    The mean over rows is a ratio of sums over patients; its variance has the part of cross-validated answers.

    Source:
        Cochran 1977, Sampling Techniques, 3rd ed., section 6.3 (ratio); why not the bootstrap:
        `benchmarks/interval_coverage.py`.
    """
    sums, counts = patients.per_patient(loss), patients.per_patient(np.ones(loss.size))
    total = float(counts.sum())
    value = float(sums.sum()) / total
    if patients.n < 2:
        return Interval(None, None, ONE_PATIENT)
    off = sums - value * counts
    variance = patients.n / (patients.n - 1) * float(off @ off) / total**2
    if variance < NOTHING**2 or not 0 < value < most:
        return Interval(None, None, "no interval: the loss is the same in every patient")
    quantile = float(student.ppf((1 + confidence) / 2, patients.n - 1))
    scaled = variance_factor(patients.n_folds) * variance / most**2
    low, high = logit_limits(value / most, scaled, confidence, quantile)
    words = f"t with {patients.n - 1} df on the logit scale{fold_words(patients.n_folds)}"
    return Interval.of((most * low, most * high), words, confidence)


def _distances(
    p: Floats, is_positive: Bools, patients: Patients, config: EvaluationConfig, unit: Unit
) -> dict[str, Estimate]:
    """Mean, median and 90th percentile of the distance between probability and curve, over the rows.

    They are too high in small samples, so the lower limit is the lower of the bootstrap's percentile and basic
    limits, and 0 where the curve does not differ from the diagonal.
    """
    names = ("ici", "e50", "e90")
    why = _no_smooth(p, is_positive, patients)
    if why:
        return {name: no_estimate(f"undefined: {why}", p.size, unit) for name in names}
    cells = Cells.of(p, is_positive, whole_draws(patients), bins=logit(p))

    def values(p_of: Floats, flag: Bools, columns: Floats, weights: Floats) -> Floats:
        off = np.abs(expit(fit_logistic(columns, flag, weights, ridge=RIDGE) @ columns.T) - p_of)
        mean = (off * weights).sum(axis=1) / weights.sum(axis=1)
        return np.column_stack([mean, _quantiles(off, weights, (0.5, 0.9))])

    columns_of_rows = spline(logit(p), logit(p))
    value = values(p, is_positive, columns_of_rows, np.ones((1, p.size)))[0]
    if np.isnan(value).any():
        return {name: no_estimate(f"undefined: {UNSETTLED}", p.size, unit) for name in names}
    columns = spline(logit(p), logit(cells.value))
    drawn = cells.resampled(lambda w: values(cells.value, cells.flag, columns, w), value, config)
    straight = _is_straight(p, is_positive, columns_of_rows, config.confidence)
    found = {}
    for name, v, column in zip(names, value, drawn.T, strict=True):
        interval = percentile_interval(column, patients_words(patients), config.confidence)
        if interval.low is not None and interval.high is not None:
            low, high = min(interval.low, float(v)), max(interval.high, float(v))
            low = 0.0 if straight else max(0.0, min(low, 2 * float(v) - high))
            words = f"{interval.method}; never below 0, so high in small samples"
            interval = Interval(low, high, words).widened(float(v), patients.n_folds, (0.0, 1.0))
        found[name] = interval.around(float(v), p.size, unit)
    return found


def _is_straight(p: Floats, is_positive: Bools, columns: Floats, confidence: float) -> bool:
    """True if a likelihood-ratio test does not tell the curve from the diagonal."""
    fitted = fit_logistic(columns, is_positive, np.ones((1, p.size)), ridge=RIDGE)[0]
    gain = log_likelihood(columns @ fitted, is_positive) - log_likelihood(logit(p), is_positive)
    return bool(2 * gain <= chi2.ppf(confidence, columns.shape[1]))


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
        limits, words = share_limits(k / n * n_patients, n_patients, config.confidence)
        words = words if n == n_patients else f"{words.partition(',')[0]} on {n_patients} patients"
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

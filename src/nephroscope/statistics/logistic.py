"""Calibration intercept, slope and observed-to-expected ratio with intervals, and the logistic fits they need."""

from collections.abc import Callable
from math import inf

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.statistics.intervals import (
    ONE_PATIENT,
    Interval,
    Patients,
    Unit,
    no_estimate,
    percent,
    percentile_interval,
)
from nephroscope.statistics.metrics import Bools, Floats
from nephroscope.statistics.resampling import Cells, is_alone, patients_words, whole_draws

STEPS = 50  # of Newton's method; ten are usual
FARTHEST = 2.5  # log odds that a row may move in one step; without a bound, Newton may jump to and fro
LEAST = 1e-300  # a probability below it is 0: a number of cases divided by it would not be finite
TINY = 1e-6  # probabilities nearer to 0 or 1 are taken as this far off


def logit(p: Floats) -> Floats:
    """Log odds of probabilities (n,), those nearer than 1e-6 to 0 or 1 taken as that far off."""
    inside = np.clip(p, TINY, 1 - TINY)
    odds: Floats = np.log(inside / (1 - inside))
    return odds


def expit(x: Floats) -> Floats:
    """Probability of log odds, any shape."""
    p: Floats = 1 / (1 + np.exp(-np.clip(x, -700, 700)))
    return p


def fit_logistic(
    columns: Floats, target: Floats | Bools, weights: Floats, offset: Floats | float = 0.0, ridge: float = 0.0
) -> Floats:
    """Coefficients (b, k) of one logistic regression per row of ``weights``, by Newton's method.

    Args:
        columns: (n, k), with a column of ones where an intercept is wanted.
        target: (n,), 0 or 1, or a share between them.
        weights: (b, n), how often each row counts.
        offset: Log odds added to every row, (n,).
        ridge: Penalty on the squared coefficients of all but the first column.

    Returns:
        Coefficients; rows that did not converge, as where the classes do not overlap, hold NaN.
    """
    k = columns.shape[1]
    penalty = np.diag([0.0] + [ridge] * (k - 1))
    products = (columns[:, :, None] * columns[:, None, :]).reshape(-1, k * k)
    at = np.zeros((len(weights), k))
    settled = np.zeros(len(weights), dtype=bool)
    for _ in range(STEPS):
        going = ~settled
        p = expit(at[going] @ columns.T + offset)
        gradient = (weights[going] * (target - p)) @ columns - at[going] @ penalty
        information = ((weights[going] * p * (1 - p)) @ products).reshape(-1, k, k) + penalty
        step = _solve(information, gradient)
        moved = np.abs(step @ columns.T).max(axis=1, keepdims=True)
        step *= np.minimum(1.0, FARTHEST / np.maximum(moved, FARTHEST))
        at[going] += step
        settled[going] = np.abs(step).max(axis=1) < 1e-8 * (1 + np.abs(at[going]).max(axis=1))
        if settled.all():
            break
    at[~settled] = np.nan
    return at


def spline(knots_from: Floats, x: Floats) -> Floats:
    """Columns 1, x and the bends of a restricted cubic spline of ``x`` (n,), each but the first standardised.

    Three knots, four from 100 values on, at Harrell's quantiles of ``knots_from``; a straight line where values
    repeat so much that knots coincide.

    Source:
        Durrleman and Simon 1989, Stat Med 8:551; Harrell, Regression Modeling Strategies, 2nd ed., section 2.4.
    """
    shares = (0.1, 0.5, 0.9) if knots_from.size < 100 else (0.05, 0.35, 0.65, 0.95)
    knots = np.quantile(knots_from, shares)
    columns = [x]
    if np.diff(knots).min() > 1e-6:
        last, before = knots[-1], knots[-2]
        for knot in knots[:-2]:
            bend = _cubed(x - knot) - (
                _cubed(x - before) * (last - knot) - _cubed(x - last) * (before - knot)
            ) / (last - before)
            columns.append(bend / (last - knots[0]) ** 2)
    basis = np.column_stack(columns)
    spread = basis.std(axis=0)
    scaled = (basis - basis.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return np.column_stack([np.ones(x.size), scaled])


def log_likelihood(x: Floats, is_positive: Bools, count: Floats | float = 1.0) -> float:
    """Log likelihood of these outcomes, each seen ``count`` times, for log odds ``x`` (n,)."""
    return float(-(count * np.logaddexp(0.0, np.where(is_positive, -x, x))).sum())


def overlap(x: Floats, is_positive: Bools) -> bool:
    """True if no threshold on ``x`` separates the classes, so that the slope is finite."""
    yes, no = x[is_positive], x[~is_positive]
    return bool(yes.size and no.size and yes.min() < no.max() and no.min() < yes.max())


def _solve(information: Floats, gradient: Floats) -> Floats:
    """Newton's step; a singular information gives a step that never settles."""
    k = information.shape[-1]
    if k == 1:
        alone: Floats = gradient / np.maximum(information[:, 0], 1e-300)
        return alone
    size = np.trace(information, axis1=1, axis2=2)[:, None, None]
    safe = information + np.eye(k) * np.maximum(size * 1e-14, 1e-300)
    singular = ~(np.abs(np.linalg.det(safe)) > 0)
    safe[singular] = np.eye(k)
    steps: Floats = np.linalg.solve(safe, gradient[..., None])[..., 0]
    steps[singular] = 1.0
    return steps


def _cubed(x: Floats) -> Floats:
    cubes: Floats = np.maximum(x, 0) ** 3
    return cubes


LAST_STEP = 64.0  # where the search for a limit ends: no limit
SLOPE = ("slope", "intercept_beside_slope")  # the two coefficients of one fit
Limits = tuple[float | None, float | None]


def intercept_and_slope(
    p: Floats, is_positive: Bools, patients: Patients, config: EvaluationConfig, unit: Unit
) -> dict[str, Estimate]:
    """``intercept`` with the slope held at 1, ``slope``, ``intercept_beside_slope`` and ``observed_expected``.

    The first is calibration in the large; the third is the intercept of the fit that gives the slope, which means
    little by itself.

    Source:
        Cox 1958, Biometrika 45:562; Venzon and Moolgavkar 1988, Appl Stat 37:87 (profile likelihood); Debray 2017,
        BMJ 356:i6460 (O:E on the log scale).
    """
    p = np.where(p < LEAST, 0.0, p)
    x, n = logit(p), p.size
    values, why = _values(x, p, is_positive, np.ones(n))
    cells = Cells.of(p, is_positive, whole_draws(patients), bins=x)
    intervals: dict[str, Limits]
    if patients.n == n:
        intervals = _by_likelihood(cells, values, config)
        words = dict.fromkeys(values, f"profile likelihood, {percent(config.confidence)}")
        words["observed_expected"] = f"log scale, {percent(config.confidence)}"
    elif is_alone(patients, is_positive):
        intervals, words = {}, dict.fromkeys(values, ONE_PATIENT)
    else:
        exact = np.array([np.nan if value is None else value for value in values.values()])
        cell_x = logit(cells.value)
        drawn = cells.resampled(lambda w: _drawn(cell_x, cells.value, cells.flag, w), exact, config)
        found_limits = {
            name: percentile_interval(drawn[:, i], patients_words(patients), config.confidence)
            for i, name in enumerate(values)
        }
        intervals = {name: (found.low, found.high) for name, found in found_limits.items()}
        words = {name: found.method for name, found in found_limits.items()}
        if None in intervals["slope"]:  # the intercept of the same fit has no limit either
            intervals["intercept_beside_slope"] = (None, None)
            words["intercept_beside_slope"] = words["slope"]
    clipped = np.count_nonzero((p < TINY) | (p > 1 - TINY))
    if clipped:
        words |= {
            k: f"{words[k]}; {clipped} of {n} p nearer than 1e-6 to 0 or 1" for k in ("intercept", "slope")
        }
    estimates = {}
    for name, value in values.items():
        if value is None:
            estimates[name] = no_estimate(f"undefined: {why[name]}", n, unit)
            continue
        interval = Interval(*intervals.get(name, (None, None)), words[name])
        if value is not None:
            ends = (0.0, inf) if name == "observed_expected" else (-inf, inf)
            interval = interval.widened(value, patients.n_folds, ends)
        if None in interval[:2] and not interval.method.startswith("no interval"):
            endless = f"{interval.method}; without a finite limit, as the classes hardly overlap"
            interval = interval._replace(method=endless)
        estimates[name] = interval.around(value, n, unit)
    return estimates


def _values(
    x: Floats, p: Floats, is_positive: Bools, count: Floats
) -> tuple[dict[str, float | None], dict[str, str]]:
    """The four figures of rows that count so often, None where there is none, and then why."""
    ones, n = count[None], x.size
    values: dict[str, float | None] = {"intercept": None, "slope": None}
    values |= {"intercept_beside_slope": None, "observed_expected": None}
    why = dict.fromkeys(values, "one class only")
    if p.sum() > 0:
        values["observed_expected"] = float(count @ is_positive / (count @ p))
    why["observed_expected"] = "every probability is 0"
    if is_positive.all() or not is_positive.any():
        return values, why
    why |= dict.fromkeys(("intercept", *SLOPE), "the fit did not settle")
    shift = fit_logistic(np.ones((n, 1)), is_positive, ones, offset=x)[0, 0]
    values["intercept"] = float(shift) if np.isfinite(shift) else None
    if np.ptp(x) < 1e-9:
        why |= dict.fromkeys(SLOPE, "all probabilities are equal")
    elif not overlap(x, is_positive):
        why |= dict.fromkeys(SLOPE, "a threshold separates the classes, so there is no most likely slope")
    else:
        intercept, slope = fit_logistic(np.column_stack([np.ones(n), x]), is_positive, ones)[0]
        values |= (
            {"slope": float(slope), "intercept_beside_slope": float(intercept)} if np.isfinite(slope) else {}
        )
    return values, why


def _drawn(x: Floats, p: Floats, is_positive: Bools, weights: Floats) -> Floats:
    """The four figures (b, 4) in resamples; a slope without limit is infinite, NaN with one class only."""
    total, yes = weights.sum(axis=1), weights @ is_positive
    both = (yes > 0) & (yes < total)
    shift = fit_logistic(np.ones((x.size, 1)), is_positive, weights, offset=x)[:, 0]
    intercept, slope = fit_logistic(np.column_stack([np.ones(x.size), x]), is_positive, weights).T
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = weights @ (x * is_positive) / yes - weights @ (x * ~is_positive) / (total - yes)
        ratio = yes / (weights @ p)
    slope = np.where(np.isnan(slope), np.where(gap > 0, np.inf, -np.inf), slope)
    only_both = [np.where(both, drawn, np.nan) for drawn in (shift, slope, intercept)]
    return np.column_stack([*only_both, ratio])


def _by_likelihood(
    cells: Cells, values: dict[str, float | None], config: EvaluationConfig
) -> dict[str, Limits]:
    """Limits of each figure that there is, where rows are independent; moved from the cells to the rows."""
    x, yes, count = logit(cells.value), cells.flag, cells.count
    ones, weights = np.ones((x.size, 1)), count[None]

    def for_intercept(a: float) -> float:
        return log_likelihood(a + x, yes, count)

    def for_slope(slope: float) -> float:
        intercept = fit_logistic(ones, yes, weights, offset=slope * x)[0, 0]
        return log_likelihood(intercept + slope * x, yes, count)

    def for_beside(intercept: float) -> float:
        slope = fit_logistic(x[:, None], yes, weights, offset=np.full(x.size, intercept))[0, 0]
        return log_likelihood(intercept + slope * x, yes, count)

    best = {"intercept": for_intercept, "slope": for_slope, "intercept_beside_slope": for_beside}
    of_cells = _values(x, cells.value, yes, count)[0] if cells.thinned else values
    found: dict[str, Limits] = {}
    for name, value in values.items():
        at = of_cells[name]
        if value is None or at is None:
            continue
        low, high = (
            _profile(best[name], at, config) if name in best else _ratio_limits(at, count, yes, config)
        )
        shift = value - at
        found[name] = (None if low is None else low + shift, None if high is None else high + shift)
    return found


def _profile(best: Callable[[float], float], at: float, config: EvaluationConfig) -> Limits:
    """Where the log likelihood has fallen by half the chi-squared quantile, on both sides of its maximum."""
    with np.errstate(invalid="ignore", over="ignore"):
        drop, top = float(chi2.ppf(config.confidence, 1)) / 2, best(at)
    if not np.isfinite(top):  # a slope so steep that the intercept of the same fit does not settle
        return None, None

    def fallen(b: float) -> float:
        with np.errstate(invalid="ignore"):  # a fit that does not settle there is NaN: as far as can be
            return float(np.nan_to_num(top - best(b) - drop, nan=LAST_STEP))

    def side(direction: float) -> float | None:
        step = 0.25
        while step <= LAST_STEP:
            if fallen(at + direction * step) > 0:
                return float(brentq(fallen, at, at + direction * step, xtol=1e-7))
            step *= 2
        return None

    return side(-1.0), side(1.0)


def _ratio_limits(ratio: float, count: Floats, is_positive: Bools, config: EvaluationConfig) -> Limits:
    observed, n = float(count @ is_positive), float(count.sum())
    if observed == 0:
        return None, None
    half = norm.ppf((1 + config.confidence) / 2) * ((1 - observed / n) / observed) ** 0.5
    return float(ratio * np.exp(-half)), float(ratio * np.exp(half))

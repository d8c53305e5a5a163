"""Columns, outcomes and many sets of weights in; one maximum-likelihood logistic fit per set out, all at once."""

import numpy as np

from nephroscope.evaluation.metrics import Bools, Floats

STEPS = 50  # Newton's; ten are usual
FARTHEST = 2.5  # log odds that a row may move in one step; without a bound, Newton may jump to and fro
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
    """Of log odds ``x`` (n,), the logarithm of the chance of these outcomes, each seen ``count`` times."""
    return float(-(count * np.logaddexp(0.0, np.where(is_positive, -x, x))).sum())


def overlap(x: Floats, is_positive: Bools) -> bool:
    """True when no threshold on ``x`` parts the classes, so that a slope is finite."""
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

"""Values of a figure over redrawn patients in; its percentile limits, or why there are none, out.

One rule for every figure. A resample in which the figure is undefined (NaN: a class is missing) is left out. There
are no limits where more than half are undefined, since the rest would be a selection, nor where all the others, or
all but the outermost, agree, since then they do not tell how far off the figure may be. An infinite value (a slope
that the data do not bound) lies beyond every other, and a limit that is infinite is none.
"""

import numpy as np

from nephroscope.evaluation.metrics import Floats

ALIKE = 1e-12  # resamples nearer to each other than this agree
Interval = tuple[float | None, float | None, str]  # low, high, and the method or why there is none
AGREED = "no interval: every resample of the patients agrees"
ENDLESS = "no interval: without a finite limit, as too many resamples of the patients have none"
ONE_PATIENT = "no interval: a class has one patient"
NEARLY = "no interval: nearly every resample of the patients agrees"


def percentile_limits(drawn: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Low and high limits (g,) of resamples (b, g); NaN where there is none.

    Source:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile interval).
    """
    if not len(drawn):
        nothing = np.full(drawn.shape[1:], np.nan)
        return nothing, nothing
    ordered = np.sort(drawn, axis=0)  # NaN go last
    n = np.count_nonzero(~np.isnan(ordered), axis=0)
    last = np.maximum(n - 1, 0)
    with np.errstate(invalid="ignore"):  # infinite less infinite
        agrees = ordered[0] == _row(ordered, last)
        agrees |= _row(ordered, last) - ordered[0] < ALIKE
        known = (n >= max(2, len(drawn) / 2)) & ~agrees
        limits = []
        for share in ((1 - confidence) / 2, (1 + confidence) / 2):
            place = share * last
            below = np.floor(place).astype(np.intp)
            one, two = _row(ordered, below), _row(ordered, np.minimum(below + 1, last))
            at = np.where(place == below, one, one + (two - one) * (place - below))
            limits.append(np.where(known & np.isfinite(at), at, np.nan))
        alike = limits[1] - limits[0] < ALIKE
    return np.where(alike, np.nan, limits[0]), np.where(alike, np.nan, limits[1])


def percentile_interval(drawn: Floats, whose: str, confidence: float) -> Interval:
    """Low and high limit of resamples (b,) with the method in words, or None and why.

    Args:
        drawn: Values of the figure.
        whose: Who was redrawn, as `cells.patients_words` says it.
        confidence: Of the interval.
    """
    low, high = (_or_none(limit[0]) for limit in percentile_limits(drawn[:, None], confidence))
    n = int(np.count_nonzero(~np.isnan(drawn)))
    if n < max(2, drawn.size / 2):
        return (
            None,
            None,
            f"no interval: undefined in {drawn.size - n} of {drawn.size} resamples of the patients",
        )
    if low is None and high is None and np.mean(np.isinf(drawn)) > (1 - confidence) / 2:
        return None, None, ENDLESS
    if low is None and high is None and np.isfinite(drawn).any():
        return None, None, AGREED if np.ptp(drawn[np.isfinite(drawn)]) < ALIKE else NEARLY
    return low, high, f"patient bootstrap, {n} resamples of {whose}, {100 * confidence:g} %"


def _row(ordered: Floats, at: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Floats:
    """Of each column the value in its own row."""
    found: Floats = np.take_along_axis(ordered, at[None], axis=0)[0]
    return found


def _or_none(limit: float) -> float | None:
    return float(limit) if np.isfinite(limit) else None

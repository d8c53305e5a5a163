"""Intervals over patients: formulas where each row is a patient, a patient bootstrap where it is not."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import beta
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nephroscope.records import Estimate
from nephroscope.statistics.cross_validation import fold_words, variance_factor
from nephroscope.statistics.metrics import Bools, Floats, Ints, auc, delong_covariance

Unit = Literal["image", "case", "patient"]
NOTHING = 1e-12  # variances below this are rounding
FEWEST = 5  # rows of a class: with fewer, placement values do not show how they differ
MOST_LEVELS = 11  # of a rating, such as 0 to 10: with more distinct scores, ties hardly matter
WIDENED = "widened to Newcombe 2006 method 5, as ratings have few levels"
ALIKE = 1e-12  # resamples nearer to each other than this agree
AGREED = "no interval: every resample of the patients agrees"
ENDLESS = "no interval: without a finite limit, as too many resamples of the patients have none"
ONE_PATIENT = "no interval: a class has one patient"
NEARLY = "no interval: nearly every resample of the patients agrees"


class Interval(NamedTuple):
    """Low and high limit and how they were computed; None, and why, where there is no interval."""

    low: float | None
    high: float | None
    method: str

    @classmethod
    def of(cls, limits: tuple[float, float], method: str, confidence: float) -> "Interval":
        """Low and high limit with the method and the confidence, such as ``Wilson, 95 %``."""
        return cls(*limits, f"{method}, {percent(confidence)}")

    def widened(self, value: float, n_folds: int, ends: tuple[float, float] = (-inf, inf)) -> "Interval":
        """The interval of a figure of cross-validated answers: limits further from the value."""
        if n_folds < 2 or self.low is None or self.high is None:
            return self
        times = variance_factor(n_folds) ** 0.5
        low, high = (value + times * (limit - value) for limit in (self.low, self.high))
        return Interval(max(ends[0], low), min(ends[1], high), self.method + fold_words(n_folds))

    def around(self, value: float, n: int, unit: Unit = "case") -> Estimate:
        """The estimate that has this interval."""
        return Estimate(value=value, low=self.low, high=self.high, n=n, unit=unit, method=self.method)


def no_estimate(why: str, n: int, unit: Unit = "case") -> Estimate:
    """An estimate without a value, and why."""
    return Estimate(value=None, low=None, high=None, n=n, unit=unit, method=why)


def percent(confidence: float) -> str:
    """A confidence as every method names it: 0.95 is ``95 %``."""
    return f"{100 * confidence:g} %"


def normal_quantile(confidence: float) -> float:
    """Half width, in standard errors, of a two-sided normal interval."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


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
    """The percentile interval of resamples (b,), or why there is none; `patients_words` gives ``whose``."""
    low, high = (
        float(limit[0]) if np.isfinite(limit[0]) else None
        for limit in percentile_limits(drawn[:, None], confidence)
    )
    n = int(np.count_nonzero(~np.isnan(drawn)))
    if n < max(2, drawn.size / 2):
        why = f"no interval: undefined in {drawn.size - n} of {drawn.size} resamples of the patients"
        return Interval(None, None, why)
    if low is None and high is None and np.mean(np.isinf(drawn)) > (1 - confidence) / 2:
        return Interval(None, None, ENDLESS)
    if low is None and high is None and np.isfinite(drawn).any():
        return Interval(None, None, AGREED if np.ptp(drawn[np.isfinite(drawn)]) < ALIKE else NEARLY)
    return Interval(low, high, f"patient bootstrap, {n} resamples of {whose}, {percent(confidence)}")


def _row(ordered: Floats, at: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Floats:
    """Of each column the value in its own row."""
    found: Floats = np.take_along_axis(ordered, at[None], axis=0)[0]
    return found


FEW_ROWS = 15  # independent cases: with fewer, Wilson's interval holds a tenth of all shares in below 0.93 of studies
Statistic = Callable[[Floats], Floats]  # patient weights (b, P) -> values (b,), NaN where undefined
CHUNK = 256  # resamples at a time: memory stays flat
CELLS = 4_000_000  # weights at a time, and comparisons of patients kept at most


def wilson(k: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of the proportion k / n, n > 0.

    Source:
        Wilson 1927; Newcombe 1998, Stat Med 17:857, method 3.
    """
    z2, p = normal_quantile(confidence) ** 2, k / n
    middle = p + z2 / (2 * n)
    half = (z2 * (p * (1 - p) / n + z2 / (4 * n * n))) ** 0.5
    return max(0.0, (middle - half) / (1 + z2 / n)), min(1.0, (middle + half) / (1 + z2 / n))


def clopper_pearson(k: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of the proportion k / n, n > 0; k and n may be parts of rows.

    Source:
        Clopper and Pearson 1934, Biometrika 26:404.
    """
    tail = (1 - confidence) / 2
    low = 0.0 if k <= 0 else float(beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k >= n else float(beta.ppf(1 - tail, k + 1, n - k))
    return low, high


def share_limits(
    k: float, n: float, confidence: float, factor: float = 1.0
) -> tuple[tuple[float, float], str]:
    """Low and high limit of a share of ``n`` independent rows, and the method.

    ``factor`` is what the variance of one fixed model is multiplied by.
    """
    exact = n < FEW_ROWS
    limits = (clopper_pearson if exact else wilson)(k / factor, n / factor, confidence)
    return limits, "Clopper-Pearson, as there are few cases" if exact else "Wilson"


def delong(scores: Floats, is_positive: Bools) -> tuple[float, float]:
    """AUC and its DeLong variance; at least two rows of each class."""
    aucs, covariance = delong_covariance(scores[None], is_positive)
    return float(aucs[0]), float(covariance[0, 0])


def delong_auc(
    scores: Floats, is_positive: Bools, confidence: float = 0.95, n_folds: int = 1
) -> tuple[float, float, str]:
    """Low, high and method of the interval of an AUC whose rows are independent; both classes needed.

    DeLong's variance on the logit scale keeps the interval inside 0 to 1. It is zero if the classes do not overlap,
    and too small if a class has fewer than five rows: then Newcombe's interval is used. For ratings of few levels it
    is widened to Newcombe's limits. ``n_folds`` fits answered the rows, each its own.
    """
    m, factor = int(np.count_nonzero(is_positive)), variance_factor(n_folds)
    n = is_positive.size - m
    value, variance = delong(scores, is_positive) if min(m, n) > 1 else (auc(scores, is_positive) or 0.0, 0.0)
    low, high = newcombe_auc(value, m / factor, n / factor, confidence)
    few = min(m, n) < FEWEST
    if few or not 0 < value < 1 or variance < NOTHING:
        why = f"a class has fewer than {FEWEST} rows" if few else "the DeLong variance is zero"
        return low, high, f"Newcombe 2006 method 5, as {why}{fold_words(n_folds)}"
    limits, name = logit_limits(value, factor * variance, confidence), "DeLong on the logit scale"
    if is_rating(scores):
        limits, name = (min(limits[0], low), max(limits[1], high)), f"{name}, {WIDENED}"
    return *limits, name + fold_words(n_folds)


def is_rating(scores: Floats) -> bool:
    """True if scores (n,) have few levels, so that many rows share each."""
    return bool(np.unique(scores).size <= min(MOST_LEVELS, scores.size // 2))


def logit_limits(
    value: float, variance: float, confidence: float, quantile: float | None = None
) -> tuple[float, float]:
    """Low and high limit of an AUC between 0 and 1 from its variance above 0, on the logit scale.

    ``quantile`` is that of t where it is not the normal one.

    Source:
        Pepe 2003, The Statistical Evaluation of Medical Tests, section 5.2; delta method.
    """
    times = normal_quantile(confidence) if quantile is None else quantile
    half = times * variance**0.5 / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-(np.log(value / (1 - value)) + np.array([-half, half]))))
    return float(low), float(high)


def hanley_mcneil(value: float, m: float, n: float) -> float:
    """Variance of an AUC from its value and the class sizes alone, under exponential scores.

    Source:
        Hanley and McNeil 1982, Radiology 143:29, equation 2 with the exponential model.
    """
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    more = (m - 1) * (q1 - value**2) + (n - 1) * (q2 - value**2)
    return float(max(value * (1 - value) + more, 0.0) / (m * n))


def newcombe_auc(value: float, m: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of an AUC from its value and the two class sizes; not degenerate at 0 and 1.

    The limits are the areas t at z standard errors from ``value`` (Hanley and McNeil at t, with the mean of the class
    sizes for both, except in the product m n).

    Source:
        Newcombe 2006, Stat Med 25:559, method 5.
    """
    z2, middle = normal_quantile(confidence) ** 2, (m + n) / 2

    def excess(t: float) -> float:
        variance = hanley_mcneil(t, middle, middle) * middle**2 / (m * n)
        return float((t - value) ** 2 - z2 * variance)

    inside = min(max(value, 1e-9), 1 - 1e-9)
    low = 0.0 if value < 1e-9 else brentq(excess, 0.0, inside)
    high = 1.0 if value > 1 - 1e-9 else brentq(excess, inside, 1.0)
    return float(low), float(high)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Patients:
    """The patient of each row: ``row`` (n,) holds patient numbers 0 .. P-1; ``stratum`` (P,) their classes.

    ``n_folds`` fits answered the rows, each patient by one that did not see it; 1 is one fixed model, or a reader.
    """

    row: Ints
    stratum: Ints
    n_folds: int = 1

    @classmethod
    def of(cls, patient_ids: Sequence[str], truth: Ints, folds: Iterable[int | str] = ()) -> "Patients":
        """Number the patients; a patient's stratum is the set of subtypes among the rows.

        ``folds`` are those that answered the rows, where there are several.
        """
        names, row = np.unique(np.asarray(patient_ids, dtype=str), return_inverse=True)
        has = np.zeros((names.size, int(truth.max(initial=0)) + 1), dtype=bool)
        has[row, truth] = True
        bits = np.packbits(has, axis=1)  # one byte sorts many times as fast as a row
        _, stratum = np.unique(bits, axis=0 if bits.shape[1] > 1 else None, return_inverse=True)
        return cls(row=row.reshape(-1), stratum=stratum.reshape(-1), n_folds=max(1, len(set(folds))))

    @property
    def n(self) -> int:
        """Number of patients."""
        return self.stratum.size

    def per_patient(self, rows: npt.NDArray[np.generic]) -> Floats:
        """Sum of a value (n,) over the rows of each patient, (P,)."""
        sums: Floats = np.bincount(self.row, weights=rows.astype(np.float64), minlength=self.n).astype(
            np.float64
        )
        return sums

    def on(self, rows: Bools) -> "Patients":
        """Those of some of the rows (n,), for these rows alone."""
        who, row = np.unique(self.row[rows], return_inverse=True)
        return Patients(row=row.reshape(-1), stratum=self.stratum[who], n_folds=self.n_folds)

    def count(self, rows: Bools) -> int:
        """Number of patients with a True row."""
        return int(np.unique(self.row[rows]).size)


def resampled_weights(patients: Patients, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each patient is drawn, (b, P) at a time: with replacement, within the patient's class."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(patients.stratum == s) for s in np.unique(patients.stratum)]
    chunk = max(1, min(CHUNK, CELLS // max(1, patients.n)))
    for start in range(0, resamples, chunk):
        weights = np.empty((min(chunk, resamples - start), patients.n))
        for who in members:
            weights[:, who] = rng.multinomial(who.size, np.full(who.size, 1 / who.size), size=len(weights))
        yield weights


def clustered_bootstrap(
    statistics: Mapping[str, Statistic], patients: Patients, resamples: int, seed: int
) -> dict[str, Floats]:
    """Values of each statistic, (resamples,), over the same redrawn patients with all their rows.

    One thread: the products are small, and several threads would mostly wait for each other.
    """
    if not statistics:
        return {}
    with threadpool_limits(1, user_api="blas"):
        chunks = [
            {name: statistic(weights) for name, statistic in statistics.items()}
            for weights in resampled_weights(patients, resamples, seed)
        ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in statistics}


def ratio_statistic(hits: Bools, counted: Bools, patients: Patients) -> Statistic:
    """Share of hits among the counted rows, as a function of patient weights."""
    k, n = patients.per_patient(hits & counted), patients.per_patient(counted)
    return lambda weights: _divide(weights @ k, weights @ n)


def auc_statistic(scores: Floats, is_positive: Bools, patients: Patients) -> Statistic:
    """AUC over rows as a function of patient weights: w A w' / (w m)(w n).

    A (P, P) counts the comparisons that the positive rows of one patient win against the negative rows of another,
    so a resample costs one row of a matrix product and no sorting. If A would be far larger than the rows, these are
    sorted once and each resample adds up along them.
    """
    m, n = map(patients.per_patient, (is_positive, ~is_positive))
    winners, losers = np.flatnonzero(m), np.flatnonzero(n)
    if winners.size * losers.size > CELLS:
        return _sorted_statistic(scores, is_positive, patients)
    wins = _wins(scores, is_positive, patients)

    def statistic(weights: Floats) -> Floats:
        won = weights[:, winners] @ wins
        won *= weights[:, losers]
        return _divide(won.sum(axis=1), (weights @ m) * (weights @ n))

    return statistic


def mean_statistic(parts: Sequence[Statistic]) -> Statistic:
    """Mean of several statistics of the same patients, such as the macro AUC."""
    return lambda weights: np.mean([part(weights) for part in parts], axis=0)


def _wins(scores: Floats, is_positive: Bools, patients: Patients) -> Floats:
    """Comparisons won by each positive patient (rows) against each negative patient (columns); ties half.

    All negative rows are sorted once; then a positive patient's few scores are placed among them.
    """
    own, other = patients.row[is_positive], patients.row[~is_positive]
    by_own, by_other = np.argsort(own, kind="stable"), np.argsort(other, kind="stable")
    x, y = scores[is_positive][by_own], scores[~is_positive][by_other]
    starts, first = (np.unique(who, return_index=True)[1] for who in (own[by_own], other[by_other]))
    order = np.argsort(y, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(y.size)  # of each negative row among the sorted ones
    ordered, wins = y[order], np.empty((starts.size, first.size))
    for i, mine in enumerate(np.split(x, starts[1:])):
        sides = [np.searchsorted(ordered, mine, side) for side in ("left", "right")]
        steps = np.bincount(np.concatenate(sides), minlength=y.size + 1)
        wins[i] = np.add.reduceat((mine.size - np.cumsum(steps)[:-1] / 2)[place], first)
    return wins


def _sorted_statistic(scores: Floats, is_positive: Bools, patients: Patients) -> Statistic:
    order = np.argsort(scores, kind="stable")
    ties = np.flatnonzero(np.append(True, np.diff(scores[order]) != 0))  # ties move in one step
    owner, positive = patients.row[order], is_positive[order].astype(np.float64)

    def one(weights: Floats) -> float:
        drawn = weights[owner]
        up, every = np.add.reduceat(drawn * positive, ties), np.add.reduceat(drawn, ties)
        down = every - up
        pairs = up.sum() * down.sum()
        return float(up @ (np.cumsum(down) - down / 2) / pairs) if pairs > 0 else np.nan

    return lambda weights: np.array([one(row) for row in weights])


def _divide(k: Floats, n: Floats) -> Floats:
    shares: Floats = np.divide(k, n, out=np.full(k.shape, np.nan), where=n > 0)
    return shares

"""Two calls of the same cases: exact McNemar test, and the paired difference of the shares with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binom

from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.statistics.intervals import (
    Interval,
    Patients,
    Statistic,
    Unit,
    clustered_bootstrap,
    no_estimate,
    percentile_interval,
    ratio_statistic,
    wilson,
)
from nephroscope.statistics.metrics import Bools
from nephroscope.statistics.resampling import grouped, patients_words


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P values corrected for being several, in their own order; None stays None and does not count.

    Source:
        Holm 1979, Scand J Stat 6:65.
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        corrected[i] = highest
    return corrected


EMPTY = "undefined: nothing to compare"


@dataclass(frozen=True, kw_only=True)
class McNemarTest:
    """How often two readers of the same cases are correct, and whether they differ.

    Attributes:
        both: Cases that both classified correctly; ``only_one``, ``only_two``, ``neither``: the others.
        one: Share correct of the first, with Wilson's interval; ``two``: of the second.
        difference: One minus two, with Newcombe's paired interval.
        p: Exact two-sided p; None without a case.
        mid_p: The mid-p: less conservative, not exact.
        method: Name of the test, or why there is no p.
    """

    both: int
    only_one: int
    only_two: int
    neither: int
    one: Estimate
    two: Estimate
    difference: Estimate
    p: float | None
    mid_p: float | None
    method: str

    @property
    def n(self) -> int:
        """Cases compared."""
        return self.both + self.only_one + self.only_two + self.neither


def exact_mcnemar(
    right_one: Bools, right_two: Bools, confidence: float = 0.95, unit: Unit = "case"
) -> McNemarTest:
    """Compare which calls are correct, on the same independent cases in the same order, both bool (n,).

    If there is no case that only one classified correctly, the exact p is 1: the data favor neither.

    Source:
        McNemar 1947, Psychometrika 12:153, with the exact binomial distribution of the discordant cases;
        mid-p: Fagerland, Lydersen and Laake 2013, BMC Med Res Methodol 13:91.
    """
    both, neither = int(np.sum(right_one & right_two)), int(np.sum(~right_one & ~right_two))
    only_one, only_two = int(np.sum(right_one & ~right_two)), int(np.sum(~right_one & right_two))
    n, discordant = right_one.size, only_one + only_two
    p, mid_p = _tails(min(only_one, only_two), discordant) if n else (None, None)
    return McNemarTest(
        both=both,
        only_one=only_one,
        only_two=only_two,
        neither=neither,
        one=_share(both + only_one, n, confidence, unit),
        two=_share(both + only_two, n, confidence, unit),
        difference=paired_difference((both, only_one, only_two, neither), confidence, unit),
        p=p,
        mid_p=mid_p,
        method=f"exact McNemar, two-sided, {discordant} discordant" if n else EMPTY,
    )


def clustered_mcnemar(
    right_one: Bools, right_two: Bools, patients: Patients, config: EvaluationConfig, unit: Unit = "image"
) -> McNemarTest:
    """The same figures of rows (n,) that share patients: intervals by patient bootstrap, and no exact test."""
    plain = exact_mcnemar(right_one, right_two, config.confidence)
    every, drawn_from = np.ones(right_one.size, dtype=bool), grouped(patients).with_company
    one, two = (ratio_statistic(right, every, drawn_from) for right in (right_one, right_two))
    statistics: dict[str, Statistic] = {"one": one, "two": two, "difference": lambda w: one(w) - two(w)}
    drawn = clustered_bootstrap(statistics, drawn_from, config.resamples, config.seed)
    found = {}
    for name, values in drawn.items():
        interval = percentile_interval(values, patients_words(patients), config.confidence)
        found[name] = replace(getattr(plain, name), unit=unit, **interval._asdict())
    why = "no exact test: rows of one patient are not independent"
    return replace(plain, **found, p=None, mid_p=None, method=why)


def paired_difference(
    counts: tuple[int, int, int, int], confidence: float = 0.95, unit: Unit = "case"
) -> Estimate:
    """Difference of two shares of the same cases, first minus second, with an interval within -1 to 1.

    ``counts`` are the cases of both, of only the first, of only the second and of neither.

    Source:
        Newcombe 1998, Stat Med 17:2635, method 10: Wilson limits, squared and added, with the correlation phi
        of the table; its numerator, if positive, is reduced by n/2, down to 0.
    """
    both, first, second, _ = counts
    n = sum(counts)
    if n == 0:
        return no_estimate(EMPTY, 0, unit)
    p_one, p_two = (both + first) / n, (both + second) / n
    (low_one, high_one), (low_two, high_two) = (wilson(p * n, n, confidence) for p in (p_one, p_two))
    phi = _phi(counts)
    below = _square_and_add(p_one - low_one, high_two - p_two, phi)
    above = _square_and_add(high_one - p_one, p_two - low_two, phi)
    difference = (first - second) / n
    limits = max(-1.0, difference - below), min(1.0, difference + above)
    interval = Interval.of(limits, "Newcombe 1998 paired method 10", confidence)
    return interval.around(difference, n, unit)


def _tails(fewer: int, discordant: int) -> tuple[float, float]:
    """Two-sided p and mid-p of ``fewer`` of the discordant cases; without any, both are 1."""
    at_most, exactly = (float(law(fewer, discordant, 0.5)) for law in (binom.cdf, binom.pmf))
    if discordant == 0:
        return 1.0, 1.0
    if 2 * fewer == discordant:
        return 1.0, 1 - exactly / 2
    return min(1.0, 2 * at_most), 2 * at_most - exactly


def _phi(counts: tuple[int, int, int, int]) -> float:
    both, first, second, neither = counts
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    if margins == 0:
        return 0.0
    product = float(both * neither - first * second)
    if product > 0:
        product = max(product - sum(counts) / 2, 0.0)
    return float(product / margins**0.5)


def _square_and_add(one: float, two: float, phi: float) -> float:
    return float(max(0.0, one * one - 2 * phi * one * two + two * two) ** 0.5)


def _share(k: int, n: int, confidence: float, unit: Unit) -> Estimate:
    if n == 0:
        return no_estimate(EMPTY, 0, unit)
    return Interval.of(wilson(k, n, confidence), "Wilson", confidence).around(k / n, n, unit)

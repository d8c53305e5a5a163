"""Two calls of the same cases: exact McNemar test, and the paired difference of the shares with its interval."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binom, chi2

from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.statistics.cross_validation import corrected_p, fold_words, variance_factor
from nephroscope.statistics.estimates import clustered_share
from nephroscope.statistics.intervals import Interval, Patients, Unit, no_estimate, share_limits, wilson
from nephroscope.statistics.metrics import Bools, Proportion


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


def title_of(methods: Iterable[str]) -> str:
    """The test for the title of a column: exact, by patient, or only McNemar where it holds both."""
    kinds = {BY_PATIENT in method for method in methods if "McNemar" in method}
    return "McNemar" if len(kinds) > 1 else BY_PATIENT if True in kinds else "Exact McNemar"


BY_PATIENT = "McNemar by patient"
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
    """The same figures of rows (n,) that share patients: a chi-squared test over patients, and intervals by patient.

    The interval of the difference squares and adds those of the two shares, with their correlation over patients.
    There is no mid-p.

    Source:
        Obuchowski 1998, Stat Med 17:1495 (test); Korn and Graubard 1998 (shares); Zou 2007, Psychol Methods 12:399.
    """
    table, n = exact_mcnemar(right_one, right_two, config.confidence, unit), right_one.size
    if n == 0:
        return table
    every = np.ones(n, dtype=bool)
    shares = [Proportion(hits=right, counted=every, empty=EMPTY) for right in (right_one, right_two)]
    found = [clustered_share(share, patients, config.confidence) for share in shares]
    words = fold_words(patients.n_folds)
    one, two = (
        Interval.of(limits, method + words, config.confidence).around(share.k / n, n, unit)
        for share, (limits, method) in zip(shares, found, strict=True)
    )
    of_rows = patients.per_patient(every)
    sums = [patients.per_patient(right) for right in (right_one, right_two)]
    off = [k - share.k / n * of_rows for k, share in zip(sums, shares, strict=True)]
    spread = float((off[0] @ off[0]) * (off[1] @ off[1])) ** 0.5
    correlation = float(off[0] @ off[1]) / spread if spread > 0 else 0.0
    difference = square_and_add((one, two), correlation, "Zou 2007 by patient", config.confidence)
    gap = sums[0] - sums[1]
    variance = (
        patients.n / max(patients.n - 1, 1) * float(gap @ gap) / n**2 * variance_factor(patients.n_folds)
    )
    chi2_value = float(gap.sum() / n) ** 2 / variance if variance > 0 else 0.0
    method = f"{BY_PATIENT} (Obuchowski 1998), chi-squared {chi2_value:.2f} on 1 df{words}"
    few = patients.n < 2
    return replace(
        table,
        one=one,
        two=two,
        difference=difference,
        p=None if few else float(chi2.sf(chi2_value, 1)),
        mid_p=None,
        method="no test: one patient" if few else method,
    )


def mcnemar(
    right_one: Bools, right_two: Bools, patients: Patients, config: EvaluationConfig, unit: Unit = "case"
) -> McNemarTest:
    """The exact test where every row is another patient's, else the one by patient.

    Of cross-validated answers the exact p and the interval have the larger variance of several fits.
    """
    if patients.n < right_one.size:
        return clustered_mcnemar(right_one, right_two, patients, config, unit)
    found = exact_mcnemar(right_one, right_two, config.confidence, unit)
    words, factor = fold_words(patients.n_folds), variance_factor(patients.n_folds)
    if not words or found.p is None:
        return found
    counts = found.both / factor, found.only_one / factor, found.only_two / factor, found.neither / factor
    narrower = paired_difference(counts, config.confidence, unit)
    return replace(
        found,
        difference=replace(narrower, n=found.n, method=narrower.method + words),
        p=corrected_p(found.p, patients.n_folds),
        mid_p=None if found.mid_p is None else corrected_p(found.mid_p, patients.n_folds),
        method=found.method + words,
    )


def square_and_add(
    parts: tuple[Estimate, Estimate], correlation: float, name: str, confidence: float
) -> Estimate:
    """Difference of two figures, first minus second, from their own limits; within -1 to 1.

    Source:
        Zou and Donner 2008, Stat Med 27:1693 (MOVER: the distances of the limits, squared and added).
    """
    one, two = parts
    if one.value is None or two.value is None:
        return no_estimate(one.method if one.value is None else two.method, one.n + two.n, one.unit)
    value, n = one.value - two.value, one.n + two.n
    if one.low is None or one.high is None or two.low is None or two.high is None:
        return no_estimate("no interval: one of the two has none", n, one.unit)
    below = _square_and_add(one.value - one.low, two.high - two.value, correlation)
    above = _square_and_add(one.high - one.value, two.value - two.low, correlation)
    limits = max(-1.0, value - below), min(1.0, value + above)
    return Interval.of(limits, name, confidence).around(value, n, one.unit)


def paired_difference(
    counts: tuple[float, float, float, float], confidence: float = 0.95, unit: Unit = "case"
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
    return interval.around(difference, round(n), unit)


def _tails(fewer: int, discordant: int) -> tuple[float, float]:
    """Two-sided p and mid-p of ``fewer`` of the discordant cases; without any, both are 1."""
    at_most, exactly = (float(law(fewer, discordant, 0.5)) for law in (binom.cdf, binom.pmf))
    if discordant == 0:
        return 1.0, 1.0
    if 2 * fewer == discordant:
        return 1.0, 1 - exactly / 2
    return min(1.0, 2 * at_most), 2 * at_most - exactly


def _phi(counts: tuple[float, float, float, float]) -> float:
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
    return Interval.of(*share_limits(k, n, confidence), confidence).around(k / n, n, unit)

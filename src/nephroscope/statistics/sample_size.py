"""How many patients an interval of a given width, or a difference of two AUCs, needs.

The AUC's variance is Hanley and McNeil's, which needs only the AUC and the class sizes. This is for planning: the
figures of a study get their intervals from their own data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import asinh, ceil, floor

import numpy as np
from scipy.special import expit, logit
from scipy.stats import chi2, multivariate_normal, ncx2, norm
from scipy.stats import f as f_law

from nephroscope.base.errors import ConfigError
from nephroscope.records.settings import check_within
from nephroscope.statistics.cross_validation import variance_factor
from nephroscope.statistics.intervals import hanley_mcneil, newcombe_auc, wilson

MOST = 1_000_000  # patients of a class: no plan is larger


@dataclass(frozen=True, slots=True, kw_only=True)
class AucPlan:
    """Class sizes, the whole width of the symmetric interval, and Newcombe's, which a study would print."""

    n_positive: int
    n_negative: int
    n: int
    width: float
    half_width: float
    low: float
    high: float


def auc_plan(
    auc: float, n_positive: int, n_negative: int, confidence: float = 0.95, n_folds: int = 1
) -> AucPlan:
    """Width that class sizes give at an expected AUC, of one model or of the fits of ``n_folds`` folds.

    Raises:
        ConfigError: The AUC, a size or the confidence is out of range.
    """
    _check(auc, confidence)
    if min(n_positive, n_negative) < 1:
        raise ConfigError(
            where="plan",
            expected="at least one patient of each class",
            found=f"{n_positive} and {n_negative}",
            remedy="correct the numbers",
        )
    factor = variance_factor(n_folds)
    low, high = newcombe_auc(auc, n_positive / factor, n_negative / factor, confidence)
    width = 2 * _z(confidence) * (factor * hanley_mcneil(auc, n_positive, n_negative)) ** 0.5
    return AucPlan(
        n_positive=n_positive,
        n_negative=n_negative,
        n=n_positive + n_negative,
        width=width,
        half_width=width / 2,
        low=low,
        high=high,
    )


def patients_for_auc(
    auc: float, width: float, ratio: float = 1.0, confidence: float = 0.95, n_folds: int = 1
) -> AucPlan:
    """Smallest class sizes with a whole interval at most ``width`` wide, 2 x 1.96 standard errors at 95 %.

    ``auc`` is the expected one, above 0.5 and below 1; ``ratio`` is negative patients per positive one.
    Cross-validated answers of ``n_folds`` have the larger variance of several fits.

    Raises:
        ConfigError: A number is out of range, or more than a million patients would be needed.
    """
    _check(auc, confidence)
    check_within("plan --width", width, 0.001, 1.0)
    check_within("plan --ratio", ratio, 0.01, 100.0)
    wanted = (width / 2 / _z(confidence)) ** 2 / variance_factor(n_folds)

    def enough(n: int) -> bool:
        return hanley_mcneil(auc, n, max(1, ceil(n * ratio - 1e-9))) <= wanted + 1e-15

    n = _smallest(enough, "plan --width", f"{width:g}")
    return auc_plan(auc, n, max(1, ceil(n * ratio - 1e-9)), confidence, n_folds)


def patients_for_share(share: float, width: float, confidence: float = 0.95) -> int:
    """Fewest patients of the class for a Wilson interval of a sensitivity or specificity no wider than ``width``.

    Raises:
        ConfigError: A number is out of range.

    Source:
        Wilson 1927; as `prec_sens` of the R package presize counts.
    """
    check_within("plan, expected share", share, 0.0, 1.0)
    check_within("plan --width", width, 0.001, 1.0)
    check_within("plan --confidence", confidence, 0.5, 0.999)

    def enough(n: int) -> bool:
        low, high = wilson(share * n, n, confidence)
        return high - low <= width + 1e-12

    return _smallest(enough, "plan --width", f"{width:g}")


def power_of_difference(
    delta: float, null_variance: float, variance: float, confidence: float = 0.95
) -> float:
    """Power of the two-sided test of two AUCs of the same patients, at the level 1 - ``confidence``.

    ``delta`` is the expected difference; ``null_variance`` is its variance if both had the AUC of the first.

    Source:
        Obuchowski and McClish 1997, Stat Med 16:1529, formula (2), as pROC's power.roc.test.
    """
    return float(norm.cdf((abs(delta) - _z(confidence) * null_variance**0.5) / variance**0.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a plan to compare two AUCs of the same patients expects.

    Attributes:
        aucs: Of the first and of the second.
        correlation: Of the two AUCs over samples: 0.3 to 0.6 for models of the same images.
        ratio: Negative patients per positive one.
        confidence: The test is two-sided, at the level 1 - confidence.
        n_folds: Folds that answer; 1 for two fixed models.
    """

    aucs: tuple[float, float]
    correlation: float = 0.5
    ratio: float = 1.0
    confidence: float = 0.95
    n_folds: int = 1

    def __post_init__(self) -> None:
        for auc in self.aucs:
            _check(auc, self.confidence)
        check_within("plan --correlation", self.correlation, 0.0, 0.99)
        check_within("plan --ratio", self.ratio, 0.01, 100.0)
        if abs(self.aucs[0] - self.aucs[1]) < 1e-9:
            raise ConfigError(
                where="plan --against",
                expected="an AUC other than --auc",
                found=f"{self.aucs[0]:g} twice",
                remedy="give the two AUCs that you expect",
            )

    def negatives(self, n: int) -> int:
        """Negative patients with ``n`` positive ones."""
        return max(1, ceil(n * self.ratio - 1e-9))

    def variance(self, n: int) -> float:
        """Variance of the difference with ``n`` positive patients."""
        r = self.correlation
        v1, v2 = (binormal_variance(auc, n, self.negatives(n)) for auc in self.aucs)
        return float(variance_factor(self.n_folds) * (v1 + v2 - 2 * r * (v1 * v2) ** 0.5))


def binormal_variance(auc: float, m: float, n: float) -> float:
    """Variance of the AUC of normal scores with equal spread in both classes; m positives, n negatives.

    Source:
        Bamber 1975, J Math Psychol 12:387, with the chance that two scores are both beaten from the bivariate normal
        distribution of correlation 0.5.
    """
    both = float(multivariate_normal.cdf([norm.ppf(auc)] * 2, cov=[[1, 0.5], [0.5, 1]]))
    return float((auc * (1 - auc) + (m + n - 2) * (both - auc**2)) / (m * n))


def patients_for_difference(
    aucs: tuple[float, float],
    power: float = 0.8,
    correlation: float = 0.5,
    ratio: float = 1.0,
    confidence: float = 0.95,
    n_folds: int = 1,
) -> tuple[int, int]:
    """Positive and negative patients that show a difference of two AUCs of the same patients with this power.

    The test takes the variance of the difference as it is found, so no variance under equality is needed. The
    arguments are those of `Comparison`.

    Raises:
        ConfigError: A number is out of range, or more than a million patients would be needed.

    Source:
        Obuchowski and McClish 1997, Stat Med 16:1529, with `binormal_variance`; how much power it gives:
        `tests/test_sample_size.py`.
    """
    check_within("plan --power", power, 0.5, 0.999)
    plan = Comparison(aucs=aucs, correlation=correlation, ratio=ratio, confidence=confidence, n_folds=n_folds)
    delta = aucs[0] - aucs[1]

    def enough(n: int) -> bool:
        variance = plan.variance(n)
        return power_of_difference(delta, variance, variance, plan.confidence) >= power

    n = _smallest(enough, "plan --power", f"{power:g}")
    return n, plan.negatives(n)


def patients_for_readers(
    plan: Comparison, n_readers: int, power: float = 0.8, spread: float = 0.02, between: float = 0.05
) -> tuple[int, int]:
    """Positive and negative patients that show a difference of the mean AUC of readers, with and without help.

    Readers and cases are random. ``plan.correlation`` is that of one reader's two AUCs over samples of patients;
    ``between`` by how much two readers' AUCs are more alike with the same treatment than with different ones;
    ``spread`` the SD over readers of the gain, divided by the square root of two.

    Raises:
        ConfigError: A number is out of range, or no number of patients is enough for so few readers.

    Source:
        Hillis, Obuchowski and Berbaum 2011, Acad Radiol 18:129; how much power it gives: ``plans`` in
        `benchmarks/interval_coverage.py`.
    """
    check_within("plan --power", power, 0.5, 0.999)
    check_within("plan --readers", n_readers, 2, 1000)
    check_within("plan --reader-spread", spread, 0.0, 0.5)

    def enough(n: int) -> bool:
        return power_of_readers(plan, n, n_readers, spread, between) >= power

    n = _smallest(enough, "plan --readers", f"{n_readers} readers, power {power:g}")
    return n, plan.negatives(n)


ACROSS = 0.6  # correlation of two readers' AUCs with different treatments, as a share of one reader's own


def power_of_readers(plan: Comparison, n: int, n_readers: int, spread: float, between: float) -> float:
    """Power of the Obuchowski-Rockette test with ``n`` positive patients; the arguments are those of the plan.

    Hillis' degrees of freedom come from the mean square between readers that a study happens to find: the power is
    the mean over what it may find (by chi-squared), not that at its expected value, which few readers do not reach.
    The two AUCs have different variances, so that readers are less alike across treatments than within one.
    """
    one, two = (binormal_variance(auc, n, plan.negatives(n)) for auc in plan.aucs)
    error, both = (one + two) / 2, (one * two) ** 0.5
    own = spread**2 + error * max(1 - plan.correlation - between, 0.0)
    shared = n_readers * (error * between + ACROSS * plan.correlation * (error - both))
    shares = (np.arange(200) + 0.5) / 200
    square = own * chi2.ppf(shares, n_readers - 1) / (n_readers - 1)
    found = square + shared
    df = found**2 / (square**2 / (n_readers - 1))
    away = n_readers * (plan.aucs[0] - plan.aucs[1]) ** 2 / 2 / (own + shared)
    needed = found / (own + shared) * f_law.ppf(plan.confidence, 1, df)
    return float(ncx2.sf(needed, 1, away).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationPlan:
    """Patients for external validation: intervals of O:E and of the calibration slope at most so wide."""

    n: int
    n_observed_expected: int
    n_slope: int
    events: int


def patients_for_calibration(
    auc: float, prevalence: float, width: float = 0.4, confidence: float = 0.95
) -> CalibrationPlan:
    """Patients for a well calibrated model whose log odds are normal in each class, as ``auc`` tells.

    ``width`` is that of the whole interval of O:E, around 1, and of the slope, around 1.

    Raises:
        ConfigError: A number is out of range, or more than a million patients would be needed.

    Source:
        Riley 2021, Stat Med 40:4230, criteria 1 (O:E) and 2 (slope).
    """
    _check(auc, confidence)
    check_within("plan --prevalence", prevalence, 0.001, 0.999)
    check_within("plan --calibration", width, 0.01, 2.0)
    se_ratio = asinh(width / 2) / _z(confidence)
    n_ratio = ceil((1 - prevalence) / (prevalence * se_ratio**2) - 1e-9)
    spread = 2**0.5 * float(norm.ppf(auc))
    x = np.linspace(-8, 8, 4001)
    at, mass = x * spread, norm.pdf(x) * (x[1] - x[0])
    middle = float(logit(prevalence))
    moments = np.zeros(3)
    for sign, share in ((1, prevalence), (-1, 1 - prevalence)):
        odds = middle + sign * spread**2 / 2 + at
        p = expit(odds)
        moments += share * np.array([(mass * p * (1 - p) * odds**k).sum() for k in range(3)])
    alone = moments[0] / (moments[0] * moments[2] - moments[1] ** 2)
    n_slope = ceil(float(alone) / (width / 2 / _z(confidence)) ** 2 - 1e-9)
    n = max(n_ratio, n_slope)
    if n > MOST:
        raise ConfigError(
            where="plan --calibration",
            expected=f"a plan of at most {MOST:,} patients",
            found=f"{n:,}",
            remedy="request a wider interval",
        )
    return CalibrationPlan(n=n, n_observed_expected=n_ratio, n_slope=n_slope, events=ceil(n * prevalence))


def sizes_around(n: int) -> list[int]:
    """Round numbers of positive patients for a table, from few to beyond ``n``."""
    steps = [a * 10**b for b in range(6) for a in (1, 1.5, 2, 3, 5, 7)]
    wanted = {floor(s) for s in steps if s >= 5 and n / 8 <= s <= 2.2 * n}
    return sorted({*wanted, n})


def _smallest(enough: Callable[[int], bool], where: str, found: str) -> int:
    """The smallest number from which on it is enough, by doubling and halving."""
    high = 2
    while not enough(high):
        high *= 2
        if high > MOST:
            raise ConfigError(
                where=where,
                expected=f"a plan of at most {MOST:,} patients per class",
                found=found,
                remedy="request less precision or power",
            )
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check(auc: float, confidence: float) -> None:
    check_within("plan --auc", auc, 0.5, 0.999)
    check_within("plan --confidence", confidence, 0.5, 0.999)


def _z(confidence: float) -> float:
    return float(norm.ppf((1 + confidence) / 2))

"""How many patients an interval of a given width, or a difference of two AUCs, needs.

The AUC's variance is Hanley and McNeil's, which needs only the AUC and the class sizes. This is for planning: the
figures of a study get their intervals from their own data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor

from scipy.stats import norm

from nephroscope.base.errors import ConfigError
from nephroscope.records.settings import check_within
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


def auc_plan(auc: float, n_positive: int, n_negative: int, confidence: float = 0.95) -> AucPlan:
    """Width that class sizes give at an expected AUC.

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
    low, high = newcombe_auc(auc, n_positive, n_negative, confidence)
    width = 2 * _z(confidence) * hanley_mcneil(auc, n_positive, n_negative) ** 0.5
    return AucPlan(
        n_positive=n_positive,
        n_negative=n_negative,
        n=n_positive + n_negative,
        width=width,
        half_width=width / 2,
        low=low,
        high=high,
    )


def patients_for_auc(auc: float, width: float, ratio: float = 1.0, confidence: float = 0.95) -> AucPlan:
    """Smallest class sizes with a whole interval at most ``width`` wide, 2 x 1.96 standard errors at 95 %.

    ``auc`` is the expected one, above 0.5 and below 1; ``ratio`` is negative patients per positive one.

    Raises:
        ConfigError: A number is out of range, or more than a million patients would be needed.
    """
    _check(auc, confidence)
    check_within("plan --width", width, 0.001, 1.0)
    check_within("plan --ratio", ratio, 0.01, 100.0)
    wanted = (width / 2 / _z(confidence)) ** 2

    def enough(n: int) -> bool:
        return hanley_mcneil(auc, n, max(1, ceil(n * ratio - 1e-9))) <= wanted + 1e-15

    n = _smallest(enough, "plan --width", f"{width:g}")
    return auc_plan(auc, n, max(1, ceil(n * ratio - 1e-9)), confidence)


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


def patients_for_difference(
    aucs: tuple[float, float],
    power: float = 0.8,
    correlation: float = 0.5,
    ratio: float = 1.0,
    confidence: float = 0.95,
) -> tuple[int, int]:
    """Positive and negative patients that show a difference of two AUCs of the same patients with this power.

    The test is two-sided, at the level 1 - ``confidence``; ``ratio`` is negative patients per positive one.
    ``correlation`` is that of the two AUCs over samples: 0.3 to 0.6 for models of the same images.

    Raises:
        ConfigError: A number is out of range, or more than a million patients would be needed.
    """
    for auc in aucs:
        _check(auc, confidence)
    check_within("plan --power", power, 0.5, 0.999)
    check_within("plan --correlation", correlation, 0.0, 0.99)
    check_within("plan --ratio", ratio, 0.01, 100.0)
    first, second = aucs
    if abs(first - second) < 1e-9:
        raise ConfigError(
            where="plan --against",
            expected="an AUC other than --auc",
            found=f"{second:g} twice",
            remedy="give the two AUCs that you expect",
        )

    def enough(n: int) -> bool:
        others = max(1, ceil(n * ratio - 1e-9))
        v1, v2 = hanley_mcneil(first, n, others), hanley_mcneil(second, n, others)
        null = 2 * v1 * (1 - correlation)
        alternative = v1 + v2 - 2 * correlation * (v1 * v2) ** 0.5
        return power_of_difference(first - second, null, alternative, confidence) >= power

    n = _smallest(enough, "plan --power", f"{power:g}")
    return n, max(1, ceil(n * ratio - 1e-9))


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

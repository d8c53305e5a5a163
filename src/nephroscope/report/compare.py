"""Two or more groups compared: values in; a p value with the name of its test, or a standardised difference, out.

scipy is imported when a test is asked for.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, variance

import numpy as np

SMALL_EXPECTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """A p value, or None and why there is none in ``name``; ``doubt`` says when the test is weak here."""

    p: float | None
    name: str
    doubt: str = ""


def compare_numbers(groups: Sequence[Sequence[float]]) -> Test:
    """Mann-Whitney U for two groups, Kruskal-Wallis for more; two-sided, corrected for ties.

    Source: Mann and Whitney 1947; Kruskal and Wallis 1952; as scipy.stats computes them.
    """
    from scipy import stats

    if min(map(len, groups), default=0) < 2:
        return Test(p=None, name="fewer than 2 known in a group")
    if len({value for group in groups for value in group}) < 2:
        return Test(p=None, name="all values are equal")
    if len(groups) == 2:
        return Test(
            p=float(stats.mannwhitneyu(*groups, alternative="two-sided").pvalue), name="Mann-Whitney U"
        )
    return Test(p=float(stats.kruskal(*groups).pvalue), name="Kruskal-Wallis")


def compare_categories(groups: Sequence[Sequence[str]]) -> Test:
    """Fisher's exact test for 2 x 2, else Pearson's chi-squared without continuity correction.

    Source: Fisher 1922; Pearson 1900; the rule of expected counts below 5 is Cochran's, 1954.
    """
    from scipy import stats

    table = counts_of(groups)
    if min(map(len, groups), default=0) < 1:
        return Test(p=None, name="none known in a group")
    if table.shape[1] < 2:
        return Test(p=None, name="all are equal")
    if table.shape == (2, 2):
        return Test(p=float(stats.fisher_exact(table).pvalue), name="Fisher's exact")
    result = stats.chi2_contingency(table, correction=False)
    low = int((result.expected_freq < SMALL_EXPECTED).sum())
    doubt = f"{low} of {table.size} expected counts are below {SMALL_EXPECTED}" if low else ""
    return Test(p=float(result.pvalue), name="chi-squared", doubt=doubt)


def counts_of(groups: Sequence[Sequence[str]]) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    """Groups by categories (groups, categories in alphabetical order)."""
    words = sorted({word for group in groups for word in group})
    return np.array([[Counter(group)[word] for word in words] for group in groups], np.int64).reshape(
        len(groups), len(words)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A standardised difference, at least 0, with its interval."""

    value: float
    low: float
    high: float


def difference_of_numbers(
    one: Sequence[float], other: Sequence[float], confidence: float = 0.95
) -> Difference | None:
    """Standardised mean difference: difference of means by the root of the mean variance; None where undefined.

    Source: Cohen 1988; with the unpooled mean of both variances, as Austin, Stat Med 2009.
    """
    if len(one) < 2 or len(other) < 2:
        return None
    spread = ((variance(one) + variance(other)) / 2) ** 0.5
    if spread <= 0:
        return None
    return _with_interval(abs(fmean(one) - fmean(other)) / spread, len(one), len(other), confidence)


def difference_of_categories(
    one: Sequence[str], other: Sequence[str], confidence: float = 0.95
) -> Difference | None:
    """Standardised difference of two distributions over categories; None where undefined.

    The Mahalanobis distance between both vectors of shares, all but one category, with the mean of both covariances.

    Source: Yang and Dalton, SAS Global Forum 2012, paper 335.
    """
    if not one or not other:
        return None
    shares = counts_of([one, other])
    p, q = shares[:, 1:] / shares.sum(axis=1, keepdims=True)
    if p.size == 0:
        return None
    covariance = sum(np.diag(v) - np.outer(v, v) for v in (p, q)) / 2
    gap = p - q
    if np.linalg.matrix_rank(covariance) < p.size:
        return None
    size = float(np.sqrt(max(gap @ np.linalg.solve(covariance, gap), 0.0)))
    return _with_interval(size, len(one), len(other), confidence)


def _with_interval(size: float, n_one: int, n_other: int, confidence: float) -> Difference:
    """Normal interval of a standardised difference; below 0 lies the other direction, so it ends at 0.

    Source: Hedges and Olkin 1985, Statistical Methods for Meta-Analysis, p. 86: the variance is
        (n + m) / nm + d^2 / 2(n + m); taken for categories too by Yang and Dalton 2012.
    """
    n = n_one + n_other
    half = NormalDist().inv_cdf((1 + confidence) / 2) * (n / (n_one * n_other) + size**2 / (2 * n)) ** 0.5
    return Difference(value=size, low=max(size - half, 0.0), high=size + half)

"""Random-effects meta-analysis of one figure over sites, with the interval in which a new site's figure would lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2
from scipy.stats import t as student

from nephroscope.statistics.intervals import hanley_mcneil
from nephroscope.statistics.metrics import Floats

Scale = Literal["logit", "log"]


@dataclass(frozen=True, kw_only=True)
class MetaAnalysis:
    """A figure over several sites.

    Attributes:
        value, low, high: Mean over sites and its confidence interval; None with fewer than two sites.
        predicted_low, predicted_high: Where the figure of a new site lies; None with fewer than three sites.
        tau2: Variance between sites, on ``scale``.
        i2: Share of the variance that is between sites.
        q, q_p: Cochran's test that all sites have the same figure.
        estimate, se: Mean and standard error on ``scale``.
        n_sites: Sites.
        method: Names it, or says why there is none.
    """

    value: float | None
    low: float | None
    high: float | None
    predicted_low: float | None
    predicted_high: float | None
    tau2: float | None
    i2: float | None
    q: float | None
    q_p: float | None
    estimate: float | None
    se: float | None
    n_sites: int
    scale: Scale
    method: str


def meta_analysis(
    values: Sequence[float], variances: Sequence[float], scale: Scale, confidence: float = 0.95
) -> MetaAnalysis:
    """Combine figures of sites that are given on a scale, with their variances there.

    tau2 by restricted maximum likelihood, the interval by Hartung, Knapp, Sidik and Jonkman with k - 1 degrees of
    freedom, never with less variance than the sites' own (few sites are alike by luck), the prediction interval by t
    with k - 2 around the mean with tau2 and the same standard error.

    Args:
        values: Log odds of AUCs, or logarithms of observed to expected.
        variances: Of each, above 0.
        scale: What they are.
        confidence: Of both intervals.

    Source:
        Viechtbauer 2005, J Educ Behav Stat 30:261 (REML); IntHout 2014, BMC Med Res Methodol 14:25 (HKSJ); Higgins
        2009, J R Stat Soc A 172:137 (prediction); Debray 2017, BMJ 356:i6460, and Snell 2018, Stat Methods Med Res
        27:3505 (scales);
        Roever 2015, BMC Med Res Methodol 15:99 (the least variance; metafor's test="adhoc").
    """
    y, v, k = np.asarray(values, float), np.asarray(variances, float), len(values)
    if k < 2:
        nothing = dict.fromkeys(("low", "high", "predicted_low", "predicted_high", "tau2", "i2", "q", "q_p"))
        alone = float(y[0]) if k else None
        return MetaAnalysis(
            **nothing,
            value=_back(alone, scale) if alone is not None else None,
            estimate=alone,
            se=sqrt(v[0]) if k else None,
            n_sites=k,
            scale=scale,
            method="no mean: fewer than two sites with a figure",
        )
    tau2 = _reml(y, v)
    w = 1 / (v + tau2)
    mean = float(w @ y / w.sum())
    spread = float(w @ (y - mean) ** 2) / (k - 1)
    se = sqrt(max(spread, 1.0) / float(w.sum()))
    fixed = 1 / v
    q = float(fixed @ (y - fixed @ y / fixed.sum()) ** 2)
    typical = (k - 1) * fixed.sum() / (fixed.sum() ** 2 - (fixed**2).sum())
    around = float(student.ppf((1 + confidence) / 2, k - 1)) * se
    wide = float(student.ppf((1 + confidence) / 2, k - 2)) * sqrt(tau2 + se**2) if k > 2 else inf
    predicted = (_back(mean - wide, scale), _back(mean + wide, scale)) if k > 2 else (None, None)
    return MetaAnalysis(
        value=_back(mean, scale),
        low=_back(mean - around, scale),
        high=_back(mean + around, scale),
        predicted_low=predicted[0],
        predicted_high=predicted[1],
        tau2=tau2,
        i2=float(tau2 / (tau2 + typical)),
        q=q,
        q_p=float(chi2.sf(q, k - 1)),
        estimate=mean,
        se=se,
        n_sites=k,
        scale=scale,
        method=f"random effects on the {scale} scale (REML; Hartung-Knapp-Sidik-Jonkman), {k} sites",
    )


def logit_auc(
    auc: float, variance: float | None, n_positive: float, n_negative: float
) -> tuple[float, float]:
    """Log odds of an AUC and their variance.

    An AUC of 0 or 1 is moved by half a pair of cases. Where the variance is not known or zero, Hanley and McNeil's.

    Source:
        Hanley and McNeil 1982, Radiology 143:29; Debray 2017.
    """
    half = 1 / (2 * n_positive * n_negative)
    moved = min(max(auc, half), 1 - half)
    if not variance or moved != auc:
        variance = hanley_mcneil(moved, n_positive, n_negative)
    return log(moved / (1 - moved)), variance / (moved * (1 - moved)) ** 2


def log_observed_to_expected(observed: float, expected: float, n: float) -> tuple[float, float]:
    """Logarithm of observed to expected cases, and its variance (1 - observed / n) / observed.

    With no case, or all, half a case is added or taken.

    Source:
        Debray 2017, BMJ 356:i6460, appendix.
    """
    seen = min(max(observed, 0.5), n - 0.5)
    return log(seen / expected), (1 - seen / n) / seen


def stratified_auc(
    aucs: Sequence[float], variances: Sequence[float], pairs: Sequence[float]
) -> tuple[float, float]:
    """AUC among pairs of cases of the same site, and its variance: the sites' AUCs weighted by their pairs."""
    share = np.asarray(pairs, float) / float(np.sum(pairs))
    return float(share @ np.asarray(aucs)), float(share**2 @ np.asarray(variances))


def _reml(y: Floats, v: Floats) -> float:
    """Variance between sites by restricted maximum likelihood, 0 where the likelihood falls from there on."""

    def slope(tau2: float) -> float:
        w = 1 / (v + tau2)
        mean = w @ y / w.sum()
        return float((w**2) @ (y - mean) ** 2 - w.sum() + (w**2).sum() / w.sum())

    if slope(0.0) <= 0:
        return 0.0
    high = 1.0 + 10 * float(np.var(y))
    while slope(high) > 0:
        high *= 4
    return float(brentq(slope, 0.0, high, xtol=1e-12))


def _back(value: float, scale: Scale) -> float:
    if scale == "log":
        return exp(value)
    return 1 / (1 + exp(-value)) if value > -700 else 0.0

"""Positive and negative predictive value at a prevalence that is not that of the data."""

import numpy as np
from scipy.special import expit

from nephroscope.records import Estimate
from nephroscope.records.settings import check_within
from nephroscope.statistics.estimates import Rows, effective_counts
from nephroscope.statistics.intervals import Interval, no_estimate, wilson
from nephroscope.statistics.metrics import Proportion

Counts = tuple[float, float]  # hits and rows


def predictive_values(
    rows: Rows, shares: tuple[Proportion, Proportion], prevalence: float, confidence: float
) -> dict[str, Estimate]:
    """``ppv`` and ``npv`` of calls at a prevalence, from sensitivity and specificity (``shares``).

    Their odds are a likelihood ratio times the odds of the prevalence; the limits of the ratio are Wilson's of both
    shares, squared and added on the log scale around shares with half a case added. Where rows share patients, or
    several folds answered, as many rows count as have the variance.

    Raises:
        ConfigError: The prevalence is not between 0 and 1.

    Source:
        Zou and Donner 2008, Stat Med 27:1693 (limits squared and added, here of a ratio); why not the adjusted logit
        of Mercaldo 2007: it holds 0.58 to 0.93 with 10 to 40 cases of a class.
    """
    check_within("--prevalence", prevalence, 0.0001, 0.9999)
    n, unit = rows.truth.size, rows.unit
    if shares[0].value is None or shares[1].value is None:
        none = no_estimate("undefined: a class has no case", n, unit)
        return {"ppv": none, "npv": none}
    hit, spared = (effective_counts(rows, share, confidence) for share in shares)
    missed, alarmed = ((size - k, size) for k, size in (hit, spared))
    odds = prevalence / (1 - prevalence)
    found = {}
    for name, own, other, before in (("ppv", hit, alarmed, odds), ("npv", spared, missed, 1 / odds)):
        share, against = own[0] / own[1], other[0] / other[1]
        if share + against == 0:
            found[name] = no_estimate("undefined: no case is called so", n, unit)
            continue
        value = share * before / (share * before + against)
        low, high = (float(expit(limit + np.log(before))) for limit in _log_ratio(own, other, confidence))
        method = f"at prevalence {prevalence:g}, likelihood ratio by Wilson's limits, squared and added"
        limits = min(low, value), max(high, value)
        found[name] = Interval.of(limits, method, confidence).around(value, n, unit)
    return found


def _log_ratio(own: Counts, other: Counts, confidence: float) -> tuple[float, float]:
    """Low and high limit of the logarithm of a ratio of two shares."""
    with np.errstate(divide="ignore"):
        centers = [np.log((k + 0.5) / (size + 1)) for k, size in (own, other)]
        limits = [np.log(wilson(k, size, confidence)) for k, size in (own, other)]
    (one, two), ((low, high), (least, most)) = centers, limits
    below = float(np.hypot(max(one - low, 0.0), max(most - two, 0.0)))
    above = float(np.hypot(max(high - one, 0.0), max(two - least, 0.0)))
    return float(one - two) - below, float(one - two) + above

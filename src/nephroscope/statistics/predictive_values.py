"""Positive and negative predictive value at a prevalence that is not that of the data."""

import numpy as np

from nephroscope.records import Estimate
from nephroscope.records.settings import check_within
from nephroscope.statistics.estimates import Rows, effective_counts
from nephroscope.statistics.intervals import Interval, no_estimate, normal_quantile
from nephroscope.statistics.metrics import Proportion


def predictive_values(
    rows: Rows, shares: tuple[Proportion, Proportion], prevalence: float, confidence: float
) -> dict[str, Estimate]:
    """``ppv`` and ``npv`` of calls at a prevalence, from sensitivity and specificity (``shares``).

    Values are those of the shares; the limits are on the logit scale, from shares with half the squared normal
    quantile of cases added on each side, so that there are limits where a share is 0 or 1. Where rows share patients,
    or several folds answered, as many rows count as have the variance.

    Raises:
        ConfigError: The prevalence is not between 0 and 1.

    Source:
        Mercaldo, Lau and Zhou 2007, Stat Med 26:2170 (adjusted logit interval).
    """
    check_within("--prevalence", prevalence, 0.0001, 0.9999)
    n, unit = rows.truth.size, rows.unit
    if shares[0].value is None or shares[1].value is None:
        none = no_estimate("undefined: a class has no case", n, unit)
        return {"ppv": none, "npv": none}
    z = normal_quantile(confidence)
    adjusted = []
    for share in shares:
        k, size = effective_counts(rows, share, confidence)
        size_plus = size + z**2
        p = (k + z**2 / 2) / size_plus
        adjusted.append((p, size_plus))
    (se, m), (sp, k) = adjusted
    odds = [se * prevalence / ((1 - sp) * (1 - prevalence)), sp * (1 - prevalence) / ((1 - se) * prevalence)]
    variances = [(1 - se) / se / m + sp / (1 - sp) / k, se / (1 - se) / m + (1 - sp) / sp / k]
    hit, spared = float(shares[0].value), float(shares[1].value)
    values = [
        _share(hit * prevalence, (1 - spared) * (1 - prevalence)),
        _share(spared * (1 - prevalence), (1 - hit) * prevalence),
    ]
    found = {}
    for name, value, center, variance in zip(("ppv", "npv"), values, odds, variances, strict=True):
        if value is None:
            found[name] = no_estimate("undefined: no case is called so", n, unit)
            continue
        half = z * variance**0.5
        low, high = (float(1 / (1 + np.exp(-(np.log(center) + side * half)))) for side in (-1, 1))
        limits = min(low, value), max(high, value)
        method = f"at prevalence {prevalence:g}, Mercaldo 2007, adjusted logit"
        found[name] = Interval.of(limits, method, confidence).around(value, n, unit)
    return found


def _share(own: float, other: float) -> float | None:
    return own / (own + other) if own + other > 0 else None

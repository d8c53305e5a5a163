"""How far two annotators' measurements of the same tumors agree: bias and limits of agreement, with intervals."""

import numpy as np
from scipy.stats import nct, rankdata, t

from nephroscope.records import Estimate, EvaluationConfig, counted_noun
from nephroscope.statistics.intervals import (
    Interval,
    Patients,
    Statistic,
    clustered_bootstrap,
    no_estimate,
    normal_quantile,
    percentile_interval,
)
from nephroscope.statistics.metrics import Floats

Z_LIMIT = 1.96  # limits of agreement hold 95 % of the differences
FEWEST = 3


def bland_altman(
    one: Floats, two: Floats, patients: Patients, config: EvaluationConfig, *, ratio: bool = False
) -> dict[str, Estimate]:
    """Bias and lower and upper limit of agreement of the second annotator against the first.

    With one tumor per patient the intervals are Student's for the bias and exact for the limits; otherwise patients
    are resampled with all their tumors. ``ratio`` compares second over first, by logarithms: for values (n,) that
    differ more where they are larger.

    Source:
        Bland and Altman 1986, Lancet 327:307, and 1999, Stat Methods Med Res 8:135 (ratio: section 3); exact limits:
        Carkeet 2015, Optom Vis Sci 92:e71.
    """
    names = ("bias", "limit_low", "limit_high")
    differences = np.log(two / one) if ratio else two - one
    n = differences.size
    if patients.n < FEWEST:
        why = f"undefined: fewer than {FEWEST} patients"
        return {name: no_estimate(why, n) for name in names}
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    values = (mean, mean - Z_LIMIT * deviation, mean + Z_LIMIT * deviation)
    if patients.n == n:
        half = float(t.ppf((1 + config.confidence) / 2, n - 1)) * deviation / n**0.5
        tails = np.array([1 - config.confidence, 1 + config.confidence]) / 2
        reach = nct.ppf(tails, n - 1, Z_LIMIT * n**0.5) / n**0.5 * deviation
        pairs = [(mean - half, mean + half), tuple(mean - reach[::-1]), tuple(mean + reach)]
        exact = "exact (Carkeet 2015)"
        intervals = [
            Interval.of((low, high), how, config.confidence)
            for (low, high), how in zip(pairs, ("Student's t", exact, exact), strict=True)
        ]
    else:
        intervals = _resampled(differences, patients, config)

    def plain(value: float) -> float:
        return float(np.exp(value) if ratio else value)

    scale = "ratio of second to first, " if ratio else ""
    return {
        name: Interval(
            low if low is None else plain(low), high if high is None else plain(high), f"{scale}{method}"
        ).around(plain(value), n)
        for name, value, (low, high, method) in zip(names, values, intervals, strict=True)
    }


def growth(one: Floats, two: Floats, patients: Patients, config: EvaluationConfig) -> Estimate:
    """Rank correlation of the absolute difference with the mean of both: above 0 if large tumors differ more.

    Source:
        Bonett and Wright 2000, Psychometrika 65:23, with the number of patients as n.
    """
    n, rows = patients.n, int(one.size)
    ranks = [rankdata(values) for values in (np.abs(two - one), one + two)]
    if n < 5 or min(np.ptp(r) for r in ranks) == 0:
        why = "undefined: fewer than 5 patients" if n < 5 else "undefined: all differences are the same"
        return no_estimate(why, rows)
    rho = float(np.corrcoef(*ranks)[0, 1])
    half = normal_quantile(config.confidence) * ((1 + rho**2 / 2) / (n - 3)) ** 0.5
    middle = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    limits = float(np.tanh(middle - half)), float(np.tanh(middle + half))
    method = f"Spearman, Bonett and Wright 2000, {n} patients"
    return Interval.of(limits, method, config.confidence).around(rho, rows)


def _resampled(differences: Floats, patients: Patients, config: EvaluationConfig) -> list[Interval]:
    count = patients.per_patient(np.ones(differences.size))
    first, second = patients.per_patient(differences), patients.per_patient(differences**2)

    def limit(z: float) -> Statistic:
        def statistic(weights: Floats) -> Floats:
            n, mean = weights @ count, weights @ first / (weights @ count)
            variance = (weights @ second - n * mean**2) / (n - 1)
            found: Floats = mean + z * np.sqrt(np.maximum(variance, 0))
            return found

        return statistic

    statistics = {str(z): limit(z) for z in (0.0, -Z_LIMIT, Z_LIMIT)}
    drawn = clustered_bootstrap(statistics, patients, config.resamples, config.seed)
    whose = counted_noun(patients.n, "patient")
    return [percentile_interval(values, whose, config.confidence) for values in drawn.values()]

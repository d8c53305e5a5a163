"""Every figure of a set of rows (slices or cases) as an `Estimate`, by the interval its rows allow.

Cases of different patients are independent: Wilson for shares, DeLong for areas. Slices are not, nor are two
tumors of one patient: there, patients are resampled for shares, and Obuchowski's clustered variance serves for areas.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nephroscope.evaluation import intervals, metrics
from nephroscope.evaluation.metrics import Bools, Floats, Ints, Proportion
from nephroscope.evaluation.statistics.clustered import clustered_interval
from nephroscope.records import Estimate, EvaluationConfig

Area = tuple[Floats, Bools]  # scores and which rows are positive, both (n,)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rows:
    """What is scored: truth and call as subtype indices (n,), probabilities (n, K), and whose each row is."""

    unit: Literal["image", "case"]
    truth: Ints
    called: Ints
    p: Floats
    patients: intervals.Patients

    @property
    def independent(self) -> bool:
        """True when every row is a case of its own patient, so that plain formulas hold."""
        return self.unit == "case" and self.patients.n == self.truth.size


def shares_of(rows: Rows, subtypes: Sequence[str], positive: int) -> dict[str, Proportion]:
    """Accuracy, sensitivity, specificity and precision, as `metrics.proportions` names them."""
    return metrics.proportions(rows.truth, rows.called, subtypes, positive)


def areas_of(rows: Rows, subtypes: Sequence[str], positive: int) -> dict[str, list[Area]]:
    """Scores and truth behind each AUC; a macro AUC is the mean over its list."""
    each = {s: (rows.p[:, i], rows.truth == i) for i, s in enumerate(subtypes)}
    if len(subtypes) == 2:
        return {"auc": [each[subtypes[positive]]]}
    macro = list(each.values())
    return {"auc": macro, "auc_macro": macro} | {f"auc_{s}": [area] for s, area in each.items()}


def estimate_all(
    rows: Rows,
    shares: Mapping[str, Proportion],
    areas: Mapping[str, list[Area]],
    config: EvaluationConfig,
) -> dict[str, Estimate]:
    """Every figure with its interval; all that need the bootstrap share one run of it."""
    statistics: dict[str, intervals.Statistic] = {}
    if not rows.independent:
        statistics |= {
            n: intervals.ratio_statistic(s.hits, s.counted, rows.patients) for n, s in shares.items()
        }
    formulas = {n: _formula(rows, parts, config) for n, parts in areas.items()}
    for name, parts in areas.items():
        if formulas[name] is None and all(y.any() and not y.all() for _, y in parts):
            each = [intervals.auc_statistic(scores, y, rows.patients) for scores, y in parts]
            statistics[name] = intervals.mean_statistic(each)
    drawn = intervals.clustered_bootstrap(statistics, rows.patients, config.resamples, config.seed)
    found = {n: _share_estimate(rows, share, drawn.get(n), config) for n, share in shares.items()}
    return found | {
        n: _area_estimate(rows, parts, formulas[n], drawn.get(n), config) for n, parts in areas.items()
    }


def _formula(rows: Rows, parts: Sequence[Area], config: EvaluationConfig) -> tuple[float, float, str] | None:
    """Low, high and method of the interval of a single area by a formula; None where only the bootstrap is left."""
    if len(parts) > 1 or not all(y.any() and not y.all() for _, y in parts):
        return None
    if rows.independent:
        return intervals.delong_auc(*parts[0], config.confidence)
    return clustered_interval(*parts[0], rows.patients, config.confidence)


def _share_estimate(
    rows: Rows, share: Proportion, drawn: Floats | None, config: EvaluationConfig
) -> Estimate:
    if share.value is None:
        return _undefined(rows, 0, share.empty)
    if drawn is None:
        low, high = intervals.wilson(share.k, share.n, config.confidence)
        return _estimate(rows, share.value, (low, high, "Wilson"), share.n, config)
    n_patients = rows.patients.count(share.counted)

    def agreed() -> tuple[float, float, str]:
        low, high = intervals.wilson(share.k / share.n * n_patients, n_patients, config.confidence)
        return low, high, f"Wilson on {_patients(n_patients)}, as every resample agrees"

    return _estimate(rows, share.value, _percentiles(rows, drawn, config, agreed), share.n, config)


def _area_estimate(
    rows: Rows,
    parts: Sequence[Area],
    formula: tuple[float, float, str] | None,
    drawn: Floats | None,
    config: EvaluationConfig,
) -> Estimate:
    values = [metrics.auc(scores, y) for scores, y in parts]
    known = [v for v in values if v is not None]
    if len(known) < len(values):
        return _undefined(rows, rows.truth.size, "a class has no case")
    value = float(np.mean(known))
    if formula is not None or drawn is None:
        interval = formula or intervals.delong_auc(*parts[0], config.confidence)
        return _estimate(rows, value, interval, rows.truth.size, config)
    m = min(rows.patients.count(y) for _, y in parts)

    def agreed() -> tuple[float, float, str]:
        low, high = intervals.newcombe_auc(value, m, max(1, rows.patients.n - m), config.confidence)
        return low, high, f"Newcombe 2006 method 5 on {_patients(rows.patients.n)}, as every resample agrees"

    return _estimate(rows, value, _percentiles(rows, drawn, config, agreed), rows.truth.size, config)


def _percentiles(
    rows: Rows, drawn: Floats, config: EvaluationConfig, agreed: Callable[[], tuple[float, float, str]]
) -> tuple[float, float, str]:
    """Percentile interval of the resamples, or what ``agreed`` gives when they are all the same."""
    values = drawn[~np.isnan(drawn)]
    if values.size < 2 or np.ptp(values) < 1e-12:
        return agreed()
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    method = f"patient bootstrap, {values.size} resamples of {_patients(rows.patients.n)}"
    return float(low), float(high), method


def _estimate(
    rows: Rows, value: float, interval: tuple[float, float, str], n: int, config: EvaluationConfig
) -> Estimate:
    low, high, method = interval
    percent = f"{100 * config.confidence:g} %"
    return Estimate(value=value, low=low, high=high, n=n, unit=rows.unit, method=f"{method}, {percent}")


def _undefined(rows: Rows, n: int, why: str) -> Estimate:
    return Estimate(value=None, low=None, high=None, n=n, unit=rows.unit, method=f"undefined: {why}")


def _patients(n: int) -> str:
    return f"{n} patient{'' if n == 1 else 's'}"

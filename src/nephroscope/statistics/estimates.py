"""Every figure of a set of rows (slices or cases) as an `Estimate`, with the interval that its rows allow.

Cases of different patients are independent: Wilson for shares, DeLong for areas. Slices are not, nor are two tumors
of one patient: for these, patients are resampled for shares, and areas have Obuchowski's clustered variance. Where a
class has one patient with several rows, no area has an interval: one patient does not show how patients differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nephroscope.records import Answer, Estimate, EvaluationConfig, counted_noun
from nephroscope.statistics import intervals, metrics
from nephroscope.statistics.auc import clustered_interval
from nephroscope.statistics.intervals import Interval, no_estimate, percentile_interval
from nephroscope.statistics.metrics import Bools, Floats, Ints, Proportion
from nephroscope.statistics.resampling import REDRAWN, grouped, patients_words, whole_draws

Area = tuple[Floats, Bools]  # scores and which rows are positive, both (n,)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rows:
    """What is scored: truth and call as subtype indices (n,), probabilities (n, K), and patients."""

    unit: Literal["image", "case"]
    truth: Ints
    called: Ints
    p: Floats
    patients: intervals.Patients

    @property
    def independent(self) -> bool:
        """True if every row is the case of another patient, so that formulas for independent rows are valid."""
        return self.unit == "case" and self.patients.n == self.truth.size


def rows_of_cases(predictions: Sequence[Answer], subtypes: Sequence[str]) -> Rows:
    """Cases with a known subtype, each once, by their forced call; probabilities in the order of ``subtypes``."""
    index = {s: i for i, s in enumerate(subtypes)}
    truth = np.array([index[p.truth or ""] for p in predictions], dtype=np.intp)
    return Rows(
        unit="case",
        truth=truth,
        called=np.array([index[p.forced_call] for p in predictions], dtype=np.intp),
        p=np.array([[p.probabilities[s] for s in subtypes] for p in predictions]),
        patients=intervals.Patients.of([p.patient_id for p in predictions], truth),
    )


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
    """Every figure with its interval; all that need the same redraws share one run of them."""
    drawn_from = grouped(rows.patients).with_company
    statistics: dict[str, intervals.Statistic] = {}
    mixed: dict[str, intervals.Statistic] = {}
    if not rows.independent:
        for name, share in shares.items():
            chosen = mixed if _mixes_classes(rows, share) else statistics
            chosen[name] = intervals.ratio_statistic(share.hits, share.counted, drawn_from)
    formulas = {n: _formula(rows, parts, config) for n, parts in areas.items()}
    for name, parts in areas.items():
        if formulas[name] is None and _fewest(rows, parts) > 1:
            each = [intervals.auc_statistic(scores, y, drawn_from) for scores, y in parts]
            statistics[name] = intervals.mean_statistic(each)
    drawn = intervals.clustered_bootstrap(statistics, drawn_from, config.resamples, config.seed)
    drawn |= intervals.clustered_bootstrap(mixed, whole_draws(drawn_from), config.resamples, config.seed)
    found = {n: _share_estimate(rows, share, drawn.get(n), config) for n, share in shares.items()}
    return found | {
        n: _area_estimate(rows, parts, formulas[n], drawn.get(n), config) for n, parts in areas.items()
    }


def _mixes_classes(rows: Rows, share: Proportion) -> bool:
    """True of accuracy and precision: they depend on the number of each class, so resampling redraws that too."""
    return np.unique(rows.truth[share.counted]).size > 1


def _fewest(rows: Rows, parts: Sequence[Area]) -> int:
    """Patients of the smallest class of the areas."""
    return min(rows.patients.count(side) for _, y in parts for side in (y, ~y))


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
        return no_estimate(f"undefined: {share.empty}", 0, rows.unit)
    confidence = config.confidence
    if drawn is None:
        interval = Interval.of(intervals.wilson(share.k, share.n, confidence), "Wilson", confidence)
        return interval.around(share.value, share.n, rows.unit)
    interval = percentile_interval(drawn, patients_words(rows.patients), confidence)
    if _mixes_classes(rows, share):
        interval = interval._replace(method=f"{interval.method}; {REDRAWN}")
    if interval.low is None or interval.high is None:
        n = rows.patients.count(share.counted)
        method = f"Wilson on {counted_noun(n, 'patient')}, as every resample agrees"
        interval = Interval.of(intervals.wilson(share.k / share.n * n, n, confidence), method, confidence)
    return interval.around(share.value, share.n, rows.unit)


def _area_estimate(
    rows: Rows,
    parts: Sequence[Area],
    formula: tuple[float, float, str] | None,
    drawn: Floats | None,
    config: EvaluationConfig,
) -> Estimate:
    values = [metrics.auc(scores, y) for scores, y in parts]
    known = [v for v in values if v is not None]
    n = rows.truth.size
    if len(known) < len(values):
        return no_estimate("undefined: a class has no case", n, rows.unit)
    value, whose = float(np.mean(known)), patients_words(rows.patients)
    if formula is not None:
        interval = Interval.of(formula[:2], formula[2], config.confidence)
    elif drawn is None:
        interval = Interval(None, None, f"no interval: a class has one patient, of {whose}")
    else:
        interval = percentile_interval(drawn, whose, config.confidence)
        if interval.low is None or interval.high is None:
            m = min(rows.patients.count(y) for _, y in parts)
            limits = intervals.newcombe_auc(value, m, max(1, rows.patients.n - m), config.confidence)
            method = f"Newcombe 2006 method 5 on {whose}, as every resample agrees"
            interval = Interval.of(limits, method, config.confidence)
    return interval.around(value, n, rows.unit)

"""Every figure of a set of rows (slices or cases) as an `Estimate`, with the interval that its rows allow.

Cases of different patients are independent: Wilson for shares, DeLong for areas. Slices are not, nor are two tumors
of one patient: for these, shares have the exact interval of as many independent rows as vary alike, and areas have
Obuchowski's clustered variance. Where a class has one patient with several rows, no area has an interval: one patient
does not show how patients differ. Answers of several folds have a larger variance than those of one fixed model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy.stats import t as student

from nephroscope.records import Answer, Estimate, EvaluationConfig, counted_noun
from nephroscope.statistics import intervals, metrics
from nephroscope.statistics.cross_validation import fold_words, variance_factor
from nephroscope.statistics.intervals import (
    FEWEST,
    NOTHING,
    Interval,
    Patients,
    clopper_pearson,
    no_estimate,
    normal_quantile,
    share_limits,
)
from nephroscope.statistics.metrics import Area, Floats, Ints, Proportion
from nephroscope.statistics.placements import area_interval, hand_till, pair_areas


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
        patients=intervals.Patients.of(
            [p.patient_id for p in predictions], truth, [p.fold for p in predictions]
        ),
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
    """Every figure with its interval."""
    found = {name: _share_estimate(rows, share, config.confidence) for name, share in shares.items()}
    return found | {name: _area_estimate(rows, parts, config.confidence) for name, parts in areas.items()}


def pairwise_areas(rows: Rows, subtypes: Sequence[str], config: EvaluationConfig) -> dict[str, Estimate]:
    """Of three subtypes or more, how well each two are told apart, and the mean over the pairs (``auc_pairs``).

    ``auc_pairs_A_B`` is the mean of the areas by the probability of A and by that of B, on the rows of these two.
    Empty with two subtypes.

    Source:
        Hand and Till 2001, Mach Learn 45:171.
    """
    if len(subtypes) < 3:
        return {}
    counts = np.bincount(rows.truth, minlength=len(subtypes))
    found = {}
    for pair in combinations(range(len(subtypes)), 2):
        own, areas = pair_areas(rows.p, rows.truth, pair)
        name, n = f"auc_pairs_{subtypes[pair[0]]}_{subtypes[pair[1]]}", int(own.sum())
        if counts[list(pair)].min() == 0:
            found[name] = no_estimate("undefined: a class has no case", n, rows.unit)
            continue
        interval = area_interval(areas, rows.patients.on(own), config.confidence)
        value = float(np.mean([metrics.auc(scores, y) for scores, y in areas]))
        found[name] = interval.around(value, n, rows.unit)
    if counts.min() == 0:
        return {
            "auc_pairs": no_estimate("undefined: a class has no case", rows.truth.size, rows.unit)
        } | found
    mean, interval = hand_till(rows.p, rows.truth, rows.patients, config.confidence)
    return {"auc_pairs": interval.around(mean, rows.truth.size, rows.unit)} | found


def confusion_shares(rows: Rows, n_subtypes: int, confidence: float) -> tuple[tuple[Estimate, ...], ...]:
    """Of the rows of each subtype (rows), the share called each subtype (columns)."""
    return tuple(
        tuple(
            _share_estimate(
                rows,
                Proportion(hits=rows.called == call, counted=rows.truth == truth, empty="no such case"),
                confidence,
            )
            for call in range(n_subtypes)
        )
        for truth in range(n_subtypes)
    )


def share_of_cases(hits: Sequence[bool], patient_ids: Sequence[str], confidence: float) -> Estimate:
    """The share of cases that are hits, by one fixed model; cases of one patient are not independent."""
    held = np.array(hits, np.bool_)
    if not held.size:
        return no_estimate("undefined: no case", 0)
    patients = Patients.of(patient_ids, np.zeros(held.size, np.intp))
    nothing = np.zeros(held.size, np.intp)
    rows = Rows(unit="case", truth=nothing, called=nothing, p=np.zeros((held.size, 1)), patients=patients)
    share = Proportion(hits=held, counted=np.ones(held.size, np.bool_), empty="no case")
    return _share_estimate(rows, share, confidence)


def _share_estimate(rows: Rows, share: Proportion, confidence: float) -> Estimate:
    if share.value is None:
        return no_estimate(f"undefined: {share.empty}", 0, rows.unit)
    factor, words = variance_factor(rows.patients.n_folds), fold_words(rows.patients.n_folds)
    if rows.independent:
        limits, method = share_limits(share.k, share.n, confidence, factor)
    else:
        limits, method = clustered_share(share, rows.patients, confidence)
    return Interval.of(limits, method + words, confidence).around(share.value, share.n, rows.unit)


def clustered_share(
    share: Proportion, patients: Patients, confidence: float
) -> tuple[tuple[float, float], str]:
    """Low and high limit of a share of rows that share patients, and the method.

    The exact interval for as many independent rows as have the variance over patients, by t; at most one row a
    patient where fewer than five patients have a hit, or fewer than five a miss.

    Source:
        Korn and Graubard 1998, Surv Methodol 24:193; why not the bootstrap: `benchmarks/interval_coverage.py`.
    """
    value = share.k / share.n
    size, enough = _rows_worth(share, patients, confidence)
    limits = clopper_pearson(value * size, size, confidence)
    return limits, f"Korn and Graubard 1998, {counted_noun(enough, 'patient')} worth {size:.1f} rows"


def _rows_worth(share: Proportion, patients: Patients, confidence: float) -> tuple[float, int]:
    """As many independent rows as have the variance of a share over patients, and the patients that count."""
    k, n = patients.per_patient(share.hits & share.counted), patients.per_patient(share.counted)
    own = n > 0
    k, n, total = k[own], n[own], float(n.sum())
    value, of_patients = float(k.sum() / total), total**2 / float(n @ n)
    size, enough = of_patients, int(own.sum())
    off = k - value * n
    variance = enough / max(enough - 1, 1) * float(off @ off) / total**2
    if variance > NOTHING and enough > 1:
        wider = float(student.ppf((1 + confidence) / 2, enough - 1)) / normal_quantile(confidence)
        size = min(value * (1 - value) / variance / wider**2, total)
        if min(np.count_nonzero(k), np.count_nonzero(k < n)) < FEWEST:
            size = min(size, of_patients)
    return size / variance_factor(patients.n_folds), enough


def effective_counts(rows: Rows, share: Proportion, confidence: float) -> tuple[float, float]:
    """Hits and rows of a share as if of independent cases of one model that vary alike; some row is counted."""
    value = share.value or 0.0
    if rows.independent:
        size = share.n / variance_factor(rows.patients.n_folds)
    else:
        size = _rows_worth(share, rows.patients, confidence)[0]
    return value * size, size


def _area_estimate(rows: Rows, parts: Sequence[Area], confidence: float) -> Estimate:
    values = [metrics.auc(scores, y) for scores, y in parts]
    known = [v for v in values if v is not None]
    n = rows.truth.size
    if len(known) < len(values):
        return no_estimate("undefined: a class has no case", n, rows.unit)
    interval = area_interval(parts, rows.patients, confidence)
    return interval.around(float(np.mean(known)), n, rows.unit)

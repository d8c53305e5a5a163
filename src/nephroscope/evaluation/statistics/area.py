"""Scores of one test in; its AUC with every interval that its rows allow out, and which of them is the headline."""

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from nephroscope.evaluation.estimates import Rows, estimate_all
from nephroscope.evaluation.intervals import (
    Patients,
    auc_statistic,
    clustered_bootstrap,
    hanley_mcneil,
    logit_limits,
)
from nephroscope.evaluation.metrics import Bools, Floats
from nephroscope.evaluation.percentiles import ONE_PATIENT, percentile_interval
from nephroscope.evaluation.statistics.auc import NOTHING, auc_covariance
from nephroscope.evaluation.statistics.cells import grouped, patients_words
from nephroscope.records import Estimate, EvaluationConfig


@dataclass(frozen=True, kw_only=True)
class AucFigures:
    """An AUC and its intervals.

    Attributes:
        auc: The headline, made as `evaluate` makes it: DeLong on the logit scale where each row is a patient,
            Obuchowski on the logit scale where patients have several rows.
        intervals: By name: delong (plain, as pROC prints it) and delong_logit; obuchowski, obuchowski_logit and
            patient_bootstrap where rows share patients.
        se: Standard errors by name: delong and hanley_mcneil, or obuchowski.
        headline: Name of the headline among the intervals; newcombe where the variance is zero.
    """

    auc: Estimate
    intervals: dict[str, Estimate]
    se: dict[str, float | None]
    headline: str


def auc_figures(
    scores: Floats, is_positive: Bools, patients: Patients, unit: str, config: EvaluationConfig
) -> AucFigures:
    """The AUC of scores (n,) that mean positive where high; both classes are there.

    Source:
        DeLong 1988; Obuchowski 1997; Newcombe 2006 where their variance is zero.
    """
    own = is_positive.astype(np.intp)
    rows = Rows(
        unit="case" if unit == "case" else "image",
        truth=own,
        called=own,
        p=np.stack([-scores, scores], axis=1),
        patients=patients,
    )
    headline = estimate_all(rows, {}, {"auc": [(scores, is_positive)]}, config)["auc"]
    _, covariance, method = auc_covariance(scores[None], is_positive, patients)
    variance = None if covariance is None else float(covariance[0, 0])
    clustered = patients.n < is_positive.size
    name = "obuchowski" if clustered else "delong"
    plain, logit = _around(headline, variance, method, config.confidence)
    intervals = {name: plain, f"{name}_logit": logit}
    se = {name: None if variance is None else max(variance, 0.0) ** 0.5}
    if not clustered:
        m = int(own.sum())
        se["hanley_mcneil"] = hanley_mcneil(headline.value or 0.0, m, own.size - m) ** 0.5
    chosen = f"{name}_logit"
    if clustered:
        intervals["patient_bootstrap"] = _redrawn(headline, scores, is_positive, patients, config)
    if "Newcombe" in headline.method:
        chosen = "newcombe"
    elif "bootstrap" in headline.method:
        chosen = "patient_bootstrap"
    return AucFigures(auc=headline, intervals=intervals | {chosen: headline}, se=se, headline=chosen)


def _redrawn(
    headline: Estimate, scores: Floats, is_positive: Bools, patients: Patients, config: EvaluationConfig
) -> Estimate:
    """Percentiles of the AUC over redrawn patients with all their rows."""
    if min(patients.count(is_positive), patients.count(~is_positive)) < 2:
        return replace(headline, low=None, high=None, method=ONE_PATIENT)
    drawn_from = grouped(patients)
    statistic = {"auc": auc_statistic(scores, is_positive, drawn_from)}
    drawn = clustered_bootstrap(statistic, drawn_from, config.resamples, config.seed)["auc"]
    low, high, told = percentile_interval(drawn, patients_words(patients), config.confidence)
    return replace(headline, low=low, high=high, method=told)


def _around(
    headline: Estimate, variance: float | None, method: str, confidence: float
) -> tuple[Estimate, Estimate]:
    """Interval of the variance on the scale of the AUC, cut at 0 and 1 as pROC cuts it, and on the logit scale."""
    value = headline.value or 0.0
    limits: list[tuple[float | None, float | None, str]]
    if variance is None or variance < NOTHING or not 0 < value < 1:
        why = method if variance is None else f"no interval: the variance of {method} is zero"
        limits = [(None, None, why)] * 2
    else:
        half, told = NormalDist().inv_cdf((1 + confidence) / 2) * variance**0.5, f"{100 * confidence:g} %"
        low, high = logit_limits(value, variance, confidence)
        limits = [
            (max(0.0, value - half), min(1.0, value + half), f"{method}, plain, {told}"),
            (low, high, f"{method}, on the logit scale, {told}"),
        ]
    made = [
        Estimate(value=headline.value, low=low, high=high, n=headline.n, unit=headline.unit, method=told)
        for low, high, told in limits
    ]
    return made[0], made[1]

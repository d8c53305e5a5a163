"""Risk against coverage: the error rate if "not sure" is allowed for the cases nearest to the boundary."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nephroscope.clinic.call import ROUNDING
from nephroscope.records import Answer, Estimate, EvaluationConfig, OperatingPoint
from nephroscope.statistics.estimates import Rows, estimate_all, rows_of_cases
from nephroscope.statistics.intervals import Patients, percentile_interval, percentile_limits
from nephroscope.statistics.metrics import Bools, Floats, Proportion
from nephroscope.statistics.resampling import (
    Cells,
    Curve,
    bootstrap_words,
    patients_words,
    whole_draws,
    widened_band,
)

Unit = Literal["image", "case"]
GRID = np.arange(1, 51) / 50


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CoverageCurve:
    """Error rate of the answers given (``risk.y``) over the share of cases answered (``risk.x``).

    Attributes:
        aurc: Area under the risk-coverage curve: mean risk over all coverages. Lower is better.
        random: Risk if cases were left out at random: the error rate of all, at every coverage.
        at_margin: ``coverage`` and ``risk`` at the margin in use, where one was given.
    """

    risk: Curve
    aurc: Estimate
    random: float
    at_margin: dict[str, Estimate]


def risk_coverage(
    distance: Floats,
    wrong: Bools,
    patients: Patients,
    config: EvaluationConfig,
    margin: float | None = None,
    unit: Unit = "case",
) -> CoverageCurve:
    """Risk at each coverage: cases are answered from the largest distance down, equal distances together.

    All of it depends on how frequent the classes are, so patients are resampled regardless of class. ``distance`` of
    each case from the boundary, (n,), is what ``margin`` is compared with: nearer cases get no answer.

    Source:
        El-Yaniv and Wiener 2010, J Mach Learn Res 11:1605; Geifman and El-Yaniv 2017 (area).
    """
    patients = whole_draws(patients)
    value = _risks(distance, wrong)(np.ones((1, wrong.size)))[0]
    cells = Cells.of(distance, wrong, patients)
    drawn = cells.resampled(_risks(cells.value, cells.flag), value, config)
    low, high = widened_band(value, percentile_limits(drawn, config.confidence), patients, (0.0, 1.0))
    risk = Curve(
        x=GRID,
        y=value[:-1],
        low=low[:-1],
        high=high[:-1],
        n=wrong.size,
        n_patients=patients.n,
        method=bootstrap_words(patients, config, "risk"),
    )
    interval = percentile_interval(drawn[:, -1], patients_words(patients), config.confidence)
    interval = interval.widened(float(value[-1]), patients.n_folds, (0.0, 1.0))
    return CoverageCurve(
        risk=risk,
        aurc=interval.around(float(value[-1]), wrong.size, unit),
        random=float(wrong.mean()),
        at_margin={} if margin is None else _at_margin(distance, wrong, patients, config, margin, unit),
    )


def _risks(distance: Floats, wrong: Bools) -> Callable[[Floats], Floats]:
    """Of weights (b, n), the risk at each coverage of the grid, then the area, (b, g + 1)."""
    order = np.argsort(-distance, kind="stable")
    last = np.flatnonzero(np.append(np.diff(distance[order]) < -ROUNDING, True))

    def values(weights: Floats) -> Floats:
        answered = np.cumsum(weights[:, order], axis=1)[:, last]
        errors = np.cumsum((weights * wrong)[:, order], axis=1)[:, last]
        risk = np.divide(errors, answered, out=np.zeros_like(errors), where=answered > 0)
        total = answered[:, -1:]
        sizes = np.diff(answered, prepend=0.0, axis=1)
        area = (sizes * risk).sum(axis=1, keepdims=True) / total
        at = np.stack([(answered >= c * total - 1e-9).argmax(axis=1) for c in GRID], axis=1)
        return np.hstack([np.take_along_axis(risk, at, axis=1), area])

    return values


def coverage_of(
    predictions: Sequence[Answer],
    subtypes: Sequence[str],
    positive: str,
    points: Sequence[OperatingPoint],
    config: EvaluationConfig,
) -> CoverageCurve:
    """The same for cases of a run with known truth, by the margin rule of the clinic and the forced calls.

    The distance is that of the probability from the threshold (two subtypes) or from the next most likely subtype
    (more), as in `clinic.call.decide`. Findings, which also prevent a call, are not considered here.
    """
    thresholds = np.array([points[p.fold if len(points) > 1 else 0].threshold for p in predictions])
    rows = rows_of_cases(predictions, subtypes)
    if len(subtypes) == 2:
        distance = np.abs(rows.p[:, list(subtypes).index(positive)] - thresholds)
    else:
        ordered = np.sort(rows.p, axis=1)
        distance = ordered[:, -1] - ordered[:, -2]
    return risk_coverage(distance, rows.called != rows.truth, rows.patients, config, config.not_sure_margin)


def _at_margin(
    distance: Floats, wrong: Bools, patients: Patients, config: EvaluationConfig, margin: float, unit: Unit
) -> dict[str, Estimate]:
    sure = distance >= margin - ROUNDING
    shares = {
        "coverage": Proportion(hits=sure, counted=np.ones_like(sure), empty="nothing to count"),
        "risk": Proportion(hits=wrong, counted=sure, empty="no case is answered"),
    }
    nothing = np.zeros(wrong.size, dtype=np.intp)
    rows = Rows(unit=unit, truth=nothing, called=nothing, p=np.empty((wrong.size, 0)), patients=patients)
    return estimate_all(rows, shares, {}, config)

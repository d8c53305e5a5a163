"""Decision curves: net benefit of acting on a probability, over threshold probabilities."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nephroscope.base.errors import ConfigError
from nephroscope.records import EvaluationConfig
from nephroscope.statistics.intervals import ONE_PATIENT, Patients, percentile_limits
from nephroscope.statistics.logistic import TINY
from nephroscope.statistics.metrics import Bools, Floats
from nephroscope.statistics.resampling import (
    Cells,
    Curve,
    bootstrap_words,
    is_alone,
    no_curve,
    plain,
    whole_draws,
    widened_band,
)

THRESHOLDS = np.arange(1, 100) / 100
ROUNDING = 1e-12  # 0.35 computed in two ways is one threshold
NO_BAND = "no interval where all resamples agree, such as where everybody is acted on, or nobody"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DecisionCurve:
    """The value of acting on a probability, over the threshold from which one would act; all arrays are (g,).

    Attributes:
        net_benefit: True positives per case minus false positives weighted by the odds of the threshold.
        treat_all: Net benefit of treating everybody; that of treating nobody is 0.
        standardised: Net benefit divided by the prevalence: at most 1.
        over_all: Net benefit minus that of treating everybody.
        relative_utility: Share of the way from the better of all and none to perfect predictions.
        prevalence: Share of positives, in the data or as given.
    """

    thresholds: Floats
    net_benefit: Curve
    treat_all: Floats
    standardised: Curve
    over_all: Curve
    relative_utility: Floats
    prevalence: float

    def as_dict(self) -> dict[str, object]:
        """The curve for JSON."""
        curves = {name: getattr(self, name).as_dict() for name in ("net_benefit", "standardised", "over_all")}
        arrays = {
            name: plain(getattr(self, name)) for name in ("thresholds", "treat_all", "relative_utility")
        }
        return {**arrays, **curves, "prevalence": self.prevalence}


def decision_curve(
    p: Floats,
    is_positive: Bools,
    patients: Patients,
    config: EvaluationConfig,
    thresholds: Floats = THRESHOLDS,
    prevalence: float | None = None,
) -> DecisionCurve:
    """Net benefit, standardised, and over treat-all, each with a patient-bootstrap band; treat none is 0.

    A case is treated if its probability ``p`` (n,) is at least the threshold (g,). Give the ``prevalence`` of the
    population if the share of positives here depends on how cases were collected.

    Raises:
        ConfigError: A threshold or the prevalence is not between 0 and 1.

    Source:
        Vickers and Elkin 2006, Med Decis Making 26:565; Kerr 2016, J Clin Oncol 34:2534 (standardised); Baker 2009,
        J Natl Cancer Inst 101:1538 (relative utility); Pfeiffer and Gail 2020, Biom J 62:764 (given prevalence).
    """
    _refuse_outside("threshold", thresholds)
    if prevalence is not None:
        _refuse_outside("prevalence", np.array([prevalence]))
    share = float(is_positive.mean()) if prevalence is None else prevalence
    if not 0 < is_positive.mean() < 1:
        return _no_decision(patients, share)
    redrawn = whole_draws(patients) if prevalence is None else patients
    passed = np.searchsorted(np.sort(thresholds) - ROUNDING, p, side="right").astype(np.float64)
    cells = Cells.of(p, is_positive, redrawn, bins=passed)
    values = _benefits(cells, thresholds, prevalence)
    value = values(cells.count[None])[0]
    drawn = cells.resampled(values, value, config)
    drawn[~np.isfinite(drawn)] = np.nan
    alone = is_alone(patients, is_positive)
    low, high = percentile_limits(drawn[:0] if alone else drawn, config.confidence)
    low, high = widened_band(value, (low, high), patients)
    words = ONE_PATIENT if alone else bootstrap_words(patients, config)
    if not alone and np.isnan(low).any():
        words += f"; {NO_BAND}"
    benefit, standardised, over_all = (
        Curve(x=thresholds, y=y, low=below, high=above, n=p.size, n_patients=patients.n, method=words)
        for y, below, above in zip(*(np.split(found, 3) for found in (value, low, high)), strict=True)
    )
    treat_all = share - (1 - share) * thresholds / (1 - thresholds)
    better = np.maximum(treat_all, 0)
    return DecisionCurve(
        thresholds=thresholds,
        net_benefit=benefit,
        treat_all=treat_all,
        standardised=standardised,
        over_all=over_all,
        relative_utility=(benefit.y - better) / (share - better),
        prevalence=share,
    )


def _benefits(cells: Cells, thresholds: Floats, prevalence: float | None) -> Callable[[Floats], Floats]:
    """Of weights (b, m) of the cells: net benefit, standardised, over all, (b, 3 g)."""
    odds = thresholds / (1 - thresholds)
    acted, positive = cells.value[:, None] >= thresholds - ROUNDING, cells.flag[:, None]
    true, false = acted & positive, acted & ~positive

    def values(weights: Floats) -> Floats:
        yes, total = weights @ cells.flag, weights.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            pi = (yes / total if prevalence is None else np.full(yes.shape, prevalence))[:, None]
            tpr, fpr = weights @ true / yes[:, None], weights @ false / (total - yes)[:, None]
            benefit = np.nan_to_num(tpr) * pi - np.nan_to_num(fpr) * (1 - pi) * odds
            return np.hstack([benefit, benefit / pi, benefit - (pi - (1 - pi) * odds)])

    return values


def _no_decision(patients: Patients, share: float) -> DecisionCurve:
    nothing, none = no_curve(patients, "one class only"), np.empty(0)
    return DecisionCurve(
        thresholds=none,
        net_benefit=nothing,
        treat_all=none,
        standardised=nothing,
        over_all=nothing,
        relative_utility=none,
        prevalence=share,
    )


def _refuse_outside(what: str, values: Floats) -> None:
    outside = values[~((values >= TINY) & (values <= 1 - TINY))]
    if outside.size or not values.size:
        raise ConfigError(
            where=f"decision curve, {what}",
            expected="a number between 0 and 1, at least 0.000001 from either",
            found=repr(float(outside[0])) if outside.size else "nothing",
            remedy="correct it",
        )

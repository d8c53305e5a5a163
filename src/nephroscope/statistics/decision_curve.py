"""Decision curves: net benefit of acting on a probability, over threshold probabilities."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nephroscope.base.errors import ConfigError
from nephroscope.records import EvaluationConfig
from nephroscope.statistics.cross_validation import fold_words, variance_factor
from nephroscope.statistics.intervals import ONE_PATIENT, Patients, percent, percentile_limits, wilson
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
BY_SHARES = "Wilson limits of two shares, squared and added (Zou and Donner 2008)"
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
    methods = [words] * 3
    if not alone:
        methods[1] = words.replace(
            bootstrap_words(patients, config), bootstrap_words(patients, config, "standardized net benefit")
        )
    if not alone and patients.n == p.size:
        by_shares = f"{BY_SHARES}, {percent(config.confidence)}{fold_words(patients.n_folds)}"
        for i, limits in _by_shares(
            p, is_positive, thresholds, prevalence, patients.n_folds, config.confidence
        ):
            at = slice(i * thresholds.size, (i + 1) * thresholds.size)
            low[at], high[at], methods[i] = *limits, by_shares
    benefit, standardised, over_all = (
        Curve(x=thresholds, y=y, low=below, high=above, n=p.size, n_patients=patients.n, method=method)
        for y, below, above, method in zip(
            *(np.split(found, 3) for found in (value, low, high)), methods, strict=True
        )
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


def _by_shares(
    p: Floats,
    is_positive: Bools,
    thresholds: Floats,
    prevalence: float | None,
    n_folds: int,
    confidence: float,
) -> list[tuple[int, tuple[Floats, Floats]]]:
    """Limits of the net benefit (0) and of that over treat-all (2), each row another patient's.

    Both are a difference of two shares, one of them weighted by the odds: of true and false positives, and of true
    and false negatives.

    Source:
        Zou and Donner 2008, Stat Med 27:1693 (limits squared and added, with the correlation of the two shares); why
        not the bootstrap: `benchmarks/interval_coverage.py`.
    """
    odds, factor = thresholds / (1 - thresholds), variance_factor(n_folds)
    yes, no = np.sort(p[is_positive]), np.sort(p[~is_positive])
    fn, tn = (np.searchsorted(side, thresholds - ROUNDING).astype(np.float64) for side in (yes, no))
    tp, fp = yes.size - fn, no.size - tn
    m, k = (p.size, p.size) if prevalence is None else (yes.size, no.size)
    gain, loss = (1.0, 1.0) if prevalence is None else (prevalence, 1 - prevalence)
    found = []
    for i, (a, n_a, w_a), (b, n_b, w_b) in (
        (0, (tp, m, gain + 0 * odds), (fp, k, loss * odds)),
        (2, (tn, k, loss * odds), (fn, m, gain + 0 * odds)),
    ):
        one, two = a / n_a, b / n_b
        spread = np.sqrt(one * (1 - one) * two * (1 - two))
        r = np.divide(-one * two, spread, out=np.zeros_like(spread), where=spread > 0)
        r = np.maximum(r, -1) if prevalence is None else 0 * r
        (l_a, u_a), (l_b, u_b) = (
            _wilson(share, n / factor, confidence) for share, n in ((one, n_a), (two, n_b))
        )
        value = w_a * one - w_b * two
        sides = []
        for x, y in ((w_a * (one - l_a), w_b * (u_b - two)), (w_a * (u_a - one), w_b * (two - l_b))):
            sides.append(np.sqrt(np.maximum(x**2 + y**2 - 2 * r * x * y, 0)))
        found.append((i, (value - sides[0], value + sides[1])))
    return found


def _wilson(share: Floats, n: float, confidence: float) -> tuple[Floats, Floats]:
    """Wilson's limits of shares (g,) of n."""
    limits = np.array([wilson(one * n, n, confidence) for one in share.tolist()])
    return limits[:, 0], limits[:, 1]


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

"""Statistics of probabilities: `nephroscope statistics calibration` and `decision-curve`; the table of all four."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from nephroscope.cli.command import Command, Outcome, table
from nephroscope.cli.probability_table import ProbabilityCommand, head_text, limited, outcome_of, unit_of
from nephroscope.cli.statistics_calls import Coverage, OperatingPoints
from nephroscope.cli.statistics_table import limits_text, number_text

if TYPE_CHECKING:
    from nephroscope.statistics.decision_curve import DecisionCurve


@dataclass(frozen=True, kw_only=True)
class Calibration(ProbabilityCommand):
    """Whether a probability means what it says: intercept, slope, observed to expected, Brier score, and the curve.

    Example: nephroscope statistics calibration predictions.csv --positive ChRCC
    """

    def run(self) -> Outcome:
        """Compute it."""
        from nephroscope.statistics.calibration import calibrate, calibration_curve

        scored = self.probabilities()
        patients = scored.owners.patients
        unit = unit_of(scored)
        rows, lines = [], [head_text(scored)]
        for name, p in scored.scores.items():
            figures = calibrate(p, scored.is_positive, patients, self.config, unit)
            curve = calibration_curve(p, scored.is_positive, patients, self.config, unit)
            bins = [{"mean_p": b.mean_p, "observed": asdict(b.observed)} for b in curve.bins]
            found = {key: asdict(value) for key, value in figures.items()}
            rows.append({"score": name, **found, "curve": curve.curve.as_dict(), "bins": bins})
            listed = [[name, key, *limits_text(value), value.method] for key, value in figures.items()]
            lines.append(table(listed, ["probability", "figure", "value", "interval", "method"]))
            grouped = [[f"{b.mean_p:.3f}", str(b.observed.n), *limits_text(b.observed)] for b in curve.bins]
            lines.append(table(grouped, ["mean probability", "rows", "observed", "interval"]))
        lines.append(
            "right where intercept is 0, and slope and observed_expected are 1; slope below 1: too extreme "
            "(overconfident), above 1: too near the middle (timid); intercept below 0: too high, above 0: too low"
        )
        return outcome_of(scored, rows, lines)


@dataclass(frozen=True, kw_only=True)
class DecisionCurves(ProbabilityCommand):
    """Net benefit of acting on a probability, over the threshold from which one would act.

    Example: nephroscope statistics decision-curve predictions.csv --positive ChRCC --threshold 0.1 0.2 0.3
    """

    threshold: tuple[float, ...] = ()
    """Threshold probabilities; by default 0.01 to 0.99 by 0.01."""
    prevalence: float | None = None
    """Of the positive value where the probability will be used; by default its share of the rows."""

    def run(self) -> Outcome:
        """Compute it."""
        import numpy as np

        from nephroscope.statistics.decision_curve import THRESHOLDS, decision_curve

        scored = self.probabilities()
        wanted = np.array(self.threshold) if self.threshold else THRESHOLDS
        rows, lines = [], [head_text(scored)]
        for name, p in scored.scores.items():
            found = decision_curve(
                p, scored.is_positive, scored.owners.patients, self.config, wanted, self.prevalence
            )
            rows.append({"score": name, **found.as_dict()})
            lines.append(_decision_text(name, found, every=not self.threshold))
        lines.append(
            f"prevalence {found.prevalence:.3f}; acting on nobody has net benefit 0; {found.net_benefit.method}"
        )
        return outcome_of(scored, rows, lines)


PROBABILITY_STATISTICS: dict[str, type[Command]] = {
    "calibration": Calibration,
    "decision-curve": DecisionCurves,
    "operating-point": OperatingPoints,
    "coverage": Coverage,
}


def _decision_text(name: str, found: "DecisionCurve", every: bool) -> str:
    """Rows at each threshold asked for, or at every tenth and twentieth part."""
    at = [i for i, t in enumerate(found.thresholds) if not every or round(100 * t) % 5 == 0]
    curve, gain = found.net_benefit, found.over_all
    listed = [
        [
            f"{found.thresholds[i]:g}",
            *limited(curve.y[i], curve.low[i], curve.high[i]),
            number_text(float(found.treat_all[i])),
            *limited(gain.y[i], gain.low[i], gain.high[i]),
            number_text(float(found.relative_utility[i])),
        ]
        for i in at
    ]
    head = ["threshold", "net benefit", "interval", "of acting on all", "more than all", "interval"]
    return f"{name}:\n" + table(listed, [*head, "relative utility"])

"""`nephroscope statistics` on probabilities: `calibration`, `decision-curve`, `operating-point` and `coverage`."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from nephroscope.cli.command import Command, NumberOption, Outcome, TextOption, table
from nephroscope.cli.statistics_table import (
    ProbabilityCommand,
    answer,
    figures_table,
    limits_text,
    number_text,
    point_text,
)
from nephroscope.records.settings import check_within

if TYPE_CHECKING:
    from nephroscope.statistics.decision_curve import DecisionCurve
    from nephroscope.statistics.metrics import Ints
    from nephroscope.statistics.tables.scores import Scored

FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Calibration(ProbabilityCommand):
    """Calibration of a probability: intercept, slope, observed-to-expected ratio, Brier score and curve.

    Example: nephroscope statistics calibration predictions.csv --positive ChRCC
    """

    def run(self) -> Outcome:
        """Compute it."""
        from nephroscope.statistics.calibration import calibrate, calibration_curve

        scored = self.probabilities()
        patients, unit = scored.owners.patients, scored.owners.unit
        rows: list[dict[str, object]] = []
        lines = []
        for name, p in scored.scores.items():
            figures = calibrate(p, scored.is_positive, patients, self.config, unit)
            found = calibration_curve(p, scored.is_positive, patients, self.config, unit)
            rows.append({"score": name, **figures, "curve": found.curve.as_dict(), "bins": found.bins})
            listed = [[name, key, *limits_text(value), value.method] for key, value in figures.items()]
            lines.append(table(listed, ["probability", "figure", "value", "interval", "method"]))
            grouped = [[f"{b.mean_p:.3f}", b.observed.n, *limits_text(b.observed)] for b in found.bins]
            lines.append(table(grouped, ["mean probability", "rows", "observed", "interval"]))
        lines.append(
            "well calibrated: intercept 0, slope 1, observed_expected 1; slope below 1: probabilities too extreme "
            "(overconfident), above 1: too close to the average (underconfident); intercept below 0: probabilities "
            "too high, above 0: too low"
        )
        return answer(scored, rows, lines, scored.notes)


@dataclass(frozen=True, kw_only=True)
class DecisionCurves(ProbabilityCommand):
    """Decision curve: net benefit of acting on a probability, at each threshold probability.

    Example: nephroscope statistics decision-curve predictions.csv --positive ChRCC --threshold 0.1 0.2 0.3
    """

    threshold: tuple[float, ...] = ()
    """Threshold probabilities; by default 0.01 to 0.99 in steps of 0.01."""
    prevalence: NumberOption = None
    """Prevalence of the positive value where the model will be used; by default its share of the rows."""

    def run(self) -> Outcome:
        """Compute it."""
        import numpy as np

        from nephroscope.statistics.decision_curve import THRESHOLDS, decision_curve

        scored = self.probabilities()
        patients = scored.owners.patients
        wanted = np.array(self.threshold) if self.threshold else THRESHOLDS
        rows: list[dict[str, object]] = []
        lines = []
        for name, p in scored.scores.items():
            found = decision_curve(p, scored.is_positive, patients, self.config, wanted, self.prevalence)
            rows.append({"score": name, **found.as_dict()})
            lines.append(f"{name}:\n" + _decision_table(found, every=not self.threshold))
        lines.append(
            f"prevalence {found.prevalence:.3f}; net benefit of treating nobody: 0; {found.net_benefit.method}"
        )
        return answer(scored, rows, lines, scored.notes)


def _decision_table(found: "DecisionCurve", every: bool) -> str:
    """Rows at each threshold given, or at every multiple of 0.05."""
    curve, gain = found.net_benefit, found.over_all
    rows = [
        [
            f"{t:g}",
            *point_text(float(curve.y[i]), float(curve.low[i]), float(curve.high[i])),
            number_text(float(found.treat_all[i])),
            *point_text(float(gain.y[i]), float(gain.low[i]), float(gain.high[i])),
            number_text(float(found.relative_utility[i])),
        ]
        for i, t in enumerate(found.thresholds)
        if not every or round(100 * t) % 5 == 0
    ]
    head = ["threshold", "net benefit", "interval", "treat all", "gain over treat all", "interval"]
    return table(rows, [*head, "relative utility"])


@dataclass(frozen=True, kw_only=True)
class OperatingPoints(ProbabilityCommand):
    """Sensitivity and specificity at a target sensitivity; each fold's threshold is chosen on the other folds.

    Example: nephroscope statistics operating-point predictions.csv --positive ChRCC --sensitivity 0.9
    """

    sensitivity: float = 0.95
    """Target sensitivity."""
    prevalence: NumberOption = None
    """Also give the positive and negative predictive value at this proportion of positive cases."""
    fold: TextOption = None
    """Column of folds; by default fold; if there is none, patients are divided into five folds at random."""

    def run(self) -> Outcome:
        """Choose the thresholds and report what they achieve."""
        import numpy as np

        from nephroscope.questions.evaluation.operating_points import achieved_by, thresholds_by_fold

        scored = self.scored()
        names, folds, note = self._folds(scored)
        patients, y, unit = scored.owners.patients, scored.is_positive, scored.owners.unit
        rows: list[dict[str, object]] = []
        lines = []
        for name, p in scored.scores.items():
            points = thresholds_by_fold(p, y, patients, folds, self.sensitivity, unit)
            thresholds = np.array([points[fold].threshold for fold in folds.tolist()])
            achieved = achieved_by(p, y, patients, thresholds, self.config, unit, self.prevalence)
            chosen = [{"fold": names[fold], **asdict(point)} for fold, point in points.items()]
            rows.append({"score": name, "wanted": self.sensitivity, "points": chosen, **achieved})
            listed = [[names[f], f"{point.threshold:.4f}", point.chosen_on] for f, point in points.items()]
            lines.append(f"{name}, wanted sensitivity {self.sensitivity:g}:")
            lines.append(table(listed, ["fold", "threshold", "chosen on"]))
            lines.append(figures_table(achieved, "achieved"))
        return answer(scored, rows, lines, [*scored.notes, *note])

    def _folds(self, scored: "Scored") -> "tuple[list[str], Ints, list[str]]":
        """Names of the folds, the number of each row's, and a note where they were drawn here."""
        import numpy as np

        title = scored.table.find(self.fold, ("fold",), "--fold")
        if title is not None:
            found, number = np.unique(np.array(scored.table.texts(title)), return_inverse=True)
            return [str(name) for name in found], number.reshape(-1), []
        patients = scored.owners.patients
        rng = np.random.default_rng(self.config.seed)
        of_patient = np.empty(patients.n, dtype=np.intp)
        start = 0
        for stratum in np.unique(patients.stratum):
            who = rng.permutation(np.flatnonzero(patients.stratum == stratum))
            of_patient[who] = (start + np.arange(who.size)) % FOLDS
            start += who.size
        n_folds = min(FOLDS, patients.n)
        note = f"no column of folds: {n_folds} folds of patients drawn with seed {self.seed}"
        return [str(i) for i in range(n_folds)], of_patient[patients.row], [note]


@dataclass(frozen=True, kw_only=True)
class Coverage(ProbabilityCommand):
    """Error rate against the share of cases answered, when cases near the threshold are left unanswered.

    Example: nephroscope statistics coverage predictions.csv --positive ChRCC --margin 0.1
    """

    threshold: float = 0.5
    """A case is called positive at this probability or above."""
    margin: float = 0.1
    """Cases closer to the threshold than this get no answer."""

    def run(self) -> Outcome:
        """Compute it."""
        import numpy as np

        from nephroscope.statistics.coverage import risk_coverage

        check_within("--threshold", self.threshold, 0, 1)
        check_within("--margin", self.margin, 0, 0.5)
        scored = self.probabilities()
        patients = scored.owners.patients
        rows: list[dict[str, object]] = []
        lines = []
        for name, p in scored.scores.items():
            wrong = (p >= self.threshold) != scored.is_positive
            distance = np.abs(p - self.threshold)
            found = risk_coverage(distance, wrong, patients, self.config, self.margin, scored.owners.unit)
            rows.append(
                {
                    "score": name,
                    "threshold": self.threshold,
                    "margin": self.margin,
                    "aurc": found.aurc,
                    "random": found.random,
                    "at_margin": found.at_margin,
                    "risk": found.risk.as_dict(),
                }
            )
            risk = found.risk
            listed = [
                [
                    f"{100 * risk.x[i]:.0f} %",
                    *point_text(float(risk.y[i]), float(risk.low[i]), float(risk.high[i])),
                ]
                for i in range(4, risk.x.size, 5)
            ]
            figures = {f"{key} at margin {self.margin:g}": value for key, value in found.at_margin.items()}
            figures["area under the risk-coverage curve"] = found.aurc
            lines.append(f"{name}:\n" + table(listed, ["answered", "error rate", "interval"]))
            lines.append(figures_table(figures, "", ""))
            lines.append(f"if cases were left out at random, the error rate would stay {found.random:.4f}")
        return answer(scored, rows, lines, scored.notes)


PROBABILITY_STATISTICS: dict[str, type[Command]] = {
    "calibration": Calibration,
    "decision-curve": DecisionCurves,
    "operating-point": OperatingPoints,
    "coverage": Coverage,
}

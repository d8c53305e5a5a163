"""Statistics of calls made from probabilities: `nephroscope statistics operating-point` and `coverage`."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from nephroscope.base.errors import ConfigError
from nephroscope.cli.command import Outcome, table
from nephroscope.cli.probability_table import ProbabilityCommand, head_text, limited, outcome_of, unit_of
from nephroscope.cli.statistics_table import limits_text

if TYPE_CHECKING:
    from nephroscope.statistics.metrics import Ints
    from nephroscope.statistics.tables.scores import Scored

FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class OperatingPoints(ProbabilityCommand):
    """Sensitivity and specificity at a stated sensitivity, the threshold chosen on the cases of other folds.

    Example: nephroscope statistics operating-point predictions.csv --positive ChRCC --sensitivity 0.9
    """

    sensitivity: float = 0.95
    """Wanted."""
    fold: str | None = None
    """Column of folds; by default fold, and without one five folds of patients are drawn."""

    def run(self) -> Outcome:
        """Choose the thresholds and report what they achieve."""
        import numpy as np

        from nephroscope.questions.evaluation.operating_points import achieved_by, thresholds_by_fold

        scored = self.scored()
        names, folds, note = self._folds(scored)
        patients, rows, lines = scored.owners.patients, [], [head_text(scored)]
        for name, p in scored.scores.items():
            points = thresholds_by_fold(
                p, scored.is_positive, patients, folds, self.sensitivity, unit_of(scored)
            )
            thresholds = np.array([points[fold].threshold for fold in folds.tolist()])
            achieved = achieved_by(p, scored.is_positive, patients, thresholds, self.config, unit_of(scored))
            chosen = [{"fold": names[fold], **asdict(point)} for fold, point in points.items()]
            found = {key: asdict(value) for key, value in achieved.items()}
            rows.append({"score": name, "wanted": self.sensitivity, "points": chosen, **found})
            listed = [[names[f], f"{point.threshold:.4f}", point.chosen_on] for f, point in points.items()]
            lines.append(f"{name}, wanted sensitivity {self.sensitivity:g}:")
            lines.append(table(listed, ["fold", "threshold", "chosen on"]))
            figures = [[key, *limits_text(value), value.method] for key, value in achieved.items()]
            lines.append(table(figures, ["achieved", "value", "interval", "method"]))
        return outcome_of(scored, rows, lines, [note] if note else [])

    def _folds(self, scored: "Scored") -> "tuple[list[str], Ints, str]":
        """Names of the folds, the number of each row's, and what to tell where they were drawn here."""
        import numpy as np

        title = scored.table.find(self.fold, ("fold",), "--fold")
        if title is not None:
            found, number = np.unique(np.array(scored.table.texts(title)), return_inverse=True)
            return [str(name) for name in found], number.reshape(-1), ""
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
        return [str(i) for i in range(n_folds)], of_patient[patients.row], note


@dataclass(frozen=True, kw_only=True)
class Coverage(ProbabilityCommand):
    """Error rate against the share of cases answered, when cases near the threshold are left unanswered.

    Example: nephroscope statistics coverage predictions.csv --positive ChRCC --margin 0.1
    """

    threshold: float = 0.5
    """From this probability on a case is called positive."""
    margin: float = 0.1
    """Cases nearer than this to the threshold get no answer."""

    def run(self) -> Outcome:
        """Compute it."""
        import numpy as np

        from nephroscope.statistics.coverage import risk_coverage

        for option, value, high in (("--threshold", self.threshold, 1.0), ("--margin", self.margin, 0.5)):
            if not 0 <= value <= high:
                raise ConfigError(
                    where=option,
                    expected=f"a number from 0 to {high:g}",
                    found=f"{value:g}",
                    remedy="correct it",
                )
        scored = self.probabilities()
        rows, lines = [], [head_text(scored)]
        for name, p in scored.scores.items():
            wrong = (p >= self.threshold) != scored.is_positive
            found = risk_coverage(
                np.abs(p - self.threshold),
                wrong,
                scored.owners.patients,
                self.config,
                self.margin,
                unit_of(scored),
            )
            margin = {key: asdict(value) for key, value in found.at_margin.items()}
            rows.append(
                {
                    "score": name,
                    "threshold": self.threshold,
                    "margin": self.margin,
                    "aurc": asdict(found.aurc),
                    "random": found.random,
                    "at_margin": margin,
                    "risk": found.risk.as_dict(),
                }
            )
            at = found.risk
            listed = [
                [f"{100 * at.x[i]:.0f} %", *limited(at.y[i], at.low[i], at.high[i])]
                for i in range(4, at.x.size, 5)
            ]
            lines.append(f"{name}:")
            lines.append(table(listed, ["answered", "wrong of these", "interval"]))
            figures = {f"{key} at margin {self.margin:g}": value for key, value in found.at_margin.items()}
            figures["area under the risk-coverage curve"] = found.aurc
            lines.append(
                table(
                    [[key, *limits_text(e), e.method] for key, e in figures.items()],
                    ["", "", "interval", "method"],
                )
            )
            lines.append(f"left out at random, {found.random:.4f} would be wrong at every coverage")
        return outcome_of(scored, rows, lines)

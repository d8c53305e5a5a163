"""`nephroscope plan`: how many patients an AUC interval of a given width needs, and how many a study still lacks."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import ConfigError
from nephroscope.cli.command import Command, NumberOption, Outcome, table
from nephroscope.records.settings import check_within

if TYPE_CHECKING:
    from nephroscope.statistics.sample_size import AucPlan

FromStudy = Annotated[Path | None, tyro.conf.arg(name="from", metavar="STUDY", help_behavior_hint="")]


@dataclass(frozen=True, kw_only=True)
class Plan(Command):
    """Compute how many patients are needed for an AUC confidence interval of a given width.

    Example: nephroscope plan --auc 0.85 --width 0.10

    Example: nephroscope plan --auc 0.85 --width 0.10 --from my-study

    Example: nephroscope plan --auc 0.80 --against 0.88 --power 0.8
    """

    auc: float
    """The AUC you expect; with --against, that of the first model."""
    width: float = 0.10
    """Full width of the interval: 0.10 is 0.05 on each side."""
    ratio: NumberOption = None
    """Negative patients per positive patient; by default 1, or the ratio in the study given with --from."""
    confidence: float = 0.95
    """Confidence level of the interval; 0.95 means a significance level of 0.05."""
    sensitivity: NumberOption = None
    """Also plan an interval of --width around this sensitivity (positive patients) or specificity (negative)."""
    against: NumberOption = None
    """AUC of a second model on the same patients; also count the patients needed to show the difference."""
    power: float = 0.8
    """With --against: probability that the test detects the difference."""
    correlation: float = 0.5
    """With --against: correlation of the two AUCs; 0.3 to 0.6 is usual for models on the same images."""
    readers: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """With --against: also count the patients for so many readers, their mean AUC unaided (--auc) and aided."""
    reader_spread: float = 0.02
    """With --readers: how much the gain differs between readers (SD divided by the square root of two)."""
    folds: int = 1
    """Folds of a cross-validation, whose intervals are wider; 1 is a held-out or external test set."""
    calibration: NumberOption = None
    """Also plan intervals of O:E and of the calibration slope of this full width (external validation)."""
    prevalence: float = 0.5
    """With --calibration: proportion of positive patients."""
    study: FromStudy = None
    """Count the patients of this study, and print how many more of each subtype the plan needs."""

    def run(self) -> Outcome:
        """Plan."""
        from nephroscope.statistics.cross_validation import variance_factor
        from nephroscope.statistics.sample_size import auc_plan, patients_for_auc, sizes_around

        have = _classes_of(self.study) if self.study else None
        present = have.n_negative / have.n_positive if have and have.n_positive and have.n_negative else 1.0
        ratio = present if self.ratio is None else self.ratio
        check_within("plan --folds", self.folds, 1, 100)
        needed = patients_for_auc(self.auc, self.width, ratio, self.confidence, self.folds)
        n = needed.n_positive
        steps = [
            needed if m == n else auc_plan(self.auc, m, max(1, round(m * ratio)), self.confidence, self.folds)
            for m in sizes_around(n)
        ]
        data: dict[str, object] = {
            "auc": self.auc,
            "width": self.width,
            "ratio": ratio,
            "confidence": self.confidence,
            "needed": needed,
            "table": steps,
            "method": "Hanley and McNeil 1982; the interval is Newcombe 2006, method 5",
        }
        lines = [
            f"AUC {self.auc:g}, {100 * self.confidence:g} % interval at most {self.width:g} wide: "
            f"{n} positive and {needed.n_negative} negative patients, {needed.n} together"
        ]
        if have is not None:
            data["study"], text = self._study(have, needed)
            lines.append(text)
        if self.sensitivity is not None:
            data["sensitivity"], text = self._sensitivity(self.sensitivity)
            lines.append(text)
        if self.against is not None:  # what was asked for comes first
            data["difference"], text = self._difference(self.against, ratio)
            lines.insert(0, text)
        if self.readers is not None:
            data["readers"], text = self._readers(self.readers, ratio)
            lines.append(text)
        if self.calibration is not None:
            data["calibration"], text = self._calibration(self.calibration)
            lines.append(text)
        if self.folds > 1:
            lines.append(
                f"cross-validated in {self.folds} folds: variance x {variance_factor(self.folds):.3g}"
            )
        note = "patients are counted, not slices: more slices of a patient hardly narrow an interval"
        return Outcome(data=as_plain(data), text="\n".join([*lines, _table(steps, needed), note]))

    def _sensitivity(self, sensitivity: float) -> tuple[dict[str, object], str]:
        from nephroscope.statistics.sample_size import patients_for_share

        n = patients_for_share(sensitivity, self.width, self.confidence)
        text = (
            f"sensitivity {sensitivity:g}, Wilson interval at most {self.width:g} wide: {n} positive patients"
        )
        return {"expected": sensitivity, "n_positive": n, "method": "Wilson"}, text

    def _difference(self, against: float, ratio: float) -> tuple[dict[str, object], str]:
        from nephroscope.statistics.sample_size import patients_for_difference

        aucs = (self.auc, against)
        yes, no = patients_for_difference(
            aucs, self.power, self.correlation, ratio, self.confidence, self.folds
        )
        text = (
            f"AUC {against:g} against {self.auc:g} on the same patients: {yes} positive and {no} negative "
            f"patients, {yes + no} together (power {self.power:g}, correlation {self.correlation:g}, two-sided "
            f"{1 - self.confidence:g})"
        )
        found = {"power": self.power, "correlation": self.correlation, "n_positive": yes, "n_negative": no}
        method = "Obuchowski and McClish 1997, binormal variance"
        return {"aucs": aucs, **found, "method": method}, text

    def _readers(self, n_readers: int, ratio: float) -> tuple[dict[str, object], str]:
        from nephroscope.statistics.sample_size import Comparison, patients_for_readers

        if self.against is None:
            raise ConfigError(
                where="plan --readers",
                expected="the mean AUC of the readers with help, --against",
                found="none",
                remedy="give it",
            )
        plan = Comparison(
            aucs=(self.auc, self.against),
            correlation=self.correlation,
            ratio=ratio,
            confidence=self.confidence,
        )
        yes, no = patients_for_readers(plan, n_readers, self.power, self.reader_spread)
        text = (
            f"mean AUC of {n_readers} readers {self.against:g} against {self.auc:g}: {yes} positive and {no} "
            f"negative patients, {yes + no} together (power {self.power:g}, random readers and cases)"
        )
        found = {"n_readers": n_readers, "power": self.power, "n_positive": yes, "n_negative": no}
        return {**found, "method": "Hillis, Obuchowski and Berbaum 2011"}, text

    def _calibration(self, width: float) -> tuple[dict[str, object], str]:
        from nephroscope.statistics.sample_size import patients_for_calibration

        found = patients_for_calibration(self.auc, self.prevalence, width, self.confidence)
        text = (
            f"calibration, O:E and slope at most {width:g} wide at prevalence {self.prevalence:g}: {found.n} "
            f"patients, {found.events} of them positive (O:E {found.n_observed_expected}, slope {found.n_slope})"
        )
        return {**asdict(found), "width": width, "prevalence": self.prevalence, "method": "Riley 2021"}, text

    def _study(self, have: "Classes", needed: "AucPlan") -> tuple[dict[str, object], str]:
        """The patients of the study, the width that they give, and how many more are needed."""
        from nephroscope.statistics.sample_size import auc_plan

        yes, no = have.n_positive, have.n_negative
        more = max(0, needed.n_positive - yes), max(0, needed.n_negative - no)
        present = auc_plan(self.auc, yes, no, self.confidence, self.folds) if min(yes, no) else None
        now = "no AUC without patients of both classes"
        if present:
            limits = f"{present.low:.3f} to {present.high:.3f}"
            now = f"an AUC of {self.auc:g} has a width of {present.width:.3f} ({limits})"
        lack = f"{more[0]} more {have.positive} and {more[1]} more {have.negative} are needed"
        found = {**asdict(have), "present": present, "more_positive": more[0], "more_negative": more[1]}
        counts = f"{yes} {have.positive} and {no} {have.negative}"
        return found, f"the study has {counts} patients: {now}; {lack if any(more) else 'enough'}"


@dataclass(frozen=True, kw_only=True)
class Classes:
    """Names of the positive subtype and of the others, and the number of patients of each."""

    positive: str
    negative: str
    n_positive: int
    n_negative: int


def _classes_of(folder: Path) -> Classes:
    from nephroscope.facade.study import Study

    cohort = Study(folder).cohort
    yes = {case.patient_id for case in cohort.cases if case.subtype == cohort.positive}
    no = {case.patient_id for case in cohort.cases if case.subtype not in (None, cohort.positive)}
    others = " or ".join(s for s in cohort.subtypes if s != cohort.positive)
    return Classes(positive=cohort.positive, negative=others, n_positive=len(yes), n_negative=len(no))


def _table(steps: "list[AucPlan]", needed: "AucPlan") -> str:
    rows = [
        (
            step.n_positive,
            step.n_negative,
            step.n,
            f"{step.width:.3f}",
            f"{step.low:.3f} to {step.high:.3f}",
            "<- plan" if step == needed else "",
        )
        for step in steps
    ]
    return table(rows, ["positive", "negative", "patients", "width", "interval", ""])

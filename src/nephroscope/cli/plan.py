"""`nephroscope plan`: how many patients an AUC interval of a given width needs, and how many a study still lacks."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nephroscope.base.documents import as_plain
from nephroscope.cli.command import Command, NumberOption, Outcome, table

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
    study: FromStudy = None
    """Count the patients of this study, and print how many more of each subtype the plan needs."""

    def run(self) -> Outcome:
        """Plan."""
        from nephroscope.statistics.sample_size import auc_plan, patients_for_auc, sizes_around

        have = _classes_of(self.study) if self.study else None
        present = have.n_negative / have.n_positive if have and have.n_positive and have.n_negative else 1.0
        ratio = present if self.ratio is None else self.ratio
        needed = patients_for_auc(self.auc, self.width, ratio, self.confidence)
        n = needed.n_positive
        steps = [
            needed if m == n else auc_plan(self.auc, m, max(1, round(m * ratio)), self.confidence)
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
        yes, no = patients_for_difference(aucs, self.power, self.correlation, ratio, self.confidence)
        text = (
            f"AUC {against:g} against {self.auc:g} on the same patients: {yes} positive and {no} negative "
            f"patients, {yes + no} together (power {self.power:g}, correlation {self.correlation:g}, two-sided "
            f"{1 - self.confidence:g})"
        )
        found = {"power": self.power, "correlation": self.correlation, "n_positive": yes, "n_negative": no}
        return {"aucs": aucs, **found, "method": "Obuchowski and McClish 1997"}, text

    def _study(self, have: "Classes", needed: "AucPlan") -> tuple[dict[str, object], str]:
        """The patients of the study, the width that they give, and how many more are needed."""
        from nephroscope.statistics.sample_size import auc_plan

        yes, no = have.n_positive, have.n_negative
        more = max(0, needed.n_positive - yes), max(0, needed.n_negative - no)
        present = auc_plan(self.auc, yes, no, self.confidence) if min(yes, no) else None
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

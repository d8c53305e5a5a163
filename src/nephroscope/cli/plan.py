"""`nephroscope plan`: how many patients an AUC interval of a given width needs, and how many a study still lacks."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from nephroscope.cli.command import Command, NumberOption, Outcome, table

if TYPE_CHECKING:
    from nephroscope.statistics.sample_size import AucPlan

FromStudy = Annotated[Path | None, tyro.conf.arg(name="from", metavar="STUDY", help_behavior_hint="")]


@dataclass(frozen=True, kw_only=True)
class Plan(Command):
    """How many patients an AUC interval of a given width needs.

    Example: nephroscope plan --auc 0.85 --width 0.10

    Example: nephroscope plan --auc 0.85 --width 0.10 --from my-study

    Example: nephroscope plan --auc 0.80 --against 0.88 --power 0.8
    """

    auc: float
    """The AUC you expect; with --against, that of the first model."""
    width: float = 0.10
    """Width of the whole interval: 0.10 is 0.05 to each side."""
    ratio: NumberOption = None
    """Negative patients per positive one; by default 1, or the ratio in the study of --from."""
    confidence: float = 0.95
    """Of the interval; 0.95 tests at the level 0.05."""
    sensitivity: NumberOption = None
    """Number of positive patients for an interval of --width around this sensitivity (negative: specificity)."""
    against: NumberOption = None
    """AUC of a second model on the same patients: how many patients show that it differs from --auc."""
    power: float = 0.8
    """With --against: chance that the test finds the difference."""
    correlation: float = 0.5
    """With --against: correlation of the two AUCs; 0.3 to 0.6 for models of the same images."""
    study: FromStudy = None
    """Count the patients of this study, and print how many more of each subtype the plan needs."""

    def run(self) -> Outcome:
        """Plan."""
        from nephroscope.statistics.sample_size import auc_plan, patients_for_auc, sizes_around

        have = _have(self.study) if self.study else None
        present = have[1][1] / have[0][1] if have and min(have[0][1], have[1][1]) else 1.0
        ratio = present if self.ratio is None else self.ratio
        needed = patients_for_auc(self.auc, self.width, ratio, self.confidence)
        steps = [
            needed
            if n == needed.n_positive
            else auc_plan(self.auc, n, max(1, round(n * ratio)), self.confidence)
            for n in sizes_around(needed.n_positive)
        ]
        data: dict[str, Any] = {
            "auc": self.auc,
            "width": self.width,
            "ratio": ratio,
            "confidence": self.confidence,
            "needed": _as_dict(needed),
            "table": [_as_dict(step) for step in steps],
            "method": "Hanley and McNeil 1982; the interval is Newcombe 2006, method 5",
        }
        answers = [
            f"AUC {self.auc:g}, {100 * self.confidence:g} % interval at most {self.width:g} wide: "
            f"{needed.n_positive} positive and {needed.n_negative} negative patients, {needed.n} together"
        ]
        for found, text in (self._study(have, needed), self._share(), self._difference(ratio)):
            data |= found
            if text and "difference" in found:  # what was asked for comes first
                answers.insert(0, text)
            elif text:
                answers.append(text)
        note = "patients are counted, not slices: more slices of a patient hardly narrow an interval"
        return Outcome(data=data, text="\n".join([*answers, _table(steps, needed), note]))

    def _share(self) -> tuple[dict[str, Any], str]:
        from nephroscope.statistics.sample_size import patients_for_share

        if self.sensitivity is None:
            return {}, ""
        n = patients_for_share(self.sensitivity, self.width, self.confidence)
        text = f"sensitivity {self.sensitivity:g}, Wilson interval at most {self.width:g} wide: {n} positive patients"
        return {"sensitivity": {"expected": self.sensitivity, "n_positive": n, "method": "Wilson"}}, text

    def _difference(self, ratio: float) -> tuple[dict[str, Any], str]:
        from nephroscope.statistics.sample_size import patients_for_difference

        if self.against is None:
            return {}, ""
        yes, no = patients_for_difference(
            (self.auc, self.against), self.power, self.correlation, ratio, self.confidence
        )
        found = {
            "aucs": [self.auc, self.against],
            "power": self.power,
            "correlation": self.correlation,
            "n_positive": yes,
            "n_negative": no,
            "method": "Obuchowski and McClish 1997",
        }
        text = (
            f"AUC {self.against:g} against {self.auc:g} on the same patients: {yes} positive and {no} negative "
            f"patients, {yes + no} together (power {self.power:g}, correlation {self.correlation:g}, two-sided "
            f"{1 - self.confidence:g})"
        )
        return {"difference": found}, text

    def _study(self, have: "Have | None", needed: "AucPlan") -> tuple[dict[str, Any], str]:
        """What the study has, the width that this gives, and what it lacks."""
        from nephroscope.statistics.sample_size import auc_plan, more_of_each

        if have is None:
            return {}, ""
        (positive, yes), (negative, no) = have
        more = more_of_each(needed, yes, no)
        present = auc_plan(self.auc, yes, no, self.confidence) if min(yes, no) else None
        found = {
            "positive": positive,
            "negative": negative,
            "n_positive": yes,
            "n_negative": no,
            "present": _as_dict(present) if present else None,
            "more_positive": more[0],
            "more_negative": more[1],
        }
        now = (
            f"an AUC of {self.auc:g} has a width of {present.width:.3f} ({present.low:.3f} to {present.high:.3f})"
            if present
            else "no AUC without patients of both classes"
        )
        lack = (
            f"{more[0]} more {positive} and {more[1]} more {negative} are needed" if any(more) else "enough"
        )
        return {"study": found}, f"the study has {yes} {positive} and {no} {negative} patients: {now}; {lack}"


Have = tuple[
    tuple[str, int], tuple[str, int]
]  # name and number of patients: the positive subtype, the others


def _have(folder: Path) -> Have:
    from nephroscope.facade.study import Study

    cohort = Study(folder).cohort
    yes = {case.patient_id for case in cohort.cases if case.subtype == cohort.positive}
    no = {case.patient_id for case in cohort.cases if case.subtype not in (None, cohort.positive)}
    others = " or ".join(s for s in cohort.subtypes if s != cohort.positive)
    return (cohort.positive, len(yes)), (others, len(no))


def _as_dict(plan: "AucPlan") -> dict[str, float]:
    return {**asdict(plan), "half_width": plan.width / 2, "n": plan.n}


def _table(steps: "list[AucPlan]", needed: "AucPlan") -> str:
    rows = [
        [
            str(step.n_positive),
            str(step.n_negative),
            str(step.n),
            f"{step.width:.3f}",
            f"{step.low:.3f} to {step.high:.3f}",
            "<- plan" if step == needed else "",
        ]
        for step in steps
    ]
    return table(rows, ["positive", "negative", "patients", "width", "interval", ""])

"""A page's content and its probabilities in; what they answer of a checklist, as statements by name, out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nephroscope.questions.saliency.checks import weights_verdict
from nephroscope.records import (
    DEVELOPMENT,
    Answer,
    Estimate,
    Evaluation,
    EvaluationGroup,
    counted_noun,
)
from nephroscope.report.appraisal import Appraisal
from nephroscope.report.cards import MOST
from nephroscope.report.content import ReportContent
from nephroscope.report.tables import group_name, sites_of

NO_TEST = "patients stand in training and test: no figure holds for a new patient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A statement and where it is shown; ``rest`` names what it leaves to the authors, empty when nothing."""

    text: str
    where: str
    rest: str = ""


def result_evidence(content: ReportContent, appraisal: Appraisal) -> dict[str, Evidence]:
    """Statements about the results; none for a run that did not converge."""
    report = content.main.report
    if not report.converged:
        return {}
    rest = NO_TEST if report.leaky else ""
    interval = f"{100 * content.evaluation.confidence:g} % intervals over patients"
    measured = "AUC, accuracy, sensitivity, specificity, precision, coverage, confusion"
    measured += "; calibration" if appraisal.groups else ""
    measured += ", net benefit" if any(g.decision for g in appraisal.groups.values()) else ""
    where = "#results; tables/figures.csv"
    found = {
        "metrics": Evidence(text=measured, where="#methods; #results"),
        "uncertainty": Evidence(text=f"{interval}, method named with each figure", where="#methods"),
        "performance": Evidence(text=sets_of(report.groups), where=where, rest=rest),
        "accuracy": Evidence(text=_accuracy(report), where=where, rest=rest),
        "events": Evidence(text=_events(content), where="#split; tables/split.csv"),
        "failures": _failures(report.predictions),
    }
    if content.saliency is not None and content.saliency.maps:
        passed = weights_verdict(content.saliency.figures) == "depends"
        found["saliency"] = Evidence(
            text=f"Grad-CAM. {content.saliency.check}",
            where="#cases",
            rest="" if passed else "the check does not show that the maps explain the model",
        )
    return found | _of_probabilities(appraisal)


def external_evidence(content: ReportContent, groups: Sequence[EvaluationGroup]) -> Evidence:
    """External test sets; a set whose every site also gave cases to development is external in name only."""
    known = {c.site_id for c in content.cohort.cases if c.cohort == DEVELOPMENT}
    shared = [g.name for g in groups if sites_of(content, g.name) <= known]
    return Evidence(
        text=sets_of(groups),
        where="#results; tables/figures.csv",
        rest="in what it is external: its sites also gave cases to development" if shared else "",
    )


def sets_of(groups: Sequence[EvaluationGroup]) -> str:
    """Every test set with its patients and its AUC."""
    return "; ".join(
        f"{group_name(g.name)}, {counted_noun(g.n_patients, 'patient')}: AUC {_short(g.case['auc'])}"
        for g in groups
    )


def _of_probabilities(appraisal: Appraisal) -> dict[str, Evidence]:
    """Calibration, subgroups, net benefit and updating, each only where it has a figure."""
    groups = appraisal.groups.values()
    found = {}
    if any("slope" in by and by["slope"].value is not None for g in groups for by in g.calibration.values()):
        found["calibration"] = Evidence(
            text="intercept, slope, observed to expected, Brier score"
            + (
                ", curve with band"
                if any(not c.curve.is_empty for g in groups for c in g.curves.values())
                else ""
            ),
            where="#calibration; tables/calibration-*.csv",
        )
    subgroups = [s for g in groups for s in g.subgroups]
    told = [s for s in subgroups if "auc" in s.figures and s.figures["auc"].value is not None]
    where = "#subgroups; tables/subgroups-*.csv"
    if told:
        found["subgroups"] = Evidence(
            text=f"{len(told)} of {counted_noun(len(subgroups), 'subgroup')} have figures, each against all other "
            "cases",
            where=where,
        )
    sites = [s for s in told if s.attribute == "site"]
    if len(sites) > 1:
        found["sites"] = Evidence(text=f"{len(sites)} sites, each against all others", where=where)
    traits = [name for name in ("sex", "age") if any(s.attribute == name for s in told)]
    if traits:
        found["fairness"] = Evidence(
            text=f"subgroups by {' and '.join(traits)}", where=where, rest="other groups, and what was done"
        )
    if any(g.decision is not None for g in groups):
        found["utility"] = Evidence(text="decision curve", where="#calibration; figures/decision-*.svg")
    if appraisal.rescalings:
        found["updating"] = Evidence(
            text="temperature and Platt scaling, fitted on other patients; all other figures are without it",
            where="#calibration; tables/rescaling.csv",
        )
    return found


def _failures(predictions: Sequence[Answer]) -> Evidence:
    known = [p for p in predictions if p.truth is not None]
    wrong = sum(p.call not in (None, p.truth) for p in known)
    unsure = sum(p.call is None for p in known)
    shown = "each" if wrong <= MOST["wrong"] and unsure <= MOST["unsure"] else "the worst"
    return Evidence(
        text=f"{counted_noun(wrong, 'mistake')} and {unsure} “not sure”, {shown} with slices",
        where="#cases; tables/cases.csv",
        rest="what the mistakes have in common",
    )


def _events(content: ReportContent) -> str:
    report = content.main.report
    told = []
    for group in report.groups:
        n = Counter(p.truth for p in report.predictions if p.group == group.name)
        told.append(f"{group_name(group.name)}: " + ", ".join(f"{n[s]} {s}" for s in report.subtypes))
    return "; ".join(told) + "; training and validation by fold"


def _accuracy(report: Evaluation) -> str:
    names = ("sensitivity", "specificity") if len(report.subtypes) == 2 else ("accuracy",)
    return "; ".join(
        f"{group_name(g.name)}: " + ", ".join(f"{n} {_short(g.case[n])}" for n in names)
        for g in report.groups
    )


def _short(e: Estimate) -> str:
    if e.value is None:
        return "not available"
    return f"{e.value:.2f}" + (f" ({e.low:.2f} to {e.high:.2f})" if e.low is not None else "")

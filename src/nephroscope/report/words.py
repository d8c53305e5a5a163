"""The sentences at the top of the page, written from the data: what was found, and what it may be used for."""

from collections.abc import Callable

from nephroscope.questions.evaluation.evaluate import LEAKY
from nephroscope.records import Estimate, counted_noun
from nephroscope.report.content import ReportContent
from nephroscope.report.tables import group_name, group_title, percent

RESEARCH_USE = "Research use only. Not a medical device; not for decisions about a patient."


def key_result(content: ReportContent) -> str:
    """The first test set's AUC and accuracy by case, in one sentence each, with interval, n, unit and method."""
    report = content.main.report
    group = report.groups[0]
    subtypes = f"{', '.join(report.subtypes[:-1])} and {report.subtypes[-1]}"
    if not report.converged:
        return f"{report.model} did not converge: it never beat chance on its own training set. No figure is given."
    auc, accuracy, coverage = (group.case[name] for name in ("auc", "accuracy", "coverage"))
    first = "could not be told apart, as " + auc.method.removeprefix("undefined: ")
    if auc.value is not None:
        kind = "an AUC of" if len(report.subtypes) == 2 else "a mean one-against-rest AUC of"
        shown = auc.value > 0.5 and (auc.low is None or auc.low > 0.5)
        first = "were told apart with" if shown else "were not shown to be told apart, with"
        first += f" {kind} {_said(auc, '{:.2f}'.format, content)}"
    sentence = f"In the {group_name(group.name)} of {group.n_patients} patients, {subtypes} {first}."
    if accuracy.value is not None and coverage.value is not None:
        right = round(accuracy.value * accuracy.n)
        called = round(coverage.value * coverage.n)
        sentence += f" {right} of {accuracy.n} cases were called right: {_said(accuracy, percent, content)}."
        sentence += f" Allowed to answer “not sure”, it gave a call for {called} of {coverage.n}."
    return sentence


def other_sets(content: ReportContent) -> str:
    """AUC and accuracy by case of every test set after the first, in a line; empty where there is none."""
    report = content.main.report
    if not report.converged:
        return ""
    told = []
    for group in report.groups[1:]:
        auc, accuracy = group.case["auc"], group.case["accuracy"]
        parts = [counted_noun(group.n_patients, "patient")]
        if auc.value is not None:
            interval = "" if auc.low is None else f" ({auc.low:.2f} to {auc.high:.2f})"
            parts.append(f"AUC {auc.value:.2f}{interval}")
        if accuracy.value is not None:
            parts.append(f"{round(accuracy.value * accuracy.n)} of {accuracy.n} cases called right")
        told.append(f"{group_title(group.name)}: {', '.join(parts)}.")
    return " ".join(told)


def _said(estimate: Estimate, form: Callable[[float], str], content: ReportContent) -> str:
    level = f"{100 * content.evaluation.confidence:g} %"
    interval = ""
    if estimate.low is not None and estimate.high is not None:
        interval = f"{level} interval {form(estimate.low)} to {form(estimate.high)}, "
    method = estimate.method.removesuffix(f", {level}").removeprefix(f"{LEAKY}; ")
    return f"{form(estimate.value or 0.0)} ({interval}{estimate.n} {estimate.unit}s; {method})"

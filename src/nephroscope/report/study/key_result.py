"""The sentences at the top of the page: the main figures of the run, written from the data."""

from collections.abc import Callable

from nephroscope.questions.evaluation.evaluate import LEAKY
from nephroscope.records import Estimate, counted_noun
from nephroscope.report.page.names import group_name, group_title, network_name, percent, with_interval
from nephroscope.report.study.content import ReportContent


def key_result(content: ReportContent) -> str:
    """The first test set's AUC and accuracy by case, in one sentence each, with interval, n, unit and method."""
    report = content.main.report
    group = report.groups[0]
    subtypes = f"{', '.join(report.subtypes[:-1])} and {report.subtypes[-1]}"
    if not report.converged:
        name = network_name(report.model)
        return f"{name} did not converge: it never beat chance on its own training set. No figure is given."
    auc, accuracy, coverage = (group.case[name] for name in ("auc", "accuracy", "coverage"))
    where = f"In the {group_name(group.name)} of {counted_noun(group.n_patients, 'patient')},"
    if auc.value is None:
        sentence = f"{where} no AUC could be computed: {auc.method.removeprefix('undefined: ')}."
    else:
        kind = "an AUC of" if len(report.subtypes) == 2 else "a mean one-against-rest AUC of"
        shown = auc.value > 0.5 and (auc.low is None or auc.low > 0.5)
        verb = "separated" if shown else "was not shown to separate"
        figure = f"{kind} {_figure(auc, '{:.2f}'.format, content)}"
        sentence = f"{where} the network {verb} {subtypes}, with {figure}."
    if accuracy.value is not None and coverage.value is not None:
        right, called = round(accuracy.value * accuracy.n), round(coverage.value * coverage.n)
        share = _figure(accuracy, percent, content)
        sentence += f" It classified {right} of {counted_noun(accuracy.n, 'case')} correctly: {share}."
        sentence += f" If “not sure” is allowed, it gives a call for {called} of {coverage.n}."
    return sentence


def other_sets(content: ReportContent) -> str:
    """AUC and accuracy by case of every test set after the first, in a line; empty where there is none."""
    report = content.main.report
    if not report.converged:
        return ""
    sentences = []
    for group in report.groups[1:]:
        auc, accuracy = group.case["auc"], group.case["accuracy"]
        parts = [counted_noun(group.n_patients, "patient")]
        if auc.value is not None:
            parts.append(f"AUC {with_interval(auc)}")
        if accuracy.value is not None:
            right = round(accuracy.value * accuracy.n)
            parts.append(f"{right} of {counted_noun(accuracy.n, 'case')} classified correctly")
        sentences.append(f"{group_title(group.name)}: {', '.join(parts)}.")
    return " ".join(sentences)


def _figure(estimate: Estimate, form: Callable[[float], str], content: ReportContent) -> str:
    level = f"{100 * content.evaluation.confidence:g} %"
    interval = ""
    if estimate.low is not None and estimate.high is not None:
        interval = f"{level} interval {form(estimate.low)} to {form(estimate.high)}, "
    method = estimate.method.removesuffix(f", {level}").removeprefix(f"{LEAKY}; ")
    return f"{form(estimate.value or 0.0)} ({interval}{counted_noun(estimate.n, estimate.unit)}; {method})"

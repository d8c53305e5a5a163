"""What was computed of probabilities in; figures of calibration, net benefit, coverage and subgroups out."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nephroscope.records import Answer, Estimate
from nephroscope.report.appraisal import RAW, Appraisal, GroupAppraisal
from nephroscope.report.content import ReportContent
from nephroscope.report.drawing import COLORS, GRID, INK, QUIET, STYLE
from nephroscope.report.figures import slug
from nephroscope.statistics.curve import Curve

RESCALED = {"platt": "Platt scaling, fitted on other patients"}


def probability_figures(content: ReportContent, appraisal: Appraisal) -> dict[str, Figure]:
    """Name -> figure: ``calibration-GROUP``, ``decision-``, ``coverage-``, ``subgroups-``; what the data carry."""
    figures: dict[str, Figure] = {}
    report, marks = content.main.report, content.marks
    for name, group in appraisal.groups.items():
        members = [p for p in report.predictions if p.group == name and p.truth is not None]
        drawn = {
            "calibration": calibration(content, group, members)
            if group.curves and not group.curves[RAW].curve.is_empty
            else None,
            "decision": decision(group, marks)
            if group.decision and not group.decision.net_benefit.is_empty
            else None,
            "coverage": coverage(group, marks) if not group.coverage.risk.is_empty else None,
            "subgroups": forest(content, group) if _with_auc(group) else None,
        }
        figures |= {f"{what}-{slug(name)}": figure for what, figure in drawn.items() if figure is not None}
    return figures


def calibration(content: ReportContent, group: GroupAppraisal, members: Sequence[Answer]) -> Figure:
    """Observed share over probability, smooth with its band, and in bins; below, a stroke per case by its truth."""
    report = content.main.report
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.9, 4.3), layout="constrained")
        axes, below = figure.subplots(2, 1, height_ratios=(5, 1), sharex=True)
        axes.plot([0, 1], [0, 1], color=GRID, lw=1)
        found = group.curves[RAW]
        _band(axes, found.curve, COLORS[0], "smooth, with its band")
        for bin_ in found.bins:
            e = bin_.observed
            if e.value is not None and e.low is not None and e.high is not None:
                axes.plot([bin_.mean_p] * 2, [e.low, e.high], color=INK, lw=0.9)
                axes.plot(bin_.mean_p, e.value, "o", color=INK, ms=4.5, mec="white", mew=0.6)
        axes.plot([], [], "o", color=INK, ms=4.5, label="groups of cases")
        for how, label in RESCALED.items():
            curve = group.curves[how].curve if how in group.curves else None
            if curve is not None and not curve.is_empty:
                axes.plot(curve.x, curve.y, color=COLORS[1], lw=1.1, ls=(0, (4, 2)), label=label)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel=f"Share that is {report.positive}")
        axes.set_title(_title("Calibration, by case", content.marks))
        figure.legend(loc="outside lower center", fontsize=8, ncols=1)
        for row, subtype in enumerate(report.subtypes):
            p = [m.probabilities[report.positive] for m in members if m.truth == subtype]
            below.plot(p, np.full(len(p), row), "|", color=COLORS[row], ms=9, mew=1)
        below.set_yticks(range(len(report.subtypes)), report.subtypes)
        below.set(ylim=(len(report.subtypes) - 0.5, -0.5), xlabel=f"Probability of {report.positive}")
    return figure


def decision(group: GroupAppraisal, marks: Sequence[str]) -> Figure:
    """Net benefit over threshold probabilities beside calling all and calling none."""
    found = group.decision
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.9, 4.3), layout="constrained")
        axes = figure.subplots()
        if found is None:
            return figure
        _band(axes, found.net_benefit, COLORS[0], "model")
        axes.plot(
            found.thresholds, found.treat_all, color=QUIET, lw=1.1, ls=(0, (4, 2)), label="call all positive"
        )
        axes.axhline(0, color=INK, lw=0.9, label="call none positive")
        axes.set(xlim=(0, 1), ylim=(-0.1, max(0.1, found.prevalence) * 1.15))
        axes.set(xlabel="Threshold probability", ylabel="Net benefit per case")
        axes.set_title(_title("Decision curve", marks))
        figure.legend(loc="outside lower center", fontsize=8)
    return figure


def coverage(group: GroupAppraisal, marks: Sequence[str]) -> Figure:
    """Error rate of the answers given over the share of cases answered, the surest first."""
    found = group.coverage
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.9, 4.3), layout="constrained")
        axes = figure.subplots()
        _band(axes, found.risk, COLORS[0], "the surest answered first")
        axes.axhline(found.random, color=QUIET, lw=1.1, ls=(0, (4, 2)), label="left out at random")
        at = found.at_margin
        if at and at["coverage"].value is not None and at["risk"].value is not None:
            axes.plot(
                at["coverage"].value, at["risk"].value, "o", color=INK, ms=5, label="margin in use", zorder=5
            )
        axes.set(xlim=(0, 1.02), xlabel="Share of cases answered", ylabel="Share of answers that are wrong")
        axes.set_ylim(-0.02, min(1.02, max(0.3, 1.6 * found.random)))
        axes.set_title(_title("Coverage against risk", marks))
        figure.legend(loc="outside lower center", fontsize=8)
    return figure


def forest(content: ReportContent, group: GroupAppraisal) -> Figure:
    """AUC of every subgroup with its interval; the line is that of all cases."""
    rows = _with_auc(group)
    whole = next(g for g in content.main.report.groups if g.name == group.name).case["auc"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.2, 0.9 + 0.24 * len(rows)), layout="constrained")
        axes = figure.subplots()
        if whole.value is not None:
            axes.axvline(whole.value, color=COLORS[0], lw=1)
        axes.axvline(0.5, color=GRID, lw=1)
        for y, (_, e) in enumerate(rows):
            axes.plot([e.low or 0, e.high or 0], [y, y], color=QUIET, lw=1.2)
            axes.plot(e.value or 0, y, "s", color=INK, ms=4.5)
            axes.text(1.04, y, f"{e.value:.2f} ({e.low:.2f} to {e.high:.2f})", va="center", fontsize=8)
        axes.set_yticks(range(len(rows)), [label for label, _ in rows])
        axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), xlabel="AUC by case; blue: all cases")
        axes.set_title(_title("Subgroups", content.marks))
        axes.tick_params(axis="y", length=0)
    return figure


def _with_auc(group: GroupAppraisal) -> list[tuple[str, Estimate]]:
    return [
        (f"{s.attribute}: {s.value} (n = {s.n_cases})", s.figures["auc"])
        for s in group.subgroups
        if s.figures["auc"].value is not None and s.figures["auc"].low is not None
    ]


def _band(axes: Axes, curve: Curve, color: str, label: str) -> None:
    axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.16, lw=0)
    axes.plot(curve.x, curve.y, color=color, lw=1.8, label=label)


def _title(text: str, marks: Sequence[str]) -> str:
    return " · ".join([text, *marks])

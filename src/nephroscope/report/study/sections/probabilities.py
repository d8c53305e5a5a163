"""Section Probabilities: calibration, net benefit, operating points, and wrong answers against coverage."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nephroscope.questions.evaluation.operating_points import AchievedPoint
from nephroscope.questions.evaluation.recalibration import Rescaling
from nephroscope.records import Answer, Estimate, counted_noun
from nephroscope.report.page.drawing import COLORS, GRID, INK, QUIET, STYLE
from nephroscope.report.page.names import group_name, group_title, percent, slug, with_marks
from nephroscope.report.page.section import (
    Block,
    Filled,
    Fold,
    Heading,
    Section,
    ShownFigure,
    ShownTable,
    Side,
    Text,
)
from nephroscope.report.page.table import Cell, Column, Table, build_table
from nephroscope.report.study.appraisal import RAW, Appraisal, GroupAppraisal, RunSource
from nephroscope.report.study.content import ReportContent
from nephroscope.statistics.resampling import Curve

RESCALED = {"platt": "Platt scaling, fitted on other patients"}
CALIBRATION = {
    "intercept": "Intercept (0 is ideal)",
    "slope": "Slope (1 is ideal)",
    "observed_expected": "Observed to expected (1 is ideal)",
    "intercept_beside_slope": "Intercept, fitted together with the slope",
    "brier": "Brier score (lower is better)",
    "scaled_brier": "Scaled Brier score (1 is best, 0 is no better than the proportion of the subtype)",
    "ici": "Mean distance of the curve (ICI)",
    "e50": "Median distance of the curve (E50)",
    "e90": "90th percentile of the distance (E90)",
}
COLUMNS = {RAW: "As it is", "temperature": "Temperature", "platt": "Platt"}
ACHIEVED = ("sensitivity", "specificity", "precision", "accuracy")
AT_MARGIN = {
    "coverage": "Proportion answered with the current “not sure” margin",
    "risk": "Proportion of these answers that are wrong",
}
CHOSEN = (
    "A threshold is chosen, not estimated, so it has no interval. It is the highest threshold that "
    "reaches the requested sensitivity in the cases it was chosen on. The intervals treat it as fixed."
)
FITTED = (
    "Intercept and slope were fitted to the log odds by maximum likelihood on the cases in the last "
    "column (temperature scaling: only the slope; Platt scaling: both, with Platt's smoothed targets). "
    "They were applied to other patients and have no interval. The calibration table shows whether they "
    "helped; its intervals treat them as fixed."
)


def _fill(source: RunSource) -> Filled:
    content, appraisal = source.content, source.appraisal
    blocks: list[Block] = []
    if not appraisal.groups:
        blocks.append(Text("The run did not converge; its probabilities are not judged.", "empty"))
    for group in source.report.groups:
        if group.name in appraisal.groups:
            patients = counted_noun(group.n_patients, "patient")
            blocks.append(Heading(f"{group_title(group.name)}, {patients}"))
            blocks += _of_group(content, appraisal.groups[group.name], patients)
    if appraisal.why_not_rescaled:
        why = appraisal.why_not_rescaled
        blocks.append(
            Text(
                f"Nothing was rescaled, and no threshold was chosen for a given sensitivity: {why}.", "empty"
            )
        )
    if appraisal.rescalings:
        table = ShownTable("rescaling", rescaling_table(appraisal))
        blocks.append(Fold("How the probabilities were rescaled", [table]))
    return Filled(blocks=blocks)


PROBABILITIES = Section(
    id="calibration", title="How reliable the probabilities are", navigation="Probabilities", fill=_fill
)


def _of_group(content: ReportContent, group: GroupAppraisal, patients: str) -> list[Block]:
    """Figures and tables of one test set; folded away where it is too small for a calibration curve."""
    suffix = slug(group.name)
    tables = {"calibration": calibration_table(group), "coverage": coverage_table(group)}
    if group.operating:
        tables = {"calibration": tables["calibration"], "operating": operating_table(group), **tables}
    blocks: list[Block] = [Side("trio", _figures(content, group))]
    shown: list[Block] = [ShownTable(f"{n}-{suffix}", t) for n, t in tables.items()]
    empty = {how: _why(curve.curve) for how, curve in group.curves.items() if curve.curve.is_empty}
    if group.curves and len(empty) == len(group.curves):
        text = (
            f"No calibration curve: {next(iter(empty.values()))}. The remaining figures say little about so few "
            f"patients; they are folded away here and saved in tables/*-{suffix}.csv."
        )
        return [Text(text, "empty"), Fold(f"Figures of {patients}", [*blocks, *shown])]
    blocks += [Text(f"No calibration curve ({how}): {why}.", "empty") for how, why in empty.items()]
    return [*blocks, *shown]


def _why(curve: Curve) -> str:
    return curve.method.removeprefix("undefined: ")


def _figures(content: ReportContent, group: GroupAppraisal) -> list[Block]:
    """What the data allow to draw: calibration, decision curve, coverage against risk."""
    report, marks, suffix = content.main.report, content.marks, slug(group.name)
    members = [p for p in report.predictions if p.group == group.name and p.truth is not None]
    level = f"{100 * content.evaluation.confidence:g} %"
    drawn: list[Block] = []
    if group.curves and not group.curves[RAW].curve.is_empty:
        caption = (
            f"Calibration by case: observed proportion of {report.positive} against the predicted "
            f"probability. Shading and bars: {level} intervals. The ticks below are the single cases, by "
            "pathology."
        )
        drawn.append(
            ShownFigure(f"calibration-{suffix}", caption, lambda: calibration(content, group, members))
        )
    if group.decision and not group.decision.net_benefit.is_empty:
        caption = (
            f"Net benefit of following the model, of calling all cases {report.positive}, and of calling "
            f"none; below 0 the model does harm. Shaded: {level} intervals, {group.decision.net_benefit.method}."
        )
        drawn.append(ShownFigure(f"decision-{suffix}", caption, lambda: decision(group, marks)))
    if not group.coverage.risk.is_empty:
        caption = (
            "Proportion of wrong answers if only the cases that the model is surest of are answered. Shaded: "
            f"{level} {group.coverage.risk.method}."
        )
        drawn.append(ShownFigure(f"coverage-{suffix}", caption, lambda: coverage(group, marks)))
    return drawn


def calibration_table(group: GroupAppraisal) -> Table:
    """Figures of calibration, a column for the probabilities as they are and each rescaling, or for each subtype."""
    names = dict.fromkeys(name for figures in group.calibration.values() for name in figures)
    columns: list[Column[str]] = [
        Column("", lambda name: CALIBRATION.get(name, name)),
        *(Column(COLUMNS.get(how, how), figures.get) for how, figures in group.calibration.items()),
    ]
    return build_table(f"Calibration, {group_name(group.name)}", columns, names)


def operating_table(group: GroupAppraisal) -> Table:
    """What thresholds for a stated sensitivity achieve on cases that had no part in choosing them."""

    def achieved(name: str) -> Column[AchievedPoint]:
        return Column(name.capitalize(), lambda point: point.achieved.get(name))

    columns: list[Column[AchievedPoint]] = [
        Column("Requested sensitivity", lambda point: f"at least {percent(point.wanted_sensitivity)}"),
        Column("Threshold", _threshold),
        *map(achieved, ACHIEVED),
    ]
    if len({point.subtype for point in group.operating}) > 1:
        columns.insert(0, Column("Subtype against the rest", lambda point: point.subtype))
    return build_table(f"Operating points, {group_name(group.name)}", columns, group.operating, [CHOSEN])


def _threshold(point: AchievedPoint) -> Cell:
    thresholds = sorted({p.threshold for p in point.points.values()})
    value = f"{thresholds[0]:.2f}" + (f" to {thresholds[-1]:.2f}" if len(thresholds) > 1 else "")
    chosen = (
        f"one threshold for each of {len(point.points)} folds, chosen on the patients of the other "
        f"folds; {point.achieved['accuracy'].n} cases in all"
        if len(point.points) > 1
        else next(iter(point.points.values())).chosen_on
    )
    return Cell(value, chosen)


def coverage_table(group: GroupAppraisal) -> Table:
    """Area under risk against coverage, and both at the margin in use."""
    found = group.coverage
    figures = {"Area under the risk-coverage curve (lower is better)": found.aurc}
    figures |= {AT_MARGIN.get(name, name): e for name, e in found.at_margin.items()}
    notes = [
        "If the unanswered cases were chosen at random, the proportion of wrong answers would stay at "
        f"{found.random:.3f} (as among all {counted_noun(found.aurc.n, found.aurc.unit)})."
    ]
    if found.at_margin:
        notes.append(
            "These two rows count only cases within the margin as “not sure”. The coverage in the table "
            "of results also counts cases with a doubt about their images, so it can be lower."
        )
    columns: list[Column[tuple[str, Estimate]]] = [
        Column("", lambda pair: pair[0]),
        Column("By case", lambda pair: pair[1]),
    ]
    return build_table(
        f"When “not sure” is allowed, {group_name(group.name)}", columns, figures.items(), notes
    )


def rescaling_table(appraisal: Appraisal) -> Table:
    """How the probabilities were rescaled."""
    fits = sorted(appraisal.rescalings, key=lambda fit: (fit.how, "fold" not in fit.applied_to))
    columns: list[Column[Rescaling]] = [
        Column("Applied to", lambda fit: _applied_to(fit.applied_to)),
        Column("Kind", lambda fit: fit.how),
        Column("Intercept", lambda fit: _numbers(fit.intercept)),
        Column("Slope", lambda fit: _numbers(fit.slope)),
        Column("Fitted on", lambda fit: Cell(fit.fitted_on, fit.note)),
    ]
    return build_table("Rescaling of the probabilities", columns, fits, [FITTED])


def _applied_to(group_and_fold: str) -> str:
    """``out-of-fold, fold 0`` -> ``cross-validation, fold 0``."""
    name, comma, fold = group_and_fold.partition(", ")
    return f"{group_name(name)}{comma}{fold}"


def _numbers(values: Mapping[str, float]) -> str:
    if len(values) == 1:
        return f"{next(iter(values.values())):.3f}"
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())


def calibration(content: ReportContent, group: GroupAppraisal, members: Sequence[Answer]) -> Figure:
    """Observed share over probability, smooth with its band, and in bins; below, a stroke per case by its truth."""
    report = content.main.report
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.9, 4.3), layout="constrained")
        axes, below = figure.subplots(2, 1, height_ratios=(5, 1), sharex=True)
        axes.plot([0, 1], [0, 1], color=GRID, lw=1)
        found = group.curves[RAW]
        _band(axes, found.curve, COLORS[0], "smoothed, with band")
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
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel=f"Observed proportion of {report.positive}")
        axes.set_title(with_marks("Calibration, by case", content.marks))
        figure.legend(loc="outside lower center", fontsize=8, ncols=1)
        for row, subtype in enumerate(report.subtypes):
            p = [m.probabilities[report.positive] for m in members if m.truth == subtype]
            below.plot(p, np.full(len(p), row), "|", color=COLORS[row], ms=9, mew=1)
        below.set_yticks(range(len(report.subtypes)), report.subtypes)
        below.set(ylim=(len(report.subtypes) - 0.5, -0.5), xlabel=f"Probability of {report.positive}")
    return figure


def decision(group: GroupAppraisal, marks: Sequence[str]) -> Figure:
    """Net benefit over threshold probabilities, of the model, of calling all positive and of calling none."""
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
        axes.set_title(with_marks("Decision curve", marks))
        figure.legend(loc="outside lower center", fontsize=8)
    return figure


def coverage(group: GroupAppraisal, marks: Sequence[str]) -> Figure:
    """Error rate of the answers given over the share of cases answered, the surest first."""
    found = group.coverage
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.9, 4.3), layout="constrained")
        axes = figure.subplots()
        _band(axes, found.risk, COLORS[0], "surest cases first")
        axes.axhline(found.random, color=QUIET, lw=1.1, ls=(0, (4, 2)), label="cases in random order")
        at = found.at_margin
        if at and at["coverage"].value is not None and at["risk"].value is not None:
            axes.plot(
                at["coverage"].value, at["risk"].value, "o", color=INK, ms=5, label="current margin", zorder=5
            )
        axes.set(xlim=(0, 1.02), xlabel="Proportion of cases answered", ylabel="Proportion of wrong answers")
        highest = max([0.3, 1.6 * found.random, *(y for y in found.risk.y if np.isfinite(y))])
        axes.set_ylim(-0.02, min(1.02, 1.05 * highest))
        axes.set_title(with_marks("Risk against coverage", marks))
        figure.legend(loc="outside lower center", fontsize=8)
    return figure


def _band(axes: Axes, curve: Curve, color: str, label: str) -> None:
    axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.16, lw=0)
    axes.plot(curve.x, curve.y, color=color, lw=1.8, label=label)

"""Section Results: figures of each test set by case and by image, ROC curves, every case, confusion matrices."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nephroscope.records import Answer, Estimate, Evaluation, EvaluationConfig, EvaluationGroup, counted_noun
from nephroscope.report.page.drawing import GRID, INK, QUIET, STYLE, color_of
from nephroscope.report.page.names import figure_name, group_name, group_title, slug, with_marks
from nephroscope.report.page.section import (
    Block,
    Filled,
    Fragment,
    Heading,
    Section,
    ShownFigure,
    ShownTable,
    Side,
)
from nephroscope.report.page.table import Column, Table, build_table
from nephroscope.report.study.appraisal import RunSource
from nephroscope.report.study.content import ReportContent, RunContent
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.metrics import Floats, roc_points
from nephroscope.statistics.resampling import roc_band


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Counts of one test set: rows of truth, columns of call, in the order of the subtypes."""

    name: str
    subtypes: tuple[str, ...]
    counts: Sequence[Sequence[int]]
    shares: Sequence[Sequence[Estimate]] = ()


def _fill(source: RunSource) -> Filled:
    content, report = source.content, source.report
    blocks: list[Block] = [Fragment("study/tiles.html.j2", _tiles(report))]
    if len(content.runs) > 1:
        blocks.append(ShownTable("runs", run_table(content)))
    first, *others = (Side("pair", _figures(content, group)) for group in report.groups)
    for group, figures in zip(report.groups, [None, *others], strict=True):
        blocks.append(Heading(f"{group_title(group.name)}, {counted_noun(group.n_patients, 'patient')}"))
        blocks += [figures] if figures else []
        blocks.append(ShownTable(f"figures-{slug(group.name)}", figure_table(report, group)))
        if report.converged:
            both = (
                ("by case", group.confusion_case, group.confusion_shares),
                ("by image", group.confusion_image, ()),
            )
            counts = [
                Confusion(name=n, subtypes=report.subtypes, counts=rows, shares=shares)
                for n, rows, shares in both
            ]
            blocks.append(Fragment("study/confusions.html.j2", counts))
    return Filled(blocks=blocks, top=[first])


RESULTS = Section(id="results", title="Results", navigation="Results", fill=_fill)


def _tiles(report: Evaluation) -> list[tuple[str, Estimate]]:
    """The main figures: name and estimate."""
    two = len(report.subtypes) == 2
    names = ("auc", "accuracy", "sensitivity", "specificity") if two else ("auc", "accuracy", "coverage")
    return [(f"{figure_name(name, report)}, by case", report.groups[0].case[name]) for name in names]


def figure_table(report: Evaluation, group: EvaluationGroup) -> Table:
    """Every estimate: by case, by majority of three, by image."""
    last = ("coverage", "accuracy_when_sure")
    names = [n for n in group.case if n.startswith("auc") and n != "auc_macro"]
    doubled = ("sensitivity", "specificity", "precision") if len(report.subtypes) > 2 else ()
    names += [n for n in group.case if not n.startswith("auc") and n not in last + doubled] + list(last)
    columns: list[Column[str]] = [
        Column("", lambda name: figure_name(name, report)),
        Column("By case", group.case.get),
        Column("By case, majority of 3 slices", group.majority.get),
        Column("By image", group.image.get),
    ]
    return build_table(f"Figures, {group_name(group.name)}", columns, names)


def run_table(content: ReportContent) -> Table:
    """All runs, by case, on the first test set."""
    names = ("auc", "accuracy", "sensitivity", "specificity")

    def figure(name: str) -> Column[RunContent]:
        title = figure_name(name, content.main.report)
        return Column(title, lambda run: run.report.groups[0].case[name])

    columns: list[Column[RunContent]] = [
        Column("Run", lambda run: run.report.run),
        Column("Model", lambda run: run.report.model),
        *map(figure, names),
    ]
    return build_table("All runs, by case", columns, content.runs)


def _figures(content: ReportContent, group: EvaluationGroup) -> list[Block]:
    """ROC and the probability of every case; none for a run that did not converge."""
    report, config = content.main.report, content.evaluation
    if not report.converged:
        return []
    members = [p for p in report.predictions if p.group == group.name and p.truth is not None]
    level = f"{100 * config.confidence:g} %"
    threshold = "; the line is the threshold, and in the gray zone the answer is “not sure”."
    zone = threshold if len(report.subtypes) == 2 else "."
    curve = ShownFigure(
        f"roc-{slug(group.name)}",
        f"ROC by case and by image; shaded: {level} band by case, at each false positive rate.",
        lambda: roc(report, group, members, config, content.marks),
    )
    every = ShownFigure(
        f"cases-{slug(group.name)}",
        f"Every case{zone}",
        lambda: case_probabilities(report, members, config, content.marks),
    )
    return [curve, every] if group.case["auc"].value is not None else [every]


def roc(
    report: Evaluation,
    group: EvaluationGroup,
    members: Sequence[Answer],
    config: EvaluationConfig,
    marks: Sequence[str],
) -> Figure:
    """ROC by case with its band over patients, and by image; a panel per subtype when there are over two."""
    shown = [report.positive] if len(report.subtypes) == 2 else list(report.subtypes)
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(3.9, 3.6) if len(shown) == 1 else (2.9 * len(shown), 3.9), layout="constrained"
        )
        for axes, subtype in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            _roc_panel(axes, report, members, subtype, config)
            suffix = "" if len(shown) == 1 else f"_{subtype}"
            if len(shown) == 1 and group.case["sensitivity"].value is not None:
                sensitivity, specificity = group.case["sensitivity"].value, group.case["specificity"].value
                axes.plot(1 - (specificity or 0), sensitivity, "o", color=INK, ms=5, label="calls", zorder=5)
            text = "\n".join(
                f"{unit} {e.interval('.2f')}"
                for unit, e in (("case", group.case[f"auc{suffix}"]), ("image", group.image[f"auc{suffix}"]))
                if e.value is not None
            )
            if len(shown) == 1:
                axes.text(0.98, 0.30, f"AUC by\n{text}", ha="right", va="bottom", fontsize=8)
            else:  # a narrow panel has no free corner
                axes.set_xlabel(f"1 - specificity\nAUC by {text}", fontsize=8)
            versus = "rest" if len(shown) > 1 else next(s for s in report.subtypes if s != subtype)
            axes.set_title(with_marks(f"{subtype} against {versus}", marks if subtype == shown[0] else ()))
            if len(shown) == 1:
                axes.legend(loc="lower right", fontsize=8)
        if len(shown) > 1:
            figure.legend(
                *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", fontsize=8, ncols=3
            )
        return figure


def case_probabilities(
    report: Evaluation, members: Sequence[Answer], config: EvaluationConfig, marks: Sequence[str]
) -> Figure:
    """A dot per case: the probability of the positive subtype (two) or of the true one (more), by truth."""
    two = len(report.subtypes) == 2
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.6), layout="constrained")
        axes = figure.subplots()
        for row, subtype in enumerate(report.subtypes):
            cases = [p for p in members if p.truth == subtype]
            x = [p.probabilities[report.positive if two else subtype] for p in cases]
            right = [p.forced_call == subtype for p in cases]
            y = row + _swarm(x)
            for marker, chosen in (("o", True), ("X", False)):
                at = [i for i, r in enumerate(right) if r == chosen]
                axes.plot(
                    np.array(x)[at],
                    y[at],
                    marker,
                    color=color_of(row),
                    ms=5 if chosen else 7,
                    mec="white",
                    mew=0.6,
                )
        thresholds = {point.threshold for point in report.operating_points}
        if two:
            for threshold in thresholds:
                near = config.not_sure_margin
                axes.axvspan(
                    threshold - near, threshold + near, color=GRID, alpha=0.6 / len(thresholds), lw=0
                )
                axes.axvline(threshold, color=QUIET, lw=0.8)
        axes.set_yticks(range(len(report.subtypes)), report.subtypes)
        axes.set_ylim(len(report.subtypes) - 0.5, -0.5)
        axes.set(xlim=(-0.02, 1.02), ylabel="Truth (pathology)")
        axes.set_xlabel(f"Probability of {report.positive}" if two else "Probability given to the truth")
        axes.set_title(with_marks("Every case", marks))
        axes.plot([], [], "o", color=QUIET, ms=5, label="classified correctly")
        axes.plot([], [], "X", color=QUIET, ms=7, label="classified wrongly")
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
        return figure


def _roc_panel(
    axes: Axes, report: Evaluation, members: Sequence[Answer], subtype: str, config: EvaluationConfig
) -> None:
    at = report.subtypes.index(subtype)
    truth = np.array([p.truth == subtype for p in members])
    scores = np.array([p.probabilities[subtype] for p in members])
    owner = np.repeat(np.arange(len(members)), [len(p.slices) for p in members])
    slices = np.array([s.probabilities[at] for p in members for s in p.slices])
    labels = np.array([report.subtypes.index(p.truth or "") for p in members], dtype=np.intp)
    patients = Patients.of([p.patient_id for p in members], labels, [p.fold for p in members])
    grid = np.linspace(0, 1, 101)
    low, high = roc_band(scores, truth, patients, grid, config.confidence)
    color = color_of(at)
    axes.plot([0, 1], [0, 1], color=GRID, lw=1)
    band = f"{100 * config.confidence:g} % band, {patients.n} patients"
    if np.any(high > low):  # NaN where there is no band
        axes.fill_between(grid, low, high, color=color, alpha=0.16, lw=0, label=band)
    axes.plot(*roc_points(scores, truth), color=color, lw=1.8, label="by case")
    _thin(axes, *roc_points(slices, truth[owner]))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 - specificity", ylabel="Sensitivity")
    axes.set_aspect("equal")


def _thin(axes: Axes, fpr: Floats, tpr: Floats) -> None:
    """The curve by image, at most 500 points or so: a page with 30,000 slices stays small."""
    keep = np.unique(np.linspace(0, fpr.size - 1, 500).astype(int))
    axes.plot(fpr[keep], tpr[keep], color=QUIET, lw=1, ls=(0, (4, 2)), label="by image")


def _swarm(x: Sequence[float]) -> Floats:
    """Vertical offsets, the same each time, so that dots of equal x do not overlap."""
    offsets = np.zeros(len(x))
    bins: dict[int, int] = {}
    for i in np.argsort(x, kind="stable"):
        place = round(x[i] * 40)
        count = bins[place] = bins.get(place, -1) + 1
        offsets[i] = (count + 1) // 2 * (0.09 if count % 2 else -0.09)
    return np.clip(offsets, -0.42, 0.42)

"""A run in; figures of how it learnt, its ROC with its band, and the probabilities of all cases, out."""

import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nephroscope.records import Answer, Evaluation, EvaluationConfig, EvaluationGroup
from nephroscope.report.content import ReportContent, RunContent
from nephroscope.report.drawing import COLORS, GRID, INK, QUIET, STYLE, color_of
from nephroscope.statistics.intervals import Patients, roc_band
from nephroscope.statistics.metrics import Floats, roc_points


def all_figures(content: ReportContent) -> dict[str, Figure]:
    """Name -> figure of every figure that can be drawn: ``learning``, ``roc-GROUP``, ``cases-GROUP``."""
    report = content.main.report
    drawn = {}
    if any(len(epochs) > 0 for epochs in content.main.curves.values()):
        drawn["learning"] = learning_curves(content.main, content.marks)
    for group in report.groups:
        members = [p for p in report.predictions if p.group == group.name and p.truth is not None]
        suffix = slug(group.name)
        if report.converged and group.case["auc"].value is not None:
            drawn[f"roc-{suffix}"] = roc(report, group, members, content.evaluation, content.marks)
        if report.converged:
            drawn[f"cases-{suffix}"] = case_probabilities(report, members, content.evaluation, content.marks)
    return drawn


def slug(group: str) -> str:
    """A test set's name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", group).strip("-")


def learning_curves(run: RunContent, marks: Sequence[str]) -> Figure:
    """Loss and accuracy by epoch, training and validation, a line per fold; a dot where the weights come from."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        for fold, epochs in run.curves.items():
            if not epochs:
                continue
            x = [e["epoch"] for e in epochs]
            style = "-" if run.converged.get(fold, True) else ":"
            style += "." if len(x) == 1 else ""  # a line of one point cannot be seen
            for axes, what in ((left, "loss"), (right, "accuracy")):
                for part, color in (("train", COLORS[0]), ("validation", COLORS[1])):
                    axes.plot(
                        x, [e[f"{part}_{what}"] for e in epochs], style, color=color, lw=1.1, alpha=0.65
                    )
            best = int(np.argmin([_or_inf(e["validation_loss"]) for e in epochs]))
            left.plot(x[best], epochs[best]["validation_loss"], "o", ms=3.5, color=COLORS[1])
            right.plot(x[best], epochs[best]["validation_accuracy"], "o", ms=3.5, color=COLORS[1])
        for part, color in (("training", COLORS[0]), ("validation", COLORS[1])):
            right.plot([], [], color=color, label=part)
        right.plot([], [], "o", ms=3.5, color=COLORS[1], label="lowest validation loss")
        if not all(run.converged.values()):
            right.plot([], [], ":", color=QUIET, label="did not converge")
        left.set(title=_title("Loss", marks), xlabel="Epoch", ylabel="Cross-entropy (nats)")
        left.set_ylim(bottom=0)
        right.set(title=_title("Accuracy", marks), xlabel="Epoch", ylabel="Balanced accuracy", ylim=(0, 1.02))
        right.legend(loc="lower right", fontsize=8)
        for axes in (left, right):
            axes.grid(visible=True, lw=0.5)
            axes.xaxis.get_major_locator().set_params(integer=True)
        return figure


def roc(
    report: Evaluation,
    group: EvaluationGroup,
    members: Sequence[Answer],
    config: EvaluationConfig,
    marks: Sequence[str],
) -> Figure:
    """ROC by case with its patient-bootstrap band, and by image; a panel per subtype when there are over two."""
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
                f"{unit} {e.value:.2f} ({e.low:.2f} to {e.high:.2f})"
                for unit, e in (("case", group.case[f"auc{suffix}"]), ("image", group.image[f"auc{suffix}"]))
                if e.value is not None
            )
            if len(shown) == 1:
                axes.text(0.98, 0.30, f"AUC by\n{text}", ha="right", va="bottom", fontsize=8)
            else:  # a narrow panel has no free corner
                axes.set_xlabel(f"1 - specificity\nAUC by {text}", fontsize=8)
            versus = "rest" if len(shown) > 1 else next(s for s in report.subtypes if s != subtype)
            axes.set_title(_title(f"{subtype} against {versus}", marks))
            if len(shown) == 1:
                axes.legend(loc="lower right", fontsize=8)
        if len(shown) > 1:
            figure.legend(
                *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", fontsize=8, ncols=3
            )
        return figure


def case_probabilities(
    report: Evaluation,
    members: Sequence[Answer],
    config: EvaluationConfig,
    marks: Sequence[str],
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
        axes.set_title(_title("Every case", marks))
        axes.plot([], [], "o", color=QUIET, ms=5, label="called right")
        axes.plot([], [], "X", color=QUIET, ms=7, label="called wrong")
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
        return figure


def _roc_panel(
    axes: Axes,
    report: Evaluation,
    members: Sequence[Answer],
    subtype: str,
    config: EvaluationConfig,
) -> None:
    at = report.subtypes.index(subtype)
    truth = np.array([p.truth == subtype for p in members])
    scores = np.array([p.probabilities[subtype] for p in members])
    owner = np.repeat(np.arange(len(members)), [len(p.slices) for p in members])
    slices = np.array([s.probabilities[at] for p in members for s in p.slices])
    labels = np.array([report.subtypes.index(p.truth or "") for p in members], dtype=np.intp)
    patients = Patients.of([p.patient_id for p in members], labels)
    grid = np.linspace(0, 1, 101)
    settings = (config.resamples, config.seed, config.confidence)
    low, high = roc_band(scores, truth, patients, grid, settings)
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
    """The curve by image: at most some 500 points, so that a page with 30,000 slices stays small."""
    keep = np.unique(np.linspace(0, fpr.size - 1, 500).astype(int))
    axes.plot(fpr[keep], tpr[keep], color=QUIET, lw=1, ls=(0, (4, 2)), label="by image")


def _swarm(x: Sequence[float]) -> Floats:
    """Vertical offsets that keep dots of equal x apart, the same each time."""
    offsets = np.zeros(len(x))
    bins: dict[int, int] = {}
    for i in np.argsort(x, kind="stable"):
        place = round(x[i] * 40)
        count = bins[place] = bins.get(place, -1) + 1
        offsets[i] = (count + 1) // 2 * (0.09 if count % 2 else -0.09)
    return np.clip(offsets, -0.42, 0.42)


def _or_inf(value: float) -> float:
    return value if np.isfinite(value) else float("inf")


def _title(text: str, marks: Sequence[str]) -> str:
    return " · ".join([text, *marks])

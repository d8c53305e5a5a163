"""Section Learning: loss and accuracy of every fold, epoch by epoch."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from nephroscope.report.page.drawing import COLORS, QUIET, STYLE
from nephroscope.report.page.names import with_marks
from nephroscope.report.page.section import Filled, Section, ShownFigure, Text
from nephroscope.report.study.appraisal import RunSource
from nephroscope.report.study.content import RunContent


def _fill(source: RunSource) -> Filled:
    run = source.content.main
    if not any(len(epochs) > 0 for epochs in run.curves.values()):
        return Filled(blocks=[Text("No learning curves were recorded.")])
    caption = "Learning curves, a line per fold; the dot marks the epoch whose weights were kept."
    figure = ShownFigure("learning", caption, lambda: learning_curves(run, source.content.marks))
    return Filled(blocks=[figure])


LEARNING = Section(id="learning", title="Learning", navigation="Learning", fill=_fill)


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
        left.set(title=with_marks("Loss", marks), xlabel="Epoch", ylabel="Cross-entropy (nats)")
        left.set_ylim(bottom=0)
        right.set(title="Accuracy", xlabel="Epoch", ylabel="Balanced accuracy", ylim=(0, 1.02))
        right.legend(loc="lower right", fontsize=8)
        for axes in (left, right):
            axes.grid(visible=True, lw=0.5)
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        return figure


def _or_inf(value: float) -> float:
    return value if np.isfinite(value) else float("inf")

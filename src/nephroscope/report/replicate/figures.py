"""The paper's figures, drawn from this study."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import FancyBboxPatch

from nephroscope.learning.networks.layers import LayerRow
from nephroscope.learning.training.arm import ArmEpoch
from nephroscope.learning.training.copies import copy_name, copy_of, through_jpeg
from nephroscope.questions.replicate.numbers import Judged
from nephroscope.questions.replicate.printed import NAMES
from nephroscope.questions.replicate.replication import BothArms, ShuffledControl
from nephroscope.records import Estimate
from nephroscope.report.page.drawing import COLORS, GRID, INK, QUIET, STYLE
from nephroscope.report.page.names import with_marks
from nephroscope.statistics.metrics import roc_points

PAPER, TWIN, PRINTED = COLORS[1], COLORS[0], QUIET
Curves = Mapping[str, Judged]  # what is drawn -> its rows


def copies_figure(hu: npt.NDArray[np.int16], marks: Sequence[str]) -> Figure:
    """Figure 2: a slice and its 15 copies."""
    gray = through_jpeg(hu)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 8.0), layout="constrained")
        for copy, axes in enumerate(figure.subplots(4, 4).flat):
            axes.imshow(copy_of(gray, copy), cmap="gray", vmin=0, vmax=255)
            axes.set_axis_off()
            axes.set_title(copy_name(copy).replace(", ", ",\n"), fontsize=8, fontweight="normal", loc="left")
        figure.suptitle(with_marks("One slice and its 15 copies", marks), x=0.01, ha="left", fontsize=10)
    return figure


def comparison_figure(
    models: Sequence[BothArms],
    shuffled: ShuffledControl | None,
    printed: Mapping[str, float],
    marks: Sequence[str],
) -> Figure:
    """Accuracy and AUC by image, under the paper's protocol and of the leak-free twin; shuffled labels lowest."""
    rows: list[tuple[str, BothArms]] = [(NAMES[network.model], network) for network in models]
    if shuffled is not None:
        rows.append((f"{NAMES[shuffled.model]},\nlabels shuffled", shuffled))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 1.4 + 0.55 * len(rows)), layout=ConstrainedLayoutEngine(wspace=0.06))
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, name, label in ((left, "accuracy", "Accuracy by image"), (right, "auc", "AUC by image")):
            _two_points(axes, [network for _, network in rows], name)
            if shuffled is not None:
                axes.axhspan(-0.5, 0.5, color=GRID, alpha=0.45, lw=0)
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.5, len(rows) - 0.5), xlabel=label)
            axes.grid(visible=True, axis="x", lw=0.5)
        for place, network in enumerate(models):
            if network.model in printed:
                y = len(rows) - 1 - place + 0.14
                left.plot(printed[network.model], y, "x", color=PRINTED, ms=6, zorder=4)
        left.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
        for label, marker, color in (
            ("paper's protocol, LEAKY", "o", PAPER),
            ("leak-free twin, new patients", "o", TWIN),
            ("printed in the paper, on its own data", "x", PRINTED),
            ("chance of an AUC, 0.50", "--", INK),
        ):
            left.plot([], [], marker, color=color, label=label, lw=1)
        figure.suptitle(
            with_marks("The same network, with and without the leak", marks), x=0.01, ha="left", fontsize=10
        )
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _two_points(axes: Axes, networks: Sequence[BothArms], name: str) -> None:
    """A figure of each network under both protocols, the first on top; of an AUC the line of chance."""
    if name == "auc":
        axes.axvline(0.5, color=INK, lw=1, ls="--", zorder=1)
    for y, network in enumerate(reversed(networks)):
        _interval(axes, network.paper.validation[name], y + 0.14, PAPER)
        _interval(axes, network.twin.by_image[name], y - 0.14, TWIN)


def _interval(axes: Axes, e: Estimate, y: float, color: str) -> None:
    if e.value is None:
        return
    if e.low is not None and e.high is not None:
        axes.plot([e.low, e.high], [y, y], color=color, lw=2, solid_capstyle="butt")
    axes.plot(e.value, y, "o", color=color, ms=5, zorder=3)


def learning_figure(models: Sequence[BothArms], marks: Sequence[str]) -> Figure:
    """Loss and accuracy by epoch of every network: this is what "cannot converge" looks like."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 0.6 + 1.9 * len(models)), layout="constrained")
        for network, (left, right) in zip(
            models, figure.subplots(len(models), 2, squeeze=False), strict=True
        ):
            runs = [(network.paper.epochs, PAPER, 1.6)]
            runs += [(epochs, TWIN, 0.9) for epochs in network.twin.epochs]
            for epochs, color, width in runs:
                for axes, what in ((left, "loss"), (right, "accuracy")):
                    for part, style in (("train", "-"), ("validation", ":")):
                        _curve(axes, epochs, f"{part}_{what}", (style, color, width))
            state = "" if network.paper.converged else ": did not converge"
            left.set_title(f"{NAMES[network.model]}{state}")
            left.set(ylabel="Cross-entropy (nats)", yscale="log" if left.get_ylim()[1] > 20 else "linear")
            right.set(ylabel="Balanced accuracy", ylim=(0, 1.02))
            for axes in (left, right):
                axes.set_xlabel("Epoch")
                axes.grid(visible=True, lw=0.5)
                axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        for label, color, style in (
            ("paper's protocol, LEAKY", PAPER, "-"),
            ("twin, a line per fold", TWIN, "-"),
            ("training", INK, "-"),
            ("validation", INK, ":"),
        ):
            right.plot([], [], style, color=color, label=label)
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
        figure.suptitle(with_marks("Learning", marks), x=0.01, ha="left", fontsize=10)
    return figure


def _curve(axes: Axes, epochs: Sequence[ArmEpoch], name: str, look: tuple[str, str, float]) -> None:
    """One line over the epochs that have this figure; a dot where there is but one."""
    style, color, width = look
    known = [(e.epoch, getattr(e, name)) for e in epochs if getattr(e, name) is not None]
    if known:
        axes.plot(*zip(*known, strict=True), style, color=color, lw=width, marker="." * (len(known) == 1))


def roc_figure(curves: Mapping[str, Curves], positive: int, marks: Sequence[str]) -> Figure:
    """Figure 4: a panel for each network; curves by what they count."""
    in_row = min(len(curves), 3)
    n_rows = -(-len(curves) // in_row)
    with mpl.rc_context(STYLE):
        width = max(2.9 * in_row + 0.4, 4.8)  # the legend needs 4.8 inches
        figure = Figure(figsize=(width, 3.1 * n_rows + 1.2), layout="constrained")
        panels = figure.subplots(n_rows, in_row, squeeze=False).flat
        colors = (PAPER, TWIN, COLORS[2])
        for axes, (model, drawn) in zip(panels, curves.items(), strict=False):
            axes.plot([0, 1], [0, 1], color=GRID, lw=1)
            for (label, judged), color in zip(drawn.items(), colors, strict=False):
                y = judged.rows.truth == positive
                if y.any() and not y.all():
                    axes.plot(*roc_points(judged.rows.p[:, positive], y), color=color, lw=1.5, label=label)
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 - specificity", ylabel="Sensitivity")
            axes.set_aspect("equal")
            axes.set_title(with_marks(NAMES[model], marks if axes is figure.axes[0] else ()))
        for axes in list(figure.axes)[len(curves) :]:
            axes.set_axis_off()
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=1, fontsize=8)
    return figure


def blocks_figure(layers: Sequence[LayerRow]) -> Figure:
    """Figure 3: MobileNetV2 from its rows; height is the side of the output, width of a bar its channels."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 3.6), layout="constrained")
        axes = figure.subplots()
        x = 0.0
        for layer in layers:
            side = layer.output[0] if len(layer.output) == 3 else 1
            channels = layer.output[-1]
            height = 0.25 + np.log2(side) if side > 1 else 0.25
            width = 0.35 + 0.11 * np.log2(channels)
            axes.add_patch(
                FancyBboxPatch(
                    (x, -height / 2),
                    width,
                    height,
                    boxstyle="round,pad=0,rounding_size=0.06",
                    facecolor=_color(layer),
                    edgecolor="white",
                )
            )
            label = layer.name.replace("inverted_residual", "block").replace("_", " ")
            axes.text(x + width / 2, -4.5, label, rotation=90, ha="center", va="top", fontsize=7.5)
            shape = f"{side}²·{channels}" if side > 1 else f"{channels}"
            axes.text(
                x + width / 2, 4.5, shape, rotation=90, ha="center", va="bottom", fontsize=7.5, color=QUIET
            )
            x += width + 0.22
        axes.set(xlim=(-0.3, x), ylim=(-8.2, 7.4))
        axes.set_axis_off()
        for label, color in (
            ("convolution", COLORS[5]),
            ("block, stride 2", COLORS[1]),
            ("block", COLORS[4]),
            ("block with residual", COLORS[2]),
            ("head", COLORS[3]),
        ):
            axes.plot([], [], "s", color=color, label=label, ms=6)
        figure.legend(loc="outside lower center", ncols=5, fontsize=8)
        axes.set_title("MobileNetV2 as built, for slices of 256 x 256 (rows and columns, channels)")
    return figure


def _color(layer: LayerRow) -> str:
    if layer.name.startswith("inverted"):
        if layer.residual:
            return COLORS[2]
        return COLORS[1] if layer.stride == 2 else COLORS[4]
    if layer.name == "Input Layer":
        return QUIET
    return COLORS[5] if layer.filters and layer.name != "Classifier" else COLORS[3]

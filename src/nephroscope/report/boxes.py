"""The boxes of a flow diagram: what stands in them in, a figure out, at the width of a page."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of the figure, in points.
WIDTH, PAD, LINE, GAP, SIZE = 620.0, 8.0, 12.5, 26.0, 9.0
MAIN, SIDE_LEFT = 295.0, 330.0  # so that the trunk stands over the left of two parts
POINTS_PER_LETTER = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a box; ``subtype`` is the place of the subtype it counts, for its colour."""

    text: str
    subtype: int | None = None
    indent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box of the diagram."""

    title: str
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The diagram from top to bottom; ``excluded`` and ``later`` stand beside it, ``parts`` side by side below."""

    reviewed: Box
    excluded: Box | None
    included: Box
    later: Box | None
    parts: tuple[Box, ...] = field(default=())


def draw_boxes(flow: Flow, marks: str) -> "Figure":
    """The figure; ``marks`` such as SYNTHETIC stand above."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from nephroscope.report.drawing import STYLE

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / 72, 1))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        height = _draw(axes, flow, marks)
        figure.set_size_inches(WIDTH / 72, height / 72)
        axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    return figure


def _draw(axes: "Axes", flow: Flow, marks: str) -> float:
    """Boxes from top to bottom; gives the height in points."""
    y = PAD
    if marks:
        axes.text(PAD, y, marks, va="top", fontsize=SIZE, fontweight="bold")
        y += LINE + PAD
    middle = PAD + MAIN / 2
    bottom = _box(axes, flow.reviewed, (PAD, y, MAIN), strong=True)
    for beside, below in ((flow.excluded, flow.included), (flow.later, None)):
        top = bottom + GAP
        if beside is not None:
            side = _box(axes, beside, (SIDE_LEFT, bottom + GAP / 2, WIDTH - SIDE_LEFT - PAD), strong=False)
            level = bottom + GAP / 2 + PAD + LINE / 2
            _arrow(axes, (middle, level), (SIDE_LEFT, level))
            top = max(side + GAP * (1 if below is None else 0.5), top)
        if below is None and not flow.parts:
            bottom = max(bottom, top - GAP / 2)
        elif below is not None:
            _arrow(axes, (middle, bottom), (middle, top))
            bottom = _box(axes, below, (PAD, top, MAIN), strong=True)
        else:
            bottom = _draw_parts(axes, flow.parts, (middle, bottom), top)
    return bottom + PAD


def _draw_parts(axes: "Axes", parts: Sequence[Box], start: tuple[float, float], top: float) -> float:
    """The parts side by side, at most four in a row; gives where the lowest ends."""
    from nephroscope.report.drawing import QUIET

    in_row = min(len(parts), 4)
    width = (WIDTH - 2 * PAD - (in_row - 1) * 14) / in_row if in_row > 1 else MAIN
    x, y = start
    for first in range(0, len(parts), in_row):
        row = parts[first : first + in_row]
        lefts = [PAD + i * (width + 14) for i in range(len(row))]
        centers = [left + width / 2 for left in lefts]
        if first == 0:
            bar = top - GAP / 2 if in_row > 1 else y
            axes.plot([x, x], [y, bar], color=QUIET, lw=0.9, solid_capstyle="butt")
            axes.plot([min(x, *centers, x), max(x, *centers, x)], [bar, bar], color=QUIET, lw=0.9)
            for center in centers:
                _arrow(axes, (center, bar), (center, top))
        top = (
            max(
                _box(axes, box, (left, top, width), strong=True) for box, left in zip(row, lefts, strict=True)
            )
            + PAD
        )
    return top - PAD


def _box(axes: "Axes", box: Box, place: tuple[float, float, float], *, strong: bool) -> float:
    """A box with its title and lines at (left, top, width); gives where it ends."""
    from matplotlib.patches import FancyBboxPatch

    from nephroscope.report.drawing import GRID, INK, QUIET, color_of

    left, top, width = place
    y = top + PAD
    for text in _wrapped(box.title, width, 1.08):
        axes.text(left + PAD, y, text, va="top", fontsize=SIZE, fontweight="bold", color=INK, zorder=3)
        y += LINE
    for line in box.lines:
        x = left + PAD + 12 * line.indent
        if line.subtype is not None:
            axes.plot(
                [x + 3], [y + 4.5], marker="s", ms=5, color=color_of(line.subtype), zorder=3, clip_on=False
            )
            x += 11
        for i, text in enumerate(_wrapped(line.text, left + width - x)):
            axes.text(x + (8 if i else 0), y, text, va="top", fontsize=SIZE, color=INK, zorder=3)
            y += LINE
    bottom = y + PAD - 2
    frame: dict[str, Any] = {
        "facecolor": "#f5f7f9" if strong else "#ffffff",
        "edgecolor": QUIET if strong else GRID,
    }
    shape = "round,pad=0,rounding_size=3"
    axes.add_patch(
        FancyBboxPatch((left, top), width, bottom - top, boxstyle=shape, lw=0.9, zorder=2, **frame)
    )
    return bottom


def _wrapped(text: str, width: float, scale: float = 1.0) -> list[str]:
    letters = int((width - PAD) / (POINTS_PER_LETTER * scale))
    return textwrap.wrap(text, max(letters, 12), break_long_words=True) or [""]


def _arrow(axes: "Axes", start: tuple[float, float], end: tuple[float, float]) -> None:
    from nephroscope.report.drawing import QUIET

    style = {"arrowstyle": "-|>", "color": QUIET, "lw": 0.9, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)

"""Figures of the agreement of two annotators, and pictures of the cases that they draw most differently."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from nephroscope.questions.evaluation.annotators import AnnotatorReport
from nephroscope.records import CTVolume, Estimate, RoiMask
from nephroscope.regions.agreement import RoiAgreement
from nephroscope.report.page.drawing import COLORS, GRID, INK, QUIET, STYLE
from nephroscope.report.page.names import with_marks
from nephroscope.statistics.metrics import Floats

N_WORST, N_SLICES = 6, 3
MARGIN_MM = 15.0
LEVEL_HU, WIDTH_HU = 40.0, 400.0
# Okabe and Ito's sky blue and orange: distinct in every kind of color blindness, and both bright on gray.
READER_COLORS = ("#56B4E9", "#E69F00")
READER_WIDTHS = (2.6, 1.1)  # the second lies on the first, and both are seen where they coincide
ANNOTATORS = ("both annotators", "annotator 1 only", "annotator 2 only")
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cut:
    """A piece of one slice with both masks, (H, W) each; ``aspect`` is row over column spacing."""

    hu: npt.NDArray[np.int16]
    one: Bools
    two: Bools
    slice_index: int
    aspect: float

    @property
    def who(self) -> str:
        """Who drew on this slice."""
        return self.drawn_by(ANNOTATORS)

    def drawn_by(self, names: tuple[str, str, str]) -> str:
        """Which of the names drew on this slice: that of both, of the first only, or of the second only."""
        if self.one.any() and self.two.any():
            return names[0]
        return names[1] if self.one.any() else names[2]


class Worst:
    """Keeps pieces of the cases with the lowest Dice while all are read, so that memory stays flat."""

    def __init__(self) -> None:
        self.kept: list[tuple[RoiAgreement, tuple[Cut, ...]]] = []

    def offer(self, found: RoiAgreement, volume: CTVolume, one: RoiMask, two: RoiMask) -> None:
        """Keep this case when it is among the worst so far."""
        if len(self.kept) == N_WORST and found.dice >= self.kept[-1][0].dice:
            return
        self.kept.append((found, cut_out(found, volume, one, two)))
        self.kept.sort(key=lambda row: (row[0].dice, row[0].case_id))
        del self.kept[N_WORST:]


def cut_out(found: RoiAgreement, volume: CTVolume, one: RoiMask, two: RoiMask) -> tuple[Cut, ...]:
    """The most informative slices: the most disputed that both drew, then the largest that only one drew."""
    _, row_mm, col_mm = volume.geometry.spacing_mm
    first, last = found.box[0]
    disputed = (one.voxels[first : last + 1] ^ two.voxels[first : last + 1]).sum(axis=(1, 2))
    alone = {*found.slices_only_1, *found.slices_only_2}
    order = sorted(range(first, last + 1), key=lambda s: (-int(disputed[s - first]), s))
    chosen = [s for s in order if s not in alone][:1]
    chosen += [s for s in order if s in alone][: N_SLICES - len(chosen)]
    chosen += [s for s in order if s not in chosen][: N_SLICES - len(chosen)]
    window = []
    for (low, high), mm, n in zip(found.box[1:], (row_mm, col_mm), volume.geometry.shape[1:], strict=True):
        margin = round(MARGIN_MM / mm)
        window.append(slice(max(low - margin, 0), min(high + 1 + margin, n)))
    rows, cols = window
    return tuple(
        Cut(
            hu=volume.hu[s, rows, cols].copy(),
            one=one.voxels[s, rows, cols].copy(),
            two=two.voxels[s, rows, cols].copy(),
            slice_index=s,
            aspect=row_mm / col_mm,
        )
        for s in sorted(chosen)
    )


def picture(cuts: Sequence[Cut], names: tuple[str, str, str] = ANNOTATORS) -> str:
    """Slices side by side with both contours, as ``data:image/png;base64,...``; names as in `Cut.drawn_by`."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.2 * N_SLICES, 2.5), layout="constrained", dpi=130)
        panels = figure.subplots(1, N_SLICES)
        for axes in panels:
            axes.set_axis_off()
        for axes, cut in zip(panels, cuts, strict=False):
            low, high = LEVEL_HU - WIDTH_HU / 2, LEVEL_HU + WIDTH_HU / 2
            axes.imshow(cut.hu, cmap="gray", vmin=low, vmax=high, aspect=cut.aspect)
            for mask, color, width in zip((cut.one, cut.two), READER_COLORS, READER_WIDTHS, strict=True):
                axes.add_collection(LineCollection(edges(mask), colors=color, linewidths=width))
            axes.set_title(f"slice {cut.slice_index}: {cut.drawn_by(names)}", fontweight="normal")
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def edges(mask: Bools) -> Sequence[Sequence[tuple[float, float]]]:
    """The edges of a mask's pixels, not smoothed, each from (column, row) to (column, row)."""
    padded = np.pad(mask, 1)
    rows, cols = np.nonzero(padded[1:] != padded[:-1])
    level = [((c - 1.5, r - 0.5), (c - 0.5, r - 0.5)) for r, c in zip(rows, cols, strict=True)]
    rows, cols = np.nonzero(padded[:, 1:] != padded[:, :-1])
    return level + [((c - 0.5, r - 1.5), (c - 0.5, r - 0.5)) for r, c in zip(rows, cols, strict=True)]


def bland_altman_figure(report: AnnotatorReport, what: str, unit: str, marks: Sequence[str]) -> Figure:
    """Difference and ratio of the two annotators' values against their mean, with bias and limits of agreement."""
    one = np.array([getattr(case, f"{what}_{unit}_1") for case in report.cases])
    two = np.array([getattr(case, f"{what}_{unit}_2") for case in report.cases])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 3.3), layout="constrained")
        left, right = figure.subplots(1, 2)
        _panel(left, (one + two) / 2, two - one, _three(report, what, unit), 0)
        _panel(right, np.sqrt(one * two), two / one, _three(report, f"{what}_ratio", ""), 1)
        left.set_title(with_marks(f"{what.capitalize()}, difference", marks))
        left.set(xlabel=f"Mean of both annotators ({unit})", ylabel=f"Annotator 2 minus annotator 1 ({unit})")
        right.set_title(f"{what.capitalize()}, ratio")
        right.set(
            xlabel=f"Geometric mean of both annotators ({unit})",
            ylabel="Annotator 2 / annotator 1",
            xscale="log",
        )
        right.set_yscale("log")
        ticks = _ratio_ticks(two / one)
        right.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        right.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        for axis in (right.xaxis, right.yaxis):
            axis.set_minor_formatter(NullFormatter())
        return figure


def dice_figure(report: AnnotatorReport, marks: Sequence[str]) -> Figure:
    """Histograms of Dice and of surface Dice, with the limit for adjudication."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 2.6), layout="constrained")
        panels = (("dice", "Dice"), ("surface_dice", f"Surface Dice at {report.tolerance_mm:g} mm"))
        for axes, (name, title), color in zip(figure.subplots(1, 2), panels, COLORS, strict=False):
            values = [getattr(case, name) for case in report.cases]
            edges = (
                np.arange(np.floor(min(values) * 20 - 1e-9) / 20, 1.0001, 0.05)
                if min(values) < 1
                else [0.95, 1]
            )
            axes.hist(values, bins=list(edges), color=color, alpha=0.8, edgecolor="white")
            axes.set(title=with_marks(title, marks if name == "dice" else ()), xlabel=title, ylabel="Cases")
            axes.yaxis.get_major_locator().set_params(integer=True)
            axes.xaxis.get_major_locator().set_params(nbins=6)
            if name == "dice":
                axes.axvline(report.adjudicate_below, color=INK, lw=1, ls="--")
                axes.set_xlabel("Dice (dashed: adjudication below)")
        return figure


def _three(report: AnnotatorReport, what: str, unit: str) -> list[Estimate]:
    suffix = f"_{unit}" if unit else ""
    return [report.pooled[f"{what}_{name}{suffix}"] for name in ("bias", "limit_low", "limit_high")]


def _panel(axes: Axes, x: Floats, y: Floats, estimates: list[Estimate], none: float) -> None:
    axes.axhline(none, color=GRID, lw=1)
    for estimate, style in zip(estimates, ("-", "--", "--"), strict=True):
        if estimate.value is None or estimate.low is None or estimate.high is None:
            continue
        axes.axhspan(estimate.low, estimate.high, color=COLORS[0], alpha=0.12, lw=0)
        axes.axhline(estimate.value, color=COLORS[0], lw=1.2, ls=style)
        axes.annotate(
            f"{estimate.value:.3g}", (1, estimate.value), xycoords=("axes fraction", "data"), xytext=(-2, 2),
            textcoords="offset points", ha="right", fontsize=7.5, color=INK,
        )  # fmt: skip
    axes.plot(x, y, "o", color=COLORS[1], ms=5, mec="white", mew=0.6)
    axes.tick_params(colors=QUIET)


def _ratio_ticks(ratios: Floats) -> list[float]:
    steps = (0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
    low, high = float(ratios.min()) / 1.15, float(ratios.max()) * 1.15
    return [step for step in steps if low <= step <= high]

"""The figure of a capacity study: AUC by case against the number of weights, with intervals over patients."""

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nephroscope.questions.capacity.result import CapacityFindings
from nephroscope.report.page.drawing import QUIET, STYLE, color_of
from nephroscope.report.page.names import network_name


def capacity_figure(result: CapacityFindings, synthetic: bool) -> Figure:
    """A dot per network on a logarithmic axis of weights, a color per family, lines between widths of one."""
    families = list(dict.fromkeys(point.model for point in result.points))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 3.9), layout="constrained")
        axes = figure.subplots()
        for index, model in enumerate(families):
            points = [p for p in result.points if p.model == model and p.auc.value is not None]
            if not points:
                continue
            x, y = [p.trainable for p in points], [p.auc.value or 0.0 for p in points]
            color = color_of(index)
            axes.plot(x, y, "o-", color=color, ms=5, lw=1.1, label=network_name(model))
            for p in points:
                if p.auc.low is not None and p.auc.high is not None:
                    axes.plot([p.trainable] * 2, [p.auc.low, p.auc.high], color=color, lw=1.4)
                if p.width != 1:
                    axes.annotate(
                        f"\u00d7{p.width:g}",
                        (p.trainable, p.auc.value),
                        xytext=(5, 5),
                        textcoords="offset points",
                        fontsize=7,
                        color=QUIET,
                    )
        axes.axhline(0.5, color=QUIET, lw=0.8, ls=":", label="chance, 0.50" if axes.lines else None)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n / 1e6:g} M"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        mark = "SYNTHETIC: " if synthetic else ""
        axes.set(
            title=f"{mark}AUC against the number of weights, {result.n_patients} patients",
            xlabel="Trainable weights (logarithmic)",
            ylabel=f"AUC by case, {result.group}\n(95 % interval over patients)",
            ylim=(min([0.45, *_lows(result)]), 1.02),
        )
        axes.grid(visible=True, lw=0.5)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
        else:
            axes.text(0.5, 0.5, "no network converged", transform=axes.transAxes, ha="center", color=QUIET)
        return figure


def _lows(result: CapacityFindings) -> list[float]:
    """Lower ends of the intervals, a little below, so that none is cut off."""
    return [p.auc.low - 0.03 for p in result.points if p.auc.low is not None]

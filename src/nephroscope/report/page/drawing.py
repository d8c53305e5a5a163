"""Matplotlib figures as SVG text for a page, and as SVG and PNG files next to it; colors and style of all figures."""

import io
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.text import Text

from nephroscope.base.files import replacing, save_text
from nephroscope.base.progress import track

# Okabe and Ito's colors, distinct in every kind of color blindness
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, QUIET, GRID = "#1d2733", "#6b7785", "#dfe4e9"
PNG_DPI = 200
PAPER_MM = (85.0, 174.0)  # one and two columns of a journal
PAPER_DPI = 600
LEAST_POINTS, MOST_POINTS = 6.0, 9.0  # of text in a figure for a paper
LEAST_SCALE = 0.55  # of a figure drawn 6 inches wide
LEAST_TALL, MOST_TALL = 0.85, 1.25  # heights change less than widths
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["Arial", "Helvetica", "Liberation Sans", "DejaVu Sans"],
    "pdf.fonttype": 42,
    "font.size": 9,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "grid.color": GRID,
    "legend.frameon": False,
}


def color_of(index: int) -> str:
    """Color of the subtype at ``index``, the same in figures, bars and chips."""
    return COLORS[index % len(COLORS)]


def svg_of(figure: Figure, salt: str) -> str:
    """SVG without prolog, metadata or date; every id begins with ``salt``, so that those on one page differ."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    salted: dict[Any, Any] = {**STYLE, "svg.hashsalt": salt}
    with mpl.rc_context(salted):
        figure.savefig(file, format="svg", metadata=nothing)
    text = file.getvalue()
    return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{salt.replace(' ', '-')}-", text[text.index("<svg") :])


def save_figures(folder: Path, figures: Mapping[str, Figure]) -> dict[str, str]:
    """Write NAME.svg and NAME.png (white, 200 dots an inch) of each; gives the SVG text by name."""
    drawn = {}
    for name, figure in track(figures.items(), "report figures", "figure", len(figures)):
        drawn[name] = svg_of(figure, name)
        save_text(folder / f"{name}.svg", drawn[name])
        figure.set_layout_engine("none")  # laid out once, for both
        with replacing(folder / f"{name}.png") as temporary, mpl.rc_context(STYLE):
            figure.savefig(
                temporary, format="png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None}
            )
    return drawn


def save_paper_figures(folder: Path, figures: Mapping[str, Figure]) -> None:
    """Write PDF, SVG and PNG (600 dots an inch), one and two columns of a journal wide, into 85mm/ and 174mm/.

    Text has 6 to 9 points. Panels that stand next to each other do not fit into one column and are in 174mm/ only.
    The figures are not to be used afterwards.
    """
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it lists every part of a font
    for name, figure in track(figures.items(), "figures for a paper", "figure", len(figures)):
        size, sizes = figure.get_size_inches(), [(t, float(t.get_fontsize())) for t in figure.findobj(Text)]
        for mm in PAPER_MM:
            scale = mm / 25.4 / size[0]
            if scale < LEAST_SCALE:
                continue
            for text, points in sizes:
                text.set_fontsize(min(max(points * scale, LEAST_POINTS), MOST_POINTS))
            figure.set_layout_engine("constrained" if name != "flow" else "none")
            height = size[1] * min(max(scale, LEAST_TALL), MOST_TALL)
            figure.set_size_inches(size[0] * scale, height)
            for kind, metadata in (
                ("pdf", {"CreationDate": None}),
                ("svg", {"Date": None}),
                ("png", {"Software": None}),
            ):
                path = folder / f"{mm:g}mm" / f"{name}.{kind}"
                with replacing(path) as temporary, mpl.rc_context(STYLE):
                    figure.savefig(
                        temporary, format=kind, dpi=PAPER_DPI, facecolor="white", metadata=metadata
                    )

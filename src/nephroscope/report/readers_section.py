"""readers/readers.json of a study in; the readers' part of the report page (words, tables, a figure) out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nephroscope.files import load_json
from nephroscope.report.drawing import COLORS, GRID, INK, QUIET, STYLE, svg_of
from nephroscope.report.tables import NAMES, Cell, Table

FORMAT = 1
FILE = Path("readers") / "readers.json"
SHOWN = ("accuracy", "sensitivity", "specificity", "auc", "coverage")
Content = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ReadersSection:
    """What the page shows of the readers.

    Attributes:
        stale: What to do first, where labels changed since; nothing else is then filled.
        words: What the tests say.
        tables: By name.
        figure: Readers and models in the plane of sensitivity and specificity; None without a specificity.
        html: The figure, ready to stand on the page.
        limitations: What the readers add to the page's.
        methods: Heading and text.
        data: Content of readers.json.
    """

    stale: str = ""
    words: tuple[str, ...] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    figure: Figure | None = None
    html: str = ""
    limitations: tuple[str, ...] = ()
    methods: tuple[tuple[str, str], ...] = ()
    data: Content | None = None


def readers_section(root: Path, label_digest: str) -> ReadersSection | None:
    """The readers' part of a study's page; None where no calls were read.

    Args:
        root: Study folder.
        label_digest: Of the present cohort's labels.

    Raises:
        StudyError: readers.json is damaged or of a newer format.
    """
    path = root / FILE
    if not path.is_file():
        return None
    content = load_json(path, FORMAT)
    if content["made_from"]["cohort"] != label_digest:
        told = "The labels changed since the readers' calls were scored: run `nephroscope readers` again."
        return ReadersSection(stale=told)
    found = {
        "readers": _figure_table(content),
        "readers-pairs": _pair_table(content),
        "readers-means": _mean_table(content),
        "readers-agreement": _agreement_table(content),
    }
    figure = _draw(content)
    return ReadersSection(
        words=tuple(content["sentences"]),
        tables={name: table for name, table in found.items() if table.rows},
        figure=figure,
        html="" if figure is None else _html(content, figure),
        limitations=tuple(f["message"] for f in content["findings"]),
        methods=(("Readers", _methods(content)),),
        data=content,
    )


def _figure_table(content: Content) -> Table:
    rows = []
    for one in (*content["readers"], *content["models"]):
        time = one["time"]
        seconds = "" if time is None else f"{time['median_s']:g}"
        quartiles = "" if time is None else f"{time['lower_quartile_s']:g} to {time['upper_quartile_s']:g}"
        cells = [_cell(one["figures"][name]) for name in SHOWN]
        rows.append((_title(one), *cells, Cell(seconds, quartiles) if seconds else ""))
    header = ("", *(NAMES[name] for name in SHOWN), "Seconds, median")
    notes = (f"Confidence: {content['scale']}.",) if content["scale"] else ()
    return Table(caption="Readers and models on the same cases", header=header, rows=tuple(rows), notes=notes)


def _pair_table(content: Content) -> Table:
    rows = []
    for pair in (*content["against_models"], *content["aided"]):
        calls, areas = pair["calls"], pair["areas"]
        right = (
            ""
            if calls is None
            else f"{calls['both'] + calls['only_one']} and {calls['both'] + calls['only_two']}"
        )
        rows.append(
            (
                f"{pair['first']}, {pair['second']}",
                str(pair["n_called"]),
                right,
                "" if calls is None else _p(calls["p"]),
                "" if areas is None else _cell(areas["difference"]),
                "" if areas is None else _p(areas["p"]),
            )
        )
    header = ("", "Cases", "Right", "Exact McNemar", "AUC difference", "Its test")
    notes = (f"{content['n_tests']} tests on this page's readers; p-values are not adjusted for that.",)
    return Table(
        caption="Pairs on the cases that both answered", header=header, rows=tuple(rows), notes=notes
    )


def _mean_table(content: Content) -> Table:
    rows = [
        (
            f"mean of {m['n_readers']} readers{', aided' if m['aided'] else ''}",
            NAMES[m["figure"]],
            str(m["n_cases"]),
            _cell(m["mean"]),
            "",
        )
        for m in content["means"]
        if m["mean"]["value"] is not None
    ]
    for m in (*content["mean_against_models"], *content["mean_aided"]):
        found = m["found"]
        title = f"{found['first']} less {found['second']}"
        rows.append(
            (title, NAMES[m["figure"]], str(m["n_cases"]), _cell(found["difference"]), _p(found["test"]["p"]))
        )
    header = ("", "Figure", "Cases", "Value", "p")
    caption = "Several readers together (Obuchowski-Rockette, random readers and cases)"
    return Table(caption=caption, header=header, rows=tuple(rows))


def _agreement_table(content: Content) -> Table:
    rows: list[tuple[str | Cell, ...]] = []
    for name, arm in (("agreement", ""), ("agreement_aided", ", aided")):
        kappa = content[name]
        if kappa is None:
            continue
        for pair in kappa["pairs"]:
            title = f"{pair['first']} and {pair['second']}{arm}"
            rows.append((title, _cell(pair["agreement"]), _cell(pair["kappa"])))
        if len(kappa["readers"]) > 2:
            rows.append((f"{len(kappa['readers'])} readers{arm} (Fleiss)", "", _cell(kappa["fleiss"])))
    return Table(caption="Agreement between readers", header=("", "The same call", "Kappa"), rows=tuple(rows))


def _draw(content: Content) -> Figure | None:
    people, models = content["readers"], content["models"]
    everybody = [one for one in (*people, *models) if _at(one) is not None]
    if not everybody:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4, 4.4), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GRID, lw=1)
        _points(axes, [one for one in people if not one["aided"]], ("o", "white", INK, "reader"))
        _points(axes, [one for one in people if one["aided"]], ("o", INK, INK, "reader, aided"))
        _points(axes, models, ("D", COLORS[0], COLORS[0], "model"))
        positive = content["positive"]
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
        axes.set_xlabel(f"1 - specificity (others called {positive})")
        axes.set_ylabel(f"Sensitivity ({positive} called {positive})")
        axes.set_title("SYNTHETIC: readers and models" if content["synthetic"] else "Readers and models")
        axes.legend(loc="lower right", fontsize=8)
    return figure


def _points(axes: Axes, everybody: Iterable[Content], look: tuple[str, str, str, str]) -> None:
    """Points with thin lines for their intervals, and names beside them."""
    marker, face, edge, label = look
    named: dict[tuple[float, float], list[str]] = {}
    for one in everybody:
        at = _at(one)
        if at is None:
            continue
        sensitivity, specificity = one["figures"]["sensitivity"], one["figures"]["specificity"]
        if sensitivity["low"] is not None:
            axes.plot([at[0]] * 2, [sensitivity["low"], sensitivity["high"]], color=GRID, lw=1.2, zorder=1)
        if specificity["low"] is not None:
            axes.plot(
                [1 - specificity["high"], 1 - specificity["low"]], [at[1]] * 2, color=GRID, lw=1.2, zorder=1
            )
        named.setdefault(at, []).append(_title(one))
    for i, (at, names) in enumerate(named.items()):
        axes.plot(*at, marker, mfc=face, mec=edge, ms=7, ls="", label=label if i == 0 else None)
        axes.annotate(
            ", ".join(names), at, xytext=(7, -10), textcoords="offset points", fontsize=7.5, color=QUIET
        )


def _at(one: Content) -> tuple[float, float] | None:
    sensitivity, specificity = (one["figures"][name]["value"] for name in ("sensitivity", "specificity"))
    return None if sensitivity is None or specificity is None else (1 - specificity, sensitivity)


def _html(content: Content, figure: Figure) -> str:
    environment = Environment(
        loader=PackageLoader("nephroscope.report", "."), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("readers.html.j2").render(
        figure=svg_of(figure, "readers"),
        positive=content["positive"],
        n_cases=content["n_cases"],
        synthetic=content["synthetic"],
    )


def _methods(content: Content) -> str:
    names = {one["name"] for one in content["readers"]}
    scale = f" Confidence was given from {content['scale']}." if content["scale"] else ""
    return (
        f"{len(names)} reader{'' if len(names) == 1 else 's'} called {content['n_cases']} cases of "
        f"{content['n_patients']} patients.{scale} Readers and models were compared on the cases that both "
        f"answered, by "
        "the exact McNemar test and a paired test of the AUCs (DeLong; Obuchowski 1997 where patients have several "
        "cases); several readers together by the Obuchowski-Rockette method with Hillis' degrees of freedom, random "
        "readers and cases, covariances by jackknife over patients. p-values were not adjusted."
    )


def _title(one: Content) -> str:
    return f"{one['name']}, aided" if one["aided"] else str(one["name"])


def _cell(estimate: Content) -> str | Cell:
    if estimate["value"] is None:
        return Cell("-", estimate["method"])
    limits = "" if estimate["low"] is None else f" ({estimate['low']:.2f} to {estimate['high']:.2f})"
    return Cell(f"{estimate['value']:.2f}{limits}", f"{estimate['n']} {estimate['unit']}s")


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"

"""readers/readers.json of a study in; the readers' part of the report page (words, tables, a figure) out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nephroscope.base.files import load_json
from nephroscope.questions.readers.write import changed_since
from nephroscope.records import counted_noun, p_words
from nephroscope.report.drawing import COLORS, GRID, INK, QUIET, STYLE, svg_of
from nephroscope.report.tables import NAMES, Cell, Table, group_name
from nephroscope.study.folder import open_study

FORMAT = 1
FILE = Path("readers") / "readers.json"
CONTRADICTS = "reader-contradicts"  # the finding's code
SHOWN = ("accuracy", "sensitivity", "specificity", "auc", "coverage")
Content = Mapping[str, Any]
Row = tuple[str | Cell, ...]


@dataclass(frozen=True, kw_only=True)
class ReadersSection:
    """What the page shows of the readers.

    Attributes:
        stale: What to do first, where what it was made from changed; nothing else is then filled.
        words: What the tests say.
        tables: By name.
        warnings: Readers whose confidence runs against their calls, so that their AUC means nothing.
        figure: Readers and models in the plane of sensitivity and specificity; None without a specificity.
        html: The figure, ready to stand on the page.
        limitations: What the readers add to the page's.
        methods: Heading and text.
        data: Content of readers.json.
    """

    stale: str = ""
    warnings: tuple[str, ...] = ()
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
    folder, settings = open_study(root)
    changed = changed_since(folder, label_digest, settings.evaluation, content["made_from"])
    if changed:
        told = f"{', '.join(changed)} changed since the readers' calls were scored: run `nephroscope readers` again."
        return ReadersSection(stale=f"{told[0].upper()}{told[1:]}")
    found = {
        "readers": _figure_table(content),
        "readers-pairs": _pair_table(content),
        "readers-means": _mean_table(content),
        "readers-agreement": _agreement_table(content),
    }
    figure = _draw(content)
    return ReadersSection(
        warnings=tuple(f["message"] for f in content["findings"] if f["code"] == CONTRADICTS),
        words=tuple(_with_set_in_words(text, content["groups"]) for text in content["sentences"]),
        tables={name: table for name, table in found.items() if table.rows},
        figure=figure,
        html="" if figure is None else _html(content, figure),
        limitations=tuple(f["message"] for f in content["findings"]),
        methods=(("Readers", _methods(content)),),
        data=content,
    )


def _with_set_in_words(text: str, groups: Iterable[str]) -> str:
    """``out-of-fold: R1 ...`` -> ``Cross-validation: R1 ...``."""
    for name in groups:
        if text.startswith(f"{name}: "):
            told = group_name(name)
            return f"{told[0].upper()}{told[1:]}{text.removeprefix(name)}"
    return text


def _parts(content: Content) -> Sequence[Content]:
    """Each test set and then all cases together; all cases where there is one test set, or none."""
    groups = content["groups"]
    return (*groups.values(), content) if len(groups) > 1 else (content,)


def _table(
    content: Content, caption: str, header: tuple[str, ...], rows_of: Callable[[Content], Iterable[Row]]
) -> Table:
    """The rows of all parts; with several, the second column says which test set a row is of."""
    parts = _parts(content)
    if len(parts) == 1:
        return Table(caption=caption, header=header, rows=tuple(rows_of(content)))
    rows = tuple((row[0], group_name(part["test_set"]), *row[1:]) for part in parts for row in rows_of(part))
    return Table(caption=caption, header=(header[0], "Test set", *header[1:]), rows=rows)


def _figure_table(content: Content) -> Table:
    header = ("", *(NAMES[name] for name in SHOWN), "Seconds, median")
    table = _table(content, "Readers and models on the same cases", header, _figure_rows)
    return replace(table, notes=(f"Confidence: {content['scale']}.",) if content["scale"] else ())


def _figure_rows(part: Content) -> Iterable[Row]:
    for one in (*part["readers"], *part["models"]):
        time = one["time"]
        seconds = "" if time is None else f"{time['median_s']:g}"
        quartiles = "" if time is None else f"{time['lower_quartile_s']:g} to {time['upper_quartile_s']:g}"
        cells = [_cell(one["figures"][name]) for name in SHOWN]
        yield (_title(one), *cells, Cell(seconds, quartiles) if seconds else "")


def _pair_table(content: Content) -> Table:
    header = ("", "Cases", "Right", "Difference", "Exact McNemar", "AUC difference", "Its test")
    table = _table(content, "Pairs on the cases that both answered", header, _pair_rows)
    counts = ", ".join(str(part["n_tests"]) for part in _parts(content))
    note = (
        f"Tests of each test set: {counts}; every p is corrected (Holm) for those of its test set and question: "
        "readers beside networks, beside baselines, aided beside unaided."
    )
    return replace(table, notes=(note,))


def _pair_rows(part: Content) -> Iterable[Row]:
    for pair in (*part["against_models"], *part["aided"]):
        calls, areas = pair["calls"], pair["areas"]
        of_calls: Row = ("", "", "")
        if calls is not None:
            right = [calls["both"] + calls[f"only_{which}"] for which in ("one", "two")]
            difference = _cell(calls["difference"])
            of_calls = (f"{right[0]} and {right[1]}", difference, _p(calls["p"], pair["calls_p_holm"]))
        of_areas: Row = ("", "")
        if areas is not None:
            of_areas = (_cell(areas["difference"]), _p(areas["p"], pair["areas_p_holm"]))
        yield (f"{pair['first']}, {pair['second']}", str(pair["n_called"]), *of_calls, *of_areas)


def _mean_table(content: Content) -> Table:
    caption = "Several readers together (Obuchowski-Rockette, random readers and cases)"
    return _table(content, caption, ("", "Figure", "Cases", "Value", "p"), _mean_rows)


def _mean_rows(part: Content) -> Iterable[Row]:
    for m in part["means"]:
        if m["mean"]["value"] is not None:
            title = f"mean of {m['n_readers']} readers{', aided' if m['aided'] else ''}"
            yield (title, NAMES[m["figure"]], str(m["n_cases"]), _cell(m["mean"]), "")
    for m in (*part["mean_against_models"], *part["mean_aided"]):
        found = m["found"]
        title = f"{found['first']} less {found['second']}"
        p = _p(found["test"]["p"], m["p_holm"])
        yield (title, NAMES[m["figure"]], str(m["n_cases"]), _cell(found["difference"]), p)


def _agreement_table(content: Content) -> Table:
    header = ("", "The same call", "Kappa")
    return _table(content, "Agreement between readers", header, _agreement_rows)


def _agreement_rows(part: Content) -> Iterable[Row]:
    for name, arm in (("agreement", ""), ("agreement_aided", ", aided")):
        kappa = part[name]
        if kappa is None:
            continue
        for pair in kappa["pairs"]:
            title = f"{pair['first']} and {pair['second']}{arm}"
            yield (title, _cell(pair["agreement"]), _cell(pair["kappa"]))
        if len(kappa["readers"]) > 2:
            yield (f"{len(kappa['readers'])} readers{arm} (Fleiss)", "", _cell(kappa["fleiss"]))


def _draw(content: Content) -> Figure | None:
    """A panel for each test set with a reader or model that has both figures; no panel mixes test sets."""
    parts = list(content["groups"].values()) or [content]
    parts = [part for part in parts if any(_at(one) for one in (*part["readers"], *part["models"]))]
    if not parts:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * len(parts), 4.4), layout="constrained")
        for axes, part in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
            title = "Readers and models" if len(parts) == 1 else part["test_set"]
            axes.set_title(f"SYNTHETIC: {title}" if content["synthetic"] else title)
            _panel(axes, part, content["positive"])
    return figure


def _panel(axes: Axes, part: Content, positive: str) -> None:
    people = part["readers"]
    axes.plot([0, 1], [0, 1], color=GRID, lw=1)
    _points(axes, [one for one in people if not one["aided"]], ("o", "white", INK, "reader"))
    _points(axes, [one for one in people if one["aided"]], ("o", INK, INK, "reader, aided"))
    _points(axes, part["models"], ("D", COLORS[0], COLORS[0], "model"))
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.set_xlabel(f"1 - specificity (others called {positive})")
    axes.set_ylabel(f"Sensitivity ({positive} called {positive})")
    axes.legend(loc="lower right", fontsize=8)


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
        several=len(content["groups"]) > 1,
        synthetic=content["synthetic"],
    )


def _methods(content: Content) -> str:
    names = {one["name"] for one in content["readers"]}
    scale = f" Confidence was given from {content['scale']}." if content["scale"] else ""
    apart = (
        " Test sets stay apart; all cases together are shown besides." if len(content["groups"]) > 1 else ""
    )
    return (
        f"{counted_noun(len(names), 'reader')} called {counted_noun(content['n_cases'], 'case')} of "
        f"{content['n_patients']} patients.{scale}{apart} Readers' shares have exact (Clopper-Pearson) intervals, "
        "those of the models Wilson's, as everywhere on this page; where patients have several cases, both go by "
        "patient bootstrap. Readers and models were compared on the cases that both answered, by the exact McNemar "
        "test (no test where patients have several cases) and a paired test of the AUCs (DeLong; Obuchowski 1997 "
        "where patients have several cases); several readers together by the Obuchowski-Rockette method with Hillis' "
        "degrees of freedom, random readers and cases, covariances by jackknife over patients. p-values were "
        "corrected (Holm) within each test set and question: readers beside networks, beside baselines, aided "
        "beside unaided. LEAKY models were not tested."
    )


def _title(one: Content) -> str:
    return f"{one['name']}, aided" if one["aided"] else str(one["name"])


def _cell(estimate: Content) -> str | Cell:
    if estimate["value"] is None:
        return Cell("-", estimate["method"])
    limits = "" if estimate["low"] is None else f" ({estimate['low']:.2f} to {estimate['high']:.2f})"
    return Cell(
        f"{estimate['value']:.2f}{limits}", f"{estimate['n']} {estimate['unit']}s; {estimate['method']}"
    )


def _p(p: float | None, p_holm: float | None) -> str | Cell:
    if p is None or p_holm is None:
        return "-"
    return Cell(p_words(p), f"corrected {p_words(p_holm)}")

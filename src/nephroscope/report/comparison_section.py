"""comparison.json of a study in; the parts of the report page that it fills (table, figure, pairs, control), out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from nephroscope.experiments.comparison_file import load_comparison
from nephroscope.records import INTERNAL_TEST, Estimate
from nephroscope.report.comparison_control import (
    ComparisonPart,
    Content,
    control_part,
    p_cell,
    refused_notes,
    spread_cell,
)
from nephroscope.report.drawing import COLORS, GRID, INK, QUIET, STYLE, svg_of
from nephroscope.report.tables import NAMES, Cell, Letters, Table, group_name

SHOWN = ("auc", "auc_by_fold", "sensitivity", "specificity", "accuracy", "brier")
TITLES = NAMES | {"brier": "Brier score", "auc_by_fold": "AUC, mean of folds"}
KINDS = {"baseline": COLORS[0], "network": COLORS[1], "stack": COLORS[2]}


@dataclass(frozen=True, kw_only=True)
class ComparisonSection:
    """What the page shows of a comparison.

    Attributes:
        stale: What changed since, and what to run; nothing else is then filled.
        comparison: Ranked table, figure, pairs, repeats.
        control: With shuffled labels; None where it was left out.
        shortcuts: The probe, as `nephroscope.report.shortcuts` tells it.
        data: Content of comparison.json.
    """

    stale: str = ""
    comparison: ComparisonPart = field(default_factory=ComparisonPart)
    control: ComparisonPart | None = None
    shortcuts: Mapping[str, Any] = field(default_factory=dict)
    data: Content | None = None


def comparison_section(root: Path) -> ComparisonSection | None:
    """The comparison's part of a study's page; None where nothing was compared.

    Raises:
        StudyError: comparison.json is damaged or of a newer format.
    """
    found = load_comparison(root)
    if found is None:
        return None
    if found.stale:
        return ComparisonSection(stale=f"The comparison is out of date: {found.stale}.")
    content = found.content
    return ComparisonSection(
        comparison=_comparison(content),
        control=control_part(content) if content["control"] else None,
        shortcuts=content["shortcuts"],
        data=content,
    )


def forest_plot(content: Content) -> Figure:
    """AUC of every candidate with its interval, best on top; crosses where labels were shuffled."""
    rows = [row for row in content["candidates"] if row["auc"]["value"] is not None]
    shuffled = {row["name"]: row["auc"]["value"] for row in content["control"]}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 0.9 + 0.34 * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0.5, color=QUIET, lw=0.8, ls=(0, (4, 2)))
        for y, row in enumerate(rows):
            e, color = row["auc"], KINDS.get(row["kind"], INK)
            if e["low"] is not None:
                axes.plot([e["low"], e["high"]], [y, y], color=color, lw=1.6)
            axes.plot(e["value"], y, "s", color=color, ms=6)
            if shuffled.get(row["name"]) is not None:
                axes.plot(shuffled[row["name"]], y, "x", color=QUIET, ms=5)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="x", color=GRID, lw=0.6)
        axes.set(xlim=(0, 1.02), xlabel="AUC by case")
        mark = " · SYNTHETIC" if content["synthetic"] else ""
        axes.set_title(f"All candidates, {group_name(content['test_set'])}{mark}")
        for kind in dict.fromkeys(row["kind"] for row in rows):
            axes.plot([], [], "s", color=KINDS.get(kind, INK), label=kind)
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _comparison(content: Content) -> ComparisonPart:
    tables = {}
    first = (content["test_set"], INTERNAL_TEST)
    for name, group in sorted(content["groups"].items(), key=lambda pair: [pair[0] != one for one in first]):
        suffix = "" if name == content["test_set"] else f"-{name.replace(':', '-')}"
        tables[f"comparison{suffix}"] = _ranked(group, name)
        tables[f"pairs{suffix}"] = _pairs(group, name)
    tables |= {"repeats": _repeats(content), "not-compared": _left_out(content)}
    figure = forest_plot(content)
    folds = f"{content['folds']} folds by patient (splits.json)"
    told = [f"{row['name']}: {row['told']}." for row in content["candidates"]]
    method = (
        f"Every candidate was fitted and asked on the same {folds}. Baselines learn from the training and "
        "validation part; networks learn from the training part and stop by the validation part. Pairs are tested on "
        f"the same cases, corrected by Holm's method."
    )
    return ComparisonPart(
        words=tuple(content["words"][:1]),
        more=tuple(content["words"][1:]),
        tables={name: table for name, table in tables.items() if table.rows},
        folded=frozenset(tables) - {"comparison", "repeats", "not-compared"},
        figures={"comparison": figure},
        html=_html(content, figure),
        limitations=tuple(
            f"{row['name']} was not compared: {row['reason']}." for row in content["not_compared"]
        ),
        methods=(("Comparison", method), ("Candidates", "\n".join(told))),
    )


def _ranked(group: Content, name: str) -> Table:
    letters = Letters()
    shown = [figure for figure in SHOWN if any(figure in row for row in group["candidates"])]
    rows = [
        (
            row["name"],
            str(row["rank"] or "-"),
            row["kind"],
            *(letters.cell(Estimate(**row[figure])) if figure in row else "-" for figure in shown),
        )
        for row in group["candidates"]
    ]
    remarks = [f"{row['name']}: {text}" for row in group["candidates"] for text in row.get("remarks", ())]
    return Table(
        caption=f"All candidates on the same cases, {group_name(name)}",
        header=("Candidate", "Rank", "Kind", *(TITLES[figure] for figure in shown)),
        rows=tuple(rows),
        notes=(*letters.notes, *remarks),
    )


def _pairs(group: Content, name: str) -> Table:
    letters = Letters()
    tests = {pair["test"] for pair in group["pairwise"]}
    rows = []
    for pair in group["pairwise"]:
        calls = pair["accuracy"]
        rows.append(
            (
                f"{pair['one']}, {pair['two']}",
                letters.cell(Estimate(**pair["difference"])),
                Cell(p_cell(pair["p"]), pair["test"]) if len(tests) > 1 else p_cell(pair["p"]),
                p_cell(pair["p_holm"]),
                "yes" if pair["supported"] else "not shown",
                Cell(
                    p_cell(calls["p"]),
                    f"{calls['only_one_right']} and {calls['only_two_right']} only one right",
                ),
            )
        )
    header = (
        "Pair",
        "Difference of AUC",
        "p",
        "p, corrected",
        "Do the data show that the first is better?",
        "Exact McNemar on calls, p",
    )
    told = f"p: {tests.pop()}, on {group['n_patients']} patients. " if len(tests) == 1 else ""
    notes = (f"{told}Corrected by Holm's method for {len(rows)} pairs.", *letters.notes)
    return Table(caption=f"Pairs, {group_name(name)}", header=header, rows=tuple(rows), notes=notes)


def _repeats(content: Content) -> Table:
    letters = Letters()
    rows = [
        (
            row["name"],
            letters.cell(Estimate(**row["auc"])),
            str(row["repeats"]),
            spread_cell(row, "sd_over_splits"),
            str(row["seeds"]),
            spread_cell(row, "sd_over_seeds"),
            str(len(row["refused"])),
        )
        for row in content["repeated"]
    ]
    header = ("Candidate", "Mean AUC", "Divisions", "SD over divisions", "Seeds", "SD over seeds", "Refused")
    return Table(
        caption="Divided again: what is chance of the folds",
        header=header,
        rows=tuple(rows),
        notes=(*letters.notes, *refused_notes(content["repeated"])),
    )


def _left_out(content: Content) -> Table:
    rows = [(row["name"], row["reason"]) for row in (*content["not_compared"], *content["leaky"])]
    return Table(caption="Not ranked, and why", header=("Name", "Reason"), rows=tuple(rows))


def _html(content: Content, figure: Figure) -> str:
    environment = Environment(
        loader=PackageLoader("nephroscope.report", "."), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("comparison.html.j2").render(
        figure=svg_of(figure, "comparison"),
        n_cases=content["n_cases"],
        n_patients=content["n_patients"],
        shuffled=bool(content["control"]),
        synthetic=content["synthetic"],
    )

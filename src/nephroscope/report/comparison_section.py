"""comparison.json of a study in; the parts of the report page that it fills (table, figure, pairs, control), out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from nephroscope.questions.compare.comparison_file import load_comparison
from nephroscope.records import INTERNAL_TEST, Estimate, counted_noun, p_words
from nephroscope.report.drawing import COLORS, GRID, INK, QUIET, STYLE, svg_of
from nephroscope.report.tables import NAMES, Cell, Letters, Table, group_name

Content = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ComparisonPart:
    """One section of the page: words, tables and figures by name, and the figure ready to stand on it.

    ``more`` are words, and ``folded`` names of tables, that the page folds away.
    """

    words: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    folded: frozenset[str] = frozenset()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    html: str = ""
    limitations: tuple[str, ...] = ()
    methods: tuple[tuple[str, str], ...] = ()


def control_part(content: Content) -> ComparisonPart:
    """The same candidates with labels shuffled between patients."""
    letters = Letters()
    rows = [
        (
            row["name"],
            str(row["permutations"]),
            str(len(row["refused"])),
            letters.cell(Estimate(**row["auc"])),
            _counted(row.get("auc_by_fold"), row.get("auc_by_fold_n"), "permutation"),
            "-"
            if row["lowest"] is None
            else Cell(f"{row['lowest']:.2f} to {row['highest']:.2f}", _n(row["permutations"], "permutation")),
            _counted(row["observed"], content["n_cases"], "case"),
            _permutation_p(row),
        )
        for row in content["control"]
    ]
    header = (
        *("Candidate", "Permutations", "Refused", "Mean AUC, labels shuffled", "Same, mean of folds"),
        *("Range", "AUC, true labels", "Permutation p"),
    )
    notes = (*letters.notes, *refused_notes(content["control"]))
    table = Table(
        caption="With labels shuffled between patients", header=header, rows=tuple(rows), notes=notes
    )
    said = tuple(row["words"] for row in content["control"])
    method = (
        "Labels were permuted between patients, folds were dealt by the same rules, and every baseline was fitted "
        "and asked as with the true labels. Alarm: a mean AUC of 0.60 or more, or above 0.5 by a one-sided t test "
        "over permutations at 0.05, shared by all candidates (Bonferroni). Pooled over few folds, an AUC with "
        "nothing to learn lies somewhat below 0.5, so that small leaks can hide; the mean of folds lies at 0.5."
    )
    warnings = tuple(text for text in said if text.startswith("WARNING"))
    return ComparisonPart(
        words=(*warnings, *_no_alarm(content["control"])),
        more=tuple(text for text in said if text not in warnings),
        tables={"control": table},
        limitations=warnings,
        methods=(("Shuffled labels", method),),
    )


def _no_alarm(rows: Sequence[Content]) -> tuple[str, ...]:
    """How many candidates gave no alarm, and how much the control would have missed."""
    quiet = [row["noticed_above"] for row in rows if row["alarm"] is False]
    if not quiet:
        return ()
    return (
        f"No alarm for {len(quiet)} of {counted_noun(len(rows), 'candidate')}. That is no proof: with these "
        f"permutations a mean AUC of up to {max(quiet):.2f} would have gone unnoticed.",
    )


def _permutation_p(row: Content) -> str | Cell:
    if row["p"] is None or row["p"] != row.get("p_floor"):
        return p_cell(row["p"])
    return Cell(f"<= {p_words(row['p'])}", f"the least that {row['permutations']} permutations can give")


def refused_notes(rows: Sequence[Content]) -> list[str]:
    """Fits that were refused, with the reason."""
    return [f"{row['name']}, refused: {why}" for row in rows for why in dict.fromkeys(row["refused"])]


def p_cell(p: float | None) -> str:
    """A p-value, or a dash."""
    return "-" if p is None else p_words(p)


def spread_cell(row: Content, name: str) -> str | Cell:
    """A standard deviation over repeats: no interval, as these are too few; their number beside it."""
    return _counted(row[name], row.get(f"{name}_n"), row.get(f"{name}_unit", "repeat"))


def _counted(value: float | None, n: int | None, unit: str) -> str | Cell:
    """A number that has no interval, with what it was counted on."""
    if value is None:
        return "-"
    return f"{value:.3f}" if n is None else Cell(f"{value:.3f}", _n(n, unit))


def _n(n: int, unit: str) -> str:
    return f"n = {counted_noun(n, unit)}"


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

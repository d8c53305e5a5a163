"""Section Comparison: the run next to baselines and other runs on the same folds."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from nephroscope.questions.compare.document import Comparison
from nephroscope.records import INTERNAL_TEST, Estimate, counted_noun, p_words
from nephroscope.report.page.drawing import COLORS, GRID, INK, QUIET, STYLE
from nephroscope.report.page.names import NAMES, group_name
from nephroscope.report.page.section import (
    Block,
    Evidence,
    Filled,
    Fold,
    Section,
    ShownFigure,
    ShownTable,
    Text,
)
from nephroscope.report.page.table import Cell, Column, Table, build_table
from nephroscope.report.study.appraisal import RunSource

Content = Mapping[str, Any]
SHOWN = ("auc", "auc_by_fold", "sensitivity", "specificity", "accuracy", "brier")
TITLES = NAMES | {"brier": "Brier score", "auc_by_fold": "AUC, mean of folds"}
KINDS = {"baseline": COLORS[0], "network": COLORS[1], "stack": COLORS[2]}
OPEN = ("comparison", "repeats", "not-compared")  # the other tables are folded away
WHERE = "#comparison; tables/comparison.csv"


def _fill(source: RunSource) -> Filled | None:
    return None if source.comparison is None else filled_comparison(source.comparison, source.report.run)


COMPARISON = Section(
    id="comparison",
    title="Comparison",
    navigation="Comparison",
    fill=_fill,
    hint=(
        "This run was not yet compared with baselines (attenuation, age, sex, size, radiomics, frozen features). "
        "Without them it is not known whether a network was needed at all: run `nephroscope compare {study}`, then "
        "`nephroscope report {study}`."
    ),
)


def filled_comparison(found: Comparison, run: str) -> Filled:
    """Sentences, figure and tables of a comparison; a sentence alone when it is out of date."""
    if found.stale:
        return Filled(blocks=[Text(f"The comparison is out of date: {found.stale}.", "empty")])
    content = found.content
    words = content["words"]
    tables = {name: table for name, table in comparison_tables(content).items() if table.rows}
    blocks: list[Block] = [
        *(Text(text, "lead") for text in words[:1]),
        *more_sentences(words[1:]),
        ShownFigure(name="comparison", caption=_caption(content), draw=lambda: forest_plot(content)),
        *(
            ShownTable(name=n, table=t, shown="open" if n in OPEN else "folded", small=True)
            for n, t in tables.items()
        ),
    ]
    return Filled(
        blocks=blocks,
        limitations=(
            *(f"{row['name']} was not compared: {row['reason']}." for row in content["not_compared"]),
            *better_baselines(content, run),
        ),
        methods=_methods(content),
        evidence=_evidence(content),
        headline=headline(content, run),
        data=content,
    )


def more_sentences(sentences: list[str] | tuple[str, ...]) -> list[Block]:
    """Sentences that are folded away; nothing where there are none."""
    if not sentences:
        return []
    return [Fold(counted_noun(len(sentences), "more sentence"), [Text(text, "lead") for text in sentences])]


def headline(compared: Content, run: str) -> str:
    """The rank of the page's run among all candidates; empty where it is none of them."""
    rows = [row for row in compared["candidates"] if row["auc"]["value"] is not None]
    own = next((row for row in rows if row["name"] == run), None)
    others = sorted((row for row in rows if row["name"] != run), key=lambda row: -row["auc"]["value"])
    if own is None or not others:
        return ""
    best, e = others[0], Estimate(**others[0]["auc"])
    interval = "" if e.low is None else f"{e.low:.2f} to {e.high:.2f}, "
    return (
        f"Compared with {counted_noun(len(others), 'other candidate')} on the same folds, it ranks number "
        f"{own['rank']} by AUC; {best['name']} ({best['kind']}) reaches {e.value:.2f} "
        f"({interval}{counted_noun(e.n, e.unit)})."
    )


def better_baselines(compared: Content, run: str) -> tuple[str, ...]:
    """A limitation for each baseline that the data show to be better than the run."""
    kinds = {row["name"]: row["kind"] for row in compared["candidates"]}
    pairs = compared["groups"][compared["test_set"]]["pairwise"]
    return tuple(
        f"{pair['one']}, a baseline, is better than this network: difference of AUC "
        f"{Estimate(**pair['difference'])}."
        for pair in pairs
        if pair["supported"] and pair["two"] == run and kinds.get(pair["one"]) == "baseline"
    )


def _evidence(content: Content) -> dict[str, Evidence]:
    names = [row["name"] for row in content["candidates"]]
    evidence = {"comparison": Evidence(text=f"{len(names)} candidates on the same folds", where=WHERE)}
    for key, wanted in (("clinical", {"clinical"}), ("simple", {"attenuation", "clinical"})):
        there = [name for name in names if name in wanted]
        if there:
            text = f"{', '.join(there)} on the same folds, paired tests"
            evidence[key] = Evidence(text=text, where=WHERE)
    if any("radiomics" in name for name in names):
        text = "features by IBSI, chosen inside the folds, as a candidate"
        evidence["radiomics"] = Evidence(text=text, where="#comparison; #methods")
    if content["repeated"]:
        text = "patients divided again, and fitted with other seeds"
        evidence["repeats"] = Evidence(text=text, where="#comparison; tables/repeats.csv")
    return evidence


def _methods(content: Content) -> tuple[tuple[str, str], ...]:
    method = (
        f"Every candidate was fitted and tested on the same {content['folds']} folds by patient (splits.json). "
        "Baselines learn from the training and validation part; networks learn from the training part and stop by "
        "the validation part. Pairs are tested on the same cases, with p corrected by Holm's method."
    )
    candidates = "\n".join(f"{row['name']}: {row['told']}." for row in content["candidates"])
    return ("Comparison", method), ("Candidates", candidates)


def _caption(content: Content) -> str:
    shuffled = " Crosses: mean AUC with shuffled labels." if content["control"] else ""
    return (
        f"AUC by case of every candidate on the same folds, with interval: {content['n_cases']} cases of "
        f"{content['n_patients']} patients. Dashed: chance.{shuffled}"
    )


def comparison_tables(content: Content) -> dict[str, Table]:
    """Ranks and pairs of each test set, the first one first; repeats; what was not ranked."""
    tables = {}
    first = (content["test_set"], INTERNAL_TEST)
    for name, group in sorted(content["groups"].items(), key=lambda pair: [pair[0] != one for one in first]):
        suffix = "" if name == content["test_set"] else f"-{name.replace(':', '-')}"
        tables[f"comparison{suffix}"] = _ranked(group, name)
        tables[f"pairs{suffix}"] = _pairs(group, name)
    return tables | {"repeats": _repeats(content), "not-compared": _not_ranked(content)}


def _ranked(group: Content, name: str) -> Table:
    def figure(name: str) -> Column[Content]:
        return Column(TITLES[name], lambda row: Estimate(**row[name]) if name in row else "-")

    rows = group["candidates"]
    shown = [figure(name) for name in SHOWN if any(name in row for row in rows)]
    columns: list[Column[Content]] = [
        Column("Candidate", lambda row: row["name"]),
        Column("Rank", lambda row: row["rank"] or "-"),
        Column("Kind", lambda row: row["kind"]),
        *shown,
    ]
    remarks = [f"{row['name']}: {text}" for row in rows for text in row.get("remarks", ())]
    return build_table(f"All candidates on the same cases, {group_name(name)}", columns, rows, remarks)


def _pairs(group: Content, name: str) -> Table:
    pairs = group["pairwise"]
    tests = {pair["test"] for pair in pairs}
    several = len(tests) > 1
    columns: list[Column[Content]] = [
        Column("Pair", lambda pair: f"{pair['one']}, {pair['two']}"),
        Column("Difference of AUC", lambda pair: Estimate(**pair["difference"])),
        Column("p", lambda pair: Cell(p_cell(pair["p"]), pair["test"]) if several else p_cell(pair["p"])),
        Column("p, corrected", lambda pair: p_cell(pair["p_holm"])),
        Column(
            "Do the data show that the first is better?",
            lambda pair: "yes" if pair["supported"] else "not shown",
        ),
        Column("Exact McNemar on calls, p", _calls),
    ]
    test = f"p: {next(iter(tests))}, on {group['n_patients']} patients. " if len(tests) == 1 else ""
    notes = [f"{test}Corrected by Holm's method for {len(pairs)} pairs."]
    return build_table(f"Pairs, {group_name(name)}", columns, pairs, notes)


def _calls(pair: Content) -> Cell:
    calls = pair["accuracy"]
    one, two = calls["only_one_right"], calls["only_two_right"]
    return Cell(p_cell(calls["p"]), f"only the first correct in {one}, only the second in {two}")


def _repeats(content: Content) -> Table:
    rows = content["repeated"]
    columns: list[Column[Content]] = [
        Column("Candidate", lambda row: row["name"]),
        Column("Mean AUC", lambda row: Estimate(**row["auc"])),
        Column("Divisions", lambda row: row["repeats"]),
        Column("SD over divisions", lambda row: spread_cell(row, "sd_over_splits")),
        Column("Seeds", lambda row: row["seeds"]),
        Column("SD over seeds", lambda row: spread_cell(row, "sd_over_seeds")),
        Column("Refused", lambda row: len(row["refused"])),
    ]
    caption = "Patients divided again: how much depends on the chance of the folds"
    return build_table(caption, columns, rows, refused_notes(rows))


def _not_ranked(content: Content) -> Table:
    columns: list[Column[Content]] = [
        Column("Name", lambda row: row["name"]),
        Column("Reason", lambda row: row["reason"]),
    ]
    return build_table("Not ranked, and why", columns, (*content["not_compared"], *content["leaky"]))


def refused_notes(rows: list[Content]) -> list[str]:
    """Fits that were refused, with the reason."""
    return [f"{row['name']}, refused: {why}" for row in rows for why in dict.fromkeys(row["refused"])]


def p_cell(p: float | None) -> str:
    """A p-value, or a dash."""
    return "-" if p is None else p_words(p)


def spread_cell(row: Content, name: str) -> str | Cell:
    """A standard deviation over repeats with their number; too few for an interval."""
    return counted_value(row[name], row.get(f"{name}_n"), row.get(f"{name}_unit", "repeat"))


def counted_value(value: float | None, n: int | None, unit: str) -> str | Cell:
    """A number without an interval, and what it was counted on."""
    if value is None:
        return "-"
    return f"{value:.3f}" if n is None else Cell(f"{value:.3f}", f"n = {counted_noun(n, unit)}")


def forest_plot(content: Content) -> Figure:
    """AUC of every candidate with its interval, the best at the top; crosses: with shuffled labels."""
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

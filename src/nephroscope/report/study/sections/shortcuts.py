"""Section Shortcuts: how well facts other than the tumor predict the subtype, and whether the network follows them.

Every report has it, as the probe needs no training. A comparison that holds this run has it too, with more facts:
those that take reading every CT.
"""

from collections.abc import Mapping
from typing import Any

from nephroscope.records import Estimate, counted_noun
from nephroscope.report.page.section import Evidence, Filled, Section, ShownTable, Text
from nephroscope.report.page.table import Cell, Column, Letters, Table, build_table
from nephroscope.report.study.appraisal import RunSource

Probe = Mapping[str, Any]


def _fill(source: RunSource) -> Filled | None:
    run, found = source.report.run, source.content.shortcuts
    compared = source.comparison
    if compared is not None and not compared.stale:
        follows = compared.content["shortcuts"].get("follows", ())
        if any(gap["name"] == run for gap in follows):
            found = compared.content["shortcuts"]
    if not found and source.content.split.leaky:
        needs = "The shortcut probe needs folds by patient, and this split is LEAKY."
        return Filled(blocks=[Text(needs, "empty")])
    return filled_shortcuts(found, run) if found else None


SHORTCUTS = Section(
    id="shortcuts",
    title="Shortcuts",
    navigation="Shortcuts",
    fill=_fill,
    hint="It was not examined whether facts other than the tumor (vendor, sex, site) predict the subtype.",
)


def filled_shortcuts(found: Probe, run: str) -> Filled:
    """Table and sentences; a fact that predicts the subtype is also a limitation of the page."""
    sentences = shortcut_sentences(found)
    known = [row["name"] for row in found["facts"] if row["auc"]["value"] is not None]
    methods: tuple[tuple[str, str], ...] = ()
    evidence: dict[str, Evidence] = {}
    if known:
        method = (
            f"Facts other than the tumor ({', '.join(known)}) were each used alone to predict the subtype, on the "
            "same folds; within a subtype the network's probability was compared between both sides of each fact."
        )
        methods = (("Shortcuts", method),)
        text = f"{counted_noun(len(known), 'fact')} other than the tumor, as predictors of the subtype"
        evidence = {"shortcuts": Evidence(text=text, where="#shortcuts; tables/shortcuts.csv")}
    return Filled(
        blocks=[
            *(Text(text, "lead") for text in sentences),
            ShownTable(name="shortcuts", table=shortcut_table(found, run), small=True),
        ],
        limitations=tuple(text for text in sentences if " AUC " in text),
        methods=methods,
        evidence=evidence,
        data=found,
    )


def shortcut_sentences(found: Probe) -> tuple[str, ...]:
    """The sentences of the probe; with one network they are about this network."""
    sentences = tuple(found["words"])
    if len({gap["name"] for gap in found.get("follows", ())}) == 1:
        return tuple(text.replace("No candidate is seen", "This network is not seen") for text in sentences)
    return sentences


def shortcut_table(found: Probe, run: str) -> Table:
    """Each fact as a predictor, and how the run's network follows it within a subtype."""
    gaps = {gap["fact"]: gap for gap in found["follows"] if gap["name"] == run}
    notes = ["Values: over all cases with a label, held-out ones included."]
    if any((row["auc"]["value"] or 0.5) < 0.5 for row in found["facts"]):
        notes.append(
            "An AUC below 0.5: what the fact predicted in the other folds was wrong in the fold tested."
        )
    columns: list[Column[Probe]] = [
        Column("Fact", lambda row: row["name"]),
        Column("Values", lambda row: ", ".join(row["levels"][:4] + ["…"] * (len(row["levels"]) > 4))),
        Column("AUC of the fact alone", lambda row: Estimate(**row["auc"])),
        Column(
            "Difference in the network's probability, within a subtype",
            lambda row: gaps.get(row["name"]),
            _gap_cell,
        ),
    ]
    return build_table("What predicts the subtype without the tumor", columns, found["facts"], notes)


def _gap_cell(gap: Probe | None, letters: Letters) -> str | Cell:
    if gap is None:
        return ""
    cell = letters.cell(Estimate(**gap["gap"]))
    sides = f"{gap['one']} against {gap['other']}"
    return cell if isinstance(cell, str) else Cell(cell.text, f"{sides} · {cell.small}")

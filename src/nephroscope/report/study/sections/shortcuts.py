"""Section Shortcuts: how well facts other than the tumor predict the subtype, and whether the network follows them.

Every report has it, as the probe needs no training. A comparison that holds this run has it too, with more facts:
those that take reading every CT.
"""

from nephroscope.base.documents import plain_json
from nephroscope.questions.compare.results import FactGap, FactRow, Shortcuts
from nephroscope.records import counted_noun
from nephroscope.report.page.section import Evidence, Filled, Section, ShownTable, Text
from nephroscope.report.page.table import Cell, Column, Letters, Table, build_table
from nephroscope.report.study.appraisal import RunSource


def _fill(source: RunSource) -> Filled | None:
    run, found = source.report.run, source.content.shortcuts
    compared = source.comparison
    if compared is not None and not compared.stale:
        of_run = [gap for gap in compared.found.shortcuts.follows if gap.name == run]
        found = compared.found.shortcuts if of_run else found
    if found is None and source.content.split.leaky:
        needs = "The shortcut probe needs folds by patient, and this split is LEAKY."
        return Filled(blocks=[Text(needs, "empty")])
    return None if found is None else filled_shortcuts(found, run)


SHORTCUTS = Section(
    id="shortcuts",
    title="Shortcuts",
    navigation="Shortcuts",
    fill=_fill,
    hint="It was not examined whether facts other than the tumor (vendor, sex, site) predict the subtype.",
)


def filled_shortcuts(found: Shortcuts, run: str) -> Filled:
    """Table and sentences; a fact that predicts the subtype is also a limitation of the page."""
    sentences = shortcut_sentences(found)
    known = [row.name for row in found.facts if row.auc.value is not None]
    methods: tuple[tuple[str, str], ...] = ()
    evidence: dict[str, Evidence] = {}
    if known:
        method = (
            f"Facts other than the tumor ({', '.join(known)}) were each used alone to predict the subtype, on the "
            "same folds; within a subtype, the network's probability was compared between cases on "
            "either side of each fact."
        )
        methods = (("Shortcuts", method),)
        text = f"{counted_noun(len(known), 'fact')} other than the tumor, as predictors of the subtype"
        evidence = {"shortcuts": Evidence(text, "#shortcuts; tables/shortcuts.csv")}
    return Filled(
        blocks=[
            *(Text(text, "lead") for text in sentences),
            ShownTable("shortcuts", shortcut_table(found, run), small=True),
        ],
        limitations=tuple(text for text in sentences if " AUC " in text),
        methods=methods,
        evidence=evidence,
        data=plain_json(found),
    )


def shortcut_sentences(found: Shortcuts) -> tuple[str, ...]:
    """The sentences of the probe; with one network they are about this network."""
    if len({gap.name for gap in found.follows}) == 1:
        return tuple(
            text.replace("No candidate is shown", "This network is not shown") for text in found.words
        )
    return found.words


def shortcut_table(found: Shortcuts, run: str) -> Table:
    """Each fact as a predictor, and how the run's network follows it within a subtype."""
    gaps = {gap.fact: gap for gap in found.follows if gap.name == run}
    notes = ["The values are those of all cases with a label, including held-out cases."]
    if any((row.auc.value or 0.5) < 0.5 for row in found.facts):
        notes.append(
            "An AUC below 0.5 means that the relation found in the other folds was reversed in the fold "
            "tested."
        )
    columns: list[Column[FactRow]] = [
        Column("Fact", lambda row: row.name),
        Column("Values", lambda row: ", ".join([*row.levels[:4], *["…"] * (len(row.levels) > 4)])),
        Column("AUC of the fact alone", lambda row: row.auc),
        Column(
            "Difference in the network's probability, within a subtype",
            lambda row: gaps.get(row.name),
            _gap_cell,
        ),
    ]
    return build_table("How well facts other than the tumor predict the subtype", columns, found.facts, notes)


def _gap_cell(gap: FactGap | None, letters: Letters) -> str | Cell:
    if gap is None:
        return ""
    cell = letters.cell(gap.gap)
    sides = f"{gap.one} against {gap.other}"
    return cell if isinstance(cell, str) else Cell(cell.text, f"{sides} · {cell.small}")

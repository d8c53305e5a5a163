"""Section Cases: a card of every case worth a look, with its slices, and a table of all cases."""

from nephroscope.records import Answer
from nephroscope.report.page.names import group_name
from nephroscope.report.page.section import Block, Filled, Fold, Fragment, Heading, Section, ShownTable, Text
from nephroscope.report.page.table import Column, Table, build_table
from nephroscope.report.study.appraisal import RunSource
from nephroscope.report.study.case_cards import case_sections, verdict_of
from nephroscope.report.study.content import ReportContent
from nephroscope.report.study.saliency import saliency_limitations, saliency_methods


def _fill(source: RunSource) -> Filled:
    content, report = source.content, source.report
    shown = report.positive if len(report.subtypes) == 2 else "the true subtype"
    how = (
        f"Up to three evenly spaced slices as the network sees them (level {content.spec.window_level_hu:g}, width "
        f"{content.spec.window_width_hu:g} HU). The number on a slice is the probability of {shown} on that slice "
        "alone."
    )
    blocks: list[Block] = [Text(how, "notes")]
    if content.saliency is not None:
        blocks += [Text(text, "notes") for text in (content.saliency.text, content.saliency.check) if text]
    for section in case_sections(content):
        blocks.append(Heading(f"{section.heading} ({section.n})"))
        if len(section.cards) < section.n:
            shown = f"{len(section.cards)} of {section.n} are shown"
            text = f"{shown}; all are rows of the table below and of tables/cases.csv."
            blocks.append(Text(text, "notes"))
        blocks.append(Fragment("study/cards.html.j2", section.cards))
    every = ShownTable("cases", case_table(content), small=True)
    blocks.append(Fold(f"All {len(report.predictions)} cases", [every], small="(also in tables/cases.csv)"))
    return Filled(blocks=blocks, limitations=saliency_limitations(content), methods=saliency_methods(content))


CASES = Section(id="cases", title="Cases", navigation="Cases", fill=_fill)


def case_table(content: ReportContent) -> Table:
    """Every case, one row each, in the order of cohort.csv."""
    report = content.main.report
    order = {case.case_id: i for i, case in enumerate(content.cohort.cases)}

    def probability(subtype: str) -> Column[Answer]:
        return Column(f"p {subtype}", lambda p: f"{p.probabilities[subtype]:.3f}")

    columns: list[Column[Answer]] = [
        Column("Case", lambda p: p.case_id),
        Column("Test set", lambda p: group_name(p.group)),
        Column("Truth", lambda p: p.truth),
        Column("Call", lambda p: p.call or "not sure"),
        Column("Forced call", lambda p: p.forced_call),
        *map(probability, report.subtypes),
        Column("Slices", lambda p: len(p.slices)),
        Column("Verdict", verdict_of),
    ]
    predictions = sorted(report.predictions, key=lambda p: order.get(p.case_id, len(order)))
    return build_table("Every case", columns, predictions)

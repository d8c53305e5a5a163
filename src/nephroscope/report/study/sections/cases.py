"""Section Cases: a card of every case worth a look, with its slices, and a table of all cases."""

from nephroscope.records import Answer, counted_noun
from nephroscope.report.page.names import group_name
from nephroscope.report.page.section import Block, Filled, Fold, Fragment, Heading, Section, ShownTable, Text
from nephroscope.report.page.table import Column, Table, build_table
from nephroscope.report.study.appraisal import RunSource
from nephroscope.report.study.case_cards import case_sections, verdict_of, worst_cards
from nephroscope.report.study.content import ReportContent
from nephroscope.report.study.saliency import saliency_limitations, saliency_methods

NOT_SHOWN = "Saliency maps are not shown, because they did not pass their check."


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
        made = NOT_SHOWN if content.saliency.failed else content.saliency.text
        blocks += [Text(text, "notes") for text in (made, content.saliency.check) if text]
    sections = case_sections(content)
    worst = worst_cards(sections)
    for section in sections:
        blocks.append(Heading(f"{section.heading} ({section.n})", marked=False))
        if len(section.cards) < section.n:
            shown = f"{len(section.cards)} of {section.n} are shown"
            text = f"{shown}; all are rows of the table below and of tables/cases.csv."
            blocks.append(Text(text, "notes"))
        cards = [card for card in section.cards if card not in worst]
        if len(cards) < len(section.cards):
            n = len(section.cards) - len(cards)
            blocks.append(Text(f"At the top of the page: {n} of these.", "notes"))
        blocks.append(Fragment("study/cards.html.j2", cards))
    every = ShownTable("cases", case_table(content), small=True)
    blocks.append(Fold(f"All {len(report.predictions)} cases", [every], small="(also in tables/cases.csv)"))
    top: list[Block] = [Heading(f"The {counted_noun(len(worst), 'case')} that went worst", marked=False)]
    top += [Fragment("study/outlines.html.j2", None)] if content.full_slices else []
    top.append(Fragment("study/cards.html.j2", worst))
    return Filled(
        blocks=blocks,
        top=top if worst else (),
        limitations=saliency_limitations(content),
        methods=saliency_methods(content),
    )


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
        Column("Phase", lambda p: content.used_of(p.case_id).phase),
        Column("ROI by", lambda p: content.used_of(p.case_id).roi),
        Column("Verdict", verdict_of),
    ]
    predictions = sorted(report.predictions, key=lambda p: order.get(p.case_id, len(order)))
    return build_table("Every case", columns, predictions)

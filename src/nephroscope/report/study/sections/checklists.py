"""Section Reporting checklists: every item answered from the page, or left to the authors."""

from nephroscope.report.checklists.checklist import (
    LEAD,
    AnsweredItem,
    Checklist,
    answer,
    answer_table,
    counts_text,
)
from nephroscope.report.checklists.claim2024 import CLAIM
from nephroscope.report.checklists.metrics2024 import METRICS
from nephroscope.report.checklists.tripod_ai import TRIPOD
from nephroscope.report.page.section import Block, Filled, Fold, Section, ShownTable, Text
from nephroscope.report.study.appraisal import RunSource
from nephroscope.report.study.evidence import evidence_of

LISTS = (CLAIM, TRIPOD, METRICS)
Answers = dict[str, tuple[AnsweredItem, ...]]  # by the key of the list


def _fill(source: RunSource) -> Filled:
    n_limits = len(source.above[-1].limitations)
    evidence = evidence_of(source, n_limits)
    answers: Answers = {one.key: answer(one, evidence) for one in LISTS}
    lead = f"{LEAD} Also in checklists/, as Markdown and CSV; model-card.md holds the model card."
    folds = [_folded(one, answers[one.key]) for one in LISTS]
    return Filled(blocks=[Text(lead, "notes"), *folds], data=answers)


CHECKLISTS = Section(id="checklists", title="Reporting checklists", navigation="Checklists", fill=_fill)


def _folded(checklist: Checklist, answers: tuple[AnsweredItem, ...]) -> Block:
    table = ShownTable("", answer_table(checklist, answers), small=True)
    source = Text(f"{checklist.source}. {checklist.note}".strip(), "notes")
    return Fold(checklist.name, [source, table], small=f"{counts_text(answers)}, of {len(answers)}")

"""Evidence in; every checklist answered, and as Markdown and CSV beside the page, out."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from nephroscope.base.files import replacing, save_text
from nephroscope.report.checklists.claim import CLAIM
from nephroscope.report.checklists.items import AnsweredItem, Checklist, answer, counts
from nephroscope.report.checklists.metrics import METRICS
from nephroscope.report.checklists.statements import Evidence
from nephroscope.report.checklists.tripod import TRIPOD

CHECKLISTS = (CLAIM, TRIPOD, METRICS)
LEAD = (
    "Answered from the study folder. The words of the items are ours: read the list itself before a paper is sent. "
    "“In part” and “for the authors” are yours to complete."
)


def answer_all(evidence: Mapping[str, Evidence]) -> dict[str, tuple[AnsweredItem, ...]]:
    """Answers to every list, by its key."""
    return {checklist.key: answer(checklist, evidence) for checklist in CHECKLISTS}


def save_checklists(
    folder: Path, answers: Mapping[str, Sequence[AnsweredItem]], marks: Sequence[str]
) -> None:
    """Write KEY.md and KEY.csv of each list; ``marks`` (SYNTHETIC, LEAKY) stand in both."""
    for checklist in CHECKLISTS:
        save_text(folder / f"{checklist.key}.md", as_markdown(checklist, answers[checklist.key], marks))
        with (
            replacing(folder / f"{checklist.key}.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            rows = [[*asdict(a).values(), " ".join(marks)] for a in answers[checklist.key]]
            csv.writer(file).writerows([[*(f.name for f in fields(AnsweredItem)), "mark"], *rows])


def as_markdown(checklist: Checklist, answers: Sequence[AnsweredItem], marks: Sequence[str]) -> str:
    """One list as a table for people."""
    told = ", ".join(f"{n} {state}" for state, n in counts(answers).items() if n)
    lines = [
        f"# {' · '.join([checklist.name, *marks])}",
        "",
        f"{checklist.source}.",
        "",
        f"{LEAD} {len(answers)} items: {told}.",
        *(["", checklist.note] if checklist.note else []),
        "",
        "| item | asks for | state | evidence | where | for the authors |",
        "|---|---|---|---|---|---|",
    ]
    for a in answers:
        cells = (a.number, a.topic, a.state, a.evidence, a.where, a.authors)
        lines.append("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    return "\n".join([*lines, ""])

"""A reporting checklist: its items, how evidence answers them, and the answers as Markdown and CSV."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from nephroscope.base.files import save_text
from nephroscope.base.tables import save_table
from nephroscope.report.page.section import Evidence
from nephroscope.report.page.table import Cell, Column, Table, build_table

State = Literal["answered", "in part", "for the authors", "not applicable"]
LEAD = (
    "Answered from the study folder. The wording of the items is ours: read the original checklist "
    "before you submit a paper. The items “in part” and “for the authors” are for you to complete."
)


@dataclass(frozen=True, slots=True)
class Item:
    """An item: its number, what it asks for in our words, the evidence that answers it, and a hint without any.

    ``evidence`` names one statement, several joined by ``+``, or none (empty). With a name that ends in ``?`` the
    item is not applicable where there is no such evidence; with one that begins with ``?`` too, and the evidence
    answers nothing. ``left`` is what no evidence here can answer: such an item is at most answered in part.
    """

    number: str
    topic: str
    evidence: str = ""
    hint: str = ""
    left: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checklist:
    """A published list: its sections, each with its items."""

    key: str
    name: str
    source: str
    sections: Mapping[str, tuple[Item, ...]]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredItem:
    """An item answered; ``authors`` says what is left to write."""

    number: str
    section: str
    topic: str
    state: State
    evidence: str
    where: str
    authors: str


def answer(checklist: Checklist, evidence: Mapping[str, Evidence]) -> tuple[AnsweredItem, ...]:
    """Every item of the list, in its order."""
    return tuple(
        _answer(section, item, evidence) for section, items in checklist.sections.items() for item in items
    )


def counts(answers: Sequence[AnsweredItem]) -> dict[str, int]:
    """How many items have each state."""
    found = Counter(a.state for a in answers)
    states: tuple[State, ...] = ("answered", "in part", "for the authors", "not applicable")
    return {state: found[state] for state in states}


def _answer(section: str, item: Item, evidence: Mapping[str, Evidence]) -> AnsweredItem:
    asked = [] if item.evidence.startswith("?") else item.evidence.split("+")
    names = [name.rstrip("?") for name in asked if name]
    found = [evidence[name] for name in names if name in evidence]
    missing = not names or len(found) < len(names)
    open_points = (item.hint if missing else "", *(e.rest for e in found), item.left)
    rest = "; ".join(filter(None, dict.fromkeys(open_points)))
    state: State = "in part" if rest or missing else "answered"
    if "?" in item.evidence and item.evidence.strip("?") not in evidence:
        state, rest = "not applicable", ""
    elif not found:
        state = "for the authors"
    places = [place for e in found for place in e.where.split("; ")]
    return AnsweredItem(
        number=item.number,
        section=section,
        topic=item.topic,
        state=state,
        evidence="; ".join(e.text for e in found),
        where="; ".join(dict.fromkeys(places)),
        authors=rest,
    )


def counts_text(answers: Sequence[AnsweredItem]) -> str:
    """``12 answered, 5 in part, 20 for the authors``."""
    return ", ".join(f"{n} {state}" for state, n in counts(answers).items() if n)


def answer_table(checklist: Checklist, answers: Sequence[AnsweredItem]) -> Table:
    """The answers as a table of the page; the state of an item that the authors must complete is a warning."""
    columns: list[Column[AnsweredItem]] = [
        Column("Item", lambda a: a.number),
        Column("Asks for", lambda a: a.topic),
        Column("State", lambda a: Cell(a.state, warn=a.state in ("in part", "for the authors"))),
        Column("Evidence", lambda a: Cell(a.evidence, a.where)),
        Column("For the authors", lambda a: a.authors),
    ]
    return build_table(checklist.name, columns, answers)


def save_answers(
    folder: Path, checklist: Checklist, answers: Sequence[AnsweredItem], marks: Sequence[str]
) -> None:
    """Write KEY.md and KEY.csv of a list; ``marks`` (SYNTHETIC, LEAKY) are in both."""
    save_text(folder / f"{checklist.key}.md", as_markdown(checklist, answers, marks))
    header = [*(f.name for f in fields(AnsweredItem)), "mark"]
    save_table(folder / f"{checklist.key}.csv", header, [[*astuple(a), " ".join(marks)] for a in answers])


def as_markdown(checklist: Checklist, answers: Sequence[AnsweredItem], marks: Sequence[str]) -> str:
    """One list as a table for people."""
    columns: list[Column[AnsweredItem]] = [
        Column("item", lambda a: a.number),
        Column("asks for", lambda a: a.topic),
        Column("state", lambda a: a.state),
        Column("evidence", lambda a: a.evidence),
        Column("where", lambda a: a.where),
        Column("for the authors", lambda a: a.authors),
    ]
    lines = [
        f"# {' · '.join([checklist.name, *marks])}",
        "",
        f"{checklist.source}.",
        "",
        f"{LEAD} {len(answers)} items: {counts_text(answers)}.",
        *(["", checklist.note] if checklist.note else []),
        "",
        *build_table(checklist.name, columns, answers).markdown(),
    ]
    return "\n".join([*lines, ""])

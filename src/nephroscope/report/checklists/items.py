"""What an item of a checklist is, and how evidence answers it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nephroscope.report.checklists.statements import Evidence

State = Literal["answered", "in part", "for the authors", "not applicable"]


@dataclass(frozen=True, slots=True)
class Item:
    """An item: its number, what it asks in our words, the evidence that answers it, and a hint where there is none.

    ``evidence`` names one statement, several joined by ``+``, or none (empty). A name that ends in ``?`` makes the
    item not apply where there is no such evidence; one that begins with ``?`` does so too, and answers nothing.
    ``left`` is what no evidence here can answer: such an item is never more than answered in part.
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

"""What an item of a checklist is, and how evidence answers it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nephroscope.report.checklists.evidence import Evidence

State = Literal["answered", "in part", "for the authors", "not applicable"]


@dataclass(frozen=True, slots=True)
class Item:
    """An item: its number, what it asks in our words, the evidence that answers it, and a hint where there is none.

    ``evidence`` names one statement, several joined by ``+``, none (empty), or ``-`` for an item that does not apply;
    a name that ends in ``?`` makes the item not apply where there is no such evidence.
    """

    number: str
    topic: str
    evidence: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checklist:
    """A published list: its sections, each with its items."""

    key: str
    name: str
    source: str
    sections: Mapping[str, tuple[Item, ...]]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An item answered; ``authors`` says what is left to write."""

    number: str
    section: str
    topic: str
    state: State
    evidence: str
    where: str
    authors: str


def answer(checklist: Checklist, evidence: Mapping[str, Evidence]) -> tuple[Answer, ...]:
    """Every item of the list, in its order."""
    return tuple(
        _answer(section, item, evidence) for section, items in checklist.sections.items() for item in items
    )


def counts(answers: Sequence[Answer]) -> dict[str, int]:
    """How many items have each state."""
    found = Counter(a.state for a in answers)
    states: tuple[State, ...] = ("answered", "in part", "for the authors", "not applicable")
    return {state: found[state] for state in states}


def _answer(section: str, item: Item, evidence: Mapping[str, Evidence]) -> Answer:
    names = [name.rstrip("?") for name in item.evidence.split("+") if name not in ("", "-")]
    found = [evidence[name] for name in names if name in evidence]
    missing = not names or len(found) < len(names)
    rest = "; ".join(filter(None, dict.fromkeys((item.hint if missing else "", *(e.rest for e in found)))))
    state: State = "in part" if rest or missing else "answered"
    if item.evidence == "-" or (item.evidence.endswith("?") and not found):
        state, rest = "not applicable", ""
    elif not found:
        state = "for the authors"
    places = [place for e in found for place in e.where.split("; ")]
    return Answer(
        number=item.number,
        section=section,
        topic=item.topic,
        state=state,
        evidence="; ".join(e.text for e in found),
        where="; ".join(dict.fromkeys(places)),
        authors=rest,
    )

"""The table of calls of a reader study, as `nephroscope readers` takes it. Practice cases are never in it."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.tables import csv_line, save_table
from nephroscope.workstation.reading.order import Step
from nephroscope.workstation.reading.protocol import Protocol
from nephroscope.workstation.reading.store import KeptAnswer, Spent, Who, answers_of, steps_of

FILE = "calls.csv"
HEADER = ("case_id", "reader", "call", "confidence", "seconds", "aided", "scale")
SHORTEST_MS, LONGEST_MS = 1.0, 24 * 3600 * 1000.0  # that a table of calls may have


@dataclass(frozen=True, kw_only=True)
class Row:
    """One answer that counts.

    Attributes:
        place: Of the case among those of its reader and period, from 1.
        spent: On this answer; ``reading_ms`` is what the table gives as seconds: for the aided answer of a
            sequential study the active time of both answers, because the aided reading contains the unaided one.
    """

    reader: str
    step: Step
    answer: KeptAnswer
    place: int
    reading_ms: float


def rows_of(db: sqlite3.Connection, study: str, protocol: Protocol) -> Iterator[Row]:
    """Answers that count, of all readers, in the order of reading."""
    for reader in protocol.readers:
        who = Who(study, reader)
        answers = answers_of(db, who)
        before: dict[tuple[int, str], Spent] = {}
        places: dict[int, list[str]] = {}
        for step in steps_of(db, who):
            if step.training:
                continue
            order = places.setdefault(step.period, [])
            if step.case_id not in order:
                order.append(step.case_id)
            answer = answers.get(step.number)
            if answer is None:
                continue
            key = (step.period, step.case_id)
            whole = before.get(key, Spent()).plus(answer.spent)
            before[key] = whole
            yield Row(reader=reader, step=step, answer=answer, place=len(order), reading_ms=whole.active_ms)


def cells_of(row: Row, scale: str) -> tuple[str, ...]:
    """A row of the table."""
    answer = row.answer
    seconds = min(max(row.reading_ms, SHORTEST_MS), LONGEST_MS) / 1000
    aided = "yes" if row.step.arm == "aided" else "no"
    call = answer.call or "not sure"
    return (row.step.case_id, row.reader, call, str(answer.confidence), f"{seconds:.3f}", aided, scale)


def calls_text(rows: list[Row], scale: str) -> str:
    """The whole table as text."""
    return "".join(csv_line(cells) for cells in (HEADER, *(cells_of(row, scale) for row in rows)))


def save_calls(path: Path, rows: list[Row], scale: str) -> None:
    """Write the table, whole or not at all."""
    save_table(path, HEADER, [cells_of(row, scale) for row in rows])

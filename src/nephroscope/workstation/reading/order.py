"""In which order each reader sees the cases, and the names that the cases have for that reader.

Orders are drawn from the seed of the protocol: the same seed gives the same orders on every computer. They are rows
of a Williams square (Williams 1949), in which each case stands equally often in each place and follows each other
case equally often. Names are drawn by chance when the protocol is locked, and nothing can be computed from them.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from nephroscope.workstation.reading.protocol import Arm, Protocol

Item = TypeVar("Item")
SIGNS = "BCDFGHJKMNPQRTVWX346789"  # no vowels, and none that look alike
CODE_LENGTH, SECRET_GROUPS = 4, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One answer that a reader is asked for.

    Attributes:
        number: From 0, in the order of reading.
        period: 1, or 2 in the second arm of a crossover.
        case_id: Of the study.
        code: The name of the case for this reader in this period.
        training: True for practice, which is never exported.
    """

    number: int
    period: int
    arm: Arm
    case_id: str
    code: str
    training: bool


def shuffled(items: Sequence[Item], key: str) -> list[Item]:
    """The items in an order that depends on the key only, the same on every computer."""

    def place(at: int) -> bytes:
        return hashlib.sha256(f"{key}|{at}|{items[at]}".encode()).digest()

    return [items[at] for at in sorted(range(len(items)), key=place)]


def williams_row(n: int, row: int) -> list[int]:
    """A row of the Williams square of ``n``: 0, 1, n-1, 2, n-2 ... moved on by the row, mirrored from ``n`` on."""
    first = [(at + 1) // 2 if at % 2 else (n - at // 2) % n for at in range(n)]
    moved = [(place + row) % n for place in first]
    return moved[::-1] if (row // n) % 2 else moved


def draw_orders(key: str, readers: Sequence[str], cases: Sequence[str]) -> dict[str, list[str]]:
    """An order of the cases for each reader; no case stands twice in a place before it stood once in all places."""
    if not cases:
        return {reader: [] for reader in readers}
    n = len(cases)
    labels = shuffled(sorted(cases), f"{key}|cases")
    rows = shuffled(range(n), f"{key}|rows")
    people = shuffled(sorted(readers), f"{key}|readers")
    return {
        reader: [labels[at] for at in williams_row(n, rows[place % n] + n * (place // n))]
        for place, reader in enumerate(people)
    }


def first_arms(protocol: Protocol) -> dict[str, Arm]:
    """The arm in which each reader of a crossover begins: half of the readers in each, by the seed."""
    people = shuffled(sorted(protocol.readers), f"{protocol.seed}|arms")
    return {reader: protocol.arms[place % len(protocol.arms)] for place, reader in enumerate(people)}


def draw_steps(protocol: Protocol) -> dict[str, list[Step]]:
    """What each reader is asked, in order: practice first, then the cases; codes are drawn by chance."""
    begins = first_arms(protocol)
    taken: set[str] = set()
    found: dict[str, list[Step]] = {reader: [] for reader in protocol.readers}
    for period in (1, 2) if protocol.design == "crossover" else (1,):
        parts = [
            (cases, training, draw_orders(f"{protocol.seed}|{period}|{training}", protocol.readers, cases))
            for training, cases in (
                (True, [case.case_id for case in protocol.training]),
                (False, [case.case_id for case in protocol.cases]),
            )
        ]
        for reader, steps in found.items():
            for _, training, orders in parts:
                for case_id in orders[reader]:
                    code = _new_code(taken)
                    steps += [
                        Step(
                            number=len(steps) + at,
                            period=period,
                            arm=arm,
                            case_id=case_id,
                            code=code,
                            training=training,
                        )
                        for at, arm in enumerate(_arms(protocol, period, begins[reader]))
                    ]
    return found


def _arms(protocol: Protocol, period: int, first: Arm) -> tuple[Arm, ...]:
    """The arms in which a case is read at one sitting."""
    if protocol.design == "sequential":
        return ("unaided", "aided")
    if protocol.design == "single":
        return protocol.arms
    other: Arm = "aided" if first == "unaided" else "unaided"
    return (first,) if period == 1 else (other,)


def _new_code(taken: set[str]) -> str:
    while True:
        code = "".join(secrets.choice(SIGNS) for _ in range(CODE_LENGTH))
        if code not in taken:
            taken.add(code)
            return code


def new_secret() -> str:
    """A code with which a reader signs in, such as ``K7QM-2XPB-9TRF-CD34``: 72 bits by chance."""
    groups = ("".join(secrets.choice(SIGNS) for _ in range(4)) for _ in range(SECRET_GROUPS))
    return "-".join(groups)


def plain_secret(text: str) -> str:
    """A code as typed, without spaces and signs, in capitals."""
    return "".join(sign for sign in text.upper() if sign.isalnum())

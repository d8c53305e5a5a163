"""A reader study of twelve discs for tests, with the calls of invented readers."""

import contextlib

from nephroscope.workstation.database import connected, prepare
from nephroscope.workstation.reading.make import check_against_study, lock
from nephroscope.workstation.reading.protocol import Plan
from nephroscope.workstation.reading.session import GivenAnswer, answer_step, open_step, work_of
from nephroscope.workstation.reading.store import Spent, Who

NOW = 1_800_000_000.0
CASES = tuple(f"c{number:02}" for number in range(6))


@contextlib.contextmanager
def database(path):
    """A new workstation's database, or one that is there."""
    prepare(path)
    with connected(path) as db:
        yield db


def plan(**fields):
    usual = {"title": "Two readers", "cases": CASES, "readers": ("R1", "R2"), "seed": 7}
    return Plan(**usual | fields)


def locked(root, state, db, now=NOW, **fields):
    return lock(db, state, check_against_study(root, plan(**fields)), now)


def answer(db, state, study, reader, call="PRCC", confidence=4, now=NOW, seconds=10.0, request=""):
    """Open the case that the reader has now, and answer it; gives the step."""
    work = work_of(db, state, Who(study, reader))
    step = work.step
    sitting, _ = open_step(db, work, step.number, now)
    spent = Spent(active_ms=1000 * seconds, idle_ms=500.0)
    given = GivenAnswer(
        number=step.number,
        sitting=sitting,
        request=request or f"request-{step.number}",
        call=call,
        confidence=confidence,
        spent=spent,
    )
    answer_step(db, work, given, now + seconds)
    return step

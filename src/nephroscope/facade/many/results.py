"""The ledger -> results.csv, a row a case; and what a run of a table came to."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.html import Record, ShownAsTable
from nephroscope.base.tables import save_table
from nephroscope.facade.many.ledger import Ledger, LedgerRow
from nephroscope.facade.many.worker import answer_path, drawn_path, object_path
from nephroscope.records import counted_noun

RESULTS = "results.csv"
SECONDS_BETWEEN = 10.0
SHARE = 20  # the table is written for at most this part of the time
NOT_SURE = "not sure"


@dataclass(frozen=True, kw_only=True)
class ManyAnswers(ShownAsTable):
    """The results of a table of cases.

    Attributes:
        folder: Of the results.
        cases: Of the table, and of former tables of this folder.
        answered: With a call, or not sure.
        not_sure: Of these.
        refused, not_drawn, waiting: The others.
        computed: In this run.
        seconds: Of this run.
        unread: Titles of columns of the table that were not looked at.
        doubts: What to know of how the table was opened.
    """

    folder: Path
    subtypes: tuple[str, ...]
    cases: int
    answered: int
    not_sure: int
    refused: int
    not_drawn: int
    waiting: int
    computed: int
    seconds: float
    unread: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def records(self) -> list[Record]:
        """A row a case."""
        return list(records_of(Ledger(self.folder), self.folder, self.subtypes))

    def summary(self) -> str:
        """How many of what."""
        parts = [
            f"{counted_noun(self.cases, 'case')}: {self.answered} answered ({self.not_sure} not sure)",
            f"{self.refused} refused",
            f"{self.not_drawn} without ROI",
            *([f"{self.waiting} waiting"] if self.waiting else []),
        ]
        return ", ".join(parts)


def records_of(ledger: Ledger, out: Path, subtypes: Sequence[str]) -> Iterator[Record]:
    """A flat row for each case."""
    for row in ledger.rows():
        yield _record(row, out, subtypes)


def _record(row: LedgerRow, out: Path, subtypes: Sequence[str]) -> Record:
    case, found = row.case, row.result
    made: Record = {"case_id": case.case_id, "state": row.state, "call": None, "forced_call": None}
    made |= {f"p_{name}": None for name in subtypes}
    made |= dict.fromkeys(("reason", "doubts", "notes", "phase"))
    made |= {"side_stated": case.side, "side_drawn": None}
    made |= dict.fromkeys(("slices", "series_uid", "seconds"))
    made |= {"tries": row.tries, "code": None, "refusal": None, "answer": None}
    made |= dict.fromkeys(("drawn_by", "drawn", "sr", "seg", "sc", "roi_author", "roi_state", "roi_by"))
    if found is None:
        return made
    made["answer"] = answer_path(out, case.file_name).relative_to(out).as_posix()
    if found.refusal is not None:
        return made | {"code": found.refusal.code, "refusal": str(found.refusal)}
    made |= {f"p_{name}": found.probabilities.get(name) for name in subtypes}
    made |= {
        name: object_path(out, name, case.file_name).relative_to(out).as_posix()
        for name in ("sr", "seg", "sc")
        if name in found.objects
    }
    if found.drawn_by:
        drawn = drawn_path(out, case.file_name).relative_to(out).as_posix()
        made |= {"drawn_by": found.drawn_by, "drawn": drawn}
    return made | {
        "call": found.call or NOT_SURE,
        "forced_call": found.forced_call,
        "reason": found.reason,
        "doubts": " ".join(found.doubts),
        "notes": " ".join(found.notes),
        "phase": found.phase,
        "side_drawn": found.side,
        "slices": found.n_slices,
        "series_uid": found.series_uid,
        "seconds": found.seconds,
        "roi_author": found.roi_author,
        "roi_state": found.roi_state,
        "roi_by": found.roi_by,
    }


class ResultsTable:
    """results.csv, written anew now and then while a run goes on, so that it can be read meanwhile."""

    def __init__(self, ledger: Ledger, out: Path, subtypes: Sequence[str]) -> None:
        self._ledger, self._out, self._subtypes = ledger, out, subtypes
        self._next = time.monotonic() + SECONDS_BETWEEN

    def now_and_then(self) -> None:
        """Write it where that was long ago; one that Excel holds open is left for later."""
        started = time.monotonic()
        if started < self._next:
            return
        with contextlib.suppress(PermissionError):
            self.write()
        taken = time.monotonic() - started
        self._next = time.monotonic() + max(SECONDS_BETWEEN, SHARE * taken)

    def write(self) -> None:
        """Write it.

        Raises:
            OSError: It cannot be written, such as one that Excel holds open on Windows.
        """
        rows = records_of(self._ledger, self._out, self._subtypes)
        first = next(rows, None)
        if first is not None:
            lines = (list(row.values()) for row in _with_first(first, rows))
            save_table(self._out / RESULTS, list(first), lines)


def _with_first(first: Record, rest: Iterator[Record]) -> Iterator[Record]:
    yield first
    yield from rest

"""What a reader study keeps in the workstation's SQLite file: steps, time and answers.

An answer is one transaction, on the disk before the browser hears of it; the database itself refuses to change or
remove one. Time is kept many times a second without waiting for the disk: it survives a kill of this program at any
moment, and once a second it is brought to the disk beside that, for a power cut.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from nephroscope.workstation.reading.order import Step, plain_secret
from nephroscope.workstation.reading.refusals import FinalError, OtherWindowError

SYNC_S = 1.0  # time is on the disk at least so often
SLACK_MS = 2000.0  # by which a browser's clock may be ahead of ours before its time is doubtful
DAY_MS = 24 * 3600 * 1000.0
LONGEST_MS = 400 * DAY_MS  # a case is left open or paused over a weekend, a holiday, a washout


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Time on a case in milliseconds, by the browser's monotonic clock.

    Attributes:
        active_ms: The page is visible and the last input at most 120 s ago.
        idle_ms: Visible, but no input for longer.
        hidden_ms: Another tab or window covers the page, or the computer sleeps.
        paused_ms: The reader pressed Pause.
    """

    active_ms: float = 0.0
    idle_ms: float = 0.0
    hidden_ms: float = 0.0
    paused_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        """All of it."""
        return self.active_ms + self.idle_ms + self.hidden_ms + self.paused_ms

    def plus(self, other: "Spent") -> "Spent":
        """Both together."""
        return Spent(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Spent)})

    @property
    def possible(self) -> bool:
        """False where a part is no number or negative, the active time more than a day, or another more than 400."""
        return self.active_ms <= DAY_MS and all(0 <= part <= LONGEST_MS for part in astuple(self))


@dataclass(frozen=True, slots=True)
class Who:
    """A reader of a study, by the study's identifier and the reader's pseudonym."""

    study: str
    reader: str

    @property
    def key(self) -> tuple[str, str]:
        """Both, as a key of the tables."""
        return self.study, self.reader


@dataclass(frozen=True, kw_only=True)
class KeptStudy:
    """A locked reader study; times are seconds since 1970, ``latest`` the latest that the clock ever showed in it."""

    id: str
    folder: str
    digest: str
    title: str
    locked_at: float
    closed_at: float | None
    closed_why: str
    latest: float


@dataclass(frozen=True, kw_only=True)
class KeptAnswer:
    """A final answer.

    Attributes:
        number: Of the step.
        request: By which a repeated request is known.
        call: The subtype; None: not sure.
        confidence: About the positive subtype.
        spent: On the case until the answer.
        doubtful: True where the browser counted more time than passed.
        answered_at: Seconds since 1970.
    """

    number: int
    request: str
    call: str | None
    confidence: int
    spent: Spent
    doubtful: bool
    answered_at: float


@contextlib.contextmanager
def all_or_none(db: sqlite3.Connection, synced: Literal["FULL", "NORMAL"] = "FULL") -> Iterator[None]:
    """One transaction; with FULL it is on the disk when the block ends."""
    db.execute(f"PRAGMA synchronous = {synced}")
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.rollback()
        raise
    db.commit()


def add_study(
    db: sqlite3.Connection,
    study: KeptStudy,
    steps: Mapping[str, Sequence[Step]],
    secrets: Mapping[str, str],
) -> None:
    """Keep a locked study with what each reader will be asked."""
    with all_or_none(db):
        kept = (study.id, study.folder, study.digest, study.title, study.locked_at, study.latest)
        db.execute(
            "INSERT INTO reading_studies (id, folder, digest, title, locked_at, latest) VALUES (?, ?, ?, ?, ?, ?)",
            kept,
        )
        for reader, secret in secrets.items():
            row = (study.id, reader, plain_secret(secret))
            db.execute("INSERT INTO reading_readers (study, reader, secret) VALUES (?, ?, ?)", row)
            db.executemany(
                "INSERT INTO reading_steps VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (study.id, reader, s.number, s.period, s.arm, s.case_id, s.code, s.training)
                    for s in steps[reader]
                ],
            )


def studies(db: sqlite3.Connection) -> list[KeptStudy]:
    """All locked studies, the newest first."""
    rows = db.execute("SELECT * FROM reading_studies ORDER BY locked_at DESC, id")
    return [KeptStudy(**dict(row)) for row in rows]


def study_of(db: sqlite3.Connection, study: str) -> KeptStudy | None:
    """A locked study by its identifier."""
    row = db.execute("SELECT * FROM reading_studies WHERE id = ?", (study,)).fetchone()
    return KeptStudy(**dict(row)) if row else None


def secrets_of(db: sqlite3.Connection, study: str) -> dict[str, str]:
    """With which code each reader signs in, in groups of four."""
    rows = db.execute("SELECT reader, secret FROM reading_readers WHERE study = ? ORDER BY reader", (study,))
    return {row["reader"]: "-".join(_fours(row["secret"])) for row in rows}


def _fours(text: str) -> list[str]:
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def reader_with(db: sqlite3.Connection, study: str, secret: str) -> str | None:
    """The reader of a study who has this code."""
    row = db.execute(
        "SELECT reader FROM reading_readers WHERE study = ? AND secret = ?", (study, plain_secret(secret))
    ).fetchone()
    return row["reader"] if row else None


def steps_of(db: sqlite3.Connection, who: Who) -> list[Step]:
    """What a reader is asked, in order."""
    rows = db.execute(
        "SELECT number, period, arm, case_id, code, training FROM reading_steps WHERE study = ? AND reader = ? "
        "ORDER BY number",
        who.key,
    )
    return [Step(**{**dict(row), "training": bool(row["training"])}) for row in rows]


def answers_of(db: sqlite3.Connection, who: Who) -> dict[int, KeptAnswer]:
    """A reader's answers by the number of their step."""
    rows = db.execute("SELECT * FROM reading_answers WHERE study = ? AND reader = ?", who.key)
    return {row["number"]: _answer(row) for row in rows}


def _answer(row: sqlite3.Row) -> KeptAnswer:
    return KeptAnswer(
        number=row["number"],
        request=row["request"],
        call=row["call"],
        confidence=row["confidence"],
        spent=_spent(row),
        doubtful=bool(row["doubtful"]),
        answered_at=row["answered_at"],
    )


def _spent(row: sqlite3.Row) -> Spent:
    return Spent(**{field.name: row[field.name] for field in fields(Spent)})


def note_time(db: sqlite3.Connection, study: str, now: float) -> None:
    """Remember the latest time that the computer's clock showed."""
    db.execute("UPDATE reading_studies SET latest = max(latest, ?) WHERE id = ?", (now, study))


def open_sitting(db: sqlite3.Connection, who: Who, number: int, now: float) -> tuple[int, Spent]:
    """A new sitting at a step, whose time alone counts from now on; and the time of the sittings before it."""
    with all_or_none(db):
        before, _ = time_of(db, who, number)
        row = db.execute(
            "SELECT max(sitting) AS last FROM reading_time WHERE study = ? AND reader = ? AND number = ?",
            (*who.key, number),
        ).fetchone()
        sitting = (row["last"] or 0) + 1
        values = (*who.key, number, sitting, *astuple(Spent()), now, now, 0)
        db.execute("INSERT INTO reading_time VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        note_time(db, who.study, now)
    return sitting, before


def time_of(db: sqlite3.Connection, who: Who, number: int) -> tuple[Spent, bool]:
    """Time on a step over all its sittings, and whether a part of it is doubtful."""
    rows = db.execute(
        "SELECT * FROM reading_time WHERE study = ? AND reader = ? AND number = ?", (*who.key, number)
    ).fetchall()
    spent = Spent()
    for row in rows:
        spent = spent.plus(_spent(row))
    return spent, any(row["doubtful"] for row in rows)


def keep_time(db: sqlite3.Connection, who: Who, number: int, sitting: int, spent: Spent, now: float) -> None:
    """Keep the time of a sitting so far, without waiting for the disk. What arrives late, or twice, changes nothing.

    Raises:
        OtherWindowError: The case was opened again since.
        FinalError: The case is answered.
    """
    with all_or_none(db, "NORMAL"):
        kept = "SELECT 1 FROM reading_answers WHERE study = ? AND reader = ? AND number = ?"
        if db.execute(kept, (*who.key, number)).fetchone():
            raise answered(number)
        _keep_time(db, who, number, sitting, spent, now)


def _keep_time(db: sqlite3.Connection, who: Who, number: int, sitting: int, spent: Spent, now: float) -> None:
    key = (*who.key, number)
    row = db.execute(
        "SELECT * FROM reading_time WHERE study = ? AND reader = ? AND number = ? ORDER BY sitting DESC LIMIT 1",
        key,
    ).fetchone()
    if row is None or row["sitting"] != sitting:
        raise OtherWindowError(
            where="reading time",
            expected="the window in which the case was opened last",
            found="another one",
            remedy="go on in that window, or load this page again",
        )
    before = _spent(row)
    if spent.total_ms <= before.total_ms:
        return
    doubtful = spent.total_ms > 1000 * (now - row["opened"]) + SLACK_MS
    db.execute(
        "UPDATE reading_time SET active_ms = ?, idle_ms = ?, hidden_ms = ?, paused_ms = ?, beat = ?, doubtful = ? "
        "WHERE study = ? AND reader = ? AND number = ? AND sitting = ?",
        (*astuple(spent), now, int(doubtful or row["doubtful"]), *key, sitting),
    )
    note_time(db, who.study, now)


_disk = ThreadPoolExecutor(1, "reading-time")
_synced: dict[Path, float] = {}


def bring_to_disk(database: Path) -> None:
    """Once a second, beside what else is done: what was kept without waiting is on the disk soon."""
    now = time.monotonic()
    if now - _synced.get(database, -SYNC_S) >= SYNC_S:
        _synced[database] = now
        _disk.submit(_sync, database.with_name(f"{database.name}-wal"))


def _sync(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("r+b") as file:
        os.fsync(file.fileno())


def keep_answer(db: sqlite3.Connection, who: Who, sitting: int, answer: KeptAnswer) -> KeptAnswer:
    """Keep an answer for good. The same request again gives the answer that was kept.

    Args:
        db: Of the workstation.
        who: Answers.
        sitting: In which the reader answered.
        answer: Its time is that of the sitting.

    Raises:
        FinalError: There is another answer.
        OtherWindowError: The case was opened again since.
    """
    with all_or_none(db):
        before = answers_of(db, who).get(answer.number)
        if before is not None:
            same = (before.call, before.confidence) == (answer.call, answer.confidence)
            if before.request == answer.request and same:
                return before
            raise answered(answer.number)
        _keep_time(db, who, answer.number, sitting, answer.spent, answer.answered_at)
        spent, doubtful = time_of(db, who, answer.number)
        row = study_of(db, who.study)
        at = max(answer.answered_at, row.latest if row else 0.0)
        values = (answer.call, answer.confidence, *astuple(spent), doubtful, at)
        db.execute(
            "INSERT INTO reading_answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*who.key, answer.number, answer.request, *values),
        )
    return answers_of(db, who)[answer.number]


def answered(number: int) -> FinalError:
    """The refusal of a second answer."""
    return FinalError(
        where=f"answer {number + 1}",
        expected="a case without an answer",
        found="that it is answered",
        remedy="go on with the next case; answers are final",
    )


def close_study(db: sqlite3.Connection, study: str, why: str, now: float) -> None:
    """Take no further answers."""
    with all_or_none(db):
        db.execute(
            "UPDATE reading_studies SET closed_at = coalesce(closed_at, ?), closed_why = ? WHERE id = ? "
            "AND closed_at IS NULL",
            (now, why, study),
        )

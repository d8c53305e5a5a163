"""A queue of objects to be sent, in one SQLite file: what is in it survives a kill and a lost power supply.

An object is there once for each destination, by its SOP Instance UID, so that sending again what is waiting, or was
sent, makes no second one. It is confirmed only when the destination, asked back, has it.
"""

import hashlib
import sqlite3
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nephroscope.base.database import Database
from nephroscope.base.errors import PacsError
from nephroscope.base.files import make_folder, replacing
from nephroscope.exchange.peer import StoredObject

FORMAT = 1
DATABASE, OBJECTS = "queue.sqlite", "objects"
SECONDS_OF_A_COPY = 3600.0  # after it, a copy that nobody waits for was left by a kill
State = Literal["waiting", "confirmed"]
_TABLE = """
CREATE TABLE IF NOT EXISTS outbox (
    destination TEXT NOT NULL, sop_uid TEXT NOT NULL, sop_class TEXT NOT NULL, series_uid TEXT NOT NULL,
    study_uid TEXT NOT NULL, syntax TEXT NOT NULL, path TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'confirmed')),
    tries INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '', changed REAL NOT NULL,
    PRIMARY KEY (destination, sop_uid))
"""


@dataclass(frozen=True, kw_only=True)
class Sending:
    """An object on its way.

    Attributes:
        tries: How often it was sent without being found there afterwards.
        error: Why the last time.
    """

    object: StoredObject
    destination: str
    state: State
    tries: int
    error: str


class Outbox:
    """The queue in a folder, which is made if it is not there.

    Args:
        folder: Holds ``queue.sqlite`` and, in ``objects/``, copies of what is waiting.

    Raises:
        PacsError: The queue is damaged, or of a newer version.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self.folder = folder
        self._database = Database(
            path=folder / DATABASE,
            where="the queue",
            refusal=PacsError,
            remedy="move its folder away, and send again",
        )
        self._database.prepare(FORMAT, _TABLE)

    def put(self, objects: Sequence[StoredObject], destination: str) -> None:
        """Let objects wait for a destination; all of them or none. Copies are kept until they are confirmed."""
        kept = [self._copy(one) for one in objects]
        with self._open() as database:
            for one, path in zip(objects, kept, strict=True):
                identity = (one.sop_class, one.series_uid, one.study_uid, one.syntax, path)
                database.execute(
                    "INSERT INTO outbox (destination, sop_uid, sop_class, series_uid, study_uid, syntax, path, state,"
                    " changed) VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting', ?)"
                    " ON CONFLICT (destination, sop_uid) DO UPDATE SET sop_class = excluded.sop_class,"
                    " series_uid = excluded.series_uid, study_uid = excluded.study_uid, syntax = excluded.syntax,"
                    " path = excluded.path, state = 'waiting', tries = 0, error = '', changed = excluded.changed",
                    (destination, one.sop_uid, *identity, time.time()),
                )

    def waiting(self, destination: str | None = None) -> list[Sending]:
        """What waits, in the order in which it came; for one destination or for all."""
        return [one for one in self.all(destination) if one.state == "waiting"]

    def all(self, destination: str | None = None) -> list[Sending]:
        """Everything that was put in, sent or not."""
        with self._open() as database:
            rows = database.execute(
                "SELECT path, sop_class, sop_uid, series_uid, study_uid, syntax, destination, state, tries, error"
                " FROM outbox WHERE ? IN ('', destination) ORDER BY rowid",
                (destination or "",),
            ).fetchall()
        return [
            Sending(
                object=StoredObject(
                    path=self.folder / row[0],
                    sop_class=row[1],
                    sop_uid=row[2],
                    series_uid=row[3],
                    study_uid=row[4],
                    syntax=row[5],
                ),
                destination=row[6],
                state=row[7],
                tries=row[8],
                error=row[9],
            )
            for row in rows
        ]

    def confirm(self, sendings: Sequence[Sending]) -> None:
        """These are at their destination; their copies are removed where nobody else waits for them."""
        self._change("state = 'confirmed', error = ''", sendings)
        needed = {one.object.path.name for one in self.waiting()}
        done = {one.object.path.name for one in sendings}
        old = time.time() - SECONDS_OF_A_COPY
        for path in (self.folder / OBJECTS).glob("*.dcm"):
            if path.name not in needed and (path.name in done or path.stat().st_mtime < old):
                path.unlink(missing_ok=True)

    def failed(self, sending: Sending, error: str) -> None:
        """This was tried once more, and is not there."""
        with self._open() as database:
            database.execute(
                "UPDATE outbox SET tries = tries + 1, error = ?, changed = ? WHERE destination = ? AND sop_uid = ?",
                (error, time.time(), sending.destination, sending.object.sop_uid),
            )

    def _change(self, what: str, sendings: Sequence[Sending]) -> None:
        with self._open() as database:
            database.executemany(
                f"UPDATE outbox SET {what}, changed = ? WHERE destination = ? AND sop_uid = ?",  # noqa: S608
                [(time.time(), one.destination, one.object.sop_uid) for one in sendings],
            )

    def _copy(self, one: StoredObject) -> str:
        """Copy the file into the queue; gives the copy's path below its folder. Same content, same name."""
        content = one.path.read_bytes()
        name = f"{OBJECTS}/{hashlib.sha256(content).hexdigest()[:32]}.dcm"
        if not (self.folder / name).exists():
            with replacing(self.folder / name) as temporary:
                temporary.write_bytes(content)
        return name

    def _open(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._database.transaction()

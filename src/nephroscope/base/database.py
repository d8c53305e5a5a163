"""A SQLite file of ours: one transaction a block, on the disk when it ends; of a newer version it is refused."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.errors import NephroscopeError

SECONDS_FOR_LOCK = 30.0
_NO_ROOM = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_READONLY"}


@dataclass(frozen=True, kw_only=True)
class Database:
    """A SQLite file.

    Attributes:
        where: What a refusal calls it, such as ``the queue``.
        refusal: Kind of the refusal.
        remedy: What to do where it is damaged.
    """

    path: Path
    where: str
    refusal: type[NephroscopeError]
    remedy: str

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The database, in one transaction that is on the disk when the block ends.

        Raises:
            NephroscopeError: Of the kind ``refusal``: it is damaged, or another process holds it for long.
        """
        try:
            database = sqlite3.connect(self.path, timeout=SECONDS_FOR_LOCK)
            with contextlib.closing(database), database:
                database.execute("PRAGMA synchronous = FULL")
                yield database
        except sqlite3.Error as error:
            if error.sqlite_errorname in _NO_ROOM:
                raise self.refusal(
                    where=self.where,
                    expected="room on the disk",
                    found="that it is full, or cannot be written",
                    remedy="free space and run it again; nothing that was noted is lost",
                ) from error
            raise self.refusal(
                where=self.where,
                expected=f"a file {self.path.name} that this program wrote",
                found=f"a damaged, locked or different one ({type(error).__name__})",
                remedy=f"end the program that holds it; if it is damaged, {self.remedy}",
            ) from error

    def prepare(self, number: int, *tables: str) -> None:
        """Make the tables where they are missing, and note the format.

        Raises:
            NephroscopeError: Of the kind ``refusal``: it has a newer format, or is damaged.
        """
        with self.transaction() as database:
            (found,) = database.execute("PRAGMA user_version").fetchone()
            if found > number:
                raise self.refusal(
                    where=self.where,
                    expected=f"format {number} or older",
                    found=f"format {found}",
                    remedy="it was written by a newer nephroscope: update this one",
                )
            if found == number:
                return
            for table in tables:
                database.execute(table)
            database.execute(f"PRAGMA user_version = {number}")

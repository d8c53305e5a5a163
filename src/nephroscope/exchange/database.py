"""The SQLite file of the queue and of the inbox: one transaction a block, on the disk when it ends."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from nephroscope.base.errors import PacsError

SECONDS_FOR_LOCK = 30.0


@contextlib.contextmanager
def transaction(path: Path, where: str) -> Iterator[sqlite3.Connection]:
    """The database, in one transaction that is on the disk when the block ends.

    Args:
        path: The file.
        where: What a refusal calls it, such as ``the queue``.

    Raises:
        PacsError: It is damaged, or another process holds it for long.
    """
    try:
        database = sqlite3.connect(path, timeout=SECONDS_FOR_LOCK)
        with contextlib.closing(database), database:
            database.execute("PRAGMA synchronous = FULL")
            yield database
    except sqlite3.Error as error:
        raise PacsError(
            where=where,
            expected=f"a file {path.name} that this program wrote",
            found=f"a damaged, locked or different one ({type(error).__name__})",
            remedy="end the program that holds it; if it is damaged, move its folder away, and send again",
        ) from error

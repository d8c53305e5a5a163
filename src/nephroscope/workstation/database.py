"""One SQLite file holds what the workstation keeps: connections to it, and its schema as numbered steps."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

WAIT_S = 20.0  # for another connection that writes
# Each step runs once, in this order. A step that was published is never changed: add one.
STEPS: tuple[tuple[str, str], ...] = (
    (
        "server-1",
        """
        CREATE TABLE secret (value BLOB NOT NULL);
        CREATE TABLE ids (id TEXT PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE sessions (digest TEXT PRIMARY KEY, port INTEGER NOT NULL, made REAL NOT NULL) WITHOUT ROWID;
        """,
    ),
)


@contextlib.contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose changes are written, and on the disk, when the block ends without an error.

    Rows are read by column name. One connection belongs to one thread.
    """
    connection = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        yield connection
        if connection.in_transaction:
            connection.commit()
    finally:
        connection.close()  # what was not committed is gone


@contextlib.contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection]:
    """The same for several changes that belong together: all of them, or none."""
    with connected(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def prepare(path: Path) -> None:
    """Make the file, readable by its owner only, and run the steps that it has not seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    with contextlib.suppress(OSError):
        path.chmod(0o600)
    with connected(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS steps (name TEXT PRIMARY KEY) WITHOUT ROWID")
        done = {row["name"] for row in connection.execute("SELECT name FROM steps")}
    for name, sql in STEPS:
        if name not in done:
            with connected(path) as connection:
                connection.executescript(
                    f"BEGIN IMMEDIATE; {sql}; INSERT INTO steps (name) VALUES ('{name}'); COMMIT;"  # noqa: S608
                )

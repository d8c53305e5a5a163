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
    (
        "server-2",
        """
        CREATE TABLE jobs (
            number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, command TEXT NOT NULL,
            title TEXT NOT NULL, words TEXT NOT NULL, state TEXT NOT NULL, made REAL NOT NULL, begun REAL, ended REAL,
            cancelled REAL, pid INTEGER, exit_code INTEGER
        );
        CREATE TABLE answers (
            case_id TEXT NOT NULL, bundle TEXT NOT NULL, document TEXT NOT NULL, made REAL NOT NULL,
            PRIMARY KEY (case_id, bundle)
        );
        """,
    ),
    (
        "server-3",
        """
        ALTER TABLE answers ADD COLUMN roi TEXT NOT NULL DEFAULT '';
        CREATE TABLE bundles (folder TEXT PRIMARY KEY) WITHOUT ROWID;
        """,
    ),
    (
        "reading-1",
        """
        CREATE TABLE reading_studies (
            id TEXT PRIMARY KEY, folder TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, title TEXT NOT NULL,
            locked_at REAL NOT NULL, closed_at REAL, closed_why TEXT NOT NULL DEFAULT '', latest REAL NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE reading_readers (
            study TEXT NOT NULL REFERENCES reading_studies, reader TEXT NOT NULL, secret TEXT NOT NULL UNIQUE,
            PRIMARY KEY (study, reader)
        ) WITHOUT ROWID;
        CREATE TABLE reading_steps (
            study TEXT NOT NULL, reader TEXT NOT NULL, number INTEGER NOT NULL, period INTEGER NOT NULL,
            arm TEXT NOT NULL, case_id TEXT NOT NULL, code TEXT NOT NULL, training INTEGER NOT NULL,
            PRIMARY KEY (study, reader, number), FOREIGN KEY (study, reader) REFERENCES reading_readers
        ) WITHOUT ROWID;
        CREATE TABLE reading_time (
            study TEXT NOT NULL, reader TEXT NOT NULL, number INTEGER NOT NULL, sitting INTEGER NOT NULL,
            active_ms REAL NOT NULL, idle_ms REAL NOT NULL, hidden_ms REAL NOT NULL, paused_ms REAL NOT NULL,
            opened REAL NOT NULL, beat REAL NOT NULL, doubtful INTEGER NOT NULL,
            PRIMARY KEY (study, reader, number, sitting), FOREIGN KEY (study, reader, number) REFERENCES reading_steps
        ) WITHOUT ROWID;
        CREATE TABLE reading_answers (
            study TEXT NOT NULL, reader TEXT NOT NULL, number INTEGER NOT NULL, request TEXT NOT NULL, call TEXT,
            confidence INTEGER NOT NULL, active_ms REAL NOT NULL, idle_ms REAL NOT NULL, hidden_ms REAL NOT NULL,
            paused_ms REAL NOT NULL, doubtful INTEGER NOT NULL, answered_at REAL NOT NULL,
            PRIMARY KEY (study, reader, number), FOREIGN KEY (study, reader, number) REFERENCES reading_steps
        ) WITHOUT ROWID;
        CREATE TABLE reading_sessions (
            session TEXT PRIMARY KEY, study TEXT NOT NULL, reader TEXT NOT NULL,
            FOREIGN KEY (study, reader) REFERENCES reading_readers
        ) WITHOUT ROWID;
        CREATE TRIGGER reading_answers_final BEFORE UPDATE ON reading_answers
        BEGIN SELECT RAISE(ABORT, 'answers are final'); END;
        CREATE TRIGGER reading_answers_kept BEFORE DELETE ON reading_answers
        BEGIN SELECT RAISE(ABORT, 'answers are final'); END;
        CREATE TRIGGER reading_steps_final BEFORE UPDATE ON reading_steps
        BEGIN SELECT RAISE(ABORT, 'the order is final'); END;
        CREATE TRIGGER reading_steps_kept BEFORE DELETE ON reading_steps
        BEGIN SELECT RAISE(ABORT, 'the order is final'); END;
        CREATE TRIGGER reading_digest_final BEFORE UPDATE OF digest, folder, locked_at ON reading_studies
        BEGIN SELECT RAISE(ABORT, 'a locked protocol is final'); END;
        """,
    ),
    (
        "drawing-1",
        """
        CREATE TABLE roi_readers (session TEXT PRIMARY KEY, author TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE roi_names (author TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE roi_documents (
            id INTEGER PRIMARY KEY, case_id TEXT NOT NULL, series TEXT NOT NULL, author TEXT NOT NULL,
            version INTEGER NOT NULL, revision INTEGER NOT NULL DEFAULT 0, position INTEGER NOT NULL DEFAULT 0,
            slices INTEGER NOT NULL, n_rows INTEGER NOT NULL, n_columns INTEGER NOT NULL, ct TEXT NOT NULL,
            started TEXT NOT NULL, signed TEXT NOT NULL DEFAULT '', digest TEXT NOT NULL DEFAULT '',
            made_from TEXT NOT NULL DEFAULT '', file TEXT NOT NULL DEFAULT '', listed INTEGER NOT NULL DEFAULT 0,
            UNIQUE (case_id, series, author, version)
        );
        CREATE TABLE roi_slices (
            document INTEGER NOT NULL REFERENCES roi_documents, slice INTEGER NOT NULL, drawn INTEGER NOT NULL,
            bits BLOB NOT NULL, PRIMARY KEY (document, slice)
        ) WITHOUT ROWID;
        CREATE TABLE roi_steps (
            document INTEGER NOT NULL REFERENCES roi_documents, number INTEGER NOT NULL, tool TEXT NOT NULL,
            PRIMARY KEY (document, number)
        ) WITHOUT ROWID;
        CREATE TABLE roi_changes (
            document INTEGER NOT NULL REFERENCES roi_documents, number INTEGER NOT NULL, slice INTEGER NOT NULL,
            before BLOB NOT NULL, before_drawn INTEGER NOT NULL, after BLOB NOT NULL, after_drawn INTEGER NOT NULL,
            PRIMARY KEY (document, number, slice)
        ) WITHOUT ROWID;
        CREATE TRIGGER roi_slices_put BEFORE INSERT ON roi_slices
        WHEN (SELECT signed FROM roi_documents WHERE id = NEW.document) <> ''
        BEGIN SELECT RAISE(ABORT, 'a signed ROI is final'); END;
        CREATE TRIGGER roi_slices_changed BEFORE UPDATE ON roi_slices
        WHEN (SELECT signed FROM roi_documents WHERE id = OLD.document) <> ''
        BEGIN SELECT RAISE(ABORT, 'a signed ROI is final'); END;
        CREATE TRIGGER roi_slices_removed BEFORE DELETE ON roi_slices
        WHEN (SELECT signed FROM roi_documents WHERE id = OLD.document) <> ''
        BEGIN SELECT RAISE(ABORT, 'a signed ROI is final'); END;
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

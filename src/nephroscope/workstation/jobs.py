"""Long work as jobs: each is a command of this program in a process of its own, one at a time for a study.

A job outlives the server. What it is, and how it stands, is in the database and in a folder of its own, where the
process holds a lock while it lives (`base.job`); so a server that starts again finds the jobs that still run, and
calls those interrupted whose process is gone without a word.
"""

import contextlib
import json
import logging
import os
import re
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nephroscope.base.job import VARIABLE, Progress, lives, read_end, read_pid, read_progress
from nephroscope.base.lock import who_writes
from nephroscope.workstation.answers import NotFoundError, RequestError
from nephroscope.workstation.place import Place

logger = logging.getLogger(__name__)
State = Literal["waiting", "running", "done", "partly", "refused", "failed", "cancelled", "interrupted"]
ENDS: dict[int, State] = {0: "done", 2: "refused", 3: "partly", 130: "cancelled"}
LOOK_S = 0.3
BEGIN_S = 15.0  # in which a new process takes its lock
PATIENCE_S = (8.0, 14.0)  # after a cancel is asked for: then the process is ended, then killed
KEPT = 200  # jobs
LOG_LINES, LOG_BYTES = 300, 60_000
# The oldest that have ended; the last check stays, for what it found is shown.
OLD = """SELECT id FROM jobs WHERE ended IS NOT NULL
    AND number NOT IN (SELECT number FROM jobs ORDER BY number DESC LIMIT ?)
    AND number !=
        (SELECT COALESCE(MAX(number), 0) FROM jobs WHERE command = 'check' AND state IN ('done', 'partly'))"""
LARGEST_RESULT = 4_000_000
_CONTROL = re.compile(r"[^\x20-\x7e\n\t\u00a0-\uffff]")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as pages see it.

    Attributes:
        title: For people.
        made, begun, ended: Seconds since 1970; None where it is not so far.
        error: The refusal that ended it.
        log: What the command said, its last lines; only where one job is asked for.
        result: What the command printed with --json; only where one job is asked for.
    """

    id: str
    command: str
    title: str
    state: State
    made: float
    begun: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    progress: Progress | None = None
    error: dict[str, str] | None = None
    log: tuple[str, ...] = ()
    result: object = None


class Jobs:
    """The jobs of a place.

    Args:
        place: Whose study they work on.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._folder = place.state / "jobs"
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._news = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin to look after the jobs, those of earlier servers too."""
        self._thread.start()

    def stop(self) -> None:
        """Look after them no longer; those that run go on."""
        self._ending = True
        self._news.set()
        self._thread.join(5)

    def add(self, command: str, title: str, words: Sequence[str]) -> str:
        """A new job; gives its identifier.

        Args:
            command: Such as ``slices``.
            title: For people.
            words: The command line without ``nephroscope``.
        """
        id_ = secrets.token_urlsafe(16)
        (self._folder / id_).mkdir(parents=True)
        with self._place.changing() as db:
            db.execute(
                "INSERT INTO jobs (id, command, title, words, state, made) VALUES (?, ?, ?, ?, 'waiting', ?)",
                (id_, command, title, json.dumps(list(words)), time.time()),
            )
            old = db.execute(OLD, (KEPT,)).fetchall()
            db.executemany("DELETE FROM jobs WHERE id = ?", [(row["id"],) for row in old])
        for row in old:
            shutil.rmtree(self._folder / row["id"], ignore_errors=True)
        self._news.set()
        return id_

    def listed(self) -> list[Job]:
        """All jobs, the latest first."""
        with self._place.database() as db:
            return [self._job(row) for row in db.execute("SELECT * FROM jobs ORDER BY number DESC")]

    def one(self, id_: str) -> Job:
        """A job with its log and its result.

        Raises:
            NotFoundError: There is none.
        """
        return self._job(self._row(id_), whole=True)

    def words(self, id_: str) -> tuple[str, str, list[str]]:
        """Command, title and command line of a job.

        Raises:
            NotFoundError: There is none.
        """
        row = self._row(id_)
        return row["command"], row["title"], json.loads(row["words"])

    def cancel(self, id_: str) -> None:
        """End a job that waits or runs.

        Raises:
            NotFoundError: There is none.
            RequestError: It has ended.
        """
        row = self._row(id_)
        now = time.time()
        with self._place.changing() as db:
            changed = db.execute(
                "UPDATE jobs SET state = 'cancelled', ended = ? WHERE id = ? AND state = 'waiting'",
                (now, id_),
            ).rowcount
            if not changed:
                changed = db.execute(
                    "UPDATE jobs SET cancelled = ? WHERE id = ? AND state = 'running' AND cancelled IS NULL",
                    (now, id_),
                ).rowcount
        if not changed and row["state"] != "running":
            raise RequestError(
                where="job",
                expected="one that waits or runs",
                found=row["state"],
                remedy="nothing is left to do",
            )
        self._news.set()

    def _row(self, id_: str) -> sqlite3.Row:
        with self._place.database() as db:
            row: sqlite3.Row | None = db.execute("SELECT * FROM jobs WHERE id = ?", (id_,)).fetchone()
        if row is None:
            raise NotFoundError(
                where="address", expected="a job", found="none of this name", remedy="go back to the jobs"
            )
        return row

    def _job(self, row: sqlite3.Row, whole: bool = False) -> Job:
        folder, state = self._folder / row["id"], row["state"]
        result = _result(folder) if whole or state in ("refused", "failed") else None
        error = result.get("error") if isinstance(result, dict) else None
        return Job(
            id=row["id"],
            command=row["command"],
            title=row["title"],
            state=state,
            made=row["made"],
            begun=row["begun"],
            ended=row["ended"],
            exit_code=row["exit_code"],
            progress=read_progress(folder) if state == "running" else None,
            error=error,
            log=_log(folder) if whole else (),
            result=result if whole and error is None else None,
        )

    # the thread that starts jobs, one after the other, and sees how they end

    def _watch(self) -> None:
        while not self._ending:
            try:
                busy = self._step()
            except Exception as error:  # such as a full disk: jobs are looked after again later
                logger.error("jobs: %s", getattr(error, "strerror", None) or type(error).__name__)
                busy = False
            self._news.wait(LOOK_S if busy else 5.0)
            self._news.clear()

    def _step(self) -> bool:
        """Look once; True while a job runs or waits."""
        with self._place.database() as db:
            wanted = "SELECT * FROM jobs WHERE state = ? ORDER BY number"
            running = db.execute(wanted, ("running",)).fetchall()
            waiting = db.execute(wanted, ("waiting",)).fetchall()
        at_work = [row for row in running if not self._ended(row)]
        if waiting and not at_work and not who_writes(self._place.root):
            self._begin(waiting[0])
        return bool(at_work or waiting)

    def _begin(self, row: sqlite3.Row) -> None:
        folder = self._folder / row["id"]
        with self._place.changing() as db:  # first, so that a killed server does not start it twice
            begun = db.execute(
                "UPDATE jobs SET state = 'running', begun = ? WHERE id = ? AND state = 'waiting'",
                (time.time(), row["id"]),
            )
            if not begun.rowcount:
                return
        command = [sys.executable, "-P", "-m", "nephroscope", *json.loads(row["words"]), "--json"]
        folder.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {VARIABLE: str(folder), "PYTHONIOENCODING": "utf-8"}
        environment["PYTHONSAFEPATH"] = "1"  # no code of the study's folder is run, by workers neither
        with (folder / "result.json").open("wb") as out, (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own program, its words are checked in steps.py
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=environment,
                cwd=self._place.root,
                start_new_session=os.name != "nt",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        self._started[row["id"]] = process
        with self._place.changing() as db:
            db.execute("UPDATE jobs SET pid = ? WHERE id = ?", (process.pid, row["id"]))

    def _ended(self, row: sqlite3.Row) -> bool:
        """True for a job that has ended, which is then written down; one that is to be cancelled is ended."""
        folder, ours = self._folder / row["id"], self._started.get(row["id"])
        pid: int | None = row["pid"] or read_pid(folder)  # a server killed in between did not write it down
        if ours is not None:
            alive = ours.poll() is None
        else:
            alive = lives(folder) or (
                time.time() - row["begun"] < BEGIN_S and not (folder / "alive.lock").exists() and _runs(pid)
            )
        if alive:
            if row["cancelled"] is not None and pid is not None:
                _end(pid, time.time() - row["cancelled"])
            return False
        code = read_end(folder)
        if code is None and ours is not None and ours.returncode is not None and ours.returncode >= 0:
            code = ours.returncode
        if code is not None and (code != 130 or row["cancelled"] is not None):
            state: State = ENDS.get(code, "failed")
        else:
            state = "interrupted" if row["cancelled"] is None else "cancelled"
        with self._place.changing() as db:
            db.execute(
                "UPDATE jobs SET state = ?, ended = ?, exit_code = ? WHERE id = ?",
                (state, time.time(), code, row["id"]),
            )
        self._started.pop(row["id"], None)
        return True


def _runs(pid: int | None) -> bool:
    """False where there is surely no such process."""
    if pid is None or os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end(pid: int, after_s: float) -> None:
    """Ask a process and those it started to end; insist after a while. Nothing is half-written by that."""
    if os.name == "nt":
        task_kill = shutil.which("taskkill") or "taskkill"
        subprocess.run([task_kill, "/PID", str(pid), "/T", "/F"], check=False, capture_output=True)  # noqa: S603
        return
    kill, term = after_s > PATIENCE_S[1], after_s > PATIENCE_S[0]
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL if kill else signal.SIGTERM if term else signal.SIGINT)


def _result(folder: Path) -> object:
    """What the command printed; None where that is nothing, or too long for a page."""
    path = folder / "result.json"
    with contextlib.suppress(OSError, ValueError):
        if path.stat().st_size <= LARGEST_RESULT:
            return json.loads(path.read_text(encoding="utf-8"))
    return None


def _log(folder: Path) -> tuple[str, ...]:
    """The last lines that the command said, without control characters."""
    try:
        with (folder / "log.txt").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple(_CONTROL.sub("", text.replace("\r", "\n")).splitlines()[-LOG_LINES:])

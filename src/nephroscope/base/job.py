"""A command that another program runs as a job: it says that it lives, how far it is, and how it ended.

The folder that the environment names in NEPHROSCOPE_JOB then holds a lock, which the operating system frees when the
process ends, even if it was killed; and three small files. Without that variable nothing here does anything.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

VARIABLE = "NEPHROSCOPE_JOB"
LOCK, PROGRESS, END, PROCESS = "alive.lock", "progress.json", "end.json", "process.json"
_folder: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a job is; ``seconds_left`` is None until the speed is known."""

    what: str
    done: int
    total: int
    unit: str
    seconds_left: float | None = None


def is_job() -> bool:
    """True in a command that runs as a job."""
    return _folder is not None


@contextlib.contextmanager
def living() -> Iterator[None]:
    """Hold the lock of the job while the block runs; worker processes that it starts are no jobs."""
    global _folder
    name = os.environ.pop(VARIABLE, "")
    if not name:
        yield
        return
    from filelock import FileLock

    _folder = Path(name)
    with FileLock(_folder / LOCK):
        _write(_folder / PROCESS, {"pid": os.getpid()})
        yield
        _folder = None


def lives(folder: Path) -> bool:
    """True while the process of the job in this folder lives, whoever started it."""
    from filelock import FileLock, Timeout

    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True


def say_progress(progress: Progress) -> None:
    """Write how far this job is."""
    if _folder is not None:
        _write(_folder / PROGRESS, asdict(progress))


def say_end(exit_code: int) -> None:
    """Write how this job ended."""
    if _folder is not None:
        _write(_folder / END, {"exit_code": exit_code})


def _write(path: Path, content: dict[str, object]) -> None:
    temporary = path.with_suffix(".tmp")
    with contextlib.suppress(OSError):  # Windows: somebody reads it just now; the next one comes soon
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(path)


def read_progress(folder: Path) -> Progress | None:
    """How far the job in this folder is; None where it has not said so."""
    found = _read(folder / PROGRESS)
    return None if found is None else msgspec.convert(found, Progress)


def read_pid(folder: Path) -> int | None:
    """The process of the job in this folder; None where it has not begun."""
    found = _read(folder / PROCESS)
    return None if found is None else int(str(found["pid"]))


def read_end(folder: Path) -> int | None:
    """The exit code of the job in this folder; None where it has none: it runs, or was killed."""
    found = _read(folder / END)
    return None if found is None else int(str(found["exit_code"]))


def _read(path: Path) -> dict[str, object] | None:
    try:
        content: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content

"""One command at a time writes into a folder; those that only read go on meanwhile.

The operating system frees the lock when its process ends, even if it was killed.
"""

import contextlib
import errno
import functools
import logging
import os
import platform
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import NephroscopeError, StudyError
from nephroscope.base.files import make_folder, publish_folder

logging.getLogger("filelock").setLevel(logging.WARNING)  # its other messages quote paths
FORMAT = 1
LOCK = ".lock"
_held: set[tuple[Path, int]] = set()  # by this process: lock files, each with the thread that holds it


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who writes into a folder.

    Attributes:
        command: Such as ``slices``.
        pid: Of the process.
        host: Name of the computer.
        since: Date and time there.
    """

    command: str
    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"`{self.command}`, process {self.pid} on {self.host} since {self.since}"


@contextlib.contextmanager
def writing(folder: Path, command: str, lock: str = LOCK, remove: bool = False) -> Iterator[None]:
    """Let no other process write into a folder while the block runs; blocks inside the block are fine.

    Args:
        folder: Such as a study.
        command: What the others are told is running.
        lock: Name of the lock file in the folder.
        remove: Remove the lock file afterwards, from a folder that is given away.

    Raises:
        StudyError: Another process writes there; it is named, with its computer and since when.
    """
    from filelock import FileLock, Timeout

    path = folder.resolve() / lock
    key = (path, threading.get_ident())
    if key in _held:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    holder = path.with_name(f"{lock}.json")
    held = FileLock(path, thread_local=False)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise _busy(folder, holder) from None
    _held.add(key)
    try:
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        me = Holder(command=command, pid=os.getpid(), host=platform.node(), since=since)
        save_document(holder, me, FORMAT)
        yield
    finally:
        _held.discard(key)
        holder.unlink(missing_ok=True)
        if remove and os.name != "nt":  # Windows removes no open file
            path.unlink(missing_ok=True)
        held.release()


@contextlib.contextmanager
def alone_at(path: Path, command: str) -> Iterator[None]:
    """Let no other process make a file or folder of this name while the block runs; the lock lies next to it.

    Raises:
        StudyError: Another process is making it.
    """
    with writing(path.parent, command, f".{path.name}{LOCK}", remove=True):
        yield


@contextlib.contextmanager
def new_folder(folder: Path, command: str) -> Iterator[Path]:
    """Give a draft folder; it gets the name ``folder`` when the block succeeds, otherwise it is removed.

    Raises:
        StudyError: Another process is making the folder.
        FileExistsError: The name is taken.
    """
    make_folder(folder.parent)
    draft = folder.with_name(f".{folder.name}.part")
    with alone_at(folder, command):
        if folder.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
        shutil.rmtree(draft, ignore_errors=True)  # of a command that was killed
        draft.mkdir()
        try:
            yield draft
            publish_folder(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _holder(path: Path) -> str:
    try:
        return str(read_document(path, Holder, FORMAT))
    except NephroscopeError:
        return "another command"


def _busy(folder: Path, holder: Path) -> StudyError:
    who = _holder(holder)
    return StudyError(
        where=f"folder {folder.resolve().name}",
        expected="one command at a time that writes there",
        found=f"{who}, which is still running",
        remedy="wait until it ends, and run this again",
    )


def who_writes(folder: Path) -> str:
    """The command that writes into a folder now, with process, computer and since when; empty when none does."""
    from filelock import FileLock, Timeout

    path = folder.resolve() / LOCK
    if not path.exists():
        return ""
    try:
        with FileLock(path, timeout=0):
            return ""
    except Timeout:
        return _holder(path.with_name(f"{LOCK}.json"))
    except OSError:  # a folder of somebody else
        return ""


class Locked(Protocol):
    """What has a folder that one command at a time writes into."""

    @property
    def _lock_folder(self) -> Path:
        """The folder."""
        ...


Method = TypeVar("Method", bound=Callable[..., Any])


def writes(command: str) -> Callable[[Method], Method]:
    """Mark a method as one that writes into the folder of its object: one process at a time runs such a method."""

    def mark(method: Method) -> Method:
        @functools.wraps(method)
        def alone(self: Locked, *args: Any, **kwargs: Any) -> Any:
            with writing(self._lock_folder, command):
                return method(self, *args, **kwargs)

        return cast(Method, alone)

    return mark

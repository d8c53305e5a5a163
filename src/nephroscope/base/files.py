"""Write files completely or not at all (temporary name, then rename), compute digests, and lock folders."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nephroscope.base.errors import StudyError
from nephroscope.base.limits import parse_json


def digest_of(content: object) -> str:
    """First 16 hex digits of the SHA-256 of ``content`` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path next to ``path``; it is renamed to it when the block succeeds, otherwise removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_together(folder: Path, name: str) -> Iterator[Path]:
    """Give a temporary folder; the files written there replace those of ``folder`` when the block succeeds.

    All of them or none: when the process is killed while they are moved, `finish_replacing` moves the rest.

    Args:
        folder: Holds the files.
        name: Of this group of files.
    """
    finish_replacing(folder, name)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{name}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(folder / f".{name}.ready")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    finish_replacing(folder, name)


def finish_replacing(folder: Path, name: str) -> None:
    """Move the files that an interrupted `replacing_together` had ready; mostly there are none."""
    ready = folder / f".{name}.ready"
    if not ready.is_dir():
        return
    for path in sorted(ready.iterdir()):
        with contextlib.suppress(FileNotFoundError):  # another process moves them too
            path.replace(folder / path.name)
    with contextlib.suppress(FileNotFoundError):
        ready.rmdir()


def save_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, completely or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def copy_file(source: Path, path: Path) -> None:
    """Copy the content of a file, completely or not at all."""
    with replacing(path) as temporary:
        shutil.copyfile(source, temporary)


def save_json(path: Path, content: object) -> None:
    """Write ``content`` as indented JSON, completely or not at all."""
    save_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def load_json(path: Path, newest_format: int) -> dict[str, Any]:
    """Read one of our JSON files.

    Raises:
        StudyError: The file is not a JSON object, or of a format newer than ``newest_format``.
    """
    try:
        text, again = path.read_text(encoding="utf-8"), "remove the file and run the step that makes it again"
        content: Any = parse_json(text, path.name, StudyError, again)
        number = content["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(
            where=path.name,
            expected="a JSON object with a format number",
            found=f"other content ({error})",
            remedy=again,
        ) from error
    if not isinstance(number, int) or number > newest_format:
        raise StudyError(
            where=path.name,
            expected=f"format {newest_format} or older",
            found=f"format {number}",
            remedy="it was written by a newer nephroscope: update this one",
        )
    return dict(content)


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Lock the folder while the block runs: two replications of one network would overwrite each other's epochs.

    The operating system frees the lock when the process ends, even if it was killed. Systems without such locks
    (Windows) lock nothing.

    Raises:
        StudyError: Another process holds the lock.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StudyError(
                where=f"{folder.parent.name}/{folder.name}",
                expected="one replication at a time",
                found="another replication running on this study",
                remedy="wait until it ends; finished work is not repeated",
            ) from error
        except OSError:
            pass  # a file system without locks
        yield

"""Write files whole or not at all, also through a lost power supply: synced, then renamed. And digests.

A file is written under another name, synced to the disk, renamed, and its folder is synced. So after a kill, a full
disk or a power cut there is the file as it was or the new one, never a part or an empty one.
"""

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from nephroscope.base.errors import StudyError

_UNFINISHED = re.compile(r"\..+\.([0-9a-f]{6})-(\d+)\.tmp")
_OTHER_HOST_S = 7 * 86400.0  # whether a process of another computer lives is not seen from here
_tidied: set[Path] = set()  # folders in which this process looked for what killed ones left
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP}  # a file system that cannot sync folders
SEAL_BYTES = 32
MANY_FILES = 200
CHECKSUM = "checksum"  # in our JSON files: digest of everything else in the file
SEEN = ".seen.json"  # in a group of files that is ready: digests of the files that it replaces, as they were read


def _host() -> str:
    """Where process numbers mean the same: this computer, and on Linux this container of it."""
    space = ""
    with contextlib.suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:6]


HOST = _host()


def digest_of(content: object) -> str:
    """First 16 hex digits of the SHA-256 of ``content`` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Seen:
    """A file as it was before it was read; `unchanged` refuses to write over what a person saved meanwhile.

    Attributes:
        digest: SHA-256 of its bytes; None where there was no file.
    """

    path: Path
    digest: str | None

    @classmethod
    def of(cls, path: Path) -> "Seen":
        """The file as it is now: to be asked before it is read."""
        return cls(path, _digest_of_file(path))

    def unchanged(self) -> None:
        """Raise StudyError where the file is another one now."""
        if _digest_of_file(self.path) != self.digest:
            raise StudyError(
                where=self.path.name,
                expected="the file as this command read it",
                found="that it was changed since, by a person or another program",
                remedy="run the command again; nothing was written over",
            )


def file_digest(path: Path) -> str:
    """SHA-256 of the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of_file(path: Path) -> str | None:
    try:
        return file_digest(path)
    except FileNotFoundError:
        return None


def sync_file(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; Windows does that by itself."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, synced."""
    missing = list(takewhile(lambda part: not part.exists(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    for part in missing:
        sync_folder(part.parent)


def publish_folder(draft: Path, folder: Path) -> None:
    """Rename a folder of new files to a name that is not taken yet, after everything in it is on the disk.

    Raises:
        OSError: The name is taken.
    """
    paths = list(draft.rglob("*"))
    if len(paths) > MANY_FILES and sys.platform == "linux":
        os.sync()  # everything at once: ten times as fast as thousands of files one by one
    else:
        for path in paths:
            (sync_folder if path.is_dir() else sync_file)(path)
        sync_folder(draft)
    draft.rename(folder)
    sync_folder(folder.parent)


def temporary_for(path: Path) -> Path:
    """A name next to ``path`` for what this process has not finished; what killed processes left there goes.

    A folder is looked through once by a process.
    """
    folder = path.parent
    if folder not in _tidied:
        _tidied.add(folder)
        with contextlib.suppress(OSError):
            _remove_unfinished(folder)
    return path.with_name(f".{path.name}.{HOST}-{os.getpid()}.tmp")


def _remove_unfinished(folder: Path) -> None:
    for left in folder.iterdir():
        found = _UNFINISHED.fullmatch(left.name)
        if found is None or not _is_left(left, found[1], int(found[2])):
            continue
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _is_left(path: Path, host: str, pid: int) -> bool:
    """True where the process that was writing it is gone."""
    if host == HOST:
        return pid != os.getpid() and not process_lives(pid)
    try:
        return time.time() - path.lstat().st_mtime > _OTHER_HOST_S
    except OSError:
        return False


def process_lives(pid: int) -> bool:
    """True while this computer runs a process of that number."""
    if sys.platform == "win32":
        import ctypes

        still_active, may_ask = 259, 0x1000
        system = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = system.OpenProcess(may_ask, False, pid)
        if not handle:
            return bool(ctypes.get_last_error() == 5)  # there is one, of somebody else
        code = ctypes.c_ulong()
        asked = system.GetExitCodeProcess(handle, ctypes.byref(code))
        system.CloseHandle(handle)
        return not asked or code.value == still_active
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@contextlib.contextmanager
def replacing(path: Path, seen: Seen | None = None) -> Iterator[Path]:
    """Give a temporary path next to ``path``; it is renamed to it when the block succeeds, otherwise removed.

    Args:
        path: The file, whole or as before.
        seen: The file as it was read.

    Raises:
        StudyError: The file changed since it was seen; nothing is written then.
    """
    make_folder(path.parent)
    temporary = temporary_for(path)
    try:
        yield temporary
        sync_file(temporary)
        if seen is not None:
            seen.unchanged()
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_together(folder: Path, name: str, seen: Sequence[Seen] = ()) -> Iterator[Path]:
    """Give a temporary folder; the files written there replace those of ``folder`` when the block succeeds.

    All of them or none: when the process is killed while they are moved, `finish_replacing` moves the rest.

    Args:
        folder: Holds the files.
        name: Of this group of files.
        seen: Files of the folder as they were read.

    Raises:
        StudyError: A file changed since it was seen; nothing is written then.
    """
    finish_replacing(folder, name)
    make_folder(folder)
    temporary = temporary_for(folder / name)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        replace_together(temporary, folder, name, seen)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_together(draft: Path, folder: Path, name: str, seen: Sequence[Seen] = ()) -> None:
    """Move the files of a draft folder into ``folder``: all of them or, when something interrupts it, none.

    Args:
        draft: Next to or below ``folder``; it is gone afterwards.
        folder: Holds the files.
        name: Of this group of files.
        seen: Files of the folder as they were read.

    Raises:
        StudyError: A file changed since it was seen; nothing is written then.
    """
    if seen:
        digests = {one.path.name: one.digest for one in seen}
        (draft / SEEN).write_text(json.dumps(digests), encoding="utf-8")
    for one in seen:
        one.unchanged()
    publish_folder(draft, folder / f".{name}.ready")
    finish_replacing(folder, name)


def finish_replacing(folder: Path, name: str) -> None:
    """Move the files that an interrupted `replace_together` had ready; mostly there are none.

    What a person saved in between under one of the names is kept next to it, as ``NAME.kept``.
    """
    ready = folder / f".{name}.ready"
    if not ready.is_dir():
        return
    try:
        seen = json.loads((ready / SEEN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        seen = {}
    for path in sorted(ready.iterdir()):
        target = folder / path.name
        if path.name == SEEN:
            continue
        with contextlib.suppress(FileNotFoundError):  # another process moves them too
            if path.name in seen and target.exists() and _digest_of_file(target) != seen[path.name]:
                target.replace(target.with_name(f"{target.name}.kept"))
            path.replace(target)
    sync_folder(folder)
    shutil.rmtree(ready, ignore_errors=True)


def save_text(path: Path, text: str, seen: Seen | None = None) -> None:
    """Write ``text`` as UTF-8, whole or not at all; refused where the file changed since it was ``seen``."""
    with replacing(path, seen) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_sealed(path: Path, content: bytes, made_from: str = "") -> None:
    """Write bytes and behind them a seal: SHA-256 of the file's name, of ``made_from`` and of the bytes."""
    with replacing(path) as temporary:
        temporary.write_bytes(content + _seal(path, content, made_from))


def load_sealed(path: Path, made_from: str = "") -> bytes | None:
    """The bytes of a sealed file; None where there is none, or it is damaged, of another name or made from others."""
    try:
        held = path.read_bytes()
    except OSError:
        return None
    content, seal = held[:-SEAL_BYTES], held[-SEAL_BYTES:]
    return content if seal == _seal(path, content, made_from) else None


def _seal(path: Path, content: bytes, made_from: str) -> bytes:
    return hashlib.sha256(f"{path.name}\n{made_from}\n".encode() + content).digest()


def copy_file(source: Path, path: Path) -> None:
    """Copy the content of a file, completely or not at all."""
    with replacing(path) as temporary:
        shutil.copyfile(source, temporary)


def save_json(path: Path, content: Mapping[str, object], checksum: bool = True) -> None:
    """Write ``content`` as indented JSON, whole or not at all.

    Args:
        path: The file.
        content: An object with a format number.
        checksum: Add one that is compared when the file is read; not where the content has its own.
    """
    plain = json.loads(json.dumps(content))
    added = {CHECKSUM: digest_of(plain)} if checksum else {}
    save_text(path, json.dumps({**plain, **added}, indent=1, ensure_ascii=False) + "\n")


def relative_to(folder: Path, path: Path | None) -> str:
    """A path as written in a study: relative (with /) if below the study, otherwise absolute; empty for None."""
    if path is None:
        return ""
    if path.is_absolute() and path.is_relative_to(folder.resolve()):
        path = path.relative_to(folder.resolve())
    return path.as_posix()

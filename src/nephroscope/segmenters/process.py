"""Run another program: without a shell, in a scratch folder, with a time limit that ends all that it started."""

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from nephroscope.segmenters import guard
from nephroscope.segmenters.guard import MARK
from nephroscope.segmenters.refusal import FailedError, TimeLimitError

NOT_PASSED_ON = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONSAFEPATH", "NEPHROSCOPE_JOB")
LOOK_S = 1.0
LAST_BYTES, MOST_LOG_BYTES, LEAST_FREE = 4000, 2**26, 2**28
CAUSES = (
    (re.compile(r"No module named '?([A-Za-z_][\w.]{0,40})"), "its Python has no module {}"),
    (
        re.compile(r"(?i)out of memory|MemoryError|bad_alloc|cannot allocate memory"),
        "it had too little memory",
    ),
    (re.compile(r"No space left on device"), "its disk is full"),
    (re.compile(r"\b(?:CUDA|GPU|cuDNN|NVIDIA)\b", re.IGNORECASE), "what it printed is about a GPU"),
    (re.compile(r"^(?:[\w.]+\.)?([A-Z]\w{1,40}(?:Error|Exception))\b", re.MULTILINE), "it ended with {}"),
)


def run_program(
    command: Sequence[str], scratch: Path, limit_s: float, where: str, more: Mapping[str, str] | None = None
) -> float:
    """Run a program to its end; returns the seconds that it took.

    What it started and left behind is ended too, also when it ended well or this function was interrupted.

    Args:
        command: Program and arguments, as they are.
        scratch: Its working folder and its folder for temporary files; what it prints is kept here.
        limit_s: After so many seconds it is ended.
        where: Case and program, in refusals.
        more: Further variables of its environment.

    Raises:
        SegmenterError: It could not be started, took longer, or ended with another exit code than 0.
    """
    mark = secrets.token_hex(16)
    environment = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
    environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)) | {MARK: mark, **(more or {})}
    begun = time.monotonic()
    logs = [scratch / "out.txt", scratch / "log.txt"]
    with ExitStack() as stack:
        out, log = (stack.enter_context(path.open("ab")) for path in logs)  # so that they can be cut short
        watcher = stack.enter_context(_guarded(mark, scratch))
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's program, without a shell
                [*command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env=environment,
                cwd=scratch,
                start_new_session=os.name != "nt",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise FailedError(
                where=where,
                expected=f"a program {Path(command[0]).name} that can be started",
                found=error.strerror or type(error).__name__,
                remedy="install it, or give its whole path",
            ) from error
        _tell(watcher, str(process.pid))
        full = False
        try:
            code, full = _wait(process, begun + limit_s, logs)
        finally:
            guard.end_all(process.pid, mark)
            if os.name == "nt":
                process.kill()
            process.wait()
    if full:
        raise FailedError(
            where=where,
            expected=f"room on the disk for what it writes, and {LEAST_FREE // 2**20} MiB more",
            found="less; the program and what it had started were ended",
            remedy="make room in the folder for temporary files, or set TMPDIR to another",
        )
    if code is None:
        raise TimeLimitError(
            where=where,
            expected=f"an answer within {limit_s:g} s",
            found="none; the program and what it had started were ended",
            remedy="give more time with --limit-s, or a faster computer",
        )
    if code:
        raise FailedError(
            where=where,
            expected="exit code 0",
            found=f"{code}{_why(scratch)}",
            remedy="run the command that --dry-run prints by hand, and read what it says",
        )
    return time.monotonic() - begun


def _wait(process: "subprocess.Popen[bytes]", until: float, logs: Sequence[Path]) -> tuple[int | None, bool]:
    """Its exit code, None where it still runs at that time; and whether it filled the disk.

    What it prints is cut short, so that a program that never stops printing harms nobody.
    """
    while (left := until - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(min(left, LOOK_S)), False
        for path in logs:
            if path.stat().st_size > MOST_LOG_BYTES:
                os.truncate(path, 0)
        if shutil.disk_usage(logs[0].parent).free < LEAST_FREE:
            return None, True
    return process.poll(), False


@contextlib.contextmanager
def _guarded(mark: str, scratch: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that outlives this one where it is killed, and then ends what it had started."""
    command = [sys.executable, "-I", "-S", str(Path(guard.__file__)), mark, str(scratch)]
    with subprocess.Popen(  # noqa: S603 - of ours
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=os.name != "nt",
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    ) as process:
        try:
            yield process
        finally:
            _tell(process, "done")


def _tell(process: "subprocess.Popen[bytes]", word: str) -> None:
    assert process.stdin is not None  # noqa: S101
    with contextlib.suppress(OSError):  # somebody killed the guard
        process.stdin.write(f"{word}\n".encode())
        process.stdin.flush()


def _why(scratch: Path) -> str:
    """What is known of a failure from what the program printed, in words of ours: it may name a patient."""
    said = "".join(_end_of(scratch / name) for name in ("out.txt", "log.txt"))
    for pattern, words in CAUSES:
        if found := pattern.search(said):
            return f"; {words.format(*found.groups())}"
    return ""


def _end_of(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_BYTES))
        return file.read().decode("utf-8", "replace")

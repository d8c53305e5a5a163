"""Run another program: without a shell, in a scratch folder, with a time limit that ends all that it started."""

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from nephroscope.segmenters.refusal import FailedError, TimeLimitError

MARK = "NEPHROSCOPE_SEGMENTER"  # in the environment of the program and of all that it starts
NOT_PASSED_ON = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONSAFEPATH", "NEPHROSCOPE_JOB")
LOOK_S = 0.05
LAST_BYTES, LAST_CHARACTERS = 4000, 160
_CONTROL = re.compile(r"[^\x20-\x7e]+")


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
    with (scratch / "out.txt").open("wb") as out, (scratch / "log.txt").open("wb") as log:
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
        try:
            code = _wait(process, begun + limit_s)
        finally:
            _end_all(process, mark)
    if code is None:
        raise TimeLimitError(
            where=where,
            expected=f"an answer within {limit_s:g} s",
            found="none; the program and what it had started were ended",
            remedy="give more time with --limit-s, or a faster computer",
        )
    if code:
        said = _last_line(scratch / "log.txt") or _last_line(scratch / "out.txt")
        raise FailedError(
            where=where,
            expected="exit code 0",
            found=f"{code}{f', and it said: {said}' if said else ''}",
            remedy="run the command that --dry-run prints by hand",
        )
    return time.monotonic() - begun


def _wait(process: "subprocess.Popen[bytes]", until: float) -> int | None:
    """Its exit code; None where it still runs at that time."""
    while (left := until - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(min(left, LOOK_S * 20))
    return process.poll()


def _end_all(process: "subprocess.Popen[bytes]", mark: str) -> None:
    """End a program and everything that it started, as far as the system shows it."""
    if os.name == "nt":
        if process.poll() is None:
            task_kill = shutil.which("taskkill") or "taskkill"
            ending = [task_kill, "/PID", str(process.pid), "/T", "/F"]
            subprocess.run(ending, check=False, capture_output=True)  # noqa: S603
            process.kill()
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for pid in _marked(mark):  # those that left its group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def _marked(mark: str) -> list[int]:
    """Processes that have the mark in their environment; only Linux shows that."""
    if sys.platform != "linux":
        return []
    found, wanted = [], f"{MARK}={mark}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


def _last_line(path: Path) -> str:
    """The end of the last line that is not empty, in plain characters."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_BYTES))
        text = file.read().decode("utf-8", "replace")
    lines = [plain for line in text.splitlines() if (plain := _CONTROL.sub(" ", line).strip())]
    return lines[-1][-LAST_CHARACTERS:] if lines else ""

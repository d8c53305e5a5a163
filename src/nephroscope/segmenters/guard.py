"""Program: wait for the end of the one that started it; where it was killed, end what it had started, and tidy up.

Run as ``python guard.py MARK SCRATCH``, with a pipe as its input: a line with a process number, and ``done`` at the
end. Standard library alone, so that it starts at once.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MARK = "NEPHROSCOPE_SEGMENTER"  # in the environment of the program and of all that it starts


def end_all(pid: int | None, mark: str) -> None:
    """End a program and everything that it started, as far as the system shows it."""
    if os.name == "nt":
        if pid is not None:
            task_kill = shutil.which("taskkill") or "taskkill"
            ending = [task_kill, "/PID", str(pid), "/T", "/F"]
            subprocess.run(ending, check=False, capture_output=True)  # noqa: S603
        return
    if pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    for one in _marked(mark):  # those that left its group
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(one, signal.SIGKILL)


def _marked(mark: str) -> Iterator[int]:
    """Processes that have the mark in their environment; only Linux shows that."""
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").iterdir() if sys.platform == "linux" else ():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)


def main(mark: str, scratch: Path) -> None:
    """Wait, and end what is left unless all went well."""
    pid, done = None, False
    for line in sys.stdin:
        word = line.strip()
        pid, done = (int(word), done) if word.isdigit() else (pid, word == "done")
    if not done:
        end_all(pid, mark)
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

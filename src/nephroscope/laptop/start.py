"""Start nephroscope from this folder: installed into it on the first start, without a network, and then opened.

This file is copied into the folder that `nephroscope laptop` makes, and needs nothing but Python. Without further
words it opens the workstation with the bundle; otherwise the words are a command of nephroscope.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

LONGEST_ON_WINDOWS = 259
LAST_LINES = 8
LEFT_BEHIND_S = 3600
TRIES = 20
OURS = {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}


class Refused(Exception):  # noqa: N818 - what is said to a person
    """The program cannot be installed or started here, and why."""


def main(words: list[str]) -> int:
    """Install where needed, then run; gives the exit code."""
    root = Path(__file__).resolve().parent
    try:
        about = json.loads((root / "laptop.json").read_text(encoding="utf-8"))
        check_python(about)
        python = installed(root, about)
    except Refused as error:
        sys.stderr.write(f"nephroscope cannot be started: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"nephroscope cannot be started: {error.strerror}: {error.filename}\n")
        return 2
    command = words or ["workstation", str(root / "bundle")]
    process = subprocess.Popen([str(python), "-m", "nephroscope", *command], env=environment())  # noqa: S603
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the program got it too, and ends in its own way
            continue


def check_python(about: dict[str, object]) -> None:
    """Raise Refused where this Python cannot run the wheels of the folder."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if here != about["python"]:
        raise Refused(f"this folder was made for Python {about['python']}, and this is Python {here}")
    if sys.platform != about["sys_platform"]:
        raise Refused(
            f"this folder was made for {about['system']}, and this computer is another ({sys.platform})"
        )
    if sys.maxsize < 2**32:
        raise Refused("this Python is of 32 bit; install the one of 64 bit")


def installed(root: Path, about: dict[str, object]) -> Path:
    """Python of the installed program, which is installed first where it is not there or not the right one."""
    requirements = root / "requirements.txt"
    made_from = hashlib.sha256(requirements.read_bytes()).hexdigest()
    program = root / "program"
    python = program / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not usable(python, program / "made-from.txt", made_from):
        check_paths(root, int(str(about["longest_path"])))
        sys.stderr.write(
            "Installing nephroscope into this folder. This is done once and takes about a minute.\n"
        )
        sys.stderr.flush()
        part = root / f"program.{os.getpid()}.part"
        for left in root.glob("program.*.part"):  # of a start that was killed, not of one that is at work
            if left == part or time.time() - left.stat().st_mtime > LEFT_BEHIND_S:
                shutil.rmtree(left, ignore_errors=True)
        try:
            install(part, requirements, made_from)
            shutil.rmtree(program, ignore_errors=True)
            if not usable(python, program / "made-from.txt", made_from):  # or another start was quicker
                name_it(part, program)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return python


def name_it(part: Path, program: Path) -> None:
    """Rename the finished installation; on Windows, once virus scanners have let go of its new files."""
    for _ in range(TRIES):
        try:
            part.rename(program)
            return
        except PermissionError:
            time.sleep(1)
    part.rename(program)


def usable(python: Path, note: Path, made_from: str) -> bool:
    """Whether the installed program is that of this folder, and its Python still runs."""
    try:
        if note.read_text(encoding="utf-8") != made_from:
            return False
        return subprocess.run([str(python), "-c", ""], check=False, env=environment()).returncode == 0  # noqa: S603
    except OSError:
        return False


def check_paths(root: Path, longest: int) -> None:
    """Raise Refused where Windows would not take the longest path of the installed program."""
    if os.name == "nt" and len(str(root)) + longest > LONGEST_ON_WINDOWS:
        most = LONGEST_ON_WINDOWS - longest
        raise Refused(
            f"the path of this folder has {len(str(root))} letters, at most {most} work; move it higher up"
        )


def install(part: Path, requirements: Path, made_from: str) -> None:
    """Make an environment in ``part`` and install the wheels of the folder into it, each compared with its hash."""
    root = requirements.parent
    try:
        venv.EnvBuilder(symlinks=os.name != "nt").create(part)
    except OSError as error:
        raise Refused(
            f"this folder cannot be written ({error.strerror}); copy it to one of your own"
        ) from error
    python = part / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = checked_pip(root / "wheels", requirements)
    options = ("--isolated", "--no-cache-dir", "--disable-pip-version-check")
    offline = (
        "--no-warn-script-location",
        "--no-compile",
        "--no-index",
        "--no-deps",
        "--require-hashes",
        "--find-links",
        str(root / "wheels"),
    )
    command = [
        str(python),
        str(pip / "pip"),
        *options,
        "install",
        "--quiet",
        *offline,
        "-r",
        str(requirements),
    ]
    done = subprocess.run(  # noqa: S603
        command,
        check=False,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=environment(),
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:])
        raise Refused(
            f"its packages could not be installed; copy the folder again if a hash differs.\n{said}"
        )
    (part / "made-from.txt").write_text(made_from, encoding="utf-8")


def checked_pip(wheels: Path, requirements: Path) -> Path:
    """The wheel of pip, which compares the hashes of all others; its own is compared here."""
    for wheel in wheels.glob("pip-*.whl"):
        if hashlib.sha256(wheel.read_bytes()).hexdigest() in requirements.read_text(encoding="utf-8"):
            return wheel
    raise Refused("the wheel of pip is missing or was changed; copy the folder again")


def environment() -> dict[str, str]:
    """This process's environment in UTF-8, without other installations of Python or code of the working folder."""
    kept = {name: value for name, value in os.environ.items() if name.upper() not in OURS}
    return {**kept, "PYTHONUTF8": "1", "PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1"}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

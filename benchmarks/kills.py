"""Kill commands at random moments, run them again, and compare with a run that nothing disturbed.

    python benchmarks/kills.py [NUMBER_OF_KILLS] [SEED] [COMMAND ...]

Each round copies one study, kills a command after a random time (SIGKILL, or TerminateProcess on Windows), runs it to
its end and compares: of `import`, `slices` and `split` every byte; of the commands that follow what
tests/test_whole_or_not.py looks at, as their files say when they were made. A process that is left over after a kill
counts too. Prints a line per command; exit code 1 where something differs.
"""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import test_whole_or_not as tried
from nephroscope import Study
from nephroscope.intake.phantom.write import write_phantoms

Look = Callable[[Path], object]
Words = Callable[[Path], list[str]]
BYTES: dict[str, Words] = {  # of which every byte is compared
    **{name: words for name, (words, *_) in tried.COMMANDS.items()},
    "import more": tried.import_more,
    "import dicom": lambda root: [
        *("import", "dicom", str(root), str(root / "export")),
        *("--labels", str(root / "export" / "clinical.csv")),
    ],
    "import phantom": lambda root: ["import", "phantom", str(root), "--cases", "3"],
}
SMALL = ["--models", "shufflenet_v2_x1_0", "--epochs", "1"]
LONGER: dict[str, tuple[Words, Look]] = {
    **{name: (words, look) for name, (words, look, _) in tried.LATER.items()},
    "capacity": (
        lambda root: ["capacity", str(root), *SMALL, "--widths", "0.5", "1"],
        lambda root: tried.held(root / "capacity" / "capacity.json"),
    ),
    "replicate": (
        lambda root: [
            *("replicate", "zuo2021", str(root), *SMALL, "--images-per-epoch", "16", "--twin-folds", "1"),
            *("--shuffled-model", "none"),
        ],
        lambda root: tried.held(root / "replicate" / "zuo2021" / "replicate.json"),
    ),
}
COMMANDS = (*BYTES, *LONGER, "train --jobs 2", "compare --jobs 2", "replicate --jobs 2")
LAPTOP = """
import sys
from pathlib import Path
from nephroscope.cli import run
from nephroscope.laptop import folder
pins = Path(sys.argv[1]).parent / "pins.txt"
folder.pinned_text = lambda: pins.read_text(encoding="utf-8")
sys.exit(run(["laptop", *sys.argv[1:]]))
"""  # with small wheels instead of those that it pins


def words(command: str, root: Path) -> list[str]:
    """The command line, as far as it has come."""
    name, *more = command.split()
    given = BYTES[command](root) if command in BYTES else [*LONGER[name][0](root), *more]
    if given[0] == "laptop":
        return [sys.executable, "-c", LAPTOP, *given[1:]]
    return [sys.executable, "-m", "nephroscope", *given]


def kept(root: Path) -> dict[str, str]:
    """Digest of every file of a study that people and commands read."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.relative_to(root).as_posix().startswith((".", "slices/."))
    }


def before(command: str, made: Path, root: Path) -> None:
    """A study in which the command has work to do: always at the same path, which some files quote."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(made, root)
    if command == "import":
        for file in ("cohort.csv", "series.csv", "rois.csv", "exclusions.csv", "findings.json"):
            (root / file).unlink(missing_ok=True)
    if command == "slices":
        Study(root).change("slices", margin_mm=5.0)


def left_over(root: Path) -> list[str]:
    """Processes that still work on the study; none where /proc does not say so."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if path.resolve() == root.parent and path.parent.name != str(os.getpid()):
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def kill_once(command: str, root: Path, seconds: float) -> bool:
    """Kill it after so many seconds; True when it had ended before."""
    with subprocess.Popen(words(command, root), stdout=-1, stderr=-1, cwd=root.parent) as process:
        time.sleep(seconds)
        ended = process.poll() is not None
        process.kill()
    return ended


def end(command: str, root: Path) -> None:
    """Run it to its end; a command that is refused is no trial."""
    done = subprocess.run(words(command, root), check=False, capture_output=True, text=True, cwd=root.parent)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{command}, again: exit code {done.returncode}: {done.stderr[-400:]}")


def wait_for_workers(root: Path) -> list[str]:
    """Those that did not end within five seconds after their parent."""
    until = time.monotonic() + 5
    while (found := left_over(root)) and time.monotonic() < until:
        time.sleep(0.2)
    return found


def try_one(command: str, made: Path, root: Path, n_kills: int, chance: random.Random) -> int:
    """Kill one command so often; gives how often something was wrong."""
    look: Look = kept if command in BYTES else LONGER[command.split()[0]][1]
    before(command, made, root)
    started = time.monotonic()
    end(command, root)
    seconds, whole = time.monotonic() - started, look(root)
    n_ended = n_differ = n_left = 0
    for _ in range(n_kills):
        before(command, made, root)
        n_ended += kill_once(command, root, chance.uniform(0.3, 1.0) * seconds)
        left = wait_for_workers(root)
        n_left += bool(left)
        if look(root) != whole or command.split()[0] not in tried.DONE:
            end(command, root)
        found = look(root)
        if command.startswith("import") and "case-known" in (root / "findings.json").read_text("utf-8"):
            found = {
                **found,
                "findings.json": whole["findings.json"],
            }  # killed when all was written: it says so
        if found != whole:
            n_differ += 1
            print(f"{command}: differs")
    print(
        f"{command}: {n_kills} kills within {seconds:.1f} s, {n_ended} came too late, {n_differ} ended differently, "
        f"{n_left} left a process behind",
        flush=True,
    )
    return n_differ + n_left


def main(n_kills: int = 60, seed: int = 0, *commands: str) -> int:
    """Kill so many times; gives the exit code."""
    chance, wrong, asked = random.Random(seed), 0, commands or COMMANDS  # noqa: S311
    with tempfile.TemporaryDirectory() as name:
        places = tried.Places(Path(name).resolve())
        made = tried.made.__wrapped__(places)
        write_phantoms(made / "export", 3, 5)
        complete = tried.complete.__wrapped__(made, places) if {*asked} - {*BYTES} else made
        place = places.mktemp("tried")
        for command in asked:
            of = made if command in BYTES else complete
            wrong += try_one(command, of, place / "study", max(n_kills // len(asked), 1), chance)
    return int(wrong > 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    numbers = [int(argument) for argument in sys.argv[1:3]]
    raise SystemExit(main(*numbers, *sys.argv[3:]))

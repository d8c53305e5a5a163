"""Kill commands at random moments, run them again, and compare every byte with a run that nothing disturbed.

    python benchmarks/kills.py [NUMBER_OF_KILLS] [SEED]

Each round copies one study, kills `import`, `slices` or `split` after a random time (SIGKILL, or TerminateProcess on
Windows), runs the command to its end and compares. Prints a line per command; exit code 1 where a byte differs.
"""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from small_study import make_study

COMMANDS = ("import", "slices", "split")


def words(name: str, root: Path) -> list[str]:
    """The command line."""
    more = {
        "import": ["nifti", root, root / "volumes", "--labels", root / "labels.csv"],
        "slices": [root],
        "split": [root, "--folds", "1", "--holdout", "0.3"],
    }
    return [sys.executable, "-m", "nephroscope", name, *map(str, more[name])]


def kept(root: Path) -> dict[str, str]:
    """Digest of every file of a study that people and commands read."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.relative_to(root).as_posix().startswith((".", "slices/."))
    }


def before(name: str, made: Path, root: Path) -> None:
    """A study in which the command has work to do: always at the same path, which some files quote."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(made, root)
    if name == "import":
        for file in ("cohort.csv", "series.csv", "rois.csv", "exclusions.csv", "findings.json"):
            (root / file).unlink(missing_ok=True)
    if name == "slices":
        text = (root / "study.toml").read_text(encoding="utf-8")
        (root / "study.toml").write_text(text.replace("margin_mm = 4.0", "margin_mm = 5.0"), encoding="utf-8")


def main(n_kills: int, seed: int) -> int:
    """Kill so many times; gives the exit code."""
    chance, wrong = random.Random(seed), 0  # noqa: S311
    with tempfile.TemporaryDirectory() as name:
        made, root = Path(name) / "made", Path(name) / "study"
        study = make_study(made, 24)
        study.cut_slices()
        for command in COMMANDS:
            before(command, made, root)
            started = time.monotonic()
            subprocess.run(words(command, root), check=True, capture_output=True)
            seconds, whole = time.monotonic() - started, kept(root)
            n_ended = n_differ = 0
            for _ in range(n_kills // len(COMMANDS)):
                before(command, made, root)
                with subprocess.Popen(words(command, root), stdout=-1, stderr=-1) as process:
                    time.sleep(chance.uniform(0.3, 1.0) * seconds)
                    n_ended += process.poll() is not None
                    process.kill()
                subprocess.run(words(command, root), check=True, capture_output=True)
                found = kept(root)
                noted = root / "findings.json"
                if command == "import" and "case-known" in noted.read_text(encoding="utf-8"):
                    found[noted.name] = whole[noted.name]  # killed when all was written: it says so
                n_differ += found != whole
                if found != whole:
                    names = {name for name in {*found, *whole} if found.get(name) != whole.get(name)}
                    print(f"{command}: other bytes in {', '.join(sorted(names))}")
            print(
                f"{command}: {n_kills // len(COMMANDS)} kills within {seconds:.1f} s, {n_ended} came too late, "
                f"{n_differ} ended differently"
            )
            wrong += n_differ
    return int(wrong > 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    raise SystemExit(main(*[int(argument) for argument in (*sys.argv[1:], 60, 0)[:2]]))

"""Seconds of each command that computes, alone and beside one busy process.

    python benchmarks/beside.py [--cases 40] [--repeats 3] [--seconds 60] [--only train predict ...]

Prints JSON: the processor and its load before, then a line per command: seconds of the clock alone and beside a
process that never rests (medians of runs that take turns), their ratio (median over turns; target on two cores: at
most 2), and seconds of the processor, which tell a command that spins while it waits. Run it on a machine that
does nothing else: other work lengthens both. Each command runs in a
process of its own, on a study of SYNTHETIC phantoms; what it wrote is removed before the next turn. A command takes
turns until its ``--seconds`` are up, but one at least.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train import processor

RUN = "shufflenet_v2_x1_0"
TRAIN = ("--model", RUN, "--epochs", "2", "--slices-per-case", "4", "--patience", "0")


@dataclass(frozen=True)
class Timed:
    """A command by its words, and what it writes, which is removed before each turn."""

    words: Sequence[object]
    writes: Sequence[str] = ()


def commands(root: Path, cases: int) -> dict[str, Timed]:
    """Every command that computes; ``study`` below ``root`` is complete."""
    study, runs = root / "study", f"study/runs/{RUN}"
    case = study / "phantom" / "SYNTHETIC-0001"
    answers = (f"{runs}/answers", f"{runs}/evaluation.json")
    return {
        "import phantom": Timed(("import", "phantom", root / "new", "--cases", cases), ("new/phantom",)),
        "check": Timed(("check", study), ("study/check",)),
        "agreement": Timed(("agreement", study), ("study/agreement",)),
        "slices": Timed(("slices", study), ("study/slices",)),
        "train": Timed(("train", study, *TRAIN, "--name", "again"), ("study/runs/again",)),
        "train --jobs 2": Timed(
            ("train", study, *TRAIN, "--name", "again", "--jobs", "2"), ("study/runs/again",)
        ),
        "evaluate": Timed(("evaluate", study, "--run", RUN), answers),
        "compare": Timed(
            ("compare", study, "--permutations", "8"),
            ("study/comparison", "study/features", *answers),
        ),
        "compare --jobs 2": Timed(
            ("compare", study, "--permutations", "8", "--jobs", "2"),
            ("study/comparison", "study/features", *answers),
        ),
        "report": Timed(("report", study, "--run", RUN), ("study/report", *answers)),
        "export": Timed(("export", study, "--run", RUN, "--out", root / "again"), ("again",)),
        "predict": Timed(("predict", root / "bundle", case / "ct", "--roi", case / "roi_reader1.dcm")),
        "statistics auc": Timed(
            ("statistics", "auc", root / "table.csv", "--positive", "yes", "--resamples", "20000")
        ),
        "statistics calibration": Timed(
            ("statistics", "calibration", root / "table.csv", "--positive", "yes", "--score", "p")
        ),
    }


def nephroscope(*words: object) -> tuple[float, float]:
    """Run a command in a new process: seconds of the clock, and of the processor with all that it started."""
    before = os.times()
    started = time.perf_counter()
    command = [sys.executable, "-m", "nephroscope", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(map(str, words))}: {done.stderr[-2000:]}")
    after = os.times()
    return seconds, sum(after[2:4]) - sum(before[2:4])


def prepare(root: Path, cases: int) -> None:
    """A study with a run and a bundle, an empty study, and a table of 500 patients with 20 rows each."""
    study = root / "study"
    for name in ("study", "new"):
        nephroscope("new", root / name, "--subtypes", "PRCC", "ChRCC")
    nephroscope("import", "phantom", study, "--cases", cases)
    nephroscope("slices", study)
    nephroscope("split", study, "--folds", "2")
    nephroscope("train", study, *TRAIN, "--name", RUN)
    nephroscope("export", study, "--run", RUN, "--out", root / "bundle")
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(500), 20)
    truth = patient % 2
    score = rng.normal(0.8 * truth + rng.normal(0, 1, 500)[patient], 1)
    rows = [
        f"{one},{'yes' if true else 'no'},{value:.6f},{1 / (1 + np.exp(-value)):.6f}"
        for one, true, value in zip(patient, truth, score, strict=True)
    ]
    (root / "table.csv").write_text("\n".join(["patient_id,truth,score,p", *rows]) + "\n")


def reset(root: Path, timed: Timed) -> None:
    """Remove what a command writes."""
    for name in timed.writes:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if timed.words[0] == "import":
        shutil.rmtree(root / "new", ignore_errors=True)
        nephroscope("new", root / "new", "--subtypes", "PRCC", "ChRCC")


def measure(root: Path, timed: Timed, repeats: int, most_s: float) -> dict[str, float]:
    """Medians alone and beside a busy process, which take turns until the time is up."""
    taken: dict[str, list[tuple[float, float]]] = {"alone": [], "beside": []}
    end, longest = time.monotonic() + most_s, 0.0
    for n in range(repeats):
        began = time.monotonic()
        if n and began + longest > end:
            break
        for way, found in taken.items():
            reset(root, timed)
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if way == "beside" else None
            try:
                found.append(nephroscope(*timed.words))
            finally:
                if busy is not None:
                    busy.kill()
                    busy.wait()
        longest = max(longest, time.monotonic() - began)
    wall, cpu = (
        {way: statistics.median(t[i] for t in found) for way, found in taken.items()} for i in (0, 1)
    )
    pairs = zip(taken["beside"], taken["alone"], strict=True)
    return {
        "turns": len(taken["alone"]),
        **{f"{way}_s": round(seconds, 2) for way, seconds in wall.items()},
        "beside_to_alone": round(statistics.median(beside[0] / alone[0] for beside, alone in pairs), 2),
        **{f"{way}_processor_s": round(seconds, 2) for way, seconds in cpu.items()},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60, help="of the turns of one command")
    parser.add_argument("--only", nargs="+", help="names of commands, such as train or 'import phantom'")
    args = parser.parse_args()
    print(json.dumps(processor()), flush=True)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        prepare(root, args.cases)
        chosen = {
            command: timed
            for command, timed in commands(root, args.cases).items()
            if args.only is None or command in args.only
        }
        for command, timed in chosen.items():
            taken = measure(root, timed, args.repeats, args.seconds)
            print(json.dumps({"command": command, **taken}), flush=True)


if __name__ == "__main__":
    main()

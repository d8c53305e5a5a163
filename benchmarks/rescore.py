"""Scoring a run again: seconds of the second time over the first, on a trained run of any study.

    python benchmarks/rescore.py STUDY [--run NAME] [--repeats 3]

Prints JSON. The run's networks are copied without what they answered before, so the study is not changed. First
means that ONNX Runtime computes every slice; again, that each is looked up by its content.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from nephroscope import Study
from nephroscope.learning.run_files import KEPT, CompleteRun
from nephroscope.learning.score_run import score_run


def seconds(run: CompleteRun) -> float:
    """Seconds of scoring every test case of the run."""
    started = time.perf_counter()
    score_run(run)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("study", type=Path)
    options.add_argument("--run")
    options.add_argument("--repeats", type=int, default=3)
    asked = options.parse_args()
    run = Study(asked.study).run(asked.run).inputs()
    first, again = [], []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / run.folder.name
        shutil.copytree(run.folder, copy, ignore=shutil.ignore_patterns(KEPT))
        for _ in range(asked.repeats):
            shutil.rmtree(copy / KEPT, ignore_errors=True)
            first.append(seconds(replace(run, folder=copy)))
            again.append(seconds(replace(run, folder=copy)))
    told = {
        "slices": len(run.snapshot.slices.slice_index),
        "cases": len(run.snapshot.slices.rows_by_case),
        "seconds_first": round(statistics.median(first), 2),
        "seconds_again": round(statistics.median(again), 2),
        "again_over_first": round(statistics.median(b / a for a, b in zip(first, again, strict=True)), 3),
    }
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()

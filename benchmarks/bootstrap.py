"""Patient bootstrap of the slice-level AUC: seconds for 10,000 resamples, beside plain resampling. Prints JSON.

python benchmarks/bootstrap.py [--patients 1000] [--slices 30] [--resamples 10000] [--naive 40] [--repeats 5]

``seconds`` is everything from patient names and scores to the interval, the best of the repeats; all of them are
listed, with the load of the machine; ``cpu_seconds`` is what the processor worked for it, waiting aside. Plain
resampling redraws patients with all their slices and ranks them anew; it is timed on fewer resamples, in turn with
ours. ``extra_mb`` is by how much the process grew above its size before the first run, from /proc (VmHWM).
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from nephroscope.statistics.intervals import Patients, auc_statistic, clustered_bootstrap
from nephroscope.statistics.metrics import auc


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("patients", 1000),
        ("slices", 30),
        ("resamples", 10_000),
        ("naive", 40),
        ("repeats", 5),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    scenes = {}
    for name, both in (("each patient of one class", False), ("each patient of both classes", True)):
        scenes[name] = measure(asked, both)
    print(
        json.dumps(
            {**vars(asked), "cpus": os.cpu_count(), "load": os.getloadavg(), "scenes": scenes}, indent=1
        )
    )


def measure(asked: argparse.Namespace, both: bool) -> dict[str, object]:
    """Ours and plain resampling in turn."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(asked.patients), asked.slices)
    truth = ((np.arange(owner.size) if both else owner) % 2).astype(np.intp)
    scores = truth + rng.normal(size=asked.patients)[owner] + rng.normal(size=owner.size)
    ids, before = [f"p{i:06d}" for i in owner], memory_mb("VmRSS")
    ours, plain, cpu = [], [], []
    for _ in range(asked.repeats):
        started, busy = time.perf_counter(), time.process_time()
        patients = Patients.of(ids, truth)
        statistic = auc_statistic(scores, truth == 1, patients)
        drawn = clustered_bootstrap({"auc": statistic}, patients, asked.resamples, 0)["auc"]
        low, high = np.quantile(drawn, [0.025, 0.975])
        ours.append(time.perf_counter() - started)
        cpu.append(time.process_time() - busy)
        extra = memory_mb("VmHWM") - before
        plain.append(naive(scores, truth == 1, patients, asked.naive) / asked.naive * asked.resamples)
    return {
        "seconds": round(min(ours), 2),
        "all_seconds": [round(s, 2) for s in ours],
        "cpu_seconds": round(min(cpu), 2),
        "plain_seconds_for_as_many": round(min(plain), 1),
        "times_faster": round(min(plain) / min(ours), 1),
        "extra_mb": round(extra, 1),
        "interval": [round(float(low), 4), round(float(high), 4)],
    }


def naive(scores: np.ndarray, y: np.ndarray, patients: Patients, resamples: int) -> float:
    """Seconds of plain resampling: redraw within class, gather the rows, rank them."""
    rng, started = np.random.default_rng(0), time.perf_counter()
    rows = np.split(np.argsort(patients.row, kind="stable"), np.cumsum(np.bincount(patients.row))[:-1])
    members = [np.flatnonzero(patients.stratum == s) for s in np.unique(patients.stratum)]
    for _ in range(resamples):
        who = np.concatenate([rng.choice(m, m.size) for m in members])
        drawn = np.concatenate([rows[i] for i in who])
        auc(scores[drawn], y[drawn])
    return time.perf_counter() - started


def memory_mb(field: str) -> float:
    """A size of this process."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


if __name__ == "__main__":
    main()

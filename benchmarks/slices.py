"""Cutting slices: seconds and peak memory must grow linearly and not at all.

    python benchmarks/slices.py [--cases 100 1000 4000]

Prints JSON. Cases are discs of 24 x 24 pixels on 10 slices, made as they are read, cut to 64 x 64; each size runs in
a new process, so that its peak memory is its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def cut(n_cases: int) -> None:
    """Cut so many cases through the command's own code and print seconds and slices."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import numpy as np

    from nephroscope.records import CTVolume, RoiMask, SliceSpec
    from nephroscope.study.slices import cut_cohort
    from small_study import geometry, make_cohort

    grid = geometry((10, 24, 24))
    rows, cols = np.ogrid[:24, :24]
    voxels = np.broadcast_to((rows - 12) ** 2 + (cols - 12) ** 2 <= 25, grid.shape).copy()

    def read(case):
        hu = np.where(voxels, np.int16(100), np.int16(-100))
        return (
            CTVolume(hu=hu, geometry=grid, series_uid="1"),
            RoiMask(voxels=voxels, geometry=grid, case_id=case.case_id),
        )

    with tempfile.TemporaryDirectory() as name:
        started = time.perf_counter()
        store = cut_cohort(make_cohort(n_cases).cases, read, SliceSpec(size_px=64), Path(name), "benchmark")
        print(json.dumps({"slices": len(store.hu), "seconds": round(time.perf_counter() - started, 2)}))


def main() -> None:
    """Measure each size in its own process and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, nargs="+", default=[100, 1000, 4000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        cut(args.one)
        return
    sizes = []
    for n_cases in args.cases:
        process = subprocess.Popen([sys.executable, __file__, "--one", str(n_cases)], stdout=subprocess.PIPE)
        line = process.stdout.read()
        _, _, usage = os.wait4(process.pid, 0)
        result = json.loads(line)
        result["slices_per_s"] = round(result["slices"] / result["seconds"], 1)
        sizes.append(result | {"peak_mb": round(usage.ru_maxrss / 1024, 1)})
    first, last = sizes[0], sizes[-1]
    ratios = {
        "slices": last["slices"] / first["slices"],
        "seconds_per_slice": round(first["slices_per_s"] / last["slices_per_s"], 3),
        "peak_memory": round(last["peak_mb"] / first["peak_mb"], 3),
    }
    print(json.dumps({"sizes": sizes, "last_to_first": ratios}))


if __name__ == "__main__":
    main()

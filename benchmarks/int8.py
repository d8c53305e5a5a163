"""Would networks in int8 answer as those in fp32, and faster? On the validation cases of a trained run of any study.

    python benchmarks/int8.py STUDY [--run NAME] [--slices 64] [--repeats 5]

Prints JSON. Each network is quantized by ONNX Runtime (convolutions and the last layer, weights by channel), with
ranges from slices of its training cases, and answers the validation cases of its fold at the threshold of that fold.
The gate: no call changes, probabilities within 0.005, at least 1.3 times as fast here. The study is not changed.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from nephroscope import Study
from nephroscope.clinic.session import NetworkSession
from nephroscope.learning.run_files import KEPT, CompleteRun
from nephroscope.learning.score_run import _cut_cases, fold_scorer
from nephroscope.records import Fold

MOST_DIFFERENCE, LEAST_SPEEDUP = 0.005, 1.3


class Slices(CalibrationDataReader):
    """Slices for ONNX Runtime, one at a time."""

    def __init__(self, hu: npt.NDArray[np.int16]) -> None:
        self._rest: Iterator[npt.NDArray[np.int16]] = iter(hu)

    def get_next(self) -> dict[str, npt.NDArray[np.int16]] | None:
        """The next slice, or None after the last."""
        one = next(self._rest, None)
        return None if one is None else {"hu": one[None, None]}


def some_slices(run: CompleteRun, names: frozenset[str], most: int) -> npt.NDArray[np.int16]:
    """At most ``most`` slices (N, size, size) of these cases, in random order with a fixed seed."""
    hu = np.concatenate([case.hu for case in _cut_cases(run, names)])
    return hu[np.random.default_rng(0).permutation(len(hu))[:most]]


def quantized(network: Path, hu: npt.NDArray[np.int16], folder: Path) -> Path:
    """The network in int8."""
    prepared, path = folder / "prepared.onnx", folder / "int8.onnx"
    quant_pre_process(str(network), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(path),
        Slices(hu),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "Gemm"],
        calibrate_method=CalibrationMethod.MinMax,
    )
    return path


def seconds(session: NetworkSession, hu: npt.NDArray[np.int16]) -> float:
    """Seconds for these slices."""
    started = time.perf_counter()
    session.logits(hu)
    return time.perf_counter() - started


def compare(run: CompleteRun, fold: Fold, most: int, repeats: int) -> dict[str, float]:
    """One fold: calls that change, the largest difference, and how much faster."""
    scorer = fold_scorer(run, fold)
    network = run.folder / f"fold-{fold.index}" / "model.onnx"
    with tempfile.TemporaryDirectory() as name:
        path = quantized(network, some_slices(run, fold.train, most), Path(name))
        other, same = NetworkSession(path), NetworkSession(network)
        size = path.stat().st_size / network.stat().st_size
    cases = list(_cut_cases(run, fold.validation))
    pairs = [(scorer.answer(case), replace(scorer, network=other).answer(case)) for case in cases]
    apart = [abs(a.probabilities[scorer.positive] - b.probabilities[scorer.positive]) for a, b in pairs]
    hu = some_slices(run, fold.validation, most)
    times = [(seconds(same, hu), seconds(other, hu)) for _ in range(repeats + 1)][1:]
    return {
        "fold": fold.index,
        "cases": len(pairs),
        "calls_changed": sum(a.call != b.call for a, b in pairs),
        "largest_difference": round(max(apart), 4),
        "median_difference": round(statistics.median(apart), 4),
        "times_as_fast": round(statistics.median(a / b for a, b in times), 2),
        "size": round(size, 2),
    }


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("study", type=Path)
    options.add_argument("--run")
    options.add_argument("--slices", type=int, default=64)
    options.add_argument("--repeats", type=int, default=5)
    asked = options.parse_args()
    run = Study(asked.study).run(asked.run).inputs()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / run.folder.name
        shutil.copytree(run.folder, copy, ignore=shutil.ignore_patterns(KEPT))
        copied = replace(run, folder=copy)
        folds = [compare(copied, fold, asked.slices, asked.repeats) for fold in run.snapshot.split.folds]
    passed = all(
        fold["calls_changed"] == 0
        and fold["largest_difference"] <= MOST_DIFFERENCE
        and fold["times_as_fast"] >= LEAST_SPEEDUP
        for fold in folds
    )
    print(json.dumps({"passed": passed, "folds": folds}, indent=1))


if __name__ == "__main__":
    main()

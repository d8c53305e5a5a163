"""What weighing the loss by subtype does to probabilities, and what puts it right: one line for each way.

    python benchmarks/class_weights.py [--seeds 6] [--prevalence 0.2]

Simulated cases of two slices of 32 x 32: a disc whose HU is drawn for each case around its subtype's, so that an
ideal reader has an AUC of 0.85. A MobileNetV2 of a quarter of the width learns from 100 cases, its epoch is chosen on
25, and 1,000 others are answered. Every seed trains once with weights (read as they come out, and put back to the
prevalence of the training cases) and once without. Prints JSON: AUC, Brier score and observed over expected number of
positives, mean over seeds with the standard error of the difference from the first way.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from nephroscope.learning.training.batches import LabelledSlices
from nephroscope.learning.training.checkpoint import first_state, fit_in_folder, load_weights
from nephroscope.learning.training.fit import FoldTask, prior_shift
from nephroscope.records import SliceSpec, TrainConfig

SPEC, SLICES = SliceSpec(size_px=32), 2
APART_HU, SPREAD_HU, NOISE_HU = 44.0, 30.0, 25.0  # 44 / 30 = 1.47 standard deviations: an AUC of 0.85


def simulate(n_cases: int, prevalence: float, rng: np.random.Generator) -> LabelledSlices:
    """Cases of two slices; the positive subtype has label 1."""
    n_positive = round(prevalence * n_cases)
    truth = rng.permutation(np.arange(n_cases) < n_positive).astype(np.int64)
    level = 20 + APART_HU * truth + rng.normal(0, SPREAD_HU, n_cases)
    rows, cols = np.ogrid[:32, :32]
    disc = (rows - 16) ** 2 + (cols - 16) ** 2 <= 100
    hu = rng.normal(-80, NOISE_HU, (n_cases * SLICES, 32, 32))
    hu[:, disc] += (80 + np.repeat(level, SLICES))[:, None]
    cases = np.repeat(np.arange(n_cases), SLICES)
    return LabelledSlices(
        hu=hu.astype(np.int16), rows=np.arange(len(hu)), labels=np.repeat(truth, SLICES), cases=cases
    )


def logits_of(task: FoldTask, network, slices: LabelledSlices) -> torch.Tensor:
    """Logits (N, 2) of all slices."""
    network.eval()
    with torch.inference_mode():
        parts = np.array_split(np.arange(len(slices)), 20)
        return torch.cat([network(slices.load(part, task.device)[0]) for part in parts])


def figures(logits: torch.Tensor, slices: LabelledSlices) -> tuple[float, float, float]:
    """AUC, Brier score and observed over expected positives by case (mean probability of its slices)."""
    p = torch.softmax(logits, 1)[:, 1].reshape(-1, SLICES).mean(1).numpy()
    truth = slices.labels[::SLICES]
    order = np.argsort(np.argsort(p)) + 1
    n1 = truth.sum()
    auc = (order[truth == 1].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(truth) - n1))
    return float(auc), float(((p - truth) ** 2).mean()), float(truth.sum() / p.sum())


def run_seed(seed: int, prevalence: float) -> dict[str, tuple[float, float, float]]:
    """Figures of each way for one draw of cases."""
    rng = np.random.default_rng(seed)
    train, validation, test = (simulate(n, prevalence, rng) for n in (100, 25, 1000))
    found = {}
    for weighed in (True, False):
        task = FoldTask(
            fold=0,
            train=train,
            validation=validation,
            n_subtypes=2,
            config=TrainConfig(width=0.25, epochs=12, seed=seed, class_weights=weighed),
            device=torch.device("cpu"),
            dtype=torch.float32,
        )
        with tempfile.TemporaryDirectory() as name:
            state = first_state(task, SPEC)
            for _ in fit_in_folder(Path(name), task, state):
                pass
            load_weights(state.network, Path(name) / "weights.safetensors")
        logits = logits_of(task, state.network, test)
        if weighed:
            found["weighed"] = figures(logits - prior_shift(task), test)
            found["weighed, put back"] = figures(logits, test)
        else:
            found["not weighed"] = figures(logits, test)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--prevalence", type=float, default=0.2)
    args = parser.parse_args()
    runs = [run_seed(seed, args.prevalence) for seed in range(args.seeds)]
    first = np.array([run["weighed"] for run in runs])
    for way in runs[0]:
        each = np.array([run[way] for run in runs])
        error = (each - first).std(axis=0, ddof=1) / len(runs) ** 0.5
        mean = dict(zip(("auc", "brier", "observed_to_expected"), each.mean(axis=0).round(4), strict=True))
        errors = dict(zip(("auc", "brier", "observed_to_expected"), error.round(4), strict=True))
        print(json.dumps({"way": way, **mean, "seeds": args.seeds, "error_of_difference": errors}))


if __name__ == "__main__":
    main()

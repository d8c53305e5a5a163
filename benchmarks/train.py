"""Training speed: an epoch with augmentation, the bare step on resident tensors, and eager fp32, side by side.

    python benchmarks/train.py [--model mobilenet_v2] [--slices 240] [--repeats 3]

Prints JSON. The parts take turns within one run and the median of the repeats is taken, so that a ratio compares
what ran under the same load. Slices are random HU of 256 x 256 in a memory-mapped store.
"""

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nephroscope.models.networks import build_network
from nephroscope.records import SliceSpec, TrainConfig
from nephroscope.training.augment import augment, draw_augmentation
from nephroscope.training.batches import LabelledSlices, draw_epoch
from nephroscope.training.loop import FoldTask, class_weights, new_state, set_learning_rate, train_step
from nephroscope.training.run import compute_dtype


def make_task(folder: Path, model: str, n_slices: int) -> FoldTask:
    """A fold of random slices on this machine's device."""
    hu = np.lib.format.open_memmap(folder / "slices.npy", "w+", np.int16, (n_slices, 256, 256))
    hu[:] = np.random.default_rng(0).integers(-200, 300, hu.shape)
    numbers = np.arange(n_slices)
    slices = LabelledSlices(hu=hu, rows=numbers, labels=numbers % 2, cases=numbers // 12)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return FoldTask(
        fold=0,
        train=slices,
        validation=slices,
        n_subtypes=2,
        config=TrainConfig(model=model),
        device=device,
        dtype=compute_dtype("auto", device),
    )


def epoch(task, state) -> float:
    """Slices per second of an epoch's training part as `run_epoch` does it: load, augment, step."""
    rng = task.rng(1)
    batches = draw_epoch(task.train, 0, task.config.batch_size, rng)
    weights = class_weights(task)
    started = time.perf_counter()
    for chosen in batches:
        hu, labels = task.train.load(chosen, task.device)
        hu = augment(hu, draw_augmentation(len(hu), rng))
        set_learning_rate(task, state, len(batches))
        train_step(task, state, hu, labels, weights)
    settle(task)
    return sum(map(len, batches)) / (time.perf_counter() - started)


def bare(task, state) -> float:
    """Slices per second of forward, backward and step alone, on one batch that lies on the device."""
    hu, labels = task.train.load(np.arange(task.config.batch_size), task.device)
    weights, n_steps = class_weights(task), len(task.train) // task.config.batch_size
    started = time.perf_counter()
    for _ in range(n_steps):
        train_step(task, state, hu, labels, weights)
    settle(task)
    return n_steps * task.config.batch_size / (time.perf_counter() - started)


def eager_fp32(task, network, optimizer) -> float:
    """The same step as PyTorch does it when told nothing: fp32, channels first."""
    n_steps = max(len(task.train) // task.config.batch_size // 3, 1)
    hu, labels = task.train.load(np.arange(task.config.batch_size), task.device)
    started = time.perf_counter()
    for _ in range(n_steps):
        loss = torch.nn.functional.cross_entropy(network(hu), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    settle(task)
    return n_steps * task.config.batch_size / (time.perf_counter() - started)


def settle(task) -> None:
    """Wait for the device."""
    if task.device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--slices", type=int, default=240)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        task = make_task(Path(name), args.model, args.slices)
        state = new_state(build_network(args.model, 2, SliceSpec()), task)
        network = build_network(args.model, 2, SliceSpec()).to(task.device).train()
        optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
        state.network.train()
        warm = replace(
            task, train=replace(task.train, rows=task.train.rows[:48], labels=task.train.labels[:48])
        )
        for part in (epoch, bare):
            part(warm, state)
        measured = {"epoch": [], "bare": [], "fp32": []}
        for _ in range(args.repeats):
            measured["epoch"].append(epoch(task, state))
            measured["bare"].append(bare(task, state))
            measured["fp32"].append(eager_fp32(task, network, optimizer))
    speed = {name: round(statistics.median(values), 2) for name, values in measured.items()}
    result = {
        "model": args.model,
        "device": str(task.device),
        "threads": torch.get_num_threads(),
        "precision": str(task.dtype).removeprefix("torch."),
        "epoch_slices_per_s": speed["epoch"],
        "bare_step_slices_per_s": speed["bare"],
        "eager_fp32_slices_per_s": speed["fp32"],
        "epoch_to_bare": round(speed["epoch"] / speed["bare"], 3),
        "step_to_eager_fp32": round(speed["bare"] / speed["fp32"], 2),
        "repeats": args.repeats,
        "all": {name: [round(v, 2) for v in values] for name, values in measured.items()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

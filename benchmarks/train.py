"""Training speed: an epoch with augmentation, the bare step on resident tensors, and eager fp32, side by side.

    python benchmarks/train.py [--model mobilenet_v2] [--slices 720]

Prints JSON. The parts take turns batch by batch, so that a ratio compares what ran under the same load. Slices are
random HU of 256 x 256 in a memory-mapped store.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from nephroscope.learning.networks.networks import build_network
from nephroscope.learning.training.augment import augment, draw_augmentation
from nephroscope.learning.training.batches import LabelledSlices, draw_epoch
from nephroscope.learning.training.device import compute_dtype
from nephroscope.learning.training.fit import (
    FoldTask,
    class_weights,
    new_state,
    set_learning_rate,
    train_step,
)
from nephroscope.records import SliceSpec, TrainConfig


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


def epoch_step(task, state, chosen, rng, weights) -> None:
    """What `epoch_steps` does with one batch: load, augment, step."""
    hu, labels = task.train.load(chosen, task.device)
    hu = augment(hu, draw_augmentation(len(hu), rng))
    set_learning_rate(task, state, 100)
    train_step(task, state, hu, labels, weights)


def eager_step(network, optimizer, hu, labels) -> None:
    """The same step as PyTorch does it when told nothing: fp32, channels first."""
    loss = torch.nn.functional.cross_entropy(network(hu), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def timed(task, step, *args) -> float:
    """Seconds of one step."""
    started = time.perf_counter()
    step(*args)
    settle(task)
    return time.perf_counter() - started


def settle(task) -> None:
    """Wait for the device."""
    if task.device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--slices", type=int, default=720)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        task = make_task(Path(name), args.model, args.slices)
        state = new_state(build_network(args.model, 2, SliceSpec()), task)
        network = build_network(args.model, 2, SliceSpec()).to(task.device).train()
        optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
        state.network.train()
        rng, weights = task.rng(1), class_weights(task)
        hu, labels = task.train.load(np.arange(task.config.batch_size), task.device)
        seconds = {"epoch": [], "bare": [], "fp32": []}
        for number, chosen in enumerate(draw_epoch(task.train, 0, task.config.batch_size, rng)):
            turn = {
                "epoch": timed(task, epoch_step, task, state, chosen, rng, weights),
                "bare": timed(task, train_step, task, state, hu, labels, weights),
            }
            if number % 5 == 0:
                turn["fp32"] = timed(task, eager_step, network, optimizer, hu, labels)
            if number > 0:  # the first turn warms up
                for part, value in turn.items():
                    seconds[part].append(value)
    speed = {part: task.config.batch_size * len(each) / sum(each) for part, each in seconds.items()}
    result = {
        "model": args.model,
        "device": str(task.device),
        "threads": torch.get_num_threads(),
        "precision": str(task.dtype).removeprefix("torch."),
        "epoch_slices_per_s": round(speed["epoch"], 2),
        "bare_step_slices_per_s": round(speed["bare"], 2),
        "eager_fp32_slices_per_s": round(speed["fp32"], 2),
        "epoch_to_bare": round(speed["epoch"] / speed["bare"], 3),
        "bare_to_eager_fp32": round(speed["bare"] / speed["fp32"], 2),
        "batches": len(seconds["epoch"]),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

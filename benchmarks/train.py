"""Training speed of each network beside torchvision's own step, and an epoch with augmentation beside the bare step.

    python benchmarks/train.py [--models mobilenet_v2 ...] [--turns 5] [--batch 8] [--compiled]

Prints JSON: the processor's features and load, then a line per network. Each way trains in a process of its own, as a
user's would: ours as `nephroscope train` does (layout and precision by its self-test), torchvision's with its own
network, AdamW and cross-entropy in fp32 and nothing else set, channels first and channels last. The processes take
turns step by step, so that a ratio compares what ran under the same load. Slices are random HU of 256 x 256, eight a
step, so that four processes of a large network fit into memory. ``--compiled`` adds torchvision's step under
torch.compile, channels last, which needs a C++ compiler and takes minutes to start.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

NETWORKS = (
    "shufflenet_v2_x1_0",
    "mobilenet_v2",
    "efficientnet_b0",
    "resnet34",
    "resnet50",
    "resnet101",
)
WAYS = ("epoch", "step", "torchvision", "torchvision_channels_last")
COMPILED = "torchvision_compiled"
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def our_step(model: str, way: str, batch: int):
    """A function that makes one step of ours, with augmentation or without; and how it computes."""
    from nephroscope.base.machine import memory_kept
    from nephroscope.learning.networks.networks import build_network
    from nephroscope.learning.training.augment import augment, draw_augmentation
    from nephroscope.learning.training.device import training_device
    from nephroscope.learning.training.fit import new_state, set_learning_rate, train_step
    from nephroscope.learning.training.speed import choose_compute
    from nephroscope.records import SliceSpec, TrainConfig

    keep = memory_kept()
    keep.__enter__()  # for the life of this process
    config, spec = TrainConfig(model=model, batch_size=batch), SliceSpec()
    compute = choose_compute(config, 2, spec, 10**6)
    task = make_task(Path(tempfile.mkdtemp()), batch, compute, training_device())
    state = new_state(build_network(model, 2, spec), task)
    state.network.train()
    rng = np.random.default_rng(0)
    hu, labels = task.train.load(np.arange(batch), task.device)

    def with_augmentation() -> None:
        hu, labels = task.train.load(rng.permutation(len(task.train))[:batch], task.device)
        set_learning_rate(task, state, 100)
        train_step(task, state, augment(hu, draw_augmentation(len(hu), rng)), labels, None)

    def bare() -> None:
        train_step(task, state, hu, labels, None)

    how = {"precision": compute.precision, "layout": compute.layout, "threads": compute.threads}
    return (with_augmentation if way == "epoch" else bare), how


def make_task(folder: Path, batch: int, compute, device):
    """A fold of random slices in a memory-mapped store."""
    import torch

    from nephroscope.learning.training.batches import LabelledSlices
    from nephroscope.learning.training.fit import FoldTask
    from nephroscope.records import TrainConfig

    hu = np.lib.format.open_memmap(folder / "slices.npy", "w+", np.int16, (4 * batch, 256, 256))
    hu[:] = np.random.default_rng(0).integers(-200, 300, hu.shape)
    numbers = np.arange(len(hu))
    slices = LabelledSlices(hu=hu, rows=numbers, labels=numbers % 2, cases=numbers // 12)
    return FoldTask(
        fold=0,
        train=slices,
        validation=slices,
        n_subtypes=2,
        config=TrainConfig(batch_size=batch),
        device=device,
        dtype=getattr(torch, compute.precision),
        layout=compute.layout,
    )


def torchvision_step(model: str, way: str, batch: int):
    """A function that makes one step as a plain script with torchvision does."""
    import torch
    from torchvision.models import get_model

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = get_model(model, weights=None, num_classes=2).to(device).train()
    images = torch.rand(batch, 3, 256, 256, device=device)
    if way != "torchvision":
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    if way == COMPILED:
        network = torch.compile(network)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    labels = torch.arange(batch, device=device) % 2

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step, {"threads": torch.get_num_threads()}


def serve(model: str, way: str, batch: int) -> None:
    """A child: one step for each line that it reads; prints seconds of the clock and of the processor."""
    step, how = (torchvision_step if way.startswith("torchvision") else our_step)(model, way, batch)
    import torch

    def timed() -> tuple[float, float]:
        started, busy = time.perf_counter(), time.process_time()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - started, time.process_time() - busy

    timed()  # the first step also allocates
    print(json.dumps(how), flush=True)
    for _ in sys.stdin:
        print(json.dumps(timed()), flush=True)


def measure(model: str, turns: int, batch: int, ways: tuple[str, ...]) -> dict[str, object]:
    """Slices per second of each way, and how ours computes."""
    children = {
        way: subprocess.Popen(
            [sys.executable, __file__, "--serve", way, "--models", model, "--batch", str(batch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for way in ways
    }
    how = {way: json.loads(child.stdout.readline()) for way, child in children.items()}
    taken = {way: [] for way in ways}
    for _ in range(turns):
        for way, child in children.items():
            child.stdin.write("\n")
            child.stdin.flush()
            taken[way].append(json.loads(child.stdout.readline()))
    for child in children.values():
        child.stdin.close()
        child.wait()
    wall, busy = ({way: np.median(taken[way], axis=0)[i] for way in ways} for i in (0, 1))
    best = min(seconds for way, seconds in wall.items() if way.startswith("torchvision"))
    return {
        "model": model,
        **how["step"],
        "slices_per_s": {way: round(batch / seconds, 2) for way, seconds in wall.items()},
        "processor_seconds_per_step": {way: round(seconds, 2) for way, seconds in busy.items()},
        "epoch_to_bare_step": round(wall["step"] / wall["epoch"], 3),
        "processor_seconds_of_torchvision_to_ours": round(busy["torchvision"] / busy["step"], 2),
        "step_to_torchvision": round(wall["torchvision"] / wall["step"], 2),
        "step_to_best_torchvision": round(best / wall["step"], 2),
    }


def processor() -> dict[str, object]:
    """Name, cores and the features that decide how a network is computed; load where the system says."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    named = {name.strip(): value.split() for name, value in lines.items()}
    flags = named.get("flags", named.get("Features", []))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": " ".join(named.get("model name", [])),
        "cores": os.cpu_count(),
        "features": [name for name in FEATURES if name in flags],
        "load_before": load,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=NETWORKS)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--serve", choices=(*WAYS, COMPILED), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.models[0], args.serve, args.batch)
        return
    print(json.dumps(processor()))
    ways = (*WAYS, COMPILED) if args.compiled else WAYS
    for model in args.models:
        print(json.dumps(measure(model, args.turns, args.batch, ways)), flush=True)


if __name__ == "__main__":
    main()

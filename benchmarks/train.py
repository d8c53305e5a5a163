"""Training speed of each network beside torchvision's own step, and an epoch with augmentation beside the bare step.

    python benchmarks/train.py [--models mobilenet_v2 ...] [--turns 5] [--seconds 12] [--compile NAME ...]

Prints JSON: the processor's features and load, then a line per network. Ours trains as `nephroscope train` does
(layout and precision by its self-test), with augmentation (``epoch``) and on tensors in memory (``step``);
torchvision's with its own network, AdamW and cross-entropy in fp32 and nothing else set, channels first, channels
last, and channels last under torch.compile, each in a process of its own, as a user's would. The processes take turns
step by step, so that a ratio compares what ran under the same load. Slices are random HU of 256 x 256, eight a step,
four for networks of more than 20 million weights, so that the processes of a large network fit into memory.

A network takes turns for at most ``--seconds``, but two at least. torch.compile needs a C++ compiler and takes 40 to
80 seconds of the processor before a network's first step, so by default only two networks are compiled. They are
waited for during ``--compile-seconds``; where one is not ready by then, its place is null. With the defaults all six
networks are meant to take less than six minutes on two idle cores; ``--compile all`` takes longer.
"""

import argparse
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
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
OURS = "ours"
TORCHVISION = ("torchvision", "torchvision_channels_last")
COMPILED = "torchvision_compiled"
HEAVY, BATCH, BATCH_OF_HEAVY = ("resnet34", "resnet50", "resnet101"), 8, 4
LEAST_TURNS = 2
TO_COMPILE = ("mobilenet_v2", "resnet34")
Step = Callable[[], None]
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def our_steps(model: str, batch: int, size: int) -> tuple[dict[str, Step], dict[str, object]]:
    """A step of ours with augmentation and without, by name; and how it computes."""
    time.sleep(
        0.2
    )  # until NumPy's threads, just made, sleep: nephroscope looks whether anything else computes
    from nephroscope.base.machine import memory_kept
    from nephroscope.learning.networks.networks import build_network
    from nephroscope.learning.training.augment import augment, draw_augmentation
    from nephroscope.learning.training.device import training_device
    from nephroscope.learning.training.fit import new_state, set_learning_rate, train_step
    from nephroscope.learning.training.speed import choose_compute
    from nephroscope.records import SliceSpec, TrainConfig

    keep = memory_kept()
    keep.__enter__()  # for the life of this process
    config, spec = TrainConfig(model=model, batch_size=batch), SliceSpec(size_px=size)
    compute = choose_compute(config, 2, spec, 10**6)
    task = make_task(Path(tempfile.mkdtemp()), (batch, size), compute, training_device())
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
    return {"epoch": with_augmentation, "step": bare}, how


def make_task(folder: Path, shape: tuple[int, int], compute, device):
    """A fold of random slices in a memory-mapped store; ``shape`` is slices a step and pixels a side."""
    import torch

    from nephroscope.learning.training.batches import LabelledSlices
    from nephroscope.learning.training.fit import FoldTask
    from nephroscope.records import TrainConfig

    batch, size = shape
    hu = np.lib.format.open_memmap(folder / "slices.npy", "w+", np.int16, (4 * batch, size, size))
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


def torchvision_steps(
    model: str, way: str, batch: int, size: int
) -> tuple[dict[str, Step], dict[str, object]]:
    """One step as a plain script with torchvision makes it, by name."""
    import torch
    from torchvision.models import get_model

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = get_model(model, weights=None, num_classes=2).to(device).train()
    images = torch.rand(batch, 3, size, size, device=device)
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

    return {way: step}, {"threads": torch.get_num_threads()}


def serve(model: str, way: str, batch: int, size: int) -> None:
    """A child: one step for each line, which names it; prints seconds of the clock and of the processor."""
    started = time.perf_counter()
    steps, how = our_steps(model, batch, size) if way == OURS else torchvision_steps(model, way, batch, size)
    import torch

    def timed(name: str) -> tuple[float, float]:
        started, busy = time.perf_counter(), time.process_time()
        steps[name]()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - started, time.process_time() - busy

    for name in steps:
        timed(name)  # the first step also allocates, or compiles
    print(json.dumps(how | {"start_s": round(time.perf_counter() - started, 1)}), flush=True)
    for line in sys.stdin:
        print(json.dumps(timed(line.strip())), flush=True)


@dataclass
class Child:
    """A process that makes steps when it is asked to."""

    process: subprocess.Popen
    lines: "queue.Queue[str]" = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def said(self, seconds: float | None = None) -> object:
        """Its next line, or None where there is none within these seconds."""
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            return None
        if not line:
            raise RuntimeError(f"{' '.join(self.process.args)}: ended")
        return json.loads(line)

    def step(self, name: str) -> tuple[float, float]:
        """One step."""
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        return tuple(self.said())

    def end(self) -> None:
        """Kill it, with the compilers that it started."""
        if hasattr(os, "killpg"):
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()


def child(model: str, way: str, asked: argparse.Namespace) -> Child:
    """A process for one way to train, in a group of its own."""
    words = [sys.executable, __file__, "--serve", way, "--models", model]
    words += ["--batch", str(batch_of(model, asked)), "--size", str(asked.size)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return Child(subprocess.Popen(words, **pipes, start_new_session=True))


def batch_of(model: str, asked: argparse.Namespace) -> int:
    """Slices a step."""
    return asked.batch or (BATCH_OF_HEAVY if model in HEAVY else BATCH)


def measure(model: str, asked: argparse.Namespace) -> dict[str, object]:
    """Slices per second of each way, and how ours computes."""
    children: dict[str, Child] = {}
    try:
        how = {}
        for way in (OURS, *TORCHVISION):  # one after the other: ours tests itself as it starts
            children[way] = child(model, way, asked)
            how[way] = children[way].said()
        compiled = None
        if model in asked.compile or "all" in asked.compile:
            children[COMPILED] = child(model, COMPILED, asked)
            with contextlib.suppress(RuntimeError):  # no compiler, or one that fails
                compiled = children[COMPILED].said(asked.compile_seconds)
            if compiled is None:
                children.pop(COMPILED).end()
        asks = {"epoch": OURS, "step": OURS} | {way: way for way in children if way != OURS}
        taken = turns(children, asks, asked)
    finally:
        for one in children.values():
            one.end()
    wall, busy = ({way: np.median(times, axis=0)[i] for way, times in taken.items()} for i in (0, 1))
    batch = batch_of(model, asked)
    eager = min(wall[way] for way in TORCHVISION)
    ready = wall.get(COMPILED)
    return {
        "model": model,
        "batch": batch,
        "turns": len(taken["step"]),
        **how[OURS],
        "slices_per_s": {way: round(batch / seconds, 2) for way, seconds in wall.items()},
        "processor_seconds_per_step": {way: round(seconds, 2) for way, seconds in busy.items()},
        "epoch_to_bare_step": ratio(taken, "step", "epoch"),
        "processor_seconds_of_torchvision_to_ours": round(busy["torchvision"] / busy["step"], 2),
        "step_to_torchvision": ratio(taken, "torchvision", "step"),
        "step_to_best_torchvision": round(eager / wall["step"], 2),
        "step_to_compiled": None if ready is None else ratio(taken, COMPILED, "step"),
        "compile_s": compiled["start_s"] if compiled else None,
    }


def turns(children: dict[str, Child], asks: dict[str, str], asked: argparse.Namespace) -> dict[str, list]:
    """Seconds of the clock and of the processor of each step, which take turns until the time is up."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in asks}
    end, longest = time.monotonic() + asked.seconds, 0.0
    for n in range(asked.turns):
        began = time.monotonic()
        if n >= LEAST_TURNS and began + longest > end:
            break
        for name, way in asks.items():
            taken[name].append(children[way].step(name))
        longest = max(longest, time.monotonic() - began)
    return taken


def ratio(taken: dict[str, list[tuple[float, float]]], above: str, below: str) -> float:
    """How many times as long one way takes as the other: the median over turns, whose steps follow each other."""
    pairs = zip(taken[above], taken[below], strict=True)
    return round(float(np.median([long[0] / short[0] for long, short in pairs])), 3)


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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=NETWORKS)
    parser.add_argument("--turns", type=int, default=5, help="at most")
    parser.add_argument("--batch", type=int, default=0, help="by default 8, or 4 for a large network")
    parser.add_argument(
        "--size", type=int, default=256, help="pixels of a side; smaller only to try the script"
    )
    parser.add_argument("--seconds", type=float, default=12, help="of the turns of one network")
    parser.add_argument("--compile", nargs="*", default=TO_COMPILE, help="networks for torch.compile, or all")
    parser.add_argument("--compile-seconds", type=float, default=90, help="to wait for the first step of one")
    parser.add_argument("--serve", choices=(OURS, *TORCHVISION, COMPILED), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.models[0], asked.serve, asked.batch, asked.size)
        return
    started = time.monotonic()
    print(json.dumps(processor()))
    for model in asked.models:
        print(json.dumps(measure(model, asked)), flush=True)
    print(json.dumps({"seconds": round(time.monotonic() - started, 1)}))


if __name__ == "__main__":
    main()

"""Milliseconds of a training step by how long threads wait awake, alone and beside one busy process.

    python benchmarks/waiting.py [--models shufflenet_v2_x1_0 mobilenet_v2] [--rounds 0 1000 10000] [--turns 5]

Prints JSON: the processor and its load before, then a line per network and place: for each number of rounds
(GOMP_SPINCOUNT; 0: sleep at once) milliseconds of the clock and of the processor for a step of eight slices of
256 x 256, medians over turns of three steps. The processes take turns, so that all meet the same load. Run it on a
machine that does nothing else. Only GNU OpenMP (Linux) counts rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import IO, cast

from train import our_steps, processor

BATCH, SIZE, STEPS = 8, 256, 3
Times = list[tuple[float, float]]


def answer_steps(model: str) -> None:
    """Take the steps that are asked for, a line each, and print milliseconds of the clock and of the processor."""
    steps, _ = our_steps(model, BATCH, SIZE)
    step = steps["step"]
    for _ in range(STEPS):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        times: Times = []
        for _ in range(STEPS):
            clock, computed = time.perf_counter(), time.process_time()
            step()
            times.append((1e3 * (time.perf_counter() - clock), 1e3 * (time.process_time() - computed)))
        print(json.dumps(times), flush=True)


def ready(model: str, rounds: int) -> "subprocess.Popen[str]":
    """A process that has taken its first steps."""
    child = subprocess.Popen(
        [sys.executable, __file__, "--answer", model],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "GOMP_SPINCOUNT": str(rounds)},
    )
    for line in cast(IO[str], child.stdout):
        if line.strip() == "ready":
            return child
    raise SystemExit(f"{model}: the process ended")


def steps_of(child: "subprocess.Popen[str]") -> Times:
    """Three steps now."""
    asked, answered = cast(IO[str], child.stdin), cast(IO[str], child.stdout)
    asked.write("\n")
    asked.flush()
    return cast(Times, json.loads(answered.readline()))


def compare(model: str, rounds: list[int], turns: int) -> None:
    """Print a line for this network alone, and one beside a busy process."""
    children = {n: ready(model, n) for n in rounds}
    for beside in (False, True):
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if beside else None
        times: dict[int, Times] = {n: [] for n in rounds}
        try:
            for _ in range(turns):
                for n, child in children.items():
                    times[n] += steps_of(child)
        finally:
            if busy is not None:
                busy.kill()
                busy.wait()
        of_rounds = {
            str(n): {"ms": round(statistics.median(c)), "processor_ms": round(statistics.median(p))}
            for n, (c, p) in ((n, zip(*taken, strict=True)) for n, taken in times.items())
        }
        print(json.dumps({"model": model, "beside_busy_process": beside, "rounds": of_rounds}), flush=True)
    for child in children.values():
        child.kill()
        child.wait()


def main() -> None:
    """Compare the networks asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["shufflenet_v2_x1_0", "mobilenet_v2"])
    parser.add_argument("--rounds", nargs="+", type=int, default=[0, 300, 1000, 3000, 10000])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.answer:
        answer_steps(asked.answer)
        return
    print(json.dumps(processor()), flush=True)
    for model in asked.models:
        compare(model, asked.rounds, asked.turns)


if __name__ == "__main__":
    main()

"""How fast a network trains on this machine: seconds for one slice, and the quickest layout and precision."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from torch.nn import functional

from nephroscope.base.machine import memory_kept, memory_of_machine
from nephroscope.learning.networks.networks import only_shapes
from nephroscope.learning.networks.phases import network_of
from nephroscope.learning.networks.table import channels_of, encoder_of, phases_of
from nephroscope.learning.run_files import Compute, Precision
from nephroscope.learning.training.device import compute_dtype, training_device
from nephroscope.learning.training.fit import LAYOUTS
from nephroscope.records import SliceSpec, TrainConfig

SLICES, ROUNDS = 4, 2
TESTED_SLICES = 8  # a step of the self-test
WORTH_TESTING = 10**8  # pixels of a whole training: below, the self-test would take longer than it could save
WORTH_CHANGING = 1.05
BYTES_OF_LIBRARIES = 6 * 10**8
logger = logging.getLogger(__name__)


def seconds_per_slice(config: TrainConfig, n_subtypes: int, spec: SliceSpec) -> float:
    """Seconds of one training step for one slice: forward, backward and the optimizer's step, after a first one.

    Measured on a small batch; reading and augmentation are left out.
    """
    dtype = compute_dtype(config.precision, training_device())
    state = torch.random.get_rng_state()
    trial = _Trial(config, (n_subtypes, spec, SLICES), dtype, torch.contiguous_format)
    with memory_kept():
        trial.step()  # the first step also allocates
        started = time.monotonic()
        for _ in range(ROUNDS):
            trial.step()
        seconds = time.monotonic() - started
    torch.random.set_rng_state(state)
    return seconds / (ROUNDS * SLICES)


def choose_compute(
    config: TrainConfig, n_subtypes: int, spec: SliceSpec, n_slices: int, n_folds: int = 1
) -> Compute:
    """How to train here: threads as torch has them, and the layout and precision that a self-test finds quickest.

    Channels last, in bf16 where the device has it, is left only for what is more than a twentieth quicker; a short
    training takes it untested.

    Args:
        config: Network, batch size and precision; with ``auto`` both precisions are tried where there is bf16.
        n_subtypes: Outputs.
        spec: Size of a slice.
        n_slices: Slices trained on in all epochs together.
        n_folds: Folds that may be trained at the same time; each then has its share of the threads.

    Raises:
        ConfigError: The network or the precision is not available here.
    """
    dtype = compute_dtype(config.precision, training_device())
    usual = Compute(threads=torch.get_num_threads(), precision=precision_of(dtype))
    if n_slices * spec.size_px**2 < WORTH_TESTING:
        return usual
    usual = replace(usual, threads=usual.threads // folds_at_once(config, n_subtypes, spec, n_folds))
    ways = [usual, replace(usual, layout="contiguous")]
    if dtype == torch.bfloat16 and config.precision == "auto":
        ways += [replace(way, precision="float32") for way in ways]
    same = replace(config, epochs=1, seed=0, learning_rate=1e-3)  # what does not change the speed
    return _quickest(same, n_subtypes, spec, tuple(ways))


@cache
def _quickest(config: TrainConfig, n_subtypes: int, spec: SliceSpec, ways: tuple[Compute, ...]) -> Compute:
    """Steps of all ways in turn, so that other work on the machine slows all of them."""
    state = torch.random.get_rng_state()
    size = (n_subtypes, spec, min(TESTED_SLICES, config.batch_size))
    trials = [_Trial(config, size, getattr(torch, way.precision), LAYOUTS[way.layout]) for way in ways]
    seconds: list[list[float]] = [[] for _ in ways]
    with memory_kept():
        for number in range(ROUNDS + 1):
            for trial, taken in zip(trials, seconds, strict=True):
                started = _now()
                trial.step()
                if number > 0:  # the first step also allocates
                    taken.append(_now() - started)
    torch.random.set_rng_state(state)
    return _chosen(config.model, ways, [min(taken) for taken in seconds])


def _chosen(model: str, ways: Sequence[Compute], seconds: Sequence[float]) -> Compute:
    """The quickest way, or the first where none is more than a twentieth quicker."""
    best = min(range(len(ways)), key=lambda i: seconds[i])
    if seconds[0] < WORTH_CHANGING * seconds[best]:
        best = 0
    told = ", ".join(
        f"{way.precision} {way.layout} {seconds[0] / s:.2f}" for way, s in zip(ways, seconds, strict=True)
    )
    logger.info("%s: trained in %s, %s (speed: %s)", model, ways[best].precision, ways[best].layout, told)
    return ways[best]


def _now() -> float:
    """Time of this process alone on the processor, which other programs do not lengthen; of the clock on a GPU."""
    return time.monotonic() if torch.cuda.is_available() else time.process_time()


def folds_at_once(config: TrainConfig, n_subtypes: int, spec: SliceSpec, n_folds: int) -> int:
    """How many folds are trained at the same time, so that each has fewer threads to wait for.

    Not more than torch has threads, nor than half of the computer's memory holds; one on a GPU. It depends on the
    computer alone, not on what else it does: the number of threads decides the last bits.
    """
    if n_folds < 2 or training_device().type != "cpu":
        return 1
    fitting = memory_of_machine() // 2 // memory_of_fit(config, n_subtypes, spec)
    return max(min(n_folds, torch.get_num_threads(), fitting), 1)


def memory_of_fit(config: TrainConfig, n_subtypes: int, spec: SliceSpec) -> int:
    """Bytes that training one fold takes at most, about.

    What every layer gives for a batch, twice (a gradient each), four times the weights, and the libraries.
    """
    with only_shapes():
        encoder = encoder_of(config.model)
        network = network_of(encoder, n_subtypes, spec, config.recipe, width=config.width)
        given: list[int] = []
        for layer in network.modules():
            if not list(layer.children()) and not getattr(layer, "inplace", False):
                layer.register_forward_hook(lambda _layer, _inputs, output: given.append(output.numel()))
        network(torch.zeros(2, channels_of(encoder, ()), spec.size_px, spec.size_px))
    values = sum(given) // 2 * config.batch_size * max(len(phases_of(config.model, spec.phases)), 1)
    return BYTES_OF_LIBRARIES + 4 * (2 * values + 4 * sum(w.numel() for w in network.parameters()))


def precision_of(dtype: torch.dtype) -> Precision:
    """The name of a type of numbers."""
    return "bfloat16" if dtype == torch.bfloat16 else "float32"


class _Trial:
    """A network that can be asked for a training step on slices of air; ``size``: subtypes, slice, batch."""

    def __init__(
        self,
        config: TrainConfig,
        size: tuple[int, SliceSpec, int],
        dtype: torch.dtype,
        layout: torch.memory_format,
    ) -> None:
        self.device, self.dtype = training_device(), dtype
        n_subtypes, spec, n = size
        network = network_of(config.model, n_subtypes, spec, config.recipe, width=config.width)
        self.network = network.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(self.network.parameters(), config.learning_rate, fused=True)
        channels = channels_of(config.model, spec.phases)
        self.hu = torch.zeros(n, channels, spec.size_px, spec.size_px, device=self.device)
        self.labels = torch.arange(n, device=self.device) % n_subtypes

    def step(self) -> None:
        """Forward, backward and the optimizer's step."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.network(self.hu)
        self.optimizer.zero_grad(set_to_none=True)
        pixels = logits.shape[2:]  # of a network that draws
        labels = self.labels.reshape(-1, *(1 for _ in pixels)).expand(-1, *pixels)
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        float(logits.detach().sum())  # waits for the device

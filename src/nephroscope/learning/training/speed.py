"""How long training will take: seconds for one slice, measured on this machine."""

import time

import torch
from torch.nn import functional

from nephroscope.learning.networks.networks import build_network
from nephroscope.learning.training.device import compute_dtype, training_device
from nephroscope.records import SliceSpec, TrainConfig

SLICES, ROUNDS = 4, 2


def seconds_per_slice(config: TrainConfig, n_subtypes: int, spec: SliceSpec) -> float:
    """Seconds of one training step for one slice: forward, backward and the optimizer's step, after a first one.

    Measured on a small batch; reading and augmentation are left out.
    """
    device = training_device()
    dtype = compute_dtype(config.precision, device)
    state = torch.random.get_rng_state()
    network = build_network(config.model, n_subtypes, spec, config.recipe, width=config.width).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate)
    hu = torch.zeros(SLICES, 1, spec.size_px, spec.size_px, device=device)
    labels = torch.arange(SLICES, device=device) % n_subtypes
    started = time.monotonic()
    for number in range(ROUNDS + 1):
        if number == 1:  # the first step also allocates
            started = time.monotonic()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits = network(hu)
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        float(logits.detach().sum())  # waits for the device
    torch.random.set_rng_state(state)
    return (time.monotonic() - started) / (ROUNDS * SLICES)

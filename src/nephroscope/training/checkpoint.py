"""A fit on disk: one safetensors file with weights, optimizer state and history, replaced whole after each epoch."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from nephroscope.errors import StudyError
from nephroscope.files import replacing
from nephroscope.models.networks import SubtypeNetwork
from nephroscope.training.loop import Epoch, FitState


def save_weights(network: SubtypeNetwork, path: Path) -> None:
    """Write the weights and batch-norm statistics of a network."""
    with replacing(path) as temporary:
        save_file(_plain(network.state_dict()), temporary)


def load_weights(network: SubtypeNetwork, path: Path) -> None:
    """Read weights into a network of the same kind.

    Raises:
        StudyError: The file is damaged or belongs to another network.
    """
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise _damaged(path, error) from error


def save_checkpoint(state: FitState, path: Path) -> None:
    """Write everything that a resumed fit needs."""
    tensors = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    for number, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in values.items()}
    history = json.dumps([asdict(epoch) for epoch in state.history])
    with replacing(path) as temporary:
        save_file(_plain(tensors), temporary, {"history": history, "step": str(state.step)})


def load_checkpoint(state: FitState, path: Path) -> None:
    """Put a fresh state where the checkpoint left off.

    Raises:
        StudyError: The file is damaged or belongs to another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
        tensors = load_file(path)
        weights = {
            name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")
        }
        state.network.load_state_dict(weights)
        optimizer = state.optimizer.state_dict()
        parameters = list(state.network.parameters())
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, number, key = name.split(".")
                moments.setdefault(int(number), {})[key] = _laid_out_like(parameters[int(number)], value)
        optimizer["state"] = moments
        state.optimizer.load_state_dict(optimizer)
        state.history = [Epoch(**epoch) for epoch in json.loads(about["history"])]
        state.step = int(about["step"])
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """The fused optimizer pairs weights and moments by their place in memory, so both are channels last."""
    return torch.empty_like(parameter, device="cpu").copy_(value) if value.dim() else value


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value.detach().cpu().to(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }


def _damaged(path: Path, error: Exception) -> StudyError:
    return StudyError(
        where=f"{path.parent.parent.name}/{path.parent.name}/{path.name}",
        expected="the weights of this run's network",
        found=f"a file that does not fit ({type(error).__name__})",
        remedy="train the run again under another --name",
    )

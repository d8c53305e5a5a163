"""A fit on disk: the best weights, and a checkpoint after each epoch from which the fit goes on bit for bit."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from nephroscope.base.errors import StudyError
from nephroscope.base.files import file_digest, replacing
from nephroscope.learning.networks.networks import SubtypeNetwork
from nephroscope.learning.networks.onnx_file import Exported, write_onnx
from nephroscope.learning.networks.phases import network_of
from nephroscope.learning.run_files import MODEL, WEIGHTS
from nephroscope.learning.training.fit import Epoch, FitState, FoldTask, epoch_steps, new_state, prior_shift
from nephroscope.records import SliceSpec, TrainConfig

logger = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.safetensors"


def first_network(config: TrainConfig, fold: int, n_subtypes: int, spec: SliceSpec) -> SubtypeNetwork:
    """A network with its initial weights, which depend on seed and fold alone."""
    torch.manual_seed(config.seed * 1000 + fold)
    return network_of(config.model, n_subtypes, spec, config.recipe, config.pretrained, config.width)


def first_state(task: FoldTask, spec: SliceSpec) -> FitState:
    """The network of a task with its initial weights."""
    return new_state(first_network(task.config, task.fold, task.n_subtypes, spec), task)


def fit_in_folder(folder: Path, task: FoldTask, state: FitState) -> Iterator[Epoch | None]:
    """Train to the end, going on at the last checkpoint; gives None after a batch and the epoch after each epoch.

    Of an epoch the best weights are written first, then the history, and last the checkpoint: it alone decides what
    a resumed fit does again.
    """
    if (folder / CHECKPOINT).exists():
        load_checkpoint(state, folder / CHECKPOINT)
        task.load_history(folder, state)
    else:
        state.weights = save_weights(
            state.network, folder / WEIGHTS, prior_shift(task)
        )  # kept where no loss is ever finite
    while not task.is_finished(state):
        yield from epoch_steps(task, state)
        if task.has_improved(state):
            state.weights = save_weights(state.network, folder / WEIGHTS, prior_shift(task))
        task.save_history(folder, state)
        save_checkpoint(state, folder / CHECKPOINT)
        yield state.history[-1]


def export_best(folder: Path, task: FoldTask, state: FitState, shown: npt.NDArray[np.int16]) -> Exported:
    """Write the best weights as model.onnx; ``shown`` are slices in HU (N, size, size) to export it with.

    Evaluation uses that file, so its figures hold even where ONNX Runtime comes less close to torch than it should:
    the training is kept, and the log says so. A bundle is refused then.
    """
    if state.weights and (not (folder / WEIGHTS).is_file() or file_digest(folder / WEIGHTS) != state.weights):
        raise _refusal(
            folder / WEIGHTS, "the weights of the best epoch, as they were written", "others, or none"
        )
    load_weights(state.network, folder / WEIGHTS)
    with replacing(folder / MODEL) as temporary:
        exported = write_onnx(state.network, task.n_subtypes, shown, temporary)
    if not exported.is_same:
        logger.warning(
            "%s: ONNX Runtime and torch differ by %.2g (%.2g allowed); figures come from ONNX Runtime",
            folder.name,
            exported.apart,
            exported.allowed,
        )
    return exported


def save_weights(network: SubtypeNetwork, path: Path, shift: Tensor | None = None) -> str:
    """Write the weights and batch-norm statistics of a network; gives SHA-256 of the file.

    Args:
        network: The network.
        path: The file.
        shift: (outputs,), added to its logits.
    """
    tensors = _plain(network.state_dict())
    if shift is not None:
        (bias,) = [name for name in tensors if name.endswith("output.bias")]
        tensors[bias] = tensors[bias] + shift.cpu()
    with replacing(path) as temporary:
        save_file(tensors, temporary)
        return file_digest(temporary)


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
    plain = _plain(tensors)
    about = {
        "history": json.dumps([asdict(epoch) for epoch in state.history]),
        "step": str(state.step),
        "made_from": state.made_from,
        "weights": state.weights,
    }
    with replacing(path) as temporary:
        save_file(plain, temporary, about | {"digest": _digest(plain, about)})


def load_checkpoint(state: FitState, path: Path) -> None:
    """Put a fresh state where the checkpoint left off.

    Raises:
        StudyError: The file is damaged or belongs to another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
        tensors = load_file(path)
        digest = about.pop("digest", "")  # none in those of older versions
        if digest and digest != _digest(tensors, about):
            raise ValueError("not as it was written")
        if digest and about["made_from"] != state.made_from:
            raise _refusal(path, "the checkpoint of this fold of this run", "that of another one")
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
        state.step, state.weights = int(about["step"]), about.get("weights", "")
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


def _digest(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """SHA-256 of everything in a checkpoint."""
    found = hashlib.sha256(json.dumps(sorted(about.items())).encode())
    for name, value in sorted(tensors.items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _damaged(path: Path, error: Exception) -> StudyError:
    return _refusal(
        path, "the weights of this run's network", f"a file that does not fit ({type(error).__name__})"
    )


def _refusal(path: Path, expected: str, found: str) -> StudyError:
    return StudyError(
        where=f"{path.parent.parent.name}/{path.parent.name}/{path.name}",
        expected=expected,
        found=found,
        remedy="train the run again under another --name",
    )

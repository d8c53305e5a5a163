"""A round of a training that several hospitals share: tensors in, so many epochs on one's own slices, tensors out.

The tensors are those of a checkpoint, by its names: weights and statistics of the network, moments of the optimizer.
The number of steps does not travel: it follows from the epochs so far and the site's own slices, as do the learning
rate and the chance of each epoch. So rounds of one site alone give the bits of one training.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor, nn

from nephroscope.base.errors import StudyError
from nephroscope.base.machine import memory_kept
from nephroscope.learning.networks.networks import SubtypeNetwork
from nephroscope.learning.run_files import METRICS, WEIGHTS, Compute
from nephroscope.learning.training.checkpoint import (
    CHECKPOINT,
    first_network,
    first_state,
    fit_in_folder,
    load_checkpoint,
    save_checkpoint,
    save_weights,
)
from nephroscope.learning.training.device import threads
from nephroscope.learning.training.fit import (
    Epoch,
    FitState,
    FoldTask,
    measure_batch_norm,
    shift_of,
    validate,
)
from nephroscope.learning.training.run import finish_fold
from nephroscope.records import SliceSpec, TrainConfig
from nephroscope.study.snapshot import Snapshot

Arrays = dict[str, npt.NDArray[Any]]
NETWORK, OPTIMIZER = "network.", "optimizer."
STATISTICS = MEAN, VARIANCE = (".running_mean", ".running_var")  # of batch norm
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, kw_only=True)
class RoundTask(FoldTask):
    """A fold that is trained until the end of a round; of all its epochs the last counts.

    Attributes:
        until: Epoch after which the round ends.
        sites: Of the group. The mean of their weights has learned from the batches of so many sites, yet made the
            steps of one; for Adam the learning rate grows with the root of the batch.
        proximal: FedProx: weights are pulled towards those the round began with, by their distance times this.
        anchor: Those weights, by name.

    Source:
        Li et al. 2020, Federated optimization in heterogeneous networks (FedProx). Malladi et al. 2022, On the SDEs
        and scaling rules for adaptive gradient algorithms (the root).
    """

    until: int
    sites: int = 1
    proximal: float = 0.0
    anchor: dict[str, Tensor] = field(default_factory=dict)

    def is_finished(self, state: FitState) -> bool:
        """True after the last epoch of the round."""
        return len(state.history) >= self.until

    def has_improved(self, state: FitState) -> bool:
        """Never: which round is kept is decided by all sites."""
        return False

    def load_history(self, folder: Path, state: FitState) -> None:
        """Say where it goes on, unless the round begins."""
        if (folder / METRICS).exists():
            super().load_history(folder, state)

    @property
    def gain(self) -> float:
        """The root of the number of sites; exactly 1 for one."""
        return math.sqrt(self.sites)

    def pull(self, network: SubtypeNetwork) -> None:
        """Add the gradient of half the squared distance times ``proximal``."""
        if not self.proximal:
            return
        for name, weights in network.named_parameters():
            if weights.grad is not None:
                weights.grad.add_(
                    weights.detach() - self.anchor[name].to(weights.device), alpha=self.proximal
                )


def round_task(task: FoldTask, until: int, proximal: float = 0.0, sites: int = 1) -> RoundTask:
    """The task of a fold as that of a round of so many sites."""
    return RoundTask(**vars_of(task), until=until, proximal=proximal, sites=sites)


def vars_of(task: FoldTask) -> dict[str, Any]:
    """The fields of a task by name."""
    return {name: getattr(task, name) for name in FoldTask.__dataclass_fields__}


def first_arrays(config: TrainConfig, fold: int, n_subtypes: int, spec: SliceSpec) -> Arrays:
    """What the first round of a fold begins with: the initial weights; there are no moments yet."""
    network = first_network(config, fold, n_subtypes, spec)
    return {f"{NETWORK}{name}": value.numpy().copy() for name, value in network.state_dict().items()}


def run_round(
    folder: Path, task: RoundTask, compute: Compute, spec: SliceSpec, given: Arrays, history: Sequence[Epoch]
) -> tuple[Arrays, list[Epoch]]:
    """Train a round of one fold, going on where it was interrupted; gives its tensors and all epochs.

    Args:
        folder: Of the round and fold; its checkpoint goes on from there.
        task: What is learnt.
        compute: Threads.
        spec: Of the slices.
        given: Tensors the round begins with.
        history: Epochs so far, one for each that lies before the round.

    Raises:
        StudyError: The tensors are not those of this network.
    """
    with threads(compute.threads), memory_kept():
        if task.proximal:
            weights = {name.removeprefix(NETWORK): torch.from_numpy(value) for name, value in given.items()}
            task.anchor.update(weights)
        state = first_state(task, spec)
        if not (folder / CHECKPOINT).exists():
            put(state, given, len(history) * task.steps_per_epoch)
            state.history = list(history)
            save_checkpoint(state, folder / CHECKPOINT)
            state = first_state(task, spec)
        for _ in fit_in_folder(folder, task, state):
            pass
        return arrays_of(state), state.history


def put(state: FitState, arrays: Arrays, steps: int) -> None:
    """Put tensors that came from elsewhere into a fresh state, after so many steps.

    Raises:
        StudyError: They are not those of this network.
    """
    tensors = {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}
    try:
        weights = {name.removeprefix(NETWORK): t for name, t in tensors.items() if name.startswith(NETWORK)}
        state.network.load_state_dict(weights)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(OPTIMIZER):
                _, number, key = name.split(".")
                moments.setdefault(int(number), {})[key] = value
        for own in moments.values():
            own["step"] = torch.tensor(float(steps))
        optimizer = state.optimizer.state_dict()
        optimizer["state"] = moments
        state.optimizer.load_state_dict(optimizer)
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
        raise StudyError(
            where="tensors of a round",
            expected="those of this group's network",
            found=f"others ({type(error).__name__})",
            remedy="ask the coordinator which version of nephroscope made them",
        ) from error
    state.step = steps


def arrays_of(state: FitState) -> Arrays:
    """The tensors of a state that travel."""
    tensors = {f"{NETWORK}{name}": value for name, value in state.network.state_dict().items()}
    for number, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{number}.{name}": value for name, value in values.items() if name != "step"}
    return {
        name: value.detach().cpu().contiguous().numpy().copy(order="C") for name, value in tensors.items()
    }


def train_alone(folder: Path, task: FoldTask, compute: Compute, spec: SliceSpec) -> bytes:
    """Train a fold on one site's patients alone, as a run would; gives its best weights as safetensors."""
    with threads(compute.threads), memory_kept():
        state = first_state(task, spec)
        for _ in fit_in_folder(folder, task, state):
            pass
    return (folder / WEIGHTS).read_bytes()


def checkpoint_arrays(folder: Path, task: FoldTask, spec: SliceSpec) -> Arrays:
    """The tensors of the checkpoint in a folder."""
    state = first_state(task, spec)
    load_checkpoint(state, folder / CHECKPOINT)
    return arrays_of(state)


def validation_loss(task: FoldTask, compute: Compute, spec: SliceSpec, arrays: Arrays) -> float:
    """Loss of these weights on the validation part of a fold: mean over its cases, in nats."""
    with threads(compute.threads):
        state = first_state(task, spec)
        put(state, {name: value for name, value in arrays.items() if name.startswith(NETWORK)}, 0)
        return validate(task, state.network)[0]


def measured_norms(task: FoldTask, compute: Compute, spec: SliceSpec, arrays: Arrays) -> Arrays:
    """Running statistics of batch norm under these weights, from the training slices of a fold, by name.

    A mean of weights is another network than those it is the mean of: their statistics are not its own.

    Args:
        task: Of the fold.
        compute: Threads.
        spec: Of the slices.
        arrays: Tensors of a round; the statistics in them do not count.
    """
    with threads(compute.threads):
        state = first_state(task, spec)
        put(state, {name: value for name, value in arrays.items() if name.startswith(NETWORK)}, 0)
        measure_batch_norm(task, state.network)
        return {
            name: value.cpu().numpy().copy()
            for name, value in state.network.state_dict().items()
            if name.endswith(STATISTICS)
        }


def norm_shapes(
    config: TrainConfig, n_subtypes: int, spec: SliceSpec
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of the running statistics of batch norm, by name in the network; empty where it has none."""
    known = network_shapes(config, n_subtypes, spec)
    return {name.removeprefix(NETWORK): like for name, like in known.items() if name.endswith(STATISTICS)}


@cache
def network_shapes(
    config: TrainConfig, n_subtypes: int, spec: SliceSpec
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of every tensor of a network, by name."""
    return {name: (v.shape, v.dtype.str) for name, v in first_arrays(config, 0, n_subtypes, spec).items()}


@cache
def moment_shapes(
    config: TrainConfig, n_subtypes: int, spec: SliceSpec
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of every moment of the optimizer, by name."""
    weights = enumerate(first_network(config, 0, n_subtypes, spec).parameters())
    return {
        f"{OPTIMIZER}{number}.{moment}": (tuple(one.shape), "<f4")
        for number, one in weights
        for moment in MOMENTS
    }


@cache
def norm_names(config: TrainConfig, n_subtypes: int, spec: SliceSpec) -> frozenset[str]:
    """The tensors of batch norm, with their moments."""
    network = first_network(config, 0, n_subtypes, spec)
    layers = [name for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    names = {f"{NETWORK}{name}" for name in network.state_dict() if name.rpartition(".")[0] in layers}
    for number, (name, _) in enumerate(network.named_parameters()):
        if name.rpartition(".")[0] in layers:
            names |= {f"{OPTIMIZER}{number}.{moment}" for moment in MOMENTS}
    return frozenset(names)


def final_weights(arrays: Arrays, counts: npt.NDArray[np.int64] | None) -> Arrays:
    """Weights as a run keeps them: at the prevalence of so many training cases of each subtype.

    Args:
        arrays: Tensors of a round.
        counts: (n_subtypes,); None where the loss does not weigh the subtypes, or the counts are not known.
    """
    weights = {
        name.removeprefix(NETWORK): value for name, value in arrays.items() if name.startswith(NETWORK)
    }
    if counts is not None:
        (bias,) = [name for name in weights if name.endswith("output.bias")]
        shift = np.zeros_like(weights[bias])
        shift[: len(counts)] = shift_of(counts).astype(np.float32)
        weights[bias] = weights[bias] + shift
    return weights


def finish_shared_fold(
    path: Path, task: FoldTask, snapshot: Snapshot, weights: Arrays, history: Sequence[Epoch]
) -> None:
    """Write a fold of a run, as a training would, from weights that all sites chose."""
    state = first_state(task, snapshot.slices.spec)
    tensors = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
    try:
        state.network.load_state_dict(tensors)
    except RuntimeError as error:
        raise StudyError(
            where=f"fold {task.fold}",
            expected="the weights of this group's network",
            found="others",
            remedy="fetch the archive of the coordinator again",
        ) from error
    state.history = list(history)
    state.weights = save_weights(state.network, path / WEIGHTS)
    task.save_history(path, state)
    finish_fold(path, task, state, snapshot)


@cache
def _any_network(config: TrainConfig, n_subtypes: int, spec: SliceSpec) -> SubtypeNetwork:
    """A network whose weights are replaced before each use; making one takes longer than asking it."""
    return first_network(config, 0, n_subtypes, spec)


@torch.inference_mode()
def case_probabilities(
    snapshot: Snapshot, config: TrainConfig, weights: Arrays, names: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Probabilities (n, n_subtypes) of cases: the mean over each one's slices."""
    store, n_subtypes = snapshot.slices, len(snapshot.cohort.subtypes)
    network = _any_network(config, n_subtypes, store.spec)
    network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    network.eval()
    found = np.zeros((len(names), n_subtypes))
    for number, name in enumerate(names):
        hu = torch.from_numpy(np.asarray(store.hu[store.rows_by_case[name]])).unsqueeze(1).float()
        parts = [network(hu[i : i + config.batch_size]) for i in range(0, len(hu), config.batch_size)]
        logits = torch.cat(parts)[:, :n_subtypes].double()
        found[number] = torch.softmax(logits, dim=1).mean(dim=0).numpy()
    return found


def arrays_as_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Tensors as a safetensors file."""
    content: bytes = save({name: value.copy(order="C") for name, value in arrays.items()})
    return content


def arrays_from_bytes(content: bytes, where: str) -> Arrays:
    """Tensors of a safetensors file.

    Raises:
        StudyError: It is damaged, or a tensor holds what is no finite number.
    """
    try:
        arrays: Arrays = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _not_tensors(where, "a damaged or different file") from error
    for name, value in arrays.items():
        if not np.isfinite(value).all():
            raise _not_tensors(where, f"values that are no finite numbers in {name}")
    return arrays


def _not_tensors(where: str, found: str) -> StudyError:
    return StudyError(
        where=where,
        expected="tensors of finite numbers (safetensors)",
        found=found,
        remedy="ask who made the archive to train the round again",
    )

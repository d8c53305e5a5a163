"""Train a network on one fold: batches, steps of the optimizer, validation and the choice of the best epoch."""

import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from nephroscope.base.files import digest_of, replacing
from nephroscope.learning.networks.networks import SubtypeNetwork, network_row
from nephroscope.learning.run_files import METRICS, Layout
from nephroscope.learning.training.augment import augment, draw_augmentation
from nephroscope.learning.training.batches import LabelledSlices, draw_epoch, drop_phases
from nephroscope.records import TrainConfig

logger = logging.getLogger(__name__)
EXACT_NORM_STEPS = 10
SETTLED_STEPS = 50  # after so many steps the running statistics of batch norm follow the weights
MEASURED_BATCHES = 10
BEATS_CHANCE_BY = 0.05  # balanced accuracy
DIVERGED = 10  # times the loss of guessing
LAYOUTS: dict[Layout, torch.memory_format] = {
    "channels last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of metrics.jsonl. Losses are cross-entropy in nats; accuracies are balanced over subtypes."""

    epoch: int
    train_loss: float
    train_accuracy: float  # of slices, as they were trained on
    validation_loss: float  # mean over cases of the mean over their slices
    validation_accuracy: float  # of slices
    learning_rate: float
    seconds: float


@dataclass(kw_only=True)
class FitState:
    """All that changes while fitting; a checkpoint is exactly this.

    Attributes:
        made_from: Digest of the task.
        weights: SHA-256 of the file of the best weights, once it was written.
    """

    network: SubtypeNetwork
    optimizer: torch.optim.Optimizer
    history: list[Epoch] = field(default_factory=list)
    step: int = 0
    made_from: str = ""
    weights: str = ""

    @property
    def best(self) -> Epoch | None:
        """The epoch with the lowest validation loss of those whose losses are finite."""
        finite = [e for e in self.history if math.isfinite(e.train_loss + e.validation_loss)]
        return min(finite, key=lambda epoch: epoch.validation_loss, default=None)


@dataclass(frozen=True, kw_only=True)
class FoldTask:
    """What is to be learned: slices, settings and device of one fold, and the rules of its epochs."""

    fold: int
    train: LabelledSlices
    validation: LabelledSlices
    n_subtypes: int
    config: TrainConfig
    device: torch.device
    dtype: torch.dtype
    layout: Layout = "channels last"
    keeps_prior: bool = True

    def rng(self, epoch: int) -> np.random.Generator:
        """The chance of one epoch, from (seed, fold, epoch) alone, so that an epoch can be replayed."""
        return np.random.default_rng([self.config.seed, self.fold, epoch])

    @cached_property
    def digest(self) -> str:
        """Digest of what is learned from and how; a fit may be given more epochs."""
        how = {name: value for name, value in asdict(self.config).items() if name != "epochs"}
        return digest_of(
            [self.fold, self.n_subtypes, self.train.rows.tolist(), self.train.labels.tolist(), how]
        )

    def batches(self, rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
        """Positions of the training slices of an epoch, batch by batch."""
        return draw_epoch(self.train, self.config.slices_per_case, self.config.batch_size, rng)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return len(self.batches(self.rng(0)))

    def mean_loss(self, losses: list[Tensor], sizes: list[int]) -> float:
        """Mean loss over the slices of an epoch."""
        return float(torch.stack([loss * n for loss, n in zip(losses, sizes, strict=True)]).sum()) / sum(
            sizes
        )

    def is_finished(self, state: FitState) -> bool:
        """True after the last epoch, when patience is used up, or when the loss is no number any more."""
        if not state.history:
            return False
        last, best = state.history[-1], state.best
        waited = last.epoch - (best.epoch if best else 0)
        out_of_patience = bool(self.config.patience) and waited >= self.config.patience
        return last.epoch >= self.config.epochs or out_of_patience or not math.isfinite(last.train_loss)

    def has_improved(self, state: FitState) -> bool:
        """True when the last epoch is the best so far."""
        return state.best is state.history[-1]

    @property
    def gain(self) -> float:
        """What the learning rate of the settings is multiplied by."""
        return 1.0

    def vary(self, hu: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A batch as it is trained on: phases taken away, and what augmentation makes of it."""
        if hu.shape[1] > 1:
            hu = drop_phases(hu, rng)
        if self.config.augmentation:
            hu = augment(hu, draw_augmentation(len(hu), rng))
        return hu, labels

    def loss_weights(self) -> Tensor | None:
        """What the loss weighs the subtypes with."""
        return class_weights(self)

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """What a step makes smaller."""
        return functional.cross_entropy(logits.float(), labels, weight=weights)

    def hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Correct answers and slices by subtype, (2, n_subtypes)."""
        return count_hits(logits, labels, self.n_subtypes)

    def validate(self, network: SubtypeNetwork) -> tuple[float, Tensor]:
        """Loss and hits on the validation part."""
        return validate(self, network)

    def has_converged(self, state: FitState) -> bool:
        """True when it learned more than chance."""
        return converged(state.history, self.n_subtypes)

    def pull(self, network: SubtypeNetwork) -> None:
        """Called in each step between the gradient and the optimizer, which may be pulled elsewhere."""

    def note(self, epoch: Epoch, hits: Tensor) -> None:
        """Called with every new epoch and its hits on the validation slices, (2, n_subtypes)."""

    def save_history(self, folder: Path, state: FitState) -> None:
        """Write metrics.jsonl, a line an epoch."""
        with replacing(folder / METRICS) as temporary:
            lines = [json.dumps(finite(epoch), allow_nan=False) + "\n" for epoch in state.history]
            temporary.write_text("".join(lines), encoding="utf-8")

    def load_history(self, folder: Path, state: FitState) -> None:
        """Called when a fit goes on from a checkpoint, which has the history."""
        logger.info("fold %d: resumed after epoch %d", self.fold, len(state.history))


def finite(epoch: Epoch) -> dict[str, float | None]:
    """An epoch as JSON has it: a loss that is no number becomes null."""
    return {name: value if math.isfinite(value) else None for name, value in asdict(epoch).items()}


def new_state(network: SubtypeNetwork, task: FoldTask) -> FitState:
    """A fit before its first step, on the task's device and in its layout."""
    network = network.to(task.device, memory_format=LAYOUTS[task.layout])  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        network.parameters(), task.config.learning_rate, weight_decay=task.config.weight_decay, fused=True
    )
    return FitState(network=network, optimizer=optimizer, made_from=task.digest)


def fit(task: FoldTask, state: FitState) -> Iterator[Epoch]:
    """Train until the last epoch or until patience ends, giving each epoch as it ends."""
    while not task.is_finished(state):
        for _ in epoch_steps(task, state):
            pass
        yield state.history[-1]


def epoch_steps(task: FoldTask, state: FitState) -> Iterator[None]:
    """Train on every batch once, giving control back after each; then validate and append to the history."""
    started, number = time.monotonic(), len(state.history) + 1
    rng = task.rng(number)
    torch.manual_seed(int(rng.integers(2**63)))  # dropout
    batches, weights = task.batches(rng), task.loss_weights()
    losses, hits, rate = [], torch.zeros(2, task.n_subtypes), 0.0
    state.network.train()
    for chosen in batches:
        hu, labels = task.vary(*task.train.load(chosen, task.device), rng)
        rate = set_learning_rate(task, state, len(batches))
        loss, logits = train_step(task, state, hu, labels, weights)
        losses.append(loss)
        hits += task.hits(logits, labels)
        yield
    if task.config.recipe == "default" and state.step < SETTLED_STEPS:
        measure_batch_norm(task, state.network)
    validation_loss, validation_hits = task.validate(state.network)
    epoch = Epoch(
        epoch=number,
        train_loss=task.mean_loss(losses, [len(chosen) for chosen in batches]),
        train_accuracy=balanced(hits),
        validation_loss=validation_loss,
        validation_accuracy=balanced(validation_hits),
        learning_rate=rate,
        seconds=round(time.monotonic() - started, 2),
    )
    state.history.append(epoch)
    task.note(epoch, validation_hits)


def train_step(
    task: FoldTask, state: FitState, hu: Tensor, labels: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One step of the optimizer; gives the loss and the logits (N, outputs) it was taken on."""
    if task.config.recipe == "default":
        settle_batch_norm(state.network, state.step)
    with torch.autocast(task.device.type, task.dtype, enabled=task.dtype != torch.float32):
        logits = state.network(hu)
    loss = task.loss(logits, labels, weights)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    task.pull(state.network)
    state.optimizer.step()
    state.step += 1
    return loss.detach(), logits.detach()


@torch.inference_mode()
def validate(task: FoldTask, network: SubtypeNetwork) -> tuple[float, Tensor]:
    """Loss, as mean over cases of the mean over their slices, and hits by subtype."""
    network.eval()
    slices = task.validation
    loss = torch.zeros(len(slices))
    hits = torch.zeros(2, task.n_subtypes)
    prior = prior_shift(task)
    for start in range(0, len(slices), task.config.batch_size):
        chosen = np.arange(start, min(start + task.config.batch_size, len(slices)))
        hu, labels = slices.load(chosen, task.device)
        with torch.autocast(task.device.type, task.dtype, enabled=task.dtype != torch.float32):
            logits = network(hu)
        logits = logits if prior is None else logits + prior
        loss[start : start + len(chosen)] = functional.cross_entropy(
            logits.float(), labels, reduction="none"
        ).cpu()
        hits += count_hits(logits, labels, task.n_subtypes)
    cases = torch.from_numpy(slices.cases)
    n_cases = int(cases.max()) + 1
    per_case = torch.zeros(n_cases).index_add_(0, cases, loss) / torch.bincount(cases, minlength=n_cases)
    return float(per_case.mean()), hits


def class_weights(task: FoldTask) -> Tensor | None:
    """Loss weights that make every subtype count the same; 1 for the paper's spare outputs."""
    if not task.config.class_weights:
        return None
    counts = np.bincount(task.train.labels, minlength=task.n_subtypes)
    spare = network_row(task.config.model).paper_spare_outputs if task.config.recipe == "zuo2021" else 0
    weights = [len(task.train) / (task.n_subtypes * count) for count in counts] + [1.0] * spare
    return torch.tensor(weights, dtype=torch.float32, device=task.device)


def prior_shift(task: FoldTask) -> Tensor | None:
    """What is added to the logits (outputs,) so that probabilities are at the prevalence of the training cases.

    A loss that weighs the subtypes alike makes a network answer as if all were equally frequent; baselines keep the
    prevalence, and so must what is compared with them, called at 0.5 or read as a risk. None where nothing is added.

    Source: Saerens, Latinne, Decaestecker 2002, Neural Computation 14:21, equation 2.4.
    """
    if not (task.config.class_weights and task.keeps_prior):
        return None
    weights = class_weights(task)
    shift = torch.zeros_like(weights) if weights is not None else torch.zeros(task.n_subtypes)
    shift[: task.n_subtypes] = torch.from_numpy(shift_of(cases_by_subtype(task)))
    return shift


def cases_by_subtype(task: FoldTask) -> npt.NDArray[np.int64]:
    """Training cases of each subtype, (n_subtypes,)."""
    first = np.unique(task.train.cases, return_index=True)[1]  # a slice of each case
    return np.bincount(task.train.labels[first], minlength=task.n_subtypes)


def shift_of(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """What moves logits from equal frequencies to those of so many training cases of each subtype."""
    n = int(counts.sum())
    present = np.maximum(counts / n, 1 / (2 * n))  # a subtype that no case has stays possible
    shift: npt.NDArray[np.float64] = np.log(len(counts) * present)
    return shift


def set_learning_rate(task: FoldTask, state: FitState, steps_per_epoch: int) -> float:
    """Linear warm-up, then a cosine to zero over all epochs, or constant."""
    config, total = task.config, task.config.epochs * steps_per_epoch
    n_warm = config.warmup * total
    factor = 1.0
    if state.step < n_warm:
        factor = (state.step + 1) / (n_warm + 1)
    elif config.schedule == "cosine":
        factor = 0.5 * (1 + math.cos(math.pi * (state.step - n_warm) / max(total - n_warm, 1)))
    for group in state.optimizer.param_groups:
        group["lr"] = config.learning_rate * task.gain * factor
    return config.learning_rate * task.gain * factor


def settle_batch_norm(network: nn.Module, step: int) -> None:
    """Average the first steps' statistics exactly: a small cohort has too few steps to forget the initial ones."""
    if step > EXACT_NORM_STEPS:
        return
    momentum = max(1 / (step + 1), 0.1)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = momentum


@torch.no_grad()
def measure_batch_norm(task: FoldTask, network: nn.Module) -> None:
    """Statistics of batch norm from the training slices under the present weights, each batch counting the same.

    A small cohort has few steps: running statistics then belong to weights of several steps ago, and in a deep
    network the error grows from layer to layer. At most ten batches are used, without augmentation.

    Source: the second pass of stochastic weight averaging (Izmailov et al. 2018), torch.optim.swa_utils.update_bn.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    network.eval()  # no dropout
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over the batches
        layer.train()
    size = task.config.batch_size
    order = np.random.default_rng(task.fold).permutation(len(task.train))[: MEASURED_BATCHES * size]
    for start in range(0, len(order), size):
        hu, _ = task.train.load(order[start : start + size], task.device)
        if len(hu) > 1:
            with torch.autocast(task.device.type, task.dtype, enabled=task.dtype != torch.float32):
                network(hu)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def count_hits(logits: Tensor, labels: Tensor, n_subtypes: int) -> Tensor:
    """Correct answers and slices by subtype, (2, n_subtypes)."""
    right = labels[logits[:, :n_subtypes].argmax(dim=1) == labels].cpu()
    return torch.stack(
        [torch.bincount(right, minlength=n_subtypes), torch.bincount(labels.cpu(), minlength=n_subtypes)]
    ).float()


def balanced(hits: Tensor) -> float:
    """Mean over the subtypes present of the share of correct answers."""
    present = hits[1] > 0
    return float((hits[0, present] / hits[1, present]).mean())


def converged(history: list[Epoch], n_subtypes: int) -> bool:
    """True when some epoch beats chance on its own training slices by more than luck over many epochs would.

    An epoch whose loss is ten times that of guessing has diverged, and does not count.
    """
    limit = DIVERGED * math.log(n_subtypes)
    sound = [e.train_accuracy for e in history if max(e.train_loss, e.validation_loss) <= limit]
    return max(sound, default=0.0) > 1 / n_subtypes + BEATS_CHANCE_BY

"""One arm of a replication: trained on some images, its epoch chosen on others; writes model.onnx and arm.json.

It goes on at the epoch where it was stopped; arm.json is written last and means finished. The steps are those of
every training; only what an epoch draws and how the best one is chosen differ.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nephroscope.base.documents import from_plain, read_document, save_document
from nephroscope.base.errors import StudyError
from nephroscope.base.files import file_digest
from nephroscope.base.machine import memory_kept
from nephroscope.learning.networks.onnx_file import REFERENCE_SLICES
from nephroscope.learning.run_files import MODEL, Compute
from nephroscope.learning.training.checkpoint import (
    CHECKPOINT,
    export_best,
    first_state,
    fit_in_folder,
)
from nephroscope.learning.training.copies import AmplifiedSlices
from nephroscope.learning.training.device import (
    device_name,
    peak_mb,
    reset_peak,
    threads,
    training_device,
)
from nephroscope.learning.training.fit import Epoch, FitState, FoldTask, converged, finite
from nephroscope.learning.training.speed import choose_compute
from nephroscope.records import SliceSpec, TrainConfig

ChooseBy = Literal["accuracy", "loss"]
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ArmEpoch:
    """One epoch of an arm; a loss that was no finite number is None.

    ``right`` and ``n`` count validation images by subtype: those classified correctly, and all.
    """

    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float | None
    seconds: float
    right: tuple[int, ...]
    n: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ArmEpochs:
    """What epochs.json says of an unfinished arm; ``compute`` is None in those of older versions."""

    epochs: tuple[ArmEpoch, ...] = ()
    compute: Compute | None = None


@dataclass(frozen=True, kw_only=True)
class ArmRecord:
    """What arm.json says of a finished arm; memory and weights in MB.

    ``name``, of its folder, and ``model_sha256`` are empty in those of older versions.
    """

    model: str
    training: TrainConfig
    images_per_epoch: int
    steps: int
    chosen_by: str
    best_epoch: int | None
    converged: bool
    n_train_images: int
    n_choose_images: int
    seconds_per_epoch: float
    peak_memory_mb: float | None
    memory_of: str
    device: str
    threads: int
    precision: str
    weights_mb: float
    epochs: tuple[ArmEpoch, ...]
    layout: str = "channels last"
    name: str = ""
    model_sha256: str = ""

    @property
    def lowest_loss(self) -> float:
        """Validation loss of the best epoch; infinite where there is none."""
        losses = [row.validation_loss for row in self.epochs if row.epoch == self.best_epoch]
        return float("inf") if not losses or losses[0] is None else losses[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class Arm:
    """What is to be learnt.

    Attributes:
        folder: Its own; holds nothing else.
        train: An epoch draws ``images_per_epoch`` of these.
        choose: The epoch whose weights are kept is chosen on these, ...
        choose_by: ... by the highest plain accuracy, as the paper did, or by the lowest loss (mean over cases).
        fold: Of the seeds.
    """

    folder: Path
    train: AmplifiedSlices
    choose: AmplifiedSlices
    choose_by: ChooseBy
    images_per_epoch: int
    n_subtypes: int
    config: TrainConfig
    spec: SliceSpec
    fold: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; a last batch of one image is left out, as batch norm needs two."""
        whole, rest = divmod(self.images_per_epoch, self.config.batch_size)
        return whole + (rest > 1)

    @property
    def is_finished(self) -> bool:
        """True when arm.json is there, which is written last."""
        return (self.folder / "arm.json").exists()

    @property
    def steps_left(self) -> int:
        """Batches still to be trained on, for the time left."""
        if self.is_finished:
            return 0
        try:
            done = len(_kept(self.folder).epochs)
        except StudyError:
            done = 0  # refused by name when this training begins
        return max(self.config.epochs - done, 0) * self.steps_per_epoch


@dataclass(frozen=True, kw_only=True)
class ArmTask(FoldTask):
    """An arm as something to be fitted: every epoch draws so many images, and none ends early.

    Attributes:
        rows: The epochs so far, as epochs.json has them.
        compute: How it computes.
    """

    train: AmplifiedSlices
    compute: Compute
    images_per_epoch: int
    choose_by: ChooseBy
    rows: list[ArmEpoch] = field(default_factory=list)

    def batches(self, rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
        """Positions of the images of an epoch, batch by batch."""
        drawn, size = draw_images(self.images_per_epoch, len(self.train), rng), self.config.batch_size
        batches = [drawn[i : i + size] for i in range(0, len(drawn), size)]
        return [batch for batch in batches if len(batch) > 1]

    def mean_loss(self, losses: list[Tensor], sizes: list[int]) -> float:
        """Mean loss over the images of an epoch."""
        return sum(float(loss) * n for loss, n in zip(losses, sizes, strict=True)) / sum(sizes)

    def is_finished(self, state: FitState) -> bool:
        """True after the last epoch, or when the loss is no number any more."""
        lost = bool(state.history) and not math.isfinite(state.history[-1].train_loss)
        return lost or len(state.history) >= self.config.epochs

    def has_improved(self, state: FitState) -> bool:
        """True when the last epoch is the first best so far."""
        return best_epoch(self.rows, self.choose_by) == state.history[-1].epoch

    def note(self, epoch: Epoch, hits: Tensor) -> None:
        """Keep the epoch with its correct answers and images by subtype."""
        right, n = hits.int().tolist()
        self.rows.append(from_plain({**finite(epoch), "right": right, "n": n}, ArmEpoch, "epoch"))

    def save_history(self, folder: Path, state: FitState) -> None:
        """Write epochs.json."""
        save_document(
            folder / "epochs.json", ArmEpochs(epochs=tuple(self.rows), compute=self.compute), FORMAT
        )

    def load_history(self, folder: Path, state: FitState) -> None:
        """Read epochs.json, which holds at least the epochs of the checkpoint."""
        self.rows.extend(_kept(folder).epochs[: len(state.history)])
        if len(self.rows) < len(state.history):
            found = f"{len(self.rows)} epochs, {len(state.history)} in the checkpoint"
            raise StudyError(where="epochs.json", expected="every epoch", found=found, remedy="")


def train_arm(arm: Arm) -> Iterator[None]:
    """Train it, giving control back after each batch; afterwards the folder is complete.

    Raises:
        StudyError: A file of the folder is damaged.
        ConfigError: The network or the precision is not available here.
    """
    if arm.is_finished:
        return
    try:
        yield from _train(arm)
    except StudyError as error:
        raise StudyError(
            where=f"arms/{arm.folder.name}/{error.where.rsplit('/', 1)[-1]}",
            expected=error.expected,
            found=error.found,
            remedy=f"delete the folder {arm.folder.name}, and run the command again; it will be trained again",
        ) from error


def read_record(arm: Arm) -> ArmRecord:
    """The content of arm.json.

    Raises:
        StudyError: It is damaged.
    """
    try:
        record = read_document(arm.folder / "arm.json", ArmRecord, FORMAT)
        if record.name not in ("", arm.folder.name):
            raise StudyError(
                where="arm.json", expected="the record of this arm", found=f"that of {record.name}", remedy=""
            )
        return record
    except StudyError as error:
        raise StudyError(
            where=f"arms/{arm.folder.name}/{error.where}",
            expected=error.expected,
            found=error.found,
            remedy=f"delete the folder {arm.folder.name}, and run the command again; it will be trained again",
        ) from error


def _train(arm: Arm) -> Iterator[None]:
    n_images = arm.images_per_epoch * arm.config.epochs
    compute = _kept(arm.folder).compute or choose_compute(arm.config, arm.n_subtypes, arm.spec, n_images)
    task = ArmTask(
        fold=arm.fold,
        train=arm.train,
        validation=arm.choose,
        n_subtypes=arm.n_subtypes,
        config=arm.config,
        device=training_device(),
        dtype=getattr(torch, compute.precision),
        layout=compute.layout,
        compute=compute,
        images_per_epoch=arm.images_per_epoch,
        choose_by=arm.choose_by,
    )
    with threads(compute.threads), memory_kept():
        state = first_state(task, arm.spec)
        reset_peak(task.device)
        for epoch in fit_in_folder(arm.folder, task, state):
            if epoch is None:
                yield
        _finish(arm, task, state)


def best_epoch(rows: Sequence[ArmEpoch], choose_by: ChooseBy) -> int | None:
    """Number of the first best of the epochs whose losses are finite."""
    losses = {row.epoch: row.validation_loss for row in rows if row.train_loss is not None}
    sound = {epoch: loss for epoch, loss in losses.items() if loss is not None}
    if not sound:
        return None
    if choose_by == "loss":
        return min(sound, key=lambda epoch: sound[epoch])
    shares = {row.epoch: sum(row.right) / sum(row.n) for row in rows if row.epoch in sound}
    return max(shares, key=lambda epoch: shares[epoch])


def draw_images(n_images: int, pool: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Positions of an epoch's images: none twice before each of the pool was drawn once."""
    parts = [rng.permutation(pool) for _ in range(math.ceil(n_images / pool))]
    return np.concatenate(parts)[:n_images].astype(np.int64)


def _finish(arm: Arm, task: ArmTask, state: FitState) -> None:
    memory, rows = peak_mb(task.device), task.rows
    step = max(len(arm.train) // REFERENCE_SLICES, 1)
    few = np.arange(0, len(arm.train), step)[:REFERENCE_SLICES]
    export_best(arm.folder, task, state, arm.train.images(few))
    record = ArmRecord(
        model=arm.config.model,
        training=arm.config,
        images_per_epoch=arm.images_per_epoch,
        steps=state.step,
        chosen_by=f"validation {arm.choose_by}",
        best_epoch=best_epoch(rows, arm.choose_by),
        converged=converged(state.history, arm.n_subtypes),
        n_train_images=len(arm.train),
        n_choose_images=len(arm.choose),
        seconds_per_epoch=round(float(np.median([row.seconds for row in rows])), 2),
        peak_memory_mb=memory,
        memory_of=task.device.type,
        device=device_name(task.device),
        threads=task.compute.threads,
        precision=task.compute.precision,
        layout=task.compute.layout,
        weights_mb=round((arm.folder / MODEL).stat().st_size / 1e6, 2),
        epochs=tuple(rows),
        name=arm.folder.name,
        model_sha256=file_digest(arm.folder / MODEL),
    )
    save_document(arm.folder / "arm.json", record, FORMAT)
    (arm.folder / CHECKPOINT).unlink(missing_ok=True)


def _kept(folder: Path) -> ArmEpochs:
    path = folder / "epochs.json"
    return read_document(path, ArmEpochs, FORMAT) if path.exists() else ArmEpochs()

"""A run: a network trained on every fold of a study, each fold in its own folder, complete once run.json is there."""

import logging
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import StudyError
from nephroscope.base.files import file_digest, save_json
from nephroscope.base.machine import memory_kept
from nephroscope.base.progress import counting
from nephroscope.base.version import __version__
from nephroscope.learning.networks.onnx_file import REFERENCE_SLICES
from nephroscope.learning.networks.table import draws, outputs_of, phases_of
from nephroscope.learning.planes import open_planes
from nephroscope.learning.run_files import (
    METRICS,
    MODEL,
    WEIGHTS,
    Compute,
    FoldFiles,
    StartedRun,
    started_run,
)
from nephroscope.learning.training.batches import fold_slices
from nephroscope.learning.training.checkpoint import CHECKPOINT, export_best, first_state, fit_in_folder
from nephroscope.learning.training.device import (
    compute_dtype,
    device_name,
    n_threads,
    threads,
    training_device,
)
from nephroscope.learning.training.drawing import drawing_spec, drawing_task
from nephroscope.learning.training.fit import Epoch, FitState, FoldTask
from nephroscope.learning.training.speed import choose_compute, precision_of
from nephroscope.records import Fold, SliceSpec, TrainConfig
from nephroscope.study.snapshot import Snapshot
from nephroscope.study.split import save_split

FORMAT = 1
_AGAIN = "remove this file, and run `nephroscope train STUDY --resume` again"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FoldFile:
    """What fold.json says of a trained fold.

    Attributes:
        best: None where no loss was ever finite.
        epochs: Trained, of so many asked for; None in runs of older versions, as the next two.
        onnx_apart: Largest difference of ONNX Runtime and torch, as a share of the largest logit above 1; None where
            it is no finite number.
        onnx_allowed: By the rounding of fp32.
        files: Digests of what was written.
    """

    index: int
    converged: bool
    best: Epoch | None
    n_train_slices: int
    n_validation_slices: int
    seconds: float
    epochs: int | None = None
    of_epochs: int | None = None
    onnx_apart: float | None = None
    onnx_allowed: float | None = None
    files: FoldFiles | None = None


def run_digests(snapshot: Snapshot, config: TrainConfig) -> dict[str, str]:
    """Digests of what a run is made from: cohort, slices and configuration; of one that draws also its planes."""
    planes = {"planes": open_planes(snapshot).digest} if draws(config.model) else {}
    return {
        "cohort": snapshot.cohort.label_digest,
        "slices": snapshot.slices.digest,
        "config": config.digest,
        **planes,
    }


def seen_by(snapshot: Snapshot, config: TrainConfig) -> SliceSpec:
    """What a network of a study is shown: the slices, or the patches of one that draws."""
    return drawing_spec(snapshot, config) if draws(config.model) else snapshot.slices.spec


def open_run_folder(folder: Path, snapshot: Snapshot, config: TrainConfig, at_once: bool = False) -> Compute:
    """How a run computes; what it is made from is written into its folder where it is not there already.

    Args:
        folder: Of the run.
        snapshot: The study.
        config: Settings.
        at_once: Folds may be trained at the same time; each then has its share of the threads.

    Raises:
        StudyError: The folder holds a run of another cohort, other slices or other settings.
        ConfigError: The network or the precision is not available here.
    """
    digests = run_digests(snapshot, config)
    if (folder / "config.json").exists():
        held = started_run(folder)
        for what, digest in digests.items():
            if held.digests.get(what) != digest:
                raise StudyError(
                    where=f"run {folder.name}",
                    expected=f"the same {what} as when it was started",
                    found=f"a different one ({held.digests.get(what)} then, {digest} now)",
                    remedy="start a new run instead of resuming this one",
                )
        dtype = compute_dtype(config.precision, training_device())
        older = Compute(threads=n_threads(), precision=precision_of(dtype), keeps_prior=False)
        return held.compute or older
    tasks = [fold_task(snapshot, config, fold) for fold in snapshot.split.folds]
    n_slices = max(sum(map(len, task.batches(task.rng(0)))) for task in tasks) * config.epochs
    n_folds = len(tasks) if at_once else 1
    n_outputs = outputs_of(config.model, len(snapshot.cohort.subtypes))
    compute = choose_compute(config, n_outputs, seen_by(snapshot, config), n_slices, n_folds)
    environment = {
        "format": FORMAT,
        "nephroscope": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": np.__version__,
        "device": device_name(training_device()),
        "threads": compute.threads,
        "precision": compute.precision,
        "layout": compute.layout,
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    save_json(folder / "environment.json", environment)
    save_split(snapshot.split, folder / "split.json", digests["cohort"])
    kept = digests | {"split": file_digest(folder / "split.json")}
    save_document(folder / "config.json", StartedRun(training=config, digests=kept, compute=compute), FORMAT)
    return compute


def folds_left(folder: Path, snapshot: Snapshot, config: TrainConfig) -> list[int]:
    """Indices of the folds that are not complete: never finished, or finished with fewer epochs to go.

    Raises:
        StudyError: A fold.json is damaged.
    """
    left = []
    for fold in snapshot.split.folds:
        path = folder / f"fold-{fold.index}" / "fold.json"
        done = _trained_fold(folder, fold.index).of_epochs if path.exists() else 0
        if done is not None and done < config.epochs:
            left.append(fold.index)
    return left


def train_folds(folder: Path, snapshot: Snapshot, config: TrainConfig, indices: Sequence[int]) -> None:
    """Train those of these folds that are not complete, under one progress over all their epochs.

    Raises:
        StudyError: A fold has fewer than two training slices, or a checkpoint is damaged.
        ConfigError: The network or the precision is not available here.
    """
    compute = open_run_folder(folder, snapshot, config)
    wanted = set(indices) & set(folds_left(folder, snapshot, config))
    todo = [fold for fold in snapshot.split.folds if fold.index in wanted]
    left = {fold.index: config.epochs for fold in todo}  # epochs at most: patience may end a fold
    numbers = ", ".join(str(fold.index) for fold in todo)
    what = f"{config.model}, fold{'s' * (len(todo) > 1)} {numbers}"
    with counting(what, "epoch", sum(left.values()), lambda: sum(left.values())) as step:

        def after_epoch(index: int, n_left: int) -> None:
            left[index] = n_left
            step()

        for fold in todo:
            task = fold_task(snapshot, config, fold, compute)
            with threads(compute.threads), memory_kept():
                _train_fold(folder / f"fold-{fold.index}", task, snapshot, after_epoch)
            left[fold.index] = 0


def give_more_epochs(folder: Path, snapshot: Snapshot, n_more: int) -> TrainConfig:
    """Let a complete run go on for so many epochs; gives its settings, which are changed in config.json.

    Its folds go on at their last checkpoints; the learning rate is from then on that of the longer training.

    Raises:
        StudyError: The checkpoints are gone, or no fold would go on because each ended before its last epoch.
        ConfigError: Too many epochs.
    """
    started, folds = started_run(folder), snapshot.split.folds
    config = replace(started.training, epochs=started.training.epochs + n_more)
    places = [folder / f"fold-{fold.index}" for fold in folds]
    if not all((place / CHECKPOINT).exists() for place in places):
        raise StudyError(
            where=f"run {folder.name}",
            expected=f"the file {CHECKPOINT} of each fold, where it goes on",
            found="none: it was removed, or the run was trained by an earlier version",
            remedy=f"train a new run with --epochs {config.epochs}",
        )
    done = [_trained_fold(folder, fold.index) for fold in folds]
    if all(fold.epochs is not None and fold.epochs < started.training.epochs for fold in done):
        raise StudyError(
            where=f"run {folder.name}",
            expected=f"a fold that used all its {started.training.epochs} epochs",
            found="that each ended earlier, without a better validation loss or with a loss that is no number",
            remedy="train a new run with --patience 0 or a lower --learning-rate",
        )
    (folder / "run.json").unlink(missing_ok=True)  # from here on it is an interrupted run
    digests = run_digests(snapshot, config) | _split_digest(folder)
    save_document(folder / "config.json", replace(started, training=config, digests=digests), FORMAT)
    return config


def close_run(folder: Path, snapshot: Snapshot, config: TrainConfig, keep_checkpoints: bool) -> None:
    """Write run.json, which makes a run complete; with its checkpoints it can be given more epochs."""
    folds = [_trained_fold(folder, fold.index) for fold in snapshot.split.folds]
    content = {
        "format": FORMAT,
        "name": folder.name,
        "model": config.model,
        "subtypes": list(snapshot.cohort.subtypes),
        "positive": snapshot.cohort.positive,
        "protocol": snapshot.split.protocol,
        "leaky": snapshot.split.leaky,
        "digests": run_digests(snapshot, config) | _split_digest(folder),
        "converged": any(fold.converged for fold in folds),
        "folds": [
            {
                "index": f.index,
                "converged": f.converged,
                "best": f.best and asdict(f.best),
                "seconds": f.seconds,
                "files": f.files and asdict(f.files),
            }
            for f in folds
        ],
        "finished": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    save_json(folder / "run.json", content)
    for fold in snapshot.split.folds if not keep_checkpoints else ():
        (folder / f"fold-{fold.index}" / CHECKPOINT).unlink(missing_ok=True)


def _trained_fold(folder: Path, index: int) -> FoldFile:
    """What fold.json says of a trained fold.

    Raises:
        StudyError: It is damaged, or that of another fold.
    """
    held = read_document(folder / f"fold-{index}" / "fold.json", FoldFile, FORMAT, _AGAIN)
    if held.index != index:
        raise StudyError(
            where=f"run {folder.name}, fold-{index}/fold.json",
            expected=f"the record of fold {index}",
            found=f"that of fold {held.index}: folders were exchanged",
            remedy="put them back, or train again under another --name",
        )
    return held


def _split_digest(folder: Path) -> dict[str, str]:
    """Digest of the folds that a run was started with; none in runs of older versions."""
    kept = started_run(folder).digests.get("split")
    return {"split": kept} if kept else {}


def fold_task(
    snapshot: Snapshot, config: TrainConfig, fold: Fold, compute: Compute | None = None
) -> FoldTask:
    """What a fold of a study is to learn.

    Raises:
        StudyError: It has fewer than two training slices.
    """
    compute = compute or Compute(threads=1)
    if draws(config.model):
        return drawing_task(snapshot, config, fold, compute)
    phases = phases_of(config.model, snapshot.slices.spec.phases)
    train, validation = fold_slices(snapshot.slices, snapshot.cohort, fold, phases)
    if len(train) < 2:
        raise StudyError(
            where=f"fold {fold.index}",
            expected="at least two training slices",
            found=str(len(train)),
            remedy="import more cases or use fewer folds",
        )
    return FoldTask(
        fold=fold.index,
        train=train,
        validation=validation,
        n_subtypes=len(snapshot.cohort.subtypes),
        config=config,
        device=training_device(),
        dtype=getattr(torch, compute.precision),
        layout=compute.layout,
        keeps_prior=compute.keeps_prior,
    )


def _train_fold(
    path: Path, task: FoldTask, snapshot: Snapshot, after_epoch: Callable[[int, int], None]
) -> None:
    """Train one fold, going on at its checkpoint; ``after_epoch`` is given its index and how many epochs are left."""
    state = first_state(task, seen_by(snapshot, task.config))
    for epoch in fit_in_folder(path, task, state):
        if epoch is None:
            continue
        logger.info(
            "fold %d, epoch %d: loss %.3f, validation %.3f, %.0f s",
            task.fold,
            epoch.epoch,
            epoch.train_loss,
            epoch.validation_loss,
            epoch.seconds,
        )
        after_epoch(task.fold, 0 if task.is_finished(state) else task.config.epochs - epoch.epoch)
    finish_fold(path, task, state, snapshot)


def finish_fold(path: Path, task: FoldTask, state: FitState, snapshot: Snapshot) -> None:
    """Write model.onnx of the weights that were kept, and fold.json, which makes a fold complete."""
    step = max(len(task.train) // REFERENCE_SLICES, 1)
    shown = task.train.shown(task.train.rows[::step][:REFERENCE_SLICES])
    exported = export_best(path, task, state, shown)
    trained = FoldFile(
        index=task.fold,
        converged=task.has_converged(state),
        best=state.best,
        n_train_slices=len(task.train),
        n_validation_slices=len(task.validation),
        seconds=round(sum(epoch.seconds for epoch in state.history), 1),
        epochs=len(state.history),
        of_epochs=task.config.epochs,
        onnx_apart=exported.apart if math.isfinite(exported.apart) else None,
        onnx_allowed=exported.allowed if math.isfinite(exported.allowed) else None,
        files=FoldFiles(
            **{
                part: file_digest(path / name)
                for part, name in (("model", MODEL), ("weights", WEIGHTS), ("metrics", METRICS))
            }
        ),
    )
    save_document(path / "fold.json", trained, FORMAT)

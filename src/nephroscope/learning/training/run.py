"""A run: a network trained on every fold of a study, each fold in its own folder, complete once run.json is there."""

import logging
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import StudyError
from nephroscope.base.files import save_json
from nephroscope.base.progress import counting
from nephroscope.base.version import __version__
from nephroscope.learning.networks.onnx_file import REFERENCE_SLICES
from nephroscope.learning.run_files import StartedRun, started_run
from nephroscope.learning.training.batches import fold_slices
from nephroscope.learning.training.checkpoint import CHECKPOINT, export_best, first_state, fit_in_folder
from nephroscope.learning.training.device import compute_dtype, device_name, training_device
from nephroscope.learning.training.fit import Epoch, FoldTask, converged
from nephroscope.records import Fold, TrainConfig
from nephroscope.study.snapshot import Snapshot
from nephroscope.study.split import save_split

FORMAT = 1
_AGAIN = "remove this file, and run `nephroscope train STUDY --resume` again"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FoldFile:
    """What fold.json says of a trained fold; ``best`` is None where no loss was ever finite."""

    index: int
    converged: bool
    best: Epoch | None
    n_train_slices: int
    n_validation_slices: int
    seconds: float


def run_digests(snapshot: Snapshot, config: TrainConfig) -> dict[str, str]:
    """Digests of what a run is made from: cohort, slices and configuration."""
    return {
        "cohort": snapshot.cohort.label_digest,
        "slices": snapshot.slices.digest,
        "config": config.digest,
    }


def open_run_folder(folder: Path, snapshot: Snapshot, config: TrainConfig) -> None:
    """Write what a run is made from into its folder; nothing changes where it is there already.

    Raises:
        StudyError: The folder holds a run of another cohort, other slices or other settings.
        ConfigError: The precision is not available here.
    """
    device, digests = training_device(), run_digests(snapshot, config)
    dtype = compute_dtype(config.precision, device)
    if (folder / "config.json").exists():
        held = started_run(folder).digests
        for what, digest in digests.items():
            if held.get(what) != digest:
                raise StudyError(
                    where=f"run {folder.name}",
                    expected=f"the same {what} as when it was started",
                    found=f"a different one ({held.get(what)} then, {digest} now)",
                    remedy="start a new run instead of resuming this one",
                )
        return
    environment = {
        "format": FORMAT,
        "nephroscope": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": np.__version__,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "precision": str(dtype).removeprefix("torch."),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    save_json(folder / "environment.json", environment)
    save_split(snapshot.split, folder / "split.json", digests["cohort"])
    save_document(folder / "config.json", StartedRun(training=config, digests=digests), FORMAT)


def folds_left(folder: Path, snapshot: Snapshot) -> list[int]:
    """Indices of the folds that are not complete."""
    return [f.index for f in snapshot.split.folds if not (folder / f"fold-{f.index}" / "fold.json").exists()]


def train_folds(folder: Path, snapshot: Snapshot, config: TrainConfig, indices: Sequence[int]) -> None:
    """Train those of these folds that are not complete, under one progress over all their epochs.

    Raises:
        StudyError: A fold has fewer than two training slices, or a checkpoint is damaged.
        ConfigError: The network or the precision is not available here.
    """
    wanted = set(indices) & set(folds_left(folder, snapshot))
    todo = [fold for fold in snapshot.split.folds if fold.index in wanted]
    left = {fold.index: config.epochs for fold in todo}  # epochs at most: patience may end a fold
    numbers = ", ".join(str(fold.index) for fold in todo)
    what = f"{config.model}, fold{'s' * (len(todo) > 1)} {numbers}"
    with counting(what, "epoch", sum(left.values()), lambda: sum(left.values())) as step:

        def after_epoch(index: int, n_left: int) -> None:
            left[index] = n_left
            step()

        for fold in todo:
            _train_fold(folder / f"fold-{fold.index}", _task(snapshot, config, fold), snapshot, after_epoch)
            left[fold.index] = 0


def close_run(folder: Path, snapshot: Snapshot, config: TrainConfig) -> None:
    """Write run.json, which makes a run complete, and remove the checkpoints."""
    folders = [folder / f"fold-{fold.index}" for fold in snapshot.split.folds]
    folds = [read_document(path / "fold.json", FoldFile, FORMAT, _AGAIN) for path in folders]
    content = {
        "format": FORMAT,
        "name": folder.name,
        "model": config.model,
        "subtypes": list(snapshot.cohort.subtypes),
        "positive": snapshot.cohort.positive,
        "protocol": snapshot.split.protocol,
        "leaky": snapshot.split.leaky,
        "digests": run_digests(snapshot, config),
        "converged": any(fold.converged for fold in folds),
        "folds": [
            {
                "index": f.index,
                "converged": f.converged,
                "best": f.best and asdict(f.best),
                "seconds": f.seconds,
            }
            for f in folds
        ],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    save_json(folder / "run.json", content)
    for path in folders:
        (path / CHECKPOINT).unlink(missing_ok=True)


def _task(snapshot: Snapshot, config: TrainConfig, fold: Fold) -> FoldTask:
    device = training_device()
    train, validation = fold_slices(snapshot.slices, snapshot.cohort, fold)
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
        device=device,
        dtype=compute_dtype(config.precision, device),
    )


def _train_fold(
    path: Path, task: FoldTask, snapshot: Snapshot, after_epoch: Callable[[int, int], None]
) -> None:
    """Train one fold, going on at its checkpoint; ``after_epoch`` is given its index and how many epochs are left."""
    state = first_state(task, snapshot.slices.spec)
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
    step = max(len(task.train) // REFERENCE_SLICES, 1)
    shown = np.asarray(snapshot.slices.hu[task.train.rows[::step][:REFERENCE_SLICES]])
    export_best(path, task, state, shown)
    trained = FoldFile(
        index=task.fold,
        converged=converged(state.history, task.n_subtypes),
        best=state.best,
        n_train_slices=len(task.train),
        n_validation_slices=len(task.validation),
        seconds=round(sum(epoch.seconds for epoch in state.history), 1),
    )
    save_document(path / "fold.json", trained, FORMAT)

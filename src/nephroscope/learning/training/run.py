"""How long training will take: a network and its settings in, seconds for one slice out, measured on this machine."""

import json
import logging
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.base.files import load_json, replacing, save_json
from nephroscope.base.progress import counting
from nephroscope.base.version import __version__
from nephroscope.learning.networks.networks import build_network
from nephroscope.learning.networks.onnx_file import REFERENCE_SLICES, export_onnx
from nephroscope.learning.training.batches import fold_slices
from nephroscope.learning.training.fit import (
    Epoch,
    FitState,
    FoldTask,
    converged,
    fit,
    is_finished,
    load_checkpoint,
    load_weights,
    new_state,
    save_checkpoint,
    save_weights,
)
from nephroscope.records import Fold, SliceSpec, TrainConfig
from nephroscope.study.snapshot import Snapshot
from nephroscope.study.split import save_split

FORMAT = 1
logger = logging.getLogger(__name__)
Told = Callable[[int, int], None]  # called after an epoch: index of the fold, epochs left at most


def run_digests(snapshot: Snapshot, config: TrainConfig) -> dict[str, str]:
    """Digests of what a run is made from: cohort, slices and configuration."""
    return {
        "cohort": snapshot.cohort.label_digest,
        "slices": snapshot.slices.digest,
        "config": config.digest,
    }


def train_run(
    folder: Path,
    snapshot: Snapshot,
    config: TrainConfig,
    elsewhere: Callable[[list[int]], None] | None = None,
) -> dict[str, Any]:
    """Train all folds of a run, going on where an interrupted one stopped; gives the content of run.json.

    Args:
        folder: Of the run.
        snapshot: Cohort, slices and folds it is trained on.
        config: Network and settings.
        elsewhere: Trains the folds of these indices by `train_fold` in other processes; the rest is trained here.

    Raises:
        StudyError: The folder holds a run of other inputs.
        ConfigError: The network or the precision is not to be had here.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = compute_dtype(config.precision, device)
    _open_run(folder, snapshot, config, device, dtype)
    left = [f.index for f in snapshot.split.folds if not (folder / f"fold-{f.index}" / "fold.json").exists()]
    if elsewhere is not None and len(left) > 1:
        elsewhere(left)
    _train_folds(folder, snapshot, config, snapshot.split.folds, (device, dtype))
    folds = [load_json(folder / f"fold-{fold.index}" / "fold.json", FORMAT) for fold in snapshot.split.folds]
    content = {
        "format": FORMAT,
        "name": folder.name,
        "model": config.model,
        "subtypes": list(snapshot.cohort.subtypes),
        "positive": snapshot.cohort.positive,
        "protocol": snapshot.split.protocol,
        "leaky": snapshot.split.leaky,
        "digests": run_digests(snapshot, config),
        "converged": any(fold["converged"] for fold in folds),
        "folds": [{key: fold[key] for key in ("index", "converged", "best", "seconds")} for fold in folds],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    save_json(folder / "run.json", content)
    for fold in snapshot.split.folds:
        (folder / f"fold-{fold.index}" / "checkpoint.safetensors").unlink(missing_ok=True)
    return content


def train_fold(folder: Path, snapshot: Snapshot, config: TrainConfig, index: int) -> None:
    """Train one fold of a run that `train_run` has opened; nothing is done when it is complete.

    Raises:
        StudyError: The folder holds a run of other inputs.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = compute_dtype(config.precision, device)
    _open_run(folder, snapshot, config, device, dtype)
    own = [fold for fold in snapshot.split.folds if fold.index == index]
    _train_folds(folder, snapshot, config, own, (device, dtype))


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """bf16 where the device computes in it, else fp32.

    Raises:
        ConfigError: bf16 is asked for and the device has none.
    """
    if device.type == "cuda":
        capable = torch.cuda.is_bf16_supported()
    else:
        has = torch.cpu.get_capabilities()
        capable = bool(has.get("avx512_bf16") or has.get("amx_bf16") or has.get("arm_bf16"))
    if precision == "bf16" and not capable:
        raise ConfigError(
            where="training.precision",
            expected="a device that computes in bf16",
            found=f"a {device.type} that does not",
            remedy='use precision = "auto"',
        )
    return torch.bfloat16 if capable and precision != "fp32" else torch.float32


def _open_run(
    folder: Path, snapshot: Snapshot, config: TrainConfig, device: torch.device, dtype: torch.dtype
) -> None:
    digests = run_digests(snapshot, config)
    if (folder / "config.json").exists():
        held = load_json(folder / "config.json", FORMAT)
        for what, digest in digests.items():
            if held["digests"].get(what) != digest:
                raise StudyError(
                    where=f"run {folder.name}",
                    expected=f"the same {what} as when it was started",
                    found=f"another ({held['digests'].get(what)} then, {digest} now)",
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
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "precision": str(dtype).removeprefix("torch."),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    save_json(folder / "environment.json", environment)
    save_split(snapshot.split, folder / "split.json", digests["cohort"])
    save_json(folder / "config.json", {"format": FORMAT, "training": asdict(config), "digests": digests})


def _train_folds(
    folder: Path,
    snapshot: Snapshot,
    config: TrainConfig,
    folds: Sequence[Fold],
    where: tuple[torch.device, torch.dtype],
) -> None:
    """Those of the folds that are not complete, under one progress over all their epochs."""
    todo = [fold for fold in folds if not (folder / f"fold-{fold.index}" / "fold.json").exists()]
    left = {fold.index: config.epochs for fold in todo}  # epochs at most: patience may end a fold
    numbers = ", ".join(str(fold.index) for fold in todo)
    what = f"{config.model}, fold{'s' * (len(todo) > 1)} {numbers}"
    with counting(what, "epoch", sum(left.values()), lambda: sum(left.values())) as step:

        def told(index: int, n_left: int) -> None:
            left[index] = n_left
            step()

        for fold in todo:
            _train_fold(folder / f"fold-{fold.index}", snapshot, config, fold, where, told)
            left[fold.index] = 0


def _train_fold(
    path: Path,
    snapshot: Snapshot,
    config: TrainConfig,
    fold: Fold,
    where: tuple[torch.device, torch.dtype],
    told: Told,
) -> None:
    n_subtypes = len(snapshot.cohort.subtypes)
    train, validation = fold_slices(snapshot.slices, snapshot.cohort, fold)
    if len(train) < 2:
        raise StudyError(
            where=f"fold {fold.index}",
            expected="at least two training slices",
            found=str(len(train)),
            remedy="import more cases or use fewer folds",
        )
    task = FoldTask(
        fold=fold.index,
        train=train,
        validation=validation,
        n_subtypes=n_subtypes,
        config=config,
        device=where[0],
        dtype=where[1],
    )
    torch.manual_seed(config.seed * 1000 + fold.index)  # initial weights
    spec = snapshot.slices.spec
    network = build_network(config.model, n_subtypes, spec, config.recipe, config.pretrained, config.width)
    state = new_state(network, task)
    _fit_fold(path, task, state, told)
    load_weights(network, path / "weights.safetensors")
    step = max(len(train) // REFERENCE_SLICES, 1)
    shown = np.asarray(snapshot.slices.hu[train.rows[::step][:REFERENCE_SLICES]])
    export_onnx(network, n_subtypes, shown, path / "model.onnx")
    best = state.best
    save_json(
        path / "fold.json",
        {
            "format": FORMAT,
            "index": fold.index,
            "converged": converged(state.history, n_subtypes),
            "best": asdict(best) if best else None,
            "n_train_slices": len(train),
            "n_validation_slices": len(validation),
            "seconds": round(sum(epoch.seconds for epoch in state.history), 1),
        },
    )


def _fit_fold(path: Path, task: FoldTask, state: FitState, told: Told) -> None:
    """All epochs that are left, each saved as it ends, and then told with how many are left at most."""
    if not (path / "weights.safetensors").exists():  # stands in for a fit that never gets a finite loss
        save_weights(state.network, path / "weights.safetensors")
    if (path / "checkpoint.safetensors").exists():
        load_checkpoint(state, path / "checkpoint.safetensors")
        logger.info("fold %d: resumed after epoch %d", task.fold, len(state.history))
    for epoch in fit(task, state):
        _save_epoch(path, state)
        logger.info(
            "fold %d, epoch %d: loss %.3f, validation %.3f, %.0f s",
            task.fold,
            epoch.epoch,
            epoch.train_loss,
            epoch.validation_loss,
            epoch.seconds,
        )
        told(task.fold, 0 if is_finished(task, state) else task.config.epochs - epoch.epoch)


def _save_epoch(path: Path, state: FitState) -> None:
    """Weights if they are the best, metrics, and last the checkpoint: it alone decides what a resumed run redoes."""
    if state.best is state.history[-1]:
        save_weights(state.network, path / "weights.safetensors")
    with replacing(path / "metrics.jsonl") as temporary:
        lines = [json.dumps(_finite(epoch), allow_nan=False) + "\n" for epoch in state.history]
        temporary.write_text("".join(lines), encoding="utf-8")
    save_checkpoint(state, path / "checkpoint.safetensors")


def _finite(epoch: Epoch) -> dict[str, float | None]:
    """An epoch as JSON has it: a loss that is no number becomes null."""
    return {name: value if math.isfinite(value) else None for name, value in asdict(epoch).items()}


SLICES, ROUNDS = 4, 2


def seconds_per_slice(config: TrainConfig, n_subtypes: int, spec: SliceSpec) -> float:
    """Seconds of one training step for one slice: forward, backward and the optimizer's step, after a first one.

    Measured on a small batch; reading and augmentation are left out.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
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

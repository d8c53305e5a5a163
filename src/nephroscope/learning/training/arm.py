"""One arm of a replication: images to learn from and images to choose the epoch on in, model.onnx and arm.json out.

It goes on at the epoch where it was killed; arm.json is written last and means finished. The steps are those of
`training.loop`; only what an epoch draws and by what the best one is chosen differ.
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from nephroscope.base.errors import StudyError
from nephroscope.base.files import load_json, save_json
from nephroscope.learning.networks.networks import build_network
from nephroscope.learning.networks.onnx_file import REFERENCE_SLICES, export_onnx
from nephroscope.learning.training.copies import AmplifiedSlices
from nephroscope.learning.training.fit import (
    Epoch,
    FitState,
    FoldTask,
    balanced,
    converged,
    count_hits,
    load_checkpoint,
    load_weights,
    new_state,
    save_checkpoint,
    save_weights,
    set_learning_rate,
    train_step,
    validate,
)
from nephroscope.learning.training.run import compute_dtype
from nephroscope.records import SliceSpec, TrainConfig

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak(device: torch.device) -> None:
    """Begin anew; where the system cannot, the peak is that of the whole process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif _CLEAR.exists():
        try:
            _CLEAR.write_text("5")  # Linux: VmHWM starts again at the present size
        except OSError:
            return


def peak_mb(device: torch.device) -> float | None:
    """Most memory held since `reset_peak`: of the GPU's allocator, else the process's resident set, in MB.

    Source: proc(5), VmHWM of /proc/[pid]/status.
    """
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated() / 1e6, 1)
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return None


FORMAT = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Arm:
    """What is to be learnt.

    Attributes:
        folder: Its own; holds nothing else.
        train: An epoch draws ``images_per_epoch`` of these.
        choose: The epoch whose weights are kept is chosen on these,
        choose_by: by the highest plain accuracy, as the paper did, or by the lowest loss (mean over cases).
        fold: Of the seeds.
    """

    folder: Path
    train: AmplifiedSlices
    choose: AmplifiedSlices
    choose_by: Literal["accuracy", "loss"]
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
    def steps_left(self) -> int:
        """Batches still to be trained on, for the time left."""
        if (self.folder / "arm.json").exists():
            return 0
        try:
            done = len(_rows(self.folder / "epochs.json"))
        except StudyError:
            done = 0  # refused by name when this training begins
        return max(self.config.epochs - done, 0) * self.steps_per_epoch


def train_arm(arm: Arm) -> Iterator[None]:
    """Train it, giving control back after each batch; afterwards the folder is complete.

    Raises:
        StudyError: A file of the folder is damaged.
        ConfigError: The network or the precision is not to be had here.
    """
    if (arm.folder / "arm.json").exists():
        return
    try:
        yield from _train(arm)
    except StudyError as error:
        raise StudyError(
            where=f"arms/{arm.folder.name}/{error.where.rsplit('/', 1)[-1]}",
            expected=error.expected,
            found=error.found,
            remedy=f"delete the folder {arm.folder.name}, and run the command again: it is trained anew",
        ) from error


def read_record(arm: Arm) -> dict[str, Any]:
    """The content of arm.json.

    Raises:
        StudyError: It is damaged.
    """
    try:
        content = load_json(arm.folder / "arm.json", FORMAT)
        if not {"model", "epochs", "best_epoch", "converged"} <= set(content):
            raise StudyError(where="", expected="", found="an object without its epochs", remedy="")
    except StudyError as error:
        raise StudyError(
            where=f"arms/{arm.folder.name}/arm.json",
            expected="the record of a finished training",
            found=error.found,
            remedy=f"delete the folder {arm.folder.name}, and run the command again: it is trained anew",
        ) from error
    return content


def _train(arm: Arm) -> Iterator[None]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task = FoldTask(
        fold=arm.fold,
        train=arm.train,
        validation=arm.choose,
        n_subtypes=arm.n_subtypes,
        config=arm.config,
        device=device,
        dtype=compute_dtype(arm.config.precision, device),
    )
    torch.manual_seed(arm.config.seed * 1000 + arm.fold)  # initial weights
    network = build_network(arm.config.model, arm.n_subtypes, arm.spec, arm.config.recipe)
    state = new_state(network, task)
    rows: list[dict[str, Any]] = []
    if (arm.folder / "checkpoint.safetensors").exists():
        load_checkpoint(state, arm.folder / "checkpoint.safetensors")
        rows = _rows(arm.folder / "epochs.json")[: len(state.history)]
        if len(rows) < len(state.history):
            found = f"{len(rows)} epochs, {len(state.history)} in the checkpoint"
            raise StudyError(where="epochs.json", expected="every epoch", found=found, remedy="")
    else:
        save_weights(network, arm.folder / "weights.safetensors")  # stand in where no loss is ever finite
    reset_peak(device)
    while not _finished(arm, state):
        yield from _epoch(arm, task, state, rows)
        if best_epoch(rows, arm.choose_by) == rows[-1]["epoch"]:
            save_weights(network, arm.folder / "weights.safetensors")
        save_json(arm.folder / "epochs.json", {"format": FORMAT, "epochs": rows})
        save_checkpoint(state, arm.folder / "checkpoint.safetensors")
    _finish(arm, task, state, rows)


def best_epoch(rows: list[dict[str, Any]], choose_by: Literal["accuracy", "loss"]) -> int | None:
    """Number of the first best of the epochs whose losses are finite."""
    sound = [row for row in rows if row["train_loss"] is not None and row["validation_loss"] is not None]
    if not sound:
        return None
    if choose_by == "loss":
        return int(min(sound, key=lambda row: row["validation_loss"])["epoch"])
    return int(max(sound, key=lambda row: sum(row["right"]) / sum(row["n"]))["epoch"])


def _finished(arm: Arm, state: FitState) -> bool:
    lost = bool(state.history) and not math.isfinite(state.history[-1].train_loss)
    return lost or len(state.history) >= arm.config.epochs


def draw_images(n_images: int, pool: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Positions of an epoch's images: none twice before each of the pool was drawn once."""
    parts = [rng.permutation(pool) for _ in range(math.ceil(n_images / pool))]
    return np.concatenate(parts)[:n_images].astype(np.int64)


def _epoch(arm: Arm, task: FoldTask, state: FitState, rows: list[dict[str, Any]]) -> Iterator[None]:
    """One epoch: its images drawn from (seed, fold, epoch) alone, so that it can be replayed."""
    started, number = time.monotonic(), len(state.history) + 1
    rng = task.rng(number)
    torch.manual_seed(int(rng.integers(2**63)))  # dropout
    drawn = draw_images(arm.images_per_epoch, len(arm.train), rng)
    loss_sum, n_trained, hits, rate = 0.0, 0, torch.zeros(2, arm.n_subtypes), 0.0
    state.network.train()
    for step in range(arm.steps_per_epoch):
        chosen = drawn[step * arm.config.batch_size : (step + 1) * arm.config.batch_size]
        hu, labels = arm.train.load(chosen, task.device)
        rate = set_learning_rate(task, state, arm.steps_per_epoch)
        loss, logits = train_step(task, state, hu, labels, None)
        loss_sum += float(loss) * len(chosen)
        n_trained += len(chosen)
        hits += count_hits(logits, labels, arm.n_subtypes)
        yield
    validation_loss, validation_hits = validate(task, state.network)
    epoch = Epoch(
        epoch=number,
        train_loss=loss_sum / n_trained,
        train_accuracy=balanced(hits),
        validation_loss=validation_loss,
        validation_accuracy=balanced(validation_hits),
        learning_rate=rate,
        seconds=round(time.monotonic() - started, 2),
    )
    state.history.append(epoch)
    finite = {name: value if math.isfinite(value) else None for name, value in asdict(epoch).items()}
    right, n = validation_hits.int().tolist()
    rows.append(finite | {"right": right, "n": n})


def _finish(arm: Arm, task: FoldTask, state: FitState, rows: list[dict[str, Any]]) -> None:
    memory = peak_mb(task.device)
    network = state.network
    load_weights(network, arm.folder / "weights.safetensors")
    step = max(len(arm.train) // REFERENCE_SLICES, 1)
    few = np.arange(0, len(arm.train), step)[:REFERENCE_SLICES]
    export_onnx(network, arm.n_subtypes, arm.train.images(few), arm.folder / "model.onnx")
    content = {
        "format": FORMAT,
        "model": arm.config.model,
        "training": asdict(arm.config),
        "images_per_epoch": arm.images_per_epoch,
        "steps": state.step,
        "chosen_by": f"validation {arm.choose_by}",
        "best_epoch": best_epoch(rows, arm.choose_by),
        "converged": converged(state.history, arm.n_subtypes),
        "n_train_images": len(arm.train),
        "n_choose_images": len(arm.choose),
        "seconds_per_epoch": round(float(np.median([row["seconds"] for row in rows])), 2),
        "peak_memory_mb": memory,
        "memory_of": task.device.type,
        "device": torch.cuda.get_device_name() if task.device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "precision": str(task.dtype).removeprefix("torch."),
        "weights_mb": round((arm.folder / "model.onnx").stat().st_size / 1e6, 2),
        "epochs": rows,
    }
    save_json(arm.folder / "arm.json", json.loads(json.dumps(content, allow_nan=False)))
    (arm.folder / "checkpoint.safetensors").unlink(missing_ok=True)


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    content = load_json(path, FORMAT)
    if not isinstance(content.get("epochs"), list):
        raise StudyError(where=path.name, expected="epochs", found="none", remedy="run the step again")
    return list(content["epochs"])

"""The folder of a run: its record, settings, folds and networks; no network predicts the same slices twice."""

import contextlib
import hashlib
import io
import math
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nephroscope.base.documents import from_plain, read_document, read_object
from nephroscope.base.errors import BundleError, NephroscopeError, StudyError
from nephroscope.base.files import digest_of, file_digest, load_sealed, save_sealed
from nephroscope.clinic.session import NetworkSession, runtime_version
from nephroscope.records import Cohort, Split, TrainConfig
from nephroscope.study.artifact import changed_inputs, out_of_date
from nephroscope.study.snapshot import Snapshot
from nephroscope.study.split import load_split

FORMAT = 1
MODEL, WEIGHTS, METRICS = "model.onnx", "weights.safetensors", "metrics.jsonl"
KEPT = "answers"  # folder of kept probabilities
Layout = Literal["channels last", "contiguous"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class BestEpoch:
    """The epoch of a fold whose weights were kept; loss in nats, mean over the validation cases."""

    epoch: int
    validation_loss: float


@dataclass(frozen=True, kw_only=True)
class FoldFiles:
    """SHA-256 of the files of a trained fold: network, weights and learning curves."""

    model: str
    weights: str
    metrics: str

    def of(self, name: str) -> str:
        """That of a file by its name."""
        return {MODEL: self.model, WEIGHTS: self.weights, METRICS: self.metrics}[name]


@dataclass(frozen=True, kw_only=True)
class FoldRecord:
    """A trained fold; ``best`` is None where no loss was ever finite, ``files`` in runs of older versions."""

    index: int
    converged: bool
    best: BestEpoch | None
    seconds: float
    files: FoldFiles | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.seconds + (self.best.validation_loss if self.best else 0)):
            raise ValueError("not a finite number")


@dataclass(frozen=True, kw_only=True)
class RunDigests:
    """Of what a run was trained on; empty where an older version did not keep one, or a network does not need it."""

    cohort: str
    slices: str
    config: str = ""
    split: str = ""
    planes: str = ""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A complete run, as run.json has it.

    Attributes:
        converged: False when no fold learned more than chance on its own training slices.
        leaky: True when it was trained on a split by image.
        digest: Of the whole file.
    """

    model: str
    converged: bool
    leaky: bool
    digests: RunDigests
    folds: tuple[FoldRecord, ...]
    name: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        if not self.folds:
            raise ValueError("no folds")

    @property
    def seconds(self) -> float:
        """Training time of all folds."""
        return sum(fold.seconds for fold in self.folds)


def load_run(folder: Path) -> RunRecord:
    """The record of a complete run.

    Raises:
        StudyError: run.json is lost, damaged, or of a newer format.
    """
    path, remedy = folder / "run.json", f"remove it, and write it again by {_resume(folder)}"
    where = f"run {folder.name}, run.json"
    if not path.is_file():
        raise _lost(folder, "run.json", remedy)
    try:
        content = read_object(path, FORMAT, remedy)
    except StudyError as error:
        raise StudyError(
            where=where, expected=error.expected, found=error.found, remedy=error.remedy
        ) from error
    try:
        record = from_plain(content, RunRecord, "")
    except StudyError as error:
        raise StudyError(
            where=where,
            expected="the model, digests and folds of a trained run",
            found=f"none, or damaged:{error.where.removeprefix(',')} {error.found}",
            remedy=remedy,
        ) from error
    return replace(record, digest=digest_of(content))


def load_own_run(folder: Path) -> RunRecord:
    """The record of a training whose folder is named by what it was made from.

    Raises:
        StudyError: It is lost or damaged, or the folder holds another training.
    """
    record = load_run(folder)
    if record.name not in ("", folder.name):
        raise _of_another(folder, "run.json", "remove the folder, and run the command again")
    return record


def load_run_split(folder: Path, cohort: Cohort) -> Split:
    """The folds that a run was trained on.

    Raises:
        StudyError: The file is lost or damaged, or its folds are none of this cohort.
    """
    path, remedy = (
        folder / "split.json",
        "train again: without its folds nobody knows what this run learned from",
    )
    if not path.is_file():
        raise _lost(folder, "split.json", remedy)
    try:
        split = load_split(path, cohort)[0]
    except NephroscopeError as error:
        where = f"run {folder.name}, {error.where}"
        raise StudyError(where=where, expected=error.expected, found=error.found, remedy=remedy) from error
    kept = started_run(folder).digests.get("split") if (folder / "config.json").is_file() else None
    if kept and kept != file_digest(path):
        raise _of_another(folder, "split.json", remedy)
    return split


@dataclass(frozen=True, eq=False, kw_only=True)
class CompleteRun:
    """A complete run: its folder, and the study with the folds that it was trained on."""

    folder: Path
    snapshot: Snapshot


def open_run(snapshot: Snapshot, name: str | None = None) -> CompleteRun:
    """A complete run of a study, by default the last one.

    Raises:
        StudyError: There is none, or the cohort or its slices changed since it was trained.
    """
    folder = snapshot.folder.complete_run(name)
    record = load_run(folder)
    if changed := changed_since_run(record, snapshot):
        raise out_of_date(f"run {folder.name}", changed, "it was trained", "nephroscope train")
    check_started(folder, record)
    return CompleteRun(folder=folder, snapshot=snapshot.with_split(load_run_split(folder, snapshot.cohort)))


def check_started(folder: Path, record: RunRecord) -> None:
    """Refuse a run whose settings or folds are not those of its record: files of two runs were exchanged.

    Raises:
        StudyError: They are not.
    """
    if not record.digests.config:
        return
    started = started_run(folder)
    held = started.training.digest, started.digests.get("split", "")
    if held != (record.digests.config, record.digests.split):
        raise _of_another(folder, "config.json", "put back the file of this run, or train again")


def changed_since_run(run: RunRecord, snapshot: Snapshot) -> str:
    """Which inputs changed since a run was trained, by name; empty when none did.

    Args:
        run: Its record.
        snapshot: The study as it is now.
    """
    then = {"cohort.csv": run.digests.cohort, "the slices": run.digests.slices}
    return " and ".join(changed_inputs(then, snapshot.split_made_from))


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How a training computes. With the seed it decides every bit of the result, so it is kept with the run.

    Attributes:
        threads: Of the processor, whatever the number of folds that are trained at the same time.
        layout: Of weights and activations in memory.
        precision: Of the layers' arithmetic; weights and losses are fp32.
        keeps_prior: Probabilities are at the prevalence of the training cases although the loss weighs the subtypes
            alike; False in runs of older versions.
    """

    threads: int
    layout: Layout = "channels last"
    precision: Precision = "float32"
    keeps_prior: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.threads <= 4096:
            raise ValueError("not a number of threads")


@dataclass(frozen=True, kw_only=True)
class StartedRun:
    """What a run was started with, as config.json has it.

    Attributes:
        digests: Of cohort, slices and settings.
        compute: How it computes; None in runs of older versions.
    """

    training: TrainConfig
    digests: dict[str, str]
    compute: Compute | None = None


@dataclass(frozen=True, kw_only=True)
class _EverySetting:
    training: dict[str, Any]


LATER_SETTINGS = {"width"}  # that config.json of older versions does not have


def started_run(folder: Path) -> StartedRun:
    """What a run was started with.

    Raises:
        StudyError: Its config.json is damaged, or a setting is missing: no default is put in its place.
    """
    path, remedy = folder / "config.json", "train again, and remove this run"
    try:
        given = read_document(path, _EverySetting, FORMAT, remedy).training
        for name in (field.name for field in fields(TrainConfig)):
            if name not in given and name not in LATER_SETTINGS:
                where, found = f"config.json, training.{name}", "none: the field is missing"
                raise StudyError(where=where, expected="a value", found=found, remedy=remedy)
        return read_document(path, StartedRun, FORMAT, remedy)
    except NephroscopeError as error:
        where = f"run {folder.name}, {error.where}"
        raise StudyError(where=where, expected=error.expected, found=error.found, remedy=remedy) from error


def run_config(folder: Path) -> TrainConfig:
    """The settings a run was trained under.

    Raises:
        StudyError: Its config.json is damaged.
    """
    return started_run(folder).training


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """A file of a fold as the training wrote it, and its SHA-256."""

    path: Path
    digest: str


def fold_file(folder: Path, index: int, name: str) -> CheckedFile:
    """A file of one fold of a complete run, compared with the digest that run.json has of it.

    Raises:
        StudyError: It is lost, changed since the training, or the file of another fold.
    """
    path = folder / f"fold-{index}" / name
    if not path.is_file():
        raise _lost(folder, f"fold-{index}/{name}", _again(folder, index))
    digest = file_digest(path)
    for fold in load_run(folder).folds:
        if fold.index == index and fold.files is not None and fold.files.of(name) != digest:
            raise _of_another(folder, f"fold-{index}/{name}", _again(folder, index))
    return CheckedFile(path=path, digest=digest)


def open_run_network(folder: Path, index: int) -> NetworkSession:
    """The network of one fold of a run.

    Raises:
        StudyError: The file is lost, damaged or of another fold.
    """
    path = fold_file(folder, index, MODEL).path
    try:
        return NetworkSession(path)
    except BundleError as error:
        raise StudyError(
            where=f"run {folder.name}, fold-{index}/model.onnx",
            expected=error.expected,
            found=error.found,
            remedy=_again(folder, index),
        ) from error


def _again(folder: Path, index: int) -> str:
    return f"remove run.json and fold-{index} of this run, and train that fold again by {_resume(folder)}"


def _resume(folder: Path) -> str:
    return f"`nephroscope train STUDY --resume --name {folder.name}`"


def _of_another(folder: Path, name: str, remedy: str) -> StudyError:
    return StudyError(
        where=f"run {folder.name}, {name}",
        expected="the file as the training wrote it",
        found="that it was changed since, or comes from another fold or run",
        remedy=remedy,
    )


def _lost(folder: Path, name: str, remedy: str) -> StudyError:
    return StudyError(where=f"run {folder.name}", expected=f"the file {name}", found="none", remedy=remedy)


@dataclass
class KeptNetwork:
    """The network of one fold of a run; it is loaded when it meets slices that it has not answered.

    An answer lies in the run's folder under a digest of the network's file, the slices and ONNX Runtime's version:
    when any of these changes there is none, so none can be out of date. The folder may be removed at any time.
    """

    run: Path
    index: int
    digest: str = field(init=False)
    _session: NetworkSession | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Raise StudyError where the network's file is lost, or not the one that was trained."""
        self.digest = fold_file(self.run, self.index, MODEL).digest

    def probabilities(self, hu: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
        """Probabilities (N, n_subtypes) of slices (N, size, size) in HU, looked up or computed.

        Raises:
            StudyError: The network's file is damaged.
        """
        path = self.run / KEPT / f"{self._key(hu)}.npy"
        known = load_array(path)
        if known is not None:
            return known
        if self._session is None:
            self._session = open_run_network(self.run, self.index)
        answer = self._session.probabilities(hu)
        with contextlib.suppress(OSError):  # a full or read-only disk: then it is computed again next time
            save_array(path, answer)
        return answer

    def _key(self, hu: npt.NDArray[np.int16]) -> str:
        key = f"{self.digest} {runtime_version()} {hu.shape} {hu.dtype.str}"
        return hashlib.sha256(key.encode() + np.ascontiguousarray(hu).data).hexdigest()[:32]


def save_array(path: Path, values: npt.NDArray[np.float64], made_from: str = "") -> None:
    """Keep numbers in a sealed file, whole or not at all."""
    file = io.BytesIO()
    np.save(file, values)
    save_sealed(path, file.getvalue(), made_from)


def load_array(path: Path, made_from: str = "") -> npt.NDArray[np.float64] | None:
    """What `save_array` kept; None where there is nothing, or it is damaged or made from something else."""
    content = load_sealed(path, made_from)
    return None if content is None else np.load(io.BytesIO(content), allow_pickle=False)

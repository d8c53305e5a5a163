"""A fold's network that computes no slice twice: what it answered is kept by the content of slices and network."""

import contextlib
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import BundleError, NephroscopeError, StudyError
from nephroscope.base.files import load_json, replacing
from nephroscope.clinic.session import NetworkSession, runtime_version
from nephroscope.records import Cohort, Split, TrainConfig
from nephroscope.study.artifact import changed_inputs, out_of_date
from nephroscope.study.snapshot import Snapshot
from nephroscope.study.split import load_split

FORMAT = 1


def load_run(folder: Path) -> dict[str, Any]:
    """The content of run.json, with all that is read of it elsewhere.

    Raises:
        StudyError: It is lost, damaged, or of a newer format.
    """
    path, remedy = folder / "run.json", f"remove it, and write it again by {_resume(folder)}"
    if not path.is_file():
        raise _lost(folder, "run.json", remedy)
    try:
        content = load_json(path, FORMAT)
    except StudyError as error:
        newer = error.found.startswith("format ")
        raise StudyError(
            where=f"run {folder.name}, run.json",
            expected=error.expected,
            found=error.found,
            remedy=error.remedy if newer else remedy,
        ) from error
    lacking = _lacking(content)
    if lacking:
        raise StudyError(
            where=f"run {folder.name}, run.json",
            expected="the model, digests and folds of a trained run",
            found=f"none, or damaged: {', '.join(lacking)}",
            remedy=remedy,
        )
    return content


def load_run_split(folder: Path, cohort: Cohort) -> Split:
    """The folds that a run was trained on.

    Raises:
        StudyError: The file is lost or damaged, or its folds are none of this cohort.
    """
    path, remedy = (
        folder / "split.json",
        "train again: without its folds nobody can tell what this run learnt from",
    )
    if not path.is_file():
        raise _lost(folder, "split.json", remedy)
    try:
        return load_split(path, cohort)[0]
    except NephroscopeError as error:
        where = f"run {folder.name}, {error.where}"
        raise StudyError(where=where, expected=error.expected, found=error.found, remedy=remedy) from error


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
    if changed := changed_since_run(load_run(folder), snapshot):
        raise out_of_date(f"run {folder.name}", changed, "it was trained", "nephroscope train")
    return CompleteRun(folder=folder, snapshot=snapshot.with_split(load_run_split(folder, snapshot.cohort)))


def changed_since_run(run: Mapping[str, Any], snapshot: Snapshot) -> str:
    """Which inputs changed since a run was trained, by name; empty when none did.

    Args:
        run: Content of its run.json.
        snapshot: The study as it is now.
    """
    held = run["digests"]
    then = {"cohort.csv": held["cohort"], "the slices": held["slices"]}
    return " and ".join(changed_inputs(then, snapshot.split_made_from))


def run_config(folder: Path) -> TrainConfig:
    """The settings a run was trained under.

    Raises:
        StudyError: Its config.json is damaged.
    """
    try:
        return TrainConfig(**load_json(folder / "config.json", FORMAT)["training"])
    except (KeyError, TypeError, NephroscopeError) as error:
        raise StudyError(
            where=f"run {folder.name}, config.json",
            expected="the settings it was trained under",
            found=f"a damaged file ({error})",
            remedy="train again, and remove this run",
        ) from error


def run_network_path(folder: Path, index: int) -> Path:
    """The file of the network of one fold of a run.

    Raises:
        StudyError: It is lost.
    """
    path = folder / f"fold-{index}" / "model.onnx"
    if not path.is_file():
        raise _lost(folder, f"fold-{index}/model.onnx", _again(folder, index))
    return path


def open_run_network(folder: Path, index: int) -> NetworkSession:
    """The network of one fold of a run.

    Raises:
        StudyError: The file is lost or damaged.
    """
    path = run_network_path(folder, index)
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


def _lacking(content: dict[str, Any]) -> list[str]:
    """What run.json has not, or not as it should be."""
    digests, folds = content.get("digests"), content.get("folds")
    sound = {
        "model": isinstance(content.get("model"), str),
        "converged": isinstance(content.get("converged"), bool),
        "leaky": isinstance(content.get("leaky"), bool),
        "digests": isinstance(digests, dict) and {"cohort", "slices"} <= digests.keys(),
        "folds": isinstance(folds, list) and bool(folds) and all(map(_is_fold, folds)),
    }
    return [name for name, is_sound in sound.items() if not is_sound]


def _is_fold(fold: object) -> bool:
    if not isinstance(fold, dict) or not {"index", "converged", "best", "seconds"} <= fold.keys():
        return False
    best = fold["best"]
    has_loss = isinstance(best, dict) and _is_number(best.get("validation_loss"))
    return isinstance(fold["index"], int) and _is_number(fold["seconds"]) and (has_loss or best is None)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _resume(folder: Path) -> str:
    return f"`nephroscope train STUDY --resume --name {folder.name}`"


def _lost(folder: Path, name: str, remedy: str) -> StudyError:
    return StudyError(where=f"run {folder.name}", expected=f"the file {name}", found="none", remedy=remedy)


KEPT = "answers"


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
        """Raise StudyError where the network's file is lost."""
        path = run_network_path(self.run, self.index)
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()

    def probabilities(self, hu: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
        """Probabilities (N, n_subtypes) of slices (N, size, size) in HU, looked up or computed.

        Raises:
            StudyError: The network's file is damaged.
        """
        path = self.run / KEPT / f"{self._key(hu)}.npy"
        known = _known(path, len(hu))
        if known is not None:
            return known
        if self._session is None:
            self._session = open_run_network(self.run, self.index)
        answer = self._session.probabilities(hu)
        with contextlib.suppress(OSError):  # a full or read-only disk: then it is computed again next time
            path.parent.mkdir(exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, answer)
        return answer

    def _key(self, hu: npt.NDArray[np.int16]) -> str:
        told = f"{self.digest} {runtime_version()} {hu.shape} {hu.dtype.str}"
        return hashlib.sha256(told.encode() + np.ascontiguousarray(hu).data).hexdigest()[:32]


def _known(path: Path, n_slices: int) -> npt.NDArray[np.float64] | None:
    """What lies at ``path``, if it is whole: probabilities of so many slices."""
    try:
        kept = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    whole = kept.ndim == 2 and len(kept) == n_slices and np.allclose(kept.sum(axis=1), 1, rtol=0, atol=1e-9)
    return kept if whole else None

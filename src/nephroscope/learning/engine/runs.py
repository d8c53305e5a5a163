"""Train a network on the folds of a study: here, in several processes or on a Ray cluster; go on where it stopped."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread

from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.base.progress import counting
from nephroscope.learning.engine.workers import Workers
from nephroscope.learning.fuse_run import check_fusable
from nephroscope.learning.networks.table import draws, fuses, outputs_of
from nephroscope.learning.run_files import RunRecord, load_run, load_run_split, open_run, run_config
from nephroscope.records import Split, TrainConfig
from nephroscope.records.settings import check_within
from nephroscope.study.folder import RUNS
from nephroscope.study.snapshot import Snapshot, keep_division, take_snapshot

SECONDS_BETWEEN_LOOKS = 2.0


def train_new_run(
    snapshot: Snapshot,
    config: TrainConfig,
    name: str | None = None,
    workers: Workers | None = None,
    division: Split | None = None,
) -> RunRecord:
    """Train all folds under a new name, by default the network's; gives its record.

    Args:
        snapshot: The study.
        config: Settings.
        name: Of the run.
        workers: As in `train_in`.
        division: Folds to train on instead of those of the study; they become the study's once nothing is refused.

    Raises:
        ConfigError, StudyError: As `check_new_run`.
    """
    path = snapshot.folder.new_run(name or config.model, numbered=name is None)
    check_new_run(snapshot.with_split(division) if division else snapshot, config)
    if division:
        keep_division(snapshot, division)
        snapshot = replace(take_snapshot(snapshot.folder.root), folder=snapshot.folder)
    return _train(path, snapshot, config, workers)


def check_new_run(snapshot: Snapshot, config: TrainConfig) -> None:
    """Refuse what cannot be trained on these folds, before anything is written.

    Raises:
        ConfigError: The network or the precision is not available here, or a network that draws lies among those that
            tell subtypes apart.
        StudyError: There is nothing to fuse.
    """
    from nephroscope.learning.training.device import compute_dtype, training_device
    from nephroscope.learning.training.run import seen_by

    if draws(config.model) and snapshot.folder.runs_in == RUNS:
        raise ConfigError(
            where=f"training.model, {config.model}",
            expected="a network that tells subtypes apart",
            found="one that draws",
            remedy="add --task segment, or choose another network",
        )
    if fuses(config.model):
        check_fusable(snapshot)
    compute_dtype(config.precision, training_device())
    if not draws(config.model):
        from nephroscope.learning.networks.networks import only_shapes
        from nephroscope.learning.networks.phases import network_of

        with only_shapes():
            outputs = outputs_of(config.model, len(snapshot.cohort.subtypes))
            network_of(config.model, outputs, seen_by(snapshot, config), config.recipe, width=config.width)


def resume_run(snapshot: Snapshot, name: str | None = None, workers: Workers | None = None) -> RunRecord:
    """Go on with the named run, or with the last one that was interrupted; gives its record."""
    path = snapshot.folder.interrupted_run(name)
    study = snapshot.with_split(load_run_split(path, snapshot.cohort))
    return _train(path, study, run_config(path), workers)


def extend_run(
    snapshot: Snapshot, n_more: int, name: str | None = None, workers: Workers | None = None
) -> RunRecord:
    """Give the named complete run, or the last one, so many more epochs; gives its record.

    Raises:
        ConfigError: The number is below 1.
        StudyError: There is no such run, its checkpoints are gone, or cohort or slices changed since it was trained.
    """
    from nephroscope.learning.training.run import give_more_epochs

    check_within("--more-epochs", n_more, 1, 10_000)
    run = open_run(snapshot, name)
    config = give_more_epochs(run.folder, run.snapshot, n_more)
    return _train(run.folder, run.snapshot, config, workers)


def _train(folder: Path, snapshot: Snapshot, config: TrainConfig, workers: Workers | None) -> RunRecord:
    """A run of the study: by default as many folds at the same time as the cores have room for, and the memory."""
    from nephroscope.learning.training.device import n_threads
    from nephroscope.learning.training.run import folds_left, open_run_folder, seen_by
    from nephroscope.learning.training.speed import folds_at_once

    compute = open_run_folder(folder, snapshot, config, at_once=True)
    if workers is None:
        n_outputs = outputs_of(config.model, len(snapshot.cohort.subtypes))
        n_left = len(folds_left(folder, snapshot, config))
        fitting = folds_at_once(config, n_outputs, seen_by(snapshot, config), n_left)
        workers = Workers(jobs=max(min(n_threads() // compute.threads, fitting), 1))
    return train_in(folder, snapshot, config, workers, keep_checkpoints=True)


def train_in(
    folder: Path,
    snapshot: Snapshot,
    config: TrainConfig,
    workers: Workers | None = None,
    keep_checkpoints: bool = False,
) -> RunRecord:
    """Train all folds of the snapshot in a folder, going on where an earlier call stopped; gives its record.

    With several workers each trains a fold, with the threads that are kept with the run: results do not depend on how
    many there are. They take the labels from the study on disk, so ``snapshot`` must have them too.

    Raises:
        StudyError: The folder holds a run of another cohort, other slices or other settings.
        ConfigError: The network or the precision is not available here.
    """
    from nephroscope.learning.training.run import close_run, folds_left, open_run_folder, train_folds

    open_run_folder(folder, snapshot, config)
    left = folds_left(folder, snapshot, config)
    if workers is not None and not workers.only_here and len(left) > 1:
        tasks = [FoldOfRun(study=str(snapshot.folder.root), run=str(folder), index=index) for index in left]
        places = [folder / f"fold-{index}" for index in left]
        with _counting_epochs(f"{config.model}, {len(left)} folds", places, config.epochs):
            for _ in workers.each(train_one_fold, tasks):
                pass
    train_folds(folder, snapshot, config, folds_left(folder, snapshot, config))
    close_run(folder, snapshot, config, keep_checkpoints)
    return load_run(folder)


@contextlib.contextmanager
def _counting_epochs(what: str, folds: Sequence[Path], n_epochs: int) -> Iterator[None]:
    """Show the progress of folds that other processes train: epochs, as their metrics.jsonl have them."""

    def n_left() -> int:
        lines = [len(path.read_bytes().splitlines()) for path in files if path.exists()]
        return len(folds) * n_epochs - sum(lines)

    def look(step: Callable[[], None]) -> None:
        known = n_left()
        while not done.wait(SECONDS_BETWEEN_LOOKS):
            now = n_left()
            for _ in range(known - now):
                step()
            known = now

    done, files = Event(), [fold / "metrics.jsonl" for fold in folds]
    with counting(what, "epoch", n_left(), lambda: max(n_left(), 0)) as step:
        looking = Thread(target=look, args=(step,), daemon=True)
        looking.start()
        try:
            yield
        finally:
            done.set()
            looking.join()


@dataclass(frozen=True, kw_only=True)
class FoldOfRun:
    """One fold to be trained, small enough to be sent: the study must lie at the same path everywhere."""

    study: str
    run: str
    index: int


def train_one_fold(task: FoldOfRun) -> int:
    """Train one fold of a run where this process runs; gives its index.

    Raises:
        StudyError: The run's folder cannot be seen from here or is damaged, or the cohort or its slices changed
            since it began.
    """
    from nephroscope.learning.training.run import train_folds

    path = Path(task.run)
    if not (Path(task.study) / "study.toml").is_file():
        raise StudyError(
            where=f"run {path.name}, fold {task.index}",
            expected="the study folder at the same path on every machine",
            found="none there on one of them",
            remedy="put the study on storage that all machines share",
        )
    snapshot, config = take_snapshot(Path(task.study)), run_config(path)
    snapshot = snapshot.with_split(load_run_split(path, snapshot.cohort))
    train_folds(path, snapshot, config, [task.index])
    return task.index

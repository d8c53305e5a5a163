"""A run of a study: train its folds here, in several processes or on a Ray cluster; go on where it stopped."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nephroscope.base.errors import StudyError
from nephroscope.base.parallel import map_in_processes
from nephroscope.base.progress import track
from nephroscope.learning.engine.jobs import Means
from nephroscope.learning.run_files import load_run_split, run_config
from nephroscope.records import TrainConfig
from nephroscope.study.snapshot import Snapshot, take_snapshot


def train_new_run(
    snapshot: Snapshot, config: TrainConfig, name: str | None = None, means: Means | None = None
) -> dict[str, Any]:
    """Train all folds under a new name, by default the network's; gives the content of run.json."""
    path = snapshot.folder.new_run(name or config.model, numbered=name is None)
    return _train(path, snapshot, config, means)


def resume_run(snapshot: Snapshot, name: str | None = None, means: Means | None = None) -> dict[str, Any]:
    """Go on with the named run, or with the last one that was interrupted; gives the content of run.json."""
    path = snapshot.folder.interrupted_run(name)
    study = snapshot.with_split(load_run_split(path, snapshot.cohort))
    return _train(path, study, run_config(path), means)


def _train(path: Path, snapshot: Snapshot, config: TrainConfig, means: Means | None) -> dict[str, Any]:
    from nephroscope.learning.training.run import train_run

    elsewhere = spread_folds(snapshot.folder.root, path, means) if means else None
    return train_run(path, snapshot, config, elsewhere)


@dataclass(frozen=True, kw_only=True)
class FoldOfRun:
    """One fold to be trained, small enough to be sent: the study must lie at the same path everywhere."""

    study: str
    run: str
    index: int


def spread_folds(study: Path, run: Path, means: Means) -> Callable[[list[int]], None] | None:
    """What `train_run` calls to have its folds trained at once; None where there is one process only."""
    if means.jobs == 1 and means.ray is None:
        return None

    def elsewhere(indices: list[int]) -> None:
        tasks = [FoldOfRun(study=str(study), run=run.name, index=index) for index in indices]
        if means.ray is None:
            done = map_in_processes(train_one_fold, tasks, min(means.jobs, len(tasks)))
        else:
            from nephroscope.base.cluster import map_on_ray

            done = (index for _, index in map_on_ray(train_one_fold, tasks, means.ray))
        for _ in track(done, f"training {run.name}", "fold", len(tasks)):
            pass

    return elsewhere


def train_one_fold(task: FoldOfRun) -> int:
    """Train one fold of a run where this process runs; gives its index.

    Raises:
        StudyError: The run's folder is not to be seen from here or is damaged, or the cohort or its slices changed
            since it began.
    """
    from nephroscope.learning.training.run import train_fold

    if not (Path(task.study) / "study.toml").is_file():
        raise StudyError(
            where=f"run {task.run}, fold {task.index}",
            expected="the study folder at the same path on every machine",
            found="none there on one of them",
            remedy="put the study on storage that all machines share",
        )
    snapshot = take_snapshot(Path(task.study))
    path = snapshot.folder.run(task.run)
    snapshot = snapshot.with_split(load_run_split(path, snapshot.cohort))
    train_fold(path, snapshot, run_config(path), task.index)
    return task.index

"""The folds of a run dealt out to processes or a Ray cluster: a run folder in, its folds trained out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nephroscope.base.errors import StudyError
from nephroscope.base.parallel import map_in_processes
from nephroscope.base.progress import track

if TYPE_CHECKING:
    from nephroscope.learning.engine.jobs import Means


@dataclass(frozen=True, kw_only=True)
class FoldOfRun:
    """One fold to be trained, small enough to be sent: the study must lie at the same path everywhere."""

    study: str
    run: str
    index: int


def spread_folds(study: Path, run: Path, means: "Means") -> Callable[[list[int]], None] | None:
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
    from nephroscope.facade.study import Study
    from nephroscope.learning.engine.networks import run_config
    from nephroscope.learning.run_files import load_run_split
    from nephroscope.learning.training.run import RunInputs, train_fold

    if not (Path(task.study) / "study.toml").is_file():
        raise StudyError(
            where=f"run {task.run}, fold {task.index}",
            expected="the study folder at the same path on every machine",
            found="none there on one of them",
            remedy="put the study on storage that all machines share",
        )
    study = Study(task.study)
    path = study.folder.run(task.run)
    inputs = RunInputs(
        cohort=study.cohort,
        store=study.slices(),
        split=load_run_split(path, study.cohort),
        config=run_config(path),
    )
    train_fold(path, inputs, task.index)
    return task.index

"""Where work is done: one task after the other in this process, in several processes, or on a Ray cluster."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nephroscope.base.errors import ConfigError
from nephroscope.base.parallel import map_in_processes

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who does the work.

    Attributes:
        jobs: Processes on this machine.
        ray: Address of a Ray cluster ("auto" finds one on this machine); then ``jobs`` is not used.
    """

    jobs: int = 1
    ray: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.jobs <= 1024:
            raise ConfigError(
                where="--jobs", expected="a number from 1 to 1024", found=str(self.jobs), remedy="correct it"
            )

    @property
    def only_here(self) -> bool:
        """True when everything is done in this process."""
        return self.jobs == 1 and self.ray is None

    def each(
        self, function: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Every task with its result, as they come; ``function`` must be importable by its name.

        Raises:
            StudyError: A process ended.
            ConfigError: Ray is not installed, or there is no cluster at the address.
        """
        if not tasks:
            return
        if self.ray is not None:
            from nephroscope.base.cluster import map_on_ray

            yield from ((tasks[i], result) for i, result in map_on_ray(function, tasks, self.ray))
        elif self.jobs == 1:
            yield from ((task, function(task)) for task in tasks)
        else:
            results = map_in_processes(function, tasks, min(self.jobs, len(tasks)))
            yield from zip(tasks, results, strict=True)

    def __str__(self) -> str:
        if self.ray is not None:
            return f"the Ray cluster {self.ray}"
        return "one core (more by --jobs)" if self.jobs == 1 else f"{self.jobs} processes"

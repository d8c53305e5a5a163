"""One fit and its probabilities as a job: jobs in; results out, kept as they come, on one core, several or a cluster.

A result is kept beside the digest of all it was made from, so an interrupted experiment goes on where it stopped, a
second one costs nothing, and one on other data is made anew.
"""

import importlib.metadata
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from nephroscope.base.errors import ConfigError, NephroscopeError, StudyError
from nephroscope.base.files import digest_of, load_json, save_json
from nephroscope.base.parallel import map_in_processes
from nephroscope.base.progress import track
from nephroscope.base.version import __version__
from nephroscope.learning import baselines
from nephroscope.learning.baselines.candidate import Candidate
from nephroscope.learning.baselines.candidates import all_candidates
from nephroscope.learning.engine.study_data import data_of

FORMAT = 1
ROUNDING = 1e-6
LIBRARIES = ("numpy", "scikit-learn", "mirp")  # whose version may change what a candidate says


@dataclass(frozen=True, kw_only=True)
class Means:
    """Where the work is done.

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


@dataclass(frozen=True, kw_only=True)
class Job:
    """Fit one candidate on some cases and ask it for others.

    Attributes:
        key: Its place among the kept results, such as ``attenuation/r0-f1``.
        candidate: Where it is found, as ``module:NAME``: a name crosses to other machines, code does not.
        told: What the candidate is; another sentence is another candidate.
        study: Path of the study folder.
        digest: Of the study's manifest and slices.
        learn, labels: Cases to learn from and the index of each one's subtype.
        predict: Cases to give probabilities for.
        seed: Of the candidate's own chance.
        n_subtypes: Number of probabilities of a case.
    """

    key: str
    candidate: str
    told: str
    study: str
    digest: str
    learn: tuple[str, ...]
    labels: tuple[int, ...]
    predict: tuple[str, ...]
    seed: int
    n_subtypes: int

    @cached_property
    def made_from(self) -> str:
        """Digest of everything the result depends on."""
        parts = [self.candidate, self.told, self.digest, self.learn, self.labels, self.predict]
        code = code_digest(self.candidate.partition(":")[0])
        return digest_of([*parts, self.seed, self.n_subtypes, __version__, code])


@dataclass(frozen=True, kw_only=True)
class Result:
    """Probabilities (n, K) of the cases that were asked for, or why there are none."""

    probabilities: tuple[tuple[float, ...], ...] = ()
    refused: str = ""
    seconds: float = 0.0


@cache
def code_digest(module: str) -> str:
    """Digest of the code behind a candidate: its module's file, the baselines' room, versions of the libraries."""
    room = Path(baselines.__file__).parent
    own = getattr(import_module(module), "__file__", None)
    files = [*sorted(room.rglob("*.py")), *([Path(own)] if own else [])]
    contents = [[path.name, digest_of(path.read_text(encoding="utf-8"))] for path in files]
    return digest_of([contents, [[name, _version(name)] for name in LIBRARIES]])


def _version(library: str) -> str:
    """Version of an installed library without importing it; empty where it is not installed."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


def address_of(candidate: Candidate) -> str:
    """Where a candidate is found again by another process, as ``module:NAME``.

    Raises:
        ConfigError: It is no global name of a module, so that no other process could find it.
    """
    if all_candidates().get(candidate.name) is candidate:  # imports their modules
        room = f"{baselines.__name__}.candidates."
        for module in (name for name in list(sys.modules) if name.startswith(room)):
            if getattr(sys.modules[module], "CANDIDATE", None) is candidate:
                return f"{module}:CANDIDATE"
    home = type(candidate).__module__
    for name, held in vars(sys.modules[home]).items():
        if held is candidate:
            return f"{home}:{name}"
    raise ConfigError(
        where=f"candidate {candidate.name}",
        expected="a global name of a module",
        found="an object that no module holds",
        remedy="give it a file of its own in nephroscope/learning/baselines/candidates",
    )


def candidate_at(address: str) -> Candidate:
    """The candidate at an address."""
    module, _, name = address.partition(":")
    candidate: Candidate = getattr(import_module(module), name)
    return candidate


def run_job(job: Job) -> Result:
    """Do one job, with one thread in the libraries, so that it gives the same bits wherever it runs."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    started = time.monotonic()
    try:
        with threadpool_limits(1):
            data = data_of(job.study, job.digest)
            fitted = candidate_at(job.candidate).fit(
                data, job.learn, np.array(job.labels, dtype=np.intp), job.seed
            )
            p = np.asarray(fitted.probabilities(job.predict), dtype=np.float64)
    except NephroscopeError as error:
        if isinstance(error, StudyError):
            raise
        return Result(refused=str(error))
    _check(job, p)
    return Result(
        probabilities=tuple(tuple(row) for row in p.tolist()), seconds=round(time.monotonic() - started, 3)
    )


def run_jobs(jobs: Sequence[Job], kept: Path, means: Means, what: str) -> dict[str, Result]:
    """Results of all jobs by key: those kept in a folder, and the rest made now and kept as they come.

    Raises:
        StudyError: A process or cluster ended, or the study changed meanwhile.
        ConfigError: Ray is not installed, or there is no cluster at the address.
    """
    results: dict[str, Result] = {}
    todo: list[Job] = []
    for job in jobs:
        held = _load(kept / f"{job.key}.json", job)
        if held is None:
            todo.append(job)
        else:
            results[job.key] = held
    for job, result in track(_done(todo, means), what, "fit", len(todo)):
        results[job.key] = result
        if not result.refused:
            _save(kept / f"{job.key}.json", job, result)
    return {job.key: results[job.key] for job in jobs}


def is_kept(kept: Path, job: Job) -> bool:
    """True when a folder of results holds that of a job."""
    return _load(kept / f"{job.key}.json", job) is not None


def _done(jobs: Sequence[Job], means: Means) -> Iterator[tuple[Job, Result]]:
    """Jobs with their results, as they come."""
    if not jobs:
        return
    if means.ray is not None:
        from nephroscope.base.cluster import map_on_ray

        yield from ((jobs[i], result) for i, result in map_on_ray(run_job, jobs, means.ray))
    elif means.jobs == 1:
        yield from ((job, run_job(job)) for job in jobs)
    else:
        first, rest = _one_of_each(jobs)  # features of the cases are then cached before two want them at once
        for part in (first, rest):
            n = min(means.jobs, len(part))
            if part:
                yield from zip(part, map_in_processes(run_job, part, n), strict=True)


def _one_of_each(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """The first job of each candidate, and all others."""
    first: dict[str, Job] = {}
    for job in jobs:
        first.setdefault(job.candidate, job)
    keys = {job.key for job in first.values()}
    return list(first.values()), [job for job in jobs if job.key not in keys]


def _check(job: Job, p: "np.ndarray[Any, np.dtype[np.float64]]") -> None:
    """Refuse what is no table of probabilities: such numbers would be ranked without anyone noticing."""
    shape = (len(job.predict), job.n_subtypes)
    if p.shape == shape and bool(np.isfinite(p).all()) and bool((p >= -ROUNDING).all()):
        if bool((np.abs(p.sum(axis=1) - 1) < ROUNDING).all()):
            return
        found = "rows that do not sum to one"
    else:
        found = f"shape {p.shape}" if p.shape != shape else "numbers that are negative or not finite"
    raise StudyError(
        where=f"candidate {job.key.partition('/')[0]}",
        expected=f"probabilities of {shape[0]} cases and {shape[1]} subtypes",
        found=found,
        remedy="correct the candidate",
    )


def _load(path: Path, job: Job) -> Result | None:
    """A kept result of the same origin; a damaged or old one is made anew."""
    if not path.is_file():
        return None
    try:
        held = load_json(path, FORMAT)
    except StudyError:
        return None
    if held.get("made_from") != job.made_from or held.get("cases") != list(job.predict):
        return None
    rows = tuple(tuple(map(float, row)) for row in held["probabilities"])
    return Result(probabilities=rows, seconds=float(held["seconds"]))


def _save(path: Path, job: Job, result: Result) -> None:
    content = {
        "format": FORMAT,
        "candidate": job.candidate,
        "made_from": job.made_from,
        "seconds": result.seconds,
        "cases": list(job.predict),
        "probabilities": [list(row) for row in result.probabilities],
    }
    save_json(path, content)

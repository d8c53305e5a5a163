"""One fit of a learner and its probabilities, kept in a file with the digest of everything it depends on.

So an interrupted experiment goes on where it stopped, the same one costs nothing the second time, and a fit on other
data, by other code or by another version of a library is made again.
"""

import importlib.metadata
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path

import numpy as np

from nephroscope import learning
from nephroscope.base.errors import ConfigError, NephroscopeError, StudyError
from nephroscope.base.files import digest_of
from nephroscope.base.progress import track
from nephroscope.base.version import __version__
from nephroscope.learning import learners
from nephroscope.learning.engine.study_data import data_of
from nephroscope.learning.engine.workers import Workers
from nephroscope.learning.learner import Floats, Learner
from nephroscope.learning.learners import all_learners
from nephroscope.study.artifact import Artifact

FORMAT = 1
ROUNDING = 1e-6
LIBRARIES = ("numpy", "scikit-learn", "mirp")  # a new version may change what a learner predicts
CODE = ("learner.py", "baselines", "learners")  # in `learning`: what the built-in learners are made of


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Fit one learner on some cases and ask it for others.

    Attributes:
        key: Its place among the kept results, such as ``attenuation/r0-f1``.
        learner: Where it is found, as ``module:NAME``: a name can be sent to other machines, code cannot.
        description: Of the learner; with another description it counts as another learner.
        study: Path of the study folder.
        digest: Of the study's cohort and slices.
        learn, labels: Cases to learn from and the index of each one's subtype.
        predict: Cases to give probabilities for.
        seed: Of the learner's own chance.
        n_subtypes: Number of probabilities of a case.
    """

    key: str
    learner: str
    description: str
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
        parts = [self.learner, self.description, self.digest, self.learn, self.labels, self.predict]
        code = code_digest(self.learner.partition(":")[0])
        return digest_of([*parts, self.seed, self.n_subtypes, __version__, code])


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """Probabilities (n, K) of the cases that were asked for, or why there are none."""

    probabilities: tuple[tuple[float, ...], ...] = ()
    refused: str = ""
    seconds: float = 0.0


@cache
def code_digest(module: str) -> str:
    """Digest of the code of a learner: its module's file, the built-in learners, versions of the libraries."""
    room = Path(learning.__file__).parent
    own = getattr(import_module(module), "__file__", None)
    built_in = [path for part in CODE for path in (room / part, *sorted((room / part).rglob("*.py")))]
    files = [*(path for path in built_in if path.suffix == ".py"), *([Path(own)] if own else [])]
    contents = [[path.name, digest_of(path.read_text(encoding="utf-8"))] for path in files]
    return digest_of([contents, [[name, _version(name)] for name in LIBRARIES]])


def _version(library: str) -> str:
    """Version of an installed library without importing it; empty where it is not installed."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


def address_of(learner: Learner) -> str:
    """Where a learner is found by another process, as ``module:NAME``.

    Raises:
        ConfigError: It is no global name of a module, so that no other process could find it.
    """
    if all_learners().get(learner.name) is learner:  # imports their modules
        for module in (name for name in list(sys.modules) if name.startswith(f"{learners.__name__}.")):
            if getattr(sys.modules[module], "LEARNER", None) is learner:
                return f"{module}:LEARNER"
    home = type(learner).__module__
    for name, held in vars(sys.modules[home]).items():
        if held is learner:
            return f"{home}:{name}"
    raise ConfigError(
        where=f"candidate {learner.name}",
        expected="a global name of a module",
        found="an object that no module holds",
        remedy="give it its own file in nephroscope/learning/learners",
    )


def learner_at(address: str) -> Learner:
    """The learner at an address."""
    module, _, name = address.partition(":")
    learner: Learner = getattr(import_module(module), name)
    return learner


def run_fit(fit: Fit) -> FitResult:
    """Make one fit, with one thread in the libraries, so that it gives the same bits wherever it runs."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    started = time.monotonic()
    try:
        with threadpool_limits(1):
            data = data_of(fit.study, fit.digest)
            labels = np.array(fit.labels, dtype=np.intp)
            fitted = learner_at(fit.learner).fit(data, fit.learn, labels, fit.seed)
            p = np.asarray(fitted.probabilities(fit.predict), dtype=np.float64)
    except NephroscopeError as error:
        if isinstance(error, StudyError):
            raise
        return FitResult(refused=str(error))
    _check(fit, p)
    return FitResult(
        probabilities=tuple(tuple(row) for row in p.tolist()), seconds=round(time.monotonic() - started, 3)
    )


def run_fits(fits: Sequence[Fit], kept: Path, workers: Workers, what: str) -> dict[str, FitResult]:
    """Results of all fits by key: those kept in a folder, and the rest made now and kept as they come.

    Raises:
        StudyError: A process or cluster ended, or the study changed meanwhile.
        ConfigError: Ray is not installed, or there is no cluster at the address.
    """
    results: dict[str, FitResult] = {}
    todo: list[Fit] = []
    for fit in fits:
        held = _load(kept, fit)
        if held is None:
            todo.append(fit)
        else:
            results[fit.key] = held
    for fit, result in track(_made(todo, workers), what, "fit", len(todo)):
        results[fit.key] = result
        if not result.refused:
            _save(kept, fit, result)
    return {fit.key: results[fit.key] for fit in fits}


def is_kept(kept: Path, fit: Fit) -> bool:
    """True when a folder of results holds that of a fit."""
    return _load(kept, fit) is not None


def _made(fits: Sequence[Fit], workers: Workers) -> Iterator[tuple[Fit, FitResult]]:
    """Fits with their results, as they come.

    Of each learner one fit is made first where there are several processes: features of the cases are then cached
    before two processes want them.
    """
    if workers.jobs == 1 or workers.ray is not None:
        yield from workers.each(run_fit, fits)
        return
    first = {fit.learner: fit for fit in reversed(fits)}
    keys = {fit.key for fit in first.values()}
    for part in ([fit for fit in fits if fit.key in keys], [fit for fit in fits if fit.key not in keys]):
        yield from workers.each(run_fit, part)


def _check(fit: Fit, p: Floats) -> None:
    """Refuse what is no table of probabilities: such numbers would be ranked without anyone noticing."""
    shape = (len(fit.predict), fit.n_subtypes)
    if p.shape != shape:
        found = f"shape {p.shape}"
    elif not np.isfinite(p).all() or (p < -ROUNDING).any():
        found = "numbers that are negative or not finite"
    elif (np.abs(p.sum(axis=1) - 1) >= ROUNDING).any():
        found = "rows that do not sum to one"
    else:
        return
    raise StudyError(
        where=f"candidate {fit.key.partition('/')[0]}",
        expected=f"probabilities of {shape[0]} cases and {shape[1]} subtypes",
        found=found,
        remedy="correct the candidate",
    )


@dataclass(frozen=True, kw_only=True)
class KeptFit:
    """A fit as it is kept."""

    candidate: str
    seconds: float
    cases: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]


def _artifact(kept: Path, fit: Fit) -> Artifact[KeptFit]:
    return Artifact(path=kept / f"{fit.key}.json", kind=KeptFit, number=FORMAT, made_from=fit.made_from)


def _load(kept: Path, fit: Fit) -> FitResult | None:
    """A kept result of the same origin; None where it is damaged or out of date."""
    held = _artifact(kept, fit).load()
    if held is None or held.cases != fit.predict:
        return None
    return FitResult(probabilities=held.probabilities, seconds=held.seconds)


def _save(kept: Path, fit: Fit, result: FitResult) -> None:
    content = KeptFit(
        candidate=fit.learner,
        seconds=result.seconds,
        cases=fit.predict,
        probabilities=result.probabilities,
    )
    _artifact(kept, fit).save(content)

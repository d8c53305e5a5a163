"""The steps of a study as jobs: what a page asks for becomes the words of a command, each option checked first."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from nephroscope.base.documents import from_plain
from nephroscope.base.errors import StudyError
from nephroscope.workstation.answers import RequestError, body, ok
from nephroscope.workstation.jobs import Job, Jobs
from nephroscope.workstation.place import Place
from nephroscope.workstation.study.doubts import apart_cases
from nephroscope.workstation.study.files import path_of

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
REMEDY = "see docs/reference/workstation.md"
BUNDLES = "bundles"
OF_CASES = ("check", "slices", "evaluate")  # what these say is about single cases
Option = str | int | float | bool | list[str] | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A job to begin: ``command`` is a key of `COMMANDS`, ``options`` those of its dataclass."""

    command: str
    options: dict[str, Option] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Import:
    """Attributes: identifiers of folders and files are those of /api/folders and /api/uploads."""

    kind: Literal["dicom", "nifti"] = "dicom"
    folder: str
    labels: str | None = None
    rois: str | None = None
    tumor_label: int | None = None
    keep_incomplete: bool = True
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """A command without options."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """How patients are divided."""

    folds: int = 5
    holdout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Train:
    """A training; ``name`` empty takes that of the network."""

    model: str = "mobilenet_v2"
    epochs: int = 30
    name: str = ""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Networks to train for it first; how often the patients are divided."""

    train: tuple[str, ...] = ()
    repeats: int = 1


@dataclass(frozen=True, kw_only=True)
class OfRun:
    """A complete run; empty takes the last one."""

    run: str = ""


@dataclass(frozen=True, kw_only=True)
class Export:
    """A complete run, and a name for the new bundle."""

    run: str = ""
    name: str


def _import(place: Place, asked: Import) -> tuple[str, list[str]]:
    words = ["import", asked.kind, str(place.root), str(path_of(place, asked.folder))]
    for option, id_ in (("--labels", asked.labels), ("--rois", asked.rois)):
        if id_ is not None and (option == "--labels" or asked.kind == "dicom"):
            words += [option, str(path_of(place, id_))]
    if asked.tumor_label is not None and asked.kind == "nifti":
        words += ["--tumor-label", str(asked.tumor_label)]
    words += ["--keep-incomplete"] if asked.keep_incomplete else []
    if asked.dry_run and asked.kind == "dicom":
        return "Look into a folder", [*words, "--dry-run"]
    return "Import patients", words


def _split(place: Place, asked: Split) -> tuple[str, list[str]]:
    words = ["--folds", str(asked.folds), "--holdout", str(asked.holdout)]
    return f"Divide patients into {asked.folds} folds", ["split", str(place.root), *words]


def _train(place: Place, asked: Train) -> tuple[str, list[str]]:
    words = ["train", str(place.root), "--model", network(asked.model), "--epochs", str(asked.epochs)]
    words += ["--seed", str(asked.seed), *_named("--name", asked.name)]
    return f"Train {asked.model}", words


def _compare(place: Place, asked: Compare) -> tuple[str, list[str]]:
    words = ["compare", str(place.root), "--repeats", str(asked.repeats)]
    words += ["--train", *map(network, asked.train)] if asked.train else []
    return "Compare networks and baselines", words


def _report(place: Place, asked: OfRun) -> tuple[str, list[str]]:
    return "Write the report", ["report", str(place.root), *_named("--run", asked.run)]


def _evaluate(place: Place, asked: OfRun) -> tuple[str, list[str]]:
    return "Evaluate", ["evaluate", str(place.root), *_named("--run", asked.run)]


def _export(place: Place, asked: Export) -> tuple[str, list[str]]:
    (_, name), run = _named("--name", asked.name or " "), _named("--run", asked.run)
    out = place.state / BUNDLES / name
    if out.exists():
        raise StudyError(
            where=f"bundle {name}",
            expected="a new name",
            found="a bundle of that name",
            remedy="choose another name",
        )
    return f"Export the bundle {name}", ["export", str(place.root), "--out", str(out), *run]


def _plain(command: str, title: str) -> Callable[[Place, Nothing], tuple[str, list[str]]]:
    return lambda place, _: (title, [command, str(place.root)])


def network(name: str) -> str:
    """A network that there is.

    Raises:
        ConfigError: There is none of this name.
    """
    from nephroscope.learning.networks.table import NETWORKS

    if name not in NETWORKS:
        raise RequestError(
            where="options, model",
            expected=", ".join(NETWORKS),
            found="another one",
            remedy="choose one of them",
        )
    return name


def _named(option: str, name: str) -> list[str]:
    """An option with a plain name; none where the name is empty."""
    if not name:
        return []
    if not NAME.fullmatch(name):
        raise RequestError(
            where=f"options, {option[2:]}",
            expected="letters, digits, '-', '_' and '.', at most 64",
            found="another name",
            remedy="choose such a name",
        )
    return [option, name]


COMMANDS: dict[str, tuple[type, Callable[..., tuple[str, list[str]]]]] = {
    "import": (Import, _import),
    "check": (Nothing, _plain("check", "Check every case")),
    "slices": (Nothing, _plain("slices", "Cut the slices")),
    "split": (Split, _split),
    "train": (Train, _train),
    "evaluate": (OfRun, _evaluate),
    "compare": (Compare, _compare),
    "report": (OfRun, _report),
    "export": (Export, _export),
}


def begin(request: Request) -> Response:
    """Begin a job; ``{"id": ...}``."""
    place: Place = request.app.state.place
    jobs: Jobs = request.app.state.jobs
    wanted = body(request, Wanted)
    if wanted.command not in COMMANDS:
        raise RequestError(
            where="command", expected=", ".join(COMMANDS), found="another one", remedy="choose one of them"
        )
    if place.mode == "empty":
        raise StudyError(where="folder", expected="a study", found="none yet", remedy="make the study first")
    kind, words_of = COMMANDS[wanted.command]
    title, words = words_of(place, from_plain(wanted.options, kind, "options", REMEDY, RequestError))
    return ok({"id": jobs.add(wanted.command, title, words)}, 201)


def list_jobs(request: Request) -> Response:
    """``{"jobs": [...]}``, the latest first; see `Job`."""
    jobs: Jobs = request.app.state.jobs
    return ok({"jobs": jobs.listed()})


def one_job(request: Request) -> Response:
    """A job with its log and its result."""
    return ok(_shown(request))


def _shown(request: Request) -> Job:
    """A job; without what it says of single cases while this session may not see the ROI of every case."""
    jobs: Jobs = request.app.state.jobs
    job = jobs.one(request.path_params["id"])
    if job.command in OF_CASES and apart_cases(request):
        return replace(job, log=("Not shown until both annotators have signed.",), result=None)
    return job


def cancel_job(request: Request) -> Response:
    """End a job; answers the job."""
    jobs: Jobs = request.app.state.jobs
    jobs.cancel(request.path_params["id"])
    return ok(_shown(request))


def again(request: Request) -> Response:
    """Begin a job again that has ended: it goes on where it stopped; ``{"id": ...}`` of the new job."""
    place: Place = request.app.state.place
    jobs: Jobs = request.app.state.jobs
    id_ = request.path_params["id"]
    job = jobs.one(id_)
    if job.ended is None:
        raise RequestError(
            where="job",
            expected="one that has ended",
            found="one that waits or runs",
            remedy="wait until it ends",
        )
    command, title, words = jobs.words(id_)
    return ok({"id": jobs.add(command, title, _going_on(place, words, job))}, 201)


def _going_on(place: Place, words: list[str], job: Job) -> list[str]:
    """The same command; where the job began a training that was interrupted, with ``--resume`` of that run."""
    if words[0] != "train" or "--resume" in words or job.begun is None or job.ended is None:
        return words
    from nephroscope.study.folder import StudyFolder

    for run in StudyFolder(
        place.root
    ).runs():  # one job at a time: the run that was begun meanwhile is its own
        begun = (run / "config.json").stat().st_mtime
        if job.begun <= begun <= job.ended and not (run / "run.json").exists():
            return ["train", str(place.root), "--resume", "--name", run.name]
    return words

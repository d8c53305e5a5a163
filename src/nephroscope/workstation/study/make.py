"""Make a study in an empty folder, and say where a study stands."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from nephroscope.workstation.answers import body, ok
from nephroscope.workstation.place import Place


@dataclass(frozen=True, kw_only=True)
class NewStudy:
    """Subtypes in the order in which results list them; ``positive`` is one of them."""

    subtypes: tuple[str, ...] = ("PRCC", "ChRCC")
    positive: str | None = None


def make_study(request: Request) -> Response:
    """Make the study; answers `study`."""
    from nephroscope.facade.study import Study

    place: Place = request.app.state.place
    wanted = body(request, NewStudy)
    subtypes = tuple(name.strip() for name in wanted.subtypes if name.strip())
    Study.create(place.root, subtypes, wanted.positive)
    return study(request)


def study(request: Request) -> Response:
    """Where the study stands: ``{"mode", "name", "subtypes", "positive", "runs", "networks", "status"}``."""
    place: Place = request.app.state.place
    if place.mode == "empty":
        return ok(
            {"mode": "empty", "name": place.name, "subtypes": [], "positive": "", "runs": [], "status": None}
        )
    from nephroscope.facade.status import study_status
    from nephroscope.learning.networks.table import NETWORKS
    from nephroscope.study.folder import open_study

    folder, settings = open_study(place.root)
    status = study_status(place.root)
    runs = [path.name for path in folder.runs() if (path / "run.json").exists()]
    return ok(
        {
            "mode": place.mode,
            "name": place.name,
            "subtypes": list(settings.subtypes),
            "positive": settings.positive,
            "runs": runs,
            "networks": list(NETWORKS),
            "status": {
                "cases": status.cases,
                "patients": status.patients,
                "parts": list(status.parts),
                "out": list(status.out),
                "writing": status.writing,
                "next": _step_of(status.next),
            },
        }
    )


def _step_of(line: str) -> str:
    """The command of a line such as ``nephroscope slices my-study``; empty where nothing is left to do."""
    words = line.split()
    return words[1] if len(words) > 1 and words[0] == "nephroscope" else ""

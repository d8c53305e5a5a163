"""Which page belongs to which address, and the files that pages load; each by its name, none by a path."""

from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nephroscope.workstation.answers import NotFoundError

STATIC = Path(__file__).parent / "static"
PAGES = {
    "/": "worklist.html",
    "/import": "import.html",
    "/doubts": "doubts.html",
    "/steps": "steps.html",
    "/jobs": "jobs.html",
    "/case/{id}": "viewer.html",
    "/result/{id}": "result.html",
    "/annotators/{id}": "annotators.html",
    "/reading": "reading.html",
    "/read/{id}": "read.html",
    "/reading/{id}/result": "reading-result.html",
}
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


@cache
def _files() -> dict[str, Path]:
    return {path.name: path for path in STATIC.iterdir() if path.suffix in KINDS}


def _send(name: str) -> Response:
    path = _files().get(name)
    if path is None:
        raise NotFoundError(
            where="address", expected="a page", found="none", remedy="go back to the list of patients"
        )
    return Response(path.read_bytes(), media_type=KINDS[path.suffix])


def static_file(request: Request) -> Response:
    """A script or style sheet by its name."""
    name: str = request.path_params["name"]
    return _send("" if name.endswith(".html") else name)


def page(request: Request) -> Response:
    """The page of an address."""
    return _send(PAGES[request.scope["route"].path])


ROUTES = [
    *(Route(address, page, methods=["GET"]) for address in PAGES),
    Route("/static/{name}", static_file, methods=["GET"]),
]

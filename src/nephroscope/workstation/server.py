"""Serve a study or a bundle to the browser of this computer, until it is interrupted."""

import contextlib
import importlib
import json
import logging
import os
import socket
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nephroscope.base.errors import NephroscopeError
from nephroscope.base.files import save_text
from nephroscope.workstation import pages, result
from nephroscope.workstation.answers import NotFoundError, RequestError, ok, refusal
from nephroscope.workstation.jobs import Jobs
from nephroscope.workstation.place import Place, one_server, open_place
from nephroscope.workstation.safety import Gate

logger = logging.getLogger(__name__)
HOST = "127.0.0.1"
MOST_CONNECTIONS = 128
STOP_S = 3  # for requests that are being answered when the server is stopped
ROOMS = (
    "study",
    "images",
    "drawing",
    "reading",
)  # each gives ROUTES in its module `routes`, no heavy imports


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a workstation is.

    Attributes:
        url: For a browser, with the token of this start.
        port: On 127.0.0.1.
        pid: Of the server.
    """

    url: str
    port: int
    pid: int


def application(place: Place, jobs: Jobs) -> Starlette:
    """The application behind the gate; `Gate` must stand in front of it."""
    app = Starlette(
        routes=all_routes(),
        exception_handlers={
            NephroscopeError: _refusal,
            HTTPException: _http_refusal,
            Exception: _own_mistake,
        },
    )
    app.state.place, app.state.jobs = place, jobs
    return app


def all_routes() -> list[Route]:
    """Every address."""
    routes = [*pages.ROUTES, *result.ROUTES, Route("/api/session", session, methods=["GET"])]
    for room in ROOMS:
        routes += importlib.import_module(f"nephroscope.workstation.{room}.routes").ROUTES
    return routes


def session(request: Request) -> Response:
    """What a page needs before it writes: ``{"csrf", "mode", "name", "reading"}``.

    ``reading`` is the reader study of a reader who is signed in, who is not told the name of the folder.
    """
    place: Place = request.app.state.place
    own: str = request.scope["nephroscope.session"]
    reader = place.reader_of(own)
    return ok(
        {
            "csrf": place.write_token(own),
            "mode": place.mode,
            "name": "" if reader else place.name,
            "reading": reader[0] if reader else "",
        }
    )


def serve(folder: Path, data: Path | None, port: int, ready: Callable[[Address], None]) -> None:
    """Serve until interrupted.

    Args:
        folder: Study, bundle, or a new or empty folder.
        data: As in `open_place`.
        port: At which to listen; 0 takes a free one.
        ready: Called when the server answers.

    Raises:
        StudyError: The folder is none of these, or another workstation serves it.
        RequestError: The port is taken.
    """
    place = open_place(folder, data)
    with one_server(place.state) as note, _listening(port) as listening:
        taken: int = listening.getsockname()[1]
        address = Address(url=f"http://{HOST}:{taken}/?token={place.token}", port=taken, pid=os.getpid())
        save_text(note, json.dumps(asdict(address)))
        note.chmod(0o600)
        jobs = Jobs(place)
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        config = uvicorn.Config(
            Gate(application(place, jobs), place, taken),
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=STOP_S,
        )
        jobs.start()
        with contextlib.suppress(KeyboardInterrupt):
            _Server(config, lambda: ready(address)).run(sockets=[listening])
        jobs.stop()


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self._ready()
        threading.Thread(target=_load_readers, daemon=True).start()


def _load_readers() -> None:
    """Import what reads a CT, so that the first patient does not wait for it."""
    for name in ("dicom.slice_reader", "read"):
        importlib.import_module(f"nephroscope.imaging.{name}")


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """A socket of this computer only."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        if os.name != "nt":  # there it would let a second program take the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise RequestError(
                where="--port",
                expected="a free port",
                found=f"{port}, which cannot be used",
                remedy="choose another one, or 0 for any",
            ) from error
        yield listening


def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, NephroscopeError)  # noqa: S101
    return refusal(error)


def _http_refusal(request: Request, error: Exception) -> Response:
    """An address or method that no route has."""
    assert isinstance(error, HTTPException)  # noqa: S101
    wrong = NotFoundError(
        where="address", expected="one of this program", found="another one", remedy="go back to the list"
    )
    return refusal(wrong, error.status_code)


def _own_mistake(request: Request, error: Exception) -> Response:
    """A bug of ours: where it happened is logged, but not its message, which may quote a patient's files."""
    incident = uuid.uuid4().hex[:8]
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    lines = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
    logger.error("incident %s: %s at %s", incident, type(error).__name__, lines)
    wrong = RequestError(
        where="this program",
        expected="an answer",
        found=f"an error in this program, incident {incident}",
        remedy="look for the incident in the window in which the workstation was started",
    )
    return refusal(wrong, 500)

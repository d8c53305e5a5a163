"""The relay: sites and coordinator leave signed archives there and fetch those of the others. It calls nobody.

Only callers with a certificate of the group get an answer. An archive is kept once its signature is proved with the
public keys that the group published; its name can be taken again only after the coordinator refused it. No private
key of a site or of the coordinator is here, and nothing is in memory that a restart would lose.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import GroupError
from nephroscope.base.files import file_digest, make_folder
from nephroscope.federated.certificates import RELAYS, check_dates
from nephroscope.federated.group import FORMAT, Plan
from nephroscope.federated.group_place import FLOWER, RELAYED, GroupPlace, Relayed
from nephroscope.federated.keys import is_signed_by, write_private
from nephroscope.federated.store import RefusedError, Store, refusal_of

RELAY = "relay.json"
CHUNK = 2**20
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RelayFile:
    """What the relay must know of a group: public things only."""

    address: str
    plan: Plan


async def _names(request: Request) -> Response:
    store: Store = request.app.state.store
    return JSONResponse({"names": await run_in_threadpool(store.names)})


async def _archive(request: Request) -> Response:
    store: Store = request.app.state.store
    path = await run_in_threadpool(store.archive, request.path_params["name"])
    digest = await run_in_threadpool(file_digest, path)
    begin = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
    if begin and int(begin[1]) >= path.stat().st_size:
        return Response(b"", 206, {"X-SHA256": digest})
    return FileResponse(path, headers={"X-SHA256": digest})


async def _give_up(request: Request) -> Response:
    store: Store = request.app.state.store
    name, digest = request.path_params["name"], request.path_params["digest"]
    signature = request.headers.get("x-signature", "")
    if not is_signed_by(store.plan.key, signature, refusal_of(store.plan.id, name, digest)):
        raise RefusedError(403, "only the coordinator has an archive removed")
    await run_in_threadpool(store.give_up, name, digest)
    return JSONResponse({})


async def _begun(request: Request) -> Response:
    store: Store = request.app.state.store
    parts = request.path_params
    return JSONResponse({"bytes": await run_in_threadpool(store.begun, parts["name"], parts["digest"])})


async def _take(request: Request) -> Response:
    store: Store = request.app.state.store
    parts = request.path_params
    begin, size = _number(request, "x-begin"), _number(request, "x-size")
    piece = bytearray()
    async for more in request.stream():
        piece += more
        if len(piece) > CHUNK:
            raise RefusedError(413, "the piece is too large")
    await run_in_threadpool(store.take, parts["name"], parts["digest"], begin, size, bytes(piece))
    return JSONResponse({"bytes": begin + len(piece)})


def _number(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not re.fullmatch(r"\d{1,18}", text):
        raise RefusedError(400, f"no number in {header}")
    return int(text)


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)  # noqa: S101
    return JSONResponse({"error": str(error)}, error.status)


def relay_application(store: Store) -> Starlette:
    """The addresses of the relay; TLS in front of them asks everybody for a certificate of the group."""
    upload = "/uploads/{name}/{digest}"
    routes = [
        Route("/archives", _names),
        Route("/archives/{name}", _archive),
        Route(upload, _begun, methods=["GET"]),
        Route(upload, _take, methods=["PUT"]),
        Route(upload, _give_up, methods=["DELETE"]),
    ]
    app = Starlette(routes=routes, exception_handlers={RefusedError: _refuse})
    app.state.store = store
    return app


def relay_server(folder: Path, host: str, port: int, ready: Callable[[int], None]) -> uvicorn.Server:
    """A server that can be run and told to stop; ``ready`` is given its port."""
    plan = read_document(folder / RELAY, RelayFile, FORMAT, "copy it again", GroupError).plan
    return tls_server(relay_application(Store(plan, folder / "archives", folder)), folder, host, port, ready)


def tls_server(
    app: Callable[..., Any], folder: Path, host: str, port: int, ready: Callable[[int], object]
) -> uvicorn.Server:
    """A server over TLS 1.3 that asks for a certificate of the group; its own lie in the folder."""
    for name in ("authority", "relay"):
        check_dates(folder / f"{name}.pem")
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=64,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=3,
        ssl_certfile=folder / "relay.pem",
        ssl_keyfile=str(folder / "relay.key.pem"),
        ssl_ca_certs=str(folder / "authority.pem"),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
    return _Server(config, ready)


class _Server(uvicorn.Server):
    """Says at which port it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[int], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: object = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)  # type: ignore[arg-type]
        self._ready(self.servers[0].sockets[0].getsockname()[1])


def serve_relay(folder: Path, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until interrupted."""
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    server = relay_server(folder, host, port, ready)
    try:
        asyncio.run(server.serve())
    except KeyboardInterrupt:
        logger.info("the relay stopped")


def relayed(place: GroupPlace, address: str) -> Path:
    """Let a group pass its archives through a relay; lays out the folder for the computer of the relay.

    It holds public keys, and the relay's own certificate and key.

    Raises:
        GroupError: The group uses another relay, or Flower.
    """
    _check_way(place, "--relay", "", address)
    folder, tls = place.folder / "relay", place.folder / "tls"
    if not (folder / RELAY).exists():
        make_folder(folder)
        for name in RELAYS:
            write_private(folder / name, (tls / name).read_bytes())
        save_document(folder / RELAY, RelayFile(address=address, plan=place.plan), FORMAT)
    save_document(place.folder / RELAYED, Relayed(relay=address), FORMAT)
    return folder


def flowered(place: GroupPlace, address: str) -> None:
    """Let the archives of a group pass through Flower at this address.

    Raises:
        GroupError: They pass another way, or at another address.
    """
    _check_way(place, "--flower", address, "")
    save_document(place.folder / FLOWER, Relayed(relay=address), FORMAT)


def _check_way(place: GroupPlace, option: str, flower: str, relay: str) -> None:
    known = place.flower, place.relay
    if any(known) and known != (flower, relay):
        raise GroupError(
            where=option,
            expected=f"the way of the group, {'Flower at' if known[0] else 'the relay'} {known[0] or known[1]}",
            found=flower or relay,
            remedy="use the same way and address for every site",
        )

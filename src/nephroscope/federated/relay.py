"""The relay: sites and coordinator leave signed archives there and fetch those of the others. It calls nobody.

Only callers with a certificate of the group get an answer. An archive is kept once its signature is proved with the
public keys that the group published; its name cannot be taken again. No private key of a site or of the coordinator
is here, and nothing is in memory that a restart would lose.
"""

import asyncio
import hashlib
import logging
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import GroupError, NephroscopeError
from nephroscope.base.files import file_digest, make_folder, sync_file, sync_folder
from nephroscope.federated.archive import MOST_BYTES, claimed, claimed_document, open_archive
from nephroscope.federated.group import COORDINATOR, FORMAT, Group, Joining, Plan
from nephroscope.federated.group_place import RELAYED, GroupPlace, Relayed
from nephroscope.federated.keys import write_private
from nephroscope.federated.ways import archive_name

RELAY = "relay.json"
CHUNK = 2**20
MOST_PARTS = 200
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\.zip")
SHA256 = re.compile(r"[0-9a-f]{64}")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RelayFile:
    """What the relay must know of a group: public things only."""

    address: str
    plan: Plan


class RefusedError(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass
class Store:
    """The relay's folder: ``archives/`` that are proved, ``parts/`` that are still coming."""

    folder: Path
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Read what the coordinator gave."""
        self.plan = read_document(self.folder / RELAY, RelayFile, FORMAT, "copy it again", GroupError).plan
        for name in ("archives", "parts"):
            make_folder(self.folder / name)

    def names(self) -> list[str]:
        """Names of all archives."""
        return sorted(path.name for path in (self.folder / "archives").glob("*.zip"))

    def archive(self, name: str) -> Path:
        """The file of an archive.

        Raises:
            RefusedError: There is none.
        """
        path = self.folder / "archives" / name
        if not NAME.fullmatch(name) or not path.is_file():
            raise RefusedError(404, "no such archive")
        return path

    def begun(self, name: str, digest: str) -> int:
        """How many bytes of an archive are here already.

        Raises:
            RefusedError: The name is none, or other bytes have it.
        """
        if not NAME.fullmatch(name) or not SHA256.fullmatch(digest):
            raise RefusedError(400, "not a name of an archive")
        kept = self.folder / "archives" / name
        if kept.exists():
            if file_digest(kept) != digest:
                raise RefusedError(409, "another archive of that name is here; none is replaced")
            return kept.stat().st_size
        part = self._part(name, digest)
        return part.stat().st_size if part.exists() else 0

    def take(self, name: str, digest: str, begin: int, size: int, piece: bytes) -> None:
        """Append a piece; after the last the archive is proved and kept, or thrown away.

        Raises:
            RefusedError: The piece does not fit, or the archive is refused.
        """
        with self.lock:
            there = self.begun(name, digest)
            if (self.folder / "archives" / name).exists():
                return
            if begin != there or not 0 < begin + len(piece) <= size <= MOST_BYTES:
                raise RefusedError(409, f"the piece does not fit: {there} bytes are here")
            parts = list((self.folder / "parts").iterdir())
            if there == 0 and len(parts) >= MOST_PARTS:
                raise RefusedError(507, "too many archives are still coming")
            part = self._part(name, digest)
            with part.open("ab") as file:
                file.write(piece)
            if part.stat().st_size == size:
                self._keep(part, name, digest)

    def _keep(self, part: Path, name: str, digest: str) -> None:
        try:
            if file_digest(part) != digest:
                raise RefusedError(400, "the bytes are not those that were announced")
            self._prove(part, name)
        except (RefusedError, NephroscopeError) as error:
            part.unlink()
            if isinstance(error, RefusedError):
                raise
            raise RefusedError(
                403, f"{error.code}: expected {error.expected}, found {error.found}"
            ) from error
        sync_file(part)
        part.rename(self.folder / "archives" / name)
        sync_folder(self.folder / "archives")

    def _prove(self, part: Path, name: str) -> None:
        manifest = claimed(part)
        if name != archive_name(self.plan.name, manifest.step, manifest.sender):
            raise RefusedError(
                403, f"archive-replayed: it says of itself step {manifest.step} of {manifest.sender}"
            )
        open_archive(part, self._key(part, manifest.sender, manifest.step), self.plan.id).check_all()

    def _key(self, part: Path, sender: str, step: int) -> str:
        """Public key of a sender: of a request to join the one in it, afterwards those that the group published."""
        if sender == COORDINATOR:
            return self.plan.key
        first = self.folder / "archives" / archive_name(self.plan.name, 0, COORDINATOR)
        if first.exists():
            return open_archive(first, self.plan.key).document("group.json", Group).key_of(sender)
        if step:
            raise RefusedError(403, "archive-round: the group is not closed yet")
        return claimed_document(part, "joining.json", Joining).key

    def _part(self, name: str, digest: str) -> Path:
        short = hashlib.sha256(f"{name} {digest}".encode()).hexdigest()[:32]
        return self.folder / "parts" / f"{short}.part"


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
    ]
    app = Starlette(routes=routes, exception_handlers={RefusedError: _refuse})
    app.state.store = store
    return app


def relay_server(folder: Path, host: str, port: int, ready: Callable[[int], None]) -> uvicorn.Server:
    """A server that can be run and told to stop; ``ready`` is given its port."""
    config = uvicorn.Config(
        relay_application(Store(folder)),
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

    def __init__(self, config: uvicorn.Config, ready: Callable[[int], None]) -> None:
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
        GroupError: The group uses another relay.
    """
    folder, tls = place.folder / "relay", place.folder / "tls"
    if not (folder / RELAY).exists():
        make_folder(folder)
        for name in ("authority.pem", "relay.pem", "relay.key.pem"):
            write_private(folder / name, (tls / name).read_bytes())
        save_document(folder / RELAY, RelayFile(address=address, plan=place.plan), FORMAT)
    known = read_document(folder / RELAY, RelayFile, FORMAT, "make the group again", GroupError).address
    if known != address:
        raise GroupError(
            where="--relay",
            expected=f"the relay of the group, {known}",
            found=address,
            remedy="use the same address",
        )
    save_document(place.folder / RELAYED, Relayed(relay=address), FORMAT)
    return folder

"""What either end of a way by messages asks and answers: archives in pieces, each proved before it is kept.

No message says what to do beyond "list", "read", "write", "refused" and "done", and no name but that of an archive
of this group opens a file.
"""

import functools
import hmac
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nephroscope.base.files import file_digest
from nephroscope.federated.group import COORDINATOR, Plan
from nephroscope.federated.group_place import GroupPlace
from nephroscope.federated.place import SitePlace
from nephroscope.federated.store import RefusedError, Store
from nephroscope.federated.ways import archive_name

HEADER = "x-nephroscope"  # header of the calls of the coordinator's own process
PIECE = 2**20  # bytes of an archive in a message
Ask = dict[str, Any]  # strings, numbers, bytes, and lists of strings or numbers
Visit = Generator[Ask, Ask, None]
Part = Generator[Ask, Ask, bool]  # of a visit; True where there is nothing left to do
Say = Callable[[str], None]


@functools.lru_cache(maxsize=1024)
def _digest(path: Path, _size: int, _changed: int) -> str:
    return file_digest(path)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, computed once as long as it does not change."""
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


def own_archives(store: Store, plan: Plan, sender: str) -> dict[str, Path]:
    """Archives of one sender that are in a folder, by name: no other file of it is ever sent."""
    names = (archive_name(plan.name, step, sender) for step in range(plan.figures + 1))
    return {name: store.archives / name for name in names if (store.archives / name).is_file()}


def piece_of(path: Path, begin: int) -> bytes:
    """The next piece of an archive."""
    with path.open("rb") as file:
        file.seek(begin)
        return file.read(PIECE)


@dataclass(eq=False)
class SiteEnd:
    """What a site answers: which archives it approved, pieces of them, and takes those of the coordinator.

    ``done`` is true after a visit to its end, ``refused`` where either end did not take an archive.
    """

    place: SitePlace
    store: Store
    say: Say
    done: bool = False
    refused: bool = False
    noted: set[str] = field(default_factory=set)

    def answer(self, ask: Mapping[str, Any]) -> Ask:
        """Answer one request; anything else is refused."""
        try:
            return self._answer(str(ask.get("do")), ask)
        except RefusedError as error:
            self.refused = True
            self.say(f"refused {str(ask.get('name'))[:110]!r}: {error}")
            return {"refused": str(error)}

    def _answer(self, do: str, ask: Mapping[str, Any]) -> Ask:
        plan = self.place.invitation.plan
        own = own_archives(self.store, plan, self.place.site)
        if do == "list":
            return {
                "names": list(own),
                "digests": [digest_of(path) for path in own.values()],
                "sizes": [path.stat().st_size for path in own.values()],
            }
        if do == "done":
            self.done = True
            return {}
        if do == "refused":
            self._note(str(ask.get("name")), str(ask.get("why")))
            return {}
        name, begin = str(ask.get("name")), _number(ask, "begin")
        if do == "read" and name in own:
            return {"piece": piece_of(own[name], begin)}
        if do == "write" and name in {
            archive_name(plan.name, s, COORDINATOR) for s in range(plan.figures + 1)
        }:
            piece = ask.get("piece")
            digest = str(ask.get("digest"))
            there, begun = (self.store.archives / name).exists(), self.store.begun(name, digest)
            if isinstance(piece, bytes) and begun == begin and not there:
                self.store.take(name, digest, begin, _number(ask, "size"), piece)
                begun += len(piece)
                if begun == _number(ask, "size"):
                    self.say(f"received {name}")
            return {"bytes": begun}
        raise RefusedError(400, "no such request")

    def _note(self, name: str, why: str) -> None:
        self.refused = True
        words = f"the coordinator did not take {name[:110]!r}: {why[:300]!r}"
        if words not in self.noted:  # a visit comes every few seconds
            self.noted.add(words)
            self.say(words)


def _number(ask: Mapping[str, Any], name: str) -> int:
    value = ask.get(name, 0)
    if not isinstance(value, int) or not 0 <= value < 2**40:
        raise RefusedError(400, f"no number in {name}")
    return value


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []


@dataclass(eq=False)
class CoordinatorEnd:
    """What the coordinator asks of a site, until each has the archives of the other that it may have."""

    place: GroupPlace
    store: Store
    say: Say
    noted: set[str] = field(default_factory=set)

    def visit(self, site: str) -> Visit:
        """Requests to one site; the answer to each is sent back in."""
        plan = self.place.plan
        self._give_up(site)
        listed = yield {"do": "list"}
        whole = "names" in listed
        names = {archive_name(plan.name, step, site) for step in range(plan.figures + 1)}
        rows = zip(*(_list(listed.get(key)) for key in ("names", "digests", "sizes")), strict=False)
        for name, digest, size in rows:
            if name in names and isinstance(size, int):
                whole &= yield from self._fetch(site, str(name), str(digest), size)
        for name, path in own_archives(self.store, plan, COORDINATOR).items():
            whole &= yield from self._hand(site, name, path)
        if whole:
            yield {"do": "done"}

    def _fetch(self, site: str, name: str, digest: str, size: int) -> Part:
        """Fetch an archive, or say why it is not taken; False where the site did not give all of it."""
        try:
            there, begun = (self.store.archives / name).exists(), self.store.begun(name, digest)
            while not there:
                answer = yield {"do": "read", "name": name, "begin": begun}
                piece = answer.get("piece")
                if not isinstance(piece, bytes) or not (piece or begun == size):
                    return False
                self.store.take(name, digest, begun, size, piece)
                begun, there = begun + len(piece), begun + len(piece) >= size
                if there:
                    self.say(f"received {name}")
        except RefusedError as error:
            self._note(f"refused {name} of {site}: {error}")
            yield {"do": "refused", "name": name, "why": str(error)}
        return True

    def _hand(self, site: str, name: str, path: Path) -> Part:
        """Hand an archive over; False where the site neither has all of it nor refused it."""
        size, digest, begun = path.stat().st_size, digest_of(path), 0
        request = {"do": "write", "name": name, "digest": digest, "size": size}
        answer = yield {**request, "begin": size, "piece": b""}  # asks how much is there
        while (begun := answer.get("bytes", -1)) in range(size):
            answer = yield {**request, "begin": begun, "piece": piece_of(path, begun)}
            if answer.get("bytes", -1) <= begun:
                break
        if "refused" in answer:
            self._note(f"{site} refused {name}: {str(answer['refused'])[:300]}")
            return True
        return bool(answer.get("bytes", -1) == size)

    def _give_up(self, site: str) -> None:
        """Make room for an archive that is made again, after `aggregate` refused the one that is here."""
        for step in range(self.place.plan.figures + 1):
            copy, kept = self.place.refused(step, site), self.place.accepted(step, site)
            if copy.exists() and not kept.exists():
                self.store.give_up(copy.name, digest_of(copy))

    def _note(self, words: str) -> None:
        if words not in self.noted:  # a visit comes every few seconds
            self.noted.add(words)
            self.say(words)


class Gate:
    """Lets sites reach Flower's fleet only: its other addresses start runs and apps, and ask nobody who calls."""

    def __init__(self, app: Any, secret: str) -> None:
        self.app, self.secret = app, secret.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer 403 unless the call is for the fleet, or of this process."""
        if scope["type"] == "http" and not scope["path"].startswith("/v1/fleet/"):
            given = dict(scope["headers"]).get(HEADER.encode(), b"")
            if not hmac.compare_digest(given, self.secret):
                await send({"type": "http.response.start", "status": 403, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
        await self.app(scope, receive, send)


@dataclass(frozen=True)
class OwnCall:
    """Marks calls of this process for the gate."""

    secret: str

    def intercept(self, context: Any, call_next: Callable[[Any], Any]) -> Any:
        """Add the header."""
        context.request.headers[HEADER] = self.secret
        return call_next(context)

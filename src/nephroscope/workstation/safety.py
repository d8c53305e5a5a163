"""One gate in front of every address: who may ask, for what, how much, and what a browser may do with the answer.

The server answers this computer only. Another page in the same browser, or another program that guesses the port,
has no cookie; a page that makes the browser send the cookie has the wrong origin and no write token.
"""

import asyncio
import re
from html import escape
from secrets import compare_digest
from urllib.parse import parse_qs

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nephroscope.base.errors import NephroscopeError
from nephroscope.workstation.answers import BODY, ForbiddenError, RequestError, refusal
from nephroscope.workstation.place import Place

CSP = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}
METHODS = ("GET", "HEAD", "POST")
MOST_BYTES = {"application/json": 1_000_000, "application/octet-stream": 32_000_000}
BODY_S = 30.0  # in which a body must have come
LONGEST_TARGET = 2_000
WRITE_HEADER = "x-nephroscope-token"
_UNUSUAL = re.compile(r"\.\.|//|\\|%(?:2f|5c|2e|00|0a|0d)|[^\x21-\x7e]", re.IGNORECASE)
_ADDRESS = "open the address that `nephroscope workstation` printed"


class RefusedError(Exception):
    """Ends a request with a status and a refusal."""

    def __init__(self, status: int, error: NephroscopeError) -> None:
        self.status, self.error = status, error
        super().__init__(str(error))


class Gate:
    """The middleware.

    Args:
        app: What answers a request that may pass.
        place: Whose sessions count.
        port: At which the server listens.
    """

    def __init__(self, app: ASGIApp, place: Place, port: int) -> None:
        self._app, self._place, self._port = app, place, port
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self._cookie = f"nephroscope-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            return
        headers = _Headers(scope)
        try:
            self._check_target(scope, headers)
            session = self._session(scope, headers)
            if isinstance(session, Response):
                await session(scope, receive, _with_headers(send))
                return
            scope["nephroscope.session"] = session
            self._check_reader(scope, session)
            self._check_write(scope, headers, session)
            scope[BODY] = await _whole_body(scope, headers, receive)
        except RefusedError as error:
            answer = (
                _message_page(error) if _wants_page(scope, headers) else refusal(error.error, error.status)
            )
            answer.headers["connection"] = "close"
            await answer(scope, receive, _with_headers(send))
            return
        await self._app(scope, _nothing_more, _with_headers(send))

    def _check_target(self, scope: Scope, headers: "_Headers") -> None:
        """Method, host and path, before anything is read."""
        if scope["method"] not in METHODS:
            raise _refused(405, "the method GET, HEAD or POST", "another one")
        if headers.one("host") not in self._hosts:
            raise _refused(421, "this computer as host", "another name", _ADDRESS)
        raw = scope.get("raw_path", b"").decode("latin-1")
        query = scope.get("query_string", b"").decode("latin-1")
        if not raw.startswith("/") or _UNUSUAL.search(raw) or len(raw) + len(query) > LONGEST_TARGET:
            raise _refused(400, "an address of this program", "another one")
        if headers.all("upgrade") or "upgrade" in headers.one("connection").lower():
            raise _refused(400, "a plain request", "one that asks for another protocol")
        if "," in ",".join(headers.all("range")):
            raise _refused(416, "at most one range", "several")
        if headers.one("sec-fetch-site", "none") not in ("none", "same-origin") and not _is_navigation(
            headers
        ):
            raise _refused(403, "a request of this page", "one of another page")

    def _session(self, scope: Scope, headers: "_Headers") -> "str | Response":
        """The session of the browser, or the answer that gives it one and cleans the address."""
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if scope["method"] == "GET" and "token" in asked:
            if not compare_digest(asked["token"][0].encode(), self._place.token.encode()):
                raise RefusedError(403, _forbidden("the token of this start", "another one"))
            answer = Response(status_code=303, headers={"location": scope["raw_path"].decode("latin-1")})
            secret = self._place.open_session(self._port)
            answer.headers["set-cookie"] = f"{self._cookie}={secret}; Path=/; HttpOnly; SameSite=Strict"
            return answer
        for secret in _cookies(headers, self._cookie):
            if secret and self._place.knows_session(secret, self._port):
                return secret
        raise RefusedError(403, _forbidden("a browser that was let in", "one without a valid cookie"))

    def _check_reader(self, scope: Scope, session: str) -> None:
        """A reader of a reader study opens nothing else, so that nothing else can reach that browser."""
        reader = self._place.reader_of(session)
        if reader is None:
            return
        path, study = scope["path"], reader[0]
        own = path in (f"/read/{study}", f"/api/read/{study}", "/api/session")
        if not own and not path.startswith((f"/api/read/{study}/", "/static/")):
            found = "another one, while a reader is signed in at this browser"
            raise _refused(
                403, "an address of the reader study", found, f"go back to /read/{study} and sign out"
            )

    def _check_write(self, scope: Scope, headers: "_Headers", session: str) -> None:
        if scope["method"] != "POST":
            return
        if headers.one("origin") not in {f"http://{host}" for host in self._hosts}:
            raise _refused(403, "a write of this page", "one of another origin")
        given = headers.one(WRITE_HEADER)
        if not compare_digest(given.encode("latin-1"), self._place.write_token(session).encode()):
            raise _refused(403, "the write token of this session", "another one", "load the page again")


async def _whole_body(scope: Scope, headers: "_Headers", receive: Receive) -> bytes:
    """The body of a write, of a kind and length that is allowed, come in time."""
    kind = headers.one("content-type").partition(";")[0].strip().lower()
    length = headers.one("content-length", "0")
    has_body = length != "0" or bool(headers.all("transfer-encoding"))
    if scope["method"] != "POST":
        if has_body:
            raise _refused(400, "no body", "one")
        return b""
    if has_body and kind not in MOST_BYTES:
        raise _refused(415, " or ".join(MOST_BYTES), "another kind of body")
    most = MOST_BYTES.get(kind, 0)
    if not length.isdecimal() or int(length) > most:
        raise _too_large(most)
    parts, n = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise _refused(400, "a whole body", "one that was cut off")
                part = message.get("body", b"")
                n += len(part)
                if n > most:
                    raise _too_large(most)
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise _refused(408, f"a body within {BODY_S:g} s", "a slower one") from None


class _Headers:
    """The headers of a request, by their lower-case name."""

    def __init__(self, scope: Scope) -> None:
        self._found: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            self._found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def all(self, name: str) -> list[str]:
        """Every value."""
        return self._found.get(name, [])

    def one(self, name: str, without: str = "") -> str:
        """The value of a header that was given once; empty where it was given twice."""
        values = self.all(name) or [without]
        return values[0] if len(values) == 1 else ""


def _cookies(headers: _Headers, name: str) -> list[str]:
    """The values of the cookies of a name.

    Programs on other ports of 127.0.0.1 put theirs into the same header, and those may hold anything.
    """
    pairs = (part.strip().partition("=") for part in headers.one("cookie").split(";"))
    return [value for key, _, value in pairs if key == name]


def _is_navigation(headers: _Headers) -> bool:
    """A person follows a link to a page: pages hold no data."""
    asked = (headers.one("sec-fetch-mode"), headers.one("sec-fetch-dest"))
    return asked == ("navigate", "document")


def _wants_page(scope: Scope, headers: _Headers) -> bool:
    return not scope["path"].startswith(("/api", "/static")) and "text/html" in headers.one("accept")


def _message_page(error: RefusedError) -> Response:
    """A refusal for a person who opened an address; it loads nothing."""
    head = "<!doctype html><html lang=en><meta charset=utf-8><title>nephroscope</title>"
    remedy = escape(error.error.remedy if error.status == 403 else _ADDRESS)
    return Response(f"{head}<h1>Not open here</h1><p>{remedy}.", error.status, media_type="text/html")


def _with_headers(send: Send) -> Send:
    """Add the headers of every answer, unless the answer has its own."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message["headers"]}
            added = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in own]
            message = {**message, "headers": [*message["headers"], *added]}
        await send(message)

    return sending


async def _nothing_more() -> Message:
    """What the application reads after the body, which it has in the scope."""
    return {"type": "http.disconnect"}


def _refused(
    status: int, expected: str, found: str, remedy: str = "see docs/reference/workstation.md"
) -> RefusedError:
    kind = ForbiddenError if status == 403 else RequestError
    return RefusedError(status, kind(where="request", expected=expected, found=found, remedy=remedy))


def _forbidden(expected: str, found: str) -> ForbiddenError:
    return ForbiddenError(where="request", expected=expected, found=found, remedy=_ADDRESS)


def _too_large(most: int) -> RefusedError:
    return _refused(413, f"at most {most:,} bytes", "more")

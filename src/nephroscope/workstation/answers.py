"""What addresses answer: documents as JSON, refusals with their four parts, and the typed body of a request."""

from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from nephroscope.base.documents import as_plain, from_plain
from nephroscope.base.errors import NephroscopeError
from nephroscope.base.limits import parse_json

Kind = TypeVar("Kind")
BODY = "nephroscope.body"  # in the scope of a request: its body, whole, as the safety middleware read it
JSON = "application/json"


class RequestError(NephroscopeError):
    """A request is not what the address takes."""

    code = "request"


class NotFoundError(NephroscopeError):
    """There is nothing under this address or identifier."""

    code = "not-found"


class ForbiddenError(NephroscopeError):
    """The request may not have this."""

    code = "forbidden"


STATUS: dict[str, int] = {
    "request": 400,
    "not-found": 404,
    "forbidden": 403,
    "apart": 403,
    "stale": 409,
    "locked": 409,
}  # every other refusal: its own, or 422


def ok(document: object, status: int = 200) -> Response:
    """A dataclass, or plain values of dictionaries and lists, as JSON."""
    return Response(msgspec.json.encode(as_plain(document)), status, media_type=JSON)


def refusal(error: NephroscopeError, status: int | None = None) -> Response:
    """A refusal as ``{"error": {"code", "where", "expected", "found", "remedy", "message"}}``."""
    return ok(
        {"error": error.as_dict() | {"message": str(error)}},
        _status(error) if status is None else status,
    )


def _status(error: NephroscopeError) -> int:
    own: int = getattr(type(error), "status", 422)
    return STATUS.get(error.code, own)


def raw_body(request: Request) -> bytes:
    """The body of a request; its length was limited before."""
    body: bytes = request.scope.get(BODY, b"")
    return body


def body(request: Request, kind: type[Kind]) -> Kind:
    """The JSON body of a request as a dataclass.

    Raises:
        RequestError: It is no JSON, nests too deep, or a field is missing or holds something else.
    """
    try:
        content = parse_json(raw_body(request).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RequestError(
            where="request",
            expected="a JSON body",
            found="something else, or too many brackets",
            remedy="see docs/reference/workstation.md",
        ) from error
    return from_plain(content, kind, "request", "see docs/reference/workstation.md", RequestError)

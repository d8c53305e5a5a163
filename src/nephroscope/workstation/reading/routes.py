"""The addresses of the reader study: those of the organizer and those of a reader."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nephroscope.workstation.reading import organizer, reader

IMAGES = "/api/read/{id}/images/{code}"


def _images(name: str) -> Callable[[Request], Response]:
    """An answer of `images`, which is imported when it is first asked for."""

    def answer(request: Request) -> Response:
        from nephroscope.workstation.reading import images

        found: Callable[[Request], Response] = getattr(images, name)
        return found(request)

    return answer


ROUTES = [
    Route("/api/reading", organizer.list_studies, methods=["GET"]),
    Route("/api/reading", organizer.make_study, methods=["POST"]),
    Route("/api/reading/choices", organizer.choices, methods=["GET"]),
    Route("/api/reading/check", organizer.check, methods=["POST"]),
    Route("/api/reading/{id}", organizer.show_study, methods=["GET"]),
    Route("/api/reading/{id}", organizer.change_study, methods=["POST"]),
    Route("/api/reading/{id}/close", organizer.close, methods=["POST"]),
    Route("/api/reading/{id}/result", organizer.result, methods=["GET"]),
    Route("/api/reading/{id}/calls.csv", organizer.calls, methods=["GET"]),
    Route("/api/reading/{id}/calls", organizer.keep_calls, methods=["POST"]),
    Route("/api/read/{id}", reader.seat, methods=["GET"]),
    Route("/api/read/{id}/sign-in", reader.sign_in, methods=["POST"]),
    Route("/api/read/{id}/sign-out", reader.sign_out, methods=["POST"]),
    Route("/api/read/{id}/open", reader.open_case, methods=["POST"]),
    Route("/api/read/{id}/time", reader.keep_spent, methods=["POST"]),
    Route("/api/read/{id}/answer", reader.give_answer, methods=["POST"]),
    Route("/api/read/{id}/aid", reader.aid, methods=["GET"]),
    Route("/api/read/{id}/aid/picture", reader.aid_picture, methods=["GET"]),
    Route(f"{IMAGES}/series", _images("list_series"), methods=["GET"]),
    Route(f"{IMAGES}/outline", _images("outline"), methods=["GET"]),
    Route(f"{IMAGES}/{{series:int}}", _images("series_view"), methods=["GET"]),
    Route(f"{IMAGES}/{{series:int}}/slice/{{plane}}/{{index:int}}", _images("series_plane"), methods=["GET"]),
    Route(
        f"{IMAGES}/{{series:int}}/slices/axial/{{first:int}}-{{last:int}}",
        _images("series_slices"),
        methods=["GET"],
    ),
]

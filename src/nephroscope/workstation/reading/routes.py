"""The addresses of the reader study: those of the organizer and those of a reader."""

from starlette.routing import Route

from nephroscope.workstation.reading import organizer, reader

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
]

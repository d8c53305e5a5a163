"""What a reader's browser may ask for. It is signed in for one reader study, and opens nothing else.

No answer from here names a case of the study, a patient or a series, nor another reader; of the model only the aided
case that the reader has now.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from nephroscope.workstation.answers import body, ok
from nephroscope.workstation.place import Place
from nephroscope.workstation.reading.aid import AidedAnswer, picture_path, read_aid
from nephroscope.workstation.reading.order import Step
from nephroscope.workstation.reading.refusals import OtherCaseError, SignInError
from nephroscope.workstation.reading.session import (
    GivenAnswer,
    Work,
    answer_step,
    note_spent,
    open_step,
    ready_step,
    seat_of,
    work_of,
)
from nephroscope.workstation.reading.store import Spent, Who, bring_to_disk, reader_with


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """A reader's code as typed."""

    code: str


@dataclass(frozen=True, kw_only=True)
class OpenedCase:
    """The case that is being shown."""

    number: int


@dataclass(frozen=True, kw_only=True)
class Sitting:
    """The number of a sitting, and the time on the case before it."""

    sitting: int
    spent: Spent


@dataclass(frozen=True, kw_only=True)
class Beat:
    """The time of a sitting so far, in milliseconds."""

    number: int
    sitting: int
    spent: Spent


@dataclass(frozen=True, kw_only=True)
class ShownAid:
    """What the model says about the case that the reader has now; ``call`` None: not sure."""

    probabilities: dict[str, float]
    call: str | None
    positive: str
    picture: str


def _place(request: Request) -> Place:
    place: Place = request.app.state.place
    return place


def _who(request: Request) -> Who:
    """The reader who is signed in at this browser.

    Raises:
        SignInError: Nobody is.
    """
    signed_in = _place(request).reader_of(request.scope["nephroscope.session"])
    if signed_in is None or signed_in[0] != request.path_params["id"]:
        raise SignInError(
            where="reader study",
            expected="a reader who is signed in",
            found="nobody",
            remedy="type the code that the organizer gave you",
        )
    return Who(*signed_in)


@contextmanager
def working(request: Request) -> Iterator[tuple[sqlite3.Connection, Work]]:
    """The database, and the work of the reader who is signed in at this browser.

    Raises:
        SignInError: Nobody is.
    """
    place, who = _place(request), _who(request)
    with place.database() as db:
        yield db, work_of(db, place.state, who)


def sign_in(request: Request) -> Response:
    """Sign a reader in; from now on this browser opens nothing but this reader study."""
    place, study = _place(request), request.path_params["id"]
    session: str = request.scope["nephroscope.session"]
    code = body(request, SignIn).code
    with place.database() as db:
        reader = reader_with(db, study, code)
    known = place.reader_of(session)
    if reader is None or (known is not None and known != (study, reader)):
        raise SignInError(
            where="code",
            expected="the code that the organizer gave you",
            found="another one",
            remedy="type it again; capitals and hyphens do not matter",
        )
    if known is None:
        place.make_reader(session, study, reader)
    return seat(request)


def sign_out(request: Request) -> Response:
    """End the session: the browser is let in again with the first address only."""
    if _who(request):
        _place(request).close_session(request.scope["nephroscope.session"])
    return ok({"signed_out": True})


def seat(request: Request) -> Response:
    """What the reader has to do now."""
    with working(request) as (db, work):
        return ok(seat_of(db, work, time.time()))


def open_case(request: Request) -> Response:
    """The case is being shown: a sitting begins, and its time counts."""
    number = body(request, OpenedCase).number
    with working(request) as (db, work):
        sitting, before = open_step(db, work, number, time.time())
        return ok(Sitting(sitting=sitting, spent=before))


def keep_spent(request: Request) -> Response:
    """Keep the time so far."""
    beat = body(request, Beat)
    who = _who(request)
    with _place(request).database() as db:
        note_spent(db, who, beat.number, beat.sitting, beat.spent, time.time())
    bring_to_disk(_place(request).database_path)
    return ok({"kept": True})


def give_answer(request: Request) -> Response:
    """Keep an answer for good, and say what comes next."""
    given = body(request, GivenAnswer)
    with working(request) as (db, work):
        answer_step(db, work, given, time.time())
    return seat(request)


def _aided(work: Work) -> tuple[Step, AidedAnswer]:
    """The step and the model's answer, where the reader has an aided case now."""
    step, model = work.step, work.protocol.model
    if step is None or step.arm != "aided" or model is None:
        raise OtherCaseError(
            where="model",
            expected="an aided case",
            found="another one",
            remedy="answer this case without the model",
        )
    ready_step(work, step.number, time.time())
    found = {one.case_id: one for one in read_aid(work.folder, model).answers}
    return step, found[step.case_id]


def aid(request: Request) -> Response:
    """What the model says about the case that the reader has now."""
    with working(request) as (_, work):
        _, answer = _aided(work)
        return ok(
            ShownAid(
                probabilities=answer.probabilities,
                call=answer.call,
                positive=work.protocol.positive,
                picture=f"/api/read/{work.study.id}/aid/picture",
            )
        )


def aid_picture(request: Request) -> Response:
    """The slice with the largest cross-section, with its outline, as PNG."""
    with working(request) as (_, work):
        step, _ = _aided(work)
        assert work.protocol.model is not None  # noqa: S101
        path = picture_path(work.folder, read_aid(work.folder, work.protocol.model), step.case_id)
        return Response(path.read_bytes(), media_type="image/png")

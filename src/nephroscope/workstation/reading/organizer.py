"""What an organizer of reader studies asks for: make, list, close, and the result."""

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from nephroscope.workstation.answers import NotFoundError, body, ok
from nephroscope.workstation.place import Place
from nephroscope.workstation.reading.calls import FILE, calls_text, rows_of, save_calls
from nephroscope.workstation.reading.progress import ReaderProgress, progress_of
from nephroscope.workstation.reading.protocol import FOLDER, Plan, Protocol, read_protocol
from nephroscope.workstation.reading.refusals import LockedError, UnfinishedError
from nephroscope.workstation.reading.session import iso
from nephroscope.workstation.reading.store import KeptStudy, close_study, secrets_of, studies, study_of


@dataclass(frozen=True, kw_only=True)
class ListedStudy:
    """A reader study in the list; ``address`` is the page of its readers."""

    id: str
    title: str
    digest: str
    locked_at: str
    closed_at: str
    closed_why: str
    complete: bool
    address: str
    readers: tuple[ReaderProgress, ...]


@dataclass(frozen=True, kw_only=True)
class InvitedReader:
    """A reader with the code to sign in and what is answered."""

    reader: str
    code: str
    progress: ReaderProgress


@dataclass(frozen=True, kw_only=True)
class ShownStudy:
    """A reader study with its protocol, and the plan to begin a new one from."""

    study: ListedStudy
    protocol: Protocol
    plan: Plan
    invited: tuple[InvitedReader, ...]


@dataclass(frozen=True, kw_only=True)
class CheckedPlan:
    """What would be locked."""

    digest: str
    protocol: Protocol


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A case that can be chosen; ``subtype`` is empty unless it was asked for."""

    case_id: str
    patient_id: str
    phases: tuple[str, ...]
    test_set: str
    labeled: bool
    outlined: bool
    synthetic: bool
    subtype: str = ""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a protocol can be made of; bundles are those exported in the workstation, as folders below the study."""

    subtypes: tuple[str, ...]
    positive: str
    cases: tuple[Choice, ...]
    runs: tuple[str, ...]
    bundles: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Closing:
    """Why a study is closed before everybody is finished."""

    why: str


def _place(request: Request) -> Place:
    place: Place = request.app.state.place
    return place


def _study(db: sqlite3.Connection, request: Request) -> KeptStudy:
    found = study_of(db, request.path_params["id"])
    if found is None:
        raise NotFoundError(
            where="address",
            expected="the identifier of a reader study",
            found="another one",
            remedy="go back to the list of reader studies",
        )
    return found


def _folder(place: Place, study: KeptStudy) -> Path:
    return place.state / FOLDER / study.folder


def _listed(db: sqlite3.Connection, study: KeptStudy) -> ListedStudy:
    readers = tuple(progress_of(db, study.id))
    return ListedStudy(
        id=study.id,
        title=study.title,
        digest=study.digest,
        locked_at=iso(study.locked_at),
        closed_at=iso(study.closed_at) if study.closed_at else "",
        closed_why=study.closed_why,
        complete=all(reader.finished for reader in readers),
        address=f"/read/{study.id}",
        readers=readers,
    )


def list_studies(request: Request) -> Response:
    """``{"studies": [...]}``, the newest first."""
    with _place(request).database() as db:
        return ok({"studies": [_listed(db, study) for study in studies(db)]})


def choices(request: Request) -> Response:
    """Cases and runs to choose from; with ``?subtype=1`` each case says its subtype."""
    from nephroscope.questions.readers.with_models import test_sets
    from nephroscope.study.snapshot import take_snapshot
    from nephroscope.workstation.reading.make import outline_of

    place = _place(request)
    snapshot = take_snapshot(place.root)
    shown = request.query_params.get("subtype") == "1"
    cohort = snapshot.cohort
    runs = [path.name for path in snapshot.folder.runs() if (path / "run.json").exists()]
    test_set = test_sets(snapshot, ())
    cases = [
        Choice(
            case_id=case.case_id,
            patient_id=case.patient_id,
            phases=tuple(one.phase for one in case.series),
            test_set=test_set.get(case.case_id, case.cohort),
            labeled=case.subtype is not None,
            outlined=outline_of(case) is not None and not case.combined,
            synthetic=case.synthetic,
            subtype=(case.subtype or "") if shown else "",
        )
        for case in snapshot.cases_to_read
    ]
    exported = sorted((place.state / "bundles").glob("*/bundle.json"))
    bundles = [
        path.parent.relative_to(place.root).as_posix() for path in exported if path.is_relative_to(place.root)
    ]
    return ok(
        Choices(
            subtypes=cohort.subtypes,
            positive=cohort.positive,
            cases=tuple(cases),
            runs=tuple(runs),
            bundles=tuple(bundles),
        )
    )


def check(request: Request) -> Response:
    """The protocol that a plan would give, and its digest; nothing is kept."""
    from nephroscope.workstation.reading.make import check_against_study

    protocol = check_against_study(_place(request).root, body(request, Plan)).protocol
    return ok(CheckedPlan(digest=protocol.digest, protocol=protocol))


def make_study(request: Request) -> Response:
    """Lock a plan."""
    from nephroscope.workstation.reading.make import check_against_study, lock

    place = _place(request)
    checked = check_against_study(place.root, body(request, Plan))
    with place.database() as db:
        kept = lock(db, place.state, checked, time.time())
        return ok(_listed(db, kept), 201)


def show_study(request: Request) -> Response:
    """A study with its protocol and the codes of its readers."""
    from nephroscope.workstation.reading.make import plan_of

    place = _place(request)
    with place.database() as db:
        study = _study(db, request)
        protocol = read_protocol(_folder(place, study), study.digest)
        progress = {one.reader: one for one in progress_of(db, study.id)}
        invited = [
            InvitedReader(reader=reader, code=code, progress=progress[reader])
            for reader, code in secrets_of(db, study.id).items()
        ]
        return ok(
            ShownStudy(
                study=_listed(db, study), protocol=protocol, plan=plan_of(protocol), invited=tuple(invited)
            )
        )


def change_study(request: Request) -> Response:
    """Always refused: a locked protocol is not changed."""
    with _place(request).database() as db:
        study = _study(db, request)
    raise LockedError(
        where=f"protocol {study.digest[:12]}",
        expected="the protocol as it was locked before the first case",
        found="a change of it",
        remedy="make a new reader study; answers given under one protocol say nothing about another",
    )


def close(request: Request) -> Response:
    """Take no further answers."""
    why = body(request, Closing).why.strip()[:500]
    with _place(request).database() as db:
        study = _study(db, request)
        close_study(db, study.id, why or "no reason given", time.time())
        return ok(_listed(db, _study(db, request)))


def _finished(db: sqlite3.Connection, study: KeptStudy) -> ListedStudy:
    """The study, when its readers are finished or it was closed.

    Raises:
        UnfinishedError: Readers have cases left.
    """
    listed = _listed(db, study)
    left = [one for one in listed.readers if not one.finished]
    if left and study.closed_at is None:
        raise UnfinishedError(
            where="reader study",
            expected="every reader to be finished: nobody looks at results while others still read",
            found=", ".join(f"{one.reader} {one.answered} of {one.of}" for one in left),
            remedy="wait, or close the study for good, with the reason",
        )
    if not any(one.answered for one in listed.readers):
        raise UnfinishedError(
            where="reader study",
            expected="an answer",
            found="none: it was closed before the first one",
            remedy="make a new reader study",
        )
    return listed


def result(request: Request) -> Response:
    """The whole result."""
    from nephroscope.study.snapshot import take_snapshot
    from nephroscope.workstation.reading.aid import read_aid
    from nephroscope.workstation.reading.result import compute_result

    place = _place(request)
    with place.database() as db:
        study = _study(db, request)
        listed = _finished(db, study)
        folder = _folder(place, study)
        protocol = read_protocol(folder, study.digest)
        rows = list(rows_of(db, study.id, protocol))
    aid = read_aid(folder, protocol.model) if protocol.model else None
    snapshot = take_snapshot(place.root)
    return ok(compute_result(snapshot, protocol, rows, aid, listed.complete, listed.closed_why))


def calls(request: Request) -> Response:
    """The table that `nephroscope readers` takes, as a file to save."""
    place = _place(request)
    with place.database() as db:
        study = _study(db, request)
        _finished(db, study)
        protocol = read_protocol(_folder(place, study), study.digest)
        text = calls_text(list(rows_of(db, study.id, protocol)), protocol.scale)
    headers = {"content-disposition": f'attachment; filename="{FILE}"'}
    return Response(text, media_type="text/csv", headers=headers)


def keep_calls(request: Request) -> Response:
    """Write the table into the study: ``{"file": ...}``, below the study's folder."""
    place = _place(request)
    with place.database() as db:
        study = _study(db, request)
        _finished(db, study)
        folder = _folder(place, study)
        protocol = read_protocol(folder, study.digest)
        rows = list(rows_of(db, study.id, protocol))
    with place.writing("reader study"):
        save_calls(folder / FILE, rows, protocol.scale)
    return ok({"file": (folder / FILE).relative_to(place.root).as_posix()})

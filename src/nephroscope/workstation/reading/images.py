"""The CT of the case that a reader has now: no name of it or its series, no place in the scanner, no doubts."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from nephroscope.base.errors import NephroscopeError
from nephroscope.imaging.read import read_case_roi
from nephroscope.records import ChosenCase
from nephroscope.workstation.answers import ok
from nephroscope.workstation.drawing.operations import runs_of
from nephroscope.workstation.images.routes import plane_answer, slices_answer, view_of, volumes_of
from nephroscope.workstation.images.volumes import on_series
from nephroscope.workstation.place import Place
from nephroscope.workstation.reading.make import check_shown, is_shown, outline_of
from nephroscope.workstation.reading.reader import working
from nephroscope.workstation.reading.refusals import OtherCaseError, ReadingError
from nephroscope.workstation.reading.session import Work, ready_step

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BlindSeries:
    """A series of the case, by its number."""

    id: str
    address: str
    name: str
    phase: str
    source: str
    ready: bool


def _case(request: Request) -> tuple[Place, ChosenCase]:
    """The case of the code in the address, which must be the one that the reader has now."""
    place: Place = request.app.state.place
    with working(request) as (_, work):
        step = work.step
        if step is None or step.code != request.path_params["code"]:
            raise OtherCaseError(
                where="images",
                expected="those of the case that you have now",
                found="others",
                remedy="load the page again",
            )
        ready_step(work, step.number, time.time())
    case = _as_locked(place, step.case_id, work)
    _check_once(case, work)
    return place, case


def _as_locked(place: Place, case_id: str, work: Work) -> ChosenCase:
    """The case as the study uses it; where annotators were decided on since the lock, as its rule alone says."""
    case = place.case(case_id)
    used, by_rule = place.used(case), case.chosen(place.cohort().rule)
    differ = work.protocol.outline and outline_of(used) != outline_of(by_rule)
    return by_rule if differ and is_shown(by_rule, work.protocol) else used


_checked: dict[tuple[str, str], object] = {}  # by study and case: as what it was found to be what was locked


def _check_once(case: ChosenCase, work: Work) -> None:
    """`check_shown`, but not again for each slice of a case whose ROI file and rows are as they were."""
    roi = outline_of(case) if work.protocol.outline else None
    about = roi.path.stat() if roi and roi.path.is_file() else None
    seen = (case.series, roi, about and (about.st_size, about.st_mtime_ns))
    key = (work.study.id, case.case_id)
    if _checked.get(key) != seen:
        check_shown(case, work.protocol)
        _checked[key] = seen


def blind(answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """An answer whose refusals do not name the case or its files."""

    def answering(request: Request) -> Response:
        try:
            return answer(request)
        except ReadingError:
            raise
        except NephroscopeError as error:
            logger.error("images of a reader study cannot be shown: %s", error.code)
            raise ReadingError(
                where="images",
                expected="the images of this case",
                found="that they cannot be shown",
                remedy="tell the organizer, who sees the reason in the list of patients",
            ) from None

    return answering


def _series(request: Request) -> tuple[Place, ChosenCase, ChosenCase]:
    """The place, the series of the number in the address, and the case as it is chosen."""
    place, case = _case(request)
    number = request.path_params["series"]
    if not 0 <= number < len(case.series):
        raise OtherCaseError(
            where="images",
            expected="a series of this case",
            found="another one",
            remedy="load the page again",
        )
    return place, on_series(case, case.series[number].name), case


def _list_series(request: Request) -> Response:
    place, case = _case(request)
    code, study = request.path_params["code"], request.path_params["id"]
    names = [one.name for one in case.series]
    listed = [
        BlindSeries(
            id=str(number),
            address=f"/api/read/{study}/images/{code}/{number}",
            name=str(number),
            phase=one.phase,
            source=one.source,
            ready=view_of(place, on_series(case, one.name)).ready,
        )
        for number, one in enumerate(case.series)
    ]
    return ok({"case_id": code, "first": str(names.index(case.ct.name)), "series": listed})


def _view(request: Request) -> Response:
    """The grid, with the corner of the chosen series as the origin."""
    place, chosen, case = _series(request)
    view, base = view_of(place, chosen), view_of(place, on_series(case, case.ct.name))
    affine = [
        [*row[:3], row[3] - base.affine[at][3]] if at < 3 else row for at, row in enumerate(view.affine)
    ]
    return ok(replace(view, affine=affine, findings=[]))


def _plane(request: Request) -> Response:
    place, chosen, _ = _series(request)
    return plane_answer(place, chosen, request.path_params)


def _slices(request: Request) -> Response:
    place, chosen, _ = _series(request)
    return slices_answer(place, chosen, request.path_params)


def _outline(request: Request) -> Response:
    """``{"slices": [{"index", "runs"}]}`` on the chosen series; none where the protocol shows no outline."""
    place, case = _case(request)
    with working(request) as (_, work):
        shown = work.protocol.outline
    roi = outline_of(case) if shown else None
    if roi is None:
        return ok({"slices": []})
    mask = read_case_roi(case, roi, volumes_of(place).volume(on_series(case, case.ct.name))).voxels
    drawn = np.flatnonzero(mask.any(axis=(1, 2))).tolist()
    return ok({"slices": [{"index": index, "runs": runs_of(mask[index])} for index in drawn]})


list_series, series_view, series_plane, series_slices, outline = map(
    blind, (_list_series, _view, _plane, _slices, _outline)
)

"""The addresses of drawing: who draws, ROIs of a case, strokes, operations, signing, comparison."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nephroscope.workstation.answers import body, ok
from nephroscope.workstation.drawing.apart import ConsensusAsked, compare_two, make_consensus
from nephroscope.workstation.drawing.draw import Operation, Stroke, keep_stroke, operate
from nephroscope.workstation.drawing.people import choose_reader, name_of
from nephroscope.workstation.drawing.rois import Rois
from nephroscope.workstation.drawing.sign import NIFTI, SEG, file_content, finish_signing, sign
from nephroscope.workstation.images.routes import series_of

KINDS = {SEG: "application/dicom", NIFTI: "application/gzip"}


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Who draws in this session: reader-1, reader-2 ..., or nobody (empty), and a name to show."""

    author: str
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Begin:
    """On which series to draw; ``new_version`` makes the next version of a signed ROI."""

    series: str
    new_version: bool = False


@dataclass(frozen=True, kw_only=True)
class Signing:
    """The revision that the reader saw."""

    revision: int


def _rois(request: Request) -> Rois:
    return Rois(request.app.state.place, request.scope["nephroscope.session"])


def get_reader(request: Request) -> Response:
    """``{"author", "name"}`` of this session."""
    rois = _rois(request)
    with rois.place.database() as db:
        me = rois.me(db)
        return ok(Reader(author=me, name=name_of(db, me)))


def set_reader(request: Request) -> Response:
    """Say who draws in this session."""
    rois, asked = _rois(request), body(request, Reader)
    with rois.place.changing() as db:
        choose_reader(db, rois.session, asked.author, asked.name.strip())
    return get_reader(request)


def list_rois(request: Request) -> Response:
    """``{"rois": [...]}`` of a case."""
    rois = _rois(request)
    case_id = rois.place.key_of("case", request.path_params["id"])[0]
    finish_signing(rois.place, case_id)
    return ok({"rois": rois.listed(case_id)})


def begin(request: Request) -> Response:
    """The reader's own ROI on a series, made where there is none."""
    rois, asked = _rois(request), body(request, Begin)
    rois.place.key_of("case", request.path_params["id"])
    return ok(rois.begin(series_of(rois.place, asked.series), asked.new_version))


def get_roi(request: Request) -> Response:
    """One ROI, without its mask."""
    rois = _rois(request)
    with rois.place.database() as db:
        rois.visible(db, request.path_params["id"])
        return ok(rois.view(db, request.path_params["id"]))


def get_slices(request: Request) -> Response:
    """``{"shape", "revision", "slices": [...]}``: the mask as runs."""
    rois = _rois(request)
    with rois.place.database() as db:
        entry = rois.visible(db, request.path_params["id"])
    found = rois.slices(entry)
    revision = entry.document.revision if entry.document else 0
    return ok({"revision": revision, "slices": list(found.values())})


def stroke(request: Request) -> Response:
    """Keep a stroke; it is on the disk before this answers."""
    return ok(keep_stroke(_rois(request), request.path_params["id"], body(request, Stroke)))


def operation(request: Request) -> Response:
    """Let the program draw, or undo and redo."""
    return ok(operate(_rois(request), request.path_params["id"], body(request, Operation)))


def sign_roi(request: Request) -> Response:
    """Sign and lock the reader's own ROI."""
    return ok(sign(_rois(request), request.path_params["id"], body(request, Signing).revision))


def _file(request: Request, ending: str) -> Response:
    rois = _rois(request)
    with rois.place.database() as db:
        entry = rois.visible(db, request.path_params["id"])
    if entry.document is None:
        assert entry.imported is not None  # noqa: S101
        from nephroscope.workstation.answers import NotFoundError

        raise NotFoundError(
            where=f"ROI of {entry.author}",
            expected="an ROI that was drawn here",
            found="an imported file",
            remedy="use the file itself",
        )
    content = file_content(rois.place, entry.case, entry.document, ending)
    name = f"roi-{entry.author}-v{entry.document.version}{ending}"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=KINDS[ending], headers=headers)


def seg_file(request: Request) -> Response:
    """The ROI as DICOM SEG."""
    return _file(request, SEG)


def nifti_file(request: Request) -> Response:
    """The ROI as NIfTI label map."""
    return _file(request, NIFTI)


def comparison(request: Request) -> Response:
    """Two signed ROIs compared."""
    return ok(compare_two(_rois(request), request.path_params["one"], request.path_params["two"]))


def consensus(request: Request) -> Response:
    """One ROI from two signed ones."""
    one, two = request.path_params["one"], request.path_params["two"]
    return ok(make_consensus(_rois(request), one, two, body(request, ConsensusAsked)))


ROUTES = [
    Route("/api/reader", get_reader, methods=["GET"]),
    Route("/api/reader", set_reader, methods=["POST"]),
    Route("/api/cases/{id}/rois", list_rois, methods=["GET"]),
    Route("/api/cases/{id}/rois", begin, methods=["POST"]),
    Route("/api/rois/{id}", get_roi, methods=["GET"]),
    Route("/api/rois/{id}/slices", get_slices, methods=["GET"]),
    Route("/api/rois/{id}/strokes", stroke, methods=["POST"]),
    Route("/api/rois/{id}/operations", operation, methods=["POST"]),
    Route("/api/rois/{id}/sign", sign_roi, methods=["POST"]),
    Route("/api/rois/{id}/seg", seg_file, methods=["GET"]),
    Route("/api/rois/{id}/nifti", nifti_file, methods=["GET"]),
    Route("/api/rois/{one}/comparison/{two}", comparison, methods=["GET"]),
    Route("/api/rois/{one}/consensus/{two}", consensus, methods=["POST"]),
]

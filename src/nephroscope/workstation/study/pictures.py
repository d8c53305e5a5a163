"""Pictures of one slice: the CT with the outline of an ROI, drawn here, so that every browser shows the same."""

import io
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from nephroscope.workstation.answers import RequestError
from nephroscope.workstation.drawing.rois import Rois
from nephroscope.workstation.place import Place
from nephroscope.workstation.study.asked import chosen

if TYPE_CHECKING:
    from nephroscope.records import Case, ChosenCase, CTVolume, RoiMask

KEPT = 2  # cases in memory
SIZE_PX = 640
_read: "OrderedDict[tuple[object, ...], tuple[CTVolume, RoiMask]]" = OrderedDict()
_lock = threading.Lock()


def case_of(request: Request) -> "Case":
    """The case that an address names.

    Raises:
        NotFoundError: The identifier was never given out.
    """
    place: Place = request.app.state.place
    return place.case(place.key_of("case", request.path_params["id"])[0])


def picture(request: Request) -> Response:
    """A slice as PNG: ``?slice=INDEX`` from the feet, by default the largest cross-section; ``?author=``."""
    from nephroscope.imaging.picture import draw_slice

    place: Place = request.app.state.place
    case = chosen(place, case_of(request), request.query_params.get("author", ""))
    Rois(place, request.scope["nephroscope.session"]).check_used(case)
    volume, roi = read(case)
    text = request.query_params.get("slice", "")
    if text and not (text.isdecimal() and len(text) < 6 and int(text) < volume.geometry.shape[0]):
        raise RequestError(
            where="slice",
            expected="an index from 0",
            found="another",
            remedy="see docs/reference/workstation.md",
        )
    drawn = bool(roi.voxels.any()) and not roi.voxels.all()
    index = int(text) if text else None if drawn else volume.geometry.shape[0] // 2
    image = draw_slice(volume, roi, index, size_px=SIZE_PX, outline=drawn).image
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return Response(buffer.getvalue(), media_type="image/png")


def read(case: "ChosenCase") -> "tuple[CTVolume, RoiMask]":
    """CT and ROI of a case as its rule says, the last ones kept; without an ROI the whole CT is the region."""
    from nephroscope.clinic.predict import whole_image
    from nephroscope.imaging.read import UndrawnError, read_case_ct
    from nephroscope.regions.consensus import ExcludedError, read_consensus_case

    rois = filter(None, map(case.roi_by, case.authors()))
    key = (case.case_id, case.ct.name, case.rule.roi, *map(_stamp, (case.image, *(roi.path for roi in rois))))
    with _lock:
        if key in _read:
            _read.move_to_end(key)
            return _read[key]
    try:
        found = read_consensus_case(case, case.rule.roi)
    except (UndrawnError, ExcludedError):
        volume = read_case_ct(case)
        found = (volume, whole_image(volume, case.case_id))
    with _lock:
        _read[key] = found
        while len(_read) > KEPT:
            _read.popitem(last=False)
    return found


def _stamp(path: Path) -> object:
    try:
        about = path.stat()
    except OSError:
        return str(path)
    return str(path), about.st_mtime_ns, about.st_size

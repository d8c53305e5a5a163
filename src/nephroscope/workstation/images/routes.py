"""The addresses of the CT: series of a case, their grids, slices in HU, thumbnails."""

import io
import threading
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nephroscope.base.files import replacing
from nephroscope.records import Case, ChoiceRule, ChosenCase
from nephroscope.workstation.answers import NotFoundError, ok
from nephroscope.workstation.images.planes import PLANES, Letters, Plane, letters_of
from nephroscope.workstation.images.volumes import Hu, VolumeFacts, Volumes, on_series, series_key
from nephroscope.workstation.place import Place

THUMBNAIL_PX = 144
LEVEL_HU, WIDTH_HU = 40.0, 400.0


@dataclass(frozen=True, kw_only=True)
class ListedSeries:
    """A series in the list of a case; everything about it is below ``address``."""

    id: str
    address: str
    name: str
    phase: str
    source: str
    ready: bool


@dataclass(frozen=True, kw_only=True)
class SeriesView:
    """The grid of a series.

    Attributes:
        shape: Slices from feet to head, rows from front to back, columns from right to left.
        spacing_mm: Between slices, rows and columns.
        affine: 4x4 from (slice, row, column) to LPS mm.
        letters: At the edges of each plane; empty where the orientation is not known.
        ready: True when the whole volume has been read, and any slice comes at once.
        findings: Doubts about the series, once it is read.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: list[list[float]]
    letters: dict[Plane, Letters]
    ready: bool
    findings: list[dict[str, str]]


@cache
def _volumes(folder: Path) -> Volumes:
    return Volumes(folder)


def volumes_of(place: Place) -> Volumes:
    """The cache of CT volumes of a place."""
    return _volumes(place.state / "cache")


def series_of(place: Place, id_: str) -> ChosenCase:
    """The case that a series identifier names, with that series chosen."""
    case_id, name = place.key_of("series", id_)
    return on_series(place.case(case_id), name)


def list_series(request: Request) -> Response:
    """``{"case_id", "first", "series": [...]}``; ``first`` is the series that the study's preference shows."""
    place: Place = request.app.state.place
    case = place.case(place.key_of("case", request.path_params["id"])[0])
    return ok(
        {"case_id": case.case_id, "first": case.chosen(_rule(place)).ct.name, "series": listed(place, case)}
    )


def _rule(place: Place) -> ChoiceRule:
    return place.cohort().rule if place.mode != "empty" else ChoiceRule()


def listed(place: Place, case: Case) -> list[ListedSeries]:
    """The series of a case with their addresses."""
    cache_of, found = volumes_of(place), []
    for one in case.series:
        id_ = place.id_of("series", case.case_id, one.name)
        found.append(
            ListedSeries(
                id=id_,
                address=f"/api/series/{id_}",
                name=one.name,
                phase=one.phase,
                source=one.source,
                ready=cache_of.is_ready(on_series(case, one.name)),
            )
        )
    return found


def view_of(place: Place, case: ChosenCase) -> SeriesView:
    """The grid of the chosen series."""
    cache_of = volumes_of(place)
    facts = cache_of.facts(case)
    view = _view(facts, cache_of.is_ready(case))
    if case.format == "images":  # which do not say where right and left are
        return replace(view, letters={plane: Letters() for plane in PLANES})
    return view


def _view(facts: VolumeFacts, ready: bool) -> SeriesView:
    geometry = facts.geometry
    found = [{"code": one.code, "severity": one.severity, "message": one.message} for one in facts.findings]
    return SeriesView(
        shape=geometry.shape,
        spacing_mm=geometry.spacing_mm,
        affine=geometry.affine.tolist(),
        letters=letters_of(geometry, facts.findings),
        ready=ready,
        findings=found,
    )


def raw_answer(hu: Hu) -> Response:
    """HU as little-endian int16; the header X-Shape says slices, rows and columns (without slices for one plane)."""
    shape = ",".join(map(str, hu.shape))
    content = np.ascontiguousarray(hu, "<i2").tobytes()
    return Response(content, media_type="application/octet-stream", headers={"x-shape": shape})


def plane_answer(place: Place, case: ChosenCase, params: dict[str, object]) -> Response:
    """One plane of a series, from the parts ``plane`` and ``index`` of an address."""
    plane = next((one for one in PLANES if one == params["plane"]), None)
    if plane is None:
        raise NotFoundError(
            where="address",
            expected=" or ".join(PLANES),
            found="another plane",
            remedy="see docs/reference/workstation.md",
        )
    return raw_answer(volumes_of(place).plane(case, plane, int(str(params["index"]))))


def slices_answer(place: Place, case: ChosenCase, params: dict[str, object]) -> Response:
    """Axial slices of a series, from the parts ``first`` and ``last`` of an address."""
    found = volumes_of(place).slices(case, int(str(params["first"])), int(str(params["last"])))
    return raw_answer(found)


def series_view(request: Request) -> Response:
    """The grid of a series."""
    place: Place = request.app.state.place
    return ok(view_of(place, series_of(place, request.path_params["id"])))


def series_plane(request: Request) -> Response:
    """One plane as it is looked at."""
    place: Place = request.app.state.place
    return plane_answer(place, series_of(place, request.path_params["id"]), request.path_params)


def series_slices(request: Request) -> Response:
    """Several axial slices."""
    place: Place = request.app.state.place
    return slices_answer(place, series_of(place, request.path_params["id"]), request.path_params)


def thumbnail(request: Request) -> Response:
    """A small picture of the middle slice of the series that the study prefers, as JPEG; without any outline."""
    place: Place = request.app.state.place
    case = place.case(place.key_of("case", request.path_params["id"])[0])
    chosen = on_series(case, case.chosen(_rule(place)).ct.name)
    path = place.state / "cache" / f"{series_key(chosen)}.jpg"
    if not path.exists():
        with _one_thumbnail:
            cache_of = volumes_of(place)
            shape = cache_of.facts(chosen).shape
            content = _picture(cache_of.plane_now(chosen, shape[0] // 2), cache_of.facts(chosen))
            with replacing(path) as temporary:
                temporary.write_bytes(content)
    return Response(path.read_bytes(), media_type="image/jpeg")


_one_thumbnail = threading.Lock()


def _picture(hu: Hu, facts: VolumeFacts) -> bytes:
    from PIL import Image

    _, row_mm, column_mm = facts.geometry.spacing_mm
    gray = np.clip((hu.astype(np.float32) - LEVEL_HU) / WIDTH_HU + 0.5, 0, 1) * 255
    height, width = hu.shape[0] * row_mm, hu.shape[1] * column_mm
    scale = THUMBNAIL_PX / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    file = io.BytesIO()
    Image.fromarray(gray.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR).save(
        file, "JPEG", quality=80
    )
    return file.getvalue()


ROUTES = [
    Route("/api/cases/{id}/series", list_series, methods=["GET"]),
    Route("/api/cases/{id}/thumbnail", thumbnail, methods=["GET"]),
    Route("/api/series/{id}", series_view, methods=["GET"]),
    Route("/api/series/{id}/slice/{plane}/{index:int}", series_plane, methods=["GET"]),
    Route("/api/series/{id}/slices/axial/{first:int}-{last:int}", series_slices, methods=["GET"]),
]

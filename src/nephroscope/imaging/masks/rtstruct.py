"""Read a DICOM RTSTRUCT as tumor voxels on the CT's grid: a voxel is tumor if its centre lies within a contour.

Contours on one plane are combined by exclusive or, so that a contour within a contour is a hole; a keyhole, with a
bridge that runs there and back, needs no other rule. A contour stored twice counts once. A centre exactly on a
contour counts on one side only (towards lower rows and columns), so that areas are kept and regions with a common
contour have no common voxel. What a file counts or says twice (points, series, frames of reference) is compared.
"""

import re
from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.text import counted_noun, first_few
from nephroscope.imaging.files import DamageError
from nephroscope.imaging.masks.seg import check_frame, check_series
from nephroscope.imaging.masks.segments import Segment, TumorQuery, check_choice, choose_segment, listed
from nephroscope.records import CTVolume, Finding, VolumeGeometry
from nephroscope.records.volumes import GRID_TOLERANCE_MM

Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]
CLOSED = {"CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR"}
TYPES = ("GTV", "PTV", "EXTERNAL")  # interpreted types that distinguish the tumor from other ROIs
PLANE_TOLERANCE_MM = 0.2  # distance of points from the plane of their contour, as they are written rounded
MOST_OVERLAP = 0.1  # share of the smaller of two contours that a hole may reach out, or neighbours overlap
MOST_COMPARED = 12  # contours of a slice that are checked for crossing
FARTHEST_MM = 1e6  # largest coordinate of a point
MOST_EDGES = 10_000  # handled together, which limits memory
DECIMALS = re.compile(rb"[-+0-9.eE \\\0]*")  # of a DS (PS3.5 6.2), with its separators
TIE = 6  # decimals of an index


def read_rtstruct(rtstruct: Any, volume: CTVolume, query: TumorQuery) -> tuple[Mask, list[Finding]]:
    """Tumor voxels (S, R, C) of an RTSTRUCT on the grid of ``volume``, with findings about its contours.

    Raises:
        RoiError: The RTSTRUCT belongs to another series, does not say which ROI is the tumor, or its contours are
            oblique, open or outside the CT. What pydicom raises for damage is not caught here.
    """
    findings = check_series(series_uids(rtstruct), image_uids(rtstruct), volume, query)
    segments = rtstruct_segments(rtstruct)
    roi = choose_segment(segments, query)
    findings += check_frame(_frame_uid(rtstruct, roi), volume, query)
    findings += check_choice(segments, roi, query)
    contours, n_open = _contours(rtstruct, roi, volume.geometry, query)
    if n_open:
        text = f"{n_open} points and open contours of {roi.name!r} do not enclose anything and were left out"
        findings.append(query.finding("roi-open-contours", text))
    axis = _plane_axis(contours, volume.geometry, query)
    planes = _planes(contours, axis, volume.geometry.spacing_mm[axis])
    n_copies = len(contours) - sum(map(len, planes.values()))
    if n_copies:
        text = f"{n_copies} contours of {roi.name!r} are stored more than once and were counted once"
        findings.append(query.finding("roi-repeated-contours", text))
    slices, more = _on_slices(planes, axis, volume.geometry, query)
    voxels, n_cut, n_crossed, n_looped = _filled(planes, slices, axis, volume.geometry)
    if not voxels.any():
        raise query.refusal(
            expected=f"contours of ROI {listed([roi])} that enclose voxels of the CT",
            found="contours outside it" if n_cut else "contours that do not contain the center of any voxel",
            remedy="give the ROI that was drawn on this series",
        )
    if n_cut:
        text = f"contours that extend beyond the edge of the CT, and were cut there: {n_cut}"
        more.append(query.finding("roi-outside", text))
    if n_crossed:
        text = f"contours cross each other on {counted_noun(n_crossed, 'slice')}; what lies in both is a hole"
        more.append(query.finding("roi-crossing-contours", text))
    if n_looped:
        text = f"contours that cross themselves, as in an 8: {n_looped}; what they enclose is not certain"
        more.append(query.finding("roi-crossing-contours", text))
    return voxels, findings + more


def rtstruct_segments(rtstruct: Any) -> list[Segment]:
    """The ROIs of an RTSTRUCT, with codes and types where it has them."""
    kinds: dict[int, list[Any]] = {}
    types: dict[int, str] = {}
    for item in rtstruct.get("RTROIObservationsSequence") or []:
        number = int(item.ReferencedROINumber)
        kinds.setdefault(number, []).extend(item.get("RTROIIdentificationCodeSequence") or [])
        types[number] = str(item.get("RTROIInterpretedType") or "")
    return [
        Segment(
            number=int(item.ROINumber),
            name=str(item.get("ROIName") or ""),
            meanings=(
                *(str(kind.get("CodeMeaning", "")) for kind in kinds.get(int(item.ROINumber), [])),
                *(kind for kind in TYPES if types.get(int(item.ROINumber)) == kind),
            ),
            codes=frozenset(str(kind.get("CodeValue", "")) for kind in kinds.get(int(item.ROINumber), [])),
        )
        for item in rtstruct.StructureSetROISequence
    ]


def windings(polygon: Points, shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """How often a closed polygon goes around the centre of each pixel; below 0 the other way round.

    Args:
        polygon: (N, 2) of (row, column) in pixels, where centres are whole numbers; it is cut at ``shape``.
        shape: (R, C).
    """
    n_rows, n_cols = shape
    turns = np.zeros((n_rows, n_cols + 1), dtype=np.int64)
    points = np.round(polygon, TIE)
    starts, ends = points, np.roll(points, -1, axis=0)
    for begin in range(0, len(points), MOST_EDGES):
        one, two = starts[begin : begin + MOST_EDGES], ends[begin : begin + MOST_EDGES]
        downwards = one[:, :1] <= two[:, :1]
        upper, lower = np.where(downwards, (one, two), (two, one))
        first = np.clip(np.ceil(upper[:, 0]), 0, n_rows).astype(np.intp)
        last = np.clip(np.ceil(lower[:, 0]), 0, n_rows).astype(
            np.intp
        )  # the row of a lower end is not crossed
        n_crossed = last - first
        edge = np.repeat(np.arange(len(first)), n_crossed)
        row = np.arange(edge.size) - np.repeat(np.cumsum(n_crossed) - n_crossed, n_crossed) + first[edge]
        (r0, c0), (r1, c1) = upper[edge].T, lower[edge].T
        column = np.ceil(np.round(c0 + (row - r0) * (c1 - c0) / (r1 - r0), TIE))
        turn = np.where(downwards[edge, 0], 1, -1)
        np.add.at(turns, (row, np.clip(column, 0, n_cols).astype(np.intp)), turn)
    around: npt.NDArray[np.int64] = np.cumsum(turns, axis=1)[:, :n_cols]
    return around


def series_uids(rtstruct: Any) -> list[str]:
    """The series on which an RTSTRUCT was drawn, where it names them."""
    return [
        str(series.SeriesInstanceUID)
        for frame in rtstruct.get("ReferencedFrameOfReferenceSequence") or []
        for study in frame.get("RTReferencedStudySequence") or []
        for series in study.get("RTReferencedSeriesSequence") or []
        if series.get("SeriesInstanceUID")
    ]


def image_uids(rtstruct: Any) -> set[str]:
    """The images on which contours were drawn, where they name them."""
    images = [
        image
        for roi in rtstruct.get("ROIContourSequence") or []
        for contour in roi.get("ContourSequence") or []
        for image in contour.get("ContourImageSequence") or []
    ]
    return {str(image.get("ReferencedSOPInstanceUID") or "") for image in images} - {""}


def _frame_uid(rtstruct: Any, roi: Segment) -> str:
    """The frame of reference of an ROI, or the only one that the file names; empty where it names none."""
    own = {
        str(item.get("ReferencedFrameOfReferenceUID") or "")
        for item in rtstruct.StructureSetROISequence
        if int(item.ROINumber) == roi.number
    }
    named = [
        frame.get("FrameOfReferenceUID") for frame in rtstruct.get("ReferencedFrameOfReferenceSequence") or []
    ]
    return next(iter(own - {""}), str(named[0] or "") if len(named) == 1 else "")


def _contours(
    rtstruct: Any, roi: Segment, geometry: VolumeGeometry, query: TumorQuery
) -> tuple[list[Points], int]:
    """Closed contours of an ROI as (N, 3) voxel indices, and the number of other contours."""
    to_index = np.linalg.inv(geometry.affine)
    contours, n_open = [], 0
    known = {int(item.ROINumber) for item in rtstruct.StructureSetROISequence}
    for item in rtstruct.get("ROIContourSequence") or []:
        if int(item.ReferencedROINumber) not in known:
            raise DamageError(f"contours of ROI {item.ReferencedROINumber}, which is not described")
        if int(item.ReferencedROINumber) != roi.number:
            continue
        for contour in item.get("ContourSequence") or []:
            values = _coordinates(contour)
            if (
                values.size % 3
                or not np.isfinite(values).all()
                or np.abs(values).max(initial=0) > FARTHEST_MM
            ):
                raise query.refusal(
                    expected=f"contours of ROI {listed([roi])} with three finite coordinates for every point",
                    found="a contour with invalid points",
                    remedy="delete or redraw that contour, and export the ROI again",
                )
            points = values.reshape(-1, 3)
            told = contour.get("NumberOfContourPoints")
            if told is not None and int(told) != len(points):
                raise query.refusal(
                    expected=f"contours of ROI {listed([roi])} with as many points as they say",
                    found=f"one of {len(points)} points that says {int(told)}",
                    remedy="copy the file again; if that does not help, redraw that contour and export the ROI again",
                )
            if contour.ContourGeometricType not in CLOSED or len(points) < 3:
                n_open += 1
            else:
                contours.append(points @ to_index[:3, :3].T + to_index[:3, 3])
    if not contours:
        raise query.refusal(
            expected=f"closed contours of ROI {listed([roi])}",
            found=f"{n_open} points and open contours" if n_open else "no contour",
            remedy="give the RTSTRUCT in which the tumor was outlined, or another ROI",
        )
    return contours, n_open


def _coordinates(contour: Any) -> Points:
    """The coordinates of a contour, from the text as stored, whatever its VR is (UN above 64 KB, PS3.5 6.2.2).

    Raises:
        DamageError: It holds something else than decimal numbers.
    """
    element = contour.get_item("ContourData")
    stored = element.value if element is not None else None
    if not isinstance(stored, bytes):
        return np.array(stored if stored is not None else (), float).ravel()
    if not DECIMALS.fullmatch(stored):
        raise DamageError("coordinates that are no decimal numbers")
    text = stored.strip(b" \0")
    return np.array(text.split(b"\\") if text else (), float)


def _plane_axis(contours: list[Points], geometry: VolumeGeometry, query: TumorQuery) -> int:
    """The axis of the CT at right angles to all contours: as a rule 0, the slices."""
    heights_mm = np.array([np.ptp(points, axis=0) for points in contours]) * geometry.spacing_mm
    axis = int(heights_mm.max(axis=0).argmin())
    if heights_mm[:, axis].max() > PLANE_TOLERANCE_MM:
        worst = int(heights_mm[:, axis].argmax())
        raise query.refusal(
            expected="contours in the planes of the CT",
            found=f"an oblique one at {_place(contours[worst], geometry)} that spans "
            f"{heights_mm[worst, axis]:.1f} mm",
            remedy="export the ROI as DICOM SEG or label map on this series",
        )
    return axis


def _filled(
    planes: dict[float, list[Points]], slices: dict[int, float], axis: int, geometry: VolumeGeometry
) -> tuple[Mask, int, int, int]:
    """Voxels (S, R, C) within the contours.

    And the number of contours cut at the edge, of slices where some cross, and of contours that cross themselves.
    """
    voxels = np.zeros(geometry.shape, dtype=np.bool_)
    turned = np.moveaxis(voxels, axis, 0)
    n_cut = n_crossed = n_looped = 0
    for index, place in slices.items():
        areas: list[Mask] = []
        for polygon in planes[place]:
            around = windings(polygon, turned.shape[1:])
            n_looped += _crosses_itself(polygon, around)
            area = around % 2 == 1
            turned[index] ^= area
            areas += [area] if len(areas) < MOST_COMPARED else []
            n_cut += bool((polygon < -0.5).any() or (polygon > np.array(turned.shape[1:]) - 0.5).any())
        n_crossed += any(_cross(one, two) for one, two in combinations(areas, 2))
    return voxels, n_cut, n_crossed, n_looped


def _crosses_itself(polygon: Points, around: npt.NDArray[np.int64]) -> bool:
    """True when a polygon goes around some pixels twice or the other way, without the bridge of a keyhole."""
    if around.min() * around.max() < 0:
        return True
    ends = polygon[:-1] if np.array_equal(polygon[0], polygon[-1]) else polygon
    return bool(np.abs(around).max() > 1) and len(np.unique(np.round(ends, 3), axis=0)) == len(ends)


def _cross(one: Mask, two: Mask) -> bool:
    """True when two areas overlap partly: not separate, and not one inside the other."""
    both, smaller = np.count_nonzero(one & two), min(np.count_nonzero(one), np.count_nonzero(two))
    return bool(MOST_OVERLAP * smaller < both < (1 - MOST_OVERLAP) * smaller)


def _once(polygons: list[Points]) -> list[Points]:
    """The polygons without copies, which would cancel each other; a copy may start or turn differently."""
    kept: dict[bytes, list[Points]] = {}
    for polygon in polygons:
        box = (np.round([polygon.min(axis=0), polygon.max(axis=0)], 3) + 0.0).tobytes()
        alike = kept.setdefault(box, [])
        if not any(_edges(polygon) == _edges(other) for other in alike):
            alike.append(polygon)
    return [polygon for alike in kept.values() for polygon in alike]


def _edges(polygon: Points) -> list[list[tuple[float, float]]]:
    ends = [(row, col) for row, col in (np.round(polygon, 3) + 0.0).tolist()]
    return sorted(sorted(pair) for pair in pairwise([*ends, ends[0]]) if pair[0] != pair[1])


def _planes(contours: list[Points], axis: int, step_mm: float) -> dict[float, list[Points]]:
    """Contours as (N, 2), each once, by their plane in fractions of a slice; planes closer than a hair are one."""
    hair = min(PLANE_TOLERANCE_MM, step_mm / 4) / step_mm
    places = np.array([float(points[:, axis].mean()) for points in contours])
    planes: dict[float, list[Points]] = {}
    for index in np.argsort(places, kind="stable"):
        last = next(reversed(planes), None)
        place = last if last is not None and places[index] - last < hair else float(places[index])
        planes.setdefault(place, []).append(np.delete(contours[index], axis, axis=1))
    return {place: _once(polygons) for place, polygons in planes.items()}


def _on_slices(
    planes: dict[float, list[Points]], axis: int, geometry: VolumeGeometry, query: TumorQuery
) -> tuple[dict[int, float], list[Finding]]:
    """For each slice the nearest plane of contours within half a slice distance, and findings about the others."""
    step_mm, n_slices = geometry.spacing_mm[axis], geometry.shape[axis]
    nearest: dict[int, float] = {}
    for place, polygons in planes.items():
        index = int(np.floor(round(place, TIE) + 0.5))
        if not 0 <= index < n_slices:
            points = np.insert(polygons[0], axis, place, axis=1)
            beyond_mm = (-place if place < 0 else place - n_slices + 1) * step_mm
            raise query.refusal(
                expected=f"contours on the {n_slices} slices of the CT",
                found=f"a contour at {_place(points, geometry)}, {beyond_mm:.1f} mm beyond the last one",
                remedy="give the ROI that was drawn on this series, and the complete series",
            )
        if index not in nearest or abs(place - index) < abs(nearest[index] - index):
            nearest[index] = place
    return nearest, list(_doubts(planes, nearest, step_mm, query))


def _doubts(
    planes: dict[float, list[Points]], nearest: dict[int, float], step_mm: float, query: TumorQuery
) -> Iterator[Finding]:
    off_mm = [abs(place - np.floor(round(place, TIE) + 0.5)) * step_mm for place in planes]
    n_off = sum(mm > GRID_TOLERANCE_MM for mm in off_mm)
    if n_off:
        text = (
            f"contours of {counted_noun(n_off, 'plane')} lie up to {max(off_mm):.2f} mm off the slices of the CT; "
            f"each slice got the nearest plane; planes not used: {len(planes) - len(nearest)}"
        )
        yield query.finding("roi-resampled", text)
    gaps = sorted(set(range(min(nearest), max(nearest) + 1)) - nearest.keys())
    if gaps:
        lacking = counted_noun(len(gaps), "slice")
        text = f"no contour on {lacking} between outlined ones, left empty: {first_few(gaps)} (from 0)"
        yield query.finding("roi-gap", text)


def _place(points: Points, geometry: VolumeGeometry) -> str:
    """The middle of a contour in LPS mm, for messages."""
    middle = geometry.affine[:3, :3] @ points.mean(axis=0) + geometry.affine[:3, 3]
    return f"({', '.join(f'{mm:.1f}' for mm in middle)}) mm"

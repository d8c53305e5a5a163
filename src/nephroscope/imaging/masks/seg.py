"""Read a DICOM SEG as tumor voxels on the CT's grid.

What a SEG counts twice (frames, pixels, segments) is compared first. With pydicom alone: importing highdicom takes
more than half of the time allowed for a prediction. The tests read the same files with highdicom and compare.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.encaps import generate_frames
from pydicom.pixels import iter_pixels

from nephroscope.base.errors import RoiError
from nephroscope.imaging.dicom.codecs import RLE, pydicom_plugin
from nephroscope.imaging.dicom.files import functional_group
from nephroscope.imaging.dicom.pixel_data import NATIVE, uid_of
from nephroscope.imaging.dicom.slice_header import syntax_of
from nephroscope.imaging.files import DamageError
from nephroscope.imaging.grid import MOST_VOXELS, describe
from nephroscope.imaging.masks.resample import fit_to_ct, frame_reaches_out, gaps
from nephroscope.imaging.masks.segments import (
    MOST_ROI_VOXELS,
    Segment,
    TumorQuery,
    check_choice,
    choose_segment,
    most_voxels,
)
from nephroscope.records import CTVolume, Finding, VolumeGeometry
from nephroscope.records.volumes import GRID_TOLERANCE_MM

Mask = npt.NDArray[np.bool_]
Affine = npt.NDArray[np.float64]
Pixels = npt.NDArray[Any]
UNEVEN = 0.1  # frames may differ from an even stack by this share of their distance, as slices of a CT may
THICKER = 1.5  # times the CT's slice distance: frames that far apart stand for several slices
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
BACKGROUND = 0  # pixel value of label maps that is sometimes described as a segment


def read_seg(seg: Any, volume: CTVolume, query: TumorQuery) -> tuple[Mask, list[Finding]]:
    """Tumor voxels (S, R, C) of a DICOM SEG on the grid of ``volume``; slices without a frame stay empty.

    Frames on the CT's voxels are placed unchanged, in any direction. Others are stacked and resampled, and so are
    frames declared thicker than the CT's slices, because each stands for several of them.

    Raises:
        RoiError: The SEG belongs to another series, lies outside the CT, is not an even stack, or does not say which
            segment is the tumor. What pydicom raises for damage is not caught here.
    """
    findings = check_series(series_uids(seg), image_uids(seg), volume, query)
    findings += check_frame(str(seg.get("FrameOfReferenceUID") or ""), volume, query)
    segments = seg_segments(seg)
    chosen = choose_segment(segments, query)
    findings += check_choice(segments, chosen, query)
    frames = list(_frames(seg, chosen.number, query, most_voxels(volume.geometry)))
    voxels = np.zeros(volume.geometry.shape, dtype=np.bool_)
    outside = [_place(frame, affine, voxels, volume.geometry) for frame, affine in frames]
    if None in outside or _are_thicker(frames, seg, volume.geometry):
        mask, affine = _stack(frames, seg, _on_grid(volume.geometry), query)
        voxels, more = fit_to_ct(mask, affine, volume.geometry, query)
        return voxels, findings + more
    n_outside = sum(n for n in outside if n)
    if n_outside and not voxels.any():
        raise _off_grid(frames[0], _on_grid(volume.geometry), query)
    if n_outside:
        text = f"{n_outside} voxels of {n_outside + int(voxels.sum())} lie outside the CT and were left out"
        findings.append(query.finding("roi-outside", text))
    elif any(frame_reaches_out(frame, affine, volume.geometry) for frame, affine in frames):
        text = f"its frames of {seg.Rows} x {seg.Columns} reach out of the CT, {describe(volume.geometry)}: compare"
        findings.append(query.finding("roi-resampled", text))
    return voxels, findings + gaps(voxels, query)


def _check_places(groups: Sequence[Any], shared: Any, of_frames: Sequence[int]) -> None:
    """Refuse two frames of a segment at one place: one of them belongs elsewhere, or to another segment.

    Raises:
        DamageError: There are such frames.
    """
    positions = [functional_group(group, shared, "PlanePositionSequence") for group in groups]
    places = [
        (segment, *(round(float(mm), 2) for mm in position.ImagePositionPatient))
        for segment, position in zip(of_frames, positions, strict=True)
        if position is not None
    ]
    if len(set(places)) < len(places):
        raise DamageError(f"{len(places)} frames at {len(set(places))} places")


def seg_segments(seg: Any) -> list[Segment]:
    """The segments of a DICOM SEG, without the background of a label map."""
    found = []
    for item in seg.SegmentSequence:
        kinds = item.get("SegmentedPropertyTypeCodeSequence") or []
        segment = Segment(
            number=int(item.SegmentNumber),
            name=str(item.get("SegmentLabel") or ""),
            meanings=tuple(str(kind.get("CodeMeaning", "")) for kind in kinds),
            codes=frozenset(str(kind.get("CodeValue", "")) for kind in kinds),
        )
        found += [segment] if segment.number != BACKGROUND else []
    return found


def segment_stack(seg: Any, number: int, query: TumorQuery) -> tuple[Mask, Affine] | None:
    """The frames of one segment that are not empty as a mask (S, R, C) with its affine to LPS mm; None without any.

    Raises:
        RoiError: They are not an even stack, or too many. What pydicom raises for damage is not caught here.
    """
    frames = list(_frames(seg, number, query, MOST_ROI_VOXELS))
    return _stack(frames, seg, "frames on an even grid", query) if frames else None


def check_series(uids: list[str], images: set[str], volume: CTVolume, query: TumorQuery) -> list[Finding]:
    """A finding when an ROI names no series, or another one but images of this one.

    A volume from NIfTI has no UID to compare; there only the grid is checked.

    Raises:
        RoiError: It names other series than the CT's, and none of its images.
    """
    if not volume.series_uid[:1].isdigit():
        return []
    if not uids:
        text = "it does not name the series on which it was drawn; it was accepted because it lies on this CT"
        return [query.finding("roi-reference", text)]
    if volume.series_uid not in uids and images & volume.image_uids:
        text = f"it names images of this CT, but as images of the series {uids[0]}"
        return [query.finding("roi-reference", text)]
    if volume.series_uid not in uids:
        raise query.refusal(
            expected=f"an ROI of series {volume.series_uid}",
            found=f"an ROI of series {uids[0]}",
            remedy="give the ROI that was drawn on this series",
        )
    return []


def check_frame(uid: str, volume: CTVolume, query: TumorQuery) -> list[Finding]:
    """A finding when ROI and CT name different frames of reference: their places in mm need not be comparable."""
    if not uid or not volume.frame_uid or uid == volume.frame_uid:
        return []
    text = f"it was drawn in the frame of reference {uid}, and the CT lies in {volume.frame_uid}: compare in a viewer"
    return [query.finding("roi-frame-differs", text)]


def series_uids(seg: Any) -> list[str]:
    """The series on which a SEG was drawn, where it names them."""
    return [str(item.SeriesInstanceUID) for item in seg.get("ReferencedSeriesSequence") or []]


def _frames(seg: Any, number: int, query: TumorQuery, most: int) -> Iterator[tuple[Mask, Affine]]:
    """Frames (R, C) of one segment that are not empty, each with the 4x3 affine from (row, column, 1) to LPS mm."""
    kind = seg.SegmentationType
    shared = (seg.get("SharedFunctionalGroupsSequence") or [{}])[0]
    groups = list(seg.PerFrameFunctionalGroupsSequence)
    if len(groups) != int(seg.get("NumberOfFrames") or 1):
        raise DamageError(f"{len(groups)} frames described, {seg.get('NumberOfFrames')} stored")
    described = {int(item.SegmentNumber) for item in seg.SegmentSequence}
    described |= {BACKGROUND} if kind == "LABELMAP" else set()
    of_frames = [number if kind == "LABELMAP" else _segment_of(group, shared) for group in groups]
    if not described.issuperset(of_frames):
        raise DamageError(f"frames of segment {max(set(of_frames) - described)}, which is not described")
    _check_places(groups, shared, of_frames)
    ours = [index for index, segment in enumerate(of_frames) if segment == number]
    if not 0 <= len(ours) * seg.Rows * seg.Columns <= most:
        raise query.refusal(
            expected=f"at most {most} voxels",
            found=f"{len(ours)} frames of {seg.Rows} x {seg.Columns}",
            remedy="export only the segment of the tumor",
        )
    half = float(seg.MaximumFractionalValue) / 2 if kind == "FRACTIONAL" else 0
    for index, pixels in zip(ours, stored_frames(seg, ours), strict=True):
        if kind == "LABELMAP" and pixels.any() and not described.issuperset(np.unique(pixels).tolist()):
            raise DamageError("pixels of a segment that is not described")
        frame: Mask = pixels == number if kind == "LABELMAP" else pixels > half
        if frame.any():
            yield frame, frame_affine(groups[index], shared)


def _segment_of(group: Any, shared: Any) -> int:
    return int(functional_group(group, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)


def image_uids(seg: Any) -> set[str]:
    """The images on which a SEG was drawn, where it names them."""
    series = [
        image
        for item in seg.get("ReferencedSeriesSequence") or []
        for image in item.get("ReferencedInstanceSequence") or []
    ]
    groups = seg.get("PerFrameFunctionalGroupsSequence") or []
    sources = [
        image
        for group in groups
        for derivation in group.get("DerivationImageSequence") or []
        for image in derivation.get("SourceImageSequence") or []
    ]
    return {str(image.get("ReferencedSOPInstanceUID") or "") for image in (*series, *sources)} - {""}


def stored_frames(seg: Any, indices: Sequence[int]) -> Iterator[Pixels]:
    """The values (R, C) of these frames, one after the other.

    Raises:
        DamageError: There are not as many frames or pixels as the header says, or no decoder for them. What pydicom
            raises for damage is not caught here.
    """
    rows, columns, bits = int(seg.Rows), int(seg.Columns), int(seg.BitsAllocated)
    n_frames, syntax, shape = int(seg.get("NumberOfFrames") or 1), syntax_of(seg), (rows, columns)
    if bits not in (1, 8, 16) or not syntax:
        raise DamageError(f"pixels of {bits} bits" if syntax else "no transfer syntax")
    if syntax in NATIVE:
        expected = (n_frames * rows * columns * bits + 7) // 8
        if not expected <= len(seg.PixelData) <= expected + 1:
            found = f"{len(seg.PixelData)} bytes of pixels"
            raise DamageError(f"{found}, not the {expected} of {n_frames} frames of {rows} x {columns}")
    elif syntax == DEFLATED_FRAMES or (syntax == RLE and bits == 1):
        yield from _packed(seg, indices, shape, bits)
        return
    elif not pydicom_plugin(syntax):
        name = uid_of(syntax).name
        raise DamageError(f"frames in {name}, for which there is no decoder here; export it uncompressed")
    if bits == 1 and syntax in NATIVE and seg.original_encoding[1]:  # pydicom fails within a byte
        plain = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
        yield from (plain[i * rows * columns : (i + 1) * rows * columns].reshape(shape) for i in indices)
    elif indices:
        for frame in iter_pixels(seg, indices=list(indices), decoding_plugin=pydicom_plugin(syntax)):
            if frame.shape != shape:
                found = " x ".join(map(str, frame.shape))
                raise DamageError(f"a frame of {found}, not {rows} x {columns} pixels")
            yield frame


def _packed(seg: Any, indices: Sequence[int], shape: tuple[int, int], bits: int) -> Iterator[Pixels]:
    """Frames that are packed one by one, each from a whole byte on. Source: DICOM PS3.5 8.1.1, A.4.13, annex G."""
    n_frames, n_pixels = int(seg.get("NumberOfFrames") or 1), shape[0] * shape[1]
    n_bytes = (n_pixels * bits + 7) // 8
    coded = list(generate_frames(seg.PixelData, number_of_frames=n_frames))
    if len(coded) != n_frames:
        raise DamageError(f"{len(coded)} frames stored, {n_frames} described")
    unpack = _unpacked_rle if syntax_of(seg) == RLE else _inflated
    for index in indices:
        plain = unpack(coded[index], n_bytes)
        if not n_bytes <= len(plain) <= n_bytes + 1:
            raise DamageError(
                f"{len(plain)} bytes for a frame of {shape[0]} x {shape[1]} pixels of {bits} bits"
            )
        stored = np.frombuffer(plain, "<u2" if bits == 16 else np.uint8, n_bytes // (2 if bits == 16 else 1))
        pixels = np.unpackbits(stored, count=n_pixels, bitorder="little") if bits == 1 else stored
        yield pixels.reshape(shape)


def _inflated(frame: bytes, n_bytes: int) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, n_bytes + 2)


def _unpacked_rle(frame: bytes, n_bytes: int) -> bytes:
    import imagecodecs

    n_segments, start = struct.unpack_from("<2L", frame)
    if n_segments != 1 or not 64 <= start < len(frame):
        raise DamageError(f"{n_segments} segments for pixels of one bit")
    plain: bytes = bytes(imagecodecs.packbits_decode(frame[start:]))
    return plain[: n_bytes + 2]


def frame_affine(group: Any, shared: Any) -> Affine:
    """`plane_affine` of one frame, from its functional groups and those shared by all frames."""
    names = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    position, orientation, measures = (functional_group(group, shared, name) for name in names)
    if position is None or orientation is None or measures is None:
        raise DamageError("frames that do not say where they lie (position, orientation and pixel spacing)")
    return plane_affine(
        position.ImagePositionPatient, orientation.ImageOrientationPatient, measures.PixelSpacing
    )


def plane_affine(position: Any, orientation: Any, spacing: Any) -> Affine:
    """4x3, from (row, column, 1) of an image to LPS mm. Source: DICOM PS3.3 C.7.6.2.1.1.

    Raises:
        DamageError: These values do not define a plane.
    """
    cosines = np.array(orientation, float)
    row_mm, col_mm = (float(mm) for mm in spacing)
    affine = np.zeros((4, 3))
    affine[:3, 0], affine[:3, 1] = cosines[3:] * row_mm, cosines[:3] * col_mm
    affine[:3, 2] = np.array(position, float)
    affine[3, 2] = 1
    lengths = np.linalg.norm(cosines.reshape(2, 3), axis=1)
    if not np.isfinite(affine).all() or np.abs(lengths - 1).max() > 0.01 or min(row_mm, col_mm) <= 0:
        raise DamageError("a frame without a usable position, orientation or pixel spacing")
    return affine


def _place(frame: Mask, affine: Affine, voxels: Mask, geometry: VolumeGeometry) -> int | None:
    """Set the CT voxels under a frame; returns how many lie outside the CT, or None when it is off the grid."""
    to_index = (np.linalg.inv(geometry.affine) @ affine)[:3]
    n_rows, n_cols = frame.shape
    ends = [(0, 0, 1), (0, n_cols - 1, 1), (n_rows - 1, 0, 1), (n_rows - 1, n_cols - 1, 1)]
    corners = to_index @ np.array(ends).T
    off_mm = np.abs(corners - np.round(corners)).max(axis=1) * geometry.spacing_mm
    if off_mm.max() > GRID_TOLERANCE_MM or np.abs(np.abs(to_index[:, :2]).max(axis=0) - 1).max() > 0.01:
        return None
    s, r, c = start = np.round(to_index[:, 2]).astype(np.intp)
    inside_ct = start.min() >= 0 and np.all(start + np.array((1, n_rows, n_cols)) <= geometry.shape)
    if inside_ct and np.abs(to_index[:, :2] - [[0, 0], [1, 0], [0, 1]]).max() < 1e-5:  # runs as the CT does
        voxels[s, r : r + n_rows, c : c + n_cols] |= frame
        return 0
    index = np.round(to_index @ np.vstack([*np.nonzero(frame), np.ones(frame.sum())]))
    inside = ((index >= 0) & (index < np.array(geometry.shape)[:, None])).all(axis=0)
    voxels[tuple(index[:, inside].astype(np.intp))] = True
    return int((~inside).sum())


def _stack(
    frames: list[tuple[Mask, Affine]], seg: Any, expected: str, query: TumorQuery
) -> tuple[Mask, Affine]:
    """Frames on their own grid as one mask (S, R, C) with its affine."""
    first = frames[0][1]
    normal, away = _along_normal(frames)
    heights = away @ normal
    aside_mm = np.abs(away - np.outer(heights, normal)).max()
    turned = max(float(np.abs(affine[:3, :2] - first[:3, :2]).max()) for _, affine in frames)
    heights -= heights.min()
    steps = heights / (step := _step_mm(seg, heights))
    off_mm = float(np.abs(steps - np.round(steps)).max()) * step
    shape = (round(steps.max()) + 1, *frames[0][0].shape)
    uneven = off_mm > UNEVEN * step or aside_mm > 2 * GRID_TOLERANCE_MM
    if uneven or turned > 1e-3 or np.prod(shape, dtype=float) > MOST_VOXELS:
        raise _off_grid(frames[0], expected, query)
    mask = np.zeros(shape, dtype=np.bool_)
    for (frame, _), place in zip(frames, np.round(steps).astype(int), strict=True):
        mask[place] |= frame
    affine = np.zeros((4, 4))
    affine[:3, 0], affine[:, 1:] = normal * step, first
    affine[:3, 3] += float((away @ normal).min()) * normal
    return mask, affine


def _along_normal(frames: list[tuple[Mask, Affine]]) -> tuple[Affine, Affine]:
    """The normal of the first frame (3,), and the distance of each frame's origin from that of the first (n, 3)."""
    first = frames[0][1]
    along_col, along_row = (first[:3, axis] / np.linalg.norm(first[:3, axis]) for axis in (0, 1))
    return np.cross(along_row, along_col), np.array([affine[:3, 2] - first[:3, 2] for _, affine in frames])


def _are_thicker(frames: list[tuple[Mask, Affine]], seg: Any, ct: VolumeGeometry) -> bool:
    """True when frames are declared further apart than the CT's slices, and are."""
    normal, away = _along_normal(frames) if frames else (np.zeros(3), np.zeros((0, 3)))
    gaps, step = np.diff(sorted(set(np.round(away @ normal, 3).tolist()))), next(iter(_declared_mm(seg)), 0.0)
    n_steps = step * float(np.abs(np.linalg.inv(ct.affine)[:3, :3] @ normal).max())
    return n_steps > THICKER and bool(gaps.size) and _are_multiples(gaps, step)


def _are_multiples(gaps: npt.NDArray[np.float64], step: float) -> bool:
    return bool((np.abs(gaps / step - np.round(gaps / step)) <= UNEVEN).all())


def _declared_mm(seg: Any) -> list[float]:
    """Distance and thickness of the frames, where the SEG declares them."""
    shared = (seg.get("SharedFunctionalGroupsSequence") or [{}])[0]
    measures = functional_group(seg.PerFrameFunctionalGroupsSequence[0], shared, "PixelMeasuresSequence")
    declared = [float(measures.get(name) or 0) for name in ("SpacingBetweenSlices", "SliceThickness")]
    return [mm for mm in declared if mm > 0]


def _step_mm(seg: Any, heights: npt.NDArray[np.float64]) -> float:
    """Distance between neighbouring planes: as declared if the positions agree, otherwise the smallest step."""
    gaps = np.diff(sorted(set(np.round(heights, 3).tolist())))
    for step in _declared_mm(seg):
        if _are_multiples(gaps, step):
            return step
    if not gaps.size:
        raise DamageError("one frame without a thickness")
    return float(gaps.min())


def _on_grid(ct: VolumeGeometry) -> str:
    return f"frames on the grid of the CT, {describe(ct)}, or on an even grid that meets it"


def _off_grid(frame: tuple[Mask, Affine], expected: str, query: TumorQuery) -> RoiError:
    pixels, affine = frame
    at = ", ".join(f"{mm:.1f}" for mm in affine[:3, 2])
    spacing = " x ".join(f"{mm:.4g}" for mm in np.linalg.norm(affine[:3, :2], axis=0))
    return RoiError(
        where=query.where,
        expected=expected,
        found=f"a frame of {pixels.shape[0]} x {pixels.shape[1]} pixels of {spacing} mm from ({at})",
        remedy="draw the ROI on this series, or export it on the grid of the CT",
    )

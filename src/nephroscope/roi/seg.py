"""DICOM SEG in, tumor voxels on the CT's grid out.

pydicom alone: importing highdicom takes more than half of the time a clinic's whole answer may take. The tests read
the same files with highdicom and compare.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom

from nephroscope.cohort.grid import describe
from nephroscope.cohort.series import DICOM_DAMAGE
from nephroscope.errors import RoiError
from nephroscope.records import CTVolume, VolumeGeometry
from nephroscope.records.volumes import GRID_TOLERANCE_MM

TUMOR_WORDS = re.compile(r"tumou?r|neoplasm|\bmass\b|carcinoma|\brcc\b", re.IGNORECASE)
OTHER_WORDS = re.compile(r"((left|right|both) )?(kidney|renal cyst|cyst)s?", re.IGNORECASE)
# SNOMED CT: neoplasm, primary neoplasm, mass; and their SNOMED RT twins.
TUMOR_CODES = {"108369006", "86049000", "4147007", "M-8FFFF", "M-80003", "M-03000"}


def read_seg(path: Path, volume: CTVolume, case_id: str, tumor_label: int) -> npt.NDArray[np.bool_]:
    """Tumor voxels (S, R, C) of a DICOM SEG on the grid of ``volume``; slices without a frame stay empty.

    Raises:
        RoiError: The file is damaged or no SEG, refers to another series, lies on another grid, or does not say
            which of its segments is the tumor.
    """
    where = f"case {case_id}, ROI {path.name}"
    try:
        seg = pydicom.dcmread(path)
        if seg.get("Modality") != "SEG":
            raise RoiError(
                where=where,
                expected="a DICOM SEG",
                found=f"DICOM of modality {seg.get('Modality', 'unknown')}",
                remedy="give the segmentation, not the image",
            )
        _check_series(seg, volume, where)
        number = _tumor_segment(seg, tumor_label, where)
        voxels = np.zeros(volume.geometry.shape, dtype=np.bool_)
        for frame, affine in _frames(seg, number):
            _place(frame, affine, voxels, volume.geometry, where)
    except DICOM_DAMAGE as error:
        raise RoiError(
            where=where,
            expected="a whole DICOM SEG",
            found=f"one that cannot be read ({type(error).__name__})",
            remedy="copy or export it again",
        ) from error
    return voxels


def _check_series(seg: Any, volume: CTVolume, where: str) -> None:
    """A volume from NIfTI has no UID to compare; there the grid decides."""
    uids = [str(item.SeriesInstanceUID) for item in seg.get("ReferencedSeriesSequence") or []]
    if uids and volume.series_uid not in uids and not volume.series_uid.startswith("nifti-"):
        raise RoiError(
            where=where,
            expected=f"a ROI of series {volume.series_uid}",
            found=f"one of series {uids[0]}",
            remedy="give the ROI that was drawn on this series",
        )


def _tumor_segment(seg: Any, tumor_label: int, where: str) -> int:
    """Number of the tumor's segment: the only one, the one that says so, or ``tumor_label``."""
    segments: dict[int, Any] = {int(item.SegmentNumber): item for item in seg.SegmentSequence}
    if len(segments) == 1:
        ((number, item),) = segments.items()
        if any(OTHER_WORDS.fullmatch(word) for word in _words(item)) and not _is_tumor(item):
            raise RoiError(
                where=where,
                expected="a segment that is the tumor",
                found=f"only {item.get('SegmentLabel', '')!r}",
                remedy="give the segmentation that holds the tumor, or correct its label",
            )
        return number
    tumors = [number for number, item in segments.items() if _is_tumor(item)]
    if len(tumors) == 1:
        return tumors[0]
    if tumor_label in (tumors or segments):
        return tumor_label
    listed = ", ".join(f"{number} {item.get('SegmentLabel', '')}" for number, item in segments.items())
    raise RoiError(
        where=where,
        expected="one segment that is the tumor",
        found=f"{len(tumors)} that say so among {listed}",
        remedy="give the number of the tumor's segment as --tumor-label",
    )


def _is_tumor(segment: Any) -> bool:
    kinds = segment.get("SegmentedPropertyTypeCodeSequence") or []
    codes = {str(kind.get("CodeValue", "")) for kind in kinds}
    return bool(codes & TUMOR_CODES) or any(TUMOR_WORDS.search(word) for word in _words(segment))


def _words(segment: Any) -> list[str]:
    """What a segment says of itself: its label, and the meaning of its type code."""
    kinds = segment.get("SegmentedPropertyTypeCodeSequence") or []
    return [str(segment.get("SegmentLabel", "")), *(str(kind.get("CodeMeaning", "")) for kind in kinds)]


def _frames(seg: Any, number: int) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]]:
    """Frames (R, C) of one segment that hold anything, with the 4x3 affine from (row, column, 1) to LPS mm."""
    stored = seg.pixel_array
    if stored.ndim == 2:
        stored = stored[None]
    shared = seg.SharedFunctionalGroupsSequence[0]
    for pixels, group in zip(stored, seg.PerFrameFunctionalGroupsSequence, strict=True):
        if seg.SegmentationType == "LABELMAP":
            frame = pixels == number
        elif int(_macro(group, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber) != number:
            continue
        elif seg.SegmentationType == "FRACTIONAL":
            frame = pixels > int(seg.MaximumFractionalValue) / 2
        else:
            frame = pixels != 0
        if not frame.any():
            continue
        cosines = np.array(
            _macro(group, shared, "PlaneOrientationSequence").ImageOrientationPatient, float
        ).reshape(2, 3)
        row_mm, col_mm = (float(mm) for mm in _macro(group, shared, "PixelMeasuresSequence").PixelSpacing)
        affine = np.zeros((4, 3))
        affine[:3, 0], affine[:3, 1] = cosines[1] * row_mm, cosines[0] * col_mm
        affine[:3, 2] = np.array(_macro(group, shared, "PlanePositionSequence").ImagePositionPatient, float)
        affine[3, 2] = 1
        yield frame, affine


def _macro(group: Any, shared: Any, name: str) -> Any:
    """A functional group of one frame: its own, or the one all frames share."""
    own: Any = group.get(name)
    return (own or shared[name].value)[0]


def _place(
    frame: npt.NDArray[np.bool_],
    affine: npt.NDArray[np.float64],
    voxels: npt.NDArray[np.bool_],
    geometry: VolumeGeometry,
    where: str,
) -> None:
    """Set the CT voxels under a frame, whose pixels must be voxels of the CT, in any direction."""
    to_index = (np.linalg.inv(geometry.affine) @ affine)[:3]
    n_rows, n_cols = frame.shape
    corners = to_index @ np.array(
        [[0, 0, n_rows - 1, n_rows - 1], [0, n_cols - 1, 0, n_cols - 1], [1, 1, 1, 1]]
    )
    off_mm = np.abs(corners - np.round(corners)).max(axis=1) * geometry.spacing_mm
    unit_steps = np.abs(to_index[:, :2]).max(axis=0)
    index = np.round(to_index @ np.vstack([*np.nonzero(frame), np.ones(frame.sum())])).astype(int)
    inside = (index >= 0).all() and (index < np.array(geometry.shape)[:, None]).all()
    if off_mm.max() > GRID_TOLERANCE_MM or np.abs(unit_steps - 1).max() > 0.01 or not inside:
        at = ", ".join(f"{mm:.1f}" for mm in affine[:3, 2])
        spacing = " x ".join(f"{mm:.4g}" for mm in np.linalg.norm(affine[:3, :2], axis=0))
        raise RoiError(
            where=where,
            expected=f"frames on the grid of the CT, {describe(geometry)}",
            found=f"one of {n_rows} x {n_cols} pixels of {spacing} mm from ({at})",
            remedy="draw the ROI on this series, or export it on the CT's own grid",
        )
    voxels[tuple(index)] = True

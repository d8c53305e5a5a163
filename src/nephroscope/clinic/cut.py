"""Cut a tumor out of a CT volume as square slices in HU.

Training and the clinic use this same code, with NumPy and Pillow only. The network applies the window.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from nephroscope.base.errors import RoiError
from nephroscope.imaging.grid import AIR_HU
from nephroscope.records import CTVolume, RoiMask, SliceSpec, TumorSlice

Box = tuple[float, float, float, float]  # left, top, right, bottom: pixel edges, not centers


def cut_slices(volume: CTVolume, roi: RoiMask, spec: SliceSpec) -> list[TumorSlice]:
    """Cut each slice that the tumor crosses, all with the same square box, so that the scale stays the same.

    Args:
        volume: CT in HU, (S, R, C).
        roi: Mask of the tumor on the grid of ``volume``.
        spec: ROI mode, margin, smallest cross-section and output size.

    Returns:
        Slices in volume order, one for each cross-section of at least ``spec.min_area_mm2``.

    Raises:
        RoiError: The mask lies on another grid, or no cross-section is large enough.
    """
    if not roi.geometry.matches(volume.geometry):
        raise RoiError(
            where=f"case {roi.case_id}",
            expected=f"the ROI on the grid of its CT, {volume.geometry.shape}",
            found=f"another grid, {roi.geometry.shape}",
            remedy="resample the ROI to the CT, or check that it belongs to this series",
        )
    _, row_mm, col_mm = volume.geometry.spacing_mm
    areas_mm2 = roi.voxels.sum(axis=(1, 2)) * row_mm * col_mm
    kept = np.flatnonzero((areas_mm2 >= spec.min_area_mm2) & (areas_mm2 > 0))
    if kept.size == 0:
        raise RoiError(
            where=f"case {roi.case_id}",
            expected=f"a tumor cross-section of at least {spec.min_area_mm2:g} mm2",
            found=f"at most {areas_mm2.max():.1f} mm2, on slice {areas_mm2.argmax()}",
            remedy="check the ROI and the pixel spacing, or lower slices.min_area_mm2",
        )
    box = _field(volume, roi, spec)
    mm_per_px = (box[2] - box[0]) * volume.geometry.spacing_mm[2] / spec.size_px
    cut = []
    for s in kept:
        hu = volume.hu[s]
        if spec.roi_mode == "mask":
            hu = np.where(roi.voxels[s], hu, np.int16(AIR_HU))
        cut.append(
            TumorSlice(
                hu=_resample(hu, box, spec.size_px),
                case_id=roi.case_id,
                slice_index=int(s),
                area_mm2=float(areas_mm2[s]),
                mm_per_px=mm_per_px,
            )
        )
    return cut


def cut_at_same_places(
    volume: CTVolume,
    roi: RoiMask,
    chosen: tuple[CTVolume, RoiMask],
    cut: Sequence[TumorSlice],
    spec: SliceSpec,
    shift_mm: npt.NDArray[np.float64] | None = None,
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
    """Another CT at the places where slices were cut: of each the nearest slice, with the same field of view in mm.

    Args:
        volume: The other CT, with axes in the same order.
        roi: The tumor on its grid.
        chosen: CT and tumor that the slices were cut from.
        cut: The slices.
        spec: How they were cut.
        shift_mm: How far the tumor lies from where it was, along L, P and S; None for the same place.

    Returns:
        HU (n, size_px, size_px), air where the other CT does not reach; and bool (n,), where it does.
    """
    reference, tumor = chosen
    left, top, right, bottom = _field(reference, tumor, spec)
    _, row_mm, col_mm = reference.geometry.spacing_mm
    _, other_row_mm, other_col_mm = volume.geometry.spacing_mm
    half_r = (bottom - top) / 2 * row_mm / other_row_mm
    half_c = (right - left) / 2 * col_mm / other_col_mm
    moved = np.eye(4)
    moved[:3, 3] = 0.0 if shift_mm is None else shift_mm
    to_other = np.linalg.inv(volume.geometry.affine) @ moved @ reference.geometry.affine
    hu = np.full((len(cut), spec.size_px, spec.size_px), AIR_HU, np.int16)
    present = np.zeros(len(cut), np.bool_)
    for row, part in enumerate(cut):
        # A pixel's index is its center; the edges of a box lie half a pixel further.
        center = np.array([part.slice_index, (top + bottom - 1) / 2, (left + right - 1) / 2, 1.0])
        s, r, c = (to_other @ center)[:3]
        nearest = round(float(s))
        shape = volume.geometry.shape
        present[row] = 0 <= nearest < shape[0] and 0 <= r <= shape[1] - 1 and 0 <= c <= shape[2] - 1
        if present[row]:
            pixels = volume.hu[nearest]
            if spec.roi_mode == "mask":
                pixels = np.where(roi.voxels[nearest], pixels, np.int16(AIR_HU))
            r, c = r + 0.5, c + 0.5
            hu[row] = _resample(pixels, (c - half_c, r - half_r, c + half_c, r + half_r), spec.size_px)
    return hu, present


def center_mm(roi: RoiMask) -> npt.NDArray[np.float64]:
    """Center of mass of a tumor in LPS mm."""
    at = [float(axis.mean()) for axis in np.nonzero(roi.voxels)]
    place: npt.NDArray[np.float64] = (roi.geometry.affine @ np.array([*at, 1.0]))[:3]
    return place


def apply_window(hu: npt.NDArray[np.int16], spec: SliceSpec) -> npt.NDArray[np.float32]:
    """Map HU to [0, 1] with DICOM's LINEAR_EXACT function.

    Source: DICOM PS3.3 C.11.2.1.3.2.
    """
    scaled = (hu.astype(np.float32) - spec.window_level_hu) / spec.window_width_hu + 0.5
    pixels: npt.NDArray[np.float32] = np.clip(scaled, 0.0, 1.0)
    return pixels


def _field(volume: CTVolume, roi: RoiMask, spec: SliceSpec) -> Box:
    """The box of all slices of a case: around the tumor, or around the whole image."""
    _, row_mm, col_mm = volume.geometry.spacing_mm
    if spec.roi_mode == "full":
        return _square_box(np.ones(roi.voxels.shape[1:], bool), row_mm, col_mm, 0.0)
    return _square_box(np.any(roi.voxels, axis=0), row_mm, col_mm, spec.margin_mm)


def _square_box(extent: npt.NDArray[np.bool_], row_mm: float, col_mm: float, margin_mm: float) -> Box:
    """Smallest square (in mm) around ``extent`` (R, C), plus a margin on all sides."""
    rows, cols = np.flatnonzero(extent.any(axis=1)), np.flatnonzero(extent.any(axis=0))
    height_mm = (rows[-1] - rows[0] + 1) * row_mm
    width_mm = (cols[-1] - cols[0] + 1) * col_mm
    half_mm = max(height_mm, width_mm) / 2 + margin_mm
    row, col = (rows[0] + rows[-1] + 1) / 2, (cols[0] + cols[-1] + 1) / 2
    half_r, half_c = half_mm / row_mm, half_mm / col_mm
    return col - half_c, row - half_r, col + half_c, row + half_r


def _resample(hu: npt.NDArray[np.int16], box: Box, size_px: int) -> npt.NDArray[np.int16]:
    """Crop (R, C) to the box and resize bilinearly, with antialiasing when shrinking; outside the image is air."""
    left, top, right, bottom = box
    reach = math.ceil(max(right - left, bottom - top) / size_px) + 1  # pixels the filter uses outside the box
    n_rows, n_cols = hu.shape
    r0, r1 = _span(top, bottom, reach, n_rows)
    c0, c1 = _span(left, right, reach, n_cols)
    inside = hu[max(r0, 0) : min(r1, n_rows), max(c0, 0) : min(c1, n_cols)].astype(np.float32)
    around = ((max(-r0, 0), max(r1 - n_rows, 0)), (max(-c0, 0), max(c1 - n_cols, 0)))
    if any(map(any, around)):
        inside = np.pad(inside, around, constant_values=AIR_HU)
    resized = Image.fromarray(inside).resize(
        (size_px, size_px), Image.Resampling.BILINEAR, box=(left - c0, top - r0, right - c0, bottom - r0)
    )
    rounded: npt.NDArray[np.int16] = np.rint(np.asarray(resized)).astype(np.int16)
    return rounded


def _span(low: float, high: float, reach: int, n_pixels: int) -> tuple[int, int]:
    """Pixels that the filter needs for [low, high); outside the image only where the box is outside it."""
    start, stop = math.floor(low) - reach, math.ceil(high) + reach
    return (start if low < 0 else max(start, 0)), (stop if high > n_pixels else min(stop, n_pixels))

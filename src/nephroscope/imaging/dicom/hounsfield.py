"""Turn stored values into Hounsfield units (int16) with the rescale of each slice."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import SeriesError
from nephroscope.base.text import first_few
from nephroscope.imaging.dicom.files import DICOM_DAMAGE
from nephroscope.imaging.dicom.pixel_data import PixelFile, PixelForm, damage_text, form_of, stored_frames
from nephroscope.imaging.dicom.slice_header import SliceHeader
from nephroscope.imaging.grid import AIR_HU, MOST_VOXELS
from nephroscope.records import Finding, warning

Stored = npt.NDArray[Any]

# HU that a patient's own voxels can have.
TISSUE_HU = (-500, 3072)
HU_UNITS = {"", "HU", "HU_MOD", "US"}
MOST_HU = 65535  # what 16 bits hold; above 32767 values are clipped
BODY_HU = -500  # more than air
COMPARED_PX = 128  # about so many pixels along each side of a slice are compared with the next slice
MOST_STEP_HU = 15.0  # the tissue of neighbouring slices differs by less


def check_size(headers: Sequence[SliceHeader], where: str) -> None:
    """Refuse a volume that would not fit into memory, before it is read.

    Raises:
        SeriesError: More voxels than any CT has.
    """
    n_voxels = sum((one.rows or 0) * (one.columns or 0) for one in headers)
    if n_voxels > MOST_VOXELS:
        raise SeriesError(
            where=where,
            expected=f"at most {MOST_VOXELS} voxels",
            found=f"{n_voxels} in {len(headers)} slices of {headers[0].rows} x {headers[0].columns}",
            remedy="export the original CT series",
        )


def check_rescale(headers: Sequence[SliceHeader], where: str) -> list[Finding]:
    """A warning when rescaling gives other units than HU. Source: DICOM PS3.3 C.11.1.1.2."""
    others = ", ".join(sorted({one.rescale_type for one in headers} - HU_UNITS))
    text = f"Rescale Type is {others}, not HU: the values may not be Hounsfield units"
    return [warning("rescale-type", text, where)] if others else []


def check_scales(
    slices: Sequence[SliceHeader], scales: Sequence[object], hu: npt.NDArray[np.int16], where: str
) -> list[Finding]:
    """A warning about slices of another scale than their neighbours, whose values do not fit theirs.

    Scales may differ from slice to slice; then the tissue of neighbours still has about the same HU.

    Args:
        slices: Their names are used.
        scales: Of each slice what turns its stored values into HU.
        hu: (S, R, C), in the same order.
        where: The series.
    """
    if len(set(scales)) < 2:
        return []
    step = max(1, max(hu.shape[1:]) // COMPARED_PX)
    steps_hu = [_step_hu(hu[i, ::step, ::step], hu[i + 1, ::step, ::step]) for i in range(len(hu) - 1)]
    alike = [mm for mm, one, two in zip(steps_hu, scales, scales[1:], strict=False) if one == two]
    most = max(MOST_STEP_HU, 2 * max(alike, default=0.0))
    counts = Counter(scales)
    odd = {
        i if counts[scales[i]] <= counts[scales[i + 1]] else i + 1
        for i, step_hu in enumerate(steps_hu)
        if scales[i] != scales[i + 1] and step_hu > most
    }
    if not odd:
        return []
    listed = first_few(slices[i].name for i in sorted(odd))
    worst = max(step_hu for i, step_hu in enumerate(steps_hu) if {i, i + 1} & odd)
    text = (
        f"{listed}: another rescale or number of bits than in neighboring slices, and values up to {worst:.0f} HU "
        "away from theirs; one of them is damaged"
    )
    return [warning("slice-scale", text, where)]


def _step_hu(one: npt.NDArray[np.int16], two: npt.NDArray[np.int16]) -> float:
    """How far the values of two neighbouring slices are apart where one of them shows more than air: the median."""
    body = np.maximum(one, two) > BODY_HU
    if not body.any():
        return 0.0
    return float(abs(np.median(two[body].astype(int) - one[body])))


def read_hu(file: PixelFile, frames: Sequence[tuple[SliceHeader, npt.NDArray[np.int16]]], where: str) -> None:
    """Write the HU of slices of one file into arrays; padding becomes air.

    Args:
        file: The file with the pixels.
        frames: Each slice and the array (R, C) to fill.
        where: The series, for the refusal.

    Raises:
        SeriesError: The pixel data are missing, of another size, damaged, or without a decoder.
    """
    name = frames[0][0].name
    try:
        form = form_of(file.header)
        for (one, out), stored in zip(
            frames, stored_frames(file, form, [one for one, _ in frames]), strict=True
        ):
            name = one.name
            _fill_hu(stored, form, (one.slope or 1.0, one.intercept or 0.0), out)
    except _OverflowError as error:
        raise SeriesError(
            where=where,
            expected=f"HU of 16 bits in {name}",
            found=f"{error} (slope {one.slope:g}, intercept {one.intercept:g})",
            remedy="send the series again; if it stays so, its rescale is wrong",
        ) from error
    except DICOM_DAMAGE as error:
        undecoded = isinstance(error, NotImplementedError)
        raise SeriesError(
            where=where,
            expected=f"decodable pixel data in {name}",
            found=damage_text(file.header, error),
            remedy="export the series uncompressed" if undecoded else "send the series again",
        ) from error


class _OverflowError(Exception):
    """Values leave 16 bits; the message is the highest."""


def _fill_hu(
    stored: Stored, form: PixelForm, rescale: tuple[float, float], out: npt.NDArray[np.int16]
) -> None:
    """Write HU = stored value * slope + intercept, rounded, with padding as air."""
    slope, intercept = rescale
    padded = None
    if form.padding is not None and (form.padding[0] < form.limits[0] or form.padding[1] > form.limits[1]):
        padded = _in_range(stored, form.padding)  # a value outside the bits stored
    values = _masked(stored, form)
    low, high = int(values.min()), int(values.max())
    if padded is None and form.padding is not None:
        padding_hu = [value * slope + intercept for value in form.padding]
        if max(padding_hu) > AIR_HU:  # else it is air, or below, already
            padded = _in_range(values, form.padding)
            if any(TISSUE_HU[0] < hu < TISSUE_HU[1] for hu in padding_hu):
                padded = _from_the_sides(padded)
    shift = int(intercept)
    if (
        slope == 1
        and intercept == shift
        and values.dtype.itemsize == 2
        and low + shift >= -32768
        and high + shift <= 32767
        and abs(shift) <= 32767
    ):
        # 16-bit addition is exact as long as the result fits, also for unsigned values.
        np.add(values.view(values.dtype.newbyteorder("=").str.replace("u", "i")), np.int16(shift), out=out)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            hu = values * slope + intercept
        if padded is not None:
            hu[padded] = AIR_HU
        if not (highest := float(hu.max())) <= MOST_HU:
            raise _OverflowError(f"{highest:g}")
        np.rint(hu, out=hu)
        out[...] = np.clip(hu, AIR_HU, 32767)
    if padded is not None:
        out[padded] = AIR_HU


def _from_the_sides(padded: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Padding that reaches the left or right end of its row without a gap.

    Some scanners pad with 0, which is also the HU of water: inside the scan circle it is water.
    """
    left = np.logical_and.accumulate(padded, axis=1)
    right = np.logical_and.accumulate(padded[:, ::-1], axis=1)[:, ::-1]
    return left | right


def _in_range(stored: Stored, span: tuple[int, int]) -> npt.NDArray[np.bool_]:
    low, high = span
    found: npt.NDArray[np.bool_] = (stored >= low) & (stored <= high) if low < high else stored == low
    return found


def _masked(stored: Stored, form: PixelForm) -> Stored:
    """The bits that belong to the value: bits above may hold overlays or the sign. In native byte order.

    Source: DICOM PS3.5 8.1.1.
    """
    values = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    low, high = form.limits
    aligned = form.high_bit == form.bits_stored - 1
    unused = values.dtype.itemsize * 8 - form.bits_stored
    if unused == 0 or (aligned and low <= values.min() and values.max() <= high):
        return values
    above = values.dtype.itemsize * 8 - 1 - form.high_bit
    shifted: Stored = np.right_shift(np.left_shift(values, above), unused)
    return shifted

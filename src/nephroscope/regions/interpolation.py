"""The slices of a tumor between those that were drawn. Plain arrays in and out; SciPy is loaded when it is needed."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def interpolate(
    drawn: Mapping[int, Bools], spacing_mm: tuple[float, float], wanted: Sequence[int] = ()
) -> dict[int, Bools]:
    """The slices between drawn ones.

    Signed distances of the drawn outlines are interpolated along the slices, and so are their areas, both by monotone
    cubics; an interpolated slice is as much of the largest distances as its area says. Without the area, rounded ends
    are lost: on 25 tumors of KiTS23, five drawn slices of which two are the first and the last give a mean Dice of
    0.952 and three 0.910; signed distances alone, interpolated linearly, give 0.930 and 0.767
    (benchmarks/interpolation.py).

    Args:
        drawn: Masks (R, C) by index of slice; none empty.
        spacing_mm: Between rows and between columns.
        wanted: Slices to make, by default all between the first and the last drawn one that are not drawn.

    Returns:
        Masks (R, C) by index of slice.

    Raises:
        RoiError: Fewer than two slices are drawn.
        ValueError: A drawn slice is empty, or a wanted one lies outside of the drawn ones: nothing is known there.
    """
    from scipy.interpolate import PchipInterpolator

    keys = sorted(drawn)
    if len(keys) < 2:
        raise RoiError(
            where="interpolation",
            expected="at least two drawn slices",
            found=str(len(keys)),
            remedy="draw the first and the last slice of the tumor, and some between them",
        )
    if any(not keys[0] <= index <= keys[-1] for index in wanted) or not all(drawn[key].any() for key in keys):
        raise ValueError("slices between drawn ones, of which none is empty")
    missing = wanted or [index for index in range(keys[0], keys[-1]) if index not in drawn]
    shape = drawn[keys[0]].shape
    rows, columns = _window(np.any([drawn[key] for key in keys], axis=0), 2)
    distances = PchipInterpolator(
        keys, np.stack([_signed_distance(drawn[key][rows, columns], spacing_mm) for key in keys])
    )
    areas = PchipInterpolator(keys, [float(np.count_nonzero(drawn[key])) for key in keys])
    made = {}
    for index in missing:
        distance, n_px = distances(index), max(round(float(areas(index))), 1)
        least = np.partition(distance, -n_px, axis=None)[-n_px]
        made[index] = np.zeros(shape, np.bool_)
        made[index][rows, columns] = distance >= least
    return made


def _signed_distance(mask: Bools, spacing_mm: tuple[float, float]) -> Floats:
    """Distance in mm of each voxel (R, C) from the outline, positive inside."""
    from scipy.ndimage import distance_transform_edt

    half = min(spacing_mm) / 2
    inside: Floats = distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1]
    outside: Floats = distance_transform_edt(~mask, sampling=spacing_mm)
    return np.where(mask, inside - half, half - outside)


def _window(mask: Bools, margin: int) -> tuple[slice, slice]:
    """The rows and columns around a mask (R, C), with a margin."""
    spans = []
    for axis in (1, 0):
        own = np.flatnonzero(mask.any(axis=axis))
        spans.append(slice(max(int(own[0]) - margin, 0), int(own[-1]) + margin + 1))
    return spans[0], spans[1]

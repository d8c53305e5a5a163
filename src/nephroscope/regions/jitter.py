"""An ROI drawn a little otherwise, as by another hand: 2 mm larger, smaller, or shifted, within its slices."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from nephroscope.records import RoiMask

BY_MM = 2.0
OUT, IN = "2 mm larger", "2 mm smaller"
SHIFTS = {"2 mm left": (0, 1), "2 mm right": (0, -1), "2 mm forward": (-1, 0), "2 mm back": (1, 0)}
NAMES = (OUT, IN, *SHIFTS)  # directions are the patient's, on the usual axial grid

Bools = npt.NDArray[np.bool_]


def jittered(roi: RoiMask) -> Iterator[tuple[str, RoiMask]]:
    """The ROI in each of `NAMES` ways; what would be empty, or the same because pixels are large, is left out.

    A slice that would lose its whole outline when it is made smaller keeps it: no hand leaves out the tumor.
    """
    _, row_mm, col_mm = roi.geometry.spacing_mm
    spacing = (float(row_mm), float(col_mm))
    for name in NAMES:
        voxels = np.zeros_like(roi.voxels)
        for s in np.flatnonzero(roi.voxels.any(axis=(1, 2))):
            plane = roi.voxels[s]
            if name in SHIFTS:
                voxels[s] = _shifted(plane, SHIFTS[name], spacing)
            else:
                voxels[s] = _grown(plane, spacing) if name == OUT else _shrunk(plane, spacing)
        if voxels.any() and not np.array_equal(voxels, roi.voxels):
            yield name, replace(roi, voxels=voxels)


def _grown(plane: Bools, spacing: tuple[float, float]) -> Bools:
    """Pixels at most `BY_MM` from the plane's."""
    from scipy.ndimage import distance_transform_edt

    rows, cols = (np.flatnonzero(plane.any(axis=axis)) for axis in (1, 0))
    wide = [int(np.ceil(BY_MM / mm)) + 1 for mm in spacing]
    box = tuple(
        slice(max(int(found[0]) - w, 0), int(found[-1]) + w + 1)
        for found, w in zip((rows, cols), wide, strict=True)
    )
    grown = plane.copy()
    grown[box] = distance_transform_edt(~plane[box], sampling=spacing) <= BY_MM
    return grown


def _shrunk(plane: Bools, spacing: tuple[float, float]) -> Bools:
    """Pixels of the plane more than `BY_MM` from those outside; the plane itself where none is left."""
    left = plane & ~_grown(~plane, spacing) if not plane.all() else plane
    return left if left.any() else plane


def _shifted(plane: Bools, way: tuple[int, int], spacing: tuple[float, float]) -> Bools:
    """The plane moved by `BY_MM`, to the nearest whole pixel and at least one; what leaves the image is lost."""
    moved = np.zeros_like(plane)
    steps = [sign * max(1, round(BY_MM / mm)) if sign else 0 for sign, mm in zip(way, spacing, strict=True)]
    target, source = [], []
    for step, n in zip(steps, plane.shape, strict=True):
        target.append(slice(max(step, 0), n + min(step, 0)))
        source.append(slice(max(-step, 0), n + min(-step, 0)))
    moved[tuple(target)] = plane[tuple(source)]
    return moved

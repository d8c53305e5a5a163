"""The three planes of a volume as they are looked at, and which letters stand at their edges."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from nephroscope.records import Finding, VolumeGeometry

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = get_args(Plane)
_ENDS = ("RL", "AP", "IS")  # names of both ends of the LPS axes, the lower first; I is toward the feet
OBLIQUE = 0.26  # sine of 15 degrees: a smaller part of a direction gets no letter
UNPLACED = {"orientation-unknown", "spacing-unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """What lies at the edges of a picture: ``R``, ``L`` ...; two letters where the series is oblique, or none."""

    left: str = ""
    right: str = ""
    top: str = ""
    bottom: str = ""


def cut_plane(hu: npt.NDArray[np.int16], plane: Plane, index: int) -> npt.NDArray[np.int16]:
    """One plane of a volume as it is looked at: right of the patient on the left, front or head up.

    Args:
        hu: (S, R, C) on the canonical grid: from feet to head, front to back, right to left.
        plane: ``axial`` gives (R, C); ``coronal`` (S, C) and ``sagittal`` (S, R), both with the head up. A sagittal
            plane has the front on the left.
        index: Slice, row or column.
    """
    cut: npt.NDArray[np.int16] = np.moveaxis(hu, PLANES.index(plane), 0)[index]
    if plane != "axial":
        cut = cut[::-1]
    return cut


def n_planes(shape: tuple[int, int, int], plane: Plane) -> int:
    """How many planes of a kind a volume has."""
    return shape[PLANES.index(plane)]


def letters_of(geometry: VolumeGeometry, findings: tuple[Finding, ...]) -> dict[Plane, Letters]:
    """Letters at the edges of each plane, by the direction cosines; none where the orientation is not known."""
    if UNPLACED & {finding.code for finding in findings}:
        return {plane: Letters() for plane in PLANES}
    slices, rows, columns = (geometry.affine[:3, :3] / np.array(geometry.spacing_mm)).T
    shown = {"axial": (columns, rows), "coronal": (columns, -slices), "sagittal": (rows, -slices)}
    return {
        plane: Letters(
            left=_letters(-shown[plane][0]),
            right=_letters(shown[plane][0]),
            top=_letters(-shown[plane][1]),
            bottom=_letters(shown[plane][1]),
        )
        for plane in PLANES
    }


def _letters(direction: npt.NDArray[np.float64]) -> str:
    """Where a unit vector in LPS points, the larger part first."""
    order = np.argsort(-np.abs(direction), kind="stable")
    return "".join(_ENDS[axis][int(direction[axis] > 0)] for axis in order if abs(direction[axis]) >= OBLIQUE)

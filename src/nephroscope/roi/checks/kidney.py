"""How a tumor lies to the kidneys: masks on one grid in, gap in mm, overlap, side and mirror images out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.records import CTVolume, RoiMask
from nephroscope.roi.checks.anatomy import hu_share
from nephroscope.roi.checks.measure import Side, crop, mean_index

Bools = npt.NDArray[np.bool_]
SOFT_HU = (-29, 300)
LEAST_SOFT = 0.9  # of a mirrored tumor, where no kidney can say that it is right
LEAST_SOFT_BY_KIDNEY = 0.5  # of one that comes from elsewhere to a kidney
FLIPS = {
    "head to foot": (0,),
    "left to right": (2,),
    "front to back": (1,),
    "left to right and front to back": (1, 2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToKidney:
    """A tumor beside the kidneys.

    Attributes:
        gap_mm: Between the centers of the nearest voxels; 0 where they touch or overlap.
        dice: With the kidney it is most like: 1 when the ROI is that kidney.
        side: Of the kidney whose center is nearer, where left and right are told apart.
    """

    gap_mm: float
    dice: float
    side: Side


def compare_with_kidney(roi: RoiMask, organs: Mapping[str, Bools]) -> ToKidney:
    """Gap, overlap and side; ``organs`` holds ``kidney`` and perhaps ``kidney_left`` and ``kidney_right``."""
    spacing = np.array(roi.geometry.spacing_mm)
    box, start = crop(roi.voxels)
    boxes = {name: crop(organs[name]) for name in ("kidney_left", "kidney_right", "kidney") if name in organs}
    dice = max(_dice(box, start, organs[name], kidney) for name, (kidney, _) in boxes.items())
    middle = _middle_mm(box, start, spacing)
    away = {name: np.linalg.norm(_middle_mm(*boxes[name], spacing) - middle) for name in boxes}
    side: Side = "unknown"
    if "kidney_left" in away and "kidney_right" in away:
        side = "left" if away["kidney_left"] < away["kidney_right"] else "right"
    return ToKidney(gap_mm=gap_mm(roi.voxels, organs["kidney"], spacing), dice=dice, side=side)


def gap_mm(one: Bools, two: Bools, spacing_mm: npt.NDArray[np.float64]) -> float:
    """Distance in mm between the centers of the nearest voxels of two masks (S, R, C); 0 where they touch."""
    box, start = crop(one)
    if _touch(box, start, two):
        return 0.0
    surface = (np.argwhere(_surface(box)) + start) * spacing_mm
    other, start = crop(two)
    others = (np.argwhere(_surface(other)) + start) * spacing_mm
    others -= (zero := surface.mean(axis=0))
    surface -= zero
    low, high = surface.min(axis=0), surface.max(axis=0)
    # Nearest to the box of the first come first; when that is further than what was found, it is the nearest.
    to_box = np.linalg.norm(np.maximum(0, np.maximum(low - others, others - high)), axis=1)
    order = np.argsort(to_box)
    best, squared = np.inf, (surface**2).sum(1)
    for first in range(0, len(order), 128):
        block = order[first : first + 128]
        if to_box[block[0]] >= best:
            break
        squares = (others[block] ** 2).sum(1)[:, None] + squared - 2 * others[block] @ surface.T
        best = min(best, float(np.sqrt(max(squares.min(), 0))))
    return best


def mirrored_words(
    volume: CTVolume, roi: RoiMask, kidney: Bools | None, least_soft: float = LEAST_SOFT
) -> str:
    """The flips that put a misplaced ROI on a kidney or, where none is known, on soft tissue; empty if none does.

    Args:
        volume: The CT.
        roi: As it lies.
        kidney: Which the flipped ROI must touch, or None.
        least_soft: Share of the flipped ROI that must be soft tissue.
    """
    found = []
    for direction, axes in FLIPS.items():
        flipped = np.flip(roi.voxels, axes)
        soft = hu_share(volume.hu[flipped], *SOFT_HU)
        if soft > least_soft and (kidney is None or _touch(*crop(flipped), kidney)):
            found.append(direction)
    return " or ".join(found)


def _touch(box: Bools, start: npt.NDArray[np.int64], other: Bools) -> bool:
    """True when masks overlap or have voxels that are neighbours, by a corner at least."""
    wide = np.pad(box, 1)
    for axis in range(3):
        ahead, behind = np.roll(wide, 1, axis), np.roll(wide, -1, axis)
        wide = wide | ahead | behind
    low = np.maximum(start - 1, 0)
    high = np.minimum(start - 1 + wide.shape, other.shape)
    there = other[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    here = wide[tuple(slice(a, b) for a, b in zip(low - start + 1, high - start + 1, strict=True))]
    return bool((here & there).any())


def _surface(box: Bools) -> Bools:
    """Voxels with a face to the outside."""
    wide = np.pad(box, 1)
    inner = wide.copy()
    for axis in range(3):
        inner &= np.roll(wide, 1, axis) & np.roll(wide, -1, axis)
    return box & ~inner[1:-1, 1:-1, 1:-1]


def _dice(box: Bools, start: npt.NDArray[np.int64], other: Bools, other_box: Bools) -> float:
    there = other[tuple(slice(first, first + n) for first, n in zip(start, box.shape, strict=True))]
    both = np.count_nonzero(box & there)
    return 2 * both / (np.count_nonzero(box) + np.count_nonzero(other_box))


def _middle_mm(
    box: Bools, start: npt.NDArray[np.int64], spacing_mm: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Center of mass in mm from the first voxel of the volume."""
    middle: npt.NDArray[np.float64] = (mean_index(box) + start) * spacing_mm
    return middle

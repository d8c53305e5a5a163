"""Where a tumor lies in the body and to the kidneys: HU under it, gap in mm, overlap, side and mirror images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.imaging.grid import median
from nephroscope.records import CTVolume, RoiMask
from nephroscope.records.prediction import Side
from nephroscope.regions.enhancement import depth_mm
from nephroscope.regions.measure import crop, find_parts, mean_index

Bools = npt.NDArray[np.bool_]
AIR_BELOW_HU, DENSE_ABOVE_HU = -300, 300
FAT_HU = (-150, -30)
COARSE_MM = 3.0  # pixel size for finding the body, whose edge is then known to about this much
TABLE_MM = 12.0  # anything thinner next to the body is table, blanket or tube
MOST_SLICES = 40  # of a tumor in which the body is searched
MIDLINE_MM = 15.0  # a tumor closer than this to the midline is on neither side


@dataclass(frozen=True, eq=False, kw_only=True)
class CtUnderTumor:
    """The CT under a tumor.

    Attributes:
        mean_hu, median_hu: Mean and median of the tumor's voxels.
        fat_share: Share of the tumor's voxels with the HU of fat, -150 to -30.
        air_share: Share below -300 HU.
        dense_share: Share above 300 HU: bone, metal, contrast medium in a vessel or in the renal pelvis.
        outside_share: Share of the tumor's voxels outside the body.
        body_share: Share of the body, in the tumor's slices, that is tumor.
        midline_mm: LPS x of the middle of the body at the tumor; None without a body.
    """

    mean_hu: float
    median_hu: float
    fat_share: float
    air_share: float
    dense_share: float
    outside_share: float
    body_share: float
    midline_mm: float | None


def measure_ct_under(volume: CTVolume, roi: RoiMask) -> CtUnderTumor:
    """HU, body and midline of the CT under the tumor."""
    box, start = crop(roi.voxels)
    inside = tuple(slice(first, first + n) for first, n in zip(start, box.shape, strict=True))
    under = volume.hu[inside][box]
    # Body and tumor are compared on a coarse grid: every third millimetre and at most MOST_SLICES slices.
    spacing = volume.geometry.spacing_mm
    steps = np.array([-(-box.shape[0] // MOST_SLICES), *(max(1, int(COARSE_MM / mm)) for mm in spacing[1:])])
    coarse = volume.hu[inside[0]][:: steps[0], :: steps[1], :: steps[2]]
    body = find_body(coarse, float(np.mean(steps[1:] * spacing[1:])))
    slices, rows, cols = np.nonzero(box[:: steps[0]])
    row, col = (
        np.minimum((place + first + step // 2) // step, n - 1)  # a coarse pixel stands for those around it
        for place, first, step, n in zip((rows, cols), start[1:], steps[1:], body.shape[1:], strict=True)
    )
    n_body = np.count_nonzero(body) * int(steps.prod())
    midline = None
    if n_body:
        middle = np.array([place.mean() for place in np.nonzero(body)]) * steps + (start[0], 0, 0)
        midline = float((volume.geometry.affine @ (*middle, 1))[0])
    return CtUnderTumor(
        mean_hu=float(under.mean()),
        median_hu=median(under),
        fat_share=hu_share(under, *FAT_HU),
        air_share=hu_share(under, -32768, AIR_BELOW_HU - 1),
        dense_share=hu_share(under, DENSE_ABOVE_HU + 1, 32767),
        outside_share=float(1 - body[slices, row, col].mean()),
        body_share=under.size / n_body if n_body else 0.0,
        midline_mm=midline,
    )


SHELL_MM = (2.0, 15.0)  # the edge itself is drawn to a pixel or two
SHELL_GRID_MM = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """What lies 2 to 15 mm around a tumor.

    Attributes:
        fat_share: Share at most 0 HU: fat, air, lung.
        bright_share: Share above 150 HU: kidney after contrast, vessels, bone.
    """

    fat_share: float
    bright_share: float


def measure_shell(volume: CTVolume, voxels: Bools, within_slices: bool = False) -> Shell | None:
    """What lies around a tumor (S, R, C), on a grid of about 2 mm; None where nothing of that is in the CT.

    Args:
        volume: CT in HU.
        voxels: The tumor.
        within_slices: Slices are separate, as in slice images.
    """
    spacing = np.array(volume.geometry.spacing_mm)
    if within_slices:
        spacing[0] = np.inf
    box, start = crop(voxels)
    reach = np.ceil(SHELL_MM[1] / spacing).astype(np.int64)
    low, high = np.maximum(start - reach, 0), np.minimum(start + box.shape + reach, voxels.shape)
    steps = np.maximum(1, np.round(SHELL_GRID_MM / spacing).astype(np.int64))
    near = tuple(slice(a, b, step) for a, b, step in zip(low, high, steps, strict=True))
    tumor = voxels[near]
    if not tumor.any():
        return None
    s, r, c = (float(mm) for mm in spacing * steps)
    margin = [(int(n), int(n)) for n in -(-reach // steps) + 1]  # so that the edge of the box is no tumor
    inner = tuple(slice(before, -after) for before, after in margin)
    away = depth_mm(np.pad(~tumor, margin, constant_values=True), (s, r, c), SHELL_MM[1] + 1)[inner]
    shell = volume.hu[near][(away > SHELL_MM[0]) & (away < SHELL_MM[1])]
    if not shell.size:
        return None
    return Shell(fat_share=hu_share(shell, -32768, 0), bright_share=hu_share(shell, 151, 32767))


def hu_share(hu: npt.NDArray[np.int16], low: float, high: float) -> float:
    """Share of voxels from ``low`` to ``high`` HU."""
    return float(((hu >= low) & (hu <= high)).mean())


def find_body(hu: npt.NDArray[np.int16] | npt.NDArray[np.float32], pixel_mm: float) -> Bools:
    """The filled body in a stack of slices (S, R, C), with bowel gas and lung, without table and blanket.

    Anything thinner than `TABLE_MM` is removed, then parts smaller than a tenth of the largest; what was near is
    added again, and holes are filled slice by slice.
    """
    dense = hu >= AIR_BELOW_HU
    thin_px = max(1, round(TABLE_MM / 2 / pixel_mm))
    core = ~grown(~dense, thin_px)
    parts = find_parts(core)
    if not parts.sizes.size:
        return dense
    core = parts.mask(parts.sizes * 10 >= parts.sizes.max())
    return _filled(grown(core, thin_px + 1) & dense)


def grown(mask: Bools, n_px: int) -> Bools:
    """A mask (S, R, C) grown within its slices by a square of ``n_px`` on each side."""
    for axis in (1, 2):
        out = mask.copy()
        for step in range(1, n_px + 1):
            near, far = [slice(None)] * 3, [slice(None)] * 3
            near[axis], far[axis] = slice(step, None), slice(None, -step)
            out[tuple(near)] |= mask[tuple(far)]
            out[tuple(far)] |= mask[tuple(near)]
        mask = out
    return mask


def _filled(body: Bools) -> Bools:
    """The body with everything that the surrounding air cannot reach within a slice."""
    around = np.pad(~body, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    parts = find_parts(around, corners=False, within_slices=True)
    _, rows, cols = around.shape
    at_corner = parts.part[parts.start % (rows * cols) == 0]
    outside = np.zeros(parts.sizes.size, np.bool_)
    outside[at_corner] = True
    return ~parts.mask(outside)[:, 1:-1, 1:-1]


def side_of(x_mm: float, midline_mm: float | None) -> Side:
    """Side of the patient by LPS x; unknown near the midline or without one."""
    if midline_mm is None or abs(x_mm - midline_mm) < MIDLINE_MM:
        return "unknown"
    return "left" if x_mm > midline_mm else "right"


SOFT_HU = (-29, 300)
LEAST_SOFT = 0.9  # share of soft tissue under a mirrored tumor where no kidney is known
LEAST_SOFT_BY_KIDNEY = 0.5  # the same where it then lies on a kidney
FLIPS = {
    "head to foot": (0,),
    "left to right": (2,),
    "front to back": (1,),
    "left to right and front to back": (1, 2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KidneyRelation:
    """Where a tumor lies to the kidneys.

    Attributes:
        gap_mm: Distance between the centers of the nearest voxels; 0 where they touch or overlap.
        dice: Dice with the most similar kidney: 1 when the ROI is that kidney.
        side: Side of the nearer kidney, where left and right are known.
    """

    gap_mm: float
    dice: float
    side: Side


def compare_with_kidney(roi: RoiMask, organs: Mapping[str, Bools]) -> KidneyRelation:
    """Gap, overlap and side; ``organs`` holds ``kidney``, and ``kidney_left`` and ``kidney_right`` where known."""
    spacing = np.array(roi.geometry.spacing_mm)
    box, start = crop(roi.voxels)
    boxes = {name: crop(organs[name]) for name in ("kidney_left", "kidney_right", "kidney") if name in organs}
    dice = max(_dice(box, start, organs[name], kidney) for name, (kidney, _) in boxes.items())
    middle = _middle_mm(box, start, spacing)
    away = {name: np.linalg.norm(_middle_mm(*boxes[name], spacing) - middle) for name in boxes}
    side: Side = "unknown"
    if "kidney_left" in away and "kidney_right" in away:
        side = "left" if away["kidney_left"] < away["kidney_right"] else "right"
    return KidneyRelation(gap_mm=gap_mm(roi.voxels, organs["kidney"], spacing), dice=dice, side=side)


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
    # The points nearest to the box come first; when the next is further than the best found, that is the nearest.
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


def mirrored_axes(
    volume: CTVolume, roi: RoiMask, kidney: Bools | None, least_soft: float = LEAST_SOFT
) -> str:
    """The flips that would put a misplaced ROI on a kidney or, without one, on soft tissue; empty if none does."""
    found = []
    for direction, axes in FLIPS.items():
        flipped = np.flip(roi.voxels, axes)
        soft = hu_share(volume.hu[flipped], *SOFT_HU)
        if soft > least_soft and (kidney is None or _touch(*crop(flipped), kidney)):
            found.append(direction)
    return " or ".join(found)


def _touch(box: Bools, start: npt.NDArray[np.int64], other: Bools) -> bool:
    """True when masks overlap or have neighbouring voxels, at least by a corner."""
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
    """Voxels with a face on the outside."""
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

"""What lies under a tumor: CT and ROI in, body, midline and the HU of the drawn region out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.records import CTVolume, RoiMask
from nephroscope.roi.checks.measure import Side, crop
from nephroscope.roi.checks.parts import find_parts

Bools = npt.NDArray[np.bool_]
AIR_BELOW_HU, DENSE_ABOVE_HU = -300, 300
FAT_HU = (-150, -30)
COARSE_MM = 3.0  # pixel at which the body is sought; its edge is known to about so much
TABLE_MM = 12.0  # what is thinner than this beside the body is table, blanket or tube
MOST_SLICES = 40  # of a tumor on which the body is sought
MIDLINE_MM = 15.0  # nearer than this to the midline, a tumor is on neither side


@dataclass(frozen=True, eq=False, kw_only=True)
class Underlying:
    """The CT under a tumor.

    Attributes:
        mean_hu, median_hu: Of the tumor's voxels.
        fat_share: Of the tumor's voxels that have the HU of fat, -150 to -30.
        air_share: Below -300 HU.
        dense_share: Above 300 HU: bone, metal, contrast in a vessel or in the renal pelvis.
        outside_share: Of the tumor's voxels that lie outside the body.
        body_share: Of the body, in the tumor's slices, that is tumor.
        midline_mm: LPS x of the body's middle at the tumor; None without a body.
    """

    mean_hu: float
    median_hu: float
    fat_share: float
    air_share: float
    dense_share: float
    outside_share: float
    body_share: float
    midline_mm: float | None


def look_under(volume: CTVolume, roi: RoiMask) -> Underlying:
    """What the CT says about the region drawn as tumor."""
    box, start = crop(roi.voxels)
    inside = tuple(slice(first, first + n) for first, n in zip(start, box.shape, strict=True))
    under = volume.hu[inside][box]
    # Body and tumor are compared on a coarse grid: every third millimetre, and at most MOST_SLICES slices.
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
    return Underlying(
        mean_hu=float(under.mean()),
        median_hu=float(np.median(under)),
        fat_share=hu_share(under, *FAT_HU),
        air_share=hu_share(under, -32768, AIR_BELOW_HU - 1),
        dense_share=hu_share(under, DENSE_ABOVE_HU + 1, 32767),
        outside_share=float(1 - body[slices, row, col].mean()),
        body_share=under.size / n_body if n_body else 0.0,
        midline_mm=midline,
    )


def hu_share(hu: npt.NDArray[np.int16], low: float, high: float) -> float:
    """Share of these voxels from ``low`` to ``high`` HU."""
    return float(((hu >= low) & (hu <= high)).mean())


def find_body(hu: npt.NDArray[np.int16], pixel_mm: float) -> Bools:
    """The body in a stack of slices (S, R, C), filled: bowel gas and lung belong to it, table and blanket do not.

    What is thinner than `TABLE_MM` is taken away, then parts smaller than a tenth of the largest; what was near
    comes back, and holes are filled slice by slice.
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
    """A mask (S, R, C) grown within its slices by a square of ``n_px`` to each side."""
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
    """The body with what the air around it cannot reach within a slice."""
    around = np.pad(~body, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    parts = find_parts(around, corners=False, within_slices=True)
    _, rows, cols = around.shape
    at_corner = parts.part[parts.start % (rows * cols) == 0]
    outside = np.zeros(parts.sizes.size, np.bool_)
    outside[at_corner] = True
    return ~parts.mask(outside)[:, 1:-1, 1:-1]


def side_of(x_mm: float, midline_mm: float | None) -> Side:
    """Left or right of the patient by LPS x; unknown near the midline or without one."""
    if midline_mm is None or abs(x_mm - midline_mm) < MIDLINE_MM:
        return "unknown"
    return "left" if x_mm > midline_mm else "right"

"""A proposed mask against the drawn one: overlap, tumors found and missed, false alarms, what is measured in both.

A tumor that was missed counts: its Dice is 0. Parts of the masks that do not touch are tumors of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from nephroscope.records import CTVolume, VolumeGeometry
from nephroscope.regions.measure import axial_diameter_mm, crop, find_parts
from nephroscope.regions.surface import TOLERANCE_MM, surface_dice

Bools = npt.NDArray[np.bool_]
FOUND_IOU = (
    0.1  # a part is the tumor it overlaps so far. Source: PI-CAI, Saha et al. 2024, Lancet Oncol 25:879
)
LEAST_ML = 0.065  # a sphere of 5 mm; smaller parts are no tumors and no alarms
ON_CYST = 0.5  # share of a false alarm that lies on cysts


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A proposed mask of one CT against the drawn one.

    Attributes:
        dice: Twice the common voxels divided by those of both; 0 without a proposal.
        surface_dice: Share of both surfaces within the tolerance of the other; 0 without a proposal.
        n_tumors: Drawn parts.
        n_found: Those that a proposed part overlaps enough.
        n_false: Proposed parts that are none of them, without those on cysts.
        n_on_cysts: False alarms that lie mostly on a cyst.
        volume_ml, proposed_ml: Of both masks.
        diameter_mm: Largest axial diameter of the drawn mask.
        mean_hu: Of the CT under it.
        diameter_error_mm, mean_hu_error: Proposed minus drawn; None without a proposal.
    """

    dice: float
    surface_dice: float
    n_tumors: int
    n_found: int
    n_false: int
    n_on_cysts: int
    volume_ml: float
    proposed_ml: float
    diameter_mm: float
    mean_hu: float
    diameter_error_mm: float | None
    mean_hu_error: float | None


def detect(
    volume: CTVolume,
    drawn: Bools,
    proposed: Bools,
    organs: Mapping[str, Bools],
    tolerance_mm: float = TOLERANCE_MM,
) -> Detection:
    """Compare a proposed mask (S, R, C), which may be empty, with the drawn one, which may not.

    Args:
        volume: CT of both.
        drawn: All tumors of the patient on it.
        proposed: What a program drew.
        organs: With ``cyst``, where cysts are known.
        tolerance_mm: Of the surface Dice.
    """
    geometry = volume.geometry
    box, offset = crop(drawn | proposed)
    window = tuple(slice(first, first + n) for first, n in zip(offset, box.shape, strict=True))
    one, two, hu = drawn[window], proposed[window], volume.hu[window]
    voxel_ml = abs(float(np.linalg.det(geometry.affine[:3, :3]))) / 1000
    n_one, n_two = int(np.count_nonzero(one)), int(np.count_nonzero(two))
    tumors, parts = _parts(one, voxel_ml), _parts(two, voxel_ml)
    hits = _matched(tumors, parts)
    cyst = organs["cyst"][window] if "cyst" in organs else np.zeros_like(one)
    false = [part for number, part in enumerate(parts) if number not in hits]
    on_cysts = [part for part in false if np.count_nonzero(part & cyst) >= ON_CYST * np.count_nonzero(part)]
    diameter_mm, mean_hu = _largest(one, geometry), float(hu[one].mean())
    return Detection(
        dice=2 * int(np.count_nonzero(one & two)) / (n_one + n_two),
        surface_dice=surface_dice(one, two, geometry.affine, tolerance_mm, geometry.shape[0] == 1),
        n_tumors=len(tumors),
        n_found=len(hits),
        n_false=len(false) - len(on_cysts),
        n_on_cysts=len(on_cysts),
        volume_ml=n_one * voxel_ml,
        proposed_ml=n_two * voxel_ml,
        diameter_mm=diameter_mm,
        mean_hu=mean_hu,
        diameter_error_mm=_largest(two, geometry) - diameter_mm if n_two else None,
        mean_hu_error=float(hu[two].mean()) - mean_hu if n_two else None,
    )


def _largest(mask: Bools, geometry: VolumeGeometry) -> float:
    """Largest axial diameter in mm of the largest part."""
    found = find_parts(mask)
    return axial_diameter_mm(crop(found.mask(found.sizes == found.sizes.max()))[0], geometry.affine)


def _parts(mask: Bools, voxel_ml: float) -> list[Bools]:
    """The parts that are large enough; the largest where none is."""
    if not mask.any():
        return []
    found = find_parts(mask)
    least = min(LEAST_ML / voxel_ml, found.sizes.max())
    numbers = range(found.sizes.size)
    return [found.mask(np.arange(found.sizes.size) == n) for n in numbers if found.sizes[n] >= least]


def _matched(tumors: list[Bools], parts: list[Bools]) -> dict[int, int]:
    """Number of the tumor that each part is, by number of the part; the best overlaps first, each once."""
    overlaps = []
    for (t, tumor), (p, part) in product(enumerate(tumors), enumerate(parts)):
        both = np.count_nonzero(tumor & part)
        if both:
            overlaps.append((both / np.count_nonzero(tumor | part), t, p))
    found: dict[int, int] = {}
    for iou, t, p in sorted(overlaps, key=lambda one: (-one[0], one[1], one[2])):
        if iou >= FOUND_IOU and p not in found and t not in found.values():
            found[p] = t
    return found

"""Compare two annotators' masks of one tumor: overlap, surfaces, volumes, slices."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError
from nephroscope.imaging.grid import describe
from nephroscope.records import RoiMask
from nephroscope.regions.measure import axial_diameter_mm, crop
from nephroscope.regions.surface import TOLERANCE_MM, surface_dice

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class SurfaceDistances:
    """Distance of each border voxel of one mask from the nearest border voxel of the other.

    Attributes:
        one_to_two_mm: For the border voxels of the first mask (n,).
        two_to_one_mm: For those of the second mask (m,).
    """

    one_to_two_mm: Floats
    two_to_one_mm: Floats

    @property
    def largest_mm(self) -> float:
        """Hausdorff distance: the largest distance in either direction."""
        return float(max(self.one_to_two_mm.max(), self.two_to_one_mm.max()))

    @property
    def hd95_mm(self) -> float:
        """The larger of the 95th percentiles of the two directions, each interpolated between neighbours."""
        return float(max(np.percentile(d, 95) for d in (self.one_to_two_mm, self.two_to_one_mm)))

    @property
    def mean_mm(self) -> float:
        """Mean of the means of the two directions, so that the larger surface does not weigh more."""
        return float((self.one_to_two_mm.mean() + self.two_to_one_mm.mean()) / 2)


def surface_distances(one: Bools, two: Bools, affine: Floats, flat: bool = False) -> SurfaceDistances:
    """Distances between the surfaces of two masks; time and memory grow with the surfaces, not with the volume.

    Args:
        one: Mask (S, R, C) with at least one voxel.
        two: Of the same shape, also not empty.
        affine: 4x4 from index to mm.
        flat: True for a single slice: its outline is its surface.
    """
    from scipy.spatial import cKDTree

    one_mm, two_mm = border(one, affine, flat), border(two, affine, flat)
    return SurfaceDistances(
        one_to_two_mm=cKDTree(two_mm).query(one_mm)[0], two_to_one_mm=cKDTree(one_mm).query(two_mm)[0]
    )


def border(voxels: Bools, affine: Floats, flat: bool = False) -> Floats:
    """Centers (n, 3) in mm of the voxels of a mask with a neighbor outside it, of a flat one within its slice."""
    box, offset = crop(voxels)
    padded = np.pad(box, 1)
    middle = (slice(1, -1),) * 3
    shown = np.zeros_like(box)
    for axis in (1, 2) if flat else (0, 1, 2):
        for step in (-1, 1):
            shown |= box & ~np.roll(padded, step, axis)[middle]
    places: Floats = (np.argwhere(shown) + offset) @ affine[:3, :3].T + affine[:3, 3]
    return places


Range = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiAgreement:
    """Agreement of two annotators on one tumor. Differences are second minus first.

    Attributes:
        case_id: Case, or label of a segment.
        dice: Twice the common voxels divided by the voxels of both.
        surface_dice: Share of both surfaces within ``tolerance_mm`` of the other; see `surface_dice`.
        tolerance_mm: Tolerance of the surface Dice.
        hd95_mm: The larger of the 95th percentiles of surface distance in the two directions.
        hausdorff_mm: Largest surface distance.
        mean_surface_mm: Mean of the mean surface distances in the two directions.
        volume_ml_1, volume_ml_2: Volume of each annotator's mask.
        volume_difference_ml: Second minus first.
        volume_difference_percent: The same in percent of the mean of both volumes.
        diameter_mm_1, diameter_mm_2: Largest diameter within one slice.
        n_slices_both: Slices on which both drew.
        slices_only_1, slices_only_2: Slices, from 0 at the feet, on which only one annotator drew.
        box: First and last slice, row and column of both masks together.
    """

    case_id: str
    dice: float
    surface_dice: float
    tolerance_mm: float
    hd95_mm: float
    hausdorff_mm: float
    mean_surface_mm: float
    volume_ml_1: float
    volume_ml_2: float
    volume_difference_ml: float
    volume_difference_percent: float
    diameter_mm_1: float
    diameter_mm_2: float
    n_slices_both: int
    slices_only_1: tuple[int, ...]
    slices_only_2: tuple[int, ...]
    box: tuple[Range, Range, Range]


def compare(one: RoiMask, two: RoiMask, tolerance_mm: float = TOLERANCE_MM) -> RoiAgreement:
    """Compare two annotators' masks of one tumor, within the box that holds both.

    Raises:
        RoiError: They lie on different grids.
    """
    check_same_grid(one, two)
    affine = one.geometry.affine
    box, offset = crop(one.voxels | two.voxels)
    window = tuple(slice(first, first + n) for first, n in zip(offset, box.shape, strict=True))
    a, b = one.voxels[window], two.voxels[window]
    n_a, n_b = int(np.count_nonzero(a)), int(np.count_nonzero(b))
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    flat = one.geometry.shape[0] == 1
    surfaces = surface_distances(a, b, affine, flat)
    spans = [(first, first + n - 1) for first, n in zip(offset.tolist(), box.shape, strict=True)]
    drew_a, drew_b = a.any(axis=(1, 2)), b.any(axis=(1, 2))
    return RoiAgreement(
        case_id=one.case_id,
        dice=2 * int(np.count_nonzero(a & b)) / (n_a + n_b),
        surface_dice=surface_dice(a, b, affine, tolerance_mm, flat),
        tolerance_mm=tolerance_mm,
        hd95_mm=surfaces.hd95_mm,
        hausdorff_mm=surfaces.largest_mm,
        mean_surface_mm=surfaces.mean_mm,
        volume_ml_1=n_a * voxel_ml,
        volume_ml_2=n_b * voxel_ml,
        volume_difference_ml=(n_b - n_a) * voxel_ml,
        volume_difference_percent=200 * (n_b - n_a) / (n_a + n_b),
        diameter_mm_1=axial_diameter_mm(crop(a)[0], affine),
        diameter_mm_2=axial_diameter_mm(crop(b)[0], affine),
        n_slices_both=int(np.count_nonzero(drew_a & drew_b)),
        slices_only_1=tuple((np.flatnonzero(drew_a & ~drew_b) + offset[0]).tolist()),
        slices_only_2=tuple((np.flatnonzero(drew_b & ~drew_a) + offset[0]).tolist()),
        box=(spans[0], spans[1], spans[2]),
    )


def check_same_grid(one: RoiMask, two: RoiMask) -> None:
    """Refuse two masks that cannot be compared voxel by voxel.

    Raises:
        RoiError: They lie on different grids.
    """
    if not one.geometry.matches(two.geometry):
        raise RoiError(
            where=f"case {one.case_id}",
            expected=f"both annotators' ROIs on one grid, {describe(one.geometry)}",
            found=f"the second one on {describe(two.geometry)}",
            remedy="export both ROIs on the grid of their CT",
        )

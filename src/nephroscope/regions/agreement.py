"""Compare two annotators' masks of one tumor: overlap, surfaces, volumes, slices."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError
from nephroscope.imaging.grid import describe
from nephroscope.records import RoiMask
from nephroscope.regions.measure import axial_diameter_mm, crop

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
TOLERANCE_MM = 2.0


@dataclass(frozen=True, eq=False, kw_only=True)
class SurfaceDistances:
    """Distance of each border voxel of one mask from the nearest border voxel of the other.

    Attributes:
        one_to_two_mm: For the border voxels of the first mask (n,).
        two_to_one_mm: For those of the second mask (m,).
        one_mm2: Area of the outer faces of each border voxel of the first mask (n,).
        two_mm2: The same for the second mask (m,).
    """

    one_to_two_mm: Floats
    two_to_one_mm: Floats
    one_mm2: Floats
    two_mm2: Floats

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

    def dice(self, tolerance_mm: float = TOLERANCE_MM) -> float:
        """Surface Dice: share of the area of both surfaces that lies within a tolerance of the other surface.

        The default lies between the 1.15 mm that annotators with one protocol reach in renal tumors and the 2 to 3 mm
        that count as uncertainty of contouring.

        Source:
            Nikolov et al. 2021, J Med Internet Res 23:e26151. Tolerances: evaluation of KiTS21 (tumor 1.15 mm, from
            its annotators); AAPM TG-132, Brock et al. 2017, Med Phys 44:e43.
        """
        within = 0.0
        for distances, areas in ((self.one_to_two_mm, self.one_mm2), (self.two_to_one_mm, self.two_mm2)):
            within += float(areas[distances <= tolerance_mm + 1e-6].sum())
        return within / float(self.one_mm2.sum() + self.two_mm2.sum())


def surface_distances(one: Bools, two: Bools, affine: Floats) -> SurfaceDistances:
    """Distances between the surfaces of two masks; time and memory grow with the surfaces, not with the volume.

    Args:
        one: Mask (S, R, C) with at least one voxel.
        two: Of the same shape, also not empty.
        affine: 4x4 from index to mm.
    """
    from scipy.spatial import cKDTree

    one_mm, one_mm2 = border(one, affine)
    two_mm, two_mm2 = border(two, affine)
    return SurfaceDistances(
        one_to_two_mm=cKDTree(two_mm).query(one_mm)[0],
        two_to_one_mm=cKDTree(one_mm).query(two_mm)[0],
        one_mm2=one_mm2,
        two_mm2=two_mm2,
    )


def border(voxels: Bools, affine: Floats) -> tuple[Floats, Floats]:
    """Centers (n, 3) in mm of a mask's border voxels, and the area (n,) in mm2 of their outer faces."""
    box, offset = crop(voxels)
    padded = np.pad(box, 1)
    middle = (slice(1, -1),) * 3
    shown = np.zeros(box.shape)
    axes = affine[:3, :3].T
    for axis in range(3):
        face_mm2 = float(np.linalg.norm(np.cross(axes[axis - 1], axes[axis - 2])))
        for step in (-1, 1):
            shown += face_mm2 * (box & ~np.roll(padded, step, axis)[middle])
    index = np.argwhere(shown)
    return (index + offset) @ axes + affine[:3, 3], shown[tuple(index.T)]


Range = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiAgreement:
    """Agreement of two annotators on one tumor. Differences are second minus first.

    Attributes:
        case_id: Case, or label of a segment.
        dice: Twice the common voxels divided by the voxels of both.
        surface_dice: Share of both surfaces within ``tolerance_mm`` of the other; see `SurfaceDistances.dice`.
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
    surfaces = surface_distances(a, b, affine)
    spans = [(first, first + n - 1) for first, n in zip(offset.tolist(), box.shape, strict=True)]
    drew_a, drew_b = a.any(axis=(1, 2)), b.any(axis=(1, 2))
    return RoiAgreement(
        case_id=one.case_id,
        dice=2 * int(np.count_nonzero(a & b)) / (n_a + n_b),
        surface_dice=surfaces.dice(tolerance_mm),
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

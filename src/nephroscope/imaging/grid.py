"""One grid for every file format: arrays are turned to (S, R, C) in patient directions, and HU are checked."""

from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import SeriesError
from nephroscope.records import CTVolume, Finding, VolumeGeometry, warning

AIR_HU = -1024
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
OTHER_UNITS = {
    1: ("metres", 1000.0),
    3: ("micrometres", 0.001),
}  # of NIfTI's xyzt_units; any other value means mm
SHEAR_TOLERANCE = 2e-3  # sine of the largest angle that counts as no shear: 0.1 degrees
LEAST_MM, MOST_MM = 0.01, 100.0  # edges of a voxel of any CT or label map
MOST_VOXELS = 2**29  # of a volume: 1 GiB of int16, 2048 slices of 512 x 512
# Least shares of air and of soft tissue in a CT of a body.
AIR_SHARE, TISSUE_SHARE = 1e-4, 5e-3
SAMPLED_VOXELS = 10**6
# Air around and within a body: where there is much below -500 HU, some of it has these values.
AIR_HU_RANGE, MUCH_AIR, OF_AIR = (-1060, -930), 0.05, 0.02
# Width (right to left) and depth (front to back) in mm that the trunk of an adult can have, and the longest scan.
ADULT_MM = {"wide": (200.0, 700.0), "deep": (100.0, 600.0)}
LONGEST_SCAN_MM = 2200.0
BODY_HU = -300
LEAST_MATRIX = 80  # rows and columns; smaller images are crops
SAMPLED_SLICES = 15
LEAST_BODY = 0.25  # of the longest row or column through the body; the table is thinner


def median(values: npt.NDArray[Any]) -> float:
    """The middle of these numbers. `numpy.median` would load masked arrays, a hundredth of a first answer."""
    low, high = (values.size - 1) // 2, values.size // 2
    ordered = np.partition(values, (low, high), axis=None)
    return (float(ordered[low]) + float(ordered[high])) / 2


def canonical(
    voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[Any], VolumeGeometry]:
    """The array and its grid, with slices from feet to head, rows from front to back, columns from right to left.

    Axes are permuted and flipped, never resampled. The affine is rounded (directions to a nanometre, origin to a
    micrometre), because NIfTI stores it in single precision, and DICOM and NIfTI must give exactly the same slices.

    Args:
        voxels: Array with three axes in any order.
        affine: 4x4 from the index of ``voxels`` to LPS mm.

    Returns:
        The array (S, R, C), contiguous, and its geometry.

    Raises:
        SeriesError: The affine has no three directions.
    """
    order, flipped, grid = turned(_three(voxels.shape), affine)
    return np.ascontiguousarray(np.flip(voxels.transpose(order), flipped)), grid


def canonical_grid(shape: tuple[int, ...], affine: npt.NDArray[np.float64]) -> VolumeGeometry:
    """The grid that `canonical` gives for an array of this shape."""
    return turned(_three(shape), affine)[2]


def turned(
    shape: tuple[int, int, int], affine: npt.NDArray[np.float64]
) -> tuple[tuple[int, ...], tuple[int, ...], VolumeGeometry]:
    """Order of the axes, which of the new ones are to be flipped, and the grid after that."""
    geometry = VolumeGeometry(shape=shape, affine=affine)
    cosines = affine[:3, :3] / np.array(geometry.spacing_mm)
    # World axes are (x, y, z) = (columns, rows, slices): output axis i runs along world axis 2 - i.
    order = max(permutations(range(3)), key=lambda p: sum(abs(cosines[2 - i, p[i]]) for i in range(3)))
    to_old = np.zeros((4, 4))
    to_old[3, 3] = 1
    flipped = []
    for new, old in enumerate(order):
        backwards = cosines[2 - new, old] < 0
        to_old[old, new] = -1 if backwards else 1
        to_old[old, 3] = shape[old] - 1 if backwards else 0
        flipped += [new] if backwards else []
    turned = affine @ to_old
    turned[:3, :3] = np.round(turned[:3, :3], 6) + 0.0
    turned[:3, 3] = np.round(turned[:3, 3], 3) + 0.0
    new_shape = _three(tuple(shape[old] for old in order))
    return order, tuple(flipped), VolumeGeometry(shape=new_shape, affine=turned)


def hu_volume(
    hu: npt.NDArray[np.int16],
    affine: npt.NDArray[np.float64],
    series_uid: str,
    findings: tuple[Finding, ...] = (),
) -> CTVolume:
    """A CT volume on the canonical grid. Values below air (padding outside the scan circle) become air.

    Raises:
        SeriesError: All voxels have the same value.
    """
    if hu.min() == hu.max():
        raise SeriesError(
            where=f"series {series_uid}",
            expected="a CT with varying values",
            found=f"the same value in every voxel, {int(hu.flat[0])} HU",
            remedy="export the series again",
        )
    array, geometry = canonical(hu, affine)
    np.maximum(array, AIR_HU, out=array)
    findings = (*findings, *check_body(array, geometry, series_uid))
    return CTVolume(hu=array, geometry=geometry, series_uid=series_uid, findings=findings)


def in_mm(affine: npt.NDArray[np.float64], xyzt_units: int) -> tuple[npt.NDArray[np.float64], str]:
    """The affine of a NIfTI file in mm, and the unit of length in its header if that is not mm.

    Source: nifti1.h, xyzt_units; ITK scales in the same way.
    """
    name, mm = OTHER_UNITS.get(xyzt_units & 7, ("", 1.0))
    scaled = affine.copy()
    scaled[:3] *= mm
    return scaled, name


def check_voxel(where: str, affine: npt.NDArray[np.float64]) -> None:
    """Refuse voxels of a size that no CT has: the unit of length is wrong.

    Raises:
        SeriesError: An edge is shorter than 0.01 mm or longer than 100 mm.
    """
    edges = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if not ((edges >= LEAST_MM) & (edges <= MOST_MM)).all():
        raise SeriesError(
            where=where,
            expected=f"voxels of {LEAST_MM:g} to {MOST_MM:g} mm",
            found=" x ".join(f"{edge:.4g}" for edge in edges) + " mm",
            remedy="export it with spacing in mm",
        )


def check_right_angles(where: str, affine: npt.NDArray[np.float64]) -> None:
    """Refuse a sheared grid, which comes from a tilted gantry, as for DICOM.

    Raises:
        SeriesError: Two axes differ from a right angle by more than 0.1 degrees.
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    worst = float(max(abs(axes[:, i] @ axes[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))))
    if worst > SHEAR_TOLERANCE:
        raise SeriesError(
            where=where,
            expected="axes at right angles",
            found=f"a grid sheared by {np.degrees(np.arcsin(min(worst, 1.0))):.1f} degrees (tilted gantry)",
            remedy="export the series corrected for gantry tilt",
        )


def check_hu(hu: npt.NDArray[np.int16], where: str) -> list[Finding]:
    """A warning when the values of a volume cannot be those of a body surrounded by air.

    Args:
        hu: (S, R, C); a regular sample of it is checked.
        where: The series.
    """
    step = max(1, round((hu.size / SAMPLED_VOXELS) ** (1 / 3)))
    sample = hu[::step, ::step, ::step]
    low, high = int(sample.min()), int(sample.max())
    tissue = np.count_nonzero((sample >= -200) & (sample <= 200)) / sample.size
    air = np.count_nonzero(sample < -500) / sample.size
    if high < 0:
        doubt = f"nothing above {high} HU"
    elif tissue < TISSUE_SHARE:
        doubt = f"hardly anything between -200 and 200 HU (from {low} to {high})"
    elif air < AIR_SHARE:
        watery = np.count_nonzero((sample >= 824) & (sample <= 1224)) / sample.size
        shifted = ", as if the intercept of -1024 had been lost" if watery > 10 * TISSUE_SHARE else ""
        doubt = f"no air (from {low} to {high} HU){shifted}"
    elif air > MUCH_AIR and np.count_nonzero(_within(sample, AIR_HU_RANGE)) < OF_AIR * air * sample.size:
        doubt = f"its air has about {median(sample[sample < -500]):.0f} HU instead of -1000"
    else:
        return []
    return [warning("hu-implausible", f"implausible for a CT of the abdomen: {doubt}", where)]


def check_body(hu: npt.NDArray[np.int16], geometry: VolumeGeometry, where: str) -> list[Finding]:
    """A warning when the body has a size that no adult has: the spacing is wrong.

    Small images, and a body that reaches the edge of its images, are not judged: they are crops.

    Args:
        hu: (S, R, C) on the canonical grid; some of its slices are looked at.
        geometry: Its grid.
        where: The series.
    """
    n_slices, n_rows, n_cols = geometry.shape
    slice_mm, row_mm, col_mm = geometry.spacing_mm
    doubts = []
    if (n_slices - 1) * slice_mm > LONGEST_SCAN_MM:
        doubts.append(f"a scan {n_slices * slice_mm:.0f} mm long")
    if min(n_rows, n_cols) >= LEAST_MATRIX:
        looked = sorted(set(np.linspace(0, n_slices - 1, SAMPLED_SLICES).round().astype(int).tolist()))
        bodies = [hu[index] > BODY_HU for index in looked]
        for name, axis, mm in (("wide", 0, col_mm), ("deep", 1, row_mm)):
            spans = [_span(np.count_nonzero(body, axis=axis)) for body in bodies]
            sizes = [n for n in spans if n]
            size_mm = median(np.array(sizes)) * mm if 2 * len(sizes) > len(looked) else None
            if size_mm is not None and not ADULT_MM[name][0] <= size_mm <= ADULT_MM[name][1]:
                doubts.append(f"a body {size_mm:.0f} mm {name}")
    text = (
        f"{' and '.join(doubts)}, which no adult has: the spacing may be wrong, or this is no CT of a trunk"
    )
    return [warning("body-implausible", text, where)] if doubts else []


def _span(counts: npt.NDArray[np.intp]) -> int:
    """How many rows or columns the body takes, by its voxels in each; 0 without one, or at an edge."""
    (own,) = np.nonzero(counts >= max(LEAST_BODY * counts.max(), 1))
    if not own.size or own[0] == 0 or own[-1] == counts.size - 1:
        return 0
    return int(own[-1] - own[0] + 1)


def _within(values: npt.NDArray[np.int16], limits: tuple[int, int]) -> npt.NDArray[np.bool_]:
    return (values >= limits[0]) & (values <= limits[1])


def describe(geometry: VolumeGeometry) -> str:
    """Size, spacing and position of a grid in words, for refusals."""
    size = " x ".join(str(n) for n in geometry.shape)
    spacing = " x ".join(f"{mm:.4g}" for mm in geometry.spacing_mm)
    origin = ", ".join(f"{mm:.1f}" for mm in geometry.affine[:3, 3])
    return f"{size} voxels of {spacing} mm from ({origin})"


def describe_affine(affine: npt.NDArray[np.float64]) -> str:
    """Spacing, directions and origin of an affine in words."""
    spacing = " x ".join(f"{mm:.4g}" for mm in np.linalg.norm(affine[:3, :3], axis=0))
    columns = affine[:3, :3].T
    signs = " ".join(
        f"{'+-'[int(column[axis] < 0)]}{'xyz'[axis]}"
        for column, axis in zip(columns, np.abs(columns).argmax(axis=1), strict=True)
    )
    origin = ", ".join(f"{mm:.1f}" for mm in affine[:3, 3])
    return f"{spacing} mm along {signs} from ({origin})"


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    s, r, c = shape
    return s, r, c

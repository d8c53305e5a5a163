"""Where the kidney of one CT lies in another CT of the same patient: a rigid registration inside a box around it.

A kidney moves with breathing by up to some centimeters and hardly changes its shape, so that one rigid motion of what
lies around it is enough; spine and abdominal wall do not move with it and are left out as far as possible. A search
over whole shifts finds the neighborhood, a gradient descent the place. Both compare by mutual information, since
contrast medium changes the HU of every organ.

Source: Mattes et al. 2003, IEEE Trans Med Imaging 22:120, as SimpleITK has it.
"""

import contextlib
import types
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import ConfigError
from nephroscope.base.version import install_line
from nephroscope.records import CTVolume, VolumeGeometry

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Hu = npt.NDArray[np.float32]

GRID_MM = 3.0  # of the comparison
SEARCH_MM, STEP_MM = (48.0, 24.0, 24.0), 6.0  # feet to head, front to back, right to left
WINDOW_HU = (-150.0, 350.0)
BINS = 32
STRETCH = 0.12  # tried against no stretch, so that what is found is one of more than about 6 %
SEED = 7  # of places inside voxels; a registration gives the same each time


@dataclass(frozen=True, eq=False, kw_only=True)
class _Grid:
    """A CT on an upright grid of `GRID_MM`: ``hu`` (Z, Y, X) from a point on, and which voxels are compared."""

    hu: Hu
    low_mm: Floats
    inside: Bools

    def index_of(self, places_mm: Floats) -> npt.NDArray[np.intp]:
        """The voxel (Z, Y, X) nearest to each of some points (n, 3)."""
        found: npt.NDArray[np.intp] = np.rint((places_mm - self.low_mm) / GRID_MM).astype(np.intp)[:, ::-1]
        return found

    @property
    def compared(self) -> tuple[npt.NDArray[np.intp], Floats]:
        """Index (n, 3) and place (n, 3) of the voxels that are compared."""
        at = np.argwhere(self.inside)
        return at, self.low_mm + at[:, ::-1] * GRID_MM


@dataclass(frozen=True, eq=False, kw_only=True)
class Motion:
    """A rigid motion that takes points of one CT to another, both in LPS mm.

    Attributes:
        matrix: 4x4.
        similarity: Normalized mutual information of both after the motion, 1 to 2.
        before: The same without any motion.
        parts_mm: How far each half of what was compared (front, back, upper ...) would move on by itself, sorted.
        stretched: Both fit better when one is stretched or shrunk by 12 %: no kidney does that between two phases.
    """

    matrix: Floats
    similarity: float
    before: float
    parts_mm: tuple[float, ...]
    stretched: bool

    @property
    def degrees(self) -> float:
        """By how much it turns."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.matrix[:3, :3]) - 1) / 2, -1, 1))))

    def shift_of(self, point_mm: npt.ArrayLike) -> Floats:
        """How far a point moves, in mm along L, P and S."""
        moved: Floats = (self.matrix @ [*np.asarray(point_mm, float), 1.0])[:3] - point_mm
        return moved


def simpleitk(what: str) -> types.ModuleType:
    """SimpleITK, imported when it is first needed.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import SimpleITK
    except ModuleNotFoundError as error:
        raise ConfigError(
            where=what,
            expected="the extra 'readers', which registers one CT to another",
            found="no SimpleITK",
            remedy=f"{install_line('readers')}, or draw the tumor on this series",
        ) from error
    module: types.ModuleType = SimpleITK
    return module


def center_mm(mask: Bools, geometry: VolumeGeometry) -> Floats:
    """Center of mass of a mask in LPS mm."""
    at = np.array([axis.mean() for axis in np.nonzero(mask)])
    place: Floats = (geometry.affine @ [*at, 1.0])[:3]
    return place


def register(fixed: CTVolume, around: Bools, moving: CTVolume) -> Motion | None:
    """The motion from one CT to another of what lies in a mask; None where the other CT hardly reaches there.

    Args:
        fixed: The CT on which the tumor was drawn.
        around: What is compared: kidney and tumor with a rim, on its grid.
        moving: The other CT.

    Raises:
        ConfigError: SimpleITK is not installed.
    """
    sitk = simpleitk("registration")
    here = _sampled(fixed, around, sitk)
    there = _around(moving, here.low_mm, here.hu.shape, sitk)
    shift = _search(here, there)
    if shift is None:
        return None
    matrix = _refine(here, there, shift, sitk)
    return Motion(
        matrix=matrix,
        similarity=_similarity(here, there, matrix),
        before=_similarity(here, there, np.eye(4)),
        parts_mm=_parts_apart(here, there, matrix),
        stretched=_is_stretched(here, there, matrix, sitk),
    )


NOWHERE = np.float32(-5000)  # where a CT does not reach


def _image(volume: CTVolume, low: Floats, high: Floats, sitk: types.ModuleType) -> Any:
    """The part of a CT between two points in LPS mm as an image of SimpleITK; None where there is none."""
    corners = np.array(np.meshgrid(*zip(low, high, strict=True), [1.0])).reshape(4, -1)
    index = (np.linalg.inv(volume.geometry.affine) @ corners)[:3]
    first = np.clip(np.floor(index.min(axis=1)).astype(int) - 1, 0, volume.hu.shape)
    last = np.clip(np.ceil(index.max(axis=1)).astype(int) + 2, 0, volume.hu.shape)
    if (last - first < 2).any():
        return None
    box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    return to_sitk(volume.hu[box].astype(np.float32), volume.geometry.affine, first, sitk)


def to_sitk(array: npt.NDArray[Any], affine: Floats, first: npt.ArrayLike, sitk: types.ModuleType) -> Any:
    """An array (S, R, C) whose first voxel has the index ``first`` of a grid, as an image of SimpleITK."""
    image = sitk.GetImageFromArray(array)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / spacing
    image.SetSpacing([float(mm) for mm in spacing[::-1]])
    image.SetDirection(directions[:, ::-1].ravel().tolist())
    image.SetOrigin((affine @ [*np.asarray(first, float), 1.0])[:3].tolist())
    return image


def _on_grid(image: Any, low_mm: Floats, shape: tuple[int, ...], sitk: types.ModuleType) -> Hu:
    """HU (Z, Y, X) of an image on the upright grid of `GRID_MM` that begins at a point."""
    if image is None:
        return np.full(shape, NOWHERE, np.float32)
    resample = sitk.ResampleImageFilter()
    resample.SetSize([int(n) for n in shape[::-1]])
    resample.SetOutputSpacing([GRID_MM] * 3)
    resample.SetOutputOrigin(low_mm.tolist())
    resample.SetOutputDirection(np.eye(3).ravel().tolist())
    resample.SetDefaultPixelValue(float(NOWHERE))
    # A finer grid is smoothed first, so that what is compared has the same detail.
    sigma = [0.5 * GRID_MM if mm < GRID_MM else 0.0 for mm in image.GetSpacing()]
    for axis, mm in enumerate(sigma):
        if mm:
            image = sitk.RecursiveGaussian(
                image, mm, False, sitk.RecursiveGaussianImageFilter.ZeroOrder, axis
            )
    found: Hu = sitk.GetArrayFromImage(resample.Execute(image))
    return found


def _sampled(volume: CTVolume, around: Bools, sitk: types.ModuleType) -> _Grid:
    """A CT on the grid of comparison around a mask."""
    places = np.array(np.nonzero(around))
    first, last = places.min(axis=1), places.max(axis=1)
    corners = np.array(np.meshgrid(*zip(first, last, strict=True), [1.0])).reshape(4, -1)
    at = (volume.geometry.affine @ corners)[:3]
    low, high = at.min(axis=1) - GRID_MM, at.max(axis=1) + GRID_MM
    shape = tuple(int(n) for n in np.ceil((high - low)[::-1] / GRID_MM) + 1)
    hu = _on_grid(_image(volume, low - 2 * GRID_MM, high + 2 * GRID_MM, sitk), low, shape, sitk)
    box = tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))
    mask = to_sitk(around[box].astype(np.float32), volume.geometry.affine, first, sitk)
    inside = _on_grid(mask, low, shape, sitk) >= 0.5
    return _Grid(hu=hu, low_mm=low, inside=inside & (hu > NOWHERE / 2))


def _around(volume: CTVolume, low_mm: Floats, shape: tuple[int, ...], sitk: types.ModuleType) -> _Grid:
    """Another CT on a grid that is larger by the range of the search."""
    reach = np.array(SEARCH_MM[::-1]) + GRID_MM
    low = low_mm - reach
    high = low_mm + np.array(shape[::-1]) * GRID_MM + reach
    larger = tuple(int(n + 2 * mm / GRID_MM) for n, mm in zip(shape, reach[::-1], strict=True))
    hu = _on_grid(_image(volume, low - 2 * GRID_MM, high + 2 * GRID_MM, sitk), low, larger, sitk)
    return _Grid(hu=hu, low_mm=low, inside=hu > NOWHERE / 2)


def _levels(hu: Hu) -> npt.NDArray[np.intp]:
    low, high = WINDOW_HU
    levels: npt.NDArray[np.intp] = np.clip((hu - low) / (high - low) * BINS, 0, BINS - 1).astype(np.intp)
    return levels


def nmi(one: npt.NDArray[np.intp], two: npt.NDArray[np.intp]) -> float:
    """Normalized mutual information of two lists of levels, 1 (nothing in common) to 2 (one gives the other).

    Source: Studholme et al. 1999, Pattern Recognition 32:71.
    """
    joint = np.bincount(one * BINS + two, minlength=BINS * BINS).reshape(BINS, BINS) / len(one)

    def entropy(p: Floats) -> float:
        p = p[p > 0]
        return float(-(p * np.log(p)).sum())

    both = entropy(joint.ravel())
    return (entropy(joint.sum(axis=0)) + entropy(joint.sum(axis=1))) / both if both > 0 else 1.0


PART_STEPS, NOT_SEEN_MM = 3, 99.0
LEAST_SEEN = 0.6  # share of what is compared that the other CT must reach


def _search(here: _Grid, there: _Grid) -> Floats | None:
    """The best of the whole shifts, L, P, S in mm."""
    every = np.argwhere(here.inside)[::3]
    own, other = _levels(here.hu[tuple(every.T)]), _levels(there.hu)
    step = int(STEP_MM / GRID_MM)
    margin = np.array([round((mm + GRID_MM) / GRID_MM) for mm in SEARCH_MM])
    ranges = [np.arange(-int(mm / GRID_MM), int(mm / GRID_MM) + 1, step) for mm in SEARCH_MM]
    best, found = 0.0, None
    for shift in np.array(np.meshgrid(*ranges, indexing="ij")).reshape(3, -1).T:
        place = tuple((every + margin + shift).T)
        seen = there.inside[place]
        if not seen.size or seen.mean() < LEAST_SEEN:
            continue
        value = nmi(own[seen], other[place][seen])
        if value > best:
            best, found = value, shift
    return None if found is None else np.asarray(found[::-1] * GRID_MM, np.float64)


def _plain(array: npt.NDArray[Any], low_mm: Floats, sitk: types.ModuleType) -> Any:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([GRID_MM] * 3)
    image.SetOrigin(low_mm.tolist())
    return image


def _metric(fixed: _Grid, moving: _Grid, sitk: types.ModuleType) -> tuple[Any, Any, Any]:
    """Both images and the method that compares them."""
    low_hu, high_hu = WINDOW_HU
    one = _plain(np.clip(fixed.hu, low_hu, high_hu), fixed.low_mm, sitk)
    two = _plain(np.clip(moving.hu, low_hu, high_hu), moving.low_mm, sitk)
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricFixedMask(_plain(fixed.inside.astype(np.uint8), fixed.low_mm, sitk))
    method.SetMetricMovingMask(_plain(moving.inside.astype(np.uint8), moving.low_mm, sitk))
    # Every voxel, at a random place in it: at the centers alone, the two grids attract each other.
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(1.0, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    return one, two, method


def _is_stretched(fixed: _Grid, moving: _Grid, matrix: Floats, sitk: types.ModuleType) -> bool:
    """True where both fit better after a motion with a stretch or shrinkage, along one axis or all."""
    one, two, method = _metric(fixed, moving, sitk)
    center = fixed.compared[1].mean(axis=0)
    place = matrix[:3, :3] @ center + matrix[:3, 3]

    def likeness(scales: Floats) -> float:
        linear = matrix[:3, :3] @ np.diag(scales)
        motion = sitk.AffineTransform(3)
        motion.SetMatrix(linear.ravel().tolist())
        motion.SetTranslation((place - linear @ center).tolist())
        method.SetInitialTransform(motion)
        try:
            return -float(method.MetricEvaluate(one, two))
        except RuntimeError:  # the other CT does not reach where it moved to
            return 0.0

    plain = likeness(np.ones(3))
    axes = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], np.float64)
    return any(likeness(1 + sign * STRETCH * axis) > plain for axis in axes for sign in (1, -1))


def _refine(fixed: _Grid, moving: _Grid, shift_mm: Floats, sitk: types.ModuleType) -> Floats:
    """4x4 from the first to the second, by gradient descent from a shift."""
    center = fixed.compared[1].mean(axis=0)
    motion = sitk.Euler3DTransform()
    motion.SetCenter(center.tolist())
    motion.SetTranslation(np.asarray(shift_mm, float).tolist())
    one, two, method = _metric(fixed, moving, sitk)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.01, 100, 0.6, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(motion, inPlace=True)
    with contextlib.suppress(RuntimeError):  # the other CT does not reach where it moved to
        method.Execute(one, two)
    matrix = np.eye(4)
    turn = np.array(motion.GetMatrix()).reshape(3, 3)
    matrix[:3, :3] = turn
    matrix[:3, 3] = np.array(motion.GetTranslation()) + center - turn @ center
    return matrix


def _pairs(here: _Grid, there: _Grid, matrix: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Index of each compared voxel, and of the voxel of the other CT to which a motion takes it."""
    at, places = here.compared
    return at, there.index_of(places @ matrix[:3, :3].T + matrix[:3, 3])


def _similarity(here: _Grid, there: _Grid, matrix: Floats) -> float:
    at, index = _pairs(here, there, matrix)
    seen: Bools = np.all((index >= 0) & (index < there.hu.shape), axis=1)
    seen[seen] = there.inside[tuple(index[seen].T)]
    if not len(at) or seen.mean() < LEAST_SEEN:
        return 1.0
    return nmi(_levels(here.hu[tuple(at[seen].T)]), _levels(there.hu[tuple(index[seen].T)]))


def _parts_apart(here: _Grid, there: _Grid, matrix: Floats) -> tuple[float, ...]:
    """How far each half would move on by itself, in mm, sorted.

    The halves of one kidney stay where the whole went; those of another patient, or of noise, do not.
    """
    at, index = _pairs(here, there, matrix)
    own, levels = _levels(here.hu[tuple(at.T)]), _levels(there.hu)
    span = np.arange(-PART_STEPS, PART_STEPS + 1)
    shifts = np.array(np.meshgrid(span, span, span, indexing="ij")).reshape(3, -1).T
    halves = [(at[:, axis] < np.median(at[:, axis])) == first for axis in range(3) for first in (True, False)]
    values = np.zeros((len(halves), len(shifts)))
    for i, shift in enumerate(shifts):
        place = tuple(np.clip(index + shift, 0, np.array(there.hu.shape) - 1).T)
        other, seen = levels[place], there.inside[place]
        for h, half in enumerate(halves):
            both = half & seen
            if both.sum() > LEAST_SEEN * half.sum():
                values[h, i] = nmi(own[both], other[both])
    apart = np.linalg.norm(shifts[values.argmax(axis=1)], axis=1) * GRID_MM
    return tuple(sorted(np.where(values.max(axis=1) > 0, apart, NOT_SEEN_MM).tolist()))

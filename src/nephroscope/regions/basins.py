"""A mask in pieces at its necks: one basin of depth for each thick part, and what the pieces measure together.

A watershed on the depth below the surface, in NumPy: each voxel belongs to the deepest point that it reaches by
climbing. What pieces measure can be added up, so that joining two of them costs nothing.
"""

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.regions.enhancement import depth_mm

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Hu = npt.NDArray[np.float32]
DEEPEST_MM = 24.0
ALIKE = 0.95  # basins are one where the pass between them is nearly as deep as the shallower one
STEP_HU, LOWEST_HU, N_STEPS = 10, -100, 50  # of a piece's histogram


def smoothed(values: Hu) -> Hu:
    """Values (S, R, C) weighted 1, 2, 1 with their neighbors along each axis."""
    for axis in range(3):
        before, after = _beside(values, axis)
        values = (before + 2 * values + after) / 4
    return values


def mostly(mask: Bools) -> Bools:
    """Voxels of whose 27 neighbors, with themselves, at least 14 are in the mask: a median filter."""
    count = mask.astype(np.int8)
    for axis in range(3):
        before, after = _beside(count, axis)
        count = before + count + after
    return count >= 14


def widened(mask: Bools) -> Bools:
    """The mask with the neighbors of its voxels, by a corner too; within the slice where there is only one."""
    for axis in range(3):
        before, after = _beside(mask, axis)
        mask = before | mask | after
    return mask


def _beside(values: npt.NDArray, axis: int) -> tuple[npt.NDArray, npt.NDArray]:  # type: ignore[type-arg]
    """The values one step before and after each voxel; at the ends the voxel's own."""
    n = values.shape[axis]
    index = np.arange(n)
    return values.take(np.maximum(index - 1, 0), axis), values.take(np.minimum(index + 1, n - 1), axis)


def find_basins(mask: Bools, spacing_mm: tuple[float, float, float]) -> Ints:
    """Number of the basin of each voxel of a mask (S, R, C), from 1; 0 outside."""
    depth = smoothed(depth_mm(mask, spacing_mm, DEEPEST_MM)).astype(np.float64)
    depth[~mask] = 0
    depth += mask * np.linspace(0, 1e-4, depth.size).reshape(depth.shape)  # so that no two are equal
    basins = _climbed(depth)
    return _joined(basins, depth)


def _climbed(depth: Floats) -> Ints:
    """Number of the peak that each voxel above 0 reaches by stepping to its deepest neighbor."""
    padded = np.pad(depth, 1)
    index = np.arange(padded.size).reshape(padded.shape)
    best, to = depth.copy(), index[1:-1, 1:-1, 1:-1].copy()
    for steps in itertools.product((0, 1, 2), repeat=3):
        there = tuple(slice(step, step + n) for step, n in zip(steps, depth.shape, strict=True))
        deeper = padded[there] > best
        best[deeper], to[deeper] = padded[there][deeper], index[there][deeper]
    root = np.arange(padded.size)
    root[index[1:-1, 1:-1, 1:-1]] = to
    while not np.array_equal(further := root[root], root):
        root = further
    inside = depth > 0
    basins = np.zeros(depth.shape, np.int64)
    basins[inside] = np.unique(root[index[1:-1, 1:-1, 1:-1]][inside], return_inverse=True)[1] + 1
    return basins


def _joined(basins: Ints, depth: Floats) -> Ints:
    """The basins with those joined whose pass is as deep as they are."""
    n = int(basins.max()) + 1
    peak = np.zeros(n)
    np.maximum.at(peak, basins.ravel(), depth.ravel())
    ones, twos, passes = [], [], []
    for _, here, there in _faces(basins.shape):
        one, two = basins[here], basins[there]
        at = (one != two) & (one > 0) & (two > 0)
        ones.append(np.minimum(one, two)[at])
        twos.append(np.maximum(one, two)[at])
        passes.append(np.minimum(depth[here], depth[there])[at])
    pairs, which = np.unique(np.concatenate(ones) * n + np.concatenate(twos), return_inverse=True)
    deepest = np.zeros(len(pairs))
    np.maximum.at(deepest, which, np.concatenate(passes))
    root = list(range(n))

    def top(at: int) -> int:
        while root[at] != at:
            at = root[at]
        return at

    for pair in np.argsort(-deepest):
        low, high = top(int(pairs[pair]) // n), top(int(pairs[pair]) % n)
        if peak[low] > peak[high]:
            low, high = high, low
        if low != high and deepest[pair] >= peak[low] * ALIKE:
            root[low] = high
    tops = np.unique(np.array([top(at) for at in range(n)]), return_inverse=True)[1]
    found: Ints = tops[basins].astype(np.int64)
    return found


def _faces(shape: tuple[int, ...]) -> Iterator[tuple[int, tuple[slice, ...], tuple[slice, ...]]]:
    """Axis, and the two sides of every face between neighbors along it."""
    for axis in range(3):
        first = tuple(slice(0, -1) if i == axis else slice(None) for i in range(3))
        second = tuple(slice(1, None) if i == axis else slice(None) for i in range(3))
        if shape[axis] > 1:
            yield axis, first, second


@dataclass(frozen=True, eq=False, kw_only=True)
class Surroundings:
    """What lies around pieces (S, R, C).

    Attributes:
        searched: Where pieces may lie; a face to the outside of it is cut.
        fat: Fat, or next to fat.
        tumor: A known tumor, which counts as neither tissue nor as the end of what is searched.
    """

    searched: Bools
    fat: Bools
    tumor: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Some pieces together.

    Attributes:
        ml: Volume.
        center_mm: Mean of the places.
        axes_mm: Whole axes of the ellipsoid with the same second moments, shortest first.
        solid: Volume as a share of that ellipsoid.
        height_mm: From the lowest to the highest slice.
        at_end: True where it reaches the first or last slice.
        hu: Median.
        bright: Share above 350 HU.
        free, fat, cut: Shares of the surface to no tissue, to fat, and to what is not searched.
    """

    ml: float
    center_mm: tuple[float, float, float]
    axes_mm: tuple[float, float, float]
    solid: float
    height_mm: float
    at_end: bool
    hu: float
    bright: float
    free: float
    fat: float
    cut: float


class Pieces:
    """What the basins of a mask measure, alone and together."""

    def __init__(
        self, basins: Ints, hu: Hu, places_mm: Floats, spacing_mm: tuple[float, float, float]
    ) -> None:
        """Measure the pieces themselves.

        Args:
            basins: Numbers from 1 (S, R, C); 0 is outside.
            hu: On the same grid.
            places_mm: Places (n, 3) of the voxels of all basins, in the order of the array.
            spacing_mm: Of the grid.
        """
        self.basins, self.spacing_mm = basins, spacing_mm
        self.n = n = int(basins.max()) + 1
        at = basins[basins > 0]
        self.voxel_ml = float(np.prod(spacing_mm)) / 1000
        self.counts = np.bincount(at, minlength=n).astype(float)
        self.sums = np.stack([np.bincount(at, places_mm[:, i], n) for i in range(3)], axis=1)
        products = [np.bincount(at, places_mm[:, i] * places_mm[:, j], n) for i in range(3) for j in range(3)]
        self.squares = np.stack(products, axis=1).reshape(n, 3, 3)
        self.by_slice = np.zeros((n, basins.shape[0]))
        np.add.at(self.by_slice, (at, np.nonzero(basins)[0]), 1)
        steps = np.clip((hu[basins > 0] - LOWEST_HU) / STEP_HU, 0, N_STEPS - 1).astype(np.int64)
        self.histogram = np.zeros((n, N_STEPS))
        np.add.at(self.histogram, (at, steps), 1)
        self.free, self.fat, self.cut, self.touch = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros((n, n))

    def see(self, around: Surroundings) -> None:
        """Measure their surfaces, in mm2."""
        basins = self.basins
        for axis, first, second in _faces(basins.shape):
            area = float(np.prod(self.spacing_mm)) / self.spacing_mm[axis]
            for here, there in ((first, second), (second, first)):
                one, two = basins[here], basins[there]
                outside = (one > 0) & (two == 0)
                own, searched = one[outside], around.searched[there][outside]
                tumor = around.tumor[there][outside]
                fat = (around.fat[there][outside] & searched) | tumor
                np.add.at(self.free, own[searched | tumor], area)
                np.add.at(self.fat, own[fat], area)
                np.add.at(self.cut, own[~searched & ~tumor], area)
                other = (one > 0) & (two > 0) & (one != two)
                np.add.at(self.touch, (one[other], two[other]), area)
            if axis:
                for end in (0, -1):
                    ends = np.moveaxis(basins, axis, 0)[end]
                    np.add.at(self.cut, ends[ends > 0], area)

    def measured(self, some: Collection[int]) -> Measured:
        """Some of the pieces together."""
        own = list(some)
        n = float(self.counts[own].sum())
        middle = self.sums[own].sum(axis=0) / n
        spread = self.squares[own].sum(axis=0) / n - np.outer(middle, middle)
        spread += np.diag(np.square(self.spacing_mm)) / 12
        half = np.sqrt(5 * np.maximum(np.linalg.eigvalsh(spread), 1))
        ml = n * self.voxel_ml
        slices = np.flatnonzero(self.by_slice[own].sum(axis=0))
        heaped = self.histogram[own].sum(axis=0).cumsum()
        free, inner = float(self.free[own].sum()), float(self.touch[np.ix_(own, own)].sum())
        cut = float(self.cut[own].sum())
        surface = free + cut + float(self.touch[own].sum()) - inner
        last = self.by_slice.shape[1] - 1
        return Measured(
            ml=ml,
            center_mm=(float(middle[0]), float(middle[1]), float(middle[2])),
            axes_mm=(float(2 * half[0]), float(2 * half[1]), float(2 * half[2])),
            solid=ml / (4 / 3 * np.pi * float(np.prod(half)) / 1000),
            height_mm=float(slices[-1] - slices[0] + 1) * self.spacing_mm[0],
            at_end=bool(slices[0] == 0 or slices[-1] == last),
            hu=float(np.searchsorted(heaped, n / 2)) * STEP_HU + LOWEST_HU + STEP_HU / 2,
            bright=float(1 - heaped[-6] / n),
            free=free / surface,
            fat=float(self.fat[own].sum()) / surface,
            cut=cut / surface,
        )

    def mask(self, some: Collection[int]) -> Bools:
        """Some of the pieces as a mask (S, R, C)."""
        chosen = np.zeros(self.n, np.bool_)
        chosen[list(some)] = True
        found: Bools = chosen[self.basins]
        return found

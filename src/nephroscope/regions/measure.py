"""Measure a tumor: volume, diameters, parts and center.

A diameter is the largest distance between two points on the surface of the drawn voxels, taken at the midpoints of
their faces: a row of n cubes is n cubes long, and a sphere of many voxels is as long as the sphere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.records import RoiMask
from nephroscope.records.prediction import Side

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts:
    """Connected parts of a mask (S, R, C), stored as runs of True along its columns.

    Attributes:
        shape: Shape of the mask.
        start, end: Index of the first voxel of each run in the flattened mask, and the index after its last voxel.
        part: Number of the part of each run, from 0.
        sizes: Voxels of each part.
    """

    shape: tuple[int, ...]
    start: Ints
    end: Ints
    part: Ints
    sizes: Ints

    def mask(self, chosen: Bools) -> Bools:
        """The parts for which ``chosen`` (one per part) is True, as a mask."""
        kept = chosen[self.part]
        steps = np.zeros(int(np.prod(self.shape)) + 1, np.int8)
        np.add.at(steps, self.start[kept], 1)
        np.add.at(steps, self.end[kept], -1)
        return np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_).reshape(self.shape)


def find_parts(mask: Bools, *, corners: bool = True, within_slices: bool = False) -> Parts:
    """Connected parts of a mask.

    Args:
        mask: (S, R, C).
        corners: Voxels that share an edge or a corner are connected (26 neighbours); otherwise only by faces (6).
        within_slices: Slices are separate (8 or 4 neighbours in the plane).
    """
    n_slices, n_rows, n_cols = mask.shape
    padded = np.zeros((n_slices * n_rows, n_cols + 2), np.int8)
    padded[:, 1:-1] = mask.reshape(-1, n_cols)
    steps = np.diff(padded, axis=1)
    row, start = np.nonzero(steps == 1)
    end = np.nonzero(steps == -1)[1]
    # Two runs touch when one begins before the other ends; by a corner, also when it begins exactly there.
    reach = 1 if corners else 0
    width = n_cols + 2  # so that no run touches one of another row
    first, last = row * width + start, row * width + end
    neighbours = [(0, 1)] + ([] if within_slices else [(1, 0)])
    if corners and not within_slices:
        neighbours += [(1, -1), (1, 1)]
    one, two = [], []
    for down, across in neighbours:
        slice_, line = row // n_rows + down, row % n_rows + across
        other = np.where((line >= 0) & (line < n_rows) & (slice_ < n_slices), slice_ * n_rows + line, -1)
        low = np.searchsorted(last, other * width + start - reach, side="right")
        high = np.searchsorted(first, other * width + end + reach, side="left")
        n = np.where(other >= 0, np.maximum(high - low, 0), 0)
        one.append(np.repeat(np.arange(row.size), n))
        two.append(np.arange(n.sum()) + np.repeat(low - (np.cumsum(n) - n), n))
    part = _united(row.size, np.concatenate(one), np.concatenate(two))
    start, end = row * n_cols + start, row * n_cols + end
    sizes = np.bincount(part, weights=end - start).astype(np.int64)
    return Parts(shape=mask.shape, start=start, end=end, part=part, sizes=sizes)


def _united(n: int, one: Ints, two: Ints) -> Ints:
    """Group of each of ``n`` items if ``one[i]`` and ``two[i]`` belong together: union-find, all pairs at once."""
    root = np.arange(n)
    while True:
        low, high = np.minimum(root[one], root[two]), np.maximum(root[one], root[two])
        differ = low < high
        if not differ.any():
            break
        np.minimum.at(root, high[differ], low[differ])
        while not np.array_equal(root, root[root]):
            root = root[root]
    return np.unique(root, return_inverse=True)[1].astype(np.int64)


Points = npt.NDArray[np.float64]
ROUNDS = 6  # of removing points that are not corners; more change little


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiMeasures:
    """Measures of a tumor; None where they mean nothing (slice images have no distance between slices).

    Attributes:
        volume_ml: Volume of all voxels.
        largest_axial_diameter_mm: Largest diameter within one slice, as radiologists measure it; of the largest part.
        largest_diameter_mm: Largest diameter in any direction; of the largest part.
        n_voxels: Voxels of the mask.
        n_slices: Slices with tumor.
        n_parts: Parts that do not touch each other, not even at a corner.
        largest_part_share: Share of the voxels in the largest part.
        center_mm: Center of mass of the largest part, LPS.
        side: Side of the patient of the largest part.
    """

    volume_ml: float | None
    largest_axial_diameter_mm: float | None
    largest_diameter_mm: float | None
    n_voxels: int
    n_slices: int
    n_parts: int | None
    largest_part_share: float | None
    center_mm: tuple[float, float, float] | None
    side: Side = "unknown"


def measure(roi: RoiMask) -> RoiMeasures:
    """Measure a tumor; the side stays unknown, as it cannot be seen in a mask alone."""
    affine = roi.geometry.affine
    box, offset = crop(roi.voxels)
    n_voxels, n_slices = int(np.count_nonzero(box)), int(np.count_nonzero(box.any(axis=(1, 2))))
    parts = find_parts(box)
    if parts.sizes.size > 1:
        box, further = crop(parts.mask(np.arange(parts.sizes.size) == parts.sizes.argmax()))
        offset = offset + further
    center = affine[:3, :3] @ (mean_index(box) + offset) + affine[:3, 3]
    x, y, z = (round(float(mm), 2) for mm in center)
    return RoiMeasures(
        volume_ml=n_voxels * abs(float(np.linalg.det(affine[:3, :3]))) / 1000,
        largest_axial_diameter_mm=axial_diameter_mm(box, affine),
        largest_diameter_mm=diameter_mm(box, affine),
        n_voxels=n_voxels,
        n_slices=n_slices,
        n_parts=parts.sizes.size,
        largest_part_share=float(parts.sizes.max() / n_voxels),
        center_mm=(x, y, z),
    )


def crop(voxels: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """The smallest box with all True voxels, and the index of its first voxel."""
    slices = np.flatnonzero(voxels.any(axis=(1, 2)))
    thick = voxels[slices[0] : slices[-1] + 1]
    plane: npt.NDArray[np.bool_] = np.any(thick, axis=0)
    rows, cols = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    box = thick[:, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return np.ascontiguousarray(box), np.array([slices[0], rows[0], cols[0]])


def axial_diameter_mm(box: npt.NDArray[np.bool_], affine: npt.NDArray[np.float64]) -> float:
    """Largest diameter within one slice of a mask (S, R, C), in mm."""
    ends = np.concatenate([*_ends(box, 2, (1,)), *_ends(box, 1, (2,))])
    points, index = ends @ affine[:3, :3].T, ends[:, 0].astype(int)
    order = np.argsort(index, kind="stable")
    slices = np.split(points[order], np.flatnonzero(np.diff(index[order])) + 1)
    best = 0.0
    for points in sorted(slices, key=_reach_mm, reverse=True):
        if 2 * _reach_mm(points) <= best:
            break
        best = max(best, farthest_mm(points))
    return best


def diameter_mm(box: npt.NDArray[np.bool_], affine: npt.NDArray[np.float64]) -> float:
    """Largest diameter of a mask (S, R, C) in any direction, in mm."""
    ends = [points for axis in range(3) for points in _ends(box, axis, (0, 1, 2))]
    return farthest_mm(np.concatenate(ends) @ affine[:3, :3].T)


def farthest_mm(points: Points) -> float:
    """Largest distance between two of these points (N, 3), exact.

    A long distance is found first, from end to end. Then pairs are compared in blocks, the outermost points first,
    and only with points that can be further away.
    """
    points = points - (points.min(axis=0) + points.max(axis=0)) / 2
    radius = np.linalg.norm(points, axis=1)
    best, start = 0.0, points[radius.argmax()]
    for _ in range(4):
        distance = np.linalg.norm(points - start, axis=1)
        best = max(best, float(distance.max()))
        start = points[distance.argmax()]
    order = np.argsort(-radius)
    points, radius = points[order], radius[order]
    for first in range(0, len(points), 64):
        last = np.searchsorted(-radius, radius[first] - best, side="right")
        if last <= first:
            break
        block, partners = points[first : first + 64], points[first:last]
        squares = (block**2).sum(1)[:, None] + (partners**2).sum(1) - 2 * block @ partners.T
        best = max(best, float(np.sqrt(squares.max(initial=0))))
    return best


def _ends(box: npt.NDArray[np.bool_], axis: int, directions: tuple[int, ...]) -> Iterator[Points]:
    """Midpoints, as index, of the first and last face of each line of voxels along an axis.

    Only those that can be the end of a diameter: a point on or behind the chord of two others cannot. Chords run
    along ``directions``, since a diameter within a slice must not depend on other slices.
    """
    lines = np.nonzero(box.any(axis=axis))
    others = [i for i in range(3) if i != axis]
    flipped = np.flip(box, axis)
    for places, outwards in (
        (box.argmax(axis=axis), -0.5),
        (box.shape[axis] - 1 - flipped.argmax(axis=axis), 0.5),
    ):
        points = np.empty((lines[0].size, 3))
        points[:, others[0]], points[:, others[1]] = lines
        points[:, axis] = places[lines] + outwards
        for _ in range(ROUNDS):
            for along in set(directions) - {axis}:
                across = sum(others) - along
                points = _before_chords(points, (across, along, axis), outwards)
        yield points


def _before_chords(points: Points, axes: tuple[int, int, int], outwards: float) -> Points:
    """The points (N, 3) without those on or behind the chord of their two neighbours in the same plane.

    Args:
        points: Points as index.
        axes: Axis that numbers the planes, axis along which neighbours follow each other, axis towards the outside.
        outwards: Its sign gives the direction to the outside.
    """
    across, along, height = axes
    points = points[np.lexsort((points[:, along], points[:, across]))]
    plane, place, level = points[:, across], points[:, along], points[:, height] * np.sign(outwards)
    before, at, after = slice(None, -2), slice(1, -1), slice(2, None)
    chord = (level[before] - level[at]) * (place[after] - place[at])
    chord += (level[after] - level[at]) * (place[at] - place[before])
    kept = np.ones(len(points), np.bool_)
    kept[1:-1] = (plane[before] != plane[after]) | (chord < 0)
    return points[kept]


def mean_index(box: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Center of mass of a mask (S, R, C), as index."""
    planes = [np.count_nonzero(box, axis=(1, 2)), np.count_nonzero(box, axis=(0, 2))]
    planes.append(np.count_nonzero(box, axis=(0, 1)))
    return np.array([np.average(np.arange(n.size), weights=n) for n in planes])


def _reach_mm(points: Points) -> float:
    """Radius of the points around the middle of their box: no two points are further apart than twice this."""
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    return float(np.linalg.norm(points - middle, axis=1).max())

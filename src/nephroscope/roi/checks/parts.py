"""Which voxels hang together: a mask in, runs and the part of each run out. numpy alone, no labelled volume."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts:
    """Connected parts of a mask (S, R, C), kept as runs of True along its columns.

    Attributes:
        shape: Of the mask.
        start, end: First place of each run in the flattened mask, and the place after its last.
        part: Number of the part each run belongs to, from 0.
        sizes: Voxels of each part.
    """

    shape: tuple[int, ...]
    start: Ints
    end: Ints
    part: Ints
    sizes: Ints

    def mask(self, wanted: Bools) -> Bools:
        """The parts for which ``wanted`` (one per part) is True, as a mask."""
        kept = wanted[self.part]
        steps = np.zeros(int(np.prod(self.shape)) + 1, np.int8)
        np.add.at(steps, self.start[kept], 1)
        np.add.at(steps, self.end[kept], -1)
        return np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_).reshape(self.shape)


def find_parts(mask: Bools, *, corners: bool = True, within_slices: bool = False) -> Parts:
    """Connected parts of a mask.

    Args:
        mask: (S, R, C).
        corners: Voxels that share an edge or a corner hang together (26 neighbours); else only by faces (6).
        within_slices: Slices are apart (8 or 4 neighbours in the plane).
    """
    n_slices, n_rows, n_cols = mask.shape
    padded = np.zeros((n_slices * n_rows, n_cols + 2), np.int8)
    padded[:, 1:-1] = mask.reshape(-1, n_cols)
    steps = np.diff(padded, axis=1)
    row, start = np.nonzero(steps == 1)
    end = np.nonzero(steps == -1)[1]
    # Two runs touch when one begins before the other ends; by a corner, also when it begins just there.
    reach = 1 if corners else 0
    width = n_cols + 2  # apart, so that no run reaches into another row
    first, last = row * width + start, row * width + end
    beside = [(0, 1)] + ([] if within_slices else [(1, 0)])
    if corners and not within_slices:
        beside += [(1, -1), (1, 1)]
    one, two = [], []
    for down, across in beside:
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
    """Group of each of ``n`` things when ``one[i]`` and ``two[i]`` belong together: union-find, all pairs at once."""
    root = np.arange(n)
    while True:
        low, high = np.minimum(root[one], root[two]), np.maximum(root[one], root[two])
        apart = low < high
        if not apart.any():
            break
        np.minimum.at(root, high[apart], low[apart])
        while not np.array_equal(root, root[root]):
            root = root[root]
    return np.unique(root, return_inverse=True)[1].astype(np.int64)

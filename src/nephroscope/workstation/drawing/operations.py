"""What drawing can do by itself: fill, keep the largest part, grow, propose.

Plain arrays in and out; SciPy is loaded when it is needed.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError

Bools = npt.NDArray[np.bool_]
Hu = npt.NDArray[np.int16]
Run = tuple[int, int, int]  # row, first column, last column
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # first and last slice, row, column
MOST_INDEX = 2**31
GROW_MM = 60.0  # how far from its seed a region may reach
SAMPLED = 1  # voxels on each side of the seed whose median is its value
MOST_POINTS, FARTHEST_PX = 10_000, 1e5


def fill_holes(mask: Bools) -> Bools:
    """A mask (R, C) with its holes filled."""
    from scipy.ndimage import binary_fill_holes

    filled: Bools = binary_fill_holes(mask)
    return filled


def largest_part(voxels: Bools) -> Bools:
    """The largest connected part of a mask (S, R, C); voxels that share a corner are connected."""
    from scipy.ndimage import label

    parts, n_parts = label(voxels, np.ones((3, 3, 3)))
    if n_parts < 2:
        return voxels
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    largest: Bools = parts == sizes.argmax()
    return largest


def grow(
    hu: Hu, seed: tuple[int, int, int], tolerance_hu: float, spacing_mm: tuple[float, float, float]
) -> tuple[Bools, bool]:
    """What is connected with a seed and like it in HU, within 60 mm, with thin bridges cut and holes filled.

    Args:
        hu: (S, R, C), or one slice of it as (1, R, C).
        seed: Slice, row and column in ``hu``.
        tolerance_hu: How far the median of 3 x 3 voxels may be from the median around the seed.
        spacing_mm: Of ``hu``.

    Returns:
        The mask (S, R, C), and whether it reaches the limit of 60 mm, so that it has probably leaked.

    Raises:
        RoiError: Nothing is connected with the seed.
    """
    from scipy.ndimage import binary_dilation, binary_fill_holes, binary_opening, label, median_filter

    window = tuple(
        slice(max(at - int(GROW_MM / mm), 0), at + int(GROW_MM / mm) + 1)
        for at, mm in zip(seed, spacing_mm, strict=True)
    )
    inner = tuple(at - part.start for at, part in zip(seed, window, strict=True))
    around = tuple(slice(max(at - SAMPLED, 0), at + SAMPLED + 1) for at in inner[1:])
    part = hu[window].astype(np.float32)
    value = float(np.median(part[inner[0]][around]))
    near = np.abs(median_filter(part, (1, 3, 3)) - value) <= tolerance_hu
    cross = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], bool)
    opened = binary_opening(near, cross, iterations=2)
    own = opened if opened[inner] else near
    parts, _ = label(own)
    number = parts[inner]
    if not number:
        raise RoiError(
            where="grow",
            expected="voxels near the seed with values like its own",
            found=f"none within {tolerance_hu:g} HU of {value:.0f} HU",
            remedy="choose another seed or a larger tolerance",
        )
    grown = parts == number
    if opened[inner]:  # opening and the median took corners away
        grown = binary_dilation(grown, cross) & (near | (np.abs(part - value) <= tolerance_hu))
    grown = np.stack([binary_fill_holes(one) for one in grown])
    mask = np.zeros(hu.shape, np.bool_)
    mask[window] = grown
    edges = [grown.take((0, -1), axis).any() for axis in range(3) if grown.shape[axis] < hu.shape[axis]]
    return mask, any(edges)


def ellipsoid(shape: tuple[int, int, int], box: Box) -> Bools:
    """The ellipsoid (S, R, C) that touches the six sides of a box; both ends of a span belong to the box.

    Raises:
        RoiError: The box leaves the volume or runs backwards.
    """
    if any(not 0 <= first <= last < n for (first, last), n in zip(box, shape, strict=True)):
        raise RoiError(
            where="box",
            expected=f"first and last slice, row and column within {' x '.join(map(str, shape))}",
            found=" x ".join(f"{first}-{last}" for first, last in box),
            remedy="draw the box again",
        )
    total = np.zeros((1, 1, 1))
    for axis, ((first, last), n) in enumerate(zip(box, shape, strict=True)):
        place = (np.arange(n) - (first + last) / 2) / ((last - first + 1) / 2)
        total = total + (place**2).reshape([-1 if own == axis else 1 for own in range(3)])
    inside: Bools = total <= 1
    return inside


def polygon(shape: tuple[int, int], points: Sequence[tuple[float, float]]) -> Bools:
    """The voxels (R, C) whose centers lie in a polygon, by the even-odd rule.

    Args:
        shape: Rows and columns.
        points: Its corners as (row, column); the center of the first voxel is (0, 0).

    Raises:
        RoiError: It has fewer than three corners, more than 10,000, or one far away.
    """
    corners = np.array(points, float).reshape(-1, 2)
    if not 3 <= len(corners) <= MOST_POINTS or not (np.abs(corners) <= FARTHEST_PX).all():
        raise RoiError(
            where="polygon",
            expected=f"3 to {MOST_POINTS:,} corners near the slice",
            found=str(len(points)) if (np.abs(corners) <= FARTHEST_PX).all() else "one far away",
            remedy="draw it again",
        )
    inside = np.zeros(shape, np.bool_)
    columns = np.arange(shape[1])
    rows_1, columns_1 = corners.T
    rows_2, columns_2 = np.roll(corners, -1, axis=0).T
    first, last = np.floor(rows_1.min()), np.ceil(rows_1.max())
    for row in range(max(int(first), 0), min(int(last), shape[0] - 1) + 1):
        cut = (rows_1 <= row) != (rows_2 <= row)
        share = (row - rows_1[cut]) / (rows_2[cut] - rows_1[cut])
        crossings = np.sort(columns_1[cut] + share * (columns_2[cut] - columns_1[cut]))
        inside[row] = (len(crossings) - np.searchsorted(crossings, columns, "right")) % 2 == 1
    return inside


def runs_of(mask: Bools) -> list[Run]:
    """A mask (R, C) as runs of voxels in a row: (row, first column, last column)."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, firsts = np.nonzero(edges == 1)
    lasts = np.nonzero(edges == -1)[1] - 1
    return list(zip(rows.tolist(), firsts.tolist(), lasts.tolist(), strict=True))


def mask_of(runs: Sequence[Run], shape: tuple[int, int], where: str) -> Bools:
    """The mask (R, C) of such runs.

    Raises:
        RoiError: A run leaves the slice or runs backwards, or there are more than can be.
    """
    mask = np.zeros(shape, np.bool_)
    found = np.array([[min(max(at, -1), MOST_INDEX) for at in run] for run in runs], np.int64).reshape(-1, 3)
    rows, firsts, lasts = found.T
    fits = (rows >= 0) & (rows < shape[0]) & (firsts >= 0) & (firsts <= lasts) & (lasts < shape[1])
    if len(runs) > mask.size or not fits.all():
        wrong = f"{len(runs):,} runs" if fits.all() else str(found[~fits][0].tolist())
        raise RoiError(
            where=where,
            expected=f"runs [row, first column, last column] within {shape[0]} x {shape[1]}",
            found=wrong,
            remedy="see docs/reference/workstation.md",
        )
    for row, first, last in found.tolist():
        mask[row, first : last + 1] = True
    return mask

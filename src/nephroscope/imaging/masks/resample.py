"""Place a mask of any grid on the grid of the CT, and say what that changed or why it is not possible."""

from itertools import product

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError, SeriesError
from nephroscope.base.text import counted_noun, first_few
from nephroscope.imaging.grid import canonical, canonical_grid, describe
from nephroscope.imaging.masks.segments import TumorQuery
from nephroscope.records import Finding, VolumeGeometry
from nephroscope.records.volumes import GRID_TOLERANCE_MM

Mask = npt.NDArray[np.bool_]
Affine = npt.NDArray[np.float64]
SAME_SPACING = 1e-3  # relative
FLATTEST = 1e-3  # volume of a voxel over the product of its edges; below this the axes are not a grid
MOST_CHANGE = 0.1  # largest change of the volume by resampling without a finding
TIE = 6  # decimals of an index: half a voxel stays half a voxel, whatever the last bits are


def fit_to_ct(
    mask: Mask, affine: Affine, ct: VolumeGeometry, query: TumorQuery
) -> tuple[Mask, list[Finding]]:
    """The mask on the CT's grid: unchanged, shifted by whole voxels, or resampled to the nearest voxel.

    Args:
        mask: Any three axes, as stored.
        affine: 4x4 from the index of ``mask`` to LPS mm.
        ct: The grid of the CT.
        query: Names the ROI in refusals and findings.

    Returns:
        Voxels (S, R, C) and the findings ``roi-resampled``, ``roi-outside``, ``roi-volume-changed``.

    Raises:
        RoiError: The header has no usable grid or looks flipped or lost, or nothing of the mask lies in the CT.
    """
    try:
        voxels, own = canonical(mask, affine)
    except SeriesError as error:
        raise RoiError(
            where=query.where, expected=error.expected, found=error.found, remedy="export the ROI again"
        ) from error
    if own.matches(ct):
        return voxels, []
    _check_place(own, ct, query)
    shift = _shift(own, ct)
    if shift is None:
        small, at = _cropped(mask, affine)
        fitted = resample_nearest(small, at, ct)
        n_outside = _count_outside(small, np.linalg.inv(ct.affine) @ at, ct.shape)
    else:
        fitted = _shifted(voxels, shift, ct.shape)
        n_outside = int(np.count_nonzero(voxels)) - int(np.count_nonzero(fitted))
    n_all = int(np.count_nonzero(mask))
    if n_all and not fitted.any():
        raise query.refusal(
            expected=f"an ROI inside the CT, {describe(ct)}",
            found=f"one completely outside it, on {describe(own)}"
            if n_outside == n_all
            else "one too thin to contain the center of any voxel",
            remedy="give the ROI that was drawn on this series",
        )
    moved = shift is None or (own.shape == ct.shape and any(shift))
    moved = moved or (shift is not None and not n_outside and _reaches_out(own, ct, shift))
    return fitted, _findings(fitted, (n_all, n_outside), (own, ct), moved, query)


def resample_nearest(mask: Mask, affine: Affine, ct: VolumeGeometry) -> Mask:
    """Each voxel of the CT gets the value of the mask voxel that contains its centre; half rounds up, as in ITK.

    Only slices and rows that the mask can reach are computed, one slice at a time.
    """
    fitted = np.zeros(ct.shape, dtype=np.bool_)
    span = _reached(mask, np.linalg.inv(ct.affine) @ affine, ct.shape)
    if span is None:
        return fitted
    to_mask = (np.linalg.inv(affine) @ ct.affine)[:3]
    rows, cols = np.meshgrid(np.arange(span[1].start, span[1].stop), np.arange(span[2].start, span[2].stop))
    plane = np.stack([np.zeros(rows.size), rows.ravel(), cols.ravel(), np.ones(rows.size)])
    size = np.array(mask.shape)[:, None]
    for s in range(span[0].start, span[0].stop):
        plane[0] = s
        index = np.floor(np.round(to_mask @ plane, TIE) + 0.5)
        inside = ((index >= 0) & (index < size)).all(axis=0)
        i, j, k = index[:, inside].astype(np.intp)
        hit = np.flatnonzero(inside)[mask[i, j, k]]
        fitted[s, rows.ravel()[hit], cols.ravel()[hit]] = True
    return fitted


def _check_place(own: VolumeGeometry, ct: VolumeGeometry, query: TumorQuery) -> None:
    """Refuse grids that are not valid, look like the CT's grid with a damaged header, or lie elsewhere."""
    cell = abs(np.linalg.det(own.affine[:3, :3])) / np.prod(own.spacing_mm)
    if cell < FLATTEST:
        raise query.refusal(
            expected="a grid with three different directions",
            found="two parallel directions",
            remedy="export the ROI again",
        )
    why = _why_spoilt(own, ct)
    low, high = zip(*(_box_mm(grid) for grid in (own, ct)), strict=True)
    if not why and (np.maximum(*low) > np.minimum(*high)).any():
        why = "it does not touch the CT and seems to belong to another series"
    if why:
        raise query.refusal(
            expected=f"the grid of the CT, {describe(ct)}",
            found=f"{describe(own)}: {why}",
            remedy="export the ROI again from the program in which it was drawn on this series",
        )


def _why_spoilt(own: VolumeGeometry, ct: VolumeGeometry) -> str:
    """The header error that would turn the CT's grid into this one, in words; empty when there is none."""
    why = _what_is_lost(own, ct)
    if why or own.shape != ct.shape or not np.allclose(own.spacing_mm, ct.spacing_mm, rtol=SAME_SPACING):
        return why
    names = ("slices", "rows", "columns")
    for ends in product((0, 1, -1), repeat=3):
        affine = ct.affine.copy()
        affine[:3, 3] += ct.affine[:3, :3] @ (np.array(ends) * (np.array(ct.shape) - 1))
        if any(ends) and own.matches(VolumeGeometry(shape=ct.shape, affine=affine)):
            turned = " and ".join(name for name, end in zip(names, ends, strict=True) if end)
            return f"the same size and spacing, but the {turned} run the other way: a flipped header"
    for signs in product((1, -1), repeat=3):
        mirror = np.diag([*signs, 1]).astype(float)
        only_origin = ct.affine.copy()
        only_origin[:3, 3] *= signs
        mirrored = canonical_grid(ct.shape, mirror @ ct.affine)
        if own.matches(mirrored) or own.matches(VolumeGeometry(shape=ct.shape, affine=only_origin)):
            axes = " and ".join(name for name, sign in zip("xyz", signs, strict=True) if sign < 0)
            ras = " (RAS taken for LPS)" if axes == "x and y" else ""
            return f"the same size and spacing, but with the wrong sign in {axes}{ras}"
    return ""


def _what_is_lost(own: VolumeGeometry, ct: VolumeGeometry) -> str:
    """The part of the CT's header that a program lost when it wrote this grid, in words; empty when nothing."""
    at_zero = _has_corner_at_zero(own) and not (own.shape != ct.shape and _has_corner_at_zero(ct))
    unit = np.allclose(own.spacing_mm, 1)
    if at_zero and unit and np.allclose(np.abs(own.affine[:3, :3]).max(axis=0), 1):
        return "1 mm voxels from 0, 0, 0: its header was lost"
    if own.shape != ct.shape:
        return ""
    if not np.allclose(own.spacing_mm, ct.spacing_mm, rtol=SAME_SPACING):
        lost = unit and _share_corner(own, ct)
        return "the same size and first voxel, but 1 mm voxels: its spacing was lost" if lost else ""
    if at_zero and not _has_corner_at_zero(ct):
        return "the same size and spacing, but from 0, 0, 0: its origin was lost"
    if _is_straight(own) and not _is_straight(ct) and _share_corner(own, ct):
        return "the same size, spacing and first voxel, but straight where the CT is turned: its directions were lost"
    return ""


def lies_on(own: VolumeGeometry, ct: VolumeGeometry) -> bool:
    """True when a grid is the CT's, or a part of it whose voxels all coincide."""
    shift = _shift(own, ct)
    return shift is not None and all(
        0 <= start <= n_ct - n for start, n, n_ct in zip(shift, own.shape, ct.shape, strict=True)
    )


def _shift(own: VolumeGeometry, ct: VolumeGeometry) -> tuple[int, int, int] | None:
    """Index in the CT of the mask's first voxel if all their voxels coincide, otherwise None."""
    to_ct = (np.linalg.inv(ct.affine) @ own.affine)[:3]
    corners = to_ct @ _corners(own.shape)
    first = np.round(to_ct[:, 3])
    expected = _corners(own.shape)[:3] + first[:, None]
    off_mm = np.abs(corners - expected).max(axis=1) * np.array(ct.spacing_mm)
    if off_mm.max() > GRID_TOLERANCE_MM or np.abs(to_ct[:, :3] - np.eye(3)).max() > 0.01:
        return None
    s, r, c = first.astype(int).tolist()
    return s, r, c


def _reaches_out(own: VolumeGeometry, ct: VolumeGeometry, shift: tuple[int, int, int]) -> bool:
    """True when a grid on the voxels of the CT is larger than the CT on some side: its size may be wrong."""
    ends = zip(shift, own.shape, ct.shape, strict=True)
    return own.shape != ct.shape and any(start < 0 or start + n > n_ct for start, n, n_ct in ends)


def _shifted(voxels: Mask, shift: tuple[int, int, int], shape: tuple[int, int, int]) -> Mask:
    fitted = np.zeros(shape, dtype=np.bool_)
    theirs, ours = [], []
    for start, n, n_ct in zip(shift, voxels.shape, shape, strict=True):
        low, high = max(start, 0), max(min(start + n, n_ct), 0)
        ours.append(slice(low, max(high, low)))
        theirs.append(slice(low - start, max(high, low) - start))
    fitted[tuple(ours)] = voxels[tuple(theirs)]
    return fitted


def _findings(
    fitted: Mask,
    counts: tuple[int, int],
    grids: tuple[VolumeGeometry, VolumeGeometry],
    moved: bool,
    query: TumorQuery,
) -> list[Finding]:
    """What changed; ``counts`` are the mask's voxels on its own grid: all, and those outside the CT."""
    n_all, n_outside = counts
    own_ml, ct_ml = (abs(float(np.linalg.det(grid.affine[:3, :3]))) / 1000 for grid in grids)
    before_ml, after_ml = n_all * own_ml, float(np.count_nonzero(fitted)) * ct_ml
    found = []
    if moved:
        text = (
            f"drawn on a grid other than that of the CT, {describe(grids[0])}; resampled to the nearest voxel: "
            f"{before_ml:.2f} ml before, {after_ml:.2f} ml after"
        )
        found.append(query.finding("roi-resampled", text))
    if n_outside:
        text = f"{n_outside} voxels ({n_outside * own_ml:.2f} ml) of {n_all} lie outside the CT and were left out"
        found.append(query.finding("roi-outside", text))
    inside_ml = (n_all - n_outside) * own_ml
    if moved and inside_ml and abs(after_ml / inside_ml - 1) > MOST_CHANGE:
        text = (
            f"resampling changed the volume inside the CT from {inside_ml:.2f} to {after_ml:.2f} ml, "
            f"more than {MOST_CHANGE:.0%}"
        )
        found.append(query.finding("roi-volume-changed", text))
    return found


def _count_outside(mask: Mask, to_ct: Affine, shape: tuple[int, ...]) -> int:
    """Voxels of the mask with their centre outside the CT, counted plane by plane."""
    n_outside, size = 0, np.array(shape)[:, None]
    for i in np.flatnonzero(mask.any(axis=(1, 2))):
        j, k = np.nonzero(mask[i])
        places = np.round(to_ct[:3] @ np.stack([np.full(j.size, i), j, k, np.ones(j.size)]), TIE)
        n_outside += int(((places < -0.5) | (places >= size - 0.5)).any(axis=0).sum())
    return n_outside


def _cropped(mask: Mask, affine: Affine) -> tuple[Mask, Affine]:
    """The smallest box that holds the mask, and its affine."""
    spans = _spans(mask)
    if spans is None:
        return mask, affine
    at = affine.copy()
    at[:3, 3] += affine[:3, :3] @ [low for low, _ in spans]
    i, j, k = (slice(low, high + 1) for low, high in spans)
    return np.ascontiguousarray(mask[i, j, k]), at


def _spans(mask: Mask) -> list[tuple[int, int]] | None:
    """First and last index of the mask along each axis; None when it is empty."""
    axes = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    return [(int(axis[0]), int(axis[-1])) for axis in axes] if axes[0].size else None


def _reached(mask: Mask, to_ct: Affine, shape: tuple[int, ...]) -> tuple[slice, slice, slice] | None:
    """The box of the CT that the mask's voxels can touch; None when there is none."""
    spans = _spans(mask)
    if spans is None:
        return None
    edges = [(low - 0.5, high + 0.5) for low, high in spans]
    corners = to_ct[:3] @ np.array([(*corner, 1.0) for corner in product(*edges)]).T
    low = np.maximum(np.floor(corners.min(axis=1)), 0)
    high = np.minimum(np.ceil(corners.max(axis=1)), np.array(shape) - 1)
    if (low > high).any():
        return None
    s, r, c = (slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    return s, r, c


def _corners(shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Indices (4, 8) of the corner voxels, homogeneous."""
    return np.array([(*corner, 1) for corner in product(*[(0, n - 1) for n in shape])], float).T


def _has_corner_at_zero(grid: VolumeGeometry) -> bool:
    places = np.abs(grid.affine[:3] @ _corners(grid.shape)).max(axis=0)
    return bool(places.min() <= GRID_TOLERANCE_MM)


def _share_corner(one: VolumeGeometry, two: VolumeGeometry) -> bool:
    """True when both have a corner voxel at the same place."""
    ours, theirs = ((grid.affine[:3] @ _corners(grid.shape)).T for grid in (one, two))
    away = np.linalg.norm(ours[:, None] - theirs[None], axis=2)
    return bool(away.min() <= GRID_TOLERANCE_MM)


def _is_straight(grid: VolumeGeometry) -> bool:
    """True when its axes are parallel to those of the patient."""
    directions = np.abs(grid.affine[:3, :3]) / grid.spacing_mm
    return bool(np.allclose(directions.max(axis=0), 1, atol=1e-5))


def _box_mm(grid: VolumeGeometry) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Lowest and highest x, y, z of a grid, including the edges of its voxels."""
    edges = [(-0.5, n - 0.5) for n in grid.shape]
    places = grid.affine[:3] @ np.array([(*corner, 1.0) for corner in product(*edges)]).T
    return places.min(axis=1), places.max(axis=1)


def frame_reaches_out(frame: Mask, affine: Affine, geometry: VolumeGeometry) -> bool:
    """True when a corner of a frame lies outside the CT."""
    n_rows, n_cols = frame.shape
    corners = np.array([[0, 0, n_rows - 1, n_rows - 1], [0, n_cols - 1, 0, n_cols - 1], [1, 1, 1, 1]])
    index = (np.linalg.inv(geometry.affine) @ affine @ corners)[:3]
    return bool(((index < -0.5) | (index > np.array(geometry.shape)[:, None] - 0.5)).any())


def gaps(voxels: Mask, query: TumorQuery) -> list[Finding]:
    """A finding about empty slices between drawn ones."""
    drawn = np.flatnonzero(voxels.any(axis=(1, 2)))
    empty = sorted(set(range(drawn[0], drawn[-1])) - set(drawn.tolist())) if drawn.size else []
    lacking = counted_noun(len(empty), "slice")
    text = f"no frame for {lacking} between drawn ones, left empty: {first_few(empty)} (from 0)"
    return [query.finding("roi-gap", text)] if empty else []

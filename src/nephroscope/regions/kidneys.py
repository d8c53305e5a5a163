"""Find the kidneys in a CT, without weights and without a mask: left and right, or "not found".

The CT is averaged to about 3 mm. On each side of the spine, tissue above several HU (and, before contrast medium,
between two) is divided at its necks (`basins`), and pieces are joined as long as the whole looks more like a kidney:
its volume, height, axes and place beside the spine, and fat around it. What looks most like one is taken if it is
like enough; otherwise nothing is. How often that is right: benchmarks/kidneys.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.records import CTVolume
from nephroscope.regions.basins import (
    Bools,
    Hu,
    Measured,
    Pieces,
    Surroundings,
    find_basins,
    mostly,
    smoothed,
    widened,
)
from nephroscope.regions.enhancement import depth_mm
from nephroscope.regions.surroundings import find_body
from nephroscope.regions.transfer import within_mm

Floats = npt.NDArray[np.float64]
GRID_MM, THICKEST_MM = 3.0, 8.0
LEAST_SLICES = 5
# HU between which tissue is looked for. The narrow ranges are those of a kidney before contrast medium, which is
# darker than the liver that it touches; what they cut out of the edge of the liver is removed by opening it.
ABOVE_HU = (-10, 20, 60, 85, 110, 135, 160, 190)
BETWEEN_HU = ((-15, 24), (-15, 30), (-15, 36))
OPENED_MM, EDGE_OF_ELLIPSOID_MM = 4.0, 2.0
FAT_HU = -10
# Where it is looked for: beside the spine, and in front of and behind the middle of its bodies.
BESIDE_MM, IN_FRONT_MM, BEHIND_MM = (15.0, 125.0), 95.0, 50.0
SEED_BESIDE_MM, SEED_BEHIND_MM = (25.0, 110.0), (-65.0, 30.0)
SEED_ML, MOST_ML, LEAST_PIECE_ML = (5.0, 450.0), 500.0, 1.0
MOST_PIECES = 1500  # a CT has at most some hundreds; noise has many
# What a kidney measures: least, most, and the standard deviation of what lies outside. Sizes: healthy adults, CT
# (Radiopaedia, "Kidney size"; 150 to 230 ml without sinus); places and surfaces: the CT and phantoms of the
# benchmark. Where the scan ends within it, its volume and height say less.
EXPECTED = {
    "ml": (150.0, 230.0, 45.0),
    "height_mm": (100.0, 130.0, 14.0),
    "short_mm": (38.0, 62.0, 7.0),
    "middle_mm": (50.0, 72.0, 8.0),
    "beside_mm": (52.0, 78.0, 10.0),
    "behind_mm": (-22.0, 4.0, 10.0),
    "solid": (0.75, 1.1, 0.08),
    "free": (0.95, 1.0, 0.1),
    "fat": (0.6, 1.0, 0.2),
    "cut": (0.0, 0.02, 0.03),
    "hu": (20.0, 230.0, 10.0),
    "bright": (0.0, 0.08, 0.05),
}
AT_END = {"ml": (50.0, 230.0, 45.0), "height_mm": (40.0, 130.0, 14.0)}
LEAST_SCORE = -1.0  # right ones -0.9 to 0, others below -1.2: python benchmarks/kidneys.py
MOST_APART_HU, MOST_APART_MM = 40.0, 80.0  # of two kidneys of a patient
# Of the spine.
BONE_HU, BONE_BESIDE_MM, LEAST_BONE_MM2, LEAST_BODY_MM2 = 150, 40.0, 150.0, 10_000.0
SPINE_FROM, SPINE_OVER_MM = 0.4, 25.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Kidney:
    """One kidney.

    Attributes:
        voxels: Its mask (S, R, C) on the grid of the CT, in blocks of about 3 mm.
        volume_ml: Of the mask.
        hu: Median, to 10 HU.
        at_end: True where the scan ends within it.
        score: How much it looks like a kidney: 0 entirely; half the sum of squared deviations, negative.
    """

    voxels: Bools
    volume_ml: float
    hu: float
    at_end: bool
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kidneys:
    """The kidneys that were found; None where none looks enough like one."""

    right: Kidney | None = None
    left: Kidney | None = None

    def organs(self) -> dict[str, Bools]:
        """Masks by the names of `organs`: kidney_left, kidney_right, and kidney for both; empty without any."""
        found = {f"kidney_{side}": one.voxels for side in ("left", "right") if (one := getattr(self, side))}
        return {**found, "kidney": np.logical_or.reduce(list(found.values()))} if found else {}


@dataclass(frozen=True, eq=False, kw_only=True)
class _Coarse:
    """A CT averaged over blocks of voxels: ``hu``, ``tumor``, ``body`` (S, R, C), and the spine of each slice."""

    hu: Hu
    steps: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    body: Bools
    tumor: Bools
    spine: Floats  # (S, 2): row and column


@dataclass(frozen=True, eq=False, kw_only=True)
class _Candidate:
    score: float
    measured: Measured
    pieces: Pieces
    chosen: frozenset[int]
    box: tuple[slice, slice, slice]
    narrow: bool


def find_kidneys(volume: CTVolume, tumor: Bools | None = None) -> Kidneys:
    """The kidneys of an axial CT of the trunk, in any contrast phase; what is in doubt is not found.

    Args:
        volume: CT in HU (S, R, C).
        tumor: A known tumor on its grid, which is left out of the kidneys and may distort them.
    """
    coarse = _coarse(volume, tumor)
    if coarse is None:
        return Kidneys()
    best = {side: _best(coarse, sign) for side, sign in (("right", -1), ("left", 1))}
    right, left = best["right"], best["left"]
    if right and left:
        apart_mm = abs(right.measured.center_mm[0] - left.measured.center_mm[0])
        if abs(right.measured.hu - left.measured.hu) > MOST_APART_HU or apart_mm > MOST_APART_MM:
            best["left" if right.score >= left.score else "right"] = None
    return Kidneys(**{side: _kidney(one, coarse, volume) if one else None for side, one in best.items()})


def block_means(hu: npt.NDArray[np.int16], steps: tuple[int, int, int]) -> Hu:
    """Means over blocks of some voxels along each axis (S, R, C), slice by slice; what fills no block is left out."""
    n_s, n_r, n_c = (size // step for size, step in zip(hu.shape, steps, strict=True))
    found = np.empty((n_s, n_r, n_c), np.float32)
    for s in range(n_s):
        slab = hu[s * steps[0] : (s + 1) * steps[0], : n_r * steps[1], : n_c * steps[2]]
        blocks = slab.reshape(steps[0], n_r, steps[1], n_c, steps[2])
        found[s] = blocks.mean(axis=(0, 2, 4), dtype=np.float32)
    return found


def _coarse(volume: CTVolume, tumor: Bools | None) -> _Coarse | None:
    """None where there is no spine, or too few or too thick slices."""
    spacing = volume.geometry.spacing_mm
    s, r, c = (max(1, round(GRID_MM / mm)) for mm in spacing)
    if spacing[0] > THICKEST_MM or volume.hu.shape[0] < LEAST_SLICES * s:
        return None
    hu = block_means(volume.hu, (s, r, c))
    body = find_body(hu, float(spacing[1] * r + spacing[2] * c) / 2)
    spine = find_spine(hu, body, (spacing[1] * r, spacing[2] * c), spacing[0] * s)
    if spine is None:
        return None
    small = np.zeros(hu.shape, np.bool_)
    if tumor is not None:
        found = block_means(tumor.view(np.int8).astype(np.int16) * 100, (s, r, c)) if tumor.any() else small
        small = found >= 50
    return _Coarse(
        hu=hu,
        steps=(s, r, c),
        spacing_mm=(spacing[0] * s, spacing[1] * r, spacing[2] * c),
        body=body,
        tumor=small,
        spine=spine,
    )


def find_spine(hu: Hu, body: Bools, pixel_mm: tuple[float, float], slice_mm: float) -> Floats | None:
    """Row and column of the middle of the spine in each slice (S, 2); None where no slice shows one.

    The median of the bone near the middle of the body, in its back part; slices without it get that of their
    neighbors.
    """
    found = np.full((len(hu), 2), np.nan)
    area = pixel_mm[0] * pixel_mm[1]
    for s, (plane, inside) in enumerate(zip(hu, body, strict=True)):
        if np.count_nonzero(inside) * area < LEAST_BODY_MM2:
            continue
        rows, columns = np.nonzero(inside)
        middle, reach = columns.mean(), BONE_BESIDE_MM / pixel_mm[1]
        bone = inside & (plane > BONE_HU)
        bone[: int(rows.min() + SPINE_FROM * np.ptp(rows))] = False
        bone[:, : max(int(middle - reach), 0)] = False
        bone[:, int(middle + reach) + 1 :] = False
        if np.count_nonzero(bone) * area >= LEAST_BONE_MM2:
            found[s] = _middle(np.argwhere(bone))
    seen = np.flatnonzero(np.isfinite(found[:, 0]))
    if not seen.size:
        return None
    over = max(int(SPINE_OVER_MM / slice_mm), 1)
    even = np.array([_middle(found[seen[abs(seen - s) <= over]]) for s in seen])
    return np.stack([np.interp(np.arange(len(hu)), seen, even[:, i]) for i in range(2)], axis=1)


def _middle(places: npt.NDArray[np.int64] | Floats) -> Floats:
    """Median of each column, as one of its values."""
    found: Floats = np.sort(places, axis=0)[len(places) // 2].astype(np.float64)
    return found


def _best(coarse: _Coarse, sign: int) -> _Candidate | None:
    """What looks most like a kidney on one side; columns rise to the left of the patient, where the sign is 1."""
    found = max(_candidates(coarse, sign), key=lambda one: one.score, default=None)
    return found if found is not None and found.score >= LEAST_SCORE else None


def _candidates(coarse: _Coarse, sign: int) -> Iterator[_Candidate]:
    box, beside_mm, behind_mm = _box(coarse, sign)
    hu, tumor = coarse.hu[box], coarse.tumor[box]
    searched = (
        coarse.body[box] & (beside_mm > BESIDE_MM[0]) & (behind_mm > -IN_FRONT_MM) & (behind_mm < BEHIND_MM)
    )
    around = Surroundings(searched=searched, fat=widened(mostly(hu < FAT_HU)), tumor=tumor)
    up_mm = np.broadcast_to((np.arange(len(hu)) * coarse.spacing_mm[0])[:, None, None], hu.shape)
    places = (up_mm, np.broadcast_to(behind_mm, hu.shape), np.broadcast_to(beside_mm, hu.shape))
    for narrow, tissue in _tissues(hu, searched & ~tumor, coarse.spacing_mm):
        basins = find_basins(tissue, coarse.spacing_mm)
        at = basins > 0
        if basins.max() > MOST_PIECES:
            continue
        if np.count_nonzero(at) * float(np.prod(coarse.spacing_mm)) / 1000 < EXPECTED["ml"][0] / 5:
            continue
        pieces = Pieces(basins, hu, np.stack([place[at] for place in places], axis=1), coarse.spacing_mm)
        pieces.see(around)
        for score, chosen in _joined(pieces):
            measured = pieces.measured(chosen)
            yield _Candidate(
                score=score, measured=measured, pieces=pieces, chosen=chosen, box=box, narrow=narrow
            )


def _box(coarse: _Coarse, sign: int) -> tuple[tuple[slice, slice, slice], Floats, Floats]:
    """The part of the grid that is searched, and how far its voxels lie beside the spine, and behind it, in mm."""
    _, row_mm, column_mm = coarse.spacing_mm
    row, column = coarse.spine.T
    _, n_rows, n_columns = coarse.hu.shape
    ends = np.concatenate([column + sign * mm / column_mm for mm in BESIDE_MM])
    columns = slice(max(int(ends.min()), 0), min(int(ends.max()) + 2, n_columns))
    first, last = (row - IN_FRONT_MM / row_mm).min(), (row + BEHIND_MM / row_mm).max()
    rows = slice(max(int(first), 0), min(int(last) + 2, n_rows))
    beside = (np.arange(n_columns)[columns] - column[:, None, None]) * sign * column_mm
    behind = (np.arange(n_rows)[rows][None, :, None] - row[:, None, None]) * row_mm
    return (slice(None), rows, columns), beside, behind


def _tissues(hu: Hu, searched: Bools, spacing_mm: tuple[float, float, float]) -> Iterator[tuple[bool, Bools]]:
    """Masks of what is above some HU, and (True) of what is between two."""
    for low in ABOVE_HU:
        yield False, searched & mostly(hu > low)
    even = smoothed(smoothed(np.clip(hu, -150, 300)))
    for low, high in BETWEEN_HU:
        found = searched & (even > low) & (even < high)
        core = depth_mm(found, spacing_mm, OPENED_MM + 1) > OPENED_MM
        if core.any():
            yield True, within_mm(core, spacing_mm, OPENED_MM + 0.8) & found


def _joined(pieces: Pieces) -> Iterator[tuple[float, frozenset[int]]]:
    """From each piece that may be one of a kidney, the pieces that together look most like one, and how much."""
    ml = pieces.counts * pieces.voxel_ml
    done: set[frozenset[int]] = set()
    for seed in np.flatnonzero((ml > SEED_ML[0]) & (ml < SEED_ML[1])).tolist():
        alone = pieces.measured([seed])
        _, behind, beside = alone.center_mm
        if (
            not SEED_BESIDE_MM[0] < beside < SEED_BESIDE_MM[1]
            or not SEED_BEHIND_MM[0] < behind < SEED_BEHIND_MM[1]
        ):
            continue
        chosen, score = frozenset([seed]), kidney_score(alone)
        while True:
            own = list(chosen)
            near = set(np.flatnonzero(pieces.touch[own].sum(axis=0) > 0).tolist()) - chosen
            room = MOST_ML - float(ml[own].sum())
            further = [
                (kidney_score(pieces.measured(chosen | {one})), one)
                for one in near
                if LEAST_PIECE_ML <= ml[one] < room
            ]
            if not further or max(further)[0] <= score:
                break
            score, one = max(further)
            chosen = chosen | {one}
        if chosen not in done:
            done.add(chosen)
            yield score, chosen


def kidney_score(measured: Measured) -> float:
    """How much something looks like a kidney: 0 where all is as expected, otherwise negative."""
    values = {
        "ml": measured.ml,
        "height_mm": measured.height_mm,
        "short_mm": measured.axes_mm[0],
        "middle_mm": measured.axes_mm[1],
        "beside_mm": measured.center_mm[2],
        "behind_mm": measured.center_mm[1],
        **{name: float(getattr(measured, name)) for name in ("solid", "free", "fat", "cut", "hu", "bright")},
    }
    expected = {**EXPECTED, **AT_END} if measured.at_end else EXPECTED
    score = 0.0
    for name, (least, most, deviation) in expected.items():
        off = max(least - values[name], values[name] - most, 0.0)
        score -= (off / deviation) ** 2 / 2
    return score


def _kidney(one: _Candidate, coarse: _Coarse, volume: CTVolume) -> Kidney:
    """The candidate on the grid of the CT."""
    small = np.zeros(coarse.hu.shape, np.bool_)
    small[one.box] = one.pieces.mask(one.chosen)
    if one.narrow:
        small |= _edge(small, coarse)
    voxels = np.zeros(volume.hu.shape, np.bool_)
    s, r, c = coarse.steps
    for index in np.flatnonzero(small.any(axis=(1, 2))):
        plane = np.repeat(np.repeat(small[index], r, axis=0), c, axis=1)
        voxels[index * s : (index + 1) * s, : plane.shape[0], : plane.shape[1]] = plane
    return Kidney(
        voxels=voxels,
        volume_ml=float(np.count_nonzero(small) * np.prod(coarse.spacing_mm)) / 1000,
        hu=one.measured.hu,
        at_end=one.measured.at_end,
        score=one.score,
    )


def _edge(kidney: Bools, coarse: _Coarse) -> Bools:
    """Tissue next to a kidney that was opened, as far as it lies within the kidney's ellipsoid."""
    places = np.argwhere(kidney) * coarse.spacing_mm
    middle = places.mean(axis=0)
    lengths, directions = np.linalg.eigh(np.cov(places.T, bias=True))
    half = np.sqrt(5 * lengths) + EDGE_OF_ELLIPSOID_MM
    near = within_mm(kidney, coarse.spacing_mm, OPENED_MM) & mostly(coarse.hu > FAT_HU) & ~coarse.tumor
    at = np.argwhere(near)
    inside = ((((at * coarse.spacing_mm - middle) @ directions) / half) ** 2).sum(axis=1) <= 1
    found = np.zeros_like(kidney)
    found[tuple(at[inside].T)] = True
    return found

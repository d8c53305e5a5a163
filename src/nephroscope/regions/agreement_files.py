"""Two segmentation files without their CT in, the agreement of every segment that both hold out.

DICOM SEG, NIfTI and NRRD. A SEG brings its own grid, and often only the slices that hold something: both files are
laid on the smallest grid that holds them, by whole voxels, never resampled.
"""

import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError, SeriesError
from nephroscope.imaging.files import NO_FILE, NOT_READABLE, file_kind
from nephroscope.imaging.grid import MOST_VOXELS, canonical, describe
from nephroscope.imaging.masks.label_map import read_label_map
from nephroscope.imaging.masks.seg import seg_segments, segment_stack, series_uids
from nephroscope.imaging.masks.segments import TumorQuery
from nephroscope.imaging.read import read_dicom_roi, refusing_damage
from nephroscope.records import RoiMask, VolumeGeometry
from nephroscope.records.volumes import GRID_TOLERANCE_MM
from nephroscope.regions.agreement import TOLERANCE_MM, RoiAgreement, compare
from nephroscope.regions.measure import crop

Bools = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int_]
_Named = tuple[str, int, int]  # name, number, layer


@dataclass(frozen=True, kw_only=True)
class FilesAgreement:
    """What two files agree on.

    Attributes:
        segments: Compared, in the order of the first file; the label stands in ``case_id``.
        only_1, only_2: Labels that only one file holds.
    """

    segments: tuple[RoiAgreement, ...]
    only_1: tuple[str, ...]
    only_2: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Piece:
    mask: Bools  # the box (S, R, C) that holds a segment
    offset: Index  # of its first voxel on the file's grid

    @classmethod
    def of(cls, mask: Bools, moved: Index) -> "_Piece":
        box, offset = crop(mask)
        return cls(box.copy(), offset + moved)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Stored:
    where: str
    masks: dict[str, _Piece]  # by label, none empty
    geometry: VolumeGeometry
    series: frozenset[str]


def compare_files(
    one: Path, two: Path, tumor_name: str = "", tolerance_mm: float = TOLERANCE_MM
) -> FilesAgreement:
    """Compare the segments that two files call by one label (case does not matter).

    Args:
        one: First reader's DICOM SEG or label map.
        two: Second reader's.
        tumor_name: Only this segment; empty: all.
        tolerance_mm: Of the surface Dice.

    Raises:
        RoiError: A file cannot be read, they refer to different series or grids, or share no segment of that name.
    """
    a, b = _read(one), _read(two)
    if a.series and b.series and not a.series & b.series:
        raise RoiError(
            where=b.where,
            expected=f"a segmentation of series {min(a.series)}, as {one.name} is",
            found=f"one of series {min(b.series)}",
            remedy="give two segmentations of one series",
        )
    known = {label.casefold(): label for label in b.masks}
    shared = [
        label
        for label in a.masks
        if label.casefold() in known and tumor_name.casefold() in ("", label.casefold())
    ]
    if not shared:
        raise RoiError(
            where=f"{one.name} and {two.name}",
            expected=f"a segment {tumor_name!r} in both" if tumor_name else "a segment of one label in both",
            found=f"{', '.join(a.masks) or 'none'} in the first, {', '.join(b.masks) or 'none'} in the second",
            remedy="give --tumor-name as both files have it, or rename the segments",
        )
    grid, *shifts = _common_grid(a.geometry, b.geometry, b.where)
    compared = []
    for label in shared:
        pieces = a.masks[label], b.masks[known[label.casefold()]]
        pair = [_Piece(piece.mask, piece.offset + shift) for piece, shift in zip(pieces, shifts, strict=True)]
        compared.append(_compare_pieces(pair, grid, label, tolerance_mm))
    both = {label.casefold() for label in a.masks} & known.keys()
    return FilesAgreement(
        segments=tuple(compared),
        only_1=tuple(label for label in a.masks if label.casefold() not in both),
        only_2=tuple(label for label in b.masks if label.casefold() not in both),
    )


def _read(path: Path) -> _Stored:
    where, kind = f"file {path.name}", file_kind(path)
    if kind in (NO_FILE, NOT_READABLE):
        raise RoiError(where=where, expected="a segmentation", found=kind, remedy="check the path")
    return _read_seg(path, where) if kind == "dicom" else _read_label_map(path, where)


def _read_seg(path: Path, where: str) -> _Stored:
    query = TumorQuery(case_id="", where=where)
    seg = read_dicom_roi(path, where)
    if seg.Modality != "SEG":
        raise RoiError(
            where=where,
            expected="a DICOM SEG",
            found="a DICOM RTSTRUCT",
            remedy="export it as SEG or label map",
        )
    held: list[tuple[_Named, _Piece]] = []
    grid: VolumeGeometry | None = None
    with refusing_damage(where):
        series = frozenset(series_uids(seg))
        for segment in seg_segments(seg):
            stack = segment_stack(seg, segment.number, query)
            if stack is None:
                continue
            mask, own = canonical(*stack)
            grid, shift, moved = _common_grid(grid or own, own, where)
            held = [(named, _Piece(piece.mask, piece.offset + shift)) for named, piece in held]
            held.append(((segment.name, segment.number, 0), _Piece.of(mask, moved)))
    if grid is None:
        raise RoiError(where=where, expected="a segment", found="none", remedy="export it again")
    return _Stored(where=where, masks=_by_label(held), geometry=grid, series=series)


def _read_label_map(path: Path, where: str) -> _Stored:
    stored = read_label_map(path, where)
    held: list[tuple[_Named, _Piece]] = []
    names = {(segment.layer, segment.number): segment.name for segment in stored.segments}
    try:
        for layer, labels in enumerate(stored.layers):
            array, geometry = canonical(labels, stored.affine)
            for value in np.unique(array[array != 0]).tolist():
                name = names.get((layer, value), "") or f"label {value}"
                held.append(((name, value, layer), _Piece.of(array == value, np.zeros(3, int))))
    except SeriesError as error:
        raise error.as_kind(RoiError, where) from error
    return _Stored(where=where, masks=_by_label(held), geometry=geometry, series=frozenset())


def _by_label(held: list[tuple[_Named, _Piece]]) -> dict[str, _Piece]:
    """Pieces by name; where several have one, by name and number, and by layer if that does not tell them apart."""
    names = Counter(name.casefold() for (name, _, _), _ in held)
    numbers = Counter((name.casefold(), number) for (name, number, _), _ in held)
    masks = {}
    for (name, number, layer), piece in held:
        label = f"{name} {number}" if names[name.casefold()] > 1 else name
        masks[f"{label}, layer {layer}" if numbers[name.casefold(), number] > 1 else label] = piece
    return masks


def _common_grid(a: VolumeGeometry, b: VolumeGeometry, where: str) -> tuple[VolumeGeometry, Index, Index]:
    """The smallest grid that holds both, and the index of each one's first voxel on it."""
    to_a = np.linalg.inv(a.affine) @ b.affine
    offset = np.round(to_a[:3, 3])
    snapped = a.affine.copy()
    snapped[:3, 3] += a.affine[:3, :3] @ offset
    if not VolumeGeometry(shape=b.shape, affine=snapped).matches(b):
        raise RoiError(
            where=where,
            expected=f"the voxels of what was read before, {describe(a)}, to within {GRID_TOLERANCE_MM:g} mm",
            found=describe(b),
            remedy="export both segmentations on the grid of the CT",
        )
    low = np.minimum(offset, 0).astype(int)
    high = np.maximum(offset + b.shape, a.shape).astype(int)
    _check_size(tuple((high - low).tolist()), where)
    affine = a.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    s, r, c = (high - low).tolist()
    return VolumeGeometry(shape=(s, r, c), affine=affine), -low, offset.astype(int) - low


def _compare_pieces(
    pair: list[_Piece], grid: VolumeGeometry, label: str, tolerance_mm: float
) -> RoiAgreement:
    """Compare two pieces in the box of both; slices and box are counted on the whole grid."""
    low = np.minimum(*(piece.offset for piece in pair))
    s, r, c = (np.maximum(*(piece.offset + piece.mask.shape for piece in pair)) - low).tolist()
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    box = VolumeGeometry(shape=(s, r, c), affine=affine)
    one, two = (
        RoiMask(voxels=_laid(piece.mask, piece.offset - low, box), geometry=box, case_id=label)
        for piece in pair
    )
    found = compare(one, two, tolerance_mm)
    ds, dr, dc = low.tolist()
    rows = [(first + d, last + d) for (first, last), d in zip(found.box, (ds, dr, dc), strict=True)]
    return replace(
        found,
        slices_only_1=tuple(index + ds for index in found.slices_only_1),
        slices_only_2=tuple(index + ds for index in found.slices_only_2),
        box=(rows[0], rows[1], rows[2]),
    )


def _check_size(shape: tuple[int, ...], where: str) -> None:
    if math.prod(shape) > MOST_VOXELS:
        raise RoiError(
            where=where,
            expected=f"a grid of at most {MOST_VOXELS} voxels around what was drawn",
            found=" x ".join(map(str, shape)),
            remedy="check that the slices lie where they should, and that both files are of one patient",
        )


def _laid(mask: Bools, shift: Index, grid: VolumeGeometry) -> Bools:
    voxels = np.zeros(grid.shape, np.bool_)
    voxels[tuple(slice(first, first + n) for first, n in zip(shift, mask.shape, strict=True))] = mask
    return voxels

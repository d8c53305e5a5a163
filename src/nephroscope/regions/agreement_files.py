"""Compare two segmentation files without their CT, segment by segment.

DICOM SEG, NIfTI and NRRD. A SEG has its own grid, and often only slices that are not empty: both files are placed on
the smallest grid that holds them, by whole voxels and never resampled.
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
from nephroscope.regions.agreement import RoiAgreement, compare
from nephroscope.regions.measure import crop
from nephroscope.regions.surface import TOLERANCE_MM

Bools = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int_]
_Named = tuple[str, int, int]  # name, number, layer


@dataclass(frozen=True, kw_only=True)
class FilesAgreement:
    """Agreement of two files.

    Attributes:
        segments: Segments of both files in the order of the first; their label is in ``case_id``.
        only_1, only_2: Labels in only one of the files.
    """

    segments: tuple[RoiAgreement, ...]
    only_1: tuple[str, ...]
    only_2: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Piece:
    mask: Bools  # the box (S, R, C) around a segment
    offset: Index  # of its first voxel on the grid of the file

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
    """Compare the segments with the same label in two files (case does not matter).

    Args:
        one: DICOM SEG or label map of the first annotator.
        two: The same of the second annotator.
        tumor_name: Compare only this segment; empty: all.
        tolerance_mm: Tolerance of the surface Dice.

    Raises:
        RoiError: A file cannot be read, or the files have different series or grids, or no such segment in common.
    """
    a, b = _read(one), _read(two)
    if a.series and b.series and not a.series & b.series:
        raise RoiError(
            where=b.where,
            expected=f"a segmentation of series {min(a.series)}, like {one.name}",
            found=f"a segmentation of series {min(b.series)}",
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
            expected=f"a segment {tumor_name!r} in both"
            if tumor_name
            else "a segment with the same label in both",
            found=f"{', '.join(a.masks) or 'none'} in the first, {', '.join(b.masks) or 'none'} in the second",
            remedy="give --tumor-name exactly as in both files, or rename the segments",
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
    """Pieces by name; where several share a name, by name and number, and by layer if that is not enough."""
    names = Counter(name.casefold() for (name, _, _), _ in held)
    numbers = Counter((name.casefold(), number) for (name, number, _), _ in held)
    masks = {}
    for (name, number, layer), piece in held:
        label = f"{name} {number}" if names[name.casefold()] > 1 else name
        masks[f"{label}, layer {layer}" if numbers[name.casefold(), number] > 1 else label] = piece
    return masks


def _common_grid(a: VolumeGeometry, b: VolumeGeometry, where: str) -> tuple[VolumeGeometry, Index, Index]:
    """The smallest grid that holds both, and the index of the first voxel of each on it."""
    to_a = np.linalg.inv(a.affine) @ b.affine
    offset = np.round(to_a[:3, 3])
    snapped = a.affine.copy()
    snapped[:3, 3] += a.affine[:3, :3] @ offset
    if not VolumeGeometry(shape=b.shape, affine=snapped).matches(b):
        raise RoiError(
            where=where,
            expected=f"the same grid as the segments before it, {describe(a)}, to within {GRID_TOLERANCE_MM:g} mm",
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
    """Compare two pieces in the box of both; slices and box are numbered on the whole grid."""
    low = np.minimum(*(piece.offset for piece in pair))
    s, r, c = (np.maximum(*(piece.offset + piece.mask.shape for piece in pair)) - low).tolist()
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    box = VolumeGeometry(shape=(s, r, c), affine=affine)
    one, two = np.zeros((2, s, r, c), np.bool_)
    for voxels, piece in zip((one, two), pair, strict=True):
        place = zip(piece.offset - low, piece.mask.shape, strict=True)
        voxels[tuple(slice(first, first + n) for first, n in place)] = piece.mask
    first_roi, second_roi = (RoiMask(voxels=voxels, geometry=box, case_id=label) for voxels in (one, two))
    found = compare(first_roi, second_roi, tolerance_mm)
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
            expected=f"a grid of at most {MOST_VOXELS} voxels around all segments",
            found=" x ".join(map(str, shape)),
            remedy="check the positions of the slices, and that both files belong to one patient",
        )

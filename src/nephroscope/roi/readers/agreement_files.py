"""Two segmentation files without their CT in, the agreement of every segment that both hold out.

DICOM SEG, NIfTI and NRRD. A SEG brings its own grid, and often only the slices that hold something: both files are
laid on the smallest grid that holds them, by whole voxels, never resampled.
"""

import math
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.cohort.grid import canonical, describe
from nephroscope.errors import RoiError, SeriesError
from nephroscope.records import RoiMask, VolumeGeometry
from nephroscope.records.volumes import GRID_TOLERANCE_MM
from nephroscope.roi.files.label_map import read_label_map
from nephroscope.roi.readers.agreement import RoiAgreement, compare
from nephroscope.roi.readers.surfaces import TOLERANCE_MM

Bools = npt.NDArray[np.bool_]
MOST_VOXELS = 2**30


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


@dataclass(frozen=True, eq=False, kw_only=True)
class _Stored:
    where: str
    masks: dict[str, Bools]  # by label, (S, R, C), not empty
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
    grid, shift_a, shift_b = _common_grid(a, b)
    compared = []
    for label in shared:
        mask_a, mask_b = a.masks[label], b.masks[known[label.casefold()]]
        first = RoiMask(voxels=_laid(mask_a, shift_a, grid), geometry=grid, case_id=label)
        second = RoiMask(voxels=_laid(mask_b, shift_b, grid), geometry=grid, case_id=label)
        compared.append(compare(first, second, tolerance_mm))
    both = {label.casefold() for label in a.masks} & known.keys()
    return FilesAgreement(
        segments=tuple(compared),
        only_1=tuple(label for label in a.masks if label.casefold() not in both),
        only_2=tuple(label for label in b.masks if label.casefold() not in both),
    )


def _read(path: Path) -> _Stored:
    where = f"file {path.name}"
    try:
        with path.open("rb") as file:
            is_dicom = file.read(132)[128:] == b"DICM"
    except OSError as error:
        raise RoiError(
            where=where, expected="a segmentation", found=error.strerror or "no file", remedy="check the path"
        ) from error
    return _read_seg(path, where) if is_dicom else _read_label_map(path, where)


def _read_seg(path: Path, where: str) -> _Stored:
    import highdicom as hd

    from nephroscope.cohort.series.read import DICOM_DAMAGE

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about attributes that do not matter here
            seg = hd.seg.segread(path)
            numbers = list(seg.segment_numbers)
            labels = [str(seg.get_segment_description(n).segment_label) for n in numbers]
            series = frozenset(
                str(item.SeriesInstanceUID) for item in seg.get("ReferencedSeriesSequence") or []
            )
            place = seg.get_volume_geometry(allow_missing_positions=True)
            if place is None:
                raise ValueError("frames that are no stack")
            _check_size((*place.spatial_shape, len(numbers)), where)
            volume = seg.get_volume(combine_segments=False, allow_missing_positions=True)
            voxels, affine = np.asarray(volume.array) > 0.5, np.asarray(volume.affine, float)
    except DICOM_DAMAGE as error:
        raise RoiError(
            where=where,
            expected="a whole DICOM SEG on one regular grid",
            found=f"one that cannot be read ({type(error).__name__})",
            remedy="give the segmentation, not the image; copy or export it again",
        ) from error
    twice = {label for label, n in Counter(label.casefold() for label in labels).items() if n > 1}
    masks: dict[str, Bools] = {}
    geometry = None
    for at, (number, label) in enumerate(zip(numbers, labels, strict=True)):
        mask, geometry = canonical(voxels[..., at], affine)
        if mask.any():
            masks[f"{label} {number}" if label.casefold() in twice else label] = mask
    if geometry is None:
        raise RoiError(where=where, expected="a segment", found="none", remedy="export it again")
    return _Stored(where=where, masks=masks, geometry=geometry, series=series)


def _read_label_map(path: Path, where: str) -> _Stored:
    stored = read_label_map(path, where)
    masks: dict[str, Bools] = {}
    names = {(segment.layer, segment.number): segment.name for segment in stored.segments}
    try:
        for layer, labels in enumerate(stored.layers):
            array, geometry = canonical(labels, stored.affine)
            for value in np.unique(array[array != 0]).tolist():
                masks[names.get((layer, value), "") or f"label {value}"] = array == value
    except SeriesError as error:
        raise RoiError(
            where=where, expected=error.expected, found=error.found, remedy=error.remedy
        ) from error
    return _Stored(where=where, masks=masks, geometry=geometry, series=frozenset())


def _common_grid(a: _Stored, b: _Stored) -> tuple[VolumeGeometry, tuple[int, ...], tuple[int, ...]]:
    """The smallest grid that holds both, and the index of each one's first voxel on it."""
    to_a = np.linalg.inv(a.geometry.affine) @ b.geometry.affine
    offset = np.round(to_a[:3, 3])
    snapped = a.geometry.affine.copy()
    snapped[:3, 3] += a.geometry.affine[:3, :3] @ offset
    if not VolumeGeometry(shape=b.geometry.shape, affine=snapped).matches(b.geometry):
        raise RoiError(
            where=b.where,
            expected=f"the voxels of the first file, {describe(a.geometry)}, to within {GRID_TOLERANCE_MM:g} mm",
            found=describe(b.geometry),
            remedy="export both segmentations on the grid of the CT",
        )
    low = np.minimum(offset, 0).astype(int)
    high = np.maximum(offset + b.geometry.shape, a.geometry.shape).astype(int)
    _check_size(tuple((high - low).tolist()), b.where)
    affine = a.geometry.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    s, r, c = (high - low).tolist()
    shift_a, shift_b = (-low).tolist(), (offset.astype(int) - low).tolist()
    return VolumeGeometry(shape=(s, r, c), affine=affine), tuple(shift_a), tuple(shift_b)


def _check_size(shape: tuple[int, ...], where: str) -> None:
    if math.prod(shape) > MOST_VOXELS:
        raise RoiError(
            where=where,
            expected=f"a grid of at most {MOST_VOXELS} voxels around what was drawn",
            found=" x ".join(map(str, shape)),
            remedy="check that the slices lie where they should, and that both files are of one patient",
        )


def _laid(mask: Bools, shift: tuple[int, ...], grid: VolumeGeometry) -> Bools:
    voxels = np.zeros(grid.shape, np.bool_)
    voxels[tuple(slice(first, first + n) for first, n in zip(shift, mask.shape, strict=True))] = mask
    return voxels

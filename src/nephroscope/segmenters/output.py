"""What a program left in its output folder -> a label map on the grid of the image, its names, and who drew it."""

import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError, SeriesError
from nephroscope.base.limits import parse_json
from nephroscope.imaging.files import file_kind
from nephroscope.imaging.grid import canonical, describe
from nephroscope.imaging.masks.label_map import read_label_map
from nephroscope.imaging.masks.segments import Segment, TumorQuery, choose_segment, labels_of, listed
from nephroscope.records import VolumeGeometry
from nephroscope.regions.organs import Organs, organ_of
from nephroscope.segmenters.refusal import (
    DamagedOutputError,
    FlippedError,
    NoOutputError,
    NothingDrawnError,
    OtherGridError,
    OtherLabelsError,
    SegmenterError,
    SeveralFilesError,
)
from nephroscope.segmenters.tool import MOST_JSON_BYTES, Tool, author_of, is_label, named_labels

IMAGES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".hdr", ".img")
TUMOR = 1  # what the only value of a label map without names means
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Says:
    """What a program says of itself in the JSON next to its label map; empty where it says nothing.

    Attributes:
        tool, version: Its name and version.
        weights: Digest of its weights.
        seen: ``trained-on`` where it learned from this very CT; ``out-of-fold`` where only those of its networks drew
            that did not.
        labels: Names of values.
    """

    tool: str = ""
    version: str = ""
    weights: str = ""
    seen: str = ""
    labels: Mapping[int, str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Output:
    """A label map that was accepted as one: the tumor, what else was named, and what the program says of itself.

    Attributes:
        tumor: (S, R, C); None where only organs were drawn.
        organs: Masks by name, of those that have one.
        says: From its JSON.
    """

    tumor: Bools | None
    organs: Organs
    says: Says


def read_output(folder: Path, wanted: Path, geometry: VolumeGeometry, tool: Tool, where: str) -> Output:
    """Read what a program wrote.

    Args:
        folder: Where it was to write.
        wanted: The file that {output} named, in that folder.
        geometry: Canonical grid of the image that it was given, columns first in its file.
        tool: The program.
        where: Case and program, in refusals.

    Raises:
        SegmenterError: No label map or several, damaged, on another grid, flipped, empty, or with other values.
    """
    path = _the_file(folder, wanted, where)
    says = _read_says(path, where)
    try:
        return _read(path, geometry, tool, says, where)
    except SegmenterError as error:
        error.author = author_of(says.tool, says.version) if says.tool and says.version else ""
        raise


def _read(path: Path, geometry: VolumeGeometry, tool: Tool, says: Says, where: str) -> Output:
    if file_kind(path) != "nifti":
        raise _refusal(DamagedOutputError, where, "a NIfTI label map", file_kind(path), "write .nii.gz")
    try:
        stored = read_label_map(path, where, int(np.prod(geometry.shape)))
        _check_grid(stored.layers[0].shape, stored.affine, geometry, where)
        labels, _ = canonical(stored.layers[0], stored.affine)
    except SegmenterError:
        raise
    except (RoiError, SeriesError) as error:
        other = "voxels" in error.found and "at most" in error.expected
        raise _refusal(
            OtherGridError if other else DamagedOutputError, where, error.expected, error.found, error.remedy
        ) from error
    named = {segment.number: segment.name for segment in stored.segments}
    names = says.labels or named or tool.labels
    return _sorted(labels, names, tool, says, where)


def _sorted(
    labels: npt.NDArray[np.generic], names: Mapping[int, str], tool: Tool, says: Says, where: str
) -> Output:
    """The tumor and the organs among the values."""
    values = labels_of(labels)
    if not values:
        raise _refusal(
            NothingDrawnError, where, "a tumor", "nothing drawn: every voxel is 0", "draw it by hand"
        )
    known = {*names, tool.tumor_label} if names else set(values) if tool.tumor_label else {TUMOR}
    if others := [value for value in values if value not in known]:
        shown = listed([Segment(number=value, name=name) for value, name in sorted(names.items())])
        raise _refusal(
            OtherLabelsError,
            where,
            f"only the values {shown}" if names else f"only 0 and {TUMOR}, the tumor",
            f"also {', '.join(map(str, others[:6]))}{' and more' if len(others) > 6 else ''}",
            "name them in the JSON next to the label map, or say with --tumor-label which is the tumor",
        )
    organs: Organs = {}
    for value in values:
        organ = organ_of(names.get(value, ""))
        if organ and organ != "tumor":
            organs[organ] = organs[organ] | (labels == value) if organ in organs else labels == value
    sides = [organs[name] for name in ("kidney_left", "kidney_right", "kidney") if name in organs]
    if sides:
        organs["kidney"] = np.logical_or.reduce(sides)
    if tool.organs_only:
        return Output(tumor=None, organs=organs, says=says)
    number = tool.tumor_label or _tumor_among(names, values, where)
    tumor = labels == number
    if not tumor.any():
        drawn = ", ".join(names.get(value, str(value)) for value in values)
        raise _refusal(
            NothingDrawnError, where, f"a tumor, value {number}", f"only {drawn}", "draw it by hand"
        )
    return Output(tumor=tumor, organs=organs, says=says)


def _tumor_among(names: Mapping[int, str], values: list[int], where: str) -> int:
    if not names:
        return TUMOR
    segments = [Segment(number=value, name=name) for value, name in sorted(names.items())]
    drawn = [one for one in segments if one.number in values and one.says_tumor]
    if len(drawn) > 1:
        raise _refusal(
            OtherLabelsError, where, "one value that is the tumor", listed(drawn), "say which: --tumor-label"
        )
    if drawn:
        return drawn[0].number
    try:
        return choose_segment(segments, TumorQuery(case_id="", where=where)).number
    except RoiError as error:
        raise _refusal(
            OtherLabelsError,
            where,
            error.expected,
            error.found,
            "call one value tumor, or give --tumor-label",
        ) from error


def _the_file(folder: Path, wanted: Path, where: str) -> Path:
    """The one label map in the folder.

    Links and what is no plain file are not followed: a program may have put them there.
    """
    found = []
    if folder.is_symlink() or not folder.is_dir():
        raise _refusal(
            DamagedOutputError, where, "its output folder", "something else in its place", "leave it"
        )
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            continue
        if path.name.lower().endswith(IMAGES):
            if not stat.S_ISREG(mode):
                raise _refusal(
                    DamagedOutputError, where, "a plain file", f"{path.name}, which is none", "write a file"
                )
            found.append(path)
    if not found:
        others = sum(1 for path in folder.rglob("*") if path.is_file())
        said = f"exit code 0 and no label map{f' among {others} files' if others else ''}"
        raise _refusal(NoOutputError, where, "a label map in the output folder", said, "write it to {output}")
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:4])
        raise _refusal(
            SeveralFilesError, where, "one label map", f"{len(found)}: {names}", "write one, to {output}"
        )
    return found[0] if wanted not in found else wanted


def _check_grid(
    shape: tuple[int, ...], affine: npt.NDArray[np.float64], geometry: VolumeGeometry, where: str
) -> None:
    """Refuse a grid that is not that of the image as it was written, voxel by voxel in the same order."""
    order = [2, 1, 0, 3]
    given = VolumeGeometry(shape=geometry.shape[::-1], affine=geometry.affine[:, order])
    got = VolumeGeometry(shape=(shape[0], shape[1], shape[2]), affine=affine)
    if got.matches(given):
        return
    cosines = [one.affine[:3, :3] / np.array(one.spacing_mm) for one in (given, got)]
    turned = np.abs(np.abs(cosines[0]) - np.abs(cosines[1])).max() < 1e-3
    against = [
        name
        for name, one, two in zip(("columns", "rows", "slices"), cosines[0].T, cosines[1].T, strict=True)
        if one @ two < 0
    ]
    if got.shape == given.shape and turned and against:
        raise _refusal(
            FlippedError,
            where,
            "the header of the image",
            f"one in which the {' and '.join(against)} run the other way",
            "write the label map with the affine of the image, in its order of voxels",
        )
    raise _refusal(
        OtherGridError,
        where,
        f"the grid of the image, {describe(given)}",
        describe(got),
        "write the label map on the grid of the image, as it was given",
    )


def _read_says(path: Path, where: str) -> Says:
    """The JSON next to a label map.

    Raises:
        DamagedOutputError: It is damaged, or does not say what the values are: the map would be taken for another.
    """
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    for name in (f"{stem}.json", f"{path.name}.json"):
        beside = path.with_name(name)
        if beside.is_symlink() or not beside.is_file():
            continue
        said = None
        if beside.stat().st_size <= MOST_JSON_BYTES:
            with suppress(ValueError):
                said = parse_json(beside.read_text(encoding="utf-8-sig"))
        if not isinstance(said, dict):
            expected = f"a JSON object of at most {MOST_JSON_BYTES >> 20} MB next to the label map, or none"
            raise _refusal(DamagedOutputError, where, expected, "something else", "write it whole")
        return _says(said, where)
    return Says(labels={})


def _says(found: Mapping[str, object], where: str) -> Says:
    """What it says, of which only what has the expected type is taken; but the names of the values must be whole."""

    def text(*keys: str) -> str:
        values = [found[key] for key in keys if isinstance(found.get(key), str | int | float)]
        return str(values[0])[:200] if values else ""

    held = next((found[key] for key in ("labels", "label_names", "names") if key in found), {})
    if not isinstance(held, dict) or not all(is_label(key, value) for key, value in held.items()):
        expected = 'labels in its JSON such as {"tumor": 1, "kidney": 2}'
        raise _refusal(DamagedOutputError, where, expected, "others", "write whole numbers, by name")
    return Says(
        tool=text("tool", "name"),
        version=text("version"),
        weights=text("weights", "weights_digest", "weights_sha256", "digest", "sha256"),
        seen=text("seen"),
        labels=named_labels(held),
    )


def _refusal(
    kind: type[SegmenterError], where: str, expected: str, found: str, remedy: str
) -> SegmenterError:
    return kind(where=where, expected=expected, found=found, remedy=remedy)

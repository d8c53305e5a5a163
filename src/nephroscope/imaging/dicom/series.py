"""Read one DICOM CT series as a CTVolume in HU; slices that are not an even stack are refused with the reason."""

import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.errors import InvalidDicomError
from pydicom.tag import Tag

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import SeriesError
from nephroscope.base.files import relative_to
from nephroscope.base.text import counted_noun, first_few
from nephroscope.imaging.dicom.acquisitions import check_stack, split_acquisitions, without_copies
from nephroscope.imaging.dicom.files import (
    DICOM_DAMAGE,
    opened,
    parse_header,
    quiet,
    read_header,
)
from nephroscope.imaging.dicom.hounsfield import (
    DERIVED,
    check_rescale,
    check_scales,
    check_size,
    derived_kind,
    is_sharp,
    read_hu,
)
from nephroscope.imaging.dicom.pixel_data import PIXEL_TAGS, PixelFile, form_of, same_pixels, uid_of
from nephroscope.imaging.dicom.slice_header import SLICE_TAGS, SliceHeader, slice_headers, text_of
from nephroscope.imaging.dicom.stack import Stack
from nephroscope.imaging.files import DamageError, damage_words, file_name, folder_name
from nephroscope.imaging.grid import check_hu, hu_volume
from nephroscope.records import CTVolume, Finding, note, warning

FORMAT = 1
FEW_SERIES = 2  # of one image each in a folder: scouts
SAME_SIZE = 0.1  # by this share the sizes of files of one series may differ
SUFFIX = ".series.json"


@dataclass(frozen=True, kw_only=True)
class SeriesFiles:
    """The files of one series, or of one acquisition of it.

    ``acquisition``, from 1, is set only where one file holds several and only one of them is meant.
    """

    series_uid: str
    acquisition: int | None = None
    files: tuple[Path, ...]


def save_series_files(path: Path, content: SeriesFiles, study: Path) -> None:
    """Write the list; paths below the ``study`` folder are written relative to it."""
    files = tuple(Path(relative_to(study, file)) for file in content.files)
    save_document(path, replace(content, files=files), FORMAT)


def load_series_files(path: Path, study: Path | None = None) -> SeriesFiles:
    """Read the list back.

    Args:
        path: As `save_series_files` wrote it.
        study: Folder at which relative paths start; by default two folders up (``STUDY/series/CASE.series.json``).

    Raises:
        SeriesError: The file is damaged, has a newer format, or names no files.
    """
    content = read_document(path, SeriesFiles, FORMAT, "import the case again", SeriesError)
    if not content.files:
        raise SeriesError(
            where=path.name, expected="a list of files", found="an empty list", remedy="import the case again"
        )
    root = study or path.resolve().parent.parent
    return replace(content, files=tuple(root / file for file in content.files))


def is_series_list(path: Path) -> bool:
    """True for the path of such a list of files."""
    return path.name.endswith(SUFFIX)


# CT Image, Enhanced CT Image, Legacy Converted Enhanced CT Image Storage.
CT_IMAGE_CLASSES = {f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("2", "2.1", "2.2")}
TAGS = tuple(Tag(keyword) for keyword in (*SLICE_TAGS, *PIXEL_TAGS, "SeriesDescription", "ConvolutionKernel"))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Slice:
    """A slice and the file with its pixels."""

    header: SliceHeader
    file: PixelFile


def read_dicom_series(
    source: Path | Sequence[Path], series_uid: str | None = None, acquisition: int | None = None
) -> CTVolume:
    """One CT series, in any transfer syntax, file order and storage direction, on the canonical grid.

    HU are the stored values with each slice's own rescale slope and intercept; padding becomes air. Files that are
    not DICOM, or not CT, are ignored.

    Args:
        source: A folder (without its subfolders), or the files themselves.
        series_uid: The series to read where there are several; otherwise there must be only one.
        acquisition: Which acquisition of `split_acquisitions` to read, from 1; otherwise there must be only one.

    Raises:
        SeriesError: There is no CT, or several series or acquisitions; slices differ in size, orientation or spacing;
            spacing or rescale is missing; a position is repeated; there is a gap or a tilted gantry; the series is
            cut short; or pixel data cannot be decoded.
    """
    with quiet():
        found = open_stack(source, series_uid, acquisition)
        slices, headers, where = found.slices, found.headers, found.where
        hu = read_pixels(slices, where)
        scales = [_scale(one) for one in slices]
    findings = found.findings + check_scales([one.header for one in slices], scales, hu, where)
    findings += found.copies + list(found.stack.findings)
    findings += check_rescale(headers, where) + check_hu(hu, where)
    findings += _check_plain(slices, where)
    volume = hu_volume(hu, found.stack.affine, found.uid, tuple(findings))
    images = frozenset(one.sop_uid for one in headers if one.sop_uid)
    return replace(volume, frame_uid=headers[0].frame_uid, image_uids=images)


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedStack:
    """A series of which no pixels were read yet: ``slices`` in order, ``headers`` as they came, scouts among them."""

    slices: list[_Slice]
    headers: list[SliceHeader]
    stack: Stack
    uid: str
    where: str
    findings: list[Finding]
    copies: list[Finding]


def open_stack(source: Path | Sequence[Path], series_uid: str | None, acquisition: int | None) -> OpenedStack:
    """The slices of a series in order, by their headers; raises as `read_dicom_series` does."""
    slices, uid, findings = _read_slices(source, series_uid)
    where = f"series {uid}"
    slices, copies = _drop_copies(slices, where)
    slices = _of_acquisition(slices, acquisition, where)
    headers = [one.header for one in slices]
    stack = check_stack(headers, where)
    ordered = [slices[index] for index in stack.order]
    return OpenedStack(
        slices=ordered,
        headers=headers,
        stack=stack,
        uid=uid,
        where=where,
        findings=findings,
        copies=copies,
    )


def is_ct_image(header: Any) -> bool:
    """True for CT images, but not for other objects with modality CT (dose reports, screenshots)."""
    said = (header.file_meta.get("MediaStorageSOPClassUID"), text_of(header, "SOPClassUID"))
    return any(str(uid) in CT_IMAGE_CLASSES for uid in said)


def reason_not_copies(files: Sequence[Path]) -> str | None:
    """Why slices that look like copies would be refused, without the name of the series; None when they are copies.

    Args:
        files: All files of the repeated slices of one series; their pixels are read.
    """
    try:
        with quiet():
            _drop_copies(_read_slices(files, None)[0], "")
    except SeriesError as error:
        return f"expected {error.expected}, found {error.found}; {error.remedy}"
    return None


def _read_slices(
    source: Path | Sequence[Path], series_uid: str | None
) -> tuple[list[_Slice], str, list[Finding]]:
    """The slices of one series, unsorted and without pixels, its UID, and findings."""
    paths, where = _paths(source)
    slices: list[_Slice] = []
    uids: set[str] = set()
    n_damaged = 0
    passed: list[Path] = []
    for path in paths:
        try:
            found = _read_ct(path, series_uid)
        except DICOM_DAMAGE as error:
            if series_uid is None or isinstance(error, _OfThisSeriesError):
                raise SeriesError(
                    where=file_name(path),
                    expected="a whole DICOM file",
                    found=f"one that is cut short or damaged ({damage_words(error.__cause__ or error)})",
                    remedy="copy or export it again",
                ) from error
            n_damaged += 1
            continue
        if found is None:
            passed.append(path)
            continue
        uid, of_file = found
        uids.add(uid)
        slices += of_file if series_uid in (None, uid) else []
    requested = {series_uid} & uids if series_uid else uids
    if len(requested) != 1:
        others = (
            f"{len(uids)} CT series ({first_few(sorted(uids), 5)})"
            if uids
            else f"no CT image among {len(paths)} files"
        )
        raise SeriesError(
            where=where,
            expected=f"CT series {series_uid}" if series_uid else "one CT series",
            found=others,
            remedy=_remedy(len(uids), len(slices)),
        )
    n_damaged += _look_like_slices(passed, [one.file for one in slices])
    text = f"{n_damaged} damaged files next to the series were skipped; they may belong to it"
    doubt = warning("damaged-files", text, where)
    return slices, requested.pop(), [doubt] if n_damaged else []


def _remedy(n_series: int, n_slices: int) -> str:
    if n_series > FEW_SERIES and n_series == n_slices:
        return "each image has a Series Instance UID of its own: anonymize them again with one UID per series"
    return "give the folder of a single series" if n_series else "check the path and the export"


def _look_like_slices(passed: Sequence[Path], files: Sequence[PixelFile]) -> int:
    """How many files that are no CT image have the size or name of a slice, and are no other DICOM object."""
    sizes = sorted(file.path.stat().st_size for file in files)
    usual, named = sizes[len(sizes) // 2], {_without_digits(file.path) for file in files}
    alike = [
        path
        for path in passed
        if _without_digits(path) in named or abs(path.stat().st_size - usual) <= usual * SAME_SIZE
    ]
    return sum(not _is_known_object(path) for path in alike)


def _without_digits(path: Path) -> str:
    return re.sub(r"\d+", "#", path.name)


def _is_known_object(path: Path) -> bool:
    header = read_header(path, ["SOPClassUID"])
    said = text_of(header, "SOPClassUID") if header is not None else ""
    return bool(said) and uid_of(said).name != said


def _paths(source: Path | Sequence[Path]) -> tuple[list[Path], str]:
    """The files in order of their names, and what a refusal calls them."""
    if not isinstance(source, Path):
        return sorted(source), f"{len(source)} files"
    try:
        found = "no such folder" if not source.is_dir() else ""
        paths = [] if found else [p for p in source.iterdir() if p.is_file() and not p.name.startswith(".")]
    except OSError as error:
        found = f"a folder that cannot be read ({damage_words(error)})"
    if found:
        raise SeriesError(
            where=folder_name(source),
            expected="a folder with one CT series",
            found=found,
            remedy="check the path and your permission to read it",
        )
    return sorted(paths), folder_name(source)


class _OfThisSeriesError(ValueError):
    """A damaged file that belongs, by its header, to the requested series."""


def _read_ct(path: Path, series_uid: str | None) -> tuple[str, list[_Slice]] | None:
    """Series UID and slices of the CT image in a file; None when it is something else."""
    try:
        with opened(path) as stream:
            header, pixels_at = parse_header(stream, TAGS)
    except InvalidDicomError:
        return None
    if not is_ct_image(header):
        return None
    uid = text_of(header, "SeriesInstanceUID") or "without UID"
    if uid != "without UID" and series_uid not in (None, uid):
        return uid, []
    try:
        if "Rows" not in header:
            raise DamageError("no Rows")
        file = PixelFile(path=path, header=header, pixels_at=pixels_at)
        return uid, [_Slice(header=one, file=file) for one in slice_headers(header)]
    except DICOM_DAMAGE as error:
        if uid == series_uid:
            raise _OfThisSeriesError from error
        raise


def _drop_copies(slices: Sequence[_Slice], where: str) -> tuple[list[_Slice], list[Finding]]:
    """Each slice once. Two different slices that claim to be the same are refused."""
    kept, copies = without_copies([one.header for one in slices])
    for copy, original in copies:
        if not _same_pixels(slices[copy], slices[original], where):
            raise SeriesError(
                where=where,
                expected="each SOP Instance UID on one image only",
                found=f"two different images for {slices[copy].header.name} (SOP ..{slices[copy].header.tail})",
                remedy="find out which one is correct, and remove the other",
            )
    text = f"left out {counted_noun(len(copies), 'slice')}: copies of others of the series"
    found = [note("duplicate-files", text, where)] if copies else []
    return [slices[index] for index in kept], found


def _check_plain(slices: Sequence[_Slice], where: str) -> list[Finding]:
    """A warning when the series is no plain CT by its header, or its kernel is sharp."""
    header, first = slices[0].file.header, slices[0].header
    description = text_of(header, "SeriesDescription")
    kind = derived_kind(first, description)
    if kind and kind != "not-hu":  # of which `check_rescale` warns
        said = "\\".join(first.image_type[2:]) or "no more in Image Type"
        return [warning("derived-series", f"no plain CT but {DERIVED[kind]} ({said})", where)]
    kernel = text_of(header, "ConvolutionKernel")
    if is_sharp(kernel, description):
        text = f"a sharp kernel ({kernel or 'for bone or lung'}): noisier than a CT of soft tissue"
        return [warning("sharp-kernel", text, where)]
    return []


def _scale(one: _Slice) -> object:
    """What turns the stored values of a slice into HU."""
    form = form_of(one.file.header)
    stored = (form.bits_stored, form.high_bit, form.signed, form.padding)
    return one.header.slope, one.header.intercept, one.header.photometric, *stored


def _same_pixels(one: _Slice, other: _Slice, where: str) -> bool:
    """True when two slices have the same bytes, or the same HU from different bytes (one compressed, one not)."""
    with suppress(*DICOM_DAMAGE):  # reading them says what is wrong
        if one.header.frame is None and same_pixels(one.file, other.file):
            return True
    return np.array_equal(read_pixels([one], where), read_pixels([other], where))


def _of_acquisition(slices: list[_Slice], acquisition: int | None, where: str) -> list[_Slice]:
    """The slices of the requested acquisition, or all when none is requested."""
    if acquisition is None:
        return slices
    groups = split_acquisitions([one.header for one in slices])
    if not 1 <= acquisition <= len(groups):
        raise SeriesError(
            where=where,
            expected=f"acquisition {acquisition}",
            found=f"{len(groups)} acquisitions",
            remedy="give the number of an acquisition",
        )
    return [slices[index] for index in groups[acquisition - 1]]


def read_pixels(slices: Sequence[_Slice], where: str) -> npt.NDArray[np.int16]:
    """HU (S, R, C) in the order of ``slices``."""
    headers = [one.header for one in slices]
    check_size(headers, where)
    hu = np.empty((len(slices), headers[0].rows or 0, headers[0].columns or 0), np.int16)
    by_file: dict[Path, list[int]] = defaultdict(list)
    for index, one in enumerate(slices):
        by_file[one.file.path].append(index)
    for indices in by_file.values():
        read_hu(slices[indices[0]].file, [(headers[index], hu[index]) for index in indices], where)
    return hu

"""One DICOM CT series in, one CTVolume in HU out; what is no evenly spaced stack is refused with the reason."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError

from nephroscope.cohort.grid import AIR_HU, hu_volume
from nephroscope.cohort.tables import names
from nephroscope.errors import SeriesError
from nephroscope.records import CTVolume, Finding

SPACING_TOLERANCE_MM = 0.1
ORIENTATION_TOLERANCE = 1e-3
# What pydicom raises for damaged files, by experience: it has no one base class.
DICOM_DAMAGE = (
    InvalidDicomError,
    AttributeError,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
# CT Image, Enhanced CT Image, Legacy Converted Enhanced CT Image Storage.
CT_IMAGE_CLASSES = {f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("2", "2.1", "2.2")}
NEEDED = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
)


def read_dicom_series(folder: Path) -> CTVolume:
    """The CT series of a folder, in any transfer syntax, file order and storage direction, on the canonical grid.

    HU are the stored values through each slice's own rescale slope and intercept; padding becomes air. Files that are
    no DICOM, or no CT, are passed over.

    Args:
        folder: Holds the files of one CT series, not in folders below it.

    Raises:
        SeriesError: No CT or two series, slices of different size, orientation or spacing, no spacing or rescale,
            the same place twice, a gap, a tilted gantry, or pixel data that cannot be decoded.
    """
    slices = _read_files(folder)
    uid = str(slices[0].SeriesInstanceUID)
    where = f"series {uid}"
    for name in NEEDED:
        lacking = [s for s in slices if s.get(name) in (None, "")]
        if lacking:
            raise SeriesError(
                where=where,
                expected=f"{name} in every slice",
                found=f"none in {len(lacking)} of {len(slices)}, first in {_image(lacking[0])}",
                remedy="export the original CT series, one file per slice",
            )
    _check_alike(slices, where)
    slices, positions_mm, findings = _in_order(slices, where)
    hu = np.stack([_hu(s, where) for s in slices])
    return hu_volume(hu, _affine(slices, positions_mm), uid, findings)


def is_ct_image(header: Any) -> bool:
    """True for CT images, not for what else a scanner stores under modality CT (dose reports, captures)."""
    return str(header.file_meta.get("MediaStorageSOPClassUID", "")) in CT_IMAGE_CLASSES


def read_header(path: Path, tags: Sequence[str]) -> Any | None:
    """The named attributes of a DICOM file, or None when it is not DICOM."""
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags))
    except DICOM_DAMAGE:
        return None


def _read_files(folder: Path) -> list[Any]:
    """The CT images of one series, unsorted."""
    if not folder.is_dir():
        raise SeriesError(
            where=f"folder {folder.name}",
            expected="a folder with one CT series",
            found="no such folder",
            remedy="check the path",
        )
    paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    slices = [s for s in map(_read_ct, paths) if s is not None]
    uids = {str(s.get("SeriesInstanceUID", "without UID")) for s in slices}
    if len(uids) != 1:
        raise SeriesError(
            where=f"folder {folder.name}",
            expected="one CT series",
            found=f"{len(uids)} CT series ({names(uids)})" if uids else f"no CT among {len(paths)} files",
            remedy="give the folder of one series" if uids else "check the path and the export",
        )
    return slices


def _read_ct(path: Path) -> Any | None:
    """The CT image in a file, None when it is something else.

    Raises:
        SeriesError: The file breaks off, or holds several frames.
    """
    try:
        file = pydicom.dcmread(path)
        is_ct = is_ct_image(file)
        if is_ct and "Rows" not in file:
            raise EOFError("no Rows")
    except InvalidDicomError:
        return None
    except DICOM_DAMAGE as error:
        raise SeriesError(
            where=f"file {path.name}",
            expected="a whole DICOM file",
            found=f"one that breaks off ({type(error).__name__})",
            remedy="copy or export it again",
        ) from error
    if is_ct and int(file.get("NumberOfFrames") or 1) > 1:
        raise SeriesError(
            where=f"series {file.get('SeriesInstanceUID')}",
            expected="one file per slice",
            found=f"{file.NumberOfFrames} frames in {path.name}",
            remedy="export the series as single-frame CT images",
        )
    return file if is_ct else None


def _check_alike(slices: Sequence[Any], where: str) -> None:
    """Refuse slices of different size, orientation or pixel spacing."""
    first = slices[0]
    for name, tolerance in (
        ("Rows", 0.0),
        ("Columns", 0.0),
        ("ImageOrientationPatient", ORIENTATION_TOLERANCE),
        ("PixelSpacing", ORIENTATION_TOLERANCE),
    ):
        expected = np.atleast_1d(np.array(first[name].value, float))
        for other in slices:
            found = np.atleast_1d(np.array(other[name].value, float))
            if found.shape != expected.shape or not np.abs(found - expected).max() <= tolerance:
                raise SeriesError(
                    where=where,
                    expected=f"one {name} in all slices, {_numbers(expected)} as in {_image(first)}",
                    found=f"{_numbers(found)} in {_image(other)}",
                    remedy="export scout images and reformations as series of their own",
                )


def _in_order(
    slices: list[Any], where: str
) -> tuple[list[Any], npt.NDArray[np.float64], tuple[Finding, ...]]:
    """Slices along their normal with their positions (S, 3) in mm, proven to be an even stack."""
    normal = np.cross(*_cosines(slices[0]))
    places = np.array([s.ImagePositionPatient for s in slices], float)
    order = np.argsort(places @ normal, kind="stable")
    slices, places = [slices[i] for i in order], places[order]
    if len(slices) == 1:
        thickness = float(slices[0].get("SliceThickness") or 0) or 1.0
        text = f"one slice: {thickness:g} mm is taken as its thickness"
        finding = Finding(code="single-slice", severity="note", message=text, case_id="", where=where)
        return slices, np.vstack([places, places + thickness * normal]), (finding,)
    steps = np.diff(places, axis=0)
    gaps_mm = steps @ normal
    expected_mm = float(np.median(gaps_mm))
    worst = int(np.abs(gaps_mm - expected_mm).argmax())
    between = f"between {_image(slices[worst])} and {_image(slices[worst + 1])}"
    if gaps_mm.min() < 1e-3:
        twice = int(gaps_mm.argmin())
        raise SeriesError(
            where=where,
            expected="every slice at its own place",
            found=f"{_image(slices[twice])} and {_image(slices[twice + 1])} at the same one",
            remedy="remove the repeated images, or export phases as series of their own",
        )
    if abs(gaps_mm[worst] - expected_mm) > SPACING_TOLERANCE_MM:
        raise SeriesError(
            where=where,
            expected=f"slices {expected_mm:.4g} mm apart",
            found=f"{gaps_mm[worst]:.4g} mm {between}",
            remedy="a slice is missing or belongs elsewhere; send the series again",
        )
    aside_mm = float(np.linalg.norm(steps - np.outer(gaps_mm, normal), axis=1).max())
    if aside_mm > SPACING_TOLERANCE_MM:
        raise SeriesError(
            where=where,
            expected="slices straight above each other",
            found=f"each shifted by up to {aside_mm:.4g} mm (tilted gantry)",
            remedy="export the series corrected for gantry tilt",
        )
    return slices, places, ()


def _affine(slices: Sequence[Any], places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """From (slice, row, column) to LPS mm. Source: DICOM PS3.3 C.7.6.2.1.1."""
    along_row, along_column = _cosines(slices[0])
    row_mm, col_mm = (float(mm) for mm in slices[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = (places[-1] - places[0]) / (len(places) - 1)
    affine[:3, 1] = along_column * row_mm
    affine[:3, 2] = along_row * col_mm
    affine[:3, 3] = places[0]
    return affine


def _cosines(image: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Unit vectors along a row (towards higher columns) and along a column."""
    cosines = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
    along_row, along_column = cosines / np.linalg.norm(cosines, axis=1, keepdims=True)
    return along_row, along_column


def _hu(image: Any, where: str) -> npt.NDArray[np.int16]:
    """Pixels (R, C) of one file in HU, with padding as air."""
    try:
        stored = image.pixel_array
    except DICOM_DAMAGE as error:
        raise SeriesError(
            where=where,
            expected=f"decodable pixel data in {_image(image)}",
            found=f"{image.file_meta.TransferSyntaxUID.name} that {_damage(error)}",
            remedy="send the series again, uncompressed if it was complete",
        ) from error
    if stored.shape != (image.Rows, image.Columns):
        raise SeriesError(
            where=where,
            expected=f"gray pixels of {image.Rows} x {image.Columns} in {_image(image)}",
            found=f"an array of {' x '.join(map(str, stored.shape))}",
            remedy="export the original CT images",
        )
    slope, intercept = float(image.RescaleSlope), float(image.RescaleIntercept)
    if slope == 1 and intercept.is_integer():
        hu = stored.astype(np.int32) + int(intercept)
    else:
        hu = np.round(stored * slope + intercept)
    padded = _padding(image, stored)
    if padded is not None:
        hu[padded] = AIR_HU
    clipped: npt.NDArray[np.int16] = np.clip(hu, AIR_HU, 32767).astype(np.int16)
    return clipped


def _damage(error: Exception) -> str:
    return "has no decoder here" if isinstance(error, NotImplementedError) else "breaks off or is damaged"


def _padding(image: Any, stored: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """Pixels outside the reconstructed circle, or None. Source: DICOM PS3.3 C.7.5.1.1.2."""
    value = image.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = image.get("PixelPaddingRangeLimit")
    low, high = sorted((value, limit if isinstance(limit, int) else value))
    padded: npt.NDArray[np.bool_] = (stored >= low) & (stored <= high) if low < high else stored == value
    return padded


def _image(image: Any) -> str:
    """A slice by its Instance Number, as workstations show it."""
    return f"IM {image.get('InstanceNumber') or str(image.get('SOPInstanceUID', '?'))[-12:]}"


def _numbers(values: npt.NDArray[np.float64]) -> str:
    return ", ".join(f"{value:g}" for value in values)

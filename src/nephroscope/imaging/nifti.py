"""Read NIfTI files: a CT on the same grid as DICOM, or the values as stored. nibabel is loaded only when needed."""

import gzip
import hashlib
import io
import math
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import SeriesError
from nephroscope.imaging.files import GZIP, NIFTI1_SIZES, NIFTI2_SIZES, DamageError
from nephroscope.imaging.grid import (
    MOST_VOXELS,
    RAS_TO_LPS,
    check_hu,
    check_right_angles,
    check_voxel,
    hu_volume,
    in_mm,
)
from nephroscope.records import CTVolume, Finding, note, warning

MOST_OFFSET = 2**20  # bytes before the voxels; a header with more is damaged
MOST_REST = 4096  # bytes after the voxels; with more, the file does not match its header
HEADER_BYTES = 540  # of the longer, NIfTI-2


def read_nifti(path: Path) -> CTVolume:
    """A CT volume in HU from .nii or .nii.gz, on the canonical grid.

    Raises:
        SeriesError: The file is not NIfTI, is cut short, does not have three axes, or holds values that are not HU.
    """
    stored = read_stored(path)
    values = stored.values
    where = f"file {path.name}"
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise SeriesError(
            where=where,
            expected="only finite numbers",
            found="voxels that are infinite or not a number",
            remedy="export the volume again without resampling it beyond its edge",
        )
    if low < -32768 or high > 32767:
        raise SeriesError(
            where=where,
            expected="HU from -32768 to 32767",
            found=f"values from {low:g} to {high:g}",
            remedy="export the CT in HU",
        )
    if not np.issubdtype(values.dtype, np.integer):
        values = np.round(values)
    uid = f"nifti-{stored.digest}"
    hu = values.astype(np.int16)
    volume = hu_volume(hu, stored.affine, uid, (*stored.findings, *check_hu(hu, path.name)))
    check_right_angles(where, stored.affine)
    return volume


@dataclass(frozen=True, eq=False)
class StoredNifti:
    """Values with three axes as stored, the affine to LPS mm, a digest of the file, and findings."""

    values: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    digest: str
    findings: tuple[Finding, ...]


def read_stored(path: Path, most: int = MOST_VOXELS) -> StoredNifti:
    """The content of a NIfTI file of at most ``most`` voxels; its name and suffix do not matter.

    Raises:
        SeriesError: The file is not NIfTI, is cut short, does not match its header, or does not have three axes.
    """
    try:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:16]
        image = _parse(content, most)
        shape = image.shape
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) != 3 or not 0 < math.prod(shape) <= most:
            raise SeriesError(
                where=f"file {path.name}",
                expected="a volume with three axes",
                found=f"{' x '.join(map(str, image.shape))} voxels",
                remedy="export one phase as one volume",
            )
        values = np.asanyarray(image.dataobj).reshape(shape)
        if values.dtype.kind not in "iuf":
            raise ValueError(f"voxels of type {values.dtype}")
        affine, other_unit = in_mm(np.array(image.affine, np.float64), int(image.header["xyzt_units"]))
        unsaid = not image.header["sform_code"] and not image.header["qform_code"]
    except (OSError, EOFError, ValueError, KeyError, zlib.error) as error:
        why = (
            "no file"
            if isinstance(error, FileNotFoundError)
            else f"a file that is cut short or of another kind ({error})"
        )
        raise SeriesError(
            where=f"file {path.name}",
            expected="a whole NIfTI file (.nii or .nii.gz)",
            found=why.replace(str(path), path.name),
            remedy="copy or export it again",
        ) from error
    text = (
        "the file does not say how the patient is oriented; "
        "its axes are assumed to point right, anterior and superior"
    )
    doubt = warning("orientation-unknown", text, path.name)
    findings = (doubt,) if unsaid else ()
    if other_unit:
        text = f"the header gives lengths in {other_unit}; they were converted to mm"
        units = note("units-not-mm", text, path.name)
        findings = (*findings, units)
    check_voxel(f"file {path.name}", affine)
    return StoredNifti(values, RAS_TO_LPS @ affine, digest, findings)


def read_announced(file: io.BufferedIOBase, n_bytes: int) -> bytes:
    """Read as many bytes as the header announces, and the end of the file, where a packed file has its checksum.

    A file that unpacks to far more is not unpacked.

    Raises:
        ValueError: It holds less than its header announces, or much more.
    """
    content = file.read(n_bytes)
    _check_size(len(content) + len(file.read(MOST_REST)), n_bytes)
    return content


def _check_size(n_bytes: int, announced: int) -> None:
    if not announced <= n_bytes < announced + MOST_REST:
        found = "more" if n_bytes > announced else f"{n_bytes} bytes, less"
        raise DamageError(f"{found} than the {announced} bytes that its header announces")


def _announced(start: bytes, most: int) -> int:
    """Number of bytes that a whole NIfTI file has according to its header."""
    kind = _kind(start[:4]).header_class
    header = kind(start[: kind.sizeof_hdr], check=False)
    n_voxels = math.prod(int(n) for n in header.get_data_shape())
    offset = float(header["vox_offset"])
    if not (0 <= n_voxels <= most and 0 <= offset <= MOST_OFFSET):
        raise ValueError(f"{n_voxels} voxels announced, {offset:g} bytes from the start")
    return max(int(offset) + n_voxels * int(header.get_data_dtype().itemsize), len(start))


def _kind(size: bytes) -> Any:
    """The nibabel class for the first four bytes of a file."""
    import nibabel

    if size in NIFTI1_SIZES:
        return nibabel.Nifti1Image
    if size in NIFTI2_SIZES:
        return nibabel.Nifti2Image
    raise ValueError("not a NIfTI header")


def _parse(content: bytes, most: int) -> Any:
    """The NIfTI-1 or NIfTI-2 image in these bytes, gzipped or not."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        if content.startswith(GZIP):
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                start = file.read(HEADER_BYTES)
                content = start + read_announced(file, _announced(start, most) - len(start))
        else:
            _check_size(len(content), _announced(content[:HEADER_BYTES], most))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about header extensions, which we do not read
            return _kind(content[:4]).from_bytes(content)
    except (ImageFileError, HeaderDataError, WrapStructError) as error:
        raise ValueError(str(error)) from error

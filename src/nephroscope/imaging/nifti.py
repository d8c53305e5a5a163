"""Read NIfTI files: a CT on the same grid as DICOM, or the values as stored. nibabel is loaded only when needed.

What a header says twice is compared: the place of the voxels (sform, qform, pixdim), their number (dim and the length
of the file), their size (datatype, bitpix). No more is read than the header announces.
"""

import gzip
import hashlib
import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import SeriesError
from nephroscope.imaging.files import GZIP, NIFTI1_SIZES, NIFTI2_SIZES, DamageError, damage_words
from nephroscope.imaging.grid import (
    MOST_VOXELS,
    RAS_TO_LPS,
    check_hu,
    check_right_angles,
    check_voxel,
    describe_affine,
    hu_volume,
    in_mm,
)
from nephroscope.records import CTVolume, Finding, note, warning

MOST_OFFSET = 2**20  # bytes before the voxels; a header with more is damaged
HEADER_BYTES = 540  # of the longer, NIfTI-2
MOST_PACKED = 1040  # bytes that one byte of gzip can stand for, rounded up
# Voxels by which two places of one grid may differ: more is a contradiction, less than the second is rounding.
FAR, ROUNDING = 1.0, 0.1
Affine = npt.NDArray[np.float64]


def read_nifti(path: Path) -> CTVolume:
    """A CT volume in HU from .nii or .nii.gz, on the canonical grid.

    Raises:
        SeriesError: The file is not NIfTI, is cut short, contradicts itself, does not have three axes, or holds other
            values than HU.
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
    affine: Affine
    digest: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Header:
    """What a NIfTI header announces: shape without trailing axes of 1, type of a voxel, where the voxels begin."""

    fields: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @property
    def n_bytes(self) -> int:
        """Length of the whole file, unpacked."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def read_stored(path: Path, most: int = MOST_VOXELS) -> StoredNifti:
    """The content of a NIfTI file of at most ``most`` voxels; its name and suffix do not matter.

    Raises:
        SeriesError: The file is not NIfTI, is not as long as its header says, contradicts itself, or does not have
            three axes.
    """
    from nibabel.spatialimages import HeaderDataError
    from nibabel.volumeutils import apply_read_scaling

    where = f"file {path.name}"
    try:
        header, content, digest = _content(path, most)
        slope, shift = _scale(header.fields, where)
        given, findings = _affine(header, path.name)
    except (OSError, EOFError, ValueError, KeyError, zlib.error, HeaderDataError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise SeriesError(
            where=where,
            expected="a whole NIfTI file (.nii or .nii.gz)",
            found="no file"
            if missing
            else f"a file that is cut short or of another kind ({damage_words(error)})",
            remedy="copy or export it again",
        ) from error
    values: npt.NDArray[Any] = np.frombuffer(content, header.dtype, math.prod(header.shape), header.offset)
    values = apply_read_scaling(values.reshape(header.shape, order="F"), slope, shift)
    affine, other_unit = in_mm(given, int(header.fields["xyzt_units"]))
    if other_unit:
        text = f"the header gives lengths in {other_unit}; they were converted to mm"
        findings += (note("units-not-mm", text, path.name),)
    check_voxel(where, affine)
    return StoredNifti(values, RAS_TO_LPS @ affine, digest, findings)


def read_grid(path: Path) -> tuple[tuple[int, ...], Affine]:
    """Shape, and 4x4 from index to LPS mm, of a NIfTI file from its header alone; raises as `read_stored` does."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
        file.seek(0)
        start = (gzip.GzipFile(fileobj=file) if packed else file).read(HEADER_BYTES)
    header = _header(start, path.name, MOST_VOXELS)
    given, _ = _affine(header, path.name)
    return header.shape, RAS_TO_LPS @ in_mm(given, int(header.fields["xyzt_units"]))[0]


def read_announced(file: io.BufferedIOBase, n_bytes: int) -> bytes:
    """Read as many bytes as the header announces, and the end of the file, where a packed file has its checksum.

    A file that unpacks to more is not unpacked.

    Raises:
        ValueError: It holds less than its header announces, or more.
    """
    content = file.read(n_bytes)
    _check_size(len(content) + len(file.read(1)), n_bytes)
    return content


def _check_size(n_bytes: int, announced: int) -> None:
    if n_bytes != announced:
        found = "more" if n_bytes > announced else f"{n_bytes} bytes, less"
        raise DamageError(f"{found} than the {announced} bytes that its header announces")


def _content(path: Path, most: int) -> tuple[_Header, bytes, str]:
    """Header and all bytes of a file, unpacked, and a digest of the file as it is.

    The length of the file is compared with its header before it is read.

    Raises:
        ValueError: It is not NIfTI, or not as long as its header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
        file.seek(0)
        if not packed:
            header = _header(file.read(HEADER_BYTES), path.name, most)
            _check_size(size, header.n_bytes)
            file.seek(0)
            content = file.read()
            return header, content, hashlib.sha256(content).hexdigest()[:16]
        with gzip.GzipFile(fileobj=file) as unpacked:
            start = unpacked.read(HEADER_BYTES)
        header = _header(start, path.name, most)
        n_bytes = header.n_bytes
        if size > n_bytes + n_bytes // 100 + 2**16:
            raise DamageError(f"more than the {n_bytes} bytes that its header announces")
        if n_bytes > MOST_PACKED * size:
            raise DamageError(f"{size} packed bytes for the {n_bytes} that its header announces")
        file.seek(0)
        stored = file.read()
    with gzip.GzipFile(fileobj=io.BytesIO(stored)) as unpacked:
        content = read_announced(unpacked, n_bytes)
    return header, content, hashlib.sha256(stored).hexdigest()[:16]


def _header(start: bytes, name: str, most: int) -> _Header:
    """What the first bytes of a file say. Source: nifti1.h, nifti2.h.

    Raises:
        ValueError: They are no NIfTI header.
        SeriesError: They announce something else than one volume, or contradict each other.
    """
    import nibabel

    size = start[:4]
    if size not in (*NIFTI1_SIZES, *NIFTI2_SIZES):
        raise DamageError("not a NIfTI header")
    kind: Any = nibabel.Nifti1Header if size in NIFTI1_SIZES else nibabel.Nifti2Header
    if len(start) < kind.sizeof_hdr:
        raise DamageError(f"{len(start)} bytes")
    order = "<" if size in (NIFTI1_SIZES[0], NIFTI2_SIZES[0]) else ">"
    fields = kind(start[: kind.sizeof_hdr], endianness=order, check=False)
    if fields["magic"].item()[:3] not in (b"n+1", b"n+2"):
        pair = fields["magic"].item()[:3] in (b"ni1", b"ni2")
        raise DamageError(
            "the header of a pair .hdr and .img, save it as .nii.gz" if pair else "not a NIfTI header"
        )
    shape = [int(n) for n in fields["dim"][1 : 1 + max(int(fields["dim"][0]), 0)]]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    size_of = math.prod(shape)
    if len(shape) != 3 or not 0 < size_of <= most or min(shape) < 1:
        bound = f" of at most {most} voxels" if size_of > most else ""
        raise SeriesError(
            where=f"file {name}",
            expected=f"a volume with three axes{bound}",
            found=f"{' x '.join(map(str, shape)) or 'no'} voxels",
            remedy="export one phase as one volume",
        )
    dtype = fields.get_data_dtype()
    if dtype.kind not in "iuf":
        raise DamageError(f"voxels of type {dtype}")
    if int(fields["bitpix"]) != 8 * dtype.itemsize:
        raise SeriesError(
            where=f"file {name}",
            expected=f"{8 * dtype.itemsize} bits per voxel, as datatype {dtype.name} says",
            found=f"{int(fields['bitpix'])}, as bitpix says",
            remedy="export it again",
        )
    # A single file has its voxels behind the header; programs also write 0 there.
    least, offset = kind.sizeof_hdr + 4, float(fields["vox_offset"])
    if not 0 <= offset <= MOST_OFFSET or offset != int(offset):
        raise DamageError(f"voxels {offset:g} bytes from the start")
    return _Header(fields=fields, shape=tuple(shape), dtype=dtype, offset=max(int(offset), least))


def _scale(fields: Any, where: str) -> tuple[float | None, float | None]:
    """Slope and intercept of the values; None where the header has none.

    Raises:
        SeriesError: The slope is negative: the values would be upside down.
    """
    slope, shift = fields.get_slope_inter()
    if slope is not None and slope < 0:
        raise SeriesError(
            where=where,
            expected="a positive scl_slope",
            found=f"{slope:g}",
            remedy="export it again in HU, without a scale",
        )
    return slope, shift


@np.errstate(invalid="ignore")  # a damaged number may be a NaN that cannot even be cast without a warning
def _affine(header: _Header, name: str) -> tuple[Affine, tuple[Finding, ...]]:
    """The affine of the header, in its own units, and findings about it.

    Raises:
        SeriesError: Two of sform, qform and pixdim place a voxel more than a voxel apart, or a spacing is 0.
    """
    fields = header.fields
    spacing = np.abs(np.asarray(fields["pixdim"][1:4], float))
    if not (np.isfinite(spacing).all() and spacing.min() > 0):
        raise SeriesError(
            where=f"file {name}",
            expected="three spacings above 0 in pixdim",
            found=" x ".join(f"{mm:g}" for mm in spacing),
            remedy="export it again from the program that has its spacing",
        )
    fields["pixdim"][1:4] = spacing
    sform, qform = (form for form, _ in (fields.get_sform(coded=True), fields.get_qform(coded=True)))
    if sform is None and qform is None:
        text = (
            "the file does not say how the patient is oriented; "
            "its axes are assumed to point right, anterior and superior"
        )
        return fields.get_base_affine(), (warning("orientation-unknown", text, name),)
    affine = np.array(qform if sform is None else sform, np.float64)
    findings: list[Finding] = []
    if sform is not None and qform is not None:
        findings += _compare(name, header.shape, ("sform", affine), ("qform", np.array(qform, np.float64)))
    scaled = affine.copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled[:3, :3] *= spacing / np.linalg.norm(affine[:3, :3], axis=0)
    findings += _compare(
        name, header.shape, ("qform" if sform is None else "sform", affine), ("pixdim", scaled)
    )
    return affine, (*findings, *_defaults(affine, name))


def _compare(
    name: str, shape: tuple[int, ...], one: tuple[str, Affine], two: tuple[str, Affine]
) -> list[Finding]:
    """A warning when two grids differ by more than rounding, measured at the corners of the volume.

    Raises:
        SeriesError: They differ by more than a voxel.
    """
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in shape], [1.0])).reshape(4, -1)
    apart = np.inf
    if np.isfinite(one[1]).all() and np.isfinite(two[1]).all() and abs(np.linalg.det(one[1][:3, :3])) > 0:
        apart = float(np.abs(np.linalg.inv(one[1]) @ two[1] @ corners - corners).max())
    named = [f"{what} says {describe_affine(affine)}" for what, affine in (one, two)]
    if apart > FAR:
        raise SeriesError(
            where=f"file {name}",
            expected="one place for each voxel",
            found=f"two, {apart:.3g} voxels apart: {' and '.join(named)}",
            remedy="find out which one is correct, and export the volume again with that one",
        )
    if apart <= ROUNDING:
        return []
    text = (
        f"the header places voxels twice, {apart:.2g} voxels apart: {' and '.join(named)}; {one[0]} was used"
    )
    return [warning("geometry-disagrees", text, name)]


def _defaults(affine: Affine, name: str) -> tuple[Finding, ...]:
    """A warning about voxels of 1 x 1 x 1 from 0, 0, 0 along the axes: what programs write that know no geometry."""
    cosines = np.abs(affine[:3, :3])
    if np.abs(affine[:3, 3]).max() > 1e-6 or np.abs(np.sort(cosines, axis=0) - [[0], [0], [1]]).max() > 1e-6:
        return ()
    text = (
        "voxels of exactly 1 x 1 x 1 from 0, 0, 0, as programs write them that have lost the geometry: "
        "sizes, volumes and sides may be wrong"
    )
    return (warning("geometry-default", text, name),)

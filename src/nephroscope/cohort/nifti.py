"""NIfTI volumes and label maps in; the same CTVolume that DICOM gives out. nibabel is loaded when first needed."""

import gzip
import hashlib
import math
import re
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.cohort.grid import RAS_TO_LPS, canonical, hu_volume
from nephroscope.cohort.join import Found, join_found
from nephroscope.cohort.labels import LabelRow
from nephroscope.errors import CohortError, SeriesError
from nephroscope.records import Case, Cohort, CTVolume, Exclusion, Finding, VolumeGeometry

MOST_VOXELS = 2**30
GZIP = b"\x1f\x8b"
NIFTI1_SIZES = (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c")  # the header begins with its own size, 348
NIFTI2_SIZES = (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")  # 540
MASK_NAME = re.compile(r"[_-](seg|segmentation|mask|label)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NiftiImport:
    """Cases of a folder of NIfTI files, who was left out and why, and what is worth knowing."""

    cases: tuple[Case, ...]
    exclusions: tuple[Exclusion, ...]
    findings: tuple[Finding, ...] = ()


def read_nifti(path: Path) -> CTVolume:
    """A CT volume in HU from .nii or .nii.gz, on the canonical grid.

    Raises:
        SeriesError: The file is no NIfTI or breaks off, has not three axes, or holds values that are no HU.
    """
    stored = _read(path)
    values = stored.values
    where = f"file {path.name}"
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise SeriesError(
            where=where,
            expected="numbers only",
            found="voxels that are not a number or infinite",
            remedy="export the volume again without resampling beyond its edge",
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
    return hu_volume(values.astype(np.int16), stored.affine, uid, stored.findings)


def read_label_map(path: Path) -> tuple[npt.NDArray[np.int32], VolumeGeometry]:
    """Whole-number labels (S, R, C) and their grid, on the canonical axes.

    Raises:
        SeriesError: The file is no NIfTI or breaks off, has not three axes, or holds values that are no labels.
    """
    stored = _read(path)
    values = stored.values
    if not np.isfinite(values).all() or not np.array_equal(values, np.round(values)):
        raise SeriesError(
            where=f"file {path.name}",
            expected="a label map of whole numbers",
            found="fractions or values that are not a number",
            remedy="export labels, not probabilities or a CT, and resample them with nearest neighbour",
        )
    return canonical(values.astype(np.int32), stored.affine)


def import_nifti(
    folder: Path, labels: list[LabelRow], subtypes: tuple[str, ...], positive: str, tumor_label: int
) -> NiftiImport:
    """Cases from pairs CASE.nii.gz + CASE_seg.nii.gz (_mask, -label) or CASE/imaging + segmentation.nii.gz.

    Raises:
        CohortError: The folder holds no NIfTI file.
    """
    found = _pairs(folder.resolve())
    if not found:
        raise CohortError(
            where=f"folder {folder.name}",
            expected="CT volumes and label maps as .nii or .nii.gz",
            found=f"none among {sum(1 for _ in folder.rglob('*'))} files" if folder.is_dir() else "no folder",
            remedy="check the path; for DICOM use `nephroscope import dicom`",
        )
    cases, exclusions = join_found(found, labels, subtypes, "nifti", tumor_label)
    cohort = Cohort(subtypes=subtypes, positive=positive, cases=cases, exclusions=exclusions)
    return NiftiImport(cases=cohort.cases, exclusions=cohort.exclusions)


@dataclass(frozen=True, eq=False)
class _Stored:
    """Values with three axes as stored, the affine to LPS mm, a digest of the file, and doubts."""

    values: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    digest: str
    findings: tuple[Finding, ...]


def _read(path: Path) -> _Stored:
    """What a NIfTI file holds; the name, suffix included, does not matter."""
    try:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:16]
        image = _parse(gzip.decompress(content) if content.startswith(GZIP) else content)
        shape = image.shape
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) != 3 or not 0 < math.prod(shape) <= MOST_VOXELS:
            raise SeriesError(
                where=f"file {path.name}",
                expected="a volume with three axes",
                found=f"{' x '.join(map(str, image.shape))} voxels",
                remedy="export one phase as one volume",
            )
        values = np.asanyarray(image.dataobj).reshape(shape)
        if values.dtype.kind not in "iuf":
            raise ValueError(f"voxels of type {values.dtype}")
        unsaid = not image.header["sform_code"] and not image.header["qform_code"]
    except (OSError, EOFError, ValueError, KeyError, zlib.error) as error:
        why = (
            "no file"
            if isinstance(error, FileNotFoundError)
            else f"one that breaks off or is another kind ({error})"
        )
        raise SeriesError(
            where=f"file {path.name}",
            expected="a whole NIfTI file (.nii or .nii.gz)",
            found=why.replace(str(path), path.name),
            remedy="copy or export it again",
        ) from error
    text = "the file does not say how the patient lies; its axes are taken as right, front and head"
    doubt = Finding(code="orientation-unknown", severity="warning", message=text, case_id="", where=path.name)
    return _Stored(values, RAS_TO_LPS @ image.affine, digest, (doubt,) if unsaid else ())


def _parse(content: bytes) -> Any:
    """The NIfTI-1 or NIfTI-2 image in these bytes.

    Raises:
        ValueError: They are neither.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    size = content[:4]
    try:
        if size in NIFTI1_SIZES:
            return nibabel.Nifti1Image.from_bytes(content)
        if size in NIFTI2_SIZES:
            return nibabel.Nifti2Image.from_bytes(content)
    except (ImageFileError, HeaderDataError) as error:
        raise ValueError(str(error)) from error
    raise ValueError("no NIfTI header")


def _pairs(folder: Path) -> list[Found]:
    """Volumes with their label maps, by case."""
    volumes: dict[str, list[Path]] = defaultdict(list)
    masks: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        stem = re.sub(r"\.nii(\.gz)?$", "", path.name)
        if stem == path.name or path.name.startswith(".") or not path.is_file():
            continue
        if stem in ("imaging", "segmentation"):
            (volumes if stem == "imaging" else masks)[path.parent.name].append(path)
        elif MASK_NAME.search(stem):
            masks[MASK_NAME.sub("", stem)].append(path)
        else:
            volumes[stem].append(path)
    found = []
    for name in sorted(volumes.keys() | masks.keys()):
        refusal = ""
        if not volumes[name]:
            refusal = f"no CT volume beside {masks[name][0].name}"
        elif not masks[name]:
            refusal = f"no label map beside {volumes[name][0].name}"
        elif len(volumes[name]) > 1 or len(masks[name]) > 1:
            refusal = f"{len(volumes[name])} volumes and {len(masks[name])} label maps of this name"
        image = (volumes[name] or masks[name])[0]
        found.append(Found(key=name, image=image, roi=next(iter(masks[name]), None), refusal=refusal))
    return found

"""NIfTI volumes and label maps in; the same CTVolume that DICOM gives out. nibabel is loaded when first needed."""

import hashlib
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
    values, affine, findings = _read(path)
    where = f"file {path.name}"
    low, high = (float(values.min()), float(values.max())) if values.size else (np.nan, np.nan)
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
    with path.open("rb") as file:
        uid = f"nifti-{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
    return hu_volume(values.astype(np.int16), affine, uid, findings)


def read_label_map(path: Path) -> tuple[npt.NDArray[np.int32], VolumeGeometry]:
    """Whole-number labels (S, R, C) and their grid, on the canonical axes.

    Raises:
        SeriesError: The file is no NIfTI or breaks off, has not three axes, or holds values that are no labels.
    """
    values, affine, _ = _read(path)
    if not np.issubdtype(values.dtype, np.integer) and not np.array_equal(values, np.round(values)):
        raise SeriesError(
            where=f"file {path.name}",
            expected="a label map of whole numbers",
            found="fractions or values that are not a number",
            remedy="export labels, not probabilities or a CT, and resample them with nearest neighbour",
        )
    return canonical(values.astype(np.int32), affine)


def import_nifti(
    folder: Path, labels: list[LabelRow], subtypes: tuple[str, ...], positive: str, tumor_label: int
) -> NiftiImport:
    """Cases from pairs CASE.nii.gz + CASE_seg.nii.gz (_mask, -label) or CASE/imaging + segmentation.nii.gz.

    Raises:
        CohortError: The folder holds no NIfTI file.
    """
    found = _pairs(folder.absolute())
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


def _read(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64], tuple[Finding, ...]]:
    """Values with three axes as stored, the affine to LPS mm, and doubts about it."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    where = f"file {path.name}"
    try:
        image = nibabel.load(path)
        shape = image.shape
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) != 3 or not 0 < np.prod(shape, dtype=float) <= MOST_VOXELS:
            raise SeriesError(
                where=where,
                expected="a volume with three axes",
                found=f"{' x '.join(map(str, image.shape))} voxels",
                remedy="export one phase as one volume",
            )
        values = np.asanyarray(image.dataobj).reshape(shape)
        codes = int(image.header["sform_code"]), int(image.header["qform_code"])
    except (
        *(ImageFileError, HeaderDataError, OSError, EOFError, ValueError, KeyError, zlib.error),
    ) as error:
        raise SeriesError(
            where=where,
            expected="a whole NIfTI file (.nii or .nii.gz)",
            found="no file"
            if isinstance(error, FileNotFoundError)
            else f"one that cannot be read ({type(error).__name__})",
            remedy="copy or export it again",
        ) from error
    findings: tuple[Finding, ...] = ()
    if codes == (0, 0):
        text = (
            "the file does not say how the patient lies; the order of its axes is taken as right, front, head"
        )
        findings = (
            Finding(
                code="orientation-unknown", severity="warning", message=text, case_id="", where=path.name
            ),
        )
    return values, RAS_TO_LPS @ image.affine, findings


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

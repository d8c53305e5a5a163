"""A ROI file in, told by its content; a `RoiMask` on the CT's grid out. And the one door to images of any kind."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.cohort.grid import describe
from nephroscope.cohort.nifti import GZIP, NIFTI1_SIZES, NIFTI2_SIZES, read_label_map, read_nifti
from nephroscope.cohort.slice_images import no_label, read_image_case, read_label_image, read_slice_image
from nephroscope.errors import RoiError, SeriesError, StudyError
from nephroscope.records import Case, CTVolume, RoiMask


def read_roi(path: Path, volume: CTVolume, case_id: str, tumor_label: int = 1) -> RoiMask:
    """The tumor in a DICOM SEG, a NIfTI label map or a PNG mask of one slice, on the grid of ``volume``.

    Args:
        path: Told by its content, not by its name.
        volume: The CT on which the ROI was drawn.
        case_id: For the mask and for refusals.
        tumor_label: Value of the tumor in a label map; in a SEG only when no segment says that it is the tumor.

    Raises:
        RoiError: The file is missing, damaged or of another kind, lies on another grid or series, or holds no tumor.
    """
    kind = _kind(path)
    if kind == "dicom":
        from nephroscope.roi.seg import read_seg

        voxels = read_seg(path, volume, case_id, tumor_label)
    elif kind == "png":
        voxels = _label_image(path, volume, case_id, tumor_label)
    elif kind == "nifti":
        voxels = _label_map(path, volume, case_id, tumor_label)
    else:
        raise RoiError(
            where=f"case {case_id}, ROI {path.name}",
            expected="a DICOM SEG, a NIfTI label map or a PNG mask",
            found=kind,
            remedy="check the path, or export the ROI in one of these formats",
        )
    return RoiMask(voxels=voxels, geometry=volume.geometry, case_id=case_id)


def read_image(
    path: Path, window_level_hu: float, window_width_hu: float, spacing_mm: float | None
) -> CTVolume:
    """The CT at a path, told by its content: folder of a DICOM series, NIfTI file, or one PNG or JPEG slice.

    Args:
        path: The folder or file.
        window_level_hu: Center of the window of an 8-bit slice; not used for DICOM and NIfTI.
        window_width_hu: Width of that window.
        spacing_mm: Pixel spacing of an 8-bit slice, or None; not used for DICOM and NIfTI.

    Raises:
        SeriesError: There is no such path, or it cannot be read as a CT.
    """
    if path.is_dir():
        return _series(path)
    kind = _kind(path)
    if kind in ("png", "jpeg"):
        return read_slice_image(path, window_level_hu, window_width_hu, spacing_mm)
    if kind == "nifti":
        return read_nifti(path)
    raise SeriesError(
        where=f"image {path.name}",
        expected="the folder of a DICOM series, a NIfTI file, or a PNG or JPEG slice",
        found=kind,
        remedy="check the path; of a DICOM series give the folder, not one file",
    )


def read_case(case: Case) -> tuple[CTVolume, RoiMask]:
    """The CT volume and the tumor of a case, whatever its format.

    Raises:
        StudyError: A file that cohort.csv names is not there.
        SeriesError: The CT cannot be read as one.
        RoiError: The ROI is missing, damaged, empty or drawn elsewhere.
        CohortError: images.csv is not as the import wrote it.
    """
    for column, path in (("image", case.image), ("roi", case.roi)):
        if path is not None and not path.exists():
            raise StudyError(
                where=f"case {case.case_id}",
                expected=f"the {column} that its row in cohort.csv points to",
                found=f"no {path.parent.name}/{path.name}",
                remedy="restore it, or correct the path",
            )
    if case.format == "images":
        volume, roi = read_image_case(case)
    else:
        volume = _series(case.image) if case.format == "dicom" else read_nifti(case.image)
        if case.roi is None:
            raise RoiError(
                where=f"case {case.case_id}",
                expected="a ROI (only slice images may do without)",
                found="an empty column roi",
                remedy="fill it in cohort.csv, or import the case again with its ROI",
            )
        roi = read_roi(case.roi, volume, case.case_id, case.tumor_label)
    findings = tuple(replace(f, case_id=f.case_id or case.case_id) for f in volume.findings)
    return replace(volume, findings=findings), roi


def _series(folder: Path) -> CTVolume:
    from nephroscope.cohort.series import read_dicom_series  # pydicom: half a second that NIfTI need not wait

    return read_dicom_series(folder)


def _kind(path: Path) -> str:
    """What a file is by its first bytes: dicom, png, jpeg, nifti, or in words what else."""
    try:
        with path.open("rb") as file:
            start = file.read(348)
    except OSError as error:
        return "no file" if isinstance(error, FileNotFoundError) else "no readable file"
    if start[128:132] == b"DICM":
        return "dicom"
    if start.startswith(GZIP) or start[:4] in (*NIFTI1_SIZES, *NIFTI2_SIZES):
        return "nifti"
    magic = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
    return next((kind for begin, kind in magic.items() if start.startswith(begin)), "a file of another kind")


def _label_map(path: Path, volume: CTVolume, case_id: str, tumor_label: int) -> npt.NDArray[np.bool_]:
    try:
        labels, geometry = read_label_map(path)
    except SeriesError as error:
        raise RoiError(
            where=f"case {case_id}, ROI {path.name}",
            expected=error.expected,
            found=error.found,
            remedy=error.remedy,
        ) from error
    if not geometry.matches(volume.geometry):
        raise RoiError(
            where=f"case {case_id}, ROI {path.name}",
            expected=f"the grid of the CT, {describe(volume.geometry)}",
            found=describe(geometry),
            remedy="draw the ROI on this series, or resample it to the CT with nearest neighbour",
        )
    return _tumor(labels, path, case_id, tumor_label)


def _label_image(path: Path, volume: CTVolume, case_id: str, tumor_label: int) -> npt.NDArray[np.bool_]:
    labels = read_label_image(path, case_id)[None]
    if labels.shape != volume.geometry.shape:
        raise RoiError(
            where=f"case {case_id}, ROI {path.name}",
            expected=f"a mask of the image's size, {describe(volume.geometry)}",
            found=f"{labels.shape[1]} x {labels.shape[2]} pixels",
            remedy="export image and mask again without cropping or scaling",
        )
    return _tumor(labels, path, case_id, tumor_label)


def _tumor(
    labels: npt.NDArray[np.int32], path: Path, case_id: str, tumor_label: int
) -> npt.NDArray[np.bool_]:
    voxels: npt.NDArray[np.bool_] = labels == tumor_label
    if not voxels.any():
        raise no_label(case_id, f"ROI {path.name}", tumor_label, set(np.unique(labels).tolist()))
    return voxels

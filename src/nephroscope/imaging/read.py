"""A ROI file in, told by its content; a `RoiMask` on the CT's grid out. And the one door to images of any kind."""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError, SeriesError, StudyError
from nephroscope.imaging.grid import describe
from nephroscope.imaging.masks.segments import Wanted, roi_file
from nephroscope.imaging.nifti import GZIP, NIFTI1_SIZES, NIFTI2_SIZES, read_nifti
from nephroscope.imaging.slice_images import no_label, read_image_case, read_label_image, read_slice_image
from nephroscope.records import Case, CTVolume, Finding, RoiMask

Read = tuple[npt.NDArray[np.bool_], list[Finding]]
LABEL_MAPS = ("nifti", "nrrd")
BARE_DICOM = (
    b"\x02\x00\x00\x00",
    b"\x08\x00\x05\x00",
    b"\x08\x00\x08\x00",
    b"\x08\x00\x12\x00",
    b"\x08\x00\x16\x00",
)


def read_roi(
    path: Path, volume: CTVolume, case_id: str, tumor_label: int = 1, tumor_name: str = ""
) -> RoiMask:
    """The tumor in a DICOM SEG or RTSTRUCT, a NIfTI or NRRD label map or a PNG mask, on the grid of ``volume``.

    Args:
        path: Told by its content, not by its name.
        volume: The CT on which the ROI was drawn.
        case_id: For the mask and for refusals.
        tumor_label: Number of the tumor: value in a label map; segment or ROI Number where none says that it is one.
        tumor_name: Segment label, ROI name or code value of the tumor, or ``#2`` for the number 2; empty: the one
            that says so.

    Raises:
        RoiError: The file is missing, damaged or of another kind, lies on another series or beside the CT, or holds
            no tumor.
    """
    kind = _kind(path)
    wanted = Wanted.tumor(case_id, f"case {case_id}, ROI {roi_file(path, case_id)}", tumor_label, tumor_name)
    if kind == "dicom":
        voxels, findings = _dicom_roi(path, volume, wanted)
    elif kind in LABEL_MAPS:
        from nephroscope.imaging.masks.label_map import tumor_on_ct

        voxels, findings = tumor_on_ct(path, volume.geometry, wanted)
    elif kind == "png":
        voxels, findings = _label_image(path, volume, wanted), []
    else:
        raise _no_roi(wanted.where, kind)
    return RoiMask(voxels=voxels, geometry=volume.geometry, case_id=case_id, findings=tuple(findings))


def roi_names(path: Path) -> list[str]:
    """What a ROI file holds, number and name: ``["1 Kidney", "2 Tumor"]``; values alone where it has no names.

    Raises:
        RoiError: The file is missing, damaged or no ROI.
    """
    kind, where = _kind(path), f"ROI {roi_file(path)}"
    if kind == "dicom":
        from nephroscope.imaging.masks.rtstruct import rtstruct_segments
        from nephroscope.imaging.masks.seg import seg_segments

        roi = read_dicom_roi(path, where)
        with refusing_damage(where):
            segments = seg_segments(roi) if roi.Modality == "SEG" else rtstruct_segments(roi)
    elif kind in LABEL_MAPS:
        from nephroscope.imaging.masks.label_map import read_label_map

        stored = read_label_map(path, where)
        segments = list(stored.segments)
        if not segments:
            return _values(*stored.layers)
    elif kind == "png":
        return _values(read_label_image(path, ""))
    else:
        raise _no_roi(where, kind)
    return [f"{segment.number} {segment.name}".strip() for segment in segments]


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
    if path.is_dir() or path.name.endswith(".series.json"):
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
        roi = read_roi(case.roi, volume, case.case_id, case.tumor_label, case.tumor_name)
    findings = tuple(replace(f, case_id=f.case_id or case.case_id) for f in volume.findings)
    return replace(volume, findings=findings), roi


def _series(path: Path) -> CTVolume:
    """The CT series in a folder, or of a list of files that an import wrote."""
    from nephroscope.imaging.dicom.series import is_series_list, load_series_files, read_dicom_series

    if not is_series_list(path):
        return read_dicom_series(path)
    listed = load_series_files(path)
    return read_dicom_series(listed.files, acquisition=listed.acquisition)


def _kind(path: Path) -> str:
    """What a file is by its first bytes: dicom, png, jpeg, nifti, nrrd, or in words what else."""
    try:
        with path.open("rb") as file:
            start = file.read(348)
    except OSError as error:
        return "no file" if isinstance(error, FileNotFoundError) else "no readable file"
    if start[128:132] == b"DICM" or start.startswith(BARE_DICOM):
        return "dicom"
    if start.startswith(GZIP) or start[:4] in (*NIFTI1_SIZES, *NIFTI2_SIZES):
        return "nifti"
    magic = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"NRRD": "nrrd"}
    return next((kind for begin, kind in magic.items() if start.startswith(begin)), "a file of another kind")


def _dicom_roi(path: Path, volume: CTVolume, wanted: Wanted) -> Read:
    from nephroscope.imaging.masks.rtstruct import read_rtstruct
    from nephroscope.imaging.masks.seg import read_seg

    roi = read_dicom_roi(path, wanted.where)
    with refusing_damage(wanted.where):
        return (read_seg if roi.Modality == "SEG" else read_rtstruct)(roi, volume, wanted)


def read_dicom_roi(path: Path, where: str) -> Any:
    """The SEG or RTSTRUCT in a file, preamble or not.

    Raises:
        RoiError: It is damaged, or DICOM of another modality.
    """
    import pydicom

    with refusing_damage(where):
        roi = pydicom.dcmread(path, force=True)
        modality = roi.get("Modality", "unknown")
    if modality not in ("SEG", "RTSTRUCT"):
        raise RoiError(
            where=where,
            expected="a DICOM SEG or RTSTRUCT",
            found=f"DICOM of modality {modality}",
            remedy="give the segmentation, not the image",
        )
    return roi


@contextlib.contextmanager
def refusing_damage(where: str) -> Iterator[None]:
    """Make a refusal of what pydicom raises for damaged files; its warnings about them are not shown.

    Raises:
        RoiError: The block raised one of them.
    """
    from nephroscope.imaging.dicom.series import DICOM_DAMAGE

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DICOM_DAMAGE as error:
        raise RoiError(
            where=where,
            expected="a whole DICOM SEG or RTSTRUCT",
            found=f"one that cannot be read ({type(error).__name__})",
            remedy="copy or export it again",
        ) from error


def _no_roi(where: str, kind: str) -> RoiError:
    return RoiError(
        where=where,
        expected="a DICOM SEG or RTSTRUCT, a NIfTI or NRRD label map, or a PNG mask",
        found=kind,
        remedy="check the path, or export the ROI in one of these formats",
    )


def _label_image(path: Path, volume: CTVolume, wanted: Wanted) -> npt.NDArray[np.bool_]:
    labels = read_label_image(path, wanted.case_id)[None]
    if wanted.name.strip():
        raise RoiError(
            where=wanted.where,
            expected=f"a label called {wanted.name!r}",
            found="an image, which has no names",
            remedy="give the label's number as --tumor-label, without --tumor-name",
        )
    if labels.shape != volume.geometry.shape:
        raise RoiError(
            where=wanted.where,
            expected=f"a mask of the image's size, {describe(volume.geometry)}",
            found=f"{labels.shape[1]} x {labels.shape[2]} pixels",
            remedy="export image and mask again without cropping or scaling",
        )
    voxels: npt.NDArray[np.bool_] = labels == wanted.label
    if not voxels.any():
        raise no_label(
            wanted.case_id,
            f"ROI {roi_file(path, wanted.case_id)}",
            wanted.label,
            set(np.unique(labels).tolist()),
        )
    return voxels


def _values(*layers: npt.NDArray[Any]) -> list[str]:
    values = {int(value) for layer in layers for value in np.unique(layer)}
    return [str(value) for value in sorted(values - {0})]

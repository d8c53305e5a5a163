"""The two doors for images: `read_ct` for a CT in any format, `read_roi` for a tumor on the grid of its CT."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError, SeriesError, StudyError
from nephroscope.imaging.files import LABEL_MAPS, damage_words, file_kind, safe_name
from nephroscope.imaging.masks.origin import origin_beside, origin_of
from nephroscope.imaging.masks.png import png_tumor
from nephroscope.imaging.masks.segments import (
    MOST_ROI_VOXELS,
    Segment,
    TumorQuery,
    choose_segment,
    segments_in,
)
from nephroscope.imaging.nifti import read_nifti
from nephroscope.imaging.slice_images import (
    read_image_case,
    read_label_image,
    read_slice_image,
)
from nephroscope.records import ChosenCase, CTVolume, Finding, RoiMask, RoiOrigin, RoiRef


def read_ct(
    path: Path | str,
    window_level_hu: float = 40.0,
    window_width_hu: float = 400.0,
    spacing_mm: float | None = None,
) -> CTVolume:
    """A CT from the folder of a DICOM series, a NIfTI file, or one PNG or JPEG slice; the content decides which.

    Args:
        path: The folder or file.
        window_level_hu: PNG and JPEG only: level of the window the slice was exported with.
        window_width_hu: PNG and JPEG only: width of that window.
        spacing_mm: PNG and JPEG only: pixel spacing; None when it is not known.

    Returns:
        int16 HU (S, R, C) from feet to head, front to back, right to left of the patient, with findings.

    Raises:
        SeriesError: There is no such file or folder, or it cannot be read as a CT.
    """
    path = Path(path)
    if path.is_dir() or path.name.endswith(".series.json"):
        return _series(path)
    kind = file_kind(path)
    if kind in ("png", "jpeg"):
        return read_slice_image(path, window_level_hu, window_width_hu, spacing_mm)
    if kind == "nifti":
        return read_nifti(path)
    raise SeriesError(
        where=f"image {path.name}",
        expected="the folder of a DICOM series, a NIfTI file, or a PNG or JPEG slice",
        found=kind,
        remedy="check the path; for a DICOM series, give the folder and not one file",
    )


@dataclass(frozen=True, kw_only=True)
class UnplacedRoi:
    """An ROI file that is still to be placed on a CT.

    Attributes:
        path: SEG, RTSTRUCT, label map or PNG mask.
        case_id: Name of the case in messages and in the mask.
        tumor_label, tumor_name: As in `read_roi`.
    """

    path: Path
    case_id: str = ""
    tumor_label: int = 1
    tumor_name: str = ""

    def on(self, ct: CTVolume) -> RoiMask:
        """The tumor on the grid of a CT.

        Raises:
            RoiError: The ROI is damaged, does not lie on this CT, or holds no tumor.
        """
        kind, where = _roi_kind(self.path, self.case_id)
        if (kind == "png") == ct.series_uid.startswith("image-"):
            _refuse_the_ct(self.path, ct, where)
        query = TumorQuery.tumor(self.case_id, where, self.tumor_label, self.tumor_name)
        findings: list[Finding] = []
        origin = RoiOrigin()
        if kind == "dicom":
            opened = read_dicom_roi(self.path, where)
            voxels, findings = read_opened(opened, ct, query)
            with refusing_damage(where):
                origin = origin_of(opened, choose_segment(segments_of(opened), query).number)
        elif kind == "png":
            voxels = png_tumor(self.path, ct, query)
        else:
            from nephroscope.imaging.masks.label_map import tumor_on_ct

            voxels, findings = tumor_on_ct(self.path, ct.geometry, query)
            origin = origin_beside(self.path)
        known = RoiMask(voxels=voxels, geometry=ct.geometry, case_id=self.case_id, findings=tuple(findings))
        return replace(known, origin=origin)


@overload
def read_roi(
    path: Path | str, ct: CTVolume, case_id: str = "", tumor_label: int = 1, tumor_name: str = ""
) -> RoiMask: ...


@overload
def read_roi(
    path: Path | str, ct: None = None, case_id: str = "", tumor_label: int = 1, tumor_name: str = ""
) -> UnplacedRoi: ...


def read_roi(
    path: Path | str,
    ct: CTVolume | None = None,
    case_id: str = "",
    tumor_label: int = 1,
    tumor_name: str = "",
) -> RoiMask | UnplacedRoi:
    """The tumor in a DICOM SEG or RTSTRUCT, a NIfTI or NRRD label map, or a PNG mask, on the grid of its CT.

    Args:
        path: The file; its content decides what it is, not its name.
        ct: The CT on which the ROI was drawn. Without it the ROI is placed later, with `UnplacedRoi.on`.
        case_id: Name of the case in messages and in the mask.
        tumor_label: Value of the tumor in a label map, or segment or ROI number. 1 chooses nothing: the one segment
            that is called a tumor is taken, or the only one.
        tumor_name: Segment label, ROI name or code of the tumor; ``#1`` insists on number 1.

    Returns:
        bool (S, R, C), True inside the tumor, with findings; or the ROI still to be placed.

    Raises:
        RoiError: The file is missing, damaged or of another kind, does not lie on this CT, holds no tumor, or does
            not say which of several segments it is.
    """
    roi = UnplacedRoi(path=Path(path), case_id=case_id, tumor_label=tumor_label, tumor_name=tumor_name)
    if ct is not None:
        return roi.on(ct)
    _roi_kind(roi.path, case_id)
    return roi


def roi_names(path: Path) -> list[str]:
    """What an ROI file holds, number and name: ``["1 Kidney", "2 Tumor"]``; only values where it has no names.

    Raises:
        RoiError: The file is missing, damaged or not an ROI.
    """
    return [f"{segment.number} {segment.name}".strip() for segment in roi_segments(path)]


def roi_segments(path: Path, case_id: str = "", most: int = MOST_ROI_VOXELS) -> list[Segment]:
    """The segments, contours or labels of an ROI file; a label map may have ``most`` voxels.

    Raises:
        RoiError: The file is missing, damaged or not an ROI.
    """
    kind, where = _roi_kind(path, case_id)
    if kind == "dicom":
        return dicom_segments(path, where)
    if kind == "png":
        values = np.unique(read_label_image(path, where)).tolist()
        return [Segment(number=int(value), name="") for value in values if value]
    from nephroscope.imaging.masks.label_map import read_label_map

    return segments_in(read_label_map(path, where, most), TumorQuery(case_id=case_id, where=where))


class UndrawnError(RoiError):
    """The tumor is not drawn yet."""

    code = "not-drawn"


class ProposedError(RoiError):
    """The tumor was drawn by a model only, and nobody accepted it."""

    code = "roi-proposed"


def read_case_ct(case: ChosenCase) -> CTVolume:
    """The CT volume of the chosen series of a case.

    Raises:
        StudyError: A file that series.csv names is not there.
        SeriesError: The CT cannot be read as one.
        CohortError: images.csv is not as the import wrote it.
    """
    _must_exist(case, "image", case.image, "series.csv")
    if case.format == "images":
        return read_image_case(case)[0]
    volume = _series(case.image) if case.format == "dicom" else read_nifti(case.image)
    findings = tuple(replace(f, case_id=f.case_id or case.case_id) for f in volume.findings)
    return replace(volume, findings=findings)


def read_case_roi(case: ChosenCase, roi: RoiRef, ct: CTVolume) -> RoiMask:
    """The tumor of a case as one author drew it, on the grid of a CT.

    Raises:
        StudyError: The file that rois.csv names is not there.
        RoiError: The ROI is damaged, does not lie on this CT, or holds no tumor.
    """
    _must_exist(case, f"roi of {roi.author}", roi.path, "rois.csv")
    return read_roi(roi.path, ct, case.case_id, roi.label, roi.name)


def read_case(case: ChosenCase) -> tuple[CTVolume, RoiMask]:
    """The CT volume of the chosen series of a case, and the tumor as the first author whom its rule names drew it.

    Raises:
        StudyError: A file that series.csv or rois.csv names is not there.
        SeriesError: The CT cannot be read as one.
        RoiError: The ROI is missing, damaged, empty or drawn elsewhere, or the author drew none.
        UndrawnError: Nobody drew the tumor yet.
        ProposedError: Only a model drew it, and nobody accepted that.
        CohortError: images.csv is not as the import wrote it.
    """
    _must_exist(case, "image", case.image, "series.csv")
    if case.roi is not None:
        _must_exist(case, f"roi of {case.roi.author}", case.roi.path, "rois.csv")
    if case.format == "images":
        return read_image_case(case)
    volume = read_case_ct(case)
    where = f"case {case.case_id}"
    if not case.rois:
        remedy = "draw it in `nephroscope workstation`, or import the case again with its ROI"
        found = "none: the tumor is not drawn yet"
        raise UndrawnError(where=where, expected="an ROI", found=found, remedy=remedy)
    if case.only_proposed:
        raise ProposedError(
            where=where,
            expected="an ROI that a person drew or accepted",
            found=f"only what {', '.join(roi.author for roi in case.only_proposed)} proposed",
            remedy="correct it in the workstation, use `nephroscope rois accept`, or set use_proposed in [roi]",
        )
    if case.roi is None:
        raise RoiError(
            where=where,
            expected=f"an ROI by {case.rule.roi} (only slice images may do without)",
            found=", ".join(roi.author for roi in case.rois) or "no row in rois.csv",
            remedy="add its row to rois.csv, import the case again with its ROI, or change [roi] in study.toml",
        )
    return volume, read_case_roi(case, case.roi, volume)


def _must_exist(case: ChosenCase, what: str, path: Path, table: str) -> None:
    if not path.exists():
        raise StudyError(
            where=f"case {case.case_id}",
            expected=f"the {what} that its row in {table} points to",
            found=f"no {path.parent.name}/{path.name}",
            remedy="restore it, or correct the path",
        )


def _series(path: Path) -> CTVolume:
    """The CT series in a folder, or in a list of files that an import wrote."""
    from nephroscope.imaging.dicom.series import is_series_list, load_series_files, read_dicom_series

    if not is_series_list(path):
        return read_dicom_series(path)
    listed = load_series_files(path)
    return read_dicom_series(listed.files, acquisition=listed.acquisition)


def _roi_kind(path: Path, case_id: str = "") -> tuple[str, str]:
    """Kind of an ROI file, and what messages call it."""
    kind = file_kind(path)
    where = f"{f'case {case_id}, ' if case_id else ''}ROI {safe_name(path, case_id)}"
    if kind not in ("dicom", "png", *LABEL_MAPS):
        raise RoiError(
            where=where,
            expected="a DICOM SEG or RTSTRUCT, a NIfTI or NRRD label map, or a PNG mask",
            found=kind,
            remedy="check the path, or export the ROI in one of these formats",
        )
    return kind, where


def _refuse_the_ct(path: Path, ct: CTVolume, where: str) -> None:
    """Refuse the file of the CT, or a copy of it, as an ROI: its values are not labels."""
    if not ct.series_uid.startswith(("image-", "nifti-")):
        return
    kind, _, digest = ct.series_uid.rpartition("-")
    content = read_label_image(path, where).tobytes() if kind == "image" else path.read_bytes()
    if hashlib.sha256(content).hexdigest()[: len(digest)] != digest:
        return
    raise RoiError(
        where=where,
        expected="an ROI drawn on the image",
        found="the image itself, or a copy of it",
        remedy="give the file of the ROI",
    )


def read_opened(roi: Any, ct: CTVolume, query: TumorQuery) -> tuple[npt.NDArray[np.bool_], list[Finding]]:
    """Voxels (S, R, C) of one segment or contour of a SEG or RTSTRUCT that `read_dicom_roi` opened, and findings.

    Raises:
        RoiError: It is damaged, does not lie on this CT, or does not hold what is asked for.
    """
    from nephroscope.imaging.masks.rtstruct import read_rtstruct
    from nephroscope.imaging.masks.seg import read_seg

    with refusing_damage(query.where):
        return (read_seg if roi.Modality == "SEG" else read_rtstruct)(roi, ct, query)


def dicom_segments(path: Path, where: str) -> list[Segment]:
    """The segments of a SEG, or the ROIs of an RTSTRUCT.

    Raises:
        RoiError: The file is damaged or neither of them.
    """
    roi = read_dicom_roi(path, where)
    with refusing_damage(where):
        return segments_of(roi)


def segments_of(roi: Any) -> list[Segment]:
    """The segments of a SEG, or the ROIs of an RTSTRUCT, that `read_dicom_roi` opened."""
    from nephroscope.imaging.masks.rtstruct import rtstruct_segments
    from nephroscope.imaging.masks.seg import seg_segments

    return seg_segments(roi) if roi.Modality == "SEG" else rtstruct_segments(roi)


def read_dicom_roi(path: Path, where: str) -> Any:
    """The SEG or RTSTRUCT in a file, with or without preamble.

    Raises:
        RoiError: It is damaged, not DICOM, or DICOM of another modality.
    """
    from nephroscope.imaging.dicom.files import read_object

    kind, modality = file_kind(path), "unknown"
    if kind == "dicom":
        with refusing_damage(where):
            roi = read_object(path)
            kind = f"DICOM of modality {(modality := roi.get('Modality', 'unknown'))}"
    if modality not in ("SEG", "RTSTRUCT"):
        raise RoiError(
            where=where,
            expected="a DICOM SEG or RTSTRUCT",
            found=kind,
            remedy="give the segmentation, not the image",
        )
    return roi


@contextlib.contextmanager
def refusing_damage(where: str) -> Iterator[None]:
    """Turn what pydicom raises for damaged files into a refusal, and hide its warnings.

    Raises:
        RoiError: The block raised one of `DICOM_DAMAGE`.
    """
    from nephroscope.imaging.dicom.files import DICOM_DAMAGE, quiet

    try:
        with quiet():
            yield
    except DICOM_DAMAGE as error:
        raise RoiError(
            where=where,
            expected="a whole DICOM SEG or RTSTRUCT",
            found=f"one that cannot be read: {damage_words(error)}",
            remedy="copy it again; if that does not help, export the ROI as a label map (NIfTI or NRRD)",
        ) from error

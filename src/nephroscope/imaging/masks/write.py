"""Write a `RoiMask` as a DICOM SEG of its CT series or as a NIfTI label map, completely or not at all."""

import gzip
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError
from nephroscope.base.files import file_digest, replacing, save_json
from nephroscope.base.version import __version__
from nephroscope.imaging.dicom.files import DICOM_DAMAGE
from nephroscope.imaging.dicom.series import is_ct_image, is_series_list, load_series_files
from nephroscope.imaging.files import damage_words
from nephroscope.imaging.grid import RAS_TO_LPS, describe
from nephroscope.imaging.masks.origin import NOT_RECORDED, OURS, beside_says, n_drawn
from nephroscope.imaging.masks.seg import frame_affine, plane_affine
from nephroscope.records import ChosenCase, CTVolume, RoiMask, RoiOrigin, VolumeGeometry
from nephroscope.records.origin import BY_MODEL
from nephroscope.records.volumes import GRID_TOLERANCE_MM

Side = Literal["", "left", "right"]
ALGORITHMS = {"drawn": "MANUAL", "proposed": "AUTOMATIC"}  # by state; all others are SEMIAUTOMATIC
DRAWN = RoiOrigin(state="drawn")
SIDES = {"left": ("7771000", "Left"), "right": ("24028007", "Right")}  # SNOMED CT
TUMOR_LABEL = 1
# Of type 2: an image that lacks them, as after de-identification, has them empty.
MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "PositionReferenceIndicator"),
)


@dataclass(frozen=True, kw_only=True)
class SegIdentity:
    """How a SEG is called, and the tumor in it, where that is not drawn at random.

    Attributes:
        every_slice: Slices without tumor have a frame too.
    """

    series_uid: str
    sop_uid: str
    tracking_uid: str
    every_slice: bool = True


def write_roi(roi: RoiMask, path: Path, case: ChosenCase, origin: RoiOrigin = DRAWN) -> Path:
    """Write the ROI of a case in the format that the file name says; returns the path.

    Args:
        roi: On the grid of the CT of the case.
        path: Ends in .nii or .nii.gz for a label map, or in .dcm for a DICOM SEG of the CT series.
        case: Gives the CT series.
        origin: Who drew it. Next to a label map of what a program drew a JSON says so, as a SEG itself does.

    Raises:
        RoiError: The file name ends differently, or a SEG is asked for and the CT is not DICOM.
    """
    if path.name.endswith((".nii", ".nii.gz")):
        write_nifti(roi, path)
        if origin.author.startswith(BY_MODEL):
            save_origin(path, origin)
    elif path.suffix == ".dcm" and case.format == "dicom":
        listed = load_series_files(case.image).files if is_series_list(case.image) else case.image
        write_seg(roi, listed, path, origin)
    else:
        raise RoiError(
            where=f"case {case.case_id}, {path.name}",
            expected="a name that ends in .nii.gz, or in .dcm where the CT is DICOM",
            found=f"{path.suffix or 'no ending'} and a CT in the format {case.format}",
            remedy="choose another name",
        )
    return path


def save_origin(path: Path, origin: RoiOrigin) -> None:
    """Write the JSON next to a label map that says who drew it; never over a file of another kind."""
    beside = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    if beside.exists() and beside_says(beside) is None:
        beside = path.with_name(f"{path.name}.json")
    said = {"author": origin.author, "state": origin.state, "by": origin.by}
    save_json(beside, {**said, "sha256": file_digest(path), "voxels": n_drawn(path)}, checksum=False)


def write_nifti(roi: RoiMask, path: Path) -> None:
    """Write the mask as a NIfTI label map of 0 and 1, columns first; gzipped when the name ends in ``.gz``."""
    _write_grid(roi.voxels.astype(np.uint8) * TUMOR_LABEL, roi.geometry, path)


def write_volume(volume: CTVolume, path: Path) -> None:
    """Write the CT in HU as a NIfTI file, columns first; gzipped, quickly, when the name ends in ``.gz``."""
    _write_grid(volume.hu, volume.geometry, path, level=1)


def write_labels(labels: npt.NDArray[np.uint8], geometry: VolumeGeometry, path: Path) -> None:
    """Write a label map (S, R, C) as a NIfTI file, as `write_nifti` writes a mask."""
    _write_grid(labels, geometry, path)


def _write_grid(values: npt.NDArray[Any], geometry: VolumeGeometry, path: Path, level: int = 9) -> None:
    import nibabel

    affine = RAS_TO_LPS @ geometry.affine @ np.eye(4)[[2, 1, 0, 3]]
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(content, level, mtime=0) if path.suffix == ".gz" else content)


def write_seg(
    roi: RoiMask, source: Path | Sequence[Path], path: Path, origin: RoiOrigin = DRAWN, side: Side = ""
) -> None:
    """Write the mask as a binary DICOM SEG of a neoplasm of the kidney, drawn on the CT in ``source``.

    Args:
        roi: Mask on the grid of that CT.
        source: Folder or files of the CT series, single-frame or enhanced, in any order and direction.
        path: File to write; an existing file is replaced.
        origin: Who drew the region.
        side: Side of the kidney; empty when not known.

    Raises:
        RoiError: There is no CT at ``source``, it has another grid than the mask, or lacks what a SEG must copy.
    """
    where = f"case {roi.case_id}, SEG {path.name}"
    images = _ct_images(source, where)
    for image in images:
        if "PerFrameFunctionalGroupsSequence" not in image and not image.get("SliceThickness"):
            image.SliceThickness = round(roi.geometry.spacing_mm[0], 4)
    seg = make_seg(roi, images, where, origin, side)
    with replacing(path) as temporary:
        seg.save_as(temporary, enforce_file_format=True)


def make_seg(
    roi: RoiMask,
    images: Sequence[Any],
    where: str,
    origin: RoiOrigin = DRAWN,
    side: Side = "",
    identity: SegIdentity | None = None,
) -> Any:
    """The SEG that `write_seg` writes, as a data set.

    Args:
        roi: Mask on the grid of the CT.
        images: Its images; pixels are not needed.
        where: What a refusal calls it.
        origin: Who drew the region.
        side: Side of the kidney; empty when not known.
        identity: Its UIDs; None draws new ones, and leaves out slices without tumor.

    Raises:
        RoiError: As `write_seg`.
    """
    planes = [plane for image in images for plane in image_planes(image, where)]
    frames = np.stack([_frame(roi, affine, shape, where) for affine, shape in planes])
    if frames.sum() != roi.voxels.sum():
        raise RoiError(
            where=where,
            expected=f"CT slices for all {int(roi.voxels.sum())} voxels of the mask",
            found=f"slices for only {int(frames.sum())} of them",
            remedy="give all files of the series on which the ROI was drawn, and no others",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _segmentation(images, frames, f"{roi.case_id} tumor", origin, side, identity)
    except DICOM_DAMAGE as error:
        raise RoiError(
            where=where,
            expected="CT images with the data that a SEG copies (patient, study, frame of reference)",
            found=f"images without them ({damage_words(error)})",
            remedy="give the original CT series",
        ) from error


def _ct_images(source: Path | Sequence[Path], where: str) -> list[Any]:
    """The complete CT images of one series, in the order of their files."""
    import pydicom

    paths = sorted(source.iterdir()) if isinstance(source, Path) and source.is_dir() else source
    images = []
    for path in [paths] if isinstance(paths, Path) else paths:
        try:
            image = pydicom.dcmread(path)
            images += [_completed(image)] if is_ct_image(image) else []
        except DICOM_DAMAGE:
            continue
    uids = {str(image.get("SeriesInstanceUID")) for image in images}
    if len(uids) != 1:
        raise RoiError(
            where=where,
            expected="the files of one CT series",
            found=f"{len(uids)} series in {len(images)} CT files",
            remedy="give the folder of the series on which the ROI was drawn",
        )
    return images


def _completed(image: Any) -> Any:
    """The image with what a SEG must copy, where it is missing or empty, as in public and de-identified series.

    UIDs that only the file meta information says are taken from there; a frame of reference is made from the UID of
    the series, and is the same each time.
    """
    from pydicom.uid import generate_uid

    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if not image.get(keyword):
            setattr(image, keyword, image.file_meta.get(f"MediaStorage{keyword}", ""))
    if "SpecificCharacterSet" in image and not image.SpecificCharacterSet:
        del image.SpecificCharacterSet
    for keyword in MAY_BE_EMPTY:
        if keyword not in image:
            setattr(image, keyword, "")
    if not image.get("FrameOfReferenceUID"):
        image.FrameOfReferenceUID = generate_uid(entropy_srcs=[str(image.get("SeriesInstanceUID")), "frame"])
    return image


def image_planes(image: Any, where: str) -> list[tuple[npt.NDArray[np.float64], tuple[int, int]]]:
    """For each frame of an image, the affine from (row, column, 1) to LPS mm and the size."""
    try:
        size = (int(image.Rows), int(image.Columns))
        if "PerFrameFunctionalGroupsSequence" not in image:
            affine = plane_affine(
                image.ImagePositionPatient, image.ImageOrientationPatient, image.PixelSpacing
            )
            return [(affine, size)]
        shared = image.SharedFunctionalGroupsSequence[0]
        return [(frame_affine(group, shared), size) for group in image.PerFrameFunctionalGroupsSequence]
    except DICOM_DAMAGE as error:
        raise RoiError(
            where=where,
            expected="CT images with their positions",
            found=f"one without ({damage_words(error)})",
            remedy="give the original CT series",
        ) from error


def _frame(
    roi: RoiMask, affine: npt.NDArray[np.float64], shape: tuple[int, int], where: str
) -> npt.NDArray[np.uint8]:
    """The mask (R, C) on one image, in the image's own row and column direction."""
    to_index = (np.linalg.inv(roi.geometry.affine) @ affine)[:3]
    steps = np.round(to_index)  # of the mask's index for each row, each column, and where the image begins
    corners = np.array([(r, c, 1) for r in (0, shape[0] - 1) for c in (0, shape[1] - 1)]).T
    off_mm = (np.abs((to_index - steps) @ corners) * np.array(roi.geometry.spacing_mm)[:, None]).max()
    index = steps @ corners
    inside = ((index >= 0) & (index < np.array(roi.geometry.shape)[:, None])).all()
    if off_mm > GRID_TOLERANCE_MM or not inside:
        raise RoiError(
            where=where,
            expected=f"CT images on the grid of the mask, {describe(roi.geometry)}",
            found=f"an image from ({', '.join(f'{mm:.1f}' for mm in affine[:3, 2])}) mm",
            remedy="give the series on which the ROI was drawn",
        )
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    s, r, c = (first + rows * by_row + cols * by_col for by_row, by_col, first in steps.astype(np.intp))
    frame: npt.NDArray[np.uint8] = roi.voxels[s, r, c].astype(np.uint8)
    return frame


def _segmentation(
    images: Sequence[Any],
    frames: npt.NDArray[np.uint8],
    tracking_id: str,
    origin: RoiOrigin,
    side: Side,
    identity: SegIdentity | None,
) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    called = identity or SegIdentity(
        series_uid=generate_uid(), sop_uid=generate_uid(), tracking_uid=generate_uid(), every_slice=False
    )
    by_model = origin.author.startswith(BY_MODEL)
    name, _, version = (
        origin.author.removeprefix(BY_MODEL).partition("@") if by_model else (NOT_RECORDED, "", "1")
    )
    algorithm = ALGORITHMS.get(origin.state, "SEMIAUTOMATIC")
    identified = hd.AlgorithmIdentificationSequence(
        name=name[:64], family=codes.DCM.ManualProcessing, version=version[:64] or "unknown"
    )
    segment = hd.seg.SegmentDescription(
        segment_number=TUMOR_LABEL,
        segment_label="Tumor",
        segmented_property_category=hd.sr.CodedConcept(
            "49755003", "SCT", "Morphologically Altered Structure"
        ),
        segmented_property_type=hd.sr.CodedConcept("108369006", "SCT", "Neoplasm"),
        algorithm_type=algorithm,
        algorithm_identification=identified if algorithm != "MANUAL" else None,
        tracking_uid=called.tracking_uid,
        tracking_id=tracking_id,
        anatomic_regions=[hd.sr.CodedConcept("64033007", "SCT", "Kidney")],
    )
    if by_model and origin.state in ("accepted", "corrected"):
        segment.SegmentDescription = f"{origin.state} by {origin.by or 'a person'}"
    if side:
        value, meaning = SIDES[side]
        region = segment.AnatomicRegionSequence[0]
        region.AnatomicRegionModifierSequence = [hd.sr.CodedConcept(value, "SCT", meaning)]
    return hd.seg.Segmentation(
        source_images=images,
        pixel_array=frames,
        segmentation_type="BINARY",
        segment_descriptions=[segment],
        series_instance_uid=called.series_uid,
        series_number=int(images[0].get("SeriesNumber") or 0) + 1000,
        sop_instance_uid=called.sop_uid,
        instance_number=1,
        manufacturer=OURS,
        manufacturer_model_name="nephroscope",
        software_versions=__version__,
        device_serial_number="none",
        content_label="TUMOR",
        series_description="Tumor",
        omit_empty_frames=not called.every_slice,
    )

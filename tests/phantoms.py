"""A box phantom described in mm and HU, and the ways a hospital would hand it over: DICOM, DICOM SEG, NIfTI, PNG."""

from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from nephroscope.imaging.grid import canonical
from nephroscope.imaging.masks import label_map
from nephroscope.records import CTVolume, VolumeGeometry

SHAPE = (6, 40, 48)
SPACING_MM = (2.5, 0.9, 0.7)
ORIGIN_MM = (-20.0, -30.5, 100.0)
BODY = (slice(None), slice(4, 36), slice(4, 44))
TUMOR = (slice(1, 5), slice(10, 22), slice(8, 18))
BODY_HU, TUMOR_HU, SPINE_HU = 40, 90, 300


def box_affine() -> np.ndarray:
    """(slice, row, column) to LPS mm: axial, head up."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = SPACING_MM
    affine[:3, 3] = ORIGIN_MM
    affine[3, 3] = 1
    return affine


def box_hu() -> np.ndarray:
    """Air, a body, a tumor on one side, a spine at the back; every slice a little different."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[BODY] = BODY_HU
    hu[:, 30:35, 22:28] = SPINE_HU
    hu[TUMOR] = TUMOR_HU
    hu[:, 5, 5] += np.arange(SHAPE[0], dtype=np.int16)
    return hu


def box_tumor() -> np.ndarray:
    """The tumor as bool (S, R, C)."""
    voxels = np.zeros(SHAPE, bool)
    voxels[TUMOR] = True
    return voxels


def box_volume(uid: str = "1.2.3") -> CTVolume:
    """The phantom as the product keeps it."""
    return CTVolume(hu=box_hu(), geometry=VolumeGeometry(shape=SHAPE, affine=box_affine()), series_uid=uid)


def dicom_slices(patient_id: str = "P1", uid: str | None = None) -> list[FileDataset]:
    """One CT image per slice, to be changed by a test before it is written."""
    uid, study, frame = uid or generate_uid(), generate_uid(), generate_uid()
    made = []
    for index, hu in enumerate(box_hu()):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, uid, frame
        image.Modality, image.PatientID, image.PatientName = "CT", patient_id, "Secret^Name"
        image.PatientSex, image.PatientAge, image.PatientBirthDate = "F", "063Y", ""
        image.StudyDate = image.StudyTime = image.AccessionNumber = image.StudyID = ""
        image.SeriesNumber, image.InstanceNumber = 2, index + 1
        image.Rows, image.Columns, image.SamplesPerPixel = *hu.shape, 1
        image.PhotometricInterpretation = "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.PixelSpacing = list(SPACING_MM[1:])
        image.SliceThickness = SPACING_MM[0]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.ImagePositionPatient = [*ORIGIN_MM[:2], ORIGIN_MM[2] + index * SPACING_MM[0]]
        image.RescaleSlope, image.RescaleIntercept = 1, -1024
        set_stored(image, hu.astype(int) + 1024)
        made.append(image)
    return made


def set_stored(image: FileDataset, stored: np.ndarray) -> None:
    """Put stored values (not HU) into an image."""
    image.PixelData = np.ascontiguousarray(stored).astype(np.uint16).tobytes()


def write_slices(images: list[FileDataset], folder: Path) -> Path:
    """Save images as IM000 and so on; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        image.save_as(folder / f"IM{number:03d}", enforce_file_format=True)
    return folder


def write_seg(
    images: list[FileDataset],
    masks: dict[str, np.ndarray],
    path: Path,
    reader: str = "Reader^A",
    kind: str = "BINARY",
) -> Path:
    """Save a DICOM SEG with one segment per label of ``masks`` (bool (S, R, C) in the order of ``images``)."""
    import highdicom as hd
    from highdicom.sr.coding import CodedConcept

    tissue = CodedConcept("85756007", "SCT", "Tissue")
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=tissue,
            segmented_property_type=tissue,
            algorithm_type="MANUAL",
        )
        for number, label in enumerate(masks, start=1)
    ]
    pixels = np.stack([masks[label] for label in masks], axis=-1)
    if kind == "LABELMAP":
        pixels = sum(masks[label] * number for number, label in enumerate(masks, start=1))
    seg = hd.seg.Segmentation(
        source_images=images,
        pixel_array=pixels.astype(np.float32 if kind == "FRACTIONAL" else np.uint8),
        segmentation_type=kind,
        segment_descriptions=segments,
        series_instance_uid=hd.UID(),
        series_number=7,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="Test",
        manufacturer_model_name="Test",
        software_versions="1",
        device_serial_number="1",
        content_creator_name=reader,
        omit_empty_frames=True,
    )
    seg.save_as(path)
    return path


def write_nifti(array: np.ndarray, path: Path, affine: np.ndarray | None = None) -> Path:
    """Save (S, R, C) on an LPS ``affine`` as NIfTI does: x, y, z and RAS."""
    import nibabel

    to_zyx = np.eye(4)[[2, 1, 0, 3]]
    ras = np.diag([-1.0, -1, 1, 1]) @ (box_affine() if affine is None else affine) @ to_zyx
    image = nibabel.Nifti1Image(array.transpose(2, 1, 0), ras)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def window_gray(hu: np.ndarray, level_hu: float = 40, width_hu: float = 400) -> np.ndarray:
    """HU to 8-bit gray through a window."""
    return np.round(np.clip((hu - level_hu) / width_hu + 0.5, 0, 1) * 255).astype(np.uint8)


def write_png(pixels: np.ndarray, path: Path) -> Path:
    """Save an 8-bit image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def read_label_map(path):
    """Labels (S, R, C) of a label map on the canonical grid, and that grid."""
    stored = label_map.read_label_map(path, path.name)
    return canonical(stored.layers[0], stored.affine)

"""Synthetic patients of the gate and their files: DICOM series in several transfer syntaxes, SEG and NIfTI."""

import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]
CT_IMAGE, SEGMENTATION = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
ROOT = "1.2.826.0.1.3680043.8.498.77"


@dataclass(kw_only=True)
class Scene:
    """A synthetic CT with a tumor, and how it is stored.

    Attributes:
        hu: (S, R, C), in the order of the files.
        tumor: bool, of the same shape.
        affine: From their index to LPS mm.
        syntax: Of the DICOM files.
        slope, intercept, signed, bits: Of their values.
        tags: Attributes of every slice; ``change`` may alter each data set before it is written, or drop it by False.
    """

    hu: Array
    tumor: Array
    affine: Affine
    uid: str
    syntax: str = EXPLICIT
    slope: float = 1.0
    intercept: float = -1024.0
    signed: bool = False
    bits: int = 16
    tags: dict[str, Any] = field(default_factory=dict)
    change: Callable[[Any, int], bool] = lambda image, index: True


def make_scene(rng: np.random.Generator, n_slices: int, uid: str) -> Scene:
    """A body with fat around it, a kidney-like part and an ellipsoid tumor, at random."""
    n_rows, n_cols = (int(n) for n in rng.integers(44, 104, 2))
    slice_mm = float(rng.choice([1.0, 1.25, 2.5, 3.0, 5.0, 3.27]))
    row_mm = float(rng.choice([0.78125, 1.5, 2.0, 3.1, 4.0, 0.6836]))
    col_mm = row_mm if rng.random() < 0.8 else row_mm * float(rng.uniform(0.7, 1.4))
    s, r, c = np.ogrid[:n_slices, :n_rows, :n_cols]
    y, x = (r - n_rows / 2) / n_rows, (c - n_cols / 2) / n_cols
    body, inner = (y / 0.42) ** 2 + (x / 0.46) ** 2 < 1, (y / 0.36) ** 2 + (x / 0.39) ** 2 < 1
    hu = np.full((n_slices, n_rows, n_cols), -1000.0)
    hu[np.broadcast_to(body, hu.shape)] = -95.0
    hu[np.broadcast_to(inner, hu.shape)] = float(rng.uniform(20, 70))
    side = -1 if rng.random() < 0.5 else 1
    center = (n_slices * rng.uniform(0.4, 0.6), n_rows * rng.uniform(0.42, 0.6), n_cols * (0.5 + side * 0.2))
    radius = (
        max(n_slices * rng.uniform(0.18, 0.3), 1.2),
        n_rows * rng.uniform(0.05, 0.13),
        n_cols * rng.uniform(0.05, 0.13),
    )
    away = (
        ((s - center[0]) / radius[0]) ** 2
        + ((r - center[1]) / radius[1]) ** 2
        + ((c - center[2]) / radius[2]) ** 2
    )
    hu[away < 2.6] = -100.0 if rng.random() < 0.7 else 90.0
    tumor = away < 1
    hu[tumor] = float(rng.uniform(40, 170))
    hu += rng.normal(0, float(rng.uniform(4, 25)), hu.shape)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, col_mm], [0, row_mm, 0], [slice_mm, 0, 0]])
    affine[:3, 3] = np.round(rng.uniform(-300, 100, 3), 1)
    return Scene(hu=np.rint(hu), tumor=tumor, affine=affine, uid=uid)


def flipped(scene: Scene, axes: tuple[int, ...]) -> None:
    """Store the same places in the other direction along some axes."""
    for axis in axes:
        scene.affine[:3, 3] += scene.affine[:3, axis] * (scene.hu.shape[axis] - 1)
        scene.affine[:3, axis] *= -1
    scene.hu, scene.tumor = np.flip(scene.hu, axes), np.flip(scene.tumor, axes)


def turned(scene: Scene, degrees: float, axis: int) -> None:
    """Turn the whole patient around x, y or z."""
    angle = np.radians(degrees)
    turn = np.eye(4)
    a, b = (i for i in range(3) if i != axis)
    turn[a, a] = turn[b, b] = np.cos(angle)
    turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
    scene.affine = turn @ scene.affine


def dicom_series(scene: Scene) -> dict[str, bytes]:
    """The files of the CT series by name."""
    import pydicom

    files = {}
    for index in range(len(scene.hu)):
        image = pydicom.Dataset()
        _describe(image, scene, index)
        stored = np.rint((scene.hu[index] - scene.intercept) / scene.slope)
        low, high = (-32768, 32767) if scene.signed else (0, 2**scene.bits - 1)
        dtype = np.dtype("<i2" if scene.signed else "<u2")
        _put_pixels(image, np.clip(stored, low, high).astype(dtype), scene)
        if scene.change(image, index):
            files[f"IM{index:04d}.dcm"] = _saved(image, scene.syntax)
    return files


def _describe(image: Any, scene: Scene, index: int) -> None:
    n_rows, n_cols = scene.hu.shape[1:]
    spacing = np.linalg.norm(scene.affine[:3, :3], axis=0)
    image.SOPClassUID, image.SOPInstanceUID = CT_IMAGE, f"{scene.uid}.{index + 1}"
    image.Modality, image.PatientID, image.SeriesDescription = "CT", "GOLDEN", "venous phase"
    image.StudyInstanceUID, image.SeriesInstanceUID = f"{scene.uid}.900", f"{scene.uid}.901"
    image.FrameOfReferenceUID, image.ImageType = f"{scene.uid}.902", ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.SeriesNumber, image.InstanceNumber, image.AcquisitionNumber = 3, index + 1, 1
    image.ImagePositionPatient = [_number(mm) for mm in (scene.affine @ (index, 0, 0, 1))[:3]]
    rows, columns = scene.affine[:3, 2] / spacing[2], scene.affine[:3, 1] / spacing[1]
    image.ImageOrientationPatient = [_number(part) for part in (*rows, *columns)]
    image.PixelSpacing = [_number(spacing[1]), _number(spacing[2])]
    image.SliceThickness = _number(spacing[0])
    image.Rows, image.Columns, image.SamplesPerPixel = n_rows, n_cols, 1
    image.PhotometricInterpretation, image.BitsAllocated = "MONOCHROME2", 16
    image.BitsStored, image.HighBit, image.PixelRepresentation = scene.bits, scene.bits - 1, int(scene.signed)
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = (
        _number(scene.slope),
        _number(scene.intercept),
        "HU",
    )
    for keyword, value in scene.tags.items():
        setattr(image, keyword, value)


def _number(value: float) -> str:
    return f"{value:.10g}"[:16]


def _put_pixels(image: Any, stored: Array, scene: Scene) -> None:
    from pydicom.encaps import encapsulate

    packed = _packed(stored, scene.syntax)
    if packed is None:
        image.PixelData = stored.astype(
            stored.dtype.newbyteorder(">" if scene.syntax == BIG_ENDIAN else "<")
        ).tobytes()
    else:
        image.PixelData = encapsulate([packed])
        image["PixelData"].is_undefined_length = True
    image["PixelData"].VR = "OB" if packed is not None else "OW"


def _packed(stored: Array, syntax: str) -> bytes | None:
    """A frame in a compressed transfer syntax; None for the others."""
    import imagecodecs

    if syntax in ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"):
        return bytes(imagecodecs.jpeg2k_encode(stored, level=0, codecformat="j2k", reversible=True))
    if syntax == "1.2.840.10008.1.2.4.80":
        return bytes(imagecodecs.jpegls_encode(stored.astype(np.uint16)))
    if syntax in ("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.57"):
        return bytes(imagecodecs.ljpeg_encode(stored.astype(np.uint16), bitspersample=16))
    if syntax == "1.2.840.10008.1.2.5":
        planes = [
            bytes(imagecodecs.packbits_encode((stored.astype("<u2") >> shift).astype(np.uint8).tobytes()))
            for shift in (8, 0)
        ]
        head = np.zeros(16, "<u4")
        head[:3] = (2, 64, 64 + len(planes[0]))
        return head.tobytes() + b"".join(planes)
    return None


def _saved(image: Any, syntax: str) -> bytes:
    import pydicom

    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    image.file_meta = meta
    file = io.BytesIO()
    pydicom.dcmwrite(file, image, enforce_file_format=True)
    return file.getvalue()


def seg_file(scene: Scene, masks: dict[str, Array], **options: Any) -> bytes:
    """A binary SEG of masks on the grid of the CT by the name of each segment; slices without voxels have no frame.

    Args:
        scene: Gives the grid and the identifiers.
        masks: bool (S, R, C) each.
        options: ``series`` names another series, ``frame`` another frame of reference, ``affine`` another place;
            ``drawn_by`` is how and by which program it was drawn.
    """
    import pydicom

    item = pydicom.Dataset
    seg, affine = item(), options.get("affine", scene.affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    seg.SOPClassUID, seg.SOPInstanceUID, seg.Modality = SEGMENTATION, f"{scene.uid}.950", "SEG"
    seg.SeriesInstanceUID, seg.FrameOfReferenceUID = (
        f"{scene.uid}.951",
        options.get("frame", f"{scene.uid}.902"),
    )
    seg.SegmentationType, seg.Rows, seg.Columns = "BINARY", *next(iter(masks.values())).shape[1:]
    reference = item()
    reference.SeriesInstanceUID = options.get("series", f"{scene.uid}.901")
    seg.ReferencedSeriesSequence = [reference]
    shared = item()
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [item()], [item()]
    directions = (*(affine[:3, 2] / spacing[2]), *(affine[:3, 1] / spacing[1]))
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [_number(part) for part in directions]
    measures = shared.PixelMeasuresSequence[0]
    measures.PixelSpacing = [_number(spacing[1]), _number(spacing[2])]
    measures.SliceThickness = measures.SpacingBetweenSlices = _number(spacing[0])
    seg.SharedFunctionalGroupsSequence = [shared]
    seg.SegmentSequence, groups, frames = [], [], []
    for number, (name, mask) in enumerate(masks.items(), start=1):
        segment = item()
        segment.SegmentNumber, segment.SegmentLabel = number, name
        if "drawn_by" in options:
            segment.SegmentAlgorithmType, segment.SegmentAlgorithmName = options["drawn_by"]
        seg.SegmentSequence.append(segment)
        for index in np.flatnonzero(mask.any(axis=(1, 2))):
            group = item()
            group.PlanePositionSequence, group.SegmentIdentificationSequence = [item()], [item()]
            place = (affine @ (index, 0, 0, 1))[:3]
            group.PlanePositionSequence[0].ImagePositionPatient = [_number(mm) for mm in place]
            group.SegmentIdentificationSequence[0].ReferencedSegmentNumber = number
            groups.append(group)
            frames.append(mask[index])
    seg.PerFrameFunctionalGroupsSequence, seg.NumberOfFrames = groups, len(groups)
    seg.SamplesPerPixel, seg.PhotometricInterpretation = 1, "MONOCHROME2"
    seg.BitsAllocated = seg.BitsStored = 1
    seg.HighBit = seg.PixelRepresentation = 0
    bits = np.packbits(np.concatenate([frame.ravel() for frame in frames]), bitorder="little").tobytes()
    seg.PixelData = bits + b"\0" * (len(bits) % 2)
    seg["PixelData"].VR = "OB"
    return _saved(seg, EXPLICIT)


def nifti_file(values: Array, affine: Affine, packed: bool = True, **header: Any) -> bytes:
    """A NIfTI file of an array (S, R, C) with its affine to LPS mm, axes reversed as programs store them.

    Args:
        values: The array.
        affine: From its index.
        packed: As .nii.gz.
        header: Fields to set in the header afterwards; ``codes`` are those of sform and qform.
    """
    import nibabel

    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine @ np.eye(4)[[2, 1, 0, 3]]
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0), to_ras)
    sform, qform = header.pop("codes", (1, 0))
    image.set_sform(to_ras, sform)
    image.set_qform(to_ras, qform)
    image.header.set_xyzt_units("mm")
    content = bytearray(image.to_bytes())
    if header:
        fields = nibabel.Nifti1Header(bytes(content[:348]), check=False)
        for name, value in header.items():
            fields[name] = value
        content[:348] = fields.binaryblock
    return gzip.compress(bytes(content), 4, mtime=0) if packed else bytes(content)

"""Ways in which a hospital stores the box phantom beside one plain file per slice."""

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from nephroscope.imaging.dicom.slice_header import SliceHeader
from phantoms import ORIGIN_MM, SHAPE, SPACING_MM, box_hu, dicom_slices


def item(**values) -> Sequence:
    """A sequence of one item."""
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return Sequence([dataset])


def enhanced_ct(order=range(SHAPE[0]), times=(1,), shift_hu=0, stacks=False) -> FileDataset:
    """Enhanced CT: frames in any order, each with its own rescale; one volume for each temporal position.

    The volume of time 2 is 2 HU brighter than that of time 1 when ``shift_hu`` is 2. Not a valid object in every
    attribute, but in all that a reader of pixels and places looks at.
    """
    image = dicom_slices()[0]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = EnhancedCTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta = meta
    image.SOPClassUID, image.SOPInstanceUID = EnhancedCTImageStorage, meta.MediaStorageSOPInstanceUID
    image.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    for name in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
        "SliceThickness",
    ):
        delattr(image, name)
    shared = Dataset()
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.PixelMeasuresSequence = item(PixelSpacing=list(SPACING_MM[1:]), SliceThickness=9.0)
    image.SharedFunctionalGroupsSequence = Sequence([shared])
    groups, pixels = [], []
    for time in times:
        for index in order:
            intercept = -1024 - 10 * index
            group = Dataset()
            position = [*ORIGIN_MM[:2], ORIGIN_MM[2] + index * SPACING_MM[0]]
            group.PlanePositionSequence = item(ImagePositionPatient=position)
            group.PixelValueTransformationSequence = item(
                RescaleIntercept=intercept, RescaleSlope=1, RescaleType="HU"
            )
            group.FrameContentSequence = item(
                **({"StackID": str(time)} if stacks else {"TemporalPositionIndex": time}),
                FrameAcquisitionNumber=1,
            )
            groups.append(group)
            pixels.append(box_hu()[index].astype(int) + shift_hu * (time - times[0]) - intercept)
    image.PerFrameFunctionalGroupsSequence = Sequence(groups)
    image.NumberOfFrames = len(groups)
    image.PixelData = np.stack(pixels).astype("<u2").tobytes()
    return image


def facts(z_mm, number=1, **more) -> SliceHeader:
    """A plain axial slice at ``z_mm``."""
    said = {
        "sop_uid": f"1.2.{number}",
        "instance_number": number,
        "position_mm": (-20.0, -30.5, float(z_mm)),
        "orientation": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        "pixel_spacing_mm": (0.9, 0.7),
        "rows": 40,
        "columns": 48,
        "slope": 1.0,
        "intercept": -1024.0,
        "photometric": "MONOCHROME2",
        "transfer_syntax": "1.2.840.10008.1.2.1",
    }
    return SliceHeader(**said | more)


def scan(n, start=0, step_mm=2.5, first=1, **more) -> list[SliceHeader]:
    """So many slices from ``start`` mm."""
    return [facts(start + index * step_mm, first + index, **more) for index in range(n)]

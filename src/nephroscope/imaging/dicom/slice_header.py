"""Read what a CT header says about each slice: single-frame, enhanced and legacy-converted multi-frame files."""

import math
from dataclasses import dataclass, replace
from typing import Any

from pydicom.datadict import tag_for_keyword

from nephroscope.base.errors import SeriesError
from nephroscope.imaging.dicom.files import DICOM_DAMAGE, functional_group, quiet
from nephroscope.imaging.files import damage_words

# Attributes of a CT header that `slice_headers` uses (``specific_tags`` of pydicom).
_SLICE_TAGS = """
    ImageType SOPClassUID SOPInstanceUID AcquisitionDate AcquisitionDateTime AcquisitionTime ContentTime
    SliceThickness TriggerTime SeriesInstanceUID AcquisitionNumber InstanceNumber ImagePositionPatient
    ImageOrientationPatient TemporalPositionIdentifier ImagesInAcquisition SamplesPerPixel
    PhotometricInterpretation NumberOfFrames InConcatenationTotalNumber Rows Columns PixelSpacing
    BitsAllocated RescaleIntercept RescaleSlope RescaleType SpacingBetweenSlices SliceLocation
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence FrameOfReferenceUID
"""
SLICE_TAGS = tuple(_SLICE_TAGS.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceHeader:
    """The header of one slice: a single-frame file, or one frame of a multi-frame file.

    Attributes:
        frame: Number of the frame in its file, from 0; None in a single-frame file.
        position_mm: Centre of the first pixel, LPS.
        orientation: Direction cosines along a row, then along a column.
        pixel_spacing_mm: Between rows, between columns.
        step_mm, location_mm: Spacing Between Slices and Slice Location as written, which positions may contradict.
        stack_id: Stack ID of a frame in a multi-frame file.
        acquisition_time: Date and time, or only the time, as written; times are compared as text.
        transfer_syntax: UID; empty where it is missing.
        parts: Number of files of its concatenation; None where there is none.
        damage: Why its pixels cannot be read, as far as header and file length show; otherwise empty.
        frame_uid: Frame of Reference UID; empty where it is missing.
    """

    sop_uid: str = ""
    frame: int | None = None
    instance_number: int | None = None
    position_mm: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    pixel_spacing_mm: tuple[float, ...] | None = None
    thickness_mm: float | None = None
    step_mm: float | None = None
    location_mm: float | None = None
    rows: int | None = None
    columns: int | None = None
    slope: float | None = None
    intercept: float | None = None
    rescale_type: str = ""
    photometric: str = ""
    samples: int = 1
    bits_allocated: int | None = None
    image_type: tuple[str, ...] = ()
    acquisition_number: str = ""
    temporal_position: str = ""
    stack_id: str = ""
    acquisition_time: str = ""
    content_time: str = ""
    trigger_time: str = ""
    images_in_acquisition: int | None = None
    parts: int | None = None
    transfer_syntax: str = ""
    damage: str = ""
    frame_uid: str = ""

    @property
    def name(self) -> str:
        """The slice by its Instance Number, as workstations show it, or else by the end of its UID."""
        number = f"SOP ..{self.tail}" if self.instance_number is None else f"{self.instance_number}"
        file = number if self.instance_number is None else f"IM {number}"
        return file if self.frame is None else f"{file} frame {self.frame + 1}"

    @property
    def tail(self) -> str:
        """The last digits of the SOP Instance UID."""
        return self.sop_uid.rsplit(".", 1)[-1][-6:] or "?"

    @property
    def is_localizer(self) -> bool:
        """True for a scout: a projection with modality CT."""
        return any(word.upper() in ("LOCALIZER", "SCOUT", "TOPOGRAM") for word in self.image_type)


def text_of(item: Any, keyword: str) -> str:
    """A value as written, several values joined by a backslash; empty when absent or unreadable.

    Raw bytes are used where pydicom has not converted them yet, which is several times faster.
    """
    element = item.get_item(tag_for_keyword(keyword))
    value = None if element is None else element.value
    if isinstance(value, bytes):
        return value.decode("latin-1").strip("\0 ")
    if value is None:
        return ""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return str(value).strip()
    return "\\".join(str(part) for part in value)


def numbers_of(item: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly ``count`` finite numbers from a decimal string, or None."""
    try:
        numbers = tuple(float(part) for part in text_of(item, keyword).split("\\"))
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def number_of(item: Any, keyword: str) -> float | None:
    """One finite number from a decimal string, or None."""
    numbers = numbers_of(item, keyword, 1)
    return numbers[0] if numbers else None


def integer_of(item: Any, keyword: str) -> int | None:
    """A whole number from an integer string, or None."""
    number = number_of(item, keyword)
    return int(number) if number is not None and number.is_integer() else None


def short_of(item: Any, keyword: str) -> int | None:
    """A binary unsigned short, or None."""
    element = item.get_item(tag_for_keyword(keyword))
    value = None if element is None else element.value
    if isinstance(value, bytes):
        return (
            int.from_bytes(value, "little" if element.is_little_endian else "big")
            if len(value) == 2
            else None
        )
    return value if isinstance(value, int) else None


def words_of(item: Any, keyword: str) -> tuple[str, ...]:
    """The values of a code string."""
    text = text_of(item, keyword)
    return tuple(part.strip() for part in text.split("\\")) if text else ()


def syntax_of(header: Any) -> str:
    """Transfer Syntax UID of a file; empty where it is missing."""
    return str(header.file_meta.get("TransferSyntaxUID", "")) if hasattr(header, "file_meta") else ""


def _single_frame(header: Any) -> SliceHeader:
    """The slice header of a single-frame file."""
    moment = text_of(header, "AcquisitionDateTime")
    return SliceHeader(
        sop_uid=text_of(header, "SOPInstanceUID"),
        instance_number=integer_of(header, "InstanceNumber"),
        position_mm=numbers_of(header, "ImagePositionPatient", 3),
        orientation=numbers_of(header, "ImageOrientationPatient", 6),
        pixel_spacing_mm=numbers_of(header, "PixelSpacing", 2),
        thickness_mm=number_of(header, "SliceThickness"),
        step_mm=number_of(header, "SpacingBetweenSlices"),
        location_mm=number_of(header, "SliceLocation"),
        rows=short_of(header, "Rows"),
        columns=short_of(header, "Columns"),
        slope=number_of(header, "RescaleSlope"),
        intercept=number_of(header, "RescaleIntercept"),
        rescale_type=text_of(header, "RescaleType"),
        photometric=text_of(header, "PhotometricInterpretation"),
        samples=short_of(header, "SamplesPerPixel") or 1,
        bits_allocated=short_of(header, "BitsAllocated"),
        image_type=words_of(header, "ImageType"),
        acquisition_number=text_of(header, "AcquisitionNumber"),
        temporal_position=text_of(header, "TemporalPositionIdentifier"),
        acquisition_time=moment or text_of(header, "AcquisitionDate") + text_of(header, "AcquisitionTime"),
        content_time=text_of(header, "ContentTime"),
        trigger_time=text_of(header, "TriggerTime"),
        images_in_acquisition=integer_of(header, "ImagesInAcquisition"),
        parts=short_of(header, "InConcatenationTotalNumber"),
        transfer_syntax=syntax_of(header),
        frame_uid=text_of(header, "FrameOfReferenceUID"),
    )


# Enhanced CT and Legacy Converted Enhanced CT Image Storage.
MULTI_FRAME_CLASSES = {"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"}


def slice_headers(header: Any) -> tuple[SliceHeader, ...]:
    """The slice headers in a CT header: one for a single-frame file, otherwise one for each frame.

    Raises:
        SeriesError: A single-frame class holds several frames, or functional groups are missing or damaged.
    """
    n_frames = integer_of(header, "NumberOfFrames")
    if text_of(header, "SOPClassUID") not in MULTI_FRAME_CLASSES:
        if (n_frames or 1) > 1:
            raise SeriesError(
                where=f"series {text_of(header, 'SeriesInstanceUID')}",
                expected="one frame in each CT image, or an enhanced CT image",
                found=f"{n_frames} frames without positions in {_single_frame(header).name}",
                remedy="export the series as single-frame CT images",
            )
        return (_single_frame(header),)
    try:
        with quiet():
            return _frames(header, n_frames)
    except DICOM_DAMAGE as error:
        raise SeriesError(
            where=f"series {text_of(header, 'SeriesInstanceUID')}",
            expected="readable functional groups",
            found=f"damaged ones in {_single_frame(header).name} ({damage_words(error)})",
            remedy="export the series again, as single-frame CT images if that is offered",
        ) from error


def _frames(header: Any, n_frames: int | None) -> tuple[SliceHeader, ...]:
    """The slice header of each frame."""
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    if not groups or n_frames != len(groups):
        raise SeriesError(
            where=f"series {text_of(header, 'SeriesInstanceUID')}",
            expected="one functional group for each frame",
            found=f"{len(groups)} for {n_frames} frames in {_single_frame(header).name}",
            remedy="export the series again, as single-frame CT images if that is offered",
        )
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    whole = _single_frame(header)
    return tuple(_frame(whole, index, group, shared) for index, group in enumerate(groups))


def _frame(whole: SliceHeader, index: int, group: Any, shared: Any) -> SliceHeader:
    """The slice header of one frame. Source: DICOM PS3.3 C.7.6.16.2 and C.8.15.3."""
    place = functional_group(group, shared, "PlanePositionSequence")
    turn = functional_group(group, shared, "PlaneOrientationSequence")
    measures = functional_group(group, shared, "PixelMeasuresSequence")
    rescale = functional_group(group, shared, "PixelValueTransformationSequence")
    content = functional_group(group, shared, "FrameContentSequence")
    kind = functional_group(group, shared, "CTImageFrameTypeSequence")
    legacy = functional_group(group, shared, "UnassignedPerFrameConvertedAttributesSequence")
    return replace(
        whole,
        frame=index,
        position_mm=numbers_of(place, "ImagePositionPatient", 3) if place else None,
        orientation=numbers_of(turn, "ImageOrientationPatient", 6) if turn else None,
        pixel_spacing_mm=numbers_of(measures, "PixelSpacing", 2) if measures else None,
        thickness_mm=number_of(measures, "SliceThickness") if measures else None,
        step_mm=number_of(measures, "SpacingBetweenSlices") if measures else None,
        slope=number_of(rescale, "RescaleSlope") if rescale else None,
        intercept=number_of(rescale, "RescaleIntercept") if rescale else None,
        rescale_type=text_of(rescale, "RescaleType") if rescale else "",
        image_type=(words_of(kind, "FrameType") if kind else ()) or whole.image_type,
        images_in_acquisition=None,
        **_moment(content, legacy),
    )


def _moment(content: Any | None, legacy: Any | None) -> dict[str, Any]:
    """Acquisition, time and stack of a frame; pydicom converts binary numbers here.

    Args:
        content: Frame Content Sequence item.
        legacy: Attributes of the single frames that the conversion could not place elsewhere.
    """

    def said(keyword: str) -> str:
        value = None if content is None else content.get(keyword)
        return "" if value is None else str(value)

    def kept(keyword: str) -> str:
        return "" if legacy is None else text_of(legacy, keyword)

    return {
        "acquisition_number": said("FrameAcquisitionNumber") or kept("AcquisitionNumber"),
        "temporal_position": said("TemporalPositionIndex") or kept("TemporalPositionIdentifier"),
        "stack_id": said("StackID"),
        "acquisition_time": said("FrameAcquisitionDateTime") or kept("AcquisitionTime"),
        "content_time": said("FrameReferenceDateTime") or kept("ContentTime"),
        "trigger_time": kept("TriggerTime"),
    }

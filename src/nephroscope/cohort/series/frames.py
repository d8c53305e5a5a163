"""Enhanced and legacy-converted multi-frame CT: functional groups in, the facts of each frame out."""

from dataclasses import replace
from typing import Any

from nephroscope.cohort.series.dicom_files import DICOM_DAMAGE, quiet
from nephroscope.cohort.series.slice_facts import (
    SliceFacts,
    file_facts,
    integer_of,
    number_of,
    numbers_of,
    text_of,
    words_of,
)
from nephroscope.errors import SeriesError

# Enhanced CT and Legacy Converted Enhanced CT Image Storage.
MULTI_FRAME_CLASSES = {"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"}


def facts_of(header: Any) -> tuple[SliceFacts, ...]:
    """What a CT header says of its slices: one for a single-frame file, one for each frame otherwise.

    Args:
        header: Read with `slice_facts.FACT_TAGS` or more.

    Raises:
        SeriesError: A file of the single-frame kind holds several frames, or functional groups are missing or
            damaged.
    """
    n_frames = integer_of(header, "NumberOfFrames")
    if text_of(header, "SOPClassUID") not in MULTI_FRAME_CLASSES:
        if (n_frames or 1) > 1:
            raise SeriesError(
                where=f"series {text_of(header, 'SeriesInstanceUID')}",
                expected="one frame in a CT image, or an enhanced CT image",
                found=f"{n_frames} frames without places of their own in {file_facts(header).name}",
                remedy="export the series as single-frame CT images",
            )
        return (file_facts(header),)
    try:
        with quiet():
            return _frames(header, n_frames)
    except DICOM_DAMAGE as error:
        raise SeriesError(
            where=f"series {text_of(header, 'SeriesInstanceUID')}",
            expected="functional groups that can be read",
            found=f"damaged ones in {file_facts(header).name} ({type(error).__name__})",
            remedy="export the series again, as single-frame CT images if that is offered",
        ) from error


def _frames(header: Any, n_frames: int | None) -> tuple[SliceFacts, ...]:
    """The facts of each frame."""
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    if not groups or n_frames != len(groups):
        raise SeriesError(
            where=f"series {text_of(header, 'SeriesInstanceUID')}",
            expected="one functional group for each frame",
            found=f"{len(groups)} for {n_frames} frames in {file_facts(header).name}",
            remedy="export the series again, as single-frame CT images if that is offered",
        )
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    whole = file_facts(header)
    return tuple(_frame(whole, index, group, shared) for index, group in enumerate(groups))


def _frame(whole: SliceFacts, index: int, group: Any, shared: Any) -> SliceFacts:
    """The facts of one frame. Source: DICOM PS3.3 C.7.6.16.2 and C.8.15.3."""
    place = _macro(group, shared, "PlanePositionSequence")
    turn = _macro(group, shared, "PlaneOrientationSequence")
    measures = _macro(group, shared, "PixelMeasuresSequence")
    rescale = _macro(group, shared, "PixelValueTransformationSequence")
    content = _macro(group, shared, "FrameContentSequence")
    kind = _macro(group, shared, "CTImageFrameTypeSequence")
    legacy = _macro(group, shared, "UnassignedPerFrameConvertedAttributesSequence")
    return replace(
        whole,
        frame=index,
        position_mm=numbers_of(place, "ImagePositionPatient", 3) if place else None,
        orientation=numbers_of(turn, "ImageOrientationPatient", 6) if turn else None,
        pixel_spacing_mm=numbers_of(measures, "PixelSpacing", 2) if measures else None,
        thickness_mm=number_of(measures, "SliceThickness") if measures else None,
        slope=number_of(rescale, "RescaleSlope") if rescale else None,
        intercept=number_of(rescale, "RescaleIntercept") if rescale else None,
        rescale_type=text_of(rescale, "RescaleType") if rescale else "",
        image_type=(words_of(kind, "FrameType") if kind else ()) or whole.image_type,
        images_in_acquisition=None,
        **_moment(content, legacy),
    )


def _moment(content: Any | None, legacy: Any | None) -> dict[str, Any]:
    """Which acquisition, moment and stack a frame is of; binary numbers are converted here by pydicom.

    Args:
        content: Frame Content.
        legacy: What a conversion of single frames had no place for.
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


def _macro(group: Any, shared: Any, name: str) -> Any | None:
    """A functional group of one frame: its own, or the one all frames share."""
    own = group.get(name) or (shared.get(name) if shared is not None else None)
    return own[0] if own else None

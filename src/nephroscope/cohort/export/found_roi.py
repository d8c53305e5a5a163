"""The header of a SEG or RTSTRUCT in; what it was drawn on, by whom, and whether it may hold the tumor out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nephroscope.cohort.export.kinds import patient_id_of
from nephroscope.cohort.tumor_words import Content, content_of


@dataclass(frozen=True, kw_only=True)
class FoundRoi:
    """A SEG or RTSTRUCT of an export: what it was drawn on, and the reader's place in line.

    Attributes:
        series_uid: Series it refers to; empty when it does not say.
        sop_uid: One image it refers to, which tells acquisitions of one series apart; empty when it does not say.
        frame: Which frame of that image, from 0; None when it does not say.
        names: Labels of its segments or contours.
        meanings: What their types mean, in words.
        content: What they say that they are, where none may be the tumor: ``organs`` (kidneys, aorta) or ``other``.
    """

    path: Path
    kind: str
    patient_id: str
    series_uid: str
    sop_uid: str
    frame: int | None = None
    reader: tuple[str, int, str]
    names: tuple[str, ...]
    meanings: tuple[str, ...] = ()
    content: Content = ""


def roi_of(header: Any, path: Path, kind: str) -> FoundRoi:
    """What the header of a ROI file says."""
    series_uid, sop_uid, frame = _referenced(header)
    segments = header.get("SegmentSequence") or header.get("StructureSetROISequence") or []
    reader = header.get("ContentCreatorName") or header.get("OperatorsName") or ""
    names = [str(s.get("SegmentLabel") or s.get("ROIName") or "") for s in segments]
    types = {
        item.get("ReferencedROINumber"): str(item.get("RTROIInterpretedType") or "")
        for item in header.get("RTROIObservationsSequence") or []
    }
    said = [(name, *_codes(segment, types)) for name, segment in zip(names, segments, strict=True)]
    return FoundRoi(
        path=path,
        kind=kind,
        patient_id=patient_id_of(header),
        series_uid=series_uid,
        sop_uid=sop_uid,
        frame=frame,
        reader=(str(reader), int(header.get("SeriesNumber") or 0), str(header.get("SOPInstanceUID", ""))),
        names=tuple(names),
        meanings=tuple(word for _, words, _ in said for word in words),
        content=content_of(said),
    )


def _codes(segment: Any, types: Mapping[Any, str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Meanings and values of a segment's type, or the type of a contour."""
    codes = segment.get("SegmentedPropertyTypeCodeSequence") or []
    meanings = (types.get(segment.get("ROINumber"), ""), *(str(c.get("CodeMeaning") or "") for c in codes))
    return meanings, frozenset(str(code.get("CodeValue") or "") for code in codes)


def _referenced(header: Any) -> tuple[str, str, int | None]:
    """Series, one image and frame that a SEG (PS3.3 C.12.1) or RTSTRUCT (PS3.3 C.8.8.5) was drawn on."""
    for series in header.get("ReferencedSeriesSequence") or []:
        images = series.get("ReferencedInstanceSequence") or []
        sop_uid, frame = _image(images)
        derived = _derived_from(header) if frame is None else ("", None)
        sop_uid, frame = derived if derived[1] is not None else (sop_uid, frame)
        return str(series.get("SeriesInstanceUID", "")), sop_uid, frame
    for frame_of_reference in header.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame_of_reference.get("RTReferencedStudySequence") or []:
            for series in study.get("RTReferencedSeriesSequence") or []:
                images = series.get("ContourImageSequence") or []
                return str(series.get("SeriesInstanceUID", "")), *_image(images)
    return "", "", None


def _derived_from(header: Any) -> tuple[str, int | None]:
    """The image and frame that the first frame of a SEG which says so was derived from (PS3.3 C.7.6.16.2.6)."""
    for group in header.get("PerFrameFunctionalGroupsSequence") or []:
        for derivation in group.get("DerivationImageSequence") or []:
            sources = derivation.get("SourceImageSequence") or []
            if sources:
                return _image(sources)
    return "", None


def _image(images: Sequence[Any]) -> tuple[str, int | None]:
    if not images:
        return "", None
    numbers = images[0].get("ReferencedFrameNumber") or []
    first = numbers if isinstance(numbers, int) else next(iter(numbers), None)
    return str(images[0].get("ReferencedSOPInstanceUID", "")), None if first is None else int(first) - 1

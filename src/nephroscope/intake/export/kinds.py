"""What a DICOM file is, from its header: its kind by SOP class and Image Type; of an ROI also its author."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nephroscope.base.identifiers import clean_name, is_no_name
from nephroscope.imaging.dicom.hounsfield import DERIVED, PROJECTION
from nephroscope.imaging.masks.origin import program_of_contours, program_of_seg
from nephroscope.imaging.masks.words import Content, content_of

CT, LOCALIZER, SEG, RTSTRUCT = "ct", "localizer", "segmentation", "rtstruct"
DICOMDIR = "dicomdir"  # an index of the medium: no series
# What is stored as a CT image, volume or not; the reader of a folder meets these.
OF_CT_CLASS = (CT, LOCALIZER, *DERIVED, "screen-save")
# A CT that cannot be used, and what may be taken for one.
LIKE_CT = (CT, *DERIVED)
STORAGE = "1.2.840.10008.5.1.4.1.1."
# By the tail of the SOP class below STORAGE; the longest tail that fits counts.
KINDS = {
    "2": CT,
    "7": "secondary-capture",
    "9": "waveform",
    "11": "presentation-state",
    "66": "raw-data",
    "66.4": SEG,
    "66.7": SEG,
    "88": "structured-report",
    "88.67": "dose-report",
    "88.73": "dose-report",
    "88.76": "dose-report",
    "104": "document",
    "481.2": "rt-dose",
    "481.3": RTSTRUCT,
    "481.5": "rt-plan",
}
IN_WORDS = {
    LOCALIZER: "a localizer (scout) image",
    **DERIVED,
    "secondary-capture": "a secondary capture: a screen capture, not a CT image",
    "dose-report": "a dose report",
    "structured-report": "a structured report",
    "presentation-state": "a presentation state",
    "document": "a document",
    "screen-save": "a screen capture or a dose table, stored as CT",
    "few-not-axial": "one to three images that are not axial, as scouts are",
    "reformat": "a coronal, sagittal or oblique reformation: the axial series is needed",
    "bolus-tracking": "bolus tracking: the same position repeatedly",
}
LOCALIZER_WORDS = {"LOCALIZER", "SCOUT", "TOPOGRAM"}
PROJECTION_WORDS = {"MIP", "MINIP", "MNIP", "PROJECTION IMAGE", "PROJECTION", "VRT", "VR", "SSD"}
SCREEN_WORDS = {"SCREEN SAVE", "DOSE_INFO", "DOSE", "SCREENSHOT", "PROT"}


def sop_class(header: Any) -> str:
    """SOP Class UID of a file, from the data set or from its file meta information."""
    meta = getattr(header, "file_meta", None)
    return str(header.get("SOPClassUID") or (meta.get("MediaStorageSOPClassUID", "") if meta else ""))


def kind_of(header: Any) -> str:
    """One word for what a file is: ct, localizer, projection, segmentation, rtstruct, secondary-capture ..."""
    uid = sop_class(header)
    modality = str(header.get("Modality") or "").upper()
    if uid == "1.2.840.10008.1.3.10" or "DirectoryRecordSequence" in header:
        return DICOMDIR
    tail = uid.removeprefix(STORAGE) if uid.startswith(STORAGE) else ""
    while tail and tail not in KINDS:
        tail = tail.rpartition(".")[0]
    kind = KINDS.get(tail) or {"SEG": SEG, "RTSTRUCT": RTSTRUCT}.get(modality, "")
    if kind != CT:
        return kind or f"{modality.lower() or 'unknown'}-image"
    words = {str(word).strip().upper() for word in _many(header.get("ImageType"))}
    if words & LOCALIZER_WORDS:
        return LOCALIZER
    if words.union(*map(str.split, words)) & PROJECTION_WORDS:  # also "CT_SOM5 MIP"
        return PROJECTION
    return "screen-save" if words & SCREEN_WORDS else CT


def patient_id_of(header: Any) -> str:
    """PatientID without spaces around it and signs that nobody sees; empty when absent or no name, such as NA."""
    name = clean_name(str(header.get("PatientID") or ""))
    return "" if is_no_name(name) else name


def _many(value: Any) -> list[Any]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


# What says on which series an ROI was drawn.
ROI_TAGS = (
    *("Modality", "ReferencedSeriesSequence", "ReferencedFrameOfReferenceSequence", "ROIContourSequence"),
    *("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"),
)


@dataclass(frozen=True, slots=True)
class DrawnOn:
    """What an ROI file says that it was drawn on.

    Attributes:
        series_uid: Series it refers to; empty when it does not say.
        sop_uid: One image it refers to, which tells acquisitions of one series apart; empty when it does not say.
        frame: Which frame of that image, from 0; None when it does not say.
    """

    series_uid: str = ""
    sop_uid: str = ""
    frame: int | None = None


@dataclass(frozen=True, kw_only=True)
class FoundRoi:
    """A SEG or RTSTRUCT of an export: what it was drawn on, and the reader's place in line.

    Attributes:
        drawn_on: All series that it refers to, and an image that its frames or contours name.
        names: Labels of its segments or contours.
        meanings: What their types mean, in words.
        content: What they say that they are, where none may be the tumor: ``organs`` (kidneys, aorta) or ``other``.
        model: ``model:NAME@VERSION`` of the program that drew all of its segments; empty where a person took part.
    """

    path: Path
    kind: str
    patient_id: str
    drawn_on: tuple[DrawnOn, ...]
    reader: tuple[str, int, str]
    names: tuple[str, ...]
    meanings: tuple[str, ...] = ()
    content: Content = ""
    model: str = ""


def roi_of(header: Any, path: Path, kind: str) -> FoundRoi:
    """What the header of an ROI file says."""
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
        drawn_on=tuple(referenced(header)),
        reader=(str(reader), int(header.get("SeriesNumber") or 0), str(header.get("SOPInstanceUID", ""))),
        names=tuple(names),
        meanings=tuple(word for _, words, _ in said for word in words),
        content=content_of(said),
        model=program_of_seg(header) or program_of_contours(header),
    )


def _codes(segment: Any, types: Mapping[Any, str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Meanings and values of a segment's type, or the type of a contour."""
    codes = segment.get("SegmentedPropertyTypeCodeSequence") or []
    meanings = (types.get(segment.get("ROINumber"), ""), *(str(c.get("CodeMeaning") or "") for c in codes))
    return meanings, frozenset(str(code.get("CodeValue") or "") for code in codes)


def referenced(header: Any) -> Iterator[DrawnOn]:
    """What a SEG (PS3.3 C.12.1) or RTSTRUCT (PS3.3 C.8.8.5) was drawn on; last, an image that its content names."""
    sop_uid, frame = _derived_from(header) or _outlined(header)
    for series in header.get("ReferencedSeriesSequence") or []:
        image = _image(series.get("ReferencedInstanceSequence") or [])
        if image[1] is None and frame is not None:
            image = sop_uid, frame
        yield DrawnOn(str(series.get("SeriesInstanceUID") or ""), *image)
    for frame_of_reference in header.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame_of_reference.get("RTReferencedStudySequence") or []:
            for series in study.get("RTReferencedSeriesSequence") or []:
                image = _image(series.get("ContourImageSequence") or [])
                yield DrawnOn(str(series.get("SeriesInstanceUID") or ""), *image)
    if sop_uid:
        yield DrawnOn(sop_uid=sop_uid, frame=frame)


def _derived_from(header: Any) -> tuple[str, int | None] | None:
    """The image and frame that the first frame of a SEG which says so was derived from (PS3.3 C.7.6.16.2.6)."""
    for group in header.get("PerFrameFunctionalGroupsSequence") or []:
        for derivation in group.get("DerivationImageSequence") or []:
            sources = derivation.get("SourceImageSequence") or []
            if sources:
                return _image(sources)
    return None


def _outlined(header: Any) -> tuple[str, int | None]:
    """The image of the first contour that names one (PS3.3 C.8.8.6)."""
    for roi in header.get("ROIContourSequence") or []:
        for contour in roi.get("ContourSequence") or []:
            if images := contour.get("ContourImageSequence"):
                return _image(images)
    return "", None


def _image(images: Sequence[Any]) -> tuple[str, int | None]:
    if not images:
        return "", None
    numbers = images[0].get("ReferencedFrameNumber") or []
    first = numbers if isinstance(numbers, int) else next(iter(numbers), None)
    return str(images[0].get("ReferencedSOPInstanceUID", "")), None if first is None else int(first) - 1

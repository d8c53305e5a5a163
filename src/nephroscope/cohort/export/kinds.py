"""What a DICOM file is: its header in, one of the kinds below out, by SOP class and Image Type.

Source: DICOM PS3.4 B.5 (SOP classes), PS3.3 C.8.2.1.1.1 (Image Type of CT).
"""

from typing import Any

CT, LOCALIZER, PROJECTION, SEG, RTSTRUCT = "ct", "localizer", "projection", "segmentation", "rtstruct"
DICOMDIR = "dicomdir"  # an index of the medium: no series
# What is stored as a CT image, volume or not; the reader of a folder meets these.
OF_CT_CLASS = (CT, LOCALIZER, PROJECTION, "screen-save")
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
    PROJECTION: "a projection (MIP or the like): its values are no attenuation",
    "secondary-capture": "a secondary capture: a picture of a screen, not a CT image",
    "dose-report": "a dose report",
    "structured-report": "a structured report",
    "presentation-state": "a presentation state",
    "document": "a document",
    "screen-save": "a picture of a screen or a dose table, stored as CT",
    "few-not-axial": "one to three images that are not axial, as scouts are",
    "reformat": "a coronal, sagittal or oblique reformation: the axial series is wanted",
    "bolus-tracking": "bolus tracking: the same place again and again",
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
    """PatientID without spaces around it; empty when absent."""
    return str(header.get("PatientID") or "").strip()


def _many(value: Any) -> list[Any]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)

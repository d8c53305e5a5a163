"""De-identify a DICOM data set: PS3.15 Annex E, and stricter where its lists end.

The tables of the Basic Application Level Confidentiality Profile come from the library dicomanonymizer. The way it
applies them is not enough here (top level only, random UIDs, one dummy date), so these functions do it: in each
nested sequence, with keyed hashes and with shifted dates. The profile lists attributes and keeps all others; here
text, bytes and everything about the patient are removed too, unless they are known to be technical.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from nephroscope.base.version import __version__
from nephroscope.intake.deidentify.pseudonyms import Secrets, age_of, shifted
from nephroscope.intake.safe_text import clean_body_part, clean_text

PROFILE = "dicomfields_2026c"
PUBLIC_UIDS = ("1.2.840.10008.", "2.16.840.1.113883.6.")  # of DICOM, and of public coding systems (HL7)
_TEXT = {"LO", "SH", "ST", "LT", "UT", "UC", "UR", "AE"}
_BYTES = {"OB", "OW", "OF", "OD", "OL", "OV", "OB or OW", "US or OW", "US or SS or OW"}
_KEPT_BYTES = {
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "LUTData"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *(f"{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue")),
}
_TECHNICAL = {
    *("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ConvolutionKernel", "FilterType"),
    *("ContrastBolusRoute", "CodeValue", "LongCodeValue", "CodingSchemeDesignator", "CodingSchemeVersion"),
    "CodeMeaning",
    *("RescaleType", "WindowCenterWidthExplanation", "LUTExplanation", "DimensionDescriptionLabel"),
    *("SegmentAlgorithmName", "PositionReferenceIndicator", "StackID", "AcquisitionMode"),
}
_CODES = {"CodeValue", "LongCodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning"}
# Coding schemes with meanings from a standard; in any other scheme the meaning is free text.
_STANDARD_SCHEMES = {
    *("SCT", "SRT", "SNM3", "99SDM", "DCM", "UCUM", "FMA", "LN", "RADLEX", "UMLS", "NCIt", "ICD10"),
}
_DESCRIPTIONS = {
    *("SeriesDescription", "StudyDescription", "ProtocolName", "AcquisitionProtocolName", "ImageComments"),
    *("ContrastBolusAgent", "ROIName", "ROIObservationLabel", "StructureSetLabel"),
}
# Required in SEG, and the product finds the tumor by them, so they are always cleaned.
_LABELS = {"SegmentLabel", "SegmentDescription"}
# What remains where no word is known: that there is a segment, and that contrast medium was given.
_NOTHING_KNOWN = {"SegmentLabel": "segment", "ContrastBolusAgent": "contrast"}
_ANNOTATORS = {"ContentCreatorName", "ROIInterpreter"}
_KEPT_UIDS = re.compile(r"SOPClass|TransferSyntax|^Context|MappingResource")
_UID = re.compile(r"[0-9.]{0,64}")
_TIME = re.compile(r"\d{2}:?(\d{2}:?(\d{2}(\.\d{1,6})?)?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the profile.

    Attributes:
        age_sex: Keep Patient's Sex and Age (Retain Patient Characteristics); ages over 89 become 90.
        descriptions: Keep known words of descriptions (Clean Descriptors).
    """

    age_sex: bool = False
    descriptions: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Replacements for one patient, and what of the patient must not remain."""

    secrets: Secrets
    options: Options
    patient: str
    identity: re.Pattern[str] | None


def deidentify_dataset(dataset: Any, rules: Rules) -> None:
    """De-identify a data set with its nested sequences in place; pixels are not changed."""
    age = age_of(dataset) if rules.options.age_sex else ""
    sex = str(dataset.get("PatientSex") or "") if rules.options.age_sex else ""
    _walk(dataset, rules)
    pseudonym = rules.secrets.pseudonym(rules.patient)
    dataset.PatientID, dataset.PatientName = pseudonym, pseudonym
    dataset.PatientBirthDate = ""
    dataset.PatientSex = sex if sex in ("M", "F", "O") else ""
    if age:
        dataset.PatientAge = age
    dataset.PatientIdentityRemoved = "YES"
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"
    dataset.DeidentificationMethod = f"nephroscope {__version__}"[:64]
    dataset.DeidentificationMethodCodeSequence = list(_method_codes(rules.options))


def new_file_meta(dataset: Any, sop_class: str, sop_instance: str) -> Any:
    """New file meta information with only class and transfer syntax of the old one."""
    from pydicom.dataset import FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = sop_instance
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    return meta


@cache
def profile_actions() -> dict[tuple[int, int], str]:
    """Action of the basic profile for each tag, in the library's words (``delete``, ``empty`` ...)."""
    from dicomanonymizer.simpledicomanonymizer import initialize_actions

    return {tag: action.__name__ for tag, action in initialize_actions(PROFILE).items() if len(tag) == 2}


def _walk(dataset: Any, rules: Rules) -> None:
    for element in list(dataset):
        tag = element.tag
        if tag.is_private or tag.element == 0 or tag.group >> 8 in (0x50, 0x60) or tag.group == 0x0010:
            del dataset[tag]  # private attributes, group lengths, curves and overlays, the patient group
        elif element.VR == "SQ":
            _sequence(dataset, element, rules)
        elif not _keeps(element, dataset, rules):
            del dataset[tag]


def _sequence(dataset: Any, element: Any, rules: Rules) -> None:
    action = profile_actions().get((element.tag.group, element.tag.element), "")
    if action and not action.endswith("UID"):
        del dataset[element.tag]
        return
    for item in element.value:
        _walk(item, rules)


def _keeps(element: Any, dataset: Any, rules: Rules) -> bool:
    """Change one element that is not a sequence; False if it must be removed."""
    vr = element.VR
    if vr == "UI":
        element.value = _uids(element, rules.secrets)
    elif vr in ("DA", "DT"):
        days = rules.secrets.days_back(rules.patient)
        element.value = _each(element.value, lambda text: shifted(text, days))
    elif vr == "TM":
        element.value = _each(element.value, lambda text: text if _TIME.fullmatch(text.strip()) else "")
    elif vr == "PN":
        name = str(element.value or "")
        element.value = rules.secrets.annotator(name) if name and element.keyword in _ANNOTATORS else ""
    elif vr in _BYTES or vr == "UN":
        return element.keyword in _KEPT_BYTES
    elif vr in _TEXT:
        return _text(element, dataset, rules)
    else:
        return _other(element, rules)
    return True


def _uids(element: Any, secrets: Secrets) -> Any:
    """Replace UIDs of instances by keyed hashes; classes, transfer syntaxes and UIDs defined by DICOM stay."""
    kept = _KEPT_UIDS.search(element.keyword) is not None

    def change(uid: str) -> str:
        stays = not uid or ((kept or uid.startswith(PUBLIC_UIDS)) and _UID.fullmatch(uid))
        return uid if stays else secrets.uid(uid)

    return _each(element.value, change)


def _text(element: Any, dataset: Any, rules: Rules) -> bool:
    keyword = element.keyword
    action = profile_actions().get((element.tag.group, element.tag.element), "")
    if keyword == "TrackingID":
        element.value = (
            f"T-{rules.secrets.letters('tracking', str(element.value), 10)}" if element.value else ""
        )
    elif keyword in _LABELS or (keyword in _DESCRIPTIONS and rules.options.descriptions):
        cleaned = _each(element.value, lambda text: clean_text(text, rules.identity))
        element.value = cleaned or (_NOTHING_KNOWN.get(keyword, "") if element.value else "")
    elif keyword in _CODES and str(dataset.get("CodingSchemeDesignator", "")) not in _STANDARD_SCHEMES:
        element.value = _local_code(keyword, str(element.value), rules)
    elif action == "delete":
        return False
    elif action in ("empty", "delete_or_empty", "empty_or_replace") or not element.value:
        element.value = ""
    elif action:
        element.value = "ANONYMIZED"
    elif keyword in _TECHNICAL:
        element.value = _each(element.value, lambda text: _without(rules.identity, text))
    else:
        element.value = ""
    return True


def _local_code(keyword: str, value: str, rules: Rules) -> str:
    """A hospital's own code shows the hospital, and its meaning is free text; equal codes stay equal."""
    if keyword == "CodeMeaning":
        return clean_text(value, rules.identity) or "local code"
    if keyword == "CodingSchemeDesignator":
        return "99LOCAL"
    return rules.secrets.letters("code", value, 10) if keyword == "CodeValue" else ""


def _other(element: Any, rules: Rules) -> bool:
    """Code strings, numbers, ages: the profile's action, otherwise kept; code strings without the patient's words."""
    action = profile_actions().get((element.tag.group, element.tag.element), "")
    if element.VR == "AS" or action == "delete":
        return False
    if action:
        element.value = "" if element.VR in ("CS", "DS", "IS") else None
    elif element.VR == "CS":
        element.value = _each(element.value, lambda text: _code_string(element.keyword, text, rules))
    return True


def _code_string(keyword: str, text: str, rules: Rules) -> str:
    """Two code strings are typed by people; in the others, words that name the patient are removed."""
    if keyword == "BodyPartExamined":
        text = clean_body_part(text)
    elif keyword == "ContentLabel":
        text = clean_text(text, rules.identity).upper() or "SEGMENT"
    return _without(rules.identity, text)


def _each(value: Any, change: Any) -> Any:
    """Apply a change to each text of an element that may have several."""
    if value is None or isinstance(value, str):
        return change(str(value or ""))
    if isinstance(value, Iterable):
        return [change(str(text)) for text in value]
    return change(str(value))


def _without(identity: re.Pattern[str] | None, text: str) -> str:
    """A technical text; empty if it contains words that name the patient."""
    return text if identity is None or not identity.search(text.casefold()) else ""


def _method_codes(options: Options) -> Iterable[Any]:
    """What was done. Source: DICOM PS3.16 CID 7050."""
    from pydicom.dataset import Dataset

    codes = [
        ("113100", "Basic Application Confidentiality Profile"),
        ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ]
    if options.age_sex:
        codes.append(("113108", "Retain Patient Characteristics Option"))
    if options.descriptions:
        codes.append(("113105", "Clean Descriptors Option"))
    for value, meaning in codes:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
        yield item

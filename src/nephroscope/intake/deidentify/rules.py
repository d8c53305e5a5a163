"""De-identify a DICOM data set: PS3.15 Annex E, and stricter where its lists end.

The tables of the Basic Application Level Confidentiality Profile come from the library dicomanonymizer. The way it
applies them is not enough here (top level only, random UIDs, one dummy date), so these functions do it: in each
nested sequence, with keyed hashes and with shifted dates. The profile lists attributes and keeps all others; here
text, bytes and everything about the patient are removed too, unless they are known to be technical.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.multival import MultiValue

from nephroscope.base.version import __version__
from nephroscope.intake.deidentify.pixels import PIXELS
from nephroscope.intake.deidentify.pseudonyms import Secrets, age_of, shifted
from nephroscope.intake.safe_text import clean_body_part, clean_technical, clean_text

PROFILE = "dicomfields_2026c"
PUBLIC_UIDS = ("1.2.840.10008.", "2.16.840.1.113883.6.")  # of DICOM, and of public coding systems (HL7)
_TEXT = {"LO", "SH", "ST", "LT", "UT", "UC", "UR", "AE"}
_BYTES = {"OB", "OW", "OF", "OD", "OL", "OV", "OB or OW", "US or OW", "US or SS or OW"}
_TABLES = {
    "LUTData": "LUTDescriptor",
    **{
        f"{color}PaletteColorLookupTableData": f"{color}PaletteColorLookupTableDescriptor"
        for color in ("Red", "Green", "Blue")
    },
}
_TECHNICAL = {
    *("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ConvolutionKernel", "FilterType"),
    *("ContrastBolusRoute", "RescaleType", "WindowCenterWidthExplanation", "LUTExplanation"),
    *("SegmentAlgorithmName", "PositionReferenceIndicator", "AcquisitionMode"),
}
_CODES = {"CodeValue", "LongCodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning"}
# Coding schemes of a standard, and the form of their codes; any other code is a hospital's own.
_STANDARD_SCHEMES = {
    "SCT": r"\d{6,18}",
    **dict.fromkeys(("SRT", "SNM3", "99SDM"), r"[A-Z]-[0-9A-F]{4,5}"),
    "DCM": r"\d{6}",
    "UCUM": r"1|[{]?[A-Za-z%\[\]'*/.^0-9-]{1,8}[}]?",
    "FMA": r"\d{4,6}",
    "LN": r"\d{1,5}-\d",
    "RADLEX": r"RID\d{1,6}",
    "UMLS": r"C\d{7}",
    "NCIt": r"C\d{4,6}",
    "ICD10": r"[A-Z]\d\d(\.\d{1,3})?",
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
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\s*")
# Eight digits that are a day, in any order.
_DAY = re.compile(
    r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])|(0[1-9]|[12]\d|3[01])(0[1-9]|[12]\d|3[01])(19|20)\d\d"
)
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
    names: Callable[[str], bool]


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
        for name in PIXELS:
            if name in item:  # an icon
                delattr(item, name)
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
    elif element.keyword in _TABLES:
        return _is_whole_table(element, dataset)
    elif vr in _BYTES or vr == "UN":
        return element.keyword in PIXELS
    elif vr in _TEXT:
        return _text(element, dataset, rules)
    else:
        return _other(element, rules)
    return True


def _is_whole_table(element: Any, dataset: Any) -> bool:
    """Whether a look-up table is exactly as long as its descriptor says; what is longer may hold text."""
    descriptor = dataset.get(_TABLES[element.keyword])
    n_entries = (int(descriptor[0]) or 1 << 16) if descriptor else 0
    if isinstance(element.value, bytes):
        bits = int(descriptor[2]) if descriptor else 0
        return len(element.value) in {
            2 * n_entries,
            n_entries + n_entries % 2 if bits == 8 else 2 * n_entries,
        }
    return isinstance(element.value, MultiValue) and len(element.value) == n_entries


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
        cleaned = _each(element.value, lambda text: clean_text(text, rules.names))
        element.value = cleaned or (_NOTHING_KNOWN.get(keyword, "") if element.value else "")
    elif keyword == "StackID":
        element.value = rules.secrets.letters("stack", str(element.value), 8) if element.value else ""
    elif keyword in _CODES:
        element.value = _code(keyword, str(element.value), dataset, rules)
    elif action == "delete":
        return False
    elif action in ("empty", "delete_or_empty", "empty_or_replace") or not element.value:
        element.value = ""
    elif action:
        element.value = "ANONYMIZED"
    elif keyword in _TECHNICAL:
        element.value = _each(element.value, lambda text: _without(rules.names, clean_technical(text)))
    elif keyword == "DimensionDescriptionLabel":
        element.value = _each(element.value, lambda text: text if tag_for_keyword(text) is not None else "")
    else:
        element.value = ""
    return True


def _code(keyword: str, value: str, item: Any, rules: Rules) -> str:
    """A standard code with the meaning that the standard gives it; else keyed hashes, so that equal codes stay equal.

    A hospital's own code shows the hospital, and its meaning is free text.
    """
    scheme, code = (str(item.get(name, "")) for name in ("CodingSchemeDesignator", "CodeValue"))
    form = _STANDARD_SCHEMES.get(scheme)
    if form is not None and re.fullmatch(form, code) and not rules.names(code):
        if keyword in ("CodeValue", "CodingSchemeDesignator"):
            return value
        known = _meanings().get((scheme, code), "") or clean_text(value, rules.names) or "code"
        return known if keyword == "CodeMeaning" else ""
    if keyword == "CodeMeaning":
        return clean_text(value, rules.names) or "local code"
    if keyword == "CodingSchemeDesignator":
        return "99LOCAL"
    return rules.secrets.letters("code", value, 10) if keyword == "CodeValue" else ""


@cache
def _meanings() -> dict[tuple[str, str], str]:
    """The shortest meaning of each code that DICOM uses, from the tables that come with pydicom (PS3.16)."""
    from pydicom.sr._concepts_dict import concepts

    found: dict[tuple[str, str], str] = {}
    for scheme, names in concepts.items():
        for codes in names.values():
            for code, (meaning, *_) in codes.items():
                found[scheme, code] = min(found.get((scheme, code), meaning), meaning, key=len)
    return found


def _other(element: Any, rules: Rules) -> bool:
    """Code strings, numbers, ages: the profile's action, otherwise kept; code strings without the patient's words."""
    action = profile_actions().get((element.tag.group, element.tag.element), "")
    if element.VR == "AS" or action == "delete" or not element.keyword:
        return False  # an attribute that DICOM does not know may hold anything
    if action:
        element.value = "" if element.VR in ("CS", "DS", "IS") else None
    elif element.VR == "CS":
        element.value = _each(element.value, lambda text: _code_string(element.keyword, text, rules))
    elif element.VR in ("DS", "IS"):
        element.value = _numbers(element.value, rules)
    return True


def _numbers(value: Any, rules: Rules) -> Any:
    """Numbers written as text; all are emptied if one of them is no number, a day, or names the patient."""
    texts = (
        [str(one) for one in value]
        if isinstance(value, MultiValue)
        else [str(value if value is not None else "")]
    )
    odd = any(
        (text.strip() and not _NUMBER.fullmatch(text)) or _DAY.fullmatch(text.strip()) or rules.names(text)
        for text in texts
    )
    return "" if odd else value


def _code_string(keyword: str, text: str, rules: Rules) -> str:
    """Two code strings are typed by people; in the others, words that name the patient are removed."""
    if keyword == "BodyPartExamined":
        text = clean_body_part(text)
    elif keyword == "ContentLabel":
        text = clean_text(text, rules.names).upper() or "SEGMENT"
    else:
        text = clean_technical(text) or ("OTHER" if text and keyword == "ImageType" else "")
    return _without(rules.names, text)


def _each(value: Any, change: Any) -> Any:
    """Apply a change to each text of an element that may have several."""
    if value is None or isinstance(value, str):
        return change(str(value or ""))
    if isinstance(value, Iterable):
        return [change(str(text)) for text in value]
    return change(str(value))


def _without(names: Callable[[str], bool], text: str) -> str:
    """A technical text; empty if it names the patient."""
    return "" if names(text) else text


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

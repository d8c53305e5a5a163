"""The codes of an answer: standard ones, and ours under a declared scheme.

Standard codes are checked against pydicom's copy of the DICOM and SNOMED CT tables, in tests/test_exchange_sr.py. It
has no code of the subtypes of renal cell carcinoma, so these are ours, as is what only this program says.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

from nephroscope.base.errors import BundleError
from nephroscope.base.version import __version__

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept
    from pydicom import Dataset

SCHEME = "99NEPHROSCOPE"
MOST_CODE = 16  # characters of a code value (PS3.5 6.2, SH)
_CONTROL = re.compile(r"[\\\x00-\x1f]")
Code = tuple[str, str, str]  # value, scheme, meaning

KIDNEY: Code = ("64033007", "SCT", "Kidney")
NEOPLASM: Code = ("108369006", "SCT", "Neoplasm")
ALTERED: Code = ("49755003", "SCT", "Morphologically Abnormal Structure")
LEFT: Code = ("7771000", "SCT", "Left")
RIGHT: Code = ("24028007", "SCT", "Right")
UNDETERMINED: Code = ("373068000", "SCT", "Undetermined")
CT: Code = ("25045-6", "LN", "CT unspecified body region")
DEVICE: Code = ("121007", "DCM", "Device")
NO_UNIT: Code = ("1", "UCUM", "no units")
MEAN: Code = ("373098007", "SCT", "Mean")
STANDARD = (KIDNEY, NEOPLASM, ALTERED, LEFT, RIGHT, UNDETERMINED, CT, DEVICE, NO_UNIT, MEAN)
SIDES = {"left": LEFT, "right": RIGHT}

SUBTYPE: Code = ("SUBTYPE", SCHEME, "Subtype of the tumor")
FORCED: Code = ("FORCED", SCHEME, "Subtype if 'not sure' were not allowed")
REASON: Code = ("REASON", SCHEME, "Reason")
THRESHOLD: Code = ("THRESHOLD", SCHEME, "Threshold on the probability of the positive subtype")
MARGIN: Code = ("MARGIN", SCHEME, "Margin around the threshold that is not sure")
MODEL: Code = ("MODEL", SCHEME, "First 16 hex digits of the network's SHA-256")
DRAWN_BY: Code = ("DRAWN-BY", SCHEME, "Who drew the ROI, and whether a person accepted it")
FINDING: Code = ("DOUBT", SCHEME, "Finding about CT, ROI or network")
USE: Code = ("USE", SCHEME, "Intended use")
RESEARCH: Code = ("RESEARCH", SCHEME, "Research use only; not a medical device")
POSSIBLE: Code = ("POSSIBLE", SCHEME, "Subtype that the answer leaves possible")
POSSIBLE_WORDS: Code = ("POSSIBLE-WORDS", SCHEME, "What the answer leaves possible, and what that rests on")
NONE_OF_THEM: Code = ("NONE", SCHEME, "None of the subtypes")
SEX: Code = ("FACT-SEX", SCHEME, "Clinical fact that was used: sex")
FACTS: dict[str, Code] = {
    "age": ("FACT-AGE", SCHEME, "Clinical fact that was used: age"),
    "size": ("FACT-SIZE", SCHEME, "Clinical fact that was used: size"),
}
DISTANCE: Code = ("DISTANCE", SCHEME, "Distance from the training cases")
DISTANCE_LIMIT: Code = ("DISTANCE-LIMIT", SCHEME, "Limit of the distance from the training cases")
FOREIGN: Code = ("FOREIGN", SCHEME, "Tumors of other subtypes")
LOWEST: Code = ("ROI-LOWEST", SCHEME, "Lowest probability, ROI drawn 2 mm otherwise")
HIGHEST: Code = ("ROI-HIGHEST", SCHEME, "Highest probability, ROI drawn 2 mm otherwise")
OTHER_CALL: Code = ("ROI-OTHER-CALL", SCHEME, "ROI drawn otherwise that changes the call")
LINKED: Code = ("LINKED", SCHEME, "Subtype by both linked questions")
LINKED_FORCED: Code = ("LINKED-FORCED", SCHEME, "Subtype by both, if 'not sure' were not allowed")
LINKED_REASON: Code = ("LINKED-REASON", SCHEME, "Reason of the answer to both questions")
LINKED_MODEL: Code = ("LINKED-MODEL", SCHEME, "Network of the second question, start of its SHA-256")
MALE: Code = ("M", "DCM", "Male")
FEMALE: Code = ("F", "DCM", "Female")
YEAR: Code = ("a", "UCUM", "year")
MILLIMETER: Code = ("mm", "UCUM", "millimeter")
DOCUMENT: Code = ("DOCUMENT", SCHEME, "The whole answer as JSON")
NAMES = {
    "PRCC": "Papillary renal cell carcinoma",
    "ChRCC": "Chromophobe renal cell carcinoma",
    "ccRCC": "Clear cell renal cell carcinoma",
    "oncocytoma": "Oncocytoma of the kidney",
}


def subtype_code(subtype: str) -> Code:
    """The code of a subtype as a bundle calls it."""
    return _short(subtype), SCHEME, _meaning(NAMES.get(subtype, subtype))


def probability_code(subtype: str) -> Code:
    """The code of the probability of a subtype."""
    return _short(f"P-{subtype}"), SCHEME, _meaning(f"Probability of {subtype}")


def image_code(subtype: str) -> Code:
    """The code of the probability of a subtype by the image alone, where clinical facts were used."""
    return _short(f"I-{subtype}"), SCHEME, _meaning(f"Probability of {subtype} by the image alone")


def linked_code(subtype: str) -> Code:
    """The code of the probability of a subtype by two linked questions."""
    return _short(f"L-{subtype}"), SCHEME, _meaning(f"Probability of {subtype} by both questions")


def moved_code(fact: str) -> Code:
    """The code of what a clinical fact moved."""
    return _short(f"MOVED-{fact.upper()}"), SCHEME, _meaning(f"Log odds that {fact} moved")


def concept(code: Code) -> "CodedConcept":
    """The code as highdicom wants it."""
    from highdicom.sr import CodedConcept

    value, scheme, meaning = code
    return CodedConcept(value, scheme, meaning)


def declared_scheme() -> "Dataset":
    """What an object says about our scheme (PS3.3 C.12.1.1.6)."""
    from pydicom import Dataset

    scheme = Dataset()
    scheme.CodingSchemeDesignator = SCHEME
    scheme.CodingSchemeName = "Codes of nephroscope"
    scheme.CodingSchemeVersion = __version__
    scheme.CodingSchemeResponsibleOrganization = "nephroscope"
    return scheme


def check_codes(subtypes: Iterable[str]) -> None:
    """Refuse subtypes of which two would have one code.

    Raises:
        BundleError: There are such subtypes.
    """
    for code_of in (subtype_code, probability_code, image_code, linked_code):
        known: dict[str, str] = {}
        for name in subtypes:
            other = known.setdefault(code_of(name)[0], name)
            if other != name:
                raise BundleError(
                    where="--sr",
                    expected="subtypes that have different codes in a report",
                    found=f"one code for {other!r} and {name!r}",
                    remedy="give one of them a shorter name in study.toml, and train and export again",
                )


def _short(text: str) -> str:
    """At most 16 characters of ASCII, as a code value has; any other name ends with six digits of its digest.

    A letter such as ü is one character of the standard, but two bytes, which some programs count.
    """
    code = _CONTROL.sub("_", text)[:MOST_CODE].strip(" ")
    if code == text and text.isascii():
        return code
    plain = _CONTROL.sub("_", unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode())
    digits = hashlib.sha256(text.encode()).hexdigest()[:6]
    return f"{plain[: MOST_CODE - 1 - len(digits)]}-{digits}"


def _meaning(text: str) -> str:
    """At most 64 bytes of UTF-8: a code meaning has 64 characters, and some programs count bytes."""
    return _CONTROL.sub("_", text).encode()[:64].decode("utf-8", "ignore") or "_"

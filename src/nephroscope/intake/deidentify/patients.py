"""Which patients an export holds: the same number given by two issuers means two patients."""

import logging
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nephroscope.imaging.dicom.files import DICOM_DAMAGE

_READ = ["PatientID", "IssuerOfPatientID", "StudyInstanceUID"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patients:
    """Numbers that several issuers gave; all other numbers identify a patient alone.

    Attributes:
        first: For each such number the issuer whose patient keeps the pseudonym of the number alone.
        studies: Issuer by study, for files that do not name it.
    """

    first: dict[str, str] = field(default_factory=dict)
    studies: dict[str, str] = field(default_factory=dict)

    def key(self, number: str, dataset: Any) -> str:
        """What the pseudonym of a patient is made from; empty if it cannot be said which patient it is."""
        if number not in self.first:
            return number
        issuer = issuer_of(dataset) or self.studies.get(str(dataset.get("StudyInstanceUID") or ""), "")
        if not issuer:
            return ""
        return number if issuer == self.first[number] else f"{number}\0{issuer}"


def issuer_of(dataset: Any) -> str:
    """Issuer of the patient's number, in one spelling; empty if it is not named."""
    return " ".join(str(dataset.get("IssuerOfPatientID") or "").casefold().split())


def identifiers(path: Path) -> tuple[str, str, str]:
    """Number, issuer and study of a file; empty if it cannot be read."""
    with silent_pydicom():
        return _identifiers(path)


def _identifiers(path: Path) -> tuple[str, str, str]:
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_READ))
        number, study = (str(header.get(name) or "").strip() for name in ("PatientID", "StudyInstanceUID"))
        return number, issuer_of(header), study
    except DICOM_DAMAGE:
        return "", "", ""


@contextmanager
def silent_pydicom() -> Iterator[None]:
    """Without pydicom's warnings, which quote values."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def several_issuers(found: Iterable[tuple[str, str, str]], known: Iterable[tuple[str, str]]) -> Patients:
    """Numbers given by several issuers.

    Args:
        found: Number, issuer and study of each file of the export.
        known: Number and issuer of the patients who have the pseudonym of their number alone, from earlier exports.
    """
    issuers: dict[str, set[str]] = defaultdict(set)
    studies: dict[str, str] = {}
    before = {number: issuer for number, issuer in known if issuer}
    for number, issuer, study in found:
        if number and issuer:
            issuers[number].add(issuer)
            studies[study] = issuer
    several = {
        number: before.get(number, min(named))
        for number, named in issuers.items()
        if len(named | ({before[number]} if number in before else set())) > 1
    }
    return Patients(first=several, studies=studies if several else {})

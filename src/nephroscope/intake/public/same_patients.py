"""Patients whom public collections share: new cases and the study in, those that are really new out."""

import re
from collections.abc import Sequence

from nephroscope.base.tables import names
from nephroscope.records import Case, Cohort, Exclusion, Finding, note, warning

KITS_NAME = re.compile(r"(?:KiTS[-_]?|case_)(\d{5})", re.IGNORECASE)
TCGA_NAME = re.compile(r"(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})(?:-.+)?", re.IGNORECASE)
CPTAC_NAME = re.compile(r"C3[LN]-\d{5}", re.IGNORECASE)
NO_SITE = "site-1"


def public_patient(name: str) -> str | None:
    """One spelling for a patient of a public collection, or None: the name is nobody's we know.

    KiTS19, KiTS21, KiTS23 (``case_00012``) and C4KC-KiTS (``KiTS-00012``) number the same patients alike, and KiTS23
    kept the numbers of its predecessors. A TCGA barcode is cut to the patient.

    Source: the case folders of github.com/neheller/kits19, kits21 and kits23; PatientID of c4kc_kits in the Imaging
        Data Commons; TCGA barcodes, docs.gdc.cancer.gov.
    """
    if kits := KITS_NAME.fullmatch(name):
        return f"KiTS-{kits[1]}"
    if tcga := TCGA_NAME.fullmatch(name):
        return tcga[1].upper()
    return name.upper() if CPTAC_NAME.fullmatch(name) else None


def drop_known_patients(
    cases: Sequence[Case], cohort: Cohort | None
) -> tuple[tuple[Case, ...], tuple[Exclusion, ...], tuple[Finding, ...]]:
    """Leave out new cases whose patient a public collection has brought in before; the first in stays.

    Patients whose names are no public ones pass: a hospital may add a second tumor of a patient later.

    Args:
        cases: What an import found.
        cohort: Who is in the study; None while nobody is.

    Returns:
        Cases to add; an exclusion for each that another release has brought in; a note with their number, and a
        warning for each patient whose two records contradict each other. A case that the same release has brought
        in is passed over.
    """
    first: dict[str, Case] = {}
    for case in cohort.cases if cohort else ():
        if patient := public_patient(case.patient_id):
            first.setdefault(patient, case)
    kept, dropped, doubts = [], [], []
    for case in cases:
        known = first.get(public_patient(case.patient_id) or "")
        if known is None:
            kept.append(case)
        if known is None or (known.case_id, known.site_id) == (case.case_id, case.site_id):
            continue
        reason = f"the same patient as {known.patient_id}, already in the study{_from(known)}"
        dropped.append(Exclusion(case_id=case.case_id, reason=reason, subtype=case.subtype or ""))
        doubts += _contradictions(case, known)
    if not dropped:
        return tuple(kept), (), ()
    text = (
        f"{len(dropped)} of {len(cases)} cases are of patients already in the study "
        f"({names(e.case_id for e in dropped)}); KiTS19, KiTS21, KiTS23 and C4KC-KiTS share patients, "
        "and the first imported is kept"
    )
    shared = note("patient-shared", text)
    return tuple(kept), tuple(dropped), (shared, *doubts)


def _contradictions(case: Case, known: Case) -> list[Finding]:
    """A warning for each thing that two releases say differently of one patient."""
    found = []
    for field, new, old in (
        ("subtype", case.subtype, known.subtype),
        ("sex", case.clinical.sex, known.clinical.sex),
    ):
        if new and old and new != old:
            text = f"its {field} is {old}{_from(known)} and {new}{_from(case)}; the first is kept: look it up"
            found.append(warning("patient-contradicts", text, case_id=known.case_id))
    return found


def _from(case: Case) -> str:
    return "" if case.site_id == NO_SITE else f" from {case.site_id}"

"""Recognise patients that several public collections share, so that each is in a study only once."""

import re
from collections.abc import Sequence

from nephroscope.base.tables import names
from nephroscope.records import Case, Cohort, Exclusion, Finding, note, warning

KITS_NAME = re.compile(r"(?:KiTS[-_]?|case_)(\d{5})", re.IGNORECASE)
TCGA_NAME = re.compile(r"(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})(?:-.+)?", re.IGNORECASE)
CPTAC_NAME = re.compile(r"C3[LN]-\d{5}", re.IGNORECASE)
NO_SITE = "site-1"


def public_patient(name: str) -> str | None:
    """One spelling for a patient of a public collection; None for other names.

    KiTS19, KiTS21, KiTS23 (``case_00012``) and C4KC-KiTS (``KiTS-00012``) number the same patients in the same way. A
    TCGA barcode is cut to the patient.

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
    """Leave out new cases of patients that another public collection has added before; the first one stays.

    Patients without a public name are not compared: a hospital may add a second tumor of a patient later.

    Args:
        cases: Cases of an import.
        cohort: Cases already in the study; None without any.

    Returns:
        Cases to add; an exclusion for each case that another release has added before; a note with their number,
        and a warning for each patient with contradicting records. Cases that the same release has added before are
        skipped silently.
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
        f"{len(dropped)} of {len(cases)} cases belong to patients already in the study "
        f"({names(e.case_id for e in dropped)}); KiTS19, KiTS21, KiTS23 and C4KC-KiTS share patients, "
        "and the first import is kept"
    )
    shared = note("patient-shared", text)
    return tuple(kept), tuple(dropped), (shared, *doubts)


def _contradictions(case: Case, known: Case) -> list[Finding]:
    """A warning for each value in which two releases contradict each other."""
    found = []
    for field, new, old in (
        ("subtype", case.subtype, known.subtype),
        ("sex", case.clinical.sex, known.clinical.sex),
    ):
        if new and old and new != old:
            text = f"its {field} is {old}{_from(known)} and {new}{_from(case)}; the first is kept: check it"
            found.append(warning("patient-contradicts", text, case_id=known.case_id))
    return found


def _from(case: Case) -> str:
    return "" if case.site_id == NO_SITE else f" from {case.site_id}"

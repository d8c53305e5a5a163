"""Download planned series of the Imaging Data Commons, import them, and describe a plan with its licences."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nephroscope.base.errors import ConfigError, NephroscopeError
from nephroscope.base.tables import names, save_table
from nephroscope.intake.labels.pathology import PathologyTable, match_subtype
from nephroscope.intake.public.idc_fetch import Client, fetch, is_complete, referenced_series
from nephroscope.intake.public.idc_index import OWN, IdcSeries, citations_of, index_version
from nephroscope.intake.public.idc_plan import (
    Choice,
    IdcPlan,
    IdcRequest,
    PlannedSeries,
    best_mask,
    prefer_ct,
)
from nephroscope.intake.public.kits import read_kits_labels
from nephroscope.intake.public.same_patients import public_patient
from nephroscope.records import Case, Cohort, Exclusion, Finding, note, warning
from nephroscope.records.settings import Settings

IDC_CITATION = "Fedorov et al., RadioGraphics 2023;43:e230180, doi 10.1148/rg.230180"
LABEL_COLUMNS = ("case_id", "patient_id", "subtype", "sex", "age_years", "phase", "site_id")
REVIEWED = (
    "the subtype is that of the TCGA project; a later review of the three kidney projects moved some cases between "
    "them (Ricketts et al., Cell Reports 2018;23:313-326): check before publishing"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadedPatient:
    """One downloaded patient: folder with CT and mask, table with the label."""

    patient_id: str
    folder: Path
    labels: Path
    subtype: str


def idc_request(
    settings: Settings,
    masks: Sequence[str],
    kits_json: Path | None = None,
    cohort: Cohort | None = None,
    pathology: PathologyTable | None = None,
) -> IdcRequest:
    """What a study asks for.

    Args:
        settings: Settings of the study.
        masks: Sources of masks in order of preference; masks of the collection itself come last.
        kits_json: Clinical table of a KiTS release.
        cohort: Cases already in the study.
        pathology: The study's pathology.csv; None uses the default table.
    """
    known: dict[str, Case] = {}
    for case in cohort.cases if cohort else ():
        if patient := public_patient(case.patient_id):
            known.setdefault(patient, case)
    histology = None
    if kits_json:
        histology = {label.case_id: label.subtype for label in read_kits_labels(kits_json)}
    return IdcRequest(
        masks=(*masks, OWN),
        subtypes=settings.subtypes,
        preference=settings.cohort.phase_preference,
        histology=histology,
        known=known,
        pathology=pathology,
    )


def download(
    plan: IdcPlan, request: IdcRequest, root: Path, client: Client
) -> tuple[tuple[DownloadedPatient, ...], tuple[Exclusion, ...]]:
    """Download the masks, find the CT that each refers to, then download the CT; returns patients and failures.

    Below ``root``: ``masks/SOURCE/PATIENT/SERIES`` with all requested masks, and ``COLLECTION/PATIENT/SERIES`` with
    the CT and the mask that are used.

    Raises:
        CohortError: The network fails or the disk is full; the same call continues where it stopped.
        ConfigError: The subtype of a chosen patient is not known.
    """
    _check_subtypes(plan)
    choices = {choice.ct.patient_id: choice for choice in plan.choices}
    fetch({mask: _mask_folder(root, mask) for choice in plan.choices for mask in choice.masks}, client)
    pairs = {patient: _settle(plan, choice, request, root) for patient, choice in choices.items()}
    failed = fetch({pair[0]: _ct_folder(root, pair[0]) for pair in pairs.values() if pair}, client)
    settled: list[DownloadedPatient] = []
    left_out: dict[str, str] = {}
    for patient, choice in choices.items():
        pair = pairs[patient]
        if pair is None:
            left_out[patient] = "its masks did not arrive, or refer to a CT that is not in the index"
        elif problem := failed.get(pair[0].series_uid):
            left_out[patient] = f"its CT did not arrive completely: {problem}; run the same command again"
        else:
            settled.append(_place(choice, *pair, root))
    exclusions = [
        Exclusion(case_id=patient, reason=reason, subtype=choices[patient].subtype or "")
        for patient, reason in left_out.items()
    ]
    return tuple(settled), tuple(exclusions)


def import_patients(
    settled: Sequence[DownloadedPatient], import_dicom: Callable[[Path, Path], object]
) -> tuple[Exclusion, ...]:
    """Import patient by patient, so that a refused patient does not stop the others; returns the refused."""
    refused = []
    for patient in settled:
        try:
            import_dicom(patient.folder, patient.labels)
        except NephroscopeError as error:
            refused.append(Exclusion(case_id=patient.patient_id, reason=str(error), subtype=patient.subtype))
    return tuple(refused)


def plan_findings(plan: IdcPlan, request: IdcRequest) -> tuple[Finding, ...]:
    """Licences and citations of the chosen series, and what must be known to interpret results."""
    chosen = [planned.series for planned in plan.series if planned.chosen]
    texts = citations_of(one.doi for one in chosen)
    found = [
        note("data-citation", f"{what}, {licence}: {texts[doi]}", what)
        for what, licence, doi in sorted({(origin(one), one.licence, one.doi) for one in chosen})
    ]
    if chosen:
        found.append(note("data-citation", f"{index_version()}; cite {IDC_CITATION}"))
    if any(one.collection.startswith("tcga") for one in chosen):
        found.append(note("label-reviewed", REVIEWED))
    sources: dict[str, set[str]] = {}
    for choice in plan.choices:
        subtype = match_subtype(choice.subtype or "", request.subtypes, request.pathology)
        if subtype:
            sources.setdefault(subtype, set()).add(choice.ct.collection)
    if len(sources) > 1 and all(len(one) == 1 for one in sources.values()):
        listed = ", ".join(f"{name} only from {min(of)}" for name, of in sorted(sources.items()))
        if len(set().union(*sources.values())) == len(sources):
            text = f"{listed}: a network may learn the source instead of the tumor; test it on another collection"
            found.append(warning("subtype-from-source", text))
    unsaid = [choice.ct.patient_id for choice in plan.choices if choice.subtype is None]
    if unsaid:
        text = f"{len(unsaid)} patients without a subtype ({names(unsaid)}): give the KiTS table with --kits-json"
        found.append(warning("subtype-unknown", text))
    return tuple(found)


def origin(one: IdcSeries) -> str:
    """Origin of a series: the collection, or the source of the mask."""
    return one.collection if one.source in ("", OWN) else f"{one.source} masks"


def _check_subtypes(plan: IdcPlan) -> None:
    unsaid = next((choice for choice in plan.choices if choice.subtype is None), None)
    if unsaid:
        raise ConfigError(
            where=f"collection {unsaid.ct.collection}",
            expected="the histology of its patients",
            found="none, as its DICOM files do not contain it",
            remedy="give the table of the KiTS project: --kits-json kits23.json",
        )


def _settle(
    plan: IdcPlan, choice: Choice, request: IdcRequest, root: Path
) -> tuple[IdcSeries, IdcSeries] | None:
    """The CT and the mask of a patient, by the references in the downloaded masks."""
    cts = {
        planned.series.series_uid: planned.series
        for planned in plan.series
        if planned.series.modality == "CT" and planned.series.patient_id == choice.ct.patient_id
    }
    masks_of: dict[IdcSeries, list[IdcSeries]] = {}
    for mask in choice.masks:
        folder = _mask_folder(root, mask)
        if is_complete(mask, folder):
            ct = cts.get(referenced_series(folder) or choice.ct.series_uid)
            if ct:
                masks_of.setdefault(ct, []).append(mask)
    if not masks_of:
        return None
    phases = {
        ct: choice.phases.get(ct.series_uid) or choice.said.get(ct.series_uid, "unknown") for ct in masks_of
    }
    ct = prefer_ct(phases, request.preference)
    return ct, best_mask(masks_of[ct], request.masks)


def _place(choice: Choice, ct: IdcSeries, mask: IdcSeries, root: Path) -> DownloadedPatient:
    """Copy the mask next to its CT, and write the label of the patient."""
    folder = _ct_folder(root, ct).parent
    copied = folder / mask.series_uid
    if not is_complete(mask, copied):
        shutil.copytree(_mask_folder(root, mask), copied, dirs_exist_ok=True)
    phase = choice.phases.get(ct.series_uid) or choice.said.get(ct.series_uid, "unknown")
    age = "" if ct.age_years is None else f"{ct.age_years:g}"
    row = (ct.patient_id, ct.patient_id, choice.subtype or "", ct.sex or "", age, phase, ct.collection)
    labels = root / "labels" / f"{ct.patient_id}.csv"
    labels.parent.mkdir(parents=True, exist_ok=True)
    save_table(labels, LABEL_COLUMNS, [row])
    return DownloadedPatient(
        patient_id=ct.patient_id, folder=folder, labels=labels, subtype=choice.subtype or ""
    )


def _ct_folder(root: Path, ct: IdcSeries) -> Path:
    return root / ct.collection / ct.patient_id / ct.series_uid


def _mask_folder(root: Path, mask: IdcSeries) -> Path:
    return root / "masks" / mask.source / mask.patient_id / mask.series_uid


def plan_as_dict(plan: IdcPlan, masks: Sequence[str]) -> dict[str, Any]:
    """The plan for ``--json``; patients are those with CT, sizes those of the chosen series in GB (10^9 bytes)."""
    chosen = [planned for planned in plan.series if planned.chosen]
    terms = sorted({(origin(one.series), one.series.licence, one.series.doi) for one in chosen})
    texts = citations_of(doi for _, _, doi in terms)
    return {
        "patients": len({one.series.patient_id for one in plan.series}),
        "patients_chosen": len(plan.choices),
        "patients_known": plan.n_known,
        "size_GB": _size_gb(chosen),
        "index": index_version(),
        "by_collection": _by_collection(plan, masks),
        "licences": [{"of": what, "licence": licence, "doi": doi} for what, licence, doi in terms],
        "citations": [{"doi": doi, "citation": text} for doi, text in texts.items()]
        + [{"doi": "10.1148/rg.230180", "citation": IDC_CITATION}],
        "exclusions": [
            {"case_id": one.case_id, "subtype": one.subtype, "reason": one.reason} for one in plan.exclusions
        ],
        "series": [_series_as_dict(one) for one in plan.series],
    }


def _by_collection(plan: IdcPlan, masks: Sequence[str]) -> dict[str, Any]:
    groups: dict[str, list[PlannedSeries]] = defaultdict(list)
    for planned in plan.series:
        groups[planned.series.collection].append(planned)
    summary = {}
    for collection, group in groups.items():
        sources = list(dict.fromkeys([*masks, *sorted({p.series.source for p in group} & {OWN})]))
        by_source = {
            name: len({p.series.patient_id for p in group if p.series.source == name}) for name in sources
        }
        chosen = [planned for planned in group if planned.chosen]
        summary[collection] = {
            "patients_with_ct": len({p.series.patient_id for p in group if p.series.modality == "CT"}),
            "patients_with_mask": by_source,
            "patients_chosen": len({p.series.patient_id for p in chosen}),
            "series_chosen": len(chosen),
            "size_GB": _size_gb(chosen),
        }
    return summary


def _series_as_dict(planned: PlannedSeries) -> dict[str, Any]:
    one = planned.series
    names = ("collection", "patient_id", "study_uid", "series_uid", "modality")
    return {
        **{name: getattr(one, name) for name in names},
        "kind": "ct" if one.modality == "CT" else "mask",
        "source": one.source,
        "description": one.description,
        "phase": planned.phase,
        "n_files": one.n_files,
        "size_GB": round(one.size_mb / 1000, 6),
        "licence": one.licence,
        "doi": one.doi,
        "chosen": planned.chosen,
        "reason": planned.reason,
    }


def _size_gb(planned: Sequence[PlannedSeries]) -> float:
    return round(sum(one.series.size_mb for one in planned) / 1000, 3)

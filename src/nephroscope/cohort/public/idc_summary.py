"""A plan of Imaging Data Commons series in; counts, sizes, licences and citations as plain objects out."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from nephroscope.cohort.public.idc import IDC_CITATION, origin
from nephroscope.cohort.public.idc_index import OWN, citations_of, index_version
from nephroscope.cohort.public.idc_plan import IdcPlan, PlannedSeries


def plan_as_dict(plan: IdcPlan, masks: Sequence[str]) -> dict[str, Any]:
    """The plan for ``--json``; patients are those with CT, sizes those of the chosen series in 10^9 bytes."""
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
    return {
        "collection": one.collection,
        "patient_id": one.patient_id,
        "study_uid": one.study_uid,
        "series_uid": one.series_uid,
        "modality": one.modality,
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

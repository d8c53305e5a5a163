"""What a site could bring to a group, as counts of patients; no count of one to four leaves a site."""

from collections import defaultdict

import numpy as np

from nephroscope.federated.group import FEWEST, Count, Plan
from nephroscope.records.settings import PHASES
from nephroscope.study.snapshot import Snapshot

SPACING_MM = (0.5, 0.7, 0.9)
WANTED = 10  # patients of each subtype


def counts_of(study: Snapshot) -> tuple[Count, ...]:
    """Patients with slices by subtype, phase, spacing in mm per pixel, annotator and finding."""
    cohort, store = study.cohort, study.slices
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for case in cohort.cases:
        if case.subtype is None or case.case_id not in store.rows_by_case:
            continue
        row = store.rows_by_case[case.case_id][0]
        values = {
            "subtype": case.subtype,
            "phase": _phase(store.phase_of(case.case_id)),
            "spacing, mm": _spacing(float(store.mm_per_px[row])),
            "ROI by": _roi(study, case.case_id),
        }
        for of, value in values.items():
            found[of, value].add(case.patient_id)
        for finding in store.findings_of.get(case.case_id, ()):
            found["finding", finding.code].add(case.patient_id)
    everybody = len(set().union(*found.values())) if found else 0
    told = _told({key: len(patients) for key, patients in found.items()}, everybody)
    return tuple(Count(of=of, value=value, patients=n) for (of, value), n in sorted(told.items()))


def _told(counts: dict[tuple[str, str], int], everybody: int) -> dict[tuple[str, str], int | None]:
    """Counts of patients without those of one to four, and without what would give these away.

    The number of all patients can be known from other counts, and so what the counts left out are together. So where
    values of subtype, phase, spacing or annotator are left out, the smallest of the larger ones is, too; and so is a
    finding that all but one to four patients have.
    """
    told = {key: cell(n) for key, n in counts.items()}
    for of in {of for of, _ in counts}:
        keys = sorted((key for key in counts if key[0] == of), key=lambda key: counts[key])
        if of == "finding":
            told |= {key: None for key in keys if cell(everybody - counts[key]) is None}
        elif any(told[key] is None for key in keys):
            told |= dict.fromkeys([key for key in keys if told[key]][:1])
    return told


def cell(n: int) -> int | None:
    """A count of patients, or None where it is one to four."""
    return n if n == 0 or n >= FEWEST else None


def readiness_findings(study: Snapshot, plan: Plan) -> tuple[str, ...]:
    """What should be known before the first round, in words without counts below five."""
    of: dict[str, set[str]] = defaultdict(set)
    for case in study.cohort.cases:
        if case.subtype is not None and case.case_id in study.slices.rows_by_case:
            of[case.subtype].add(case.patient_id)
    few = [subtype for subtype in plan.subtypes if len(of[subtype]) < WANTED]
    words = [f"fewer than {WANTED} patients of {subtype}: its own figures will be wide" for subtype in few]
    phases = {_phase(phase) for phase in study.slices.n_by_phase}
    if "unknown" in phases:
        words.append("series whose phase is not known")
    if len(phases) > 1:
        words.append(f"several phases: {', '.join(sorted(phases))}")
    return tuple(words)


def _phase(name: str) -> str:
    """A phase by one of our names: what a study calls its own may be anything."""
    return name if name in (*PHASES, "unknown") else "other"


def _spacing(mm: float) -> str:
    edges = ("", *(f"{edge:g}" for edge in SPACING_MM), "")
    at = int(np.searchsorted(SPACING_MM, mm, side="right"))
    low, high = edges[at], edges[at + 1]
    return f"{low} to {high}" if low and high else f"below {high}" if high else f"{low} or more"


def _roi(study: Snapshot, case_id: str) -> str:
    used = study.slices.used.get(case_id)
    author = used.roi.partition(" (")[0] if used else "unknown"
    return (
        author
        if author in ("reader-1", "reader-2", "union", "intersection", "staple", "consensus")
        else "other"
    )

"""A scanned export in, one row per CT series or acquisition out: what it is, its phase, and what would be taken.

This is what `import dicom --dry-run` prints, and what the import then does. Pixels are not read.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.cohort.export.kinds import CT, DICOMDIR, IN_WORDS, LOCALIZER, RTSTRUCT, SEG
from nephroscope.cohort.export.scan import ExportScan, FoundRoi, FoundSeries
from nephroscope.cohort.phase.name import Candidate, SeriesText, name_phases, prefer
from nephroscope.cohort.series.acquisitions import reason_not_a_stack, split_acquisitions, without_copies
from nephroscope.cohort.series.read import reason_not_copies
from nephroscope.cohort.series.slice_facts import SliceFacts

AXIAL_COSINE = 0.7  # of the angle between the slices' normal and the patient's long axis
MOST_SCOUTS = 3  # so few images that are not axial are scouts, whatever they say


@dataclass(frozen=True, kw_only=True)
class ExportSeries:
    """One series of an export, or one acquisition of it.

    Attributes:
        acquisition: 1, 2 ... when the series holds several; 0 when it is one.
        phase: One of the five phases; ``evidence`` says in which words it was found. Empty where it is no CT.
        spacing_mm: Distance between slices; None when it is no even stack.
        accepted: True when it can be used: a CT that is an even stack, or a ROI of one.
        chosen: True when it becomes a case's CT or ROI.
        reason: Why it is not accepted, or why it is chosen or not.
        rois: ROI files drawn on it, readers in order.
        files: Its files, duplicates included.
        in_one_file: True when a multi-frame file holds several acquisitions, so that files do not tell them apart.
    """

    series_uid: str
    acquisition: int
    study_uid: str
    patient_id: str
    modality: str
    kind: str
    phase: str
    evidence: str
    n_files: int
    n_slices: int
    spacing_mm: float | None
    manufacturer: str
    accepted: bool
    chosen: bool = False
    reason: str = ""
    rois: tuple[FoundRoi, ...] = ()
    files: tuple[str, ...] = field(default=(), repr=False)
    in_one_file: bool = False


def describe_export(
    scan: ExportScan, preference: Sequence[str], drawn_elsewhere: Collection[str] = ()
) -> list[ExportSeries]:
    """What an export holds and what would be taken of each patient: the drawn CT of the preferred phase.

    Args:
        scan: Headers of the export.
        preference: Phases, the preferred first.
        drawn_elsewhere: patient_ids, in lower case, whose ROI is a file outside the export.
    """
    rows, texts = [], []
    series = [found for found in scan.series.values() if found.kind != DICOMDIR]
    for found in series:
        for row, text in _rows(found):
            rows.append(row)
            texts.append(text)
    rows = _with_phases(rows, texts)
    rois_of: dict[str, list[FoundRoi]] = defaultdict(list)
    for roi in sorted(scan.rois, key=lambda roi: roi.reader):
        rois_of[roi.series_uid].append(roi)
    rows = [replace(row, rois=_own_rois(row, rois_of[row.series_uid], scan)) for row in rows]
    rows = _choose(rows, preference, drawn_elsewhere)
    rows = [_judged_roi(row, scan.rois, rows) if row.kind in (SEG, RTSTRUCT) else row for row in rows]
    return sorted(rows, key=lambda row: (row.patient_id, row.study_uid, row.series_uid, row.acquisition))


def _rows(found: FoundSeries) -> Iterable[tuple[ExportSeries, SeriesText]]:
    row = ExportSeries(
        series_uid=found.uid,
        acquisition=0,
        study_uid=found.study_uid,
        patient_id=found.patient_id,
        modality=found.modality,
        kind=found.kind,
        phase="",
        evidence="",
        n_files=len(found.paths),
        n_slices=found.n_frames,
        spacing_mm=None,
        manufacturer=found.manufacturer,
        accepted=False,
        reason=_not_ct(found),
        files=tuple(found.paths),
    )
    if found.kind != CT:
        yield row, found.text
        return
    if found.problem:
        yield replace(row, reason=found.problem), found.text
        return
    of_files = found.facts()
    of_file = [i for i, facts in enumerate(of_files) for _ in facts]
    facts = [one for facts in of_files for one in facts]
    groups = split_acquisitions(facts)
    for number, group in enumerate(groups, start=1):
        members = [facts[i] for i in group]
        torn = len(groups) > 1 and len({of_file[i] for i in group}) < len(group)
        files = tuple(found.paths[i] for i in sorted({of_file[i] for i in group})) if not torn else row.files
        part = replace(
            row,
            acquisition=number if len(groups) > 1 else 0,
            n_files=len(files),
            n_slices=len(without_copies(members)[0]),
            files=files,
            in_one_file=torn,
        )
        paths = [found.paths[of_file[i]] for i in group]
        yield _judged(part, members, paths), _own_time(found.text, members)


def _not_ct(found: FoundSeries) -> str:
    return f"not a CT volume: {IN_WORDS.get(found.kind, found.kind.replace('-', ' '))}"


def _judged(row: ExportSeries, facts: Sequence[SliceFacts], paths: Sequence[str]) -> ExportSeries:
    """The row of a CT group with its verdict, from headers alone; ``paths`` has the file of each slice.

    Only of slices that occur more than once are the pixels compared.
    """
    kept, copies = without_copies(facts)
    if len(kept) <= MOST_SCOUTS and all(f.orientation and not _is_axial(f) for f in facts):
        return replace(row, kind=LOCALIZER, reason=f"not a CT volume: {IN_WORDS['few-not-axial']}")
    places = {tuple(round(mm, 1) for mm in f.position_mm) for f in facts if f.position_mm}
    if len(kept) > 1 and len(places) == 1:
        return replace(row, kind="bolus-tracking", reason=f"not a CT volume: {IN_WORDS['bolus-tracking']}")
    reason = reason_not_a_stack(facts)
    if reason is None and copies:
        twice = sorted({Path(paths[index]) for pair in copies for index in pair})
        reason = reason_not_copies(twice)
    if reason is not None:
        return replace(row, reason=reason)
    slices = [one for one in facts if not one.is_localizer]
    if not _is_axial(slices[0]):
        return replace(row, kind="reformat", reason=IN_WORDS["reformat"])
    return replace(row, accepted=True, spacing_mm=_spacing_mm(slices, _normal(slices[0])))


def _is_axial(one: SliceFacts) -> bool:
    return abs(float(_normal(one)[2])) >= AXIAL_COSINE


def _normal(one: SliceFacts) -> npt.NDArray[np.float64]:
    orientation = one.orientation or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    return np.cross(orientation[:3], orientation[3:])


def _spacing_mm(facts: Sequence[SliceFacts], normal: npt.NDArray[np.float64]) -> float | None:
    """Distance between neighbours of an even stack along the normal of the slices."""
    along = np.unique([round(float(np.dot(f.position_mm, normal)), 3) for f in facts if f.position_mm])
    return round(float(along[-1] - along[0]) / (len(along) - 1), 3) if len(along) > 1 else None


def _with_phases(rows: list[ExportSeries], texts: list[SeriesText]) -> list[ExportSeries]:
    """The phase of every CT, from its own words and from its place in its study."""
    cts = [i for i, row in enumerate(rows) if row.kind == CT]
    for i, call in zip(cts, name_phases([texts[i] for i in cts]), strict=True):
        rows[i] = replace(rows[i], phase=call.phase, evidence=call.evidence)
    return rows


def _own_rois(row: ExportSeries, rois: Sequence[FoundRoi], scan: ExportScan) -> tuple[FoundRoi, ...]:
    """The ROIs drawn on a row; of a series with several acquisitions, those that name an image of this one."""
    if row.kind != CT or row.acquisition == 0 or not rois:
        return tuple(rois) if row.kind == CT else ()
    found, own = scan.series[row.series_uid, row.kind], set(row.files)
    pairs = zip(found.paths, found.facts(), strict=True)
    sops = {one.sop_uid for path, facts in pairs if path in own for one in facts}
    return tuple(roi for roi in rois if roi.sop_uid in sops)


def _choose(
    rows: Sequence[ExportSeries], preference: Sequence[str], drawn_elsewhere: Collection[str]
) -> list[ExportSeries]:
    """Mark the CT of each patient that becomes a case, and say of the others why not."""
    by_patient: dict[str, list[ExportSeries]] = defaultdict(list)
    for row in rows:
        if row.kind == CT and row.accepted and row.patient_id:
            by_patient[row.patient_id].append(row)
    best: dict[str, ExportSeries] = {}
    for patient, group in by_patient.items():
        drawn = [row for row in group if row.rois] or (group if patient.lower() in drawn_elsewhere else [])
        if drawn:
            kinds = [
                Candidate(phase=r.phase, n_slices=r.n_slices, spacing_mm=r.spacing_mm, uid=r.series_uid)
                for r in drawn
            ]
            best[patient] = drawn[prefer(kinds, preference)]
    drawn_on = {row.patient_id for row in rows if row.rois}
    return [
        _told(row, best.get(row.patient_id), row.patient_id in drawn_on)
        if row.kind == CT and row.accepted
        else row
        for row in rows
    ]


def _told(row: ExportSeries, best: ExportSeries | None, drawn_on: bool) -> ExportSeries:
    if row is best:
        return replace(row, chosen=True, reason="taken")
    if not row.patient_id:
        return replace(row, reason="usable, but without PatientID")
    if best is None and drawn_on:
        return replace(row, reason="usable, but the ROI of this patient is drawn on a CT that is not")
    if best is None:
        return replace(row, reason="usable, but no ROI is drawn on a CT of this patient")
    drawn = "also drawn" if row.rois else "no ROI on it"
    return replace(row, reason=f"kept for later ({drawn}): {best.phase} of this patient is taken")


def _judged_roi(row: ExportSeries, rois: Sequence[FoundRoi], rows: Sequence[ExportSeries]) -> ExportSeries:
    """A SEG or RTSTRUCT series: accepted when a usable CT here is what it was drawn on."""
    files = set(row.files)
    own = [roi for roi in rois if str(roi.path) in files]
    drawn = {roi.path: ct for ct in rows if ct.kind == CT for roi in ct.rois}
    cts = [drawn[roi.path] for roi in own if roi.path in drawn]
    uids = {roi.series_uid for roi in own}
    if not cts:
        why = (
            "its CT series is not here" if uids - {""} else "it does not say which CT series it was drawn on"
        )
        return replace(row, reason=why)
    if not any(ct.accepted for ct in cts):
        return replace(row, reason=f"its CT is not usable: {cts[0].reason}")
    chosen = any(ct.chosen for ct in cts)
    reason = "taken" if chosen else "drawn on a CT that is kept for later"
    return replace(row, accepted=True, chosen=chosen, reason=reason)


def _own_time(text: SeriesText, facts: Sequence[SliceFacts]) -> SeriesText:
    """What a series says, with the time at which this acquisition began."""
    times = [one.acquisition_time for one in facts if one.acquisition_time]
    clock = min(times)[8:] if times and len(min(times).partition(".")[0]) == 14 else min(times, default="")
    return replace(text, acquisition_time=clock or text.acquisition_time)

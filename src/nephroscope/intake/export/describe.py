"""What each CT series of a scanned export is: its kind, its phase, and whether it would be used.

This is what `import dicom --dry-run` prints, and what the import then does. Pixels are not read.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.imaging.dicom.acquisitions import reason_not_a_stack, split_acquisitions, without_copies
from nephroscope.imaging.dicom.hounsfield import is_sharp, kinds_of
from nephroscope.imaging.dicom.series import reason_not_copies
from nephroscope.imaging.dicom.slice_header import SliceHeader
from nephroscope.intake.export.drawn import ExportSeries, join_rois, judge_rois, slices_of
from nephroscope.intake.export.kinds import CT, DICOMDIR, IN_WORDS, LOCALIZER
from nephroscope.intake.export.parts import Part, judge_parts, part_of
from nephroscope.intake.export.roi_files import was_drawn_on
from nephroscope.intake.export.scan import ExportScan, FoundSeries
from nephroscope.intake.phase.series import SeriesCandidate, SeriesText, name_phases, preference_key

__all__ = ["ExportSeries", "describe_export"]
AXIAL_COSINE = 0.7  # of the angle between the slices' normal and the patient's long axis
MOST_SCOUTS = 3  # so few images that are not axial are scouts, whatever they say


def describe_export(
    scan: ExportScan,
    preference: Sequence[str],
    drawn_elsewhere: Mapping[str, Sequence[Path]] | None = None,
    meant: Mapping[str, Collection[str]] | None = None,
    keep_undrawn: bool = False,
) -> list[ExportSeries]:
    """What an export holds and what would be taken of each patient: the drawn CT of the preferred phase.

    Args:
        scan: Headers of the export.
        preference: Phases, the preferred first.
        drawn_elsewhere: By patient_id in lower case, ROI files outside the export.
        meant: By patient_id in lower case, the names of segments that a label row gives; "" for one by its number.
        keep_undrawn: Of a patient for whom there is no ROI, the CT of the preferred phase is taken.
    """
    rows: list[ExportSeries] = []
    texts: list[SeriesText] = []
    parts: list[Part | None] = []
    series = [found for found in scan.series.values() if found.kind != DICOMDIR]
    for found in series:
        for row, text, part in _rows(found):
            rows.append(row)
            texts.append(text)
            parts.append(part)
    rows = _with_phases(judge_parts(rows, parts), texts)
    joined = join_rois(rows, scan, meant or {})
    rows = _choose(joined, preference, _fitting(joined, scan, drawn_elsewhere or {}), keep_undrawn)
    rows = judge_rois(rows, scan)
    return sorted(rows, key=lambda row: (row.patient_id, row.study_uid, row.series_uid, row.acquisition))


def _rows(found: FoundSeries) -> Iterable[tuple[ExportSeries, SeriesText, Part | None]]:
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
        series_number=found.text.series_number,
        description=found.text.series_description,
        accepted=False,
        reason=_not_ct(found),
        files=tuple(found.paths),
        conventional=not is_sharp(found.text.kernel, found.text.series_description),
    )
    if found.kind != CT:
        yield row, found.text, None
        return
    if found.problem:
        yield replace(row, reason=found.problem), found.text, None
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
        judged = _judged(part, members, paths)
        slices = [one for one in members if not one.is_localizer]
        yield judged, _own_time(found.text, members), part_of(judged, slices) if judged.accepted else None


def _not_ct(found: FoundSeries) -> str:
    return f"not a CT volume: {IN_WORDS.get(found.kind, found.kind.replace('-', ' '))}"


def _judged(row: ExportSeries, facts: Sequence[SliceHeader], paths: Sequence[str]) -> ExportSeries:
    """The row of a CT group with its verdict, from headers alone; ``paths`` has the file of each slice.

    Only of slices that occur more than once are the pixels compared.
    """
    kept, copies = without_copies(facts)
    if len(kept) <= MOST_SCOUTS and all(f.orientation and not _is_axial(f) for f in facts):
        return replace(row, kind=LOCALIZER, reason=f"not a CT volume: {IN_WORDS['few-not-axial']}")
    kinds = kinds_of(facts, row.description)
    if len(kinds) == 1 and kinds[0]:
        return replace(row, kind=kinds[0], reason=f"not a CT volume: {IN_WORDS[kinds[0]]}")
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
    in_hu = all(one.rescale_type.strip().upper() in ("", "HU") for one in slices)
    spacing_mm = _spacing_mm(slices, _normal(slices[0]))
    return replace(row, accepted=True, spacing_mm=spacing_mm, conventional=row.conventional and in_hu)


def _is_axial(one: SliceHeader) -> bool:
    return abs(float(_normal(one)[2])) >= AXIAL_COSINE


def _normal(one: SliceHeader) -> npt.NDArray[np.float64]:
    orientation = one.orientation or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    return np.cross(orientation[:3], orientation[3:])


def _spacing_mm(facts: Sequence[SliceHeader], normal: npt.NDArray[np.float64]) -> float | None:
    """Distance between neighbours of an even stack along the normal of the slices."""
    along = np.unique([round(float(np.dot(f.position_mm, normal)), 3) for f in facts if f.position_mm])
    return round(float(along[-1] - along[0]) / (len(along) - 1), 3) if len(along) > 1 else None


def _with_phases(rows: list[ExportSeries], texts: list[SeriesText]) -> list[ExportSeries]:
    """The phase of every CT, from its own words and from its place in its study."""
    cts = [i for i, row in enumerate(rows) if row.kind == CT]
    for i, call in zip(cts, name_phases([texts[i] for i in cts]), strict=True):
        rows[i] = replace(rows[i], phase=call.phase, evidence=call.evidence)
    return rows


def _choose(
    rows: Sequence[ExportSeries],
    preference: Sequence[str],
    elsewhere: Mapping[str, Sequence[ExportSeries]],
    keep_undrawn: bool,
) -> list[ExportSeries]:
    """Mark the CT of each patient that becomes a case, and say of the others why not.

    ``elsewhere``: by patient with an ROI file outside the export, the CT series on which that may have been drawn.
    """
    by_patient = _usable(rows)
    best: dict[str, ExportSeries] = {}
    drawn_on = {row.patient_id for row in rows if row.rois}
    for patient, group in by_patient.items():
        by_people = [row for row in group if any(not roi.model for roi in row.rois)]
        fitting = elsewhere.get(patient, ())
        of_one_grid = fitting if len(fitting) < len(group) else ()
        drawn = of_one_grid or by_people or [row for row in group if row.rois] or fitting
        if drawn:
            best[patient] = in_order(drawn, preference)[0]
        elif keep_undrawn and patient not in drawn_on:
            first = in_order(group, preference)[0]
            told = f"; its ROI file is not used: {first.not_joined[0][1]}" if first.not_joined else ""
            best[patient] = replace(first, chosen=True, reason=f"taken, not drawn yet{told}")
    by_uid = {(row.series_uid, row.acquisition, row.patient_id): row for row in best.values() if row.chosen}
    rows = [by_uid.get((row.series_uid, row.acquisition, row.patient_id), row) for row in rows]
    return [
        _told(row, best.get(row.patient_id), row.patient_id in drawn_on)
        if row.kind == CT and row.accepted
        else row
        for row in rows
    ]


def _usable(rows: Sequence[ExportSeries]) -> dict[str, list[ExportSeries]]:
    by_patient: dict[str, list[ExportSeries]] = defaultdict(list)
    for row in rows:
        if row.kind == CT and row.accepted and row.patient_id:
            by_patient[row.patient_id].append(row)
    return by_patient


def _fitting(
    rows: Sequence[ExportSeries], scan: ExportScan, drawn_elsewhere: Mapping[str, Sequence[Path]]
) -> dict[str, list[ExportSeries]]:
    """By patient with ROI files outside the export, the usable CT series that these name or whose grid they have.

    All of them where the files fit none.
    """
    found = {}
    for patient, group in _usable(rows).items():
        files = drawn_elsewhere.get(patient.lower(), ())
        several = len(group) > 1
        fits = [
            row
            for row in group
            if several and any(was_drawn_on(path, row.series_uid, slices_of(row, scan)) for path in files)
        ]
        if files:
            found[patient] = fits or group
    return found


def in_order(rows: Sequence[ExportSeries], preference: Sequence[str]) -> list[ExportSeries]:
    """CT series, the preferred first; of equal ones, the one whose files come first by name."""
    return sorted(rows, key=lambda row: (rank_of(row, preference), row.acquisition, min(row.files)))


def rank_of(row: ExportSeries, preference: Sequence[str]) -> tuple[float, ...]:
    """What decides between series: phase, conventional or not, number of slices, spacing, Series Number."""
    one = SeriesCandidate(
        phase=row.phase,
        n_slices=row.n_slices,
        spacing_mm=row.spacing_mm,
        conventional=row.conventional,
        number=int(row.series_number) if row.series_number.isdecimal() else None,
    )
    return preference_key(one, preference)


def _told(row: ExportSeries, best: ExportSeries | None, drawn_on: bool) -> ExportSeries:
    if row is best and row.chosen:
        return row
    if row is best:
        return replace(row, chosen=True, reason="taken")
    if not row.patient_id:
        return replace(row, reason="usable, but without PatientID: fill it, or convert to NIfTI")
    if best is None and row.not_joined:
        return replace(row, reason=f"usable, but its ROI file is not used: {row.not_joined[0][1]}")
    if best is None and drawn_on:
        return replace(row, reason="usable, but the ROI of this patient is drawn on a CT that is not")
    if best is None:
        return replace(row, reason="usable, but no ROI is drawn on a CT of this patient")
    drawn = "also drawn" if row.rois else "no ROI on it"
    return replace(row, reason=f"kept for later ({drawn}): {best.phase} of this patient is taken")


def _own_time(text: SeriesText, facts: Sequence[SliceHeader]) -> SeriesText:
    """What a series says, with the time at which this acquisition began."""
    times = [one.acquisition_time for one in facts if one.acquisition_time]
    clock = min(times)[8:] if times and len(min(times).partition(".")[0]) == 14 else min(times, default="")
    return replace(text, acquisition_time=clock or text.acquisition_time)

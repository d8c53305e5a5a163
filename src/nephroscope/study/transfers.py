"""The ROIs of a study placed on the other phases of their patients: rows of rois.csv, files, and rois/transfers.json.

What a person drew is never replaced. A transfer that is refused is kept too, with the reason, so that slices of that
phase are not cut at a place that is known to be wrong.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from nephroscope.base.documents import save_document
from nephroscope.base.errors import NephroscopeError, StudyError
from nephroscope.base.files import digest_of
from nephroscope.base.progress import track
from nephroscope.imaging.masks.write import write_nifti
from nephroscope.imaging.read import read_case_ct
from nephroscope.records import ChosenCase, CTVolume, RoiMask, RoiRef, SeriesRef
from nephroscope.records.settings import TRANSFERRED
from nephroscope.regions.organs import organs_of
from nephroscope.regions.transfer import Transfer, transfer_roi
from nephroscope.study.cohort_table import save_cohort, seen_tables
from nephroscope.study.snapshot import Snapshot
from nephroscope.study.transfer_rows import FILE, FOLDER, FORMAT, TransferRow, Transfers

Show = Callable[["TransferRow", CTVolume, RoiMask, CTVolume, Transfer], None]


def transfer_study(snapshot: Snapshot, show: Show | None = None) -> tuple[TransferRow, ...]:
    """Place the ROI of every case on its other phases, and keep what came of it.

    Args:
        snapshot: The study.
        show: Called with each transfer and what it was made from, for pictures.

    Raises:
        StudyError: No case has another phase on which nobody drew.
        ConfigError: SimpleITK is not installed.
    """
    root = snapshot.folder.root
    seen = seen_tables(root)
    wanted = {case.case_id: undrawn_phases(case) for case in snapshot.cases_to_read}
    todo = [case for case in snapshot.cases_to_read if wanted[case.case_id]]
    if not todo:
        raise StudyError(
            where="nephroscope rois transfer",
            expected="a drawn case with a series of another phase, on which nobody drew",
            found="none",
            remedy="give the phases in series.csv, or import the other series",
        )
    rows: list[TransferRow] = []
    placed: dict[str, list[RoiRef]] = {}
    for case in track(todo, "transferring ROIs", "case", len(todo)):
        placed[case.case_id] = []
        for row, roi in _of_case(snapshot, case, wanted[case.case_id], show):
            rows.append(row)
            placed[case.case_id] += [roi] if roi else []
    cases = tuple(
        replace(
            case, rois=(*(roi for roi in case.rois if not roi.is_transferred), *placed.get(case.case_id, ()))
        )
        for case in snapshot.cohort.cases
    )
    save_document(root / FOLDER / FILE, Transfers(transfers=tuple(rows)), FORMAT)
    save_cohort(replace(snapshot.cohort, cases=cases), root, seen)
    return tuple(rows)


def undrawn_phases(case: ChosenCase) -> list[SeriesRef]:
    """The first series of each further phase of a case, where nobody drew on it."""
    drawn = {roi.series for roi in case.rois if case.rule.takes(roi)}
    found: dict[str, SeriesRef] = {}
    for one in case.series:
        if one.phase not in ("unknown", case.phase) and one.format != "images":
            found.setdefault(one.phase, one)
    return [one for one in found.values() if one.name not in drawn] if case.authors() else []


def _of_case(
    snapshot: Snapshot, case: ChosenCase, others: Iterable[SeriesRef], show: Show | None
) -> Iterable[tuple[TransferRow, RoiRef | None]]:
    author = case.rule.roi if case.combined else case.authors()[0]
    about = {"case": case.case_id, "drawn_on": case.phase, "author": author}
    try:
        volume, roi = snapshot.read_case(case)
        organs = organs_of(case, volume)
    except (NephroscopeError, OSError) as error:
        for series in others:
            yield _unreadable(series, error, about), None
        return
    for series in others:
        other_case = replace(case, ct=series, rois=tuple(r for r in case.rois if not r.is_transferred))
        try:
            other = read_case_ct(other_case)
            found = transfer_roi(volume, roi, other, organs, organs_of(other_case, other))
        except (NephroscopeError, OSError) as error:
            if isinstance(error, NephroscopeError) and error.code == "config":
                raise
            yield _unreadable(series, error, about), None
            continue
        row = _row(series, found, about)
        if show is not None:
            show(row, volume, roi, other, found)
        yield row, _keep(snapshot.folder.root, row, other, found)


def _keep(root: Path, row: TransferRow, other: CTVolume, found: Transfer) -> RoiRef | None:
    if found.voxels is None:
        return None
    name = re.sub(r"[^\w.-]", "_", f"{row.case}_{row.series}")
    path = root / FOLDER / "transferred" / f"{name}_{digest_of([row.case, row.series])[:6]}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(RoiMask(voxels=found.voxels, geometry=other.geometry, case_id=row.case), path)
    return RoiRef(author=f"{TRANSFERRED}{row.author}", path=path, series=row.series)


def _row(series: SeriesRef, found: Transfer, about: Mapping[str, str]) -> TransferRow:
    length = None if found.shift_mm is None else round(float(np.linalg.norm(found.shift_mm)), 2)
    return TransferRow(
        case=about["case"],
        drawn_on=about["drawn_on"],
        author=about["author"],
        phase=series.phase,
        series=series.name,
        accepted=found.accepted,
        shift_mm=length,
        shift_lps_mm=found.shift_mm,
        reason=found.reason,
        code=found.why,
        degrees=found.degrees,
        dice_before=found.dice_before,
        dice=found.dice,
        similarity=found.similarity,
    )


def _unreadable(
    series: SeriesRef, error: NephroscopeError | OSError, about: Mapping[str, str]
) -> TransferRow:
    why = str(error) if isinstance(error, NephroscopeError) else error.strerror or type(error).__name__
    return TransferRow(
        case=about["case"],
        drawn_on=about["drawn_on"],
        author=about["author"],
        phase=series.phase,
        series=series.name,
        accepted=False,
        shift_mm=None,
        reason=f"draw it: {why}",
        code="unreadable",
    )

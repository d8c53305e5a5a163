"""What `nephroscope import dicom --dry-run` prints: patients, series, what each is, and what would be taken."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nephroscope.cli.outcome import Outcome, table
from nephroscope.cohort.export.cases import look_into
from nephroscope.cohort.export.describe import ExportSeries
from nephroscope.cohort.export.kinds import CT
from nephroscope.cohort.export.roi_files import find_roi_files
from nephroscope.cohort.export.scan import ExportScan
from nephroscope.records import PHASES
from nephroscope.study import open_study

MOST_LINES = 200


def look(study: Path, source: Path, rois: Path | None) -> Outcome:
    """Read the headers of an export and say what it holds; nothing is written, and the study need not exist yet."""
    preference = open_study(study)[1].cohort.phase_preference if study.exists() else PHASES
    outside = find_roi_files(rois)
    scan, rows = look_into(source, preference, sorted(outside.patients(None)))
    data = {
        "patients": n_patients(rows),
        "files": scan.n_files,
        "not_dicom": scan.n_not_dicom,
        "damaged": len(scan.damaged),
        "series": [series_as_json(row) for row in rows],
    }
    return Outcome(data=data, text=export_text(scan, rows))


def n_patients(rows: Sequence[ExportSeries]) -> int:
    """How many patients an export holds: by PatientID; without one, each study with a usable CT counts as one."""
    unnamed = {row.study_uid for row in rows if not row.patient_id and row.kind == CT and row.accepted}
    return len({row.patient_id for row in rows if row.patient_id}) + len(unnamed)


def series_as_json(row: ExportSeries) -> dict[str, Any]:
    """One series as a plain object."""
    return {
        "series_uid": row.series_uid,
        "acquisition": row.acquisition or None,
        "patient_id": row.patient_id,
        "study_uid": row.study_uid,
        "modality": row.modality,
        "kind": row.kind,
        "phase": row.phase or None,
        "phase_evidence": row.evidence or None,
        "n_files": row.n_files,
        "n_slices": row.n_slices,
        "spacing_mm": row.spacing_mm,
        "n_rois": len(row.rois),
        "accepted": row.accepted,
        "chosen": row.chosen,
        "reason": row.reason,
    }


def export_text(scan: ExportScan, rows: Sequence[ExportSeries]) -> str:
    """A table of the series, and how many of what."""
    header = (
        "patient",
        "series",
        "kind",
        "phase",
        "files",
        "slices",
        "mm",
        "ROI",
        "usable",
        "what is done with it",
    )
    lines = table((_cells(row) for row in rows[:MOST_LINES]), header)
    more = (
        f"\n... and {len(rows) - MOST_LINES} more series; --json lists them all"
        if len(rows) > MOST_LINES
        else ""
    )
    usable = [row for row in rows if row.kind == CT and row.accepted]
    chosen = [row for row in usable if row.chosen]
    told = (
        f"{scan.n_files} files: {scan.n_files - scan.n_not_dicom - len(scan.damaged)} DICOM, "
        f"{scan.n_not_dicom} others, {len(scan.damaged)} damaged\n"
        f"{n_patients(rows)} patients, {len(usable)} usable CT series, {len(chosen)} would be taken"
    )
    return f"{lines}{more}\n{told}"


def _cells(row: ExportSeries) -> tuple[str, ...]:
    part = f"/{row.acquisition}" if row.acquisition else ""
    spacing = "" if row.spacing_mm is None else f"{row.spacing_mm:g}"
    return (
        row.patient_id or "(none)",
        f"..{row.series_uid[-8:]}{part}",
        row.kind,
        row.phase or "-",
        str(row.n_files),
        str(row.n_slices),
        spacing,
        str(len(row.rois) or ""),
        "yes" if row.accepted else "no",
        row.reason,
    )

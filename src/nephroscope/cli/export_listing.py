"""What `nephroscope import dicom` prints about an export: a row per series, and which would be imported."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from nephroscope.base.html import Record
from nephroscope.base.identifiers import LOST_ZEROS, near_names
from nephroscope.base.tables import names
from nephroscope.base.text import counted_noun, shell_line
from nephroscope.cli.command import Outcome, table
from nephroscope.intake.export.cases import look_into
from nephroscope.intake.export.describe import ExportSeries
from nephroscope.intake.export.kinds import CT, RTSTRUCT, SEG
from nephroscope.intake.export.roi_files import find_roi_files
from nephroscope.intake.export.scan import ExportScan
from nephroscope.intake.labels.pathology import load_pathology
from nephroscope.intake.labels.rows import LabelRow, read_label_table
from nephroscope.intake.safe_text import clean_text
from nephroscope.records import PHASES
from nephroscope.records.settings import Settings
from nephroscope.study.folder import open_study

MOST_LINES = 200
LONGEST_CELL = 32
HEADER = (
    *("patient", "series", "no.", "description", "kind", "phase", "found in"),
    *("files", "slices", "mm", "ROI", "usable", "decision"),
)


def list_export(
    study: Path, source: Path, rois: Path | None, labels: Path | None = None, keep_incomplete: bool = False
) -> Outcome:
    """Read the headers of an export and list what it holds; writes nothing, and the study need not exist yet.

    Raises:
        CohortError: There is no export, the label table has mistakes, or two ROI files have one name.
    """
    settings = open_study(study)[1] if study.exists() else None
    preference = settings.cohort.phase_preference if settings else PHASES
    rows_of_labels = _labels(study, settings, labels) if labels else None
    outside = find_roi_files(rois)
    scan, rows = look_into(source, preference, outside, rows_of_labels, keep_incomplete)
    data = {
        "patients": n_patients(rows),
        "files": scan.n_files,
        "not_dicom": scan.n_not_dicom,
        "damaged": len(scan.damaged),
        "series": [series_record(row) for row in rows],
    }
    lines = [export_text(scan, rows)]
    patients = {row.patient_id for row in rows if row.kind == CT and row.patient_id}
    nobody = False
    if rows_of_labels is not None:
        more, line = _fit(rows_of_labels, patients)
        data |= more
        nobody = not more["patients_with_label"]
        lines.append(line)
    for finding in outside.findings(patients, rows_of_labels):
        data["rois_of_nobody"] = len(outside.of_nobody(patients, rows_of_labels))
        lines.append(finding.message)
    lines.append(f"next: {_next(study, rows, labels, nobody)}")
    return Outcome(data=data, text="\n".join(lines))


def _labels(study: Path, settings: Settings | None, path: Path) -> list[LabelRow]:
    """Read the label table as the import would."""
    if settings is None:
        return read_label_table(path).rows
    return read_label_table(path, settings.columns, load_pathology(study), settings.subtypes).rows


def _fit(labels: Sequence[LabelRow], patients: set[str]) -> tuple[dict[str, int], str]:
    """Count patients with a label row, and rows with a CT; names must match exactly."""
    named = {name for row in labels for name in (row.case_id, row.patient_id)}
    bare = patients - named
    lost = {row.case_id for row in labels if not patients & {row.case_id, row.patient_id or ""}}
    text = f"label rows for {len(patients) - len(bare)} of {counted_noun(len(patients), 'patient')} with a CT"
    near = near_names(bare, (name for name in named if name))
    if bare:
        text += f" (not {_few(f'{n}, which the table may call {near[n]}' if n in near else n for n in bare)})"
    text += (
        f"; {counted_noun(len(lost), 'case')} of the label table without a CT here ({_few(lost)})"
        if lost
        else ""
    )
    if not named & patients:
        text += "; nothing would be imported: write the names in the table as they are in the images"
    if any(name.lstrip("0") == twin.lstrip("0") for name, twin in near.items()):
        text += f"\n{LOST_ZEROS}"
    return {"patients_with_label": len(patients) - len(bare), "labels_without_ct": len(lost)}, text


def _few(items: Iterable[str]) -> str:
    return names(items, most=3)


def _next(study: Path, rows: Sequence[ExportSeries], labels: Path | None, nobody: bool) -> str:
    """The next step for the user."""
    cts = [row for row in rows if row.kind == CT]
    if not cts:
        return "no CT found: check the path; for NIfTI and images use `nephroscope import nifti` and `import images`"
    if not any(row.accepted for row in cts):
        return "no CT can be used: see the reasons above, and ask for the series again"
    if not any(row.chosen for row in cts):
        return "no ROI found: export SEG or RTSTRUCT too, or give a folder of ROI files with --rois"
    if nobody:
        return "correct the names in the label table, then this dry run again"
    new = "" if study.exists() else f"`{shell_line('nephroscope', 'new', study)}`, then "
    return f"{new}the same command without --dry-run{'' if labels else ', with --labels TABLE'}"


def n_patients(rows: Sequence[ExportSeries]) -> int:
    """Number of patients by PatientID; without one, each study with a usable CT counts as a patient."""
    unnamed = {row.study_uid for row in rows if not row.patient_id and row.kind == CT and row.accepted}
    return len({row.patient_id for row in rows if row.patient_id}) + len(unnamed)


SAME = (
    *("series_uid", "patient_id", "study_uid", "modality", "kind", "n_files", "n_slices", "spacing_mm"),
    *("accepted", "chosen", "reason"),
)


def series_record(row: ExportSeries) -> Record:
    """One series as --json prints it; a number or description that may hold a name is left out."""
    return {name: getattr(row, name) for name in SAME} | {
        "acquisition": row.acquisition or None,
        "series_number": row.series_number if row.series_number.isdecimal() else None,
        "description": clean_text(row.description) or None,
        "phase": row.phase or None,
        "phase_evidence": row.evidence or None,
        "n_rois": len(row.rois),
    }


def export_text(scan: ExportScan, rows: Sequence[ExportSeries]) -> str:
    """A table of the series and the totals; an ROI that is used is shown in the row of its CT."""
    listed = [row for row in rows if not (row.kind in (SEG, RTSTRUCT) and row.accepted)]
    lines = table((_cells(row) for row in listed[:MOST_LINES]), HEADER)
    rest = len(listed) - MOST_LINES
    more = f"\n... and {rest} more series; --json lists them all" if rest > 0 else ""
    usable = [row for row in rows if row.kind == CT and row.accepted]
    chosen = [row for row in usable if row.chosen]
    totals = (
        f"{scan.n_files} files: {scan.n_files - scan.n_not_dicom - len(scan.damaged)} DICOM, "
        f"{scan.n_not_dicom} others, {len(scan.damaged)} damaged\n"
        f"{n_patients(rows)} patients, {len(usable)} usable CT series, {len(chosen)} of them chosen"
    )
    return f"{lines}{more}\n{totals}"


def _cells(row: ExportSeries) -> tuple[str, ...]:
    part = f"/{row.acquisition}" if row.acquisition else ""
    spacing = "" if row.spacing_mm is None else f"{row.spacing_mm:g}"
    return (
        row.patient_id or "(none)",
        f"..{row.series_uid[-8:]}{part}",
        row.series_number if row.series_number.isdecimal() else "",
        _short(clean_text(row.description)),
        row.kind,
        row.phase or "-",
        _short(row.evidence),
        str(row.n_files),
        str(row.n_slices),
        spacing,
        _rois(row),
        "yes" if row.accepted else "no",
        row.reason,
    )


def _rois(row: ExportSeries) -> str:
    """The number of ROI files drawn on a CT, and the names of their segments."""
    segments = dict.fromkeys(word for roi in row.rois for name in roi.names if (word := clean_text(name)))
    return _short(f"{len(row.rois)}: {', '.join(segments)}".removesuffix(": ")) if row.rois else ""


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 2]}.."

"""The commands `nephroscope import KIND`, one class a kind, and what they print."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from nephroscope.api import Study
from nephroscope.cli.look import export_text, look, series_as_json
from nephroscope.cli.outcome import Command, Outcome, SourcePath, StudyPath, findings_as_json
from nephroscope.cli.public import ImportIdc, ImportKits
from nephroscope.cohort.export.describe import ExportSeries
from nephroscope.cohort.export.scan import ExportScan
from nephroscope.cohort.tables import names
from nephroscope.records import Cohort, Finding, counted_noun


@dataclass(frozen=True, kw_only=True)
class ImportImages(Command):
    """Import slice images (JPEG or PNG) whose labels stand in a table or in their file names.

    Example: nephroscope import images my-study slices/ --labels labels.csv --masks masks/ --tumor-label 2
    """

    study: StudyPath
    """Study folder."""
    source: SourcePath
    """Folder of images."""
    labels: Path | None = None
    """CSV or XLSX with a row per image: file, case_id, subtype, sex, age ..."""
    masks: Path | None = None
    """Folder of label images with the same names."""
    tumor_label: int = 1
    """Gray value of the tumor in the masks."""
    pattern: str | None = None
    """Regular expression for file names, with the groups case, subtype and, if there, sex, age, slice."""
    window_level: float | None = None
    """Level, in HU, of the window through which the images were exported; 40 where not given."""
    window_width: float | None = None
    """Width, in HU, of that window; 400 where not given."""
    spacing_mm: float | None = None
    """Pixel spacing in mm, where the table does not know it."""

    def run(self) -> Outcome:
        """Import them."""
        from nephroscope.cohort.images.cases import DEFAULT_PATTERN, ImagesOptions

        options = ImagesOptions(
            labels=self.labels,
            masks=self.masks,
            pattern=self.pattern or DEFAULT_PATTERN,
            tumor_label=self.tumor_label,
            window_level_hu=self.window_level,
            window_width_hu=self.window_width,
            row_mm=self.spacing_mm,
            col_mm=self.spacing_mm,
        )
        study = Study(self.study)
        return imported(study, study.import_images(self.source, options))


@dataclass(frozen=True, kw_only=True)
class ImportDicom(Command):
    """Import a DICOM export of any tree: CT series with DICOM SEG or RTSTRUCT, and a table of labels.

    Example: nephroscope import dicom my-study export/ --labels labels.xlsx

    Example: nephroscope import dicom my-study export/ --dry-run
    """

    study: StudyPath
    """Study folder."""
    source: SourcePath
    """Export folder, any tree."""
    labels: Path | None = None
    """CSV or XLSX with a row per tumor: case_id or patient_id, subtype, sex, age ..."""
    rois: Path | None = None
    """Folder of ROI files (NIfTI, NRRD, DICOM) named after patient or case; a second reader's end in _reader2."""
    dry_run: bool = False
    """Only print what the export holds and what would be taken."""

    def run(self) -> Outcome:
        """Import it, or only look."""
        if self.dry_run:
            return look(self.study, self.source, self.rois, self.labels)
        study, seen = Study(self.study), []

        def show(scan: ExportScan, rows: Sequence[ExportSeries]) -> None:
            seen.append((export_text(scan, rows), [series_as_json(row) for row in rows]))

        outcome = imported(study, study.import_dicom(self.source, self.labels, self.rois, show))
        ((text, series),) = seen
        return replace(outcome, text=f"{text}\n\n{outcome.text}", data={**outcome.data, "series": series})


@dataclass(frozen=True, kw_only=True)
class ImportNifti(Command):
    """Import NIfTI volumes with label maps, and a table of labels.

    Example: nephroscope import nifti my-study volumes/ --labels labels.csv --tumor-label 2
    """

    study: StudyPath
    """Study folder."""
    source: SourcePath
    """Folder with CASE.nii.gz and CASE_seg.nii.gz, or CASE/imaging.nii.gz and CASE/segmentation.nii.gz."""
    labels: Path
    """CSV or XLSX with a row per case: case_id, subtype, sex, age ..."""
    tumor_label: int = 1
    """Value of the tumor in the label maps."""

    def run(self) -> Outcome:
        """Import them."""
        study = Study(self.study)
        return imported(study, study.import_nifti(self.source, self.labels, self.tumor_label))


@dataclass(frozen=True, kw_only=True)
class ImportPhantom(Command):
    """Write and import a SYNTHETIC cohort: DICOM CT, the SEG of two readers, a clinical table.

    Example: nephroscope import phantom my-study --cases 83 --seed 1
    """

    study: StudyPath
    """Study folder."""
    cases: int | None = None
    """How many patients; by default as many as the cohort that is imitated (83 or 84)."""
    like: Literal["kits23", "zuo2021"] = "kits23"
    """Cohort to imitate: zuo2021 has thin slices (about 25 of a tumor) and the paper's test cases."""
    seed: int = 0
    """Same seed, same bytes."""

    def run(self) -> Outcome:
        """Write and import them."""
        study = Study(self.study)
        return imported(study, study.import_phantom(self.cases, self.seed, self.like))


IMPORTS = {
    "images": ImportImages,
    "dicom": ImportDicom,
    "nifti": ImportNifti,
    "kits": ImportKits,
    "idc": ImportIdc,
    "phantom": ImportPhantom,
}


def imported(study: Study, cohort: Cohort) -> Outcome:
    """What an import prints: counts, exclusions by reason, findings, and the next step."""
    subtypes = Counter(case.subtype for case in cohort.cases)
    reasons = Counter(exclusion.reason for exclusion in cohort.exclusions)
    findings = study.import_findings
    data = {
        "study": str(study.folder.root),
        "cases": len(cohort.cases),
        "patients": len({case.patient_id for case in cohort.cases}),
        "by_subtype": {str(name): n for name, n in subtypes.items()},
        "synthetic": cohort.synthetic,
        "excluded": len(cohort.exclusions),
        "exclusions": [
            {"case_id": e.case_id, "subtype": e.subtype, "reason": e.reason} for e in cohort.exclusions
        ],
        "findings": findings_as_json(findings),
    }
    n_synthetic = sum(case.synthetic for case in cohort.cases)
    synthetic = "SYNTHETIC " if n_synthetic == len(cohort.cases) > 0 else ""
    counts = ", ".join(f"{n} {name or 'without a subtype'}" for name, n in subtypes.items())
    patients = counted_noun(len({case.patient_id for case in cohort.cases}), "patient")
    lines = [
        f"{synthetic}cohort: {counted_noun(len(cohort.cases), 'case')} of {patients} ({counts or 'none'})"
    ]
    if n_synthetic and not synthetic:
        lines.append(f"warning: {n_synthetic} of these cases {'is' if n_synthetic == 1 else 'are'} SYNTHETIC")
    for reason, n in reasons.most_common():
        who = names((e.case_id for e in cohort.exclusions if e.reason == reason), most=3)
        lines.append(f"excluded {n}: {reason} ({who})")
    lines += [_told(finding) for finding in sorted(findings, key=lambda f: f.severity == "note")]
    if not cohort.cases:
        lines.append("no case came in: see the reasons above; names are compared as they are written")
        return Outcome(data=data, text="\n".join(lines), exit_code=3)
    if None in subtypes:
        lines.append("warning: cases without a subtype cannot be trained on: give --labels")
    lines.append(f"next: nephroscope check {study.folder.root}")
    return Outcome(data=data, text="\n".join(lines))


def _told(finding: Finding) -> str:
    return f"{finding.severity}: {f'{finding.case_id}: ' if finding.case_id else ''}{finding.message}"

"""The commands `nephroscope import KIND`, one class a kind, and what they print."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nephroscope.base.errors import ConfigError
from nephroscope.base.tables import names
from nephroscope.cli.look import export_text, look, series_as_json
from nephroscope.cli.outcome import Command, Outcome, SourcePath, StudyPath, findings_as_json, table
from nephroscope.facade import Study
from nephroscope.intake.export.describe import ExportSeries
from nephroscope.intake.export.scan import ExportScan
from nephroscope.intake.public.idc_plan import IdcPlan, Wanted
from nephroscope.intake.public.kits import Vote
from nephroscope.records import Cohort, Finding, counted_noun
from nephroscope.records.settings import Settings

MASK_SOURCES = ("rcc-aid", "bamf")


@dataclass(frozen=True, kw_only=True)
class ImportKits(Command):
    """Import the folder that the KiTS19, KiTS21 or KiTS23 project makes, with its clinical table.

    Example: nephroscope import kits my-study kits23/
    """

    study: StudyPath
    """Study folder."""
    source: SourcePath
    """Clone of the KiTS repository with the CT downloaded, or its folder of cases."""
    vote: Vote = "MAJ"
    """KiTS21 only: how the label maps of its three annotators were merged."""

    def run(self) -> Outcome:
        """Import it."""
        from nephroscope.intake.public.kits import NO_CT

        study = Study(self.study)
        cohort, found = study.import_kits(self.source, self.vote)
        outcome = imported(study, cohort)
        counts = [asdict(count) | {"without_ct": count.in_table - count.with_ct} for count in found.counts]
        lines = [
            f"{found.release}: {sum(count.in_table for count in found.counts)} cases in its table",
            table(
                ((c.subtype, c.in_table, c.with_ct, "yes" if c.in_study else "no") for c in found.counts),
                ("subtype", "cases", "with CT", "in the study"),
            ),
        ]
        data = outcome.data | {"release": found.release, "table": counts}
        warning = "" if any(c["with_ct"] for c in counts) else f"no CT in {self.source.name}: {NO_CT}"
        return replace(outcome, data=data, text="\n".join([*lines, outcome.text]), warning=warning)


@dataclass(frozen=True, kw_only=True)
class ImportIdc(Command):
    """Choose, download and import CT with masks of the Imaging Data Commons, one series per patient.

    Example: nephroscope import idc my-study --collections tcga_kirp tcga_kich --dry-run
    """

    study: StudyPath
    """Study folder; with --dry-run it need not exist."""
    collections: tuple[str, ...]
    """Of tcga_kirp, tcga_kich, tcga_kirc, cptac_ccrcc, c4kc_kits."""
    masks: str = ",".join(MASK_SOURCES)
    """Who drew the masks, the preferred first; masks that belong to a collection itself are always used."""
    kits_json: Path | None = None
    """Clinical table of a KiTS release, for c4kc_kits, whose files do not say the histology."""
    dry_run: bool = False
    """Only print patients, series, sizes, licences and citations; no network."""

    def run(self) -> Outcome:
        """Choose, and unless it is a dry run, download and import."""
        from nephroscope.intake.public.idc import plan_as_dict, plan_findings

        sources = _sources(self.masks)
        study = None if self.dry_run and not (self.study / "study.toml").is_file() else Study(self.study)
        if study is None:
            plan, wanted = self._plan_without_study(sources)
        else:
            plan, wanted = study.plan_idc(self.collections, sources, self.kits_json)
        data = plan_as_dict(plan, sources)
        if study is None or self.dry_run:
            data["findings"] = findings_as_json(plan_findings(plan, wanted))
            return Outcome(
                data=data, text=_in_words(data) + f"\nnext: the same without --dry-run ({self.study})"
            )
        cohort, refused = study.import_idc(plan, wanted)
        outcome = imported(study, cohort)
        warning = "\n".join(f"left out: {one.case_id}: {one.reason}" for one in refused)
        text = "\n".join([_in_words(data), outcome.text])
        data = outcome.data | {"plan": data}
        return Outcome(data=data, text=text, warning=warning, exit_code=3 if refused else 0)

    def _plan_without_study(self, sources: tuple[str, ...]) -> tuple[IdcPlan, Wanted]:
        from nephroscope.intake.public.idc import wanted_of
        from nephroscope.intake.public.idc_index import read_index
        from nephroscope.intake.public.idc_plan import plan_idc

        settings = Settings(subtypes=("PRCC", "ChRCC"), positive="PRCC")
        wanted = wanted_of(settings, sources, self.kits_json)
        return plan_idc(read_index(self.collections), wanted), wanted


def _sources(text: str) -> tuple[str, ...]:
    """Mask sources from ``rcc-aid,bamf``."""
    sources = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    unknown = [name for name in sources if name not in MASK_SOURCES]
    if unknown or not sources:
        raise ConfigError(
            where="import idc --masks",
            expected=f"one or more of {', '.join(MASK_SOURCES)}, with commas",
            found=", ".join(unknown) or "none",
            remedy="for example --masks rcc-aid,bamf",
        )
    return sources


def _in_words(data: dict[str, Any]) -> str:
    """The plan as a table of collections, with phases, licences and citations below."""
    rows = [
        (
            name,
            one["patients_with_ct"],
            ", ".join(f"{source} {n}" for source, n in one["patients_with_mask"].items()),
            one["patients_chosen"],
            one["series_chosen"],
            f"{one['size_GB']:.2f}",
        )
        for name, one in data["by_collection"].items()
    ]
    header = ("collection", "patients with CT", "with masks of", "chosen", "series", "GB")
    phases = Counter(one["phase"] for one in data["series"] if one["chosen"] and one["kind"] == "ct")
    lines = [table(rows, header), f"{data['patients_chosen']} patients, {data['size_GB']:.2f} GB to download"]
    lines += ["phases: " + ", ".join(f"{n} {phase}" for phase, n in phases.most_common())] if phases else []
    lines += [f"licence of {one['of']}: {one['licence']}, doi {one['doi']}" for one in data["licences"]]
    lines += [f"cite: {one['citation']}" for one in data["citations"]]
    return "\n".join(lines)


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
        from nephroscope.intake.slice_images.cases import DEFAULT_PATTERN, ImagesOptions

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

"""The commands `nephroscope import KIND`, one class per kind, and what they print."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from nephroscope.base.errors import ConfigError
from nephroscope.base.tables import names
from nephroscope.base.text import shell_line
from nephroscope.cli.command import (
    Command,
    CountOption,
    NamesOption,
    NumberOption,
    Outcome,
    PathOption,
    SourcePath,
    StudyCommand,
    StudyPath,
    Switch,
    TextOption,
    findings_as_json,
    table,
)
from nephroscope.cli.export_listing import export_text, list_export, series_record
from nephroscope.facade.study import Study
from nephroscope.intake.export.describe import ExportSeries
from nephroscope.intake.export.scan import ExportScan
from nephroscope.intake.public.idc_plan import IdcPlan, IdcRequest
from nephroscope.intake.public.kits import Vote
from nephroscope.records import Cohort, Exclusion, Finding, counted_noun
from nephroscope.records.settings import Settings
from nephroscope.study.doubles import check_names

MASK_SOURCES = ("rcc-aid", "bamf")


@dataclass(frozen=True, kw_only=True)
class ImportKits(StudyCommand):
    """Import a folder of KiTS19, KiTS21 or KiTS23 with its clinical table.

    Example: nephroscope import kits my-study kits23/
    """

    source: SourcePath
    """Clone of the KiTS repository with the CT downloaded, or its folder of cases."""
    vote: Vote = "MAJ"
    """KiTS21 only: which merge of the label maps of its three annotators to use."""

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
    """Choose, download and import CT with masks from the Imaging Data Commons, one series per patient.

    Example: nephroscope import idc my-study --collections tcga_kirp tcga_kich --dry-run
    """

    study: StudyPath
    """Study folder; with --dry-run it need not exist."""
    collections: NamesOption
    """One or more of tcga_kirp, tcga_kich, tcga_kirc, cptac_ccrcc, c4kc_kits."""
    masks: str = ",".join(MASK_SOURCES)
    """Sources of masks in order of preference; masks of the collection itself are always used."""
    kits_json: PathOption = None
    """Clinical table of a KiTS release; needed for c4kc_kits, whose files lack the histology."""
    dry_run: Switch = False
    """Only list patients, series, sizes, licenses and citations; needs no network."""

    def run(self) -> Outcome:
        """Choose, and unless it is a dry run, download and import."""
        from nephroscope.intake.public.idc import plan_as_dict, plan_findings

        sources = _sources(self.masks)
        study = None if self.dry_run and not (self.study / "study.toml").is_file() else Study(self.study)
        if study is None:
            plan, request = self._plan_without_study(sources)
        else:
            plan, request = study.plan_idc(self.collections, sources, self.kits_json)
        data = plan_as_dict(plan, sources)
        if study is None or self.dry_run:
            data["findings"] = findings_as_json(plan_findings(plan, request))
            return Outcome(
                data=data,
                text=_plan_text(data) + f"\nnext: the same command without --dry-run ({self.study})",
            )
        cohort, refused = study.import_idc(plan, request)
        outcome = imported(study, cohort)
        warning = "\n".join(f"left out: {one.case_id}: {one.reason}" for one in refused)
        text = "\n".join([_plan_text(data), outcome.text])
        data = outcome.data | {"plan": data}
        return Outcome(data=data, text=text, warning=warning, exit_code=3 if refused else 0)

    def _plan_without_study(self, sources: tuple[str, ...]) -> tuple[IdcPlan, IdcRequest]:
        from nephroscope.intake.public.idc import idc_request
        from nephroscope.intake.public.idc_index import read_index
        from nephroscope.intake.public.idc_plan import plan_idc

        settings = Settings(subtypes=("PRCC", "ChRCC"), positive="PRCC")
        request = idc_request(settings, sources, self.kits_json)
        return plan_idc(read_index(self.collections), request), request


def _sources(text: str) -> tuple[str, ...]:
    """Mask sources from ``rcc-aid,bamf``."""
    sources = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    unknown = [name for name in sources if name not in MASK_SOURCES]
    if unknown or not sources:
        raise ConfigError(
            where="import idc --masks",
            expected=f"one or more of {', '.join(MASK_SOURCES)}, separated by commas",
            found=", ".join(unknown) or "none",
            remedy="correct it, for example --masks rcc-aid,bamf",
        )
    return sources


def _plan_text(data: dict[str, Any]) -> str:
    """The plan as a table of collections, then phases, licenses and citations."""
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
    lines += [f"license of {one['of']}: {one['licence']}, doi {one['doi']}" for one in data["licences"]]
    lines += [f"cite: {one['citation']}" for one in data["citations"]]
    return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class ImportImages(StudyCommand):
    """Import slice images (JPEG or PNG), with labels from a table or from the file names.

    Example: nephroscope import images my-study slices/ --labels labels.csv --masks masks/ --tumor-label 2
    """

    source: SourcePath
    """Folder of images."""
    labels: PathOption = None
    """CSV or XLSX with a row per image: file, case_id, subtype, sex, age ..."""
    masks: PathOption = None
    """Folder of mask images with the same file names."""
    tumor_label: int = 1
    """Gray value of the tumor in the masks."""
    pattern: TextOption = None
    """Regular expression for file names, with groups case and subtype, and optionally sex, age, slice."""
    window_level: NumberOption = None
    """Level in HU of the window used when the images were exported; by default 40."""
    window_width: NumberOption = None
    """Width in HU of that window; by default 400."""
    spacing_mm: NumberOption = None
    """Pixel spacing in mm, for images whose table row has none."""

    def run(self) -> Outcome:
        """Import them."""
        from nephroscope.intake.slice_images.cases import ImagesOptions
        from nephroscope.intake.slice_images.names import DEFAULT_PATTERN

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
class ImportDicom(StudyCommand):
    """Import a DICOM export: CT series with DICOM SEG or RTSTRUCT, with labels from a table.

    Example: nephroscope import dicom my-study export/ --labels labels.xlsx

    Example: nephroscope import dicom my-study export/ --dry-run
    """

    source: SourcePath
    """Folder of the export; subfolders are searched."""
    labels: PathOption = None
    """CSV or XLSX with a row per tumor: case_id or patient_id, subtype, sex, age ..."""
    rois: PathOption = None
    """Folder of ROI files (NIfTI, NRRD, DICOM) named by patient or case, with _reader2 for a second annotator."""
    keep_incomplete: Switch = False
    """Keep patients without an ROI or a label as cases too, to be drawn and labeled later."""
    dry_run: Switch = False
    """Only list what the export contains and what would be imported."""

    def run(self) -> Outcome:
        """Import it, or only list it."""
        if self.dry_run:
            return list_export(self.study, self.source, self.rois, self.labels, self.keep_incomplete)
        study, seen = Study(self.study), []

        def show(scan: ExportScan, rows: Sequence[ExportSeries]) -> None:
            seen.append((export_text(scan, rows), [series_record(row) for row in rows]))

        found = study.import_dicom(self.source, self.labels, self.rois, show, self.keep_incomplete)
        outcome = imported(study, found)
        ((text, series),) = seen
        return replace(outcome, text=f"{text}\n\n{outcome.text}", data={**outcome.data, "series": series})


@dataclass(frozen=True, kw_only=True)
class ImportNifti(StudyCommand):
    """Import NIfTI volumes with label maps, with labels from a table.

    Example: nephroscope import nifti my-study volumes/ --labels labels.csv --tumor-label 2
    """

    source: SourcePath
    """Folder with CASE.nii.gz and CASE_seg.nii.gz, a folder per case, images and masks, or the layout of nnU-Net."""
    labels: PathOption = None
    """CSV or XLSX with a row per case: case_id, subtype, sex, age ..."""
    keep_incomplete: Switch = False
    """Keep volumes without a label map or a label as cases too, to be drawn and labeled later."""
    tumor_label: CountOption = None
    """Value of the tumor in the label maps; needed when they have several."""

    def run(self) -> Outcome:
        """Import them."""
        study = Study(self.study)
        found = study.import_nifti(self.source, self.labels, self.tumor_label, self.keep_incomplete)
        return imported(study, found)


@dataclass(frozen=True, kw_only=True)
class ImportPhantom(StudyCommand):
    """Make and import a SYNTHETIC cohort: DICOM CT, the SEG of two annotators, a clinical table.

    Tumors are of the study's subtypes among PRCC, ChRCC, ccRCC and oncocytoma.

    Example: nephroscope import phantom my-study --cases 83 --seed 1
    """

    cases: CountOption = None
    """Number of patients; by default as in the imitated cohort (83 or 84 of PRCC and ChRCC)."""
    like: Literal["kits23", "zuo2021"] = "kits23"
    """Cohort to imitate; zuo2021 has thin slices (about 25 per tumor) and the paper's test cases."""
    seed: int = 0
    """Random seed; the same seed gives the same files."""
    phases: int = 1
    """Contrast phases per patient, up to 3: the tumor is drawn in one, organs move by breathing, some are missing."""

    def run(self) -> Outcome:
        """Make and import them."""
        study = Study(self.study)
        return imported(study, study.import_phantom(self.cases, self.seed, self.like, self.phases))


@dataclass(frozen=True, kw_only=True)
class ImportRmac(StudyCommand):
    """Import UCSF RMaC (renal mass CT in up to four phases, HDF5) from the folder to which you downloaded it.

    Example: nephroscope import rmac my-study rmac/ --dry-run
    """

    source: SourcePath
    """Folder with phase_reg_key.csv and the HDF5 files."""
    dry_run: Switch = False
    """Only count patients, files and phases; needs no network and no h5py."""

    def run(self) -> Outcome:
        """Import it, or only count."""
        from nephroscope.intake.public.rmac import CITATION, counts, plan_rmac

        found = counts(plan_rmac(self.source))
        lines = [", ".join(f"{n} {what}" for what, n in found.items()), CITATION]
        if self.dry_run:
            return Outcome(data=dict(found), text="\n".join(lines))
        study = Study(self.study)
        outcome = imported(study, study.import_rmac(self.source))
        return replace(
            outcome, data={**outcome.data, "plan": dict(found)}, text="\n".join([*lines, outcome.text])
        )


IMPORTS = {
    "images": ImportImages,
    "dicom": ImportDicom,
    "nifti": ImportNifti,
    "kits": ImportKits,
    "idc": ImportIdc,
    "rmac": ImportRmac,
    "phantom": ImportPhantom,
}


def imported(study: Study, cohort: Cohort) -> Outcome:
    """Counts, exclusions by reason, findings and the next step, after an import."""
    subtypes = Counter(case.subtype for case in cohort.cases)
    reasons = Counter(exclusion.reason for exclusion in cohort.exclusions)
    findings = (*study.import_findings, *check_names(cohort))
    data = {
        "study": str(study.folder.root),
        "cases": len(cohort.cases),
        "patients": len({case.patient_id for case in cohort.cases}),
        "by_subtype": {str(name): n for name, n in subtypes.items()},
        "synthetic": cohort.synthetic,
        "excluded": len(cohort.exclusions),
        "exclusions": [
            {"case_id": e.case_id, "subtype": e.subtype, "reason": e.reason, "hint": e.hint}
            for e in cohort.exclusions
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
        who = names((_named(e) for e in cohort.exclusions if e.reason == reason), most=3)
        lines.append(f"excluded {n}: {reason} ({who})")
    proposed = [case for case in cohort.chosen if case.only_proposed]
    listed = [case.case_id for case in proposed]
    data["proposed"] = listed
    if proposed:
        author = proposed[0].only_proposed[0].author
        accept = shell_line("nephroscope", "rois", "accept", study.folder.root, "CASE", "--by", author)
        lines.append(
            f"proposed {len(proposed)}: only a model drew the tumor ({names(listed, most=3)}); left out until a "
            f"person corrects that in the workstation or accepts it: {accept}"
        )
    lines += [_finding_text(finding) for finding in sorted(findings, key=lambda f: f.severity == "note")]
    if not cohort.cases:
        lines.append("no case was imported: see the reasons above, correct them, and run the same line again")
        return Outcome(data=data, text="\n".join(lines), exit_code=3)
    if None in subtypes:
        lines.append("warning: cases without a subtype cannot be used for training; give --labels")
    lines.append(f"next: {shell_line('nephroscope', 'check', study.folder.root)}")
    return Outcome(data=data, text="\n".join(lines))


def _named(one: Exclusion) -> str:
    return f"{one.case_id}: {one.hint}" if one.hint else one.case_id


def _finding_text(finding: Finding) -> str:
    return f"{finding.severity}: {f'{finding.case_id}: ' if finding.case_id else ''}{finding.message}"

"""Open or make a study, and import cases into it."""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import CohortError, ConfigError, StudyError
from nephroscope.base.files import copy_file, digest_of
from nephroscope.base.lock import writes
from nephroscope.base.tables import names
from nephroscope.base.text import counted_noun
from nephroscope.intake.labels.pathology import load_pathology, match_subtype, write_pathology
from nephroscope.intake.labels.whose_roi import tumor_unsaid
from nephroscope.intake.public.same_patients import drop_known_patients
from nephroscope.records import Case, ChoiceRule, Cohort, Exclusion, Finding, Findings
from nephroscope.records.settings import PHASES, Settings
from nephroscope.study.cohort_table import load_cohort, save_cohort, seen_tables
from nephroscope.study.findings import load_findings, save_findings
from nephroscope.study.folder import StudyFolder, change_settings, create_study, open_study

if TYPE_CHECKING:
    from nephroscope.intake.export.describe import ExportSeries
    from nephroscope.intake.export.scan import ExportScan
    from nephroscope.intake.labels.rows import LabelTable
    from nephroscope.intake.public.idc_plan import IdcPlan, IdcRequest
    from nephroscope.intake.public.kits import KitsImport, Vote
    from nephroscope.intake.slice_images.cases import ImagesOptions

logger = logging.getLogger(__name__)
OF_ONE_IMPORT = {"case-known", "roi-of-nobody"}  # said again by the next import, or no longer true


class StudyImports:
    """A study folder, its settings, and how cases come into it.

    Args:
        root: Folder with study.toml.

    Raises:
        StudyError: There is no study, or it is of a newer format.
        ConfigError: A setting in study.toml is not allowed.
    """

    def __init__(self, root: Path | str) -> None:
        self.folder: StudyFolder
        self.settings: Settings
        self.folder, self.settings = open_study(Path(root).resolve())

    @classmethod
    def create(
        cls,
        root: Path | str,
        subtypes: Sequence[str],
        positive: str | None = None,
        merged: Mapping[str, Sequence[str]] | None = None,
    ) -> Self:
        """Make a new study folder; ``positive`` is by default the first subtype.

        ``merged`` are subtypes that count together under a name of the study: {"other": ["PRCC", "oncocytoma"]}.

        Raises:
            ConfigError: A name of ``merged`` is no subtype of the study, or one that it merges is.
        """
        settings = Settings(subtypes=tuple(subtypes), positive=positive or next(iter(subtypes), ""))
        for name, parts in (merged or {}).items():
            if name not in settings.subtypes or not parts or set(parts) & set(settings.subtypes):
                raise ConfigError(
                    where="--merge",
                    expected="a subtype of the study, and the subtypes that count as it, which are none themselves",
                    found=f"{name}: {', '.join(parts) or 'nothing'}",
                    remedy="for example --subtypes ccRCC other --merge other PRCC ChRCC oncocytoma",
                )
        write_pathology(create_study(Path(root), settings).root, merged)
        return cls(root)

    @writes("settings")
    def change(self, table: str, **values: Any) -> None:
        """Write settings of one table of study.toml, such as ``study.change("slices", roi_mode="full")``."""
        self.settings = change_settings(self.folder, table, values)

    @property
    def _lock_folder(self) -> Path:
        """One command at a time writes into the study."""
        return self.folder.root

    # 1 the cases

    @property
    def cohort(self) -> Cohort:
        """The cases in cohort.csv, series.csv and rois.csv as they are now."""
        if not self.folder.cohort_csv.exists():
            raise StudyError(
                where="study",
                expected="a cohort",
                found="no cohort.csv",
                remedy="run `nephroscope import` first",
            )
        subtypes, positive = self.settings.subtypes, self.settings.positive
        return load_cohort(self.folder.root, subtypes, positive, ChoiceRule.of(self.settings))

    @writes("import")
    def import_images(self, source: Path | str, options: "ImagesOptions") -> Cohort:
        """Add the cases of a folder of slice images; without masks, whole images become slices."""
        from nephroscope.intake.slice_images.cases import import_images, save_image_rows

        options = replace(options, columns=self.settings.columns, pathology=load_pathology(self.folder.root))
        found = import_images(Path(source), options, self.settings.subtypes, self.settings.positive)
        self._check_new(found.cases)
        images = save_image_rows(found.rows, self.folder.root)
        cases = [replace(c, series=tuple(replace(s, image=images) for s in c.series)) for c in found.cases]
        if options.masks is None and self.settings.slices.roi_mode != "full":
            self.change("slices", roi_mode="full")
            logger.info('no masks: set slices.roi_mode = "full" in study.toml')
        return self.add(cases, found.exclusions, found.findings, _source("images", source))

    @writes("import")
    def import_dicom(
        self,
        source: Path | str,
        labels: Path | str | None = None,
        rois: Path | str | None = None,
        show: "Callable[[ExportScan, Sequence[ExportSeries]], None] | None" = None,
        keep_incomplete: bool = False,
    ) -> Cohort:
        """Add the patients of a DICOM export, labelled by a table.

        Args:
            source: Folder of the export; subfolders are searched.
            labels: Table with a row per tumor.
            rois: Folder of ROI files named by patient or case, if they are not DICOM in the export.
            show: Called with what the export holds before anything is written.
            keep_incomplete: Patients without an ROI or a label are cases too, to be drawn and labelled later.
        """
        from nephroscope.imaging.dicom.series import save_series_files
        from nephroscope.intake.export.cases import DicomOptions, import_dicom
        from nephroscope.intake.export.roi_files import find_roi_files
        from nephroscope.intake.export.series_table import add_to_series_table

        table = self._read_labels(labels) if labels else None
        options = DicomOptions(
            subtypes=self.settings.subtypes,
            positive=self.settings.positive,
            labels=table.rows if table else None,
            preference=self.settings.cohort.phase_preference,
            rois=find_roi_files(Path(rois) if rois else None),
            study=self.folder.root,
            keep_incomplete=keep_incomplete,
        )
        found = import_dicom(Path(source), options)
        if show is not None:
            show(found.scan, found.series)
        for path, files in found.lists.items():
            save_series_files(path, files, self.folder.root)
        for place, source_file in found.copies.items():
            copy_file(source_file, place)
        add_to_series_table(self.folder.root, found.series, found.cases, found.scan.naming)
        of_table = table.findings if table else ()
        patients = {series.patient_id for series in found.series if series.patient_id}
        strangers = options.rois.findings(patients, options.labels)
        findings = (*of_table, *found.findings, *strangers)
        return self.add(found.cases, found.exclusions, findings, _source("dicom", source))

    @writes("import")
    def import_nifti(
        self,
        source: Path | str,
        labels: Path | str | None = None,
        tumor_label: int | None = None,
        keep_incomplete: bool = False,
    ) -> Cohort:
        """Add the cases of a folder of NIfTI volumes with label maps, labelled by a table.

        Args:
            source: The folder.
            labels: Table with a row per case; None imports without labels.
            tumor_label: Value of the tumor; None where label maps hold nothing else.
            keep_incomplete: Volumes without a label map or a label are cases too, to be drawn and labelled later.
        """
        from nephroscope.intake.nifti_folder import import_nifti

        table, settings = self._read_labels(labels) if labels else None, self.settings
        found = import_nifti(
            Path(source),
            table.rows if table else None,
            settings.subtypes,
            settings.positive,
            tumor_label,
            keep_incomplete,
        )
        findings = (*(table.findings if table else ()), *found.findings)
        return self.add(found.cases, found.exclusions, findings, _source("nifti", source))

    def _read_labels(self, path: Path | str) -> "LabelTable":
        """Read a label table with the [columns] and pathology.csv of the study."""
        from nephroscope.intake.labels.rows import read_label_table

        pathology = load_pathology(self.folder.root)
        return read_label_table(Path(path), self.settings.columns, pathology, self.settings.subtypes)

    @writes("import")
    def import_phantom(
        self, n_cases: int | None, seed: int = 0, like: str = "kits23", n_phases: int = 1
    ) -> Cohort:
        """Make a SYNTHETIC DICOM export in the folder ``phantom`` of the study and import it.

        Its tumors are those of the study's subtypes among PRCC, ChRCC, ccRCC and oncocytoma. With several phases,
        ``slices.phases`` of study.toml names them.
        """
        from nephroscope.intake.phantom import SUBTYPES, write_phantoms
        from nephroscope.intake.phantom.patient import DESIGNS

        root = self.folder.root
        export, begun = (
            root / "phantom",
            root / ".phantom.json",
        )  # the latter while the import is not complete
        wanted = _Phantoms(n_cases=n_cases, seed=seed, like=like, n_phases=n_phases)
        for draft in root.glob(".phantom-*"):  # of a killed process
            shutil.rmtree(draft, ignore_errors=True)
        labels = export / "clinical.csv"
        if not (labels.is_file() and _is_begun(begun, wanted)):
            if not export.exists():
                save_document(begun, wanted, 1)
            own, table = self.settings.subtypes, load_pathology(root)
            subtypes = [name for name in SUBTYPES if match_subtype(name, own, table)]
            design = replace(DESIGNS[like], n_phases=n_phases)
            labels = write_phantoms(export, n_cases, seed, like=design, subtypes=subtypes)
        cohort = self.import_dicom(export, labels)
        if n_phases > 1:
            there = {one.phase for case in cohort.cases for one in case.series}
            self.change("slices", phases=[phase for phase in PHASES if phase in there - {"unknown"}])
        begun.unlink(missing_ok=True)
        return cohort

    @writes("import")
    def import_kits(self, source: Path | str, vote: "Vote" = "MAJ") -> "tuple[Cohort, KitsImport]":
        """Add the cases of the folder that the KiTS19, KiTS21 or KiTS23 project makes.

        Args:
            source: Clone of the KiTS repository with the CT downloaded, or its folder of cases.
            vote: KiTS21 only: which merge of the label maps of its three annotators to use.

        Returns:
            The new cohort, and what the folder held.
        """
        from nephroscope.intake.public.kits import import_kits

        settings, pathology = self.settings, load_pathology(self.folder.root)
        found = import_kits(Path(source), settings.subtypes, settings.positive, vote, pathology)
        return self.add(found.cases, found.exclusions, found.findings, _source("kits", source)), found

    @writes("import")
    def import_rmac(self, source: Path | str) -> Cohort:
        """Add the patients of a downloaded UCSF RMaC: registered phases and masks become NIfTI files in ``rmac``.

        Args:
            source: Folder with phase_reg_key.csv and the HDF5 files.
        """
        from nephroscope.intake.public.rmac import import_rmac

        root, subtypes = self.folder.root, self.settings.subtypes
        found = import_rmac(Path(source), root / "rmac", subtypes, load_pathology(root))
        return self.add(found.cases, found.exclusions, found.findings, _source("rmac", source))

    def plan_idc(
        self, collections: Sequence[str], masks: Sequence[str], kits_json: Path | None = None
    ) -> "tuple[IdcPlan, IdcRequest]":
        """Choose one CT with its mask per patient, without a network; the study does not change.

        Args:
            collections: Of the Imaging Data Commons, such as ``tcga_kirp``.
            masks: Who drew the masks, the preferred first.
            kits_json: Clinical table of a KiTS release, for ``c4kc_kits``.
        """
        from nephroscope.intake.public.idc import idc_request
        from nephroscope.intake.public.idc_index import read_index
        from nephroscope.intake.public.idc_plan import plan_idc

        cohort = self.cohort if self.folder.cohort_csv.exists() else None
        request = idc_request(self.settings, masks, kits_json, cohort, load_pathology(self.folder.root))
        return plan_idc(read_index(tuple(collections)), request), request

    @writes("import")
    def import_idc(self, plan: "IdcPlan", request: "IdcRequest") -> tuple[Cohort, tuple[Exclusion, ...]]:
        """Download what `plan_idc` chose into the folder ``idc`` and add it; continues after an interruption.

        Returns:
            The new cohort, and who was left out.
        """
        from nephroscope.intake.public import idc_fetch
        from nephroscope.intake.public.idc import download, import_patients, plan_findings

        refused: tuple[Exclusion, ...] = ()
        if plan.choices:
            settled, failed = download(plan, request, self.folder.root / "idc", idc_fetch.open_client())
            refused = (*failed, *import_patients(settled, self.import_dicom))
        return self.add((), (*plan.exclusions, *refused), plan_findings(plan, request)), refused

    def _check_new(self, cases: Sequence[Case]) -> None:
        if self.folder.cohort_csv.exists():
            known = self.cohort.by_id.keys() & {case.case_id for case in cases}
            if known:
                raise CohortError(
                    where=f"case {min(known)}",
                    expected="new cases",
                    found=f"{len(known)} of {len(cases)} that are already in cohort.csv",
                    remedy="import into a new study, or remove their rows from cohort.csv first",
                )

    @writes("import")
    def add(
        self,
        cases: Sequence[Case],
        exclusions: Sequence[Exclusion],
        findings: Sequence[Finding],
        source: str = "",
    ) -> Cohort:
        """Add cases, exclusions and findings of an import to those of the study; returns the new cohort.

        Cases that are known already do not change, so an import can be repeated after patients were added. A patient
        whom another public collection brought in before is not added again. An earlier exclusion is removed when the
        case is imported now, or excluded for a new reason, or was made by the same ``source``, the kind and folder of
        an import.
        """
        seen = seen_tables(self.folder.root)
        before = self.cohort if self.folder.cohort_csv.exists() else None
        cases, dropped, shared = drop_known_patients(cases, before)
        known = sorted(case.case_id for case in cases if before and case.case_id in before.by_id)
        cases = [case for case in cases if not (before and case.case_id in before.by_id)]
        exclusions = (*exclusions, *dropped)
        findings = (*findings, *shared, *_kept(known), *tumor_unsaid(cases))
        exclusions = [replace(one, source=source) for one in exclusions]
        earlier = [one for one in (before.exclusions if before else ()) if not source or one.source != source]
        again = {case.case_id for case in cases} | {one.case_id for one in exclusions}
        cohort = Cohort(
            subtypes=self.settings.subtypes,
            positive=self.settings.positive,
            cases=(*(before.cases if before else ()), *cases),
            exclusions=(*(one for one in earlier if one.case_id not in again), *exclusions),
            rule=ChoiceRule.of(self.settings),
            folder=self.folder.root,
        )
        still = (finding for finding in self.import_findings if finding.code not in OF_ONE_IMPORT)
        kept = dict.fromkeys((*still, *findings))
        save_cohort(cohort, self.folder.root, seen, kept)
        return self.cohort

    @writes("import")
    def note(self, *findings: Finding) -> None:
        """Keep findings in the study, each once; the report shows them."""
        save_findings(self.folder.root, dict.fromkeys((*self.import_findings, *findings)))

    @property
    def import_findings(self) -> Findings:
        """Findings of the imports."""
        return Findings(load_findings(self.folder.root))


@dataclass(frozen=True, kw_only=True)
class _Phantoms:
    """The options of an import of phantoms that is not complete yet."""

    n_cases: int | None
    seed: int
    like: str
    n_phases: int = 1


def _is_begun(path: Path, wanted: _Phantoms) -> bool:
    try:
        return read_document(path, _Phantoms, 1) == wanted
    except StudyError:
        return False


def _source(kind: str, folder: Path | str) -> str:
    """What is the same when an import is repeated; a digest, since the name of a folder may be a patient's."""
    return f"{kind}-{digest_of(str(Path(folder).resolve()))[:8]}"


def _kept(known: Sequence[str]) -> tuple[Finding, ...]:
    """A note about cases that were imported before."""
    if not known:
        return ()
    one, more = (
        "is already in cohort.csv and stays as it is",
        "are already in cohort.csv and stay as they are",
    )
    are = one if len(known) == 1 else more
    text = (
        f"{counted_noun(len(known), 'case')} {are} ({names(known)}); "
        "to import one again, first remove its rows in cohort.csv, series.csv and rois.csv"
    )
    return (Finding(code="case-known", severity="note", message=text, case_id=""),)

"""Cases from a hospital's DICOM export: one per tumor, with all its usable series, its ROIs and its label."""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from nephroscope.base.errors import CohortError
from nephroscope.base.tables import names
from nephroscope.base.text import counted_noun
from nephroscope.imaging.dicom.series import SUFFIX, SeriesFiles, read_dicom_series
from nephroscope.imaging.files import file_name
from nephroscope.intake.export.describe import ExportSeries, describe_export, in_order, rank_of
from nephroscope.intake.export.drawn import GIVE_IT, OTHER_PATIENT
from nephroscope.intake.export.kinds import CT, LIKE_CT, OF_CT_CLASS, FoundRoi
from nephroscope.intake.export.roi_files import RoiFiles
from nephroscope.intake.export.scan import ExportScan, scan_export
from nephroscope.intake.labels.join import Found, join_found
from nephroscope.intake.labels.rows import LabelRow
from nephroscope.intake.other_files import of_other_kinds
from nephroscope.intake.safe_text import clean_text
from nephroscope.records import PHASES, Case, Cohort, Exclusion, Finding, Severity, digest_of
from nephroscope.records.cohort import Reason
from nephroscope.records.settings import READERS


def of_the_export(
    scan: ExportScan, rows: Sequence[ExportSeries], not_read: Sequence[Path] = ()
) -> list[Finding]:
    """What is worth knowing of the whole export, and of the files among the ROIs that are ``not_read``."""
    joined = {roi.path for row in rows for roi in (*row.rois, *(roi for roi, _ in row.not_joined))}
    lost = [roi for roi in scan.rois if roi.path not in joined]
    found = []
    for says, why in (
        (True, "refer to a CT series that is not in the export"),
        (False, f"do not say on which CT they were drawn; {GIVE_IT}"),
    ):
        those = [roi.path for roi in lost if any(place.series_uid for place in roi.drawn_on) == says]
        if those:
            text = f"{len(those)} ROI files {why}: {names(map(file_name, those))}"
            found.append(Finding(code="roi-orphan", severity="warning", message=text, case_id=""))
    strangers = {roi.path for row in rows for roi, why in row.not_joined if why == OTHER_PATIENT}
    if strangers:
        told = names(map(file_name, strangers))
        text = f"{len(strangers)} ROI files were not used: each refers to a CT that has another PatientID: {told}"
        found.append(Finding(code="roi-other-patient", severity="warning", message=text, case_id=""))
    if scan.naming:
        text = (
            f"{len(scan.naming)} folders or ROI files are named after their patient; cohort.csv and series.csv do "
            "not repeat it, the lists of files in series/ must: de-identify before the study leaves the hospital"
        )
        found.append(Finding(code="path-names-patient", severity="warning", message=text, case_id=""))
    if scan.damaged:
        text = f"{len(scan.damaged)} files are damaged or cannot be opened, and were skipped"
        found.append(Finding(code="file-damaged", severity="warning", message=text, case_id=""))
    refused = Counter(row.reason for row in rows if row.kind in LIKE_CT and not row.accepted)
    for reason, n in refused.most_common():
        text = f"{n} CT series cannot be used: {reason}"
        found.append(Finding(code="series-unusable", severity="warning", message=text, case_id=""))
    others = [*not_read, *(path for paths in scan.others.values() for path in paths)]
    return [
        *found,
        *of_other_kinds(others, max(scan.n_not_dicom, sum(map(len, scan.others.values()))) + len(not_read)),
    ]


def of_cases(
    cases: Sequence[Case], rows: Sequence[ExportSeries], preference: Sequence[str] = PHASES
) -> list[Finding]:
    """Second readers by assumption; ROIs and phases that the present rule does not use; choices by little."""
    by_patient: dict[str, list[ExportSeries]] = defaultdict(list)
    for row in rows:
        if row.kind == CT and row.accepted:
            by_patient[row.patient_id].append(row)
    found = _readers(cases, rows)
    for case in cases:
        group = by_patient.get(case.patient_id, [])
        chosen = next((row for row in group if row.chosen), None)
        if chosen is not None and len(chosen.rois) > 2:
            text = f"{len(chosen.rois) - 2} further ROIs of this series are not used"
            found.append(Finding(code="roi-unused", severity="note", message=text, case_id=case.case_id))
        found += _chosen_by_little(case, chosen, group, preference) if chosen is not None else []
        others = Counter(row.phase for row in group if not row.chosen)
        if others:
            listed = ", ".join(f"{n} {phase}" for phase, n in sorted(others.items()))
            text = (
                f"1 of {len(group)} usable CT series is taken ({case.series[0].phase}); "
                f"also in series.csv: {listed}"
            )
            found.append(Finding(code="phases-kept", severity="note", message=text, case_id=case.case_id))
    return found


def _chosen_by_little(
    case: Case, chosen: ExportSeries, group: Sequence[ExportSeries], preference: Sequence[str]
) -> list[Finding]:
    """That only the Series Number, or nothing, says why this series was taken and not another of its phase."""
    rank = rank_of(chosen, preference)
    equal = [
        row
        for row in group
        if rank_of(row, preference)[:-1] == rank[:-1] and bool(row.rois) == bool(chosen.rois)
    ]
    found = []
    if len(equal) > 1:
        alike = sum(rank_of(row, preference) == rank for row in equal)
        number = chosen.series_number if chosen.series_number.isdecimal() else ""
        how = (
            f"number {number} has the lowest Series Number"
            if alike == 1
            else "the one taken comes first by file name"
        )
        text = (
            f"{len(equal)} CT series are equally good ({chosen.phase}, "
            f"{counted_noun(chosen.n_slices, 'slice')}): {how}; the others are in series.csv, so compare them"
        )
        severity: Severity = "note" if alike == 1 else "warning"
        found.append(Finding(code="series-tie", severity=severity, message=text, case_id=case.case_id))
    return found


def _readers(cases: Sequence[Case], rows: Sequence[ExportSeries]) -> list[Finding]:
    """That a second file on one CT was taken as a second reader's, where the files do not name two readers."""
    known = {roi.path: roi for row in rows for roi in row.rois}
    second: dict[str, FoundRoi] = {}
    for case in cases:
        for one in case.series:
            drawn = {roi.author: known.get(roi.path) for roi in case.rois if roi.series == one.name}
            first, other = (drawn.get(reader) for reader in READERS)
            if other is not None and not _two_readers(first, other):
                second[case.case_id] = other
    if not second:
        return []
    called = {word for roi in second.values() for name in roi.names if (word := clean_text(name))}
    words = f" ({names(called)})" if called else ""
    text = f"in {len(second)} cases the second ROI file was taken as that of a second annotator{words}"
    return [Finding(code="readers-assumed", severity="note", message=text, case_id="")]


def _two_readers(one: FoundRoi | None, two: FoundRoi) -> bool:
    """True when both files name who drew, and not the same."""
    return one is not None and bool(one.reader[0]) and bool(two.reader[0]) and one.reader[0] != two.reader[0]


__all__ = ["DicomImport", "DicomOptions", "import_dicom", "look_into", "read_dicom_series", "scan_export"]
NOT_READ = "of a kind that is not read: save it as .nii.gz, .nrrd or DICOM SEG"
LISTS_FOLDER, ROIS_FOLDER = "series", "rois"


@dataclass(frozen=True, kw_only=True)
class DicomOptions:
    """What an import goes by.

    Attributes:
        subtypes: The study's, in output order.
        positive: The one whose probability is the score.
        labels: Rows of the label table; None imports without labels.
        preference: Phases, the preferred first.
        rois: ROI files outside the export, by the name of patient or case.
        study: The study folder; lists of files are to be written below it.
        keep_incomplete: Patients without an ROI or a label are cases too.
    """

    subtypes: tuple[str, ...]
    positive: str
    labels: list[LabelRow] | None = None
    preference: Sequence[str] = PHASES
    rois: RoiFiles = field(default_factory=RoiFiles)
    study: Path = Path()
    keep_incomplete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomImport:
    """Cases of an export, who was left out and why, what each series is, and what is worth knowing.

    ``lists`` holds, by the path that cases name as their image, the files of series that are not simply a folder.
    ``copies`` holds, by the path that cases name, the ROI files to be copied, because their own path names a patient.
    """

    cases: tuple[Case, ...]
    exclusions: tuple[Exclusion, ...]
    findings: tuple[Finding, ...]
    scan: ExportScan
    series: tuple[ExportSeries, ...]
    lists: Mapping[Path, SeriesFiles]
    copies: Mapping[Path, Path]


def look_into(
    folder: Path,
    preference: Sequence[str] = PHASES,
    rois: RoiFiles | None = None,
    labels: Sequence[LabelRow] | None = None,
    keep_incomplete: bool = False,
) -> tuple[ExportScan, list[ExportSeries]]:
    """What an export holds and what would be taken, from headers alone.

    Args:
        folder: The export.
        preference: Phases, the preferred first.
        rois: ROI files outside the export.
        labels: Rows of the label table; they may name segments.
        keep_incomplete: As in `DicomOptions`.

    Raises:
        CohortError: There is no such folder, or no file in it.
    """
    scan = scan_export(folder)
    if scan.n_files == 0:
        raise CohortError(
            where="folder of the export",
            expected="a DICOM export",
            found="no files" if folder.is_dir() else "no such folder",
            remedy="check the path",
        )
    drawn_elsewhere = (rois or RoiFiles()).of_patients(labels, folder)
    return scan, describe_export(scan, preference, drawn_elsewhere, _meant(labels or ()), keep_incomplete)


def _meant(labels: Sequence[LabelRow]) -> Mapping[str, set[str]]:
    """By patient_id in lower case, the segments that label rows name; "" for one by its number."""
    meant: dict[str, set[str]] = defaultdict(set)
    for row in labels:
        if row.tumor_name or row.tumor_label is not None:
            name = row.tumor_name.strip().casefold()
            meant[(row.patient_id or row.case_id).lower()].add("" if name.startswith("#") else name)
    return meant


def import_dicom(folder: Path, options: DicomOptions) -> DicomImport:
    """One case per label row, or per patient, with every usable CT series and every ROI. Pixels are not read.

    The drawn series of the preferred phase comes first. On each series, readers are numbered in the order of their
    name, then SeriesNumber, then UID.

    Raises:
        CohortError: The folder holds no CT.
    """
    keep = options.keep_incomplete
    scan, rows = look_into(folder, options.preference, options.rois, options.labels, keep)
    cts = [row for row in rows if row.kind in LIKE_CT]
    if not cts:
        n_other = scan.n_files - scan.n_not_dicom
        raise CohortError(
            where="folder of the export",
            expected="a DICOM export with CT series",
            found=f"no CT ({n_other} other DICOM files, {scan.n_not_dicom} other files)",
            remedy="check the path; for NIfTI or images use `nephroscope import nifti` or `import images`",
        )
    by_patient: dict[str, list[ExportSeries]] = defaultdict(list)
    for row in cts:
        by_patient[row.patient_id].append(row)
    taker = _Taker(scan, options)
    found = [taker.found(patient, group) for patient, group in sorted(by_patient.items())]
    found = [replace(volume, keep_incomplete=keep) for volume in found]
    cases, exclusions = join_found(found, options.labels, options.subtypes, "dicom", source=folder.resolve())
    copies: dict[Path, Path] = {}
    cases = tuple(_without_names(case, scan.naming, options.study, copies) for case in cases)
    cohort = Cohort(subtypes=options.subtypes, positive=options.positive, cases=cases, exclusions=exclusions)
    taken = {one.image for case in cases for one in case.series}
    return DicomImport(
        cases=cohort.cases,
        exclusions=cohort.exclusions,
        findings=(
            *of_the_export(scan, rows, options.rois.not_read),
            *of_cases(cases, rows, options.preference),
        ),
        scan=scan,
        series=tuple(rows),
        lists={path: files for path, files in taker.lists.items() if path in taken},
        copies=copies,
    )


def _without_names(case: Case, naming: Set[str], study: Path, copies: dict[Path, Path]) -> Case:
    """The case with a place in the study for each ROI file whose own path holds the patient's name."""

    def placed(path: Path) -> Path:
        if str(path) not in naming:
            return path
        place = study.resolve() / ROIS_FOLDER / f"{digest_of(str(path))[:12]}.dcm"
        copies[place] = path
        return place

    return replace(
        case,
        series=tuple(replace(one, organs=one.organs and placed(one.organs)) for one in case.series),
        rois=tuple(replace(roi, path=placed(roi.path)) for roi in case.rois),
    )


class _Taker:
    """Gives each patient's CT and ROI; ``lists`` fills with the series that are not simply a folder."""

    def __init__(self, scan: ExportScan, options: DicomOptions) -> None:
        self.scan, self.options = scan, options
        self.lists: dict[Path, SeriesFiles] = {}
        self.cases_of: dict[str, list[str]] = defaultdict(list)
        for label in options.labels or []:
            self.cases_of[label.patient_id or ""].append(label.case_id)
        self.ct_files_in = Counter(
            os.path.dirname(path)  # noqa: PTH120 - a hundred thousand Path objects take a hundred megabytes
            for (_, kind, _), series in scan.series.items()
            if kind in OF_CT_CLASS
            for path in series.paths
        )

    def found(self, patient: str, group: Sequence[ExportSeries]) -> Found:
        """The CT series of a patient, the one that is taken first; or the reason why there is none."""
        chosen = next((row for row in group if row.chosen), None)
        key = patient or f"series-{group[0].series_uid[-12:]}"
        if chosen is None:
            unread = self.options.rois.not_read_of(patient, self.cases_of[patient])
            why = _why_none(patient, group) + (f", and {unread.name} is {NOT_READ}" if unread else "")
            return Found(key=key, image=Path(group[0].files[0]).parent, refusal=why)
        facts = self.scan.series[chosen.series_uid, CT, patient]
        outside = self.options.rois.of(patient, self.cases_of[patient])
        taken = self._series(key, chosen, outside)
        if of_cases := self.options.rois.of_cases(self.cases_of[patient]):
            taken = replace(taken, rois=of_cases)
        others = [row for row in group if row.accepted and row is not chosen]
        return replace(
            taken,
            sex=facts.sex,
            age_years=facts.age_years,
            synthetic=facts.synthetic,
            other_series=tuple(self._series(key, row) for row in in_order(others, self.options.preference)),
        )

    def _series(self, key: str, row: ExportSeries, outside: Sequence[Path] = ()) -> Found:
        """One series with the ROIs drawn on it, people's before programs'; or with ROI files from outside."""
        drawn = sorted(row.rois, key=lambda roi: bool(roi.model))
        people = [roi.path for roi in drawn if not roi.model]
        first = [*outside] or people or [roi.path for roi in drawn[:1]]
        return Found(
            key=key,
            image=self._image(row),
            roi=first[0] if first else None,
            roi_reader2=first[1] if len(first) > 1 else None,
            rois=() if outside else drawn,
            models={roi.path: roi.model for roi in drawn if roi.model},
            organs=row.organs,
            series_uid=row.series_uid,
            phase=row.phase,
        )

    def _image(self, row: ExportSeries) -> Path:
        """The folder of a series; where that will not do, or names its patient, the path of a list to be written."""
        files = tuple(Path(file) for file in row.files)
        folder = files[0].parent
        alone = {file.parent for file in files} == {folder} and not row.in_one_file
        alone = alone and str(folder) not in self.scan.naming
        if alone and self.ct_files_in[str(folder)] == len(files):
            return folder
        name = digest_of([row.series_uid, row.acquisition])[:12]
        path = self.options.study.resolve() / LISTS_FOLDER / f"{name}{SUFFIX}"
        self.lists[path] = SeriesFiles(
            series_uid=row.series_uid, files=files, acquisition=row.acquisition if row.in_one_file else None
        )
        return path


def _why_none(patient: str, group: Sequence[ExportSeries]) -> str:
    if not patient:
        return f"{len(group)} CT series without PatientID"
    usable = [row for row in group if row.accepted]
    n_more = len({row.series_uid for row in group if row.reason != group[0].reason})
    drawn = next((row for row in group if row.rois), None)
    if drawn:
        return f"the CT its ROI was drawn on cannot be used: {drawn.reason}"
    told = next((why for row in usable for _, why in row.not_joined), "")
    if told:
        return Reason(f"no ROI: the file that refers to its CT series is not used: {told}", "no-roi")
    if usable:
        return Reason(f"no ROI: no SEG or RTSTRUCT refers to its CT series ({len(usable)})", "no-roi")
    more = f" (and {n_more} more)" if n_more else ""
    return Reason(f"no usable CT series: {group[0].reason}{more}", "no-usable-ct")

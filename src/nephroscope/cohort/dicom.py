"""A hospital's DICOM export in, any tree of files; one case per patient out: CT series, ROI and label joined."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nephroscope.cohort.join import Found, join_found
from nephroscope.cohort.labels import LabelRow, parse_age
from nephroscope.cohort.series import is_ct_image, read_dicom_series, read_header
from nephroscope.cohort.tables import names, parse_sex
from nephroscope.errors import CohortError
from nephroscope.records import Case, Cohort, Exclusion, Finding

__all__ = ["DicomImport", "ExportScan", "import_dicom", "read_dicom_series", "scan_export"]

# Names of patients are not among them: they are never read into records or messages.
TAGS = (
    *(
        "Modality",
        "PatientID",
        "PatientSex",
        "PatientAge",
        "SyntheticData",
        "SeriesInstanceUID",
        "SOPInstanceUID",
    ),
    *("SeriesNumber", "ContentCreatorName", "ReferencedSeriesSequence"),
)


@dataclass(kw_only=True)
class FoundSeries:
    """A CT series of an export: where its files lie and whose it is."""

    uid: str
    patient_id: str
    sex: Any = None
    age_years: float | None = None
    synthetic: bool = False
    folders: set[Path] = field(default_factory=set)
    n_files: int = 0


@dataclass(frozen=True, kw_only=True)
class FoundSeg:
    """A DICOM SEG of an export: the series it refers to (empty: none), and the reader's place in line."""

    path: Path
    patient_id: str
    series_uid: str
    reader: tuple[str, int, str]


@dataclass(frozen=True, kw_only=True)
class ExportScan:
    """What an export holds: CT series by UID, segmentations, and how many files are something else."""

    series: dict[str, FoundSeries]
    segs: tuple[FoundSeg, ...]
    n_other_dicom: int
    n_not_dicom: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomImport:
    """Cases of an export, who was left out and why, and what is worth knowing."""

    cases: tuple[Case, ...]
    exclusions: tuple[Exclusion, ...]
    findings: tuple[Finding, ...]


def scan_export(folder: Path) -> ExportScan:
    """Headers of everything below ``folder``: CT files grouped by series, SEG files by the series they refer to."""
    series: dict[str, FoundSeries] = {}
    segs: list[FoundSeg] = []
    n_other_dicom = n_not_dicom = 0
    for path in sorted(p for p in folder.resolve().rglob("*") if p.is_file()):
        header = read_header(path, TAGS)
        modality = header.get("Modality") if header is not None else None
        if header is None:
            n_not_dicom += 1
        elif is_ct_image(header):
            _add_ct(series, header, path)
        elif modality == "SEG":
            segs.append(_seg(header, path))
        else:
            n_other_dicom += 1
    return ExportScan(series=series, segs=tuple(segs), n_other_dicom=n_other_dicom, n_not_dicom=n_not_dicom)


def import_dicom(
    folder: Path, labels: list[LabelRow] | None, subtypes: tuple[str, ...], positive: str
) -> DicomImport:
    """One case per patient of an export: the CT series that has a SEG, with the label of that PatientID.

    Readers stand in the order of their name, then SeriesNumber, then UID; the first gives the ROI, the second is
    kept for agreement. Pixels are not read.

    Raises:
        CohortError: The folder holds no CT.
    """
    scan = scan_export(folder)
    if not scan.series:
        raise CohortError(
            where=f"folder {folder.name}",
            expected="a DICOM export with CT series",
            found=f"no CT ({scan.n_other_dicom} other DICOM files, {scan.n_not_dicom} other files)",
            remedy="check the path; for NIfTI or images use `nephroscope import nifti` or `import images`",
        )
    by_patient: dict[str, list[FoundSeries]] = defaultdict(list)
    for series in scan.series.values():
        by_patient[series.patient_id].append(series)
    segs_of: dict[str, list[FoundSeg]] = defaultdict(list)
    for seg in sorted(scan.segs, key=lambda seg: seg.reader):
        segs_of[seg.series_uid].append(seg)
    in_folder: dict[Path, set[str]] = defaultdict(set)
    for series in scan.series.values():
        for place in series.folders:
            in_folder[place].add(series.uid)
    found = [_found(patient, group, segs_of, in_folder) for patient, group in sorted(by_patient.items())]
    cases, exclusions = join_found(found, labels, subtypes, "dicom")
    cohort = Cohort(subtypes=subtypes, positive=positive, cases=cases, exclusions=exclusions)
    return DicomImport(
        cases=cohort.cases,
        exclusions=cohort.exclusions,
        findings=tuple(_orphans(scan) + _more_readers(cases, segs_of, scan)),
    )


def _add_ct(series: dict[str, FoundSeries], header: Any, path: Path) -> None:
    uid = str(header.get("SeriesInstanceUID", ""))
    if uid not in series:
        series[uid] = FoundSeries(
            uid=uid,
            patient_id=str(header.get("PatientID") or "").strip(),
            sex=_lenient(parse_sex, header.get("PatientSex")),
            age_years=_lenient(parse_age, header.get("PatientAge")),
            synthetic=header.get("SyntheticData") == "YES",
        )
    series[uid].folders.add(path.parent)
    series[uid].n_files += 1


def _seg(header: Any, path: Path) -> FoundSeg:
    referenced = header.get("ReferencedSeriesSequence") or []
    return FoundSeg(
        path=path,
        patient_id=str(header.get("PatientID") or "").strip(),
        series_uid=str(referenced[0].get("SeriesInstanceUID", "")) if referenced else "",
        reader=(
            str(header.get("ContentCreatorName") or ""),
            int(header.get("SeriesNumber") or 0),
            str(header.get("SOPInstanceUID", "")),
        ),
    )


def _found(
    patient: str,
    group: list[FoundSeries],
    segs_of: dict[str, list[FoundSeg]],
    in_folder: dict[Path, set[str]],
) -> Found:
    """The one usable CT series of a patient, or the reason why there is none."""
    drawn = [series for series in group if segs_of[series.uid]]
    series = (drawn or group)[0]
    folder = min(series.folders)
    refusal = ""
    if not patient:
        refusal = f"{len(group)} CT series without PatientID"
    elif not drawn:
        refusal = f"no ROI: no DICOM SEG refers to its CT series ({len(group)})"
    elif len(drawn) > 1:
        refusal = f"{len(drawn)} CT series with a ROI; keep the one to be used in the export"
    elif len(series.folders) > 1:
        refusal = f"its CT series lies in {len(series.folders)} folders; put it in one"
    elif len(in_folder[folder]) > 1:
        refusal = f"its folder holds {len(in_folder[folder])} CT series; give each series its own folder"
    segs = segs_of[series.uid]
    return Found(
        key=patient or f"series-{series.uid[-12:]}",
        image=folder,
        roi=segs[0].path if segs else None,
        roi_reader2=segs[1].path if len(segs) > 1 else None,
        sex=series.sex,
        age_years=series.age_years,
        synthetic=series.synthetic,
        refusal=refusal,
    )


def _orphans(scan: ExportScan) -> list[Finding]:
    """SEG files whose CT series is not in the export."""
    lost = [seg for seg in scan.segs if seg.series_uid not in scan.series]
    if not lost:
        return []
    text = f"{len(lost)} DICOM SEG refer to a CT series that is not here: {names(s.path.name for s in lost)}"
    return [Finding(code="roi-orphan", severity="warning", message=text, case_id="")]


def _more_readers(
    cases: tuple[Case, ...], segs_of: dict[str, list[FoundSeg]], scan: ExportScan
) -> list[Finding]:
    """Cases with a third reader, who is not used."""
    uid_of = {series.patient_id: series.uid for series in scan.series.values() if segs_of[series.uid]}
    return [
        Finding(
            code="roi-unused",
            severity="note",
            message=f"{len(segs_of[uid_of[case.patient_id]]) - 2} further ROI of this series are not used",
            case_id=case.case_id,
        )
        for case in cases
        if len(segs_of[uid_of.get(case.patient_id, "")]) > 2
    ]


def _lenient(parse: Any, text: object) -> Any:
    """A header value that helps when it can be read, and does no harm when not."""
    try:
        return parse(str(text or ""))
    except ValueError:
        return None

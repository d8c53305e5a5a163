"""An export's scan, its rows and the cases in; what is worth knowing of them, as findings, out."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from nephroscope.cohort.deidentify.words import clean_text
from nephroscope.cohort.export.describe import ExportSeries
from nephroscope.cohort.export.drawn import OTHER_PATIENT
from nephroscope.cohort.export.found_roi import FoundRoi
from nephroscope.cohort.export.kinds import CT
from nephroscope.cohort.export.scan import ExportScan
from nephroscope.cohort.series.dicom_files import file_name
from nephroscope.cohort.tables import names
from nephroscope.records import Case, Finding


def of_the_export(scan: ExportScan, rows: Sequence[ExportSeries]) -> list[Finding]:
    """What is worth knowing of the whole export."""
    uids = {row.series_uid for row in rows if row.kind == CT}
    lost = [roi for roi in scan.rois if roi.series_uid not in uids]
    found = []
    if lost:
        told = names(file_name(roi.path) for roi in lost)
        text = f"{len(lost)} ROI files refer to a CT series that is not here: {told}"
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
        text = f"{len(scan.damaged)} files are damaged or may not be opened, and were passed over"
        found.append(Finding(code="file-damaged", severity="warning", message=text, case_id=""))
    refused = Counter(row.reason for row in rows if row.kind == CT and not row.accepted)
    for reason, n in refused.most_common():
        text = f"{n} CT series cannot be used: {reason}"
        found.append(Finding(code="series-unusable", severity="warning", message=text, case_id=""))
    return found


def of_cases(cases: Sequence[Case], rows: Sequence[ExportSeries]) -> list[Finding]:
    """Second readers by assumption, a third who is not used; and phases that were kept for later."""
    by_patient: dict[str, list[ExportSeries]] = defaultdict(list)
    for row in rows:
        if row.kind == CT and row.accepted:
            by_patient[row.patient_id].append(row)
    found = _readers(cases, rows)
    for case in cases:
        group = by_patient.get(case.patient_id, [])
        chosen = next((row for row in group if row.chosen), None)
        if chosen is not None and len(chosen.rois) > 2:
            text = f"{len(chosen.rois) - 2} further ROI of this series are not used"
            found.append(Finding(code="roi-unused", severity="note", message=text, case_id=case.case_id))
        others = Counter(row.phase for row in group if not row.chosen)
        if others:
            told = ", ".join(f"{n} {phase}" for phase, n in sorted(others.items()))
            text = f"1 of {len(group)} usable CT series is taken ({case.phase}); kept for later: {told}"
            found.append(Finding(code="phases-kept", severity="note", message=text, case_id=case.case_id))
    return found


def _readers(cases: Sequence[Case], rows: Sequence[ExportSeries]) -> list[Finding]:
    """That a second file on one CT was taken as a second reader's, where the files do not name two readers."""
    known = {roi.path: roi for row in rows for roi in row.rois}
    second = [
        known[case.roi_reader2]
        for case in cases
        if case.roi_reader2 in known
        and not _two_readers(known.get(case.roi) if case.roi else None, known[case.roi_reader2])
    ]
    if not second:
        return []
    called = {word for roi in second for name in roi.names if (word := clean_text(name))}
    told = f" ({names(called)})" if called else ""
    text = f"in {len(second)} cases the second ROI file was taken as a second reader's{told}"
    return [Finding(code="readers-assumed", severity="note", message=text, case_id="")]


def _two_readers(one: FoundRoi | None, two: FoundRoi) -> bool:
    """True when both files name who drew, and not the same."""
    return one is not None and bool(one.reader[0]) and bool(two.reader[0]) and one.reader[0] != two.reader[0]

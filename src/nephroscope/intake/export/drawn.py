"""Which ROI was drawn on which CT series of an export; and why the others belong to none."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nephroscope.imaging.dicom.acquisitions import split_acquisitions
from nephroscope.intake.export.kinds import CT, LIKE_CT, RTSTRUCT, SEG, FoundRoi
from nephroscope.intake.export.scan import ExportScan
from nephroscope.intake.safe_text import clean_text

ORGANS = "kidneys and no tumor: kept as the organs of its CT"


@dataclass(frozen=True, kw_only=True)
class ExportSeries:
    """One series of an export, or one acquisition of it.

    Attributes:
        acquisition: 1, 2 ... when the series holds several; 0 when it is one.
        phase: One of the five phases; ``evidence`` says in which words it was found. Empty where it is no CT.
        spacing_mm: Distance between slices; None when it is no even stack.
        accepted: True when it can be used: a CT that is an even stack, or an ROI of one.
        chosen: True when it becomes a case's CT or ROI.
        reason: Why it is not accepted, or why it is chosen or not.
        rois: ROI files drawn on it, readers in order.
        files: Its files, duplicates included.
        not_joined: ROI files that refer to it and are not its ROI, each with the reason.
        series_number, description: As in the header; the description is free text, and may name a patient.
        conventional: False for a sharp kernel, and where values may not be HU: taken after the others of its phase.
        in_one_file: True when a multi-frame file holds several acquisitions, so that files do not tell them apart.
    """

    series_uid: str
    acquisition: int
    study_uid: str
    patient_id: str
    modality: str
    kind: str
    phase: str
    evidence: str
    n_files: int
    n_slices: int
    spacing_mm: float | None
    manufacturer: str
    accepted: bool
    chosen: bool = False
    reason: str = ""
    rois: tuple[FoundRoi, ...] = ()
    files: tuple[str, ...] = field(default=(), repr=False)
    not_joined: tuple[tuple[FoundRoi, str], ...] = field(default=(), repr=False)
    series_number: str = ""
    description: str = field(default="", repr=False)
    in_one_file: bool = False
    conventional: bool = True

    @property
    def organs(self) -> Path | None:
        """The ROI file of kidneys, with or without the aorta, that was drawn on it."""
        return next((roi.path for roi, why in self.not_joined if why == ORGANS), None)


OTHER_PATIENT = "it refers to a CT that has another PatientID"
NO_ACQUISITION = "it does not say on which acquisition of its CT series it was drawn"
_Images = set[tuple[str, int | None]]


def join_rois(
    rows: Sequence[ExportSeries], scan: ExportScan, meant: Mapping[str, Collection[str]]
) -> list[ExportSeries]:
    """The rows, each CT with the ROI files drawn on it, readers in order, and those that are not, with the reason.

    Of a series with several acquisitions, an ROI is drawn on the one whose image, or frame of an image, it names.
    ROI and CT of different patients do not belong together, whatever their UIDs say.

    Args:
        rows: One per series or acquisition.
        scan: What they are of.
        meant: By patient_id in lower case, the names of segments that a label row gives; "" for one by its number.
    """
    of_series: dict[str, list[FoundRoi]] = defaultdict(list)
    for roi in sorted(scan.rois, key=lambda roi: roi.reader):
        of_series[roi.series_uid].append(roi)
    patients: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        patients[row.series_uid].add(row.patient_id.casefold())
    joined = []
    for row in rows:
        rois = of_series.get(row.series_uid, []) if row.kind in LIKE_CT else []
        of_acquisition = _images(row, scan) if rois and row.acquisition else []
        verdicts = [
            (roi, _why_not(roi, row, patients[row.series_uid], of_acquisition, meant)) for roi in rois
        ]
        own = tuple(roi for roi, why in verdicts if why == "")
        others = tuple((roi, why) for roi, why in verdicts if why)
        joined.append(replace(row, rois=own, not_joined=others) if verdicts else row)
    return joined


def judge_rois(rows: Sequence[ExportSeries], scan: ExportScan) -> list[ExportSeries]:
    """The rows, each SEG and RTSTRUCT accepted when a usable CT here is what it was drawn on."""
    uid_of = {str(roi.path): roi.series_uid for roi in scan.rois}
    drawn: dict[str, ExportSeries] = {}
    refused: dict[str, tuple[ExportSeries, str]] = {}
    for ct in rows:
        drawn.update({str(roi.path): ct for roi in ct.rois})
        refused.update({str(roi.path): (ct, why) for roi, why in ct.not_joined})
    return [_judged(row, uid_of, drawn, refused) if row.kind in (SEG, RTSTRUCT) else row for row in rows]


def _judged(
    row: ExportSeries,
    uid_of: Mapping[str, str],
    drawn: Mapping[str, ExportSeries],
    refused: Mapping[str, tuple[ExportSeries, str]],
) -> ExportSeries:
    cts = [drawn[file] for file in row.files if file in drawn]
    whys = [refused[file] for file in row.files if file in refused]
    if not cts and whys:
        ct, why = whys[0]
        return replace(
            row, reason=why, accepted=why == ORGANS and ct.accepted, chosen=why == ORGANS and ct.chosen
        )
    if not cts:
        said = any(uid_of.get(file) for file in row.files)
        why = "its CT series is not here" if said else "it does not say which CT series it was drawn on"
        return replace(row, reason=why)
    if not any(ct.accepted for ct in cts):
        return replace(row, reason=f"its CT is not usable: {cts[0].reason}")
    chosen = any(ct.chosen for ct in cts)
    return replace(
        row,
        accepted=True,
        chosen=chosen,
        reason="taken" if chosen else "drawn on a CT that is kept for later",
    )


def _why_not(
    roi: FoundRoi,
    row: ExportSeries,
    patients: Collection[str],
    of_acquisition: Sequence[_Images],
    meant: Mapping[str, Collection[str]],
) -> str | None:
    """Why an ROI that names this series is not its ROI: empty when it is, None when it is that of a row beside it."""
    patient = roi.patient_id.casefold()
    if patient and row.patient_id and patient != row.patient_id.casefold():
        return None if patient in patients else OTHER_PATIENT
    if of_acquisition:
        on = [
            number for number, images in enumerate(of_acquisition, 1) if _is_on(roi, images, of_acquisition)
        ]
        if on != [row.acquisition]:
            return None if len(on) == 1 else NO_ACQUISITION
    names = {name.strip().casefold() for name in roi.names}
    wanted = meant.get(row.patient_id.lower(), ())
    if not roi.content or "" in wanted or names.intersection(wanted):
        return ""
    if roi.content == "organs":
        return ORGANS
    told = ", ".join(dict.fromkeys(word for name in roi.names + roi.meanings if (word := clean_text(name))))
    return f"it contains no tumor, only other structures{f' ({told})' if told else ''}"


def _is_on(roi: FoundRoi, images: _Images, of_acquisition: Sequence[_Images]) -> bool:
    """True when an ROI names an image of this acquisition; where that is one file of several, also the frame."""
    n_with_file = sum(any(sop == roi.sop_uid for sop, _ in each) for each in of_acquisition)
    if n_with_file > 1:
        return (roi.sop_uid, roi.frame) in images
    return any(sop == roi.sop_uid for sop, _ in images)


def _images(row: ExportSeries, scan: ExportScan) -> list[_Images]:
    """Of each acquisition of the row's series its images: SOP Instance UID and frame."""
    of_files = scan.series[row.series_uid, CT, row.patient_id].facts()
    facts = [one for of_file in of_files for one in of_file]
    return [{(facts[i].sop_uid, facts[i].frame) for i in group} for group in split_acquisitions(facts)]

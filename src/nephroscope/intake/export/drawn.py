"""Which ROI was drawn on which CT series of an export; and why the others belong to none."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nephroscope.imaging.dicom.acquisitions import split_acquisitions
from nephroscope.imaging.dicom.slice_header import SliceHeader
from nephroscope.intake.export.kinds import CT, LIKE_CT, RTSTRUCT, SEG, DrawnOn, FoundRoi
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
GIVE_IT = "give it with --rois, in a folder of ROI files named after their patient"
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
    of_series: dict[str, list[tuple[FoundRoi, DrawnOn]]] = defaultdict(list)
    cts = {row.series_uid for row in rows if row.kind in LIKE_CT}
    for roi, places in _places(scan, cts):
        for place in places:
            of_series[place.series_uid].append((roi, place))
    patients: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        patients[row.series_uid].add(row.patient_id.casefold())
    joined = []
    for row in rows:
        rois = of_series.get(row.series_uid, []) if row.kind in LIKE_CT else []
        of_acquisition = _images(row, scan) if rois and row.acquisition else []
        verdicts = [
            (roi, _why_not((roi, place), row, patients[row.series_uid], of_acquisition, meant))
            for roi, place in rois
        ]
        own = tuple(roi for roi, why in verdicts if why == "")
        others = tuple((roi, why) for roi, why in verdicts if why)
        joined.append(replace(row, rois=own, not_joined=others) if verdicts else row)
    return joined


def _places(scan: ExportScan, cts: Collection[str]) -> Iterator[tuple[FoundRoi, list[DrawnOn]]]:
    """Each ROI with the CT series here that it was drawn on, readers in order.

    These are all that it names. Where none of them is here, or it names none, it is the series of its image.
    """
    found = [
        (roi, [place for place in roi.drawn_on if place.series_uid in cts])
        for roi in sorted(scan.rois, key=lambda roi: roi.reader)
    ]
    wanted = {place.sop_uid for roi, places in found if not places for place in roi.drawn_on} - {""}
    series_of = _series_of(scan, wanted) if wanted else {}
    for roi, places in found:
        known = [place for place in roi.drawn_on if place.sop_uid in series_of]
        by_image = [replace(place, series_uid=series_of[place.sop_uid]) for place in known]
        yield roi, places or by_image[:1]


def _series_of(scan: ExportScan, sop_uids: Collection[str]) -> dict[str, str]:
    """The CT series of these images, as far as they are here."""
    return {
        one.sop_uid: uid
        for (uid, kind, _), series in scan.series.items()
        if kind == CT
        for of_file in series.facts()
        for one in of_file
        if one.sop_uid in sop_uids
    }


def judge_rois(rows: Sequence[ExportSeries], scan: ExportScan) -> list[ExportSeries]:
    """The rows, each SEG and RTSTRUCT accepted when a usable CT here is what it was drawn on."""
    named = {str(roi.path) for roi in scan.rois if any(place.series_uid for place in roi.drawn_on)}
    drawn: dict[str, ExportSeries] = {}
    refused: dict[str, tuple[ExportSeries, str]] = {}
    for ct in rows:
        drawn.update({str(roi.path): ct for roi in ct.rois})
        refused.update({str(roi.path): (ct, why) for roi, why in ct.not_joined})
    return [_judged(row, named, drawn, refused) if row.kind in (SEG, RTSTRUCT) else row for row in rows]


def _judged(
    row: ExportSeries,
    named: Collection[str],
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
        said = any(file in named for file in row.files)
        why = (
            "its CT series is not here"
            if said
            else f"it does not say which CT series it was drawn on; {GIVE_IT}"
        )
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
    drawn: tuple[FoundRoi, DrawnOn],
    row: ExportSeries,
    patients: Collection[str],
    of_acquisition: Sequence[_Images],
    meant: Mapping[str, Collection[str]],
) -> str | None:
    """Why an ROI that names this series is not its ROI: empty when it is, None when it is that of a row beside it."""
    roi, place = drawn
    patient = roi.patient_id.casefold()
    if patient and row.patient_id and patient != row.patient_id.casefold():
        return None if patient in patients else OTHER_PATIENT
    if of_acquisition:
        on = [
            number for number, images in enumerate(of_acquisition, 1) if _is_on(place, images, of_acquisition)
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


def _is_on(place: DrawnOn, images: _Images, of_acquisition: Sequence[_Images]) -> bool:
    """True when an ROI names an image of this acquisition; where that is one file of several, also the frame."""
    n_with_file = sum(any(sop == place.sop_uid for sop, _ in each) for each in of_acquisition)
    if n_with_file > 1:
        return (place.sop_uid, place.frame) in images
    return any(sop == place.sop_uid for sop, _ in images)


def _images(row: ExportSeries, scan: ExportScan) -> list[_Images]:
    """Of each acquisition of the row's series its images: SOP Instance UID and frame."""
    return [{(one.sop_uid, one.frame) for one in slices} for slices in _acquisitions(row, scan)]


def slices_of(row: ExportSeries, scan: ExportScan) -> list[SliceHeader]:
    """The slices of a CT series, or of the one acquisition of it that the row is."""
    return _acquisitions(row, scan)[max(row.acquisition - 1, 0)]


def _acquisitions(row: ExportSeries, scan: ExportScan) -> list[list[SliceHeader]]:
    of_files = scan.series[row.series_uid, CT, row.patient_id].facts()
    facts = [one for of_file in of_files for one in of_file]
    return [[facts[i] for i in group] for group in split_acquisitions(facts)]

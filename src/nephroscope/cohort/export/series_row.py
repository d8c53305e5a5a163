"""What an export's series is, in one row: what `import dicom --dry-run` lists and series.csv keeps."""

from dataclasses import dataclass, field
from pathlib import Path

from nephroscope.cohort.export.found_roi import FoundRoi

ORGANS = "kidneys and no tumor: kept as the organs of its CT"


@dataclass(frozen=True, kw_only=True)
class ExportSeries:
    """One series of an export, or one acquisition of it.

    Attributes:
        acquisition: 1, 2 ... when the series holds several; 0 when it is one.
        phase: One of the five phases; ``evidence`` says in which words it was found. Empty where it is no CT.
        spacing_mm: Distance between slices; None when it is no even stack.
        accepted: True when it can be used: a CT that is an even stack, or a ROI of one.
        chosen: True when it becomes a case's CT or ROI.
        reason: Why it is not accepted, or why it is chosen or not.
        rois: ROI files drawn on it, readers in order.
        files: Its files, duplicates included.
        not_joined: ROI files that refer to it and are not its ROI, each with the reason.
        series_number, description: As in the header; the description is free text, and may name a patient.
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

    @property
    def organs(self) -> Path | None:
        """The ROI file of kidneys, with or without the aorta, that was drawn on it."""
        return next((roi.path for roi, why in self.not_joined if why == ORGANS), None)

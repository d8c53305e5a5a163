"""The command `nephroscope roi`: the ROI that the study uses, written for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from nephroscope.cli.outcome import Command, Outcome, StudyPath
from nephroscope.facade import Study


@dataclass(frozen=True, kw_only=True)
class WriteRoi(Command):
    """Write the ROI of a case, the consensus where there are two readers, as DICOM SEG or NIfTI.

    Example: nephroscope roi my-study P017 --out P017-tumor.dcm
    """

    study: StudyPath
    """Study folder."""
    case_id: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CASE")]
    """Case of cohort.csv."""
    out: Path
    """File to write: .dcm is a DICOM SEG of the case's CT series, .nii.gz a label map."""

    def run(self) -> Outcome:
        """Write it."""
        path = Study(self.study).write_roi(self.case_id, self.out)
        return Outcome(data={"case_id": self.case_id, "path": str(path)}, text=f"wrote {path}")

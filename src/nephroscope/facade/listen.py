"""The answer of the listener: what came is predicted with a bundle, as `nephroscope predict` does."""

from pathlib import Path
from typing import TYPE_CHECKING

from nephroscope.clinic.bundle import open_bundle
from nephroscope.exchange.segment import tumor_segment
from nephroscope.facade.answer_files import AnswerFiles
from nephroscope.facade.prediction import FilesToPredict, predict_files

if TYPE_CHECKING:
    from nephroscope.exchange.inbox import ReceivedCase
    from nephroscope.exchange.listener import Answering


def answering(bundle: Path, picture: bool) -> "Answering":
    """What answers a case with a structured report, with the ROI as SEG where it came as something else.

    Args:
        bundle: Checked now, and each time.
        picture: Write a secondary capture too.

    Raises:
        BundleError: The bundle is damaged, not allowed, or has a newer format.
    """
    open_bundle(bundle)

    def answer(case: "ReceivedCase", folder: Path) -> None:
        objects = AnswerFiles(
            sr=folder / "sr.dcm",
            seg=folder / "seg.dcm" if tumor_segment(case.roi) is None else None,
            sc=folder / "sc.dcm" if picture else None,
        )
        files = FilesToPredict(image=case.images, roi=case.roi, case_id=case.series_uid, objects=objects)
        predict_files(bundle, files)

    return answer

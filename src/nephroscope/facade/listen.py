"""The answer of the listener: what came is predicted with a bundle, as `nephroscope predict` does."""

from pathlib import Path
from typing import TYPE_CHECKING

from nephroscope.clinic.bundle import open_bundle
from nephroscope.exchange.segment import tumor_segment
from nephroscope.facade.answer_files import AnswerFiles
from nephroscope.facade.prediction import FilesToPredict, predict_files
from nephroscope.imaging.dicom.files import read_header
from nephroscope.intake.labels.values import lenient, parse_age, parse_sex
from nephroscope.records import ClinicalFacts

if TYPE_CHECKING:
    from nephroscope.exchange.inbox import ReceivedCase
    from nephroscope.exchange.listener import Answering

HEADERS = {"age": "the header of the CT (PatientAge)", "sex": "the header of the CT (PatientSex)"}


def facts_of_headers(images: Path) -> ClinicalFacts:
    """Age and sex, as far as all images of a series that say them agree; no header knows the tumor's size."""
    said: dict[str, set[str]] = {"PatientAge": set(), "PatientSex": set()}
    for path in sorted(path for path in images.iterdir() if path.is_file()):
        header = read_header(path, [*said])
        for name, texts in said.items():
            text = str((header.get(name) if header is not None else "") or "").strip()
            texts |= {text} if text else set()
    age, sex = (next(iter(texts)) if len(texts) == 1 else "" for texts in said.values())
    return ClinicalFacts(age_years=lenient(parse_age, age), sex=lenient(parse_sex, sex))


def answering(bundle: Path, picture: bool) -> "Answering":
    """What answers a case with a structured report, with the ROI as SEG where it came as something else.

    A bundle that uses clinical facts gets age and sex from the headers of the CT, and the answer says so.

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
        opened = open_bundle(bundle)
        files = FilesToPredict(
            image=case.images,
            roi=case.roi,
            case_id=case.series_uid,
            objects=objects,
            facts=facts_of_headers(case.images) if opened.scorer.facts else ClinicalFacts(),
            facts_from=HEADERS,
        )
        predict_files(opened, files)

    return answer

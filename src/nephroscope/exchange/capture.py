"""An answer as a picture for a PACS that shows nothing else: a secondary capture in the patient's study."""

import textwrap
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nephroscope.base.errors import SeriesError
from nephroscope.base.files import replacing
from nephroscope.exchange.report_sr import DESCRIPTION, answer_uid
from nephroscope.exchange.source import SourceSeries
from nephroscope.exchange.uids import derived_uid
from nephroscope.imaging.dicom.files import DICOM_DAMAGE, quiet
from nephroscope.imaging.files import damage_words
from nephroscope.imaging.picture import SlicePicture
from nephroscope.records.prediction import Prediction

FONT_PX, MARGIN_PX, LETTERS = 20, 16, 0.5  # width of a letter as a share of its height
WRITING, GROUND = (235, 240, 245), (24, 28, 34)
MOST_LINES = 12


def write_answer_capture(answer: Prediction, source: SourceSeries, path: Path, picture: SlicePicture) -> str:
    """Write the slice with the tumor's outline and the answer in words below; returns its SOP Instance UID.

    Nothing in the picture names the patient; the object belongs to the patient's study.

    Args:
        answer: From `predict_files`.
        source: The images of the CT that was predicted.
        path: File to write, whole or not at all.
        picture: From `draw_slice`.

    Raises:
        SeriesError: The images lack what the object must copy.
    """
    pixels = np.asarray(with_words(picture.image, words_of(answer)))
    uid = answer_uid("sc", answer)
    try:
        with quiet():
            made = _capture(answer, source, pixels, uid)
            with replacing(path) as temporary:
                made.save_as(temporary, enforce_file_format=True)
    except DICOM_DAMAGE as error:
        if isinstance(error, OSError):
            raise
        raise SeriesError(
            where=f"series {source.series_uid}",
            expected="CT images with the data that a secondary capture copies (patient and study)",
            found=f"images without them ({damage_words(error)})",
            remedy="give the original CT series",
        ) from error
    return uid


def words_of(answer: Prediction) -> list[str]:
    """What the picture says below the slice."""
    shares = ", ".join(f"{name} {p:.2f}" for name, p in answer.probabilities.items())
    limit = (
        f"; threshold {answer.threshold:.2f} on {answer.positive}" if len(answer.probabilities) == 2 else ""
    )
    lines = [
        f"{answer.call or 'not sure'}   (probability: {shares}{limit})",
        f"Why: {answer.reason}",
        f"nephroscope {answer.nephroscope}, {answer.bundle.model}, model {answer.model_digest}",
        "RESEARCH USE ONLY; not a medical device. Not verified by a physician.",
    ]
    doubts = [f"{one.severity}: {one.message}" for one in answer.findings if one.severity != "note"]
    return lines[:2] + doubts + lines[2:]


def with_words(image: Image.Image, lines: list[str]) -> Image.Image:
    """The picture with lines of text below it, broken at its width."""
    broken = broken_lines(lines, max(int((image.width - 2 * MARGIN_PX) / (FONT_PX * LETTERS)), 20))
    step = round(FONT_PX * 1.35)
    page = Image.new("RGB", (image.width, image.height + len(broken) * step + 2 * MARGIN_PX), GROUND)
    page.paste(image, (0, 0))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(FONT_PX)
    for number, line in enumerate(broken):
        pen.text((MARGIN_PX, image.height + MARGIN_PX + number * step), line, WRITING, font)
    return page


def broken_lines(lines: list[str], width: int) -> list[str]:
    """Lines of at most so many letters; of all but the last two at most so many as fit, and that there were more."""
    first, last = (
        [part for line in some for part in textwrap.wrap(line, width)] for some in (lines[:-2], lines[-2:])
    )
    if len(first) > MOST_LINES:
        first = [*first[: MOST_LINES - 1], "... and more: see the structured report"]
    return first + last


def _capture(answer: Prediction, source: SourceSeries, pixels: Any, uid: str) -> Any:
    import highdicom as hd

    when = datetime.fromisoformat(answer.date).astimezone()
    made = hd.sc.SCImage.from_ref_dataset(
        ref_dataset=source.headers[0],
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=derived_uid("sc-series", uid),
        series_number=source.series_number + 1002,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer="nephroscope",
        manufacturer_model_name="nephroscope",
        software_versions=answer.nephroscope,
        patient_orientation=("L", "P"),
        series_description=DESCRIPTION,
        specific_character_set="ISO_IR 192",
        content_date=when.date(),
        content_time=when.time(),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )
    source.copy_to(made)
    made.PatientOrientation = ""  # the picture itself shows R and L
    made.Laterality = {"left": "L", "right": "R"}.get(answer.side.drawn, "")
    made.BurnedInAnnotation = "NO"  # of what would name the patient
    made.InstanceCreationDate, made.InstanceCreationTime = made.ContentDate, made.ContentTime
    return made

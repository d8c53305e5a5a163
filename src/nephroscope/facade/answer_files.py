"""An answer -> the DICOM objects that were asked for, all of them or none.

What writes them is loaded only then: most answers are asked without.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nephroscope.base.errors import ConfigError, RoiError
from nephroscope.base.files import replacing
from nephroscope.imaging.files import file_kind
from nephroscope.imaging.picture import SlicePicture
from nephroscope.records import CTVolume, RoiMask, RoiOrigin
from nephroscope.records.prediction import Prediction

if TYPE_CHECKING:
    from nephroscope.exchange.segment import SegmentReference
    from nephroscope.exchange.source import SourceSeries


@dataclass(frozen=True, kw_only=True)
class AnswerFiles:
    """Where DICOM objects of an answer are to be written; None for those that are not wanted.

    Attributes:
        sr: Structured report.
        seg: The ROI as it was used.
        sc: Picture of the slice with the largest cross-section, with the answer in words.
    """

    sr: Path | None = None
    seg: Path | None = None
    sc: Path | None = None

    @property
    def wanted(self) -> tuple[Path, ...]:
        """Those that are."""
        return tuple(path for path in (self.sr, self.seg, self.sc) if path is not None)


@dataclass(frozen=True, kw_only=True)
class AskedRoi:
    """The ROI file of the case, and which tumor of it was taken; None for whole slices."""

    path: Path | None
    label: int = 1
    name: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class UsedRoi:
    """The ROI on the grid of the CT, None for whole slices; who drew it; and its picture, where that is wanted."""

    mask: RoiMask | None
    origin: RoiOrigin | None = None
    picture: SlicePicture | None = None


def prepare(files: AnswerFiles, image: Path, roi: AskedRoi, volume: CTVolume) -> "SourceSeries | None":
    """The images that the objects copy from; None where nothing is wanted. Refuses before anything is computed.

    Raises:
        ConfigError: A file would be written over another one that is asked for, or over the ROI.
        RoiError: A report is asked for and its ROI is no SEG, or there is no ROI to be written as one.
        SeriesError: The CT is not DICOM, or lacks what the objects must copy.
    """
    if not files.wanted:
        return None
    taken = [path.resolve() for path in (*files.wanted, *([roi.path] if roi.path else []))]
    if len(set(taken)) < len(taken):
        raise ConfigError(
            where="--sr, --seg and --sc",
            expected="names of new files, each another",
            found="the same name twice, or that of the ROI",
            remedy="choose other names",
        )
    from nephroscope.exchange.source import read_source_series

    source = read_source_series(image, volume)
    if files.seg is not None and roi.path is None:
        raise RoiError(
            where="--seg",
            expected="a case with an ROI",
            found="an answer about whole slices, without one",
            remedy="leave out --seg, or give --roi",
        )
    if files.sr is not None and files.seg is None and roi.path is not None and not is_seg(roi):
        raise RoiError(
            where="--sr",
            expected="an ROI that a report can refer to: a DICOM SEG",
            found=f"an ROI of another kind ({file_kind(roi.path)})",
            remedy="give --seg FILE too: the ROI is written there as SEG, to be sent with the report",
        )
    return source


def write_answer_files(
    files: AnswerFiles, answer: Prediction, source: "SourceSeries", asked: AskedRoi, used: UsedRoi
) -> None:
    """Write the objects that are wanted, all or none.

    Args:
        files: What is wanted.
        answer: From `predict_files`.
        source: From `prepare`.
        asked: The ROI file.
        used: The ROI as it was used.

    Raises:
        BundleError: Two subtypes would have one code in a report.
        RoiError: The ROI cannot be written as SEG.
        SeriesError: The images lack what the objects must copy.
    """
    from nephroscope.exchange.capture import write_answer_capture
    from nephroscope.exchange.report_sr import write_answer_sr

    with ExitStack() as stack:
        sr, seg, sc = (
            stack.enter_context(replacing(path)) if path is not None else None
            for path in (files.sr, files.seg, files.sc)
        )
        segment = _segment(seg, answer, source, asked, used)
        if sr is not None:
            write_answer_sr(answer, source, sr, segment)
        if sc is not None and used.picture is not None:
            write_answer_capture(answer, source, sc, used.picture)


def _segment(
    path: Path | None, answer: Prediction, source: "SourceSeries", asked: AskedRoi, used: UsedRoi
) -> "SegmentReference | None":
    """The segment that the answer is about: written now, or that of the ROI file."""
    from nephroscope.exchange.segment import tumor_segment, write_answer_seg

    if asked.path is None or used.mask is None:
        return None
    if path is None:
        return tumor_segment(asked.path, asked.label, asked.name)
    side = answer.side.drawn
    return write_answer_seg(used.mask, source, path, "" if side == "unknown" else side, used.origin)


def is_seg(roi: AskedRoi) -> bool:
    """True for an ROI that a report can refer to as it is.

    Raises:
        RoiError: The file is damaged, or does not say which segment is the tumor.
    """
    from nephroscope.exchange.segment import tumor_segment

    return roi.path is not None and tumor_segment(roi.path, roi.label, roi.name) is not None

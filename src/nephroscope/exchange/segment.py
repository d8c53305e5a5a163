"""The ROI of an answer as a SEG of the patient's study, and which segment of a SEG an answer is about."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nephroscope.base.errors import RoiError
from nephroscope.base.files import replacing
from nephroscope.exchange.source import SourceSeries
from nephroscope.exchange.uids import derived_uid
from nephroscope.imaging.files import file_kind
from nephroscope.imaging.masks.seg import seg_segments
from nephroscope.imaging.masks.segments import TumorQuery, choose_segment
from nephroscope.imaging.masks.write import ALGORITHMS, TUMOR_LABEL, SegIdentity, Side, make_seg
from nephroscope.imaging.read import read_dicom_roi, refusing_damage
from nephroscope.records import RoiMask, RoiOrigin


@dataclass(frozen=True, kw_only=True)
class SegmentReference:
    """One segment of a SEG, as a report refers to it.

    Attributes:
        tracking_uid, tracking_id: Of the tumor; empty where the SEG has none.
    """

    study_uid: str
    series_uid: str
    sop_class: str
    sop_uid: str
    number: int
    tracking_uid: str = ""
    tracking_id: str = ""


def write_answer_seg(
    roi: RoiMask, source: SourceSeries, path: Path, side: Side = "", origin: RoiOrigin | None = None
) -> SegmentReference:
    """Write the ROI as it was used, as a binary SEG with a frame for each slice of the CT.

    The same ROI on the same series gets the same UIDs.

    Args:
        roi: On the grid of the CT.
        source: Its images.
        path: File to write, whole or not at all.
        side: Side of the kidney; empty when not known.
        origin: Who drew it; where nobody says it, the segment is SEMIAUTOMATIC.

    Raises:
        RoiError: The series has another grid than the ROI, or lacks what a SEG must copy.
    """
    packed = hashlib.sha256(np.packbits(roi.voxels).tobytes()).hexdigest()
    origin = origin or RoiOrigin()
    algorithm = ALGORITHMS.get(origin.state, "SEMIAUTOMATIC")
    parts = [source.series_uid, *sorted(one.sop_uid for one in source.slices), packed, side, algorithm]
    parts += [origin.author, origin.state, origin.by] if origin.author else []
    identity = SegIdentity(
        series_uid=derived_uid("seg-series", *parts),
        sop_uid=derived_uid("seg", *parts),
        tracking_uid=derived_uid("tumor", *parts),
    )
    where = f"series {source.series_uid}, SEG"
    if not source.headers[0].get("FrameOfReferenceUID"):
        raise RoiError(
            where=where,
            expected="a CT with Frame of Reference UID: a SEG lies in the space that it names",
            found="none",
            remedy="give the series as the scanner sent it",
        )
    seg = make_seg(roi, source.headers, where, origin, side, identity)
    source.copy_to(seg)
    with replacing(path) as temporary:
        seg.save_as(temporary, enforce_file_format=True)
    return _reference(seg, TUMOR_LABEL)


def tumor_segment(path: Path, tumor_label: int = 1, tumor_name: str = "") -> SegmentReference | None:
    """The segment of a SEG file that is the tumor; None where the file is no SEG.

    Raises:
        RoiError: The file is damaged, or does not say which segment is the tumor.
    """
    if file_kind(path) != "dicom":
        return None
    where = "the ROI"
    roi = read_dicom_roi(path, where)
    if roi.Modality != "SEG":
        return None
    with refusing_damage(where):
        query = TumorQuery.tumor("", where, tumor_label, tumor_name)
        return _reference(roi, choose_segment(seg_segments(roi), query).number)


def _reference(seg: Any, number: int) -> SegmentReference:
    segment = next(one for one in seg.SegmentSequence if int(one.SegmentNumber) == number)
    return SegmentReference(
        study_uid=str(seg.StudyInstanceUID),
        series_uid=str(seg.SeriesInstanceUID),
        sop_class=str(seg.SOPClassUID),
        sop_uid=str(seg.SOPInstanceUID),
        number=number,
        tracking_uid=str(segment.get("TrackingUID", "")),
        tracking_id=str(segment.get("TrackingID", "")),
    )

"""Find the slices of one CT that lie under several Series Instance UIDs, and single images, which are no volume."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from nephroscope.imaging.dicom.slice_header import SliceHeader
from nephroscope.imaging.dicom.stack import SPACING_TOLERANCE_MM
from nephroscope.intake.export.drawn import ExportSeries

FEWEST_SLICES = 3  # any two images are at even distances
_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Where a usable series lies: along its normal from ``low_mm`` to ``high_mm``.

    ``key`` is equal for series that may be parts of one: patient, number, size, orientation, spacing, place.
    """

    key: _Key
    frame_uid: str
    low_mm: float
    high_mm: float


def part_of(row: ExportSeries, slices: Sequence[SliceHeader]) -> Part:
    """Where the slices of an even stack lie."""
    first = slices[0]
    orientation = np.array(first.orientation or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)).reshape(2, 3)
    places = np.array([one.position_mm for one in slices], float)
    along = places @ np.cross(*orientation)
    in_plane = np.round(orientation @ places[0], 1) + 0.0
    spacing = [round(mm, 3) for mm in first.pixel_spacing_mm or ()]
    form = (first.rows, first.columns, *spacing, *np.round(orientation.ravel(), 3).tolist())
    return Part(
        key=(row.patient_id, row.series_number, *form, *in_plane.tolist()),
        frame_uid=first.frame_uid,
        low_mm=float(along.min()),
        high_mm=float(along.max()),
    )


def judge_parts(rows: Sequence[ExportSeries], parts: Sequence[Part | None]) -> list[ExportSeries]:
    """The rows; parts of one CT under several UIDs, and single images, are no longer accepted, with the reason.

    Args:
        rows: Series of an export.
        parts: Where each usable one lies; None for the others.
    """
    groups: dict[_Key, list[int]] = defaultdict(list)
    for index, part in enumerate(parts):
        if part is not None and rows[index].accepted:
            groups[part.key].append(index)
    judged = list(rows)
    for group in groups.values():
        own = [(rows[index], part) for index in group if (part := parts[index]) is not None]
        cause = _one_stack(own) or _singles(own)
        for index in group:
            if cause and (rows[index].n_slices == 1 or _one_stack(own)):
                judged[index] = replace(rows[index], accepted=False, reason=cause)
    return judged


def _one_stack(own: Sequence[tuple[ExportSeries, Part]]) -> str:
    """Why these series are one CT; empty when they are not."""
    rows = [row for row, _ in own]
    studies, frames = {row.study_uid for row in rows}, {part.frame_uid for _, part in own}
    longer = [row for row in rows if row.n_slices > 1]
    if len(own) < 2 or len({row.series_uid for row in rows}) < len(rows):
        return ""
    if sum(row.n_slices for row in rows) < FEWEST_SLICES:
        return ""
    if longer and (len(studies) > 1 or not rows[0].series_number):
        return ""  # scans of two days, or of chest and abdomen
    places = sorted((part.low_mm, part.high_mm) for _, part in own)
    gaps = [low - high for (_, high), (low, _) in pairwise(places)]
    steps = [*gaps, *(row.spacing_mm or 0.0 for row in longer)]
    if min(steps) <= 0 or max(steps) - min(steps) > SPACING_TOLERANCE_MM:
        return ""
    what = "of one image each" if not longer else f"of {sum(row.n_slices for row in rows)} images together"
    same = [
        *(["study"] if len(studies) == 1 else []),
        *(["number"] if rows[0].series_number else []),
        *(["frame of reference"] if len(frames) == 1 else []),
    ]
    said = f", of the same {', '.join(same)}" if same else ""
    return (
        f"{len(rows)} series {what}, at even distances{said}: one CT whose Series Instance UID was changed "
        "file by file; anonymize it again with one UID per series"
    )


def _singles(own: Sequence[tuple[ExportSeries, Part]]) -> str:
    n_single = sum(row.n_slices == 1 for row, _ in own)
    if n_single < FEWEST_SLICES:
        return "a single image, which is no volume" if n_single else ""
    return (
        f"one of {n_single} series of one image each with the same number and size: their Series Instance UIDs may "
        "have been changed file by file; anonymize them again with one UID per series"
    )

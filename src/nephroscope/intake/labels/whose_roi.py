"""Which ROI on a CT is whose, where a patient has several tumors."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from nephroscope.base.errors import RoiError
from nephroscope.base.identifiers import existing
from nephroscope.base.text import counted_noun, first_few
from nephroscope.imaging.masks.segments import UNSAID
from nephroscope.imaging.read import roi_segments
from nephroscope.intake.labels.rows import LabelRow
from nephroscope.intake.safe_text import clean_text
from nephroscope.records import Case, Finding, warning
from nephroscope.records.cohort import Reason

MOST_READ = 5  # ROI files that an import reads
MOST_VOXELS_READ = 2**26  # of each; larger ones are left to `check`


class NamedRoi(Protocol):
    """An ROI file of a CT volume, and what its segments or contours are called, where that is known."""

    @property
    def path(self) -> Path:
        """Of the file."""

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of segments or contours."""

    @property
    def meanings(self) -> tuple[str, ...]:
        """What their codes mean, in words, by which they may be called too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiFile:
    """The plain `NamedRoi`."""

    path: Path
    names: tuple[str, ...] = ()
    meanings: tuple[str, ...] = ()


class DrawnOn(Protocol):
    """A CT volume: its ROI, that of a second reader, and all its ROI files where there are several."""

    @property
    def roi(self) -> Path | None:
        """The ROI of a volume with one tumor, or the file that holds those of all its tumors."""

    @property
    def roi_reader2(self) -> Path | None:
        """The second reader's."""

    @property
    def rois(self) -> Sequence[NamedRoi]:
        """All, readers in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiChoice:
    """The ROI of one tumor, and the second reader's; ``tumor_label`` None is the import's default."""

    path: Path | None
    reader2: Path | None = None
    tumor_label: int | None = None
    tumor_name: str = ""


def choose_rois(
    rows: Sequence[LabelRow], others: Sequence[LabelRow], volume: "DrawnOn", near: Sequence[Path]
) -> tuple[dict[str, RoiChoice], str]:
    """The ROI of each case on one CT volume and the second reader's, or the reason why it cannot be told.

    What one tumor's row claims, by its column roi or in its name, is never the second reader's of another tumor.
    The arguments are those of `_choose`.
    """
    chosen, reason = _choose(rows, [row for row in others if not row.excluded], volume, near)
    claims = {name: {choice.path} for name, choice in chosen.items()}
    named = _by_name(others, volume.rois)
    for row in others:
        choice = named.get(row.case_id)
        claims[row.case_id] = {find_beside(row.roi, near), choice.path if choice else None}
    settled = {}
    for name, choice in chosen.items():
        second = choice.reader2 or (volume.roi_reader2 if choice.path == volume.roi else None)
        of_others = set().union(*(paths for other, paths in claims.items() if other != name)) - {choice.path}
        settled[name] = replace(choice, reader2=None if second in of_others else second)
    return settled, reason


def _choose(
    rows: Sequence[LabelRow], others: Sequence[LabelRow], volume: "DrawnOn", near: Sequence[Path]
) -> tuple[dict[str, RoiChoice], str]:
    """The ROI of each case on one CT volume, or the reason why it cannot be told.

    A row tells it by its columns roi, tumor_name and tumor_label. Where no row of several does, a segment or a file
    whose name holds the case_id, or the tumor's number (``P7-2``, ``P7_T2``: 2), is taken, if there is exactly one.

    Args:
        rows: One per tumor that is to be a case, with different case_ids.
        others: Those of tumors that are left out, such as of another subtype: the one ROI may be theirs.
        volume: Its ROI, and all its ROI files where there are several.
        near: Folders in which relative paths of the column roi are looked for.
    """
    chosen: dict[str, RoiChoice] = {}
    for row in rows:
        path = volume.roi if row.roi is None else find_beside(row.roi, near)
        if row.roi is not None and path is None:
            return {}, Reason(f"its ROI file {row.roi.name} is not there", "no-roi")
        if row.organs is not None and find_beside(row.organs, near) is None:
            return {}, f"its organ file {row.organs.name} is not there"
        name = row.tumor_name or (f"#{row.tumor_label}" if row.tumor_label else "")
        chosen[row.case_id] = RoiChoice(path=path, tumor_label=row.tumor_label, tumor_name=name)
    n, listed = len(rows) + len(others), ", ".join(sorted(row.case_id for row in (*rows, *others)))
    if n == 1 or not rows:
        return chosen, ""
    told = [row for row in rows if row.roi or row.tumor_label or row.tumor_name]
    if not told:
        chosen = _by_name(rows, volume.rois)
    if len(chosen) < len(rows) or (told and len(told) < len(rows)):
        return {}, Reason(
            f"{n} label rows ({listed}) for one CT volume, but not every row says which ROI is its own; "
            "fill tumor_label, tumor_name or roi",
            "whose-roi",
        )
    if len(set(chosen.values())) < len(rows):
        return {}, Reason(f"{n} label rows ({listed}) for one CT volume name the same ROI", "whose-roi")
    return chosen, ""


def tumor_unsaid(cases: Sequence[Case]) -> list[Finding]:
    """A warning when ROI files hold several segments or labels and nothing says which is the tumor.

    Only the first files are looked at; `check` looks at all.
    """
    asked = [
        (case.case_id, roi.path)
        for case in cases
        for roi in case.rois
        if not roi.name and roi.label == UNSAID and roi.path.is_file()
    ][:MOST_READ]
    unsaid: dict[str, list[str]] = {}
    for case_id, path in asked:
        try:
            segments = roi_segments(path, case_id, MOST_VOXELS_READ)
        except RoiError:
            continue
        if len(segments) > 1 and not any(segment.says_tumor or segment.says_lesion for segment in segments):
            told = [f"{segment.number} {clean_text(segment.name)}".strip() for segment in segments]
            unsaid.setdefault(case_id, told)
    if not unsaid:
        return []
    listed = "; ".join(f"{case_id}: {first_few(told)}" for case_id, told in unsaid.items())
    text = (
        f"{counted_noun(len(unsaid), 'case')} will be refused, since none of several segments is called a tumor "
        f"({listed}); fill tumor_label or tumor_name in the label table"
        + (f"; only the first {MOST_READ} ROI files were looked at" if len(asked) == MOST_READ else "")
    )
    return [warning("roi-tumor-unsaid", text)]


def find_beside(path: Path | None, near: Sequence[Path]) -> Path | None:
    """A path as typed in a table, found in one of these folders, or None."""
    if path is None:
        return None
    there = (existing(place / path) for place in near)
    return next((found.resolve() for found in there if found is not None), None)


def _by_name(rows: Sequence[LabelRow], rois: Sequence[NamedRoi]) -> dict[str, RoiChoice]:
    """The one segment or file that is named after each case; cases without exactly one are not in it.

    The same name in a second file is the second reader's.
    """
    chosen = {}
    for row in rows:
        for wanted in _names(row):
            segments = [
                (roi.path, name) for roi in rois for name in roi.names if wanted.search(_spaced(name))
            ]
            files = [(roi.path, "") for roi in rois if wanted.search(_spaced(roi.path.name))]
            found = segments or files
            one_each = (
                len({path for path, _ in found}) == len(found) and len({name for _, name in found}) == 1
            )
            if len(found) == 1 or (segments and one_each):
                path, name = found[0]
                reader2 = found[1][0] if len(found) > 1 else None
                chosen[row.case_id] = RoiChoice(path=path, reader2=reader2, tumor_name=name)
            if found:
                break
    return chosen


def _names(row: LabelRow) -> list[re.Pattern[str]]:
    """How a case may be named: its case_id, then ``tumor 2`` where the case_id ends in the tumor's number."""
    wanted = [re.compile(rf"(?<!\w){re.escape(_spaced(row.case_id))}(?!\w)")]
    ending = _spaced(row.case_id.removeprefix(row.patient_id or ""))
    number = re.fullmatch(r"\W*(?:t|tumou?r|lesion|mass)? ?0*(\d{1,2})", ending)
    if number and row.patient_id and row.case_id.startswith(row.patient_id):
        words = r"t|tumou?r|lesion|mass|roi|tumeur|läsion|raumforderung"
        wanted.append(re.compile(rf"(?<!\w)(?:{words}) ?0*{number[1]}(?!\d)"))
    return wanted


def _spaced(text: str) -> str:
    return re.sub(r"[\s_-]+", " ", text.casefold())

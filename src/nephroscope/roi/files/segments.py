"""What a ROI file says that it holds, in; which of it is the tumor, out: one rule for SEG, RTSTRUCT, label maps."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.cohort.tumor_words import LESION_WORDS, REST_WORDS, says_organ, says_other, says_tumor
from nephroscope.errors import RoiError
from nephroscope.records import Finding

Labels = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]
MOST_LISTED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Whose tumor is looked for, and by which number or name.

    Attributes:
        where: Case and file, for refusals and findings.
        label: Number of the tumor where nothing says that it is one.
        name: Label, ROI name or code of the tumor; empty: the one that says so.
        exact: ``label`` is meant, whatever the segments say of themselves.
    """

    case_id: str
    where: str
    label: int = 1
    name: str = ""
    exact: bool = False

    @classmethod
    def tumor(cls, case_id: str, where: str, label: int, name: str) -> "Wanted":
        """The same from what a case says; ``#2`` means the number 2, also where another says that it is a tumor."""
        number = re.fullmatch(r"#(\d{1,5})", name.strip())
        if number:
            return cls(case_id=case_id, where=where, label=int(number[1]), exact=True)
        return cls(case_id=case_id, where=where, label=label, name=name)

    def finding(self, code: str, message: str) -> Finding:
        """A doubt about this ROI."""
        return Finding(code=code, severity="warning", message=message, case_id=self.case_id, where=self.where)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One thing that a file holds.

    Attributes:
        number: Segment Number, ROI Number or label value.
        name: As its reader called it.
        meanings: What its codes mean, in words.
        codes: Code values.
        layer: Of a label map with several; 0 elsewhere.
    """

    number: int
    name: str
    meanings: tuple[str, ...] = ()
    codes: frozenset[str] = frozenset()
    layer: int = 0

    @property
    def says_tumor(self) -> bool:
        """True when a code or a word says that this is the tumor, and none that it is what is left without it."""
        return says_tumor(self.name, self.meanings, self.codes)

    @property
    def says_other(self) -> bool:
        """True when it says that it is an organ, a cyst, a margin or the background, and not that it is the tumor."""
        organ = not self.says_tumor and says_organ((self.name, *self.meanings))
        return organ or says_other(self.name, self.meanings, self.codes)

    @property
    def says_lesion(self) -> bool:
        """True for a tumor or a cyst: the tumor where no other segment says that it is one."""
        return LESION_WORDS.search(self.name) is not None and not REST_WORDS.search(self.name)

    def is_called(self, name: str) -> bool:
        """True when ``name`` is its name, a code of it or the meaning of one; case does not matter."""
        words = {self.name, *self.meanings, *self.codes}
        return name.strip().casefold() in {word.strip().casefold() for word in words}


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelMap:
    """Labels as stored.

    Attributes:
        layers: Whole numbers, any three axes each; several where segments overlap.
        affine: 4x4 from index to LPS mm.
        segments: What the file names; empty where it has numbers only.
        placed: False when the header does not say where the voxels lie.
        findings: Doubts about the file, without a case.
    """

    layers: tuple[Labels, ...]
    affine: Affine
    segments: tuple[Segment, ...] = ()
    placed: bool = True
    findings: tuple[Finding, ...] = ()


def choose_segment(segments: Sequence[Segment], wanted: Wanted) -> Segment:
    """The tumor: the one of that name; else the only one, the one that says so, or the one of that number.

    Where none says that it is a tumor, a lesion is one.

    Raises:
        RoiError: None or several fit, or what fits says that it is an organ, a cyst or the background.
    """
    numbers = [(segment.layer, segment.number) for segment in segments]
    if len(set(numbers)) < len(numbers):
        raise RoiError(
            where=wanted.where,
            expected="a number of its own for every segment",
            found=listed(segments),
            remedy="export the ROI again",
        )
    if wanted.name.strip():
        return _by_name(segments, wanted)
    tumors = [] if wanted.exact else _tumors(segments)
    if len(tumors) == 1:
        return tumors[0]
    numbered = [segment for segment in tumors or segments if segment.number == wanted.label]
    chosen = segments if len(segments) == 1 and not wanted.exact else numbered
    if len(chosen) != 1:
        raise RoiError(
            where=wanted.where,
            expected="one segment that is the tumor",
            found=f"{len(tumors)} that say so among {listed(segments)}",
            remedy="give the tumor's number as --tumor-label, or its name as --tumor-name",
        )
    if chosen[0].says_other and not wanted.exact:
        raise RoiError(
            where=wanted.where,
            expected="a segment that is the tumor",
            found=f"only {chosen[0].name!r}" if len(segments) == 1 else listed(segments),
            remedy="give the segmentation that holds the tumor, or its name as --tumor-name",
        )
    return chosen[0]


def doubt_choice(segments: Sequence[Segment], chosen: Segment, wanted: Wanted) -> list[Finding]:
    """What is doubtful about the segment that `choose_segment` chose without being told its name or number.

    Number 1 is what a case has that was told none; another number was given by somebody.
    """
    if wanted.name.strip() or wanted.exact:
        return []
    tumors = _tumors(segments)
    if len(tumors) > 1 and wanted.label == 1:
        text = f"{len(tumors)} segments say that they are a tumor, {listed(tumors)}: number {chosen.number} was taken"
        return [wanted.finding("roi-several-tumors", text)]
    return []


def _tumors(segments: Sequence[Segment]) -> list[Segment]:
    tumors = [segment for segment in segments if segment.says_tumor]
    return tumors or [segment for segment in segments if segment.says_lesion]


def _by_name(segments: Sequence[Segment], wanted: Wanted) -> Segment:
    called = [segment for segment in segments if segment.is_called(wanted.name)]
    if len(called) > 1:
        called = [segment for segment in called if segment.number == wanted.label]
    if len(called) != 1:
        raise RoiError(
            where=wanted.where,
            expected=f"one segment called {wanted.name!r}",
            found=listed(segments),
            remedy="give the name or the code as the file has it",
        )
    return called[0]


def listed(segments: Iterable[Segment]) -> str:
    """Numbers and names, such as ``1 Kidney, 2 Tumor``."""
    words = [f"{segment.number} {segment.name}".strip() for segment in segments]
    rest = len(words) - MOST_LISTED
    return ", ".join(words[:MOST_LISTED]) + (f" and {rest} more" if rest > 0 else "") or "none"

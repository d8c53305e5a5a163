"""Which segment of an ROI file is the tumor: one rule for SEG, RTSTRUCT and label maps."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError
from nephroscope.base.text import first_few
from nephroscope.imaging.masks.words import says_lesion, says_organ, says_other, says_tumor
from nephroscope.records import Finding, VolumeGeometry, warning

Labels = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]
MOST_LISTED = 12
BLOCK = 2**18  # voxels looked at together
MOST_ROI_VOXELS = 2**29  # 2048 slices of 512 x 512
LEAST_BOUND = 2**25  # voxels that an ROI may have on any CT
FINER = 8
UNSAID = 1  # the label of a case where nobody said one
SAY_WHICH = (
    "say which is the tumor: tumor_label or tumor_name in the label table, tumor_name in rois.csv (#2 is number 2), "
    "or --tumor-label or --tumor-name"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TumorQuery:
    """Which tumor of an ROI file is meant, by number or name.

    Attributes:
        where: Case and file, in refusals and findings.
        label: Number of the tumor. 1 is what a case has where nobody said a number, so it chooses nothing.
        name: Label, ROI name or code of the tumor; empty: the segment that is called a tumor.
        exact: ``label`` is meant, also when it is 1, and whatever the segments are called.
    """

    case_id: str
    where: str
    label: int = 1
    name: str = ""
    exact: bool = False

    @classmethod
    def tumor(cls, case_id: str, where: str, label: int, name: str) -> "TumorQuery":
        """From the fields of a case; the name ``#2`` means number 2, even if another segment is called a tumor."""
        number = re.fullmatch(r"#(\d{1,5})", name.strip())
        if number:
            return cls(case_id=case_id, where=where, label=int(number[1]), exact=True)
        return cls(case_id=case_id, where=where, label=label, name=name)

    @property
    def has_number(self) -> bool:
        """True when somebody said the number."""
        return self.exact or self.label != UNSAID

    def refusal(self, *, expected: str, found: str, remedy: str) -> RoiError:
        """A refusal of this ROI."""
        return RoiError(where=self.where, expected=expected, found=found, remedy=remedy)

    def finding(self, code: str, message: str) -> Finding:
        """A warning about this ROI."""
        return warning(code, message, self.where, self.case_id)


def most_voxels(ct: VolumeGeometry) -> int:
    """How many voxels an ROI of this CT may have: it may be drawn twice as fine in each direction."""
    return min(MOST_ROI_VOXELS, max(LEAST_BOUND, FINER * math.prod(ct.shape)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment of a SEG, ROI of an RTSTRUCT, or label of a label map.

    Attributes:
        number: Segment Number, ROI Number or label value.
        name: As its annotator called it.
        meanings: Meanings of its codes, in words.
        codes: Code values.
        layer: Of a label map with several; 0 elsewhere.
        value: Of its voxels in that layer, where it is another than the number.
    """

    number: int
    name: str
    meanings: tuple[str, ...] = ()
    codes: frozenset[str] = frozenset()
    layer: int = 0
    value: int | None = None

    @property
    def says_tumor(self) -> bool:
        """True when it is called a tumor; see the function `says_tumor`."""
        return says_tumor(self.name, self.meanings, self.codes)

    @property
    def says_other(self) -> bool:
        """True when it is called an organ, a cyst, a margin or the background, and not a tumor."""
        organ = not self.says_tumor and says_organ((self.name, *self.meanings))
        return organ or says_other(self.name, self.meanings, self.codes)

    @property
    def says_lesion(self) -> bool:
        """True for a lesion (tumor or cyst), which is the tumor if no segment is called a tumor."""
        return says_lesion(self.name)

    def is_called(self, name: str) -> bool:
        """True when ``name`` is its name, one of its codes or the meaning of one; case does not matter."""
        words = {self.name, *self.meanings, *self.codes}
        return name.strip().casefold() in {word.strip().casefold() for word in words}


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelMap:
    """A label map as stored.

    Attributes:
        layers: Whole numbers with three axes each; several layers where segments overlap.
        affine: 4x4 from index to LPS mm.
        segments: Segments that the file names; empty where it has only numbers.
        placed: False when the header lacks the position of the voxels.
        findings: Findings about the file, without a case.
    """

    layers: tuple[Labels, ...]
    affine: Affine
    segments: tuple[Segment, ...] = ()
    placed: bool = True
    findings: tuple[Finding, ...] = ()


def choose_segment(segments: Sequence[Segment], query: TumorQuery) -> Segment:
    """The segment that is the tumor.

    It is the one with the requested name or number; otherwise the only one called a tumor (or else a lesion), or the
    only one. Among several called a tumor it is the one with the number of the case.

    Raises:
        RoiError: None or several fit, the name and the number say different ones, or the one that fits is called an
            organ, a cyst or the background.
    """
    numbers = [(segment.layer, segment.number) for segment in segments]
    if len(set(numbers)) < len(numbers):
        raise query.refusal(
            expected="a different number for each segment",
            found=listed(segments),
            remedy="export the ROI again",
        )
    if query.name.strip():
        return _by_name(segments, query)
    tumors = [] if query.exact else _tumors(segments)
    if len(tumors) == 1 and query.has_number and tumors[0].number != query.label:
        raise query.refusal(
            expected=f"number {query.label} as the tumor",
            found=f"only {listed(tumors)} called a tumor among {listed(segments)}",
            remedy=f"give the right number, or #{query.label} as tumor_name if number {query.label} is meant",
        )
    if len(tumors) == 1:
        return tumors[0]
    numbered = [segment for segment in tumors or segments if segment.number == query.label]
    chosen = numbered if tumors or query.has_number else segments
    if len(chosen) != 1:
        raise query.refusal(
            expected="one segment that is the tumor",
            found=f"{len(tumors) or 'none'} called a tumor among {listed(segments)}",
            remedy=SAY_WHICH,
        )
    if chosen[0].says_other and not query.exact:
        raise query.refusal(
            expected="a segment that is the tumor",
            found=f"only {chosen[0].name!r}" if len(segments) == 1 else listed(segments),
            remedy="give the segmentation of the tumor, or the name of its segment as --tumor-name",
        )
    return chosen[0]


def check_choice(segments: Sequence[Segment], chosen: Segment, query: TumorQuery) -> list[Finding]:
    """A warning when several segments are called a tumor and none was requested by name or number."""
    if query.name.strip() or query.has_number:
        return []
    tumors = _tumors(segments)
    if len(tumors) > 1:
        text = f"{len(tumors)} segments are called a tumor, {listed(tumors)}: number {chosen.number} was used"
        return [query.finding("roi-several-tumors", text)]
    return []


def _tumors(segments: Sequence[Segment]) -> list[Segment]:
    tumors = [segment for segment in segments if segment.says_tumor]
    return tumors or [segment for segment in segments if segment.says_lesion]


def _by_name(segments: Sequence[Segment], query: TumorQuery) -> Segment:
    called = [segment for segment in segments if segment.is_called(query.name)]
    if len(called) > 1:
        called = [segment for segment in called if segment.number == query.label]
    if len(called) != 1:
        raise query.refusal(
            expected=f"one segment called {query.name!r}",
            found=listed(segments),
            remedy="give the name or the code exactly as in the file",
        )
    return called[0]


def listed(segments: Iterable[Segment]) -> str:
    """Numbers and names of segments for messages: ``1 Kidney, 2 Tumor``."""
    return (
        first_few((f"{segment.number} {segment.name}".strip() for segment in segments), MOST_LISTED) or "none"
    )


def segments_in(stored: LabelMap, query: TumorQuery) -> list[Segment]:
    """What a label map holds: the segments that it names, and the labels that have no name.

    Layers without names have the number of their layer, from 1, as pyradiomics counts them.

    Raises:
        RoiError: Such layers hold several values, or values that contradict the layers' order.
    """
    found = [(layer, value) for layer, values in enumerate(map(labels_of, stored.layers)) for value in values]
    if stored.segments or len(stored.layers) == 1:
        named = {(segment.layer, segment.number) for segment in stored.segments}
        more = [Segment(number=value, name="", layer=layer) for layer, value in found]
        return [*stored.segments, *(one for one in more if (one.layer, one.number) not in named)]
    values = [value for _, value in found]
    ordered = all(value == layer + 1 for layer, value in found)
    if len({layer for layer, _ in found}) < len(found) or not (ordered or len(set(values)) <= 1):
        listed = ", ".join(f"{value} in layer {layer + 1}" for layer, value in found)
        raise query.refusal(
            expected="names of the segments, or one label in each layer",
            found=f"{len(stored.layers)} layers without names, with {listed}",
            remedy="save the segmentation with the names of its segments, or as one layer",
        )
    return [Segment(number=layer + 1, name="", layer=layer, value=value) for layer, value in found]


def labels_of(layer: Labels) -> list[int]:
    """The values of a layer but 0, in order; blocks of nothing but 0 are passed quickly."""
    flat = layer.reshape(-1, order="F" if layer.flags.f_contiguous else "C")
    found: set[int] = set()
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK]
        if not block.any():
            continue
        if (
            block.dtype.kind in "iu" and block.dtype.itemsize <= 2
        ):  # counting is four times as fast as sorting
            wide = block.astype(np.int32)
            low = int(wide.min())
            found.update((np.flatnonzero(np.bincount(wide - low)) + low).tolist())
        else:
            found.update(np.unique(block).astype(int).tolist())
    return sorted(found - {0})


def values_in(stored: LabelMap) -> str:
    """The first values of a label map, for refusals."""
    return first_few(sorted({0}.union(*map(labels_of, stored.layers))), 12)

"""Which segment of an ROI file is the tumor: one rule for SEG, RTSTRUCT and label maps."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError
from nephroscope.base.text import first_few
from nephroscope.records import Finding, warning

# A word ends where no letter follows: "renal_mass", "L-GTV2", "ccRCC". In the languages of the exports seen so far.
_BEGIN, _END = r"(?<![^\W\d_])", r"(?![^\W\d_])"
TUMOR_WORDS = re.compile(
    r"(?<!peri)(?<!peri[ _-])tumou?r|tumeur|neopl[aá]s|carcino|karzinom|cancer|krebs|raumforderung"
    rf"|{_BEGIN}((mass|masse|masa|massa|(cc|p|ch)?rcc|nzk){_END}|gtv)",
    re.IGNORECASE,
)
# The rest of an organ without the tumor, as in treatment plans: "Kidney_L-GTV", "kidney minus tumor".
REST_WORDS = re.compile(
    rf"{_BEGIN}(minus|without|ohne|sans|senza|healthy|non){_END}|(kidneys?|nieren?)([ _]?(left|right|l|r))?-\w",
    re.IGNORECASE,
)
OTHER_WORDS = re.compile(
    r"kidney|background|peri[ _-]?tumou?r|cyst(s|e|en)?\b"
    rf"|{_BEGIN}(nieren?|reins?|ri[nñ][oó]n(es)?|body|external|skin|couch|[pci]tv|kystes?|quistes?|zysten?){_END}",
    re.IGNORECASE,
)
ORGAN_WORDS = re.compile(
    r"liver|spleen|aorta|pan[ck]reas|adrenal|bladder|bowel|stomach|heart|spin(e|al)|bone|muscle|vertebra"
    rf"|{_BEGIN}(lungs?|fat|fett|veins?|arter(y|ies)|ureters?|ribs?|leber|milz|foie|h[ií]gado|fegato){_END}",
    re.IGNORECASE,
)
LESION_WORDS = re.compile(
    r"l[eéaä]si[oó]n", re.IGNORECASE
)  # tumor or cyst: used when it is named or the only one
KIDNEY_WORDS = re.compile(rf"kidney|{_BEGIN}(nieren?|reins?|ri[nñ][oó]n(es)?){_END}", re.IGNORECASE)
_CYST_WORDS = re.compile(rf"cyst|{_BEGIN}(kystes?|quistes?|zysten?){_END}", re.IGNORECASE)
# SNOMED CT: neoplasm, primary neoplasm, mass; and the same codes of SNOMED RT.
TUMOR_CODES = {"108369006", "86049000", "4147007", "M-8FFFF", "M-80003", "M-03000"}

Content = Literal["", "other", "organs"]


def says_tumor(name: str, meanings: Sequence[str] = (), codes: Collection[str] = ()) -> bool:
    """True when a code or word says tumor, and no word says that it is the organ without the tumor."""
    if REST_WORDS.search(name):
        return False
    return bool(TUMOR_CODES.intersection(codes)) or any(TUMOR_WORDS.search(w) for w in (name, *meanings))


def says_other(name: str, meanings: Sequence[str] = (), codes: Collection[str] = ()) -> bool:
    """True for a kidney, a cyst, a margin or the background that is not called a tumor."""
    words = (name, *meanings)
    return not says_tumor(name, meanings, codes) and any(
        OTHER_WORDS.search(word) and not LESION_WORDS.search(word) for word in words
    )


def says_organ(words: Iterable[str]) -> bool:
    """True when a word names an organ other than the kidney, and not a lesion of it."""
    return any(ORGAN_WORDS.search(word) and not LESION_WORDS.search(word) for word in words)


def content_of(segments: Sequence[tuple[str, Sequence[str], Collection[str]]]) -> Content:
    """What an ROI file holds, by (name, code meanings, codes) of each of its segments.

    ``organs``: only kidneys, with or without the aorta. ``other``: other structures, none called a tumor. Empty:
    one of them may be the tumor.
    """
    if not segments or not all(_is_no_tumor(*one) for one in segments):
        return ""
    kidneys = [_is_kidney(name, meanings) for name, meanings, _ in segments]
    vessels = ["aorta" in " ".join((name, *meanings)).casefold() for name, meanings, _ in segments]
    alone = all(kidney or vessel for kidney, vessel in zip(kidneys, vessels, strict=True))
    return "organs" if any(kidneys) and alone else "other"


def _is_no_tumor(name: str, meanings: Sequence[str], codes: Collection[str]) -> bool:
    other = says_other(name, meanings, codes) or says_organ((name, *meanings))
    return other and not says_tumor(name, meanings, codes)


def _is_kidney(name: str, meanings: Sequence[str]) -> bool:
    text = " ".join((name, *meanings))
    return bool(KIDNEY_WORDS.search(text)) and not _CYST_WORDS.search(text) and not REST_WORDS.search(name)


Labels = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]
MOST_LISTED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class TumorQuery:
    """Which tumor of an ROI file is meant, by number or name.

    Attributes:
        where: Case and file, in refusals and findings.
        label: Number of the tumor, used where no segment is called a tumor.
        name: Label, ROI name or code of the tumor; empty: the segment that is called a tumor.
        exact: ``label`` is meant, whatever the segments are called.
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

    def refusal(self, *, expected: str, found: str, remedy: str) -> RoiError:
        """A refusal of this ROI."""
        return RoiError(where=self.where, expected=expected, found=found, remedy=remedy)

    def finding(self, code: str, message: str) -> Finding:
        """A warning about this ROI."""
        return warning(code, message, self.where, self.case_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment of a SEG, ROI of an RTSTRUCT, or label of a label map.

    Attributes:
        number: Segment Number, ROI Number or label value.
        name: As its annotator called it.
        meanings: Meanings of its codes, in words.
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
        return LESION_WORDS.search(self.name) is not None and not REST_WORDS.search(self.name)

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

    It is the one with the requested name; otherwise the only one, the only one called a tumor (or else a lesion), or
    the one with the requested number.

    Raises:
        RoiError: None or several fit, or the one that fits is called an organ, a cyst or the background.
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
    if len(tumors) == 1:
        return tumors[0]
    numbered = [segment for segment in tumors or segments if segment.number == query.label]
    chosen = segments if len(segments) == 1 and not query.exact else numbered
    if len(chosen) != 1:
        raise query.refusal(
            expected="one segment that is the tumor",
            found=f"{len(tumors)} called a tumor among {listed(segments)}",
            remedy="give the tumor's number as --tumor-label, or its name as --tumor-name",
        )
    if chosen[0].says_other and not query.exact:
        raise query.refusal(
            expected="a segment that is the tumor",
            found=f"only {chosen[0].name!r}" if len(segments) == 1 else listed(segments),
            remedy="give the segmentation of the tumor, or the name of its segment as --tumor-name",
        )
    return chosen[0]


def check_choice(segments: Sequence[Segment], chosen: Segment, query: TumorQuery) -> list[Finding]:
    """A warning when several segments are called a tumor and none was requested by name or number.

    Number 1 is the default of a case; any other number was given by somebody.
    """
    if query.name.strip() or query.exact:
        return []
    tumors = _tumors(segments)
    if len(tumors) > 1 and query.label == 1:
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

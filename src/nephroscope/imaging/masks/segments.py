"""What a ROI file says that it holds, in; which of it is the tumor, out: one rule for SEG, RTSTRUCT, label maps."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError
from nephroscope.base.text import first_few
from nephroscope.records import Finding

# A word ends where no letter stands: "renal_mass", "L-GTV2", "ccRCC". In the languages of the exports seen.
_BEGIN, _END = r"(?<![^\W\d_])", r"(?![^\W\d_])"
TUMOR_WORDS = re.compile(
    r"(?<!peri)(?<!peri[ _-])tumou?r|tumeur|neopl[aá]s|carcino|karzinom|cancer|krebs|raumforderung"
    rf"|{_BEGIN}((mass|masse|masa|massa|(cc|p|ch)?rcc|nzk){_END}|gtv)",
    re.IGNORECASE,
)
# What is left of an organ without the tumor, as plans have it: "Kidney_L-GTV", "kidney minus tumor".
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
LESION_WORDS = re.compile(r"l[eéaä]si[oó]n", re.IGNORECASE)  # tumor or cyst: taken when it is meant or alone
KIDNEY_WORDS = re.compile(rf"kidney|{_BEGIN}(nieren?|reins?|ri[nñ][oó]n(es)?){_END}", re.IGNORECASE)
_CYST_WORDS = re.compile(rf"cyst|{_BEGIN}(kystes?|quistes?|zysten?){_END}", re.IGNORECASE)
# SNOMED CT: neoplasm, primary neoplasm, mass; and their SNOMED RT twins.
TUMOR_CODES = {"108369006", "86049000", "4147007", "M-8FFFF", "M-80003", "M-03000"}

Content = Literal["", "other", "organs"]


def says_tumor(name: str, meanings: Sequence[str] = (), codes: Collection[str] = ()) -> bool:
    """True when a code or a word says that this is the tumor, and none that it is what is left without it."""
    if REST_WORDS.search(name):
        return False
    return bool(TUMOR_CODES.intersection(codes)) or any(TUMOR_WORDS.search(w) for w in (name, *meanings))


def says_other(name: str, meanings: Sequence[str] = (), codes: Collection[str] = ()) -> bool:
    """True for an organ, a cyst, a margin or the background that does not say that it is the tumor."""
    words = (name, *meanings)
    return not says_tumor(name, meanings, codes) and any(
        OTHER_WORDS.search(word) and not LESION_WORDS.search(word) for word in words
    )


def says_organ(words: Iterable[str]) -> bool:
    """True when a word names an organ that is no kidney, and no lesion of it."""
    return any(ORGAN_WORDS.search(word) and not LESION_WORDS.search(word) for word in words)


def content_of(segments: Sequence[tuple[str, Sequence[str], Collection[str]]]) -> Content:
    """What a ROI file holds by (name, meanings, codes) of each of its segments.

    ``organs`` are kidneys with or without the aorta and nothing else, ``other`` is what else says that it is no
    tumor; empty where a tumor may be among it.
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
    def tumor(cls, case_id: str, where: str, label: int, name: str) -> "TumorQuery":
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


def choose_segment(segments: Sequence[Segment], query: TumorQuery) -> Segment:
    """The tumor: the one of that name; else the only one, the one that says so, or the one of that number.

    Where none says that it is a tumor, a lesion is one.

    Raises:
        RoiError: None or several fit, or what fits says that it is an organ, a cyst or the background.
    """
    numbers = [(segment.layer, segment.number) for segment in segments]
    if len(set(numbers)) < len(numbers):
        raise RoiError(
            where=query.where,
            expected="a number of its own for every segment",
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
        raise RoiError(
            where=query.where,
            expected="one segment that is the tumor",
            found=f"{len(tumors)} that say so among {listed(segments)}",
            remedy="give the tumor's number as --tumor-label, or its name as --tumor-name",
        )
    if chosen[0].says_other and not query.exact:
        raise RoiError(
            where=query.where,
            expected="a segment that is the tumor",
            found=f"only {chosen[0].name!r}" if len(segments) == 1 else listed(segments),
            remedy="give the segmentation that holds the tumor, or its name as --tumor-name",
        )
    return chosen[0]


def check_choice(segments: Sequence[Segment], chosen: Segment, query: TumorQuery) -> list[Finding]:
    """What is doubtful about the segment that `choose_segment` chose without being told its name or number.

    Number 1 is what a case has that was told none; another number was given by somebody.
    """
    if query.name.strip() or query.exact:
        return []
    tumors = _tumors(segments)
    if len(tumors) > 1 and query.label == 1:
        text = f"{len(tumors)} segments say that they are a tumor, {listed(tumors)}: number {chosen.number} was taken"
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
        raise RoiError(
            where=query.where,
            expected=f"one segment called {query.name!r}",
            found=listed(segments),
            remedy="give the name or the code as the file has it",
        )
    return called[0]


def listed(segments: Iterable[Segment]) -> str:
    """Numbers and names, such as ``1 Kidney, 2 Tumor``."""
    return (
        first_few((f"{segment.number} {segment.name}".strip() for segment in segments), MOST_LISTED) or "none"
    )

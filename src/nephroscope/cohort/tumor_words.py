"""What a segment or contour is called, in; whether that is the tumor, an organ or neither, out. One list of words."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

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

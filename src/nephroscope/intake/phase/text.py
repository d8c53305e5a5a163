"""Find the contrast phase in one description: tokens, table look-up, and rules for several hits."""

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

from nephroscope.base.text import without_accents
from nephroscope.intake.phase.vocabulary import (
    CONTRAST,
    LATE,
    MIXED,
    NO_PHASE,
    NOTHING,
    SEVERAL,
    STRONG,
    TARDIVE,
    WORDS,
)

TIMED = 2
LONGEST_TEXT = 1000  # characters; the rest is not a description
NAMED = ("unenhanced", "corticomedullary", "nephrographic", "excretory")
# Seconds after the start of the injection; between the ranges no phase is named. Source: Yuh and Cohan, AJR
# 1999;173:747 (corticomedullary 25-70 s, nephrographic 80-180 s, excretory from 180 s), with the portal venous
# phase (60-80 s) counted as nephrographic, and without the edges.
DELAYS_S = (
    ("corticomedullary", 15.0, 45.0),
    ("nephrographic", 60.0, 150.0),
    ("excretory", 180.0, 1800.0),
)

_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "\u0131": "i", "æ": "ae", "œ": "oe"})
# Reconstruction kernels (B30f, B70s, I26f, Br40d, FC08): their "70s" is not a time.
_KERNEL = re.compile(
    r"(?<![^\W_])(?:[BHIU]\d\d[fhs]|D\d\df|[BHQST][rfvl]\d\d[a-z]?|FC\d\d)(?![^\W_])", re.IGNORECASE
)
_PLURAL = re.compile(
    r"(?<=\d)['\u2032\u2019]s(?![^\W_])", re.IGNORECASE
)  # "Helical 5's": 5 mm, not 5 minutes
_GLUED = re.compile(
    r"(?<=[^\W\d_]{2})(?=(?:phases?|phasen|fase|fasen|fasi|faz[aey]?|fazi|fas)(?![^\W\d_]))", re.IGNORECASE
)
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
# Case is ignored where there are letters only: next to the ranges of CJK it would make compiling ten times as slow.
_TOKEN = re.compile(
    r"(?i:(?<![^\W_])(?:c|ce|km|iv)[+-]/?[+-](?![^\W_])|(?<![^\W_])(?:c|ce|km|iv|pdc|mdc)[+-](?![^\W_]))"
    r"|(?i:(?<![^\W_])[+-](?:c|iv)(?![^\W_])|(?<![^\W_])\+km(?![^\W_]))"
    rf"|&|[{_CJK}]|[^\W\d_{_CJK}]+|\d+(?:[.,]\d+)?|(?<=\d)['\u2032\u2019]{{1,2}}|(?<=\d)[\"\u2033\u201d]"
)
_SECONDS = (
    "s sec secs second seconds sek sekunde sekunden sekund seg segs segundos secondes secondi sn saniye"
)
_SECONDS += " сек 秒 초"
_MINUTES = "min mins minute minutes minuten minuti minutos minut mn dk dakika мин минут 分 분 '"
_UNITS_S = dict.fromkeys(_SECONDS.split(), 1.0) | dict.fromkeys(_MINUTES.split(), 60.0)
_UNITS_S |= {"分 钟": 60.0, "分 鐘": 60.0}
_DELAY_WORDS = {"delay", "delays", "dly", "del", "verzogerung", "retard", "retardo", "ritardo", "post", "pi"}
LONGEST_BARE_S = 300.0  # "512 s" is not a delay


@dataclass(frozen=True, slots=True)
class Token:
    """A word as compared (folded), and its position in the normalised text."""

    folded: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase found: meaning, strength, words, and positions of its first and next token."""

    meaning: str
    level: int
    words: str
    first: int
    after: int


@dataclass(frozen=True, slots=True)
class _Phrase:
    """A phrase of a table row, ready to compare."""

    meaning: str
    level: int
    words: tuple[str, ...]
    at_end: bool
    rank: tuple[int, int, bool]


@dataclass(frozen=True, slots=True)
class TextPhase:
    """What one text shows: a phase or ``unknown``, the words it was found in, and all phases named.

    ``says`` is one of: nothing, contrast, several, mixed, no phase, named, conflict.
    """

    phase: str
    words: str
    says: str
    level: int = 0
    mentioned: frozenset[str] = frozenset()


def fold(text: str) -> str:
    """Lower case without accents, for comparing words."""
    return unicodedata.normalize(
        "NFC", without_accents(text.casefold().translate(_LETTERS)).translate(_LETTERS)
    )


def tokens(text: str) -> list[Token]:
    """The words of a normalised text: letters and digits separate, camel case split, each CJK character alone."""
    return [Token(_sign(m[0]), m.start(), m.end()) for m in _TOKEN.finditer(text)]


def clean(text: str) -> str:
    """Unicode-normalised, kernels and "5's" taken out, camel case and glued "phase" parted."""
    text = _PLURAL.sub(" ", _KERNEL.sub(" ", unicodedata.normalize("NFKC", text)))
    text = _GLUED.sub(" ", text)
    parted = (f" {b}" if a.islower() and b.isupper() else b for a, b in pairwise(f" {text}"))
    return " ".join("".join(parted).split())


def phase_of_delay(delay_s: float) -> str:
    """The phase at a delay after the start of the injection, in s; ``unknown`` between the ranges."""
    return next((phase for phase, low, high in DELAYS_S if low <= delay_s <= high), "unknown")


def seconds_of_day(time: str) -> float | None:
    """Seconds since midnight of a DICOM time (``093015.5``), also as spreadsheets leave it (``93015``, ``9:30``)."""
    whole, _, part = time.strip().replace(":", "").partition(".")
    if not whole.isdecimal() or len(whole) > 6 or (part and not part.isdecimal()):
        return None
    whole = whole.zfill(6) if len(whole) != 4 else f"{whole}00"
    hours, minutes, seconds = int(whole[:2]), int(whole[2:4]), int(whole[4:])
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return hours * 3600 + minutes * 60 + seconds + float(f"0.{part or 0}")


@lru_cache(maxsize=20_000)
def phase_of_text(text: str) -> TextPhase:
    """The phase in a description."""
    text = clean(text[:LONGEST_TEXT])
    hits = _adjectives_joined(find_hits(text))
    dead = next((hit for hit in hits if hit.meaning in (NO_PHASE, MIXED)), None)
    if dead:
        return TextPhase("unknown", dead.words, dead.meaning)
    named = [hit for hit in hits if hit.meaning in NAMED]
    phases = frozenset(hit.meaning for hit in named)
    if not named:
        other = next((hit for hit in hits if hit.meaning in (SEVERAL, CONTRAST)), None)
        return TextPhase("unknown", other.words if other else "", other.meaning if other else NOTHING)
    level = max(hit.level for hit in named)
    best = {hit.meaning: hit.words for hit in reversed(named) if hit.level == level}
    with_contrast = next((hit.words for hit in hits if hit.meaning == CONTRAST), "")
    if len(best) == 1 and not ("unenhanced" in best and with_contrast):
        ((phase, words),) = best.items()
        several = any(hit.meaning == SEVERAL for hit in hits)
        return TextPhase(phase, words, SEVERAL if several else "named", level, phases)
    spoken = [*reversed(best.values())] + ([with_contrast] if len(best) == 1 else [])
    return TextPhase("unknown", '" and "'.join(spoken), "conflict", level, phases)


def find_hits(text: str) -> list[Hit]:
    """Times and phrases from left to right, at each position the longest; none overlap."""
    found = tokens(text)
    words = [token.folded for token in found]
    hits, i = [], 0
    while i < len(words):
        meaning, level, after = _time_at(words, i) or _phrase_at(words, i) or ("", 0, i + 1)
        if meaning:
            hits.append(Hit(meaning, level, text[found[i].start : found[after - 1].end], i, after))
        i = after
    return hits


def _time_at(words: list[str], i: int) -> tuple[str, int, int] | None:
    """A time such as ``delay 70 s`` at word ``i``: phase (or nothing), level and next word."""
    number = i + 1 if words[i] in _DELAY_WORDS else i
    if number >= len(words) or not words[number][0].isdecimal():
        return None
    two = " ".join(words[number + 1 : number + 3])
    unit = next((unit for unit in (two, two.partition(" ")[0]) if unit in _UNITS_S), None)
    if unit is None:
        return None
    after = number + 1 + len(unit.split())
    if words[after : after + 1] == ["ip"]:  # "5 MIN IP" is a projection
        return None
    seconds = float(words[number].replace(",", ".")) * _UNITS_S[unit]
    phase = phase_of_delay(seconds)
    untold = phase == "unknown" or (unit == "s" and seconds > LONGEST_BARE_S)
    if after < len(words) and words[after] in _DELAY_WORDS:
        after += 1
    return NOTHING if untold else phase, TIMED, after


def _phrase_at(words: list[str], i: int) -> tuple[str, int, int] | None:
    """The longest phrase of the table that begins at word ``i``: meaning, level, next word."""
    word = words[i]
    keys = [word, *(f"{word[:n]}*" for n in range(len(word), 0, -1)), *("#" if word[0].isdecimal() else "")]
    fitting = (
        phrase
        for key in keys
        for phrase in _phrases().get(key, ())
        if i + len(phrase.words) <= len(words)
        and (not phrase.at_end or i + len(phrase.words) == len(words))
        and all(map(_fits, phrase.words[1:], words[i + 1 :]))
    )
    best = max(fitting, key=lambda phrase: phrase.rank, default=None)
    return (best.meaning, best.level, i + len(best.words)) if best else None


def _fits(pattern: str, word: str) -> bool:
    if pattern == "#":
        return word[0].isdecimal()
    return word.startswith(pattern[:-1]) if pattern.endswith("*") else word == pattern


def _adjectives_joined(hits: list[Hit]) -> list[Hit]:
    """Words for late next to the name of an earlier phase belong to it; elsewhere they name the excretory phase.

    Next to a time they add nothing: "delayed 90 s" is a conflict, "delayed 5 min" is not.
    """
    timed = any(hit.level == TIMED and hit.meaning in NAMED for hit in hits)
    kept = []
    for hit in hits:
        if hit.meaning in (LATE, TARDIVE):
            neighbours = [
                other
                for other in hits
                if other.meaning in NAMED[1:3]
                and other.level == STRONG
                and (other.first == hit.after or (hit.meaning == TARDIVE and other.after == hit.first))
            ]
            if neighbours:
                continue
            hit = Hit("excretory", TIMED if timed else hit.level, hit.words, hit.first, hit.after)
        kept.append(hit)
    return kept


@cache
def _phrases() -> dict[str, list[_Phrase]]:
    """The table by first word; longest phrases have the highest rank, exact ones come before stems."""
    by_first: dict[str, list[_Phrase]] = defaultdict(list)
    for row in WORDS:
        for written in row.phrases.split(","):
            words = tuple(spaced(written).split())
            at_end, words = words[-1] == "$", tuple(word for word in words if word != "$")
            rank = (len(words), sum(map(len, words)), not any(word.endswith("*") for word in words))
            by_first[words[0]].append(_Phrase(row.meaning, row.level, words, at_end, rank))
    return dict(by_first)


def spaced(phrase: str) -> str:
    """A phrase of the table in the form in which texts are compared: CJK characters separated."""
    return " ".join(re.sub(rf"([{_CJK}])", r" \1 ", fold(phrase)).split())


def _sign(word: str) -> str:
    if word in ("''", '"', "\u2033", "\u201d"):
        return "s"
    if word in ("'", "\u2032", "\u2019"):
        return "'"
    if len(word) > 2 and "+" in word and "-" in word:  # C+/-
        return "c+-"
    return {"&": "and", "+km": "c+"}.get(word.lower()) or fold(word)

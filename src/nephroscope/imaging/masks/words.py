"""What the name of a segment or contour says: the tumor, an organ, a cyst, or neither.

In the languages of the label tables and of the drawing programs seen so far. Names and words are compared folded:
lower case, without accents, in composed letters.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

# A word ends where no letter follows: "renal_mass", "L-GTV2", "ccRCC".
_BEGIN, _END = r"(?<![^\W\d_])", r"(?![^\W\d_])"
# SNOMED CT: neoplasm, primary neoplasm, mass; and the same codes of SNOMED RT.
TUMOR_CODES = {"108369006", "86049000", "4147007", "M-8FFFF", "M-80003", "M-03000"}

Content = Literal["", "other", "organs"]


def folded(text: str) -> str:
    """Lower case without accents: ``Tümör`` and ``TUMOR`` are equal; letters of Asia stay composed."""
    plain = unicodedata.normalize("NFKD", text.casefold().replace("\u0131", "i").replace("æ", "ae"))
    return unicodedata.normalize("NFC", "".join(c for c in plain if not unicodedata.combining(c)))


def _pattern(parts: str = "", words: str = "") -> re.Pattern[str]:
    """Matches any of ``parts`` anywhere, and any of ``words`` where no letter stands beside it.

    Both are regexes; ``{e}`` is the end of a word.
    """
    said = [folded(part).replace("{e}", _END) for part in parts.split()]
    said += [rf"{_BEGIN}(?:{'|'.join(folded(words).split())}){_END}"] if words else []
    return re.compile("|".join(said))


TUMOR_WORDS = _pattern(
    r"""(?<!peri)(?<!peri[_-])(?<!peri\s)tumou?r tumeur tumoare tumorac neopla carcino karzino kanker cancer krebs
    raumforderung (?<!около)(?<!пери)опухол новообраз карцином пухлин nowotw (?<!oko[lł]o)guzow nádor daganat kasvain
    svulst gezwel όγκο
    肿瘤 腫瘤 腫瘍 肿块 腫塊 肿物 腫物 癌 占位 がん 종양 종괴 암종 신장암 ورم גידול เนื้องอก khối\su""",
    r"""mass(?:es)? masse massa masa (?:cc|p|ch)?rcc nzk gtv\w* rak raka guz guza guzy guzek nowotwór syöpä kræft
    рак рака kitle 瘤 암""",
)
# The rest of an organ without the tumor, as in treatment plans ("Kidney_L-GTV", "kidney minus tumor"), or around it.
REST_WORDS = _pattern(
    r"""(?:kidneys?|nieren?)(?:[\s_]?(?:left|right|l|r))?-\w без\s вокруг здоров 周围 周圍 周辺 瘤周 除外 除く 正常
    주변 제외 정상 süz{e} siz{e} sin[\s_]tumor""",
    r"""minus without excluding except ohne sans senza sem bez utan uden zonder nélküli? healthy gesundes?
    zdraw\w+ zdrav\w+ non not""",
)
_KIDNEYS = r"""nieren? reins? ri[nñ][oó]n(?:es)? rene reni rim rins nier nyre\w* njur\w* munuai\w* nerk[aiąę] nerek
    ledvin\w* oblick\w* bubreg\w* vesék? vese böbre[kğ]\w* rinichi\w* почк\w* почек нирк\w* нирок νεφρ\w*"""
KIDNEY_WORDS = _pattern("kidney 肾 腎 신장 콩팥", _KIDNEYS)
_CYSTS = r"""cysts? cysten cysta cystor cyste kystes? kyster quistes? zysten? cisti cistos? cist torbiel\w* kist\w*
    ciszt\w* кист\w* кіст\w* κύστ\w*"""
_CYST_WORDS = _pattern("囊肿 囊腫 嚢胞 のう胞 낭종 낭포", _CYSTS)
OTHER_WORDS = _pattern(
    r"""kidney background hintergrund peri[\s_-]?tumou?r околоопух перитумор cyst(?:s|e|en)?{e} вокруг
    周围 周圍 周辺 瘤周 주변 肾 腎 신장 콩팥 囊肿 囊腫 嚢胞 のう胞 낭종 낭포 背景 배경""",
    rf"""{_KIDNEYS} {_CYSTS} body external skin couch [pci]tv parenchym\w* паренхим\w* fondo fond fundo tło фон
    pozadí háttér bakgrund arka\s?plan achtergrond sfondo""",
)
ORGAN_WORDS = _pattern(
    r"""liver spleen aorta аорт pan[ck]reas adrenal bladder bowel stomach heart spin(?:e|al) bone muscle vertebra
    肝 脾 胰 肺 膵 主动脉 大動脈 대동맥 비장 췌장 печен селезен поджелуд""",
    r"""lungs? fat fett veins? arter(?:y|ies) ureters? ribs? leber milz foie h[ií]gado fegato fígado bazo baço milza
    rate lever milt mjälte wątrob\w* śledzion\w* játra slezin\w* maj lép karaci[gğ]er dalak 간 간장""",
)
LESION_WORDS = _pattern(
    r"""lesi[oó]n l[eéaä]si[oó]n læsion lesão lesione lesjon lézió lezyon leesio 病灶 病变 病變 病巣 병변 병소
    поражени
    образовани""",
    r"zmian[aąęy] léze herd очаг",
)


def says_tumor(name: str, meanings: Sequence[str] = (), codes: Collection[str] = ()) -> bool:
    """True when a code or word says tumor, and no word says that it is the organ without the tumor."""
    if REST_WORDS.search(folded(name)):
        return False
    return bool(TUMOR_CODES.intersection(codes)) or _any(TUMOR_WORDS, (name, *meanings))


def says_lesion(name: str) -> bool:
    """True for a lesion (tumor or cyst), which is the tumor if no segment is called a tumor."""
    return LESION_WORDS.search(folded(name)) is not None and not REST_WORDS.search(folded(name))


def says_other(name: str, meanings: Sequence[str] = (), codes: Collection[str] = ()) -> bool:
    """True for a kidney, a cyst, a margin or the background that is not called a tumor."""
    if says_tumor(name, meanings, codes):
        return False
    words = [folded(word) for word in (name, *meanings)]
    return any(OTHER_WORDS.search(word) and not LESION_WORDS.search(word) for word in words)


def says_organ(words: Iterable[str]) -> bool:
    """True when a word names an organ other than the kidney, and not a lesion of it."""
    told = map(folded, words)
    return any(ORGAN_WORDS.search(word) and not LESION_WORDS.search(word) for word in told)


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
    text = folded(" ".join((name, *meanings)))
    return (
        bool(KIDNEY_WORDS.search(text))
        and not _CYST_WORDS.search(text)
        and not REST_WORDS.search(folded(name))
    )


def _any(pattern: re.Pattern[str], words: Iterable[str]) -> bool:
    return any(pattern.search(folded(word)) for word in words)

"""Keep only those words of a DICOM free text that cannot identify anybody.

A word is kept only if it is known: phases (the vocabulary), body regions, reconstruction, kinds of ROI; and short
numbers with or without a unit, and reconstruction kernels. A name, a date or a record number is none of these.
"""

import re
from collections.abc import Callable
from functools import cache

from nephroscope.base.text import without_accents
from nephroscope.intake.phase.vocabulary import WORDS

_MORE_WORDS = """
    abd abdominal abdomen artery bolus contraste contrasto delay dynamic enhancement phase fase fases phasen
    phases iv i v w wo c k km cm min mins minute minutes s sec secs second seconds post pre vor nach with
    without ohne mit und and of con avec sans sin senza e et

    abdomino adrenal adrenals aorta becken bauch bladder blase body chest colon flank full head hals kidney
    kidneys kopf leber left right liver lower pel pelv kids lung lungs lunge neck niere nieren oberbauch pancreas
    partialbody pelvic pelvis rein reins renal renale renales rene rinon rinones rumpf spine spleen stomach
    thoracic thorax torax torso trunk upper ureter ureters wholebody whole cap tap bilateral both l r kub

    3d mpr mip ax axi axial axiale axials cor coronal coronale sag sagittal sagittale oblique helical spiral
    volume vol recon rekon reformat slice slices schicht thick thin dick dunn duenn std standard soft tissue
    sharp smooth bone lung detail medium kernel filter fbp asir asirv idose imr safire admire aidr fc ct
    ctac cect mdct dect petct pet low dose mono monoenergetic kev kv mm hu ma average window routine
    protocol series scan study exam primary original derived secondary localizer scout topogram iodine

    tumor tumour tumoral tumors tumours neoplasm mass masses lesion lesions carcinoma rcc ccrcc prcc chrcc
    gtv ctv ptv gtvp cyst cysts vena cava ivc thrombus normal healthy organ structure region roi external
    outline segment segmentation mask label reader manual auto automatic background papillary chromophobe
    clear cell oncocytoma angiomyolipoma aml
"""
# Makers and models of scanners, their software, filters and kernels, and defined terms of CT, SEG and RTSTRUCT.
_TECHNICAL_WORDS = """
    siemens healthineers healthcare shanghai ge medical systems philips toshiba canon hitachi united imaging uih
    neusoft neurologica samsung fujifilm shimadzu elscint picker marconi nmssd mec tmsc corporation synthetic
    nephroscope

    somatom definition force edge flash drive sensation emotion spirit scope perspective volume zoom plus xcite
    confidence go up now all top sim naeotom alpha pro biograph mct horizon vision symbia intevo lightspeed
    brightspeed optima revolution discovery hispeed prospeed evo maxima ascend apex frontier vct rt ultra hd
    brilliance ingenuity incisive iqon spectral icon gemini mx aquilion one prime lightning exceed genesis start
    asteion alexion activion scenaria supria eclos uct neuviz crystal epoch virtual big bore syngo via vb va vd
    ve vx ip sp sps software version release rev build dicom workspace advantage

    standard soft lung bone detail chest edge smooth sharp brain head body boneplus ultrasmooth ultrasharp asir
    veo wedge flat large medium small filter none adult child infant cardiac abdomen pelvis

    ct rtstruct seg original derived primary secondary axial localizer helical spiral sequential mode constant
    angle stationary free reformatted average resampled projection image max min sum std subtraction mpr vrt ssd
    thin thick som spi gsp cbp mf prb csa mip minip dual energy mono monoe quantitative quantity value multi
    material specific removed fractional modified map based vmi mat mgml hu od us pct eff atomic num electron
    density edw ed mod iodine water monochrome monochrome1 monochrome2 rgb palette color ybr full hfs hfp ffs
    ffp hfdr hfdl ffdr ffdl cw cc xyz yes no n y m f o u yz binary labelmap probability occupancy manual
    automatic semiautomatic undefined closed planar open nonplanar point polygon approved unapproved rejected
    product research service quality uncorrected corrected lossy lossless iso ir jpeg tube current modulation
    xyz xy z auto exposure organ dynamic care dose aluminum copper tin teflon titanium lead diastole systole
    prospective retrospective gating triggered unpaired paired left right both r l unknown other intravenous
    oral rectal iv po intraarterial infusion line bolus start of injection relative absolute totalsegmentator
    nnunet nnu net monai vista slicer ohif mitk itk snap highdicom dcmqi reader stack sn om ic referenced
    segment number image position patient slice location frame temporal index
"""
# Defined terms of DICOM, and words that this product or the profile writes: a name equal to one is not searched for.
_DEFINED_TERMS = """
    anonymized removed none unknown original primary axial localizer derived secondary binary fractional labelmap
    monochrome manual automatic semiautomatic closed planar hfs ffs yes modified dcm sct srt ucum unsigned basic
    application confidentiality profile retain longitudinal temporal information dates option patient characteristics
    clean descriptors segment local code nephroscope
"""
DEFINED_TERMS = frozenset(_DEFINED_TERMS.split())
FIRST_WITHOUT_CASE = "\u2e80"  # Chinese, Japanese and Korean letters begin here
_SHORTEST_BEGINNING = 5  # letters of a phase word ending in *; a shorter beginning may be that of a name
_TOKEN = re.compile(r"&|(?:(?<!\w)[+-])?[^\W_]+(?:\.\d+)?(?:[+-](?!\w))?")
_NUMBER = re.compile(r"\d{1,3}(\.\d{1,3})?(mm|cm|s|sec|min|kv|kev|hu|ma|x\d{1,2}(\.\d{1,3})?)?")
_KERNEL = re.compile(r"[bhidjquf][a-z]?\d{2}[a-z]?|fc\d{2}")
_PARTS = re.compile(r"[^\W_]+(?:\.\d+)*\+?")
# Kernels, models and versions: B30f, Br40d, FC03, CT750, 5.0.1, VA44A, 2012B; at most four digits in a row.
_CODE = re.compile(
    r"[A-Za-z]{0,3}\d{1,4}[A-Za-z]{0,2}\+?|[A-Za-z]?\d{1,3}(\.\d{1,3}){1,3}[A-Za-z]?|[A-Za-z]{1,2}\+?"
)
_BODY_PART = re.compile(
    r"(abdomen|abdo|abd|adrenal|aorta|bladder|body|brain|chest|colon|flank|groin|head|heart|hip|kidney|kub|left|liver|lower"
    r"|lung|neck|pancreas|partial|pelvis|prostate|renal|retroperitoneum|right|skull|spine|spleen|stomach|[cltm]spine|thorax|torso|tract"
    r"|trunk|upper|ureter|urinary|uterus|vascular|whole|and|s|[ _/,&-])*"
)
# Dates, and three or more numbers in a row, like telephone and record numbers.
_NUMBER_RUN = re.compile(r"\d+[./-]\d+[./-]\d+|\d+(\.\d+)?([ /-]+\d+(\.\d+)?){2,}")


def clean_text(text: str, names: Callable[[str], bool] | None = None) -> str:
    """The known words of a text, in their order and spelling; empty without any.

    ``"MUELLER HANS arterial 1.5 B30f"`` becomes ``"arterial 1.5 B30f"``; dates and long numbers are removed too.

    Args:
        text: As typed.
        names: Whether a text names the patient; then it is removed even if it is a known word (Mr Kopf, Mrs Leber).
    """
    kept: list[str] = []
    for token in _TOKEN.findall(_NUMBER_RUN.sub(" ", text)):
        if names is not None and names(token):
            continue
        if any(letter >= FIRST_WITHOUT_CASE for letter in token):
            kept += _words_without_spaces().findall(token)
        elif is_known(token):
            kept.append(token)
    return " ".join(kept)


def clean_body_part(text: str) -> str:
    """A body part made of known words, also run together (``CHESTABDPELVIS``); empty otherwise."""
    return text if _BODY_PART.fullmatch(without_accents(text)) else ""


def clean_technical(text: str) -> str:
    """Scanner, software, kernel, filter or code string: the known words, version numbers and short codes.

    ``"SOMATOM Definition AS+ Dr Meier"`` becomes ``"SOMATOM Definition AS+"``. A text that loses nothing keeps its
    signs, as in ``"CT_SOM5 SPI"``.
    """
    parts = _PARTS.findall(text)
    numbers = sum(part.isdigit() for part in parts) > 2  # a date or a record number, not a version
    kept = [part for part in parts if _is_technical(part) and not (numbers and part.isdigit())]
    return text if len(kept) == len(parts) else " ".join(kept)


def _is_technical(part: str) -> bool:
    word = without_accents(part)
    return (
        word in _technical_words()
        or _CODE.fullmatch(part) is not None
        or (part.isdigit() and len(part) < 4)
        or (not part.isdigit() and is_known(part))
    )


@cache
def _technical_words() -> frozenset[str]:
    return frozenset(_TECHNICAL_WORDS.split())


def is_known(token: str) -> bool:
    """True for a word of the vocabulary, a short number, or a reconstruction kernel such as B30f."""
    words, beginnings = _vocabulary()
    word = without_accents(token).strip("+-&")
    return (
        not word
        or word in words
        or word.startswith(beginnings)
        or _NUMBER.fullmatch(word) is not None
        or _KERNEL.fullmatch(word) is not None
    )


@cache
def _vocabulary() -> tuple[frozenset[str], tuple[str, ...]]:
    """Known words, and known beginnings of words."""
    phrases = " ".join(row.phrases for row in WORDS).replace(",", " ").split()
    beginnings = {without_accents(word[:-1]) for word in phrases if word.endswith("*")}
    words = {without_accents(word).strip("+-*#$") for word in phrases} | set(_MORE_WORDS.split())
    return frozenset(words - {""}), tuple(b for b in beginnings if len(b) >= _SHORTEST_BEGINNING)


@cache
def _words_without_spaces() -> re.Pattern[str]:
    """Chinese, Japanese and Korean phase words, which occur within longer runs of letters; the longest counts."""
    words = sorted(
        (word for word in _vocabulary()[0] if word[0] >= FIRST_WITHOUT_CASE), key=len, reverse=True
    )
    return re.compile("|".join(map(re.escape, words)))

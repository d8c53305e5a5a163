"""The words of a diagnosis: text in; words as they are compared, and what they are (doubt, grade, a tumor), out."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

# Said of a tumor without changing its subtype: removed before words of negation are looked for.
_ATTRIBUTE = (
    r"(?:sar[ck]omatoid\w*|rhabdoid\w*|necros[ie]s|nekros\w*|necrose|lympho\w*|lvi|vascular|angio\w*|vein|venous|"
    r"renal vein|capsular|perinephric|extrarenal|lymph node\w*|margin\w*|invasion|extension|infiltration|"
    r"(?:distant |fern)?metasta\w+)"
)
_NEGATED = re.compile(
    rf"\b(?:no|without|ohne|keine?[rnms]?|sans|pas de|absence of|negative for)\s+(?:evidence of\s+|signs of\s+)?"
    rf"{_ATTRIBUTE}(?:\s+(?:invasion|differentiation|differenzierung|involvement|features|component|change\w*|"
    rf"extension|metasta\w+|or|and|,|{_ATTRIBUTE}))*"
)
_MARGINS = re.compile(
    r"\b(?:negative (?:surgical )?margins?|margins? (?:are |is )?(?:negative|free|clear))\b"
)
_ABBREVIATIONS = (
    (re.compile(r"\br\s?/\s?o\b"), " ? "),
    (re.compile(r"\bw\s?/\s?o\b"), " without "),
    (re.compile(r"\bc\s?/\s?w\b"), " compatible "),
    (re.compile(r"\bs\s?/\s?p\b|\bz\.\s?n\.?(?=\W|$)|\b(?:status|zustand) (?:post|nach)\b"), " history "),
    (re.compile(r"\bv\.\s?a\.?(?=\W|$)"), " verdacht "),
    (re.compile(r"\bd\.\s?d\.?(?=\W|$)"), " dd "),
    (re.compile(r"\ba\.\s?e\.?(?=\W|$)"), " verdacht "),
    (re.compile(r"(?<![^\W\d_])(typ|type|tipo)(?=\d)"), r"\1 "),
    (re.compile(r"\bm-?(\d{4}/\d)\b"), r"\1"),
)
# The text is then in doubt, or says what the tumor is not.
_DOUBT_WORDS = """
    ? no not non without neither nor never versus vs or either dd ddx differential differentialdiagnose
    differenzialdiagnose rule ruled exclude excluded excluding exclusion negative lack lacks lacking absent absence
    favor favors favored favoring favour favours favoured favouring suspicious suspected suspicion suspect susp
    probable probably possible possibly likely unlikely presumed presumably suggestive suggests suggesting suggest
    consistent compatible maybe perhaps cannot can't equivocal indeterminate uncertain unclear unsure rather mixed
    hybrid collision composite combined formerly previously initially pending awaiting mimicking mimic resembling like
    kein keine keinen keiner nicht ohne oder verdacht vermutlich wahrscheinlich moglich moglicherweise ehesten eher
    evtl eventuell fraglich gemischt mischtyp ausschluss auszuschliessen vereinbar passend unklar
    differentialdiagnostisch pas sans ou probablement peut evoquant compatibles mixte douteux suspecte diagnostic
    o sin ni probable posible compatible sospecha mixto descartar senza oppure probabile sospetto misto
    query could may might would should concerning worrisome keeping cw against insufficient inadequate
    prior previous hx father mother brother sister family vater mutter bruder schwester familie anamnese
    anamnestisch fruher konnte koennte
    aut vel history clear klarzellig klarzellige klarzelliger klarzelliges claires claras chiare"""
DOUBT = frozenset(_DOUBT_WORDS.split())
_CHINESE_DOUBT = ("或", "疑", "除外", "考虑", "可能", "非", "不", "未", "混合")
# Beside a bare adjective these change nothing.
_HARMLESS_WORDS = """
    renal kidney cell cells cellular carcinoma ca cancer rcc ccr nzk nzca vom adenocarcinoma nos
    nierenzellkarzinom nierenzell karzinom nierenkarzinom niere nieren carcinome cellules renales rein
    renale renali rene celulas rinon type typ tipo subtype variant variante subtyp histology classic
    classical klassisch eosinophilic eosinophil eosinophile eosinophiler oncocytic solid cystic low high
    grade nuclear fuhrman isup who stage differentiation sarcomatoid rhabdoid differenzierung component i ii
    iii iv a b of the in and with und mit de du des et a y e la le left right links rechts gauche droit
    droite upper lower mid pole polar partial radical nephrectomy nephrektomie size cm mm x unifocal focal
    grad g t n m r p v l multifocal confirmed proven | : + is"""
_HARMLESS = frozenset(_HARMLESS_WORDS.split())
_CODE = re.compile(r"\d+|\d+[.,]\d+|[pcy]?[tnmrgvl][0-4x][abc]?|g[1-4]|[12][ab]")
_TUMOR = re.compile(
    r"(?:.*(?:oma|omas|ome|om|rcc|nzk|rct|karzinom|tumor|tumour|tumeur|neoplasm|cancer|cyst|癌|瘤)|kirp|kich|kirc|"
    r"tcc|utuc|aml|mest|\d{4}|prcc[12]|rccpap|rccch|rcccc)"
)
_CHINESE_HARMLESS = frozenset("肾细胞癌型性左右侧级的和与")


def words_of(text: str) -> tuple[str, ...]:
    """Words in small letters without accents; what joins or divides them is gone, a question mark stays."""
    flat = unicodedata.normalize("NFKD", text.casefold())
    flat = "".join(c for c in flat if not unicodedata.combining(c))
    for pattern, instead in _ABBREVIATIONS:
        flat = pattern.sub(instead, flat)
    flat = _NEGATED.sub(" ", _MARGINS.sub(" ", flat.replace("_", " ")))
    return tuple(re.findall(r"\d+[.,]\d+|[^\W_]+(?:'t)?|\?", flat))


def squeezed(words: Iterable[str]) -> str:
    """Words without what stands between them, so that ``Papillary RCC`` and ``papillary_rcc`` meet."""
    return "".join(words)


def doubt_in(words: Sequence[str]) -> str:
    """The first word that says that the diagnosis is not certain, or negates something; empty when none does."""
    return next((w for w in words if w in DOUBT or any(sign in w for sign in _CHINESE_DOUBT)), "")


def harmless(words: Sequence[str]) -> bool:
    """True when the words beside a bare adjective tell only grade, type, stage, side, size."""
    return all(
        word in _HARMLESS or _CODE.fullmatch(word) or _CHINESE_HARMLESS.issuperset(word) for word in words
    )


def is_chinese(word: str) -> bool:
    """True for text written without spaces."""
    return any("\u4e00" <= sign <= "\u9fff" for sign in word)


def names_a_tumor(words: Sequence[str]) -> bool:
    """True when the words contain a noun (carcinoma, oncocytoma, RCC) or a code, not an adjective alone."""
    return any(_TUMOR.fullmatch(word) for word in words)

"""Map a pathologist's text to a subtype with a table that the user sees and edits (pathology.csv); never a guess."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path

from nephroscope.base.errors import CohortError
from nephroscope.base.files import save_text
from nephroscope.base.tables import names, read_table, save_table
from nephroscope.base.text import without_accents
from nephroscope.records import Finding, warning

# Attributes of a tumor that do not change its subtype: removed before searching for words of negation.
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
# Words that make the diagnosis uncertain, or negate it.
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
# Words next to a bare adjective that change nothing.
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
    """Words in lower case without accents and punctuation; a question mark stays."""
    flat = without_accents(text)
    for pattern, instead in _ABBREVIATIONS:
        flat = pattern.sub(instead, flat)
    flat = _NEGATED.sub(" ", _MARGINS.sub(" ", flat.replace("_", " ")))
    return tuple(re.findall(r"\d+[.,]\d+|[^\W_]+(?:'t)?|\?", flat))


def squeezed(words: Iterable[str]) -> str:
    """Words joined without spaces, so that ``Papillary RCC`` and ``papillary_rcc`` are equal."""
    return "".join(words)


def doubt_in(words: Sequence[str]) -> str:
    """The first word that makes the diagnosis uncertain or negates it; empty without one."""
    return next((w for w in words if w in DOUBT or any(sign in w for sign in _CHINESE_DOUBT)), "")


def harmless(words: Sequence[str]) -> bool:
    """True when the words next to a bare adjective are only grade, type, stage, side, size and the like."""
    return all(
        word in _HARMLESS or _CODE.fullmatch(word) or _CHINESE_HARMLESS.issuperset(word) for word in words
    )


def is_chinese(word: str) -> bool:
    """True for Chinese text, which is written without spaces."""
    return any("\u4e00" <= sign <= "\u9fff" for sign in word)


def names_a_tumor(words: Sequence[str]) -> bool:
    """True when the words contain a noun (carcinoma, oncocytoma, RCC) or a code, not only an adjective."""
    return any(_TUMOR.fullmatch(word) for word in words)


PATHOLOGY_FILE = "pathology.csv"


@dataclass(frozen=True, kw_only=True)
class PathologyRow:
    """``text``, as whole words in a diagnosis, means ``subtype``; an empty subtype means that nobody can say.

    Attributes:
        row: Number of the row in the spreadsheet.
    """

    row: int
    text: str
    subtype: str

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Words of the text, as they are compared."""
        return words_of(self.text)


@dataclass(frozen=True, kw_only=True)
class PathologyTable:
    """Rows in order; if two match, the first one counts."""

    rows: tuple[PathologyRow, ...]

    @cached_property
    def whole(self) -> dict[str, str]:
        """Subtype of each text that can be a whole diagnosis."""
        found: dict[str, str] = {}
        for row in self.rows:
            found.setdefault(squeezed(row.words), row.subtype)
        return found

    def meaning(self, text: str) -> str | None:
        """The subtype of a diagnosis; None where the table does not have it or the text is uncertain.

        A diagnosis that equals the text of a row has the subtype of that row. Otherwise rows match whole words, each
        word only once. Two subtypes in one text, or a word of doubt or negation next to one, give None. A row without
        a noun (``papillary``) counts only if nothing but grade, type, side and the like is next to it.
        """
        if text not in self._known:
            self._known[text] = self._meaning(list(words_of(text)))
        return self._known[text]

    @cached_property
    def _known(self) -> dict[str, str | None]:
        """Diagnoses seen before: tables with a row per image repeat them."""
        return {}

    def obstacle(self, text: str) -> str:
        """Why a diagnosis has no subtype, to follow it in a message: ``('favor' makes it uncertain)``."""
        meant, _, rest = self._matched(list(words_of(text)))
        if len(set(meant)) > 1:
            return f" ({' and '.join(sorted(set(meant)))} are both named)"
        word = doubt_in(rest) if meant else ""
        return f" ({word!r} makes it uncertain or negates it)" if word else ""

    def _meaning(self, words: list[str]) -> str | None:
        if squeezed(words) in self.whole:
            return self.whole[squeezed(words)] or None
        meant, bare, rest = self._matched(words)
        if len(set(meant)) != 1 or doubt_in(rest) or (bare and not harmless(rest)):
            return None
        return meant[0] or None

    def _matched(self, words: list[str]) -> tuple[list[str], bool, list[str]]:
        """Subtypes of the matching rows, whether one is a bare adjective, and the words left over."""
        meant: list[str] = []
        bare = False
        for row in self.rows:
            while (at := _place(row.words, words)) is not None:
                bare = bare or not names_a_tumor(row.words)
                before, _, after = words[at].partition(row.words[0])
                words[at : at + len(row.words)] = [before or "|", after or "|"]
                meant.append(row.subtype)
        return meant, bare, words


def _place(phrase: tuple[str, ...], words: list[str]) -> int | None:
    """Position of these words one after the other; Chinese text is searched within words."""
    if len(phrase) == 1 and is_chinese(phrase[0]):
        return next((i for i, word in enumerate(words) if phrase[0] in word), None)
    n = len(phrase)
    return next((i for i in range(len(words) - n + 1) if tuple(words[i : i + n]) == phrase), None)


@cache
def default_table() -> PathologyTable:
    """The table of a new study: WHO 2022 with usual synonyms in five languages."""
    with resources.as_file(resources.files("nephroscope.intake.labels") / PATHOLOGY_FILE) as path:
        return read_pathology(path)


def write_pathology(folder: Path, merged: Mapping[str, Sequence[str]] | None = None) -> None:
    """Copy the default table into a study folder, where it can be edited.

    ``merged`` are names of the study for several subtypes together: every text of theirs then means that name.
    """
    source = resources.files("nephroscope.intake.labels") / PATHOLOGY_FILE
    save_text(folder / PATHOLOGY_FILE, source.read_text(encoding="utf-8"))
    if not merged:
        return
    name_of = {}
    for name, parts in merged.items():
        for part in parts:
            name_of[squeezed(words_of(default_table().meaning(part) or part))] = name
    header, rows = read_table(folder / PATHOLOGY_FILE)
    at = [title.lower() for title in header].index("subtype")
    for _, row in rows:
        row[at] = name_of.get(squeezed(words_of(row[at])), row[at])
    own = [[part, name, "", *[""] * (len(header) - 3)] for name, parts in merged.items() for part in parts]
    known = {squeezed(words_of(row[0])) for _, row in rows}
    own = [row for row in own if squeezed(words_of(row[0])) not in known]
    save_table(folder / PATHOLOGY_FILE, header, [*own, *(row for _, row in rows)])


def load_pathology(folder: Path) -> PathologyTable:
    """The table of a study, or the default table if the study has none.

    Raises:
        CohortError: It has no columns text and subtype, or a row without text, or two rows that contradict.
    """
    path = folder / PATHOLOGY_FILE
    return read_pathology(path) if path.is_file() else default_table()


def read_pathology(path: Path) -> PathologyTable:
    """The rows of a table with the columns text and subtype, in order.

    Raises:
        CohortError: It has no columns text and subtype, or a row without text, or two rows that contradict.
    """
    header, rows = read_table(path)
    header = [name.lower() for name in header]
    if not {"text", "subtype"} <= set(header):
        raise CohortError(
            where=path.name,
            expected="the columns text and subtype",
            found=", ".join(header),
            remedy=f"restore the header line text,subtype,comment, or remove {path.name} to use the default",
        )
    at_text, at_subtype = header.index("text"), header.index("subtype")
    made = tuple(PathologyRow(row=n, text=row[at_text], subtype=row[at_subtype]) for n, row in rows)
    first: dict[str, PathologyRow] = {}
    for row in made:
        if not row.words:
            raise CohortError(
                where=f"{path.name}, row {row.row}",
                expected="a text",
                found="nothing",
                remedy="fill it, or remove the row",
            )
        before = first.setdefault(squeezed(row.words), row)
        if before.subtype != row.subtype:
            raise CohortError(
                where=f"{path.name}, row {row.row}",
                expected="only one subtype for a text",
                found=f"{row.subtype!r}, but {before.subtype!r} in row {before.row}",
                remedy="remove one of the two rows",
            )
    return PathologyTable(rows=made)


def match_subtype(text: str, subtypes: tuple[str, ...], table: PathologyTable | None = None) -> str | None:
    """The study's subtype for a text; None if it is another subtype or unclear.

    A name of the study always stands for itself. Otherwise `PathologyTable.meaning` decides: it gives a name of the
    study, or a subtype with exactly one synonym among the study's names (PRCC for papillary; not "papillary type 1").
    """
    table = table or default_table()
    for same in (str, lambda name: squeezed(words_of(name))):
        exact = [subtype for subtype in subtypes if same(subtype) == same(text)]
        if exact:
            return exact[0]
    meaning = table.meaning(text)
    if meaning is None:
        return None
    key = squeezed(words_of(meaning))
    own = [subtype for subtype in subtypes if squeezed(words_of(subtype)) == key]
    synonyms = [s for s in subtypes if table.whole.get(squeezed(words_of(s))) == meaning]
    return next(iter(own + (synonyms if len(synonyms) == 1 else [])), None)


def name_of_subtype(text: str, subtypes: tuple[str, ...], table: PathologyTable | None = None) -> str | None:
    """The study's name for a text, otherwise the name in the table; None if it is not in the table."""
    return match_subtype(text, subtypes, table) or (table or default_table()).meaning(text)


def unmapped_finding(texts: Iterable[str], table: PathologyTable | None = None) -> tuple[Finding, ...]:
    """One warning that lists the diagnoses that pathology.csv does not map; nothing without any."""
    unknown = sorted(texts)
    if not unknown:
        return ()
    table = table or default_table()
    listed = names((repr(shortened(t)) + table.obstacle(t) for t in dict.fromkeys(unknown)), 20)
    message = f"{len(unknown)} cases with a pathology text that {PATHOLOGY_FILE} does not list: {listed}"
    return (warning("subtype-unmapped", message),)


def shortened(text: str, most: int = 80) -> str:
    """A diagnosis shortened for messages."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"

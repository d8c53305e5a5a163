"""Identifiers of patients, cases and files: cleaned, and compared by more than their letters.

Two identifiers *meet* when they look the same on a screen (`clean_name`). They have one *spelling* when they differ
in case, blanks, punctuation or zeros only, and may be one *patient* when one of them also says a side, a tumor or a
word for patient. Only the first counts as equal; the others are for a person to decide.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from nephroscope.base.tables import UNKNOWN

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]"
)
NO_NAMES = UNKNOWN | {
    *(
        "--",
        "---",
        "\u2013",
        "\u2014",
        ".",
        "..",
        "#n/a",
        "#na",
        "<na>",
        "nat",
        "n.a.",
        "n.a",
        "n. a.",
        "k.a.",
        "k. a.",
    ),
    *(
        "null",
        "nil",
        "empty",
        "missing",
        "not available",
        "not applicable",
        "unbekannt",
        "keine angabe",
        "inconnu",
    ),
    *("desconocido", "sconosciuto", "nd", "n.d.", "tbd", "xxx", "??", "???", "未知", "不详", "无", "无名"),
}
_SIDES = """
    l r g d
    li re lt rt left right links rechts gauche droite izq der izquierda derecha izquierdo derecho sin dex sx dx
    sinistra destra 左 右 左侧 右侧 左肾 右肾
"""
_PARTS = "t tu tumor tumour tumeur lesion roi mass herd 肿瘤 病灶"
_PATIENT = """
    p pt pts pat patient patientin patnr patno patid pid subject subj sub id nr no num case fall cas caso pac paz
    paciente paziente 病人 患者 病例
"""
SIDES, PARTS, PATIENT = (frozenset(words.split()) for words in (_SIDES, _PARTS, _PATIENT))


def clean_name(text: str) -> str:
    """The identifier without what nobody sees: composed letters (NFC), no invisible characters, single blanks."""
    return " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", text)).split())


def existing(path: Path) -> Path | None:
    """The path, or the file whose name has the same letters composed or decomposed; None where there is none."""
    forms = (path, *(Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD")))
    return next((one for one in forms if one.exists()), None)


def is_no_name(text: str) -> bool:
    """True for what people and programs write for no identifier: ``NA``, ``nan``, ``None``, ``-``, ``?``."""
    return clean_name(text).casefold() in NO_NAMES


def spelling(name: str) -> tuple[str, ...]:
    """What is left of an identifier without case, blanks, punctuation, zeros before numbers and ``.0`` behind them.

    Numbers stay apart: 1-12 and 11-2 are two identifiers.
    """
    plain = unicodedata.normalize("NFKC", clean_name(name)).casefold()
    plain = re.sub(r"(?<=\d)[.,]0+$", "", plain)
    words = re.sub(r"(?<=[^\W\d_])[\W_]+(?=[^\W\d_])", "", plain)
    parts = re.findall(r"\d+|[^\W\d_]+", words)
    return tuple(str(int(part)) if len(part) < 30 and part.isdecimal() else part for part in parts) or (
        plain,
    )


def patient_spelling(name: str) -> tuple[str, ...]:
    """The `spelling` without a side or a tumor at its end and a word for patient at its start."""
    parts = list(spelling(name))
    if len(parts) > 2 and parts[-1].isdecimal() and parts[-2] in PARTS:
        del parts[-2:]
    elif len(parts) > 1 and parts[-2].isdecimal() and (parts[-1] in SIDES or parts[-1] in ("a", "b")):
        del parts[-1]
    if len(parts) > 1 and parts[0] in PATIENT and parts[1].isdecimal():
        del parts[0]
    return tuple(parts)


def alike(names: Iterable[str]) -> tuple[list[list[str]], list[list[str]]]:
    """Groups of different names with one `spelling`, and further groups that may be one patient; each in order.

    A name without punctuation also has the spelling of one that has it between numbers: 2021001 and 2021-001.
    """
    ordered = sorted(set(names))
    same: dict[tuple[str, ...], list[str]] = defaultdict(list)
    joined: dict[str, list[str]] = defaultdict(list)
    maybe: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in ordered:
        same[spelling(name)].append(name)
        joined[re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", name)).casefold()].append(name)
    for group in same.values():
        maybe[patient_spelling(group[0])].append(group[0])
    pairs = {tuple(group) for group in maybe.values()}
    for group in joined.values():
        whole = next((name for name in group if not re.search(r"\d[\W_]+\d", name)), None)
        if whole is not None:
            pairs |= {tuple(sorted((whole, n))) for n in group if spelling(n) != spelling(whole)}
    return _several(same.values()), _several(pairs)


def _several(groups: Iterable[Iterable[str]]) -> list[list[str]]:
    return sorted(group for group in map(list, groups) if len(group) > 1)


LOST_ZEROS = (
    "spreadsheets drop leading zeros: give the column the number format 0000000, with as many zeros as a name has "
    "digits, or format it as text and type the numbers again"
)


def near_names(names: Iterable[str], others: Iterable[str]) -> dict[str, str]:
    """For each name that has one, the first of other names that may be meant by it."""
    wanted, given = sorted(set(names)), sorted(set(others))
    found: dict[str, str] = {}
    for key in (spelling, patient_spelling):
        first: dict[tuple[str, ...], str] = {}
        for other in given:
            first.setdefault(key(other), other)
        for name in wanted:
            twin = first.get(key(name))
            if twin is not None and twin != name:
                found.setdefault(name, twin)
    return found

"""Collect what identifies a patient in a source file, and search for it in the written file.

The search reads the written file again, element by element and as bytes; it shares no code with the removal. A leak
is reported by the kind and place of the value, never by the value.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from nephroscope.base.text import without_accents
from nephroscope.intake.deidentify.pseudonyms import PSEUDONYM
from nephroscope.intake.safe_text import DEFINED_TERMS, FIRST_WITHOUT_CASE

_TEXT = {"AE", "AS", "CS", "DS", "IS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
_NONE: frozenset[str] = frozenset()
_UID_LIKE = re.compile(r"\d+(?:\.\d+)+")
_BYTES = {"OB", "UN"}
_PIXELS = {"PixelData", "FloatPixelData", "DoubleFloatPixelData"}
_ID_KEYWORDS = re.compile(
    r"PatientID|OtherPatientIDs|AccessionNumber|.*BirthDate|PatientAddress|PatientTelephoneNumbers|MedicalRecordLocator"
    r"|InstitutionName|InstitutionAddress|InstitutionalDepartmentName|AdmissionID|InsurancePlanIdentification"
    r"|(Placer|Filler)OrderNumber.*|RequestedProcedureID"
)
_KEPT_UID_KEYWORDS = re.compile(r".*(SOPClass|TransferSyntax|Context|MappingResource).*")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
_ASIAN_CODECS = ("iso2022_jp", "shift_jis", "euc_jp", "euc_kr", "gb18030")
STREAM_HEAD = 4096
SHORTEST_JOINED = SHORTEST_IN_STREAM = 6
SHORTEST_WORD, SHORTEST_ID, SHORTEST_RAW_WORD, SHORTEST_RAW_NUMBER = 3, 4, 4, 7
PUBLIC_UIDS = ("1.2.840.10008.", "2.16.840.1.113883.6.")  # of DICOM, and of public coding systems (HL7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Values of a source file that must not be found in the copy, in lower case.

    Attributes:
        words: Parts of all person names with three letters or more (two in scripts without case).
        ids: Identifiers, birth dates in several spellings, addresses, institutions; four characters or more.
        uids: UIDs of instances.
        joined: First and last names run together, which are also found inside longer words.
        others: Words of the names of all patients in the label table.
    """

    words: frozenset[str]
    ids: frozenset[str]
    uids: frozenset[str]
    joined: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    def names(self, text: str) -> bool:
        """Whether a text holds one of these."""
        text = " ".join(text.casefold().split())
        patterns = (_pattern(self.words, self.ids, self.joined), _pattern(self.others, _NONE, _NONE))
        return any(pattern is not None and pattern.search(text) for pattern in patterns) or any(
            uid in self.uids for uid in _UID_LIKE.findall(text)
        )


def identity_of(dataset: Any, others: frozenset[str] = frozenset()) -> Identity:
    """Everything identifying in a data set, at any depth; names also without accents and with ae for ä."""
    words: set[str] = set()
    joined: set[str] = set()
    ids: set[str] = set()
    uids = {str(dataset.file_meta.get("MediaStorageSOPInstanceUID", ""))}
    for element in dataset.iterall():
        if element.VR == "PN":
            words.update(word for name in _values(element) for word in name_words(name))
            joined.update(word for name in _values(element) for word in joined_names(name))
        elif element.VR == "UI" and not _KEPT_UID_KEYWORDS.fullmatch(element.keyword):
            uids.update(_values(element))
        elif _ID_KEYWORDS.fullmatch(element.keyword):
            ids.update(" ".join(value.casefold().split()) for value in _values(element))
            if element.VR == "DA":
                ids.update(day for value in _values(element) for day in _spellings(value))
    return Identity(
        words=frozenset(words - DEFINED_TERMS),
        ids=frozenset(i for i in ids if len(i) >= SHORTEST_ID) - DEFINED_TERMS,
        uids=frozenset(uid for uid in uids if uid and not uid.startswith(PUBLIC_UIDS)),
        joined=frozenset(joined),
        others=others,
    )


def joined_names(name: str) -> set[str]:
    """First and last name run together, both ways, if they have six letters or more."""
    family, _, rest = name.casefold().replace(",", "^").partition("^")
    given = rest.partition("^")[0]
    parts = ["".join(re.findall(r"[^\W\d_]+", part)) for part in (family, given)]
    both = {"".join(parts), "".join(reversed(parts))} if all(parts) else set()
    long = {word for word in both if len(word) >= SHORTEST_JOINED}
    return {spelt for word in long for spelt in (word, without_accents(word), word.translate(_UMLAUTS))}


def _spellings(date: str) -> set[str]:
    """A birth date YYYYMMDD as people write it."""
    digits = date.replace(".", "")
    if not re.fullmatch(r"\d{8}", digits):
        return set()
    year, month, day = digits[:4], digits[4:6], digits[6:]
    orders = ((year, month, day), (day, month, year), (month, day, year))
    written = {sign.join(order) for order in orders for sign in ("", ".", "-", "/")}
    return written | {sign.join((str(int(day)), str(int(month)), year)) for sign in (".", "-", "/")}


def name_words(name: str) -> set[str]:
    """Parts of a name that could identify a person, in their usual spellings."""
    found: set[str] = set()
    for word in re.findall(r"[^\W\d_]+", name.casefold()):
        shortest = (
            2 if word[0] >= FIRST_WITHOUT_CASE else SHORTEST_WORD
        )  # Chinese, Japanese and Korean names are short
        if len(word) >= shortest:
            found |= {word, without_accents(word), word.translate(_UMLAUTS)}
    return found


def find_leaks(path: Path, identity: Identity, pseudonym: str, pixels: bytes | None) -> list[str]:
    """What still identifies in a written file, or was changed by mistake; empty if nothing.

    Args:
        path: The written file.
        identity: Identifying values of the source file.
        pseudonym: The only name of the patient that is allowed.
        pixels: Encoded pixels of the source.
    """
    import pydicom

    written = pydicom.dcmread(path)
    leaks = [
        *_in_elements(written, identity, pseudonym),
        *_in_elements(written.file_meta, identity, pseudonym),
    ]
    stored = pixel_bytes(written)
    if stored != pixels:
        leaks.append("pixels: different from the source")
    if written.file_meta.TransferSyntaxUID.is_compressed:  # the head of the stream may contain a comment
        leaks += [f"pixels, {leak}" for leak in _in_bytes((stored or b"")[:STREAM_HEAD], identity)]
        leaks += [f"pixels, {leak}" for leak in _in_bytes(stored or b"", identity, SHORTEST_IN_STREAM)]
    content = path.read_bytes()
    leaks += _in_bytes(content[: len(content) - len(stored or b"")], identity)
    return sorted(set(leaks))


def pixel_bytes(dataset: Any) -> bytes | None:
    """Encoded pixels, or None."""
    return next((bytes(dataset[name].value) for name in _PIXELS if name in dataset), None)


def _in_elements(dataset: Any, identity: Identity, pseudonym: str) -> Iterator[str]:
    for element in dataset.iterall():
        name = element.keyword or f"({element.tag.group:04X},{element.tag.element:04X})"
        if element.tag.is_private:
            yield "a private attribute"
        elif element.VR in _BYTES and element.keyword not in _PIXELS:
            yield from (f"{name}: {found}" for found in _in_bytes(bytes(element.value or b""), identity))
        elif found := _in_values(element.VR, _values(element), identity, pseudonym):
            yield f"{name}: {found}"


def _in_values(vr: str, values: list[str], identity: Identity, pseudonym: str) -> str:
    if vr == "PN" and not all(v == pseudonym or re.fullmatch(PSEUDONYM, v) for v in values if v):
        return "a person's name"
    if vr == "UI" and identity.uids.intersection(values):
        return "an original UID"
    if vr in _TEXT and any(identity.names(value) for value in values):
        return "an identifying value"
    return ""


def _in_bytes(content: bytes, identity: Identity, shortest: int = SHORTEST_RAW_WORD) -> Iterator[str]:
    """The same search in bytes, without using the structure of DICOM."""
    asian = "" if shortest > SHORTEST_RAW_WORD else FIRST_WITHOUT_CASE
    words, others = (
        frozenset(w for w in named if len(w) >= shortest or (asian and w[0] >= asian))
        for named in (identity.words, identity.others)
    )
    ids = frozenset(i for i in identity.ids if len(i) >= max(shortest, SHORTEST_RAW_NUMBER * i.isdigit()))
    patterns = [_pattern(words, ids, identity.joined), _pattern(others, _NONE, _NONE)]
    for codec in ("latin-1", "utf-8") if any(patterns) else ():
        text = content.decode(codec, "ignore").casefold()
        if any(pattern is not None and pattern.search(text) for pattern in patterns):
            yield "bytes: an identifying value"
    if any(uid in identity.uids for uid in _UID_LIKE.findall(content.decode("latin-1"))):
        yield "bytes: an original UID"
    for word in words:
        for codec in _ASIAN_CODECS if not word.isascii() and word[0] >= FIRST_WITHOUT_CASE else ():
            if (encoded := _encoded(word, codec)) and encoded in content:
                yield "bytes: an identifying value"


@lru_cache(maxsize=256)
def _pattern(words: frozenset[str], ids: frozenset[str], joined: frozenset[str]) -> re.Pattern[str] | None:
    latin = sorted(word for word in words if word[0] < FIRST_WITHOUT_CASE)
    asian = sorted(words.difference(latin))
    parts = [rf"(?<![^\W\d_])(?:{_any(latin)})(?![^\W\d_])"] if latin else []
    parts += [_any(sorted(word for found in (asian, joined) for word in found))] if asian or joined else []
    parts += [rf"(?<![0-9a-z.])(?:{_any(sorted(ids))})(?![0-9a-z.])"] if ids else []
    return re.compile("|".join(parts)) if parts else None


def _any(texts: Iterable[str]) -> str:
    return "|".join(map(re.escape, texts))


def _values(element: Any) -> list[str]:
    value = element.value
    if value is None or value == "":
        return []
    many = not isinstance(value, str) and hasattr(value, "__iter__") and element.VM > 1
    return [str(one).strip() for one in value] if many else [str(value).strip()]


def _encoded(word: str, codec: str) -> bytes:
    try:
        return word.encode(codec)
    except UnicodeEncodeError:
        return b""

"""The header of a table of calls in; which column is what, out."""

from collections.abc import Mapping, Sequence

from nephroscope.cohort.labels.columns import COLUMN_NAMES, plain
from nephroscope.errors import CohortError

# Compared without case, accents and whatever is neither letter nor digit; the first named is taken.
NAMES = {
    "case_id": COLUMN_NAMES["case_id"] + " id",
    "reader": "reader readerid readername radiologist observer rater befunder leser lecteur lector lettore 阅片者",
    "call": "call readercall answer reading diagnosis befund diagnose diagnostic diagnostico diagnosi subtype label",
    "confidence": "confidence rating score certainty likelihood probability konfidenz sicherheit confiance confianza "
    "confidenza 置信度",
    "seconds": "seconds secs readingseconds readingtime readingtimes time times duration sekunden zeit dauer temps "
    "tiempo tempo",
    "aided": "aided assisted withai aisupport aiassisted mitki unterstutzt",
    "kind": "kind readerkind model ismodel",
    "truth": "truth groundtruth reference referencestandard goldstandard pathology histology",
    "patient_id": COLUMN_NAMES["patient_id"].removesuffix(" id"),
}


def find_call_columns(table: str, header: Sequence[str], named: Mapping[str, str]) -> dict[str, int]:
    """Place of each column that the table has.

    Args:
        table: File name, for refusals.
        header: Of the table.
        named: Our name to header, where the user says it.

    Raises:
        CohortError: A column is not there, is there twice, or neither call nor confidence is there.
    """
    plain_header = [plain(title) for title in header]
    where: dict[str, int] = {}
    for name, spellings in NAMES.items():
        wanted = [plain(named[name])] if name in named else spellings.split()
        found = [i for word in wanted for i, title in enumerate(plain_header) if title == word]
        found = [i for i in found if i not in where.values()]
        if name in named and not found:
            raise _refusal(table, f"a column {named[name]!r}", header, "correct its name")
        if found:
            if plain_header.count(plain_header[found[0]]) > 1:
                raise _refusal(table, f"one column {header[found[0]]!r}", header, "rename one of them")
            where[name] = found[0]
    for name in ("case_id", "reader"):
        if name not in where:
            raise _refusal(table, f"a column {name}", header, "rename the column")
    if not {"call", "confidence"} & where.keys():
        raise _refusal(table, "a column call or a column confidence", header, "add what the readers answered")
    return where


def _refusal(table: str, expected: str, header: Sequence[str], remedy: str) -> CohortError:
    return CohortError(where=table, expected=expected, found=", ".join(header), remedy=remedy)

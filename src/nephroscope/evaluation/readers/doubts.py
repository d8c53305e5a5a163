"""Readers with their answers in; what is doubtful about them, as findings, and the confidences to believe, out."""

from collections.abc import Sequence
from dataclasses import replace

from nephroscope.cohort.tables import names
from nephroscope.evaluation.readers.calls import Known, Reader
from nephroscope.evaluation.readers.scale import Scale, scale_doubts
from nephroscope.records import Finding, counted_noun

MOST_CONTRADICTIONS = 0.1  # of the cases with a call and a confidence: beyond, they are no slips of the pen


def call_doubts(readers: Sequence[Reader], known: Known, scale: Scale | None) -> list[Finding]:
    """Cases a reader left out or was not sure of, and confidences that contradict the call or the scale."""
    every = {case for reader in readers for case in reader.readings}
    found: list[Finding] = []
    for reader in readers:
        missing = every - reader.readings.keys()
        if missing:
            found.append(
                _doubt(
                    code="reader-cases-missing",
                    message=f"reader {reader.title}: {len(missing)} of {counted_noun(len(every), 'case')} "
                    f"not answered: {names(missing)}",
                )
            )
        unsure = [case for case, r in reader.readings.items() if r.call is None]
        if unsure:
            message = (
                f"reader {reader.title}: not sure in {len(unsure)} of "
                f"{counted_noun(len(reader.readings), 'case')}; figures of calls leave them out, "
                "and who calls the easy cases only looks better"
            )
            found.append(_doubt(code="reader-not-sure", message=message))
        odd = [] if scale is None else _contradictions(reader, known, scale)
        if odd:
            found.append(
                _doubt(
                    code="reader-contradicts",
                    message=f"reader {reader.title}: call and confidence contradict in "
                    f"{counted_noun(len(odd), 'case')}: {names(odd)}; "
                    f"confidence is how surely it is {known.positive}, not how sure the reader is of the call"
                    f"{'; so many that no AUC is made of them' if _too_many(odd, reader) else ''}",
                )
            )
    if scale is not None:
        found += scale_doubts(scale, {r.title: list(r.rated.values()) for r in readers})
    return found


def believed(reader: Reader, known: Known, scale: Scale | None) -> Reader:
    """The reader without the confidences, where too many contradict the calls: an AUC of them would mean nothing."""
    odd = [] if scale is None else _contradictions(reader, known, scale)
    if not _too_many(odd, reader):
        return reader
    why = f"call and confidence contradict in {len(odd)} of {counted_noun(_both(reader), 'case')}"
    readings = {case: replace(reading, confidence=None) for case, reading in reader.readings.items()}
    return replace(reader, readings=readings, unrated=why)


def _too_many(odd: Sequence[str], reader: Reader) -> bool:
    return len(odd) > MOST_CONTRADICTIONS * _both(reader)


def _both(reader: Reader) -> int:
    """Cases with a call and a confidence."""
    return len(reader.called.keys() & reader.rated.keys())


def _contradictions(reader: Reader, known: Known, scale: Scale) -> list[str]:
    return [
        case
        for case, r in reader.readings.items()
        if r.call is not None
        and r.confidence is not None
        and r.confidence != scale.middle
        and (r.confidence > scale.middle) != (r.call == known.positive)
    ]


def _doubt(*, code: str, message: str) -> Finding:
    return Finding(code=code, severity="warning", message=message, case_id="")

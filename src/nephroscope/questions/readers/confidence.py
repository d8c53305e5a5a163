"""Readers with their answers in; what is doubtful about them, as findings, and the confidences to believe, out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.base.tables import names
from nephroscope.questions.readers.calls import Known, Reader
from nephroscope.records import Finding, counted_noun

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """From surely not the positive subtype (``low``) to surely the positive one (``high``)."""

    name: str
    low: float
    high: float
    whole: bool

    @property
    def middle(self) -> float:
        """Neither."""
        return (self.low + self.high) / 2

    def holds(self, value: float) -> bool:
        """True when a confidence can stand on this scale."""
        return self.low <= value <= self.high and (not self.whole or value.is_integer())

    def told(self, positive: str) -> str:
        """The scale in words."""
        return f"{self.low:g} (surely not {positive}) to {self.high:g} (surely {positive}), {self.middle:g}: not sure"


SCALES = {
    "1-5": Scale(name="1-5", low=1, high=5, whole=True),
    "-2-2": Scale(name="-2-2", low=-2, high=2, whole=True),
    "0-1": Scale(name="0-1", low=0, high=1, whole=False),
    "0-100": Scale(name="0-100", low=0, high=100, whole=False),
}


def scale_of(values: Sequence[float], wanted: str, table: str) -> Scale:
    """The scale that was said, or the first that holds every confidence and shows in them.

    Raises:
        ConfigError: The scale is neither usual nor said as LOW-HIGH.
        CohortError: No scale holds them all, or none of the usual ones can be told from them.
    """
    if wanted == AUTO:
        candidates = [scale for scale in SCALES.values() if _shows(scale, values)]
    else:
        candidates = [SCALES.get(wanted) or _said(wanted)]
    for scale in candidates:
        if all(scale.holds(value) for value in values):
            return scale
    known = [scale.name for scale in (SCALES.values() if wanted == AUTO else candidates)]
    outside = sorted(
        {value for value in values if candidates and not candidates[-1].holds(value)} or set(values)
    )
    raise CohortError(
        where=f"{table}, confidence",
        expected=f"all readers on one scale: {', '.join(known)}",
        found=", ".join(f"{value:g}" for value in outside[:10]),
        remedy="correct these cells, or say the scale that they do not show, such as --scale 1-7",
    )


def _shows(scale: Scale, values: Sequence[float]) -> bool:
    """True where the values look like this scale: 0 and 1 are no -2 to 2, and 1 to 7 no 0 to 100."""
    if scale.name == "-2-2":
        return min(values) < 0
    return min(values) < 1 if scale.name == "0-1" else max(values) > scale.middle


def _said(wanted: str) -> Scale:
    """The scale that LOW-HIGH says."""
    found = re.fullmatch(r"(-?\d{1,4})-(-?\d{1,4})", wanted)
    if found is None or int(found[1]) >= int(found[2]):
        raise ConfigError(
            where="--scale",
            expected=f"one of {', '.join((AUTO, *SCALES))}, or LOW-HIGH such as 1-7",
            found=repr(wanted),
            remedy="correct it",
        )
    return Scale(name=wanted, low=int(found[1]), high=int(found[2]), whole=False)


def scale_doubts(scale: Scale, by_reader: Mapping[str, Sequence[float]]) -> list[Finding]:
    """Readers on a scale of 0 to 100 who may have used 1 to 5."""
    if scale.name != "0-100":
        return []
    odd = [name for name, values in by_reader.items() if values and max(values) <= 5]
    return [
        Finding(
            code="reader-scale",
            severity="warning",
            message=f"reader {name}: every confidence is 5 or less on a scale of 0 to 100; was it 1 to 5?",
            case_id="",
        )
        for name in odd
    ]


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

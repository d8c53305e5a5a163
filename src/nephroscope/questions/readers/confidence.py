"""The scale of the readers' confidence, and what is doubtful about their answers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.base.tables import names
from nephroscope.questions.readers.answers import CaseLabels, Reader
from nephroscope.records import Finding, counted_noun, warning

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """From certainly not the positive subtype (``low``) to certainly the positive one (``high``)."""

    name: str
    low: float
    high: float
    whole: bool

    @property
    def middle(self) -> float:
        """Not sure."""
        return (self.low + self.high) / 2

    def holds(self, value: float) -> bool:
        """True when a confidence is possible on this scale."""
        return self.low <= value <= self.high and (not self.whole or value.is_integer())

    def in_words(self, positive: str) -> str:
        """The scale in words."""
        low, middle, high = (f"{value:g}" for value in (self.low, self.middle, self.high))
        return f"{low} (certainly not {positive}) to {high} (certainly {positive}), {middle}: not sure"


SCALES = {
    "1-5": Scale(name="1-5", low=1, high=5, whole=True),
    "-2-2": Scale(name="-2-2", low=-2, high=2, whole=True),
    "0-1": Scale(name="0-1", low=0, high=1, whole=False),
    "0-100": Scale(name="0-100", low=0, high=100, whole=False),
}


def scale_of(values: Sequence[float], wanted: str, table: str) -> Scale:
    """The scale that the user names, or the first usual one that all confidences fit and that they make use of.

    Raises:
        ConfigError: The scale is neither a usual one nor LOW-HIGH.
        CohortError: The confidences do not fit the scale, or none of the usual ones.
    """
    if wanted == AUTO:
        candidates = [scale for scale in SCALES.values() if _shows(scale, values)]
    else:
        candidates = [SCALES.get(wanted) or _from_to(wanted)]
    for scale in candidates:
        if all(scale.holds(value) for value in values):
            return scale
    tried = [scale.name for scale in (SCALES.values() if wanted == AUTO else candidates)]
    outside = sorted(
        {value for value in values if candidates and not candidates[-1].holds(value)} or set(values)
    )
    raise CohortError(
        where=f"{table}, confidence",
        expected=f"all readers on one scale: {', '.join(tried)}",
        found=", ".join(f"{value:g}" for value in outside[:10]),
        remedy="correct these cells, or name the scale, such as --scale 1-7",
    )


def _shows(scale: Scale, values: Sequence[float]) -> bool:
    """True where the values look like this scale: 0 and 1 are not -2 to 2, and 1 to 7 not 0 to 100."""
    if scale.name == "-2-2":
        return min(values) < 0
    return min(values) < 1 if scale.name == "0-1" else max(values) > scale.middle


def _from_to(wanted: str) -> Scale:
    """The scale from LOW to HIGH."""
    found = re.fullmatch(r"(-?\d{1,4})-(-?\d{1,4})", wanted)
    if found is None or int(found[1]) >= int(found[2]):
        raise ConfigError(
            where="--scale",
            expected=f"one of {', '.join((AUTO, *SCALES))}, or LOW-HIGH such as 1-7",
            found=repr(wanted),
            remedy="correct it",
        )
    return Scale(name=wanted, low=int(found[1]), high=int(found[2]), whole=False)


MOST_CONTRADICTIONS = (
    0.1  # of the cases with a call and a confidence: more than that are not slips of the pen
)


def call_doubts(readers: Sequence[Reader], labels: CaseLabels, scale: Scale | None) -> list[Finding]:
    """Cases a reader left out or was not sure of, and confidences that contradict the call or the scale."""
    every = {case for reader in readers for case in reader.answers}
    found: list[Finding] = []

    def doubt(code: str, reader: Reader, message: str) -> None:
        found.append(warning(code, f"reader {reader.title}: {message}"))

    for reader in readers:
        missing = every - reader.answers.keys()
        if missing:
            n = counted_noun(len(every), "case")
            doubt("reader-cases-missing", reader, f"{len(missing)} of {n} not answered: {names(missing)}")
        unsure = [case for case, r in reader.answers.items() if r.call is None]
        if unsure:
            n = counted_noun(len(reader.answers), "case")
            doubt(
                "reader-not-sure",
                reader,
                f"not sure in {len(unsure)} of {n}; accuracy, sensitivity and specificity leave these cases out, "
                "which favors a reader who calls only the easy ones",
            )
        odd = [] if scale is None else _contradictions(reader, labels, scale)
        if odd:
            doubt(
                "reader-contradicts",
                reader,
                f"call and confidence contradict each other in {counted_noun(len(odd), 'case')}: {names(odd)}; "
                f"the confidence must say how likely {labels.positive} is, not how sure the reader is of the call"
                f"{'; with so many, no AUC is computed' if _too_many(odd, reader) else ''}",
            )
    for reader in readers:
        if scale is not None and scale.name == "0-100" and max(reader.rated.values(), default=100) <= 5:
            doubt(
                "reader-scale", reader, "every confidence is 5 or less on a scale of 0 to 100; was it 1 to 5?"
            )
    return found


def without_contradicted_confidences(reader: Reader, labels: CaseLabels, scale: Scale | None) -> Reader:
    """The reader without the confidences, where too many contradict the calls: an AUC of them would mean nothing."""
    odd = [] if scale is None else _contradictions(reader, labels, scale)
    if not _too_many(odd, reader):
        return reader
    why = f"call and confidence contradict each other in {len(odd)} of {counted_noun(_both(reader), 'case')}"
    answers = {case: replace(answer, confidence=None) for case, answer in reader.answers.items()}
    return replace(reader, answers=answers, unrated=why)


def _too_many(odd: Sequence[str], reader: Reader) -> bool:
    return len(odd) > MOST_CONTRADICTIONS * _both(reader)


def _both(reader: Reader) -> int:
    """Cases with a call and a confidence."""
    return len(reader.called.keys() & reader.rated.keys())


def _contradictions(reader: Reader, labels: CaseLabels, scale: Scale) -> list[str]:
    return [
        case
        for case, r in reader.answers.items()
        if r.call is not None
        and r.confidence is not None
        and r.confidence != scale.middle
        and (r.confidence > scale.middle) != (r.call == labels.positive)
    ]

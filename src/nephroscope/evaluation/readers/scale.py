"""Readers' confidences in; the scale they stand on, and the call that a confidence makes, out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nephroscope.errors import CohortError, ConfigError
from nephroscope.records import Finding

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

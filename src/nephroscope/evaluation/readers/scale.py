"""Readers' confidences in; the scale they stand on, and the call that a confidence makes, out."""

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
    """The scale that was said, or the first that holds every confidence.

    Raises:
        ConfigError: There is no scale of that name.
        CohortError: No scale holds them all.
    """
    if wanted not in (AUTO, *SCALES):
        raise ConfigError(
            where="--scale",
            expected=f"one of {', '.join((AUTO, *SCALES))}",
            found=repr(wanted),
            remedy="correct it",
        )
    candidates = list(SCALES.values()) if wanted == AUTO else [SCALES[wanted]]
    for scale in candidates:
        if all(scale.holds(value) for value in values):
            return scale
    outside = sorted({value for value in values if not candidates[-1].holds(value)} or set(values))
    raise CohortError(
        where=f"{table}, confidence",
        expected=f"all readers on one scale: {', '.join(scale.name for scale in candidates)}",
        found=", ".join(f"{value:g}" for value in outside[:6]),
        remedy="correct these cells, or say the scale with --scale",
    )


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

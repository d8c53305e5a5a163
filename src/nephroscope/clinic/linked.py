"""Two linked questions: is it the one subtype, and if not, which of the others; both answers as one.

The first question has two subtypes, its positive one and all others together; the second has those others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from nephroscope.base.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LinkedAnswer:
    """The answer to both questions.

    Attributes:
        probabilities: Of the first question's subtype, and of each other: that of "not the first" times its own.
        call: None: one of the two questions that decide it is not sure.
        forced_call: The call if "not sure" were not allowed.
        reason: Of the question that decided.
    """

    probabilities: dict[str, float]
    call: str | None
    forced_call: str
    reason: str


class Question(Protocol):
    """What one of the two questions answers: an `Answer`, or what `predict` prints."""

    @property
    def probabilities(self) -> Mapping[str, float]: ...  # noqa: D102

    @property
    def call(self) -> str | None: ...  # noqa: D102

    @property
    def forced_call(self) -> str: ...  # noqa: D102

    @property
    def reason(self) -> str: ...  # noqa: D102


def link(first: Question, second: Question, positive: str) -> LinkedAnswer:
    """Both answers as one; ``positive`` is the subtype that the first question is about."""
    is_first = first.probabilities[positive]
    probabilities = {positive: is_first} | {
        name: (1 - is_first) * p for name, p in second.probabilities.items()
    }
    calls_it = first.forced_call == positive
    decides = first if calls_it or first.call is None else second
    asked = f"is it {positive}" if decides is first else "which of the others"
    return LinkedAnswer(
        probabilities=probabilities,
        call=first.call if calls_it else (None if first.call is None else second.call),
        forced_call=positive if calls_it else second.forced_call,
        reason=f"question {asked!r}: {decides.reason}",
    )


def check_linked(first: Sequence[str], positive: str, second: Sequence[str]) -> None:
    """Refuse questions that do not follow each other.

    Raises:
        ConfigError: The first question has more than two subtypes, or its positive one is also one of the second.
    """
    if len(first) != 2 or positive in second:
        raise ConfigError(
            where="--then",
            expected="a first question of two subtypes, whose positive one the second question does not have",
            found=f"{', '.join(first)} (positive {positive}), then {', '.join(second)}",
            remedy=f"ask first whether it is {positive} or another, and then which of the others",
        )

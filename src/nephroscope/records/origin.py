"""Who drew an ROI, and what a person did with what a program drew."""

from dataclasses import dataclass
from typing import Literal

OriginState = Literal["drawn", "proposed", "accepted", "corrected", "assisted", "unknown"]
BY_MODEL = "model:"  # how the author of what a program drew begins


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiOrigin:
    """Who drew an ROI, and what a person did with what a program drew.

    Attributes:
        author: ``model:NAME@VERSION`` of the program that drew it first; else the annotator, empty where not known.
        state: ``drawn`` by a person; ``proposed`` by a program; ``accepted`` as proposed, or ``corrected``, by a
            person; ``assisted``: drawn by a person with a program, as its file says; or ``unknown``.
        by: The annotator who accepted or corrected it; empty where that is not known.
        evidence: Where that is said, such as ``Segment Algorithm Type AUTOMATIC``.
    """

    author: str = ""
    state: OriginState = "unknown"
    by: str = ""
    evidence: str = ""

    @property
    def words(self) -> str:
        """In words, such as ``drawn by model:NAME@VERSION, accepted as proposed by reader-1``."""
        who, by = self.author or "a program", self.by or "a person who is not named"
        return {
            "drawn": f"drawn by {self.author or 'a person'}",
            "proposed": f"drawn by {who}, and nobody accepted it",
            "accepted": f"drawn by {who}, accepted as proposed by {by}",
            "corrected": f"drawn by {who}, corrected by {by}",
            "assisted": f"drawn by a person with {who}",
            "unknown": "who drew it is not known",
        }[self.state]

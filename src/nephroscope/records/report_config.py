"""The table ``[report]`` of study.toml: who made the study."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """Who made the study.

    Attributes:
        title: Title of the pages; without one, the name of the study's folder.
        authors: Names, in order.
        site: Hospital or department.
    """

    title: str = ""
    authors: tuple[str, ...] = ()
    site: str = ""

    @property
    def byline(self) -> str:
        """Authors and site in a line; empty without either."""
        return " · ".join(filter(None, (", ".join(self.authors), self.site)))

"""A `Page` and its drawn figures go in; one HTML file that opens without a network comes out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from nephroscope.base.version import __version__
from nephroscope.report.page.names import RESEARCH_USE, as_written
from nephroscope.report.page.section import Block, Filled, Section, figures_in, tables_in
from nephroscope.report.page.table import Table


@dataclass(frozen=True, eq=False, kw_only=True)
class Page:
    """Everything on a page.

    Attributes:
        title, subtitle, byline: At the top.
        marks: SYNTHETIC and LEAKY where they are true; in every caption.
        sections: Each with its content.
        top: Blocks above the first section.
        folded: Every section is folded away; it opens at a click, and in print.
        state: A further ribbon in the header, such as DID NOT CONVERGE.
        warning: A sentence behind the line about research use.
        footer: Versions and digests.
    """

    title: str
    subtitle: str
    marks: tuple[str, ...]
    sections: Sequence[tuple[Section[Any], Filled]]
    byline: str = ""
    top: Sequence[Block] = ()
    folded: bool = False
    state: str = ""
    warning: str = ""
    footer: tuple[str, ...] = ()
    version: str = __version__
    date: str = ""

    @property
    def ribbons(self) -> tuple[str, ...]:
        """The words in the header."""
        return (*self.marks, self.state) if self.state else self.marks

    @property
    def navigation(self) -> list[tuple[str, str]]:
        """Anchor and word of each section in the list at the top."""
        return [(section.id, section.navigation) for section, _ in self.sections if section.navigation]

    @property
    def blocks(self) -> list[Block]:
        """All blocks, in reading order."""
        return [*self.top, *(block for _, filled in self.sections for block in filled.blocks)]

    @property
    def tables(self) -> dict[str, Table]:
        """Every table by the name of its file."""
        return tables_in(self.blocks)

    @property
    def figures(self) -> dict[str, Callable[[], Figure]]:
        """What draws each figure, by the name of its file."""
        return figures_in(self.blocks)


def render(page: Page, figures: Mapping[str, str]) -> str:
    """The page as HTML; ``figures`` holds its figures as SVG by name, and those that it lacks are left out."""
    environment = Environment(
        loader=PackageLoader("nephroscope.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["written"] = as_written
    environment.filters["unbroken"] = lambda text: text.replace(" %", "\u00a0%")
    template = environment.get_template("page/page.html.j2")
    return template.render(page=page, figures=figures, research_use=RESEARCH_USE)

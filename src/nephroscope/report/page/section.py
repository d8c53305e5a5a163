"""A section of a page, and the blocks it is made of.

To add a section, write one file that defines a `Section` and add it to the page's list of sections. The section is
given what the page knows and answers with a `Filled`, or with None when there is nothing to show yet; then the page
prints its hint.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, TypeVar

from matplotlib.figure import Figure

from nephroscope.report.page.table import Table

Source = TypeVar("Source")
Look = Literal["text", "key", "second", "lead", "notes", "empty"]  # classes of the style sheet


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a section; ``kind`` names the macro that writes it."""

    kind: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class Text(Block):
    """A paragraph; what is between backticks is set as code, ``marked`` puts SYNTHETIC and LEAKY behind it."""

    kind: ClassVar[str] = "text"
    text: str
    look: Look = "text"
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Heading(Block):
    """A heading within a section, with the marks behind it; ``id`` is an anchor."""

    kind: ClassVar[str] = "heading"
    text: str
    id: str = ""
    marked: bool = True


@dataclass(frozen=True, slots=True)
class Bullets(Block):
    """A list of sentences."""

    kind: ClassVar[str] = "bullets"
    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Definitions(Block):
    """Headings with their texts, side by side."""

    kind: ClassVar[str] = "definitions"
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ShownTable(Block):
    """A table on the page.

    Attributes:
        name: Of its CSV file in tables/; empty for a table that has none.
        shown: Open, folded away, or in the file alone.
        small: In small print, for tables of many columns.
        of_study: False for numbers of somebody else, which bear no mark.
    """

    kind: ClassVar[str] = "table"
    name: str
    table: Table
    shown: Literal["open", "folded", "file"] = "open"
    small: bool = False
    of_study: bool = True


@dataclass(frozen=True, slots=True)
class ShownFigure(Block):
    """A figure on the page and as SVG and PNG files; ``draw`` makes it when it is needed."""

    kind: ClassVar[str] = "figure"
    name: str
    caption: str
    draw: Callable[[], Figure]
    of_study: bool = True


@dataclass(frozen=True, slots=True)
class Side(Block):
    """Blocks side by side: two of them (pair) or three (trio)."""

    kind: ClassVar[str] = "side"
    look: Literal["pair", "trio"]
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Fold(Block):
    """Blocks that are shown when the summary is clicked; ``small`` is printed small behind it."""

    kind: ClassVar[str] = "fold"
    summary: str
    blocks: Sequence[Block]
    small: str = ""


@dataclass(frozen=True, slots=True)
class Fragment(Block):
    """Content that has a template of its own, such as case cards; the template calls it ``it``."""

    kind: ClassVar[str] = "fragment"
    template: str
    content: object


@dataclass(frozen=True, slots=True)
class Evidence:
    """A statement that may answer an item of a reporting checklist.

    ``where`` names anchors and files, ``rest`` what is left to the authors; empty when nothing is.
    """

    text: str
    where: str
    rest: str = ""


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What a section shows, and what it adds to the rest of the page.

    Attributes:
        blocks: In reading order.
        top: What is shown at the top of the page instead, unfolded.
        most_serious: Those of its limitations that come before all others.
        limitations, methods, evidence: For the limitations, the methods and the reporting checklists.
        headline: A sentence for the top of the page.
        data: For the JSON file of the page.
    """

    blocks: Sequence[Block] = ()
    top: Sequence[Block] = ()
    most_serious: tuple[str, ...] = ()
    limitations: tuple[str, ...] = ()
    methods: tuple[tuple[str, str], ...] = ()
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    headline: str = ""
    data: object = None


@dataclass(frozen=True, kw_only=True)
class Section(Generic[Source]):
    """A section of a page.

    Attributes:
        id: Anchor.
        title: Heading on the page.
        fill: Makes its blocks from what the page knows; None when there is nothing to show yet.
        hint: What is printed then: which command fills the section; ``{study}`` is the study's name.
        navigation: Word in the list at the top of the page; empty leaves the section out of it.
        level: Of the heading.
    """

    id: str
    title: str
    fill: Callable[[Source], Filled | None]
    hint: str = ""
    navigation: str = ""
    level: Literal[2, 3] = 2

    def filled(self, source: Source, study: str) -> Filled:
        """Its content, or the hint in its place."""
        found = self.fill(source)
        return found or Filled(blocks=[Text(self.hint.format(study=study), "empty")])


def every_block(blocks: Sequence[Block]) -> Iterator[Block]:
    """The blocks, and those inside folds and rows, in reading order."""
    for block in blocks:
        yield block
        if isinstance(block, Fold | Side):
            yield from every_block(block.blocks)


def tables_in(blocks: Sequence[Block]) -> dict[str, Table]:
    """Every table by the name of its file."""
    return {
        block.name: block.table
        for block in every_block(blocks)
        if isinstance(block, ShownTable) and block.name
    }


def figures_in(blocks: Sequence[Block]) -> dict[str, Callable[[], Figure]]:
    """What draws every figure, by the name of its file."""
    return {block.name: block.draw for block in every_block(blocks) if isinstance(block, ShownFigure)}


def texts_in(blocks: Sequence[Block]) -> list[str]:
    """Every paragraph, those that are folded away included."""
    return [block.text for block in every_block(blocks) if isinstance(block, Text)]

"""Read a table by its columns: titles are matched to what we call them, and wrong cells are named all at once.

A `Column` says what it is called, how a cell of it is parsed and what a cell must hold. A `CheckedTable` finds the
columns in a header, refuses missing and doubled ones, and collects what is wrong by row and column.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from nephroscope.base.errors import CohortError
from nephroscope.base.tables import Mistakes, read_table
from nephroscope.base.text import first_few, without_accents

T = TypeVar("T")
REMEDY = "correct the header of the table"


@dataclass(frozen=True, kw_only=True)
class Column(Generic[T]):
    """One column that a table may have.

    Attributes:
        name: What we call it.
        parse: Turns the text of a cell into its value; raises ValueError where it cannot.
        expected: What a cell must hold, in words, for the refusal.
        titles: Usual titles as `plain_title` makes them, separated by spaces, the preferred one first; empty: only
            ``name``.
        required: True when a table without it is refused.
    """

    name: str
    parse: Callable[[str], T]
    expected: str = "a value"
    titles: str = ""
    required: bool = False


@cache
def plain_title(text: str) -> str:
    """A title as it is compared: without case, accents, spaces and punctuation."""
    return re.sub(r"[\W_]", "", without_accents(text))


def listed_titles(header: Iterable[str]) -> str:
    """The first titles of a header, for messages."""
    return first_few((title or "(no name)" for title in header), 40)


def places_of(header: Sequence[str], wanted: str) -> list[int]:
    """Places of the columns with the title asked for: but for case, else also but for accents and punctuation."""
    exact = [i for i, title in enumerate(header) if title.strip().casefold() == wanted.strip().casefold()]
    word = plain_title(wanted)
    return exact or [i for i, title in enumerate(header) if word and plain_title(title) == word]


def usual_places(header: Sequence[str], titles: Sequence[str], but: Collection[int] = ()) -> list[int]:
    """Places of the columns with one of the usual titles, in the order of these titles; none of ``but``."""
    words = [plain_title(title) for title in header]
    return [
        i
        for title in dict.fromkeys(map(plain_title, titles))
        for i, word in enumerate(words)
        if word == title and i not in but
    ]


def find_columns(
    file: str,
    header: Sequence[str],
    columns: Sequence[Column[Any]],
    named: Mapping[str, str] | None = None,
    remedy: str = REMEDY,
) -> dict[str, int]:
    """Place of each column that a header has, by our name.

    Args:
        file: Name of the file, for refusals.
        header: Titles of the table.
        columns: What is looked for; where two accept one title, the first takes it.
        named: Our name to title, where the user says it; these come before the usual titles.
        remedy: What to do about a header without a required column.

    Raises:
        CohortError: A column that is required or named by the user is missing, or there twice; all are said at once.
    """
    named = named or {}
    expected: list[str] = []
    found: dict[str, int] = {}
    for column in columns:
        if column.name in named:
            places = places_of(header, named[column.name])
        else:
            places = usual_places(header, (column.titles or column.name).split(), found.values())
        chosen = [i for i in places if i not in found.values()]
        if chosen:
            title = header[chosen[0]]
            found[column.name] = chosen[0]
            if sum(plain_title(header[i]) == plain_title(title) for i in places) > 1:
                expected.append(f"one column {title!r}")
        elif column.name in named:
            expected.append(f"a column {named[column.name]!r}")
        elif column.required:
            expected.append(f"a column {column.name}")
    if expected:
        raise CohortError(
            where=file, expected=", ".join(expected), found=listed_titles(header), remedy=remedy
        )
    return found


class CheckedTable:
    """A table with its columns found: rows that give parsed cells, and the mistakes in them.

    Attributes:
        file: Name of the file, for refusals.
        header: Titles as written.
        places: Place of each column by our name, from `find_columns`.
        rows: Below the header.
        mistakes: What is wrong so far.
    """

    def __init__(
        self,
        file: str,
        header: Sequence[str],
        rows: Iterable[tuple[int, Sequence[str]]],
        places: Mapping[str, int],
    ) -> None:
        self.file, self.header, self.places = file, header, places
        self.rows = [CheckedRow(table=self, number=number, cells=cells) for number, cells in rows]
        self.mistakes = Mistakes(file)

    @classmethod
    def read(
        cls,
        path: Path,
        columns: Sequence[Column[Any]],
        named: Mapping[str, str] | None = None,
        remedy: str = REMEDY,
    ) -> "CheckedTable":
        """Read a CSV and find its columns; see `find_columns`.

        Raises:
            CohortError: The file is no table, or a column is missing or there twice.
        """
        header, rows = read_table(path)
        return cls(path.name, header, rows, find_columns(path.name, header, columns, named, remedy))

    def has(self, column: Column[Any]) -> bool:
        """True where the table has the column."""
        return column.name in self.places

    def title(self, column: Column[Any]) -> str:
        """What the table calls the column, for messages."""
        return self.header[self.places[column.name]] if self.has(column) else column.name

    def unread(self) -> list[str]:
        """Titles of the columns that nobody looks at."""
        taken = set(self.places.values())
        return [title for i, title in enumerate(self.header) if title and i not in taken]

    def refuse(self) -> None:
        """Say all mistakes, or nothing when there are none.

        Raises:
            CohortError: There is at least one mistake.
        """
        self.mistakes.refuse()


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckedRow:
    """One row of a `CheckedTable`; ``number`` as a spreadsheet counts, the header being row 1."""

    table: CheckedTable
    number: int
    cells: Sequence[str]

    def text(self, column: Column[Any]) -> str:
        """The cell as typed; empty where the table lacks the column."""
        place = self.table.places.get(column.name)
        return "" if place is None else self.cells[place]

    def value(self, column: Column[T]) -> T | None:
        """The cell parsed; None after noting that it cannot be."""
        try:
            return column.parse(self.text(column))
        except ValueError:
            self.wrong(column, column.expected)
            return None

    def wrong(self, column: Column[Any], expected: str, found: str = "") -> None:
        """Note a mistake in a cell; ``found`` where the cell itself does not say it."""
        text = self.text(column)
        found = found or (repr(text) if text else "nothing")
        self.table.mistakes.add(self.number, self.table.title(column), expected, found)

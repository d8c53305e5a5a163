"""Read a table by its columns: titles are matched to what we call them, and wrong cells are named all at once.

A `Column` says what it is called, how a cell of it is parsed and what a cell must hold; `Sought` are the columns of a
kind of table. A `CheckedTable` is such a table, CSV or workbook, with its header found below any titles; it refuses
missing and doubled columns, and collects what is wrong by row and column.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from nephroscope.base.errors import CohortError
from nephroscope.base.sheet import RawTable, open_table
from nephroscope.base.tables import Mistakes
from nephroscope.base.text import first_few, without_accents

T = TypeVar("T")
UNITS = ("mm", "cm", "m")
LIKE = 0.6  # least likeness of a title that is proposed
_BRACKETS = re.compile("[(\\[\uff08\u3010][^)\\]\uff09\u3011]*[)\\]\uff09\u3011]?")


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


@dataclass(frozen=True, kw_only=True)
class Sought:
    """The columns that a kind of table may have, and how its user can name them.

    Attributes:
        columns: Where two accept one title, the first takes it.
        one_of: Our names of columns; of each group a table needs one, and the first is proposed.
        expected: What a header needs, in words; empty: the columns that are missing.
        named: Our name to title, where the user says it; these come before the usual titles.
        setting: Where the user says it: ``study.toml``, an option such as ``--columns``, or nowhere.
    """

    columns: tuple[Column[Any], ...]
    one_of: tuple[tuple[str, ...], ...] = ()
    expected: str = ""
    named: Mapping[str, str] = field(default_factory=dict)
    setting: str = ""

    def with_named(self, named: Mapping[str, str] | None) -> "Sought":
        """The same, with the titles that the user gives."""
        return replace(self, named=dict(named or {}))

    @cached_property
    def titles(self) -> dict[str, str]:
        """Our name of a column, by each of its usual titles."""
        pairs = [(title, one.name) for one in self.columns for title in (one.titles or one.name).split()]
        return {plain_title(title): name for title, name in reversed(pairs)}

    def word(self, title: str) -> str:
        """A title as it is compared; without what is in brackets, where only then it is usual: Sex (m/f)."""
        word = plain_title(title)
        if word in self.titles or any(plain_title(part) in UNITS for part in _BRACKETS.findall(title)):
            return word
        bare = plain_title(_BRACKETS.sub("", title))
        return bare if bare in self.titles else word

    def name_of(self, title: str) -> str:
        """Our name of a column: as the user names it, or by a usual title; empty for other titles."""
        own = next((name for name, said in self.named.items() if plain_title(said) == plain_title(title)), "")
        return own or self.titles.get(self.word(title), "") if title else ""

    def fits(self, header: Sequence[str]) -> bool:
        """True when a row has what a header needs."""
        if not all(places_of(header, title) for title in self.named.values()):
            return False
        known = {*self.named, *map(self.name_of, header)}
        return all(known & set(group) for group in self.groups)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """What is needed: groups of our names, of each at least one."""
        return (*((column.name,) for column in self.columns if column.required), *self.one_of)


def find_columns(table: RawTable, sought: Sought) -> dict[str, int]:
    """Place of each column that a table has, by our name.

    Raises:
        CohortError: A column that is needed or named by the user is missing, or there twice; all are said at once,
            and lines with which the user can name what is missing.
    """
    header = table.header
    words = [sought.word(title) for title in header]
    found: dict[str, int] = {}
    expected, remedies = [], []
    for name, title in sought.named.items():
        places = places_of(header, title)
        if len(places) == 1:
            found[name] = places[0]
        else:
            expected.append(f"{'one' if places else 'a'} column {title!r}")
            remedies = [f"correct {sought.setting}, or the header of the table"]
    for column in sought.columns:
        if column.name in sought.named:
            continue
        places = usual_places(words, (column.titles or column.name).split(), found.values())
        if places:
            found[column.name] = places[0]
            if sum(words[i] == words[places[0]] for i in places) > 1:
                expected.append(f"one column {header[places[0]]!r}")
                remedies = [*remedies, "rename or remove all but one"]
    lacking = [group for group in sought.groups if not {*found, *sought.named} & set(group)]
    if lacking:
        expected.append(sought.expected or ", ".join(f"a column {' or '.join(group)}" for group in lacking))
        remedies.append(_lines_to_add([group[0] for group in lacking], header, found, sought))
    if expected:
        known = any(map(sought.name_of, header))
        raise CohortError(
            where=f"{table.file}, row {table.header_row}" if known and table.header_row > 1 else table.file,
            expected=", ".join(expected),
            found=_header_words(header, found, known, bool(lacking)),
            remedy="; ".join(dict.fromkeys(remedies)),
        )
    return found


def _header_words(header: Sequence[str], found: Mapping[str, int], known: bool, lacking: bool) -> str:
    """A header for a message. A line without any known title may hold a patient's data and is only counted."""
    filled = [title for title in header if title]
    if not known:
        return f"{len(filled)} cells without a known title (no header line?)"
    words = listed_titles(header)
    recognized = ", ".join(f"{name} ({header[i]})" for name, i in found.items())
    return f"{words}; recognized: {recognized}" if lacking and recognized else words


def _lines_to_add(lacking: list[str], header: Sequence[str], found: Mapping[str, int], sought: Sought) -> str:
    """What to do about columns that were not found: rename them, or name them where the user can."""
    if not sought.setting:
        return "rename the columns"
    others = [title for i, title in enumerate(header) if title and i not in found.values()]
    likely = {name: _most_like(name, others, sought) if found else "" for name in lacking}
    pairs = [(name, likely[name] or "title of your column") for name in lacking]
    if sought.setting.startswith("-"):
        listed = " ".join(f"'{name}={title}'" for name, title in pairs)
        return f"rename the columns, or add {sought.setting} {listed}, with your titles"
    block = "\n".join(("[columns]", *(f'{name} = "{title}"' for name, title in pairs)))
    return f"rename the columns, or write into {sought.setting}, with your titles:\n{block}"


def _most_like(name: str, titles: Sequence[str], sought: Sought) -> str:
    """The title that is most like a usual one, where any is."""
    usual = [title for title, ours in sought.titles.items() if ours == name]
    likeness = {t: max(SequenceMatcher(None, plain_title(t), word).ratio() for word in usual) for t in titles}
    best = max(likeness, key=likeness.__getitem__, default="")
    return best if best and likeness[best] >= LIKE else ""


class CheckedTable:
    """A table with its columns found: rows that give parsed cells, and the mistakes in them.

    Attributes:
        raw: As it was opened.
        file: Name of the file, for refusals.
        header: Titles as written.
        places: Place of each column by our name, from `find_columns`.
        rows: Below the header.
        mistakes: What is wrong so far.
    """

    def __init__(self, raw: RawTable, places: Mapping[str, int]) -> None:
        self.raw, self.file, self.header, self.places = raw, raw.file, raw.header, places
        self.rows = [CheckedRow(table=self, number=number, cells=cells) for number, cells in raw.rows]
        self.mistakes = Mistakes(raw.file)

    @classmethod
    def read(cls, path: Path, sought: Sought) -> "CheckedTable":
        """Read a CSV or workbook and find its header and columns; see `open_table` and `find_columns`.

        Raises:
            CohortError: The file is no table, or a column is missing or there twice.
        """
        raw = open_table(path, sought.fits, sought.name_of)
        return cls(raw, find_columns(raw, sought))

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
        if (self.number, self.table.places.get(column.name)) in self.table.raw.unsaved:
            found = "a formula without a saved result; open the workbook, let it calculate, and save it"
            self.wrong(column, column.expected, found)
            return None
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

"""A CSV of anybody's predictions in, columns checked cell by cell out."""

import gc
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nephroscope.base.columns import listed_titles, places_of, usual_places
from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.base.tables import Mistakes, read_table
from nephroscope.statistics.metrics import Bools, Floats

TRUTH = (
    *("truth", "outcome", "label", "subtype", "class", "cancer", "event", "status", "y"),
    *("ground_truth", "y_true", "target", "disease"),
)
PATIENT = ("patient_id", "patient", "subject", "subject_id", "cluster")
CASE = ("case_id", "case", "id")
# Pairs of values of which the first is positive where nobody says it. 1 beside 2 is none: R counts classes so.
_PAIRS = ("1 0", "1 -1", "1.0 0.0", "true false", "yes no", "positive negative", "pos neg")
_YES = {tuple(pair.split()) for pair in _PAIRS}
# How R, pandas and spreadsheets write a cell that is not known.
MISSING = frozenset(("", "NA", "NaN", "<NA>", "N/A", "n/a", "#N/A", "nan", "NULL", "null"))
_UNKNOWN = ("unknown", "unclear", "?")  # no class of a truth, though a word
LARGEST = 1e100  # of a number: beyond, sums and differences overflow


@dataclass(frozen=True, kw_only=True)
class CsvTable:
    """Header and numbered rows of a CSV file; every look-up says what is missing or wrong, and where.

    Attributes:
        name: Of the file, for messages.
        rows: (number as a spreadsheet counts it, cells).
        remedy: What to do about cells without a value, where more can be done than to correct them.
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    remedy: str = ""

    def find(
        self, wanted: str | None, like: Sequence[str], option: str, but: Collection[str] = ()
    ) -> str | None:
        """Header of a column: the one asked for, else the one whose name is usual; None where there is none.

        Args:
            wanted: Header asked for.
            like: Usual names; the first of them wins, among the others there must be one, or copies of it.
            option: That names the column.
            but: Headers that hold something else.

        Raises:
            CohortError: The column asked for does not exist, or several that differ could be meant.
        """
        if wanted is None:
            return self._usual(like, option, but)
        places = places_of(self.header, wanted)
        if len(places) != 1:
            raise CohortError(
                where=self.name,
                expected=f"{'one' if places else 'a'} column {wanted!r}",
                found=self.titles,
                remedy=f"correct {option}",
            )
        return self.header[places[0]]

    def _usual(self, like: Sequence[str], option: str, but: Collection[str]) -> str | None:
        but_places = [i for i, title in enumerate(self.header) if title in but]
        places = usual_places(self.header, like, but_places)
        found = [self.header[i] for i in places]
        if not found or found[0].casefold() == like[0]:
            return found[0] if found else None
        if len({tuple(row[i] for _, row in self.rows) for i in places}) > 1:
            raise CohortError(
                where=self.name,
                expected=f"one column for {option}",
                found=f"{len(found)} that differ: {', '.join(found)}",
                remedy=f"say which with {option}",
            )
        return found[0]

    @property
    def titles(self) -> str:
        """Headers, for messages."""
        return listed_titles(self.header)

    def need(self, wanted: str | None, like: Sequence[str], option: str) -> str:
        """Header of a column that must be there.

        Raises:
            CohortError: There is none.
        """
        found = self.find(wanted, like, option)
        if found is None:
            raise CohortError(
                where=self.name,
                expected=f"a column named {', '.join(like)}",
                found=self.titles,
                remedy=f"name the column with {option}",
            )
        return found

    def texts(self, column: str) -> list[str]:
        """Cells of a column, none of them empty.

        Raises:
            CohortError: A cell is empty; all such cells are named.
        """
        mistakes, at = Mistakes(self.name), self.header.index(column)
        cells = [row[at] for _, row in self.rows]
        if MISSING.isdisjoint(cells):
            return cells
        for number, row in self.rows:
            if row[at] in MISSING:
                mistakes.add(number, column, "a value", repr(row[at]) if row[at] else "nothing")
        self._refuse(mistakes, at)
        return cells

    def numbers(self, column: str, low: float = -LARGEST, high: float = LARGEST) -> Floats:
        """Cells of a column as numbers from ``low`` to ``high``, with a point or all with a comma, (n,).

        Raises:
            CohortError: A cell is no such number; all such cells are named.
        """
        mistakes, at = Mistakes(self.name), self.header.index(column)
        plain = _plain_numbers([row[at] for _, row in self.rows])
        if plain is not None and ((low <= plain) & (plain <= high)).all():
            return plain
        values = np.full(len(self.rows), np.nan)
        points = any("." in row[at] for _, row in self.rows)
        within = f" from {low:g} to {high:g}" if high < LARGEST else ""
        for i, (number, row) in enumerate(self.rows):
            text = row[at]
            value = number_of(text)
            if points and "," in text:  # 1,234 beside 12.5 is a thousand
                mistakes.add(number, column, "a number with a point, as in other rows", repr(text))
            elif low <= value <= high:
                values[i] = value
            else:
                beyond = f" of at most {LARGEST:g}" if abs(value) > LARGEST else ""
                mistakes.add(number, column, f"a number{within or beyond}", repr(text) if text else "nothing")
        self._refuse(mistakes, at)
        return values

    def classes(self, column: str) -> list[str]:
        """The values of a column, each once, in order.

        Raises:
            CohortError: Two values are one in other letters, or a value says that nothing is known.
        """
        mistakes, first, at = Mistakes(self.name), dict[str, str](), self.header.index(column)
        values = set(self.texts(column))
        if len({value.casefold() for value in values} - set(_UNKNOWN)) == len(values):
            return sorted(values)
        for number, row in self.rows:
            known = first.setdefault(row[at].casefold(), row[at])
            if known != row[at]:
                mistakes.add(number, column, f"{known!r}, as in another row", repr(row[at]))
            elif row[at].casefold() in _UNKNOWN:
                mistakes.add(number, column, "a class, or no such row", repr(row[at]))
        mistakes.refuse()
        return sorted(first.values())

    def _refuse(self, mistakes: Mistakes, at: int) -> None:
        """Say all mistakes, with the remedy for cells without a value where there is one."""
        try:
            mistakes.refuse()
        except CohortError as error:
            if not self.remedy or all(row[at] not in MISSING for _, row in self.rows):
                raise
            raise CohortError(
                where=error.where, expected=error.expected, found=error.found, remedy=self.remedy
            ) from None

    def positives(self, column: str, positive: str | None) -> tuple[Bools, str]:
        """Which rows are positive (n,), and the name of the positive value.

        Raises:
            CohortError: The column has not exactly two values.
            ConfigError: Which value is positive is not said, and cannot be told from the values.
        """
        texts, values = self.texts(column), self.classes(column)
        if len(values) != 2:
            raise CohortError(
                where=f"{self.name}, column {column}",
                expected="two values, one of them positive",
                found=f"{len(values)}: {', '.join(values[:6])}",
                remedy="choose another column with --truth, or keep two classes",
            )
        if positive is None:
            pairs = [(a, b) for a, b in (values, values[::-1]) if (a.casefold(), b.casefold()) in _YES]
            positive = pairs[0][0] if pairs else None
        if positive not in values:
            raise ConfigError(
                where=f"{self.name}, column {column}",
                expected=f"--positive {values[0]} or --positive {values[1]}",
                found=repr(positive) if positive else "neither said",
                remedy="say which value is the positive one",
            )
        return np.array([text == positive for text in texts]), positive

    def joined(self, other: "CsvTable", key: str, other_key: str) -> "CsvTable":
        """The same rows with the columns that only ``other`` has, looked up by ``key``.

        Raises:
            CohortError: A key stands twice in the other table, or not at all.
        """
        found: dict[str, tuple[str, ...]] = {}
        for (number, row), value in zip(other.rows, other.texts(other_key), strict=True):
            if value in found:
                raise CohortError(
                    where=f"{other.name}, row {number}",
                    expected=f"one row of {value}",
                    found="a second one",
                    remedy="remove one of them",
                )
            found[value] = row
        own = {title.casefold() for title in (*self.header, other_key)}
        more = [i for i, title in enumerate(other.header) if title.casefold() not in own]
        mistakes = Mistakes(self.name)
        keys = self.texts(key)
        for (number, _), value in zip(self.rows, keys, strict=True):
            if value not in found:
                mistakes.add(number, key, f"a case of {other.name}", repr(value))
        mistakes.refuse()
        rows = tuple(
            (number, row + tuple(found[value][i] for i in more))
            for (number, row), value in zip(self.rows, keys, strict=True)
        )
        header = self.header + tuple(other.header[i] for i in more)
        return CsvTable(name=self.name, header=header, rows=rows)


def _plain_numbers(cells: Sequence[str]) -> Floats | None:
    """All cells as numbers (n,), where none has a comma or underscore; None where a closer look is needed."""
    whole = "".join(cells)
    if "," in whole or "_" in whole:
        return None
    try:
        return np.array([*map(float, cells)])
    except ValueError:
        return None


def number_of(text: str) -> float:
    """The number that a cell holds, NaN for none. Python's 1_000 is none."""
    try:
        return math.nan if "_" in text else float(text.replace(",", "."))
    except ValueError:
        return math.nan


def read_csv(path: Path) -> CsvTable:
    """Read a table of predictions; columns without a name that hold nothing are left away.

    Raises:
        CohortError: The file is no CSV, has no rows, a header stands twice, or a row is wider than the header.
    """
    with _uncollected():
        header, found = read_table(path)
        kept = [i for i, title in enumerate(header) if title or any(row[i] for _, row in found)]
        if len(kept) < len(header):
            header, found = [header[i] for i in kept], [(n, [row[i] for i in kept]) for n, row in found]
        rows = tuple((n, tuple(row)) for n, row in found)
    folded = [title.casefold() for title in header]
    twice = next((title for title in header if folded.count(title.casefold()) > 1), None)
    if twice is not None or not rows:
        raise CohortError(
            where=path.name,
            expected="a header with every column once, and rows below it",
            found=f"column {twice!r} twice" if twice is not None else "no row",
            remedy="correct the table",
        )
    return CsvTable(name=path.name, header=tuple(header), rows=rows)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage meanwhile: among millions of new cells it finds none and takes twice the reading."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()

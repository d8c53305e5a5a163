"""A CSV of predictions from anywhere, its columns checked cell by cell."""

import gc
import math
from collections import Counter
from collections.abc import Collection, Sequence
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
# Pairs of values of which the first is positive without being named. 1 and 2 are no such pair: R numbers classes so.
_PAIRS = ("1 0", "1 -1", "1.0 0.0", "true false", "yes no", "positive negative", "pos neg")
_YES = {tuple(pair.split()) for pair in _PAIRS}
# How R, pandas and spreadsheets write a cell that is not known.
MISSING = frozenset(("", "NA", "NaN", "<NA>", "N/A", "n/a", "#N/A", "nan", "NULL", "null"))
_UNKNOWN = {"unknown", "unclear", "?"}  # words that name no class
LARGEST = 1e100  # of a number: beyond, sums and differences overflow


@dataclass(frozen=True, kw_only=True)
class CsvTable:
    """Header and numbered rows of a CSV file; every look-up names what is missing or wrong, and where.

    Attributes:
        name: Of the file, for messages.
        rows: (number as a spreadsheet counts it, cells).
        remedy: What to do about cells without a value, if there is more than to correct them.
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    remedy: str = ""

    def refusal(self, expected: str, found: str, remedy: str, place: str = "") -> CohortError:
        """The error of this table, or of a place in it such as ``row 3``."""
        where = f"{self.name}, {place}" if place else self.name
        return CohortError(where=where, expected=expected, found=found, remedy=remedy)

    def find(
        self, wanted: str | None, usual: Sequence[str], option: str, but: Collection[str] = ()
    ) -> str | None:
        """Title of a column: the one the user names, else the one with a usual title; None if there is none.

        Args:
            wanted: Title that the user names.
            usual: Usual titles; the first is preferred, among the others there must be one column, or copies of it.
            option: That names the column.
            but: Titles of columns that hold something else.

        Raises:
            CohortError: The column that the user names does not exist, or several different ones fit.
        """
        if wanted is not None:
            places = places_of(self.header, wanted)
            if len(places) != 1:
                expected = f"{'one' if places else 'a'} column {wanted!r}"
                raise self.refusal(expected, self.titles, f"correct {option}")
            return self.header[places[0]]
        taken = [i for i, title in enumerate(self.header) if title in but]
        places = usual_places(self.header, usual, taken)
        found = [self.header[i] for i in places]
        if not found or found[0].casefold() == usual[0]:
            return found[0] if found else None
        if len({tuple(row[i] for _, row in self.rows) for i in places}) > 1:
            differ = f"{len(found)} that differ: {', '.join(found)}"
            raise self.refusal(f"one column for {option}", differ, f"name the right one with {option}")
        return found[0]

    @property
    def titles(self) -> str:
        """Headers, for messages."""
        return listed_titles(self.header)

    def need(self, wanted: str | None, usual: Sequence[str], option: str) -> str:
        """Title of a column that must exist.

        Raises:
            CohortError: It does not.
        """
        found = self.find(wanted, usual, option)
        if found is None:
            raise self.refusal(
                f"a column named {', '.join(usual)}", self.titles, f"name the column with {option}"
            )
        return found

    def cells(self, column: str) -> list[str]:
        """Cells of a column, empty ones too."""
        at = self.header.index(column)
        return [row[at] for _, row in self.rows]

    def texts(self, column: str) -> list[str]:
        """Cells of a column, none of them empty.

        Raises:
            CohortError: A cell is empty; all such cells are named.
        """
        cells, mistakes = self.cells(column), Mistakes(self.name)
        if not MISSING.isdisjoint(cells):
            for (number, _), cell in zip(self.rows, cells, strict=True):
                if cell in MISSING:
                    mistakes.add(number, column, "a value", repr(cell) if cell else "nothing")
            mistakes.refuse(self.remedy)
        return cells

    def numbers(self, column: str, low: float = -LARGEST, high: float = LARGEST) -> Floats:
        """Cells of a column as numbers from ``low`` to ``high``, with a point or all with a comma, (n,).

        Raises:
            CohortError: A cell is no such number; all such cells are named.
        """
        cells, mistakes = self.cells(column), Mistakes(self.name)
        plain = _plain_numbers(cells)
        if plain is not None and ((low <= plain) & (plain <= high)).all():
            return plain
        values = np.full(len(cells), np.nan)
        points = any("." in cell for cell in cells)
        within = f" from {low:g} to {high:g}" if high < LARGEST else ""
        for i, ((number, _), text) in enumerate(zip(self.rows, cells, strict=True)):
            value = number_of(text)
            if points and "," in text:  # next to 12.5, 1,234 is a thousand
                mistakes.add(number, column, "a number with a point, as in other rows", repr(text))
            elif low <= value <= high:
                values[i] = value
            else:
                beyond = f" of at most {LARGEST:g}" if abs(value) > LARGEST else ""
                mistakes.add(number, column, f"a number{within or beyond}", repr(text) if text else "nothing")
        mistakes.refuse("" if MISSING.isdisjoint(cells) else self.remedy)
        return values

    def classes(self, column: str) -> list[str]:
        """The values of a column, each once, in order.

        Raises:
            CohortError: Two values differ in capitals only, or a value means that the class is not known.
        """
        mistakes, first, cells = Mistakes(self.name), dict[str, str](), self.texts(column)
        values = set(cells)
        if len({value.casefold() for value in values} - _UNKNOWN) == len(values):
            return sorted(values)
        for (number, _), cell in zip(self.rows, cells, strict=True):
            known = first.setdefault(cell.casefold(), cell)
            if known != cell:
                mistakes.add(number, column, f"{known!r}, as in another row", repr(cell))
            elif cell.casefold() in _UNKNOWN:
                mistakes.add(number, column, "a class, or no such row", repr(cell))
        mistakes.refuse()
        return sorted(first.values())

    def positives(self, column: str, positive: str | None) -> tuple[Bools, str]:
        """Which rows are positive (n,), and the name of the positive value.

        Raises:
            CohortError: The column has not exactly two values.
            ConfigError: The positive value is not named, and the values do not show which one it is.
        """
        texts, values = self.texts(column), self.classes(column)
        if len(values) != 2:
            raise self.refusal(
                "two values, one of them positive",
                f"{len(values)}: {', '.join(values[:6])}",
                "choose another column with --truth, or keep two classes",
                f"column {column}",
            )
        if positive is None:
            pairs = [(a, b) for a, b in (values, values[::-1]) if (a.casefold(), b.casefold()) in _YES]
            positive = pairs[0][0] if pairs else None
        if positive not in values:
            raise ConfigError(
                where=f"{self.name}, column {column}",
                expected=f"--positive {values[0]} or --positive {values[1]}",
                found=repr(positive) if positive else "neither",
                remedy="name the positive value",
            )
        return np.array([text == positive for text in texts]), positive

    def check_same(self, cases: Sequence[str], values: Sequence[str], expected: str) -> None:
        """Refuse a case whose rows differ in a value, such as the truth; both by row.

        Raises:
            CohortError: They differ.
        """
        first: dict[str, tuple[str, int]] = {}
        for (number, _), case, value in zip(self.rows, cases, values, strict=True):
            known, row = first.setdefault(case, (value, number))
            if known != value:
                raise self.refusal(
                    f"{expected} of a case",
                    f"another in row {row}",
                    "correct the row, or name other columns with --case and --patient",
                    f"row {number}, case {case}",
                )

    def joined(self, other: "CsvTable", key: str, other_key: str) -> "CsvTable":
        """The same rows with the columns that only ``other`` has, looked up by ``key``.

        Raises:
            CohortError: A key occurs twice in the other table, or not at all.
        """
        own = {title.casefold() for title in (*self.header, other_key)}
        more = [i for i, title in enumerate(other.header) if title.casefold() not in own]
        found: dict[str, tuple[str, ...]] = {}
        for (number, row), value in zip(other.rows, other.texts(other_key), strict=True):
            if value in found:
                raise other.refusal(
                    f"one row of {value}", "a second one", "remove one of them", f"row {number}"
                )
            found[value] = tuple(row[i] for i in more)
        mistakes, keys = Mistakes(self.name), self.texts(key)
        for (number, _), value in zip(self.rows, keys, strict=True):
            if value not in found:
                mistakes.add(number, key, f"a case of {other.name}", repr(value))
        mistakes.refuse()
        rows = tuple((n, row + found[value]) for (n, row), value in zip(self.rows, keys, strict=True))
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
    """The number in a cell, NaN if it is none. Python's 1_000 is none."""
    try:
        return math.nan if "_" in text else float(text.replace(",", "."))
    except ValueError:
        return math.nan


def read_csv(path: Path) -> CsvTable:
    """Read a table of predictions; empty columns without a title are left out.

    Raises:
        CohortError: The file is no CSV, has no rows, a title occurs twice, or a row is wider than the header.
    """
    was_on = gc.isenabled()
    gc.disable()  # among millions of new cells the garbage collector finds nothing and doubles the reading time
    try:
        header, found = read_table(path)
        kept = [i for i, title in enumerate(header) if title or any(row[i] for _, row in found)]
        table = CsvTable(
            name=path.name,
            header=tuple(header[i] for i in kept),
            rows=tuple(
                (n, tuple(row) if len(kept) == len(row) else tuple(row[i] for i in kept)) for n, row in found
            ),
        )
    finally:
        if was_on:
            gc.enable()
    n_folded = Counter(title.casefold() for title in table.header)
    twice = next((title for title in table.header if n_folded[title.casefold()] > 1), None)
    if twice is not None or not table.rows:
        problem = f"column {twice!r} twice" if twice is not None else "no row"
        raise table.refusal(
            "a header with every column once, and rows below it", problem, "correct the table"
        )
    return table

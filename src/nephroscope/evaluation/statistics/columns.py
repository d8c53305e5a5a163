"""A CSV of anybody's predictions in, columns checked cell by cell out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nephroscope.cohort.tables import Mistakes, read_table
from nephroscope.errors import CohortError, ConfigError
from nephroscope.evaluation.metrics import Bools, Floats

TRUTH = ("truth", "outcome", "label", "subtype", "class", "cancer", "event", "status", "y")
PATIENT = ("patient_id", "patient", "subject", "cluster")
CASE = ("case_id", "case", "id")
# What a column of two values calls its positive value, where nobody says it.
_YES = ("1", "true", "yes", "positive")


@dataclass(frozen=True, kw_only=True)
class CsvTable:
    """Header and numbered rows of a CSV file; every look-up says what is missing or wrong, and where.

    Attributes:
        name: Of the file, for messages.
        rows: (number as a spreadsheet counts it, cells).
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def find(self, wanted: str | None, like: Sequence[str], option: str) -> str | None:
        """Header of a column: the one asked for, else the first whose name is usual; None where there is none.

        Raises:
            CohortError: The column asked for does not exist.
        """
        by_name = {title.casefold(): title for title in self.header}
        if wanted is None:
            return next((by_name[name] for name in like if name in by_name), None)
        if wanted.casefold() not in by_name:
            raise CohortError(
                where=self.name,
                expected=f"a column {wanted!r}",
                found=", ".join(self.header),
                remedy=f"correct {option}",
            )
        return by_name[wanted.casefold()]

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
                found=", ".join(self.header),
                remedy=f"name the column with {option}",
            )
        return found

    def texts(self, column: str) -> list[str]:
        """Cells of a column, none of them empty.

        Raises:
            CohortError: A cell is empty; all such cells are named.
        """
        mistakes, at = Mistakes(self.name), self.header.index(column)
        for number, row in self.rows:
            if not row[at]:
                mistakes.add(number, column, "a value", "nothing")
        mistakes.refuse()
        return [row[at] for _, row in self.rows]

    def numbers(self, column: str, low: float = -math.inf, high: float = math.inf) -> Floats:
        """Cells of a column as numbers from ``low`` to ``high``, (n,).

        Raises:
            CohortError: A cell is no such number; all such cells are named.
        """
        mistakes, at = Mistakes(self.name), self.header.index(column)
        values = np.full(len(self.rows), np.nan)
        for i, (number, row) in enumerate(self.rows):
            try:
                value = float(row[at].replace(",", "."))
            except ValueError:
                value = math.nan
            if math.isfinite(value) and low <= value <= high:
                values[i] = value
            else:
                within = f" from {low:g} to {high:g}" if math.isfinite(low + high) else ""
                mistakes.add(number, column, f"a number{within}", repr(row[at]) if row[at] else "nothing")
        mistakes.refuse()
        return values

    def positives(self, column: str, positive: str | None) -> tuple[Bools, str]:
        """Which rows are positive (n,), and the name of the positive value.

        Raises:
            CohortError: The column has not exactly two values.
            ConfigError: Which value is positive is not said, and cannot be told from the values.
        """
        texts = self.texts(column)
        values = sorted(set(texts))
        if len(values) != 2:
            raise CohortError(
                where=f"{self.name}, column {column}",
                expected="two values, one of them positive",
                found=f"{len(values)}: {', '.join(values[:6])}",
                remedy="choose another column with --truth, or keep two classes",
            )
        if positive is None:
            positive = next((value for value in values if value.casefold() in _YES), None)
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


def read_csv(path: Path) -> CsvTable:
    """Read a table of predictions.

    Raises:
        CohortError: The file is no CSV, has no rows, or a header stands twice.
    """
    header, rows = read_table(path)
    folded = [title.casefold() for title in header]
    twice = next((title for title in header if folded.count(title.casefold()) > 1), None)
    if twice is not None or not rows:
        raise CohortError(
            where=path.name,
            expected="a header with every column once, and rows below it",
            found=f"column {twice!r} twice" if twice is not None else "no row",
            remedy="correct the table",
        )
    return CsvTable(name=path.name, header=tuple(header), rows=tuple((n, tuple(row)) for n, row in rows))

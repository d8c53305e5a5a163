"""The tables of all pages: records and columns go in, a `Table` comes out, and from it HTML, CSV and Markdown."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from nephroscope.base.tables import save_table
from nephroscope.records import Estimate, counted_noun

Record = TypeVar("Record")
Layout = Literal["brackets", "columns"]  # of a cell's small print in a CSV file


@dataclass(frozen=True, slots=True)
class Cell:
    """A value, and the small print below it; ``warn`` shows it in the color of a warning."""

    text: str
    small: str = ""
    warn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A caption, a header and rows; the first cell of a row names it; ``notes`` are printed below the table."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """The header and the rows without small print."""
        return [self.header, *(tuple(c if isinstance(c, str) else c.text for c in row) for row in self.rows)]

    def as_json(self) -> dict[str, object]:
        """Caption, header, rows and notes; a cell with small print is an object of ``text`` and ``small``."""
        rows = [
            [cell if isinstance(cell, str) else {"text": cell.text, "small": cell.small} for cell in row]
            for row in self.rows
        ]
        return {"caption": self.caption, "header": list(self.header), "rows": rows, "notes": list(self.notes)}

    def markdown(self) -> list[str]:
        """Lines of a Markdown table, header first; small print is left out."""
        header, *rows = self.texts
        lines = [header, tuple("---" for _ in header), *rows]
        text = ["| " + " | ".join(_one_line(cell) for cell in line) + " |" for line in lines]
        return [text[0], text[1].replace(" ", ""), *text[2:]]


def _one_line(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")


class Letters:
    """Gives each method of a table a letter, so that the notes name every method once."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """The methods with their letters."""
        return tuple(f"{letter}: {method}" for method, letter in self.of.items())

    def cell(self, estimate: Estimate | None) -> str | Cell:
        """An estimate with three decimals, n and the letter of its method; empty for None."""
        if estimate is None:
            return ""
        letter = self.of.setdefault(estimate.method, "abcdefghijklmnopqrstuvwxyz"[len(self.of) % 26])
        n = f"n = {counted_noun(estimate.n, estimate.unit)} · {letter}"
        if estimate.value is None:
            return Cell("not available", n)
        if estimate.low is None or estimate.high is None:
            return Cell(f"{estimate.value:.3f}", f"no interval · {n}")
        return Cell(f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})", n)


Format = Callable[[Any, Letters], str | Cell]


def plain(value: object, _: Letters) -> str | Cell:
    """Text and cells as they are, a number as its digits, nothing for None."""
    return value if isinstance(value, str | Cell) else "" if value is None else str(value)


def lettered(value: object, letters: Letters) -> str | Cell:
    """An estimate with the letter of its method; anything else as it is."""
    return letters.cell(value) if isinstance(value, Estimate) else plain(value, letters)


@dataclass(frozen=True, slots=True)
class Column(Generic[Record]):
    """A column: its header, what it shows of a record, how that is written, and the unit behind the header."""

    header: str
    value: Callable[[Record], object]
    form: Format = lettered
    unit: str = ""


def build_table(
    caption: str, columns: Sequence[Column[Record]], records: Iterable[Record], notes: Sequence[str] = ()
) -> Table:
    """A row for each record, a cell for each column; the notes name the methods first."""
    letters = Letters()
    rows = tuple(tuple(c.form(c.value(record), letters) for c in columns) for record in records)
    header = tuple(f"{c.header}, {c.unit}" if c.unit else c.header for c in columns)
    return Table(caption=caption, header=header, rows=rows, notes=(*letters.notes, *notes))


def save_csv(path: Path, table: Table, marks: Sequence[str], layout: Layout = "brackets") -> None:
    """Write a table as CSV, whole or not at all.

    Args:
        path: Of the file.
        table: Its header and rows.
        marks: SYNTHETIC and LEAKY, in a last column of every row.
        layout: Small print in brackets behind its value, with the notes in a column of their own; or in a column
            ``NAME, note`` behind its value, without the notes.
    """
    if layout == "columns":
        _save_in_columns(path, table, marks)
        return
    header = [*table.header, *(["notes"] if table.notes else []), *(["mark"] if marks else [])]
    rows = []
    for i, row in enumerate(table.rows):
        notes = [" | ".join(table.notes) if i == 0 else ""] if table.notes else []
        rows.append([*map(_in_brackets, row), *notes, *([" ".join(marks)] if marks else [])])
    save_table(path, header, rows)


def _in_brackets(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell.text} ({cell.small})" if cell.small else cell.text


def _save_in_columns(path: Path, table: Table, marks: Sequence[str]) -> None:
    small = {i for row in table.rows for i, cell in enumerate(row) if isinstance(cell, Cell) and cell.small}

    def spread(row: Sequence[str | Cell]) -> list[str]:
        cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
        return [text for i, c in enumerate(cells) for text in ([c.text, c.small] if i in small else [c.text])]

    header = spread([Cell(name, f"{name}, note") for name in table.header])
    rows = [[*spread(row), *marks] for row in table.rows]
    save_table(path, [*header, *(["mark"] if marks else [])], rows)

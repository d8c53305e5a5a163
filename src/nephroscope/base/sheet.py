"""Open a table of a hospital, CSV or workbook: which row is its header, and which sheet is meant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.errors import CohortError
from nephroscope.base.tables import TITLE_ROWS, read_text_table
from nephroscope.base.workbook import is_workbook, only_sheet, read_workbook

FITS = 1000  # more than any number of known titles
Row = Sequence[str]
Fits = Callable[[Row], bool]
NameOf = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """Header and numbered rows of the same width.

    Attributes:
        file: Name of the file.
        header_row: Number of the header in the spreadsheet.
        unsaved: Formulas without a saved result, as (row, column).
        hidden: Rows that a spreadsheet hides; they are among the others.
        sheet: The sheet, and their number, where the workbook has several; otherwise empty.
        encoding: Of a CSV, by Python's name.
    """

    file: str
    header: list[str]
    rows: list[tuple[int, list[str]]]
    header_row: int = 1
    unsaved: frozenset[tuple[int, int]] = frozenset()
    hidden: tuple[int, ...] = ()
    sheet: str = ""
    n_sheets: int = 1
    encoding: str = "utf-8"


def open_table(path: Path, fits: Fits, name_of: NameOf) -> RawTable:
    """Read a table with its header, below any title lines; of a workbook, the one sheet with a fitting header.

    Where no row fits, the header is the row with most known titles, for its refusal.

    Args:
        path: The file; its content decides what it is.
        fits: Whether a row has what a header needs.
        name_of: Our name of a column with a known title; empty for any other text.

    Raises:
        CohortError: It is missing, damaged, too large or of another kind, several sheets fit, or it has two headers.
    """
    if is_workbook(path):
        return _open_workbook(path, fits, name_of)

    def judge(rows: Sequence[Row]) -> tuple[int, int]:
        place = _header_place(rows, fits)
        if place is not None:
            return FITS, place
        place = _best_place(rows, name_of)
        return (_n_known(rows[place], name_of) if rows else 0), place

    table = read_text_table(path, judge)
    _refuse_second_header(path, table.header, table.rows, name_of)
    return RawTable(
        file=path.name,
        header=table.header,
        rows=table.rows,
        header_row=table.header_row,
        encoding=table.encoding,
    )


def _open_workbook(path: Path, fits: Fits, name_of: NameOf) -> RawTable:
    sheets = read_workbook(path)
    heads = {id(sheet): _header_place(_cells(sheet.rows), fits) for sheet in sheets}
    sheet = only_sheet(path, sheets, [sheet for sheet in sheets if heads[id(sheet)] is not None])
    place = heads[id(sheet)]
    place = _best_place(_cells(sheet.rows), name_of) if place is None else place
    header_row, header = sheet.rows[place]
    width = max((i + 1 for i, name in enumerate(header) if name), default=0)
    rows = [(n, row[:width]) for n, row in sheet.rows[place + 1 :] if any(row[:width])]
    _refuse_second_header(path, header, rows, name_of)
    return RawTable(
        file=path.name,
        header=header[:width],
        rows=rows,
        header_row=header_row,
        unsaved=sheet.unsaved,
        hidden=tuple(sorted(n for n, _ in rows if n in sheet.hidden)),
        sheet=sheet.name if len(sheets) > 1 else "",
        n_sheets=len(sheets),
    )


def _cells(rows: Sequence[tuple[int, list[str]]]) -> list[list[str]]:
    return [row for _, row in rows[:TITLE_ROWS]]


def _header_place(heads: Sequence[Row], fits: Callable[[Row], bool]) -> int | None:
    """Which row is the header: titles and merged group names may be above it, and a group row may also fit."""
    place = next((place for place, row in enumerate(heads) if fits(row)), None)
    if place is not None and fits((heads[place + 1 :] or [[]])[0]):
        return place + 1
    return place


def _n_known(row: Row, name_of: NameOf) -> int:
    """Number of cells that are known titles; with two or more, a row is a header."""
    return sum(map(bool, map(name_of, row)))


def _best_place(heads: Sequence[Row], name_of: NameOf) -> int:
    """The row with most known titles, if it has two; else the first that is no single title."""
    best = max(range(len(heads)), key=lambda place: _n_known(heads[place], name_of), default=0)
    if heads and _n_known(heads[best], name_of) > 1:
        return best
    return next((place for place, row in enumerate(heads) if sum(map(bool, row)) > 1), 0)


def _refuse_second_header(
    path: Path, header: Row, rows: list[tuple[int, list[str]]], name_of: NameOf
) -> None:
    """Refuse two header rows: the title of a column would be ambiguous, and part of the header would be lost.

    A cell may say a title of its own column, such as model below kind; a row of such cells is a header where they
    are most of it.
    """
    n, below = rows[0] if rows else (0, [])
    known = [
        (name, name_of(title)) for title, cell in zip(header, below, strict=False) if (name := name_of(cell))
    ]
    others = sum(name != above for name, above in known)
    if len(known) < 2 or (others < 2 and 2 * len(known) <= sum(map(bool, below))):
        return
    raise CohortError(
        where=f"{path.name}, row {n}",
        expected="one header row with a title for each column",
        found=f"{len(known)} more column titles below the header",
        remedy="join the two rows into one, or delete the upper one",
    )

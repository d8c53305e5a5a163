"""Read the visible sheets of an Excel workbook (.xlsx) as rows of text; sizes are checked first."""

import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, iterparse

from nephroscope.base.errors import CohortError
from nephroscope.base.limits import MOST_SHEET_COLUMNS, MOST_SHEET_ROWS, check_workbook
from nephroscope.base.tables import names

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, ParseError, OSError, EOFError, RuntimeError, NotImplementedError),
    *(KeyError, IndexError, ValueError, TypeError, AttributeError, OverflowError),
)  # what openpyxl, zipfile and expat raise for damaged workbooks
Row = tuple[int, list[str]]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One visible sheet.

    Attributes:
        rows: Rows that are not empty, with their number in the spreadsheet. Dates are ISO, numbers plain.
        hidden: Numbers of rows hidden by a filter or a person.
        unsaved: (row, column from 0) of formulas without a saved result.
    """

    name: str
    rows: list[Row]
    hidden: frozenset[int] = frozenset()
    unsaved: frozenset[tuple[int, int]] = frozenset()


@dataclass(kw_only=True)
class _Layout:
    """What openpyxl's fast mode does not report about a sheet."""

    n_rows: int = 0
    n_columns: int = 0
    hidden: set[int] = field(default_factory=set)
    unsaved: set[tuple[int, int]] = field(default_factory=set)
    merged: list[str] = field(default_factory=list)


def is_workbook(path: Path) -> bool:
    """True when the content, not the name, is a zip or an old Office file instead of text.

    Raises:
        CohortError: It is HTML or XML, which some hospital systems write as .xls.
    """
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return False
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise _refusal(path, "HTML or XML", "open it in Excel or LibreOffice and save it as .xlsx")
    return start.startswith((ZIP, OLE))


def read_workbook(path: Path) -> list[Sheet]:
    """The visible sheets of an .xlsx in order.

    Raises:
        CohortError: It is an old .xls, has a password, is of another kind, damaged, or unpacks to too much.
    """
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import CellCoordinatesException, InvalidFileException, NamedRangeException

    with path.open("rb") as file:
        if file.read(8).startswith(OLE):
            raise _refusal(path, "an old workbook (.xls), or one with a password", "save it as .xlsx or CSV")
        file.seek(0)
        try:
            with check_workbook(path, file) as archive:
                _check_kind(path, archive)
                places = _sheet_places(archive)
                layouts = {name: _layout(path, name, archive, place) for name, place in places.items()}
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", UserWarning
                )  # about styles and extensions that we do not need
                book = load_workbook(file, read_only=True, data_only=True, keep_links=False)
                return [_sheet(book[name], layout) for name, layout in layouts.items()]
        except (*DAMAGE, InvalidFileException, CellCoordinatesException, NamedRangeException) as error:
            found = f"one that is damaged or of another kind ({type(error).__name__})"
            raise _refusal(path, found, "open it in Excel or LibreOffice and save it as .xlsx") from error


def _check_kind(path: Path, archive: zipfile.ZipFile) -> None:
    if "xl/workbook.xml" not in archive.namelist():
        kind = "an OpenDocument file" if "mimetype" in archive.namelist() else "a zip archive of another kind"
        raise _refusal(path, kind, "save the table as .xlsx or CSV")


def _sheet_places(archive: zipfile.ZipFile) -> dict[str, str]:
    """Part of the archive for each visible worksheet, by its name."""
    targets = {}
    for element in _elements(archive, "xl/_rels/workbook.xml.rels", "Relationship"):
        if element.get("Type", "").endswith("/worksheet"):
            target = element.get("Target", "")
            targets[element.get("Id")] = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    places = {}
    for element in _elements(archive, "xl/workbook.xml", "sheet"):
        relation = next((value for key, value in element.items() if key.endswith("}id")), None)
        if relation in targets and element.get("state", "visible") == "visible":
            places[element.get("name", "")] = targets[relation]
    return places


def _elements(archive: zipfile.ZipFile, part: str, tag: str) -> Iterator[Element]:
    with archive.open(part) as stream:
        for _, element in iterparse(stream):  # noqa: S314 - expat bounds entities, and follows none outside
            if _tag(element) == tag:
                yield element


def _layout(path: Path, name: str, archive: zipfile.ZipFile, place: str) -> _Layout:
    """Size, hidden rows, merged cells and formulas without a result, read as a stream."""
    from openpyxl.utils.cell import column_index_from_string, coordinate_from_string

    layout, row, column, seen, n_cells = _Layout(), 0, 0, 0, 0
    with archive.open(place) as stream:
        for event, element in iterparse(stream, events=("start", "end")):  # noqa: S314 - as above
            tag = _tag(element)
            if (event, tag) == ("start", "row"):
                row, column, seen, n_cells = int(element.get("r") or row + 1), 0, seen + 1, 0
                if element.get("hidden") in ("1", "true"):
                    layout.hidden.add(row)
            elif (event, tag) == ("start", "c"):
                n_cells += 1
            elif (event, tag) == ("end", "c"):
                place_of = element.get("r")
                letters = coordinate_from_string(place_of)[0] if place_of else ""
                column = column_index_from_string(letters) if letters else column + 1
                kinds = {_tag(child) for child in element if _tag(child) != "v" or child.text}
                if "f" in kinds and "v" not in kinds:
                    layout.unsaved.add((row, column - 1))
                if kinds:
                    layout.n_rows, layout.n_columns = max(layout.n_rows, row), max(layout.n_columns, column)
            elif (event, tag) == ("end", "row"):
                element.clear()
            elif (event, tag) == ("end", "mergeCell"):
                layout.merged.append(element.get("ref", ""))
            _check_extent(path, name, max(seen, layout.n_rows), max(n_cells, layout.n_columns))
    return layout


def _check_extent(path: Path, name: str, n_rows: int, n_columns: int) -> None:
    if n_rows > MOST_SHEET_ROWS or n_columns > MOST_SHEET_COLUMNS:
        raise CohortError(
            where=f"{path.name}, sheet {name}",
            expected=f"at most {MOST_SHEET_ROWS} rows and {MOST_SHEET_COLUMNS} columns",
            found=f"{n_rows} rows, {n_columns} columns or more",
            remedy="delete everything far below or to the side of the table, and save it again",
        )


def _sheet(worksheet: Any, layout: _Layout) -> Sheet:
    """The rows of one sheet as text; a value merged downwards is in each row that it covers."""
    from openpyxl.utils.cell import range_boundaries

    cells: dict[int, list[str]] = {}
    if layout.n_rows:
        size = {"max_row": layout.n_rows, "max_col": layout.n_columns}
        for n, row in enumerate(worksheet.iter_rows(min_row=1, min_col=1, **size), start=1):
            texts = [_shown(cell) for cell in row]
            if any(texts):
                cells[n] = texts
    for merged in layout.merged:
        left, top, right, bottom = range_boundaries(merged)
        if left == right <= layout.n_columns and top in cells:
            for n in range(top + 1, min(bottom, layout.n_rows) + 1):
                if n in cells:
                    cells[n][left - 1] = cells[top][left - 1]
    return Sheet(
        name=worksheet.title,
        rows=list(cells.items()),
        hidden=frozenset(layout.hidden & cells.keys()),
        unsaved=frozenset(layout.unsaved),
    )


_DIGITS = re.compile(r'(?P<before>(?:"[^"]*"|\\.)*)(?P<zeros>0{2,})(?P<after>(?:"[^"]*"|\\.)*)')


def _shown(cell: Any) -> str:
    """A cell as Excel shows it: 7 in the number format ``000`` is ``007``, in ``"P"000`` it is ``P007``."""
    value = cell.value
    whole = (
        isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == int(value)
    )
    if not whole or (shape := _DIGITS.fullmatch(str(cell.number_format).split(";")[0])) is None:
        return _text(value)
    before, after = (re.sub(r'\\(.)|"', r"\1", shape[part]) for part in ("before", "after"))
    return f"{before}{str(int(value)).zfill(len(shape['zeros']))}{after}".strip()


def _text(value: object) -> str:
    """A cell as one would type it; ``#N/A`` is empty."""
    if value is None or value == "#N/A":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int):
        return str(value)  # all digits: it may be an identifier
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value).strip()


def only_sheet(path: Path, sheets: list[Sheet], fitting: list[Sheet]) -> Sheet:
    """The only sheet with a fitting header; the first sheet, for its refusal, if none fits.

    Raises:
        CohortError: Several sheets fit, or all are empty.
    """
    if len(fitting) > 1:
        raise CohortError(
            where=path.name,
            expected="one sheet with these columns",
            found=f"{len(fitting)}: {names((sheet.name for sheet in fitting), 10)}",
            remedy="save the sheet to use as a separate file, or rename the columns of the others",
        )
    filled = [sheet for sheet in sheets if sheet.rows]
    if not filled:
        raise _refusal(path, "only empty or hidden sheets", "fill the table")
    return (fitting or filled)[0]


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _refusal(path: Path, found: str, remedy: str) -> CohortError:
    return CohortError(
        where=path.name, expected="a workbook (.xlsx) or a CSV table", found=found, remedy=remedy
    )

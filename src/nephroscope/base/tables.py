"""Read CSV as people and spreadsheets write it, with row numbers, and write our own."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from nephroscope.base.encoding import WESTERN, decoded_texts
from nephroscope.base.errors import CohortError
from nephroscope.base.files import Seen, replacing
from nephroscope.base.limits import MOST_CELLS, MOST_COLUMNS, read_table_bytes
from nephroscope.base.text import first_few

LISTED, LONGEST = 20, 160
# What a spreadsheet would run as a formula; a signed number is not one. Source: OWASP, CSV injection.
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d.,eE+-]*$)")
UNKNOWN = {"", "na", "n/a", "nan", "none", "null", "unknown", "?", "-"}


@dataclass
class Mistakes:
    """Collects the mistakes of a table, cell by cell, so that all are reported at once."""

    file: str
    found: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, row: int, column: str, expected: str, found: str) -> None:
        """Add one cell: ``row`` as in the spreadsheet, where the header is row 1; a long ``found`` is cut."""
        found = found if len(found) <= LONGEST else f"{found[:LONGEST]} ..."
        self.found.append((f"row {row}, column {column}", expected, found))

    def refuse(self, remedy: str = "") -> None:
        """Report all mistakes, if there are any; ``remedy`` if there is more to do than correct the cells.

        Raises:
            CohortError: There is at least one mistake.
        """
        if not self.found:
            return
        if len(self.found) == 1:
            ((where, expected, found),) = self.found
            raise CohortError(
                where=f"{self.file}, {where}",
                expected=expected,
                found=found,
                remedy=remedy or "correct this cell",
            )
        listed = "; ".join(f"{w}: expected {e}, found {f}" for w, e, f in self.found[:LISTED])
        more = len(self.found) - LISTED
        raise CohortError(
            where=self.file,
            expected="a table without mistakes",
            found=f"{len(self.found)}: {listed}" + (f"; and {more} more" if more > 0 else ""),
            remedy=remedy or "correct these cells",
        )


TITLE_ROWS = 30  # above a header
SEPARATORS = ",;\t|"
NumberedRow = tuple[int, list[str]]
# How many titles are known in the row that looks most like a header among the first ones, and the place of that row.
Judge = Callable[[Sequence[Sequence[str]]], tuple[int, int]]
SURE = 2  # known titles


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A CSV as read.

    Attributes:
        header: Titles; the first row that is not empty, or the one that was looked for.
        rows: Below it, with their numbers in the spreadsheet, as wide as the header.
        header_row: Number of the header there.
        encoding: In which it was written, by Python's name; ``utf-8`` where it is UTF-8 or UTF-16.
    """

    header: list[str]
    rows: list[NumberedRow]
    header_row: int
    encoding: str


def read_table(path: Path) -> tuple[list[str], list[NumberedRow]]:
    """Header and numbered rows of a CSV separated by ``,``, ``;``, ``|`` or tab, with any byte order mark.

    Rows are as wide as the header: a wider one is refused, since its cells may be shifted. Empty rows are dropped but
    counted, as in a spreadsheet. The apostrophe that `save_table` puts before a possible formula is removed.

    Raises:
        CohortError: The file is missing, a workbook or too large, is in an encoding that cannot be known, has no
            header or a quote that is never closed, or a row is wider than the header.
    """
    table = read_text_table(path)
    return table.header, table.rows


def read_text_table(path: Path, header_place: Judge | None = None) -> TextTable:
    """Like `read_table`, with a header that may lie below titles.

    Args:
        path: The file.
        header_place: Which of the first rows that are not empty is the header. It also tells in which encoding a file
            is that is not UTF-8, where it knows the titles in one encoding only.

    Raises:
        CohortError: As `read_table`.
    """
    try:
        content = read_table_bytes(path)
    except OSError as error:
        raise _not_a_table(path, f"no readable file ({error.strerror})") from error
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf")):
        raise _not_a_table(path, "a spreadsheet workbook")
    texts = decoded_texts(content, doubt_utf8=header_place is not None)  # not in our own tables
    if not texts:
        zeros = "zero bytes, so it is not text" if b"\0" in content else "bytes that are not text"
        raise _not_a_table(path, zeros)
    if len(texts) == 1 or WESTERN in texts:
        encoding = WESTERN if WESTERN in texts else next(iter(texts))
        return _table_of(path, _Lines(texts[encoding]), encoding, header_place)
    if header_place is not None:
        known = [name for name, text in texts.items() if _Lines(text).has_foreign_titles(header_place)]
        if len(known) == 1:
            return _table_of(path, _Lines(texts[known[0]]), known[0], header_place)
    raise _not_a_table(path, f"text in another encoding, which may be {first_few(texts, 4)}")


class _Lines:
    """The lines of a CSV, and the character that separates its cells."""

    def __init__(self, text: str) -> None:
        self.lines = list(io.StringIO(text, newline=""))  # csv handles line ends inside quotes itself
        first = next((n for n, line in enumerate(self.lines) if line.strip()), 0)
        said = re.fullmatch(r'"?sep=(.)"?', self.lines[first].strip("\r\n ")) if self.lines else None
        if said:  # Excel's own first line
            self.lines[first] = "\n"
        filled = [line for line in self.lines[: 4 * TITLE_ROWS] if line.strip()]
        counts = {s: [line.count(s) for line in filled] or [0] for s in SEPARATORS}
        self.separators = (
            said[1] if said else sorted(SEPARATORS, key=lambda s: (-counts[s][0], -sum(counts[s])))
        )
        in_header = said or counts[self.separators[0]][0]  # a header of one column has none
        self.separator = self.separators[0] if in_header else ","
        self.has_quote = "'" in text

    def head(self, separator: str) -> list[list[str]]:
        """The first rows that are not empty."""
        some = csv.reader(self.lines[: 4 * TITLE_ROWS], delimiter=separator)
        try:
            rows = [[cell.strip() for cell in row] for row in some]
        except csv.Error:
            return []
        return [row for row in rows if any(row)][:TITLE_ROWS]

    def header(self, judge: Judge) -> tuple[int, str, int]:
        """Known titles in the header, the separator with which it has most, and its place among filled rows."""
        heads = [(separator, *judge(self.head(separator))) for separator in self.separators]
        separator, n_known, place = max(heads, key=lambda one: one[1])
        return n_known, separator, place

    def has_foreign_titles(self, judge: Judge) -> bool:
        """True where the text has a header with letters that depend on its encoding."""
        n_known, separator, place = self.header(judge)
        return n_known >= SURE and not "".join(self.head(separator)[place]).isascii()


def _table_of(path: Path, lines: _Lines, encoding: str, judge: Judge | None) -> TextTable:
    _, separator, place = lines.header(judge) if judge else (0, lines.separator, 0)
    header: list[str] = []
    rows: list[NumberedRow] = []
    n_above = header_row = 0
    try:
        for n, cells in enumerate(_records(path, lines.lines, separator), start=1):
            row = [cell.strip() for cell in cells]
            if lines.has_quote:
                row = [unguarded(cell) for cell in row]
            if not any(row):
                continue
            if n_above < place:
                n_above += 1
            elif not header:
                header, header_row = row, n
            else:
                rows.append((n, _as_wide(path, n, row, header)))
                if len(rows) * len(header) > MOST_CELLS or len(header) > MOST_COLUMNS:
                    found = f"{len(rows):,} rows of {len(header):,}, or more"
                    raise CohortError(
                        where=path.name,
                        expected=f"at most {MOST_CELLS:,} cells in {MOST_COLUMNS:,} columns",
                        found=found,
                        remedy="keep only the rows and columns that are needed",
                    )
    except csv.Error as error:
        raise _not_a_table(path, str(error)) from error
    if not header:
        raise _not_a_table(path, "an empty file")
    return TextTable(header=header, rows=rows, header_row=header_row, encoding=encoding)


def _as_wide(path: Path, n: int, row: list[str], header: list[str]) -> list[str]:
    """A row with as many cells as the header."""
    width = len(header)
    if any(row[width:]):
        raise CohortError(
            where=f"{path.name}, row {n}",
            expected=f"{width} cells, as in the header",
            found=f"{len(row)}",
            remedy="put a number with a decimal comma in quotes, or give each column a title",
        )
    return row if len(row) == width else (row + [""] * (width - len(row)))[:width]


def _records(path: Path, lines: list[str], separator: str) -> Iterator[list[str]]:
    """Rows of cells. A row over several lines must be quoted correctly: an open quote would swallow rows."""
    reader, before = csv.reader(lines, delimiter=separator), 0
    for row in reader:
        if reader.line_num > before + 1:
            try:
                list(csv.reader(lines[before : reader.line_num], delimiter=separator, strict=True))
            except csv.Error as error:
                raise CohortError(
                    where=f"{path.name}, line {before + 1}",
                    expected="a closing quote for each opening quote",
                    found=f"a cell that continues to line {reader.line_num}",
                    remedy="close or remove the quote in this line",
                ) from error
        before = reader.line_num
        yield row


def save_table(
    path: Path, header: Sequence[str], rows: Iterable[Iterable[object]], seen: Seen | None = None
) -> None:
    """Write a CSV completely or not at all: the one writer of the tables that people open.

    A file that changed since it was ``seen`` is refused with StudyError and stays.

    A cell that a spreadsheet would run as a formula gets an apostrophe before it, as one would type it.
    """
    with replacing(path, seen) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.writelines(csv_line(row) for row in chain([header], rows))


def csv_line(row: Iterable[object]) -> str:
    """A row of a CSV, guarded as `save_table` does."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(
        f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell.lstrip("'")) else cell for cell in row
    )
    return text.getvalue()


def unguarded(cell: str) -> str:
    """A cell as it was before `save_table` guarded it."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell.lstrip("'")) else cell


def parse_number(text: str, low: float, high: float) -> float | None:
    """A number above ``low`` and up to ``high``, with a decimal point or comma; None for unknown.

    Raises:
        ValueError: It is not a number, or out of range.
    """
    if text.lower() in UNKNOWN:
        return None
    number = float(text.replace(",", "."))
    if not low < number <= high:
        raise ValueError(text)
    return number


def names(items: Iterable[str], most: int = 5) -> str:
    """The first names in alphabetical order and the number of the others: "a, b, c and 4 more"."""
    return first_few(sorted(items), most)


def _not_a_table(path: Path, found: str) -> CohortError:
    return CohortError(
        where=path.name,
        expected="a CSV table in text form with a header",
        found=found,
        remedy="check the path, or save the sheet as CSV (UTF-8)",
    )

"""Read CSV as people and spreadsheets write it, with row numbers, and write our own."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nephroscope.base.errors import CohortError
from nephroscope.base.files import replacing
from nephroscope.base.text import first_few

LISTED = 20
# What a spreadsheet would run as a formula; a signed number is not one. Source: OWASP, CSV injection.
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d.,eE+-]*$)")
UNKNOWN = {"", "na", "n/a", "nan", "none", "null", "unknown", "?", "-"}


@dataclass
class Mistakes:
    """Collects the mistakes of a table, cell by cell, so that all are reported at once."""

    file: str
    found: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, row: int, column: str, expected: str, found: str) -> None:
        """Add one cell: ``row`` as in the spreadsheet, where the header is row 1."""
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


def read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and numbered rows of a CSV separated by ``,``, ``;``, ``|`` or tab, with any byte order mark.

    Rows are as wide as the header: a wider one is refused, since its cells may be shifted. Empty rows are dropped but
    counted, as in a spreadsheet. The apostrophe that `save_table` puts before a possible formula is removed.

    Raises:
        CohortError: The file is missing or a workbook, has no header or a quote that is never closed, or a row is
            wider than the header.
    """
    text = _decode(path)
    lines = list(io.StringIO(text, newline=""))  # csv handles line ends inside quotes itself
    first = next((n for n, line in enumerate(lines) if line.strip()), 0)
    said = re.fullmatch(
        r'"?sep=(.)"?', lines[first].strip("\r\n ") if lines else ""
    )  # Excel's own first line
    if said:
        lines[first] = "\n"
    header_line = next((line for line in lines if line.strip()), "")
    separator = said[1] if said else max(",;\t|", key=header_line.count)
    try:
        table = [[c.strip() for c in row] for row in _records(path, lines, separator)]
    except csv.Error as error:
        raise _not_a_table(path, str(error)) from error
    if "'" in text:
        table = [[_unguarded(c) for c in row] for row in table]
    numbered = [(n, row) for n, row in enumerate(table, start=1) if any(row)]
    if not numbered:
        raise _not_a_table(path, "an empty file")
    (_, header), *rows = numbered
    width = len(header)
    odd = next(((n, row) for n, row in rows if any(row[width:])), None)
    if odd is not None:
        raise CohortError(
            where=f"{path.name}, row {odd[0]}",
            expected=f"{width} cells, as in the header",
            found=f"{len(odd[1])}",
            remedy="put a number with a decimal comma in quotes, or give each column a title",
        )
    return header, [(n, row if len(row) == width else (row + [""] * width)[:width]) for n, row in rows]


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


def save_table(path: Path, header: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV completely or not at all: the one writer of the tables that people open.

    A cell that a spreadsheet would run as a formula gets an apostrophe before it, as one would type it.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_guarded(cell) for cell in row] for row in rows)


def _guarded(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    return f"'{cell}" if _FORMULA.match(cell.removeprefix("'")) else cell


def _unguarded(cell: str) -> str:
    guarded = cell.startswith("'") and _FORMULA.match(cell.removeprefix("''").removeprefix("'"))
    return cell[1:] if guarded else cell


def relative_to(folder: Path, path: Path | None) -> str:
    """A path as written in a study: relative (with /) if below the study, otherwise absolute; empty for None."""
    if path is None:
        return ""
    if path.is_absolute() and path.is_relative_to(folder.resolve()):
        path = path.relative_to(folder.resolve())
    return path.as_posix()


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


def _decode(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _not_a_table(path, f"no readable file ({error.strerror})") from error
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    if content.startswith((b"PK", b"\xd0\xcf")):
        raise _not_a_table(path, "a spreadsheet workbook")
    if b"\0" in content and not wide:
        raise _not_a_table(path, "zero bytes, so it is not text")
    encodings = ["utf-16"] if wide else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise _not_a_table(path, "bytes that are not text")


def _not_a_table(path: Path, found: str) -> CohortError:
    return CohortError(
        where=path.name,
        expected="a CSV table in text form with a header",
        found=found,
        remedy="check the path, or save the sheet as CSV (UTF-8)",
    )

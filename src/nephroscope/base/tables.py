"""CSV as people and spreadsheets write it: file in, rows with their numbers out; and our own, written at once."""

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
# What a spreadsheet would run as a formula; a number with a sign is none. Source: OWASP, CSV injection.
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d.,eE+-]*$)")
UNKNOWN = {"", "na", "n/a", "nan", "none", "null", "unknown", "?", "-"}


@dataclass
class Mistakes:
    """Collects what is wrong with a table, cell by cell, so that all of it is said at once."""

    file: str
    found: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, row: int, column: str, expected: str, found: str) -> None:
        """Note one cell: ``row`` as a spreadsheet counts, the header being row 1."""
        self.found.append((f"row {row}, column {column}", expected, found))

    def refuse(self, remedy: str = "") -> None:
        """Say all mistakes, or nothing when there are none; ``remedy`` if there is more to do than to correct cells.

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
    """Header and numbered rows of a CSV with ``,``, ``;``, ``|`` or tab, any byte order mark, and stray spaces.

    Rows are as wide as the header: one with more is refused, since its cells may be shifted. Empty ones are dropped,
    but counted in the numbers, as a spreadsheet does. The apostrophe that `save_table` puts before what a spreadsheet
    would run is taken away.

    Args:
        path: The file.

    Raises:
        CohortError: The file is missing, a workbook instead of text, has no header, or a quote that is never closed;
            or a row is wider than the header.
    """
    text = _decode(path)
    lines = list(io.StringIO(text, newline=""))  # csv itself sees to line ends inside quotes
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
            expected=f"{width} cells, as the header has",
            found=f"{len(odd[1])}",
            remedy="quote a number with a decimal comma, or give a column without a title one",
        )
    return header, [(n, row if len(row) == width else (row + [""] * width)[:width]) for n, row in rows]


def _records(path: Path, lines: list[str], separator: str) -> Iterator[list[str]]:
    """Rows of cells. A row over several lines must be quoted to the letter: else a quote left open swallows rows."""
    reader, before = csv.reader(lines, delimiter=separator), 0
    for row in reader:
        if reader.line_num > before + 1:
            try:
                list(csv.reader(lines[before : reader.line_num], delimiter=separator, strict=True))
            except csv.Error as error:
                raise CohortError(
                    where=f"{path.name}, line {before + 1}",
                    expected="every quote that opens a cell to close it",
                    found=f"a cell that goes on to line {reader.line_num}",
                    remedy="close or remove the quote in this line",
                ) from error
        before = reader.line_num
        yield row


def save_table(path: Path, header: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a CSV under a temporary name and rename it, so that it is there whole or not at all.

    A cell that a spreadsheet would run as a formula gets an apostrophe before it, as one would type it there.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_guarded(cell) for cell in row] for row in rows)


def _guarded(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell.removeprefix("'")) else cell


def _unguarded(cell: str) -> str:
    guarded = cell.startswith("'") and _FORMULA.match(cell.removeprefix("''").removeprefix("'"))
    return cell[1:] if guarded else cell


def relative_to(folder: Path, path: Path | None) -> str:
    """How a path is written in a study: relative (posix) below the study, else absolute; empty for None."""
    if path is None:
        return ""
    if path.is_absolute() and path.is_relative_to(folder.resolve()):
        path = path.relative_to(folder.resolve())
    return path.as_posix()


def parse_number(text: str, low: float, high: float) -> float | None:
    """A number above ``low`` and up to ``high``, with a point or a comma; None when it is not known.

    Raises:
        ValueError: It is not a number, or outside.
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
        raise _not_a_table(path, "zero bytes, which no text has")
    encodings = ["utf-16"] if wide else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise _not_a_table(path, "bytes that are no text")


def _not_a_table(path: Path, found: str) -> CohortError:
    return CohortError(
        where=path.name,
        expected="a CSV table in text form with a header",
        found=found,
        remedy="check the path, or save the sheet as CSV (UTF-8)",
    )

"""How large an input may be: one place for the limits of every format, which are checked before a parser sees it."""

import json
import re
import zipfile
from pathlib import Path
from typing import IO

from nephroscope.base.errors import CohortError

MOST_TABLE_BYTES = 128 * 2**20  # of a CSV
MOST_LINE_BYTES = 2**20  # of one line of it
MOST_COLUMNS, MOST_CELLS = 10_000, 20_000_000
MOST_BOOK_BYTES, MOST_PARTS = 64 * 2**20, 2000  # of a workbook when unpacked
MOST_SHEET_ROWS, MOST_SHEET_COLUMNS = 100_000, 1000
MOST_TAGS, MOST_EQUALS = 1_500_000, 6_000_000  # in all parts of a workbook; a filled cell has two tags
MOST_DEPTH = 64  # brackets in brackets; ours have at most 6
MOST_DIGITS = 1000  # of one number
MOST_TOML_BYTES = 2**20
_CHUNK = 2**20
_ENTRY = b"PK\x01\x02"  # an entry in the directory of a zip archive
_PARTS = re.compile(r'"""|\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|[\[{]|[\]}]')


def read_table_bytes(path: Path) -> bytes:
    """The bytes of a CSV, read in pieces so that one that is too large is refused at the first that shows it.

    Raises:
        CohortError: The file, one of its lines, or lines times separators are too many.
        OSError: It cannot be read.
    """
    n_bytes = path.stat().st_size
    if n_bytes > MOST_TABLE_BYTES:
        raise _too_large(path.name, f"at most {MOST_TABLE_BYTES // 2**20} MiB", f"{n_bytes / 2**20:.0f} MiB")
    pieces: list[bytes] = []
    n_columns = n_lines = n_open = 0
    end = b"\n"
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            if not pieces and b"\n" not in piece:
                end = b"\r"  # as on Macs before 2001
            lines = piece.split(end, 1)
            if n_open + len(lines[0]) > MOST_LINE_BYTES:
                found = f"more than {MOST_LINE_BYTES:,} bytes in line {n_lines + 1}"
                raise _too_large(path.name, f"lines of at most {MOST_LINE_BYTES:,} bytes", found)
            n_open = len(piece) - piece.rfind(end) - 1 if len(lines) > 1 else n_open + len(piece)
            if not pieces:
                n_columns = _most_columns(path.name, piece, end)
            n_lines += piece.count(end)
            if n_lines * n_columns > MOST_CELLS:
                found = f"{n_lines:,} lines of {n_columns:,} columns, or more"
                raise _too_large(path.name, f"at most {MOST_CELLS:,} cells", found)
            pieces.append(piece)
    return b"".join(pieces)


def _most_columns(name: str, start: bytes, end: bytes) -> int:
    """Number of columns of the first line that has any; titles may be above it."""
    first = next((line for line in start.split(end, 50)[:50] if line.strip(b"\xef\xbb\xbf \t\r")), b"")
    n_columns = 1 + max(first.count(separator) for separator in (b",", b";", b"\t", b"|"))
    if n_columns > MOST_COLUMNS:
        found = f"{n_columns:,} or more"
        raise _too_large(name, f"at most {MOST_COLUMNS:,} columns", found, "keep the columns that are needed")
    return n_columns


def check_workbook(path: Path, file: IO[bytes]) -> zipfile.ZipFile:
    """Open the archive of a workbook once its directory, its unpacked size and its tags are known to be few.

    zipfile never gives more bytes than a part declares, so the declared sizes can be believed.

    Raises:
        CohortError: Any of these is too large.
        zipfile.BadZipFile: It is damaged.
    """
    n_entries = 0
    for piece in iter(lambda: file.read(_CHUNK), b""):
        n_entries += piece.count(_ENTRY)
        if n_entries > MOST_PARTS or file.tell() > MOST_BOOK_BYTES:
            raise _large_workbook(path.name, f"{file.tell() / 2**20:.0f} MiB in {n_entries} parts, or more")
    archive = zipfile.ZipFile(file)
    parts = archive.infolist()
    n_bytes = sum(part.file_size for part in parts)
    if n_bytes > MOST_BOOK_BYTES or len(parts) > MOST_PARTS:
        raise _large_workbook(path.name, f"{n_bytes / 2**20:.0f} MiB in {len(parts)} parts")
    n_tags = n_equals = 0
    for part in parts:
        if not part.filename.lower().endswith((".xml", ".rels", ".vml")):
            continue
        with archive.open(part) as stream:
            while piece := stream.read(_CHUNK):
                n_tags += piece.count(b"<") - piece.count(b"</")
                n_equals += piece.count(b"=")
                if n_tags > MOST_TAGS or n_equals > MOST_EQUALS:
                    expected = f"a workbook of at most some {MOST_TAGS // 2:,} filled cells"
                    found = f"more than {n_tags:,} tags, such as empty cells"
                    remedy = "copy the table, without the empty cells around it, into a new workbook"
                    raise _too_large(path.name, expected, found, remedy)
    return archive


class NestingError(ValueError):
    """JSON or TOML that is too deep or holds too long a number for a parser."""


def parse_json(text: str) -> object:
    """The value of a JSON text.

    Raises:
        ValueError: It is no JSON; `NestingError` where no parser was asked.
    """
    check_nesting(text)
    return json.loads(text)


def check_nesting(text: str) -> None:
    """Look for what ends a parser of JSON or TOML: brackets in brackets, and numbers of many digits.

    Raises:
        NestingError: There is one.
    """
    if re.search(rf"\d{{{MOST_DIGITS + 1}}}", text):
        raise NestingError(f"a number of more than {MOST_DIGITS:,} digits")
    if text.count("[") + text.count("{") <= MOST_DEPTH:
        return
    depth = 0
    for part in _PARTS.finditer(text):
        mark = part[0]
        depth += (mark in "[{") - (mark in "]}") if len(mark) == 1 and mark in "[{]}" else 0
        if depth > MOST_DEPTH:
            raise NestingError(f"brackets in brackets, more than {MOST_DEPTH} deep")


def _too_large(
    where: str, expected: str, found: str, remedy: str = "keep only the rows and columns that are needed"
) -> CohortError:
    return CohortError(where=where, expected=expected, found=found, remedy=remedy)


def _large_workbook(name: str, found: str) -> CohortError:
    expected = f"a workbook of at most {MOST_BOOK_BYTES // 2**20} MiB unpacked and {MOST_PARTS} parts"
    return _too_large(name, expected, found, "save only the sheet with the labels")

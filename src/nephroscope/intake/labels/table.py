"""Open a label table, CSV or workbook, and find its header and columns."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from nephroscope.base.columns import places_of, plain_title, usual_places
from nephroscope.base.encoding import WESTERN
from nephroscope.base.errors import CohortError
from nephroscope.base.tables import TITLE_ROWS, names, read_text_table
from nephroscope.base.text import first_few
from nephroscope.base.workbook import is_workbook, only_sheet, read_workbook
from nephroscope.intake.labels.titles import COLUMN_NAMES, TUMOR_NUMBERS, known_titles
from nephroscope.records import Finding, note, warning


def fits(header: Sequence[str], columns: Mapping[str, str]) -> bool:
    """True when a row has what a header needs: whose row it is, and the subtype."""
    mapped = {header_of.strip().casefold() for header_of in columns.values()}
    if not mapped <= {name.strip().casefold() for name in header}:
        return False
    known = set(columns) | {our for name in header if (our := usual_name(name))}
    return "subtype" in known and bool({"case_id", "patient_id"} & known)


def n_known(header: Sequence[str]) -> int:
    """Number of cells that are usual titles of columns; with two or more, a row is a header."""
    return sum(bool(name and usual_name(name)) for name in header)


def find_columns(
    table: str, header: Sequence[str], columns: Mapping[str, str], row: int = 1
) -> dict[str, int]:
    """Position of each known column of a table.

    Args:
        table: File name, in refusals.
        header: Header of the table.
        columns: Our name -> title, from ``[columns]`` of study.toml; these come before the usual titles.
        row: Number of the header in the spreadsheet, in refusals.

    Raises:
        CohortError: A mapped title is missing or there twice, no column names the case or the subtype, or two columns
            have the same meaning.
    """
    where = {name: _mapped(table, header, name, wanted) for name, wanted in columns.items()}
    taken, words = set(where.values()), [_word(title) for title in header]
    for name, spellings in COLUMN_NAMES.items():
        found = usual_places(words, spellings.split(), taken)
        if name in where or not found:
            continue
        where[name] = found[0]
        if len({words[i] for i in found}) < len(found):
            raise CohortError(
                where=table,
                expected=f"one column for the {name}",
                found=" and ".join(header[i] for i in sorted(found)),
                remedy="rename or remove all but one",
            )
    if "subtype" not in where or not {"case_id", "patient_id"} & where.keys():
        raise _no_header(table, header, where, row)
    return where


def _no_header(table: str, header: Sequence[str], where: Mapping[str, int], row: int) -> CohortError:
    """The refusal of the row that looks most like a header: what of it is known, and lines for study.toml."""
    others = [title for i, title in enumerate(header) if title and i not in where.values()]
    known = [f"{name} ({header[i]})" for name, i in where.items()]
    found = _listed(header)
    if known:
        found += f"; recognized: {', '.join(known)}"
    lacking = [] if {"case_id", "patient_id"} & where.keys() else ["patient_id"]
    lacking += [] if "subtype" in where else ["subtype"]
    lines = []
    for name in lacking:
        near = _most_like(name, others) if known else ""
        lines.append(f'{name} = "{near or "title of your column"}"')
    block = "\n".join(("[columns]", *lines))
    return CohortError(
        where=f"{table}, row {row}" if known else table,
        expected="columns named case_id (or patient_id) and subtype (or histology, diagnosis)",
        found=found,
        remedy=f"rename the columns, or write into study.toml, with your titles:\n{block}",
    )


def _most_like(name: str, titles: Sequence[str]) -> str:
    """The title that is most like a usual one, where any is."""
    usual = COLUMN_NAMES[name].split()
    likeness = {t: max(SequenceMatcher(None, plain_title(t), word).ratio() for word in usual) for t in titles}
    best = max(likeness, key=likeness.__getitem__, default="")
    return best if best and likeness[best] >= LIKE else ""


def not_read(table: str, header: Sequence[str], where: Mapping[str, int]) -> tuple[Finding, ...]:
    """A note that lists the columns that are not used: one of them may be the age under an unusual title."""
    unread = [name for i, name in enumerate(header) if name and i not in where.values()]
    if not unread:
        return ()
    text = (
        f"columns of {table} that were not used: {names(unread, 30)}; "
        "map them under [columns] in study.toml if needed"
    )
    tumors = [name for name in unread if plain_title(name) in TUMOR_NUMBERS.split()]
    if tumors:
        text += (
            f"; {names(tumors)} may be the number of a tumor: map it as tumor_label if it is the label "
            "in the ROI, otherwise give each tumor a case_id such as P7-2"
        )
    return (note("label-columns", text),)


def _mapped(table: str, header: Sequence[str], name: str, wanted: str) -> int:
    found = places_of(header, wanted)
    if len(found) != 1:
        raise CohortError(
            where=f"{table}, columns.{name} of study.toml",
            expected=f"one column with the header {wanted!r}",
            found=f"{len(found)} among {_listed(header)}",
            remedy="correct the line in study.toml, or the header of the table",
        )
    return found[0]


def _listed(header: Sequence[str]) -> str:
    """The header for a message. A line without any known title may hold a patient's data and is only counted."""
    filled = [name for name in header if name]
    known = any(map(usual_name, filled))
    return first_few(filled, 40) if known else f"{len(filled)} cells without a known title (no header line?)"


def usual_name(column: str) -> str:
    """Our name of a column with a usual title; empty for other titles."""
    return known_titles().get(_word(column), "")


UNITS = ("mm", "cm", "m")
FITS = 1000  # more than any number of known titles
LIKE = 0.6  # least likeness of a title that is proposed


def _word(title: str) -> str:
    """A title as it is compared; without what is in brackets, where only then it is a usual one: Sex (m/f)."""
    word = plain_title(title)
    if word in known_titles() or any(plain_title(part) in UNITS for part in _BRACKETS.findall(title)):
        return word
    bare = plain_title(_BRACKETS.sub("", title))
    return bare if bare in known_titles() else word


_BRACKETS = re.compile("[(\\[\uff08\u3010][^)\\]\uff09\u3011]*[)\\]\uff09\u3011]?")


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """Header, numbered rows of the same width, formulas without a saved result as (row, column), and findings."""

    header: list[str]
    rows: list[tuple[int, list[str]]]
    header_row: int = 1
    unsaved: frozenset[tuple[int, int]] = frozenset()
    findings: tuple[Finding, ...] = ()


def open_table(path: Path, columns: Mapping[str, str]) -> RawTable:
    """Read a label table with its header, below any title lines; of a workbook, the one sheet with a fitting header.

    Where no row fits, the header is the row with most known titles, for its refusal.

    Raises:
        CohortError: It is missing, damaged, too large or of another kind, several sheets fit, or it has two headers.
    """
    if not is_workbook(path):
        return _open_csv(path, columns)
    sheets = read_workbook(path)
    heads = {id(sheet): _header_place(_cells(sheet.rows), columns) for sheet in sheets}
    sheet = only_sheet(path, sheets, [sheet for sheet in sheets if heads[id(sheet)] is not None])
    place = heads[id(sheet)]
    place = _best_place(_cells(sheet.rows)) if place is None else place
    header_row, header = sheet.rows[place]
    width = max((i + 1 for i, name in enumerate(header) if name), default=0)
    rows = [(n, row[:width]) for n, row in sheet.rows[place + 1 :] if any(row[:width])]
    _refuse_second_header(path, header, rows)
    hidden = sorted(n for n, _ in rows if n in sheet.hidden)
    findings = []
    if hidden:
        text = f"{len(hidden)} hidden rows of {path.name} were used too: {names(map(str, hidden))}"
        findings.append(warning("label-hidden", text))
    if len(sheets) > 1:
        text = f"the labels are from sheet {sheet.name!r} of {path.name}, one of {len(sheets)} sheets"
        findings.append(note("label-sheet", text))
    return RawTable(
        header=header[:width],
        rows=rows,
        header_row=header_row,
        unsaved=sheet.unsaved,
        findings=tuple(findings),
    )


def _open_csv(path: Path, columns: Mapping[str, str]) -> RawTable:
    def judge(rows: Sequence[Sequence[str]]) -> tuple[int, int]:
        place = _header_place(rows, columns)
        if place is not None:
            return FITS, place
        place = _best_place(rows)
        return (n_known(rows[place]) if rows else 0), place

    table = read_text_table(path, judge)
    _refuse_second_header(path, table.header, table.rows)
    findings: list[Finding] = []
    if table.encoding != "utf-8":
        text = f"{path.name} is not UTF-8; it was read as {table.encoding}: compare some names, or save it as UTF-8"
        western = table.encoding == WESTERN
        findings.append(note("label-encoding", text) if western else warning("label-encoding", text))
    return RawTable(
        header=table.header, rows=table.rows, header_row=table.header_row, findings=tuple(findings)
    )


def _cells(rows: Sequence[tuple[int, list[str]]]) -> list[list[str]]:
    return [row for _, row in rows[:TITLE_ROWS]]


def _header_place(heads: Sequence[Sequence[str]], columns: Mapping[str, str]) -> int | None:
    """Which row is the header: titles and merged group names may be above it, and a group row may also fit."""
    place = next((place for place, row in enumerate(heads) if fits(row, columns)), None)
    if place is not None and fits((heads[place + 1 :] or [[]])[0], columns):
        return place + 1
    return place


def _best_place(heads: Sequence[Sequence[str]]) -> int:
    """The row with most known titles, if it has two; else the first that is no single title."""
    best = max(range(len(heads)), key=lambda place: n_known(heads[place]), default=0)
    if heads and n_known(heads[best]) > 1:
        return best
    return next((place for place, row in enumerate(heads) if sum(map(bool, row)) > 1), 0)


def _refuse_second_header(path: Path, header: list[str], rows: list[tuple[int, list[str]]]) -> None:
    """Refuse two header rows: the title of a column would be ambiguous, and part of the header would be lost."""
    n, below = rows[0] if rows else (0, [])
    if n_known(below) < 2:
        return
    raise CohortError(
        where=f"{path.name}, row {n}",
        expected="one header row with a title for each column",
        found=f"{n_known(below)} more column titles below the header",
        remedy="join the two rows into one, or delete the upper one",
    )

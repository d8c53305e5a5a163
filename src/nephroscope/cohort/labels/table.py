"""The file of a label table in, told by its content; its header, its numbered rows of text and doubts out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nephroscope.cohort.labels.columns import fits, n_known
from nephroscope.cohort.labels.workbook import Sheet, is_workbook, only_sheet, read_workbook
from nephroscope.cohort.tables import names, read_table
from nephroscope.errors import CohortError
from nephroscope.records import Finding

TITLE_ROWS = 30  # above a header in a workbook


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """Header, numbered rows as wide as it, formulas without a result as (row, column), and doubts."""

    header: list[str]
    rows: list[tuple[int, list[str]]]
    unsaved: frozenset[tuple[int, int]] = frozenset()
    findings: tuple[Finding, ...] = ()


def open_table(path: Path, columns: Mapping[str, str]) -> RawTable:
    """Read a label table; of a workbook the one sheet whose header fits, below whatever stands above that header.

    Raises:
        CohortError: It is missing, damaged, too large or of another kind, several sheets fit, or the header takes
            two rows.
    """
    if not is_workbook(path):
        header, rows = read_table(path)
        _refuse_second_header(path, header, rows)
        return RawTable(header=header, rows=rows)
    sheets = read_workbook(path)
    heads = {id(sheet): _header_place(sheet, columns) for sheet in sheets}
    sheet = only_sheet(path, sheets, [sheet for sheet in sheets if heads[id(sheet)] is not None])
    place = heads[id(sheet)] or 0
    header = sheet.rows[place][1]
    width = max((i + 1 for i, name in enumerate(header) if name), default=0)
    rows = [(n, row[:width]) for n, row in sheet.rows[place + 1 :] if any(row[:width])]
    _refuse_second_header(path, header, rows)
    hidden = sorted(n for n, _ in rows if n in sheet.hidden)
    findings = []
    if hidden:
        text = f"{len(hidden)} rows of {path.name} are hidden there, and were read too: {names(map(str, hidden))}"
        findings.append(Finding(code="label-hidden", severity="warning", message=text, case_id=""))
    if len(sheets) > 1:
        text = f"labels are from sheet {sheet.name!r} of {path.name}, one of {len(sheets)}"
        findings.append(Finding(code="label-sheet", severity="note", message=text, case_id=""))
    return RawTable(header=header[:width], rows=rows, unsaved=sheet.unsaved, findings=tuple(findings))


def _header_place(sheet: Sheet, columns: Mapping[str, str]) -> int | None:
    """Which of the rows is the header: titles and merged groups may stand above it, and groups may fit themselves."""
    heads = [row for _, row in sheet.rows[:TITLE_ROWS]]
    place = next((place for place, row in enumerate(heads) if fits(row, columns)), None)
    if place is not None and fits((heads[place + 1 :] or [[]])[0], columns):
        return place + 1
    return place


def _refuse_second_header(path: Path, header: list[str], rows: list[tuple[int, list[str]]]) -> None:
    """Two header rows: which name is a column's cannot be told, and what one row alone says would be lost unseen."""
    n, below = rows[0] if rows else (0, [])
    if n_known(below) < 2:
        return
    raise CohortError(
        where=f"{path.name}, row {n}",
        expected="one header row with a name for each column",
        found=f"{n_known(below)} names of columns below a header already",
        remedy="join the two rows to one, or delete the upper one",
    )

"""The file of a label table in, told by its content; its header, its numbered rows of text and doubts out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nephroscope.cohort.labels.columns import fits
from nephroscope.cohort.labels.workbook import Sheet, is_workbook, only_sheet, read_workbook
from nephroscope.cohort.tables import names, read_table
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
        CohortError: It is missing, damaged, too large or of another kind, or several sheets fit.
    """
    if not is_workbook(path):
        header, rows = read_table(path)
        return RawTable(header=header, rows=rows)
    sheets = read_workbook(path)
    heads = {id(sheet): _header_place(sheet, columns) for sheet in sheets}
    sheet = only_sheet(path, sheets, [sheet for sheet in sheets if heads[id(sheet)] is not None])
    place = heads[id(sheet)] or 0
    header = sheet.rows[place][1]
    width = max((i + 1 for i, name in enumerate(header) if name), default=0)
    rows = [(n, row[:width]) for n, row in sheet.rows[place + 1 :] if any(row[:width])]
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
    """Which of the rows is the header: titles and merged groups may stand above it."""
    heads = enumerate(row for _, row in sheet.rows[:TITLE_ROWS])
    return next((place for place, row in heads if fits(row, columns)), None)

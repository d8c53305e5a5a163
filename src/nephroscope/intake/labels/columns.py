"""The columns of a label table: usual titles, how a cell is parsed, and what the table itself makes doubtful."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nephroscope.base.columns import CheckedTable, Column, Sought, plain_title
from nephroscope.base.encoding import WESTERN
from nephroscope.base.sheet import RawTable, open_table
from nephroscope.base.tables import names
from nephroscope.intake.labels.titles import COLUMN_NAMES, TUMOR_NUMBERS
from nephroscope.intake.labels.values import (
    parse_age,
    parse_exclude,
    parse_filled,
    parse_mm,
    parse_name,
    parse_phase,
    parse_reason,
    parse_sex,
    parse_side,
    parse_size_cm,
    parse_size_mm,
    parse_spacing,
    parse_tumor_label,
    parse_whole,
    parse_yes,
)
from nephroscope.intake.phase.series import PHASES
from nephroscope.records import Finding, note, warning
from nephroscope.records.cases import LARGEST_CM, OLDEST_YEARS, parse_cohort_word

NAME = "a name (long numbers as text, because spreadsheets round them)"
DAY = "a date such as 2021-12-31 (12/03/2021 only where other dates of the column show the order)"
_CELLS: dict[str, tuple[Callable[[str], Any], str]] = {
    "file": (str, "a file"),
    "case_id": (parse_name, NAME),
    "patient_id": (parse_name, NAME),
    "subtype": (parse_filled, "a subtype"),
    "subtype_reader2": (str, "a subtype"),
    "sex": (parse_sex, "male, female, other or nothing"),
    "age_years": (parse_age, f"years up to {OLDEST_YEARS}"),
    "birth_date": (str, DAY),
    "scan_date": (str, DAY),
    "surgery_date": (str, DAY),
    "size_cm": (parse_size_cm, f"a size in cm up to {LARGEST_CM}"),
    "size_mm": (parse_size_mm, f"a size in mm up to {10 * LARGEST_CM}"),
    "side": (parse_side, "left or right"),
    "phase": (parse_phase, f"{', '.join(PHASES)}, or words that name one"),
    "site_id": (str, "a site"),
    "cohort": (parse_cohort_word, "development, internal-test or external-test:NAME"),
    "tumor_label": (parse_tumor_label, "a whole number from 1 to 65535"),
    "tumor_name": (str, "a segment's name"),
    "roi": (str, "a path"),
    "organs": (str, "a path"),
    "exclude": (parse_exclude, "yes, no or a reason"),
    "exclusion_reason": (parse_reason, "a reason"),
    "slice_index": (parse_whole, "a whole number"),
    "spacing": (parse_spacing, "one or two numbers in mm"),
    "row_mm": (parse_mm, "millimetres"),
    "col_mm": (parse_mm, "millimetres"),
    "synthetic": (parse_yes, "yes or no"),
}
COLUMN: dict[str, Column[Any]] = {
    name: Column(name=name, titles=titles, parse=_CELLS[name][0], expected=_CELLS[name][1])
    for name, titles in COLUMN_NAMES.items()
}
LABELS = Sought(
    columns=tuple(COLUMN.values()),
    one_of=(("patient_id", "case_id"), ("subtype",)),
    expected="columns named case_id (or patient_id) and subtype (or histology, diagnosis)",
    setting="study.toml",
)
usual_name = LABELS.name_of


def open_labels(path: Path) -> RawTable:
    """A label table with its header, its columns not yet found; see `open_table`."""
    return open_table(path, LABELS.fits, LABELS.name_of)


def opening_findings(raw: RawTable) -> list[Finding]:
    """What a person should know of how any table was opened: hidden rows, one of several sheets, an encoding."""
    found = []
    if raw.hidden:
        n = "1 hidden row" if len(raw.hidden) == 1 else f"{len(raw.hidden)} hidden rows"
        was = "was" if len(raw.hidden) == 1 else "were"
        found.append(
            warning("label-hidden", f"{n} of {raw.file} {was} used too: {names(map(str, raw.hidden))}")
        )
    if raw.sheet:
        text = f"the rows are from sheet {raw.sheet!r} of {raw.file}, one of {raw.n_sheets} sheets"
        found.append(note("label-sheet", text))
    if raw.encoding != "utf-8":
        text = (
            f"{raw.file} is not UTF-8; it was read as {raw.encoding}: compare some names, or save it as UTF-8"
        )
        western = raw.encoding == WESTERN
        found.append(note("label-encoding", text) if western else warning("label-encoding", text))
    return found


def table_findings(table: CheckedTable) -> tuple[Finding, ...]:
    """How the file was read, and the columns that are not used: one may be the age under an unusual title."""
    found = opening_findings(table.raw)
    unread = table.unread()
    if not unread:
        return tuple(found)
    text = (
        f"columns of {table.file} that were not used: {names(unread, 30)}; "
        "map them under [columns] in study.toml if needed"
    )
    tumors = [name for name in unread if plain_title(name) in TUMOR_NUMBERS.split()]
    if tumors:
        text += (
            f"; {names(tumors)} may be the number of a tumor: map it as tumor_label if it is the label "
            "in the ROI, otherwise give each tumor a case_id such as P7-2"
        )
    return (*found, note("label-columns", text))

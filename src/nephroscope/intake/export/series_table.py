"""seen_series.csv: every CT series that the imports saw, its phase, and which case got it."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from pathlib import Path

from nephroscope.base.errors import CohortError
from nephroscope.base.files import relative_to
from nephroscope.base.tables import read_table, save_table
from nephroscope.intake.export.describe import ExportSeries
from nephroscope.records import Case, ChosenCase

SEEN_FILE = "seen_series.csv"
COLUMNS = [
    *("patient_id", "case_ids", "series_uid", "acquisition", "kind", "phase", "evidence", "n_slices"),
    *("spacing_mm", "manufacturer", "accepted", "chosen", "reason", "folder"),
]


def add_to_series_table(
    study: Path, rows: Iterable[ExportSeries], cases: Sequence[Case], naming: Set[str] = frozenset()
) -> None:
    """Add the series of modality CT of one import to the table.

    Series of earlier imports stay; one that is seen again is told anew, and keeps its cases if it got none now.
    Folders that are ``naming`` their patient are left empty.
    """
    path = study / SEEN_FILE
    header, listed_before = _held(path, "case_ids", "series_uid")
    own = [name for name in header if name not in COLUMNS]  # a person's columns
    before = [[row.get(name, "") for name in (*COLUMNS, *own)] for row in listed_before]
    cases_of: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        cases_of[case.patient_id].append(case.case_id)
    new = [_cells(study, row, cases_of[row.patient_id], naming) for row in rows if row.modality == "CT"]
    had = {(row[2], row[3]): row for row in before}
    for cells in new:
        known = had.get((cells[2], cells[3]), [""] * (len(COLUMNS) + len(own)))
        cells[1] = cells[1] or known[1]
        cells += known[len(COLUMNS) :]
    anew = {(row[2], row[3]) for row in new}
    listed = [*(row for row in before if (row[2], row[3]) not in anew), *new]
    if not path.exists() or sorted(listed) != sorted(before):
        save_table(path, [*COLUMNS, *own], listed)


def _cells(study: Path, row: ExportSeries, own: Sequence[str], naming: Set[str]) -> list[str]:
    return [
        row.patient_id,
        " ".join(own) if row.chosen else "",
        row.series_uid,
        str(row.acquisition or ""),
        row.kind,
        row.phase,
        row.evidence,
        str(row.n_slices),
        "" if row.spacing_mm is None else f"{row.spacing_mm:g}",
        row.manufacturer,
        "yes" if row.accepted else "no",
        "yes" if row.chosen else "no",
        row.reason,
        "" if os.path.dirname(row.files[0]) in naming else relative_to(study, Path(row.files[0]).parent),  # noqa: PTH120
    ]


def seen_rows(path: Path, cases: Iterable[ChosenCase] = ()) -> list[dict[str, str]]:
    """Rows of the table, by column; ``case_ids`` are those whose chosen series it is, or as the imports wrote them.

    Args:
        path: Of the table; without it there are no rows.
        cases: Cases whose chosen series may be another than the imports took.

    Raises:
        CohortError: It is no table, or has no column ``case_ids``.
    """
    rows = _held(path, "case_ids")[1]
    for case in cases:
        name = case.case_id
        own = [row for row in rows if case.ct.series_uid and row.get("series_uid") == case.ct.series_uid]
        named = [row for row in rows if name in row.get("case_ids", "").split()]
        both = [row for row in own if row in named]  # of several acquisitions, the one that was taken
        for row in named if own else []:
            row["case_ids"] = " ".join(other for other in row["case_ids"].split() if other != name)
        for row in both or own:
            row["case_ids"] = f"{row['case_ids']} {name}".strip()
    return rows


def _held(path: Path, *needed: str) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows, by column; none where there is no table."""
    if not path.exists():
        return [], []
    header, rows = read_table(path)
    missing = [name for name in needed if name not in header]
    if missing:
        raise CohortError(
            where=path.name,
            expected=f"the column {missing[0]}",
            found="a table without it",
            remedy="restore the header line, or remove the file: then nothing is said of the series",
        )
    return header, [dict(zip(header, cells, strict=True)) for _, cells in rows]

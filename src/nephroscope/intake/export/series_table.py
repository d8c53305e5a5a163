"""seen_series.csv: every CT series that the imports saw, its phase, and which case got it."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from pathlib import Path

from nephroscope.base.tables import read_table, relative_to, save_table
from nephroscope.intake.export.describe import ExportSeries
from nephroscope.records import Case

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
    before = [row for _, row in read_table(path)[1]] if path.exists() else []
    cases_of: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        cases_of[case.patient_id].append(case.case_id)
    new = [_cells(study, row, cases_of[row.patient_id], naming) for row in rows if row.modality == "CT"]
    had = {(row[2], row[3]): row[1] for row in before}
    for cells in new:
        cells[1] = cells[1] or had.get((cells[2], cells[3]), "")
    anew = {(row[2], row[3]) for row in new}
    save_table(path, COLUMNS, [*(row for row in before if (row[2], row[3]) not in anew), *new])


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

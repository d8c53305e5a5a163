"""series.csv: every CT series that the imports saw, its phase, and which case got it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from nephroscope.cohort.export.describe import ExportSeries
from nephroscope.cohort.tables import read_table, relative_to, save_table
from nephroscope.records import Case

SERIES_FILE = "series.csv"
COLUMNS = [
    *("patient_id", "case_ids", "series_uid", "acquisition", "kind", "phase", "evidence", "n_slices"),
    *("spacing_mm", "manufacturer", "accepted", "chosen", "reason", "folder"),
]


def add_to_series_table(study: Path, rows: Iterable[ExportSeries], cases: Sequence[Case]) -> None:
    """Add the series of modality CT of one import to the table; earlier imports stay."""
    path = study / SERIES_FILE
    before = [row for _, row in read_table(path)[1]] if path.exists() else []
    known = {(row[2], row[3]) for row in before}
    new = [_cells(study, row, cases) for row in rows if row.modality == "CT"]
    save_table(path, COLUMNS, [*before, *(row for row in new if (row[2], row[3]) not in known)])


def _cells(study: Path, row: ExportSeries, cases: Sequence[Case]) -> list[str]:
    own = [case.case_id for case in cases if row.chosen and case.patient_id == row.patient_id]
    return [
        row.patient_id,
        " ".join(own),
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
        relative_to(study, Path(row.files[0]).parent),
    ]

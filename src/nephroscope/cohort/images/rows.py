"""images.csv: which image files are the slices of a case, saved with the study and found again."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nephroscope.cohort.tables import relative_to, save_table
from nephroscope.errors import CohortError
from nephroscope.records import Case

IMAGES_FILE = "images.csv"
HEADER = "case_id,slice_index,file,mask,row_mm,col_mm"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """One slice image of a case; ``mask`` is None where there is none, spacing None where it is not known."""

    case_id: str
    file: Path
    mask: Path | None
    slice_index: int
    row_mm: float | None
    col_mm: float | None


def save_image_rows(rows: Iterable[ImageRow], folder: Path) -> Path:
    """Write images.csv into the study ``folder``, the rows of a case together, and return its path.

    Raises:
        CohortError: The study has slice images already.
    """
    path = folder / IMAGES_FILE
    if path.exists():
        raise CohortError(
            where=IMAGES_FILE,
            expected="a study without slice images yet",
            found="those of an earlier import",
            remedy="put all images below one folder and import that into a new study",
        )
    ordered = sorted(rows, key=lambda row: (row.case_id, row.slice_index))
    save_table(path, HEADER.split(","), (_cells(row, folder) for row in ordered))
    return path


def load_image_rows(case: Case) -> list[ImageRow]:
    """The rows of one case in slice order, found by seeking: a million slices need no more memory than a thousand.

    Raises:
        CohortError: images.csv is gone, does not hold the case, or was changed beyond understanding.
    """
    path = case.image
    try:
        start = _starts(path, path.stat().st_mtime_ns)[case.case_id]
        with path.open(encoding="utf-8", newline="") as file:
            file.seek(start)
            rows = []
            for cells in csv.reader(file):
                if cells[0] != case.case_id:
                    break
                rows.append(_row(cells, path.parent))
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise CohortError(
            where=f"case {case.case_id}",
            expected=f"its slices in {path.name} as the import wrote them",
            found=f"{type(error).__name__} while reading it",
            remedy="run `nephroscope import images` again",
        ) from error
    return rows


@lru_cache(maxsize=2)
def _starts(path: Path, _mtime_ns: int) -> dict[str, int]:
    """Where in images.csv the rows of each case begin, in bytes."""
    starts: dict[str, int] = {}
    before = ""
    with path.open("rb") as file:
        at = len(file.readline())
        for line in file:
            name = next(csv.reader([line.decode("utf-8")]))[0]
            if name != before and name in starts:
                raise ValueError(f"rows of {name} apart")
            starts.setdefault(name, at)
            before = name
            at += len(line)
    return starts


def _cells(row: ImageRow, folder: Path) -> list[str]:
    spacing = ["" if mm is None else repr(mm) for mm in (row.row_mm, row.col_mm)]
    files = [relative_to(folder, row.file), relative_to(folder, row.mask)]
    return [row.case_id, str(row.slice_index), *files, *spacing]


def _row(cells: list[str], folder: Path) -> ImageRow:
    name, index, file, mask, row_mm, col_mm = cells
    return ImageRow(
        case_id=name,
        file=folder / file,
        mask=folder / mask if mask else None,
        slice_index=int(index),
        row_mm=float(row_mm) if row_mm else None,
        col_mm=float(col_mm) if col_mm else None,
    )

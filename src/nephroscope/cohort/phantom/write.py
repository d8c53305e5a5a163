"""The cohort on disk: a number of cases and a seed in, a folder of DICOM and a clinical table out."""

import csv
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from nephroscope.cohort.phantom.dicom import write_segmentation, write_series
from nephroscope.cohort.phantom.make import make_phantom
from nephroscope.cohort.phantom.patient import DESIGNS, Clinical, deal_cohorts, draw_roster
from nephroscope.errors import CohortError
from nephroscope.progress import track

COLUMNS = (
    "case_id", "patient_id", "site_id", "subtype", "sex", "age_years", "size_cm", "phase", "cohort", "synthetic"
)  # fmt: skip
_WORTH_A_WORKER = 12  # cases; below, starting a process takes longer than it saves


def write_phantoms(
    folder: Path,
    n_cases: int | None,
    seed: int,
    on_case: Callable[[str], None] | None = None,
    like: str = "kits23",
) -> Path:
    """Write a synthetic cohort and return its ``clinical.csv``; the folder appears when all of it is written.

    Below ``folder``: ``clinical.csv``, and per case ``SYNTHETIC-0001/ct/*.dcm``, ``roi_reader1.dcm`` and
    ``roi_reader2.dcm``. The same seed and number of cases give the same bytes. From 24 cases on two processes
    share the work, so a script must call this below ``if __name__ == "__main__":``.

    Args:
        folder: A new or empty folder.
        n_cases: Number of patients, one tumor each; None for as many as the cohort that is imitated.
        seed: Not negative.
        on_case: Called with each case_id once it is written, in order.
        like: kits23 (45 PRCC to 38 ChRCC) or zuo2021 (84 cases with thin slices and the paper's test cases).

    Raises:
        CohortError: The folder holds something or cannot be written, or a number is out of range.
    """
    n_cases = DESIGNS[like].n_cases if n_cases is None else n_cases
    _check(folder, n_cases, seed)
    cohorts = deal_cohorts(draw_roster(seed, n_cases, DESIGNS[like]), DESIGNS[like])
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
            draft = Path(scratch) / "cohort"
            draft.mkdir()
            rows = []
            written = _write_cases(draft, n_cases, seed, like)
            for clinical in track(written, "writing phantoms", "case", n_cases):
                rows.append(clinical)
                if on_case is not None:
                    on_case(clinical.case_id)
            _write_table(draft / "clinical.csv", rows, cohorts)
            if folder.exists():
                folder.rmdir()
            draft.rename(folder)
    except OSError as error:
        raise CohortError(
            where=str(folder),
            expected="a folder that can be written",
            found=error.strerror or type(error).__name__,
            remedy="choose another folder, or make room (about 3.3 MB per case)",
        ) from error
    return folder / "clinical.csv"


def _check(folder: Path, n_cases: int, seed: int) -> None:
    if n_cases < 1 or seed < 0:
        raise CohortError(
            where="phantoms",
            expected="at least one case and a seed not below 0",
            found=f"{n_cases} cases, seed {seed}",
            remedy="correct the number",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CohortError(
            where=str(folder),
            expected="a new or empty folder",
            found="files in it" if folder.is_dir() else "a file",
            remedy="choose another folder, or remove this one",
        )


def _write_cases(folder: Path, n_cases: int, seed: int, like: str) -> Iterator[Clinical]:
    """Write every case below ``folder``, in order of their names, on at most two processes."""
    write = partial(_write_case, folder, n_cases, seed, like)
    n_workers = min(2, os.cpu_count() or 1, n_cases // _WORTH_A_WORKER)
    if n_workers < 2:
        yield from map(write, range(n_cases))
        return
    with ProcessPoolExecutor(n_workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(write, range(n_cases))


def _write_case(folder: Path, n_cases: int, seed: int, like: str, index: int) -> Clinical:
    phantom = make_phantom(seed, index, n_cases, DESIGNS[like])
    case = folder / phantom.clinical.case_id
    images = write_series(case / "ct", phantom, seed)
    for reader in (1, 2):
        write_segmentation(case / f"roi_reader{reader}.dcm", images, phantom, reader, seed)
    return phantom.clinical


def _write_table(path: Path, rows: list[Clinical], cohorts: list[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for row, cohort in zip(rows, cohorts, strict=True):
            who = (row.case_id, row.case_id, row.site_id, row.subtype, row.sex)
            table.writerow([*who, row.age_years, row.size_cm, row.phase, cohort, "yes"])

"""The slices of a study on disk: slices.npy (int16 HU, memory-mapped), slices.csv, spec.json.

Cutting appends, so memory stays flat; a journal of finished cases makes it restartable. spec.json is written
last: its presence means the store is complete.
"""

import csv
import logging
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.errors import CohortError, NephroscopeError, StudyError
from nephroscope.files import load_json, save_json
from nephroscope.progress import track
from nephroscope.records import Case, CTVolume, Finding, RoiMask, SliceSpec
from nephroscope.records.digest import digest_of
from nephroscope.slices.drawn import Drawn, drawn_now
from nephroscope.slices.journal import Journal
from nephroscope.slices.preprocess import cut_slices

FORMAT = 1
logger = logging.getLogger(__name__)
Reader = Callable[[Case], tuple[CTVolume, RoiMask]]


@dataclass(frozen=True, kw_only=True)
class SliceStore:
    """An open store: ``hu`` is a read-only memory map (N, size_px, size_px); row i is slice i everywhere.

    ``source`` is the digest of what the slices were to be cut from (paths and settings), ``digest`` that and what
    came out, ``drawn`` the ROI files as they were. The index, slices.csv, is read when it is first asked for.
    """

    folder: Path
    hu: npt.NDArray[np.int16]
    n_cases: int
    spec: SliceSpec
    source: str
    digest: str
    findings: tuple[Finding, ...]
    drawn: dict[str, Drawn]

    @cached_property
    def _index(self) -> "tuple[list[str], array[int], array[float], array[float]]":
        case_ids: list[str] = []
        slice_index, area_mm2, mm_per_px = array("q"), array("d"), array("d")
        with (self.folder / "slices.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                case_ids.append(sys.intern(row["case_id"]))
                slice_index.append(int(row["slice_index"]))
                area_mm2.append(float(row["area_mm2"]))
                mm_per_px.append(float(row["mm_per_px"]))
        if len(case_ids) != len(self.hu):
            raise _do_not_belong(f"{len(self.hu)} rows in slices.csv, one per slice", str(len(case_ids)))
        return case_ids, slice_index, area_mm2, mm_per_px

    @cached_property
    def case_ids(self) -> npt.NDArray[np.str_]:
        """Case of each slice."""
        return np.array(self._index[0])

    @cached_property
    def slice_index(self) -> npt.NDArray[np.int64]:
        """Position of each slice in its volume."""
        return np.array(self._index[1])

    @cached_property
    def area_mm2(self) -> npt.NDArray[np.float64]:
        """Tumor cross-section of each slice."""
        return np.array(self._index[2])

    @cached_property
    def mm_per_px(self) -> npt.NDArray[np.float64]:
        """Physical scale of each slice."""
        return np.array(self._index[3])

    @cached_property
    def rows_by_case(self) -> dict[str, npt.NDArray[np.int64]]:
        """Row numbers of each case, in volume order."""
        order = np.argsort(self.case_ids, kind="stable")
        names, starts = np.unique(self.case_ids[order], return_index=True)
        parts = np.split(order, starts[1:])
        return {str(name): np.sort(rows) for name, rows in zip(names, parts, strict=True)}

    def slices_of(self, case_id: str) -> Iterator[tuple[int, npt.NDArray[np.int16]]]:
        """(slice_index, HU (size_px, size_px)) of each slice of a case."""
        for row in self.rows_by_case.get(case_id, ()):
            yield int(self.slice_index[row]), np.asarray(self.hu[row])

    @property
    def refused(self) -> tuple[Finding, ...]:
        """The cases that could not be cut, and why."""
        return tuple(finding for finding in self.findings if finding.severity == "refusal")


def open_store(folder: Path) -> SliceStore:
    """Open the slices of a study.

    Raises:
        StudyError: They were never cut completely, or the files do not belong together.
    """
    if not (folder / "spec.json").is_file():
        raise StudyError(
            where="slices",
            expected="slices cut from the cohort",
            found="none, or an interrupted cut",
            remedy="run `nephroscope slices`",
        )
    about = load_json(folder / "spec.json", FORMAT)
    n_slices, size_px = about["n_slices"], about["spec"]["size_px"]
    try:
        hu = np.load(folder / "slices.npy", mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _do_not_belong(f"{n_slices} slices in slices.npy", "a damaged file") from error
    if hu.shape != (n_slices, size_px, size_px):
        raise _do_not_belong(f"{n_slices} slices of {size_px} x {size_px} in slices.npy", str(hu.shape))
    return SliceStore(
        folder=folder,
        hu=hu,
        n_cases=about["n_cases"],
        spec=SliceSpec(**about["spec"]),
        source=about["digest"],
        digest=digest_of([about["digest"], about["content"]]) if "content" in about else about["digest"],
        findings=tuple(Finding(**finding) for finding in about["findings"]),
        drawn=about.get("drawn", {}),
    )


def _do_not_belong(expected: str, found: str) -> StudyError:
    return StudyError(where="slices", expected=expected, found=found, remedy="run `nephroscope slices` again")


def cut_cohort(cases: Iterable[Case], read: Reader, spec: SliceSpec, folder: Path, digest: str) -> SliceStore:
    """Cut all cases into the store; one bad case is refused by name and the others go on.

    An interrupted cut with the same ``digest`` (of cases and spec) goes on where it stopped.

    Raises:
        CohortError: No case could be cut.
    """
    cases = tuple(cases)
    journal = Journal(folder, spec.size_px, digest)
    with journal:
        todo = [case for case in cases if case.case_id not in journal.done]
        for case in track(todo, "cutting slices", "case", len(todo)):
            journal.add(case.case_id, *_cut_case(case, read, spec), drawn_now(case))
        if journal.n_slices == 0:
            reasons = [finding.message for finding in journal.findings if finding.severity == "refusal"]
            raise CohortError(
                where="slices",
                expected="at least one case that can be cut",
                found=f"{len(cases)} cases, all refused; the first: {reasons[0] if reasons else 'no case'}",
                remedy="run `nephroscope check` and correct the cohort",
            )
        content = journal.finish()
    (folder / "spec.json").unlink(missing_ok=True)
    journal.partial("slices.npy").replace(folder / "slices.npy")
    journal.partial("slices.csv").replace(folder / "slices.csv")
    about = {
        "format": FORMAT,
        "digest": digest,
        "content": content,
        "spec": asdict(spec),
        "n_slices": journal.n_slices,
        "n_cases": journal.n_cases,
        "findings": [asdict(finding) for finding in journal.findings],
        "drawn": journal.drawn,
    }
    save_json(folder / "spec.json", about)
    journal.partial("journal.jsonl").unlink()
    return open_store(folder)


Cut = tuple[list[tuple[object, ...]], npt.NDArray[np.int16], list[Finding]]


def _cut_case(case: Case, read: Reader, spec: SliceSpec) -> Cut:
    """Rows for slices.csv, HU (n, size_px, size_px) and findings of one case; a refusal has no rows."""
    try:
        volume, roi = read(case)
        cut = cut_slices(volume, roi, spec)
    except NephroscopeError as error:
        return _refused(case, error.code, str(error))
    except OSError as error:
        return _refused(case, "unreadable", f"case {case.case_id}: cannot be read: {error.strerror or error}")
    rows: list[tuple[object, ...]] = [
        (part.case_id, part.slice_index, round(part.area_mm2, 3), round(part.mm_per_px, 6)) for part in cut
    ]
    return rows, np.stack([part.hu for part in cut]), [*volume.findings, *roi.findings]


def _refused(case: Case, code: str, message: str) -> Cut:
    if code != "excluded":  # by adjudication: wanted
        logger.warning("refused: %s", message)
    finding = Finding(code=code, severity="refusal", message=message, case_id=case.case_id)
    return [], np.empty((0, 0, 0), np.int16), [finding]

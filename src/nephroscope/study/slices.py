"""The slices of a study on disk: slices.npy (int16 HU, memory-mapped), slices.csv, spec.json.

Cutting appends, so memory stays flat; a journal of finished cases makes it restartable. The files are cut in a draft
folder and become the slices together; spec.json has their digests, which are checked when the slices are opened.
"""

import csv
import hashlib
import logging
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.arrays import ArrayError, mapped_array
from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import CohortError, NephroscopeError, StudyError
from nephroscope.base.files import Seen, digest_of, finish_replacing, replace_together
from nephroscope.base.html import Record, ShownAsTable
from nephroscope.base.progress import track
from nephroscope.base.tables import unguarded
from nephroscope.base.text import counted_noun
from nephroscope.clinic.cut import cut_slices
from nephroscope.records import ChosenCase, CTVolume, Finding, RoiMask, SliceSpec, UsedInput
from nephroscope.records.cohort import WANTED
from nephroscope.study.drawn import Drawn, drawn_now, redrawn
from nephroscope.study.journal import (
    Cut,
    Journal,
    csv_columns,
    data_files,
    digests_of_blocks,
)
from nephroscope.study.phases import cut_phases

FORMAT = 1
GROUP = "slices"  # the files that are replaced together
logger = logging.getLogger(__name__)
Reader = Callable[[ChosenCase], tuple[CTVolume, RoiMask]]


@dataclass(frozen=True, kw_only=True)
class SliceStore(ShownAsTable):
    """An open store. Row i is slice i everywhere; slices.csv is read when it is first asked for.

    Attributes:
        hu: Slices of the chosen series, a read-only memory map (N, size_px, size_px).
        source: Digest of what the slices were to be cut from (paths and settings).
        digest: Digest of that and of what came out.
        drawn: ROI files as they were, by case_id.
        planes: Digest of the whole plane of the series at each slice, by case_id; slices of older versions lack it.
        used: Series and ROI of each case.
        made_from: Digest of each input by name.
        phases: The same places in further phases, by phase, like ``hu``.
    """

    folder: Path
    hu: npt.NDArray[np.int16]
    n_cases: int
    spec: SliceSpec
    source: str
    digest: str
    findings: tuple[Finding, ...]
    drawn: dict[str, Drawn]
    used: dict[str, UsedInput] = field(default_factory=dict)
    made_from: Mapping[str, str] = field(default_factory=dict)
    phases: Mapping[str, npt.NDArray[np.int16]] = field(default_factory=dict)
    planes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def presence(self) -> dict[str, npt.NDArray[np.bool_]]:
        """By further phase, bool (N,): where it has the place of the slice. Where it has not, its row is air."""
        if not self.phases:
            return {}
        rows = self._rows()
        return {p: np.array([row.get(f"present_{p}") == "1" for row in rows], np.bool_) for p in self.phases}

    def _rows(self) -> list[dict[str, str]]:
        with (self.folder / "slices.csv").open(newline="", encoding="utf-8") as file:
            rows = [row | {"case_id": unguarded(row["case_id"])} for row in csv.DictReader(file)]
        if len(rows) != len(self.hu):
            raise _do_not_belong(f"{len(self.hu)} rows in slices.csv, one per slice", str(len(rows)))
        return rows

    def phase_of(self, case_id: str) -> str:
        """Phase of the series that was chosen of a case; ``unknown`` in slices that do not say it."""
        return self.used[case_id].phase if case_id in self.used else "unknown"

    def by_phase(
        self, case_id: str, rows: Sequence[int]
    ) -> tuple[dict[str, npt.NDArray[np.int16]], dict[str, npt.NDArray[np.bool_]]]:
        """HU (n, size_px, size_px) and presence (n,) of some rows of a case, by phase, the chosen one among them."""
        slices = {phase: np.asarray(hu[rows]) for phase, hu in self.phases.items()}
        presence = {phase: present[rows] for phase, present in self.presence.items()}
        chosen = self.phase_of(case_id)
        return (
            {**slices, chosen: np.asarray(self.hu[rows])},
            {**presence, chosen: np.ones(len(rows), np.bool_)},
        )

    def shown(self, rows: npt.NDArray[np.int64], phases: Sequence[str]) -> npt.NDArray[np.int16]:
        """HU of some rows, (n, size, size); with phases (n, phases, size, size), where any is there."""
        if not phases:
            return np.asarray(self.hu[rows])
        there = np.any([self.presence[phase][rows] for phase in phases], axis=0)
        return np.stack([self.phases[phase][rows[there]] for phase in phases], axis=1)

    def records(self) -> list[Record]:
        """A row per case: number of slices, and the series, phase and ROI they were cut from."""
        unknown = UsedInput(series="", phase="unknown", roi="")
        return [
            {"case_id": name, "slices": len(rows), **asdict(self.used.get(name, unknown))}
            for name, rows in self.rows_by_case.items()
        ]

    def summary(self) -> str:
        """Number of slices and cases, size in pixels, ROI mode; phases and authors of ROIs with their numbers."""
        counts = f"{counted_noun(len(self.hu), 'slice')} of {counted_noun(self.n_cases, 'case')}"
        text = f"{counts}, {self.spec.size_px} x {self.spec.size_px}, ROI mode {self.spec.roi_mode}"
        return f"{text}; phase: {_listed(self.n_by_phase)}; ROI by: {_listed(self.n_by_roi)}"

    @property
    def n_by_phase(self) -> dict[str, int]:
        """Cases by the phase that was used."""
        return _counts(used.phase for used in self.used.values())

    @property
    def n_by_roi(self) -> dict[str, int]:
        """Cases by whose ROI was used."""
        return _counts(used.roi for used in self.used.values())

    @cached_property
    def _index(self) -> "tuple[list[str], array[int], array[float], array[float]]":
        case_ids: list[str] = []
        slice_index, area_mm2, mm_per_px = array("q"), array("d"), array("d")
        try:
            for row in self._rows():
                case_ids.append(sys.intern(row["case_id"]))
                slice_index.append(int(row["slice_index"]))
                area_mm2.append(float(row["area_mm2"]))
                mm_per_px.append(float(row["mm_per_px"]))
        except (KeyError, TypeError, ValueError, OverflowError, csv.Error) as error:
            expected = f"{', '.join(csv_columns(self.spec)[:4])} in each row of slices.csv"
            raise _do_not_belong(expected, f"other cells in row {len(case_ids) + 2}") from error
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

    def indices_by_case(self) -> dict[str, list[int]]:
        """Slice indices of every case that was cut."""
        return {name: self.slice_index[rows].tolist() for name, rows in self.rows_by_case.items()}

    def slices_of(self, case_id: str) -> Iterator[tuple[int, npt.NDArray[np.int16]]]:
        """(slice_index, HU (size_px, size_px)) of each slice of a case."""
        for row in self.rows_by_case.get(case_id, ()):
            yield int(self.slice_index[row]), np.asarray(self.hu[row])

    @cached_property
    def findings_of(self) -> Mapping[str, tuple[Finding, ...]]:
        """Findings by case; cases without any are not there."""
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.case_id, []).append(finding)
        return {case_id: tuple(of_case) for case_id, of_case in found.items()}

    @property
    def refused(self) -> tuple[Finding, ...]:
        """The cases that could not be cut, and why."""
        return tuple(finding for finding in self.findings if finding.severity == "refusal")


def _counts(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(word or "none" for word in words).most_common())


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{word} ({n})" for word, n in counts.items()) or "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class _SpecFile:
    """spec.json; versions before this one lack the fields that have a default."""

    n_slices: int
    n_cases: int
    spec: SliceSpec
    digest: str
    findings: tuple[Finding, ...]
    content: str | None = None
    blocks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    drawn: dict[str, Drawn] = field(default_factory=dict)
    used: dict[str, UsedInput] = field(default_factory=dict)
    made_from: dict[str, str] = field(default_factory=dict)
    planes: dict[str, tuple[str, ...]] = field(default_factory=dict)


def open_store(folder: Path) -> SliceStore:
    """Open the slices of a study.

    Raises:
        StudyError: They were never cut completely, or the files do not belong together.
    """
    finish_replacing(folder, GROUP)
    if not (folder / "spec.json").is_file():
        raise StudyError(
            where="slices",
            expected="slices cut from the cohort",
            found="none, or an interrupted cut",
            remedy="run `nephroscope slices`",
        )
    about = read_document(folder / "spec.json", _SpecFile, FORMAT, "run `nephroscope slices` again")
    spec = about.spec
    hu, *others = (_open_data(folder / name, about.n_slices, spec.size_px) for name in data_files(spec))
    _check_content(folder, about)
    return SliceStore(
        folder=folder,
        hu=hu,
        phases=dict(zip(spec.phases, others, strict=True)),
        n_cases=about.n_cases,
        spec=spec,
        source=about.digest,
        digest=about.digest if about.content is None else digest_of([about.digest, about.content]),
        findings=about.findings,
        drawn=about.drawn,
        used=about.used,
        made_from=about.made_from,
        planes=about.planes,
    )


def _open_data(path: Path, n_slices: int, size_px: int) -> npt.NDArray[np.int16]:
    try:
        hu: npt.NDArray[np.int16] = mapped_array(path)
    except (FileNotFoundError, ArrayError) as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else "a damaged file"
        raise _do_not_belong(f"{n_slices} slices in {path.name}", found) from error
    if hu.dtype != np.int16:
        raise _do_not_belong(f"HU as int16 in {path.name}", str(hu.dtype))
    if hu.shape != (n_slices, size_px, size_px):
        raise _do_not_belong(f"{n_slices} slices of {size_px} x {size_px} in {path.name}", str(hu.shape))
    return hu


_checked: set[tuple[object, ...]] = set()  # by this process: each file is read once per command


def _check_content(folder: Path, about: _SpecFile) -> None:
    """Refuse slices that are not those that were cut. Slices of the first version have no digest of their files."""
    if about.content is None:
        return
    first, *others = data_files(about.spec)
    names = (first, "slices.csv", *others)
    try:
        facts = [(folder / name).stat() for name in names]
    except FileNotFoundError as error:
        raise _do_not_belong("slices.csv", "no such file") from error
    key = (folder.resolve(), about.content, *((f.st_ino, f.st_size, f.st_mtime_ns) for f in facts))
    if key in _checked:
        return
    for name, blocks in about.blocks.items():
        if digests_of_blocks(folder / name) != blocks:
            raise _do_not_belong(f"{name} as it was cut", "other content")
    if set(about.blocks) != set(names) and _digest_of_files(folder, names) != about.content:
        raise _do_not_belong(f"{' and '.join(names)} as they were cut", "other content")
    _checked.add(key)


def _digest_of_files(folder: Path, names: Iterable[str]) -> str:
    return digest_of([str(Seen.of(folder / name).digest) for name in names])


def _do_not_belong(expected: str, found: str) -> StudyError:
    return StudyError(where="slices", expected=expected, found=found, remedy="run `nephroscope slices` again")


def cut_cohort(
    cases: Iterable[ChosenCase],
    read: Reader,
    spec: SliceSpec,
    folder: Path,
    digest: str,
    made_from: Mapping[str, str] | None = None,
) -> SliceStore:
    """Cut all cases into the store; one bad case is refused by name and the others go on.

    An interrupted cut with the same ``digest`` (of cases and spec) goes on where it stopped; ``made_from`` holds the
    digest of each input by name, and is kept so that a later step can say which one changed.

    Raises:
        CohortError: No case could be cut.
    """
    cases = tuple(cases)
    finish_replacing(folder, GROUP)
    by_id = {case.case_id: case for case in cases}

    def is_current(case_id: str, then: Drawn) -> bool:
        return case_id in by_id and not redrawn([by_id[case_id]], {case_id: then}, only_used=False)

    journal = Journal(folder, spec, digest, is_current)
    with journal:
        todo = [case for case in cases if case.case_id not in journal.drawn]
        for case in track(todo, "cutting slices", "case", len(todo)):
            drawn = drawn_now(case)
            journal.add(case.case_id, _cut_case(case, read, spec), drawn)
        if journal.n_slices == 0:
            reasons = [finding.message for finding in journal.findings if finding.severity == "refusal"]
            raise CohortError(
                where="slices",
                expected="at least one case that can be cut",
                found=f"{len(cases)} cases, all refused; the first: {reasons[0] if reasons else 'no case'}",
                remedy="run `nephroscope check` and correct the cohort",
            )
        journal.finish()
    first, *others = data_files(spec)
    about = _SpecFile(
        digest=digest,
        content=_digest_of_files(journal.draft, (first, "slices.csv", *others)),
        blocks={name: digests_of_blocks(journal.draft / name) for name in journal.files},
        spec=spec,
        n_slices=journal.n_slices,
        n_cases=journal.n_cases,
        findings=tuple(journal.findings),
        drawn=journal.drawn,
        used={case.case_id: case.used for case in cases},
        made_from=dict(made_from or {}),
        planes=journal.planes,
    )
    save_document(journal.draft / "spec.json", about, FORMAT)
    replace_together(journal.draft, folder, GROUP)
    journal.remove()
    return open_store(folder)


def _cut_case(case: ChosenCase, read: Reader, spec: SliceSpec) -> Cut:
    """Rows for slices.csv, HU and findings of one case; a refusal has no rows."""
    try:
        volume, roi = read(case)
        cut = cut_slices(volume, roi, spec)
        hu = np.stack([part.hu for part in cut])
        phases = cut_phases(case, (volume, roi, hu), cut, spec)
    except NephroscopeError as error:
        return _refused(case, error.code, str(error), spec)
    except OSError as error:
        why = f"case {case.case_id}: cannot be read: {error.strerror or error}"
        return _refused(case, "unreadable", why, spec)
    rows: list[tuple[object, ...]] = [
        (
            *(part.case_id, part.slice_index, round(part.area_mm2, 3), round(part.mm_per_px, 6)),
            *(int(phase.present[row]) for phase in phases),
        )
        for row, part in enumerate(cut)
    ]
    findings = [*volume.findings, *roi.findings, *(f for phase in phases for f in phase.findings)]
    planes = tuple(_digest_of_plane(volume.hu[part.slice_index]) for part in cut)
    return Cut(rows=rows, hu=hu, findings=findings, phases=tuple(phase.hu for phase in phases), planes=planes)


def _digest_of_plane(hu: npt.NDArray[np.int16]) -> str:
    """Of one plane (R, C) in HU; empty for a plane of one value, which says nothing of a patient."""
    return "" if hu.min() == hu.max() else hashlib.sha256(np.ascontiguousarray(hu).tobytes()).hexdigest()[:32]


def _refused(case: ChosenCase, code: str, message: str, spec: SliceSpec) -> Cut:
    if code not in WANTED:
        logger.warning("refused: %s", message)
    finding = Finding(code=code, severity="refusal", message=message, case_id=case.case_id)
    none = np.empty((0, 0, 0), np.int16)
    return Cut(rows=[], hu=none, findings=[finding], phases=(none,) * len(spec.phases))

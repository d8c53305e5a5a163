"""Slices while they are cut: appended case by case to a draft folder, so that an interrupted cut goes on.

The journal says how many bytes of each file belong to the finished cases, and their digest. What it says is verified
before the cut goes on; cases whose bytes are not there, or whose ROI changed since, are cut again.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.documents import from_plain
from nephroscope.base.errors import StudyError
from nephroscope.base.tables import csv_line
from nephroscope.base.version import __version__
from nephroscope.records import Finding, SliceSpec
from nephroscope.study.drawn import Drawn

COLUMNS = ("case_id", "slice_index", "area_mm2", "mm_per_px")
HEADER_BYTES = 128
BLOCK_BYTES = 1 << 24
DRAFT, LOG = ".cutting", ".journal.jsonl"


def data_files(spec: SliceSpec) -> tuple[str, ...]:
    """The files of HU: that of the chosen series, and one of each further phase."""
    return ("slices.npy", *(f"slices-{phase}.npy" for phase in spec.phases))


def csv_columns(spec: SliceSpec) -> tuple[str, ...]:
    """The columns of slices.csv: one of each further phase says with 1 or 0 whether it has the place."""
    return (*COLUMNS, *(f"present_{phase}" for phase in spec.phases))


@dataclass(frozen=True, eq=False, kw_only=True)
class Cut:
    """What was cut of one case; a refused case has no rows.

    Attributes:
        rows: Cells of slices.csv.
        hu: Slices of the chosen series, int16 (n, size_px, size_px).
        phases: The same of each further phase, in the order of the specification.
        planes: Digest of the whole plane of the series at each slice, whatever the ROI.
    """

    rows: list[tuple[object, ...]]
    hu: npt.NDArray[np.int16]
    findings: list[Finding]
    phases: tuple[npt.NDArray[np.int16], ...] = ()
    planes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A finished case in the journal: where each file ends after it, and the digest of the file up to there."""

    case_id: str
    n_slices: int
    ends: dict[str, int]
    digests: dict[str, str]
    findings: tuple[Finding, ...]
    drawn: Drawn
    planes: tuple[str, ...] = ()


class Journal:
    """Appends cases to the draft; after an interruption, keeps exactly the cases it had finished.

    Args:
        folder: Of the slices.
        spec: How they are cut.
        digest: Of everything they are cut from; a draft of another one is removed.
        is_current: Whether the ROI files of a finished case are those of now.
    """

    def __init__(
        self, folder: Path, spec: SliceSpec, digest: str, is_current: Callable[[str, Drawn], bool]
    ) -> None:
        self.spec, self.draft, self._log_path = spec, folder / DRAFT, folder / LOG
        self.files = (*data_files(spec), "slices.csv")
        self.findings: list[Finding] = []
        self.drawn: dict[str, Drawn] = {}
        self.planes: dict[str, tuple[str, ...]] = {}
        self.n_slices = self.n_cases = 0
        heading = {"digest": digest, "version": __version__}
        entries = [e for e in self._entries(heading) if set(e.ends) == set(e.digests) == set(self.files)]
        changed = (n for n, e in enumerate(entries) if not is_current(e.case_id, e.drawn))
        entries = self._verified(entries[: next(changed, len(entries))])
        for entry in entries:
            self.findings += entry.findings
            self.drawn[entry.case_id] = entry.drawn
            self.planes[entry.case_id] = entry.planes
            self.n_cases += entry.n_slices > self.n_slices
            self.n_slices = entry.n_slices
        if not entries:
            shutil.rmtree(self.draft, ignore_errors=True)
        self.draft.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as files:
            ends = entries[-1].ends if entries else dict.fromkeys(self.files, 0)
            self._open = {name: files.enter_context(self._kept(name, ends[name])) for name in self.files}
            if not entries:
                for name in data_files(spec):
                    self._append(name, bytes(HEADER_BYTES))
                self._append("slices.csv", (",".join(csv_columns(spec)) + "\n").encode())
            self._log = files.enter_context(self._log_path.open("wb"))
            lines = [heading, *(asdict(entry) for entry in entries)]
            self._log.writelines(json.dumps(line).encode() + b"\n" for line in lines)
            self._log.flush()
            self._files = files.pop_all()

    def _entries(self, heading: dict[str, str]) -> list[_Entry]:
        try:
            first, *lines = self._log_path.read_bytes().splitlines()
            if json.loads(first) != heading:
                return []
        except (FileNotFoundError, ValueError):
            return []
        entries: list[_Entry] = []
        for line in lines:
            try:
                entries.append(from_plain(json.loads(line), _Entry, LOG))
            except (ValueError, StudyError):
                break  # the line that was being written when the work was interrupted
        return entries

    def _verified(self, entries: list[_Entry]) -> list[_Entry]:
        """The first entries, as many as have their bytes in all files; the digests go on from the last of them."""
        good, running = len(entries), {}
        for name in self.files:
            running[name] = [hashlib.sha256()]
            path = self.draft / name
            size = path.stat().st_size if path.is_file() else 0
            with path.open("rb") if size else io.BytesIO() as file:
                for n, entry in enumerate(entries[:good]):
                    digest, end = running[name][-1].copy(), entry.ends[name]
                    if file.tell() <= end <= size:
                        digest.update(file.read(end - file.tell()))
                    if file.tell() != end or digest.hexdigest() != entry.digests[name]:
                        good = n
                        break
                    running[name].append(digest)
        self._digests = {name: found[good] for name, found in running.items()}
        return entries[:good]

    def _kept(self, name: str, n_bytes: int) -> io.BufferedRandom:
        path = self.draft / name
        path.touch()
        file = path.open("r+b")
        file.truncate(n_bytes)
        file.seek(0, os.SEEK_END)
        return file

    def _append(self, name: str, content: bytes) -> None:
        self._open[name].write(content)
        self._open[name].flush()
        self._digests[name].update(content)

    def add(self, case_id: str, cut: Cut, drawn: Drawn) -> None:
        """Append one case; it counts as done once its line is in the journal."""
        for name, hu in zip(data_files(self.spec), (cut.hu, *cut.phases), strict=True):
            self._append(name, hu.astype("<i2", copy=False).tobytes())
        self._append("slices.csv", "".join(map(csv_line, cut.rows)).encode())
        self.n_slices += len(cut.rows)
        self.n_cases += len(cut.rows) > 0
        self.findings += cut.findings
        self.drawn[case_id] = drawn
        self.planes[case_id] = cut.planes
        entry = _Entry(
            case_id=case_id,
            n_slices=self.n_slices,
            ends={name: file.tell() for name, file in self._open.items()},
            digests={name: digest.hexdigest() for name, digest in self._digests.items()},
            findings=tuple(cut.findings),
            drawn=drawn,
            planes=cut.planes,
        )
        self._log.write(json.dumps(asdict(entry)).encode() + b"\n")
        self._log.flush()

    def finish(self) -> None:
        """Write the NPY headers over the reserved bytes: the files of the draft are complete then."""
        shape = (self.n_slices, self.spec.size_px, self.spec.size_px)
        text = f"{{'descr': '<i2', 'fortran_order': False, 'shape': {shape}, }}"
        header = text.ljust(HEADER_BYTES - 11).encode() + b"\n"
        for name in data_files(self.spec):
            self._open[name].seek(0)
            self._open[name].write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)

    def remove(self) -> None:
        """Remove the journal, after the draft has become the slices, and what older versions left."""
        for path in (self._log_path, *self._log_path.parent.glob(".*.partial")):
            path.unlink(missing_ok=True)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()


def digests_of_blocks(path: Path) -> tuple[str, ...]:
    """SHA-256 of each 16 MiB of a file, on all cores: to see in a moment whether it changed."""
    n_blocks = max(-(-path.stat().st_size // BLOCK_BYTES), 1)
    with ThreadPoolExecutor() as pool:
        return tuple(pool.map(lambda n: _digest_of_block(path, n), range(n_blocks)))


def _digest_of_block(path: Path, n: int) -> str:
    with path.open("rb") as file:
        file.seek(n * BLOCK_BYTES)
        return hashlib.sha256(file.read(BLOCK_BYTES)).hexdigest()

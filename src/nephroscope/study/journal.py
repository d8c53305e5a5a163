"""Slices while they are cut: appended case by case to partial files, so that an interrupted cut goes on."""

import csv
import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.files import digest_of
from nephroscope.records import Finding, SliceSpec

COLUMNS = ("case_id", "slice_index", "area_mm2", "mm_per_px")
HEADER_BYTES = 128
Drawn = list[dict[str, Any] | None]


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
    """

    rows: list[tuple[object, ...]]
    hu: npt.NDArray[np.int16]
    findings: list[Finding]
    phases: tuple[npt.NDArray[np.int16], ...] = ()


class Journal:
    """Appends cases to the partial files; after an interruption, keeps exactly the cases it had finished."""

    def __init__(self, folder: Path, spec: SliceSpec, digest: str) -> None:
        self.folder, self.spec = folder, spec
        folder.mkdir(parents=True, exist_ok=True)
        self.done: set[str] = set()
        self.findings: list[Finding] = []
        self.drawn: dict[str, Drawn] = {}
        self.n_slices = self.n_cases = csv_bytes = 0
        entries = self._entries(digest)
        for entry in entries:
            self.done.add(entry["case_id"])
            self.findings += [Finding(**finding) for finding in entry["findings"]]
            self.drawn[entry["case_id"]] = entry.get("drawn", [])
            self.n_cases += entry["n_slices"] > self.n_slices
            self.n_slices, csv_bytes = entry["n_slices"], entry["csv_bytes"]
        data_bytes = HEADER_BYTES + self.n_slices * spec.size_px * spec.size_px * 2
        self._data = {name: self._open(name, data_bytes) for name in data_files(spec)}
        self._csv = self._open("slices.csv", csv_bytes)
        if not entries:
            self._csv.write((",".join(csv_columns(spec)) + "\n").encode())
        lines = [{"digest": digest}, *entries]
        self._log = self._open("journal.jsonl", 0)
        self._log.writelines(json.dumps(line).encode() + b"\n" for line in lines)
        self._log.flush()

    def partial(self, name: str) -> Path:
        """Where a file lies until it is complete."""
        return self.folder / f".{name}.partial"

    def _entries(self, digest: str) -> list[dict[str, Any]]:
        path = self.partial("journal.jsonl")
        if not path.exists():
            return []
        lines = []
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break  # the line that was being written when the work was interrupted
        if not lines or lines[0].get("digest") != digest:
            return []
        return lines[1:]

    def _open(self, name: str, keep_bytes: int) -> io.BufferedRandom:
        path = self.partial(name)
        path.touch()
        file = path.open("r+b")
        file.truncate(keep_bytes)
        file.seek(0, os.SEEK_END)
        return file

    def add(self, case_id: str, cut: Cut, drawn: Drawn) -> None:
        """Append one case; it counts as done once its line is in the journal."""
        rows, findings = cut.rows, cut.findings
        for name, hu in zip(self._data, (cut.hu, *cut.phases), strict=True):
            self._data[name].write(hu.astype("<i2", copy=False).tobytes())
            self._data[name].flush()
        for row in rows:
            self._csv.write((_csv_line(row)).encode())
        self._csv.flush()
        self.n_slices += len(rows)
        self.n_cases += len(rows) > 0
        self.findings += findings
        self.drawn[case_id] = drawn
        entry = {
            "case_id": case_id,
            "n_slices": self.n_slices,
            "csv_bytes": self._csv.tell(),
            "findings": [asdict(finding) for finding in findings],
            "drawn": drawn,
        }
        self._log.write(json.dumps(entry).encode() + b"\n")
        self._log.flush()

    def finish(self) -> str:
        """Write the NPY headers over the reserved bytes; gives the digest of what was cut."""
        shape = (self.n_slices, self.spec.size_px, self.spec.size_px)
        text = f"{{'descr': '<i2', 'fortran_order': False, 'shape': {shape}, }}"
        header = text.ljust(HEADER_BYTES - 11).encode() + b"\n"
        for file in self._data.values():
            file.seek(0)
            file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        first, *others = self._data.values()
        return digest_of([_digest_of_file(file) for file in (first, self._csv, *others)])

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        for file in (*self._data.values(), self._csv, self._log):
            file.close()


def _digest_of_file(file: io.BufferedRandom) -> str:
    file.flush()
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _csv_line(row: tuple[object, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()

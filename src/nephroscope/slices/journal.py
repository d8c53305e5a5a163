"""The slices while they are cut: partial files that grow case by case, and a journal from which a cut goes on."""

import csv
import hashlib
import io
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.records import Finding
from nephroscope.records.digest import digest_of
from nephroscope.slices.drawn import Drawn

COLUMNS = ("case_id", "slice_index", "area_mm2", "mm_per_px")
HEADER_BYTES = 128


class Journal:
    """Appends cases to the partial files; after an interruption, keeps exactly the cases it had finished."""

    def __init__(self, folder: Path, size_px: int, digest: str) -> None:
        self.folder, self.size_px = folder, size_px
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
        self._data = self._open("slices.npy", HEADER_BYTES + self.n_slices * size_px * size_px * 2)
        self._csv = self._open("slices.csv", csv_bytes)
        if not entries:
            self._csv.write((",".join(COLUMNS) + "\n").encode())
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

    def add(
        self,
        case_id: str,
        rows: list[tuple[object, ...]],
        hu: npt.NDArray[np.int16],
        findings: list[Finding],
        drawn: Drawn,
    ) -> None:
        """Append one case; it counts as done once its line is in the journal."""
        self._data.write(hu.astype("<i2", copy=False).tobytes())
        for row in rows:
            self._csv.write((_csv_line(row)).encode())
        self._data.flush()
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
        """Write the NPY header over the reserved bytes; gives the digest of what was cut."""
        shape = (self.n_slices, self.size_px, self.size_px)
        text = f"{{'descr': '<i2', 'fortran_order': False, 'shape': {shape}, }}"
        self._data.seek(0)
        header = text.ljust(HEADER_BYTES - 11).encode() + b"\n"
        self._data.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        return digest_of([_digest_of_file(file) for file in (self._data, self._csv)])

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._data, self._csv, self._log):
            file.close()


def _digest_of_file(file: io.BufferedRandom) -> str:
    file.flush()
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _csv_line(row: tuple[object, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()

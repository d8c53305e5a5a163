"""What the ROI files held that slices were cut from, and which cases have another ROI now."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from nephroscope.records import Case

Drawn = list[dict[str, Any] | None]


def drawn_now(case: Case) -> Drawn:
    """Size in bytes, time of change and SHA-256 of each reader's ROI file; None where there is no such file."""
    return [_look(path) for path in _rois(case)]


def redrawn(
    cases: Iterable[Case], then: Mapping[str, Sequence[dict[str, Any] | None]], readers: Literal[1, 2]
) -> list[str]:
    """The case_ids of which an ROI file, of reader 1 or of both, is there and holds something else than ``then``.

    A file of the same size and time of change is not read again. One that is gone says nothing: slices are used
    where the CT is not.
    """
    return [
        case.case_id
        for case in cases
        if any(
            _differs(path, before)
            for path, before in zip(_rois(case)[:readers], then.get(case.case_id, ()), strict=False)
        )
    ]


def _rois(case: Case) -> list[Path | None]:
    return [case.roi, case.roi_reader2]


def _look(path: Path | None) -> dict[str, Any] | None:
    if path is None or not path.is_file():
        return None
    about = path.stat()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": about.st_size, "mtime_ns": about.st_mtime_ns, "sha256": digest}


def _differs(path: Path | None, before: dict[str, Any] | None) -> bool:
    if path is None or before is None or not path.is_file():
        return False
    about = path.stat()
    if (about.st_size, about.st_mtime_ns) == (before["bytes"], before["mtime_ns"]):
        return False
    now = _look(path)
    return now is not None and now["sha256"] != before["sha256"]

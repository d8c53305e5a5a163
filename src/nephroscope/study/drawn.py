"""The ROI files of a case as they were when it was cut, and which were drawn again since."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nephroscope.records import ChosenCase
from nephroscope.records.settings import READERS


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiFile:
    """An ROI file as it was when its case was cut."""

    bytes: int
    mtime_ns: int
    sha256: str


Drawn = tuple[RoiFile | None, ...]  # by annotator; None where there is no such file


def drawn_now(case: ChosenCase) -> Drawn:
    """Size in bytes, time of change and SHA-256 of each reader's ROI file; None where there is no such file."""
    return tuple(_look(path) for path in _rois(case).values())


def redrawn(cases: Iterable[ChosenCase], then: Mapping[str, Drawn], only_used: bool) -> list[str]:
    """The case_ids of which an ROI file is there and differs from ``then``; only those that the rule takes, or any.

    A file of the same size and time of change is not read again. One that is missing says nothing: slices are used
    where the CT is not.
    """
    found = []
    for case in cases:
        files = zip(_rois(case).items(), then.get(case.case_id, ()), strict=False)
        used = case.authors() if only_used else _rois(case)
        if any(_differs(path, before) for (author, path), before in files if author in used):
            found.append(case.case_id)
    return found


def _rois(case: ChosenCase) -> dict[str, Path | None]:
    """ROI files of reader-1 and reader-2, and of the author whom the rule takes, where that is another."""
    authors = dict.fromkeys((*READERS, *case.authors()))
    return {author: roi.path if (roi := case.roi_by(author)) else None for author in authors}


def _look(path: Path | None) -> RoiFile | None:
    if path is None or not path.is_file():
        return None
    about = path.stat()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return RoiFile(bytes=about.st_size, mtime_ns=about.st_mtime_ns, sha256=digest)


def _differs(path: Path | None, before: RoiFile | None) -> bool:
    if path is None or before is None or not path.is_file():
        return False
    about = path.stat()
    if (about.st_size, about.st_mtime_ns) == (before.bytes, before.mtime_ns):
        return False
    now = _look(path)
    return now is not None and now.sha256 != before.sha256

"""A DICOM export in, a copy without names out: CT, SEG and RTSTRUCT that still belong together, each file verified.

One bad file never stops the rest. Messages and the summary name a file by its running number and the digest of its
path, for paths hold names; links between patients and pseudonyms leave with the key only.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.base.files import load_json, save_json
from nephroscope.base.parallel import map_in_processes
from nephroscope.base.progress import track
from nephroscope.base.version import __version__
from nephroscope.intake.deidentify.file import FileResult, Job, process_file
from nephroscope.intake.deidentify.labels import read_labels_to_translate, translate_labels
from nephroscope.intake.deidentify.pseudonyms import open_key, save_linkage
from nephroscope.intake.deidentify.rules import PROFILE, Options

__all__ = ["Options", "deidentify_export"]

SUMMARY, SUMMARY_FORMAT = "deidentification.json", 1
LABELS = "labels.csv"
_PARALLEL_FROM = 64


def deidentify_export(
    source: Path, destination: Path, key_path: Path, options: Options, labels: Path | None = None
) -> dict[str, Any]:
    """Copy a DICOM export without what identifies; gives the summary that is also written to the destination.

    Args:
        source: Folder of the export; it is only read.
        destination: New or empty folder, or one where the same run was interrupted.
        key_path: Key file, outside of both; it is made when it does not exist. The linkage table lies beside it.
        options: What the profile's options keep.
        labels: Label table to be written to the destination with pseudonyms.

    Raises:
        ConfigError: Folders or key lie inside each other, the destination holds something else, or the key is none.
        CohortError: The label table cannot be read, or has no column of patients.
        StudyError: A worker process was ended from outside.
    """
    source, destination, key_path = source.resolve(), destination.resolve(), key_path.resolve()
    _check_folders(source, destination, key_path)
    table = read_labels_to_translate(labels) if labels is not None else None
    secrets, key_made = open_key(key_path)
    begun = {
        "format": SUMMARY_FORMAT,
        "nephroscope": __version__,
        "profile": f"DICOM PS3.15 Annex E, Basic Application Level Confidentiality Profile ({PROFILE})",
        "options": asdict(options),
        "key_fingerprint": secrets.fingerprint,
    }
    _begin(destination, begun)
    paths = list(_files(source))
    tally = _Tally()
    jobs = (Job(path=path, destination=destination, secrets=secrets, options=options) for path in paths)
    results = track(_results(jobs, len(paths)), "de-identify", "file", len(paths))
    for number, (path, result) in enumerate(zip(paths, results, strict=True), start=1):
        tally.add(result, number, path.relative_to(source))
    linkage = save_linkage(key_path, tally.pseudonyms)
    summary = begun | {"complete": True, "n_files": len(paths)} | tally.as_dict()
    if table is not None:
        summary["labels"] = translate_labels(
            table,
            destination / LABELS,
            secrets,
            tally.pseudonyms,
            tally.words,
            age_sex=options.age_sex,
        )
    save_json(destination / SUMMARY, summary)
    return summary | {"key": str(key_path), "key_made": key_made, "linkage": str(linkage)}


class _Tally:
    """Counts over all files, and what links pseudonyms to patients."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.kinds: dict[str, Counter[str]] = {
            "written": Counter(),
            "there": Counter(),
            "left out": Counter(),
        }
        self.doubts: Counter[str] = Counter()
        self.refused: list[dict[str, object]] = []
        self.pseudonyms: dict[str, str] = {}
        self.words: set[str] = set()
        self._targets: set[bytes] = set()
        self._n_twice = 0

    def add(self, result: FileResult, number: int, place: Path) -> None:
        """Count one file; ``place`` is told as a digest only."""
        if result.target:
            digest = hashlib.sha256(result.target.encode()).digest()[:8]
            if digest in self._targets:
                self._n_twice += 1
                return
            self._targets.add(digest)
            self.pseudonyms[result.patient] = result.pseudonym
            self.words |= result.words
        self.outcomes[result.outcome] += 1
        if result.outcome in self.kinds:
            self.kinds[result.outcome][result.kind] += 1
        self.doubts.update(result.doubts)
        if result.outcome == "refused":
            name = place.as_posix().encode("utf-8", "surrogateescape")
            self.refused.append(
                {"file": number, "digest": hashlib.sha256(name).hexdigest()[:12], "reason": result.reason}
            )

    def as_dict(self) -> dict[str, Any]:
        """For the summary: no identifier is among it."""
        return {
            "n_patients": len(set(self.pseudonyms.values())),
            "n_written": self.outcomes["written"] + self.outcomes["there"],
            "n_from_earlier_run": self.outcomes["there"],
            "n_twice": self._n_twice,
            "n_left_out": self.outcomes["left out"],
            "n_not_dicom": self.outcomes["not dicom"],
            "n_refused": self.outcomes["refused"],
            "written": dict(sorted((self.kinds["written"] + self.kinds["there"]).items())),
            "left_out": dict(sorted(self.kinds["left out"].items())),
            "doubts": dict(sorted(self.doubts.items())),
            "refused": self.refused,
        }


def _check_folders(source: Path, destination: Path, key_path: Path) -> None:
    if not source.is_dir():
        raise _refused("SRC", "a folder with a DICOM export", "no such folder", "check the path")
    if destination.is_relative_to(source) or source.is_relative_to(destination):
        raise _refused("DST", "a folder apart from SRC", "one inside the other", "name a folder elsewhere")
    if key_path.is_relative_to(destination) or key_path.is_relative_to(source):
        raise _refused(
            "--key",
            "a key file outside of SRC and DST",
            "one inside",
            "keep it where only you can read it: who has it can link pseudonyms to patients",
        )
    if destination.exists() and not destination.is_dir():
        raise _refused("DST", "a folder, new or empty", "a file", "name another folder")


def _begin(destination: Path, begun: dict[str, object]) -> None:
    """Mark the destination as begun, or find it marked by an interrupted run with the same key and options."""
    destination.mkdir(parents=True, exist_ok=True)
    mark = begun | {"complete": False}
    if any(destination.iterdir()):
        try:
            same = load_json(destination / SUMMARY, SUMMARY_FORMAT) == mark
        except (OSError, StudyError):
            same = False
        if not same:
            raise _refused(
                "DST",
                "a new or empty folder, or that of an interrupted run with the same key and options",
                "other content",
                "name a new folder",
            )
    for stray in destination.rglob(".*.tmp"):  # of a process that was killed: not verified
        stray.unlink()
    save_json(destination / SUMMARY, mark)


def _refused(where: str, expected: str, found: str, remedy: str) -> ConfigError:
    return ConfigError(where=where, expected=expected, found=found, remedy=remedy)


def _files(source: Path) -> Iterator[Path]:
    """What lies below a folder, in order: files, links (not followed), and folders that cannot be opened."""
    closed: list[Path] = []
    for folder, folders, names in os.walk(source, onerror=lambda error: closed.append(Path(error.filename))):
        folders.sort()
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (Path(folder) / name for name in sorted(names + links))
    yield from closed


def _results(jobs: Iterator[Job], n_jobs: int) -> Iterator[FileResult]:
    """In the order of the jobs; by several processes where that is worth their start."""
    if n_jobs < _PARALLEL_FROM:
        yield from map(process_file, jobs)
        return
    yield from map_in_processes(process_file, jobs)

"""Copy a DICOM export without names: CT, SEG and RTSTRUCT that still belong together, each file verified.

One bad file does not stop the others. Messages and the summary identify a file by its running number and the digest
of its path, because paths contain names. Only the key links patients and pseudonyms.
"""

import contextlib
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from nephroscope.base.documents import as_plain, read_document, save_document
from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.base.files import save_json
from nephroscope.base.lock import LOCK, writing
from nephroscope.base.parallel import map_in_processes
from nephroscope.base.progress import track
from nephroscope.base.version import __version__
from nephroscope.intake.deidentify.file import FileResult, Job, process_file
from nephroscope.intake.deidentify.labels import (
    TranslatedLabels,
    names_of,
    read_labels_to_translate,
    translate_labels,
)
from nephroscope.intake.deidentify.patients import identifiers, several_issuers
from nephroscope.intake.deidentify.pseudonyms import known_issuers, open_key, save_linkage
from nephroscope.intake.deidentify.rules import PROFILE, Options

__all__ = ["Options", "deidentify_export"]

SUMMARY, SUMMARY_FORMAT = "deidentification.json", 1
LABELS = "labels.csv"
_PARALLEL_FROM = 64
J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What a copy was begun with; one that was interrupted goes on only with the same."""

    nephroscope: str
    profile: str
    options: Options
    key_fingerprint: str
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedFile:
    """A file that was not copied: its running number, digest of its path, and why."""

    file: int
    digest: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers of patients and files; none of them identifies anybody.

    Attributes:
        n_written, n_from_earlier_run, n_twice, n_left_out, n_not_dicom, n_refused: Files by what became of them.
        written, left_out: Files by kind.
        doubts: Files by what is doubtful about them.
    """

    n_patients: int
    n_written: int
    n_from_earlier_run: int
    n_twice: int
    n_left_out: int
    n_not_dicom: int
    n_refused: int
    written: Mapping[str, int]
    left_out: Mapping[str, int]
    doubts: Mapping[str, int]
    refused: tuple[RefusedFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deidentified:
    """What was copied, and where the key and the table of patients are.

    Attributes:
        labels: What became of the label table; None without one.
        key_made: True if the key was made now.
        linkage: Table of patients and pseudonyms, next to the key.
    """

    begun: Begun
    n_files: int
    counts: Counts
    labels: TranslatedLabels | None
    key: Path
    key_made: bool
    linkage: Path

    def summary(self) -> dict[str, object]:
        """As it stands in deidentification.json: nothing of it identifies a patient."""
        labels = {"labels": as_plain(self.labels)} if self.labels is not None else {}
        return {**as_plain(self.begun), "n_files": self.n_files, **as_plain(self.counts), **labels}


def deidentify_export(
    source: Path, destination: Path, key_path: Path, options: Options, labels: Path | None = None
) -> Deidentified:
    """De-identify a DICOM export; the summary is also written to the destination.

    Args:
        source: Folder of the export; it is not changed.
        destination: New or empty folder, or the folder of an interrupted run with the same key and options.
        key_path: Key file outside both folders; created if it does not exist. The linkage table is saved next to it.
        options: Options of the profile.
        labels: Label table to write to the destination with pseudonyms.

    Raises:
        ConfigError: Folders or key are inside each other, the destination holds other files, or the key is not valid.
        CohortError: The label table cannot be read, or has no column of patients.
        StudyError: A worker process was ended from outside, or another call works with the key or the destination.
    """
    source, destination, key_path = source.resolve(), destination.resolve(), key_path.resolve()
    _check_folders(source, destination, key_path)
    with contextlib.ExitStack() as alone:
        for path in (key_path, destination):
            if path.parent.is_dir() and (
                path == key_path or os.access(path.parent, os.W_OK)
            ):  # else it is refused, or nobody works there
                lock = f".{path.name}{LOCK}"
                alone.enter_context(writing(path.parent, "deidentify", lock, remove=True))
        return _deidentify(source, destination, key_path, options, labels)


def _deidentify(
    source: Path, destination: Path, key_path: Path, options: Options, labels: Path | None
) -> Deidentified:
    table = read_labels_to_translate(labels) if labels is not None else None
    secrets, key_made = open_key(key_path)
    known = known_issuers(key_path, secrets)
    begun = Begun(
        nephroscope=__version__,
        profile=f"DICOM PS3.15 Annex E, Basic Application Level Confidentiality Profile ({PROFILE})",
        options=options,
        key_fingerprint=secrets.fingerprint,
        complete=False,
    )
    _begin(destination, begun)
    paths = list(_files(source))
    tally = _Tally()
    held = track(_each(identifiers, iter(paths), len(paths)), "look for patients", "file", len(paths))
    patients = several_issuers(held, known)
    names = names_of(table) if table is not None else frozenset()
    jobs = (
        Job(
            path=path,
            destination=destination,
            secrets=secrets,
            options=options,
            patients=patients,
            names=names,
        )
        for path in paths
    )
    results = track(_each(process_file, jobs, len(paths)), "de-identify", "file", len(paths))
    for number, (path, result) in enumerate(zip(paths, results, strict=True), start=1):
        tally.add(result, number, path.relative_to(source))
    linkage = save_linkage(key_path, tally.links)
    written = None
    if table is not None:
        written = translate_labels(
            table,
            destination / LABELS,
            secrets,
            tally.pseudonyms(),
            tally.words | names,
            age_sex=options.age_sex,
        )
    made = Deidentified(
        begun=replace(begun, complete=True),
        n_files=len(paths),
        counts=tally.counts(),
        labels=written,
        key=key_path,
        key_made=key_made,
        linkage=linkage,
    )
    save_json(destination / SUMMARY, {"format": SUMMARY_FORMAT, **made.summary()})
    return made


class _Tally:
    """Counts over all files, and the links between pseudonyms and patients."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.kinds: dict[str, Counter[str]] = {
            "written": Counter(),
            "there": Counter(),
            "left out": Counter(),
        }
        self.doubts: Counter[str] = Counter()
        self.refused: list[RefusedFile] = []
        self.links: dict[tuple[str, str], str] = {}
        self.words: set[str] = set()
        self._targets: set[bytes] = set()
        self._n_twice = 0

    def add(self, result: FileResult, number: int, place: Path) -> None:
        """Count one file; of its path ``place`` only a digest is kept."""
        if result.target:
            digest = hashlib.sha256(result.target.encode()).digest()[:8]
            if digest in self._targets:
                self._n_twice += 1
                return
            self._targets.add(digest)
            self.links[result.patient, result.issuer] = result.pseudonym
            self.words |= result.words
        self.outcomes[result.outcome] += 1
        if result.outcome in self.kinds:
            self.kinds[result.outcome][result.kind] += 1
        self.doubts.update(result.doubts)
        if result.outcome == "refused":
            name = place.as_posix().encode("utf-8", "surrogateescape")
            digest_of_path = hashlib.sha256(name).hexdigest()[:12]
            self.refused.append(RefusedFile(file=number, digest=digest_of_path, reason=result.reason))

    def pseudonyms(self) -> dict[str, str]:
        """Pseudonym by patient number; empty for a number of several patients."""
        found: dict[str, set[str]] = defaultdict(set)
        for (patient, _), pseudonym in self.links.items():
            found[patient].add(pseudonym)
        return {patient: "".join(named) if len(named) == 1 else "" for patient, named in found.items()}

    def counts(self) -> Counts:
        """For the summary."""
        return Counts(
            n_patients=len(set(self.links.values())),
            n_written=self.outcomes["written"] + self.outcomes["there"],
            n_from_earlier_run=self.outcomes["there"],
            n_twice=self._n_twice,
            n_left_out=self.outcomes["left out"],
            n_not_dicom=self.outcomes["not dicom"],
            n_refused=self.outcomes["refused"],
            written=dict(sorted((self.kinds["written"] + self.kinds["there"]).items())),
            left_out=dict(sorted(self.kinds["left out"].items())),
            doubts=dict(sorted(self.doubts.items())),
            refused=tuple(self.refused),
        )


def _check_folders(source: Path, destination: Path, key_path: Path) -> None:
    if not source.is_dir():
        raise _refused("SRC", "a folder with a DICOM export", "no such folder", "check the path")
    if destination.is_relative_to(source) or source.is_relative_to(destination):
        raise _refused("DST", "a folder outside SRC", "one inside the other", "name another folder")
    if key_path.is_relative_to(destination) or key_path.is_relative_to(source):
        raise _refused(
            "--key",
            "a key file outside of SRC and DST",
            "one inside",
            "keep it where only you can read it: with the key, pseudonyms can be linked to patients",
        )
    if destination.exists() and not destination.is_dir():
        raise _refused("DST", "a new or empty folder", "a file", "name another folder")


def _begin(destination: Path, begun: Begun) -> None:
    """Mark the destination as begun, or check that an interrupted run with the same key and options marked it."""
    destination.mkdir(parents=True, exist_ok=True)
    if any(destination.iterdir()):
        try:
            same = read_document(destination / SUMMARY, Begun, SUMMARY_FORMAT) == begun
        except StudyError:
            same = False
        if not same:
            raise _refused(
                "DST",
                "a new or empty folder, or the folder of an interrupted run with the same key and options",
                "a folder with other files",
                "name a new folder",
            )
    for stray in destination.rglob(".*.tmp"):  # files of a killed process, not verified
        stray.unlink()
    save_document(destination / SUMMARY, begun, SUMMARY_FORMAT)


def _refused(where: str, expected: str, found: str, remedy: str) -> ConfigError:
    return ConfigError(where=where, expected=expected, found=found, remedy=remedy)


def _files(source: Path) -> Iterator[Path]:
    """Everything below a folder, in order: files, links (not followed), and folders that cannot be opened."""
    closed: list[Path] = []
    for folder, folders, names in os.walk(source, onerror=lambda error: closed.append(Path(error.filename))):
        folders.sort()
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (Path(folder) / name for name in sorted(names + links))
    yield from closed


def _each(work: Callable[[J], R], jobs: Iterator[J], n_jobs: int) -> Iterator[R]:
    """Results in the order of the jobs; with several processes if there are enough files."""
    yield from map(work, jobs) if n_jobs < _PARALLEL_FROM else map_in_processes(work, jobs)

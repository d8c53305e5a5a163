"""The planes of a study, for networks that draw: each drawn CT on a coarse grid, with what people drew on it.

One file a CT, int16 (2, N, H, W): HU, and 0 for background, 1 for kidney, 2 for tumor. Its record is written after
it, and planes.json after all, so an interrupted preparation goes on where it stopped.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.arrays import ArrayError, mapped_array
from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import NephroscopeError, RoiError, StudyError
from nephroscope.base.files import digest_of, file_digest, replacing
from nephroscope.base.progress import track
from nephroscope.base.text import shell_line
from nephroscope.records import ChosenCase, Finding, warning
from nephroscope.records.planes import PlaneSpec
from nephroscope.regions.organs import organs_of
from nephroscope.segmenters.planes import make_planes, planes_digest, planes_of_mask
from nephroscope.study.snapshot import Snapshot

FOLDER, FILE, FORMAT = "planes", "planes.json", 1
KIDNEY, TUMOR = 1, 2
VALUES = {"kidney": KIDNEY, "tumor": TUMOR}
_MAY_CHANGE = ("organs-unreadable",)  # looked at again by the next training


@dataclass(frozen=True, kw_only=True)
class DrawnCT:
    """A CT that people drew on.

    Attributes:
        name: Of its file, without ending.
        case_ids: The tumors that were drawn on it, of one patient.
        shape: Planes, rows and columns.
        kidneys: True where masks of the kidneys are known.
        digest: Of its planes in HU, by which a bundle knows it.
        content: SHA-256 of its file.
        findings: What is doubtful about what was drawn.
    """

    name: str
    patient_id: str
    case_ids: tuple[str, ...]
    shape: tuple[int, int, int]
    kidneys: bool
    digest: str
    content: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _PlanesFile:
    source: str
    spec: PlaneSpec
    cts: tuple[DrawnCT, ...]
    refused: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class PlaneStore:
    """The planes of a study.

    Attributes:
        cts: Each drawn CT.
        refused: Cases whose CT or organs could not be read.
        digest: Of all of it.
    """

    folder: Path
    spec: PlaneSpec
    cts: tuple[DrawnCT, ...]
    refused: tuple[Finding, ...]
    digest: str

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What could not be read: cases, or the organs of a CT."""
        return (*self.refused, *(one for ct in self.cts for one in ct.findings))

    def read(self, ct: DrawnCT) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
        """HU and labels (N, H, W) of a CT, read from the disk where they are used.

        Raises:
            StudyError: The file is lost or damaged.
        """
        path = self.folder / f"{ct.name}.npy"
        try:
            both = mapped_array(path)
            same = file_digest(path) == ct.content
        except (OSError, ArrayError) as error:
            raise _damaged(f"planes/{path.name}", "lost or damaged") from error
        if not same or both.dtype != np.int16 or both.shape != (2, *ct.shape):
            raise _damaged(f"planes/{path.name}", "another content: the file was changed or damaged")
        return both[0], both[1]

    def of_cases(self, names: frozenset[str], labels: Sequence[str]) -> tuple[DrawnCT, ...]:
        """The CTs of some cases; where kidneys are learned, only those whose kidneys are known."""
        return tuple(
            ct for ct in self.cts if names & {*ct.case_ids} and (ct.kidneys or "kidney" not in labels)
        )


def spec_of(snapshot: Snapshot) -> PlaneSpec:
    """The planes of a study, behind the window of its slices."""
    seen = snapshot.slices.spec
    return PlaneSpec(window_level_hu=seen.window_level_hu, window_width_hu=seen.window_width_hu)


def open_planes(snapshot: Snapshot) -> PlaneStore:
    """The planes on disk.

    Raises:
        StudyError: There are none, or slices, organs or the window changed since they were made.
    """
    found = _kept(snapshot)
    if found is None:
        raise StudyError(
            where="planes",
            expected="the planes of the study as it is now",
            found="none, or those of other ROIs",
            remedy=shell_line("nephroscope", "train", snapshot.folder.root, "--task", "segment"),
        )
    return found


def prepare_planes(snapshot: Snapshot) -> PlaneStore:
    """Read every CT with what was drawn on it, and write the planes; those that are up to date are kept.

    Raises:
        StudyError: No case has a CT volume with an ROI.
    """
    found = _kept(snapshot)
    if found is not None and not any(
        one.code in _MAY_CHANGE or one in found.refused for one in found.findings
    ):
        return found  # what could not be read may be there by now
    source, spec, folder = _source(snapshot), spec_of(snapshot), snapshot.folder.root / FOLDER
    groups = _by_ct(snapshot)
    cts, refused = [], []
    for cases in track(groups, "reading what was drawn", "CT", len(groups)):
        name = digest_of([source, [case.case_id for case in cases]])
        there = _kept_ct(folder, name)
        if there is not None:
            cts.append(there)
            continue
        try:
            read = _read(snapshot, cases, spec)
        except (NephroscopeError, OSError) as error:
            refused.append(_refusal(cases[0], error))
            continue
        cts.append(_written(read, cases, folder, name))
    if not cts:
        raise StudyError(
            where="study",
            expected="a CT volume with a tumor that a person drew",
            found=refused[0].message if refused else "slice images alone",
            remedy="import CT series with ROIs; slice images show no neighboring slices",
        )
    file = _PlanesFile(source=source, spec=spec, cts=tuple(cts), refused=tuple(refused))
    save_document(folder / FILE, file, FORMAT)
    kept = {FILE, *(f"{ct.name}{ending}" for ct in cts for ending in (".npy", ".json"))}
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink(missing_ok=True)
    return open_planes(snapshot)


def _kept(snapshot: Snapshot) -> PlaneStore | None:
    folder = snapshot.folder.root / FOLDER
    if not (folder / FILE).is_file():
        return None
    file = read_document(folder / FILE, _PlanesFile, FORMAT, "remove the folder planes, and train again")
    if file.source != _source(snapshot) or file.spec != spec_of(snapshot):
        return None
    digest = digest_of([file.spec.digest, [[ct.case_ids, ct.kidneys, ct.content] for ct in file.cts]])
    return PlaneStore(folder=folder, spec=file.spec, cts=file.cts, refused=file.refused, digest=digest)


def _source(snapshot: Snapshot) -> str:
    """Digest of what the planes are made from: slices, organs, and how they are made."""
    organs = [
        [case.case_id, _digest(case.ct.organs)]
        for case in snapshot.cases_to_read
        if case.ct.organs is not None
    ]
    return digest_of([FORMAT, snapshot.slices.digest, spec_of(snapshot).digest, sorted(organs)])


def _digest(path: Path) -> str:
    if path.is_dir():
        return digest_of([[one.name, file_digest(one)] for one in sorted(path.iterdir()) if one.is_file()])
    return file_digest(path) if path.is_file() else "none"


def _by_ct(snapshot: Snapshot) -> list[list[ChosenCase]]:
    """The cases of which slices were cut, those of a patient on one CT together."""
    groups: dict[tuple[str, str], list[ChosenCase]] = defaultdict(list)
    for case in snapshot.cases_to_read:
        if case.case_id in snapshot.slices.rows_by_case and case.format != "images":
            groups[case.patient_id, str(case.image)].append(case)
    return [*groups.values()]


def _kept_ct(folder: Path, name: str) -> DrawnCT | None:
    """A CT whose planes are there, with all that was drawn on it."""
    array, record = folder / f"{name}.npy", folder / f"{name}.json"
    if not (record.is_file() and array.is_file()):
        return None
    kept = read_document(record, DrawnCT, FORMAT, "remove the folder planes, and train again")
    tried_again = any(one.code in _MAY_CHANGE for one in kept.findings)
    return kept if kept.content == file_digest(array) and not tried_again else None


@dataclass(frozen=True, eq=False, kw_only=True)
class _Planes:
    """HU and labels (N, H, W) of a CT, and what is to be said of it."""

    hu: npt.NDArray[np.int16]
    labels: npt.NDArray[np.int16]
    kidneys: bool
    findings: tuple[Finding, ...]


def _read(snapshot: Snapshot, cases: Sequence[ChosenCase], spec: PlaneSpec) -> _Planes:
    each = [snapshot.read_case(case) for case in cases]
    volume = each[0][0]
    tumor = np.logical_or.reduce([roi.voxels for _, roi in each])
    findings: list[Finding] = []
    try:
        kidney = organs_of(cases[0], volume).get("kidney")
    except (RoiError, OSError) as error:
        kidney, said = None, str(error) if isinstance(error, RoiError) else type(error).__name__
        text = f"its kidneys cannot be read: {said}"
        findings.append(warning("organs-unreadable", text, case_id=cases[0].case_id))
    for case, (_, roi) in zip(cases, each, strict=True):
        if not planes_of_mask(roi.voxels, volume, spec).any():
            text = (
                f"its tumor covers no pixel of the planes ({spec.mm_per_px:g} mm) by half: nothing is learned"
            )
            findings.append(warning("segment-too-small", text, case_id=case.case_id))
    hu = make_planes(volume, spec)
    labels = np.zeros_like(hu)
    if kidney is not None:
        labels[planes_of_mask(kidney, volume, spec)] = KIDNEY
    labels[planes_of_mask(tumor, volume, spec)] = TUMOR
    return _Planes(hu=hu, labels=labels, kidneys=kidney is not None, findings=tuple(findings))


def _written(read: _Planes, cases: Sequence[ChosenCase], folder: Path, name: str) -> DrawnCT:
    array, hu = folder / f"{name}.npy", read.hu
    with replacing(array) as temporary, temporary.open("wb") as file:
        np.save(file, np.stack([hu, read.labels]))
    ct = DrawnCT(
        name=name,
        patient_id=cases[0].patient_id,
        case_ids=tuple(case.case_id for case in cases),
        shape=(hu.shape[0], hu.shape[1], hu.shape[2]),
        kidneys=read.kidneys,
        digest=planes_digest(hu),
        content=file_digest(array),
        findings=read.findings,
    )
    save_document(folder / f"{name}.json", ct, FORMAT)
    return ct


def kidneys_of(store: PlaneStore) -> Mapping[bool, int]:
    """Number of CTs with masks of the kidneys, and without."""
    n = sum(ct.kidneys for ct in store.cts)
    return {True: n, False: len(store.cts) - n}


def _refusal(case: ChosenCase, error: NephroscopeError | OSError) -> Finding:
    if isinstance(error, NephroscopeError):
        code, message = error.code, str(error)
    else:
        code, message = (
            "unreadable",
            f"case {case.case_id}: cannot be read: {error.strerror or type(error).__name__}",
        )
    return Finding(code=code, severity="refusal", message=message, case_id=case.case_id)


def _damaged(where: str, found: str) -> StudyError:
    return StudyError(
        where=where,
        expected="the planes as they were written",
        found=found,
        remedy="remove the folder planes",
    )

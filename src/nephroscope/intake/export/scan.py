"""Read the headers of everything below a folder, and group them into series and ROI files. No pixel is read.

Linear in the number of files, on all cores, and of each file only a few numbers are kept. Birth dates are never
read; a patient's name is only looked for in the path of the same file, and kept nowhere.
"""

import os
import pickle  # in memory and to our own processes only
import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nephroscope.base.errors import SeriesError
from nephroscope.base.parallel import map_in_processes
from nephroscope.base.progress import track
from nephroscope.imaging.dicom.files import DICOM_DAMAGE, opened, parse_header, quiet
from nephroscope.imaging.dicom.pixel_data import PIXEL_TAGS, damage_of
from nephroscope.imaging.dicom.slice_header import SLICE_TAGS, SliceHeader, slice_headers
from nephroscope.intake.export.kinds import (
    CT,
    RTSTRUCT,
    SEG,
    FoundRoi,
    kind_of,
    patient_id_of,
    roi_of,
    sop_class,
)
from nephroscope.intake.labels.values import lenient, parse_age, parse_sex
from nephroscope.intake.other_files import MOST_NAMED, ending_of
from nephroscope.intake.phase.series import PHASE_TAGS, SeriesText, series_text
from nephroscope.records import Sex, digest_of

MIN_LETTERS = 3
ALONE_LETTERS = 5  # shorter names stand in other words ("name" in "named"), so they must be words of the path


def names_patient(header: Any, path: Path) -> bool:
    """True when a word of PatientName stands in the path, and it is not a word of PatientID, as pseudonyms are."""
    own = set(_words(str(header.get("PatientName") or ""))) - set(_words(str(header.get("PatientID") or "")))
    if not own:
        return False
    told = _fold(path.as_posix())
    words = set(_words(told))
    return any(word in words or (len(word) >= ALONE_LETTERS and word in told) for word in own)


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\W\d_]+", _fold(text)) if len(word) >= MIN_LETTERS]


def _fold(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in plain if not unicodedata.combining(c))


NO_UID = "no-uid-"
SHARED = "expected one PatientID in a series, found several under one Series Instance UID; export it again"
CHUNK = 128
IN_ONE_PROCESS = 2000  # below, starting other processes takes longer than it saves
TAGS = tuple(
    dict.fromkeys(
        (
            *(
                "SOPClassUID",
                "SOPInstanceUID",
                "SeriesInstanceUID",
                "StudyInstanceUID",
                "Modality",
                "ImageType",
            ),
            *("PatientID", "PatientSex", "PatientAge", "SyntheticData", "SeriesNumber", "ContentCreatorName"),
            *("ReferencedSeriesSequence", "ReferencedFrameOfReferenceSequence", "NumberOfFrames"),
            *("StructureSetLabel", "OperatorsName", "SegmentSequence", "StructureSetROISequence"),
            *("RTROIObservationsSequence", "ROIContourSequence", "ManufacturerModelName", "SoftwareVersions"),
            "ApprovalStatus",
            *("DirectoryRecordSequence", "Manufacturer", "SliceThickness", "ConvolutionKernel"),
            "PatientName",
            *SLICE_TAGS,
            *PIXEL_TAGS,
            *PHASE_TAGS,
        )
    )
)


SeriesKey = tuple[str, str, str]
_Unpacked = dict[SeriesKey, list[tuple[SliceHeader, ...]]]


@dataclass(kw_only=True)
class FoundSeries:
    """One series of an export: what it says of itself, and its files, each with the facts of its slices."""

    uid: str
    study_uid: str
    patient_id: str
    modality: str
    kind: str
    text: SeriesText
    sex: Sex | None = None
    age_years: float | None = None
    synthetic: bool = False
    manufacturer: str = ""
    n_frames: int = 0
    problem: str = ""
    paths: list[str] = field(default_factory=list)
    packed: list[bytes] = field(default_factory=list, repr=False)

    def facts(self) -> list[tuple[SliceHeader, ...]]:
        """For each path the facts of its slices; empty where it is no CT."""
        return [facts for part in self.packed for facts in _unpack(part)]


@dataclass(kw_only=True)
class ExportScan:
    """What an export holds: series by (UID, kind, PatientID), ROI files, and how many files are no DICOM.

    ``others`` holds, by their ending, some of the files that are no DICOM.
    ``naming`` holds the folders of images, and the ROI files, whose path holds the name of their patient.
    """

    series: dict[SeriesKey, FoundSeries] = field(default_factory=dict)
    rois: list[FoundRoi] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    naming: set[str] = field(default_factory=set)
    n_files: int = 0
    n_not_dicom: int = 0
    others: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def merge(self, other: "ExportScan") -> None:
        """Add what another part of the export holds."""
        self.n_files += other.n_files
        self.n_not_dicom += other.n_not_dicom
        for ending, paths in other.others.items():
            self.others[ending] += paths[: MOST_NAMED - len(self.others[ending])]
        self.rois += other.rois
        self.damaged += other.damaged
        self.naming |= other.naming
        for key, series in other.series.items():
            known = self.series.setdefault(key, series)
            if known is not series:
                known.n_frames += series.n_frames
                known.paths += series.paths
                known.packed += series.packed
                known.problem = known.problem or series.problem


def scan_export(folder: Path) -> ExportScan:
    """Headers of everything below ``folder``, in any tree, with or without extensions; links are not followed."""
    paths = sorted(_files(folder.resolve()))
    chunks = [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
    scan = ExportScan()
    parts = (map_in_processes if len(paths) > IN_ONE_PROCESS else map)(scan_files, chunks)
    for part in track(parts, "reading headers", f"x {CHUNK} file", len(chunks)):
        scan.merge(part)
    _refuse_shared(scan)
    return scan


def _files(folder: Path) -> Iterator[Path]:
    """Files, and what may not be looked at: that is found again when it cannot be opened."""
    closed: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(place, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if _is_file(path))
    yield from (Path(error.filename) for error in closed if isinstance(error, PermissionError))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:
        return True


def scan_files(paths: Iterable[Path]) -> ExportScan:
    """The same for a list of files; one that is damaged is counted and stops nothing."""
    scan = ExportScan()
    unpacked: _Unpacked = defaultdict(list)
    for path in paths:
        scan.n_files += 1
        try:
            with quiet():
                header, damage = _header(path)
                if header is not None:
                    _add(scan, header, damage, path, unpacked)
        except DICOM_DAMAGE:
            scan.damaged.append(path)
            continue
        if header is None and _says_dicom(path):
            scan.damaged.append(path)
        elif header is None:
            scan.n_not_dicom += 1
            same = scan.others[ending_of(path)]
            same += [path][: MOST_NAMED - len(same)]
    for key, facts in unpacked.items():
        scan.series[key].packed.append(zlib.compress(pickle.dumps(facts), level=1))
    return scan


def _header(path: Path) -> tuple[Any | None, str]:
    """The header of a file, None when it is not DICOM or damaged; and why the pixels of a CT are not all there."""
    try:
        with opened(path) as file:
            header, pixels_at = parse_header(file, TAGS)
            return header, damage_of(file, header, pixels_at) if kind_of(header) == CT else ""
    except DICOM_DAMAGE:
        return None, ""


def _says_dicom(path: Path) -> bool:
    """True for the magic of a DICOM file, whatever comes after it, and for what may not be opened."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError as error:
        return isinstance(error, PermissionError)


def _unpack(part: bytes) -> list[tuple[SliceHeader, ...]]:
    """Slices take forty bytes packed and two thousand unpacked; so one series at a time is unpacked."""
    facts: list[tuple[SliceHeader, ...]] = pickle.loads(zlib.decompress(part))  # noqa: S301 - our own, in memory
    return facts


def _add(scan: ExportScan, header: Any, damage: str, path: Path, unpacked: _Unpacked) -> None:
    facts: tuple[SliceHeader, ...]
    if not sop_class(header) and not header.get("Modality"):
        raise ValueError("neither SOP class nor modality")
    kind, uid = kind_of(header), str(header.get("SeriesInstanceUID") or "")
    uid = uid or _stand_in(header, path)
    n_frames = int(header.get("NumberOfFrames") or 1)
    problem, facts = "", ()
    if kind == CT:
        try:
            facts = slice_headers(header)
            facts = tuple(replace(one, damage=damage) for one in facts) if damage else facts
        except SeriesError as error:
            problem = f"expected {error.expected}, found {error.found}"
    told = path if kind in (SEG, RTSTRUCT) else path.parent
    if names_patient(header, told):
        scan.naming.add(str(told))
    if kind in (SEG, RTSTRUCT):
        scan.rois.append(roi_of(header, path, kind))
    key = (uid, kind, patient_id_of(header))
    series = scan.series.get(key) or _series(header, uid, kind)
    scan.series[key] = series
    series.paths.append(str(path))
    series.n_frames += n_frames
    unpacked[key].append(facts)
    series.problem = series.problem or problem


def _stand_in(header: Any, path: Path) -> str:
    """A name for a series whose UID some anonymizer emptied: what is of one folder, patient and number."""
    parts = [path.parent.as_posix(), patient_id_of(header), str(header.get("SeriesNumber") or "")]
    return f"{NO_UID}{digest_of(parts)[:12]}"


def _refuse_shared(scan: ExportScan) -> None:
    """Files of two patients are no series, whatever their UID says: each is told, and neither is used."""
    patients: dict[tuple[str, str], set[str]] = defaultdict(set)
    for uid, kind, patient in scan.series:
        patients[uid, kind].add(patient)
    for (uid, kind, _), series in scan.series.items():
        if len(patients[uid, kind]) > 1:
            series.problem = SHARED


def _series(header: Any, uid: str, kind: str) -> FoundSeries:
    return FoundSeries(
        uid=uid,
        study_uid=str(header.get("StudyInstanceUID") or ""),
        patient_id=patient_id_of(header),
        modality=str(header.get("Modality") or ""),
        kind=kind,
        text=series_text(header),
        sex=lenient(parse_sex, header.get("PatientSex")),
        age_years=lenient(parse_age, header.get("PatientAge")),
        synthetic=header.get("SyntheticData") == "YES",
        manufacturer=str(header.get("Manufacturer") or ""),
    )

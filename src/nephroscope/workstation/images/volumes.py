"""The CT volumes of a study as plain files on disk, so that a slice is read without reading the series again.

A volume is written whole or not at all, and found by the size and time of change of its files: a series that changes
is read anew. The folder may be deleted at any time. Its size is bounded: what was not looked at longest goes first.
"""

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import NephroscopeError, SeriesError
from nephroscope.base.files import digest_of, replacing
from nephroscope.imaging.files import damage_words
from nephroscope.records import Case, ChoiceRule, ChosenCase, CTVolume, Finding, VolumeGeometry
from nephroscope.workstation.images.planes import Plane, cut_plane, n_planes

logger = logging.getLogger(__name__)
Hu = npt.NDArray[np.int16]
FORMAT = 1
MOST_BYTES = 8 * 2**30
MOST_READERS = 16  # series of which the headers are kept, to read single slices before the whole was read
MOST_SLICES = 64  # in one answer


@dataclass(frozen=True, kw_only=True)
class VolumeFacts:
    """What is kept beside the voxels.

    Attributes:
        shape: Slices, rows, columns.
        affine: 4x4 from index to LPS mm.
        series_uid: As `CTVolume`.
        findings: Doubts about the series.
        frame_uid, image_uids: As `CTVolume`.
    """

    shape: tuple[int, int, int]
    affine: list[list[float]]
    series_uid: str = ""
    findings: tuple[Finding, ...] = ()
    frame_uid: str = ""
    image_uids: tuple[str, ...] = ()

    @property
    def geometry(self) -> VolumeGeometry:
        """The grid."""
        return VolumeGeometry(shape=self.shape, affine=np.array(self.affine))


def on_series(case: Case, name: str) -> ChosenCase:
    """The case with one of its series chosen, and the ROIs on it.

    Raises:
        SeriesError: It has no such series.
    """
    own = tuple(one for one in case.series if one.name == name)
    if not own:
        raise SeriesError(
            where=f"case {case.case_id}",
            expected=f"a series {name!r}",
            found=", ".join(one.name for one in case.series),
            remedy="load the page again",
        )
    drawn = tuple(roi for roi in case.rois if roi.series == name)
    return replace(case, series=own, rois=drawn).chosen(ChoiceRule())


def series_key(case: ChosenCase) -> str:
    """Digest of which files a series has, how long they are and when they changed."""
    about = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in _files(case)]
    return digest_of([FORMAT, case.format, about])


def _files(case: ChosenCase) -> list[Path]:
    from nephroscope.imaging.dicom.series import is_series_list, load_series_files

    image = case.image
    try:
        if is_series_list(image):
            return [image, *load_series_files(image).files]
        if image.is_dir():
            return sorted(path for path in image.iterdir() if path.is_file())
        image.stat()
    except OSError as error:
        raise SeriesError(
            where=f"case {case.case_id}",
            expected="the files of its CT",
            found=f"no {image.name}" if isinstance(error, FileNotFoundError) else "files that cannot be read",
            remedy="connect the disk on which they are, or import the case again",
        ) from error
    return [image]


class Volumes:
    """The cache.

    Args:
        folder: Where the files are.
        most_bytes: Total size that is kept.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._most = folder, most_bytes
        self._readers: OrderedDict[str, _Reader] = OrderedDict()
        self._filling: dict[str, Future[None]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, "volumes")

    def facts(self, case: ChosenCase) -> VolumeFacts:
        """Grid and findings of a series; by its headers alone where it was not read yet."""
        key = series_key(case)
        kept = self._kept(key)
        if kept is not None:
            return kept
        reader = self._reader(key, case)
        if reader is None:
            self.fill(key, case).result()
            return self._complete(key)
        return VolumeFacts(
            shape=reader.geometry.shape, affine=reader.geometry.affine.tolist(), series_uid=reader.series_uid
        )

    def is_ready(self, case: ChosenCase) -> bool:
        """True when the whole volume is on disk."""
        return self._kept(series_key(case)) is not None

    def plane(self, case: ChosenCase, plane: Plane, index: int) -> Hu:
        """One plane as it is looked at; see `cut_plane`. An axial one does not wait for the whole series."""
        key = series_key(case)
        facts = self._kept(key)
        if facts is None and plane == "axial":
            reader = self._reader(key, case)
            if reader is not None:
                _check_index(reader.geometry.shape, plane, index)
                first = reader.read(index)
                self.fill(key, case)
                return first
        facts = facts or self._filled(key, case)
        _check_index(facts.shape, plane, index)
        if plane == "axial":
            found: Hu = self._read(key, facts, index, index)[0]
            return found
        voxels: Hu = np.memmap(self._voxels(key), "<i2", "r", shape=facts.shape)
        return np.ascontiguousarray(cut_plane(voxels, plane, index))

    def plane_now(self, case: ChosenCase, index: int) -> Hu:
        """One axial slice (R, C), without reading the whole series where that can be avoided."""
        key = series_key(case)
        reader = None if self._kept(key) else self._reader(key, case)
        return self.plane(case, "axial", index) if reader is None else reader.read(index)

    def slices(self, case: ChosenCase, first: int, last: int) -> Hu:
        """Axial slices (n, R, C), both ends among them; waits until the whole series is read."""
        key = series_key(case)
        facts = self._kept(key) or self._filled(key, case)
        _check_index(facts.shape, "axial", first)
        _check_index(facts.shape, "axial", last)
        if not 0 <= last - first < MOST_SLICES:
            raise SeriesError(
                where="slices",
                expected=f"1 to {MOST_SLICES} slices at once",
                found=f"{first}-{last}",
                remedy="ask for fewer",
            )
        return self._read(key, facts, first, last)

    def volume(self, case: ChosenCase) -> CTVolume:
        """The whole volume, its voxels read-only and left on the disk."""
        key = series_key(case)
        facts = self._kept(key) or self._filled(key, case)
        return CTVolume(
            hu=np.memmap(self._voxels(key), "<i2", "r", shape=facts.shape),
            geometry=facts.geometry,
            series_uid=facts.series_uid,
            findings=facts.findings,
            frame_uid=facts.frame_uid,
            image_uids=frozenset(facts.image_uids),
        )

    def fill(self, key: str, case: ChosenCase) -> "Future[None]":
        """Read a series into the cache, after those that are being read."""
        with self._lock:
            if key not in self._filling:
                self._filling[key] = self._pool.submit(self._fill, key, case)
            return self._filling[key]

    def _fill(self, key: str, case: ChosenCase) -> None:
        try:
            if self._kept(key) is None:
                self._save(key, _read_ct(case))
                self._make_room(key)
        except NephroscopeError as error:
            logger.info("a series could not be read: %s", error.code)
            raise
        except OSError as error:
            raise _no_room(damage_words(error)) from error
        finally:
            with self._lock:
                self._filling.pop(key, None)
                self._readers.pop(key, None)

    def _save(self, key: str, ct: CTVolume) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._voxels(key)) as temporary:
            ct.hu.astype("<i2", copy=False).tofile(temporary)
        facts = VolumeFacts(
            shape=ct.geometry.shape,
            affine=ct.geometry.affine.tolist(),
            series_uid=ct.series_uid,
            findings=tuple(replace(one, case_id="") for one in ct.findings),
            frame_uid=ct.frame_uid,
            image_uids=tuple(sorted(ct.image_uids)),
        )
        save_document(self._about(key), facts, FORMAT)

    def _filled(self, key: str, case: ChosenCase) -> VolumeFacts:
        self.fill(key, case).result()
        return self._complete(key)

    def _complete(self, key: str) -> VolumeFacts:
        facts = self._kept(key)
        if facts is None:
            raise _no_room("that it was removed again")
        return facts

    def _kept(self, key: str) -> VolumeFacts | None:
        try:
            facts = read_document(self._about(key), VolumeFacts, FORMAT)
            whole = self._voxels(key).stat().st_size == 2 * int(np.prod(facts.shape))
            os.utime(self._about(key))
        except (OSError, NephroscopeError):
            return None
        return facts if whole else None

    def _read(self, key: str, facts: VolumeFacts, first: int, last: int) -> Hu:
        _, n_rows, n_columns = facts.shape
        n_px = n_rows * n_columns
        count = (last - first + 1) * n_px
        try:
            found: Hu = np.fromfile(self._voxels(key), "<i2", count, offset=2 * first * n_px)
        except OSError as error:
            raise _no_room("that it was removed again") from error
        if found.size != count:
            raise _no_room("a part of it")
        return found.reshape(-1, n_rows, n_columns)

    def _reader(self, key: str, case: ChosenCase) -> "_Reader | None":
        """Reads single slices of a DICOM series; None where only the whole can be read."""
        if case.format != "dicom":
            return None
        with self._lock:
            if key in self._readers:
                self._readers.move_to_end(key)
                known = self._readers[key]
                return known if known.axial else None
        reader = _Reader.of(case)
        with self._lock:
            self._readers[key] = reader
            while len(self._readers) > MOST_READERS:
                self._readers.popitem(last=False)
        return reader if reader.axial else None

    def _make_room(self, but: str) -> None:
        """Remove the volumes that were not looked at longest."""
        kept = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        sizes = {
            path: path.with_suffix(".hu").stat().st_size for path in kept if path.with_suffix(".hu").exists()
        }
        total = sum(sizes.values())
        for path, size in sizes.items():
            if total <= self._most or path.stem == but:
                continue
            path.unlink(missing_ok=True)
            try:
                path.with_suffix(".hu").unlink(missing_ok=True)
            except PermissionError:  # Windows, while it is read
                continue
            total -= size

    def _voxels(self, key: str) -> Path:
        return self._folder / f"{key}.hu"

    def _about(self, key: str) -> Path:
        return self._folder / f"{key}.json"


@dataclass(frozen=True, eq=False, kw_only=True)
class _Reader:
    geometry: VolumeGeometry
    series_uid: str
    axial: bool
    read: Callable[[int], Hu]

    @classmethod
    def of(cls, case: ChosenCase) -> "_Reader":
        from nephroscope.imaging.dicom.series import is_series_list, load_series_files
        from nephroscope.imaging.dicom.slice_reader import SliceReader

        if is_series_list(case.image):
            listed = load_series_files(case.image)
            made = SliceReader(listed.files, listed.acquisition)
        else:
            made = SliceReader(case.image)
        return cls(geometry=made.geometry, series_uid=made.series_uid, axial=made.axial, read=made.read)


def _no_room(found: str) -> SeriesError:
    return SeriesError(
        where="cache of CT volumes",
        expected="room for the voxels of this series",
        found=found,
        remedy="make room on the disk, and load the page again",
    )


def _read_ct(case: ChosenCase) -> CTVolume:
    from nephroscope.imaging.read import read_case_ct

    return read_case_ct(case)


def _check_index(shape: tuple[int, int, int], plane: Plane, index: int) -> None:
    n = n_planes(shape, plane)
    if not 0 <= index < n:
        raise SeriesError(
            where=f"{plane} slice", expected=f"0 to {n - 1}", found=str(index), remedy="choose another one"
        )

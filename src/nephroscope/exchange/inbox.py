"""What other programs send: CT series and their ROIs as files, and which of them can be answered.

Everything is on the disk before a sender is told that it was taken, and bounded in size, number and time.
"""

import logging
import shutil
import sqlite3
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from nephroscope.base.database import Database
from nephroscope.base.errors import NephroscopeError, PacsError
from nephroscope.base.files import make_folder
from nephroscope.exchange.peer import CT_CLASSES, ROI_CLASSES, StoredObject, header_of, write_received
from nephroscope.imaging.masks.rtstruct import image_uids as rtstruct_images
from nephroscope.imaging.masks.rtstruct import series_uids as rtstruct_series
from nephroscope.imaging.masks.seg import image_uids as seg_images
from nephroscope.imaging.masks.seg import series_uids as seg_series
from nephroscope.imaging.read import read_dicom_roi, refusing_damage

LOG = logging.getLogger(__name__)
FORMAT = 1
DATABASE, OBJECTS = "inbox.sqlite", "received"
TAKEN, FULL, NOT_OURS = 0x0000, 0xA700, 0xA900
MOST_TRIES = 3  # of a case on which this program ended before there was an answer
State = Literal["waiting", "answered", "refused"]
_TABLE = """
CREATE TABLE IF NOT EXISTS cases (
    roi_uid TEXT PRIMARY KEY, series_uid TEXT NOT NULL, path TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'answered', 'refused')),
    tries INTEGER NOT NULL DEFAULT 0, n_images INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '')
"""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is taken.

    Attributes:
        most_bytes: Of everything that lies in the inbox.
        most_object_bytes: Of one object.
        most_images: Of one series.
        quiet_s: A series is taken for whole when nothing of it came for so long.
        keep_s: What is older is removed.
    """

    most_bytes: int = 20 * 2**30
    most_object_bytes: int = 2**29
    most_images: int = 5000
    quiet_s: float = 10.0
    keep_s: float = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class ReceivedCase:
    """An ROI that came, and the series on which it was drawn.

    Attributes:
        images: Folder of that series.
        n_images: Its images when the case was last tried.
        reason: Why it was refused.
    """

    roi_uid: str
    series_uid: str
    roi: Path
    images: Path
    state: State
    tries: int
    n_images: int
    reason: str

    @property
    def here(self) -> set[str]:
        """SOP Instance UIDs of the images that came."""
        return {path.stem for path in self.images.glob("*.dcm")}


class Inbox:
    """The inbox in a folder, which is made if it is not there.

    Args:
        folder: Holds ``inbox.sqlite`` and ``received/SERIES/SOP.dcm``.
        limits: How much is taken.

    Raises:
        PacsError: It is damaged, or of a newer version.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        make_folder(folder / OBJECTS)
        self.folder, self.limits = folder, limits
        self._guard = threading.Lock()
        self._n_bytes = sum(path.stat().st_size for path in (folder / OBJECTS).rglob("*") if path.is_file())
        self._database = Database(
            path=folder / DATABASE,
            where="the inbox",
            refusal=PacsError,
            remedy="move its folder away, and send again",
        )
        self._database.prepare(FORMAT, _TABLE)

    def keep(self, content: bytes) -> int:
        """Take an object; the DICOM status to answer. Success means that it is on the disk."""
        one = header_of(content)
        if one is None or one.sop_class not in (*CT_CLASSES, *ROI_CLASSES):
            return NOT_OURS
        if len(content) > self.limits.most_object_bytes:
            return FULL
        with self._guard:
            folder = self.folder / OBJECTS / one.series_uid
            known = folder / f"{one.sop_uid}.dcm"
            before = known.stat().st_size if known.exists() else 0
            too_many = not before and len(list(folder.glob("*.dcm"))) >= self.limits.most_images
            more = len(content) - before
            if too_many or self._n_bytes + more > self.limits.most_bytes:
                return FULL
            written = write_received(content, self.folder / OBJECTS)
            self._n_bytes += more
            if written is not None and written.sop_class in ROI_CLASSES:
                self._note(written)
        return TAKEN

    def _note(self, roi: StoredObject) -> None:
        """Make a case of an ROI that came; one that came before stays what it was, unless it could not be read."""
        series, reason = "", ""
        try:
            named = series_of_roi(roi.path)
            images_of_roi.cache_clear()  # the file may have been another one before
            images_of_roi(roi.path)
            series = named[0] if len(named) == 1 else ""
            reason = "" if series else f"the ROI names {len(named)} series"
        except NephroscopeError as error:
            reason = reason_of(error)
        if reason:
            LOG.warning("ROI %s: refused: %s", roi.sop_uid, reason)
        path = roi.path.relative_to(self.folder).as_posix()
        with self._open() as database:
            database.execute(
                "INSERT INTO cases (roi_uid, series_uid, path, state, reason) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (roi_uid) DO UPDATE SET series_uid = excluded.series_uid, path = excluded.path,"
                " state = excluded.state, reason = excluded.reason WHERE cases.series_uid = ''",
                (roi.sop_uid, series, path, "refused" if reason else "waiting", reason),
            )

    def cases(self) -> list[ReceivedCase]:
        """All cases, in the order in which their ROIs came."""
        with self._open() as database:
            rows = database.execute(
                "SELECT roi_uid, series_uid, path, state, tries, n_images, reason FROM cases ORDER BY rowid"
            ).fetchall()
        return [
            ReceivedCase(
                roi_uid=row[0],
                series_uid=row[1],
                roi=self.folder / row[2],
                images=self.folder / OBJECTS / (row[1] or "none"),
                state=row[3],
                tries=row[4],
                n_images=row[5],
                reason=row[6],
            )
            for row in rows
        ]

    def ready(self) -> list[ReceivedCase]:
        """Cases whose images seem to be all there: those that the ROI names, and nothing came for a while.

        A case that was refused is ready again when more images of its series came.
        """
        found = []
        for one in self.cases():
            try:
                if one.state != "answered" and one.series_uid and self._is_whole(one):
                    found.append(one)
            except NephroscopeError as error:
                self.refused(one, reason_of(error))
                LOG.warning("series %s: refused: %s", one.series_uid, reason_of(error))
        return found

    def _is_whole(self, case: ReceivedCase) -> bool:
        files = [*case.images.glob("*.dcm")]
        if not files or not case.roi.exists():
            return False
        if case.state == "refused" and len(files) == case.n_images:
            return False
        last = max(path.stat().st_mtime for path in (*files, case.roi))
        if time.time() - last < self.limits.quiet_s:
            return False
        return images_of_roi(case.roi) <= {path.stem for path in files}

    def trying(self, case: ReceivedCase) -> bool:
        """Note that an answer is being made; False where this program ended on the case too often before."""
        if case.tries >= MOST_TRIES and case.n_images == len(case.here):
            self.refused(case, f"this program ended {case.tries} times before there was an answer")
            return False
        self._set(case, "waiting", case.tries + 1, "")
        return True

    def answered(self, case: ReceivedCase) -> None:
        """Its answer is in the queue."""
        self._set(case, "answered", 0, "")

    def refused(self, case: ReceivedCase, reason: str) -> None:
        """It cannot be answered, unless more of its images come."""
        self._set(case, "refused", 0, reason)

    def _set(self, case: ReceivedCase, state: State, tries: int, reason: str) -> None:
        with self._open() as database:
            database.execute(
                "UPDATE cases SET state = ?, tries = ?, n_images = ?, reason = ? WHERE roi_uid = ?",
                (state, tries, len(case.here), reason, case.roi_uid),
            )

    def sweep(self) -> list[str]:
        """Remove series that nothing was added to for too long, with their cases; gives those never answered."""
        end, unanswered = time.time() - self.limits.keep_s, []
        with self._guard:
            for folder in [path for path in (self.folder / OBJECTS).iterdir() if path.is_dir()]:
                times = [path.stat().st_mtime for path in folder.iterdir()] or [folder.stat().st_mtime]
                if max(times) < end:
                    self._n_bytes -= sum(path.stat().st_size for path in folder.iterdir())
                    shutil.rmtree(folder, ignore_errors=True)
            gone = [one for one in self.cases() if not one.roi.exists()]
            unanswered = [one.series_uid for one in gone if one.state == "waiting"]
            with self._open() as database:
                database.executemany("DELETE FROM cases WHERE roi_uid = ?", [(one.roi_uid,) for one in gone])
        return unanswered

    def _open(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._database.transaction()


def reason_of(error: NephroscopeError) -> str:
    """Why a case is refused, in one line."""
    return f"{error.code}: expected {error.expected}, found {error.found}"


def series_of_roi(path: Path) -> list[str]:
    """The series that a SEG or RTSTRUCT names.

    Raises:
        RoiError: It is damaged.
    """
    where = "an ROI that came"
    roi = read_dicom_roi(path, where)
    with refusing_damage(where):
        return sorted(set(seg_series(roi) if roi.Modality == "SEG" else rtstruct_series(roi)))


@lru_cache(maxsize=256)
def images_of_roi(path: Path) -> frozenset[str]:
    """The images that a SEG or RTSTRUCT names.

    Raises:
        RoiError: It is damaged.
    """
    where = "an ROI that came"
    roi = read_dicom_roi(path, where)
    with refusing_damage(where):
        return frozenset(seg_images(roi) if roi.Modality == "SEG" else rtstruct_images(roi))

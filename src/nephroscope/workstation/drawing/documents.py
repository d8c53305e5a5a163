"""ROI documents in SQLite: the slices of one author's ROI on one series, and the last steps to undo.

A step is on the disk before it is answered. An empty mask of a slice is an empty blob, and is not kept.
"""

import hashlib
import sqlite3
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError

Bools = npt.NDArray[np.bool_]
UNDOS = 50
UNDO, REDO = "undo", "redo"


class StaleError(RoiError):
    """A step does not follow the last one: another window drew in between, or the ROI is locked."""

    code = "stale"


class LockedError(RoiError):
    """A signed ROI does not change."""

    code = "locked"


@dataclass(frozen=True, kw_only=True)
class RoiDocument:
    """One version of one author's ROI on one series.

    Attributes:
        id: In the database.
        case_id, series, author, version: What it is; versions count from 1.
        revision: How many steps, undos and redos there were.
        position: Number of the last step that is not undone.
        shape: Of the series: slices, rows, columns.
        ct: Series UID, or digest of the file, of the CT.
        started, signed: Dates and times; ``signed`` is empty in a draft.
        digest: Of the mask, when it was signed.
        made_from: What a consensus was made from, or whose proposal a reader began with.
        file: Path of the signed file, relative to the workstation's folder.
        listed: True when rois.csv names it.
        can_undo, can_redo: Whether there is a step.
    """

    id: int
    case_id: str
    series: str
    author: str
    version: int
    revision: int
    position: int
    shape: tuple[int, int, int]
    ct: str
    started: str
    signed: str
    digest: str
    made_from: str
    file: str
    listed: bool
    can_undo: bool
    can_redo: bool

    @property
    def state(self) -> str:
        """``draft`` or ``signed``."""
        return "signed" if self.signed else "draft"

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"case {self.case_id}, ROI of {self.author}"


@dataclass(frozen=True, eq=False, kw_only=True)
class KeptSlice:
    """The mask (R, C) of a slice; ``drawn`` is False where a program made it between drawn ones."""

    mask: Bools
    drawn: bool


def pack(mask: Bools) -> bytes:
    """A mask as compressed bits; empty when no voxel is set."""
    return zlib.compress(np.packbits(mask).tobytes(), 3) if mask.any() else b""


def unpack(bits: bytes, shape: tuple[int, int]) -> Bools:
    """The mask (R, C) of such bits."""
    if not bits:
        return np.zeros(shape, np.bool_)
    packed = np.frombuffer(zlib.decompress(bits), np.uint8)
    return np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape).view(np.bool_)


def digest_of_slices(db: sqlite3.Connection, document: RoiDocument) -> str:
    """SHA-256 of the mask: of each slice that is not empty its index and its bits, in order."""
    digest = hashlib.sha256(repr(document.shape).encode())
    for index, kept in load_slices(db, document).items():
        digest.update(f"{index}:".encode() + np.packbits(kept.mask).tobytes())
    return digest.hexdigest()


def now() -> str:
    """Date and time here, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


_WITH_STEPS = """
SELECT d.*,
    EXISTS (SELECT 1 FROM roi_steps s WHERE s.document = d.id AND s.number = d.position) AS can_undo,
    EXISTS (SELECT 1 FROM roi_steps s WHERE s.document = d.id AND s.number = d.position + 1) AS can_redo
FROM roi_documents d
"""


def _document(row: sqlite3.Row) -> RoiDocument:
    named = {name: row[name] for name in row.keys() if name not in ("slices", "n_rows", "n_columns")}  # noqa: SIM118
    flags = {name: bool(row[name]) for name in ("listed", "can_undo", "can_redo")}
    return RoiDocument(**{**named, **flags}, shape=(row["slices"], row["n_rows"], row["n_columns"]))


def load_document(
    db: sqlite3.Connection, case_id: str, series: str, author: str, version: int = 0
) -> RoiDocument | None:
    """One version, by default the newest; None where there is none."""
    sql = f"{_WITH_STEPS} WHERE case_id = ? AND series = ? AND author = ?"
    if version:
        row = db.execute(f"{sql} AND version = ?", (case_id, series, author, version)).fetchone()
    else:
        row = db.execute(f"{sql} ORDER BY version DESC LIMIT 1", (case_id, series, author)).fetchone()
    return _document(row) if row else None


def load_documents(db: sqlite3.Connection, case_id: str | None = None) -> list[RoiDocument]:
    """All versions of all authors, of one case or of all; the newest version of an author comes last."""
    where, values = ("WHERE case_id = ?", (case_id,)) if case_id is not None else ("", ())
    order = "ORDER BY case_id, series, author, version"
    return [_document(row) for row in db.execute(f"{_WITH_STEPS} {where} {order}", values)]


def make_document(
    db: sqlite3.Connection,
    case_id: str,
    series: str,
    author: str,
    shape: tuple[int, int, int],
    ct: str,
) -> RoiDocument:
    """A new draft, the next version of its author; of an earlier one it takes over the slices."""
    before = load_document(db, case_id, series, author)
    version = before.version + 1 if before else 1
    db.execute(
        "INSERT INTO roi_documents (case_id, series, author, version, slices, n_rows, n_columns, ct, started)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (case_id, series, author, version, *shape, ct, now()),
    )
    made = load_document(db, case_id, series, author)
    assert made is not None  # noqa: S101
    if before is not None:
        db.execute(
            "INSERT INTO roi_slices SELECT ?, slice, drawn, bits FROM roi_slices WHERE document = ?",
            (made.id, before.id),
        )
        if before.made_from.startswith(PROPOSAL_OF):
            note_origin(db, made, before.made_from)
    return made


def load_slices(db: sqlite3.Connection, document: RoiDocument) -> dict[int, KeptSlice]:
    """The slices that are not empty, in order."""
    rows = db.execute(
        "SELECT slice, drawn, bits FROM roi_slices WHERE document = ? ORDER BY slice", (document.id,)
    )
    shape = document.shape[1:]
    return {
        row["slice"]: KeptSlice(mask=unpack(row["bits"], shape), drawn=bool(row["drawn"])) for row in rows
    }


def drawn_slice(db: sqlite3.Connection, document: RoiDocument, index: int) -> bool:
    """True for a slice that was drawn by hand; also for an empty one."""
    sql = "SELECT drawn FROM roi_slices WHERE document = ? AND slice = ?"
    row = db.execute(sql, (document.id, index)).fetchone()
    return bool(row["drawn"]) if row else True


def load_voxels(db: sqlite3.Connection, document: RoiDocument) -> Bools:
    """The whole mask (S, R, C)."""
    voxels = np.zeros(document.shape, np.bool_)
    for index, kept in load_slices(db, document).items():
        voxels[index] = kept.mask
    return voxels


def check_follows(document: RoiDocument, number: int) -> None:
    """Refuse a step that does not come next.

    Raises:
        LockedError: The ROI is signed.
        StaleError: Its number is not that of the next one.
    """
    if document.signed:
        raise LockedError(
            where=document.where,
            expected="a draft",
            found=f"version {document.version}, signed {document.signed}",
            remedy="make a new version of it",
        )
    if number != document.revision + 1:
        raise StaleError(
            where=document.where,
            expected=f"step {document.revision + 1}",
            found=f"step {number}",
            remedy="load the page again: it was drawn on in another window",
        )


def add_step(
    db: sqlite3.Connection,
    document: RoiDocument,
    number: int,
    tool: str,
    slices: Mapping[int, Bools],
    drawn: bool | None = True,
) -> None:
    """Keep a step: the new masks (R, C) of some slices. What was undone cannot be redone after it.

    Args:
        db: Within a transaction.
        document: A draft.
        number: One more than its revision.
        tool: Such as ``brush``.
        slices: New masks by index of slice.
        drawn: False for slices that a program made between drawn ones; None leaves each as it was.

    Raises:
        LockedError: The ROI is signed.
        StaleError: The number is not that of the next step.
    """
    check_follows(document, number)
    step = document.position + 1
    own = (document.id,)
    for table in ("roi_changes", "roi_steps"):
        db.execute(
            f"DELETE FROM {table} WHERE document = ? AND (number >= ? OR number <= ?)",  # noqa: S608
            (*own, step, step - UNDOS),
        )
    db.execute("INSERT INTO roi_steps VALUES (?, ?, ?)", (*own, step, tool))
    for index, mask in slices.items():
        sql = "SELECT bits, drawn FROM roi_slices WHERE document = ? AND slice = ?"
        row = db.execute(sql, (*own, index)).fetchone()
        before = (row["bits"], row["drawn"]) if row else (b"", 0)
        own_drawn = drawn if drawn is not None else bool(row["drawn"]) if row else True
        after = (pack(mask), int(own_drawn))
        db.execute(
            "INSERT INTO roi_changes VALUES (?, ?, ?, ?, ?, ?, ?)", (*own, step, index, *before, *after)
        )
        _put(db, document.id, index, *after)
    sql = "UPDATE roi_documents SET revision = ?, position = ? WHERE id = ?"
    db.execute(sql, (number, step, *own))


PROPOSAL_OF = "the proposal of "


def note_origin(db: sqlite3.Connection, document: RoiDocument, made_from: str) -> None:
    """Note what a draft began with; it stays with the ROI when that is signed."""
    db.execute("UPDATE roi_documents SET made_from = ? WHERE id = ?", (made_from, document.id))


def step_back(db: sqlite3.Connection, document: RoiDocument, number: int, which: str) -> dict[int, Bools]:
    """Undo the last step, or redo the one after it; gives the slices that changed.

    Raises:
        LockedError: The ROI is signed.
        StaleError: The number is not that of the next step.
        RoiError: There is no step.
    """
    check_follows(document, number)
    step = document.position + (which == REDO)
    found = db.execute(
        "SELECT c.* FROM roi_steps s LEFT JOIN roi_changes c USING (document, number)"
        " WHERE document = ? AND number = ?",
        (document.id, step),
    ).fetchall()
    if not found:
        raise RoiError(
            where=document.where,
            expected=f"a step to {which}",
            found=f"none (the last {UNDOS} are kept)",
            remedy="go on drawing",
        )
    side = "before" if which == UNDO else "after"
    changed = {}
    for row in found:
        if row["slice"] is not None:
            _put(db, document.id, row["slice"], row[side], row[f"{side}_drawn"])
            changed[row["slice"]] = unpack(row[side], document.shape[1:])
    sql = "UPDATE roi_documents SET revision = ?, position = ? WHERE id = ?"
    db.execute(sql, (number, step - (which == UNDO), document.id))
    return changed


def _put(db: sqlite3.Connection, document: int, index: int, bits: bytes, drawn: int) -> None:
    if bits:
        sql = "INSERT OR REPLACE INTO roi_slices (document, slice, drawn, bits) VALUES (?, ?, ?, ?)"
        db.execute(sql, (document, index, drawn, bits))
    else:
        db.execute("DELETE FROM roi_slices WHERE document = ? AND slice = ?", (document, index))

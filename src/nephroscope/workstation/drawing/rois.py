"""The ROIs of a case: those drawn here and those that rois.csv names, and what a person may see of them."""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError
from nephroscope.records import ChosenCase, RoiRef
from nephroscope.workstation.answers import NotFoundError
from nephroscope.workstation.drawing.documents import (
    PROPOSAL_OF,
    RoiDocument,
    add_step,
    load_document,
    load_documents,
    load_slices,
    make_document,
    note_origin,
)
from nephroscope.workstation.drawing.operations import Run, runs_of
from nephroscope.workstation.drawing.people import check_may_see, check_reader, is_reader, may_see, name_of
from nephroscope.workstation.images.routes import volumes_of
from nephroscope.workstation.images.volumes import on_series
from nephroscope.workstation.place import Place

Bools = npt.NDArray[np.bool_]
IMPORTED = "imported"
MOST_KEPT = 4  # imported masks in memory, as runs


@dataclass(frozen=True, kw_only=True)
class SliceRuns:
    """The mask of a slice: runs (row, first column, last column); ``drawn`` by hand or made by a program."""

    index: int
    runs: Sequence[Run]
    drawn: bool = True


@dataclass(frozen=True, kw_only=True)
class RoiView:
    """An ROI as a page gets it.

    Attributes:
        id: In addresses.
        author, name: Pseudonym, and the name that the reader gave.
        series: Identifier of the series.
        state: ``draft``, ``signed`` or ``imported``; of what a model drew ``proposed`` or ``accepted``.
        mine: True when it is of the reader of this session.
        hidden: True where the other annotator's is not to be seen yet; all that follows is then empty.
        version, revision: Of the document; 0 where imported.
        can_undo, can_redo: Whether there is a step.
        n_slices, n_voxels, volume_ml: Of the mask; -1 for an imported one, which is not read for this.
        signed, digest, made_from: Of a signed one.
        file: ``seg`` or ``nifti``: the kind of the file that the study uses.
    """

    id: str
    author: str
    name: str
    series: str
    state: str
    mine: bool
    hidden: bool
    version: int = 0
    revision: int = 0
    can_undo: bool = False
    can_redo: bool = False
    n_slices: int = -1
    n_voxels: int = -1
    volume_ml: float = -1.0
    signed: str = ""
    digest: str = ""
    made_from: str = ""
    file: str = ""


@dataclass(frozen=True, eq=False)
class Seen:
    """A document or an imported ROI that a request may have."""

    case: ChosenCase
    author: str
    document: RoiDocument | None
    imported: RoiRef | None


class Rois:
    """What a session sees of the ROIs of a place.

    Args:
        place: The study.
        session: Of the browser.
    """

    def __init__(self, place: Place, session: str) -> None:
        self.place, self.session = place, session

    def me(self, db: sqlite3.Connection) -> str:
        """Who draws; empty for nobody."""
        from nephroscope.workstation.drawing.people import reader_of

        return reader_of(db, self.session)

    def listed(self, case_id: str) -> list[RoiView]:
        """The newest version of each author on each series, and the imported ones."""
        case = self.place.case(case_id)
        with self.place.database() as db:
            found = []
            for series in case.series:
                on = on_series(case, series.name)
                for entry in self._entries(db, on):
                    found.append(self._view(db, entry))
            return found

    def view(self, db: sqlite3.Connection, id_: str) -> RoiView:
        """One of them, also an older version."""
        return self._view(db, self.entry(db, id_))

    def entry(self, db: sqlite3.Connection, id_: str) -> Seen:
        """What an identifier names, whether or not it may be seen."""
        case_id, series, author, version = self.place.key_of("roi", id_)
        case = on_series(self.place.case(case_id), series)
        if version == "0":
            imported = next((roi for roi in case.rois if roi.author == author), None)
            if imported is not None:
                return Seen(case, author, None, imported)
        else:
            document = load_document(db, case_id, series, author, int(version))
            if document is not None:
                return Seen(case, author, document, None)
        raise NotFoundError(
            where="address", expected="an ROI", found="one that is gone", remedy="load the page again"
        )

    def visible(self, db: sqlite3.Connection, id_: str) -> Seen:
        """What an identifier names.

        Raises:
            ApartError: It is another annotator's, and both have not signed yet.
        """
        entry = self.entry(db, id_)
        check_may_see(self._may_see(db, entry), entry.author)
        return entry

    def check_used(self, case: ChosenCase) -> None:
        """Refuse a case of which a question would use an ROI that this reader may not see yet.

        Raises:
            ApartError: It is another annotator's, and both have not signed yet.
        """
        with self.place.database() as db:
            hidden = self._hidden(db, case)
        check_may_see(not hidden, hidden)

    def apart(self, cases: Iterable[ChosenCase]) -> set[str]:
        """The case_id of those that `check_used` would refuse."""
        with self.place.database() as db:
            drawing = {one.case_id for one in load_documents(db) if not one.signed}
            by_me = bool(self.me(db))  # who does not draw sees all that nobody is drawing
            asked = (case for case in cases if by_me or case.case_id in drawing)
            return {case.case_id for case in asked if self._hidden(db, case)}

    def _hidden(self, db: sqlite3.Connection, case: ChosenCase) -> str:
        """Author of an ROI that the case's rule takes and this reader may not see; empty where there is none."""
        used = (entry for entry in self._entries(db, case) if entry.author in case.authors())
        return next((entry.author for entry in used if not self._may_see(db, entry)), "")

    def own_draft(self, db: sqlite3.Connection, id_: str) -> RoiDocument:
        """The document of the reader of this session that an identifier names.

        Raises:
            NobodyError: Nobody said who draws.
            ApartError: It is another reader's.
            RoiError: It is an imported ROI.
        """
        entry = self.entry(db, id_)
        check_may_see(check_reader(self.me(db)) == entry.author, entry.author)
        if entry.document is None:
            raise RoiError(
                where=f"ROI of {entry.author}",
                expected="one that is drawn here",
                found="an imported file",
                remedy="begin to draw: the imported ROI is copied",
            )
        return entry.document

    def begin(self, case: ChosenCase, new_version: bool) -> RoiView:
        """The reader's own draft on a series: the one that is there, a new one, or the next version of a signed one.

        An imported ROI of the same reader is copied into a new draft as its first step.

        Raises:
            NobodyError: Nobody said who draws.
            RoiError: The case is made of slice images.
        """
        if case.format == "images":
            raise RoiError(
                where=f"case {case.case_id}",
                expected="a CT volume",
                found="slice images",
                remedy="import the CT series to draw on it",
            )
        with self.place.database() as db:
            me = check_reader(self.me(db))
            before = load_document(db, case.case_id, case.ct.name, me)
        imported = next((roi for roi in case.rois if roi.author == me), None)
        copied: dict[int, Bools] = {}
        if before is None and imported is not None:
            copied = self._imported_slices(case, imported)
        volumes = volumes_of(self.place)
        facts = volumes.facts(case) if before is None else None
        with self.place.changing() as db:
            document = load_document(db, case.case_id, case.ct.name, me)
            if document is None:
                assert facts is not None  # noqa: S101
                ct = facts.series_uid
                document = make_document(db, case.case_id, case.ct.name, me, facts.geometry.shape, ct)
                if copied:
                    add_step(db, document, 1, "import", copied)
                if imported is not None and imported.made_from:
                    note_origin(db, document, f"{PROPOSAL_OF}{imported.made_from}")
            elif document.signed and new_version:
                document = make_document(db, case.case_id, case.ct.name, me, document.shape, document.ct)
        with self.place.database() as db:  # an identifier is written with a connection of its own
            document = load_document(db, case.case_id, case.ct.name, me)
            return self._view(db, Seen(case, me, document, None))

    def slices(self, entry: Seen) -> dict[int, SliceRuns]:
        """The mask of what may be seen, as runs by slice."""
        if entry.document is not None:
            with self.place.database() as db:
                kept = load_slices(db, entry.document)
            return {
                index: SliceRuns(index=index, runs=runs_of(one.mask), drawn=one.drawn)
                for index, one in kept.items()
            }
        assert entry.imported is not None  # noqa: S101
        found = self._imported_slices(entry.case, entry.imported)
        return {index: SliceRuns(index=index, runs=runs_of(mask)) for index, mask in found.items()}

    def proposed(self, case: ChosenCase) -> tuple[RoiRef, dict[int, Bools]]:
        """What a model proposed on the series of a case, and its mask by slice.

        Raises:
            RoiError: No model did.
        """
        roi = next((roi for roi in case.rois if roi.by_model), None)
        if roi is None:
            raise RoiError(
                where=f"case {case.case_id}",
                expected="a proposal of a model on this series",
                found="none",
                remedy="run `nephroscope segment`, or draw",
            )
        return roi, self._imported_slices(case, roi)

    def _imported_slices(self, case: ChosenCase, roi: RoiRef) -> dict[int, Bools]:
        from nephroscope.imaging.read import read_case_roi

        mask = read_case_roi(case, roi, volumes_of(self.place).volume(case)).voxels
        return {int(index): mask[index] for index in np.flatnonzero(mask.any(axis=(1, 2)))}

    def _entries(self, db: sqlite3.Connection, case: ChosenCase) -> list[Seen]:
        newest: OrderedDict[str, RoiDocument] = OrderedDict()
        for document in load_documents(db, case.case_id):
            if document.series == case.ct.name:
                newest[document.author] = document
        entries = [Seen(case, author, one, None) for author, one in newest.items()]
        drawn_here = self.place.state / "drawn"
        for roi in case.rois:
            if not roi.path.is_relative_to(drawn_here):
                entries.append(Seen(case, roi.author, None, roi))
        return sorted(entries, key=lambda one: (one.author, one.document is not None))

    def _may_see(self, db: sqlite3.Connection, entry: Seen) -> bool:
        states = self._states(db, entry.case)
        finished = {author for author, known in states.items() if "draft" not in known}
        drawing = {author for author, known in states.items() if "draft" in known}
        state = entry.document.state if entry.document else IMPORTED
        return may_see(self.me(db), entry.author, state, finished, drawing)

    def _states(self, db: sqlite3.Connection, case: ChosenCase) -> Mapping[str, set[str]]:
        found: dict[str, set[str]] = {}
        for entry in self._entries(db, case):
            if is_reader(entry.author):
                state = entry.document.state if entry.document else IMPORTED
                found.setdefault(entry.author, set()).add(state)
        return found

    def _view(self, db: sqlite3.Connection, entry: Seen) -> RoiView:
        document, case = entry.document, entry.case
        me, seen = self.me(db), self._may_see(db, entry)
        version = document.version if document else 0
        id_ = self.place.id_of("roi", case.case_id, case.ct.name, entry.author, str(version))
        series = self.place.id_of("series", case.case_id, case.ct.name)
        view = RoiView(
            id=id_,
            author=entry.author,
            name=name_of(db, entry.author),
            series=series,
            state=document.state if document else _imported_state(entry),
            mine=bool(me) and me == entry.author,
            hidden=not seen,
        )
        return _filled(db, self.place, view, document, case) if seen and document else view


def _imported_state(entry: Seen) -> str:
    """``imported``; of what a model drew, whether it is proposed or accepted."""
    roi = entry.imported
    return roi.state if roi is not None and roi.by_model else IMPORTED


def _filled(
    db: sqlite3.Connection, place: Place, view: RoiView, document: RoiDocument, case: ChosenCase
) -> RoiView:
    from dataclasses import replace

    slices = load_slices(db, document)
    n_voxels = sum(int(np.count_nonzero(one.mask)) for one in slices.values())
    spacing = volumes_of(place).facts(case).geometry.spacing_mm
    return replace(
        view,
        version=document.version,
        revision=document.revision,
        can_undo=document.can_undo and not document.signed,
        can_redo=document.can_redo and not document.signed,
        n_slices=len(slices),
        n_voxels=n_voxels,
        volume_ml=round(n_voxels * float(np.prod(spacing)) / 1000, 3),
        signed=document.signed,
        digest=document.digest,
        made_from=document.made_from,
        file="" if not document.file else "seg" if document.file.endswith(".dcm") else "nifti",
    )


def roi_states(place: Place) -> dict[str, list[tuple[str, str]]]:
    """Author and state (``draft``, ``signed``) of the newest versions that were drawn here, by case_id."""
    newest: dict[tuple[str, str, str], RoiDocument] = {}
    with place.database() as db:
        for document in load_documents(db):
            newest[document.case_id, document.series, document.author] = document
    found: dict[str, list[tuple[str, str]]] = {}
    for document in newest.values():
        found.setdefault(document.case_id, []).append((document.author, document.state))
    return found

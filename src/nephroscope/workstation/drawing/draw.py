"""A stroke, an operation or an undo of the reader who draws: checked, kept, and what it changed."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError
from nephroscope.base.text import counted_noun
from nephroscope.records import ChosenCase
from nephroscope.regions.graph_cut import fit_outline
from nephroscope.regions.interpolation import interpolate
from nephroscope.workstation.answers import RequestError
from nephroscope.workstation.drawing import operations
from nephroscope.workstation.drawing.documents import (
    PROPOSAL_OF,
    REDO,
    UNDO,
    RoiDocument,
    add_step,
    check_follows,
    drawn_slice,
    load_document,
    load_slices,
    note_origin,
    step_back,
)
from nephroscope.workstation.drawing.rois import Rois, SliceRuns
from nephroscope.workstation.images.routes import volumes_of

Bools = npt.NDArray[np.bool_]
TOOLS = ("brush", "eraser", "polygon", "threshold-brush", "other")
MOST_HU = 1000


@dataclass(frozen=True, kw_only=True)
class NewSlice:
    """The whole new mask of a slice."""

    index: int
    runs: list[tuple[int, int, int]]


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """What a stroke changed.

    Attributes:
        number: One more than the revision of the ROI.
        slices: The slices it changed.
        tool: One of `TOOLS`.
    """

    number: int
    slices: list[NewSlice]
    tool: str = "brush"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What the program is to do.

    Attributes:
        number: One more than the revision of the ROI.
        operation: One of `OPERATIONS`, undo or redo.
        slice: Where; for interpolate and largest-part nothing.
        row, column, tolerance_hu: Seed of ``grow``, and how far HU may be from its own.
        whole: ``grow`` over all slices and not one.
        box: First and last slice, row and column, for ``ellipsoid``.
        points: (row, column) of the corners of a ``polygon``; the center of the first voxel is 0, 0.
        mode: What ``polygon``, ``grow`` and ``ellipsoid`` do with the mask that is there: add, erase or replace.
        to: Slice that ``copy`` writes to.
    """

    number: int
    operation: str
    slice: int | None = None
    row: int | None = None
    column: int | None = None
    tolerance_hu: float = 40.0
    whole: bool = True
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None = None
    points: list[tuple[float, float]] = field(default_factory=list)
    mode: str = "add"
    to: int | None = None


@dataclass(frozen=True, kw_only=True)
class Changed:
    """The answer to a step.

    Attributes:
        revision: Of the ROI now.
        can_undo, can_redo: Whether there is a step.
        changed: The slices that are different now.
        doubt: What to look at; empty for nothing.
    """

    revision: int
    can_undo: bool
    can_redo: bool
    changed: list[SliceRuns]
    doubt: str = ""


PROPOSAL = "proposal"
Made = tuple[
    dict[int, Bools], bool | None, str
]  # new masks by slice, whether drawn by hand (None: as before), doubt


def keep_stroke(rois: Rois, id_: str, stroke: Stroke) -> Changed:
    """Keep a stroke; the same stroke sent again, because its answer was lost, is answered again.

    Raises:
        RoiError: It leaves the series, is of another tool, or does not follow the last step.
    """
    with rois.place.changing() as db:
        document = rois.own_draft(db, id_)
        if stroke.tool not in TOOLS or not stroke.slices:
            raise RequestError(
                where="stroke",
                expected=f"one of the tools {', '.join(TOOLS)}, and at least one slice",
                found=f"{stroke.tool[:20]!r} with {counted_noun(len(stroke.slices), 'slice')}",
                remedy="see docs/reference/workstation.md",
            )
        masks = {}
        for one in stroke.slices:
            _check_slice(document, one.index)
            masks[one.index] = operations.mask_of(one.runs, document.shape[1:], f"slice {one.index}")
        if stroke.number == document.revision and not document.signed and _is_kept(db, document, masks):
            return _changed(db, document, {})
        add_step(db, document, stroke.number, stroke.tool, masks)
        return _changed(db, document, {})


def _is_kept(db: sqlite3.Connection, document: RoiDocument, masks: dict[int, Bools]) -> bool:
    kept = load_slices(db, document)
    empty = np.zeros(document.shape[1:], np.bool_)
    return all(
        np.array_equal(kept[index].mask if index in kept else empty, mask) for index, mask in masks.items()
    )


def operate(rois: Rois, id_: str, asked: Operation) -> Changed:
    """Do what is asked, as one step.

    Raises:
        RoiError: The operation lacks something, is not possible here, or does not follow the last step.
    """
    with rois.place.database() as db:
        document = rois.own_draft(db, id_)
        case = rois.entry(db, id_).case
        check_follows(document, asked.number)
        if asked.operation in (UNDO, REDO):
            made: Made | None = None
        elif asked.operation in OPERATIONS:
            kept = {index: (one.mask, one.drawn) for index, one in load_slices(db, document).items()}
            work = _Work(rois, case, document, kept, asked)
            made = OPERATIONS[asked.operation](work)
        else:
            raise RequestError(
                where="operation",
                expected=", ".join((*OPERATIONS, UNDO, REDO)),
                found=repr(asked.operation[:20]),
                remedy="see docs/reference/workstation.md",
            )
    with rois.place.changing() as db:
        document = rois.own_draft(db, id_)
        if made is None:
            return _changed(db, document, step_back(db, document, asked.number, asked.operation))
        masks, drawn, doubt = made
        if not masks:  # nothing to undo
            check_follows(document, asked.number)
            return _changed(db, document, {}, doubt)
        add_step(db, document, asked.number, asked.operation, masks, drawn)
        if asked.operation == PROPOSAL:
            roi, _ = rois.proposed(case)
            note_origin(db, document, f"{PROPOSAL_OF}{roi.author}")
        return _changed(db, document, masks, doubt)


def _changed(
    db: sqlite3.Connection,
    document: RoiDocument,
    masks: dict[int, Bools],
    doubt: str = "",
) -> Changed:
    now = load_document(db, document.case_id, document.series, document.author, document.version)
    assert now is not None  # noqa: S101
    return Changed(
        revision=now.revision,
        can_undo=now.can_undo,
        can_redo=now.can_redo,
        changed=[
            SliceRuns(index=index, runs=operations.runs_of(mask), drawn=drawn_slice(db, now, index))
            for index, mask in sorted(masks.items())
        ],
        doubt=doubt,
    )


@dataclass(frozen=True, eq=False)
class _Work:
    rois: Rois
    case: ChosenCase
    document: RoiDocument
    kept: dict[int, tuple[Bools, bool]]
    asked: Operation

    def mask(self, index: int) -> Bools:
        """Of a slice, as it is."""
        empty = np.zeros(self.document.shape[1:], np.bool_)
        return self.kept[index][0] if index in self.kept else empty

    def slice_asked(self) -> int:
        """The slice that the operation names."""
        if self.asked.slice is None:
            raise _lacks(self.asked.operation, "slice")
        _check_slice(self.document, self.asked.slice)
        return self.asked.slice

    def combined(self, masks: dict[int, Bools]) -> dict[int, Bools]:
        """New masks together with those that are there, as the mode says; only what changes."""
        if self.asked.mode not in ("add", "erase", "replace"):
            raise RequestError(
                where=f"operation {self.asked.operation}, mode",
                expected="add, erase or replace",
                found=repr(self.asked.mode[:20]),
                remedy="see docs/reference/workstation.md",
            )
        made = {}
        for index, mask in masks.items():
            before = self.mask(index)
            joined = {"add": before | mask, "erase": before & ~mask, "replace": mask}[self.asked.mode]
            if not np.array_equal(before, joined):
                made[index] = joined
        return made

    def spacing(self) -> tuple[float, float, float]:
        """Of the series, in mm."""
        return volumes_of(self.rois.place).facts(self.case).geometry.spacing_mm


def _lacks(operation: str, field_name: str) -> RequestError:
    return RequestError(
        where=f"operation {operation}",
        expected=f"the field {field_name}",
        found="none",
        remedy="see docs/reference/workstation.md",
    )


def _check_slice(document: RoiDocument, index: int) -> None:
    if not 0 <= index < document.shape[0]:
        raise RoiError(
            where=document.where,
            expected=f"a slice from 0 to {document.shape[0] - 1}",
            found=str(index),
            remedy="choose another one",
        )


def _interpolate(work: _Work) -> Made:
    """Slices between those that were drawn by hand; earlier interpolation is made again, or goes."""
    drawn = {index: mask for index, (mask, by_hand) in work.kept.items() if by_hand}
    earlier = {index: np.zeros_like(mask) for index, (mask, by_hand) in work.kept.items() if not by_hand}
    made = earlier | interpolate(drawn, work.spacing()[1:])
    return {k: m for k, m in made.items() if not np.array_equal(m, work.mask(k))}, False, ""


def _fill_holes(work: _Work) -> Made:
    """Of the named slice, or of all."""
    wanted = work.kept if work.asked.slice is None else [work.slice_asked()]
    filled = {index: operations.fill_holes(work.mask(index)) for index in wanted}
    return {k: m for k, m in filled.items() if not np.array_equal(m, work.mask(k))}, None, ""


def _largest_part(work: _Work) -> Made:
    """Everything else goes."""
    if not work.kept:
        return {}, None, ""
    first = min(work.kept)
    voxels = np.stack([work.mask(index) for index in range(first, max(work.kept) + 1)])
    largest = operations.largest_part(voxels)
    changed = np.flatnonzero((voxels != largest).any(axis=(1, 2)))
    return {first + int(at): largest[at] for at in changed}, None, ""


def _grow(work: _Work) -> Made:
    """From a seed, over one slice or all."""
    asked, index = work.asked, work.slice_asked()
    if asked.row is None or asked.column is None:
        raise _lacks("grow", "row and column")
    _, n_rows, n_columns = work.document.shape
    inside = 0 <= asked.row < n_rows and 0 <= asked.column < n_columns
    if not inside or not 0 < asked.tolerance_hu <= MOST_HU:
        raise RequestError(
            where="operation grow",
            expected=f"a seed within {n_rows} x {n_columns}, and a tolerance of up to {MOST_HU} HU",
            found=f"{asked.row}, {asked.column} and {asked.tolerance_hu:g} HU",
            remedy="choose another one",
        )
    hu = volumes_of(work.rois.place).volume(work.case).hu
    first = 0 if asked.whole else index
    part = hu if asked.whole else hu[index : index + 1]
    seed = (index - first, asked.row, asked.column)
    grown, at_limit = operations.grow(part, seed, asked.tolerance_hu, work.spacing())
    touched = np.flatnonzero(grown.any(axis=(1, 2)))
    masks = {first + int(at): grown[at] for at in touched}
    doubt = "the region reaches the limit of 60 mm from its seed: it has probably leaked" if at_limit else ""
    return work.combined(masks), True, doubt


def _ellipsoid(work: _Work) -> Made:
    """The ellipsoid in a box, as a proposal."""
    if work.asked.box is None:
        raise _lacks("ellipsoid", "box")
    inside = operations.ellipsoid(work.document.shape, work.asked.box)
    (first, last), *_ = work.asked.box
    return work.combined({index: inside[index] for index in range(first, last + 1)}), True, ""


def _proposal(work: _Work) -> Made:
    """What a model proposed on this series, added to what is there; a reader corrects it and signs."""
    _, masks = work.rois.proposed(work.case)
    return work.combined(masks), True, ""


def _fit(work: _Work) -> Made:
    """The outline of the named slice fitted to the CT around it."""
    index = work.slice_asked()
    rough = work.mask(index)
    if not rough.any():
        return {}, None, ""
    fitted = fit_outline(volumes_of(work.rois.place).volume(work.case).hu[index], rough)
    return ({} if np.array_equal(fitted, rough) else {index: fitted}), None, ""


def _polygon(work: _Work) -> Made:
    """The voxels in a polygon on one slice."""
    index = work.slice_asked()
    return work.combined({index: operations.polygon(work.document.shape[1:], work.asked.points)}), True, ""


def _copy(work: _Work) -> Made:
    """A slice to another one, in place of what is there; an empty one changes nothing."""
    index = work.slice_asked()
    if work.asked.to is None:
        raise _lacks("copy", "to")
    _check_slice(work.document, work.asked.to)
    mask = work.mask(index)
    return {work.asked.to: mask} if mask.any() else {}, True, ""


def _clear(work: _Work) -> Made:
    """The named slice, or all."""
    wanted = list(work.kept) if work.asked.slice is None else [work.slice_asked()]
    empty = np.zeros(work.document.shape[1:], np.bool_)
    return {index: empty for index in wanted if work.mask(index).any()}, True, ""


OPERATIONS: dict[str, Callable[[_Work], Made]] = {
    "interpolate": _interpolate,
    "fill-holes": _fill_holes,
    "largest-part": _largest_part,
    "grow": _grow,
    "ellipsoid": _ellipsoid,
    "polygon": _polygon,
    "fit": _fit,
    PROPOSAL: _proposal,
    "copy": _copy,
    "clear": _clear,
}

"""Two annotators who drew apart, compared when both have signed, and one consensus of them."""

from dataclasses import dataclass

import numpy as np

from nephroscope.base.errors import RoiError
from nephroscope.records import RoiMask
from nephroscope.records.settings import READERS
from nephroscope.regions.agreement import RoiAgreement, compare
from nephroscope.workstation.answers import RequestError
from nephroscope.workstation.drawing.documents import (
    RoiDocument,
    add_step,
    load_document,
    load_slices,
    make_document,
)
from nephroscope.workstation.drawing.people import ApartError
from nephroscope.workstation.drawing.rois import Rois, Seen
from nephroscope.workstation.drawing.sign import Signed, sign_document
from nephroscope.workstation.images.routes import volumes_of
from nephroscope.workstation.place import Place

CONSENSUS = "consensus"
RULES = ("one", "two", "union", "intersection")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two ROIs of one series compared; the second minus the first.

    Attributes:
        one, two: Authors.
        agreement: Overlap, surfaces, volumes, slices; as `nephroscope agreement` computes them.
    """

    one: str
    two: str
    agreement: RoiAgreement


@dataclass(frozen=True, kw_only=True)
class ConsensusAsked:
    """Which ROI the two become: that of ``one`` or of ``two``, their ``union`` or their ``intersection``."""

    rule: str


def compare_two(rois: Rois, one: str, two: str) -> Comparison:
    """Compare two signed or imported ROIs.

    Raises:
        ApartError: One is not signed, or may not be seen yet.
        RoiError: They lie on different series.
    """
    masks = _both(rois, one, two)
    (first, mask_1), (second, mask_2) = masks
    return Comparison(one=first.author, two=second.author, agreement=compare(mask_1, mask_2))


def _both(rois: Rois, one: str, two: str) -> list[tuple[Seen, RoiMask]]:
    with rois.place.database() as db:
        entries = [rois.visible(db, one), rois.visible(db, two)]
    for entry in entries:
        if entry.document is not None and not entry.document.signed:
            raise ApartError(
                where=entry.document.where,
                expected="a signed ROI",
                found="a draft",
                remedy="sign it first; two annotators are compared when both have signed",
            )
    series = {(entry.case.case_id, entry.case.ct.name) for entry in entries}
    if len(series) != 1:
        raise RoiError(
            where="comparison",
            expected="two ROIs on one series",
            found="two series",
            remedy="choose two of one series",
        )
    geometry = volumes_of(rois.place).facts(entries[0].case).geometry
    masks = []
    for entry in entries:
        voxels = np.zeros(geometry.shape, np.bool_)
        for index, found in rois.slices(entry).items():
            for row, first, last in found.runs:
                voxels[index, row, first : last + 1] = True
        masks.append(RoiMask(voxels=voxels, geometry=geometry, case_id=entry.case.case_id))
    return list(zip(entries, masks, strict=True))


def make_consensus(rois: Rois, one: str, two: str, asked: ConsensusAsked) -> Signed:
    """Sign one ROI that a rule makes of two, as author ``consensus``, and note the decision for `agreement`.

    Raises:
        ApartError: One of them is not signed, or may not be seen yet.
        RoiError: Nothing is left, or there is a consensus already.
        StudyError: Another command writes into the study.
    """
    if asked.rule not in RULES:
        raise RequestError(
            where="consensus, rule",
            expected=", ".join(RULES),
            found=repr(asked.rule[:20]),
            remedy="see docs/reference/workstation.md",
        )
    (first, mask_1), (second, mask_2) = _both(rois, one, two)
    made = {
        "one": mask_1.voxels,
        "two": mask_2.voxels,
        "union": mask_1.voxels | mask_2.voxels,
        "intersection": mask_1.voxels & mask_2.voxels,
    }[asked.rule]
    if not made.any():
        raise RoiError(
            where=f"case {mask_1.case_id}",
            expected=f"the {asked.rule} of both ROIs to contain a voxel",
            found="none: they were drawn in different places",
            remedy="take one of the two, or draw a new version",
        )
    rule = {"one": first.author, "two": second.author}.get(asked.rule, asked.rule)
    case, place = first.case, rois.place
    with place.changing() as db:
        document = load_document(db, case.case_id, case.ct.name, CONSENSUS)
        if document is None or document.signed:
            ct = volumes_of(place).facts(case).series_uid
            document = make_document(db, case.case_id, case.ct.name, CONSENSUS, mask_1.geometry.shape, ct)
        before = load_slices(db, document)
        touched = {int(index) for index in np.flatnonzero(made.any(axis=(1, 2)))} | set(before)
        number = document.revision + 1
        add_step(db, document, number, CONSENSUS, {index: made[index] for index in sorted(touched)})
        document = load_document(db, case.case_id, case.ct.name, CONSENSUS)
    assert document is not None  # noqa: S101
    made_from = f"{rule} of {_version(first)} and {_version(second)}"
    signed = sign_document(place, case, document, made_from)
    if {first.author, second.author} == set(READERS) and place.mode != "empty":
        _decide(place, case.case_id, rule, compare(mask_1, mask_2).dice)
    return signed


def _version(entry: Seen) -> str:
    document: RoiDocument | None = entry.document
    return f"{entry.author} version {document.version}" if document else f"{entry.author} (imported)"


def _decide(place: Place, case_id: str, decision: str, dice: float) -> None:
    """Note the decision in adjudication.csv, where `agreement` reads it; other rows stay as they are."""
    from nephroscope.base.files import Seen as SeenFile
    from nephroscope.base.tables import read_table
    from nephroscope.regions.consensus import FILE, load_decisions, save_adjudication

    path = place.root / FILE
    with place.writing("consensus"):
        seen = SeenFile.of(path)
        decisions = load_decisions(path, {case.case_id for case in place.cases()})
        known = {}
        if path.exists():
            header, rows = read_table(path)
            names = [name.lower() for name in header]
            for _, cells in rows:
                row = dict(zip(names, cells, strict=True))
                if row.get("dice"):
                    known[row["case_id"]] = float(row["dice"])
        below = max(known.values(), default=0.0) + 1e-9
        dices = {**known, case_id: dice}
        low = max(below, 0.0) if case_id not in known else below
        save_adjudication(path, list(dices.items()), low, {**decisions, case_id: decision}, seen)

"""A reader study is made: the plan is checked against the study, the orders are drawn, and the protocol is locked."""

import hashlib
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.files import digest_of, make_folder, publish_folder
from nephroscope.base.text import first_few
from nephroscope.records import ChosenCase, RoiRef
from nephroscope.regions.consensus import EXCLUDE
from nephroscope.study.snapshot import Snapshot, take_snapshot
from nephroscope.workstation.reading.aid import Aid, save_aid
from nephroscope.workstation.reading.model import answers_of_model, save_pictures
from nephroscope.workstation.reading.order import draw_steps, new_secret
from nephroscope.workstation.reading.protocol import (
    FOLDER,
    Plan,
    Protocol,
    ReadCase,
    check_plan,
    save_protocol,
)
from nephroscope.workstation.reading.refusals import LockedError, PlanError
from nephroscope.workstation.reading.store import KeptStudy, add_study, studies

QUESTION = "Which subtype is this tumor?"
BY_MODEL = "model:"  # authors of ROIs that no person drew begin so


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A plan that can be locked: its protocol, the model's answers, and the cases."""

    protocol: Protocol
    aid: Aid | None
    snapshot: Snapshot
    chosen: tuple[ChosenCase, ...]


def outline_of(case: ChosenCase) -> RoiRef | None:
    """The ROI that readers see: the one that the study uses, where a person drew it."""
    roi = case.roi
    return roi if roi and not roi.author.startswith(BY_MODEL) else None


def check_against_study(root: Path, plan: Plan) -> Checked:
    """A plan checked against the study as it is now.

    Raises:
        PlanError: The plan contradicts itself, or a case does not exist, has no subtype, or has no outline
            where outlines are shown.
        AidError: The model has no independent answer about a case.
        NephroscopeError: The study cannot be read, or its run is out of date.
    """
    check_plan(plan)
    snapshot = take_snapshot(root)
    by_id = {case.case_id: case for case in snapshot.cases_to_read}
    names = (*plan.cases, *plan.training)
    _refuse(set(names) - by_id.keys(), "a case of cohort.csv", "correct the list of cases")
    every = tuple(by_id[name] for name in names)
    counted = every[: len(plan.cases)]
    unknown = {case.case_id for case in counted if case.subtype is None}
    _refuse(unknown, "a known subtype", "add the pathology, or leave the case out")
    excluded = {case.case_id for case in every if case.rule.roi == EXCLUDE}
    _refuse(
        excluded, "a case that the annotators keep", "leave it out, or change adjudication.csv", "excluded:"
    )
    combined = {case.case_id for case in every if plan.outline and case.combined}
    remedy = "decide for one annotator in adjudication.csv, or show no outlines"
    _refuse(combined, "the ROI of one annotator", remedy, "two that the study combines, of")
    undrawn = {case.case_id for case in every if plan.outline and outline_of(case) is None}
    _refuse(undrawn, "a tumor outlined by a person", "draw the ROI, or show no outlines")
    gone = {case.case_id for case in every if not case.image.exists()}
    _refuse(gone, "a CT whose files are there", "connect the disk, or leave the case out")
    aid = answers_of_model(snapshot, plan.model, every) if plan.model else None
    cohort = snapshot.cohort
    protocol = Protocol(
        title=plan.title.strip(),
        question=plan.question.strip() or QUESTION,
        subtypes=cohort.subtypes,
        positive=cohort.positive,
        cases=tuple(_read_case(by_id[name], plan.outline) for name in plan.cases),
        training=tuple(_read_case(by_id[name], plan.outline) for name in plan.training),
        readers=plan.readers,
        arms=plan.arms,
        design=plan.design,
        seed=plan.seed,
        washout_days=plan.washout_days,
        outline=plan.outline,
        model=aid.used if aid else None,
        synthetic=any(case.synthetic for case in every),
    )
    return Checked(protocol=protocol, aid=aid, snapshot=snapshot, chosen=every)


def _refuse(names: Collection[str], expected: str, remedy: str, what: str = "none for") -> None:
    """Refuse cases that lack something, by name."""
    if names:
        found = f"{what} {first_few(sorted(names))}"
        raise PlanError(where="protocol, cases", expected=expected, found=found, remedy=remedy)


def _read_case(case: ChosenCase, outline: bool) -> ReadCase:
    return ReadCase(case_id=case.case_id, shown=shown_digest(case, outline))


def shown_digest(case: ChosenCase, outline: bool) -> str:
    """Digest of what readers see of a case: its series by name, and the file of its outline."""
    series = [[one.name, one.series_uid, one.phase, one.source] for one in case.series]
    roi = outline_of(case) if outline else None
    drawn = None
    if roi is not None:
        content = roi.path.read_bytes() if roi.path.is_file() else b""
        drawn = [roi.author, roi.series, roi.label, roi.name, hashlib.sha256(content).hexdigest()]
    return digest_of([case.case_id, series, drawn])


def is_shown(case: ChosenCase, protocol: Protocol) -> bool:
    """True for a case whose series and outline are what they were when the protocol was locked."""
    locked = {one.case_id: one.shown for one in (*protocol.cases, *protocol.training)}
    return locked[case.case_id] == shown_digest(case, protocol.outline)


def check_shown(case: ChosenCase, protocol: Protocol) -> None:
    """Refuse a case whose series or outline is not what it was when the protocol was locked.

    Raises:
        LockedError: Something else would be shown.
    """
    if not is_shown(case, protocol):
        raise LockedError(
            where="a case of this reader study",
            expected="the series and the outline that were there when the protocol was locked",
            found="others",
            remedy="restore series.csv, rois.csv, adjudication.csv and the ROI's file, or make a new reader study",
        )


def lock(db: sqlite3.Connection, state: Path, checked: Checked, now: float) -> KeptStudy:
    """Lock a protocol: draw the orders and codes, write its folder, and keep it.

    Args:
        db: Of the workstation.
        state: The workstation's own folder.
        checked: From `check_against_study`.
        now: Seconds since 1970.

    Raises:
        LockedError: The very same protocol is locked already.
    """
    with _one_lock:
        return _lock(db, state, checked, now)


_one_lock = threading.Lock()


def _lock(db: sqlite3.Connection, state: Path, checked: Checked, now: float) -> KeptStudy:
    protocol = checked.protocol
    digest = protocol.digest
    if any(study.digest == digest for study in studies(db)):
        raise LockedError(
            where=f"protocol {digest[:12]}",
            expected="a protocol that is not locked yet",
            found="one with the same cases, readers, arms and seed, word for word",
            remedy="go on with that reader study, or choose another seed or title",
        )
    folder = state / FOLDER / digest[:16]
    draft = folder.with_name(f".{folder.name}.draft")
    for left in (draft, folder):  # of a lock that was interrupted before it was kept
        shutil.rmtree(left, ignore_errors=True)
    make_folder(draft)
    save_protocol(draft, protocol)
    if checked.aid is not None:
        save_aid(draft, checked.aid)
        save_pictures(draft, checked.snapshot, checked.chosen, checked.aid)
    publish_folder(draft, folder)
    study = KeptStudy(
        id=secrets.token_urlsafe(16),
        folder=folder.name,
        digest=digest,
        title=protocol.title,
        locked_at=now,
        closed_at=None,
        closed_why="",
        latest=now,
    )
    codes = {reader: new_secret() for reader in protocol.readers}
    add_study(db, study, draw_steps(protocol), codes)
    return study


def plan_of(protocol: Protocol) -> Plan:
    """The plan of a locked protocol, to begin a new one from; its model must be chosen again."""
    return Plan(
        title=protocol.title,
        cases=tuple(case.case_id for case in protocol.cases),
        readers=protocol.readers,
        seed=protocol.seed,
        question=protocol.question,
        training=tuple(case.case_id for case in protocol.training),
        arms=protocol.arms,
        design=protocol.design,
        washout_days=protocol.washout_days,
        outline=protocol.outline,
    )

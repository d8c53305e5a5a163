"""What the model answered about the cases: kept with the state of the ROI that was asked about."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nephroscope.base.errors import RoiError
from nephroscope.workstation.answers import NotFoundError
from nephroscope.workstation.place import Place

if TYPE_CHECKING:
    from nephroscope.records import Case, ChosenCase


def authors(case: "Case") -> list[str]:
    """Whose ROIs a case has."""
    return list(dict.fromkeys(roi.author for roi in case.rois))


def chosen(place: Place, case: "Case", author: str = "") -> "ChosenCase":
    """The case on the series on which an author drew; where none is named, as the study uses it.

    Raises:
        NotFoundError: The author drew nothing.
    """
    if author and author not in authors(case):
        raise NotFoundError(
            where=f"case {case.case_id}",
            expected="an ROI by this author",
            found="none",
            remedy="choose another",
        )
    return _on(place, case, author)


def _on(place: Place, case: "Case", author: str) -> "ChosenCase":
    return case.chosen(replace(place.cohort().rule, roi=author)) if author else place.used(case)


def with_one_roi(case: "ChosenCase") -> "ChosenCase":
    """A case whose ROI is one file; where the study makes one of two annotators', that is the equal consensus ROI.

    Raises:
        ExcludedError: The case was excluded by adjudication.
        RoiError: No file holds the ROI that the study makes of two.
    """
    from nephroscope.imaging.read import read_case_roi
    from nephroscope.regions.consensus import EXCLUDE, read_consensus_case

    rule = case.rule.roi
    if rule != EXCLUDE and not case.combined:
        return case
    volume, combined = read_consensus_case(case, rule)
    signed = case.roi_by("consensus")
    if signed is not None:
        voxels = read_case_roi(case, signed, volume).voxels
        if voxels.shape == combined.voxels.shape and (voxels == combined.voxels).all():
            return case.under(signed.author)
    raise RoiError(
        where=f"case {case.case_id}",
        expected="one file with the ROI that the study uses",
        found=f"the {rule} of {' and '.join(case.authors())}, which is in no file",
        remedy="choose whose ROI, or compare the two and make their consensus",
    )


def drawn(case: "ChosenCase") -> str:
    """What tells one state of an ROI file from another; empty without an ROI, or where its file is gone."""
    if case.roi is None:
        return ""
    if case.combined:  # in no file, and so of no answer
        return f"{case.rule.roi} {case.ct.name}"
    try:
        about = case.roi.path.stat()
    except OSError:
        return ""
    return f"{case.roi.author} {case.ct.name} {about.st_mtime_ns} {about.st_size}"


def last_answer(place: Place, case: "Case") -> tuple[sqlite3.Row | None, "ChosenCase | None"]:
    """The last answer about a case, and the case with the ROI it is about; None where that was drawn again since."""
    with place.database() as db:
        wanted = "SELECT * FROM answers WHERE case_id = ? ORDER BY made DESC LIMIT 1"
        row: sqlite3.Row | None = db.execute(wanted, (case.case_id,)).fetchone()
    if row is None:
        return None, None
    return row, _about(place, case, row["roi"])


def _about(place: Place, case: "Case", state: str) -> "ChosenCase | None":
    return next((one for name in ("", *authors(case)) if drawn(one := _on(place, case, name)) == state), None)


def asked_author(place: Place, case: "Case", state: str) -> str:
    """Whose ROI an answer is about, as `chosen` takes it: empty for the one that the study's rule gives.

    Args:
        place: The study.
        case: Asked about.
        state: Of the ROI then, from `drawn`; where it was drawn again since, its author is still known.
    """
    names = authors(case)
    same = (name for name in ("", *names) if drawn(chosen(place, case, name)) == state)
    return next(same, next((name for name in names if state.startswith(f"{name} ")), ""))


def answers_by_case(place: Place) -> Iterator[tuple["ChosenCase", dict[str, object]]]:
    """The last answer about each case, in short; without those about an ROI that was drawn again since.

    Each comes with the case as it was asked about.
    """
    with place.database() as db:
        rows = {row["case_id"]: row for row in db.execute("SELECT * FROM answers ORDER BY made")}
    for case in place.cases() if rows else ():
        row = rows.get(case.case_id)
        about = None if row is None else _about(place, case, row["roi"])
        if row is not None and about is not None:
            document = json.loads(row["document"])
            short = {name: document[name] for name in ("call", "probabilities", "reason")}
            yield about, {**short, "made": row["made"]}

"""adjudication.csv: the cases on which two readers differ most, and what was decided about each of them.

The file is written with an empty column ``decision``; a person fills it, and it is read back, every mistake named.
Columns that a person adds, such as a comment, stay.
"""

import re
import types
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import CohortError, ConfigError, RoiError, StudyError
from nephroscope.base.tables import Mistakes, read_table, save_table
from nephroscope.imaging.read import read_case, read_roi
from nephroscope.records import Case, CTVolume, Finding, RoiMask
from nephroscope.regions.agreement import check_same_grid
from nephroscope.regions.measure import crop

Bools = npt.NDArray[np.bool_]
EXCLUDE = "exclude"


class ExcludedError(RoiError):
    """The readers decided to leave the case out."""

    code = "excluded"


def read_readers(case: Case) -> tuple[CTVolume, RoiMask, RoiMask]:
    """The CT of a case and the ROI of each of its two readers.

    Raises:
        StudyError: A file that cohort.csv names is not there.
        SeriesError: The CT cannot be read as one.
        RoiError: One of the ROIs is missing, damaged, empty or drawn elsewhere, or the case is made of slice images.
    """
    path = case.roi_reader2
    if path is None or case.roi is None or case.format == "images":
        raise RoiError(
            where=f"case {case.case_id}",
            expected="a CT volume with the ROIs of two readers",
            found="slice images" if case.format == "images" else "one reader",
            remedy="fill the columns roi and roi_reader2 of cohort.csv, or leave the case out of the comparison",
        )
    if not path.exists():
        raise StudyError(
            where=f"case {case.case_id}",
            expected="the roi_reader2 that its row in cohort.csv points to",
            found=f"no {path.parent.name}/{path.name}",
            remedy="restore it, or correct the path",
        )
    volume, one = read_case(case)
    return volume, one, read_roi(path, volume, case.case_id, case.tumor_label, case.tumor_name)


def read_consensus_case(case: Case, rule: str) -> tuple[CTVolume, RoiMask]:
    """The CT of a case and the one ROI that a rule makes of its readers'.

    A case with one reader keeps that reader's ROI, and a note says so where the rule asks for another.

    Args:
        case: With one reader or two.
        rule: reader-1, reader-2, union, intersection or staple; exclude, by adjudication, refuses the case.

    Raises:
        StudyError: A file that cohort.csv names is not there.
        SeriesError: The CT cannot be read as one.
        RoiError: A ROI cannot be read, nothing is left of the two.
        ExcludedError: The case was excluded by adjudication.
        ConfigError: STAPLE is asked for and SimpleITK is not installed.
    """
    if rule == EXCLUDE:
        raise ExcludedError(
            where=f"case {case.case_id}",
            expected="a case that the readers keep",
            found="the decision 'exclude' in adjudication.csv",
            remedy="nothing, if that is meant; else change the decision",
        )
    if case.format == "images" or (case.roi_reader2 is None and case.roi is not None):
        return _with_note(*read_case(case), None if rule == "reader-1" else (rule, "reader-1"))
    if case.roi is None:
        found = read_case(replace(case, roi=case.roi_reader2))
        return _with_note(*found, None if rule == "reader-2" else (rule, "reader-2"))
    if rule == "reader-1":
        return read_case(case)
    volume, one, two = read_readers(case)
    return volume, combine(one, two, rule)


def combine(one: RoiMask, two: RoiMask, rule: str) -> RoiMask:
    """One mask from two by reader-1, reader-2, union, intersection or staple; findings of both are kept.

    Raises:
        RoiError: The masks lie on different grids, or nothing is left.
        ConfigError: STAPLE is asked for and SimpleITK is not installed.
    """
    check_same_grid(one, two)
    if rule in ("reader-1", "reader-2"):
        return one if rule == "reader-1" else two
    if rule == "union":
        voxels = one.voxels | two.voxels
    elif rule == "intersection":
        voxels = one.voxels & two.voxels
    else:
        voxels = staple(one.voxels, two.voxels)
    if not voxels.any():
        raise RoiError(
            where=f"case {one.case_id}",
            expected=f"the {rule} of two readers to hold a tumor voxel",
            found="none: they drew in different places",
            remedy="look at both ROIs, and write a decision into adjudication.csv",
        )
    findings = tuple(dict.fromkeys((*one.findings, *two.findings)))
    return RoiMask(voxels=voxels, geometry=one.geometry, case_id=one.case_id, findings=findings)


def staple(one: Bools, two: Bools) -> Bools:
    """Voxels that are tumor with a probability of at least one half by STAPLE, seen in the box of both masks.

    With two readers there is no third vote: every voxel on which they differ gets nearly the same probability, so the
    result is mostly their union or their intersection. The box and one voxel around it, not the whole CT, because how
    much background is seen decides the specificity; without any there is none.

    Source:
        Warfield et al. 2004, IEEE Trans Med Imaging 23:903, as SimpleITK has it.

    Raises:
        ConfigError: SimpleITK is not installed.
    """
    sitk = _simpleitk()
    box, offset = crop(one | two)
    window = tuple(slice(first, first + n) for first, n in zip(offset, box.shape, strict=True))
    images = [sitk.GetImageFromArray(np.pad(mask[window], 1).astype(np.uint8)) for mask in (one, two)]
    probability = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
    voxels = np.zeros(one.shape, np.bool_)
    voxels[window] = probability[1:-1, 1:-1, 1:-1] >= 0.5
    return voxels


def check_rule(rule: str) -> None:
    """Refuse a rule that cannot be followed here.

    Raises:
        ConfigError: STAPLE is asked for and SimpleITK is not installed.
    """
    if rule == "staple":
        _simpleitk()


def _simpleitk() -> types.ModuleType:
    try:
        import SimpleITK
    except ModuleNotFoundError as error:
        raise ConfigError(
            where="roi.consensus",
            expected="the extra 'readers' for STAPLE",
            found="no SimpleITK",
            remedy="pip install 'nephroscope[readers]', or choose union, intersection or one reader",
        ) from error
    module: types.ModuleType = SimpleITK
    return module


def _with_note(volume: CTVolume, roi: RoiMask, differs: tuple[str, str] | None) -> tuple[CTVolume, RoiMask]:
    if differs is None:
        return volume, roi
    rule, kept = differs
    note = Finding(
        code="one-reader",
        severity="note",
        message=f"case {roi.case_id}: one reader only; {kept} was kept where the rule is {rule}",
        case_id=roi.case_id,
    )
    return volume, replace(roi, findings=(*roi.findings, note))


FILE = "adjudication.csv"
COLUMNS = ("case_id", "dice", "decision")
DECISIONS = ("reader-1", "reader-2", "union", "intersection", EXCLUDE)


def load_decisions(path: Path, case_ids: Collection[str]) -> dict[str, str]:
    """Decisions by case_id; none where the file is not there or nothing is filled in.

    Raises:
        CohortError: A column is missing, a decision is none of the five, or a case is unknown or there twice.
    """
    if not path.exists():
        return {}
    header, rows = read_table(path)
    names = [name.lower() for name in header]
    if not {"case_id", "decision"} <= set(names):
        raise CohortError(
            where=path.name,
            expected=f"the columns {', '.join(COLUMNS)}",
            found=", ".join(header),
            remedy="restore the header line",
        )
    mistakes, decisions = Mistakes(path.name), {}
    for number, row in rows:
        cells = dict(zip(names, row, strict=True))
        case_id, decision = (
            cells["case_id"],
            "-".join(re.split(r"[\s_-]+", cells["decision"].lower().strip())),
        )
        if not decision:
            continue
        if case_id not in case_ids or case_id in decisions:
            found = f"{case_id!r} twice" if case_id in decisions else repr(case_id)
            mistakes.add(number, "case_id", "a case of cohort.csv, once", found)
        if decision not in DECISIONS:
            mistakes.add(number, "decision", f"one of {', '.join(DECISIONS)}, or nothing", repr(decision))
        decisions[case_id] = decision
    mistakes.refuse()
    return decisions


def save_adjudication(
    path: Path, dices: Iterable[tuple[str, float]], below: float, decisions: Mapping[str, str]
) -> list[str]:
    """Write the cases whose Dice is below a limit, and those decided or remarked on; decisions and remarks are kept.

    Args:
        path: Of the file.
        dices: (case_id, Dice) of every case that two readers drew.
        below: The limit.
        decisions: As they were before.

    Returns:
        case_id of the cases below the limit, the worst first.
    """
    listed = sorted(dices, key=lambda row: (row[1], row[0]))
    low = [name for name, dice in listed if dice < below]
    known = {name: f"{dice:.4f}" for name, dice in listed}
    more, remarks = _remarks(path)
    others = [name for name in {**decisions, **remarks} if name not in low]
    rows = [
        (name, known.get(name, ""), decisions.get(name, ""), *remarks.get(name, [""] * len(more)))
        for name in (*low, *others)
    ]
    if rows or path.exists():
        save_table(path, (*COLUMNS, *more), rows)
    return low


def _remarks(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Further columns of the file as it is, and what stands there by case_id."""
    if not path.exists():
        return [], {}
    header, rows = read_table(path)
    at = [index for index, name in enumerate(header) if name and name.lower() not in COLUMNS]
    own = [name.lower() for name in header].index("case_id")
    found = {row[own]: [row[index] for index in at] for _, row in rows}
    return [header[index] for index in at], {name: cells for name, cells in found.items() if any(cells)}

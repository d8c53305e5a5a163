"""One ROI from those of several annotators: by a rule of study.toml, or by the decisions in adjudication.csv.

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

from nephroscope.base.errors import CohortError, ConfigError, RoiError
from nephroscope.base.files import Seen
from nephroscope.base.tables import Mistakes, read_table, save_table
from nephroscope.base.version import install_line
from nephroscope.imaging.read import read_case, read_case_ct, read_case_roi
from nephroscope.records import ChosenCase, CTVolume, RoiMask, note
from nephroscope.records.settings import COMBINED, READERS
from nephroscope.regions.agreement import check_same_grid
from nephroscope.regions.measure import crop

Bools = npt.NDArray[np.bool_]
EXCLUDE = "exclude"


class ExcludedError(RoiError):
    """The readers decided to leave the case out."""

    code = "excluded"


def read_readers(case: ChosenCase) -> tuple[CTVolume, RoiMask, RoiMask]:
    """The CT of a case and the ROI of each of its two readers.

    Raises:
        StudyError: A file that series.csv or rois.csv names is not there.
        SeriesError: The CT cannot be read as one.
        RoiError: One of the ROIs is missing, damaged, empty or drawn elsewhere, or the case is made of slice images.
    """
    if case.both_readers is None or case.format == "images":
        raise RoiError(
            where=f"case {case.case_id}",
            expected="a CT volume with the ROIs of two annotators",
            found="slice images" if case.format == "images" else "one annotator",
            remedy="add the rows of reader-1 and reader-2 to rois.csv, or leave the case out of the comparison",
        )
    one, two = case.both_readers
    volume = read_case_ct(case)
    return volume, read_case_roi(case, one, volume), read_case_roi(case, two, volume)


def read_consensus_case(case: ChosenCase, rule: str) -> tuple[CTVolume, RoiMask]:
    """The CT of a case and the one ROI that a rule makes of those drawn on it.

    Where the rule asks for both readers, or the other one, a case with one reader keeps that reader's ROI, and a note
    says so.

    Args:
        case: With ROIs on its chosen series.
        rule: An author, or union, intersection or staple; exclude, by adjudication, refuses the case.

    Raises:
        StudyError: A file that series.csv or rois.csv names is not there.
        SeriesError: The CT cannot be read as one.
        RoiError: An ROI cannot be read, the author drew none, or nothing is left of the two.
        ExcludedError: The case was excluded by adjudication.
        ConfigError: STAPLE is asked for and SimpleITK is not installed.
    """
    if rule == EXCLUDE:
        raise ExcludedError(
            where=f"case {case.case_id}",
            expected="a case that the annotators keep",
            found="the decision 'exclude' in adjudication.csv",
            remedy="do nothing if that is intended; otherwise change the decision",
        )
    case = case.under(rule)
    authors = case.authors()
    if len(authors) == 2 and case.format != "images":
        volume, one, two = read_readers(case)
        return volume, combine(one, two, rule)
    kept = authors[0] if authors else READERS[0]
    volume, roi = read_case(case)
    if kept == rule or rule not in (*READERS, *COMBINED):
        return volume, roi
    by_reader = kept in READERS
    why = "one reader only" if by_reader else "drawn by no reader"
    text = f"case {roi.case_id}: {why}; {kept} was kept where the rule is {rule}"
    finding = note("one-reader" if by_reader else "no-reader", text, case_id=roi.case_id)
    return volume, replace(roi, findings=(*roi.findings, finding))


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
            expected=f"the {rule} of two annotators' ROIs to contain a voxel",
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
            remedy=f"{install_line('readers')}, or choose union, intersection or one annotator",
        ) from error
    module: types.ModuleType = SimpleITK
    return module


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
    path: Path,
    dices: Iterable[tuple[str, float]],
    below: float,
    decisions: Mapping[str, str],
    seen: Seen | None = None,
) -> list[str]:
    """Write the cases whose Dice is below a limit, and those decided or remarked on; decisions and remarks are kept.

    Args:
        path: Of the file.
        dices: (case_id, Dice) of every case that two readers drew.
        below: The limit.
        decisions: As they were before.
        seen: The file as they were read from it; where it changed since, it is not written over.

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
        save_table(path, (*COLUMNS, *more), rows, seen)
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

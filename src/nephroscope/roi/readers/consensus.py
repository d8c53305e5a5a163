"""One ROI from two readers': a case and a rule in, the CT and the ROI that the study uses out."""

import types
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from nephroscope.errors import ConfigError, RoiError, StudyError
from nephroscope.records import Case, CTVolume, Finding, RoiMask
from nephroscope.roi.checks.measure import crop
from nephroscope.roi.read import read_case, read_roi
from nephroscope.roi.readers.agreement import check_same_grid

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

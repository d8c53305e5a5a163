"""A case and a contrast phase in; the slices of that phase at the places where the chosen series was cut out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import NephroscopeError
from nephroscope.clinic.cut import center_mm, cut_at_same_places
from nephroscope.imaging.grid import AIR_HU
from nephroscope.imaging.masks.resample import fit_to_ct
from nephroscope.imaging.masks.segments import TumorQuery
from nephroscope.imaging.read import read_case_ct, read_case_roi
from nephroscope.records import (
    ChosenCase,
    CTVolume,
    Finding,
    RoiMask,
    RoiRef,
    SliceSpec,
    TumorSlice,
    note,
    warning,
)

ChosenSlices = tuple[CTVolume, RoiMask, npt.NDArray[np.int16]]

# What is found about further phases; it says nothing of an answer from the chosen series alone.
OF_FURTHER_PHASES = frozenset({"phase-left-out", "phase-not-drawn", "phases-frame-differs"})
HANDS_DIFFER_MM = 5.0  # between centers of what is drawn twice; less is no motion


@dataclass(frozen=True, eq=False, kw_only=True)
class CutPhase:
    """The slices of one phase.

    Attributes:
        hu: int16 (n, size_px, size_px); air where the phase does not have the place.
        present: bool (n,), where it has.
    """

    hu: npt.NDArray[np.int16]
    present: npt.NDArray[np.bool_]
    findings: tuple[Finding, ...] = ()


class PhaseError(NephroscopeError):
    """A case has none of the contrast phases that are cut."""

    code = "no-phase"


def cut_phases(
    case: ChosenCase, chosen: ChosenSlices, cut: Sequence[TumorSlice], spec: SliceSpec
) -> list[CutPhase]:
    """The slices of each phase in ``spec.phases``, as `cut_phase` cuts them.

    Raises:
        PhaseError: The case has none of them.
    """
    found = [cut_phase(case, phase, chosen, cut, spec) for phase in spec.phases]
    if found and not any(phase.present.any() for phase in found):
        left_out = [finding.message for phase in found for finding in phase.findings]
        raise PhaseError(
            where=f"case {case.case_id}",
            expected=f"a drawn series of one of the phases {', '.join(spec.phases)}",
            found="; ".join([f"the phase {case.phase}", *left_out]),
            remedy="name the phase in series.csv, or change [slices] phases in study.toml; until then it is left out",
        )
    return found


def cut_phase(
    case: ChosenCase, phase: str, chosen: ChosenSlices, cut: Sequence[TumorSlice], spec: SliceSpec
) -> CutPhase:
    """The places of the chosen slices in another phase of the case; all absent where it has no such series.

    Where the tumor is drawn on that phase too, or was placed there by `rois transfer`, the slices follow its center;
    otherwise they lie at the same mm, which is a finding. A series of the phase that cannot be read, or does not show
    the tumor, is absent, with a finding. Of two series of the phase, the first in series.csv is cut.

    Args:
        case: With all its series.
        phase: To be cut.
        chosen: CT and tumor of the chosen series, and its slices (n, size_px, size_px).
        cut: The same slices with their places.
        spec: How they were cut.
    """
    volume, roi, hu = chosen
    absent = CutPhase(hu=np.full_like(hu, AIR_HU), present=np.zeros(len(cut), np.bool_))
    if case.phase == phase:
        return CutPhase(hu=hu, present=np.ones(len(cut), np.bool_))
    series = next((one for one in case.series if one.phase == phase), None)
    if series is None:
        return absent
    if series.name in case.not_placed and roi_there(replace(case, ct=series)) is None:
        text = f"the {phase} series is left out: its tumor could not be placed by registration; draw it"
        return replace(absent, findings=(note("phase-left-out", text, case_id=case.case_id, where=phase),))
    try:
        other_case = replace(case, ct=series)
        other = read_case_ct(other_case)
        there, shift_mm = _place(other_case, other, roi)
    except (NephroscopeError, OSError) as error:
        why = str(error) if isinstance(error, NephroscopeError) else error.strerror or type(error).__name__
        text = f"the {phase} series is left out: {why}"
        return replace(absent, findings=(note("phase-left-out", text, case_id=case.case_id, where=phase),))
    found, present = cut_at_same_places(other, there, (volume, roi), cut, spec, shift_mm)
    findings: tuple[Finding, ...] = ()
    if shift_mm is None:
        text = (
            f"the {phase} series is cut at the same mm as the {case.phase} series: the tumor is not drawn on it, "
            "and may lie elsewhere by breathing"
        )
        findings += (note("phase-not-drawn", text, case_id=case.case_id, where=phase),)
    if (shift_mm is None or not shift_mm.any()) and volume.frame_uid != other.frame_uid:
        text = f"the {phase} and the {case.phase} series have no common Frame of Reference UID: check that they match"
        findings += (warning("phases-frame-differs", text, case_id=case.case_id, where=phase),)
    return CutPhase(hu=found, present=present, findings=findings)


def roi_there(case: ChosenCase) -> RoiRef | None:
    """The ROI of a case on the series that it is on: one that the rule takes, anybody's, or a transferred one."""
    if case.roi is not None:
        return case.roi
    usable = [roi for roi in case.rois if roi.is_transferred or case.rule.takes(roi)]
    here = [roi for roi in usable if roi.series == case.ct.name]
    return min(here, key=lambda roi: roi.is_transferred, default=None)


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesOfStudy:
    """A further series of a case of a study."""

    case: ChosenCase

    def read(self) -> CTVolume:
        """The CT.

        Raises:
            SeriesError: It cannot be read as one.
        """
        return read_case_ct(self.case)


def further_series(case: ChosenCase) -> tuple[dict[str, SeriesOfStudy], dict[str, RoiRef]]:
    """The first series of each further phase of a case of a study, and the ROIs drawn or transferred there."""
    series: dict[str, SeriesOfStudy] = {}
    rois: dict[str, RoiRef] = {}
    for one in case.series:
        if one.phase in ("unknown", case.phase) or one.phase in series or one.format == "images":
            continue
        on_it = replace(case, ct=one)
        series[one.phase] = SeriesOfStudy(case=on_it)
        there = roi_there(on_it)
        if there is not None:
            rois[one.phase] = there
    return series, rois


def _place(case: ChosenCase, other: CTVolume, roi: RoiMask) -> tuple[RoiMask, npt.NDArray[np.float64] | None]:
    """The tumor on another CT, and how far its center lies from the chosen one; None where it is not drawn."""
    drawn = roi_there(case)
    if drawn is not None:
        there = read_case_roi(case, drawn, other)
        shift_mm = center_mm(there) - center_mm(roi)
        by_hand = not drawn.is_transferred and float(np.linalg.norm(shift_mm)) < HANDS_DIFFER_MM
        return there, np.zeros(3) if by_hand else shift_mm
    query = TumorQuery(case_id=case.case_id, where=f"case {case.case_id}, {case.phase}")
    voxels, _ = fit_to_ct(roi.voxels, roi.geometry.affine, other.geometry, query)
    return RoiMask(voxels=voxels, geometry=other.geometry, case_id=case.case_id), None

"""A case and a contrast phase in; the slices of that phase at the places where the chosen series was cut out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import NephroscopeError
from nephroscope.clinic.cut import cut_at_same_places
from nephroscope.imaging.grid import AIR_HU
from nephroscope.imaging.masks.resample import fit_to_ct
from nephroscope.imaging.masks.segments import TumorQuery
from nephroscope.imaging.read import read_case_ct
from nephroscope.records import ChosenCase, CTVolume, Finding, RoiMask, SliceSpec, TumorSlice, warning

ChosenSlices = tuple[CTVolume, RoiMask, npt.NDArray[np.int16]]


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


def cut_phase(
    case: ChosenCase, phase: str, chosen: ChosenSlices, cut: Sequence[TumorSlice], spec: SliceSpec
) -> CutPhase:
    """The places of the chosen slices in another phase of the case; all absent where it has no such series.

    A series of the phase that cannot be read, or does not show the tumor, is absent, with a finding. Of two series of
    the phase, the first in series.csv is cut.

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
    where = f"case {case.case_id}, {phase}"
    try:
        other = read_case_ct(replace(case, ct=series))
        query = TumorQuery(case_id=case.case_id, where=where)
        voxels, _ = fit_to_ct(roi.voxels, roi.geometry.affine, other.geometry, query)
        there = RoiMask(voxels=voxels, geometry=other.geometry, case_id=case.case_id)
    except (NephroscopeError, OSError) as error:
        why = str(error) if isinstance(error, NephroscopeError) else error.strerror or type(error).__name__
        text = f"the {phase} series is left out: {why}"
        return replace(absent, findings=(warning("phase-left-out", text, case_id=case.case_id, where=phase),))
    found, present = cut_at_same_places(other, there, (volume, roi), cut, spec)
    findings: tuple[Finding, ...] = ()
    if volume.frame_uid != other.frame_uid:
        text = f"the {phase} and the {case.phase} series have no common Frame of Reference UID: check that they match"
        findings = (warning("phases-frame-differs", text, case_id=case.case_id, where=phase),)
    return CutPhase(hu=found, present=present, findings=findings)

"""Predict with a bundle: probabilities by subtype and slice, and a call or "not sure". No torch.

What is doubtful about the CT and the ROI is found by `nephroscope.regions` and given here: with a warning there is no
call.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nephroscope.base.errors import BundleError, RoiError
from nephroscope.clinic.bundle import Bundle, slices_digest
from nephroscope.clinic.call import only_guesses
from nephroscope.clinic.cut import center_mm, cut_at_same_places, cut_slices
from nephroscope.clinic.facts import unused_facts
from nephroscope.clinic.outside import answer_outside, called_other
from nephroscope.clinic.score import CaseInput
from nephroscope.records import Answer, ClinicalFacts, CTVolume, Finding, RoiMask, note, warning

UNKNOWN = "unknown"  # phase of a CT of which nobody says it


def whole_image(volume: CTVolume, case_id: str) -> RoiMask:
    """Every slice from edge to edge, for a bundle of whole slices."""
    text = "no ROI: every slice of the CT counts, from edge to edge"
    voxels = np.ones(volume.geometry.shape, np.bool_)
    found = (note("no-mask", text, case_id=case_id),)
    return RoiMask(voxels=voxels, geometry=volume.geometry, case_id=case_id, findings=found)


def check_roi_given(bundle: Bundle, roi: object, case_id: str) -> None:
    """Refuse a case without ROI, unless the network sees whole slices.

    Raises:
        RoiError: There is none.
    """
    if roi is None and bundle.spec.roi_mode != "full":
        raise RoiError(
            where=f"case {case_id}",
            expected="an ROI of the tumor, because this bundle classifies only the part of the CT around it",
            found="none",
            remedy="name its file with --roi, or draw and sign the tumor in the workstation",
        )


def check_phase(bundle: Bundle, phase: str, evidence: str, case_id: str) -> list[Finding]:
    """A warning where the network never saw the contrast phase of a CT; a note where the phase is not known."""
    known = {name: n for name, n in bundle.phases.items() if name != UNKNOWN and n}
    if not known or phase in known:
        return []
    trained = ", ".join(f"{name} ({n})" for name, n in known.items())
    if phase == UNKNOWN:
        text = f"the contrast phase of this CT is not known; the network was trained on {trained}"
        return [note("phase-not-known", text, case_id=case_id)]
    said = f" ({evidence})" if evidence else ""
    text = f"the CT is {phase}{said}; the network was trained on {trained}"
    return [warning("phase-not-trained", text, case_id=case_id)]


@dataclass(frozen=True, eq=False, kw_only=True)
class OtherPhase:
    """A CT of the patient in another phase, and the tumor on its grid."""

    phase: str
    volume: CTVolume
    roi: RoiMask


@dataclass(frozen=True, eq=False, kw_only=True)
class Phases:
    """The phase of the CT on which the tumor was drawn, and the other phases of the patient."""

    drawn: str = UNKNOWN
    others: tuple[OtherPhase, ...] = ()


def predict(  # noqa: PLR0913
    bundle: Bundle,
    volume: CTVolume,
    roi: RoiMask | None,
    doubts: Sequence[Finding] = (),
    case_id: str = "case",
    facts: ClinicalFacts | None = None,
    phases: Phases | None = None,
) -> tuple[Answer, dict[str, float]]:
    """Predict from a CT in memory; gives the answer and the seconds that cutting and network took.

    Args:
        bundle: Opened.
        volume: CT in HU.
        roi: The tumor on its grid; None for a bundle of whole slices.
        doubts: What else was found about CT, ROI and phase; with a warning among them there is no call.
        case_id: Of a case without ROI.
        facts: Age, sex and size, where they are known.
        phases: For a bundle of several phases.

    Raises:
        RoiError: The ROI is missing or does not lie on the CT, or no cross-section is large enough.
        BundleError: The bundle needs more than the slices of one series, or its network gives no probabilities.
    """
    started = time.perf_counter()
    check_roi_given(bundle, roi, case_id)
    tumor = roi if roi is not None else whole_image(volume, case_id)
    cut = cut_slices(volume, tumor, bundle.spec)
    phases = phases if phases is not None and bundle.scorer.phases else Phases()
    slices = {phases.drawn: np.stack([part.hu for part in cut])}
    presence = {phases.drawn: np.ones(len(cut), np.bool_)}
    for one in phases.others:
        if one.phase not in slices:
            moved = center_mm(one.roi) - center_mm(tumor)
            found = cut_at_same_places(one.volume, one.roi, (volume, tumor), cut, bundle.spec, moved)
            slices[one.phase], presence[one.phase] = found
    case = CaseInput(
        case_id=tumor.case_id,
        patient_id=tumor.case_id,
        slices=slices,
        presence=presence,
        chosen=phases.drawn,
        slice_index=[part.slice_index for part in cut],
        area_mm2=[part.area_mm2 for part in cut],
        mm_per_px=cut[0].mm_per_px,
        clinical=facts or ClinicalFacts(),
        findings=tuple(dict.fromkeys((*volume.findings, *tumor.findings, *doubts))),
    )
    bundle.needs.check(case)
    ready = time.perf_counter()
    outside = None
    if bundle.about.outside is not None:
        outside, far = answer_outside(bundle.about.outside, bundle.embedding, case.hu, case.case_id)
        case = replace(case, findings=(*case.findings, *far))
    if why := only_guesses(bundle.about.evaluation):
        guesses = warning("not-better-than-chance", why, case_id=case.case_id)
        case = replace(case, findings=(*case.findings, guesses))
    answer = replace(bundle.scorer.answer(case), outside=outside)
    if not all(math.isfinite(p) for p in answer.probabilities.values()):
        raise BundleError(
            where=f"case {tumor.case_id}",
            expected="a probability of each subtype",
            found="numbers that are none",
            remedy="do not use this bundle; export the run again",
        )
    notes = [note(code, message, case_id=tumor.case_id) for code, message in _about(bundle, case)]
    notes += _phases_missing(bundle.scorer.phases, answer)
    if bundle.about.outside is not None:
        notes += called_other(bundle.about.outside, answer.forced_call, tumor.case_id)
    notes += unused_facts(case.clinical, tumor.case_id) if bundle.scorer.facts is None else []
    seconds = {"cut": ready - started, "network": time.perf_counter() - ready}
    return replace(answer, findings=(*answer.findings, *notes)), seconds


def _phases_missing(phases: Sequence[str], answer: Answer) -> list[Finding]:
    """A note where a network of several phases saw only some of them."""
    missing = [phase for phase in phases if phase not in answer.phases]
    if not missing:
        return []
    text = f"answered from {' and '.join(answer.phases)}; the network also takes {' and '.join(missing)}"
    return [note("phases-missing", text, case_id=answer.case_id)]


def _about(bundle: Bundle, case: CaseInput) -> list[tuple[str, str]]:
    notes = []
    if any(slices_digest(hu) in bundle.trained_on for hu in case.slices.values()):
        notes.append(
            ("seen-in-training", "this case was used to train the network: the answer is not independent")
        )
    if bundle.about.training.synthetic:
        notes.append(
            (
                "synthetic-training",
                "the network was trained on SYNTHETIC phantoms: the answer has no clinical meaning",
            )
        )
    if bundle.about.training.leaky:
        notes.append(
            (
                "leaky-split",
                "LEAKY: the network was trained with a split by image, so its figures are too good",
            )
        )
    return notes

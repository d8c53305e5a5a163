"""Cases in, findings and measures out: what is doubtful or wrong with each CT and its ROI."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nephroscope.errors import NephroscopeError, RoiError
from nephroscope.progress import track
from nephroscope.records import Case, CTVolume, Finding, RoiMask, Severity, VolumeGeometry
from nephroscope.roi.checks.anatomy import look_under, side_of
from nephroscope.roi.checks.doubts import (
    MOST_BLACK,
    Teller,
    doubt_kidney,
    doubt_place,
    doubt_shape,
    doubt_size,
    doubt_table,
    say_measures,
)
from nephroscope.roi.checks.enhancement import check_phase, measure_enhancement
from nephroscope.roi.checks.kidney import (
    LEAST_SOFT,
    LEAST_SOFT_BY_KIDNEY,
    compare_with_kidney,
    mirrored_words,
)
from nephroscope.roi.checks.measure import RoiMeasures, crop, measure
from nephroscope.roi.checks.organs import Organs, organs_of
from nephroscope.roi.read import read_case, read_roi

MISPLACED = {"roi-outside-body", "roi-on-air", "roi-on-bone", "roi-on-fat"}
OFF_KIDNEY = {"roi-off-kidney"}
Read = Callable[[Case], tuple[CTVolume, RoiMask]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCase:
    """What is known of a case after a look at its CT and ROI.

    Attributes:
        findings: Those of its import, of its files, and of the tumor's place, shape and size.
        measures: None where the case was refused or its images have no ROI.
    """

    findings: tuple[Finding, ...]
    measures: RoiMeasures | None = None


def check_cases(
    cases: Sequence[Case], known: Sequence[Finding] = (), read: Read = read_case
) -> dict[str, CheckedCase]:
    """Read every case; findings by case_id, a refusal among them where the case cannot be used.

    Args:
        cases: Of the cohort.
        known: Findings of the imports, given again with their case.
        read: Gives the CT of a case and the one ROI that is looked at; by default the first reader's.
    """
    found: dict[str, CheckedCase] = {}
    for case in track(cases, "checking", "case", len(cases)):
        told = tuple(finding for finding in known if finding.case_id == case.case_id)
        checked = _check_case(case, read)
        found[case.case_id] = replace(checked, findings=(*told, *checked.findings))
    return found


def _check_case(case: Case, read: Read) -> CheckedCase:
    try:
        volume, roi = read(case)
    except NephroscopeError as error:
        code, message = error.code, str(error)
    except OSError as error:
        code, message = "unreadable", f"case {case.case_id}: cannot be read: {_reason(error)}"
    else:
        checked = (
            _check_images(case, volume, roi) if case.format == "images" else _check_roi(case, volume, roi)
        )
        of_files = dict.fromkeys((*volume.findings, *roi.findings, *_second_reader(case, volume)))
        return replace(checked, findings=(*of_files, *checked.findings))
    severity: Severity = "note" if code == "excluded" else "refusal"
    return CheckedCase(
        findings=(Finding(code=code, severity=severity, message=message, case_id=case.case_id),)
    )


def _second_reader(case: Case, volume: CTVolume) -> tuple[Finding, ...]:
    """Doubts about the second reader's file; where the rule does without it, it may be unreadable."""
    if case.roi_reader2 is None or case.roi is None or case.format == "images":
        return ()
    try:
        roi = read_roi(case.roi_reader2, volume, case.case_id, case.tumor_label, case.tumor_name)
    except (RoiError, OSError) as error:
        why = error if isinstance(error, RoiError) else error.strerror
        text = f"the second reader's ROI is not used, and cannot be: {why}"
        return (Teller(case.case_id)("roi-reader2-unreadable", text),)
    return roi.findings


def _check_roi(case: Case, volume: CTVolume, roi: RoiMask) -> CheckedCase:
    """A volume with its ROI: everything can be asked."""
    under, measures = look_under(volume, roi), measure(roi)
    organs, findings = _organs(case, volume)
    findings += doubt_place(under, volume, roi)
    side = side_of((measures.center_mm or (0.0,))[0], under.midline_mm)
    if "kidney" in organs:
        findings += _phase(case, volume, roi, organs)
        to_kidney = compare_with_kidney(roi, organs)
        findings += doubt_kidney(to_kidney, case.case_id)
        side = to_kidney.side if to_kidney.side != "unknown" else side
    findings += _mirrored(volume, roi, organs, {finding.code for finding in findings})
    measures = replace(measures, side=side)
    findings += doubt_shape(measures, roi) + doubt_size(measures, roi, under.body_share)
    findings += [*doubt_table(measures, case), say_measures(measures, case)]
    return CheckedCase(findings=tuple(findings), measures=measures)


def _phase(case: Case, volume: CTVolume, roi: RoiMask, organs: Organs) -> tuple[Finding, ...]:
    """Whether the image shows the phase that its text tells; only the box around kidneys and aorta is looked at."""
    box, start = crop(organs["kidney"])
    height = slice(start[0], start[0] + box.shape[0])
    shown: Organs = {name: organs[name][height] for name in ("kidney", "aorta", "cyst") if name in organs}
    shown["tumor"] = roi.voxels[height]
    box, (s, r, c) = crop(shown["kidney"] | shown.get("aorta", shown["kidney"]))
    near = (slice(s, s + box.shape[0]), slice(r, r + box.shape[1]), slice(c, c + box.shape[2]))
    hu = volume.hu[height][near]
    geometry = VolumeGeometry(
        shape=box.shape, affine=volume.geometry.affine
    )  # spacing counts, the place does not
    part = CTVolume(hu=hu, geometry=geometry, series_uid=volume.series_uid)
    enhancement = measure_enhancement(part, {name: mask[near] for name, mask in shown.items()})
    return check_phase(case.phase, enhancement, case.case_id)


def _mirrored(volume: CTVolume, roi: RoiMask, organs: Organs, codes: set[str]) -> list[Finding]:
    """A hint where the ROI is misplaced, and its mirror image is not."""
    kidney = organs.get("kidney")
    off_kidney = kidney is not None and bool(codes & OFF_KIDNEY)
    if not off_kidney and not codes & MISPLACED:
        return []
    words = mirrored_words(volume, roi, kidney, LEAST_SOFT_BY_KIDNEY if off_kidney else LEAST_SOFT)
    target = "soft tissue" if kidney is None else "a kidney"
    text = f"mirrored {words}, the tumor would lie on {target}: the axes of its file were perhaps mixed up"
    return [Teller(roi.case_id)("roi-mirrored", text)] if words else []


def _reason(error: RoiError | OSError) -> str:
    """Why a file cannot be read, without its path, which may hold a name."""
    return str(error) if isinstance(error, RoiError) else error.strerror or type(error).__name__


def _organs(case: Case, volume: CTVolume) -> tuple[Organs, list[Finding]]:
    """Organs where there are any; that they cannot be read does not spoil the case."""
    try:
        organs = organs_of(case, volume)
    except (RoiError, OSError) as error:
        return {}, [Teller(case.case_id)("organs-unreadable", f"organs are not compared: {_reason(error)}")]
    if case.organs is not None and "kidney" not in organs:
        text = f"organs without a kidney: only {', '.join(organs) or 'empty masks'}"
        return organs, [Teller(case.case_id)("organs-no-kidney", text)]
    return organs, []


def _check_images(case: Case, volume: CTVolume, roi: RoiMask) -> CheckedCase:
    """Slice images: single slices behind a window, of unknown distance; body, parts and volume mean nothing."""
    codes = {finding.code for finding in (*volume.findings, *roi.findings)}
    if "no-mask" in codes:
        return CheckedCase(findings=())
    measures = measure(roi)
    axial_mm = None if "spacing-unknown" in codes else measures.largest_axial_diameter_mm
    measures = RoiMeasures(
        volume_ml=None,
        largest_axial_diameter_mm=axial_mm,
        largest_diameter_mm=None,
        n_voxels=measures.n_voxels,
        n_slices=measures.n_slices,
        n_parts=None,
        largest_part_share=None,
        center_mm=None,
    )
    findings = [*_on_black(case, volume, roi), *doubt_size(measures, roi), *doubt_table(measures, case)]
    return CheckedCase(findings=(*findings, say_measures(measures, case)), measures=measures)


def _on_black(case: Case, volume: CTVolume, roi: RoiMask) -> list[Finding]:
    match = re.fullmatch(r"8-bit L(-?[\d.]+) W([\d.]+)", case.source)
    low_hu = float(match[1]) - float(match[2]) / 2 if match else 0.0
    share = float(np.mean(volume.hu[roi.voxels] <= low_hu + 1))
    if not match or share <= MOST_BLACK:
        return []
    text = f"{share:.0%} of the tumor is black (at most {low_hu:.0f} HU, where the window ends): fat, air or outside"
    return [Teller(case.case_id)("roi-on-black", text)]

"""Cases in, findings and measures out: what is doubtful or wrong with each CT and its ROI."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nephroscope.base.errors import NephroscopeError, RoiError
from nephroscope.base.progress import track
from nephroscope.imaging.read import read_case, read_roi
from nephroscope.imaging.slice_images import window_of
from nephroscope.records import Case, CTVolume, Finding, RoiMask, Severity, VolumeGeometry
from nephroscope.regions.enhancement import check_phase, measure_enhancement
from nephroscope.regions.measure import RoiMeasures, crop, find_parts, measure
from nephroscope.regions.organs import Organs, organs_of
from nephroscope.regions.surroundings import (
    LEAST_SOFT,
    LEAST_SOFT_BY_KIDNEY,
    ToKidney,
    Underlying,
    compare_with_kidney,
    look_under,
    mirrored_words,
    side_of,
)

MOST_OUTSIDE = 0.02  # share of the tumor outside the body, which is known to 3 mm
MOST_FAT = 0.25  # two readers of phantoms draw up to 0.11 along the edge
MOST_AIR = 0.05
MOST_DENSE = 0.25
MOST_BLACK = 0.5  # of a slice image's tumor at the dark end of its window
LARGE_ML, LARGE_MM = 2500.0, 250.0  # seldom, but seen
IMPOSSIBLE_ML, IMPOSSIBLE_BODY_SHARE = 10_000.0, 0.5
FEWEST_VOXELS = 10
SPECK = 0.01  # of the tumor: a part below it is a slip of the pen
MOST_GAP_MM = 5.0  # between tumor and kidney
KIDNEY_DICE = 0.9
# Of 25 KiTS23 tumors, the axial diameter is 0.76 to 1.21 of the table's size; and 1.6 and 4.4 in two patients with
# several tumors.
SIZE_RATIO, SIZE_MM = 1.5, 5.0


@dataclass(frozen=True, slots=True)
class Teller:
    """Makes the findings of one case."""

    case_id: str

    def __call__(self, code: str, message: str, severity: Severity = "warning") -> Finding:
        """One finding."""
        return Finding(code=code, severity=severity, message=message, case_id=self.case_id)


def doubt_place(under: Underlying, volume: CTVolume, roi: RoiMask) -> list[Finding]:
    """Outside the body, on fat or air, or at the end of the scan."""
    tell, found = Teller(roi.case_id), []
    if under.outside_share > MOST_OUTSIDE:
        text = f"{under.outside_share:.0%} of the tumor lies outside the body"
        found.append(tell("roi-outside-body", text))
    if under.air_share > MOST_AIR:
        text = (
            f"{under.air_share:.0%} of the tumor is air (below -300 HU); its mean is {under.mean_hu:.0f} HU"
        )
        found.append(tell("roi-on-air", text))
    if under.dense_share > MOST_DENSE:
        text = (
            f"{under.dense_share:.0%} of the tumor is above 300 HU: bone, metal or contrast medium, not tumor"
        )
        found.append(tell("roi-on-bone", text))
    if under.fat_share > MOST_FAT:
        text = (
            f"{under.fat_share:.0%} of the tumor has the HU of fat (-150 to -30); it was drawn beside the tumor, or "
            "is an angiomyolipoma, which contains fat"
        )
        found.append(tell("roi-on-fat", text))
    ends = [
        words
        for axis, names in enumerate((("lowest", "highest"), ("front", "back"), ("right", "left")))
        for end, words in zip((0, -1), names, strict=True)
        if volume.geometry.shape[axis] > 1 and roi.voxels.take(end, axis).any()
    ]
    if ends:
        text = (
            f"the tumor reaches the {' and the '.join(ends)} edge of the scan: it, or the CT, may be cut off"
        )
        found.append(tell("roi-cut-off", text))
    return found


def doubt_shape(measures: RoiMeasures, roi: RoiMask) -> list[Finding]:
    """One slice thick, slices left out, or in several parts."""
    tell, found = Teller(roi.case_id), []
    drawn = np.flatnonzero(roi.voxels.any(axis=(1, 2)))
    if drawn.size == 1 and roi.voxels.shape[0] > 1:
        text = f"the tumor is one slice thick: slice {drawn[0]} of {roi.voxels.shape[0]}, counted from 0"
        found.append(tell("roi-one-slice", text))
    skipped = np.setdiff1d(np.arange(drawn[0], drawn[-1]), drawn)
    if skipped.size and not any(finding.code == "roi-gap" for finding in roi.findings):
        listed = ", ".join(map(str, skipped[:8])) + (" ..." if skipped.size > 8 else "")
        text = f"no tumor is drawn on {skipped.size} slices between others: {listed}, counted from 0"
        found.append(tell("roi-gap", text))
    if measures.n_parts and measures.n_parts > 1:
        shares = np.sort(find_parts(roi.voxels).sizes)[::-1] / measures.n_voxels
        parts, specks = shares[shares >= SPECK], shares[shares < SPECK]
        if parts.size > 1:
            listed = ", ".join(f"{share:.0%}" for share in parts[:8]) + (" ..." if parts.size > 8 else "")
            text = f"the tumor is in {parts.size} parts that do not touch ({listed}): one case is one tumor"
            found.append(tell("roi-parts", text))
        if specks.size:
            text = f"{specks.size} specks beside the tumor hold {specks.sum():.1%} of its voxels"
            found.append(tell("roi-specks", text, "note"))
    return found


def doubt_size(measures: RoiMeasures, roi: RoiMask, body_share: float = 0.0) -> list[Finding]:
    """Too small to be drawn, or larger than a kidney or a body can be."""
    tell, found = Teller(roi.case_id), []
    if measures.n_voxels < FEWEST_VOXELS:
        found.append(tell("roi-tiny", f"the tumor has {measures.n_voxels} voxels"))
    volume_ml, diameter_mm = measures.volume_ml or 0.0, measures.largest_diameter_mm or 0.0
    if volume_ml > IMPOSSIBLE_ML or body_share > IMPOSSIBLE_BODY_SHARE:
        text = (
            f"expected a tumor, found {volume_ml:.0f} ml, {body_share:.0%} of the body in its slices; "
            "choose another label, or export the ROI again"
        )
        found.append(tell("roi-impossible", text, "refusal"))
    elif volume_ml > LARGE_ML or diameter_mm > LARGE_MM:
        text = (
            f"the tumor has {volume_ml:.0f} ml and {diameter_mm:.0f} mm, more than a kidney can be "
            f"({LARGE_ML:.0f} ml, {LARGE_MM:.0f} mm) and more than most tumors"
        )
        found.append(tell("roi-large", text))
    return found


def doubt_table(measures: RoiMeasures, case: Case) -> list[Finding]:
    """The largest diameter beside the clinical table's size."""
    axial_mm, any_mm = measures.largest_axial_diameter_mm, measures.largest_diameter_mm
    if case.size_cm is None or case.size_cm <= 0 or axial_mm is None:
        return []
    table_mm = 10 * case.size_cm
    if _agrees(axial_mm, table_mm, any_mm or axial_mm):
        return []
    if any_mm is None and table_mm > axial_mm and not _agrees(axial_mm, table_mm / 10, axial_mm):
        return []  # some slices of a tumor may be smaller than it is
    text = f"the largest axial diameter is {axial_mm:.0f} mm, the clinical table says {case.size_cm:g} cm"
    if _agrees(axial_mm, table_mm / 10, any_mm or axial_mm):
        text += ", ten times as much: mm typed as cm"
    elif _agrees(axial_mm, table_mm * 10, any_mm or axial_mm):
        text += ", a tenth of it: a decimal point has slipped"
    return [Teller(case.case_id)("roi-size-differs", text)]


def _agrees(axial_mm: float, table_mm: float, any_mm: float) -> bool:
    """The table's size lies between the axial diameter and that in any direction, with their slack."""
    low = min(axial_mm / SIZE_RATIO, axial_mm - SIZE_MM)
    return low <= table_mm <= max(any_mm * SIZE_RATIO, any_mm + SIZE_MM)


def doubt_kidney(to_kidney: ToKidney, case_id: str) -> list[Finding]:
    """Away from every kidney, or a whole kidney."""
    tell, found = Teller(case_id), []
    if to_kidney.gap_mm > MOST_GAP_MM:
        text = f"the tumor is {to_kidney.gap_mm:.0f} mm from the nearest kidney"
        found.append(tell("roi-off-kidney", text))
    if to_kidney.dice > KIDNEY_DICE:
        text = f"the ROI is a whole kidney (Dice {to_kidney.dice:.2f}): the kidney's label was taken for the tumor's"
        found.append(tell("roi-is-kidney", text))
    return found


def say_measures(measures: RoiMeasures, case: Case) -> Finding:
    """The measures in words, beside the clinical table's size."""
    words = []
    if measures.volume_ml is not None:
        words.append(f"{measures.volume_ml:.1f} ml")
    if measures.largest_axial_diameter_mm is not None:
        words.append(f"largest axial diameter {measures.largest_axial_diameter_mm:.0f} mm")
    if measures.largest_diameter_mm is not None:
        words.append(f"in any direction {measures.largest_diameter_mm:.0f} mm")
    words.append(f"{measures.n_slices} slices")
    words.append(f"side {measures.side}")
    if case.size_cm is not None:
        words.append(f"clinical table {case.size_cm:g} cm")
    return Teller(case.case_id)("roi-measures", ", ".join(words), "note")


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
    window = window_of(case.source)
    low_hu = window[0] - window[1] / 2 if window else 0.0
    share = float(np.mean(volume.hu[roi.voxels] <= low_hu + 1))
    if not window or share <= MOST_BLACK:
        return []
    text = f"{share:.0%} of the tumor is black (at most {low_hu:.0f} HU, where the window ends): fat, air or outside"
    return [Teller(case.case_id)("roi-on-black", text)]

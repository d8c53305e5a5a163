"""Check the CT and the ROI of each case: findings and measures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nephroscope.base.errors import NephroscopeError, RoiError, StudyError
from nephroscope.base.progress import track
from nephroscope.base.text import counted_noun, first_few
from nephroscope.imaging.masks.origin import check_origin
from nephroscope.imaging.read import read_case, read_case_roi
from nephroscope.imaging.slice_images import window_of
from nephroscope.records import (
    ChosenCase,
    CTVolume,
    Finding,
    RoiMask,
    Severity,
    UsedInput,
    VolumeGeometry,
    note,
    warning,
)
from nephroscope.records.cohort import WANTED
from nephroscope.records.prediction import Side
from nephroscope.regions.enhancement import check_phase, measure_enhancement
from nephroscope.regions.found_kidneys import check_found_kidneys
from nephroscope.regions.measure import RoiMeasures, crop, find_parts, measure
from nephroscope.regions.organs import Organs, organs_of
from nephroscope.regions.surroundings import (
    LEAST_SOFT,
    LEAST_SOFT_BY_KIDNEY,
    CtUnderTumor,
    KidneyRelation,
    Shell,
    compare_with_kidney,
    measure_ct_under,
    measure_shell,
    mirrored_axes,
    side_of,
)

MOST_OUTSIDE = 0.02  # share of the tumor outside the body, whose edge is known to 3 mm
MOST_FAT = 0.25  # annotators of phantoms include up to 0.11 along the edge
MOST_AIR = 0.05
MOST_DENSE = 0.25
MOST_BLACK = 0.5  # share of the tumor at the dark end of the window, in slice images
LARGE_ML, LARGE_MM = 2500.0, 250.0  # rare, but real
IMPOSSIBLE_ML, IMPOSSIBLE_BODY_SHARE = 10_000.0, 0.5
FEWEST_VOXELS = 10
SPECK = 0.01  # share of the tumor; a smaller part is a slip of the pen
MOST_GAP_MM = 5.0  # between tumor and kidney
KIDNEY_DICE = 0.9
LEAST_FAT_AROUND, MOST_BRIGHT_AROUND = 0.05, 0.10  # python benchmarks/fat_around.py
# In 25 KiTS23 tumors the axial diameter is 0.76 to 1.21 times the size in the table, and 1.6 and 4.4 times in two
# patients with several tumors.
SIZE_RATIO, SIZE_MM = 1.5, 5.0


def check_place(under: CtUnderTumor, volume: CTVolume, roi: RoiMask) -> list[Finding]:
    """Warn when the tumor lies outside the body, on fat, air or bone, or at the end of the scan."""
    found = []
    if under.outside_share > MOST_OUTSIDE:
        text = f"{under.outside_share:.0%} of the tumor lies outside the body"
        found.append(warning("roi-outside-body", text, case_id=roi.case_id))
    if under.air_share > MOST_AIR:
        text = (
            f"{under.air_share:.0%} of the tumor is air (below -300 HU); its mean is {under.mean_hu:.0f} HU"
        )
        found.append(warning("roi-on-air", text, case_id=roi.case_id))
    if under.dense_share > MOST_DENSE:
        text = (
            f"{under.dense_share:.0%} of the tumor is above 300 HU: bone, metal or contrast medium, not tumor"
        )
        found.append(warning("roi-on-bone", text, case_id=roi.case_id))
    if under.fat_share > MOST_FAT:
        text = (
            f"{under.fat_share:.0%} of the tumor has the HU of fat (-150 to -30): it was drawn next to the tumor, or "
            "the tumor is an angiomyolipoma, which contains fat"
        )
        found.append(warning("roi-on-fat", text, case_id=roi.case_id))
    ends = [
        name
        for axis, names in enumerate((("lowest", "highest"), ("front", "back"), ("right", "left")))
        for end, name in zip((0, -1), names, strict=True)
        if volume.geometry.shape[axis] > 1 and roi.voxels.take(end, axis).any()
    ]
    if ends:
        text = f"the tumor reaches the {' and the '.join(ends)} edge of the scan: tumor or CT may be cut off"
        found.append(warning("roi-cut-off", text, case_id=roi.case_id))
    return found


def check_shape(measures: RoiMeasures, roi: RoiMask) -> list[Finding]:
    """Warn when the tumor is one slice thick, skips slices, or has several parts."""
    found = []
    drawn = np.flatnonzero(roi.voxels.any(axis=(1, 2)))
    if drawn.size == 1 and roi.voxels.shape[0] > 1:
        text = f"the tumor is one slice thick: slice {drawn[0]} of {roi.voxels.shape[0]}, counted from 0"
        found.append(warning("roi-one-slice", text, case_id=roi.case_id))
    skipped = sorted(set(range(drawn[0], drawn[-1])) - set(drawn.tolist()))
    if skipped and not any(finding.code == "roi-gap" for finding in roi.findings):
        empty = counted_noun(len(skipped), "slice")
        text = f"no tumor is drawn on {empty} between drawn ones: {first_few(skipped)}, counted from 0"
        found.append(warning("roi-gap", text, case_id=roi.case_id))
    if measures.n_parts and measures.n_parts > 1:
        shares = np.sort(find_parts(roi.voxels).sizes)[::-1] / measures.n_voxels
        parts, specks = shares[shares >= SPECK], shares[shares < SPECK]
        if parts.size > 1:
            listed = first_few(f"{share:.0%}" for share in parts)
            text = (
                f"the tumor is in {parts.size} parts that do not touch ({listed}), but one case is one tumor"
            )
            found.append(warning("roi-parts", text, case_id=roi.case_id))
        if specks.size:
            text = f"{specks.size} specks next to the tumor make up {specks.sum():.1%} of its voxels"
            found.append(note("roi-specks", text, case_id=roi.case_id))
    return found


def check_size(measures: RoiMeasures, roi: RoiMask, body_share: float = 0.0) -> list[Finding]:
    """Warn when the tumor is too small, or larger than a kidney; refuse what is no tumor at all."""
    found = []
    if measures.n_voxels < FEWEST_VOXELS:
        found.append(warning("roi-tiny", f"the tumor has {measures.n_voxels} voxels", case_id=roi.case_id))
    volume_ml, diameter_mm = measures.volume_ml or 0.0, measures.largest_diameter_mm or 0.0
    if volume_ml > IMPOSSIBLE_ML or body_share > IMPOSSIBLE_BODY_SHARE:
        text = (
            f"expected a tumor, found {volume_ml:.0f} ml, {body_share:.0%} of the body in its slices; "
            "choose another label, or export the ROI again"
        )
        found.append(Finding(code="roi-impossible", severity="refusal", message=text, case_id=roi.case_id))
    elif volume_ml > LARGE_ML or diameter_mm > LARGE_MM:
        text = (
            f"the tumor has {volume_ml:.0f} ml and {diameter_mm:.0f} mm: larger than a kidney "
            f"({LARGE_ML:.0f} ml, {LARGE_MM:.0f} mm) and than most tumors"
        )
        found.append(warning("roi-large", text, case_id=roi.case_id))
    return found


def check_table_size(measures: RoiMeasures, case: ChosenCase) -> list[Finding]:
    """Warn when the largest diameter does not agree with the size in the clinical table."""
    axial_mm, any_mm = measures.largest_axial_diameter_mm, measures.largest_diameter_mm
    if case.clinical.size_cm is None or case.clinical.size_cm <= 0 or axial_mm is None:
        return []
    table_mm = 10 * case.clinical.size_cm
    if _agrees(axial_mm, table_mm, any_mm or axial_mm):
        return []
    if any_mm is None and table_mm > axial_mm and not _agrees(axial_mm, table_mm / 10, axial_mm):
        return []  # single slices of a tumor may be smaller than the tumor
    text = f"the largest axial diameter is {axial_mm:.0f} mm, the clinical table says {case.clinical.size_cm:g} cm"
    if _agrees(axial_mm, table_mm / 10, any_mm or axial_mm):
        text += ", ten times as much: mm were entered as cm"
    elif _agrees(axial_mm, table_mm * 10, any_mm or axial_mm):
        text += ", a tenth of it: a misplaced decimal point"
    return [warning("roi-size-differs", text, case_id=case.case_id)]


def _agrees(axial_mm: float, table_mm: float, any_mm: float) -> bool:
    """True when the size in the table lies between the axial diameter and that in any direction, with tolerance."""
    low = min(axial_mm / SIZE_RATIO, axial_mm - SIZE_MM)
    return low <= table_mm <= max(any_mm * SIZE_RATIO, any_mm + SIZE_MM)


def check_kidney(relation: KidneyRelation, case_id: str) -> list[Finding]:
    """Warn when the tumor is away from every kidney, or a whole kidney."""
    found = []
    if relation.gap_mm > MOST_GAP_MM:
        text = f"the tumor is {relation.gap_mm:.0f} mm from the nearest kidney"
        found.append(warning("roi-off-kidney", text, case_id=case_id))
    if relation.dice > KIDNEY_DICE:
        text = f"the ROI is a whole kidney (Dice {relation.dice:.2f}): the label of the kidney was used for the tumor"
        found.append(warning("roi-is-kidney", text, case_id=case_id))
    return found


def check_shell(shell: Shell | None, case_id: str) -> list[Finding]:
    """Warn when there is hardly any fat around the tumor, nor bright kidney: it may lie in the liver."""
    if shell is None or shell.fat_share >= LEAST_FAT_AROUND or shell.bright_share >= MOST_BRIGHT_AROUND:
        return []
    text = (
        f"only {shell.fat_share:.0%} of what lies within 15 mm of the tumor is fat or air; a kidney lies in fat, so "
        "this may be a lesion of the liver, the spleen or muscle"
    )
    return [warning("roi-no-fat-around", text, case_id=case_id)]


def measures_finding(measures: RoiMeasures, case: ChosenCase) -> Finding:
    """A note with the measures, and the size in the clinical table."""
    parts = []
    if measures.volume_ml is not None:
        parts.append(f"{measures.volume_ml:.1f} ml")
    if measures.largest_axial_diameter_mm is not None:
        parts.append(f"largest axial diameter {measures.largest_axial_diameter_mm:.0f} mm")
    if measures.largest_diameter_mm is not None:
        parts.append(f"in any direction {measures.largest_diameter_mm:.0f} mm")
    parts += [counted_noun(measures.n_slices, "slice"), f"side {measures.side}"]
    if case.clinical.size_cm is not None:
        parts.append(f"clinical table {case.clinical.size_cm:g} cm")
    return note("roi-measures", ", ".join(parts), case_id=case.case_id)


MISPLACED = {"roi-outside-body", "roi-on-air", "roi-on-bone", "roi-on-fat"}
ReadCase = Callable[[ChosenCase], tuple[CTVolume, RoiMask]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCase:
    """Findings and measures of one case.

    Attributes:
        findings: From the import, the files, and the position, shape and size of the tumor.
        measures: None where the case was refused or its images have no ROI.
        used: The series and the ROI that were looked at.
        phases: Of the patient, each with what is drawn there, as `ChosenCase.phases` has it.
    """

    findings: tuple[Finding, ...]
    measures: RoiMeasures | None = None
    used: UsedInput | None = None
    phases: Mapping[str, str] = field(default_factory=dict)


def check_cases(
    cases: Sequence[ChosenCase], known: Sequence[Finding] = (), read: ReadCase = read_case
) -> dict[str, CheckedCase]:
    """Read and check every case; findings by case_id, with a refusal among them where the case cannot be used.

    Args:
        cases: The cases of the cohort.
        known: Findings of the imports; each is repeated with its case.
        read: Reads the CT of a case and the ROI to check; by default that of the first annotator.
    """
    found: dict[str, CheckedCase] = {}
    for case in track(cases, "checking", "case", len(cases)):
        earlier = tuple(finding for finding in known if finding.case_id == case.case_id)
        checked = _check_case(case, read)
        findings = (*earlier, *checked.findings)
        found[case.case_id] = replace(checked, used=case.used, findings=findings, phases=case.phases)
    return found


def _check_case(case: ChosenCase, read: ReadCase) -> CheckedCase:
    try:
        volume, roi = read(case)
    except NephroscopeError as error:
        code, message = error.code, str(error)
    except OSError as error:
        code, message = "unreadable", f"case {case.case_id}: cannot be read: {_reason(error)}"
    else:
        checked = check_case(case, volume, roi, find=True)
        of_files = dict.fromkeys((*volume.findings, *roi.findings, *_second_reader(case, volume)))
        if roi.origin is not None and case.roi is not None and case.roi.state == "drawn":
            of_files |= dict.fromkeys(check_origin(roi.origin, case.case_id, case.roi.author))
        return replace(checked, findings=(*of_files, *checked.findings))
    severity: Severity = "note" if code in WANTED else "refusal"
    return CheckedCase(
        findings=(Finding(code=code, severity=severity, message=message, case_id=case.case_id),)
    )


def _second_reader(case: ChosenCase, volume: CTVolume) -> tuple[Finding, ...]:
    """Findings about the ROI of the second annotator, which may be unreadable where the study does not use it."""
    if case.both_readers is None or case.format == "images":
        return ()
    try:
        roi = read_case_roi(case, case.both_readers[1], volume)
    except (RoiError, StudyError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        text = f"the ROI of the second annotator is not used and could not be read: {why}"
        return (warning("roi-reader2-unreadable", text, case_id=case.case_id),)
    return roi.findings


def check_case(case: ChosenCase, volume: CTVolume, roi: RoiMask, find: bool = False) -> CheckedCase:
    """Findings and measures of a case that was read; those of its files are in ``volume`` and ``roi``.

    With ``find``, kidneys are looked for in the image where no mask of them is known.
    """
    if case.format == "images":
        return _check_images(case, volume, roi)
    return _check_roi(case, volume, roi, find)


def check_side(stated: Side, drawn: Side, case_id: str) -> list[Finding]:
    """Warn when the tumor was drawn on the other side of the patient than a table or a person says."""
    if "unknown" in (stated, drawn) or stated == drawn:
        return []
    text = f"the tumor was drawn on the {drawn} of the patient, but it is said to be on the {stated}"
    return [warning("roi-side-differs", text, case_id=case_id)]


def _check_roi(case: ChosenCase, volume: CTVolume, roi: RoiMask, find: bool) -> CheckedCase:
    """All checks of a volume with its ROI."""
    organs, unread = _organs(case, volume)
    phase = _phase(case, volume, roi, organs) if "kidney" in organs else ()
    placed, measures = check_position(volume, roi, organs, phase)
    if find and "kidney" not in organs:
        placed += check_found_kidneys(volume, roi, case.phase)
    findings = [*unread, *placed, *check_side(case.clinical.side or "unknown", measures.side, case.case_id)]
    findings += [*check_table_size(measures, case), measures_finding(measures, case)]
    return CheckedCase(findings=tuple(findings), measures=measures)


def check_position(
    volume: CTVolume, roi: RoiMask, organs: Organs, phase: Sequence[Finding] = ()
) -> tuple[list[Finding], RoiMeasures]:
    """Where a mask lies, its shape and its size: what can be checked without knowing anything of its case."""
    under, measures = measure_ct_under(volume, roi), measure(roi)
    findings = check_place(under, volume, roi)
    side = side_of((measures.center_mm or (0.0,))[0], under.midline_mm)
    if "kidney" in organs:
        findings += phase
        to_kidney = compare_with_kidney(roi, organs)
        findings += check_kidney(to_kidney, roi.case_id)
        side = to_kidney.side if to_kidney.side != "unknown" else side
    elif not MISPLACED & {finding.code for finding in findings}:
        findings += check_shell(measure_shell(volume, roi.voxels), roi.case_id)
    findings += _mirrored(volume, roi, organs, {finding.code for finding in findings})
    measures = replace(measures, side=side)
    findings += check_shape(measures, roi) + check_size(measures, roi, under.body_share)
    return findings, measures


def _phase(case: ChosenCase, volume: CTVolume, roi: RoiMask, organs: Organs) -> tuple[Finding, ...]:
    """Compare the phase in the image with that in the text; only the box around kidneys and aorta is used."""
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
    """A warning where the ROI is misplaced but its mirror image is not."""
    kidney = organs.get("kidney")
    off_kidney = kidney is not None and "roi-off-kidney" in codes
    if not off_kidney and not codes & MISPLACED:
        return []
    axes = mirrored_axes(volume, roi, kidney, LEAST_SOFT_BY_KIDNEY if off_kidney else LEAST_SOFT)
    target = "soft tissue" if kidney is None else "a kidney"
    text = f"mirrored {axes}, the tumor would lie on {target}: the axes of its file may be mixed up"
    return [warning("roi-mirrored", text, case_id=roi.case_id)] if axes else []


def _reason(error: RoiError | OSError) -> str:
    """Why a file cannot be read, without its path, which may contain a name."""
    return str(error) if isinstance(error, RoiError) else error.strerror or type(error).__name__


def _organs(case: ChosenCase, volume: CTVolume) -> tuple[Organs, list[Finding]]:
    """The organs, where there are any; the case remains usable if they cannot be read."""
    try:
        organs = organs_of(case, volume)
    except (RoiError, OSError) as error:
        text = f"the tumor was not compared with organs: {_reason(error)}"
        return {}, [warning("organs-unreadable", text, case_id=case.case_id)]
    if case.ct.organs is not None and "kidney" not in organs:
        text = f"the organ file has no kidney, only {', '.join(organs) or 'empty masks'}"
        return organs, [warning("organs-no-kidney", text, case_id=case.case_id)]
    return organs, []


def _check_images(case: ChosenCase, volume: CTVolume, roi: RoiMask) -> CheckedCase:
    """Checks of slice images; body, parts and volume mean nothing, as HU are cut off and distances are not known."""
    codes = {finding.code for finding in (*volume.findings, *roi.findings)}
    if "no-mask" in codes:
        return CheckedCase(findings=())
    measures = measure(roi)
    axial_mm = None if "spacing-unknown" in codes else measures.largest_axial_diameter_mm
    measures = replace(measures, largest_axial_diameter_mm=axial_mm, largest_diameter_mm=None, volume_ml=None)
    measures = replace(measures, n_parts=None, largest_part_share=None, center_mm=None)
    findings = [*_on_black(case, volume, roi), *check_size(measures, roi), *check_table_size(measures, case)]
    window = window_of(case.source)
    shows_fat = window is not None and window[0] - window[1] / 2 <= 0 and window[0] + window[1] / 2 > 150
    if shows_fat and "spacing-unknown" not in codes:
        findings += check_shell(measure_shell(volume, roi.voxels, within_slices=True), case.case_id)
    return CheckedCase(findings=(*findings, measures_finding(measures, case)), measures=measures)


def _on_black(case: ChosenCase, volume: CTVolume, roi: RoiMask) -> list[Finding]:
    window = window_of(case.source)
    low_hu = window[0] - window[1] / 2 if window else 0.0
    share = float(np.mean(volume.hu[roi.voxels] <= low_hu + 1))
    if not window or share <= MOST_BLACK:
        return []
    text = f"{share:.0%} of the tumor is black (at most {low_hu:.0f} HU, the end of the window): fat, air or outside"
    return [warning("roi-on-black", text, case_id=case.case_id)]

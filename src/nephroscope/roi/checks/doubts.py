"""What of a tumor's place, shape and size is doubtful: measures in, findings out. Every limit stands here."""

from dataclasses import dataclass

import numpy as np

from nephroscope.records import Case, CTVolume, Finding, RoiMask
from nephroscope.records.cases import Severity
from nephroscope.roi.checks.anatomy import Underlying
from nephroscope.roi.checks.kidney import ToKidney
from nephroscope.roi.checks.measure import RoiMeasures
from nephroscope.roi.checks.parts import find_parts

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

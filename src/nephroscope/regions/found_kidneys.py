"""What the kidneys that the finder found say about an ROI and a contrast phase, where no kidney mask is known."""

import numpy as np

from nephroscope.records import CTVolume, Finding, RoiMask, warning
from nephroscope.regions.enhancement import check_phase, measure_enhancement
from nephroscope.regions.kidneys import find_kidneys
from nephroscope.regions.surroundings import gap_mm

# A found kidney may lack a pole or a lip; of 40 tumors of phantoms none is further (python benchmarks/kidneys.py).
MOST_GAP_MM = 10.0


def check_found_kidneys(volume: CTVolume, roi: RoiMask, phase: str) -> list[Finding]:
    """Warn where a tumor is away from both kidneys, or where kidneys said to be enhanced are not.

    Nothing is said unless both kidneys were found: the one that is missing may be the tumor's.

    Args:
        volume: CT in HU.
        roi: The tumor on its grid.
        phase: Of the series, as table or header say.
    """
    kidneys = find_kidneys(volume, roi.voxels)
    if kidneys.left is None or kidneys.right is None:
        return []
    organs, found = kidneys.organs(), []
    gap = gap_mm(roi.voxels, organs["kidney"], np.array(volume.geometry.spacing_mm))
    if gap > MOST_GAP_MM:
        text = (
            f"both kidneys were found in the image, and the tumor is {gap:.0f} mm from the nearer one: this may be a "
            "lesion of another organ"
        )
        found.append(warning("roi-no-kidney-near", text, case_id=roi.case_id))
    found += check_phase(phase, measure_enhancement(volume, organs), roi.case_id)
    return found

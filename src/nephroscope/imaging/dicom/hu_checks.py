"""A volume and what its headers say of units in; findings where it does not look like Hounsfield units out."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nephroscope.imaging.dicom.facts import SliceFacts
from nephroscope.records import Finding

UNITS = {"", "HU", "HU_MOD", "US"}
# Shares of a body on a table in its field of view: air at least, soft tissue at least.
AIR_SHARE = 1e-4
TISSUE_SHARE = 5e-3
SAMPLED_VOXELS = 10**6


def check_rescale(facts: Sequence[SliceFacts], where: str) -> list[Finding]:
    """A warning when the rescale leads to other units than HU. Source: DICOM PS3.3 C.11.1.1.2."""
    others = sorted({one.rescale_type for one in facts} - UNITS)
    if not others:
        return []
    text = f"Rescale Type is {', '.join(others)}, not HU: values may be no Hounsfield units"
    return [Finding(code="rescale-type", severity="warning", message=text, case_id="", where=where)]


def check_hu(hu: npt.NDArray[np.int16], where: str) -> list[Finding]:
    """A warning when the values of a volume cannot be those of a body in air.

    Args:
        hu: (S, R, C), of which a regular sample is looked at.
        where: The series.
    """
    step = max(1, round((hu.size / SAMPLED_VOXELS) ** (1 / 3)))
    sample = hu[::step, ::step, ::step]
    low, high = int(sample.min()), int(sample.max())
    tissue = np.count_nonzero((sample >= -200) & (sample <= 200)) / sample.size
    air = np.count_nonzero(sample < -500) / sample.size
    if high < 0:
        doubt = f"nothing above {high} HU"
    elif tissue < TISSUE_SHARE:
        doubt = f"hardly anything between -200 and 200 HU (from {low} to {high})"
    elif air < AIR_SHARE:
        watery = np.count_nonzero((sample >= 824) & (sample <= 1224)) / sample.size
        shifted = ", as if the intercept of -1024 were missing" if watery > 10 * TISSUE_SHARE else ""
        doubt = f"no air (from {low} to {high} HU){shifted}"
    else:
        return []
    text = f"implausible for a CT of the abdomen: {doubt}"
    return [Finding(code="hu-implausible", severity="warning", message=text, case_id="", where=where)]

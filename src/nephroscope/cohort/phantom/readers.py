"""Two readers outline one tumor: smooth disagreement along the edge, and at the poles."""

import numpy as np
import numpy.typing as npt

from nephroscope.cohort.phantom.canvas import Canvas
from nephroscope.cohort.phantom.tumor import Tumor


def draw_outline(canvas: Canvas, tumor: Tumor, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """One reader's mask, (S, R, C): a bias, a hand that wanders smoothly, and poles left out at will."""
    radius = tumor.solid.axes[0]
    bias_mm = rng.normal(0, 0.25 + 0.015 * radius)
    wander_mm = (0.3 + 0.028 * radius) * canvas.waves(tumor.box, max(1.2 * radius, 10), rng)
    drawn = tumor.level < 2 * np.clip(bias_mm + wander_mm, -0.25 * radius, 0.25 * radius) / radius
    slices = np.flatnonzero(drawn.any(axis=(1, 2)))
    for pole in (slices[0], slices[-1]):
        if slices.size > 4 and rng.random() < 0.4:
            drawn[pole] = False
    voxels = np.zeros(canvas.hu.shape, np.bool_)
    voxels[tumor.box] = drawn
    return voxels

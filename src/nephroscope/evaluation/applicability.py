"""The applicability domain: what training cases looked like, and whether a new case lies far outside. NumPy only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nephroscope.records import Finding, SliceSpec
from nephroscope.slices.preprocess import apply_window

SLACK = 0.5  # of the training range, on each side


@dataclass(frozen=True, kw_only=True)
class ApplicabilityDomain:
    """Lowest and highest value of each feature over the training cases, widened by half of their range."""

    limits: Mapping[str, tuple[float, float]]

    def doubts(self, case_id: str, features: Mapping[str, float]) -> list[Finding]:
        """A warning for each feature that lies outside."""
        return [
            Finding(
                code="outside-training-range",
                severity="warning",
                message=f"{name} is {features[name]:.3g}; the training cases allow {low:.3g} to {high:.3g}",
                case_id=case_id,
            )
            for name, (low, high) in self.limits.items()
            if not low <= features[name] <= high
        ]


def case_features(hu: npt.NDArray[np.int16], mm_per_px: float, spec: SliceSpec) -> dict[str, float]:
    """What is compared: brightness and contrast of the slices (N, size, size) in the window, and their scale."""
    windowed = apply_window(hu, spec)
    return {
        "mean of the windowed slices": float(windowed.mean()),
        "SD of the windowed slices": float(windowed.std()),
        "scale in mm per pixel": mm_per_px,
    }


def learn_domain(features: Iterable[Mapping[str, float]]) -> ApplicabilityDomain:
    """The domain of these training cases."""
    columns: dict[str, list[float]] = {}
    for case in features:
        for name, value in case.items():
            columns.setdefault(name, []).append(value)
    limits = {}
    for name, values in columns.items():
        slack = SLACK * (max(values) - min(values))
        limits[name] = (min(values) - slack, max(values) + slack)
    return ApplicabilityDomain(limits=limits)

"""From the probabilities of slices to those of a case. NumPy only: the clinic calls this same code."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nephroscope.errors import RoiError
from nephroscope.records import SlicePrediction


def mean_over_slices(slices: Sequence[SlicePrediction]) -> tuple[float, ...]:
    """Mean probability of each subtype over all slices of a case, in the order of the subtypes.

    Raises:
        RoiError: There is no slice.
    """
    if not slices:
        raise RoiError(
            where="case without slices",
            expected="at least one slice to average",
            found="none",
            remedy="lower slices.min_area_mm2, or leave the case out",
        )
    p = np.array([s.probabilities for s in slices], dtype=np.float64)
    return tuple(p.mean(axis=0).tolist())


def majority_of_three(
    slices: Sequence[SlicePrediction],
    rng: np.random.Generator,
    threshold: float = 0.5,
    positive: int = 0,
) -> int:
    """The subtype that at least two of three randomly drawn slices name, as in the paper.

    A case with fewer than three slices gives all it has. Where no subtype has most votes (three slices, three
    subtypes; two slices, two subtypes) the mean probability of the drawn slices decides.

    Args:
        slices: All slices of the case.
        rng: Draws the three, without replacement.
        threshold: On the positive subtype's probability; used for two subtypes only.
        positive: Index of the positive subtype.

    Returns:
        Index of the subtype.

    Source:
        Zuo et al. 2021; why two of three and not all three: decisions.md, "Test figures".
    """
    drawn = rng.choice(len(slices), size=min(3, len(slices)), replace=False)
    p = np.array([slices[i].probabilities for i in drawn], dtype=np.float64)
    votes = np.bincount([label_of(row, threshold, positive) for row in p], minlength=p.shape[1])
    if np.count_nonzero(votes == votes.max()) == 1:
        return int(votes.argmax())
    return label_of(np.mean(p, axis=0).tolist(), threshold, positive)


def label_of(
    probabilities: Sequence[float] | npt.NDArray[np.float64], threshold: float, positive: int
) -> int:
    """Index of the subtype called: two subtypes by the threshold, more by the largest probability."""
    if len(probabilities) == 2:
        return positive if probabilities[positive] >= threshold else 1 - positive
    return int(np.argmax(probabilities))

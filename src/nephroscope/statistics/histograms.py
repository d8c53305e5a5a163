"""AUC from histograms of scores: what is left of it when only counts by bin are known."""

import numpy as np
import numpy.typing as npt

from nephroscope.records import Estimate
from nephroscope.statistics.intervals import Patients, no_estimate
from nephroscope.statistics.metrics import Floats
from nephroscope.statistics.placements import area_interval

Counts = npt.NDArray[np.int64]


def score_histogram(scores: Floats, is_positive: npt.NDArray[np.bool_], bins: int) -> Counts:
    """Cases by class (negative first) and bin of equal width from 0 to 1, (2, bins)."""
    return np.stack([np.histogram(scores[is_positive == flag], bins, (0, 1))[0] for flag in (False, True)])


def histogram_auc(counts: Counts) -> float | None:
    """AUC of cases counted by bin, (2, bins); two cases of one bin count half. None where a class has no case."""
    negative, positive = counts.astype(float)
    if negative.sum() <= 0 or positive.sum() <= 0:
        return None
    below = np.cumsum(negative) - negative
    return float(positive @ (below + negative / 2) / (positive.sum() * negative.sum()))


def histogram_auc_estimate(counts: Counts, n_folds: int, confidence: float) -> Estimate:
    """The same with its interval, each case as another patient's, in the middle of its bin."""
    value, n = histogram_auc(counts), int(counts.sum())
    if value is None:
        return no_estimate("undefined: a class has no case", n)
    middle = (np.arange(counts.shape[1]) + 0.5) / counts.shape[1]
    scores = np.concatenate([np.repeat(middle, counts[flag]) for flag in (0, 1)])
    is_positive = np.repeat([False, True], counts.sum(axis=1))
    truth = is_positive.astype(np.intp)
    patients = Patients(row=np.arange(n, dtype=np.intp), stratum=truth, n_folds=n_folds)
    return area_interval([(scores, is_positive)], patients, confidence).around(value, n)


def noisy(counts: Counts, epsilon: float, rng: np.random.Generator) -> Counts:
    """Counts with noise that hides any one patient: two-sided geometric, of differential privacy ``epsilon``.

    Each patient must be counted once, whatever the data: then with or without one patient a single count differs, by
    1. The scores are taken as given: what training gives away of a patient is not hidden. What falls below 0 becomes
    0, which gives nothing away.

    Source:
        Ghosh, Roughgarden, Sundararajan 2012, SIAM J Comput 41:1673 (geometric mechanism).
    """
    p = 1 - np.exp(-epsilon)
    drawn = rng.geometric(p, counts.shape) - rng.geometric(p, counts.shape)
    return np.maximum(counts + drawn, 0)


def noise_error(counts: Counts, epsilon: float, rng: np.random.Generator, draws: int = 200) -> float | None:
    """Mean distance of the AUC with noise from that without, by drawing it often; None where there is no AUC."""
    value = histogram_auc(counts)
    if value is None:
        return None
    found = [histogram_auc(noisy(counts, epsilon, rng)) for _ in range(draws)]
    return float(np.mean([abs((0.5 if one is None else one) - value) for one in found]))

"""Scores of the same rows in; placement values out, from which every nonparametric variance of an AUC is made."""

import numpy as np
from scipy.stats import rankdata

from nephroscope.evaluation.metrics import Bools, Floats


def placements(scores: Floats, is_positive: Bools) -> tuple[Floats, Floats]:
    """Share of the other class that each row wins against, by midranks.

    Args:
        scores: Of m tests on the same n rows, (m, n), finite.
        is_positive: (n,), both classes present.

    Returns:
        For each positive row the share of negatives below it, (m, n positives), and for each negative row the
        share of positives above it, (m, n negatives); ties count half. The mean of either is the AUC.

    Source:
        DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837; by ranks: Sun and Xu 2014, IEEE Signal Process
        Lett 21:1389.
    """
    x, y = scores[:, is_positive], scores[:, ~is_positive]
    n_positive, n_negative = x.shape[1], y.shape[1]
    ranks = rankdata(np.concatenate([x, y], axis=1), axis=1)
    of_positives: Floats = (ranks[:, :n_positive] - rankdata(x, axis=1)) / n_negative
    of_negatives: Floats = 1 - (ranks[:, n_positive:] - rankdata(y, axis=1)) / n_positive
    return of_positives, of_negatives


def delong_covariance(scores: Floats, is_positive: Bools) -> tuple[Floats, Floats]:
    """AUCs (m,) of m tests on the same independent rows, and their covariance (m, m).

    Args:
        scores: (m, n), finite.
        is_positive: (n,); at least two rows of each class.

    Source:
        DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837.
    """
    x, y = placements(scores, is_positive)
    aucs: Floats = x.mean(axis=1)
    x, y = x - aucs[:, None], y - aucs[:, None]
    n_x, n_y = x.shape[1], y.shape[1]
    covariance: Floats = x @ x.T / (n_x * (n_x - 1)) + y @ y.T / (n_y * (n_y - 1))
    return aucs, covariance

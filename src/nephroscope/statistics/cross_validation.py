"""Answers of several fits pooled: what an interval or test of cross-validated answers needs beside that of one model.

DeLong's and Wilson's formulas take the answers as those of one model. Cross-validated answers come from a fit per
fold, whose training parts overlap: that adds a part of the variance which the answers alone do not show.
"""

from scipy.stats import norm


def variance_factor(n_folds: int) -> float:
    """What the variance of one fixed model is multiplied by: 1 + K / (K - 1) for K folds, 1 for a single fit.

    Source:
        Nadeau and Bengio 2003, Mach Learn 52:239: the variance s2 / K of the mean over K folds becomes
        s2 (1 / K + test part / training part), and the parts are as 1 to K - 1. How often such intervals hold the
        true value, and such tests reject equals: `benchmarks/cross_validated.py`.
    """
    return 1 + n_folds / (n_folds - 1) if n_folds > 1 else 1.0


def fold_words(n_folds: int) -> str:
    """What a method says of it; empty for a single fit."""
    if n_folds < 2:
        return ""
    factor = variance_factor(n_folds)
    return f"; cross-validated in {n_folds} folds, variance x {factor:.3g} (Nadeau and Bengio 2003)"


def corrected_p(p: float, n_folds: int) -> float:
    """A two-sided p of one fixed model, for the larger variance of cross-validated answers."""
    if n_folds < 2 or p >= 1:
        return p
    return 2 * float(norm.sf(float(norm.isf(p / 2)) / variance_factor(n_folds) ** 0.5))

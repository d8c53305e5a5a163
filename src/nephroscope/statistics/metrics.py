"""Shares, AUC and confusion matrix of rows, and the placement values behind the variances of an AUC."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Ints = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Area = tuple[Floats, Bools]  # scores and which rows are positive, both (n,)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Proportion:
    """A share of rows: ``hits`` of ``counted``, both bool (n,); ``empty`` says why none may be counted."""

    hits: Bools
    counted: Bools
    empty: str

    @property
    def k(self) -> int:
        """Number of hits."""
        return int(np.count_nonzero(self.hits & self.counted))

    @property
    def n(self) -> int:
        """Number of rows counted."""
        return int(np.count_nonzero(self.counted))

    @property
    def value(self) -> float | None:
        """Hits per counted row, or None without rows to count."""
        return self.k / self.n if self.n else None


def accuracy(truth: Ints, called: Ints) -> Proportion:
    """Share of rows whose call is the truth. ``truth`` and ``called`` are indices of subtypes, (n,)."""
    return Proportion(hits=called == truth, counted=np.ones(truth.size, dtype=bool), empty="nothing to count")


def sensitivity(truth: Ints, called: Ints, subtype: int, name: str) -> Proportion:
    """Of the rows that are the subtype, the share called so."""
    return Proportion(hits=called == subtype, counted=truth == subtype, empty=f"none is {name}")


def specificity(truth: Ints, called: Ints, subtype: int, name: str) -> Proportion:
    """Of the rows that are another subtype, the share not called this one."""
    return Proportion(hits=called != subtype, counted=truth != subtype, empty=f"all are {name}")


def precision(truth: Ints, called: Ints, subtype: int, name: str) -> Proportion:
    """Of the rows called the subtype, the share that is; the paper prints it as sensitivity."""
    return Proportion(hits=truth == subtype, counted=called == subtype, empty=f"none was called {name}")


def proportions(truth: Ints, called: Ints, subtypes: Sequence[str], positive: int) -> dict[str, Proportion]:
    """Accuracy, then sensitivity, specificity and precision of the positive; of each if over two."""
    kinds = {"sensitivity": sensitivity, "specificity": specificity, "precision": precision}
    found = {"accuracy": accuracy(truth, called)}
    found |= {kind: make(truth, called, positive, subtypes[positive]) for kind, make in kinds.items()}
    if len(subtypes) > 2:
        for kind, make in kinds.items():
            found |= {f"{kind}_{s}": make(truth, called, i, s) for i, s in enumerate(subtypes)}
    return found


def auc(scores: Floats, is_positive: Bools) -> float | None:
    """Chance that a positive row scores above a negative one, ties counting half; None with one class only.

    Source:
        Mann-Whitney form of the area under the ROC curve.
    """
    m = int(np.count_nonzero(is_positive))
    n = is_positive.size - m
    if m == 0 or n == 0:
        return None
    return float((rankdata(scores)[is_positive].sum() - m * (m + 1) / 2) / (m * n))


def confusion(truth: Ints, called: Ints, n_subtypes: int) -> tuple[tuple[int, ...], ...]:
    """Counts, rows of truth by columns of call."""
    table = np.zeros((n_subtypes, n_subtypes), dtype=int)
    np.add.at(table, (truth, called), 1)
    return tuple(tuple(int(n) for n in row) for row in table)


def roc_points(scores: Floats, is_positive: Bools) -> tuple[Floats, Floats]:
    """False and true positive rate at every distinct score, from (0, 0) to (1, 1); both classes needed."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # ties move in one step
    tpr = np.cumsum(is_positive[order])[last] / np.count_nonzero(is_positive)
    fpr = np.cumsum(~is_positive[order])[last] / np.count_nonzero(~is_positive)
    return np.append(0.0, fpr), np.append(0.0, tpr)


def placements(scores: Floats, is_positive: Bools) -> tuple[Floats, Floats]:
    """Share of the other class that each row wins against, by midranks; scores (m, n) of m tests on the same rows.

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

    ``scores`` are (m, n), finite; each class has at least two rows.

    Source:
        DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837.
    """
    x, y = placements(scores, is_positive)
    aucs: Floats = x.mean(axis=1)
    x, y = x - aucs[:, None], y - aucs[:, None]
    n_x, n_y = x.shape[1], y.shape[1]
    covariance: Floats = x @ x.T / (n_x * (n_x - 1)) + y @ y.T / (n_y * (n_y - 1))
    return aucs, covariance

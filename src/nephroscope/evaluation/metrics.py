"""Point estimates on plain arrays; a figure that cannot be had is None, never 0 and never NaN.

Every proportion is kept as two masks over the rows (what counts, what hits), because its value, its Wilson
interval and its patient bootstrap are all read off them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Ints = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


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

"""Ratings of every case by every reader with every treatment in; figures of merit and their covariances out.

The cases of one patient are left out together by the jackknife, so that the covariances are those of patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nephroscope.errors import CohortError
from nephroscope.evaluation.metrics import Bools, Floats, Ints
from nephroscope.evaluation.statistics.placements import delong_covariance

Figure = Literal["auc", "sensitivity", "specificity", "accuracy"]
Method = Literal["jackknife", "delong"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Design:
    """A full crossing of I treatments, J readers and n cases.

    Attributes:
        ratings: (I, J, n), higher is surer of the positive class; for shares, 1 where called positive, else 0.
        truth: True where the case is positive, (n,).
        patient: Whose case it is, as any numbers, (n,).
    """

    treatments: tuple[str, ...]
    readers: tuple[str, ...]
    ratings: Floats
    truth: Bools
    patient: Ints

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return int(np.unique(self.patient).size)

    def check(self, figure: Figure, method: Method) -> None:
        """Refuse what has no covariance.

        Raises:
            CohortError: A class has fewer than two patients; or DeLong where it does not hold.
        """
        per_class = [np.unique(self.patient[self.truth == positive]).size for positive in (True, False)]
        needed = {"auc": per_class, "sensitivity": per_class[:1], "specificity": per_class[1:]}
        if min(needed.get(figure, [self.n_patients])) < 2:
            raise CohortError(
                where=f"multi-reader analysis of {figure}",
                expected="at least two patients of each class that the figure is about",
                found=f"{per_class[0]} positive, {per_class[1]} negative",
                remedy="add cases",
            )
        if method == "delong" and (figure != "auc" or self.n_patients < self.truth.size):
            raise CohortError(
                where=f"multi-reader analysis of {figure}",
                expected="AUC and one case of every patient, for the covariances of DeLong",
                found=f"{figure}, {self.truth.size} cases of {self.n_patients} patients",
                remedy="use --covariance jackknife",
            )


def figures_of(design: Design, figure: Figure) -> Floats:
    """The figure of each treatment and reader, (I, J)."""
    flat = design.ratings.reshape(-1, design.truth.size)
    if figure == "auc":
        values = np.array([_wins(row, design.truth).mean() for row in flat])
    else:
        hits, counted = _shares(flat, design.truth, figure)
        values = hits.sum(axis=1) / counted.sum()
    shaped: Floats = values.reshape(design.ratings.shape[:2])
    return shaped


def covariance_of(design: Design, figure: Figure, method: Method) -> Floats:
    """Covariances of the figures over samples of patients, (I J, I J), treatments outermost."""
    design.check(figure, method)
    flat = design.ratings.reshape(-1, design.truth.size)
    if method == "delong":
        return delong_covariance(flat, design.truth)[1]
    return _jackknife(_without_each(flat, design, figure))


def _wins(scores: Floats, truth: Bools) -> Floats:
    """1 where a positive case (rows) is rated above a negative one (columns), one half for ties."""
    x, y = scores[truth][:, None], scores[~truth][None, :]
    won: Floats = (x > y) + 0.5 * (x == y)
    return won


def _shares(flat: Floats, truth: Bools, figure: Figure) -> tuple[Floats, Floats]:
    """Hits (b, n) and whether a case counts (n,)."""
    right = (flat > 0.5) == truth
    counted = {"sensitivity": truth, "specificity": ~truth}.get(figure, np.ones_like(truth))
    return (right & counted).astype(float), counted.astype(float)


def _jackknife(values: Floats) -> Floats:
    """Covariance from the figures without each patient, (G, b).

    Source:
        Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, chapter 3.
    """
    g = len(values)
    apart = values - values.mean(axis=0)
    covariance: Floats = (g - 1) / g * (apart.T @ apart)
    return covariance


def _without_each(flat: Floats, design: Design, figure: Figure) -> Floats:
    """The figures without each patient, (G, b)."""
    _, who = np.unique(design.patient, return_inverse=True)
    who = who.reshape(-1)
    n_patients = int(who.max()) + 1
    if figure == "auc":
        return np.array([_auc_without(row, design.truth, who, n_patients) for row in flat]).T
    hits, counted = _shares(flat, design.truth, figure)
    lost = np.array([np.bincount(who, weights=row, minlength=n_patients) for row in hits])
    fewer = np.bincount(who, weights=counted, minlength=n_patients)
    counts = fewer > 0  # a patient without a case that counts changes nothing, and is no part of the sample
    left: Floats = ((hits.sum(axis=1)[:, None] - lost[:, counts]) / (counted.sum() - fewer[counts])).T
    return left


def _auc_without(scores: Floats, truth: Bools, who: Ints, n_patients: int) -> Floats:
    wins, own, other = _wins(scores, truth), who[truth], who[~truth]
    lost = np.bincount(own, weights=wins.sum(axis=1), minlength=n_patients)
    lost += np.bincount(other, weights=wins.sum(axis=0), minlength=n_patients)
    twice = wins * (own[:, None] == other[None, :])
    lost -= np.bincount(own, weights=twice.sum(axis=1), minlength=n_patients)
    m = own.size - np.bincount(own, minlength=n_patients)
    n = other.size - np.bincount(other, minlength=n_patients)
    left: Floats = (wins.sum() - lost) / (m * n)
    return left


def numbered(names: Sequence[str]) -> Ints:
    """Each name as a number, the same for the same name."""
    return np.unique(np.asarray(names, dtype=str), return_inverse=True)[1].reshape(-1).astype(np.intp)

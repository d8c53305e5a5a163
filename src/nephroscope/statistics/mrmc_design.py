"""Ratings of every case by every reader with every treatment: figures of merit and their covariances.

The jackknife leaves out all cases of a patient together, so the covariances are over patients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from nephroscope.base.errors import CohortError
from nephroscope.statistics.metrics import Bools, Floats, Ints, delong_covariance


@dataclass(frozen=True, kw_only=True)
class Components:
    """Mean squares, None with one treatment or reader, and the parts of the variance of a reader's figure.

    Attributes:
        reader: Variance between readers; None if it could not be computed; may come out below 0.
        treatment_reader: Variance of a reader's own response to a treatment; likewise.
        error: Variance of a figure over patients.
        cov1: Covariance of two treatments, one reader.
        cov2: Covariance of two readers, one treatment.
        cov3: Covariance of two readers with different treatments.
    """

    ms_treatment: float | None
    ms_reader: float | None
    ms_treatment_reader: float | None
    reader: float | None
    treatment_reader: float | None
    error: float
    cov1: float | None
    cov2: float | None
    cov3: float | None


@dataclass(frozen=True, kw_only=True)
class Wald:
    """A value with its standard error; ``df`` None: normal."""

    value: float
    se: float
    df: float | None

    def interval(self, confidence: float) -> tuple[float, float]:
        """Low and high, not cut to what the value may be."""
        tail = (1 + confidence) / 2
        quantile = stats.norm.ppf(tail) if self.df is None else stats.t.ppf(tail, self.df)
        return self.value - float(quantile) * self.se, self.value + float(quantile) * self.se

    @property
    def statistic(self) -> float | None:
        """Value over standard error; None where there is none."""
        return self.value / self.se if self.se > 1e-12 else None

    @property
    def p(self) -> float | None:
        """Two-sided, of no difference; None without a standard error."""
        if self.statistic is None:
            return None
        z = abs(self.statistic)
        return float(2 * (stats.norm.sf(z) if self.df is None else stats.t.sf(z, self.df)))


def covariances(
    matrix: Floats, n_treatments: int, n_readers: int
) -> tuple[float, float | None, float | None, float | None]:
    """Error, Cov1, Cov2 and Cov3: means over the cells of each kind; None where there is no such cell."""
    cells = matrix.reshape(n_treatments, n_readers, n_treatments, n_readers)
    treatment = np.eye(n_treatments, dtype=bool)[:, None, :, None]
    reader = np.eye(n_readers, dtype=bool)[None, :, None, :]
    kinds = [treatment & reader, ~treatment & reader, treatment & ~reader, ~treatment & ~reader]
    error, cov1, cov2, cov3 = (
        float(cells[kind].mean()) if kind.any() else None for kind in np.broadcast_arrays(*kinds)
    )
    return error or 0.0, cov1, cov2, cov3


def components_of(figures: Floats, matrix: Floats) -> Components:
    """Mean squares of the figures (I, J), and the variances from them and the covariances (I J, I J)."""
    i, j = figures.shape
    by_treatment, by_reader, mean = figures.mean(axis=1), figures.mean(axis=0), figures.mean()
    rest = figures - by_treatment[:, None] - by_reader + mean
    ms_t = float(j * ((by_treatment - mean) ** 2).sum() / (i - 1)) if i > 1 else None
    ms_r = float(i * ((by_reader - mean) ** 2).sum() / (j - 1)) if j > 1 else None
    ms_tr = float((rest**2).sum() / ((i - 1) * (j - 1))) if i > 1 and j > 1 else None
    error, cov1, cov2, cov3 = covariances(matrix, i, j)
    reader = own = None
    if ms_r is not None and ms_tr is not None and cov1 is not None and cov2 is not None and cov3 is not None:
        reader = (ms_r - ms_tr) / i - cov1 + cov3
        own = ms_tr - error + cov1 + max(cov2 - cov3, 0.0)
    return Components(
        ms_treatment=ms_t,
        ms_reader=ms_r,
        ms_treatment_reader=ms_tr,
        reader=reader,
        treatment_reader=own,
        error=error,
        cov1=cov1,
        cov2=cov2,
        cov3=cov3,
    )


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The denominator of the test of treatments, and its degrees of freedom (None: chi-square, normal)."""

    denominator: float
    df: float | None


def spread_of(parts: Components, shape: tuple[int, int], fixed: str) -> Spread:
    """Denominator for two or more treatments; ``fixed`` is readers, cases or nothing ("")."""
    i, j = shape
    cov1, cov2, cov3 = (c or 0.0 for c in (parts.cov1, parts.cov2, parts.cov3))
    if fixed == "readers":
        return Spread(denominator=parts.error - cov1 + (j - 1) * max(cov2 - cov3, 0.0), df=None)
    ms_tr = parts.ms_treatment_reader or 0.0
    cells = float((i - 1) * (j - 1))
    if fixed == "cases":
        return Spread(denominator=ms_tr, df=cells)
    denominator = ms_tr + j * max(cov2 - cov3, 0.0)
    return Spread(denominator=denominator, df=_degrees(denominator, ms_tr, cells))


def mean_of_readers(figures: Floats, matrix: Floats, fixed: str) -> Wald:
    """Mean over readers of one treatment, or of one difference: ``figures`` (J,), ``matrix`` (J, J)."""
    j = figures.size
    error, _, found, _ = covariances(matrix, 1, j)
    cov2 = max(found or 0.0, 0.0)
    value = float(figures.mean())
    if fixed == "readers" or j < 2:
        return Wald(value=value, se=(max(error + (j - 1) * cov2, 0.0) / j) ** 0.5, df=None)
    ms = float(figures.var(ddof=1))
    if fixed == "cases":
        return Wald(value=value, se=(ms / j) ** 0.5, df=float(j - 1))
    total = ms + j * cov2
    return Wald(value=value, se=(total / j) ** 0.5, df=_degrees(total, ms, j - 1.0))


def _degrees(total: float, ms: float, cells: float) -> float | None:
    """Hillis' degrees of freedom; None (normal) where readers do not differ at all."""
    return total**2 / (ms**2 / cells) if ms > 1e-12 else None


Figure = Literal["auc", "sensitivity", "specificity", "accuracy"]
Method = Literal["jackknife", "delong"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Design:
    """A full crossing of I treatments, J readers and n cases.

    Attributes:
        ratings: (I, J, n), higher for more certainly positive; for shares, 1 if called positive, else 0.
        truth: True if the case is positive, (n,).
        patient: The patient of each case, as any numbers, (n,).
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
            CohortError: A class has fewer than two patients; or DeLong's covariances are not valid.
        """
        per_class = [np.unique(self.patient[self.truth == positive]).size for positive in (True, False)]
        needed = {"auc": per_class, "sensitivity": per_class[:1], "specificity": per_class[1:]}
        if min(needed.get(figure, [self.n_patients])) < 2:
            raise CohortError(
                where=f"multi-reader analysis of {figure}",
                expected="at least two patients of each class that the figure refers to",
                found=f"{per_class[0]} positive, {per_class[1]} negative",
                remedy="add cases",
            )
        if method == "delong" and (figure != "auc" or self.n_patients < self.truth.size):
            raise CohortError(
                where=f"multi-reader analysis of {figure}",
                expected="AUC and one case per patient, for DeLong covariances",
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
    """1 if a positive case (rows) is rated above a negative one (columns), one half for ties."""
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
    deviations = values - values.mean(axis=0)
    covariance: Floats = (g - 1) / g * (deviations.T @ deviations)
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

"""Figures of treatments by readers and their covariances in; tests and intervals of Obuchowski and Rockette out.

Source:
    Obuchowski and Rockette 1995, Commun Stat Simul 24:285; degrees of freedom by Hillis 2007, Stat Med 26:596;
    formulas as collected in Hillis 2014, Stat Med 33:330.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from nephroscope.evaluation.metrics import Floats


@dataclass(frozen=True, kw_only=True)
class Components:
    """Mean squares, and the parts of the variance of a reader's figure.

    Attributes:
        ms_treatment: None with one treatment.
        ms_reader: None with one reader.
        ms_treatment_reader: None with one of either.
        reader: Variance between readers; None where it cannot be had; may come out below 0.
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
    """Mean squares of the figures (I, J) and what they say together with the covariances (I J, I J)."""
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

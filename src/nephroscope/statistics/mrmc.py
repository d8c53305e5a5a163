"""A full crossing of readers, treatments and cases in; the multi-reader multi-case analysis out.

By Obuchowski and Rockette with Hillis' degrees of freedom, as the R packages MRMCaov and RJafroc compute it.
"""

from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from nephroscope.records import Estimate
from nephroscope.statistics.intervals import newcombe_auc, wilson
from nephroscope.statistics.metrics import Floats
from nephroscope.statistics.mrmc_design import (
    Components,
    Design,
    Figure,
    Method,
    Spread,
    Wald,
    components_of,
    covariance_of,
    figures_of,
    mean_of_readers,
    spread_of,
)

# What is taken as fixed, and what the answer then holds for.
MODELS = {
    "": "random readers and random cases",
    "readers": "fixed readers and random cases",
    "cases": "random readers and fixed cases",
}
NAMES = {
    "": "random_readers_random_cases",
    "readers": "fixed_readers_random_cases",
    "cases": "random_readers_fixed_cases",
}


@dataclass(frozen=True, kw_only=True)
class TreatmentTest:
    """A test of no difference. ``p`` is None where it cannot be had; ``method`` says why.

    Attributes:
        statistic: F, chi-square, t or z, as ``method`` says.
        df1: Of the numerator; None for t and z.
        df2: Of the denominator, or of t; None for chi-square and z.
    """

    statistic: float | None
    df1: float | None
    df2: float | None
    p: float | None
    method: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """First treatment less second, over all readers or of one (``reader``)."""

    first: str
    second: str
    difference: Estimate
    test: TreatmentTest
    reader: str = ""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What one choice of fixed and random says: means by treatment, test of all, pairwise differences."""

    model: str
    means: dict[str, Estimate]
    test: TreatmentTest
    differences: tuple[Difference, ...]


@dataclass(frozen=True, kw_only=True)
class MrmcReport:
    """The whole analysis.

    Attributes:
        figures: (treatment, reader, figure with interval) of every cell.
        single_readers: Differences within each reader, by that reader's own variances.
        analyses: By name, as in `NAMES`.
    """

    figure: Figure
    covariance: Method
    treatments: tuple[str, ...]
    readers: tuple[str, ...]
    n_cases: int
    n_positive: int
    n_patients: int
    figures: tuple[tuple[str, str, Estimate], ...]
    components: Components
    analyses: dict[str, Analysis]
    single_readers: tuple[Difference, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``; the analysis of random readers and cases is also at the top."""
        figures = [{"treatment": t, "reader": r, **asdict(e)} for t, r, e in self.figures]
        each = {name: asdict(analysis) for name, analysis in self.analyses.items()}
        return asdict(self) | {"figures": figures, "analyses": each} | each[NAMES[""]]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Cells:
    """Figures (I, J), their covariances (I J, I J), and how intervals are said."""

    design: Design
    figure: Figure
    method: Method
    figures: Floats
    matrix: Floats
    confidence: float

    def block(self, first: int, second: int) -> Floats:
        """Covariances of two treatments, (J, J)."""
        j = len(self.design.readers)
        found: Floats = self.matrix[first * j : (first + 1) * j, second * j : (second + 1) * j]
        return found

    @property
    def n(self) -> int:
        """Cases that the figure is about."""
        positive = int(np.count_nonzero(self.design.truth))
        every = self.design.truth.size
        return {"sensitivity": positive, "specificity": every - positive}.get(self.figure, every)

    def estimate(self, wald: Wald, low_end: float, told: str) -> Estimate:
        """A figure with the interval cut to what it may be, ``low_end`` to 1."""
        n = self.n
        if wald.se < 1e-12:
            return Estimate(
                value=wald.value, low=None, high=None, n=n, unit="case", method="no interval: no variance"
            )
        low, high = wald.interval(self.confidence)
        law = "normal" if wald.df is None else f"t, {wald.df:.2f} df"
        method = f"Obuchowski-Rockette, {told}, {self.method} covariance, {law}, {100 * self.confidence:g} %"
        return Estimate(
            value=wald.value, low=max(low_end, low), high=min(1.0, high), n=n, unit="case", method=method
        )


def analyse(
    design: Design, figure: Figure = "auc", covariance: Method = "jackknife", confidence: float = 0.95
) -> MrmcReport:
    """Compare treatments over several readers of the same cases.

    Args:
        design: Ratings of at least two readers; with one treatment there are means but no test.
        figure: What is compared.
        covariance: How the covariances over patients are estimated; DeLong's only for AUC.
        confidence: Of the intervals.

    Raises:
        CohortError: A class has fewer than two patients, or DeLong's covariances do not hold.
    """
    matrix = covariance_of(design, figure, covariance)
    figures = figures_of(design, figure)
    cells = _Cells(
        design=design, figure=figure, method=covariance, figures=figures, matrix=matrix, confidence=confidence
    )
    parts = components_of(figures, matrix)
    return MrmcReport(
        figure=figure,
        covariance=covariance,
        treatments=design.treatments,
        readers=design.readers,
        n_cases=int(design.truth.size),
        n_positive=int(np.count_nonzero(design.truth)),
        n_patients=design.n_patients,
        figures=tuple(_every_figure(cells)),
        components=parts,
        analyses={NAMES[fixed]: _analysis(cells, parts, fixed) for fixed in MODELS},
        single_readers=tuple(_single_readers(cells)),
    )


def _every_figure(cells: _Cells) -> list[tuple[str, str, Estimate]]:
    """Each cell with the normal interval of its own variance; by formula where that variance is 0."""
    found = []
    design, variances = cells.design, np.diag(cells.matrix).reshape(cells.figures.shape)
    for (i, j), value in np.ndenumerate(cells.figures):
        wald = Wald(value=float(value), se=float(variances[i, j]) ** 0.5, df=None)
        estimate = cells.estimate(wald, 0.0, "one reader")
        if estimate.low is None:
            estimate = _degenerate(cells, float(value))
        found.append((design.treatments[i], design.readers[j], estimate))
    return found


def _degenerate(cells: _Cells, value: float) -> Estimate:
    """A figure whose variance is 0: the interval that stays honest there, on patients."""
    design, confidence = cells.design, cells.confidence
    m, n = (np.unique(design.patient[design.truth == positive]).size for positive in (True, False))
    percent = f"{100 * confidence:g} %"
    if cells.figure == "auc":
        low, high = newcombe_auc(value, m, n, confidence)
        method = f"Newcombe 2006 method 5, as the {cells.method} variance is zero, {percent}"
    else:
        counted = {"sensitivity": m, "specificity": n}.get(cells.figure, design.n_patients)
        low, high = wilson(value * counted, counted, confidence)
        method = f"Wilson on {counted} patients, as the {cells.method} variance is zero, {percent}"
    return Estimate(value=value, low=low, high=high, n=cells.n, unit="case", method=method)


def _analysis(cells: _Cells, parts: Components, fixed: str) -> Analysis:
    """Means, test and differences with readers or cases fixed, or neither."""
    told, treatments = MODELS[fixed], cells.design.treatments
    means = {
        name: cells.estimate(mean_of_readers(cells.figures[i], cells.block(i, i), fixed), 0.0, told)
        for i, name in enumerate(treatments)
    }
    shape = (len(treatments), len(cells.design.readers))
    if shape[0] < 2:
        none = TreatmentTest(statistic=None, df1=None, df2=None, p=None, method="no test: one treatment")
        return Analysis(model=told, means=means, test=none, differences=())
    spread = spread_of(parts, shape, fixed)
    return Analysis(
        model=told,
        means=means,
        test=_global_test(parts.ms_treatment or 0.0, shape[0], spread, told),
        differences=tuple(_differences(cells, spread, told)),
    )


def _global_test(ms_treatment: float, n_treatments: int, spread: Spread, told: str) -> TreatmentTest:
    """Test that all treatments have the same mean."""
    df1 = float(n_treatments - 1)
    if spread.denominator < 1e-15:
        why = "no test: neither readers nor cases vary"
        return TreatmentTest(statistic=None, df1=df1, df2=spread.df, p=None, method=why)
    if spread.df is None:
        statistic = df1 * ms_treatment / spread.denominator
        p, law = float(stats.chi2.sf(statistic, df1)), "chi-square"
    else:
        statistic = ms_treatment / spread.denominator
        p, law = float(stats.f.sf(statistic, df1, spread.df)), "F"
    return TreatmentTest(
        statistic=statistic, df1=df1, df2=spread.df, p=p, method=f"Obuchowski-Rockette {law}, {told}"
    )


def _differences(cells: _Cells, spread: Spread, told: str) -> list[Difference]:
    """Each pair of treatments, by the denominator of the test of all."""
    means, j = cells.figures.mean(axis=1), len(cells.design.readers)
    se = (2 * max(spread.denominator, 0.0) / j) ** 0.5
    return [
        _difference(
            cells, pair, Wald(value=float(means[pair[0]] - means[pair[1]]), se=se, df=spread.df), told
        )
        for pair in combinations(range(means.size), 2)
    ]


def _single_readers(cells: _Cells) -> list[Difference]:
    """Each pair of treatments within each reader, by that reader's variances and Cov1."""
    found = []
    n_treatments, n_readers = cells.figures.shape
    for j in range(n_readers):
        own = cells.matrix.reshape(n_treatments, n_readers, n_treatments, n_readers)[:, j, :, j]
        if n_treatments < 2:
            continue
        error = float(np.trace(own)) / n_treatments
        cov1 = float(own.sum() - np.trace(own)) / (n_treatments * (n_treatments - 1))
        se = (2 * max(error - cov1, 0.0)) ** 0.5
        for pair in combinations(range(n_treatments), 2):
            value = float(cells.figures[pair[0], j] - cells.figures[pair[1], j])
            found.append(
                _difference(
                    cells, pair, Wald(value=value, se=se, df=None), "one reader", cells.design.readers[j]
                )
            )
    return found


def _difference(cells: _Cells, pair: tuple[int, int], wald: Wald, told: str, reader: str = "") -> Difference:
    first, second = (cells.design.treatments[i] for i in pair)
    return Difference(
        first=first,
        second=second,
        difference=cells.estimate(wald, -1.0, told),
        test=tested(wald, told),
        reader=reader,
    )


def tested(wald: Wald, told: str) -> TreatmentTest:
    """Two-sided test that the value is 0."""
    if wald.p is None:
        return TreatmentTest(statistic=None, df1=None, df2=wald.df, p=None, method="no test: no variance")
    law = "z" if wald.df is None else "t"
    return TreatmentTest(
        statistic=wald.statistic, df1=None, df2=wald.df, p=wald.p, method=f"Obuchowski-Rockette {law}, {told}"
    )


def against_one(
    readers: Design, other: Floats, other_name: str, figure: Figure = "auc", confidence: float = 0.95
) -> Difference:
    """Mean of the readers (one treatment) less one other rating of the same cases, such as a model's.

    The differences reader less model are analysed as figures of one treatment: the model is the same for every
    reader, and fixed; readers and patients are random.

    Args:
        readers: One treatment, at least two readers.
        other: The model's rating of each case, (n,).
        other_name: Of the model.
        figure: What is compared.
        confidence: Of the interval.

    Source:
        Hillis, Obuchowski and Berbaum 2011, Acad Radiol 18:129; Chakraborty 2017, Observer Performance Methods
        for Diagnostic Imaging, chapter 22.
    """
    design = Design(
        treatments=("",),
        readers=(*readers.readers, other_name),
        ratings=np.concatenate([readers.ratings, other[None, None, :]], axis=1),
        truth=readers.truth,
        patient=readers.patient,
    )
    matrix, figures = covariance_of(design, figure, "jackknife"), figures_of(design, figure)[0]
    j = len(readers.readers)
    contrast = np.hstack([np.eye(j), -np.ones((j, 1))])
    wald = mean_of_readers(contrast @ figures, contrast @ matrix @ contrast.T, "")
    told = f"random readers and random cases, {other_name} fixed"
    cells = _Cells(
        design=design,
        figure=figure,
        method="jackknife",
        figures=figures,
        matrix=matrix,
        confidence=confidence,
    )
    return Difference(
        first=f"mean of {j} readers",
        second=other_name,
        difference=cells.estimate(wald, -1.0, told),
        test=tested(wald, told),
    )

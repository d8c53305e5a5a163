"""The multi-reader multi-case analysis, where every reader rates every case with every treatment.

By Obuchowski and Rockette with Hillis' degrees of freedom, as the R packages MRMCaov and RJafroc compute it.
"""

from dataclasses import asdict, dataclass, replace
from itertools import combinations

import numpy as np
from scipy import stats

from nephroscope.records import Estimate
from nephroscope.statistics.cross_validation import fold_words, variance_factor
from nephroscope.statistics.intervals import (
    WIDENED,
    Interval,
    is_rating,
    logit_limits,
    newcombe_auc,
    share_limits,
)
from nephroscope.statistics.mcnemar import square_and_add
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

# What is taken as fixed, and what the results then apply to.
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
    """A test of no difference. ``p`` is None where there is no test; ``method`` says why.

    Attributes:
        statistic: F, chi-square, t or z, as ``method`` says.
        df1: Of the numerator; None for t and z.
        df2: Of the denominator, or of t; None for chi-square and z.
    """

    statistic: float | None = None
    df1: float | None = None
    df2: float | None = None
    p: float | None = None
    method: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """First treatment minus second, over all readers or of one (``reader``)."""

    first: str
    second: str
    difference: Estimate
    test: TreatmentTest
    reader: str = ""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The analysis for one choice of fixed and random: means by treatment, test of all, pairwise differences."""

    model: str
    means: dict[str, Estimate]
    test: TreatmentTest
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFigure(Estimate):
    """The figure of one reader with one treatment."""

    treatment: str
    reader: str


@dataclass(frozen=True, kw_only=True)
class MrmcReport(Analysis):
    """All analyses; the fields of `Analysis` are those of random readers and random cases.

    Attributes:
        figures: Of every treatment and reader.
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
    figures: tuple[CellFigure, ...]
    components: Components
    analyses: dict[str, Analysis]
    single_readers: tuple[Difference, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Cells:
    """Figures (I, J), their covariances (I J, I J), and how intervals are described."""

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

    def mean(self, wald: Wald, model: str) -> Estimate:
        """The mean of a figure over readers; that of AUCs has its interval on the logit scale.

        On the plain scale, as MRMCaov prints it, it holds the true mean in 0.91 to 0.94 of simulated studies; on the
        logit scale in 0.95.
        """
        found = self.estimate(wald, 0.0, model)
        if self.figure != "auc" or found.low is None or not 0 < wald.value < 1:
            return found
        low, high = wald.interval(self.confidence)
        limits = logit_limits(wald.value, 1.0, self.confidence, (high - low) / 2)
        how = f"{found.method.rpartition(',')[0]}, on the logit scale"
        return Interval.of(limits, how, self.confidence).around(wald.value, self.n)

    def estimate(self, wald: Wald, low_end: float, model: str) -> Estimate:
        """A figure with the interval cut to what it may be, ``low_end`` to 1."""
        if wald.se < 1e-12:
            return Interval(None, None, "no interval: no variance").around(wald.value, self.n)
        low, high = wald.interval(self.confidence)
        law = "normal" if wald.df is None else f"t, {wald.df:.2f} df"
        limits = max(low_end, low), min(1.0, high)
        method = f"Obuchowski-Rockette, {model}, {self.method} covariance, {law}"
        return Interval.of(limits, method, self.confidence).around(wald.value, self.n)


def analyse(
    design: Design, figure: Figure = "auc", covariance: Method = "jackknife", confidence: float = 0.95
) -> MrmcReport:
    """Compare treatments over several readers of the same cases.

    Args:
        design: Ratings of at least two readers; with one treatment there are means but no test.
        figure: The figure to compare.
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
    components = components_of(figures, matrix)
    analyses = {NAMES[fixed]: _analysis(cells, components, fixed) for fixed in MODELS}
    return MrmcReport(
        **vars(analyses[NAMES[""]]),
        figure=figure,
        covariance=covariance,
        treatments=design.treatments,
        readers=design.readers,
        n_cases=int(design.truth.size),
        n_positive=int(np.count_nonzero(design.truth)),
        n_patients=design.n_patients,
        figures=tuple(_every_figure(cells)),
        components=components,
        analyses=analyses,
        single_readers=tuple(_single_readers(cells)),
    )


def _every_figure(cells: _Cells) -> list[CellFigure]:
    """Each cell with the interval of its own variance; by formula where that variance is 0."""
    found = []
    design, variances = cells.design, np.diag(cells.matrix).reshape(cells.figures.shape)
    for (i, j), value in np.ndenumerate(cells.figures):
        estimate = _one_reader(cells, float(value), float(variances[i, j]), design.ratings[i, j])
        found.append(CellFigure(**asdict(estimate), treatment=design.treatments[i], reader=design.readers[j]))
    return found


def _one_reader(cells: _Cells, value: float, variance: float, ratings: Floats) -> Estimate:
    """The figure of one reader: an AUC on the logit scale, a share by as many cases as have its variance."""
    if variance < 1e-12 or not 0 < value < 1:
        return _degenerate(cells, value)
    if cells.figure == "auc":
        limits, formula = logit_limits(value, variance, cells.confidence), "on the logit scale"
        if is_rating(ratings):
            by_size = newcombe_auc(value, *_patients_of_each(cells), cells.confidence)
            limits, formula = (min(limits[0], by_size[0]), max(limits[1], by_size[1])), WIDENED
    else:
        size = value * (1 - value) / variance
        limits, name = share_limits(value * size, size, cells.confidence)
        formula = f"{name.partition(',')[0]} on {size:.1f} cases"
    method = f"one reader, {cells.method} covariance, {formula}"
    return Interval.of(limits, method, cells.confidence).around(value, cells.n)


def _patients_of_each(cells: _Cells) -> tuple[int, int]:
    """Patients with a positive case, and with a negative one."""
    design = cells.design
    m, n = (np.unique(design.patient[design.truth == positive]).size for positive in (True, False))
    return int(m), int(n)


def _degenerate(cells: _Cells, value: float) -> Estimate:
    """A figure with variance 0: an interval that is still valid then, counted by patient."""
    design, confidence = cells.design, cells.confidence
    m, n = _patients_of_each(cells)
    if cells.figure == "auc":
        limits, formula = newcombe_auc(value, m, n, confidence), "Newcombe 2006 method 5"
    else:
        counted = {"sensitivity": m, "specificity": n}.get(cells.figure, design.n_patients)
        limits, name = share_limits(value * counted, counted, confidence)
        formula = f"{name.partition(',')[0]} on {counted} patients"
    method = f"{formula}, as the {cells.method} variance is zero"
    return Interval.of(limits, method, confidence).around(value, cells.n)


def _analysis(cells: _Cells, components: Components, fixed: str) -> Analysis:
    """Means, test and differences with readers or cases fixed, or neither."""
    model, treatments = MODELS[fixed], cells.design.treatments
    means = {
        name: cells.mean(mean_of_readers(cells.figures[i], cells.block(i, i), fixed), model)
        for i, name in enumerate(treatments)
    }
    shape = (len(treatments), len(cells.design.readers))
    if shape[0] < 2:
        none = TreatmentTest(method="no test: one treatment")
        return Analysis(model=model, means=means, test=none, differences=())
    spread = spread_of(components, shape, fixed)
    return Analysis(
        model=model,
        means=means,
        test=_global_test(components.ms_treatment or 0.0, shape[0], spread, model),
        differences=tuple(_differences(cells, spread, model)),
    )


def _global_test(ms_treatment: float, n_treatments: int, spread: Spread, model: str) -> TreatmentTest:
    """Test that all treatments have the same mean."""
    df1 = float(n_treatments - 1)
    if spread.denominator < 1e-15:
        why = "no test: neither readers nor cases vary"
        return TreatmentTest(df1=df1, df2=spread.df, method=why)
    if spread.df is None:
        statistic = df1 * ms_treatment / spread.denominator
        p, law = float(stats.chi2.sf(statistic, df1)), "chi-square"
    else:
        statistic = ms_treatment / spread.denominator
        p, law = float(stats.f.sf(statistic, df1, spread.df)), "F"
    return TreatmentTest(
        statistic=statistic, df1=df1, df2=spread.df, p=p, method=f"Obuchowski-Rockette {law}, {model}"
    )


def _differences(cells: _Cells, spread: Spread, model: str) -> list[Difference]:
    """Each pair of treatments, by the denominator of the test of all."""
    means, j = cells.figures.mean(axis=1), len(cells.design.readers)
    se = (2 * max(spread.denominator, 0.0) / j) ** 0.5
    walds = {
        (i, k): Wald(value=float(means[i] - means[k]), se=se, df=spread.df)
        for i, k in combinations(range(means.size), 2)
    }
    return [_difference(cells, pair, wald, model) for pair, wald in walds.items()]


def _single_readers(cells: _Cells) -> list[Difference]:
    """Each pair of treatments within each reader, by that reader's variances and Cov1."""
    found = []
    n_treatments, n_readers = cells.figures.shape
    for j, reader in enumerate(cells.design.readers):
        own = cells.matrix.reshape(n_treatments, n_readers, n_treatments, n_readers)[:, j, :, j]
        if n_treatments < 2:
            continue
        error = float(np.trace(own)) / n_treatments
        cov1 = float(own.sum() - np.trace(own)) / (n_treatments * (n_treatments - 1))
        se = (2 * max(error - cov1, 0.0)) ** 0.5
        for pair in combinations(range(n_treatments), 2):
            value = float(cells.figures[pair[0], j] - cells.figures[pair[1], j])
            wald = Wald(value=value, se=se, df=None)
            one = _difference(cells, pair, wald, "one reader", reader)
            found.append(replace(one, difference=_within_reader(cells, pair, j, own)))
    return found


def _within_reader(cells: _Cells, pair: tuple[int, int], reader: int, own: Floats) -> Estimate:
    """Difference of two treatments of one reader: the limits of both, squared and added with their correlation."""
    parts = [
        _one_reader(cells, float(cells.figures[i, reader]), float(own[i, i]), cells.design.ratings[i, reader])
        for i in pair
    ]
    spread = float(own[pair[0], pair[0]] * own[pair[1], pair[1]]) ** 0.5
    correlation = float(own[pair]) / spread if spread > 1e-15 else 0.0
    name = f"one reader, {cells.method} covariance, limits of both squared and added"
    found = square_and_add((parts[0], parts[1]), correlation, name, cells.confidence)
    return replace(found, n=cells.n)


def _difference(cells: _Cells, pair: tuple[int, int], wald: Wald, model: str, reader: str = "") -> Difference:
    first, second = (cells.design.treatments[i] for i in pair)
    return Difference(
        first=first,
        second=second,
        difference=cells.estimate(wald, -1.0, model),
        test=_wald_test(wald, model),
        reader=reader,
    )


def _wald_test(wald: Wald, model: str) -> TreatmentTest:
    """Two-sided test that the value is 0."""
    if wald.p is None:
        return TreatmentTest(df2=wald.df, method="no test: no variance")
    method = f"Obuchowski-Rockette {'z' if wald.df is None else 't'}, {model}"
    return TreatmentTest(statistic=wald.statistic, df2=wald.df, p=wald.p, method=method)


def against_one(
    readers: Design,
    other: Floats,
    other_name: str,
    figure: Figure = "auc",
    confidence: float = 0.95,
    n_folds: int = 1,
) -> Difference:
    """Mean of at least two readers (one treatment) minus one other rating (n,) of the same cases, such as a model's.

    The differences reader minus model are analyzed as figures of one treatment: the model is the same for every
    reader, and fixed; readers and patients are random. Where ``n_folds`` fits of the model answered, its own variance
    is that of cross-validated answers.

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
    matrix = matrix.copy()
    matrix[-1, -1] *= variance_factor(n_folds)
    contrast = np.hstack([np.eye(j), -np.ones((j, 1))])
    wald = mean_of_readers(contrast @ figures, contrast @ matrix @ contrast.T, "")
    model = f"random readers and random cases, {other_name} fixed{fold_words(n_folds)}"
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
        difference=cells.estimate(wald, -1.0, model),
        test=_wald_test(wald, model),
    )

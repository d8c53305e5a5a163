"""The documents of the last exchange: what a site says of each model, and what the group gets from all sites."""

from dataclasses import dataclass

from nephroscope.records import Estimate
from nephroscope.statistics.meta_analysis import MetaAnalysis

TOGETHER, MEAN, OTHERS, ALONE = "together", "mean", "others", "alone-"


@dataclass(frozen=True, kw_only=True)
class ModelFigures:
    """What a site says of one model on its own patients, each answered by a network that did not see them.

    Attributes:
        model: ``together``; ``alone-SITE``; ``mean`` of all models trained alone; ``others``: without this site's.
        estimates: AUC and more, with intervals by patient; none where a subtype has fewer than five patients.
        auc_variance: Of the AUC over patients, of cross-validated answers.
        expected: Sum of the probabilities of the positive subtype.
        histogram: Cases by class (the others first) and bin of the positive subtype's probability.
        scores: The probabilities themselves by class, in order of size, where the site shares them.
    """

    model: str
    estimates: dict[str, Estimate]
    auc_variance: float | None
    expected: float | None
    histogram: tuple[tuple[int, ...], ...] | None
    scores: tuple[tuple[float, ...], ...] | None


@dataclass(frozen=True, kw_only=True)
class SiteFigures:
    """What a site says at the end.

    Attributes:
        patients: With a subtype and out of fold; cases of the positive subtype and of the others below.
        positive, negative: Cases; None where either has one to four patients.
        folds: Fits that answered.
        epsilon: Of the noise on the histograms; 0 for none. With noise nothing else is told.
        reason: Why figures are missing; empty where none are.
    """

    patients: int | None
    positive: int | None
    negative: int | None
    folds: int
    epsilon: float
    models: tuple[ModelFigures, ...]
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """The mean AUC over sites without one of them."""

    site: str
    auc: MetaAnalysis
    pooled: Estimate


@dataclass(frozen=True, kw_only=True)
class PooledModel:
    """One model over all sites.

    Attributes:
        sites: AUC of each site.
        histogram: Pooled AUC from the sites' histograms.
        scores: Pooled AUC from scores, where every site with a histogram shared them.
        stratified: AUC among pairs of cases of the same site.
        auc: Random effects over sites, of the log odds.
        observed_expected: The same of the logarithm of observed to expected.
        left_out: Without each site in turn.
    """

    model: str
    sites: dict[str, Estimate]
    histogram: Estimate
    scores: Estimate
    stratified: Estimate
    auc: MetaAnalysis
    observed_expected: MetaAnalysis
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """The figures of a group.

    Attributes:
        models: ``together``, ``mean``, ``others`` and each site's own.
        best_single: The model trained alone with the highest pooled AUC: chosen on these figures, so it flatters.
        silent: Sites that told no figures, and why.
    """

    models: tuple[PooledModel, ...]
    best_single: str
    silent: dict[str, str]
    noisy: tuple[str, ...]

    def of(self, model: str) -> PooledModel:
        """One model by name."""
        return next(one for one in self.models if one.model == model)

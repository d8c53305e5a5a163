"""Figures over all sites from what each told: pooled, stratified by site, over sites as a random sample of sites."""

from collections.abc import Mapping, Sequence

import numpy as np

from nephroscope.federated.archive import as_json
from nephroscope.federated.contents import last_figures_in
from nephroscope.federated.coordinator import Arrived
from nephroscope.federated.figure_documents import (
    ALONE,
    LeftOut,
    ModelFigures,
    Pooled,
    PooledModel,
    SiteFigures,
)
from nephroscope.federated.group_place import GroupPlace
from nephroscope.records import Estimate
from nephroscope.statistics.cross_validation import variance_factor
from nephroscope.statistics.histograms import histogram_auc_estimate
from nephroscope.statistics.intervals import Interval, Patients, logit_limits, no_estimate
from nephroscope.statistics.meta_analysis import (
    MetaAnalysis,
    log_observed_to_expected,
    logit_auc,
    meta_analysis,
    stratified_auc,
)
from nephroscope.statistics.metrics import auc
from nephroscope.statistics.placements import area_interval

CONFIDENCE = 0.95
Told = Mapping[str, tuple[SiteFigures, ModelFigures]]  # by site


def pool_figures(place: GroupPlace, arrived: Arrived) -> dict[str, bytes]:
    """The members of the coordinator's last archive."""
    sites = {site: last_figures_in(archive) for site, archive in sorted(arrived.archives.items())}
    return {"pooled.json": as_json(pool(sites))}


def pool(sites: Mapping[str, SiteFigures], confidence: float = CONFIDENCE) -> Pooled:
    """Figures of every model over the sites that told it."""
    names = sorted({model.model for told in sites.values() for model in told.models})
    models = [_model(name, sites, confidence) for name in names]
    alone = {one.model: one.histogram.value for one in models if one.model.startswith(ALONE)}
    known = {name: value for name, value in alone.items() if value is not None}
    return Pooled(
        models=tuple(models),
        best_single=max(sorted(known), key=lambda name: known[name], default=""),
        silent={site: told.reason for site, told in sites.items() if not told.models},
        noisy=tuple(site for site, told in sites.items() if told.epsilon > 0),
    )


def _model(name: str, sites: Mapping[str, SiteFigures], confidence: float) -> PooledModel:
    told: Told = {
        site: (figures, model)
        for site, figures in sites.items()
        for model in figures.models
        if model.model == name
    }
    aucs = {site: model.estimates["auc"] for site, (_, model) in told.items() if "auc" in model.estimates}
    return PooledModel(
        model=name,
        sites=aucs,
        histogram=pooled_histogram(told, confidence),
        scores=pooled_scores(told, confidence),
        stratified=stratified(told, confidence),
        auc=auc_over_sites(told, confidence),
        observed_expected=oe_over_sites(told, confidence),
        left_out=tuple(
            LeftOut(
                site=site,
                auc=auc_over_sites(_without(told, site), confidence),
                pooled=pooled_histogram(_without(told, site), confidence),
            )
            for site in told
            if len(told) > 1
        ),
    )


def _without(told: Told, site: str) -> Told:
    return {name: one for name, one in told.items() if name != site}


def pooled_histogram(told: Told, confidence: float = CONFIDENCE) -> Estimate:
    """AUC of all cases together, from the sum of the sites' histograms; 100 bins are joined where others have 20."""
    counts = [np.array(model.histogram) for _, model in told.values() if model.histogram is not None]
    if not counts:
        return no_estimate("no site told a histogram", 0)
    bins = min(one.shape[1] for one in counts)
    fit = [one.reshape(2, bins, -1).sum(axis=2) for one in counts if one.shape[1] % bins == 0]
    folds = max(figures.folds for figures, _ in told.values())
    return histogram_auc_estimate(np.sum(fit, axis=0), folds, confidence)


def pooled_scores(told: Told, confidence: float = CONFIDENCE) -> Estimate:
    """The same from the scores themselves; only where every site shares them."""
    shared = [model.scores for _, model in told.values() if model.scores is not None]
    if not shared or len(shared) < len(told):
        return no_estimate("not every site shares its scores", 0)
    scores = [np.concatenate([np.array(one[flag], float) for one in shared]) for flag in (0, 1)]
    is_positive = np.repeat([False, True], [one.size for one in scores])
    if min(one.size for one in scores) == 0:
        return no_estimate("undefined: a class has no case", is_positive.size)
    every, truth = np.concatenate(scores), is_positive.astype(np.intp)
    folds = max(figures.folds for figures, _ in told.values())
    patients = Patients(row=np.arange(truth.size, dtype=np.intp), stratum=truth, n_folds=folds)
    found = auc(every, is_positive)
    return area_interval([(every, is_positive)], patients, confidence).around(found or 0.0, truth.size)


def _sized(told: Told) -> list[tuple[float, float, int, int, ModelFigures]]:
    """AUC, its variance, and cases of both classes of the sites that told them."""
    found = []
    for figures, model in told.values():
        told_auc = model.estimates.get("auc")
        if told_auc is None or told_auc.value is None or not figures.positive or not figures.negative:
            continue
        variance = model.auc_variance
        if not variance:  # a perfect AUC still has one: that of its log odds, brought back
            moved = logit_auc(told_auc.value, None, figures.positive, figures.negative)
            share = 1 / (1 + np.exp(-moved[0]))
            variance = float(moved[1] * (share * (1 - share)) ** 2) * variance_factor(figures.folds)
        found.append((told_auc.value, variance, figures.positive, figures.negative, model))
    return found


def stratified(told: Told, confidence: float = CONFIDENCE) -> Estimate:
    """AUC among pairs of cases of one site."""
    own = _sized(told)
    if not own:
        return no_estimate("no site told its AUC", 0)
    aucs, variances = [one[0] for one in own], [one[1] for one in own]
    value, variance = stratified_auc(aucs, variances, [one[2] * one[3] for one in own])
    value = min(value, 1.0)  # weights that sum to 1 only nearly
    n = sum(one[2] + one[3] for one in own)
    words = f"within {len(own)} sites, weighted by pairs"
    if not 0 < value < 1:
        return Interval(None, None, f"{words}; no interval: every pair is in order").around(value, n)
    limits = logit_limits(value, variance, confidence)
    return Interval.of(limits, f"{words}, logit scale", confidence).around(value, n)


def auc_over_sites(told: Told, confidence: float = CONFIDENCE) -> MetaAnalysis:
    """Random effects of the log odds of the AUC."""
    pairs = [logit_auc(value, variance, m, n) for value, variance, m, n, _ in _sized(told)]
    return meta_analysis([y for y, _ in pairs], [v for _, v in pairs], "logit", confidence)


def oe_over_sites(told: Told, confidence: float = CONFIDENCE) -> MetaAnalysis:
    """Random effects of the logarithm of observed to expected cases of the positive subtype."""
    pairs: Sequence[tuple[float, float]] = [
        log_observed_to_expected(m, model.expected, m + n)
        for _, _, m, n, model in _sized(told)
        if model.expected
    ]
    return meta_analysis([y for y, _ in pairs], [v for _, v in pairs], "log", confidence)

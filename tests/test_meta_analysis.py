"""Figures over sites: random effects against R's metafor 3.8, and what histograms leave of an AUC."""

import math

import numpy as np
import pytest

from nephroscope.federated.figure_documents import ModelFigures, SiteFigures
from nephroscope.federated.pooled import pool
from nephroscope.records import Estimate
from nephroscope.statistics.histograms import (
    histogram_auc,
    histogram_auc_estimate,
    noise_error,
    noisy,
    score_histogram,
)
from nephroscope.statistics.meta_analysis import (
    log_observed_to_expected,
    logit_auc,
    meta_analysis,
    stratified_auc,
)
from nephroscope.statistics.metrics import auc

# The BCG vaccine trials (Colditz 1994): log relative risks and variances, as metafor's escalc gives them.
BCG = (
    (-0.8893113339202, -1.5853886572014, -1.3480731482997, -1.4415511900213, -0.2175473222113),
    (-0.7861155858189, -1.6208982235984, 0.0119523335238, -0.4694176487381, -1.3713448034728),
    (-0.3393588283384, 0.4459134005714, -0.0173139482169),
)
BCG_V = (
    (0.32558476500396, 0.19458112139814, 0.41536796536797, 0.02001003190225, 0.05121017216963),
    (0.00690561845591, 0.22301724757232, 0.00396157929782, 0.05643421046325, 0.07302479361303),
    (0.01241221397156, 0.53250584520015, 0.07140465968399),
)


def test_random_effects_as_metafor_gives_them():
    """rma(yi, vi, method="REML", test="adhoc"); tau2 0.3132 and mean -0.7145 are printed in Viechtbauer 2010, too."""
    found = meta_analysis([y for row in BCG for y in row], [v for row in BCG_V for v in row], "log")
    printed = (0.313243325981, -0.714532348365, 0.180791745519, 152.233008082373, 0.92221386074966)
    assert (found.tau2, found.estimate, found.se, found.q, found.i2) == pytest.approx(printed, rel=1e-4)
    assert math.log(found.low) == pytest.approx(-1.108443723, rel=1e-5)
    assert math.log(found.high) == pytest.approx(-0.32062097373, rel=1e-5)


def test_few_sites_with_the_prediction_interval():
    """The same with control=list(threshold=1e-14); prediction b -/+ qt(.975, 3) * sqrt(tau2 + se^2)."""
    found = meta_analysis([1.2, 0.7, 1.9, 1.1, 0.4], [0.05, 0.09, 0.12, 0.04, 0.2], "logit")
    assert (found.tau2, found.estimate, found.se) == pytest.approx(
        (0.133679475985, 1.091682028737, 0.229396562622), rel=1e-8
    )
    limits = [
        math.log(p / (1 - p)) for p in (found.low, found.high, found.predicted_low, found.predicted_high)
    ]
    assert limits == pytest.approx(
        [0.454775065296, 1.728588992179, -0.281949167067, 2.465313224542], rel=1e-8
    )
    assert found.q_p == pytest.approx(0.044789228492, rel=1e-6)


def test_alike_sites_have_no_variance_between_and_one_site_no_mean():
    near = meta_analysis(
        [0.5, 0.52, 0.55], [0.1, 0.2, 0.3], "log"
    )  # alike by luck: not surer than their variances
    assert (near.estimate, near.se) == pytest.approx((0.514545454545, 0.233549683248))
    assert math.log(near.low) == pytest.approx(-0.490337727616)
    same = meta_analysis([0.5, 0.5, 0.5], [0.1, 0.2, 0.3], "log")
    assert (same.tau2, same.i2, same.estimate) == (0.0, 0.0, pytest.approx(0.5))
    alone = meta_analysis([0.5], [0.1], "log")
    assert (alone.low, alone.n_sites) == (None, 1)
    assert alone.value == pytest.approx(math.exp(0.5))
    assert meta_analysis([], [], "log").value is None
    two = meta_analysis([0.5, 0.9], [0.1, 0.1], "log")
    assert two.low is not None
    assert two.predicted_low is None


def test_scales():
    assert logit_auc(0.8, 0.0025, 20, 30) == pytest.approx((math.log(4), 0.0025 / 0.16**2))
    perfect = logit_auc(1.0, 0.0, 10, 10)
    assert perfect[0] == pytest.approx(math.log(199))
    assert perfect[1] > 0
    assert log_observed_to_expected(20, 16, 80) == pytest.approx((math.log(1.25), 0.75 / 20))
    assert log_observed_to_expected(0, 1, 10)[0] == pytest.approx(math.log(0.5))
    assert stratified_auc([0.9, 0.7], [0.01, 0.04], [300, 100]) == pytest.approx(
        (0.85, 0.75**2 * 0.01 + 0.0025)
    )


def scores(rng, n, shift):
    y = np.arange(n) % 2 == 0
    return 1 / (1 + np.exp(-(rng.normal(size=n) * 1.5 + shift + y * 1.8))), y


def test_a_hundred_bins_leave_the_auc_and_twenty_less():
    """The error of the AUC in 200 groups of 10 sites with 20 to 100 cases: at most 0.002 with 100 bins."""
    rng = np.random.default_rng(2)
    errors = {100: [], 20: []}
    for _ in range(200):
        parts = [scores(rng, int(rng.integers(20, 101)), rng.normal() * 0.4) for _ in range(10)]
        p, y = np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])
        for bins, found in errors.items():
            found.append(abs(histogram_auc(score_histogram(p, y, bins)) - auc(p, y)))
    assert max(errors[100]) <= 0.002
    assert np.mean(errors[100]) < np.mean(errors[20]) < 0.008


def test_an_interval_from_counts_is_that_of_the_cases():
    rng = np.random.default_rng(3)
    p, y = scores(rng, 120, 0.0)
    counts = score_histogram(p, y, 100)
    assert counts.sum(axis=1).tolist() == [60, 60]
    found = histogram_auc_estimate(counts, 5, 0.95)
    assert found.value == histogram_auc(counts)
    assert found.low < auc(p, y) < found.high
    wider = found.high - found.low
    assert wider > histogram_auc_estimate(counts, 1, 0.95).high - histogram_auc_estimate(counts, 1, 0.95).low
    assert histogram_auc_estimate(counts * np.array([[1], [0]]), 5, 0.95).value is None


def test_noise_hides_a_patient_and_costs_what_it_says():
    rng = np.random.default_rng(4)
    p, y = scores(rng, 60, 0.0)
    counts = score_histogram(p, y, 20)
    drawn = np.stack([noisy(counts + 50, 1.0, rng) - counts - 50 for _ in range(500)])
    ratio = math.exp(-1.0)
    assert drawn.var() == pytest.approx(2 * ratio / (1 - ratio) ** 2, rel=0.1)
    assert abs(drawn.mean()) < 0.05
    strong, weak = noise_error(counts, 1.0, rng), noise_error(counts, 20.0, rng)
    assert 0.03 < strong < 0.25
    assert weak < 0.005


def model(name, value, variance, p, y, share=False):
    rows = score_histogram(p, y, 100).tolist()
    own = tuple(tuple(sorted(p[y == flag].tolist())) for flag in (False, True)) if share else None
    estimate = Estimate(value=value, low=None, high=None, n=len(y), unit="case", method="")
    return ModelFigures(
        model=name,
        estimates={"auc": estimate},
        auc_variance=variance,
        expected=float(p.sum()),
        histogram=tuple(map(tuple, rows)),
        scores=own,
    )


def test_pooled_and_within_sites_differ_where_scores_of_sites_do():
    """Three sites: pooled AUC from counts and scores is that of all cases, within sites that of pairs of one site."""
    rng = np.random.default_rng(5)
    told, every = {}, []
    for number, site in enumerate("abc"):
        p, y = scores(rng, 60, (number - 1) * 2.0)
        every.append((p, y))
        own = model("together", auc(p, y), 0.003, p, y, share=True)
        told[site] = SiteFigures(patients=60, positive=30, negative=30, folds=2, epsilon=0.0, models=(own,))
    told["d"] = SiteFigures(
        patients=None, positive=None, negative=None, folds=2, epsilon=0.0, models=(), reason="few"
    )
    found = pool(told).of("together")
    p, y = np.concatenate([a for a, _ in every]), np.concatenate([b for _, b in every])
    assert found.scores.value == pytest.approx(auc(p, y))
    assert found.histogram.value == pytest.approx(auc(p, y), abs=0.003)
    within = np.mean([auc(a, b) for a, b in every])
    assert found.stratified.value == pytest.approx(within)
    assert within - found.histogram.value > 0.05
    assert (found.auc.n_sites, len(found.left_out), found.observed_expected.n_sites) == (3, 3, 3)
    assert pool(told).silent == {"d": "few"}
    without = next(one for one in found.left_out if one.site == "a")
    assert without.pooled.n == 120

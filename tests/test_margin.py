"""A stated margin, and predictive values at a prevalence: by hand and by simulation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from nephroscope.base.errors import ConfigError
from nephroscope.records import EvaluationConfig
from nephroscope.statistics.auc import compare_aucs
from nephroscope.statistics.estimates import Rows, shares_of
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.margin import against_margin
from nephroscope.statistics.predictive_values import predictive_values

CONFIG = EvaluationConfig(resamples=100)


def test_margin_by_hand():
    rng, y = np.random.default_rng(0), np.arange(120) < 60
    one, two = rng.normal(y * 1.5, 1.0), rng.normal(y * 1.5, 1.0)
    test = compare_aucs(one, two, y, None, CONFIG, bootstrap=False)
    d, se = test.difference.value, test.se
    edge = -test.difference.low
    found = against_margin(test, edge + 0.001, ("a", "b"))
    assert found.noninferior
    assert found.p_noninferior == pytest.approx(norm.sf((edge + 0.001 + d) / se))
    assert found.p_noninferior < 0.025
    short = against_margin(test, edge - 0.001, ("a", "b"))
    assert (short.noninferior, short.equivalent) == (False, False)
    assert short.p_noninferior > 0.025
    wide = against_margin(test, max(edge, test.difference.high) + 0.01, ("a", "b"))
    assert wide.equivalent
    assert wide.p_equivalent < 0.025
    with pytest.raises(ConfigError, match="--margin"):
        against_margin(test, 0.0, ("a", "b"))


def test_a_margin_without_a_standard_error_shows_nothing():
    y = np.arange(40) < 20
    test = compare_aucs(y * 1.0, y * 2.0, y, None, CONFIG, bootstrap=False)
    found = against_margin(test, 0.1, ("a", "b"))
    assert (found.noninferior, found.equivalent, found.p_noninferior) == (False, False, None)


def rows_of(called, y, folds=()):
    patients = Patients.of([f"{i:04d}" for i in range(y.size)], y.astype(np.intp), folds)
    return Rows(
        unit="case",
        truth=y.astype(np.intp),
        called=called.astype(np.intp),
        p=np.zeros((y.size, 2)),
        patients=patients,
    )


def values_of(rows, prevalence=0.1):
    shares = shares_of(rows, ("no", "yes"), 1)
    return predictive_values(rows, (shares["sensitivity"], shares["specificity"]), prevalence, 0.95)


def test_predictive_values_by_hand_and_at_the_ends():
    y = np.arange(40) < 20
    called = np.r_[np.arange(20) < 16, np.arange(20) < 4]
    found = values_of(rows_of(called, y))
    assert found["ppv"].value == pytest.approx(0.08 / (0.08 + 0.18))
    assert found["npv"].value == pytest.approx(0.72 / (0.72 + 0.02))
    perfect = values_of(rows_of(y, y))
    assert (perfect["ppv"].value, perfect["ppv"].high) == (1.0, 1.0)
    assert 0.1 < perfect["ppv"].low < 0.9
    nobody = values_of(rows_of(np.zeros(40, bool), y))
    assert nobody["ppv"].value is None
    several = values_of(rows_of(called, y, range(5)))
    assert several["ppv"].low < found["ppv"].low < found["ppv"].high < several["ppv"].high


def test_predictive_values_hold_the_true_one():
    rng, held = np.random.default_rng(1), 0
    y = np.arange(40) < 20
    for _ in range(300):
        found = values_of(rows_of(rng.random(40) < np.where(y, 0.8, 0.1), y))["ppv"]
        held += found.low <= 0.08 / (0.08 + 0.09) <= found.high
    assert held >= 0.93 * 300


def test_a_difference_with_few_of_a_class_has_ts_quantile():
    rng, y = np.random.default_rng(2), np.arange(24) < 4
    one, two = rng.normal(y * 1.0, 1.0), rng.normal(y * 1.0, 1.0)
    test = compare_aucs(one, two, y, None, CONFIG, bootstrap=False)
    assert 2 < test.df < 23
    assert test.difference.high - test.difference.low > 2 * 1.96 * test.se or test.difference.high == 1
    assert replace(test, df=None) != test

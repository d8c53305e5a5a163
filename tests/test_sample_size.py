"""How many patients: against numbers printed by Hanley and McNeil, presize, pROC, and our own decisions."""

import json

import numpy as np
import pytest
from scipy.stats import f as f_law
from scipy.stats import norm

from nephroscope.base.errors import ConfigError
from nephroscope.cli import run
from nephroscope.facade.study import Study
from nephroscope.records import EvaluationConfig
from nephroscope.statistics import sample_size
from nephroscope.statistics.auc import compare_aucs
from nephroscope.statistics.intervals import hanley_mcneil, wilson
from nephroscope.statistics.metrics import auc
from nephroscope.statistics.sample_size import (
    Comparison,
    auc_plan,
    binormal_variance,
    patients_for_auc,
    patients_for_calibration,
    patients_for_difference,
    patients_for_readers,
    patients_for_share,
    power_of_difference,
    power_of_readers,
)
from test_study import make_study


@pytest.mark.parametrize(
    ("n", "standard_error"),
    [
        (80, 0.0437),
        (120, 0.0356),
    ],  # Hanley and McNeil 1982, AUC 0.85; also in the tests of the R package presize
)
def test_standard_error_is_hanley_and_mcneils(n, standard_error):
    assert hanley_mcneil(0.85, n / 2, n / 2) ** 0.5 == pytest.approx(standard_error, abs=5e-5)


@pytest.mark.parametrize(("sizes", "half_width"), [((45, 38), 0.07), ((5, 5), 0.21)])
def test_half_widths_of_the_decisions(sizes, half_width):
    """decisions.md: at AUC 0.90 the 95 % half-width is 0.07 with 45 + 38 cases and 0.21 with 5 + 5."""
    assert auc_plan(0.90, *sizes).width / 2 == pytest.approx(half_width, abs=0.005)


@pytest.mark.parametrize("ratio", [1.0, 0.5, 38 / 45, 3.0])
@pytest.mark.parametrize(("auc", "width"), [(0.7, 0.1), (0.85, 0.1), (0.95, 0.05)])
def test_the_plan_is_the_smallest_that_is_narrow_enough(auc, width, ratio):
    plan = patients_for_auc(auc, width, ratio)
    assert plan.width <= width
    fewer = plan.n_positive - 1
    assert auc_plan(auc, fewer, int(np.ceil(fewer * ratio - 1e-9))).width > width
    assert plan.n_negative == int(np.ceil(plan.n_positive * ratio - 1e-9))
    assert plan.low < auc < plan.high


def test_planned_width_is_what_simulated_studies_get():
    """DeLong intervals of 300 binormal studies of the planned size are about as wide as planned."""
    from nephroscope.statistics.intervals import delong

    plan = patients_for_auc(0.85, 0.14)
    rng = np.random.default_rng(0)
    apart = 2**0.5 * 1.0364334  # normal quantile of 0.85
    yes = np.repeat([True, False], [plan.n_positive, plan.n_negative])
    widths = [2 * 1.96 * delong(rng.normal(apart * yes, 1.0), yes)[1] ** 0.5 for _ in range(300)]
    assert np.mean(widths) == pytest.approx(0.14, rel=0.08)


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [  # README of the R package presize, prec_sens(..., method = "wilson")
        (0.75, 38, 0.5938516, 0.8602435),
        (0.6, 50, 0.4618144, 0.7239161),
        (0.95, 38, 0.8307891, 0.9865820),
    ],
)
def test_wilson_of_expected_shares_is_that_of_presize(share, n, low, high):
    assert wilson(share * n, n) == pytest.approx((low, high), abs=5e-8)


def test_patients_for_a_sensitivity_are_those_of_presize():
    """README of presize: sensitivity 0.75, width 0.1, Wilson: n 285.5428."""
    assert patients_for_share(0.75, 0.1) == 286


# pROC 1.18.0, power.roc.test(roc(aSAH$outcome, aSAH$ndka), roc(aSAH$outcome, aSAH$wfns)): 41 cases, 72 controls
V1, V2, COVARIANCE = 0.0031908105494, 0.0014699147088, -0.0005329678568
DELTA = 0.8236788617886 - 0.6119579945799


def test_power_of_a_difference_is_that_of_proc():
    null, alternative = 2 * V1 - 2 * COVARIANCE, V1 + V2 - 2 * COVARIANCE
    assert power_of_difference(DELTA, null, alternative) == pytest.approx(0.7131593987, abs=1e-9)
    more = 41 / 64.77776675  # pROC: 64.77776675 cases have power 0.9
    assert power_of_difference(DELTA, null * more, alternative * more) == pytest.approx(0.9, abs=1e-8)


def test_planned_difference_has_the_wanted_power_and_no_less():
    yes, no = patients_for_difference((0.80, 0.88), power=0.8, correlation=0.4, ratio=0.9)

    def power(n):
        v1, v2 = (binormal_variance(a, n, int(np.ceil(n * 0.9 - 1e-9))) for a in (0.80, 0.88))
        variance = v1 + v2 - 0.8 * (v1 * v2) ** 0.5
        return power_of_difference(0.08, variance, variance)

    assert power(yes) >= 0.8 > power(yes - 1)
    assert no == int(np.ceil(yes * 0.9 - 1e-9))
    assert patients_for_difference((0.80, 0.88), correlation=0.8)[0] < yes
    assert patients_for_difference((0.80, 0.88), correlation=0.4, ratio=0.9, n_folds=5)[0] > 2.2 * yes


@pytest.mark.parametrize("aucs", [(0.80, 0.88), (0.85, 0.95)])
def test_planned_difference_is_shown_in_as_many_studies(aucs):
    """Normal scores of correlation 0.55, whose AUCs have about 0.5; before, 0.94 and more at a high AUC."""
    yes, no = patients_for_difference(aucs, power=0.8, correlation=0.5)
    rng, y, shown = np.random.default_rng(2), np.arange(yes + no) < yes, 0
    away = np.array([norm.ppf(auc) * 2**0.5 for auc in aucs])
    for _ in range(150):
        shared, own = rng.normal(size=yes + no), rng.normal(size=(2, yes + no))
        scores = 0.55**0.5 * shared + 0.45**0.5 * own + away[:, None] * y
        p = compare_aucs(scores[0], scores[1], y, None, EvaluationConfig(), bootstrap=False).p
        shown += p < 0.05
    assert 0.68 < shown / 150 < 0.91


def test_binormal_variance_is_that_of_simulated_aucs():
    rng, y = np.random.default_rng(3), np.arange(50) < 20
    found = [auc(rng.normal(norm.ppf(0.9) * 2**0.5 * y, 1.0), y) for _ in range(3000)]
    assert binormal_variance(0.9, 20, 30) == pytest.approx(np.var(found), rel=0.1)


def test_cross_validated_interval_needs_more_patients():
    one, several = patients_for_auc(0.85, 0.1), patients_for_auc(0.85, 0.1, n_folds=5)
    assert several.n == pytest.approx(2.25 * one.n, rel=0.02)
    assert several.width <= 0.1 + 1e-9


def test_patients_for_calibration_are_rileys():
    """O:E at prevalence 0.018: (1 - 0.018) / (0.018 SE^2), where exp(1.96 SE) - exp(-1.96 SE) is the width, 0.2.

    The slope's number is checked by simulation of its information.
    """
    found = patients_for_calibration(0.8, 0.018, 0.2)
    se = np.arcsinh(0.1) / norm.ppf(0.975)
    assert found.n_observed_expected == int(np.ceil((1 - 0.018) / (0.018 * se**2)))
    rng = np.random.default_rng(4)
    spread = 2**0.5 * norm.ppf(0.8)
    yes = rng.random(400_000) < 0.018
    odds = np.log(0.018 / 0.982) + np.where(yes, 1, -1) * spread**2 / 2 + spread * rng.normal(size=yes.size)
    p = 1 / (1 + np.exp(-odds))
    a, b, c = (np.mean(p * (1 - p) * odds**k) for k in range(3))
    assert found.n_slope == pytest.approx(a / (a * c - b * b) / (0.1 / norm.ppf(0.975)) ** 2, rel=0.02)
    assert found.n == max(found.n_slope, found.n_observed_expected)


def test_power_of_readers_is_the_mean_over_what_a_study_may_find():
    plan = Comparison(aucs=(0.80, 0.88))
    n = patients_for_readers(plan, 4)[0]
    assert power_of_readers(plan, n, 4, 0.02, 0.05) >= 0.8 > power_of_readers(plan, n - 1, 4, 0.02, 0.05)
    rng = np.random.default_rng(5)
    one, two = (binormal_variance(auc, n, n) for auc in plan.aucs)
    error = (one + two) / 2
    own, shared = 0.02**2 + 0.45 * error, 4 * (0.05 * error + 0.3 * (error - (one * two) ** 0.5))
    square = own * rng.chisquare(3, 100_000) / 3  # between readers, as studies find it
    found, gain = square + shared, rng.normal(0.08, (2 * (own + shared) / 4) ** 0.5, 100_000)
    df = found**2 / (square**2 / 3)
    shown = 2 * gain**2 / found > f_law.ppf(0.95, 1, df)
    assert shown.mean() == pytest.approx(power_of_readers(plan, n, 4, 0.02, 0.05), abs=0.006)


def test_more_readers_need_fewer_patients_down_to_a_floor():
    plan = Comparison(aucs=(0.80, 0.88))
    few, many = (patients_for_readers(plan, j)[0] for j in (4, 12))
    assert many < few
    with pytest.raises(ConfigError, match="--readers"):
        patients_for_readers(plan, 2, spread=0.2)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: patients_for_auc(0.4, 0.1),
            r"plan --auc: expected a number from 0\.5 to 0\.999, found 0\.4",
        ),
        (lambda: patients_for_auc(float("nan"), 0.1), "plan --auc"),
        (lambda: patients_for_auc(0.8, 0.0), "plan --width"),
        (lambda: patients_for_auc(0.8, 0.1, ratio=0.0), "plan --ratio"),
        (lambda: patients_for_auc(0.8, 0.1, confidence=1.0), "plan --confidence"),
        (lambda: patients_for_auc(0.55, 0.001), "a plan of at most 1,000,000 patients per class"),
        (lambda: auc_plan(0.8, 0, 5), "at least one patient of each class, found 0 and 5"),
        (lambda: patients_for_share(1.2, 0.1), "plan, expected share"),
        (lambda: patients_for_difference((0.8, 0.8)), "an AUC other than --auc"),
        (lambda: patients_for_difference((0.8, 0.9), power=1.0), "plan --power"),
        (lambda: patients_for_difference((0.8, 0.9), correlation=1.0), "plan --correlation"),
    ],
)
def test_refusals(call, text):
    with pytest.raises(ConfigError, match=text):
        call()


def told(capsys, *args):
    code = run([*args, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_plan_command(capsys):
    code, data = told(
        capsys, "plan", "--auc", "0.85", "--width", "0.1", "--sensitivity", "0.75", "--against", "0.9"
    )
    assert code == 0
    assert data["needed"]["n_positive"] == data["needed"]["n_negative"] == 117
    assert data["needed"]["width"] <= 0.1
    assert data["sensitivity"]["n_positive"] == 286
    assert data["difference"]["n_positive"] > 150
    widths = [row["width"] for row in data["table"]]
    assert widths == sorted(widths, reverse=True)
    assert run(["plan", "--auc", "0.85"]) == 0
    out = capsys.readouterr().out
    assert "117 positive and 117 negative patients, 234 together" in out
    assert "<- plan" in out
    assert run(["plan", "--auc", "1.5"]) == 2
    assert "plan --auc: expected a number from 0.5 to 0.999, found 1.5" in capsys.readouterr().err


def test_plan_from_a_study(tmp_path, capsys):
    study = make_study(tmp_path / "study")
    code, data = told(capsys, "plan", "--auc", "0.9", "--width", "0.2", "--from", str(study.folder.root))
    assert code == 0
    found = data["study"]
    assert (found["positive"], found["n_positive"], found["n_negative"]) == ("PRCC", 5, 5)
    assert found["present"]["half_width"] == pytest.approx(0.21, abs=0.005)
    assert found["more_positive"] == data["needed"]["n_positive"] - 5
    assert run(["plan", "--auc", "0.9", "--width", "0.2", "--from", str(study.folder.root)]) == 0
    assert "the study has 5 PRCC and 5 ChRCC patients" in capsys.readouterr().out


def test_plan_from_a_study_of_one_class(tmp_path, capsys):
    study = make_study(tmp_path / "study", n_cases=1)
    assert run(["plan", "--auc", "0.9", "--width", "0.3", "--from", str(study.folder.root)]) == 0
    assert "no AUC without patients of both classes" in capsys.readouterr().out
    assert run(["plan", "--auc", "0.9", "--from", str(tmp_path / "nowhere")]) == 2
    assert "refused" in capsys.readouterr().err
    assert Study(tmp_path / "study").cohort.cases


def test_table_of_sizes_holds_the_wanted_one():
    for n in (2, 7, 41, 117, 5000):
        sizes = sample_size.sizes_around(n)
        assert n in sizes
        assert sizes == sorted(set(sizes))

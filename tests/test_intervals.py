from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nephroscope.records import EvaluationConfig
from nephroscope.statistics import intervals, metrics
from nephroscope.statistics.cross_validation import variance_factor
from nephroscope.statistics.estimates import Rows, estimate_all, shares_of
from nephroscope.statistics.intervals import Patients, percentile_interval, percentile_limits
from nephroscope.statistics.placements import area_interval
from nephroscope.statistics.resampling import roc_band


@pytest.mark.parametrize(
    ("k", "n", "score", "exact"),
    [  # Newcombe 1998, Stat Med 17:857, Table I, methods 3 and 5
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0, 0.1611), (0.0, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_proportions_against_newcombe_1998(k, n, score, exact):
    assert intervals.wilson(k, n) == pytest.approx(score, abs=5e-5)
    assert intervals.clopper_pearson(k, n) == pytest.approx(exact, abs=5e-5)


def test_the_papers_ten_of_ten():
    assert intervals.clopper_pearson(10, 10) == pytest.approx((0.69, 1.0), abs=0.005)
    assert intervals.wilson(10, 10) == pytest.approx((0.722, 1.0), abs=5e-4)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_mirrors_and_holds_the_share(kn):
    k, n = kn
    low, high = intervals.wilson(k, n)
    assert 0 <= low <= k / n + 1e-12
    assert k / n - 1e-12 <= high <= 1
    assert intervals.wilson(n - k, n) == pytest.approx((1 - high, 1 - low))


def ratings():
    """Hanley and McNeil 1982, Table I: 58 normal and 51 abnormal CT scans, rated 1 to 5."""
    normal, abnormal = (33, 6, 6, 11, 2), (3, 2, 2, 11, 33)
    scores = np.repeat(np.tile(np.arange(1.0, 6), 2), normal + abnormal)
    return scores, np.repeat([False, True], [58, 51])


def test_delong_against_published_ratings():
    """AUC 0.893 in the paper; standard error 0.0307 by DeLong, as Stata's roctab prints for the same table."""
    value, variance = intervals.delong(*ratings())
    assert value == pytest.approx(0.8932, abs=5e-5)
    assert variance**0.5 == pytest.approx(0.0307, abs=5e-5)


def test_newcombe_standard_error_is_hanleys():
    """Hanley and McNeil 1982, Table II: at AUC 0.893, their exponential approximation gives about 0.031."""
    low, high = intervals.newcombe_auc(0.893, 51, 58)
    assert low < 0.893 < high
    assert (high - low) / (2 * 1.96) == pytest.approx(0.032, abs=0.003)


@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=9), st.lists(st.integers(0, 6), min_size=2, max_size=9)
)
def test_delong_is_the_variance_of_placement_values(x, y):
    won = np.array([[(a > b) + (a == b) / 2 for b in y] for a in x])
    direct = won.mean(1).var(ddof=1) / len(x) + won.mean(0).var(ddof=1) / len(y)
    scores = np.array([*x, *y], dtype=float)
    value, variance = intervals.delong(scores, np.arange(scores.size) < len(x))
    assert value == pytest.approx(won.mean())
    assert variance == pytest.approx(direct, abs=1e-12)


def test_delong_interval_stays_inside_and_says_its_name():
    low, high, method = intervals.delong_auc(*ratings())
    assert 0.80 < low < 0.8932 < high < 0.95
    assert method == f"DeLong on the logit scale, {intervals.WIDENED}"  # five levels
    scores, y = ratings()
    finer = scores + np.random.default_rng(0).random(scores.size) / 100
    value, variance = intervals.delong(finer, y)
    expected = intervals.logit_limits(value, variance, 0.95)
    assert intervals.delong_auc(finer, y) == (*expected, "DeLong on the logit scale")


def test_few_of_a_class_have_newcombes_interval():
    scores, y = np.arange(12.0), np.isin(np.arange(12), [6, 8, 11, 10])
    value, variance = intervals.delong(scores, y)
    low, high, method = intervals.delong_auc(scores, y)
    assert variance > 0
    assert (low, high) == intervals.newcombe_auc(value, 4, 8)
    assert method.startswith("Newcombe 2006 method 5, as a class has fewer than 5 rows")


def test_cross_validated_answers_have_a_larger_variance():
    """Nadeau and Bengio: 1 + 5 / 4 times the variance; without overlap, classes as if so many times smaller."""
    rng = np.random.default_rng(1)
    y = np.arange(40) < 20
    scores = rng.normal(y * 1.0, 1.0)
    value, variance = intervals.delong(scores, y)
    low, high, method = intervals.delong_auc(scores, y, 0.95, 5)
    assert (low, high) == pytest.approx(intervals.logit_limits(value, 2.25 * variance, 0.95))
    assert "5 folds" in method
    assert intervals.delong_auc(y * 1.0 + scores / 100, y, 0.95, 5)[:2] == intervals.newcombe_auc(
        1.0, 20 / 2.25, 20 / 2.25
    )
    assert variance_factor(1) == 1
    assert variance_factor(2) == 3


def test_perfect_auc_is_not_certain():
    low, high, method = intervals.delong_auc(np.arange(10.0), np.arange(10) >= 5)
    assert high == 1
    assert 0.5 < low < 0.8
    assert method.startswith("Newcombe 2006 method 5")
    assert intervals.delong_auc(-np.arange(10.0), np.arange(10) >= 5)[:2] == pytest.approx((0, 1 - low))


def test_newcombe_limit_lies_z_standard_errors_away():
    low, _ = intervals.newcombe_auc(1.0, 5, 5)
    variance = low * (1 - low) / 25 * (1 + 4 * ((1 - low) / (2 - low) + low / (1 + low)))
    assert (1 - low) / variance**0.5 == pytest.approx(1.959964, abs=1e-5)


def test_one_case_of_a_class_still_has_an_interval():
    low, high, method = intervals.delong_auc(np.array([1.0, 2, 3, 4]), np.array([False, True, False, False]))
    assert 0 <= low < 1 / 3 < high <= 1
    assert "Newcombe" in method


def cohort(rng, n_patients=30, n_slices=4):
    owner = np.repeat(np.arange(n_patients), n_slices)
    truth = (owner % 2).astype(np.intp)
    scores = truth * 1.0 + rng.normal(size=n_patients)[owner] + 0.1 * rng.normal(size=owner.size)
    return scores, truth == 1, Patients.of([f"p{i:02d}" for i in owner], truth)


def quantiles(values):
    return np.quantile(values, [0.025, 0.975])


def test_weighted_auc_is_the_auc_of_repeated_rows():
    scores, y, patients = cohort(np.random.default_rng(0), 8, 3)
    scores = scores.round(0)  # ties
    weights = np.random.default_rng(1).integers(0, 3, (5, patients.n)).astype(float)
    weights[:, :2] = 1  # both classes present
    expected = []
    for w in weights:
        rows = np.repeat(np.arange(scores.size), w[patients.row].astype(int))
        expected.append(metrics.auc(scores[rows], y[rows]))
    assert intervals.auc_statistic(scores, y, patients)(weights) == pytest.approx(expected)


def test_ratio_is_the_share_of_repeated_rows():
    patients = Patients.of(["a", "a", "b"], np.array([0, 0, 1]))
    statistic = intervals.ratio_statistic(np.array([True, False, True]), np.ones(3, dtype=bool), patients)
    assert statistic(np.array([[1.0, 1], [2, 0], [0, 0]])) == pytest.approx(
        [2 / 3, 1 / 2, np.nan], nan_ok=True
    )


def test_more_slices_of_the_same_patients_do_not_narrow_the_interval():
    scores, y, once = cohort(np.random.default_rng(2), 30, 1)
    many = Patients(row=np.repeat(once.row, 20), stratum=once.stratum)
    right = scores > 0.5

    def widths(rows, patients):
        statistics = {
            "auc": intervals.auc_statistic(scores[rows], y[rows], patients),
            "accuracy": intervals.ratio_statistic(right[rows] == y[rows], np.ones(rows.size, bool), patients),
        }
        drawn = intervals.clustered_bootstrap(statistics, patients, 500, 0)
        return {name: np.ptp(quantiles(values)) for name, values in drawn.items()}

    rows = np.arange(scores.size)
    assert widths(np.repeat(rows, 20), many) == pytest.approx(widths(rows, once))


def test_resampling_keeps_the_classes_and_the_seed():
    _, _, patients = cohort(np.random.default_rng(0))
    weights = np.concatenate(list(intervals.resampled_weights(patients, 600, 7)))
    assert weights.shape == (600, 30)
    for stratum in (0, 1):
        assert (weights[:, patients.stratum == stratum].sum(axis=1) == 15).all()
    again = np.concatenate(list(intervals.resampled_weights(patients, 600, 7)))
    assert (weights == again).all()


def test_a_patient_with_two_subtypes_is_a_class_of_its_own():
    patients = Patients.of(["a", "a", "b", "c"], np.array([0, 1, 0, 1]))
    assert patients.n == 3
    assert len(set(patients.stratum)) == 3


def test_bootstrap_of_independent_rows_agrees_with_delong():
    rng = np.random.default_rng(5)
    y = np.arange(120) % 2 == 1
    scores = rng.normal(size=120) + y
    patients = Patients.of([f"{i}" for i in range(120)], y.astype(np.intp))
    drawn = intervals.clustered_bootstrap(
        {"auc": intervals.auc_statistic(scores, y, patients)}, patients, 2000, 0
    )
    assert drawn["auc"].std() == pytest.approx(intervals.delong(scores, y)[1] ** 0.5, rel=0.08)


def test_roc_band_holds_the_curve():
    scores, y, patients = cohort(np.random.default_rng(3))
    grid = np.linspace(0, 1, 21)
    low, high = roc_band(scores, y, patients, grid, 0.95)
    curve = np.interp(grid, *metrics.roc_points(scores, y))
    several = roc_band(scores, y, replace(patients, n_folds=5), grid, 0.95)
    assert (several[0] <= low + 1e-9).all()
    assert (several[1] >= high - 1e-9).all()
    assert (low <= curve + 1e-9).all()
    assert (curve <= high + 1e-9).all()
    assert (high - low).max() > 0.1


def test_one_rule_for_percentile_limits():
    """NaN left out; none where most are NaN, or the rest agree; an infinite limit is none."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=1000)
    assert np.ravel(percentile_limits(drawn[:, None], 0.95)) == pytest.approx(
        np.quantile(drawn, [0.025, 0.975]), abs=1e-12
    )
    holes = np.where(np.arange(1000) < 400, np.nan, drawn)
    low, high, method = percentile_interval(holes, "7 patients", 0.9)
    assert (low, high) == pytest.approx(np.quantile(drawn[400:], [0.05, 0.95]), abs=1e-12)
    assert method == "patient bootstrap, 600 resamples of 7 patients, 90 %"
    holes[:501] = np.nan
    assert percentile_interval(holes, "7 patients", 0.9) == (
        None,
        None,
        "no interval: undefined in 501 of 1000 resamples of the patients",
    )
    alike = np.append(np.full(900, 0.25), np.full(100, np.nan))
    assert percentile_interval(alike, "", 0.95)[2] == "no interval: every resample of the patients agrees"
    nearly = np.where(np.arange(1000) < 5, 0.1, 0.0)  # "0.00 to 0.00" would be a certainty nobody has
    assert percentile_interval(nearly, "", 0.95) == (
        None,
        None,
        "no interval: nearly every resample of the patients agrees",
    )
    endless = np.where(np.arange(1000) < 100, np.inf, drawn)
    low, high, _ = percentile_interval(endless, "7 patients", 0.95)
    assert low is not None
    assert high is None
    band = percentile_limits(np.stack([drawn, np.full(1000, 1.0), holes], axis=1), 0.95)
    assert np.isnan(band[0]).tolist() == [False, True, True]


def test_shares_of_rows_that_are_alike_are_those_of_the_patients():
    """Each patient's two rows are alike, so the interval is that of 6,000 independent patients."""
    rng = np.random.default_rng(4)
    right = np.repeat(rng.random(6000) < 0.8, 2)
    truth = np.repeat(np.arange(6000) % 2, 2)
    called = np.where(right, truth, 1 - truth)
    patients = Patients.of([f"{i:05}" for i in range(6000) for _ in "ab"], truth)
    rows = Rows(unit="image", truth=truth, called=called, p=np.zeros((12000, 2)), patients=patients)
    shares = shares_of(rows, ("no", "yes"), 1)
    found = estimate_all(rows, shares, {}, EvaluationConfig(resamples=1000))["accuracy"]
    expected = 2 * 1.96 * (0.8 * 0.2 / 6000) ** 0.5
    assert found.high - found.low == pytest.approx(expected, rel=0.1)
    assert found.method.startswith("Korn and Graubard 1998, 6000 patients")


@pytest.mark.parametrize(("n", "name", "limits"), [(14, "Clopper-Pearson", "exact"), (15, "Wilson", "score")])
def test_shares_of_few_cases_are_exact(n, name, limits):
    y = np.ones(n, np.intp)
    called = (np.arange(n) < n - 1).astype(np.intp)
    patients = Patients.of([f"{i:02d}" for i in range(n)], y)
    rows = Rows(unit="case", truth=y, called=called, p=np.zeros((n, 2)), patients=patients)
    shares = shares_of(rows, ("no", "yes"), 1)
    found = estimate_all(rows, {"sensitivity": shares["sensitivity"]}, {}, EvaluationConfig())["sensitivity"]
    by_hand = intervals.clopper_pearson(n - 1, n) if limits == "exact" else intervals.wilson(n - 1, n)
    assert (found.low, found.high) == pytest.approx(by_hand)
    assert found.method.startswith(name)


@pytest.mark.parametrize("n", [12, 40])
def test_slices_of_few_patients_have_the_wider_limits_of_two_methods(n):
    rng = np.random.default_rng(n)
    row = np.repeat(np.arange(2 * n), 3)
    y = row < n
    scores = rng.normal(size=2 * n)[row] + 0.5 * rng.normal(size=row.size) + 2.0 * y
    found = area_interval([(scores, y)], Patients.of([f"{i:03d}" for i in row], y.astype(np.intp)), 0.95)
    value = float(np.mean(scores[y][:, None] > scores[~y][None, :]))
    newcombe = intervals.newcombe_auc(value, n, n)
    assert ("widened" in found.method) == (n < 30)
    if n < 30:
        assert found.low <= newcombe[0] + 1e-12
        assert found.high >= newcombe[1] - 1e-12
    else:
        assert found.low > newcombe[0]

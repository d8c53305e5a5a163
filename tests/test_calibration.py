"""Calibration and rescaling against R, and against predictions whose truth is known by construction."""

from dataclasses import replace

import numpy as np
import pytest

from nephroscope.base.errors import ConfigError
from nephroscope.questions.evaluation.recalibration import recalibrate
from nephroscope.records import Answer, EvaluationConfig
from nephroscope.statistics.calibration import calibrate, calibrate_each, calibration_curve
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.logistic import expit, fit_logistic, intercept_and_slope, logit

CONFIG = EvaluationConfig(resamples=300)
P = """951 174 289 368 221 226 725 463 550 945 613 972 951 603 921 648 239 401 498 782
       748 715 846 142 839 560 727 684 218 411 244 717 535 475 366 325 786 192 455 601"""
Y = "1101001011111111010111101101111110111110"


def of_r():
    """Forty probabilities and outcomes; what R says of them stands in the tests."""
    y = np.array([c == "1" for c in Y])
    return np.array(P.split(), dtype=float) / 1000, y, own_patients(y)


def own_patients(y):
    return Patients.of([f"{i:05}" for i in range(y.size)], y.astype(int))


def simulated(n, seed, slope=1.0, shift=0.0):
    """Outcomes drawn from p; what is given out is p with its log odds divided by ``slope`` and moved."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1.5, n)
    y = rng.random(n) < expit(x)
    return expit((x - shift) / slope), y, own_patients(y)


def test_intercept_slope_and_limits_are_rs():
    """R 4.2.2: glm(y ~ qlogis(p)), glm(y ~ offset(qlogis(p))), MASS::confint.glm, mean((p - y)^2), sum(y) / sum(p).

    R interpolates the profile, so its limits are good to about 1e-4.
    """
    found = calibrate(*of_r(), CONFIG)
    assert found["intercept"].value == pytest.approx(1.137389405, abs=1e-8)
    assert found["slope"].value == pytest.approx(0.8928387467, abs=1e-8)
    assert found["intercept_beside_slope"].value == pytest.approx(1.1043142060, abs=1e-8)
    limits = {name: (e.low, e.high) for name, e in found.items()}
    assert limits["intercept"] == pytest.approx((0.3707715464, 1.9725068670), abs=2e-4)
    assert limits["slope"] == pytest.approx((0.1949123451, 1.809850026), abs=2e-4)
    assert limits["intercept_beside_slope"] == pytest.approx((0.3441152582, 2.012134547), abs=2e-4)
    assert found["brier"].value == pytest.approx(0.20545295, abs=1e-12)
    assert found["observed_expected"].value == pytest.approx(1.355870921, abs=1e-9)


def test_observed_to_expected_on_the_log_scale_by_hand():
    """O 30 of 40, E 22.126: standard error of log(O:E) is sqrt((1 - 30/40) / 30) = 0.0912871."""
    oe = calibrate(*of_r(), CONFIG)["observed_expected"]
    by_hand = 30 / 22.126 * np.exp(np.array([-1, 1]) * 1.959964 * 0.0912871)
    assert (oe.low, oe.high) == pytest.approx(tuple(by_hand), rel=1e-4)


def test_truth_known_by_construction_is_inside_the_intervals():
    p, y, patients = simulated(3000, seed=1)
    found = calibrate(p, y, patients, CONFIG)
    for name, truth in (
        ("intercept", 0),
        ("slope", 1),
        ("observed_expected", 1),
        ("intercept_beside_slope", 0),
    ):
        assert found[name].low < truth < found[name].high, name
        assert found[name].high - found[name].low < 0.3
    assert found["ici"].value < 0.03
    curve = calibration_curve(p, y, patients, CONFIG).curve
    assert np.mean((curve.low <= curve.x) & (curve.x <= curve.high)) > 0.9


@pytest.mark.parametrize("slope", [0.5, 2.0, 3.0])
def test_dividing_log_odds_multiplies_the_slope(slope):
    """Log odds that are k times too small have slope k; exactly so against the same outcomes."""
    p, y, patients = simulated(800, seed=2)
    one = intercept_and_slope(p, y, patients, CONFIG, "case")["slope"].value
    flat, _, _ = simulated(800, seed=2, slope=slope)
    assert intercept_and_slope(flat, y, patients, CONFIG, "case")["slope"].value == pytest.approx(slope * one)


def test_shifted_log_odds_show_in_the_intercept():
    p, y, patients = simulated(2000, seed=3, shift=1.0)
    found = intercept_and_slope(p, y, patients, CONFIG, "case")
    assert found["intercept"].low < 1.0 < found["intercept"].high
    assert found["intercept"].low > 0.7
    assert found["observed_expected"].low > 1


def test_intervals_of_the_slope_cover_it_about_as_often_as_they_say():
    """50 samples of 60: 95 % nominal; 84 % or fewer would happen once in some hundred times."""
    hits = 0
    for seed in range(50):
        found = intercept_and_slope(*simulated(60, seed=seed), CONFIG, "case")["slope"]
        hits += found.low <= 1.0 <= (found.high if found.high is not None else np.inf)
    assert hits / 50 > 0.84


def test_a_class_of_one_patient_has_no_resampled_interval():
    """A hundred slices of the one positive patient: redrawing the others does not tell how positives differ."""
    rng = np.random.default_rng(5)
    y = np.repeat([True, False], [100, 30])
    ids = ["a"] * 100 + [f"b{i:02}" for i in range(30)]
    found = calibrate(rng.random(130), y, Patients.of(ids, y.astype(int)), CONFIG)
    for name in (
        "intercept",
        "slope",
        "intercept_beside_slope",
        "observed_expected",
        "brier",
        "scaled_brier",
    ):
        assert found[name].value is not None
        assert (found[name].low, found[name].high) == (None, None), name
        assert found[name].method == "no interval: a class has one patient"


def test_rows_of_one_patient_are_resampled_together():
    """Every row five times over is no new information: the limits are those of the single rows, nearly."""
    p, y, patients = simulated(150, seed=4)
    many = Patients.of(np.repeat([f"{i:05}" for i in range(150)], 5), np.repeat(y, 5).astype(int))
    config = EvaluationConfig(resamples=1500)
    once = calibrate(p, y, patients, config)
    often = calibrate(np.repeat(p, 5), np.repeat(y, 5), many, config, "image")
    for name in ("intercept", "slope", "observed_expected"):
        assert often[name].value == pytest.approx(once[name].value)
        width, wide = (e.high - e.low for e in (often[name], once[name]))
        assert width == pytest.approx(wide, rel=0.2), name
        assert "patient bootstrap" in often[name].method
    assert often["brier"].low == pytest.approx(once["brier"].low, abs=0.01)


def test_a_perfect_split_has_no_slope_and_says_why():
    y = np.arange(20) >= 10
    p = np.where(y, 0.9, 0.1) + np.linspace(-0.05, 0.05, 20)
    found = calibrate(p, y, own_patients(y), CONFIG)
    assert found["slope"].value is None
    assert "separates the classes" in found["slope"].method
    assert found["intercept"].value is not None
    assert found["brier"].value == pytest.approx(((p - y) ** 2).mean())


def test_resamples_that_split_leave_no_upper_limit():
    """One overlapping pair: many redraws miss it, so the slope has no finite upper limit."""
    y = np.array([False] * 10 + [True] * 10)
    p = np.linspace(0.05, 0.95, 20)
    p[[9, 10]] = p[[10, 9]]
    twice = Patients.of([f"{i // 2:03}" for i in range(20)], y.astype(int))
    slope = calibrate(p, y, twice, CONFIG)["slope"]
    assert slope.value > 1
    assert slope.high is None
    assert "without a finite limit" in slope.method


def test_one_class_and_equal_probabilities_say_why():
    p = np.linspace(0.2, 0.8, 12)
    yes = np.ones(12, bool)
    found = calibrate(p, yes, own_patients(yes), CONFIG)
    assert {found[k].method for k in ("intercept", "slope", "scaled_brier")} == {"undefined: one class only"}
    assert found["observed_expected"].value == pytest.approx(2.0)
    mixed = np.arange(12) % 2 == 0
    flat = calibrate(np.full(12, 0.5), mixed, own_patients(mixed), CONFIG)
    assert flat["slope"].method == "undefined: all probabilities are equal"
    assert flat["ici"].method == "undefined: all probabilities are equal"
    assert flat["intercept"].value == pytest.approx(0.0, abs=1e-9)


def test_probabilities_of_exactly_0_and_1_are_told():
    p, y, patients = of_r()
    p = p.copy()
    p[[0, 11]] = 1.0
    found = calibrate(p, y, patients, CONFIG)
    assert "2 of 40 p nearer than 1e-6 to 0 or 1" in found["slope"].method
    assert np.isfinite(found["slope"].value)


def test_few_patients_give_no_curve_but_their_points():
    p, y, _ = of_r()
    few = np.flatnonzero(y)[:9].tolist() + np.flatnonzero(~y)[:4].tolist()
    found = calibration_curve(p[few], y[few], own_patients(y[few]), CONFIG)
    assert found.curve.is_empty
    assert found.curve.method == "undefined: a curve needs 5 patients of each class, found 9 and 4"
    assert sum(b.observed.n for b in found.bins) == 13


def test_curve_is_rising_where_it_should_and_bins_hold_every_row():
    p, y, patients = simulated(600, seed=6, slope=2.0)
    found = calibration_curve(p, y, patients, CONFIG)
    curve = found.curve
    assert curve.y[0] < curve.x[0]  # underconfident: truth is more extreme
    assert curve.y[-1] > curve.x[-1]
    assert np.all(curve.low <= curve.y + 1e-9)
    assert np.all(curve.y <= curve.high + 1e-9)
    assert [b.observed.n for b in found.bins] == [60] * 10
    assert "fewer than the 200" not in curve.method


def test_every_subtype_against_the_rest():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], 400)
    truth = np.array([rng.choice(3, p=row) for row in p])
    found = calibrate_each(
        p, truth, ["a", "b", "c"], Patients.of([str(i) for i in range(400)], truth), CONFIG
    )
    assert list(found) == ["a", "b", "c"]
    assert all(e["slope"].low < 1 < e["slope"].high for e in found.values())


def test_weighted_fits_equal_fits_on_repeated_rows():
    p, y, _ = of_r()
    x = np.column_stack([np.ones(40), logit(p)])
    times = np.random.default_rng(0).integers(0, 4, 40)
    weighted = fit_logistic(x, y, times[None, :].astype(float))
    repeated = fit_logistic(np.repeat(x, times, axis=0), np.repeat(y, times), np.ones((1, times.sum())))
    assert weighted == pytest.approx(repeated)


def predictions(n=200, temperature=3.0, subtypes=("PRCC", "ChRCC"), seed=0):
    """Out-of-fold cases whose log odds are ``temperature`` times too large, and 40 external ones."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n + 40):
        x = rng.normal(0, 1, len(subtypes))
        right = np.exp(x) / np.exp(x).sum()
        truth = subtypes[rng.choice(len(subtypes), p=right)]
        q = np.exp(x * temperature) / np.exp(x * temperature).sum()
        made.append(
            Answer(
                case_id=f"c{i}",
                patient_id=f"p{i // 2}",
                probabilities=dict(zip(subtypes, q.tolist(), strict=True)),
                slices=(),
                forced_call=subtypes[int(q.argmax())],
                call=None,
                reason="as it was",
                truth=truth,
                group="out-of-fold" if i < n else "external-test:x",
                fold=(i // 2) % 4 if i < n else 0,
            )
        )
    return made


def slope_of(made, positive="PRCC"):
    p = np.array([m.probabilities[positive] for m in made])
    y = np.array([m.truth == positive for m in made])
    return intercept_and_slope(p, y, own_patients(y), CONFIG, "case")["slope"]


@pytest.mark.parametrize("how", ["temperature", "platt"])
def test_rescaling_mends_overconfidence(how):
    made = predictions(600, seed=1)
    changed, fits = recalibrate(made, ("PRCC", "ChRCC"), "PRCC", how)
    assert slope_of(made).high < 0.5
    assert slope_of(changed).low < 1 < slope_of(changed).high
    key = "all" if how == "temperature" else "PRCC"
    assert all(1 / fit.slope[key] == pytest.approx(3.0, rel=0.3) for fit in fits)
    assert [fit.applied_to for fit in fits] == [
        *(f"out-of-fold, fold {k}" for k in range(4)),
        "external-test:x",
    ]
    assert fits[-1].n_cases == 600
    assert all(sum(m.probabilities.values()) == pytest.approx(1) for m in changed)
    assert [(m.forced_call, m.reason) for m in changed] == [(m.forced_call, m.reason) for m in made]


def test_a_fold_is_rescaled_without_its_own_truth():
    """Turning every truth of fold 2 round changes the fits of the other folds, and not its own."""
    made = predictions()
    other = {"PRCC": "ChRCC", "ChRCC": "PRCC"}
    turned = [
        replace(m, truth=other[m.truth]) if m.group == "out-of-fold" and m.fold == 2 else m for m in made
    ]
    _, before = recalibrate(made, ("PRCC", "ChRCC"), "PRCC", "platt")
    _, after = recalibrate(turned, ("PRCC", "ChRCC"), "PRCC", "platt")
    same = [a == b for a, b in zip(before, after, strict=True)]
    assert same == [False, False, True, False, False]


def test_a_patient_of_two_folds_is_left_out_of_the_fit():
    made = predictions()
    shared = replace(made[0], case_id="twin", fold=3)
    _, fits = recalibrate([*made, shared], ("PRCC", "ChRCC"), "PRCC", "temperature")
    assert [fit.n_cases for fit in fits] == [150, 151, 151, 148, 201]


@pytest.mark.parametrize("how", ["temperature", "platt"])
def test_three_subtypes(how):
    made = predictions(600, subtypes=("a", "b", "c"))
    changed, fits = recalibrate(made, ("a", "b", "c"), "a", how)
    assert slope_of(made, "a").high < 0.7
    assert slope_of(changed, "a").low < 1.1
    assert slope_of(changed, "a").high > 0.95
    assert len(fits[0].slope) == (1 if how == "temperature" else 3)
    assert all(sum(m.probabilities.values()) == pytest.approx(1) for m in changed)


def test_one_fold_cannot_be_rescaled():
    made = [replace(m, fold=0) for m in predictions() if m.group == "out-of-fold"]
    with pytest.raises(ConfigError, match="expected out-of-fold cases of every subtype, from other patients"):
        recalibrate(made, ("PRCC", "ChRCC"), "PRCC", "platt")


@pytest.mark.parametrize("how", ["temperature", "platt"])
def test_cases_keep_their_order_even_where_probabilities_point_the_wrong_way(how):
    """A slope is never negative: near chance, fits on other folds would turn a fold round, and below chance."""
    other = {"PRCC": "ChRCC", "ChRCC": "PRCC"}
    made = [replace(m, truth=other[m.truth]) for m in predictions()]
    changed, fits = recalibrate(made, ("PRCC", "ChRCC"), "PRCC", how)
    external = [(a, b) for a, b in zip(made, changed, strict=True) if a.group != "out-of-fold"]
    before, after = (
        np.array([m.probabilities["PRCC"] for m in side]) for side in zip(*external, strict=True)
    )
    assert np.array_equal(np.argsort(before), np.argsort(after))
    assert all("stopped at its limit" in fit.note for fit in fits)


def test_a_perfect_split_is_rescaled_to_finite_numbers():
    made = [replace(m, truth=m.forced_call) for m in predictions()]
    for how in ("temperature", "platt"):
        changed, fits = recalibrate(made, ("PRCC", "ChRCC"), "PRCC", how)
        assert all(0 <= p <= 1 for m in changed for p in m.probabilities.values())
        assert all(np.isfinite(list(fit.slope.values())).all() for fit in fits)


@pytest.mark.parametrize(("slope", "shift"), [(0.5, 0.0), (2.0, 0.0), (1.0, -1.0), (1.0, 1.0)])
def test_what_slope_and_intercept_mean(slope, shift):
    """Slope below 1: too extreme, above 1: too near the middle; intercept below 0: too high, above 0: too low."""
    p, y, patients = simulated(4000, 3, slope, shift)
    said = np.random.default_rng(3).normal(0, 1.5, 4000)  # the log odds that outcomes were drawn from
    found = calibrate(p, y, patients, CONFIG)
    if slope != 1:
        assert (np.abs(logit(p)).mean() > np.abs(said).mean()) == (found["slope"].value < 1)
        assert found["slope"].value == pytest.approx(slope, rel=0.1)
    else:
        assert (p.mean() > expit(said).mean()) == (found["intercept"].value < 0)
        assert found["intercept"].value == pytest.approx(shift, abs=0.1)


def test_a_slope_too_steep_to_profile_has_no_limits_and_says_so():
    """Five probabilities within 6e-6 of each other: the likelihood of the slope is flat over thousands."""
    p = np.array(
        [0.5263167969891587, 0.5263168099102715, 0.5263151863871979, 0.526312309266979, 0.5263176343425007]
    )
    y = np.array([False, True, False, True, True])
    found = calibrate(p, y, own_patients(y), CONFIG)
    assert found["slope"].value is not None
    assert found["slope"].low is None
    assert "without a finite limit" in found["slope"].method

"""Intervals and tests against R 4.2.2 (pROC 1.18.0, survey 4.1-1): each constant has the line of R that prints it.

In R: z <- qnorm(.975); y <- aSAH$outcome == "Poor"; r1 and r2 are roc(y, x, direction = "<") of s100b and ndka.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from nephroscope.records import EvaluationConfig
from nephroscope.statistics.auc import compare_aucs
from nephroscope.statistics.calibration import _half_width, calibrate
from nephroscope.statistics.decision_curve import decision_curve
from nephroscope.statistics.estimates import Rows, estimate_all, shares_of
from nephroscope.statistics.intervals import Patients, delong_auc, newcombe_auc, share_limits
from nephroscope.statistics.logistic import fit_logistic
from nephroscope.statistics.margin import against_margin
from nephroscope.statistics.mcnemar import clustered_mcnemar, exact_mcnemar
from nephroscope.statistics.predictive_values import predictive_values
from nephroscope.statistics.resampling import HELD_BY_FEW, bootstrap_words
from reference_asah import NDKA, POOR, S100B

CONFIG = EvaluationConfig()
Y = np.array([one == "1" for one in POOR])
SCORES = [np.array(text.split(), float) for text in (S100B, NDKA)]


def own(y):
    return Patients.of([f"{i:04d}" for i in range(y.size)], y.astype(np.intp))


@pytest.mark.parametrize(
    ("at", "limits"),
    [  # s <- sqrt(var(r1)); plogis(qlogis(a) + c(-1, 1) * z * s / (a * (1 - a)))
        (0, (0.619216938993, 0.820085749913)),
        (1, (0.497330565621, 0.71540423394)),
    ],
)
def test_delong_on_the_logit_scale(at, limits):
    assert delong_auc(SCORES[at], Y)[:2] == pytest.approx(limits, abs=1e-11)


def test_newcombe_method_5():
    """uniroot(function(t) (t - a)^2 - z^2 * v(t), c(0, a)), and c(a, 1), with Hanley and McNeil's v."""
    assert newcombe_auc(0.9, 4, 12) == pytest.approx((0.566857069434, 0.981565421399), abs=1e-9)
    assert newcombe_auc(1.0, 4, 10) == pytest.approx((0.680802131627, 1.0), abs=1e-9)


def test_paired_delong_against_a_margin():
    """t <- roc.test(r1, r2, method = "delong"); s <- d / t$statistic; pnorm((.1 + d) / s, lower = FALSE)."""
    test = compare_aucs(*SCORES, Y, None, CONFIG, bootstrap=False)
    assert (test.difference.value, test.se) == pytest.approx((0.119410569106, 0.0858593203017), abs=1e-11)
    found = against_margin(test, 0.1, ("s100b", "ndka"))
    assert found.p_noninferior == pytest.approx(0.00530228686721, abs=1e-9)
    assert found.p_equivalent == pytest.approx(0.589428108286, abs=1e-9)
    assert (found.noninferior, found.equivalent) == (True, False)


def test_shares_of_independent_cases():
    """binom.test(13, 14)$conf.int; prop.test(18, 20, correct = FALSE)$conf.int."""
    assert share_limits(13, 14, 0.95)[0] == pytest.approx((0.661315510068, 0.998193219341), abs=1e-11)
    assert share_limits(18, 20, 0.95)[0] == pytest.approx((0.698966354772, 0.972133518786), abs=1e-11)


ID = np.repeat(np.arange(8), [3, 2, 4, 1, 3, 2, 3, 2])
ONE = np.array([*map(int, "11011101101110111100")], bool)
TWO = np.array([*map(int, "10010100101100101110")], bool)


def test_calls_of_slices_by_patient():
    """g <- tapply(one - two, id, sum); (sum(g) / 20)^2 / (8 / 7 * sum(g^2) / 400), and its pchisq."""
    patients = Patients.of([str(i) for i in ID], np.zeros(20, np.intp))
    found = clustered_mcnemar(ONE, TWO, patients, CONFIG)
    assert "chi-squared 2.33 on 1 df" in found.method
    assert found.p == pytest.approx(0.126630457948, abs=1e-11)


def test_share_of_slices_by_patient():
    """n <- m * (1 - m) / vcov(svymean(~one, d)) * (z / qt(.975, 15))^2; qbeta(.975, n * m + 1, n * (1 - m)).

    d <- svydesign(ids = ~id, weights = ~1, ...). svyciprop(method = "beta") has qt(.975, 39) in place of z: 0.5081 to
    0.8514, a little narrower. More than five patients must have a hit and a miss, so the rows stand twice.
    """
    truth = np.ones(40, np.intp)
    patients = Patients.of([str(i) for i in np.r_[ID, ID + 8]], truth)
    called = np.r_[ONE, ONE].astype(np.intp)
    rows = Rows(unit="image", truth=truth, called=called, p=np.zeros((40, 2)), patients=patients)
    share = shares_of(rows, ("no", "yes"), 1)["sensitivity"]
    found = estimate_all(rows, {"sensitivity": share}, {}, CONFIG)["sensitivity"]
    assert (found.low, found.high) == pytest.approx((0.501216587522, 0.855613472039), abs=1e-9)


X = (np.arange(1, 25) - 12.5) / 6
P = expit(1.3 * X + 0.2)
PLACE = np.arange(1, 25)
OUTCOME = np.isin(PLACE % 5, (0, 1)) | ((PLACE > 14) & (PLACE % 4 != 0))


def test_brier_scores():
    """L <- (p - y)^2; b <- mean(L); plogis(qlogis(b) + c(-1, 1) * qt(.975, 23) * sd(L) / sqrt(24) / (b * (1 - b))).

    Scaled: f <- (L - b) / b - (1 - 2 * m) * (y - m) / (m * (1 - m)), of which exp(qt * sd(f) / sqrt(24)).
    """
    found = calibrate(P, OUTCOME, own(OUTCOME), CONFIG)
    brier, scaled = found["brier"], found["scaled_brier"]
    assert (brier.value, brier.low, brier.high) == pytest.approx(
        (0.220115056983, 0.127325729175, 0.3531598905), abs=1e-9
    )
    assert (scaled.value, scaled.low, scaled.high) == pytest.approx(
        (0.0943837655571, -0.543356807994, 0.468599380364), abs=1e-9
    )


def test_band_of_a_calibration_curve():
    """predict(glm(y ~ x, binomial), data.frame(x = c(-1.5, 0, 1.5)), se.fit = TRUE); ours has a penalty of 0.01."""
    columns = np.column_stack([np.ones(24), X])
    fitted = fit_logistic(columns, OUTCOME, np.ones((1, 24)))[0]
    assert fitted == pytest.approx((0.385935837223, 0.677943233213), abs=1e-8)
    at = np.column_stack([np.ones(3), [-1.5, 0, 1.5]])
    half, df = _half_width(columns, OUTCOME, fitted, at, own(OUTCOME), 0.95)
    assert df == 22
    errors = half / 2.0738730679  # qt(.975, 22)
    assert errors == pytest.approx((0.709520485625, 0.446613209517, 0.803091676811), rel=2e-3)


def test_net_benefit():
    """sum(p >= .3 & y) / 24 - .3 / .7 * sum(p >= .3 & !y) / 24: 11 and 6 of 24."""
    found = decision_curve(P, OUTCOME, own(OUTCOME), CONFIG, np.array([0.3]))
    assert found.net_benefit.y[0] == pytest.approx(0.35119047619, abs=1e-10)


def test_predictive_values_at_a_prevalence():
    """Wilson's limits of 16/20 and 3/30, squared and added as logarithms, times the odds of 0.1."""
    truth = np.repeat([1, 0], [20, 30])
    called = np.r_[np.repeat([1, 0], [16, 4]), np.repeat([1, 0], [3, 27])]
    rows = Rows(
        unit="case", truth=truth, called=called, p=np.zeros((50, 2)), patients=own(truth.astype(bool))
    )
    shares = shares_of(rows, ("no", "yes"), 1)
    found = predictive_values(rows, (shares["sensitivity"], shares["specificity"]), 0.1, 0.95)
    for name, numbers in (
        ("ppv", (0.470588235294, 0.244401447731, 0.718271155493)),
        ("npv", (0.975903614458, 0.949379511157, 0.990034587034)),
    ):
        assert (found[name].value, found[name].low, found[name].high) == pytest.approx(numbers, abs=1e-9)


def test_difference_of_paired_calls():
    """Newcombe's method 10 in R for 20, 6, 2 and 12 cases: phi is (20 * 12 - 6 * 2 - 40 / 2) / sqrt(...)."""
    both, one, two, neither = 20, 6, 2, 12
    right_one = np.repeat([True, True, False, False], [both, one, two, neither])
    right_two = np.repeat([True, False, True, False], [both, one, two, neither])
    found = exact_mcnemar(right_one, right_two).difference
    assert (found.value, found.low, found.high) == pytest.approx(
        (0.1, -0.0420297192546, 0.234838957536), abs=1e-9
    )


def test_what_is_said_of_few_patients_is_what_was_measured():
    """The words beside a band, and docs/reference/intervals.md, of 20 cases."""
    page = (Path(__file__).parents[1] / "docs" / "reference" / "intervals.md").read_text(encoding="utf-8")
    found = re.findall(r"slope [\d.]+, 20 cases \|.* ([\d.]+) \| ([\d.]+) \|\n", page)
    assert len(found) == 2
    for figure, held in zip(("standardized net benefit", "risk"), zip(*found, strict=True), strict=True):
        assert f"{min(map(float, held)):.2f} to {max(map(float, held)):.2f}" == HELD_BY_FEW[figure]
    few, many = (own(np.arange(n) % 2 == 0) for n in (20, 40))
    assert "held 0.91" in bootstrap_words(few, CONFIG, "risk")
    assert "held" not in bootstrap_words(many, CONFIG, "risk") + bootstrap_words(few, CONFIG)
    curve = decision_curve(P, OUTCOME, own(OUTCOME), CONFIG, np.array([0.3]))
    assert "too narrow" in curve.standardised.method
    assert "too narrow" not in curve.net_benefit.method

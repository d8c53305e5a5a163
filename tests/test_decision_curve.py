"""Net benefit against R's dcurves, operating points, and coverage against risk."""

import base64
import zlib
from dataclasses import replace

import numpy as np
import pytest

from nephroscope.base.errors import ConfigError
from nephroscope.questions.evaluation.operating_points import (
    operating_point_at,
    threshold_for_sensitivity,
    thresholds_by_fold,
)
from nephroscope.records import EvaluationConfig, OperatingPoint
from nephroscope.statistics.coverage import coverage_of, risk_coverage
from nephroscope.statistics.decision_curve import decision_curve
from nephroscope.statistics.intervals import Patients, wilson
from nephroscope.statistics.logistic import expit, fit_logistic
from test_calibration import own_patients, predictions

CONFIG = EvaluationConfig(resamples=300)
# Ages of df_binary, the simulated data set of the packages dcurves (R and Python): 105 with cancer, 645 without, in
# hundredths of a year, sorted; their differences, packed.
YES_FROM, YES = (
    6058,
    (
        b"c-"
        b"kF}%L>9!3`9?_eTna?MJs4sh}DhY%9TseKM?%?|M2t@G8vMYNlQwgWohkc=vX*Y4)UCVIHu;s$X&vnXPgr~Lvcz0s%G+?`#vRQ8?"
        b"T-ITwm~7M6B%8yi89bR<TR3wYsB@EbbdNW|n3I^>a@A%<umcT>N=fwbB#B2W!4u<!^3$_yfjB2Y>"
    ),
)
NO_FROM, NO = (
    4530,
    (
        b"c-"
        b"l==TaFYl3@pb<ch3wvEW3aZLV_Qz!3Wa*auTk=h4u`4Fr0G5Gc9!<jvwW+lQ;W~zxan8e*m2Dj30OxyCc@$(eW8AX5frZa9BtWd<"
        b"|L0C3YX<A9x?5$G&k!*zB>Mnp;RcYzO8y&wGs1+a9YUR)cybOXv9|B%QKLc*v6@EIiIe>~|s=jImLgJJ3^}8ReZ(L0O~T&a;JPN?"
        b"o>~+=(gWDOvH-V&j=<)u}bdts>;y6e;nT@>w$&sa4!urN3lxGPspZ>TJSetb-"
        b"F#lONOH?tD#e$r&mamwh8{D~3kNo%&5WXR+(TZS<E`sdp4U7tdWeSY-g^Y+}-"
        b"s<4}IR_+1Q`BwiLE12gNrSX)*uMsNEydR2N<eNY%WH8R>!)wp4{V#3AOEq3l*HTCM@)#Lrn=cy`=$RRyk3W2GLP(~(es3I9*s5^5"
        b"!(T~ah!R*!zTK8mDav^ZpXXiHIZg<?8`fK%YS6_qmg?fB-"
        b"K=$4t21jJG6GP{1$toSyjjoDh{?B*!1M1d^X2Vr?clNjO&S$n~X7f~i-"
        b"o@7*78@R!(ZDx+;p@@y5O36cbsq2`cGu9HZ`LE<s~+<;-mEA5B=%o;!7Kg)h?xub"
    ),
)


def ages(first, packed):
    steps = np.frombuffer(zlib.decompress(base64.b85decode(packed)), dtype="<u2").astype(int)
    return (first + np.concatenate([[0], np.cumsum(steps)])) / 100


def df_binary():
    """Probability of cancer by logistic regression on age, as dcurves makes of `cancer ~ age`; and cancer."""
    yes, no = ages(YES_FROM, YES), ages(NO_FROM, NO)
    age, y = np.concatenate([yes, no]), np.repeat([True, False], [yes.size, no.size])
    columns = np.column_stack([np.ones(age.size), age - 60])
    p = expit(fit_logistic(columns, y, np.ones((1, age.size)))[0] @ columns.T)
    return p, y, own_patients(y)


@pytest.mark.parametrize(
    ("threshold", "net_benefit"),
    [  # r_simple_binary_dca_result_df.csv in the tests of MSKCC-Epi-Bio/dcurves: R's dca(cancer ~ age)
        (0.01, 0.1314747474747475),
        (0.05, 0.09880701754385966),
        (0.10, 0.0691851851851852),
        (0.15, 0.05082352941176472),
        (0.20, 0.04200000000000001),
        (0.35, 0.017128205128205135),
        (0.50, 0.009333333333333336),
        (0.69, 0.0010322580645161284),
        (0.75, 0.0013333333333333335),
    ],
)
def test_net_benefit_is_that_of_dcurves(threshold, net_benefit):
    found = decision_curve(*df_binary(), EvaluationConfig(resamples=100), np.array([threshold]))
    assert found.net_benefit.y[0] == pytest.approx(net_benefit, abs=1e-14)


def test_treat_all_is_that_of_dcurves():
    """The same file, variable `all`."""
    found = decision_curve(*df_binary(), CONFIG)
    expected = {0.01: 0.13131313131313133, 0.14: 0.0, 0.2: -0.075, 0.5: -0.72, 0.99: -85.0}
    for threshold, value in expected.items():
        at = int(np.argmin(np.abs(found.thresholds - threshold)))
        assert found.treat_all[at] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("threshold", "net_benefit"),
    [  # r_bin_dca_result_2.csv of the same: R's dca(cancer ~ age, prevalence = 0.5)
        (0.05, 0.4481436148510812),
        (0.20, 0.25963455149501663),
        (0.50, 0.06124031007751938),
    ],
)
def test_given_prevalence_is_that_of_dcurves(threshold, net_benefit):
    found = decision_curve(
        *df_binary(), EvaluationConfig(resamples=100), np.array([threshold]), prevalence=0.5
    )
    assert found.net_benefit.y[0] == pytest.approx(net_benefit, abs=1e-14)
    assert found.prevalence == 0.5


def test_standardised_gain_and_utility_are_consistent():
    found = decision_curve(*df_binary(), CONFIG)
    assert found.standardised.y == pytest.approx(found.net_benefit.y / 0.14)
    assert found.over_all.y == pytest.approx(found.net_benefit.y - found.treat_all)
    perfect = decision_curve(
        np.array([0.001] * 9 + [0.999] * 9), np.arange(18) >= 9, own_patients(np.arange(18) >= 9), CONFIG
    )
    assert perfect.relative_utility == pytest.approx(1.0)
    assert perfect.standardised.y == pytest.approx(1.0)


def test_interval_at_a_given_prevalence_covers_and_is_never_without_width():
    """True rates are known by construction; where everybody is acted on, both rates still have Wilson's limits."""
    rng, hits, n, at = np.random.default_rng(5), 0, 200, np.array([0.02, 0.3])
    y = np.repeat([True, False], [40, 60])
    tpr, fpr = 0.8, 0.3  # of a probability that is 0.6 or 0.1
    truth = tpr * 0.2 - fpr * 0.8 * 0.3 / 0.7
    for _ in range(n):
        p = np.where(rng.random(100) < np.where(y, tpr, fpr), 0.6, 0.1)
        found = decision_curve(p, y, own_patients(y), CONFIG, at, prevalence=0.2).net_benefit
        hits += found.low[1] <= truth <= found.high[1]
    assert 0.91 <= hits / n <= 0.98
    sides = 0.2 * (1 - wilson(40, 40)[0]), 0.8 * 0.02 / 0.98 * (1 - wilson(60, 60)[0])
    value = 0.2 - 0.8 * 0.02 / 0.98
    assert found.low[0] == pytest.approx(value - sides[0])
    assert found.high[0] == pytest.approx(value + sides[1])
    standardised = decision_curve(p, y, own_patients(y), CONFIG, at, prevalence=0.2).standardised
    assert np.isnan([standardised.low[0], standardised.high[0]]).all()
    assert standardised.method.endswith("such as where everybody is acted on, or nobody")
    assert standardised.as_dict()["low"][0] is None


def test_net_benefit_by_hand():
    """Five of 20 true, two of 20 false positives at 0.5; both shares come from the same 20 cases."""
    y = np.repeat([True, False], [8, 12])
    p = np.r_[np.full(5, 0.7), np.full(3, 0.2), np.full(2, 0.7), np.full(10, 0.2)]
    found = decision_curve(p, y, own_patients(y), CONFIG, np.array([0.5]))
    (la, ua), (lb, ub), a, b = wilson(5, 20), wilson(2, 20), 0.25, 0.1
    r = -a * b / (a * (1 - a) * b * (1 - b)) ** 0.5
    low = a - b - ((a - la) ** 2 + (ub - b) ** 2 - 2 * r * (a - la) * (ub - b)) ** 0.5
    high = a - b + ((ua - a) ** 2 + (b - lb) ** 2 - 2 * r * (ua - a) * (b - lb)) ** 0.5
    assert (found.net_benefit.low[0], found.net_benefit.high[0]) == pytest.approx((low, high))
    turned = decision_curve(
        1 - p, ~y, own_patients(y), CONFIG, np.array([0.5])
    )  # true negatives less false ones
    assert found.over_all.low[0] == pytest.approx(turned.net_benefit.low[0])
    assert found.over_all.high[0] == pytest.approx(turned.net_benefit.high[0])
    twice = Patients.of([f"{i // 2}" for i in range(20)], y.astype(int))
    assert "bootstrap" in decision_curve(p, y, twice, CONFIG, np.array([0.5])).net_benefit.method


def test_band_of_net_benefit_covers_prevalence_too():
    """At a threshold near 0 net benefit is nearly the prevalence, so its interval is nearly that of a share."""
    found = decision_curve(*df_binary(), EvaluationConfig(resamples=4000), np.array([0.0001]))
    width = found.net_benefit.high[0] - found.net_benefit.low[0]
    assert width == pytest.approx(2 * 1.96 * (0.14 * 0.86 / 750) ** 0.5, rel=0.1)


def test_one_class_has_no_decision_curve():
    y = np.ones(8, bool)
    found = decision_curve(np.full(8, 0.5), y, own_patients(y), CONFIG)
    assert found.net_benefit.is_empty
    assert found.net_benefit.method == "undefined: one class only"


@pytest.mark.parametrize("thresholds", [[0.0], [1.0], [0.5, np.nan], []])
def test_thresholds_lie_between_0_and_1(thresholds):
    p, y, patients = df_binary()
    with pytest.raises(ConfigError, match="decision curve, threshold: expected a number between 0 and 1"):
        decision_curve(p, y, patients, CONFIG, np.array(thresholds))
    with pytest.raises(ConfigError, match="decision curve, prevalence"):
        decision_curve(p, y, patients, CONFIG, prevalence=1.0)


# Operating points


def test_threshold_is_the_highest_that_reaches_the_sensitivity():
    p, y = np.array([0.9, 0.8, 0.6, 0.5, 0.4, 0.3]), np.array([1, 1, 0, 1, 0, 1], bool)
    assert threshold_for_sensitivity(p, y, 0.5) == pytest.approx(0.7)
    assert threshold_for_sensitivity(p, y, 0.75) == pytest.approx(0.45)
    assert threshold_for_sensitivity(p, y, 0.76) == pytest.approx(0.3)
    assert threshold_for_sensitivity(p, y, 1.0) == pytest.approx(0.3)
    with pytest.raises(ConfigError, match=r"found 0\.9 and 0 positive"):
        threshold_for_sensitivity(p, np.zeros(6, bool), 0.9)
    with pytest.raises(ConfigError, match="a sensitivity above 0 and at most 1"):
        threshold_for_sensitivity(p, y, 1.01)


def test_a_folds_threshold_does_not_see_its_cases():
    made = predictions()
    before = operating_point_at(made, "PRCC", 0.9, CONFIG)
    other = {"PRCC": "ChRCC", "ChRCC": "PRCC"}
    turned = [
        replace(m, truth=other[m.truth]) if m.group == "out-of-fold" and m.fold == 1 else m for m in made
    ]
    after = operating_point_at(turned, "PRCC", 0.9, CONFIG)
    assert after[0].points[1] == before[0].points[1]
    assert after[0].points[0] != before[0].points[0]
    assert [a.group for a in before] == ["out-of-fold", "external-test:x"]
    assert list(before[1].points) == [-1]
    assert before[1].points[-1].chosen_on.startswith("200 out-of-fold cases of all folds")


def test_achieved_sensitivity_is_near_the_wanted_one_and_has_an_interval():
    found = operating_point_at(predictions(2000), "PRCC", 0.9, CONFIG)[0].achieved
    assert found["sensitivity"].low < 0.9 < found["sensitivity"].high
    assert 0.2 < found["specificity"].value < 0.8
    assert "Korn and Graubard" in found["sensitivity"].method  # two cases a patient


def test_one_fold_has_no_others():
    y = np.arange(10) % 2 == 0
    with pytest.raises(ConfigError, match="expected two folds or more"):
        thresholds_by_fold(np.linspace(0, 1, 10), y, own_patients(y), np.zeros(10, int), 0.9)


# Coverage


def test_risk_coverage_by_hand():
    """Four cases, surest first: right, right, wrong, right; risks 0, 0, 1/3, 1/4, whose mean is 7/48."""
    distance, wrong = np.array([0.1, 0.4, 0.3, 0.2]), np.array([False, False, False, True])
    found = risk_coverage(distance, wrong, own_patients(wrong), CONFIG, margin=0.15)
    assert found.aurc.value == pytest.approx(7 / 48)
    at = {round(float(x), 2): y for x, y in zip(found.risk.x, found.risk.y, strict=True)}
    assert (at[0.24], at[0.5], at[0.52], at[0.74], at[1.0]) == pytest.approx((0, 0, 1 / 3, 1 / 3, 1 / 4))
    assert found.random == 0.25
    assert found.at_margin["coverage"].value == pytest.approx(0.75)
    assert found.at_margin["risk"].value == pytest.approx(1 / 3)


def test_equal_distances_are_answered_together():
    """No order among equals: the risk at every coverage is that of all, and so is the area."""
    wrong = np.arange(20) < 5
    found = risk_coverage(np.full(20, 0.3), wrong, own_patients(wrong), CONFIG)
    assert found.risk.y == pytest.approx(np.full(found.risk.x.size, 0.25))
    assert found.aurc.value == pytest.approx(0.25)
    assert found.at_margin == {}


def test_risk_redraws_how_frequent_the_classes_are():
    """One class always wrong, the other never: the area is the share of the first, and spreads as a share does."""
    wrong = np.arange(100) < 30
    aurc = risk_coverage(np.full(100, 0.3), wrong, own_patients(wrong), CONFIG).aurc
    binomial = 2 * 1.96 * np.sqrt(0.3 * 0.7 / 100)
    assert aurc.high - aurc.low == pytest.approx(binomial, rel=0.15)


def test_without_an_error_there_is_no_interval():
    """Six cases, all right: a bootstrap knows nothing but 0, and says so in place of 0.000 to 0.000."""
    distance, wrong = np.linspace(0.1, 0.4, 6), np.zeros(6, dtype=bool)
    found = risk_coverage(distance, wrong, own_patients(np.arange(6) < 3), CONFIG)
    assert (found.aurc.value, found.aurc.low, found.aurc.high) == (0, None, None)
    assert found.aurc.method == "no interval: every resample of the patients agrees"
    assert np.isnan(found.risk.low).all()
    assert np.isnan(found.risk.high).all()


def test_a_margin_that_leaves_nobody_says_so():
    wrong = np.arange(6) < 2
    found = risk_coverage(np.full(6, 0.05), wrong, own_patients(wrong), CONFIG, margin=0.2)
    assert found.at_margin["coverage"].value == 0
    assert found.at_margin["risk"].method == "undefined: no case is answered"


def test_calibrated_probabilities_have_less_risk_at_less_coverage():
    made = predictions(1000, temperature=1.0)
    point = OperatingPoint(threshold=0.5, criterion="fixed", chosen_on="nothing")
    found = coverage_of(made, ("PRCC", "ChRCC"), "PRCC", [point], CONFIG)
    assert found.risk.y[9] < found.risk.y[24] < found.risk.y[-1] == pytest.approx(found.random)
    assert found.aurc.high < found.random
    assert 0 < found.at_margin["coverage"].value < 1
    three = predictions(300, 1.0, ("a", "b", "c"))
    assert coverage_of(three, ("a", "b", "c"), "a", [point], CONFIG).aurc.high < 0.7


def test_bands_go_over_patients():
    """Rows five times over do not narrow the band."""
    rng = np.random.default_rng(0)
    distance, wrong = rng.random(80), rng.random(80) < 0.3
    once = risk_coverage(distance, wrong, own_patients(wrong), CONFIG)
    many = Patients.of(np.repeat([f"{i:03}" for i in range(80)], 5), np.repeat(wrong, 5).astype(int))
    often = risk_coverage(np.repeat(distance, 5), np.repeat(wrong, 5), many, CONFIG)
    assert often.aurc.high - often.aurc.low == pytest.approx(once.aurc.high - once.aurc.low, rel=0.15)


def test_a_class_of_one_patient_has_no_band():
    y = np.repeat([True, False], [100, 30])
    ids = ["a"] * 100 + [f"b{i:02}" for i in range(30)]
    p = np.random.default_rng(5).random(130)
    found = decision_curve(p, y, Patients.of(ids, y.astype(int)), CONFIG, np.array([0.2, 0.5]))
    assert np.isfinite(found.net_benefit.y).all()
    assert np.isnan(found.net_benefit.low).all()
    assert np.isnan(found.over_all.high).all()
    assert found.net_benefit.method == "no interval: a class has one patient"

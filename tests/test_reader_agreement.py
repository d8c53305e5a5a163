import numpy as np
import pytest

from nephroscope.questions.evaluation.annotators import mean_statistic, median_statistic
from nephroscope.records import EvaluationConfig
from nephroscope.statistics.bland_altman import bland_altman, growth
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.kappa import cohen_kappa, compare_labels, kappa_se

CONFIG = EvaluationConfig(resamples=400)
# Peak expiratory flow of 17 subjects, l/min, first reading by each meter (Bland and Altman 1986, table 1).
WRIGHT = np.array(
    [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427], float
)
MINI = np.array([512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451], float)


def one_each(n):
    return Patients.of([f"p{i:03}" for i in range(n)], np.zeros(n, int))


# ---- Bland-Altman


def test_bland_and_altmans_own_example():
    """They give a bias of -2.1 (-22.0 to 17.8), a deviation of 38.8, and limits of two deviations."""
    found = bland_altman(MINI, WRIGHT, one_each(17), CONFIG)
    bias, low, high = (found[name] for name in ("bias", "limit_low", "limit_high"))
    assert [round(x, 1) for x in (bias.value, bias.low, bias.high)] == [-2.1, -22.0, 17.8]
    assert (high.value - low.value) / 2 / 1.96 == pytest.approx(38.8, abs=0.05)
    assert low.low < low.value < low.high < high.low < high.value < high.high
    assert "Student's t, 95 %" in bias.method
    assert "Carkeet" in high.method


def test_limits_cover_the_true_limits():
    """The exact interval holds the true limit 1.96 in 95 of 100 studies of 8 patients; the usual one in fewer."""
    rng, n, times = np.random.default_rng(0), 8, 1500
    who, zero = one_each(n), np.zeros(n)
    inside = 0
    for _ in range(times):
        upper = bland_altman(zero, rng.normal(size=n), who, CONFIG)["limit_high"]
        inside += upper.low <= 1.96 <= upper.high
    assert inside / times == pytest.approx(0.95, abs=0.015)


def test_ratios_are_by_logarithm():
    one = np.array([1.0, 2, 4, 8, 16])
    found = bland_altman(one, one * [1.1, 1.2, 1.1, 1.3, 1.1], one_each(5), CONFIG, ratio=True)
    expected = np.exp(np.log([1.1, 1.2, 1.1, 1.3, 1.1]).mean())
    assert found["bias"].value == pytest.approx(expected)
    assert found["limit_low"].value * found["limit_high"].value == pytest.approx(expected**2)
    back = bland_altman(one * [1.1, 1.2, 1.1, 1.3, 1.1], one, one_each(5), CONFIG, ratio=True)
    assert back["bias"].low == pytest.approx(1 / found["bias"].high)


def test_two_tumors_of_a_patient_are_one_cluster():
    """The same differences twice are no more knowledge: the interval by patient stays, Student's would shrink."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=20)
    twice, owner = np.repeat(values, 2), [f"p{i // 2:02}" for i in range(40)]
    clustered = bland_altman(np.zeros(40), twice, Patients.of(owner, np.zeros(40, int)), CONFIG)["bias"]
    as_if = bland_altman(np.zeros(40), twice, one_each(40), CONFIG)["bias"]
    single = bland_altman(np.zeros(20), values, one_each(20), CONFIG)["bias"]
    assert "20 patients" in clustered.method
    assert clustered.high - clustered.low == pytest.approx(single.high - single.low, rel=0.2)
    assert as_if.high - as_if.low < 0.8 * (single.high - single.low)


def test_too_few_patients_have_no_limits():
    found = bland_altman(np.ones(2), np.ones(2) * 2, one_each(2), CONFIG)["bias"]
    assert (found.value, found.method) == (None, "undefined: fewer than 3 patients")
    assert growth(np.ones(4), np.arange(4.0), one_each(4), CONFIG).value is None


def test_growth_is_spearmans():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    one = rng.uniform(1, 200, 30)
    two = one * np.exp(rng.normal(0, 0.2, 30))
    found = growth(one, two, one_each(30), CONFIG)
    assert found.value == pytest.approx(spearmanr(np.abs(two - one), one + two).statistic)
    assert found.low > 0
    rho, half = found.value, 1.959964 * ((1 + found.value**2 / 2) / 27) ** 0.5  # n - 3 of 30 patients
    assert (found.low, found.high) == pytest.approx(
        (np.tanh(np.arctanh(rho) - half), np.tanh(np.arctanh(rho) + half)), abs=1e-6
    )
    assert growth(one, one, one_each(30), CONFIG).method == "undefined: all differences are the same"


# ---- kappa


def test_kappa_of_fleiss_cohen_and_everitt():
    """Their example: kappa 0.429, standard error 0.0537 (variance 0.002885)."""
    table = np.array([[0.53, 0.05, 0.02], [0.11, 0.14, 0.05], [0.01, 0.06, 0.03]]) * 200
    assert cohen_kappa(table[None])[0] == pytest.approx(0.429, abs=0.0005)
    assert kappa_se(table) ** 2 == pytest.approx(0.002885, abs=5e-7)


def test_kappa_of_statpsych():
    """R's statpsych::ci.kappa(.05, 31, 12, 4, 58), after Fleiss and Paik."""
    first = ["a"] * 43 + ["b"] * 62
    second = ["a"] * 31 + ["b"] * 12 + ["a"] * 4 + ["b"] * 58
    found = compare_labels(first, second, [str(i) for i in range(105)], CONFIG)
    assert found.kappa.value == pytest.approx(0.6756757, abs=1e-7)
    assert (found.kappa.low, found.kappa.high) == pytest.approx((0.5317210, 0.8196303), abs=1e-6)
    assert found.table == ((31, 12), (4, 58))
    assert found.agreement.value == pytest.approx(89 / 105)
    assert "Wilson" in found.agreement.method


def test_kappa_is_scikit_learns():
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(2)
    first = rng.choice(["PRCC", "ChRCC", "ccRCC"], 60)
    second = np.where(rng.random(60) < 0.7, first, rng.choice(["PRCC", "ChRCC", "oncocytoma"], 60))
    found = compare_labels(first.tolist(), second.tolist(), [str(i) for i in range(60)], CONFIG)
    assert found.kappa.value == pytest.approx(cohen_kappa_score(first, second))
    assert sum(map(sum, found.table)) == 60
    clustered = compare_labels(first.tolist(), second.tolist(), [str(i // 2) for i in range(60)], CONFIG)
    assert clustered.kappa.value == found.kappa.value
    assert "jackknife over 30 patients and 4 added" in clustered.kappa.method
    assert "Korn and Graubard 1998, 30 patients" in clustered.agreement.method
    assert clustered.kappa.low < found.kappa.value < clustered.kappa.high


def test_kappa_without_disagreement_or_without_a_second_label():
    agreed = compare_labels(["a", "b", "a"], ["a", "b", "a"], ["1", "2", "3"], CONFIG)
    assert (agreed.kappa.value, agreed.kappa.high) == (1.0, 1.0)
    assert -0.5 <= agreed.kappa.low < 0.3  # three cases
    assert "Donner and Eliasziw" in agreed.kappa.method
    assert agreed.agreement.low < 1
    one_label = compare_labels(["a", "b", "a"], ["a", "a", "a"], ["1", "2", "3"], CONFIG)
    assert (one_label.kappa.value, one_label.kappa.low < 0 < one_label.kappa.high) == (0.0, True)
    opposed = compare_labels(["a", "b"] * 4, ["b", "a"] * 4, list("12345678"), CONFIG)
    assert (opposed.kappa.value, opposed.kappa.low) == (-1.0, -1.0)
    assert opposed.kappa.high < 0


def test_kappa_of_few_cases_is_where_the_pairs_no_longer_fit():
    """Donner and Eliasziw 1992: at each limit the three kinds of pairs misfit by t squared (below 20 cases)."""
    first, second = "aaaaaaabbbbbbbbbba", "aaaaaabbbbbbbbbbab"
    found = compare_labels(list(first), list(second), [str(i) for i in range(18)], CONFIG).kappa
    both = sum(a == b == "a" for a, b in zip(first, second, strict=True))
    apart = sum(a != b for a, b in zip(first, second, strict=True))
    share = (2 * both + apart) / 36
    for kappa in (found.low, found.high):
        spread = share * (1 - share)
        expected = [share**2 + spread * kappa, 2 * spread * (1 - kappa), (1 - share) ** 2 + spread * kappa]
        counts = [both, apart, 18 - both - apart]
        misfit = sum((k - 18 * e) ** 2 / (18 * e) for k, e in zip(counts, expected, strict=True))
        assert misfit == pytest.approx(2.1098156**2, abs=1e-3)  # R: qt(0.975, 17)


def test_kappa_of_few_cases_and_three_labels_adds_four_cases():
    """Fleiss, Cohen and Everitt's error of the table with four cases more, half of them agreed on, and t."""
    table = np.array([[6, 1, 0], [2, 5, 1], [0, 1, 4]])
    pairs = [(a, b) for a in range(3) for b in range(3) for _ in range(table[a, b])]
    one, two = ([f"{pair[k]}" for pair in pairs] for k in (0, 1))
    found = compare_labels(one, two, [str(i) for i in range(20)], CONFIG).kappa
    more = table + np.eye(3) * 2 / 3 + 2 / 9
    center, half = float(cohen_kappa(more[None])[0]), 2.0930241 * kappa_se(more)  # R: qt(0.975, 19)
    assert (found.low, found.high) == pytest.approx((center - half, min(1, center + half)), abs=1e-7)
    assert found.low < found.value < found.high
    agreed = compare_labels(list("abcabc"), list("abcabc"), list("123456"), CONFIG).kappa
    assert (agreed.value, agreed.high) == (1.0, 1.0)
    assert agreed.low < 0.8


def test_kappa_that_is_undefined():
    alike = compare_labels(["a", "a"], ["a", "a"], ["1", "1"], CONFIG)
    assert alike.kappa.value is None
    assert "one and the same label" in alike.kappa.method
    assert alike.agreement.low == pytest.approx(0.025)  # one patient


# ---- pooling


def test_medians_of_resamples_are_medians_of_the_repeated_cases():
    rng = np.random.default_rng(0)
    values, owner = rng.normal(size=9), np.array([0, 0, 1, 2, 2, 2, 3, 4, 4])
    patients = Patients.of([f"p{i}" for i in owner], np.zeros(9, int))
    weights = rng.multinomial(5, np.full(5, 0.2), size=30).astype(float)
    repeated = [np.repeat(values, w[owner].astype(int)) for w in weights]
    assert median_statistic(values, patients)(weights) == pytest.approx([np.median(r) for r in repeated])
    assert mean_statistic(values, patients)(weights) == pytest.approx([np.mean(r) for r in repeated])

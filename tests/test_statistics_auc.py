"""AUC and its comparisons against printed numbers, against construction, and where they must refuse to answer."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, norm, rankdata

import reference_asah as asah
from nephroscope.records import EvaluationConfig
from nephroscope.statistics import intervals
from nephroscope.statistics.auc import (
    auc_covariance,
    clustered_covariance,
    compare_all,
    compare_aucs,
    compare_unpaired,
    overall_test,
)
from nephroscope.statistics.exchange import exchange
from nephroscope.statistics.intervals import Patients, hanley_mcneil
from nephroscope.statistics.mcnemar import clustered_mcnemar, exact_mcnemar, mcnemar, paired_difference
from nephroscope.statistics.metrics import auc, delong_covariance
from nephroscope.statistics.tables.scores import auc_figures

CONFIG = EvaluationConfig(resamples=400)
POOR = np.array([c == "1" for c in asah.POOR])
SCORES = {
    "s100b": np.array(asah.S100B.split(), dtype=float),
    "ndka": np.array(asah.NDKA.split(), dtype=float),
    "wfns": np.array(list(asah.WFNS), dtype=float),
}


def own(is_positive):
    """Each row a patient of its own."""
    return Patients.of([f"{i:05d}" for i in range(is_positive.size)], is_positive.astype(np.intp))


@pytest.mark.parametrize(
    ("score", "printed"),
    [  # pROC 1.18, ci.auc(roc(outcome ~ SCORE, aSAH)), as in its manual and in Robin et al. 2011
        ("s100b", (0.7314, 0.6301, 0.8326)),
        ("ndka", (0.6120, 0.5012, 0.7227)),
        ("wfns", (0.8237, 0.7485, 0.8988)),
    ],
)
def test_delong_interval_as_proc_prints_it(score, printed):
    found = auc_figures(SCORES[score], POOR, own(POOR), "case", CONFIG)
    plain = found.intervals["delong"]
    assert (plain.value, plain.low, plain.high) == pytest.approx(printed, abs=5e-5)
    assert found.headline == ("widened" if score == "wfns" else "delong_logit")  # wfns has five levels
    assert found.auc == found.intervals[found.headline]
    if score == "wfns":
        logit = found.intervals["delong_logit"]
        assert found.auc.low <= logit.low < logit.high <= found.auc.high
    assert 0 < found.auc.low < found.auc.value < found.auc.high < 1


@pytest.mark.parametrize(
    ("pair", "z", "p", "limits"),
    [  # pROC 1.18, roc.test(..., method = "delong", paired = TRUE); s100b against wfns is the manual's example
        (("s100b", "wfns"), -2.209, 0.02718, (-0.17421442, -0.01040618)),
        (("s100b", "ndka"), 1.3908, 0.1643, (-0.04887061, 0.28769174)),
        (("wfns", "ndka"), 2.7978, 0.005146, (0.06340117, 0.36004056)),
    ],
)
def test_paired_delong_as_proc_prints_it(pair, z, p, limits):
    test = compare_aucs(SCORES[pair[0]], SCORES[pair[1]], POOR, None, CONFIG)
    assert test.z == pytest.approx(z, abs=5e-4)
    assert test.p == pytest.approx(p, rel=5e-4)
    assert (test.difference.low, test.difference.high) == pytest.approx(limits, abs=5e-9)
    assert test.difference.unit == "patient"
    assert test.difference.n == 113
    assert test.bootstrap.low == pytest.approx(limits[0], abs=0.03)
    assert test.bootstrap.high == pytest.approx(limits[1], abs=0.03)


def test_covariances_as_proc_prints_them():
    """pROC 1.18: var() and cov() of the curves."""
    _, covariance = delong_covariance(np.stack([SCORES["s100b"], SCORES["wfns"]]), POOR)
    assert covariance == pytest.approx(
        np.array([[0.002668682457, 0.001196155674], [0.001196155674, 0.001469914709]]), abs=5e-13
    )


def test_unpaired_as_proc_prints_it():
    """pROC 1.18, roc.test of s100b in men and women: D = 0.50188, df = 106.46, p-value = 0.6168."""
    male = np.array([c == "1" for c in asah.MALE])
    parts = [(SCORES["s100b"][sex], POOR[sex], own(POOR[sex])) for sex in (male, ~male)]
    test = compare_unpaired(*parts, CONFIG)
    assert test.aucs == pytest.approx((0.7727272727, 0.72), abs=5e-9)
    assert test.z == pytest.approx(0.50188, abs=5e-6)
    assert test.df == pytest.approx(106.46, abs=5e-3)
    assert test.p == pytest.approx(0.6168, abs=5e-5)
    assert test.difference.low < test.bootstrap.low + 0.03


# DeLong 1988, 43 patients with ovarian cancer: albumin, total protein, K-G score, outcome of surgery.
OVARIAN = """
3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1
3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0
4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1
4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1
2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1 3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1"""


def test_three_scores_as_sas_prints_them():
    """SAS/STAT User's Guide, PROC LOGISTIC, "Comparing Receiver Operating Characteristic Curves"."""
    albumin, protein, kg, y = np.array(OVARIAN.split(), dtype=float).reshape(-1, 4).T
    scores, y = np.stack([albumin, 10 - kg, protein]), y == 1
    aucs, covariance = delong_covariance(scores, y)
    assert aucs == pytest.approx([0.7366, 0.7258, 0.6478], abs=5e-5)
    assert np.sqrt(np.diag(covariance)) == pytest.approx([0.0927, 0.1028, 0.1000], abs=5e-5)
    pairs, overall = compare_all(list(scores), y, None, CONFIG)
    assert (overall.chi2, overall.df, overall.p) == pytest.approx((2.5340, 2, 0.2817), abs=5e-5)
    first, second = pairs[0, 1], pairs[1, 2]
    assert (first.difference.value, first.se) == pytest.approx((0.0108, 0.0953), abs=5e-5)
    assert (first.difference.low, first.difference.high) == pytest.approx((-0.1761, 0.1976), abs=5e-5)
    assert (first.z**2, first.p_variance) == pytest.approx((0.0127, 0.9102), abs=5e-5)
    assert (second.difference.value, second.se) == pytest.approx((0.0780, 0.1046), abs=5e-5)
    assert (second.z**2, second.p_variance) == pytest.approx((0.5554, 0.4561), abs=5e-5)


def test_overall_test_of_two_is_the_square_of_z():
    pairs, overall = compare_all([SCORES["s100b"], SCORES["wfns"]], POOR, None, CONFIG)
    assert overall.chi2 == pytest.approx(pairs[0, 1].z ** 2)
    assert overall.p == pytest.approx(pairs[0, 1].p)
    assert overall.df == 1


def test_overall_test_does_not_depend_on_the_order_nor_on_a_copy():
    stacked = np.stack(list(SCORES.values()))
    first = overall_test(*delong_covariance(stacked, POOR), "DeLong 1988")
    turned = overall_test(*delong_covariance(stacked[[2, 0, 1]], POOR), "DeLong 1988")
    assert (first.chi2, first.df) == pytest.approx((turned.chi2, 2))
    copied = overall_test(*delong_covariance(stacked[[0, 1, 2, 0]], POOR), "DeLong 1988")
    assert (copied.chi2, copied.df) == pytest.approx((first.chi2, 2))
    assert copied.method == "DeLong 1988, chi-squared; 2 of 3 contrasts vary"


def test_hanley_mcneil_standard_error():
    """Hanley and McNeil 1982, example of 51 abnormal and 58 normal scans: 0.893 with about 0.032."""
    assert hanley_mcneil(0.893, 51, 58) ** 0.5 == pytest.approx(0.032, abs=6e-4)


# Ten patients with up to 5 abnormal and 5 normal units each, rated 1 to 5; the second rating was made up.
UNITS = "44451133123335243355522255212314411531225443"
ABNORMAL = "11110001000111001111100001000011100110000110"
OTHER = [3, 6, 9, 8, 0, 3, 9, 6, 1, 0, 10, 7, 10, 5, 4, 10, 0, 3, 9, 1, 4, 3]
OTHER += [6, 9, 0, 8, 7, 3, 2, 1, 6, 8, 0, 10, 2, 5, 5, 0, 10, 2, 4, 5, 8, 10]


def units():
    scores = np.stack([np.array(list(UNITS), dtype=float), np.array(OTHER, dtype=float)])
    y = np.array([c == "1" for c in ABNORMAL])
    ids = (
        ["1"] * 7 + ["2"] * 4 + ["3"] * 5 + ["4"] * 9 + ["5"] * 2 + ["6"] * 3 + ["7"] * 5 + ["8"] + ["9"] * 5
    )
    return scores, y, Patients.of([*ids, "10", "10", "10"], y.astype(np.intp))


def test_clustered_variance_as_obuchowskis_own_function_prints_it():
    """Steps of her R function (funcs_clusteredROC.R, in DIDSR/mitoticFigureCounts), run in R."""
    scores, y, patients = units()
    aucs, covariance = clustered_covariance(scores, y, patients)
    assert aucs == pytest.approx([0.8467908903, 0.5724637681], abs=5e-11)
    assert np.sqrt(np.diag(covariance)) == pytest.approx([0.04091632474, 0.06902135107], abs=5e-11)
    assert covariance[0, 1] == pytest.approx(0.001157730875, abs=5e-13)
    test = compare_aucs(*scores, y, patients, CONFIG)
    assert test.se == pytest.approx(0.06420771591, abs=5e-11)
    assert test.p_variance == pytest.approx(1.932982004e-05, rel=1e-6)
    assert test.difference.method.startswith("Obuchowski 1997")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), min_size=5, max_size=14))
def test_clustered_is_delong_with_one_row_a_patient(rows):
    one, two, positive = (np.array(column) for column in zip(*rows, strict=True))
    y = positive.astype(bool)
    if min(y.sum(), (~y).sum()) < 2:
        return
    scores = np.stack([one, two]).astype(float)
    for single, several in zip(
        delong_covariance(scores, y), clustered_covariance(scores, y, own(y)), strict=True
    ):
        assert several == pytest.approx(single, abs=1e-12)


def test_copies_of_rows_add_nothing():
    """Each patient three times over: the variance stays that of the patients, where rows would promise a third."""
    scores, y = np.stack([SCORES["s100b"], SCORES["wfns"]]), POOR
    patients = Patients.of(
        [f"{i:03d}" for i in range(113) for _ in range(3)], np.repeat(y, 3).astype(np.intp)
    )
    expected = delong_covariance(scores, y)
    found = clustered_covariance(np.repeat(scores, 3, axis=1), np.repeat(y, 3), patients)
    assert found[1] == pytest.approx(expected[1], abs=1e-15)
    figures = auc_figures(np.repeat(scores[0], 3), np.repeat(y, 3), patients, "image", CONFIG)
    assert figures.headline == "obuchowski_logit_t"
    assert "delong" not in figures.intervals
    assert figures.se == pytest.approx({"obuchowski": expected[1][0, 0] ** 0.5})
    assert (figures.auc.low, figures.auc.high) == pytest.approx((0.6301, 0.8326), abs=0.03)


def test_wins_are_counted_pair_by_pair():
    rng = np.random.default_rng(3)
    owner, y, scores = rng.integers(0, 9, 60), rng.random(60) > 0.4, rng.integers(0, 6, 60).astype(float)
    patients = Patients.of([str(i) for i in owner], y.astype(np.intp))
    naive = np.zeros((9, 9))
    for i in np.flatnonzero(y):
        for j in np.flatnonzero(~y):
            naive[owner[i], owner[j]] += (scores[i] > scores[j]) + (scores[i] == scores[j]) / 2
    rows, columns = np.unique(owner[y]), np.unique(owner[~y])
    assert intervals._wins(scores, y, patients) == pytest.approx(naive[np.ix_(rows, columns)])


def test_many_patients_are_sorted_instead_with_the_same_values(monkeypatch):
    rng = np.random.default_rng(4)
    owner, y, scores = rng.integers(0, 12, 80), rng.random(80) > 0.4, rng.integers(0, 9, 80).astype(float)
    patients = Patients.of([str(i) for i in owner], y.astype(np.intp))
    weights = np.concatenate(list(intervals.resampled_weights(patients, 50, 1)))
    weights[0] = 0
    expected = intervals.auc_statistic(scores, y, patients)(weights)
    monkeypatch.setattr(intervals, "CELLS", 100)
    found = intervals.auc_statistic(scores, y, patients)(weights)
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx(expected[1:], abs=1e-14)
    assert [len(w) for w in intervals.resampled_weights(patients, 20, 1)] == [8, 8, 4]


def test_nothing_to_draw_draws_nothing():
    """Rows that need no bootstrap must not pay for one: 10^12 draws here."""
    patients = Patients.of([f"{i:07d}" for i in range(100_000)], np.arange(100_000) % 2)
    assert intervals.clustered_bootstrap({}, patients, 10_000_000, 0) == {}


def test_ten_thousand_patients_need_no_matrix_of_their_pairs():
    rng = np.random.default_rng(2)
    y = np.arange(10_000) % 2 == 0
    one, two = (rng.normal(size=10_000) + y for _ in range(2))
    test = compare_aucs(one, two, y, None, EvaluationConfig(resamples=100))
    assert test.bootstrap.low == pytest.approx(test.difference.low, abs=0.004)
    assert test.se == pytest.approx(np.ptp([test.difference.low, test.difference.high]) / 3.92, rel=1e-3)


def simulated(rng, n_patients=40, shared=1.0):
    """Slices; half of the patients have both classes. AUC between different patients is 0.76, P(Z < 0.7063)."""
    owner = np.repeat(np.arange(n_patients), 6)
    y = (owner % 4 == 0) | ((owner % 2 == 1) & (np.arange(owner.size) % 2 == 0))
    effect = rng.normal(size=n_patients)[owner] * shared
    one, two = (
        effect + rng.normal(size=owner.size) + np.sqrt(2 * (1 + shared**2)) * 0.7063 * y for _ in "ab"
    )
    return one, two, y, Patients.of([f"{i:03d}" for i in owner], y.astype(np.intp))


def test_clustered_interval_covers_and_rows_alone_do_not():
    """Known truth: 0.76 for pairs of different patients; 0.841 for the 180 of 14,400 pairs within one."""
    rng = np.random.default_rng(5)
    values, clustered, rows, rejected = [], [], [], 0
    for _ in range(300):
        one, two, y, patients = simulated(rng)
        scores = np.stack([one, two])
        aucs, covariance = clustered_covariance(scores, y, patients)
        values.append(aucs[0])
        clustered.append(covariance[0, 0])
        rows.append(delong_covariance(scores[:1], y)[1][0, 0])
        difference = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        rejected += abs(aucs[0] - aucs[1]) > 1.96 * difference**0.5
    true = 0.76 + 180 / 14400 * (0.841 - 0.76)
    assert np.mean(values) == pytest.approx(true, abs=0.01)
    covered = np.abs(np.array(values) - true) < 1.96 * np.sqrt(clustered)
    covered_by_rows = np.abs(np.array(values) - true) < 1.96 * np.sqrt(rows)
    assert covered.mean() > 0.91
    assert covered_by_rows.mean() < 0.87
    assert np.mean(clustered) == pytest.approx(np.var(values), rel=0.25)
    assert rejected / 300 < 0.09  # both scores are equally good: 5 % expected


def test_a_score_against_itself_has_no_p():
    test = compare_aucs(SCORES["wfns"], SCORES["wfns"] * 2, POOR, None, CONFIG)
    assert (test.p, test.z, test.se, test.difference.value, test.difference.low) == (
        None,
        None,
        None,
        0,
        None,
    )
    assert test.method == "no test: both order the rows in the same way"
    assert test.bootstrap.method == "no interval: every resample of the patients agrees"


def test_a_difference_without_variance_is_tested_by_exchange():
    """Of 2**8 exchanges two are as far apart: all ranks as they are, and all swapped."""
    y = np.arange(8) >= 4
    test = compare_aucs(np.arange(8.0), -np.arange(8.0), y, None, CONFIG)
    assert (test.difference.value, test.difference.low, test.p_variance) == (1, None, None)
    assert test.p == pytest.approx(2 / 2**8, abs=0.003)
    assert "the difference has no variance" in test.method


def test_the_exchange_test_is_that_of_all_exchanges():
    """Every exchange of nine patients by hand, two of them with two rows, ties among the scores."""
    rng = np.random.default_rng(5)
    y = np.array([True, True, True, True, True, False, False, False, False, False, False])
    ids = list("aabcdeefghi")
    scores = rng.integers(0, 5, size=(2, 11)).astype(float)
    patients = Patients.of(ids, y.astype(np.intp))
    ranks = np.stack([rankdata(score) for score in scores])
    differences = []
    for swaps in product((False, True), repeat=9):
        swap = np.array(swaps)[patients.row]
        a, b = np.where(swap, ranks[1], ranks[0]), np.where(swap, ranks[0], ranks[1])
        differences.append(auc(a, y) - auc(b, y))
    found = exchange([(scores[0], y)], [(scores[1], y)], patients)
    assert found.difference == pytest.approx(differences[0])
    assert found.se == pytest.approx(np.std(differences))
    exact = np.mean(np.abs(differences) >= abs(differences[0]) - 1e-9)
    assert found.p(0) == pytest.approx(exact, abs=0.01)


def test_answers_of_folds_are_tested_with_their_larger_variance():
    y = np.arange(60) < 30
    rng = np.random.default_rng(3)
    one, two = rng.normal(y * 1.0, 1.0), rng.normal(y * 0.5, 1.0)
    ids = [f"{i:02d}" for i in range(60)]
    fixed = Patients.of(ids, y.astype(np.intp))
    folds = Patients.of(ids, y.astype(np.intp), [i % 5 for i in range(60)])
    single, several = (compare_aucs(one, two, y, who, CONFIG) for who in (fixed, folds))
    assert several.se == pytest.approx(1.5 * single.se)
    assert several.z == pytest.approx(single.z / 1.5)
    swaps = exchange([(one, y)], [(two, y)], fixed)
    assert several.p == pytest.approx(2 * norm.sf(abs(swaps.difference) / swaps.se / 1.5))
    for figure in ("difference", "bootstrap"):
        narrow, wide = getattr(single, figure), getattr(several, figure)
        assert wide.high - wide.low == pytest.approx(1.5 * (narrow.high - narrow.low))


def test_two_perfect_scores_agree_without_a_test():
    pairs, overall = compare_all(
        [np.arange(8.0), np.arange(8.0) ** 2, np.arange(8.0)], np.arange(8) >= 4, None, CONFIG
    )
    assert {test.p for test in pairs.values()} == {None}
    assert (overall.p, overall.method) == (None, "no test: the differences have no variance")


def test_a_class_of_one_patient_has_a_value_and_no_variance():
    y = np.arange(6) == 5
    test = compare_aucs(np.arange(6.0), np.array([1.0, 0, 2, 3, 5, 4]), y, None, CONFIG)
    assert test.difference.value == pytest.approx(0.2)
    assert (test.p, test.method) == (None, "no variance: a class has one patient")
    patients = Patients.of(list("aabbcc"), np.array([0, 0, 0, 0, 1, 1]))
    one = np.array([False, False, False, False, True, True])
    aucs, covariance, method = auc_covariance(np.arange(6.0)[None], one, patients)
    assert (aucs.tolist(), covariance, method) == ([1.0], None, "no variance: a class has one patient")


def test_one_class_only_has_no_value():
    test = compare_aucs(np.arange(4.0), np.arange(4.0), np.ones(4, dtype=bool), None, CONFIG)
    assert test.aucs == (None, None)
    assert (test.difference.value, test.p, test.method) == (None, None, "undefined: a class has no row")
    both = (np.arange(4.0), np.arange(4) > 1, own(np.arange(4) > 1))
    lacking = (np.arange(4.0), np.ones(4, dtype=bool), own(np.ones(4, dtype=bool)))
    assert compare_unpaired(both, lacking, CONFIG).method == "undefined: a class has no row"
    assert compare_unpaired(both, both, CONFIG).method == "no test: both order the rows in the same way"


def test_perfect_scores_keep_an_interval():
    found = auc_figures(np.arange(20.0), np.arange(20) >= 10, own(np.arange(20) >= 10), "case", CONFIG)
    assert found.headline == "newcombe"
    assert found.auc.low < 0.9
    assert found.intervals["delong"].low is None
    assert found.intervals["delong"].method == "no interval: the variance of DeLong 1988 is zero"


def calls(both, first, second, neither):
    one = np.repeat([True, True, False, False], [both, first, second, neither])
    return one, np.repeat([True, False, True, False], [both, first, second, neither])


@pytest.mark.parametrize(
    ("counts", "printed"),
    [  # Newcombe 1998, Stat Med 17:2635, method 10, as the paper's tables print them
        ((36, 12, 2, 0), (0.20, 0.0569, 0.3404)),
        ((18, 12, 2, 18), (0.20, 0.0562, 0.3290)),
        ((53, 0, 0, 1), (0.0, -0.0729, 0.0729)),
        ((0, 30, 0, 0), (1.0, 0.8395, 1.0)),
    ],
)
def test_paired_difference_against_newcombe_1998(counts, printed):
    found = paired_difference(counts)
    assert (found.value, found.low, found.high) == pytest.approx(printed, abs=1e-4)


def test_paired_difference_against_altman_2000():
    """Altman et al. 2000, Statistics with Confidence, Table 6.2: 0.122, from 0.011 to 0.226."""
    found = paired_difference((14, 5, 0, 22))
    assert (found.value, found.low, found.high) == pytest.approx((0.122, 0.011, 0.226), abs=5e-4)


@pytest.mark.parametrize(
    ("counts", "p", "mid_p"),
    [  # Fagerland, Lydersen and Laake 2013, BMC Med Res Methodol 13:91: airway hyper-responsiveness, and by hand
        ((1, 1, 7, 12), 0.0703, 0.0391),
        ((5, 2, 2, 1), 1.0, 1 - 0.375 / 2),
        ((9, 0, 0, 1), 1.0, 1.0),
    ],
)
def test_exact_mcnemar_against_print(counts, p, mid_p):
    test = exact_mcnemar(*calls(*counts))
    assert (test.p, test.mid_p) == pytest.approx((p, mid_p), abs=5e-5)
    assert (test.both, test.only_one, test.only_two, test.neither) == counts
    assert test.n == sum(counts)


def test_the_papers_readers_against_its_model():
    """Zuo 2021: readers 9/10 and 8/10, model 10/10: nothing is shown by ten cases."""
    assert exact_mcnemar(*calls(9, 0, 1, 0)).p == 1.0
    assert exact_mcnemar(*calls(8, 0, 2, 0)).p == 0.5
    assert intervals.clopper_pearson(10, 10) == pytest.approx((0.69, 1.0), abs=0.005)
    first = exact_mcnemar(*calls(9, 0, 1, 0)).difference
    assert first.low < -0.3 < first.value < 0.1 < first.high


def test_mcnemar_of_nothing_is_not_available():
    test = exact_mcnemar(*calls(0, 0, 0, 0))
    assert (test.p, test.one.value, test.difference.value) == (None, None, None)
    assert test.method == "undefined: nothing to compare"


def test_mcnemar_of_rows_that_share_patients_goes_by_patient():
    """Obuchowski 1998: the sum of the differences, and of their squares, over patients."""
    one, two = calls(20, 6, 2, 4)
    patients = Patients.of([f"{i // 2:02d}" for i in range(32)], np.zeros(32, np.intp))
    test = clustered_mcnemar(one, two, patients, CONFIG)
    gap = (one.astype(float) - two).reshape(16, 2).sum(axis=1)
    value = (4 / 32) ** 2 / (16 / 15 * (gap**2).sum() / 32**2)
    assert test.p == pytest.approx(chi2.sf(value, 1))
    assert (test.mid_p, test.method.split(",")[0]) == (None, "McNemar by patient (Obuchowski 1998)")
    assert test.difference.value == pytest.approx(4 / 32)
    assert test.difference.low < 4 / 32 < test.difference.high
    assert test.difference.method == "Zou 2007 by patient, 95 %"
    same = clustered_mcnemar(one, one, patients, CONFIG)
    assert same.p == 1.0
    assert same.difference.low <= 0 <= same.difference.high


def test_mcnemar_by_patient_is_the_uncorrected_one_for_single_rows():
    """Without clusters the statistic is (b - c)^2 / (b + c), but for n / (n - 1)."""
    one, two = calls(20, 9, 2, 4)
    test = clustered_mcnemar(one, two, own(one), CONFIG)
    assert test.p == pytest.approx(chi2.sf(7**2 / 11 * 34 / 35, 1))


def test_mcnemar_of_folds_has_their_larger_variance():
    one, two = calls(20, 9, 2, 4)
    folds = Patients.of([f"{i:02d}" for i in range(35)], np.zeros(35, np.intp), [i % 5 for i in range(35)])
    plain, several = exact_mcnemar(one, two), mcnemar(one, two, folds, CONFIG)
    assert several.p == pytest.approx(2 * norm.sf(norm.isf(plain.p / 2) / 1.5))
    assert several.difference.low < plain.difference.low < plain.difference.high < several.difference.high
    assert several.difference.n == 35


def test_confidence_widens_every_interval():
    wide = replace(CONFIG, confidence=0.99)
    for config_95, config_99 in [(CONFIG, wide)]:
        narrow = compare_aucs(SCORES["s100b"], SCORES["wfns"], POOR, None, config_95)
        wider = compare_aucs(SCORES["s100b"], SCORES["wfns"], POOR, None, config_99)
        assert wider.difference.low < narrow.difference.low
        assert wider.p == narrow.p
        assert wider.difference.method == "DeLong 1988, 99 %"


def test_a_class_of_one_patient_gives_no_interval():
    """Redrawing that patient says nothing of others like it; before, ten slices of it made a narrow interval."""
    rng = np.random.default_rng(2)
    ids = ["one"] * 10 + [f"other {i // 5}" for i in range(50)]
    y = np.arange(60) < 10
    scores = rng.normal(y * 1.0, 1.0)
    patients = Patients.of(ids, y.astype(np.intp))
    found = auc_figures(scores, y, patients, "image", CONFIG)
    for estimate in (found.auc, *found.intervals.values()):
        assert (estimate.low, estimate.high) == (None, None)
        assert "a class has one patient" in estimate.method
    test = compare_aucs(scores, rng.normal(size=60), y, patients, CONFIG)
    assert (test.p, test.bootstrap.low, test.bootstrap.method) == (
        None,
        None,
        "no interval: a class has one patient",
    )


def test_the_bootstrap_beside_a_test_can_be_left_away():
    with_it, without = (
        compare_aucs(SCORES["s100b"], SCORES["wfns"], POOR, None, CONFIG, bootstrap=asked)
        for asked in (True, False)
    )
    assert without.bootstrap.method == "not computed"
    assert without.bootstrap.low is None
    assert replace(without, bootstrap=with_it.bootstrap) == with_it

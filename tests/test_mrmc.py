"""Multi-reader analysis and kappa against what MRMCaov, RJafroc, irr and vcd print, and against construction."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import CohortError
from nephroscope.cli import run
from nephroscope.records import EvaluationConfig
from nephroscope.statistics.intervals import newcombe_auc
from nephroscope.statistics.kappa import (
    agreement_weights,
    cohen_kappa,
    compare_labels,
    compare_readers,
    estimate_fleiss,
    kappa_se,
)
from nephroscope.statistics.mrmc import against_one, analyse
from nephroscope.statistics.mrmc_design import Design, covariance_of
from reference_vandyke import N_NEGATIVE, N_POSITIVE, RATINGS

CONFIG = EvaluationConfig(resamples=200)
RANDOM, READERS_FIXED, CASES_FIXED = (
    "random_readers_random_cases",
    "fixed_readers_random_cases",
    "random_readers_fixed_cases",
)


def van_dyke(ratings=None, patient=None):
    truth = np.arange(N_NEGATIVE + N_POSITIVE) >= N_NEGATIVE
    every = np.array([[[float(c) for c in row] for row in of.values()] for of in RATINGS.values()])
    return Design(
        treatments=("1", "2"),
        readers=tuple("12345"),
        ratings=every if ratings is None else ratings(every),
        truth=truth,
        patient=np.arange(truth.size) if patient is None else patient,
    )


def table_of_van_dyke(path, leave_out=()):
    lines = ["reader,treatment,case,truth,rating"]
    for treatment, readers in RATINGS.items():
        for reader, row in readers.items():
            for case, rating in enumerate(row, start=1):
                if (reader, case, treatment) not in leave_out:
                    lines.append(f"{reader},{treatment},{case},{int(case > N_NEGATIVE)},{rating}")
    path.write_text("\n".join(lines) + "\n")
    return path


def close(value, printed):
    """Equal to all digits that are printed."""
    digits = len(re.sub(r"e.*|^-?0*\.?0*|\.", "", printed))
    return value == pytest.approx(float(printed), rel=0.51 * 10 ** (1 - digits))


# MRMCaov 0.2, user guide (jss/MRMCaov.tex), VanDyke, empirical AUC; RJafroc prints the same.
PRINTED = {
    "jackknife": {
        "reader": "0.0015349993",
        "treatment_reader": "0.0002004025",
        "error": "0.0008022883",
        "cov1": "0.0003466137",
        "cov2": "0.0003440748",
        "cov3": "0.0002390284",
        "F": ("4.456319", "15.25967", "0.05166569"),
        "difference": ("-0.04380032", "-0.0879594986", "0.0003588544"),
        "means": (("0.8970370", "0.8252236", "0.9688505"), ("0.9408374", "0.8941378", "0.9875369")),
    },
    "delong": {
        "reader": "0.0015364254",
        "treatment_reader": "0.0002045840",
        "error": "0.0007921325",
        "cov1": "0.0003420090",
        "cov2": "0.0003395265",
        "cov3": "0.0002358497",
        "F": ("4.484854", "15.06611", "0.05123303"),
        "difference": ("-0.04380032", "-0.0878671960", "0.0002665519"),
        "means": (("0.8970370", "0.8253461", "0.9687280"), ("0.9408374", "0.8942155", "0.9874592")),
    },
}


@pytest.mark.parametrize("method", ["jackknife", "delong"])
def test_van_dyke_is_what_mrmcaov_prints(method):
    printed, report = PRINTED[method], analyse(van_dyke(), covariance=method)
    parts = report.components
    assert close(parts.ms_treatment, "0.004796171")
    assert close(parts.ms_treatment_reader, "0.0005510306")
    for name in ("reader", "treatment_reader", "error", "cov1", "cov2", "cov3"):
        assert close(getattr(parts, name), printed[name]), name
    found = report.analyses[RANDOM]
    statistic, df2, p = printed["F"]
    assert close(found.test.statistic, statistic)
    assert found.test.df1 == 1
    assert close(found.test.df2, df2)
    assert close(found.test.p, p)
    difference = found.differences[0].difference
    for value, text in zip(
        (difference.value, difference.low, difference.high), printed["difference"], strict=True
    ):
        assert value == pytest.approx(float(text), abs=5e-9)
    for mean, texts in zip(found.means.values(), printed["means"], strict=True):
        assert close(mean.value, texts[0])
        assert (mean.low, mean.high) == pytest.approx(on_logit_scale(mean.value, texts[1]), abs=1e-6)


def on_logit_scale(value, low):
    """Limits on the logit scale from the value and MRMCaov's lower limit, which is on the plain one."""
    half = (value - float(low)) / (value * (1 - value))
    return tuple(1 / (1 + np.exp(-(np.log(value / (1 - value)) + np.array([-half, half])))))


def test_fixed_readers_and_fixed_cases_are_what_mrmcaov_prints():
    report = analyse(van_dyke())
    fixed = report.analyses[READERS_FIXED]
    assert close(fixed.test.statistic, "5.475953")
    assert fixed.test.df2 is None
    assert close(fixed.test.p, "0.01927984")
    assert close(fixed.differences[0].difference.low, "-0.08048591")
    assert close(fixed.differences[0].test.statistic, "-2.340075")
    for mean, texts in zip(
        fixed.means.values(), (("0.8494301", "0.9446440"), ("0.9079564", "0.9737183")), strict=True
    ):
        assert (mean.low, mean.high) == pytest.approx(on_logit_scale(mean.value, texts[0]), abs=1e-6)
    cases = report.analyses[CASES_FIXED]
    assert close(cases.test.statistic, "8.704")
    assert (cases.test.df1, cases.test.df2) == (1, 4)
    assert close(cases.test.p, "0.04195875")
    assert close(cases.differences[0].difference.low, "-0.08502022")
    first = cases.means["1"]
    assert (first.low, first.high) == pytest.approx(on_logit_scale(first.value, "0.8280981"), abs=1e-6)


def test_each_reader_is_what_mrmcaov_prints():
    report = analyse(van_dyke())
    aucs = {(cell.treatment, cell.reader): cell for cell in report.figures}
    printed = {
        ("1", "1"): ("0.9196457", "0.8606008", "0.9786907"),
        ("1", "5"): ("0.8297907", "0.7480206", "0.9115607"),
        ("2", "4"): ("0.9993559", "0.9979421", "1"),
        ("2", "5"): ("0.9299517", "0.8785961", "0.9813073"),
    }
    for cell, (value, low, _) in printed.items():
        assert close(aucs[cell].value, value)
        a = float(value)
        limits = on_logit_scale(a, low)  # and Newcombe's, as there are five levels
        newcombe = newcombe_auc(a, N_POSITIVE, N_NEGATIVE)
        assert aucs[cell].low == pytest.approx(min(limits[0], newcombe[0]), abs=1e-6)
        assert aucs[cell].high == pytest.approx(max(limits[1], newcombe[1]), abs=1e-6)
    p_values = ("0.26933885", "0.07683102", "0.56683414", "0.12901715", "0.02300099")
    for single, p in zip(report.single_readers, p_values, strict=True):
        assert close(single.test.p, p)


def test_sensitivity_is_what_mrmcaov_prints():
    """Binary rating: 3 and above; jackknife."""
    report = analyse(van_dyke(lambda ratings: (ratings >= 3).astype(float)), "sensitivity")
    parts, found = report.components, report.analyses[RANDOM]
    assert close(parts.error, "0.0023681257")
    assert close(parts.cov1, "0.0009943883")
    assert close(parts.cov2, "0.0010145903")
    assert close(parts.cov3, "0.0006604938")
    assert close(found.test.statistic, "6.689493")
    assert close(found.test.df2, "15.71732")
    assert close(found.test.p, "0.02008822")
    assert close(found.means["1"].low, "0.6961876")
    assert close(found.means["2"].low, "0.8328691")
    assert found.means["2"].high == 1.0
    assert found.means["1"].n == N_POSITIVE


def test_every_case_twice_under_its_patient_changes_nothing():
    """The unit is the patient: copies of a case say nothing new, and a jackknife over cases would think they do."""
    plain = van_dyke()
    twice = Design(
        treatments=plain.treatments,
        readers=plain.readers,
        ratings=np.concatenate([plain.ratings, plain.ratings], axis=2),
        truth=np.tile(plain.truth, 2),
        patient=np.tile(plain.patient, 2),
    )
    np.testing.assert_allclose(
        covariance_of(twice, "auc", "jackknife"), covariance_of(plain, "auc", "jackknife"), rtol=1e-9
    )
    apart = Design(
        treatments=plain.treatments,
        readers=plain.readers,
        ratings=twice.ratings,
        truth=twice.truth,
        patient=np.arange(228),
    )
    ratio = covariance_of(apart, "auc", "jackknife") / covariance_of(plain, "auc", "jackknife")
    assert np.median(ratio) == pytest.approx(0.5, abs=0.01)


def test_jackknife_of_a_patient_with_both_classes_is_that_of_leaving_the_patient_out():
    rng = np.random.default_rng(1)
    truth = np.array([True, False] * 10)
    design = Design(
        treatments=("a",),
        readers=("r", "s"),
        ratings=rng.integers(1, 6, (1, 2, 20)).astype(float),
        truth=truth,
        patient=np.repeat(np.arange(8), [3, 3, 3, 3, 2, 2, 2, 2]),
    )

    def auc(scores, kept):
        x, y = scores[kept & truth][:, None], scores[kept & ~truth][None, :]
        return ((x > y) + 0.5 * (x == y)).mean()

    left = np.array([[auc(row, design.patient != who) for row in design.ratings[0]] for who in range(8)])
    apart = left - left.mean(axis=0)
    np.testing.assert_allclose(covariance_of(design, "auc", "jackknife"), 7 / 8 * apart.T @ apart)


def test_a_model_that_rates_as_the_readers_do_is_not_told_apart_and_a_perfect_one_is():
    design = van_dyke()
    people = Design(
        treatments=("2",),
        readers=design.readers,
        ratings=design.ratings[1:],
        truth=design.truth,
        patient=design.patient,
    )
    same = against_one(people, design.ratings[1].mean(axis=0), "mean rating")
    assert same.test.p is not None
    assert same.difference.low < same.difference.value < same.difference.high
    noise = against_one(people, np.random.default_rng(0).normal(size=114), "noise")
    assert noise.test.p < 0.001
    assert noise.difference.low > 0.2
    assert "noise fixed" in noise.difference.method


def test_readers_against_a_model_are_two_treatments_of_which_one_is_the_same_for_all_readers():
    """The single-treatment analysis of differences and the analysis checked above are then one and the same."""
    design = van_dyke()
    model = np.random.default_rng(2).normal(size=114) + design.truth
    both = np.stack([design.ratings[0], np.tile(model, (5, 1))])
    twice = Design(
        treatments=("readers", "model"),
        readers=design.readers,
        ratings=both,
        truth=design.truth,
        patient=design.patient,
    )
    people = Design(
        treatments=("1",),
        readers=design.readers,
        ratings=design.ratings[:1],
        truth=design.truth,
        patient=design.patient,
    )
    expected = analyse(twice).analyses[RANDOM].differences[0]
    found = against_one(people, model, "model")
    assert found.test.p == pytest.approx(expected.test.p, rel=1e-9)
    assert found.test.df2 == pytest.approx(expected.test.df2, rel=1e-9)
    assert found.difference.low == pytest.approx(expected.difference.low, rel=1e-9)


def test_a_cross_validated_model_has_its_larger_variance_against_the_mean_of_readers():
    design, rng = van_dyke(), np.random.default_rng(3)
    people = Design(
        treatments=("1",),
        readers=design.readers,
        ratings=design.ratings[:1],
        truth=design.truth,
        patient=design.patient,
    )
    model = rng.normal(design.truth * 1.0, 1.0)
    once, folds = (against_one(people, model, "model", n_folds=n) for n in (1, 5))
    both = np.concatenate([people.ratings[0], model[None]])
    own = covariance_of(
        Design(
            treatments=("",),
            readers=(*design.readers, "model"),
            ratings=both[None],
            truth=design.truth,
            patient=design.patient,
        ),
        "auc",
        "jackknife",
    )[-1, -1]
    se = [abs(one.difference.value / one.test.statistic) for one in (once, folds)]
    assert se[1] ** 2 - se[0] ** 2 == pytest.approx(1.25 * own, rel=1e-6)
    assert folds.difference.low < once.difference.low
    assert folds.test.p > once.test.p
    assert "5 folds" in folds.test.method


def test_false_alarms_of_a_model_against_readers_are_about_as_rare_as_said():
    """Readers and model of the same true AUC: p < 0.05 in about 5 % of studies."""
    rng = np.random.default_rng(5)
    truth = np.arange(60) < 30
    alarms = []
    for _ in range(200):
        case = 1.2 * truth + rng.normal(size=60)
        ratings = case + rng.normal(size=(6, 60))
        people = Design(
            treatments=("x",),
            readers=tuple("abcde"),
            ratings=ratings[None, :5],
            truth=truth,
            patient=np.arange(60),
        )
        p = against_one(people, ratings[5], "m").test.p
        alarms.append(p < 0.05)
    assert 0.01 <= np.mean(alarms) <= 0.1


def test_perfect_readers_have_no_test_and_an_honest_interval():
    truth = np.array([True] * 5 + [False] * 5)
    ratings = np.tile(truth.astype(float), (2, 3, 1))
    design = Design(
        treatments=("a", "b"), readers=tuple("xyz"), ratings=ratings, truth=truth, patient=np.arange(10)
    )
    report = analyse(design)
    assert report.analyses[RANDOM].test.p is None
    assert "no test" in report.analyses[RANDOM].test.method
    estimate = report.figures[0]
    assert estimate.value == 1.0
    assert estimate.low < 0.9
    json.dumps(as_plain(report), allow_nan=False)


def test_classes_of_one_patient_are_refused():
    design = van_dyke(patient=np.r_[np.zeros(69, int), np.arange(1, 46)])
    with pytest.raises(CohortError, match=r"at least two patients of each class.*45 positive, 1 negative"):
        analyse(design)
    with pytest.raises(CohortError, match=r"one case per patient.*114 cases of 57 patients; use --cov"):
        analyse(van_dyke(patient=np.arange(114) // 2), covariance="delong")


def test_command_mrmc(tmp_path, capsys):
    path = table_of_van_dyke(tmp_path / "vandyke.csv")
    assert run(["statistics", "mrmc", str(path), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["test"]["statistic"] == pytest.approx(4.456319, abs=1e-6)
    assert data["test"]["p"] == pytest.approx(0.05166569, abs=1e-8)
    assert data["means"]["2"]["value"] == pytest.approx(0.9408374, abs=1e-7)
    assert data["analyses"][READERS_FIXED]["test"]["p"] == pytest.approx(0.01927984, abs=1e-8)
    assert len(data["figures"]) == 10
    assert run(["statistics", "mrmc", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "test of all treatments: F(1, 15.26) = 4.456, p = 0.0517" in shown
    docs = Path(__file__).parents[1] / "docs"
    assert run(["statistics", "mrmc", str(docs / "examples" / "ratings.csv"), "--positive", "1"]) == 0
    page = (docs / "how-to" / "statistics.md").read_text(encoding="utf-8")
    part = page.split("random readers and random cases (jackknife", 1)[1].split("```", 1)[0]
    assert part in capsys.readouterr().out, "the page shows what the command prints"
    assert (
        run(["statistics", "mrmc", str(path), "--figure", "sensitivity", "--threshold", "3", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["test"]["p"] == pytest.approx(0.02008822, abs=1e-8)


def refused(capsys, *words):
    assert run(["statistics", *map(str, words)]) == 2
    return capsys.readouterr().err


def test_command_mrmc_names_the_missing_cells(tmp_path, capsys):
    path = table_of_van_dyke(tmp_path / "v.csv", {("3", 17, "2"), ("5", 114, "1")})
    told = refused(capsys, "mrmc", path)
    assert "2 of 1140 missing: reader 5, case 114, treatment 1; reader 3, case 17, treatment 2" in told
    path.write_text(path.read_text() + "1,1,1,0,4\n")
    assert "a second one of case 1 by reader 1 with treatment 1" in refused(capsys, "mrmc", path)
    table_of_van_dyke(path)
    path.write_text(path.read_text().replace("\n1,2,1,0,", "\n1,2,1,1,"))
    assert "case 1: expected one truth of a case" in refused(capsys, "mrmc", path)
    table_of_van_dyke(path)
    assert "give the lowest rating that is called positive" in refused(
        capsys, "mrmc", path, "--figure", "accuracy"
    )
    path.write_text("reader,treatment,case,truth,rating\na,1,x,1,2\na,1,y,0,1\n")
    assert "two readers or more, found one: a; for one reader use" in refused(capsys, "mrmc", path)
    assert "--confidence: expected a number from 0.5" in refused(capsys, "mrmc", path, "--confidence", "95")
    for words in (["nan", "--figure", "accuracy"], ["3"]):
        told = refused(capsys, "mrmc", path, "--threshold", *words)
        assert (
            "--threshold: expected a number, together with --figure sensitivity, specificity or accuracy"
            in told
        )


# Fleiss 1971, Psychol Bull 76:378, table 1: 30 patients, 6 psychiatrists, 5 diagnoses.
FLEISS = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""


def test_fleiss_kappa_is_that_of_1971():
    counts = np.array([[float(c) for c in row] for row in FLEISS.split()])
    assert counts.sum(axis=0).tolist() == [26, 26, 30, 55, 43]
    estimate = estimate_fleiss(counts, [str(i) for i in range(30)], CONFIG)
    assert round(estimate.value, 3) == 0.430
    assert 0.3 < estimate.low < 0.43 < estimate.high < 0.6
    assert "jackknife over 30 patients and 4 added, t with 29 df" in estimate.method


def kappa_by_hand(counts, weights):
    """Fleiss' kappa of weighted cases, as 1971 writes it."""
    m = counts.sum(axis=1)[0]
    agreed = ((counts**2).sum(axis=1) - m) / (m * (m - 1))
    shares = weights @ counts / (weights.sum() * m)
    return (weights @ agreed / weights.sum() - (shares**2).sum()) / (1 - (shares**2).sum())


def test_interval_of_fleiss_is_the_jackknife_with_four_cases_added():
    """Two readers, two labels: one case each on which both agree, and two on which they are divided."""
    counts = np.array([[2, 0]] * 6 + [[1, 1]] * 3 + [[0, 2]] * 2, float)
    found = estimate_fleiss(counts, [*map(str, range(11))], CONFIG)
    every, weights = np.vstack([counts, [[2, 0], [0, 2], [1, 1]]]), np.r_[np.ones(13), 2]
    center = kappa_by_hand(every, weights)
    without = [kappa_by_hand(np.delete(every, i, 0), np.delete(weights, i)) for i in range(14)]
    off = np.array(without) - center
    off -= weights @ off / 15
    half = student.ppf(0.975, 10) * (14 / 15 * (off**2 / weights).sum()) ** 0.5
    assert found.value == pytest.approx(kappa_by_hand(counts, np.ones(11)))
    assert (found.low, found.high) == pytest.approx((center - half, center + half))


def test_readers_who_always_agree_have_an_interval():
    counts = np.array([[3, 0]] * 6 + [[0, 3]] * 6, float)
    found = estimate_fleiss(counts, [*map(str, range(12))], CONFIG)
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.3 < found.low < 0.9


def test_cohen_kappa_is_what_vcd_prints():
    """SexualFun of the R package vcd 1.4-11: Kappa(), unweighted, Equal-Spacing and Fleiss-Cohen."""
    table = np.array([[7, 7, 2, 3], [2, 8, 3, 7], [1, 5, 4, 9], [2, 8, 9, 14]], float)
    printed = {
        "none": ("0.12933025", "0.068598532"),
        "linear": ("0.23738063", "0.078316335"),
        "quadratic": ("0.33204559", "0.097297522"),
    }
    for kind, (value, se) in printed.items():
        weights = agreement_weights(4, kind)
        assert close(float(cohen_kappa(table[None], weights)[0]), value), kind
        assert close(kappa_se(table, weights), se), kind


def test_weighted_kappa_counts_a_near_miss(tmp_path, capsys):
    one, two = list("1234512345"), list("2345112345")
    plain = compare_labels(one, two, one_each(10), CONFIG)
    weighted = compare_labels(one, two, one_each(10), CONFIG, tuple("12345"), "linear")
    assert weighted.kappa.value > plain.kappa.value


def one_each(n):
    return [f"p{i}" for i in range(n)]


def test_kappa_leaves_out_cases_without_a_call_and_says_so():
    readings = {
        "a": dict(zip("uvwx", "1122", strict=True)),
        "b": {"u": "1", "v": "2", "w": "2"},
        "c": {"u": "1"},
    }
    report = compare_readers(readings, {case: case for case in "uvwx"}, CONFIG)
    assert report.n_incomplete == 3
    assert report.fleiss.value is None
    assert report.fleiss.method == "undefined: every reader gives one and the same label to every case"
    assert [pair.kappa.n for pair in report.pairs] == [3, 1, 1]


def test_kappa_takes_na_for_no_call(tmp_path, capsys):
    """As R writes it: not a category of its own."""
    path = tmp_path / "raters.csv"
    path.write_text("case,r1,r2\na,1,1\nb,0,0\nc,1,0\nd,NA,1\ne,0,NA\n")
    assert (
        run(["statistics", "kappa", str(path), "--columns", "r1", "r2", "--resamples", "100", "--json"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert (found["pairs"][0]["labels"], found["n_incomplete"]) == (["0", "1"], 2)
    assert found["pairs"][0]["kappa"]["value"] == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))


def test_a_call_in_two_spellings_is_refused(tmp_path, capsys):
    path = tmp_path / "raters.csv"
    path.write_text("case,r1,r2\na,ChRCC,chrcc\nb,PRCC,PRCC\n")
    told = refused(capsys, "kappa", path, "--columns", "r1", "r2")
    assert "row 2: expected a call written in one way (ChRCC, as in another row), found chrcc" in told


def test_not_sure_is_no_call_unless_the_order_has_it(tmp_path, capsys):
    """As `nephroscope readers` has it: left out, and counted."""
    path = tmp_path / "raters.csv"
    path.write_text("case,r1,r2\na,1,1\nb,0,0\nc,1,0\nd,Not sure,1\ne,0,?\n")
    ask = ["statistics", "kappa", str(path), "--columns", "r1", "r2", "--resamples", "100", "--json"]
    assert run(ask) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["labels"], found["n_incomplete"], found["n_not_sure"]) == (["0", "1"], 2, 2)
    assert found["pairs"][0]["kappa"]["value"] == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))
    assert found["fleiss"]["method"].endswith('; 2 answers of "not sure" left out, as no call')
    assert run([*ask, "--weights", "linear"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == ["0", "1"]
    assert run([*ask, "--order", "0", "Not sure", "?", "1"]) == 0
    asked = json.loads(capsys.readouterr().out)
    assert (asked["n_incomplete"], asked["n_not_sure"], asked["pairs"][0]["kappa"]["n"]) == (0, 0, 5)


def test_command_kappa_long_and_wide(tmp_path, capsys):
    one, two = "AABBAABBAB", "AABBABBBAB"
    wide = tmp_path / "wide.csv"
    wide.write_text(
        "case,first,second\n"
        + "".join(f"{i},{a},{b}\n" for i, (a, b) in enumerate(zip(one, two, strict=True)))
    )
    assert run(["statistics", "kappa", str(wide), "--columns", "first", "second", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    long = tmp_path / "long.csv"
    rows = [(i, r, c) for r, calls in (("first", one), ("second", two)) for i, c in enumerate(calls)]
    long.write_text("case,reader,call\n" + "".join(f"{i},{r},{c}\n" for i, r, c in rows))
    assert run(["statistics", "kappa", str(long), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == data
    assert data["pairs"][0]["kappa"]["value"] == pytest.approx(0.8)
    assert run(["statistics", "kappa", str(long)]) == 0
    assert "Fleiss' kappa of 2 readers" in capsys.readouterr().out


def test_command_kappa_refuses(tmp_path, capsys):
    path = tmp_path / "k.csv"
    path.write_text("case,reader,call\n1,a,low\n1,b,high\n1,b,low\n")
    assert "row 4: expected one call of case 1 by reader b" in refused(capsys, "kappa", path)
    path.write_text("case,reader,call\n1,a,low\n1,b,high\n")
    told = refused(capsys, "kappa", path, "--weights", "linear")
    assert "--order: expected every call from lowest to highest, for linear weights" in told
    assert "also has high" in refused(capsys, "kappa", path, "--weights", "linear", "--order", "low")
    twice = refused(capsys, "kappa", path, "--weights", "linear", "--order", "low", "low", "high")
    assert "--order: expected every call once, found low low high" in twice
    for calls, told in (("nan inf 1 2", "inf"), ("1 2 1.0 3", "1, 1.0")):
        rows = [f"{i},{r},{call}" for i, call in enumerate(calls.split()) for r in "ab"]
        path.write_text("\n".join(["case,reader,call", *rows]) + "\n")
        words = f"found nothing, and calls that are no numbers, or one number twice: {told};"
        assert words in refused(capsys, "kappa", path, "--weights", "quadratic")
    path.write_text("case,reader,call\n1,Dr. A,low\n2,dr a,low\n1,b,low\n")
    assert "row 3: expected a reader written in one way (Dr. A, in row 2), found dr a" in refused(
        capsys, "kappa", path
    )
    path.write_text("case,reader,call\n1,a,low\n")
    assert "two readers or more, found 1" in refused(capsys, "kappa", path)
    path.write_text("case,patient,reader,call\n1,p,a,low\n1,q,b,low\n")
    assert "case 1: expected one patient of a case" in refused(capsys, "kappa", path)

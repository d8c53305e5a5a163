import csv
import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import CohortError
from nephroscope.base.tables import read_table, save_table
from nephroscope.clinic.call import decide, forced_call, mean_over_slices
from nephroscope.questions.evaluation.evaluate import (
    RunFacts,
    build_report,
    document_of,
    evaluate_predictions,
    predictions_to_csv,
    slices_to_csv,
)
from nephroscope.records import Answer, EvaluationConfig, OperatingPoint, SlicePrediction
from nephroscope.statistics import metrics
from nephroscope.statistics.estimates import Rows, pairwise_areas
from nephroscope.statistics.intervals import Patients, wilson
from nephroscope.statistics.placements import hand_till

TWO = ("PRCC", "ChRCC")
THREE = ("PRCC", "ChRCC", "ccRCC")
HALF = OperatingPoint(threshold=0.5, criterion="fixed", chosen_on="before any data")
CONFIG = EvaluationConfig(resamples=200)


def predict(case_id, truth, rows, subtypes=TWO, **more):
    """A case from the probabilities of its slices; a single number is that of the first of two subtypes."""
    rows = [row if isinstance(row, tuple) else (row, 1 - row) for row in rows]
    slices = tuple(SlicePrediction(slice_index=i, probabilities=row) for i, row in enumerate(rows))
    mean = mean_over_slices(slices)
    call, reason = decide(mean, subtypes, subtypes[0], HALF, CONFIG.not_sure_margin)
    return Answer(
        **{"patient_id": f"patient-{case_id}", "group": "out-of-fold"} | more,
        case_id=case_id,
        probabilities=dict(zip(subtypes, mean, strict=True)),
        slices=slices,
        forced_call=forced_call(mean, subtypes, subtypes[0], HALF),
        call=call,
        reason=reason,
        truth=truth,
    )


def cohort(n=12, seed=0, subtypes=TWO):
    rng = np.random.default_rng(seed)
    cases = []
    for i in range(n):
        at = i % len(subtypes)
        logits = rng.normal(size=(4, len(subtypes))) * 0.3 + rng.normal(size=len(subtypes))
        logits[:, at] += 1.2
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        cases.append(predict(f"case-{i:02d}", subtypes[at], [tuple(map(float, row)) for row in p], subtypes))
    return cases


def evaluate(cases, subtypes=TWO, points=(HALF,)):
    return evaluate_predictions(cases, "out-of-fold", subtypes, subtypes[0], points, CONFIG)


def facts(**more):
    given = {
        "run": "run-1",
        "model": "mobilenet_v2",
        "subtypes": TWO,
        "positive": "PRCC",
        "protocol": "patient",
        "operating_points": (HALF,),
        "cohort_digest": "c0",
        "run_digest": "r0",
        "synthetic": False,
        "converged": True,
    }
    return RunFacts(**given | more)


def all_estimates(group):
    return [(n, e) for part in (group.image, group.case, group.majority) for n, e in part.items()]


def test_figures_of_four_cases_by_hand():
    cases = [
        predict("a", "PRCC", [0.9, 0.8]),
        predict("b", "PRCC", [0.3, 0.4, 0.2]),  # missed
        predict("c", "ChRCC", [0.1, 0.2]),
        predict("d", "ChRCC", [0.45]),  # right, but not sure
    ]
    group = evaluate(cases)
    values = {name: e.value for name, e in group.case.items()}
    assert values == {
        "accuracy": 0.75,
        "sensitivity": 0.5,
        "specificity": 1.0,
        "precision": 1.0,
        "coverage": 0.75,
        "accuracy_when_sure": pytest.approx(2 / 3),
        "auc": 0.75,
    }
    assert group.image["accuracy"].value == 5 / 8
    assert group.image["sensitivity"].n == 5
    assert group.majority["accuracy"].value == 0.75
    assert group.confusion_case == ((1, 1), (0, 2))
    assert group.confusion_image == ((2, 3), (0, 3))
    assert group.n_patients == 4


def test_every_figure_has_interval_unit_n_and_method():
    group = evaluate(cohort())
    for name, e in all_estimates(group):
        assert e.low <= e.value <= e.high, name
        assert e.n > 0
        assert e.method
    assert {e.unit for e in group.image.values()} == {"image"}
    assert {e.unit for e in (group.case | group.majority).values()} == {"case"}
    assert group.image["accuracy"].method.startswith("Korn and Graubard 1998, 12 patients")
    assert group.image["sensitivity"].method.startswith("Korn and Graubard 1998, 6 patients")
    assert group.image["auc"].n == 48
    assert group.case["accuracy"].method == "Clopper-Pearson, as there are few cases, 95 %"
    assert group.case["auc"].method.startswith("DeLong on the logit scale")
    assert group.case["auc"].n == group.case["coverage"].n == 12
    assert group.case["sensitivity"].n == 6


def test_accuracy_of_one_answer_for_all_is_as_uncertain_as_the_share_of_that_class():
    """Its slices differ in number between patients, so redraws differ; with class sizes held they hardly would."""
    cases = [predict(f"c{i:02}", TWO[i % 2], [0.9] * (5 + i % 3)) for i in range(24)]
    e = evaluate(cases).image["accuracy"]
    low, high = wilson(12, 24, 0.95)
    assert abs(e.value - 0.5) < 0.02
    assert e.low == pytest.approx(low, abs=0.08)
    assert e.high == pytest.approx(high, abs=0.08)


def test_two_tumors_of_a_patient_are_not_two_patients():
    cases = cohort()
    cases[2] = replace(cases[2], patient_id=cases[0].patient_id)
    group = evaluate(cases)
    assert group.n_patients == 11
    assert group.case["accuracy"].method.startswith("Korn and Graubard 1998, 11 patients")
    assert group.case["auc"].method.startswith("Obuchowski 1997 on the logit scale")


def test_figures_of_folds_have_their_larger_variance():
    """The same answers by one fit and by three: 1 + 3 / 2 times the variance of every figure."""
    cases = cohort(30)
    one = evaluate(cases)
    several = evaluate([replace(c, fold=i % 3) for i, c in enumerate(cases)], points=(HALF, HALF, HALF))
    for name in ("auc", "accuracy", "sensitivity", "precision"):
        for part in ("image", "case"):
            narrow, wide = getattr(one, part)[name], getattr(several, part)[name]
            assert wide.value == narrow.value
            assert wide.low < narrow.low < narrow.high < wide.high
            assert "3 folds" in wide.method
    k, n = 2 * one.case["accuracy"].value * 15, 30
    low, high = wilson(k / 2.5, n / 2.5, 0.95)
    assert (several.case["accuracy"].low, several.case["accuracy"].high) == pytest.approx((low, high))


def test_all_right_is_not_certain():
    cases = [predict(f"{i}", TWO[i % 2], [0.9 if i % 2 == 0 else 0.1] * 20) for i in range(10)]
    group = evaluate(cases)
    image = group.image["accuracy"]
    assert (image.value, image.high, image.n) == (1, 1, 200)
    assert image.low == pytest.approx(0.025 ** (1 / 10))  # exact, of ten patients, not 200 images
    assert image.method == "Korn and Graubard 1998, 10 patients worth 10.0 rows, 95 %"
    assert group.image["auc"].low == pytest.approx(group.case["auc"].low)
    assert "Newcombe" in group.image["auc"].method


def test_one_class_only_is_undefined_and_says_why():
    group = evaluate([predict("a", "PRCC", [0.9]), predict("b", "PRCC", [0.8])])
    assert str(group.case["auc"]) == "not available (undefined: a class has no case)"
    assert str(group.image["specificity"]) == "not available (undefined: all are PRCC)"
    assert group.case["specificity"].value is None
    assert group.case["sensitivity"].value == 1
    unsure = evaluate([predict("a", "PRCC", [0.5]), predict("b", "ChRCC", [0.5])])
    assert unsure.case["accuracy_when_sure"].method == "undefined: no case has a call"
    assert unsure.case["coverage"].value == 0


def test_images_are_called_by_the_threshold_of_their_fold():
    low = replace(HALF, threshold=0.2)
    cases = [predict("a", "PRCC", [0.3], fold=0), predict("b", "PRCC", [0.3], fold=1)]
    assert evaluate(cases, points=(HALF, low)).image["sensitivity"].value == 0.5
    assert evaluate(cases, points=(low, low)).majority["sensitivity"].value == 1


def test_three_subtypes():
    cases = cohort(18, subtypes=THREE)
    group = evaluate(cases, THREE)
    names = {"accuracy", "sensitivity", "specificity", "precision", "auc", "auc_macro"}
    for kind in ("auc", "sensitivity", "specificity", "precision"):
        names |= {f"{kind}_{s}" for s in THREE}
    assert set(group.image) == names
    pairs = {f"auc_pairs_{a}_{b}" for a, b in combinations(THREE, 2)}
    assert set(group.case) == names | pairs | {"auc_pairs", "coverage", "accuracy_when_sure"}
    shares = group.confusion_shares[1]
    assert [e.value for e in shares] == [n / 6 for n in group.confusion_case[1]]
    assert all(e.low <= e.value <= e.high and e.n == 6 for e in shares)
    each = [group.case[f"auc_{s}"].value for s in THREE]
    assert group.case["auc"] == group.case["auc_macro"]
    assert group.case["auc"].value == pytest.approx(np.mean(each))
    assert "mean of 3 areas" in group.case["auc"].method
    assert "DeLong" in group.case["auc_ccRCC"].method
    p, truth = [c.probabilities["ccRCC"] for c in cases], [c.truth == "ccRCC" for c in cases]
    assert each[2] == metrics.auc(np.array(p), np.array(truth))
    assert np.sum(group.confusion_case) == 18


def by_hand(p, truth, a, b):
    """Hand and Till 2001, equation 4: chance that a row of a has more probability of a than one of b, both ways."""
    sides = [(p[truth == x][:, x], p[truth == y][:, x]) for x, y in ((a, b), (b, a))]
    return np.mean([np.mean((u[:, None] > v) + 0.5 * (u[:, None] == v)) for u, v in sides])


def test_pairs_of_subtypes_are_hand_and_tills():
    rng = np.random.default_rng(4)
    truth = np.repeat([0, 1, 2, 3], [9, 14, 20, 7])
    p = rng.dirichlet(np.ones(4), 50) + 0.3 * np.eye(4)[truth]
    patients = Patients.of([f"{i:02d}" for i in range(50)], truth)
    rows = Rows(unit="case", truth=truth, called=p.argmax(1), p=p, patients=patients)
    found = pairwise_areas(rows, "ABCD", CONFIG)
    pairs = {(a, b): by_hand(p, truth, a, b) for a, b in combinations(range(4), 2)}
    for (a, b), value in pairs.items():
        one = found[f"auc_pairs_{'ABCD'[a]}_{'ABCD'[b]}"]
        assert one.value == pytest.approx(value)
        assert one.n == np.isin(truth, (a, b)).sum()
        assert one.low < value < one.high
    assert found["auc_pairs"].value == pytest.approx(np.mean(list(pairs.values())))
    widths = [found[name].high - found[name].low for name in found]
    assert widths[0] < min(widths[1:])
    none = pairwise_areas(replace(rows, truth=np.minimum(truth, 2)), "ABCD", CONFIG)
    assert none["auc_pairs"].value is none["auc_pairs_A_D"].value is None
    assert none["auc_pairs_A_B"].value == pytest.approx(pairs[0, 1])


def test_the_mean_over_pairs_holds():
    """The interval holds the true mean in 34 or more of 40 studies of four subtypes."""
    rng = np.random.default_rng(8)

    def study(n):
        truth = np.arange(4 * n) % 4
        return np.asarray(rng.normal(1.2 * np.eye(4)[truth])), truth

    big, of_big = study(2000)
    true = np.mean([by_hand(big, of_big, a, b) for a, b in combinations(range(4), 2)])
    held = 0
    for _ in range(40):
        p, truth = study(10)
        value, found = hand_till(p, truth, Patients.of([f"{i:03d}" for i in range(40)], truth), 0.95)
        held += found.low <= true <= found.high
        assert found.low < value < found.high
    assert held >= 34


def test_a_missing_third_subtype_makes_the_macro_undefined():
    group = evaluate([c for c in cohort(12, subtypes=THREE) if c.truth != "ccRCC"], THREE)
    assert group.image["auc"].value is None
    assert group.image["auc_ccRCC"].value is None
    assert group.image["auc_PRCC"].value is not None


def test_figures_do_not_depend_on_the_order_of_cases():
    cases = cohort()
    assert evaluate(cases).majority == evaluate(cases[::-1]).majority
    forward, backward = evaluate(cases).image["auc"], evaluate(cases[::-1]).image["auc"]
    assert forward.value == pytest.approx(backward.value)
    assert forward.low == pytest.approx(backward.low)


def test_a_case_twice_in_a_test_set_is_refused():
    cases = cohort()
    with pytest.raises(CohortError, match="case case-00: expected one prediction per case, found 2"):
        evaluate([*cases, cases[0]])


def test_no_truth_at_all_is_refused():
    cases = [replace(c, truth=None) for c in cohort(2)]
    with pytest.raises(
        CohortError, match="expected test cases with a known subtype, found 2 predictions, none"
    ):
        build_report(facts(), cases, CONFIG)


def test_test_sets_are_kept_apart_and_unlabelled_cases_only_listed():
    cases = cohort()
    external = [replace(c, group="external-test:B") for c in cohort(6, seed=1)]
    unknown = replace(cohort(1, seed=2)[0], truth=None, case_id="unknown")
    report = build_report(facts(), [*cases, *external, unknown], CONFIG)
    assert [g.name for g in report.groups] == ["out-of-fold", "external-test:B"]
    assert [g.case["auc"].n for g in report.groups] == [12, 6]
    assert len(report.predictions) == 19


def test_json_has_the_primary_group_on_top():
    found = json.loads(
        json.dumps(as_plain(document_of(build_report(facts(), cohort(), CONFIG))), allow_nan=False)
    )
    wanted = {
        "subtypes",
        "positive",
        "protocol",
        "leaky",
        "synthetic",
        "run",
        "model",
        "converged",
        "image",
        "case",
    }
    assert wanted <= found.keys()
    assert set(found["case"]["auc"]) == {"value", "low", "high", "n", "unit", "method"}
    assert found["case"] == found["groups"]["out-of-fold"]["case"]
    assert found["confusion"]["case"] == found["groups"]["out-of-fold"]["confusion"]["case"]
    assert found["leaky"] is False
    assert "LEAKY" not in json.dumps(found)


def test_leaky_stands_in_every_figure():
    found = as_plain(document_of(build_report(facts(protocol="image"), cohort(), CONFIG)))
    assert found["leaky"] is True
    assert found["warning"].startswith("LEAKY")
    for part in ("image", "case", "majority"):
        assert all(e["method"].startswith("LEAKY split by image; ") for e in found[part].values())


def test_a_run_that_did_not_converge_gets_no_numbers():
    group = build_report(facts(converged=False), cohort(), CONFIG).groups[0]
    assert {str(e) for _, e in all_estimates(group)} == {"not available (did not converge)"}
    assert group.confusion_case == group.confusion_image == ()


def test_what_a_spreadsheet_would_run_is_guarded(tmp_path):
    predictions_to_csv([predict("=1+1", "PRCC", [0.9])], tmp_path / "predictions.csv", TWO)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["case_id"] == "'=1+1"


def test_the_guard_is_undone_when_a_table_is_read(tmp_path):
    cells = ["=1+1", "'=1+1", "''=1+1", "'x", "-1.5", "@a", "+b", "-c", "plain"]
    save_table(tmp_path / "t.csv", ["=name", *cells[1:]], [cells])
    text = (tmp_path / "t.csv").read_text(encoding="utf-8")
    assert not any(
        cell.startswith(("=", "@", "+b", "-c")) for line in text.splitlines() for cell in line.split(",")
    )
    header, ((_, row),) = read_table(tmp_path / "t.csv")
    assert header == ["=name", *cells[1:]]
    assert row == cells


def test_csv_of_cases_and_slices(tmp_path):
    cases = [predict("a", "PRCC", [0.9, 0.8]), predict("b", None, [0.52])]
    predictions_to_csv(cases, tmp_path / "predictions.csv", TWO)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first == {
        "case_id": "a",
        "patient_id": "patient-a",
        "group": "out-of-fold",
        "fold": "0",
        "truth": "PRCC",
        "call": "PRCC",
        "forced_call": "PRCC",
        "reason": "probability of PRCC 0.85 is 0.35 from the threshold 0.50",
        "p_PRCC": "0.850000",
        "p_ChRCC": "0.150000",
        "n_slices": "2",
        "protocol": "patient",
    }
    assert (second["truth"], second["call"], second["forced_call"]) == ("", "", "PRCC")
    slices_to_csv(cases, tmp_path / "slices.csv", TWO, "image")
    lines = (tmp_path / "slices.csv").read_text().splitlines()
    assert lines[0] == "case_id,slice_index,area_mm2,p_PRCC,p_ChRCC,protocol"
    assert lines[1] == "a,0,0.0,0.900000,0.100000,LEAKY split by image"
    assert len(lines) == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["predictions.csv", "slices.csv"]

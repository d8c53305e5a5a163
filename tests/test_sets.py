"""Sets of possible subtypes: what the limits rest on, how often they hold the truth, and who is refused."""

import numpy as np
import pytest

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import BundleError
from nephroscope.clinic.bundle import open_bundle
from nephroscope.clinic.predict import predict
from nephroscope.clinic.sets import ConformalSets, calibrate_sets
from nephroscope.questions.evaluation.sets import set_figures
from nephroscope.records import Answer, EvaluationConfig, RunFacts
from nephroscope.report.study.sections.sets import lead, set_table
from test_facts import case
from tiny_bundle import content_of, make_bundle, write_content

TWO = ("PRCC", "ChRCC")


def rows(of_prcc, of_chrcc):
    """Probabilities and truth of cases whose probability of their own subtype is given."""
    p = [{"PRCC": x, "ChRCC": 1 - x} for x in of_prcc] + [{"PRCC": 1 - x, "ChRCC": x} for x in of_chrcc]
    return p, ["PRCC"] * len(of_prcc) + ["ChRCC"] * len(of_chrcc)


def test_a_limit_is_the_probability_that_nine_tenths_of_a_subtype_reach():
    p, truth = rows([i / 20 for i in range(1, 20)], [0.9] * 9)
    found = calibrate_sets(p, truth, [f"p{i}" for i in range(len(p))], TWO)
    assert found.least == {
        "PRCC": 2 / 20,
        "ChRCC": 0.9,
    }  # floor(20 x 0.1) = 2nd lowest; floor(10 x 0.1) = lowest
    assert found.n_patients == {"PRCC": 19, "ChRCC": 9}
    assert found.of({"PRCC": 0.5, "ChRCC": 0.5}).subtypes == ("PRCC",)
    assert found.of({"PRCC": 0.05, "ChRCC": 0.95}).subtypes == ("ChRCC",)
    assert found.of({"PRCC": 0.1, "ChRCC": 0.9}).subtypes == TWO
    assert found.of({"PRCC": 0.08, "ChRCC": 0.8}).subtypes == ()
    assert "9 ChRCC" in found.of({"PRCC": 0.08, "ChRCC": 0.8}).words


def test_fewer_than_nine_patients_of_a_subtype_are_refused():
    p, truth = rows([0.8] * 9, [0.8] * 10)
    patients = [f"p{i}" for i in range(17)] + ["p16", "p16"]  # three tumors of one patient
    assert "8 of ChRCC" in calibrate_sets(p, truth, patients, TWO)
    assert isinstance(calibrate_sets(p, truth, [f"p{i}" for i in range(19)], TWO), ConformalSets)


def answers(n, seed=0, n_folds=4):
    """Of each subtype n cases whose logit lies an SD on its side of zero."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(2 * n):
        p = 1 / (1 + np.exp(-(rng.normal() + (1.0 if i % 2 == 0 else -1.0))))
        call = "PRCC" if p >= 0.5 else "ChRCC"
        found.append(
            Answer(
                case_id=f"c{i}",
                patient_id=f"p{i}",
                probabilities={"PRCC": p, "ChRCC": 1 - p},
                slices=(),
                forced_call=call,
                call=call,
                reason="",
                truth=TWO[i % 2],
                group="out-of-fold",
                fold=i // 2 % n_folds,
            )
        )
    return found


def facts(**changes):
    known = {"run": "r", "model": "m", "subtypes": TWO, "positive": "PRCC", "protocol": "patient"}
    more = {
        "operating_points": (),
        "cohort_digest": "",
        "run_digest": "",
        "synthetic": True,
        "converged": True,
    }
    return RunFacts(**{**known, **more, **changes})


def test_coverage_by_fold_comes_from_limits_of_the_other_folds():
    found = set_figures(facts(), answers(100), EvaluationConfig(resamples=200))
    assert [one.name for one in found.checked] == ["all", "fold 0", "fold 1", "fold 2", "fold 3"]
    whole = found.checked[0]
    for name in ("coverage", "coverage_PRCC", "coverage_ChRCC"):
        assert 0.84 < whole.coverage[name].value < 0.97
    assert sum(e.value for e in whole.sizes.values()) == pytest.approx(1.0)
    assert found.n_patients == {"PRCC": 100, "ChRCC": 100}
    assert len(set_table(found, TWO).rows) == 5
    assert "100 patients" in lead(found)


def test_few_cases_or_a_leaky_run_have_no_sets():
    config = EvaluationConfig(resamples=200)
    assert "8 of PRCC" in set_figures(facts(), answers(8), config).why_not
    assert set_figures(facts(protocol="image"), answers(20), config).why_not
    assert set_figures(facts(), answers(9), config).checked == ()  # no fold has enough of the others


def test_a_bundle_says_what_is_possible(tmp_path):
    sets = ConformalSets(
        confidence=0.9, least={"PRCC": 0.3, "ChRCC": 0.3}, n_patients={"PRCC": 20, "ChRCC": 9}
    )
    folder = make_bundle(tmp_path / "bundle", sets=as_plain(sets))
    found = predict(open_bundle(folder), *case())[0]
    assert found.possible.subtypes == tuple(s for s, p in found.probabilities.items() if p >= 0.3)
    assert found.possible.n_patients == {"PRCC": 20, "ChRCC": 9}
    content = content_of(folder)
    content["sets"]["n_patients"]["PRCC"] = 8
    write_content(folder, content)
    with pytest.raises(BundleError, match="sets"):
        open_bundle(folder)

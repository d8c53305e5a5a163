"""Two linked questions: is it clear cell, and if not, which of the others."""

import json
from types import SimpleNamespace

import pytest

from nephroscope.base.errors import ConfigError
from nephroscope.cli import run
from nephroscope.clinic.linked import check_linked, link
from nephroscope.intake.labels.pathology import load_pathology, match_subtype
from nephroscope.intake.phantom import SUBTYPES
from nephroscope.questions.evaluation.linked import evaluate_linked
from nephroscope.records import Answer, EvaluationConfig
from tiny_bundle import make_bundle

CONFIG = EvaluationConfig()


def answer(case_id, truth, p, call="forced", fold=0):
    """A case of one slice; ``call`` "forced" is the most likely subtype."""
    forced = max(p, key=p.get)
    return Answer(
        case_id=case_id,
        patient_id=f"of-{case_id}",
        probabilities=p,
        slices=(),
        forced_call=forced,
        call=forced if call == "forced" else call,
        reason=f"{forced} is most likely",
        truth=truth,
        group="out-of-fold",
        fold=fold,
    )


def clear(p):
    return {"ccRCC": p, "other": 1 - p}


def of_others(p):
    return {"PRCC": p, "ChRCC": 1 - p}


def test_probabilities_of_both_questions_are_multiplied():
    both = link(answer("a", None, clear(0.3)), answer("a", None, of_others(0.8)), "ccRCC")
    assert both.probabilities == pytest.approx({"ccRCC": 0.3, "PRCC": 0.56, "ChRCC": 0.14})
    assert sum(both.probabilities.values()) == pytest.approx(1)
    assert (both.call, both.forced_call) == ("PRCC", "PRCC")
    assert both.reason == "question 'which of the others': PRCC is most likely"


@pytest.mark.parametrize(
    ("first", "second", "call", "forced"),
    [
        (("forced", 0.9), (None, 0.8), "ccRCC", "ccRCC"),  # the second question is not asked
        ((None, 0.9), ("forced", 0.8), None, "ccRCC"),
        ((None, 0.3), ("forced", 0.8), None, "PRCC"),
        (("forced", 0.3), (None, 0.8), None, "PRCC"),
    ],
)
def test_not_sure_of_the_question_that_decides(first, second, call, forced):
    one = answer("a", None, clear(first[1]), first[0])
    both = link(one, answer("a", None, of_others(second[1]), second[0]), "ccRCC")
    assert (both.call, both.forced_call) == (call, forced)


def test_questions_that_do_not_follow_each_other_are_refused():
    for first, second in ((["ccRCC", "PRCC", "x"], ["ChRCC"]), (["ccRCC", "other"], ["ccRCC", "PRCC"])):
        with pytest.raises(ConfigError, match="--then: expected a first question of two subtypes"):
            check_linked(first, "ccRCC", second)


def report(subtypes, predictions):
    return SimpleNamespace(subtypes=subtypes, positive=subtypes[0], predictions=predictions, synthetic=True)


def test_both_questions_on_held_out_cases():
    first = [
        answer("a", "ccRCC", clear(0.9)),
        answer("b", "ccRCC", clear(0.2), fold=1),  # wrong, whatever the second would say
        answer("c", "other", clear(0.2), fold=1),
        answer("d", "other", clear(0.1)),
        answer("e", "other", clear(0.8)),
        answer("f", "other", clear(0.3)),  # the second run does not have it
    ]
    second = [
        answer("c", "PRCC", of_others(0.9), fold=0),
        answer("d", "ChRCC", of_others(0.7), fold=1),
        answer("e", "PRCC", of_others(0.9), fold=2),
    ]
    found = evaluate_linked(report(("ccRCC", "other"), first), report(("PRCC", "ChRCC"), second), CONFIG)
    assert found.subtypes == ("ccRCC", "PRCC", "ChRCC")
    assert (found.n_cases, found.n_left_out) == (5, 1)
    assert found.figures["accuracy"].value == 2 / 5
    assert [found.figures[f"sensitivity_{s}"].value for s in found.subtypes] == [0.5, 0.5, 0.0]
    assert found.figures["auc_ccRCC"].value == 4.5 / 6
    # c: 0.8 * 0.9, e: 0.2 * 0.9, d: 0.9 * 0.3 of PRCC, and of ChRCC 0.8 * 0.1, 0.2 * 0.1, 0.9 * 0.7
    assert found.figures["auc_PRCC"].value == 1 / 2
    assert found.figures["auc_ChRCC"].value == 1.0
    assert found.figures["auc_PRCC"].n == 3
    assert found.confusion == ((1, 0, 0, 1), (1, 1, 0, 0), (0, 1, 0, 0))
    assert "cross-validated in 3 folds" in found.figures["accuracy"].method
    with pytest.raises(ConfigError, match="--then: expected cases that both runs answered"):
        evaluate_linked(report(("ccRCC", "other"), first[5:]), report(("PRCC", "ChRCC"), second), CONFIG)


def test_a_study_of_merged_subtypes(tmp_path, capsys):
    ask = ["new", str(tmp_path / "first"), "--subtypes", "ccRCC", "other", "--merge", "other"]
    assert run([*ask, "PRCC", "ChRCC", "oncocytoma", "AML of our own"]) == 0
    table = load_pathology(tmp_path / "first")
    texts = {
        "papillary renal cell carcinoma": "other",
        "Chromophobe RCC": "other",
        "oncocytoma": "other",
        "AML of our own": "other",
        "clear cell renal cell carcinoma": "ccRCC",
        "urothelial carcinoma": None,
    }
    for text, subtype in texts.items():
        assert match_subtype(text, ("ccRCC", "other"), table) == subtype, text
    assert all(match_subtype(phantom, ("ccRCC", "other"), table) for phantom in SUBTYPES)
    for bad in (["nothing", "PRCC"], ["other"], ["other", "ccRCC"]):
        asked = ["new", str(tmp_path / "bad"), "--subtypes", "ccRCC", "other", "--merge", *bad]
        assert run(asked) == 2
        assert "--merge: expected a subtype of the study" in capsys.readouterr().err
        assert not (tmp_path / "bad").exists()


def test_nothing_is_written_where_questions_do_not_follow(tmp_path, capsys):
    one, two = make_bundle(tmp_path / "one"), make_bundle(tmp_path / "two")
    picture = tmp_path / "a.png"
    argv = ["predict", str(one), str(tmp_path), "--then", str(two), "--picture", str(picture), "--json"]
    assert run(argv) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == "--then"
    assert not picture.exists()
    table = ["--table", str(tmp_path / "cases.csv"), "--out", str(tmp_path / "out")]
    assert run([*argv[:2], "--then", str(tmp_path / "two"), *table, "--json"]) == 2
    assert "--then with --table" in json.loads(capsys.readouterr().out)["error"]["found"]

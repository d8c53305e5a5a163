"""The result of a reader study: who was helped and harmed, errors where the model was wrong, balance, the model."""

from dataclasses import replace

import pytest

from nephroscope.records import Answer, SlicePrediction
from nephroscope.study.snapshot import take_snapshot
from nephroscope.workstation.reading import model as model_room
from nephroscope.workstation.reading.aid import Aid, AidedAnswer, picture_path, read_aid, save_aid
from nephroscope.workstation.reading.calls import Row, cells_of
from nephroscope.workstation.reading.model import answers_of_model
from nephroscope.workstation.reading.order import Step
from nephroscope.workstation.reading.protocol import ChosenModel
from nephroscope.workstation.reading.refusals import AidError, LockedError
from nephroscope.workstation.reading.result import compute_result
from nephroscope.workstation.reading.store import KeptAnswer, Spent
from reading_study import CASES
from small_study import make_study
from test_reading_protocol import protocol

# c00, c02, c04 are PRCC; c01, c03, c05 ChRCC
TRUTH = "PCPCPC"
SHORT = {"P": ("PRCC", 4), "C": ("ChRCC", 2), "?": (None, 3)}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return take_snapshot(make_study(tmp_path_factory.mktemp("result") / "study").folder.root)


def rows_of(reader, unaided, aided=None, doubtful=False):
    found = []
    for place, case_id in enumerate(CASES, 1):
        for arm, calls in (("unaided", unaided), ("aided", aided)):
            if calls is None:
                continue
            call, confidence = SHORT[calls[place - 1]]
            step = Step(number=len(found), period=1, arm=arm, case_id=case_id, code="X", training=False)
            spent = Spent(active_ms=1000.0 * place, idle_ms=250.0)
            kept = KeptAnswer(
                number=step.number,
                request="",
                call=call,
                confidence=confidence,
                spent=spent,
                doubtful=doubtful,
                answered_at=0.0,
            )
            found.append(Row(reader=reader, step=step, answer=kept, place=place, reading_ms=spent.active_ms))
    return found


def aid_of(calls):
    answers = [
        AidedAnswer(
            case_id=case_id,
            probabilities={"PRCC": p, "ChRCC": 1 - p},
            call=None,
            forced_call=SHORT[call][0],
            group="",
            fold="",
        )
        for case_id, call, p in zip(CASES, calls, (0.9, 0.8, 0.7, 0.4, 0.3, 0.2), strict=True)
    ]
    return Aid(model=ChosenModel(kind="bundle", name="/somewhere/b"), digest="d", answers=tuple(answers))


def result_of(snapshot, rows, aid=None):
    made = protocol(design="sequential", arms=("unaided", "aided"))
    cases = tuple(replace(case, case_id=name) for case, name in zip(made.cases, CASES, strict=True))
    return compute_result(snapshot, replace(made, cases=cases), rows, aid, True, "")


def test_who_was_helped_and_who_was_harmed(snapshot):
    rows = [*rows_of("R1", "PPPC?C", "PCPP?P"), *rows_of("R2", TRUTH, TRUTH)]
    one, two = result_of(snapshot, rows).changes
    assert (one.helped, one.harmed) == (("c01",), ("c03", "c05"))
    assert one.counts == ((2, 0, 2), (0, 1, 0), (1, 0, 0)), "rows: unaided correct, not sure, wrong"
    assert (one.difference.value, one.difference.n, one.p) == (pytest.approx(1 / 5), 5, 1.0)
    assert (two.helped, two.harmed, two.n_patients) == ((), (), 6)


def test_errors_where_the_model_was_wrong(snapshot):
    aid = aid_of("PPPCCC")  # wrong in c01 and c04
    rows = rows_of("R1", "PCPCPC", "PPPCCP")
    found = {(one.aided, one.model_is): one for one in result_of(snapshot, rows, aid).by_model}
    assert {key: (one.n_cases, one.correct, one.errors) for key, one in found.items()} == {
        (False, "right"): (4, 4, ()),
        (False, "wrong"): (2, 2, ()),
        (True, "right"): (4, 3, ("c05",)),
        (True, "wrong"): (2, 0, ("c01", "c04")),
    }
    wrong = found[True, "wrong"].accuracy
    assert (wrong.value, wrong.high, wrong.n) == (0.0, pytest.approx(0.8419, abs=1e-4), 2)
    assert wrong.method == "exact (Clopper-Pearson), 95 %"


def test_the_model_is_one_of_the_figures(snapshot):
    found = result_of(snapshot, rows_of("R1", TRUTH, TRUTH), aid_of("PPPCCC"))
    (model,) = found.figures.models
    assert (model.name, model.counts["accuracy"], model.n_cases) == ("b", (4, 6), 6)
    assert result_of(snapshot, rows_of("R1", TRUTH, TRUTH)).by_model == ()


def test_balance_times_and_doubts(snapshot):
    found = result_of(snapshot, rows_of("R1", TRUTH, TRUTH, doubtful=True))
    (order,) = found.orders
    assert (order.arms, order.mean_place) == (("unaided", "aided"), {"PRCC": 3.0, "ChRCC": 4.0})
    times = [(one.aided, one.active_s, one.idle_s) for one in found.times if one.reader == "R1"]
    assert times == [(False, 21.0, 1.5), (True, 21.0, 1.5)]
    assert {finding.code for finding in found.findings} == {"reading-time-doubtful"}
    assert len(found.findings) == 12


def test_seconds_are_above_zero_for_an_answer_at_once():
    row = replace(rows_of("R1", TRUTH)[0], reading_ms=0.0)
    assert cells_of(row, "1-5")[4] == "0.001"


def answer_about(case_id, group="out-of-fold"):
    return Answer(
        case_id=case_id,
        patient_id=case_id,
        probabilities={"PRCC": 0.6, "ChRCC": 0.4},
        slices=(SlicePrediction(slice_index=1, probabilities=(0.6, 0.4)),),
        forced_call="PRCC",
        call="PRCC",
        reason="",
        group=group,
        fold=2,
    )


@pytest.fixture
def fake_run(monkeypatch):
    """A run that answers about the first five cases; the test says whether it is leaky or did not converge."""
    from types import SimpleNamespace

    from nephroscope.learning import run_files, score_run

    record = SimpleNamespace(leaky=False, converged=True, digest="1234")
    monkeypatch.setattr(run_files, "open_run", lambda snapshot, name: SimpleNamespace(folder=name))
    monkeypatch.setattr(run_files, "load_run", lambda folder: record)
    monkeypatch.setattr(score_run, "score_run", lambda run: ([answer_about(c) for c in CASES[:5]], []))
    return record


def test_a_run_answers_by_the_fold_that_did_not_see_the_patient(snapshot, fake_run, tmp_path):
    assert model_room.SEEN == "seen-in-training"
    net = ChosenModel(kind="run", name="net")
    cases = snapshot.cohort.chosen[:5]
    aid = answers_of_model(snapshot, net, cases)
    assert (aid.digest, [one.fold for one in aid.answers]) == ("1234", ["2"] * 5)
    assert aid.used.name == "net"
    with pytest.raises(AidError, match="none about c05"):
        answers_of_model(snapshot, net, snapshot.cohort.chosen[:6])
    for field, value in (("leaky", True), ("converged", False)):
        usual = getattr(fake_run, field)
        setattr(fake_run, field, value)
        with pytest.raises(AidError, match=r"LEAKY|converge"):
            answers_of_model(snapshot, net, cases)
        setattr(fake_run, field, usual)


def test_the_kept_answers_are_those_that_were_locked(tmp_path):
    aid = aid_of("PPPCCC")
    save_aid(tmp_path, aid)
    assert read_aid(tmp_path, aid.used) == aid
    assert picture_path(tmp_path, aid, "c03").name == "3.png"
    save_aid(tmp_path, aid_of("CPPCCC"))
    with pytest.raises(LockedError):
        read_aid(tmp_path, aid.used)

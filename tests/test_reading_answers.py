"""Answers of a reader study: final, consistent, timed, and kept through a kill at any moment."""

import json
import random
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nephroscope.workstation.reading.calls import HEADER, cells_of, rows_of
from nephroscope.workstation.reading.order import draw_steps
from nephroscope.workstation.reading.progress import progress_of
from nephroscope.workstation.reading.protocol import save_protocol
from nephroscope.workstation.reading.refusals import (
    ClockError,
    ClosedError,
    ContradictionError,
    FinalError,
    OtherCaseError,
    OtherWindowError,
    ReadingError,
    WashoutError,
)
from nephroscope.workstation.reading.session import (
    DAY_S,
    GivenAnswer,
    allowed_confidences,
    answer_step,
    note_spent,
    open_step,
    seat_of,
    work_of,
)
from nephroscope.workstation.reading.store import (
    KeptStudy,
    Spent,
    Who,
    add_study,
    answers_of,
    close_study,
    time_of,
)
from reading_study import NOW, answer, database
from test_reading_protocol import protocol

R1 = Who("study", "R1")


@pytest.fixture
def db(tmp_path):
    with database(tmp_path / "workstation.sqlite") as opened:
        yield opened


def lock(db, state, **fields):
    """A locked study without files of patients."""
    made = protocol(**fields)
    (state / "reading" / "f").mkdir(parents=True)
    save_protocol(state / "reading" / "f", made)
    kept = KeptStudy(
        id="study",
        folder="f",
        digest=made.digest,
        title="t",
        locked_at=NOW,
        closed_at=None,
        closed_why="",
        latest=NOW,
    )
    add_study(db, kept, draw_steps(made), {reader: f"AAAA-{reader}" for reader in made.readers})
    return made


def seat(db, state, who=R1, now=NOW):
    return seat_of(db, work_of(db, state, who), now)


def test_cases_come_in_their_order_and_are_done(db, tmp_path):
    made = lock(db, tmp_path, n_training=1)
    expected = [step.case_id for step in work_of(db, tmp_path, R1).steps]
    assert seat(db, tmp_path).training is True
    given = [answer(db, tmp_path, "study", "R1").case_id for _ in range(7)]
    assert given == expected
    assert seat(db, tmp_path).state == "done"
    assert seat(db, tmp_path, Who("study", "R2")).done == 0
    rows = list(rows_of(db, "study", made))
    assert len(rows) == 6, "practice is never exported"
    assert {row.step.case_id for row in rows} == {case.case_id for case in made.cases}
    assert [row.place for row in rows] == [1, 2, 3, 4, 5, 6]
    cells = dict(zip(HEADER, cells_of(rows[0], "1-5"), strict=True))
    assert cells == {
        "case_id": expected[1],
        "reader": "R1",
        "call": "PRCC",
        "confidence": "4",
        "seconds": "10.000",
        "aided": "no",
        "scale": "1-5",
    }
    one, two = progress_of(db, "study")
    assert (one.answered, one.of, one.training_answered, one.finished) == (6, 6, 1, True)
    assert (two.answered, two.finished) == (0, False)


def test_an_answer_is_final(db, tmp_path):
    lock(db, tmp_path)
    work = work_of(db, tmp_path, R1)
    sitting, _ = open_step(db, work, 0, NOW)
    given = GivenAnswer(
        number=0, sitting=sitting, request="a", call="PRCC", confidence=4, spent=Spent(active_ms=5)
    )
    first = answer_step(db, work, given, NOW)
    for stale in (work, work_of(db, tmp_path, R1)):
        assert answer_step(db, stale, given, NOW + 9) == first, "the same request again changes nothing"
        for fields in ({"request": "b"}, {"confidence": 5}, {"call": None, "confidence": 3}):
            with pytest.raises(FinalError):
                answer_step(db, stale, GivenAnswer(**{**vars(given), **fields}), NOW)
    for change in ("UPDATE reading_answers SET confidence = 1", "DELETE FROM reading_answers"):
        with pytest.raises(sqlite3.IntegrityError, match="final"):
            db.execute(change)
    with pytest.raises(FinalError):
        note_spent(db, R1, 0, sitting, Spent(active_ms=99), NOW)
    assert answers_of(db, R1)[0].spent.active_ms == 5


def test_only_the_case_that_comes_next_can_be_opened_or_answered(db, tmp_path):
    lock(db, tmp_path)
    work = work_of(db, tmp_path, R1)
    for number in (1, 5, 6, -1):
        with pytest.raises(OtherCaseError):
            open_step(db, work, number, NOW)
        given = GivenAnswer(number=number, sitting=1, request="a", call="PRCC", confidence=4, spent=Spent())
        with pytest.raises(OtherCaseError):
            answer_step(db, work, given, NOW)
    with pytest.raises(OtherWindowError):
        note_spent(db, R1, 0, 1, Spent(active_ms=1), NOW)


@pytest.mark.parametrize(("call", "allowed"), [("PRCC", (3, 4, 5)), ("ChRCC", (1, 2, 3)), (None, (2, 3, 4))])
def test_call_and_confidence_cannot_contradict_each_other(db, tmp_path, call, allowed):
    lock(db, tmp_path)
    assert allowed_confidences(call, "PRCC") == allowed
    work = work_of(db, tmp_path, R1)
    sitting, _ = open_step(db, work, 0, NOW)
    usual = {"number": 0, "sitting": sitting, "request": "a", "call": call, "spent": Spent(active_ms=1)}
    for confidence in range(-1, 8):
        if confidence not in allowed:
            with pytest.raises(ContradictionError):
                answer_step(db, work, GivenAnswer(**usual, confidence=confidence), NOW)
    with pytest.raises(ContradictionError):
        answer_step(db, work, GivenAnswer(**usual | {"call": "RCC"}, confidence=3), NOW)
    assert answers_of(db, R1) == {}
    answer_step(db, work, GivenAnswer(**usual, confidence=allowed[-1]), NOW)


def test_time_of_all_sittings_adds_up_and_only_the_last_window_counts(db, tmp_path):
    lock(db, tmp_path)
    work = work_of(db, tmp_path, R1)
    one, before = open_step(db, work, 0, NOW)
    assert before == Spent()
    note_spent(db, R1, 0, one, Spent(active_ms=1500, idle_ms=100), NOW + 2)
    note_spent(db, R1, 0, one, Spent(active_ms=900), NOW + 2)
    assert time_of(db, R1, 0)[0] == Spent(active_ms=1500, idle_ms=100), "what arrives late changes nothing"
    two, before = open_step(db, work, 0, NOW + 100)
    assert before == Spent(active_ms=1500, idle_ms=100)
    with pytest.raises(OtherWindowError):
        note_spent(db, R1, 0, one, Spent(active_ms=3000), NOW + 101)
    spent = Spent(active_ms=250, hidden_ms=50, paused_ms=25)
    given = GivenAnswer(number=0, sitting=two, request="a", call="PRCC", confidence=4, spent=spent)
    kept = answer_step(db, work, given, NOW + 101)
    assert kept.spent == Spent(active_ms=1750, idle_ms=100, hidden_ms=50, paused_ms=25)
    assert kept.doubtful is False
    assert seat(db, tmp_path).spent == Spent()


@pytest.mark.parametrize(
    "spent", [{"active_ms": -1}, {"idle_ms": float("nan")}, {"active_ms": 1e8}, {"hidden_ms": 1e11}]
)
def test_impossible_time_is_refused(db, tmp_path, spent):
    lock(db, tmp_path)
    work = work_of(db, tmp_path, R1)
    sitting, _ = open_step(db, work, 0, NOW)
    with pytest.raises(ReadingError):
        note_spent(db, R1, 0, sitting, Spent(**spent), NOW)
    assert time_of(db, R1, 0)[0] == Spent()


@pytest.mark.parametrize("part", ["idle_ms", "hidden_ms", "paused_ms"])
def test_a_case_left_over_the_weekend_is_answered_on_monday(db, tmp_path, part):
    lock(db, tmp_path)
    work = work_of(db, tmp_path, R1)
    sitting, _ = open_step(db, work, 0, NOW)
    monday = NOW + 3 * DAY_S
    away = Spent(active_ms=60_000, **{part: 3 * DAY_S * 1000 - 61_000})
    note_spent(db, R1, 0, sitting, away, monday)
    spent = Spent(**{**vars(away), "active_ms": 90_000})
    given = GivenAnswer(number=0, sitting=sitting, request="a", call="PRCC", confidence=4, spent=spent)
    kept = answer_step(db, work, given, monday + 30)
    assert (kept.spent, kept.doubtful) == (spent, False)


@pytest.mark.parametrize(
    "wrong", [{"number": 2**70}, {"sitting": 2**70}, {"sitting": -1}, {"request": "x" * 101}]
)
def test_numbers_and_texts_without_bounds_are_refused(db, tmp_path, wrong):
    lock(db, tmp_path)
    work = work_of(db, tmp_path, R1)
    sitting, _ = open_step(db, work, 0, NOW)
    given = {"number": 0, "sitting": sitting, "request": "a"} | wrong
    with pytest.raises(OtherCaseError):
        answer_step(db, work, GivenAnswer(**given, call="PRCC", confidence=4, spent=Spent()), NOW)
    if "request" not in wrong:
        with pytest.raises(OtherCaseError):
            note_spent(db, R1, given["number"], given["sitting"], Spent(active_ms=1), NOW)


def test_more_time_than_passed_is_doubtful(db, tmp_path):
    made = lock(db, tmp_path)
    work = work_of(db, tmp_path, R1)
    sitting, _ = open_step(db, work, 0, NOW)
    note_spent(db, R1, 0, sitting, Spent(active_ms=60_000), NOW + 10)
    given = GivenAnswer(
        number=0, sitting=sitting, request="a", call="PRCC", confidence=4, spent=Spent(active_ms=61_000)
    )
    answer_step(db, work, given, NOW + 90)
    assert [row.answer.doubtful for row in rows_of(db, "study", made)] == [True]


def test_sequential_locks_the_unaided_answer_first(db, tmp_path):
    made = lock(db, tmp_path, design="sequential", arms=("unaided", "aided"))
    begun = seat(db, tmp_path)
    assert (begun.arm, begun.unaided, begun.of) == ("unaided", None, 6)
    answer(db, tmp_path, "study", "R1", "ChRCC", 2, seconds=4)
    then = seat(db, tmp_path)
    assert (then.arm, then.code, then.done) == ("aided", begun.code, 0)
    assert (then.unaided.call, then.unaided.confidence) == ("ChRCC", 2)
    answer(db, tmp_path, "study", "R1", "PRCC", 5, seconds=3)
    assert (seat(db, tmp_path).arm, seat(db, tmp_path).done) == ("unaided", 1)
    seconds = [cells_of(row, "1-5")[4:6] for row in rows_of(db, "study", made)]
    assert seconds == [("4.000", "no"), ("7.000", "yes")], "the aided reading contains the unaided one"


def test_crossover_waits_for_the_washout_and_for_the_clock(db, tmp_path):
    lock(db, tmp_path, n_cases=2, design="crossover", arms=("unaided", "aided"))
    for at in range(2):
        answer(db, tmp_path, "study", "R1", now=NOW + at * DAY_S, seconds=0)
    last = NOW + DAY_S
    number = 2
    for days in (0, 1, 27.9):
        now = last + days * DAY_S
        assert seat(db, tmp_path, now=now).state == "washout"
        with pytest.raises(WashoutError):
            open_step(db, work_of(db, tmp_path, R1), number, now)
    assert seat(db, tmp_path, now=last).not_before == "2027-02-13T08:00:00+00:00"
    other = Who("study", "R2")
    begun = work_of(db, tmp_path, other)
    open_step(db, begun, 0, last + 40 * DAY_S)
    with pytest.raises(ClockError):
        open_step(db, work_of(db, tmp_path, R1), number, last + 30 * DAY_S)
    open_step(db, work_of(db, tmp_path, R1), number, last + 40 * DAY_S)
    assert seat(db, tmp_path, now=last + 40 * DAY_S).period == 2


def test_an_answer_never_dates_from_before_the_clock_was_set_back(db, tmp_path):
    lock(db, tmp_path, n_cases=2, design="crossover", arms=("unaided", "aided"))
    answer(db, tmp_path, "study", "R1", now=NOW + 50 * DAY_S, seconds=0)
    answer(db, tmp_path, "study", "R1", now=NOW, seconds=0)
    assert answers_of(db, R1)[1].answered_at == NOW + 50 * DAY_S, "or the washout would be over at once"


def test_a_closed_study_takes_no_answers(db, tmp_path):
    lock(db, tmp_path)
    answer(db, tmp_path, "study", "R1")
    close_study(db, "study", "R2 fell ill", NOW)
    with pytest.raises(ClosedError):
        answer(db, tmp_path, "study", "R1")
    assert seat(db, tmp_path).state == "closed"
    assert len(answers_of(db, R1)) == 1


def test_one_of_many_answers_at_the_same_moment_is_kept(db, tmp_path):
    lock(db, tmp_path)
    sitting, _ = open_step(db, work_of(db, tmp_path, R1), 0, NOW)
    kept, refused = [], []

    def give(at):
        with database(tmp_path / "workstation.sqlite") as own:
            given = GivenAnswer(
                number=0,
                sitting=sitting,
                request=f"r{at}",
                call="PRCC",
                confidence=4,
                spent=Spent(active_ms=at),
            )
            try:
                kept.append(answer_step(own, work_of(own, tmp_path, R1), given, NOW))
            except FinalError as error:
                refused.append(error)

    threads = [threading.Thread(target=give, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(kept), len(refused)) == (1, 7)


READER = """
import json, sys
from pathlib import Path
from nephroscope.workstation.database import connected
from nephroscope.workstation.reading.session import GivenAnswer, answer_step, note_spent, open_step, work_of
from nephroscope.workstation.reading.store import Spent, Who
NOW = 1_800_000_000.0
state = Path(sys.argv[1])
who = Who("study", "R1")
with connected(state / "workstation.sqlite") as db:
    while (step := (work := work_of(db, state, who)).step) is not None:
        sitting, _ = open_step(db, work, step.number, NOW)
        for beat in range(3):
            note_spent(db, who, step.number, sitting, Spent(active_ms=100.0 * beat), NOW + beat)
            print(json.dumps([step.number, "time", 100.0 * beat]), flush=True)
        call = ("PRCC", "ChRCC")[step.number % 2]
        answer_step(db, work, GivenAnswer(number=step.number, sitting=sitting, request=f"r{step.number}", call=call,
            confidence=3, spent=Spent(active_ms=300.0)), NOW + 9)
        print(json.dumps([step.number, "answer", call]), flush=True)
"""


def test_a_kill_at_any_moment_loses_no_answer_and_repeats_none(tmp_path):
    with database(tmp_path / "workstation.sqlite") as db:
        lock(db, tmp_path, n_cases=20)
    chance, said, kills = random.Random(3), [], 0  # noqa: S311
    for _ in range(30):
        process = subprocess.Popen(
            [sys.executable, "-c", READER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent,
        )
        lines = [process.stdout.readline() for _ in range(chance.randint(1, 14))]
        process.kill()
        lines += process.stdout.readlines()
        process.communicate()
        said += [json.loads(line) for line in lines if line.endswith("\n")]
        kills += 1
        with database(tmp_path / "workstation.sqlite") as db:
            answers = answers_of(db, R1)
            heard = {number: call for number, kind, call in said if kind == "answer"}
            assert set(heard) <= set(answers), "an answer that was acknowledged is kept"
            assert len(heard) == sum(kind == "answer" for _, kind, _ in said), "no case was asked twice"
            assert all(answers[number].call == call for number, call in heard.items())
            assert sorted(answers) == list(range(len(answers))), "no case was passed over"
            number, kind, value = said[-1]
            if kind == "time" and number not in answers:
                assert time_of(db, R1, number)[0].active_ms >= value
            if len(answers) == 20:
                break
    assert kills >= 5
    assert len(answers) == 20

"""The protocol of a reader study, its order and codes, and what cannot be locked."""

import itertools
import json
import shutil
import sqlite3
from collections import Counter

import pytest

from nephroscope.base.errors import StudyError
from nephroscope.workstation.reading.make import check_against_study, check_shown, plan_of
from nephroscope.workstation.reading.order import (
    draw_orders,
    draw_steps,
    first_arms,
    new_secret,
    plain_secret,
    williams_row,
)
from nephroscope.workstation.reading.protocol import (
    ChosenModel,
    Protocol,
    ReadCase,
    UsedModel,
    check_plan,
    read_protocol,
    save_protocol,
)
from nephroscope.workstation.reading.refusals import LockedError, PlanError
from nephroscope.workstation.reading.store import Who, steps_of, studies
from reading_study import CASES, database, locked, plan
from small_study import make_study

MODEL = ChosenModel(kind="run", name="net")


def protocol(n_cases=6, readers=("R1", "R2"), design="single", arms=("unaided",), seed=7, n_training=0):
    cases = [ReadCase(case_id=f"case-{at}", shown="0") for at in range(n_cases + n_training)]
    used = UsedModel(kind="run", name="net", digest="1", answers="2") if "aided" in arms else None
    return Protocol(
        title="t",
        question="q",
        subtypes=("PRCC", "ChRCC"),
        positive="PRCC",
        cases=tuple(cases[:n_cases]),
        training=tuple(cases[n_cases:]),
        readers=readers,
        arms=arms,
        design=design,
        seed=seed,
        washout_days=28,
        outline=True,
        model=used,
    )


@pytest.fixture
def db(tmp_path):
    with database(tmp_path / "workstation.sqlite") as opened:
        yield opened


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("reading") / "study").folder.root


@pytest.mark.parametrize("n", [1, 2, 4, 5, 6, 9])
def test_each_case_stands_once_in_each_place_and_follows_each_other_alike(n):
    rows = [williams_row(n, row) for row in range(n if n % 2 == 0 else 2 * n)]
    assert all(sorted(row) == list(range(n)) for row in rows)
    times = len(rows) // n
    assert set(Counter((place, case) for row in rows for place, case in enumerate(row)).values()) == {times}
    follows = Counter(pair for row in rows for pair in itertools.pairwise(row))
    assert set(follows.values()) <= {1, 2}
    if n > 1:
        assert len(set(follows.values())) == 1, "each case follows each other equally often"
        assert len(follows) == n * (n - 1)


def test_orders_depend_on_seed_reader_and_arm_only():
    cases, readers = [f"c{at}" for at in range(8)], ["R1", "R2", "R3"]
    one = draw_orders("7", readers, cases)
    assert one == draw_orders("7", readers[::-1], cases[::-1]), "not on the order in which they are listed"
    assert one != draw_orders("8", readers, cases)
    assert len({tuple(order) for order in one.values()}) == 3
    places = Counter((at, case) for order in one.values() for at, case in enumerate(order))
    assert max(places.values()) == 1, "three readers see no case in the same place"


def test_the_same_seed_gives_the_same_order_on_every_computer():
    orders = draw_orders("1", ["R1", "R2"], ["a", "b", "c", "d"])
    assert orders == {"R1": ["b", "c", "a", "d"], "R2": ["d", "a", "c", "b"]}


def test_two_arms_at_one_sitting_share_a_code_and_two_periods_do_not():
    steps = draw_steps(protocol(design="sequential", arms=("unaided", "aided")))["R1"]
    assert [step.arm for step in steps] == ["unaided", "aided"] * 6
    assert all(
        a.code == b.code and a.case_id == b.case_id for a, b in zip(steps[::2], steps[1::2], strict=True)
    )
    both = protocol(design="crossover", arms=("unaided", "aided"))
    crossed, begins = draw_steps(both), first_arms(both)
    for reader, steps in crossed.items():
        codes = {(step.period, step.case_id): step.code for step in steps}
        assert len(set(codes.values())) == 12
        assert {step.arm for step in steps if step.period == 1} == {begins[reader]}
        assert [s.case_id for s in steps if s.period == 1] != [s.case_id for s in steps if s.period == 2]


def test_half_of_the_readers_of_a_crossover_begin_in_each_arm():
    readers = tuple(f"R{at}" for at in range(10))
    begins = first_arms(protocol(design="crossover", arms=("unaided", "aided"), readers=readers))
    assert Counter(begins.values()) == {"unaided": 5, "aided": 5}


def test_codes_are_new_for_each_reader_and_say_nothing():
    first, second = (draw_steps(protocol(n_training=2)) for _ in range(2))
    codes = [step.code for steps in first.values() for step in steps]
    assert len(set(codes)) == len(codes) == 16
    assert [s.case_id for s in first["R1"]] == [s.case_id for s in second["R1"]], "the order is the seed's"
    assert codes != [step.code for steps in second.values() for step in steps], "codes are not the seed's"
    assert [s.training for s in first["R1"]] == [True] * 2 + [False] * 6


def test_a_secret_can_be_typed_with_or_without_its_signs():
    secret = new_secret()
    assert plain_secret(f" {secret.lower()} ") == secret.replace("-", "")
    assert len({new_secret() for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"title": " "}, "title"),
        ({"title": "a\nb"}, "title"),
        ({"question": "x" * 501}, "question"),
        ({"cases": ()}, "cases"),
        ({"cases": ("c00", "c00")}, "cases"),
        ({"training": ("c00",)}, "training"),
        ({"readers": ()}, "readers"),
        ({"readers": ("R1", "r-1")}, "readers"),
        ({"readers": ("=1+1",)}, "readers"),
        ({"readers": ("x" * 33,)}, "readers"),
        ({"readers": ("R1 ",)}, "readers"),
        ({"readers": ("Net",), "arms": ("aided",), "model": MODEL}, "readers"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**53}, "seed"),
        ({"arms": ()}, "arms"),
        ({"arms": ("unaided", "unaided")}, "arms"),
        ({"design": "sequential"}, "design"),
        ({"arms": ("unaided", "aided"), "model": MODEL}, "design"),
        ({"arms": ("aided",)}, "model"),
        ({"model": MODEL}, "model"),
        ({"arms": ("aided",), "model": ChosenModel(kind="bundle", name="a\0b")}, "model"),
        ({"washout_days": 27}, "washout_days"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused_by_its_field(fields, field):
    with pytest.raises(PlanError) as refusal:
        check_plan(plan(**fields))
    assert refusal.value.where == f"protocol, {field}"
    check_plan(plan())


def test_a_plan_is_checked_against_the_study(study, tmp_path):
    with pytest.raises(PlanError, match="none for zz"):
        check_against_study(study, plan(cases=("c00", "zz")))
    checked = check_against_study(study, plan(training=("c08",)))
    assert [case.case_id for case in checked.protocol.cases] == list(CASES)
    assert checked.protocol.positive == "PRCC"
    assert checked.protocol.digest == check_against_study(study, plan(training=("c08",))).protocol.digest
    assert checked.protocol.digest != check_against_study(study, plan()).protocol.digest
    assert plan_of(checked.protocol).training == ("c08",)


def test_a_case_without_subtype_or_outline_is_refused(study, tmp_path):
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    table = (copy / "cohort.csv").read_text()
    (copy / "cohort.csv").write_text(table.replace("PRCC", "", 1))
    with pytest.raises(PlanError, match="a known subtype"):
        check_against_study(copy, plan())
    (copy / "cohort.csv").write_text(table)
    rows = (copy / "rois.csv").read_text().splitlines()
    (copy / "rois.csv").write_text("\n".join(row for row in rows if not row.startswith("c01,")) + "\n")
    with pytest.raises(PlanError, match="outlined by a person"):
        check_against_study(copy, plan())
    assert check_against_study(copy, plan(outline=False)).protocol.outline is False


def test_the_model_must_have_an_independent_answer(study):
    aided = {"arms": ("unaided", "aided"), "design": "sequential"}
    with pytest.raises(StudyError, match="a complete run"):
        check_against_study(study, plan(**aided, model=MODEL))


def test_a_locked_protocol_is_final(study, tmp_path, db):
    kept = locked(study, tmp_path, db)
    folder = tmp_path / "reading" / kept.folder
    read = read_protocol(folder, kept.digest)
    assert (read.digest, len(kept.digest)) == (kept.digest, 64)
    assert [s.number for s in steps_of(db, Who(kept.id, "R1"))] == list(range(6))
    with pytest.raises(LockedError):
        locked(study, tmp_path, db)
    assert locked(study, tmp_path, db, seed=8).digest != kept.digest
    content = json.loads((folder / "protocol.json").read_text())
    content.pop("checksum")
    content["readers"] = ["R1", "R3"]
    (folder / "protocol.json").write_text(json.dumps(content))
    with pytest.raises(LockedError, match="SHA-256"):
        read_protocol(folder, kept.digest)
    (folder / "protocol.json").unlink()
    with pytest.raises(LockedError):
        read_protocol(folder, kept.digest)
    assert len(studies(db)) == 2
    for change in ("UPDATE reading_studies SET digest = 'x'", "DELETE FROM reading_steps"):
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(change)


def test_a_case_that_would_show_something_else_is_refused(study, tmp_path):
    checked = check_against_study(study, plan())
    case = checked.chosen[0]
    check_shown(case, checked.protocol)
    before = case.roi.path.read_bytes()
    try:
        case.roi.path.write_bytes(before + b"0")
        with pytest.raises(LockedError, match="the outline"):
            check_shown(case, checked.protocol)
    finally:
        case.roi.path.write_bytes(before)


def test_an_interrupted_lock_leaves_nothing_in_the_way(study, tmp_path, db):
    digest = check_against_study(study, plan()).protocol.digest[:16]
    for name in (f".{digest}.draft", digest):
        (tmp_path / "reading" / name).mkdir(parents=True)
        (tmp_path / "reading" / name / "half").write_text("")
    kept = locked(study, tmp_path, db)
    assert sorted(path.name for path in (tmp_path / "reading").iterdir()) == [digest]
    assert read_protocol(tmp_path / "reading" / digest, kept.digest)


def test_a_protocol_is_read_back_as_written(tmp_path):
    made = protocol(design="crossover", arms=("unaided", "aided"), n_training=1)
    save_protocol(tmp_path, made)
    assert read_protocol(tmp_path, made.digest) == made

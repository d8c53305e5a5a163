"""Progress: the time left is told once the pace is known, in words, and as a bound where work may end early."""

import itertools
import logging

import pytest

from nephroscope.base import progress
from nephroscope.base.progress import Pace, counting, time_words, track


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (119.4, "119 s"),
        (121, "2 min"),
        (3570, "1 h"),
        (4200, "1 h 10 min"),
        (9000, "2 h 30 min"),
        (90_000, "25 h"),
    ],
)
def test_times_in_words(seconds, words):
    assert time_words(seconds) == words


def pace_of(times):
    clock = iter(times)
    pace = Pace(lambda: next(clock))
    for _ in times:
        pace.step()
    return pace


def test_the_cold_first_item_is_not_the_pace():
    """60 s for the first item and 1 s for each other: 97 s are left of 100, not half an hour."""
    pace = pace_of([60, 61, 62])
    assert pace.left(100) == pytest.approx(97)
    assert pace_of([60]).left(100) is None


def test_no_time_left_before_a_few_per_cent_or_ten_seconds():
    assert pace_of([5, 6]).left(1000) is None
    assert pace_of([5, 16]).left(1000) == pytest.approx(11 * 998)
    assert pace_of([5, *range(6, 35)]).left(1000) == pytest.approx(970)


@pytest.fixture
def minute_by_minute(monkeypatch, caplog):
    """Every look at the clock is 30 s later."""
    ticks = itertools.count(0, 30)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(ticks))
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    caplog.set_level(logging.INFO, logger="nephroscope.base.progress")
    return caplog


def test_a_line_says_what_is_left(minute_by_minute):
    assert list(track("abcd", "cutting", "case", 4)) == list("abcd")
    lines = [record.getMessage() for record in minute_by_minute.records]
    assert lines == [
        "cutting: 1 of 4 cases",
        "cutting: 2 of 4 cases, about 2 min left",
        "cutting: 3 of 4 cases, about 60 s left",
    ]


def test_work_that_may_end_early_has_a_bound(minute_by_minute):
    ahead = iter([5, 4, 0])
    with counting("training", "epoch", 6, lambda: next(ahead)) as step:
        for _ in range(3):
            step()
    lines = [record.getMessage() for record in minute_by_minute.records]
    assert lines == [
        "training: 1 of at most 6 epochs",
        "training: 2 of at most 6 epochs, at most about 4 min left",
    ]


def test_the_bar_on_a_terminal_passes_everything_on(monkeypatch, capsys):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    assert list(track([1, 2], "cutting", "case", 2)) == [1, 2]
    ahead = iter([1, 0])
    with counting("training", "epoch", 9, lambda: next(ahead)) as step:
        step()
        step()
    assert "cutting" in capsys.readouterr().err


def test_training_counts_the_epochs_of_all_folds(minute_by_minute, monkeypatch, tmp_path):
    """Two folds of at most 4 epochs; patience ends the first after two: 4 of at most 6 are then left."""
    from types import SimpleNamespace

    from nephroscope.learning.training import run as training

    def two_epochs(path, fold, snapshot, after_epoch):
        after_epoch(fold.index, 3)
        after_epoch(fold.index, 2 if fold.index else 0)

    monkeypatch.setattr(training, "_train_fold", two_epochs)
    monkeypatch.setattr(training, "fold_task", lambda snapshot, config, fold, compute: fold)
    monkeypatch.setattr(training, "open_run_folder", lambda *_: SimpleNamespace(threads=1))
    folds = [SimpleNamespace(index=0), SimpleNamespace(index=1)]
    snapshot = SimpleNamespace(split=SimpleNamespace(folds=folds))
    training.train_folds(tmp_path, snapshot, SimpleNamespace(epochs=4, model="resnet34"), [0, 1])
    lines = [record.getMessage() for record in minute_by_minute.records]
    assert [line.partition(",")[0] for line in lines] == ["resnet34"] * 4
    assert [line.partition(": ")[2].partition(",")[0] for line in lines] == [
        "1 of at most 8 epochs",
        "2 of at most 6 epochs",
        "3 of at most 6 epochs",
        "4 of at most 6 epochs",
    ]
    assert lines[-1].endswith("at most about 2 min left")


def test_phantoms_are_counted_while_they_are_written(minute_by_minute, monkeypatch, tmp_path):
    from types import SimpleNamespace

    from nephroscope.intake.phantom import write

    monkeypatch.setattr(
        write, "_write_cases", lambda *_: ((SimpleNamespace(case_id=f"S{i}"), ()) for i in range(4))
    )
    monkeypatch.setattr(write, "_cells", lambda *_: ())
    monkeypatch.setattr(write, "save_table", lambda path, *_: path.write_text(""))
    write.write_phantoms(tmp_path / "made", 4, 0)
    lines = [record.getMessage() for record in minute_by_minute.records]
    assert lines[1].startswith("writing phantoms: 2 of 4 cases, about")

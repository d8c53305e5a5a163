"""Folds trained at once are the folds trained one after the other."""

import contextlib
import json
import shutil
import sys
import threading
from dataclasses import replace

import pytest

from nephroscope import Study
from nephroscope.base import cluster as ray_jobs
from nephroscope.base import machine
from nephroscope.base.errors import StudyError
from nephroscope.base.machine import memory_of_machine
from nephroscope.cli import run
from nephroscope.learning.engine import runs
from nephroscope.learning.engine.runs import FoldOfRun, train_one_fold
from nephroscope.learning.engine.workers import Workers
from nephroscope.learning.run_files import started_run
from nephroscope.learning.training import speed
from nephroscope.learning.training.device import threads
from nephroscope.records import SliceSpec, SplitConfig, TrainConfig
from test_study import CONFIG, make_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = make_study(tmp_path_factory.mktemp("spread") / "study")
    made.cut_slices()
    made.make_split(SplitConfig(folds=2))
    return made


@pytest.fixture(scope="module")
def one_after_the_other(study):
    with threads(2):
        study.train(CONFIG, "alone")
    return weights(study, "alone")


def weights(study, name):
    return [(study.folder.run(name) / f"fold-{k}" / "weights.safetensors").read_bytes() for k in (0, 1)]


def test_two_processes_give_the_same_weights(study, one_after_the_other):
    """Two threads change the last bits; the run says how many it takes, and every process takes so many."""
    with threads(2):
        content = study.train(CONFIG, "jobs", workers=Workers(jobs=2)).content
    assert weights(study, "jobs") == one_after_the_other
    assert started_run(study.folder.run("jobs")).compute.threads == 2
    assert [fold["index"] for fold in content["folds"]] == [0, 1]


def test_folds_share_the_threads_where_a_training_is_long(study, monkeypatch):
    """By default two folds at the same time, a thread each; with --jobs 1 the same weights."""
    monkeypatch.setattr(speed, "WORTH_TESTING", 0)
    monkeypatch.setattr(speed, "memory_of_machine", lambda: 64 << 30)
    used = []
    monkeypatch.setattr(runs, "Workers", lambda **given: used.append(given) or Workers(**given))
    with threads(2):
        study.train(CONFIG, "by-itself")
        study.train(CONFIG, "one-by-one", workers=Workers(jobs=1))
    assert used == [{"jobs": 2}]
    assert started_run(study.folder.run("by-itself")).compute.threads == 1
    assert weights(study, "by-itself") == weights(study, "one-by-one")


def test_folds_are_trained_one_by_one_where_memory_or_cores_are_few(monkeypatch):
    spec, small, large = SliceSpec(), TrainConfig(), TrainConfig(model="resnet101")
    monkeypatch.setattr(speed, "memory_of_machine", lambda: 16 << 30)
    with threads(2):
        assert [speed.folds_at_once(small, 2, spec, n) for n in (1, 2, 5)] == [1, 2, 2]
        assert speed.folds_at_once(large, 2, spec, 5) == 1
        assert speed.folds_at_once(large, 2, replace(spec, size_px=64), 5) == 2
    with threads(1):
        assert speed.folds_at_once(small, 2, spec, 5) == 1
    monkeypatch.setattr(speed, "memory_of_machine", lambda: 0)  # not known
    with threads(2):
        assert speed.folds_at_once(small, 2, spec, 5) == 1
    assert 0 < memory_of_machine() < 1 << 50


def test_no_more_folds_are_trained_at_once_than_memory_holds(study, monkeypatch, tmp_path):
    """Eight threads and memory for three folds of four: three at a time, though two threads each leave room for four.

    A run that was begun where there was more memory goes on with what there is now.
    """
    used = []
    monkeypatch.setattr(runs, "train_in", lambda *given, **_: used.append(given[3].jobs))
    config = replace(CONFIG, epochs=1)
    shutil.copytree(study.folder.root, tmp_path / "study")
    again = Study(tmp_path / "study")
    again.make_split(SplitConfig(folds=4))
    four = again.snapshot
    fit = speed.memory_of_fit(config, 2, four.slices.spec)
    monkeypatch.setattr(speed, "WORTH_TESTING", 0)
    monkeypatch.setattr(speed, "memory_of_machine", lambda: 2 * 3 * fit)
    folder = again.folder.root / "runs" / "four"
    with threads(8):
        runs._train(folder, four, config, None)
        assert started_run(folder).compute.threads == 2
        monkeypatch.setattr(speed, "memory_of_machine", lambda: 2 * fit)
        runs._train(folder, four, config, None)
        runs._train(folder, four, config, Workers(jobs=5))
    assert used == [3, 1, 5]


@pytest.mark.skipif(sys.platform == "win32", reason="no control groups there")
@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/a/b\n", {"a/memory.max": "3000000\n", "a/b/memory.max": "max\n"}, 3_000_000),
        ("0::/seen/only/outside\n", {"memory.max": "2000000\n"}, 2_000_000),
        ("4:memory:/x\n0::/\n", {"memory/x/memory.limit_in_bytes": "1000000\n"}, 1_000_000),
        ("1:cpu:/x\n", {"memory.max": "5\n"}, None),
    ],
)
def test_the_memory_of_a_container_or_cluster_job_is_its_limit(tmp_path, monkeypatch, own, files, expected):
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text)
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "none")
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "none")
    whole = memory_of_machine()
    (tmp_path / "own").write_text(own)
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "groups")
    assert memory_of_machine() == (expected or whole) > 0


def test_epochs_of_folds_in_other_processes_are_counted(tmp_path, monkeypatch):
    counted = threading.Event()

    @contextlib.contextmanager
    def shown(what, unit, total, left):
        assert (what, unit, total) == ("resnet34, 2 folds", "epoch", 7)  # of 8: one is there already
        yield counted.set

    (tmp_path / "fold-0").mkdir()
    (tmp_path / "fold-0" / "metrics.jsonl").write_text("{}\n")
    monkeypatch.setattr(runs, "SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(runs, "counting", shown)
    places = [tmp_path / "fold-0", tmp_path / "fold-1"]
    with runs._counting_epochs("resnet34, 2 folds", places, 4):
        assert not counted.wait(0.1)
        (tmp_path / "fold-0" / "metrics.jsonl").write_text("{}\n{}\n")
        assert counted.wait(60)


def test_a_cluster_is_asked_for_each_fold_and_the_rest_is_done_here(study, one_after_the_other, monkeypatch):
    """A cluster that trains one of the two folds, as one that died: the other is trained here."""
    asked = []

    def cluster(function, items, address):
        asked.extend((address, item.index) for item in items)
        with threads(1):
            yield 1, function(items[1])

    monkeypatch.setattr(ray_jobs, "map_on_ray", cluster)
    with threads(2):
        study.train(CONFIG, "ray", workers=Workers(ray="10.0.0.1:6379"))
    assert asked == [("10.0.0.1:6379", 0), ("10.0.0.1:6379", 1)]
    assert weights(study, "ray") == one_after_the_other
    assert Study(study.folder.root).folder.complete_run("ray")


def test_a_machine_without_the_study_is_refused(tmp_path):
    with pytest.raises(
        StudyError, match=r"run a, fold 1: expected the study folder at the same path on every"
    ):
        train_one_fold(FoldOfRun(study=str(tmp_path), run=str(tmp_path / "runs" / "a"), index=1))


def test_a_damaged_run_is_named_where_a_fold_is_trained(study, one_after_the_other, tmp_path):
    shutil.copytree(study.folder.root, tmp_path / "copy")
    run_folder = tmp_path / "copy" / "runs" / "alone"
    task = FoldOfRun(study=str(tmp_path / "copy"), run=str(run_folder), index=0)
    config = run_folder / "config.json"
    whole = config.read_text()
    config.write_text('{"format": 1}')
    with pytest.raises(StudyError, match=r"^run alone, config.json"):
        train_one_fold(task)
    config.write_text(whole)
    (run_folder / "split.json").unlink()
    with pytest.raises(
        StudyError, match=r"^run alone: expected the file split.json, found none; train again"
    ):
        train_one_fold(task)


def test_one_process_spreads_nothing(study):
    assert Workers().only_here
    assert not Workers(jobs=2).only_here
    assert not Workers(ray="auto").only_here


def test_command_refuses_a_number_of_processes_out_of_range(study, capsys):
    assert run(["train", str(study.folder.root), "--jobs", "0", "--json"]) == 2
    assert "--jobs" in json.loads(capsys.readouterr().out)["error"]["where"]

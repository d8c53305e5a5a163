"""Files of a run that were exchanged with another fold's or run's, or changed: refused by name, never used."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from nephroscope import Study
from nephroscope.base.errors import NephroscopeError
from nephroscope.base.files import load_sealed, save_sealed
from nephroscope.cli import run
from nephroscope.learning.engine.trained_runs import why_not
from nephroscope.learning.run_files import KEPT, load_own_run, load_run, load_run_split
from nephroscope.records import SplitConfig, TrainConfig
from nephroscope.study.snapshot import take_snapshot
from small_study import content_of, make_study

CONFIG = TrainConfig(
    model="shufflenet_v2_x1_0", width=0.5, epochs=1, batch_size=8, precision="fp32", learning_rate=0.01
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study with runs ``one`` and ``two`` on other folds, and one that was stopped before its end."""
    study = make_study(tmp_path_factory.mktemp("made") / "study", 8)
    study.cut_slices()
    for name, seed in (("one", 1), ("two", 2)):
        study.make_split(SplitConfig(folds=2, seed=seed))
        study.train(replace(CONFIG, seed=seed), name)
    return study.folder.root


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "study")


def exchange(one, two):
    aside = one.with_name("aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)


def refused(capsys, *args):
    """What the command says is wrong, and where."""
    capsys.readouterr()
    assert run([*args, "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    return f"{error['where']} {error['expected']} {error['found']}"


def test_networks_of_two_folds_exchanged(root, capsys):
    assert run(["evaluate", str(root), "--run", "one"]) == 0
    exchange(*(root / "runs" / "one" / f"fold-{fold}" / "model.onnx" for fold in (0, 1)))
    for command in ("evaluate", "report", "export"):
        out = ["--out", str(root.parent / "b")] if command == "export" else []
        assert "fold-0/model.onnx" in refused(capsys, command, str(root), "--run", "one", *out)
    assert not (root.parent / "b").exists()
    snapshot = take_snapshot(root)  # compare ranks only runs of which this is empty
    snapshot = snapshot.with_split(load_run_split(root / "runs" / "one", snapshot.cohort))
    assert "fold-0/model.onnx" in why_not(root / "runs" / "one", snapshot)


def test_weights_exchanged_are_not_exported_nor_explained(root, capsys):
    exchange(*(root / "runs" / "one" / f"fold-{fold}" / "weights.safetensors" for fold in (0, 1)))
    assert run(["evaluate", str(root), "--run", "one"]) == 0
    said = refused(capsys, "export", str(root), "--run", "one", "--out", str(root.parent / "b"))
    assert "weights.safetensors" in said


def test_learning_curves_exchanged(root, capsys):
    exchange(*(root / "runs" / "one" / f"fold-{fold}" / "metrics.jsonl" for fold in (0, 1)))
    assert "fold-0/metrics.jsonl" in refused(capsys, "report", str(root), "--run", "one")


@pytest.mark.parametrize("name", ["split.json", "config.json"])
def test_folds_or_settings_of_another_run(root, capsys, name):
    exchange(*(root / "runs" / run_name / name for run_name in ("one", "two")))
    said = refused(capsys, "evaluate", str(root), "--run", "one")
    assert f"run one, {name}" in said or "run one, config.json" in said


def test_checkpoint_of_another_fold_or_damaged(root, capsys):
    folds = [root / "runs" / "one" / f"fold-{fold}" / "checkpoint.safetensors" for fold in (0, 1)]
    whole = folds[0].read_bytes()
    exchange(*folds)
    more = ("train", str(root), "--more-epochs", "1", "--name", "one")
    assert "fold-0/checkpoint.safetensors" in refused(capsys, *more)
    folds[0].write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    said = refused(capsys, "train", str(root), "--resume", "--name", "one")
    assert "fold-0/checkpoint.safetensors" in said


def test_weights_changed_while_the_run_was_interrupted(root, capsys):
    folder = root / "runs" / "one"
    for path in (folder / "run.json", folder / "fold-0" / "fold.json"):
        path.unlink()
    exchange(*(folder / f"fold-{fold}" / "weights.safetensors" for fold in (0, 1)))
    said = refused(capsys, "train", str(root), "--resume", "--name", "one")
    assert "fold-0/weights.safetensors" in said


def test_folders_of_folds_exchanged_before_the_run_is_complete(root, capsys):
    (root / "runs" / "one" / "run.json").unlink()
    exchange(*(root / "runs" / "one" / f"fold-{fold}" for fold in (0, 1)))
    said = refused(capsys, "train", str(root), "--resume", "--name", "one")
    assert "fold-0/fold.json" in said


def test_a_run_of_an_older_version_answers_the_same(root):
    new = Study(root).run("one").evaluate()
    folder = root / "runs" / "one"
    for path in (folder / "run.json", folder / "config.json", *folder.glob("fold-*/fold.json")):
        held = content_of(path)
        for part in (held, *held.get("folds", ())):
            part.pop("files", None)
        if "digests" in held:
            held["digests"] = {name: held["digests"][name] for name in ("cohort", "slices")}
        path.write_text(json.dumps(held))
    old = Study(root).run("one").evaluate()
    assert load_run(folder).folds[0].files is None
    assert [p.probabilities for p in old.predictions] == [p.probabilities for p in new.predictions]
    (folder / "fold-0" / "model.onnx").write_text("x")
    with pytest.raises(NephroscopeError, match=r"fold-0/model\.onnx: expected an ONNX network"):
        Study(root).run("one").evaluate()


def test_a_kept_answer_that_was_changed_or_renamed_is_computed_again(root):
    before = Study(root).run("one").evaluate()
    kept = sorted((root / "runs" / "one" / KEPT).iterdir())
    contents = [path.read_bytes() for path in kept]
    values = np.load(kept[0])
    changed = bytearray(contents[0])
    start = changed.rfind(values.tobytes())
    changed[start : start + 16] = np.array([[0.25, 0.75]]).tobytes()
    kept[0].write_bytes(bytes(changed))
    kept[1].write_bytes(contents[2])
    after = Study(root).run("one").evaluate()
    assert [p.probabilities for p in after.predictions] == [p.probabilities for p in before.predictions]
    assert [path.read_bytes() for path in kept] == contents


def test_a_seal_is_of_name_origin_and_content(tmp_path):
    path = tmp_path / "a"
    save_sealed(path, b"numbers", "origin")
    assert load_sealed(path, "origin") == b"numbers"
    assert load_sealed(path) is None
    path.rename(tmp_path / "b")
    assert load_sealed(tmp_path / "b", "origin") is None
    assert load_sealed(path, "origin") is None
    save_sealed(path, b"")
    assert load_sealed(path) == b""
    path.write_bytes(path.read_bytes()[:-1])
    assert load_sealed(path) is None


def test_an_own_training_in_the_folder_of_another_is_not_used(root):
    folder = root / "runs" / "one"
    assert load_own_run(folder).name == "one"
    folder.rename(root / "runs" / "three")
    assert load_run(root / "runs" / "three").name == "one"  # a person may rename a run
    with pytest.raises(NephroscopeError):
        load_own_run(root / "runs" / "three")

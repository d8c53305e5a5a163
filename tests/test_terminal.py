"""What people see in a terminal: any code page, a line to paste after Ctrl-C, one style of refusal, status."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nephroscope import Study
from nephroscope.base import text
from nephroscope.base.documents import save_document
from nephroscope.base.text import shell_line
from nephroscope.cli import run
from nephroscope.learning.run_files import StartedRun
from nephroscope.records import Exclusion, TrainConfig
from nephroscope.study.snapshot import take_snapshot
from phantoms import write_nifti
from small_study import make_study

CONFIG = TrainConfig(model="shufflenet_v2_x1_0", epochs=1, batch_size=8, precision="fp32")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp932"])
def test_output_is_utf_8_on_every_terminal(tmp_path, encoding):
    name = "Größe ≥ 4 cm 腎"
    command = [sys.executable, "-m", "nephroscope", "new", name]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert name in done.stdout.decode("utf-8")
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert again.returncode == 2
    assert f"folder {name}" in again.stderr.decode("utf-8")


def interrupted(args, capsys):
    assert run(args) == 130
    said = capsys.readouterr().err
    return shlex.split(said.rpartition("to go on: ")[2])


def test_ctrl_c_prints_the_line_that_goes_on(tmp_path, monkeypatch, capsys):
    study = make_study(tmp_path / "my study's", 8)
    root = str(study.folder.root)

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nephroscope.study.slices.cut_slices", stop)
        assert interrupted(["slices", root], capsys) == ["nephroscope", "slices", root]
    assert run(["slices", root]) == 0
    assert run(["split", root, "--folds", "2"]) == 0
    begin_run(study.folder.root, "an older one")
    train = ["train", root, "--model", CONFIG.model, "--epochs", "1", "--name", "a b", "--json"]
    with monkeypatch.context() as patch:
        patch.setattr("nephroscope.learning.engine.runs.train_new_run", stop)
        assert interrupted(train, capsys) == ["nephroscope", *train], "it has not begun"
    with monkeypatch.context() as patch:
        patch.setattr("nephroscope.learning.training.run.train_folds", stop)
        line = interrupted(train, capsys)
    assert line == ["nephroscope", "train", root, "--resume", "--name", "a b", "--json"]
    assert run(line[1:]) == 0
    assert Study(root).run().name == "a b"


def test_words_are_quoted_for_the_shell_at_hand(monkeypatch):
    assert shell_line("nephroscope", "check", Path("a b")) == "nephroscope check 'a b'"
    monkeypatch.setattr(text.os, "name", "nt")
    assert shell_line("nephroscope", "check", r"C:\my study") == r'nephroscope check "C:\my study"'
    assert shell_line(r"C:\study") == r"C:\study"
    assert shell_line("R&D", "") == '"R&D" ""'


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (["splt"], "'splt'"),
        (["import"], "nothing"),
        (["import", "dicm"], "'dicm'"),
        (["slices"], "Missing from nephroscope slices: STUDY"),
        (["slices", "x", "--bogus"], "Unrecognized options: --bogus"),
        (["split", "x", "--folds", "many"], "--folds"),
        (["slices", "no-such-study"], "no study.toml"),
    ],
)
def test_every_refusal_has_one_style(args, found, capsys):
    assert run([*args, "--json"]) == 2
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert found in error["found"]
    assert err == f"nephroscope: refused: {error['message']}\n"
    assert set(error) == {"code", "where", "expected", "found", "remedy", "message"}


def states(root):
    found = Study(root).status()
    return {part.name: part.state for part in found.parts}, found


def begin_run(root, name, **digests):
    """A run that was interrupted before its first epoch."""
    study = take_snapshot(root)
    folder = root / "runs" / name
    held = {"cohort": study.cohort.label_digest, "slices": study.slices.digest} | digests
    save_document(folder / "config.json", StartedRun(training=CONFIG, digests=held), 1)
    shutil.copy(root / "splits.json", folder / "split.json")


def test_status_says_what_is_there_who_is_out_and_what_comes_next(tmp_path, capsys):
    study = make_study(tmp_path / "s", 8)
    study.add((), (Exclusion(case_id="x1", reason="no CT"),), ())
    root = study.folder.root
    parts, found = states(root)
    assert (parts["cohort"], parts["slices"], found.next) == (
        "up to date",
        "none",
        f"nephroscope slices {root}",
    )
    assert found.out == (Exclusion(case_id="x1", reason="no CT"),)
    study.cut_slices()
    study.make_split(folds=2)
    parts, found = states(root)
    assert (parts["slices"], parts["split"]) == ("up to date", "up to date")
    assert found.next == f"nephroscope train {root}"
    begin_run(root, "a b")
    assert shlex.split(states(root)[1].next)[-3:] == ["--resume", "--name", "a b"]
    begin_run(root, "a b", cohort="other")
    parts, found = states(root)
    assert (parts["run a b"], found.next) == ("out of date", f"nephroscope train {root}")
    (root / "runs" / "a b" / "config.json").write_text("{}")
    parts, found = states(root)
    assert (parts["run a b"], found.next) == ("damaged", f"nephroscope train {root}")
    shutil.rmtree(root / "runs")
    study.change("slices", margin_mm=7.0)
    parts, found = states(root)
    assert (parts["slices"], found.next) == ("out of date", f"nephroscope slices {root}")
    assert "[slices] in study.toml" in next(part.detail for part in found.parts if part.name == "slices")
    (root / "slices" / "spec.json").write_text("{")
    assert states(root)[0]["slices"] == "damaged"
    assert run(["status", str(root)]) == 3
    assert "left out, 1: no CT (x1)" in capsys.readouterr().out
    (root / "cohort.csv").write_text("nothing")
    parts, found = states(root)
    assert (parts, found.next) == ({"cohort": "damaged"}, f"nephroscope check {root}")
    assert run(["status", str(tmp_path / "none")]) == 2


def test_the_last_run_is_told_by_its_own_record(tmp_path):
    """Copying a study, or touching a file, makes no other run the last one."""
    root = Study.create(tmp_path / "s", ["PRCC", "ChRCC"]).folder.root
    for name, finished in (("old", "2026-01-01T00:00:00+00:00"), ("new", "2026-01-02T00:00:00+00:00")):
        (root / "runs" / name).mkdir(parents=True)
        (root / "runs" / name / "config.json").write_text('{"format": 1}')
        (root / "runs" / name / "run.json").write_text(json.dumps({"format": 1, "finished": finished}))
    os.utime(root / "runs" / "old" / "config.json", (2e9, 2e9))
    shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copyfile)
    for study in (root, tmp_path / "copy"):
        assert Study(study).folder.complete_run().name == "new"


def test_status_of_a_study_without_cases_asks_for_an_import(tmp_path, capsys):
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    (tmp_path / "labels.csv").write_text("case_id,subtype\n12001,PRCC\n", encoding="utf-8")
    write_nifti(np.zeros((4, 40, 40), np.int16), volumes / "0012001.nii.gz")
    root = str(tmp_path / "s")
    assert run(["new", root]) == 0
    run(["import", "nifti", root, str(volumes), "--labels", str(tmp_path / "labels.csv")])
    text = capsys.readouterr().out
    assert text.count("did you mean") == 3  # two exclusions, and one warning for both
    assert "leading zeros" in text
    assert run(["status", root, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["next"].startswith("nephroscope import")


def test_a_table_that_excel_has_open_is_named_with_what_to_do(tmp_path, monkeypatch, capsys):
    """As on Windows, where a file that another program has open cannot be replaced."""
    study = make_study(tmp_path / "study", 8)
    replace_file = Path.replace

    def locked(self, target):
        if Path(target).name == "study.toml":
            raise PermissionError(13, "Permission denied", str(self), None, str(target))
        return replace_file(self, target)

    before = study.folder.toml.read_bytes()
    monkeypatch.setattr(Path, "replace", locked)
    assert run(["agreement", str(study.folder.root), "--consensus", "union", "--json"]) == 2
    refusal = json.loads(capsys.readouterr().out)["error"]
    assert refusal["where"] == "study.toml"
    assert "Excel" in refusal["remedy"]
    assert study.folder.toml.read_bytes() == before

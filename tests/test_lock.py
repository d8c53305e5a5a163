"""Two commands on one folder: the second is refused and told who is at work; a killed process holds nothing."""

import json
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from nephroscope import Study
from nephroscope.base import files
from nephroscope.base.errors import StudyError
from nephroscope.base.lock import new_folder, writing
from nephroscope.base.tables import read_table
from nephroscope.cli import run
from nephroscope.intake.deidentify.export import Options, deidentify_export
from nephroscope.intake.deidentify.pseudonyms import linkage_path
from phantoms import dicom_slices, write_slices
from small_study import make_study

HOLD = """
import sys
from pathlib import Path
from nephroscope.base.lock import new_folder, writing
with writing(Path(sys.argv[1]), "train"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """A study into which another process writes until it is killed."""
    study = Study.create(tmp_path / "study", ["PRCC", "ChRCC"])
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(study.folder.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield study.folder.root, process
        process.kill()


def test_second_writer_is_refused_and_told_who_and_since_when(held):
    root, process = held
    with pytest.raises(StudyError) as refused, writing(root, "slices"):
        pytest.fail("two at once")
    assert refused.value.where == "folder study"
    for part in ("`train`", str(process.pid), " on ", " since 2"):
        assert part in refused.value.found
    process.kill()
    process.wait()
    with writing(root, "slices"):  # the lock of a killed process is free
        assert json.loads((root / ".lock.json").read_text())["pid"] == os.getpid()
    assert not (root / ".lock.json").exists()


@pytest.mark.parametrize(
    "args",
    [
        ["slices", "STUDY"],
        ["split", "STUDY"],
        ["import", "phantom", "STUDY", "--cases", "2"],
        ["train", "STUDY", "--folds", "2"],
        ["compare", "STUDY"],
        ["agreement", "STUDY", "--consensus", "union"],
    ],
    ids=" ".join,
)
def test_commands_that_write_are_refused_and_change_nothing(held, capsys, args):
    root, _ = held
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert run([str(root) if arg == "STUDY" else arg for arg in args]) == 2
    assert "`train`, process" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_readers_go_on(held):
    root, _ = held
    assert Study(root).records()[0]["cases"] == 0
    assert len(Study(root).import_findings) == 0


def test_blocks_inside_a_block_are_one_writer_and_another_thread_is_another(tmp_path):
    found = []

    def other():
        try:
            with writing(tmp_path, "split"):
                found.append("in")
        except StudyError as error:
            found.append(error.found)

    with writing(tmp_path, "slices"):
        with writing(tmp_path, "split"):
            pass
        assert (tmp_path / ".lock.json").exists()
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(found) == 1
    assert "`slices`" in found[0]


def test_refused_division_leaves_the_settings(tmp_path, capsys):
    """Twelve patients cannot be divided into 50 folds: study.toml keeps its own number, whoever asked."""
    study = make_study(tmp_path / "study")
    study.cut_slices()
    root = study.folder.root
    before = (root / "study.toml").read_bytes()
    for command in (["split"], ["train", "--epochs", "1"]):
        assert run([command[0], str(root), *command[1:], "--folds", "50"]) == 2
        assert "split into 50 folds" in capsys.readouterr().err
        assert (root / "study.toml").read_bytes() == before
        assert not (root / "splits.json").exists()
    assert run(["split", str(root), "--folds", "3"]) == 0
    assert "folds = 3" in (root / "study.toml").read_text()
    (root / "runs" / "taken").mkdir(parents=True, exist_ok=True)
    (root / "runs" / "taken" / "config.json").write_text("{}")
    kept = (root / "splits.json").read_bytes()
    assert run(["train", str(root), "--folds", "2", "--name", "taken"]) == 2
    assert (root / "splits.json").read_bytes() == kept


def test_two_deidentifications_with_one_key_or_into_one_folder_wait_for_each_other(tmp_path):
    for name in ("one", "two"):
        write_slices(dicom_slices(name), tmp_path / name)
    key = tmp_path / "key"
    for lock in (".key.lock", ".out.lock"):
        command = [sys.executable, "-c", textwrap.dedent(HOLD).replace('"train"', f'"deidentify", "{lock}"')]
        with subprocess.Popen([*command, str(tmp_path)], stdin=-1, stdout=-1, text=True) as process:
            assert process.stdout.readline() == "held\n"
            with pytest.raises(StudyError) as refused:
                deidentify_export(tmp_path / "two", tmp_path / "out", key, Options())
            assert "`deidentify`, process" in refused.value.found
            assert not (tmp_path / "out").exists()
            process.kill()
    for name in ("one", "two"):
        deidentify_export(tmp_path / name, tmp_path / f"{name}-out", key, Options())
    assert key.stat().st_mode & 0o077 == 0
    assert [row[0] for _, row in read_table(linkage_path(key))[1]] == ["one", "two"]
    assert not list(tmp_path.glob(".key*"))


def test_where_no_case_can_be_cut_the_next_step_is_not_to_cut_them(tmp_path, capsys):
    root = make_study(tmp_path / "study").folder.root
    (root / "rois.csv").write_text("case_id,author,roi\n")
    assert run(["check", str(root)]) == 0  # not drawn yet, which is no mistake
    assert "next: " not in capsys.readouterr().out
    rois = "".join(f"c{n:02},reader-1,gone.nii.gz\n" for n in range(10))
    (root / "rois.csv").write_text(f"case_id,author,roi\n{rois}")
    assert run(["check", str(root)]) == 3
    assert "next: " not in capsys.readouterr().out


def test_a_new_folder_is_made_by_one_command_at_a_time(tmp_path):
    """Two commands never fill the same draft; what a killed one left is removed, and a name that is taken stays."""
    draft, out = tmp_path / ".out.part", tmp_path / "out"
    command = [sys.executable, "-c", textwrap.dedent(HOLD).replace('"train"', '"export", ".out.lock"')]
    with subprocess.Popen([*command, str(tmp_path)], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "held\n"
        draft.mkdir()
        (draft / "of the other").write_text("")
        with pytest.raises(StudyError) as refused, new_folder(out, "laptop"):
            pytest.fail("two at once")
        assert "`export`, process" in refused.value.found
        assert (draft / "of the other").exists()
        process.kill()
    with new_folder(out, "laptop") as part:
        assert list(part.iterdir()) == []
        (part / "a").write_text("")
    with pytest.raises(RuntimeError), new_folder(tmp_path / "other", "export"):
        raise RuntimeError
    with pytest.raises(FileExistsError), new_folder(out, "laptop"):
        pytest.fail("it was there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert [path.name for path in out.iterdir()] == ["a"]


WRITE = """
import sys
from pathlib import Path
from nephroscope.base.files import replacing, replacing_together
with replacing(Path(sys.argv[1]) / "a.csv") as file, replacing_together(Path(sys.argv[1]), "tables") as folder:
    file.write_text("half")
    (folder / "b.csv").write_text("half")
    print("begun", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path, monkeypatch):
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITE), str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for one in begun:
        assert one.stdout.readline() == "begun\n"
    begun[0].kill()
    begun[0].communicate()
    foreign, other = tmp_path / ".a.csv.7.tmp", tmp_path / ".a.csv.000000-7.tmp"
    old = tmp_path / ".b.csv.000000-7.tmp"
    for path in (old, other, foreign, tmp_path / "mine.tmp"):
        path.write_text("of another computer long ago and now, of another program, of somebody")
    for path in (old, foreign):
        os.utime(path, (0, 0))
    monkeypatch.setattr(files, "_tidied", set())
    files.save_text(tmp_path / "c.csv", "whole")
    left = {path.name for path in tmp_path.iterdir()}
    pid = begun[1].pid
    mine = {f".{name}.{files.HOST}-{pid}.tmp" for name in ("a.csv", "tables")}
    assert {name for name in left if f"-{pid}." in name} == mine
    assert len(left) == 6, (
        "those two, the new file, and those of another computer, another program and somebody"
    )
    begun[1].communicate("")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        other.name,
        foreign.name,
        "a.csv",
        "b.csv",
        "c.csv",
        "mine.tmp",
    ]
    assert files.process_lives(os.getpid())


def test_process_numbers_of_another_container_are_not_ours(monkeypatch):
    """Containers may share a folder and a host name, and number their processes alike."""

    def of(space):
        def readlink(path):
            if space is None:
                raise FileNotFoundError(path)
            return space

        monkeypatch.setattr(files.os, "readlink", readlink)
        return files._host()

    assert len({of("pid:[1]"), of("pid:[2]"), of(None)}) == 3
    assert of("pid:[1]") == of("pid:[1]")

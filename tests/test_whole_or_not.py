"""Each command that writes, stopped at its N-th call of open, write, fsync or rename: as before, or whole.

Either way the same command, given again, ends with the bytes of a run that nothing disturbed.
"""

import errno
import hashlib
import os
import shutil
import stat
from pathlib import Path

import pytest

from nephroscope import Study
from nephroscope.base.errors import NephroscopeError
from nephroscope.cli import run
from nephroscope.records import SplitConfig
from nephroscope.study.folder import open_study
from nephroscope.study.snapshot import take_snapshot
from small_study import make_study

FULL = OSError(errno.ENOSPC, "No space left on device")
MOST = 400


class Fault:
    """Makes the N-th of the calls that write fail, as a full disk or a lost one does."""

    def __init__(self, patch, number):
        self.number, self.calls = number, 0
        for owner, name in ((os, "fsync"), (os, "replace"), (os, "rename")):
            patch.setattr(owner, name, self.failing(getattr(owner, name)))
        opened, written = Path.open, Path.write_text

        def open_to_write(path, mode="r", *args, **kwargs):
            if set(mode) & set("wax+"):
                self.count()
            return opened(path, mode, *args, **kwargs)

        def write_half(path, text, *args, **kwargs):
            try:
                self.count()
            except OSError:
                written(path, text[: len(text) // 2], *args, **kwargs)
                raise
            return written(path, text, *args, **kwargs)

        patch.setattr(Path, "open", open_to_write)
        patch.setattr(Path, "write_text", write_half)

    def count(self):
        self.calls += 1
        if self.calls == self.number:
            raise FULL

    def failing(self, call):
        def wrapped(*args, **kwargs):
            self.count()
            return call(*args, **kwargs)

        return wrapped


def kept(root):
    """Digest of every file of a study that a person or a later command reads."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    }


def imported(root):
    """Who is in the study, and what the import noted: of one import, and of the next."""
    study = Study(root)
    return (len(study.cohort.cases), len(study.cohort.exclusions), len(study.import_findings))


def cut(root):
    return take_snapshot(root).as_on_disk().slices.digest


def divided(root):
    folder, settings = open_study(root)
    held = hashlib.sha256(folder.splits.read_bytes()).hexdigest() if folder.splits.exists() else ""
    return held, settings.split.folds


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study with slices and folds, whose label table has since got two more cases."""
    study = make_study(tmp_path_factory.mktemp("made") / "study", 8)
    study.change("evaluation", resamples=100)
    study.cut_slices()
    study.make_split(SplitConfig(folds=2))
    root = study.folder.root
    for number, subtype in ((8, "PRCC"), (9, "ChRCC")):
        for end in (".nii.gz", "_seg.nii.gz"):
            shutil.copy(root / "volumes" / f"c00{end}", root / "volumes" / f"c{number:02}{end}")
        with (root / "labels.csv").open("a") as table:
            table.write(f"c{number:02},{subtype}\n")
    return root


def import_more(root):
    return ["import", "nifti", str(root), str(root / "volumes"), "--labels", str(root / "labels.csv")]


COMMANDS = {
    "import": (import_more, imported),
    "slices": (lambda root: ["slices", str(root)], cut),
    "split": (lambda root: ["split", str(root), "--folds", "1", "--holdout", "0.3"], divided),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_stopped_at_any_call_the_study_is_as_before_or_whole(made, tmp_path, monkeypatch, name):
    words, look = COMMANDS[name]
    root = tmp_path / "study"

    def fresh():
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(made, root)
        if name == "slices":
            Study(root).change("slices", margin_mm=5.0)

    fresh()
    before = look(root)
    assert run(words(root)) == 0
    after, whole = look(root), kept(root)
    assert after != before
    for number in range(1, MOST):
        fresh()
        with monkeypatch.context() as patch:
            fault = Fault(patch, number)
            code = run(words(root))
        reached = fault.calls >= number
        assert code == (2 if reached else 0), number
        left = look(root)
        assert left in (before, after), number
        assert run(words(root)) == 0, number
        found = kept(root)
        if left == after and name == "import":  # then the second one notes that the cases are there already
            found["findings.json"] = whole["findings.json"]
        assert found == whole, number
        if not reached:
            break
    else:
        pytest.fail("it never ended")
    assert number > 10


def test_a_file_is_synced_before_it_takes_its_name_and_its_folder_after(tmp_path, monkeypatch):
    from nephroscope.base.files import save_text

    done = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: (done.append(stat.S_ISDIR(os.fstat(handle).st_mode)), sync(handle))
    )
    monkeypatch.setattr(os, "replace", lambda *args: (done.append("rename"), replace(*args)))
    save_text(tmp_path / "a", "text")
    assert done == [False, "rename", True]


def test_what_cannot_be_written_is_refused_by_its_name(tmp_path, monkeypatch):
    root = make_study(tmp_path / "study", 4).folder.root
    Study(root).cut_slices()

    def full(*_):
        raise FULL

    monkeypatch.setattr(os, "fsync", full)
    assert run(["split", str(root)]) == 2
    monkeypatch.undo()
    with pytest.raises(NephroscopeError):
        Study(root).run()
    assert not (root / "splits.json").exists()

"""Each command that writes, stopped at its N-th call of open, write, fsync or rename: as before, or whole.

Either way the same command, given again, ends with the bytes of a run that nothing disturbed.
"""

import errno
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest

from nephroscope import Study
from nephroscope.base.errors import NephroscopeError
from nephroscope.base.files import file_digest
from nephroscope.cli import run
from nephroscope.clinic.bundle import open_bundle
from nephroscope.intake.deidentify.pseudonyms import open_key
from nephroscope.records import SplitConfig, TrainConfig
from nephroscope.study.folder import open_study
from nephroscope.study.snapshot import take_snapshot
from phantoms import dicom_slices, write_slices
from small_study import content_of, make_study
from tiny_bundle import make_bundle
from tiny_wheel import pin, tiny_wheel

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


class Places:
    """Folders as pytest gives them, for those who run this file."""

    def __init__(self, place):
        self.place = place

    def mktemp(self, name):
        (self.place / name).mkdir()
        return self.place / name


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


TIMES = ("seconds", "finished", "date", "made", "hours", "ms_per_slice", "peak_memory")
NETWORK = TrainConfig(
    model="shufflenet_v2_x1_0", width=0.5, epochs=1, batch_size=8, precision="fp32", learning_rate=0.01
)


def lasting(value):
    """JSON without what differs from one run to the next."""
    if isinstance(value, dict):
        return {key: lasting(part) for key, part in value.items() if not any(word in key for word in TIMES)}
    return [lasting(part) for part in value] if isinstance(value, list) else value


def held(path):
    """What a JSON file says; None where there is none."""
    return lasting(content_of(path)) if path.exists() else None


def digests(folder, *patterns):
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in found}


def trained(root):
    run_folder = root / "runs" / "new"
    complete = (run_folder / "run.json").exists()
    return digests(run_folder, "fold-*/*.onnx", "fold-*/weights.*") if complete else None


def train(root):
    words = ["train", str(root), "--name", "new", "--epochs", "1"]
    begun = (root / "runs" / "new" / "config.json").exists()
    return [*words[:2], "--resume", *words[2:4]] if begun else words


def bundled(root):
    """The digests that bundle.json has of its files, which are compared as it is opened; None where there is none."""
    if not (root / "bundle").exists():
        return None
    return open_bundle(root / "bundle").about.sha256["model.onnx"]


def carried(root):
    """Digest of every file of the folder for a laptop; None where there is none."""
    folder = root / "laptop"
    return digests(folder, "*.*", "*/*") if folder.exists() else None


def copied(root):
    """What is in the de-identified folder under its own names; None until it is complete."""
    folder = root / "copy"
    complete = (folder / "deidentification.json").exists() and held(folder / "deidentification.json")[
        "complete"
    ]
    return digests(folder, "**/*.dcm") if complete else None


DONE = ("export", "deidentify", "train", "laptop")  # say that it is done already
LATER = {  # the words, what is looked at, and at how many of the calls it is stopped
    "train": (train, trained, 3),
    "evaluate": (
        lambda root: ["evaluate", str(root)],
        lambda root: held(root / "runs" / "one" / "evaluation.json"),
        5,
    ),
    "compare": (
        lambda root: ["compare", str(root), "--candidates", "attenuation", "--no-control"],
        lambda root: held(root / "comparison" / "comparison.json"),
        3,
    ),
    "readers": (
        lambda root: ["readers", str(root), str(root / "calls.csv")],
        lambda root: held(root / "readers" / "readers.json"),
        5,
    ),
    "agreement": (
        lambda root: ["agreement", str(root)],
        lambda root: held(root / "agreement" / "agreement.json"),
        2,
    ),
    "check": (lambda root: ["check", str(root)], lambda root: digests(root, "check/index.html"), 3),
    "report": (lambda root: ["report", str(root)], lambda root: held(root / "report" / "report.json"), 2),
    "export": (lambda root: ["export", str(root), "--out", str(root / "bundle")], bundled, 3),
    "roi": (
        lambda root: ["roi", str(root), "c00", "--out", str(root / "c00.nii.gz")],
        lambda root: digests(root, "c00.nii.gz"),
        5,
    ),
    "deidentify": (
        lambda root: ["deidentify", str(root / "dicom"), str(root / "copy"), "--key", str(root / "key")],
        copied,
        6,
    ),
    "laptop": (
        lambda root: [
            *("laptop", str(root / "tiny"), "--out", str(root / "laptop")),
            *("--platform", "linux", "--python", "3.12", "--wheels", str(root / "wheels")),
        ],
        carried,
        5,
    ),
}


@pytest.fixture(scope="module")
def complete(made, tmp_path_factory):
    """The study with a second annotator, a run, calls of a radiologist, and a few DICOM files."""
    root = shutil.copytree(made, tmp_path_factory.mktemp("complete") / "study")
    rois = (root / "rois.csv").read_text()
    second = [line.replace("reader-1", "reader-2") for line in rois.splitlines(keepends=True)[1:]]
    (root / "rois.csv").write_text(rois + "".join(second))
    study = Study(root)
    study.change("training", **asdict(NETWORK))
    study.cut_slices()
    study.make_split(SplitConfig(folds=2))
    study.train(name="one")
    calls = [f"{case.case_id},a,{case.subtype}" for case in study.cohort.cases]
    (root / "calls.csv").write_text("\n".join(["case,reader,call", *calls]) + "\n")
    write_slices(dicom_slices()[:3], root / "dicom")
    open_key(root / "key")
    make_bundle(root / "tiny")
    (root / "pins.txt").write_text(pin(tiny_wheel(root / "wheels")))
    return root


def numbers(n_calls, n_tries):
    """Which calls fail: the first, the last, and some in between."""
    return sorted({1 + round(part * (n_calls - 1) / (n_tries - 1)) for part in range(n_tries)})


@pytest.mark.parametrize("name", LATER)
def test_stopped_at_some_calls_what_comes_later_is_as_before_or_whole(complete, tmp_path, monkeypatch, name):
    words, look, n_tries = LATER[name]
    monkeypatch.setattr("nephroscope.laptop.folder.pinned_text", (complete / "pins.txt").read_text)
    stopped(complete, tmp_path / "study", monkeypatch, words, look, n_tries)


def stopped(complete, root, monkeypatch, words, look, n_tries=0):
    """Stop a command at so many of its calls, or at each; and let the same command end it."""

    def fresh():
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(complete, root)

    fresh()
    before = look(root)
    with monkeypatch.context() as patch:
        all_calls = Fault(patch, 0)
        assert run(words(root)) == 0
    n_calls, after = all_calls.calls, look(root)
    assert n_calls > 2
    assert after not in (before, None)
    for number in numbers(n_calls, n_tries or n_calls):
        fresh()
        with monkeypatch.context() as patch:
            Fault(patch, number)
            code = run(words(root))
        left = look(root)
        assert code == 2 or (code == 0 and left == after), number
        assert left in (before, after), number
        if left != after or words(root)[0] not in DONE:
            assert run(words(root)) == 0, number  # what is whole needs no second time, and these say so
        assert look(root) == after, number
        assert not [path for path in root.rglob("*.tmp") if path.is_file()], number


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


if __name__ == "__main__":  # every call: python tests/test_whole_or_not.py [COMMAND ...]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        first = made.__wrapped__(Places(place))
        study_there = complete.__wrapped__(first, Places(place))
        for asked in sys.argv[1:] or LATER:
            stopped(study_there, place / "tried", pytest.MonkeyPatch(), *LATER[asked][:2])
            print(asked)  # noqa: T201

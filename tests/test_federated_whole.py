"""Each command of a group, stopped at its N-th call of open, fsync or rename: given again, it ends as if undisturbed.

`python tests/test_federated_whole.py [COMMAND ...]` stops at every call.
"""

import hashlib
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from federated_group import many_sites
from nephroscope.cli import run
from nephroscope.federated.group_place import GroupPlace
from nephroscope.federated.leaving import check_list, waiting_of
from nephroscope.federated.place import open_place
from test_whole_or_not import Fault, numbers

STEPS = (  # command, words after it, and at how many of its calls it is stopped in the suite
    ("new", ["{group}", "--study", "{study}", "--rounds", "1", "--quorum", "1", "--days", "0"], 4),
    ("invite", ["{group}", "lisbon", "--flower", "127.0.0.1:9092"], 6),
    ("join", ["{study}", "{group}/invitations/lisbon.json", "--exchange", "{group}/exchange"], 2),
    ("approve", ["{study}", "--by", "me"], 6),
    ("aggregate", ["{group}"], 2),
    ("train-round", ["{study}"], 2),
    ("approve", ["{study}", "--by", "me"], 0),
    ("aggregate", ["{group}"], 3),
    ("train-round", ["{study}"], 0),
    ("approve", ["{study}", "--by", "me"], 0),
    ("aggregate", ["{group}"], 0),
    ("evaluate", ["{study}"], 2),
    ("approve", ["{study}", "--by", "me"], 0),
    ("aggregate", ["{group}"], 2),
    ("evaluate", ["{group}"], 2),
)
CHANCE = ("key.pem", ".lock", ".lock.json")


def looked(root):
    """Files by name, with a digest where they do not depend on the time; an archive by its members."""
    found = {}
    for path in sorted((root / "group").rglob("*")) + sorted((root / "study" / "federated").rglob("*")):
        name = path.relative_to(root).as_posix()
        if not path.is_file() or path.name in CHANCE or any(part[0] == "." for part in Path(name).parts):
            continue
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as file:
                found[name] = {
                    one.filename: one.CRC
                    for one in file.infolist()
                    if not one.filename.startswith("manifest")
                }
                found[name].pop("step.json", None)
        elif (
            path.suffix in (".safetensors", ".onnx") and path.name != "checkpoint.safetensors"
        ):  # it holds seconds
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = True
    return found


def sound(root):
    """All that can be opened is: archives are proved, and what waits is what is listed."""
    if (root / "group" / "plan.json").exists():
        GroupPlace(root / "group").made()
    if list((root / "study" / "federated").glob("*/invitation.json")):
        place = open_place(root / "study")
        for step in range(place.invitation.plan.figures + 1):
            if waiting := waiting_of(place, step):
                check_list(waiting)


def stopped(root, kept, words, n_tries, patches):
    """Stop it at so many calls, or at each, and give it again; the folder is then as the command leaves it."""

    def fresh():
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(kept, root)

    fresh()
    with patches.context() as patch:
        calls = Fault(patch, 0)
        assert run(words) == 0
    whole = looked(root)
    tries = range(1, calls.calls + 1) if n_tries is None else numbers(calls.calls, n_tries) if n_tries else ()
    for number in tries:
        fresh()
        with patches.context() as patch:
            Fault(patch, number)
            code = run(words)
        assert code in (0, 2), (words, number)
        sound(root)
        again = run(words)
        assert again == 0 or looked(root) == whole, (words, number)  # done already: it may say so
        assert names_of(looked(root)) == names_of(whole), (words, number)
        if words[1] not in ("new", "invite", "join"):  # those draw keys
            assert looked(root) == whole, (words, number)
        assert not [path for path in root.rglob("*.tmp") if path.is_file()], (words, number)
    fresh()
    assert run(words) == 0
    return len(tries), calls.calls


def names_of(found):
    return sorted(found)


def walk(folder, patches, asked=(), every=False):
    """The whole way of one site, each command stopped; gives how often."""
    root, kept, told = folder / "tried", folder / "kept", []
    many_sites(root / "study", 16, 1)
    for command, more, n_tries in STEPS:
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(root, kept)
        words = [
            "federate",
            command,
            *(one.format(group=root / "group", study=root / "study") for one in more),
        ]
        n = None if every and (not asked or command in asked) else 0 if every else n_tries
        told.append((command, *stopped(root, kept, words, n, patches)))
    return told


def test_each_command_is_stopped_and_given_again(tmp_path, monkeypatch):
    told = walk(tmp_path, monkeypatch)
    assert {command for command, n, _ in told if n} == {command for command, _, _ in STEPS}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for one in walk(Path(name).resolve(), pytest.MonkeyPatch(), sys.argv[1:], every=True):
            print(*one)  # noqa: T201

"""The folder for a laptop: what is in it, what is refused, and that it starts where there is no network."""

import base64
import ensurepip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nephroscope.base.errors import ConfigError
from nephroscope.base.version import __version__
from nephroscope.cli import run
from nephroscope.laptop.folder import make_laptop_folder, this_computer
from nephroscope.laptop.pins import Target, pinned_text, pins_for, systems
from nephroscope.laptop.wheels import pack_own_wheel
from network_recorder import recorded, why_not
from tiny_bundle import make_bundle
from tiny_wheel import pin, tiny_wheel

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
PIP = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
WHY_NOT = (
    "no sh here" if shutil.which("sh") is None else "" if PIP else "this Python brings no pip"
) or why_not()
starts = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "can be made")


def target(name="linux", python="3.12"):
    return Target(system=systems()[name], python=python)


def made(tmp_path, name=None, python=HERE, out="für die Klinik/Büro 1"):
    """A folder from a wheel of pip and a tiny one."""
    wheels = tmp_path / "wheels"
    given = [tiny_wheel(wheels), *(Path(shutil.copy(path, wheels)) for path in PIP)]
    pins = "".join(map(pin, given))
    bundle = make_bundle(tmp_path / "bundle")
    return make_laptop_folder(bundle, tmp_path / out, target(name or this_computer(), python), wheels, pins)


def start(folder, *words, **more):
    """What start.sh does where nothing leads out, with this Python first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return recorded("sh", folder / "start.sh", *words, env={**kept, "PATH": path, **more})


@starts
def test_it_starts_without_a_network(tmp_path):
    folder = made(tmp_path).folder
    moved = tmp_path / "anderswo ü & co"
    folder.rename(moved)
    seen = start(moved, "--version", PIP_INDEX_URL="http://packages.invalid/simple")
    assert (seen["rc"], seen["names"], seen["sent_to"]) == (0, [], []), seen["output"]
    assert seen["output"].splitlines()[0] == __version__
    assert "Installing" in seen["output"]
    assert not list(moved.glob("*.part"))
    (tiny,) = (moved / "program").rglob("tiny.py")
    tiny.with_name("sitecustomize.py").write_text("import sys; print(sys.orig_argv[1:])", encoding="utf-8")
    for words, command in (((), ["workstation", str(moved / "bundle")]), (("--version",), ["--version"])):
        seen = start(moved, *words)
        assert str(["-m", "nephroscope", *command]) in seen["output"].splitlines()
        assert "Installing" not in seen["output"]
    left, others = moved / "program.1.part", moved / "program.2.part"
    for part in (left, others):
        part.mkdir()
    os.utime(left, (0, 0))  # of a start that was killed long ago
    lines = (moved / "requirements.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    without = [line for line in lines if not line.startswith("tiny")]
    (moved / "requirements.txt").write_text("".join(without), encoding="utf-8")
    seen = start(moved, "--version")  # another list of packages: installed again
    assert (seen["rc"], "Installing" in seen["output"]) == (0, True)
    assert not list((moved / "program").rglob("tiny.py"))
    assert (left.exists(), others.exists()) == (False, True)


@starts
def test_a_changed_package_is_not_installed(tmp_path):
    folder = made(tmp_path).folder
    for name in ("tiny", "pip", "nephroscope"):
        (wheel,) = (folder / "wheels").glob(f"{name}-*.whl")
        whole = wheel.read_bytes()
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr("more.py", "1")
        seen = start(folder, "--version")
        assert (seen["rc"], "cannot be started" in seen["output"]) == (2, True), seen["output"]
        assert not (folder / "program").exists()
        assert not list(folder.glob("*.part"))
        wheel.write_bytes(whole)


@starts
def test_another_python_is_refused(tmp_path):
    folder = made(tmp_path, python="3.19").folder
    seen = start(folder, "--version")
    assert (seen["rc"], "Python 3.19" in seen["output"]) == (2, True)
    done = subprocess.run([sys.executable, folder / "start.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


def test_what_is_in_it(tmp_path):
    found = made(tmp_path)
    folder = found.folder
    script = "start.cmd" if os.name == "nt" else "start.sh"
    kept = ["README.txt", "bundle", "laptop.json", "requirements.txt", "start.py", script, "wheels"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(kept)
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = {line.split(" --hash=sha256:")[1] for line in lines}
    there = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "wheels").iterdir()}
    assert (len(listed), listed) == (len(found.wheels), there)
    about = json.loads((folder / "laptop.json").read_text(encoding="utf-8"))
    assert (about["format"], about["python"], about["sys_platform"]) == (1, HERE, sys.platform)
    assert 0 < found.size_mb < 10
    assert not list(folder.parent.glob(".*"))


def test_the_script_for_windows(tmp_path):
    folder = made(tmp_path, "windows", "3.12").folder
    script = (folder / "start.cmd").read_bytes()
    assert script.isascii()
    assert script.count(b"\n") == script.count(b"\r\n") == len(script.splitlines())
    lines = script.decode().splitlines()
    assert lines[0] == "@echo off"
    assert "chcp 65001 >nul" in lines
    assert '%RUN% "%~dp0start.py" %*' in lines
    assert all(word.count('"') % 2 == 0 for word in lines)
    readme = (folder / "README.txt").read_bytes()
    assert readme.count(b"\n") == readme.count(b"\r\n") > 20
    assert "Python 3.12" in readme.decode()


def test_refused_before_anything_is_written(tmp_path):
    wheels, bundle = tmp_path / "wheels", make_bundle(tmp_path / "bundle")
    tiny, other = tiny_wheel(wheels), tiny_wheel(tmp_path, "other")
    only_windows = tiny_wheel(wheels, "native", tag="cp312-cp312-win_amd64")
    right = pin(tiny)
    for pins, said in (
        (right + pin(other), "no wheel of other 1.0"),
        (right.replace(right[-9:], "00000000\n"), "hash"),
        (pin(only_windows), "for this computer"),
    ):
        with pytest.raises(ConfigError) as refusal:
            make_laptop_folder(bundle, tmp_path / "out", target(), wheels, pins)
        assert said in refusal.value.found
        assert not (tmp_path / "out").exists()
    for out in (bundle, bundle / "inside"):
        with pytest.raises(ConfigError) as refusal:
            make_laptop_folder(bundle, out, target(), wheels, right)
        assert refusal.value.where == "--out"
    with pytest.raises(ConfigError):
        make_laptop_folder(bundle, tmp_path / "out", target(), tmp_path / "nowhere", right)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != wheels.name) == [
        "bundle",
        other.name,
    ]


def test_what_a_killed_command_left_is_replaced(tmp_path):
    left = tmp_path / ".out.part" / "wheels"
    left.mkdir(parents=True)
    (left / "other-1-py3-none-any.whl").write_bytes(b"half")
    folder = made(tmp_path, out="out").folder
    assert not left.exists()
    assert not (folder / "wheels" / "other-1-py3-none-any.whl").exists()


def test_a_folder_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("nephroscope.laptop.folder.MOST_MB", 0.01)
    with pytest.raises(ConfigError) as refusal:
        made(tmp_path, out="out")
    assert refusal.value.expected == "at most 0.01 MB"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("a-1-py3-none-any.whl", "windows windows-arm linux linux-arm macos-arm macos-intel"),
        ("a-1-cp312-cp312-win_amd64.whl", "windows"),
        ("a-1-cp311-abi3-win_arm64.whl", "windows-arm"),
        ("a-1-cp311-cp311-win_amd64.whl", ""),
        ("a-1-cp313-abi3-win_amd64.whl", ""),
        ("a-1-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", "linux"),
        ("a-1-cp312-cp312-manylinux_2_28_x86_64.whl", "linux"),
        ("a-1-cp312-cp312-manylinux_2_39_x86_64.whl", ""),
        ("a-1-cp312-cp312-musllinux_1_2_x86_64.whl", ""),
        ("a-1-cp312-abi3-manylinux_2_28_aarch64.whl", "linux-arm"),
        ("a-1-cp312-cp312-macosx_11_0_universal2.whl", "macos-arm macos-intel"),
        ("a-1-cp312-cp312-macosx_15_0_arm64.whl", ""),
        ("not-a-wheel.whl", ""),
    ],
)
def test_which_computer_a_wheel_fits(name, fits):
    assert {known for known in systems() if target(known).fits(name)} == set(fits.split())


def test_the_pinned_packages_are_chosen_for_the_laptop_not_for_this_computer():
    text = pinned_text()
    named = {
        (system, python): {one.name for one in pins_for(target(system, python), text)}
        for system in systems()
        for python in ("3.11", "3.14")
    }
    assert {key[0] for key, names in named.items() if "colorama" in names} == {"windows", "windows-arm"}
    assert {key[0] for key, names in named.items() if "highdicom" not in names} == {"windows-arm"}
    needed = {"numpy", "onnxruntime", "imagecodecs", "starlette", "uvicorn", "scipy", "pip", "packaging"}
    for (system, python), names in named.items():
        chosen = pins_for(target(system, python), text)
        assert needed <= names
        assert len(chosen) == len(names)
        assert all(len(digest) == 64 for one in chosen for digest in one.sha256)


@pytest.mark.parametrize("python", ["3.10", "3.12.1", "312", "4.0", "3.12 ", ""])
def test_a_version_of_python_in_another_form_is_refused(python):
    with pytest.raises(ConfigError):
        target("linux", python)


def test_our_own_wheel_is_the_running_program(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    wheel = pack_own_wheel(first)
    assert wheel.read_bytes() == pack_own_wheel(second).read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("nephroscope/laptop/workstation.txt").decode() == pinned_text()
        rows = archive.read(f"nephroscope-{__version__}.dist-info/RECORD").decode().splitlines()
        names = {row.split(",")[0] for row in rows}
        assert names == set(archive.namelist())
        for row in rows[:-1]:
            name, digest, size = row.rsplit(",", 2)
            content = archive.read(name)
            kept = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (digest, int(size)) == (f"sha256={kept}", len(content))
    assert {"nephroscope/workstation/static/common.js", "nephroscope/laptop/start.py"} <= names


def test_the_command_names_what_is_wrong(tmp_path, capsys):
    bundle = make_bundle(tmp_path / "bundle")
    words = ["laptop", str(bundle), "--out", str(tmp_path / "out"), "--json"]
    assert run([*words, "--platform", "amiga"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == "--platform"
    assert run([*words, "--python", "3.9"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == "--python"
    assert run([*words, "--wheels", str(tmp_path / "nowhere")]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == "--wheels"

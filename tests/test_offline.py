"""Nothing leaves this machine: the commands, their workers and Ray under a recorder of names and packets."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from nephroscope import cli
from nephroscope.base.offline import SWITCHES
from nephroscope.cli import demo, run
from nephroscope.cli import imports as cli_imports
from nephroscope.laptop import folder
from network_recorder import recorded, why_not
from phantoms import box_hu, dicom_slices, window_gray, write_png, write_slices
from small_study import make_study
from test_kits import make_kits, row
from test_rmac import KEY as RMAC_KEY
from tiny_wheel import pin, tiny_wheel

WHY_NOT = why_not()
under_recorder = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "can be made")
SMALL = "--models shufflenet_v2_x1_0 --epochs 1"
TRAIN = "--model shufflenet_v2_x1_0 --width 0.5 --epochs 1 --slices-per-case 2 --no-augmentation"
COMMANDS = f"""
demo demo --cases 12
status demo
check demo
models
train demo {TRAIN} --name one --jobs 2
evaluate demo
compare demo --runs one --candidates attenuation --no-control
report demo
export demo --out b
predict b demo/phantom/SYNTHETIC-0001/ct --roi demo/phantom/SYNTHETIC-0001/roi_reader1.dcm --json
laptop b --out for-a-laptop --wheels wheels
phase --table demo/seen_series.csv
agreement demo
info
new n --subtypes PRCC ChRCC --positive PRCC
import nifti n volumes --labels labels.csv
new i --subtypes PRCC ChRCC --positive PRCC
import images i pictures
new d --subtypes PRCC ChRCC --positive PRCC
import dicom d dicom --dry-run
import phantom d --cases 2
new k --subtypes PRCC ChRCC --positive PRCC
import kits k kits
import rmac k rmac --dry-run
import idc new --collections tcga_kich --dry-run
slices n
split n --folds 2
roi n c00 --out c00.nii.gz
readers n calls.csv
capacity n {SMALL} --widths 0.5
replicate zuo2021 n {SMALL} --images-per-epoch 16 --twin-folds 1 --shuffled-model none
deidentify dicom copy --key key
plan --auc 0.8 --width 0.2
statistics auc table.csv --truth truth --positive PRCC --score p
statistics calibration table.csv --truth truth --positive PRCC --score p
statistics kappa calls.csv
""".strip().splitlines()
ELSEWHERE = {  # what is not run here, and the tests that run it with what it needs
    "workstation": "test_workstation",
    "send": "test_exchange_pacs",
    "listen": "test_exchange_listen",
    "pacs": "test_exchange_pacs",
    "federate": "test_federated",
    "segment": "test_segment",
    "rois": "test_several_phases",
}


def make_inputs() -> None:
    """What the commands are given, in this folder."""
    study = make_study(Path("made"), 14)
    root = study.folder.root
    shutil.move(root / "volumes", "volumes")
    shutil.move(root / "labels.csv", "labels.csv")
    lines = [(case.case_id, case.subtype, number) for number, case in enumerate(study.cohort.cases)]
    both = [f"{name},{reader},{subtype}" for name, subtype, _ in lines for reader in ("a", "b")]
    Path("calls.csv").write_text("\n".join(["case_id,reader,call", *both]) + "\n", encoding="utf-8")
    rows = [f"{name},{subtype},{0.3 + 0.03 * number}" for name, subtype, number in lines]
    Path("table.csv").write_text("\n".join(["case_id,truth,p", *rows]) + "\n", encoding="utf-8")
    write_slices(dicom_slices()[:3], Path("dicom"))
    for name in ("case1_M_63_PRCC_slice1", "case2_F_60_ChRCC_slice1"):
        write_png(window_gray(box_hu()[2]), Path("pictures") / f"{name}.png")
    make_kits(Path("kits"), "KiTS23", [row(1), row(2, "chromophobe")], with_ct=(1, 2))
    Path("rmac").mkdir()
    Path("rmac", "phase_reg_key.csv").write_text(RMAC_KEY, encoding="utf-8")
    pins = pin(tiny_wheel(Path("wheels")))
    folder.pinned_text = lambda: pins  # a small package instead of those that the laptop needs
    short = replace(demo.DEMO_TRAINING, epochs=1)  # what it sends does not depend on how long it trains
    demo.DemoPlan = partial(demo.DemoPlan, training=short, slices=replace(demo.DEMO_SLICES, size_px=64))


def run_all() -> None:
    """Each command here, and what it starts in its workers; stops at the first that fails. Then every help."""
    make_inputs()
    for line in COMMANDS:
        code = run(line.split())
        assert code in (0, 3), f"{line}: exit code {code}"
        if line.startswith("new "):
            toml = Path(line.split()[1]) / "study.toml"
            small = toml.read_text(encoding="utf-8").replace("size_px = 256", "size_px = 32")
            toml.write_text(small.replace("resamples = 2000", "resamples = 200"), encoding="utf-8")
    for words in every_command():
        assert run([*words, "--help"]) == 0, words


def every_command() -> list[list[str]]:
    """Every command and every kind of those that have several."""
    found: list[list[str]] = []
    for name, (module, kind, _) in cli.COMMANDS.items():
        command = getattr(import_module(f"nephroscope.cli.{module}"), kind)
        found += [[name, of_it] for of_it in command] if isinstance(command, dict) else [[name]]
    return found


def elsewhere(tmp_path: Path, code: str) -> dict:
    """What a Python process with our package sent."""
    environment = {
        **{name: value for name, value in os.environ.items() if name not in SWITCHES},
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    return recorded(sys.executable, "-c", code, cwd=tmp_path, env=environment)


@under_recorder
def test_the_recorder_sees_names_and_connections(tmp_path):
    code = (
        "import socket; print(socket.gethostbyname('reports.invalid'));"
        "s = socket.socket(); s.settimeout(0.5); print(s.connect_ex(('192.0.2.9', 443)))"
    )
    seen = elsewhere(tmp_path, code)
    assert (seen["names"], seen["sent_to"], seen["rc"]) == (["reports.invalid"], ["192.0.2.9"], 0)


@under_recorder
def test_no_command_looks_up_a_name_or_sends_a_packet(tmp_path):
    seen = elsewhere(tmp_path, "from test_offline import run_all; run_all()")
    assert seen["rc"] == 0, seen["output"]
    for made in ("b/bundle.json", "demo/bundle/bundle.json", "for-a-laptop/laptop.json"):
        assert (tmp_path / made).is_file()
    assert (seen["names"], seen["sent_to"]) == ([], [])


def test_every_command_is_run_under_the_recorder_or_by_tests_of_its_own():
    here = {line.split()[0] for line in COMMANDS}
    assert here | set(ELSEWHERE) == set(cli.COMMANDS)
    assert not here & set(ELSEWHERE)
    for test in ELSEWHERE.values():
        assert (Path(__file__).parent / f"{test}.py").is_file()
    kinds = {tuple(line.split()[:2]) for line in COMMANDS}
    assert {("import", kind) for kind in cli_imports.IMPORTS} <= kinds


@under_recorder
def test_ray_does_not_report_its_use(tmp_path):
    code = """
import ray
from nephroscope.base.cluster import map_on_ray
from test_offline import switched
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
(_, there), = map_on_ray(switched, [0], "auto")
ray.shutdown()
assert there == [True] * len(there), there
"""
    seen = elsewhere(tmp_path, code)
    assert seen["rc"] == 0, seen["output"]
    # The head, which this package never starts, asks which cloud it runs in, whatever the switches say.
    assert set(seen["names"]) <= {"metadata.google.internal"}
    assert set(seen["sent_to"]) <= {"169.254.169.254", "192.0.2.1"}


def switched(_: int) -> list[bool]:
    """In a worker: whether each switch is on there."""
    return [os.environ.get(name) == value for name, value in SWITCHES.items()]


def test_switches_are_on_before_any_package_is_loaded():
    code = (
        "import os, sys, nephroscope; from nephroscope.base.offline import SWITCHES;"
        "print(all(os.environ.get(n) == v for n, v in SWITCHES.items()), 'onnxruntime' in sys.modules)"
    )
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["True", "False"]

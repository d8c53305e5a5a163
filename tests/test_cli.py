import errno
import json
import logging
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nephroscope import cli
from nephroscope.base.errors import RoiError
from nephroscope.cli import COMMANDS, run
from nephroscope.cli.command import estimates_text, parse
from nephroscope.cli.learn import Train
from nephroscope.cli.meanings import MEANINGS
from nephroscope.records import Estimate
from nephroscope.study.slices import Journal
from phantoms import write_png
from test_study import make_study


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """Commands set up logging once per process; tests must not."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)


@pytest.fixture
def study(tmp_path):
    make_study(tmp_path / "study")
    return str(tmp_path / "study")


def printed(capsys):
    """stdout as JSON, and stderr."""
    out, err = capsys.readouterr()
    return (json.loads(out) if out.strip() else None), err


def test_whole_way_by_commands(study, capsys, tmp_path):
    """Each command's JSON as promised, from slices to a prediction."""
    assert run(["check", study, "--json"]) == 0
    assert {case["case_id"] for case in printed(capsys)[0]["cases"]} == {f"c{n:02}" for n in range(10)}
    assert run(["slices", study, "--json"]) == 0
    assert printed(capsys)[0]["slices"] == 40
    assert run(["split", study, "--folds", "3", "--json"]) == 0
    assert [fold["test"] for fold in printed(capsys)[0]["folds"]] == [4, 3, 3]
    options = ["--model", "shufflenet_v2_x1_0", "--folds", "2", "--epochs", "3", "--batch-size", "8"]
    assert run(["train", study, *options, "--json"]) == 0
    content, _ = printed(capsys)
    assert len(content["folds"]) == 2
    assert run(["evaluate", study, "--json"]) == 0
    evaluation, _ = printed(capsys)
    assert {"subtypes", "positive", "protocol", "image", "case"} <= evaluation.keys()
    for figures in (evaluation["image"], evaluation["case"]):
        for estimate in figures.values():
            assert estimate.keys() == {"value", "low", "high", "n", "unit", "method"}
    assert evaluation["case"]["accuracy"]["n"] == 10
    assert evaluation["image"]["accuracy"]["n"] == 40
    assert run(["report", study, "--json"]) == 0
    assert Path(printed(capsys)[0]["report"]).is_file()
    bundle = str(tmp_path / "bundle")
    assert run(["export", study, "--out", bundle, "--json"]) == 0
    capsys.readouterr()
    volumes = Path(study) / "volumes"
    ct, roi = str(volumes / "c00.nii.gz"), str(volumes / "c00_seg.nii.gz")
    assert run(["predict", bundle, ct, "--roi", roi, "--json"]) == 0
    answer, _ = printed(capsys)
    assert {"case_id", "probabilities", "call", "reason", "slices", "findings", "seconds"} <= answer.keys()
    assert answer["case_id"] == "case"  # never the name of a file
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert run(["predict", bundle, ct, "--roi", roi]) == 0
    assert "Research use only" in capsys.readouterr().out


def test_image_protocol_says_leaky_everywhere(study, capsys):
    run(["slices", study])
    options = ["--model", "shufflenet_v2_x1_0", "--folds", "2", "--epochs", "1", "--protocol", "image"]
    assert run(["train", study, *options]) == 0
    assert "LEAKY" in capsys.readouterr().out
    assert run(["evaluate", study]) == 0
    assert "LEAKY" in capsys.readouterr().out
    assert run(["evaluate", study, "--json"]) == 0
    evaluation, _ = printed(capsys)
    assert evaluation["leaky"]
    assert all("LEAKY" in estimate["method"] for estimate in evaluation["case"].values())
    assert run(["report", study]) == 0
    assert "LEAKY" in (Path(study) / "report" / "index.html").read_text()
    assert "LEAKY" in (Path(study) / "runs" / "shufflenet_v2_x1_0" / "predictions.csv").read_text()


def test_recipe_of_the_paper_sets_what_is_not_given(study, capsys):
    run(["slices", study])
    capsys.readouterr()
    options = [
        "--recipe",
        "zuo2021",
        "--model",
        "shufflenet_v2_x1_0",
        "--folds",
        "2",
        "--epochs",
        "1",
        "--seed",
        "4",
    ]
    assert run(["train", study, *options, "--batch-size", "8"]) == 0
    held = json.loads((Path(study) / "runs" / "shufflenet_v2_x1_0" / "config.json").read_text())["training"]
    assert (held["learning_rate"], held["schedule"], held["batch_size"], held["seed"]) == (
        0.005,
        "constant",
        8,
        4,
    )


def test_models_json(capsys):
    assert run(["models", "--recipe", "zuo2021", "--json"]) == 0
    entries, _ = printed(capsys)
    assert [entry["trainable"] for entry in entries][:2] == [2_226_434, 1_256_679]
    assert {"name", "trainable", "total", "head"} <= entries[0].keys()
    assert run(["models", "--recipe", "zuo2021"]) == 0
    out = capsys.readouterr().out
    assert "10 of 12 numbers match exactly" in out
    assert "+1,281" in out
    assert "+7" in out
    assert run(["models", "--subtypes", "1"]) == 2


def test_every_command_has_an_example(capsys):
    for name in COMMANDS:
        grouped = {
            "import": ["images", "dicom", "nifti", "phantom"],
            "replicate": ["zuo2021"],
            "statistics": ["auc"],
            "pacs": ["find", "get", "read"],
            "rois": ["write", "transfer", "accept", "compare"],
            "federate": [
                "new",
                "invite",
                "join",
                "train-round",
                "approve",
                "aggregate",
                "evaluate",
                "simulate",
            ],
        }
        kinds = grouped.get(name, [None])
        for kind in kinds:
            words = [name, kind] if kind else [name]
            assert run([*words, "--help"]) == 0
            out = capsys.readouterr().out
            assert f"Example: nephroscope {' '.join(words)}" in out
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


def test_kinds_of_a_command_are_listed_with_a_sentence_each(capsys):
    assert run(["statistics", "--help"]) == 0
    out = capsys.readouterr().out
    assert "usage: nephroscope statistics KIND" in out
    assert "  kappa            Agreement of two or more readers" in out
    assert run(["statistics", "kapa"]) == 2
    assert "expected one of auc, " in capsys.readouterr().err


def test_check_counts_findings_by_code_with_their_meaning(study, capsys):
    (Path(study) / "volumes" / "c03.nii.gz").write_bytes(b"nothing")
    assert run(["check", study]) == 3
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("roi-measures"))
    assert line.split()[1:5] == ["note", "9", "cases", "volume,"]
    assert " refusal   1 case " in out
    assert "10 cases read" in out


def test_every_code_of_the_reference_has_a_short_meaning():
    page = Path(__file__).parents[1] / "docs" / "reference" / "findings.md"
    listed = re.findall(r"^\| `([a-z0-9-]+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(listed) == set(MEANINGS)


def test_an_import_of_one_case_is_in_the_singular(tmp_path, capsys):
    root = str(tmp_path / "one")
    assert run(["new", root]) == 0
    write_png(np.full((40, 40), 120, np.uint8), tmp_path / "slices" / "a1_F_50_PRCC_slice0.png")
    assert run(["import", "images", root, str(tmp_path / "slices"), "--spacing-mm", "0.8"]) == 0
    assert "cohort: 1 case of 1 patient (1 PRCC)" in capsys.readouterr().out


def test_help_of_switches_reads_as_it_acts(study, capsys):
    """Both forms stand there with the default of the first; and both parse, whatever study.toml says."""
    assert run(["train", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "--class-weights, --no-class-weights" in out
    assert "--no-json" not in out
    for word, kept in (("--no-augmentation", False), ("--augmentation", True)):
        assert parse(Train, "train", [study, word]).training.augmentation is kept


def test_help_shows_what_the_command_heeds(capsys):
    assert run(["statistics", "readers", "--help"]) == 0
    out = capsys.readouterr().out
    assert "--confidence" in out
    assert "--criterion" not in out
    assert "--not-sure-margin" not in out
    assert run(["plan", "--help"]) == 0
    out = capsys.readouterr().out
    assert sum(line.startswith("Example: nephroscope plan") for line in out.splitlines()) == 3


def test_plan_answers_what_was_asked_first(capsys):
    assert run(["plan", "--auc", "0.8", "--against", "0.88"]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("AUC 0.88 against 0.8 on the same patients: 96 positive and 96 negative patients")
    assert second.startswith("AUC 0.8, 95 % interval at most 0.1 wide")


def test_refusal_is_exit_code_2_with_its_four_parts(capsys, tmp_path):
    assert run(["slices", str(tmp_path), "--json"]) == 2
    content, err = printed(capsys)
    assert content["error"].keys() == {"code", "where", "expected", "found", "remedy", "message"}
    assert "refused" in err
    assert "Traceback" not in err


def test_wrong_words_are_exit_code_2(capsys, tmp_path):
    for words in (
        ["fly"],
        ["import"],
        ["import", "pdf"],
        ["train"],
        ["new", str(tmp_path / "s"), "--subtypes"],
    ):
        assert run(words) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_some_cases_refused_is_exit_code_3(study, capsys):
    (Path(study) / "volumes" / "c03.nii.gz").write_bytes(b"nothing")
    assert run(["slices", study]) == 3
    assert "refused: " in capsys.readouterr().out
    assert run(["check", study]) == 3


def test_full_disk_is_told_and_the_study_goes_on(study, capsys, monkeypatch):
    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device", f"{study}/slices/slices.npy")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", full)
        assert run(["slices", study, "--json"]) == 2
    content, err = printed(capsys)
    assert content["error"]["found"] == "No space left on device"
    assert content["error"]["where"] == "slices.npy"
    assert "Traceback" not in err
    assert run(["slices", study]) == 0


def test_missing_extra_names_what_to_install(capsys, monkeypatch, study):
    def no_torch(*_args):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(cli, "_parsed", no_torch)
    assert run(["train", study, "--json"]) == 2
    assert printed(capsys)[0]["error"]["remedy"] == "pip install 'nephroscope-0.1.0-py3-none-any.whl[train]'"
    for name in ("highdicom", "highdicom.seg"):
        missing = ModuleNotFoundError(name=name)
        monkeypatch.setattr(cli, "_parsed", lambda *_, missing=missing: (_ for _ in ()).throw(missing))
        assert run(["export", "rois", study, "--json"]) == 2
        assert "no highdicom" in printed(capsys)[0]["error"]["found"]
    monkeypatch.setattr(cli, "_parsed", lambda *_: (_ for _ in ()).throw(ModuleNotFoundError(name="typo")))
    with pytest.raises(ModuleNotFoundError):
        run(["train", study])


def test_a_wrong_option_is_an_object_too(capsys):
    assert run(["plan", "--auc", "0.8", "--bogus", "--json"]) == 2
    content, err = printed(capsys)
    assert content["error"]["remedy"] == "see nephroscope plan --help"
    assert "--bogus" in err
    assert run(["statistics", "magic", "--json"]) == 2
    assert printed(capsys)[0]["error"]["code"] == "config"


def test_interrupt_is_exit_code_130(capsys, monkeypatch, study):
    monkeypatch.setattr(cli, "_parsed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(["slices", study]) == 130
    assert "nothing is half-written" in capsys.readouterr().err


def test_our_own_bug_keeps_its_traceback(monkeypatch, study):
    monkeypatch.setattr(cli, "_parsed", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(["slices", study])


def test_info_without_heavy_imports():
    code = (
        "import sys; from nephroscope.cli import run; run(['info', '--json']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    content, torch_loaded = done.stdout.splitlines()
    assert json.loads(content)["models"][0] == "mobilenet_v2"
    assert torch_loaded == "False"


def test_options_are_read_without_the_slow_type_checker(tmp_path):
    code = "import sys; from nephroscope.cli import run; run(sys.argv[1:]); print('typeguard' in sys.modules)"
    for name in ("predict", "slices", "train", "evaluate", "report"):
        more = [tmp_path / "image", "--roi", tmp_path / "roi.dcm"] if name == "predict" else []
        command = [sys.executable, "-c", code, name, tmp_path / "none", *more]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1:] == ["False"], (name, done.stderr)


def test_output_into_a_pipe_that_closes():
    done = subprocess.run(
        f"{sys.executable} -m nephroscope models --recipe zuo2021 | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Traceback" not in done.stderr


def test_study_named_by_a_relative_path(tmp_path, capsys, monkeypatch):
    """As people type it: the study and its images are named from where they stand."""
    monkeypatch.chdir(tmp_path)
    gray = np.full((40, 40), 120, np.uint8)
    gray[10:30, 10:30] = 200
    for case, subtype in (("a1", "PRCC"), ("a2", "ChRCC")):
        for number in range(2):
            write_png(gray, tmp_path / "slices" / f"{case}_F_50_{subtype}_slice{number}.png")
            write_png(
                (gray > 150).astype(np.uint8), tmp_path / "masks" / f"{case}_F_50_{subtype}_slice{number}.png"
            )
    assert run(["new", "study"]) == 0
    assert run(["import", "images", "study", "slices", "--masks", "masks", "--spacing-mm", "0.8"]) == 0
    capsys.readouterr()
    assert run(["slices", "study", "--json"]) == 0
    assert printed(capsys)[0]["slices"] == 4
    rows = (tmp_path / "study" / "series.csv").read_text().splitlines()
    assert ",images.csv," in rows[1]  # relative to the study, so that it can be moved


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ([], (1, "")),
        (["--tumor-label", "1"], (1, "#1")),
        (["--tumor-label", "0"], (0, "#0")),
        (["--tumor-label", "2"], (2, "#2")),
        (["--tumor-name", "Mass"], (1, "Mass")),
        (["--tumor-label", "2", "--tumor-name", "Mass"], (2, "Mass")),
    ],
)
def test_predict_insists_on_a_number_only_when_it_was_typed(monkeypatch, typed, asked):
    """Without one, an ROI file with several labels is refused, and not taken to mean number 1."""
    seen = []

    def refuse(bundle, files):
        seen.append((files.tumor_label, files.tumor_name))
        raise RoiError(where="ROI", expected="a", found="b", remedy="c")

    monkeypatch.setattr("nephroscope.facade.prediction.predict_files", refuse)
    assert run(["predict", "bundle", "ct.nii.gz", "--roi", "roi.nii.gz", *typed]) == 2
    assert seen == [asked]


def test_what_ends_the_method_of_every_figure_is_said_once():
    one = Estimate(value=0.5, low=0.25, high=0.75, n=4, unit="case", method="Wilson; cross-validated; 95 %")
    none = replace(one, value=None, method="undefined: one class")
    other = replace(one, value=0.25, method="DeLong; cross-validated; 95 %")
    lines = estimates_text({"accuracy": one, "auc": other, "precision": none}).splitlines()
    assert [line.split("cases, ")[-1].strip() for line in lines[:2]] == ["Wilson", "DeLong"]
    assert [line.count("cross-validated; 95 %") for line in lines] == [0, 0, 0, 1]
    assert "undefined: one class" in lines[2]
    for alone in ({"accuracy": one}, {"accuracy": one, "auc": replace(other, method="DeLong, 95 %")}):
        assert estimates_text(alone).splitlines() == [f"  {name:22} {e}" for name, e in alone.items()]

"""Every command of the docs is run, in small SYNTHETIC studies, or stands below with the reason why it is not."""

import logging
import re
import shutil

import numpy as np
import openpyxl
import pytest

from nephroscope import Study
from nephroscope.base.tables import read_table
from nephroscope.cli import run
from phantoms import write_png
from test_docs import ROOT, blocks, commands
from test_study import make_study

# Why a command is not run here: the first pattern that is found in it counts.
REASONS = {
    r"^(statistics|plan|readers) .*docs/examples|^plan ": "run by test_examples.py, which compares what is printed",
    r"^import (idc|kits|rmac)|kits-bundle| kits( |$)|--collections": "needs public data",
    r"TCGA-|phase_labels|\$D": "needs public data",
    r"^(send|pacs find|pacs get)": "needs an archive",
    r"^(workstation|listen)( |$)": "serves until it is stopped",
    r"^federate ": "needs several hospitals; test_federated_training.py goes the whole way",
    r"--facts|--size-mm|fusion": "needs ten patients of each subtype with facts; test_fusion.py, test_facts.py",
    r"my-program": "needs a program that draws; test_segment.py, test_proposals.py",
    r"--task segment|unet-tumor|my-drawer": "trains a network that draws; test_learn_to_draw.py",
    r"--phases|^rois transfer| phases( |$)|--series": "needs several phases; test_several_phases.py",
    r"--primary": "needs a network that converged; test_compare.py",
    r"--ray": "needs a Ray cluster",
    r" (first|second|four)( |$)|second-bundle": "trains two studies, as on my-study; test_linked.py",
    r" (small|my|two)( |$)": "as the commands of the same page on my-study",
    r" zuo( |$)|\$model": "takes hours; the same commands are run with smaller numbers",
    r"^capacity my-study --dry-run": "takes seconds; test_capacity.py",
    r"^replicate zuo2021 my-study --models": "trains 24 networks; test_replicate.py",
    r"radiomics": "takes minutes; test_radiomics.py",
    r"largest-slice": "run by test_baselines.py, with the file of that page",
}
SMALLER = {"--cases": "6", "--epochs": "1", "--repeats": "2", "--seeds": "1", "--jobs": "1", "--folds": "2"}
SMALLER |= {"--images-per-epoch": "12", "--twin-folds": "2", "--holdout": "0"}
FAST = ["--candidates", "attenuation", "clinical", "--no-control"]  # of compare, where the page names none
PAGES = ("README.md", "docs/tutorials", "docs/how-to", "docs/concepts", "docs/reference")


def reason(words):
    line = " ".join(words)
    return next((why for pattern, why in REASONS.items() if re.search(pattern, line)), "")


def told():
    """Each command once, in the order in which people read."""
    found = [(param.id.split(":")[0], tuple(param.values[0])) for param in commands()]
    found.sort(key=lambda one: next(n for n, page in enumerate(PAGES) if one[0].startswith(page)))
    return list(dict.fromkeys(words for _, words in found))


def smaller(words):
    """The same command with smaller numbers, fewer networks and candidates."""
    out = []
    for before, word in zip(["", *words], words, strict=False):
        number = SMALLER.get(before, word) if not word.startswith("-") else word
        out.append(number.removeprefix("mobilenet_v2,"))
    if words[0] == "capacity" and "--models" in out:
        out.remove("shufflenet_v2_x1_0")
        out.remove("1")
    return out + FAST if words[0] == "compare" and "--candidates" not in words else out


REPLACED = {"P017": "SYNTHETIC-0003"}
LAST = ("agreement my-study --consensus",)  # they put the study out of date
ELSEWHERE_RUN = {
    "README.md": "test_docs.py",
    "docs/how-to/baselines.md": "test_baselines.py",
    "docs/how-to/replicate.md": "as the command above it",
    "docs/how-to/pacs.md": "as the commands above it",
    "docs/how-to/reader-study.md": "needs the protocol of a reader study",
    "docs/reference/workstation.md": "needs a server and a browser",
}
ELSEWHERE = {"images": "pngs", "nifti": "niftis"}  # kinds of import whose labels.csv is another


def order(words):
    return " ".join(words).startswith(LAST)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the reader of the docs stands: an export, ROIs, label tables, volumes and slices of phantoms."""
    here = tmp_path_factory.mktemp("walk")
    Study.create(here / "made", ["PRCC", "ChRCC"]).import_phantom(8, seed=3)
    export = shutil.move(here / "made" / "phantom", here / "export")
    header, rows = read_table(export / "clinical.csv")
    (export / "clinical.csv").rename(here / "labels.csv")
    book = openpyxl.Workbook()
    for row in (header, *(cells for _, cells in rows)):
        book.active.append(row)
    book.save(here / "labels.xlsx")
    (here / "rois").mkdir()
    (here / "home" / "keys").mkdir(parents=True)
    one = export / "SYNTHETIC-0003"
    shutil.copytree(one / "ct", here / "ct-series")
    shutil.copytree(one, here / "patient")
    roi = next(path for path in sorted(one.rglob("*.dcm")) if path.parent.name != "ct")
    shutil.copy(roi, here / "tumor.dcm")
    for row in rows:
        name = row[1][0]
        drawn = next(path for path in sorted((export / name).rglob("*.dcm")) if path.parent.name != "ct")
        shutil.copy(drawn, here / "rois" / f"{name}.dcm")
    calls = (ROOT / "docs" / "examples" / "phantom-calls.csv").read_text(encoding="utf-8").splitlines()
    own = {row[0] for _, row in rows}
    (here / "calls.csv").write_text("\n".join([calls[0], *(x for x in calls[1:] if x.split(",")[0] in own)]))
    (here / "series.csv").write_text("SeriesInstanceUID,SeriesDescription\n1.2.3,Abdomen portal venous\n")
    (here / "pngs" / "slices").mkdir(parents=True)
    (here / "pngs" / "masks").mkdir()
    table = ["file,case_id,patient_id,subtype,spacing_xy"]
    for n in range(4):
        mask = np.zeros((96, 96), np.uint8)
        mask[30:50, 30:50] = 2
        write_png(np.full((96, 96), 90 + n, np.uint8), here / "pngs" / "slices" / f"c{n}.png")
        write_png(mask, here / "pngs" / "masks" / f"c{n}.png")
        table.append(f"c{n}.png,c{n},c{n},{('PRCC', 'ChRCC')[n % 2]},0.8")
    (here / "pngs" / "labels.csv").write_text("\n".join(table))
    volumes = make_study(here / "niftis" / "made").folder.root / "volumes"
    shutil.copytree(volumes, here / "niftis" / "volumes")
    names = sorted(path.name[:3] for path in volumes.glob("c??.nii.gz"))
    lines = [f"{name},{('PRCC', 'ChRCC')[n % 2]}" for n, name in enumerate(names)]
    (here / "niftis" / "labels.csv").write_text("\n".join(["case_id,subtype", *lines]))
    for name, file in (("ct", "c00"), ("tumor", "c00_seg")):
        shutil.copy(volumes / f"{file}.nii.gz", here / f"{name}.nii.gz")
    shutil.copytree(here / "ct-series", here / "cases" / "one" / "ct")
    shutil.copy(here / "tumor.dcm", here / "cases" / "one" / "tumor.dcm")
    (here / "cases.csv").write_text("case_id,image,roi\none,cases/one/ct,cases/one/tumor.dcm\n")
    return here


def test_every_command_of_the_docs_runs(folder, monkeypatch, capsys):
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("USERPROFILE", str(folder / "home"))
    codes, imported = {}, 0
    for words in sorted((words for words in told() if not reason(words)), key=order):
        argv = [REPLACED.get(word, word) for word in smaller(words)]
        place = folder
        if argv[:1] == ["import"] and argv[2] == "my-study" and "--dry-run" not in argv:
            imported += 1
            place = folder / ELSEWHERE.get(argv[1], ".")
            if imported > 1:  # a study of its own, so that the first one stays as it is
                argv[2] = f"my-study-{imported}"
                Study.create(place / argv[2], ["PRCC", "ChRCC"])
        monkeypatch.chdir(place)
        codes[" ".join(words)] = run([word.replace("~", str(folder / "home")) for word in argv])
        after(words, folder)
    assert {line: code for line, code in codes.items() if code} == {}
    monkeypatch.chdir(folder)
    Study(folder / "my-study").change("roi", consensus="reader-1")  # as before the last commands
    for page, text in blocks("python"):
        if page not in ELSEWHERE_RUN:
            exec(compile(text, page, "exec"), {})  # noqa: S102


def test_no_reason_is_left_that_no_command_needs():
    lines = [" ".join(words) for words in told()]
    assert [pattern for pattern in REASONS if not any(re.search(pattern, line) for line in lines)] == []


def after(words, folder):
    """What a reader has by then, too: a small study, the demo's folder."""
    if words[:2] == ("new", "my-study"):
        study = Study(folder / "my-study")
        study.change("slices", size_px=64)
        study.change("training", epochs=1, slices_per_case=1)
        study.change("evaluation", resamples=200)
    if words[0] == "deidentify" and "--labels" not in words:
        shutil.rmtree(folder / "clean")  # the second line of the page is another way, not a second step
    if words[:1] == ("export",):
        shutil.copytree(folder / "my-study", folder / "nephroscope-demo", dirs_exist_ok=True)
        shutil.copytree(folder / "my-bundle", folder / "nephroscope-demo" / "bundle", dirs_exist_ok=True)

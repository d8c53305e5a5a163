"""A patient with two phases and three authors: imported whole, and the rule in study.toml chooses."""

import json

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from nephroscope import Study
from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.base.tables import read_table
from nephroscope.cli import run
from nephroscope.imaging.read import read_case
from nephroscope.intake.export.series_table import SEEN_FILE, seen_rows
from nephroscope.records import ChoiceRule
from phantoms import box_tumor, dicom_slices, write_seg, write_slices

NET = "model:Kidney-Net@2.1"


def automatic(path, name="Kidney Net", version="2.1"):
    """The SEG as a program writes it."""
    seg = pydicom.dcmread(path)
    for segment in seg.SegmentSequence:
        segment.SegmentAlgorithmType, segment.SegmentAlgorithmName = "AUTOMATIC", name
    seg.SoftwareVersions = version
    seg.save_as(path)


def smaller(n_columns):
    tumor = box_tumor().copy()
    tumor[:, :, np.flatnonzero(tumor.any(axis=(0, 1)))[-n_columns:]] = False
    return tumor


@pytest.fixture
def root(tmp_path):
    """P1: arterial with two readers and a program, venous with one reader; P2: venous with a program only."""
    export, studies = tmp_path / "export", {"P1": generate_uid(), "P2": generate_uid()}
    images = {}
    for patient, description, maker in (
        ("P1", "arterial", "GE"),
        ("P1", "venous", "SIEMENS"),
        ("P2", "venous", "GE"),
    ):
        images[patient, description] = dicom_slices(patient)
        for image in images[patient, description]:
            image.StudyInstanceUID, image.SeriesDescription = studies[patient], description
            image.Manufacturer = maker
            if description == "venous":
                image.ImagePositionPatient = [
                    p + q for p, q in zip(image.ImagePositionPatient, (0, 0, 30), strict=True)
                ]
        write_slices(images[patient, description], export / patient / description)
    write_seg(images["P1", "arterial"], {"Tumor": box_tumor()}, export / "P1" / "a.dcm", "Abe^A")
    write_seg(images["P1", "arterial"], {"Tumor": smaller(1)}, export / "P1" / "b.dcm", "Zoe^B")
    write_seg(images["P1", "arterial"], {"Tumor": smaller(2)}, export / "P1" / "net.dcm", "Aaa^Net")
    write_seg(images["P1", "venous"], {"Tumor": smaller(3)}, export / "P1" / "v.dcm", "Abe^A")
    write_seg(images["P2", "venous"], {"Tumor": smaller(2)}, export / "P2" / "net.dcm", "Aaa^Net")
    automatic(export / "P1" / "net.dcm")
    automatic(export / "P2" / "net.dcm")
    (tmp_path / "labels.csv").write_text("case_id,subtype\nP1,PRCC\nP2,ChRCC\n")
    Study.create(tmp_path / "s", ["PRCC", "ChRCC"]).import_dicom(export, tmp_path / "labels.csv")
    return tmp_path / "s"


def test_every_series_and_roi_is_kept_with_its_author(root):
    assert [(row[0], row[1], row[2]) for _, row in read_table(root / "series.csv")[1]] == [
        ("P1", "corticomedullary", "corticomedullary"),
        ("P1", "nephrographic", "nephrographic"),
        ("P2", "nephrographic", "nephrographic"),
    ]
    rois = [(row[0], row[1], row[2], row[3].split("/")[-1]) for _, row in read_table(root / "rois.csv")[1]]
    assert rois == [
        ("P1", "reader-1", "corticomedullary", "a.dcm"),
        ("P1", "reader-2", "corticomedullary", "b.dcm"),
        ("P1", NET, "corticomedullary", "net.dcm"),
        ("P1", "reader-1", "nephrographic", "v.dcm"),
        ("P2", NET, "nephrographic", "net.dcm"),
    ]


def chosen(case, rule):
    made = case.chosen(rule)
    return made.phase, made.authors()


def test_the_rule_chooses_series_and_authors(root):
    one, two = Study(root).cohort.cases
    late = ("nephrographic", "corticomedullary")
    assert chosen(one, ChoiceRule()) == ("corticomedullary", ("reader-1",))
    assert chosen(one, ChoiceRule(phases=late)) == ("nephrographic", ("reader-1",))
    assert chosen(one, ChoiceRule(phases=late, roi="reader-2")) == ("corticomedullary", ("reader-2",))
    assert chosen(one, ChoiceRule(phases=late, roi="union")) == ("corticomedullary", ("reader-1", "reader-2"))
    assert chosen(one, ChoiceRule(phases=late, roi=NET)) == ("corticomedullary", (NET,))
    assert chosen(one, ChoiceRule(phases=late, roi="consensus")) == ("nephrographic", ())
    assert chosen(two, ChoiceRule(roi="union")) == ("nephrographic", (NET,)), "nobody else drew it"


def n_voxels(root, case_id="P1"):
    return int(read_case(Study(root).cohort.by_id[case_id])[1].voxels.sum())


def test_another_phase_needs_no_new_import(root):
    study = Study(root)
    store = study.cut_slices()
    assert {f.code for f in store.findings if f.case_id == "P2"} >= {"no-reader"}
    assert n_voxels(root) == box_tumor().sum()
    rows = seen_rows(root / SEEN_FILE, study.cohort.chosen)
    assert [row["manufacturer"] for row in rows if row["case_ids"] == "P1"] == ["GE"]
    study.change("cohort", phase_preference=["nephrographic", "corticomedullary"])
    with pytest.raises(StudyError, match=r"out of date: cohort.csv, series.csv, rois.csv or \[cohort\]"):
        study.slices()
    assert study.cut_slices().digest != store.digest
    assert n_voxels(root) == smaller(3).sum()
    rows = seen_rows(root / SEEN_FILE, Study(root).cohort.chosen)
    assert [row["case_ids"] for row in rows if row["manufacturer"] == "SIEMENS"] == ["P1"]


def test_an_author_may_be_named(root):
    assert run(["check", str(root)]) == 0
    study = Study(root)
    study.set_consensus(NET)
    assert n_voxels(root) == smaller(2).sum()
    assert study.cut_slices().n_cases == 2
    study.change("roi", consensus="consensus")
    store_refused = {f.case_id: f.message for f in study.check()["P1"].findings if f.severity == "refusal"}
    assert "expected a ROI by consensus" in store_refused["P1"]
    with pytest.raises(ConfigError, match=r"roi.consensus: expected one of reader-1, .*, model:NAME@VERSION"):
        study.change("roi", consensus="model:net")


def told(capsys, *words):
    capsys.readouterr()
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_each_step_says_which_series_and_whose_roi(root, capsys):
    used = {
        c["case_id"]: (c["series"], c["phase"], c["roi"]) for c in told(capsys, "check", str(root))["cases"]
    }
    assert used == {
        "P1": ("corticomedullary", "corticomedullary", "reader-1"),
        "P2": ("nephrographic", "nephrographic", NET),
    }
    study = Study(root)
    study.set_consensus("union")
    cut = told(capsys, "slices", str(root))
    assert cut["phases"] == {"corticomedullary": 1, "nephrographic": 1}
    assert cut["rois"] == {"union of reader-1 and reader-2": 1, NET: 1}
    assert study.slices().used["P1"].roi == "union of reader-1 and reader-2"
    assert run(["slices", str(root)]) == 0
    assert "phase: corticomedullary (1), nephrographic (1); ROI by: union of" in capsys.readouterr().out
    assert run(["check", str(root)]) == 0
    assert "union of reader-1 and reader-2" in capsys.readouterr().out
    (root / "adjudication.csv").write_text("case_id,dice,decision\nP1,,reader-2\n")
    assert told(capsys, "slices", str(root))["rois"] == {"reader-2": 1, NET: 1}

"""A patient with two phases and three authors: imported whole, and the rule in study.toml chooses."""

import json
import shutil

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from nephroscope import Study
from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.base.tables import read_table
from nephroscope.cli import run
from nephroscope.clinic.cut import cut_at_same_places, cut_slices
from nephroscope.imaging.read import read_case
from nephroscope.intake.export.series_table import SEEN_FILE, seen_rows
from nephroscope.records import ChoiceRule, CTVolume, RoiMask, SliceSpec, VolumeGeometry
from nephroscope.study.journal import Journal
from nephroscope.study.slices import open_store
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
                    p + q for p, q in zip(image.ImagePositionPatient, (0, 0, 3), strict=True)
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
    Study(tmp_path / "s").change("roi", use_proposed=True)
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
    assert chosen(one, ChoiceRule(phases=late, roi=NET)) == ("nephrographic", ()), "nobody accepted it"
    by_net = ChoiceRule(phases=late, roi=NET, use_proposed=True)
    assert chosen(one, by_net) == ("corticomedullary", (NET,))
    assert chosen(one, ChoiceRule(phases=late, roi="consensus")) == ("nephrographic", ())
    assert chosen(two, ChoiceRule(roi="union")) == ("nephrographic", ())
    anybody = ChoiceRule(roi="union", use_proposed=True)
    assert chosen(two, anybody) == ("nephrographic", (NET,)), "nobody else drew it"


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
    assert "expected an ROI by consensus" in store_refused["P1"]
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
        "P2": ("nephrographic", "nephrographic", f"{NET} (proposed)"),
    }
    study = Study(root)
    study.set_consensus("union")
    cut = told(capsys, "slices", str(root))
    assert cut["phases"] == {"corticomedullary": 1, "nephrographic": 1}
    assert cut["rois"] == {"union of reader-1 and reader-2": 1, f"{NET} (proposed)": 1}
    assert study.slices().used["P1"].roi == "union of reader-1 and reader-2"
    assert run(["slices", str(root)]) == 0
    assert "phase: corticomedullary (1), nephrographic (1); ROI by: union of" in capsys.readouterr().out
    assert run(["check", str(root)]) == 0
    assert "union of reader-1 and reader-2" in capsys.readouterr().out
    (root / "adjudication.csv").write_text("case_id,dice,decision\nP1,,reader-2\n")
    assert told(capsys, "slices", str(root))["rois"] == {"reader-2": 1, f"{NET} (proposed)": 1}


# ---- slices of several phases


PHASES = ("corticomedullary", "nephrographic", "excretory")


def test_slices_of_several_phases_show_the_same_places(root):
    """The venous series lies 3 mm, one slice, higher; P2 has no arterial and nobody has an excretory phase."""
    study = Study(root)
    one_phase = study.cut_slices()
    assert (one_phase.phases, one_phase.presence) == ({}, {})
    study.change("slices", phases=list(PHASES))
    with pytest.raises(StudyError, match=r"\[slices\] in study.toml.* changed since"):
        study.slices()
    store = study.cut_slices()
    assert np.array_equal(store.hu, one_phase.hu), "the chosen series is cut as before"
    assert sorted(path.name for path in store.folder.glob("*.npy")) == [
        "slices-corticomedullary.npy",
        "slices-excretory.npy",
        "slices-nephrographic.npy",
        "slices.npy",
    ]
    first, second = (store.rows_by_case[name] for name in ("P1", "P2"))
    slices, presence = store.by_phase("P1", first)
    assert store.phase_of("P1") == "corticomedullary"
    assert np.array_equal(slices["corticomedullary"], store.hu[first])
    assert presence["corticomedullary"].all()
    assert presence["nephrographic"].all()
    assert not presence["excretory"].any()
    assert (slices["excretory"] == -1024).all()
    # Both hold the same voxels, the venous one a slice higher: it shows what the arterial one shows a slice lower.
    arterial, venous = slices["corticomedullary"], slices["nephrographic"]
    assert np.array_equal(venous[1:], arterial[:-1])
    assert not store.presence["corticomedullary"][second].any()
    assert store.presence["nephrographic"][second].all()
    table = (root / "series.csv").read_text()
    (root / "series.csv").write_text(
        table.replace("P1,nephrographic,nephrographic", "P1,nephrographic,excretory")
    )
    with pytest.raises(StudyError, match=r"out of date: further phases in series.csv changed"):
        study.slices()
    (root / "series.csv").write_text(table)
    study.slices()
    codes = {(f.code, f.case_id, f.where) for f in store.findings if f.code.startswith("phase")}
    assert codes == {("phases-frame-differs", "P1", "nephrographic")}
    assert np.array_equal(open_store(store.folder).presence["excretory"], np.zeros(len(store.hu), bool))


def test_a_case_with_none_of_the_phases_is_left_out_by_name(root):
    study = Study(root)
    study.change("slices", phases=["corticomedullary"])
    store = study.cut_slices()
    assert [(f.code, f.case_id) for f in store.refused] == [("no-phase", "P2")]
    assert set(store.rows_by_case) == {"P1"}


def test_an_interrupted_cut_of_several_phases_goes_on(root, monkeypatch):
    study = Study(root)
    study.change("slices", phases=["nephrographic"])
    whole = study.cut_slices()
    shutil.rmtree(whole.folder)
    real, n = Journal.add, []

    def broken(self, *words):
        if n:
            raise KeyboardInterrupt
        n.append(1)
        return real(self, *words)

    monkeypatch.setattr(Journal, "add", broken)
    with pytest.raises(KeyboardInterrupt):
        study.cut_slices()
    monkeypatch.undo()
    again = study.cut_slices()
    assert again.digest == whole.digest
    assert np.array_equal(again.phases["nephrographic"], whole.phases["nephrographic"])


def test_a_phase_that_cannot_be_read_is_absent_with_a_finding(root):
    study = Study(root)
    study.change("slices", phases=list(PHASES))
    case = study.cohort.by_id["P1"]
    venous = next(one for one in case.series if one.phase == "nephrographic")
    shutil.rmtree(venous.image)
    store = study.cut_slices()
    rows = store.rows_by_case["P1"]
    assert not store.presence["nephrographic"][rows].any()
    (finding,) = [f for f in store.findings if f.code == "phase-left-out"]
    assert (finding.case_id, finding.where, finding.severity) == ("P1", "nephrographic", "note")


def test_without_further_phases_nothing_is_stored_otherwise():
    assert SliceSpec().digest == "febb53e486b7d09c"
    assert SliceSpec(size_px=32, margin_mm=4.0).digest == "9e6fe392f7472d68"
    assert "phases" not in SliceSpec().as_dict
    assert SliceSpec(phases=("excretory",)).digest != SliceSpec().digest
    with pytest.raises(ConfigError, match=r"slices.phases: expected one of corticomedullary, .*found 'late'"):
        SliceSpec(phases=("late",))


def test_a_finer_series_shows_the_same_field():
    """Twice as many rows, columns and slices: the box holds the same millimetres around the same point."""
    fine_hu = np.zeros((12, 48, 48), np.int16) - 1000
    fine_hu[4:8, 20:28, 18:30] = 100
    coarse_hu = fine_hu[::2, ::2, ::2].copy()
    fine_affine, coarse_affine = np.zeros((4, 4)), np.zeros((4, 4))
    fine_affine[[2, 1, 0, 3], [0, 1, 2, 3]] = (1.5, 0.5, 0.5, 1.0)
    coarse_affine[[2, 1, 0, 3], [0, 1, 2, 3]] = (3.0, 1.0, 1.0, 1.0)
    fine_affine[:3, 3] = (-0.25, -0.25, -0.75)  # the corner of both volumes is the same point
    coarse_affine[:3, 3] = (0.0, 0.0, 0.0)
    made = [
        CTVolume(hu=hu, geometry=VolumeGeometry(shape=hu.shape, affine=affine), series_uid="1")
        for hu, affine in ((coarse_hu, coarse_affine), (fine_hu, fine_affine))
    ]
    coarse, fine = ((one, RoiMask(voxels=one.hu > 0, geometry=one.geometry, case_id="c")) for one in made)
    spec = SliceSpec(size_px=32, margin_mm=4.0, min_area_mm2=1.0)
    cut = cut_slices(*coarse, spec)
    hu, present = cut_at_same_places(*fine, coarse, cut, spec)
    assert present.all()
    for part, other in zip(cut, hu, strict=True):
        assert np.abs(part.hu.astype(int) - other).mean() < 60
        rows, cols = np.nonzero(other > 0)
        mine = np.nonzero(part.hu > 0)
        assert abs(rows.mean() - mine[0].mean()) < 0.6
        assert abs(cols.mean() - mine[1].mean()) < 0.6

"""Patients without an ROI or a label as cases: imported, named as not drawn yet, and used once they are drawn."""

import json

from nephroscope import Study
from nephroscope.cli import run
from phantoms import box_tumor, dicom_slices, write_seg, write_slices
from small_study import make_study


def said(capsys, *args):
    code = run([*map(str, args), "--json"])
    return code, json.loads(capsys.readouterr().out)


def export(tmp_path):
    """P1 with a SEG, P2 without."""
    for name in ("P1", "P2"):
        images = dicom_slices(name, uid=f"1.2.{name[1]}")
        write_slices(images, tmp_path / "export" / name / "ct")
        if name == "P1":
            write_seg(images, {"tumor": box_tumor()}, tmp_path / "export" / name / "seg.dcm")
    (tmp_path / "labels.csv").write_text("case_id,subtype\nP1,PRCC\n")
    return tmp_path / "export"


def test_dicom_keeps_who_is_not_drawn_and_not_labelled(tmp_path, capsys):
    folder, study = export(tmp_path), Study.create(tmp_path / "s", ["PRCC", "ChRCC"])
    labels = tmp_path / "labels.csv"
    code, listed = said(
        capsys,
        "import",
        "dicom",
        tmp_path / "s",
        folder,
        "--labels",
        labels,
        "--dry-run",
        "--keep-incomplete",
    )
    assert code == 0
    taken = {row["patient_id"]: row["reason"] for row in listed["series"] if row["chosen"]}
    assert taken == {"P1": "taken", "P2": "taken, not drawn yet"}
    cohort = study.import_dicom(folder, labels, keep_incomplete=True)
    drawn = {case.case_id: (case.subtype, len(case.rois)) for case in cohort.cases}
    assert drawn == {"P1": ("PRCC", 1), "P2": (None, 0)}
    assert cohort.exclusions == ()


def test_a_file_of_organs_is_no_drawing_but_the_patient_is_kept(tmp_path):
    images = dicom_slices("P1", uid="1.2.1")
    write_slices(images, tmp_path / "export" / "ct")
    write_seg(images, {"Liver": box_tumor()}, tmp_path / "export" / "liver.dcm")
    study = Study.create(tmp_path / "s", ["PRCC", "ChRCC"])
    assert study.import_dicom(tmp_path / "export").cases == ()
    (case,) = study.import_dicom(tmp_path / "export", keep_incomplete=True).cases
    assert (case.case_id, case.rois) == ("P1", ())


def test_without_the_option_they_are_left_out_as_before(tmp_path):
    folder, study = export(tmp_path), Study.create(tmp_path / "s", ["PRCC", "ChRCC"])
    cohort = study.import_dicom(folder)
    assert [case.case_id for case in cohort.cases] == ["P1"]
    assert [(one.case_id, one.reason[:6]) for one in cohort.exclusions] == [("P2", "no ROI")]


def test_check_slices_and_status_name_them_and_go_on(tmp_path, capsys):
    study = make_study(tmp_path / "first", 3)
    volumes = tmp_path / "first" / "volumes"
    (volumes / "c01_seg.nii.gz").unlink()
    study = Study.create(tmp_path / "s", ["PRCC", "ChRCC"])
    study.change("slices", size_px=32, margin_mm=4.0)
    cohort = study.import_nifti(volumes, tmp_path / "first" / "labels.csv", keep_incomplete=True)
    assert [case.case_id for case in cohort.cases if not case.rois] == ["c01"]
    code, checked = said(capsys, "check", tmp_path / "s")
    (finding,) = next(case["findings"] for case in checked["cases"] if case["case_id"] == "c01")
    assert (code, finding["code"], finding["severity"]) == (0, "not-drawn", "note")
    code, cut = said(capsys, "slices", tmp_path / "s")
    assert (code, cut["cases"], cut["not_drawn"], cut["refused"]) == (0, 2, ["c01"], [])
    code, status = said(capsys, "status", tmp_path / "s")
    assert [(one["case_id"], one["reason"]) for one in status["out"]] == [("c01", "not drawn yet")]


def test_nifti_without_a_table(tmp_path):
    make_study(tmp_path / "first", 2)
    study = Study.create(tmp_path / "s", ["PRCC", "ChRCC"])
    cohort = study.import_nifti(tmp_path / "first" / "volumes", keep_incomplete=True)
    assert [(case.case_id, case.subtype, len(case.rois)) for case in cohort.cases] == [
        ("c00", None, 1),
        ("c01", None, 1),
    ]

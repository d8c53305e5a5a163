"""An export in, what each series is and which becomes a case out; then the cases joined with their labels."""

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from ct_files import enhanced_ct
from nephroscope import Study
from nephroscope.base.errors import CohortError, SeriesError
from nephroscope.base.identifiers import LOST_ZEROS
from nephroscope.cli import run
from nephroscope.imaging.dicom.series import (
    SeriesFiles,
    load_series_files,
    read_dicom_series,
    save_series_files,
)
from nephroscope.imaging.read import read_ct
from nephroscope.intake.export import scan as scan_module
from nephroscope.intake.export.cases import DicomOptions, import_dicom, look_into
from nephroscope.intake.export.roi_files import find_roi_files
from nephroscope.intake.export.scan import names_patient, scan_export
from nephroscope.intake.labels.rows import LabelRow
from one_series import flat
from phantoms import box_tumor, dicom_slices, write_nifti, write_seg, write_slices


def label(case_id="P1", subtype="papillary", **more):
    return LabelRow(row=2, case_id=case_id, subtype=subtype, **more)


def bring(folder, *labels, **more):
    options = DicomOptions(
        subtypes=("PRCC", "ChRCC"),
        positive="PRCC",
        labels=list(labels) or None,
        study=folder / "study",
        **more,
    )
    return import_dicom(folder, options)


def phase_slices(patient, description, study, **more):
    images = dicom_slices(patient)
    for image in images:
        image.StudyInstanceUID, image.SeriesDescription = study, description
        for name, value in more.items():
            setattr(image, name, value)
    return images


@pytest.fixture
def export(tmp_path):
    """Patients P1 (two readers) and P2 (no ROI), each in a folder."""
    one = dicom_slices("P1")
    one[0].SyntheticData = "YES"
    write_slices(one, tmp_path / "a" / "ct")
    write_seg(one, {"Tumor": box_tumor()}, tmp_path / "a" / "first.dcm", "Zoe^B")
    write_seg(one, {"Tumor": box_tumor()}, tmp_path / "a" / "second.dcm", "Abe^C")
    write_slices(dicom_slices("P2"), tmp_path / "b")
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def rows_by_kind(folder, **more):
    return {row.kind: row for row in look_into(folder, **more)[1]}


# ---- what each series is


def test_a_label_table_in_the_export_is_not_worth_a_note(tmp_path):
    write_slices(dicom_slices("P1"), tmp_path / "export" / "P1")
    (tmp_path / "export" / "clinical.csv").write_text("case_id,subtype\nP1,PRCC\n", encoding="utf-8")
    assert "files-not-read" not in {f.code for f in bring(tmp_path / "export", label()).findings}
    (tmp_path / "export" / "ct.mha").write_bytes(b"x" * 200)
    assert "files-not-read" in {f.code for f in bring(tmp_path / "export", label()).findings}


def test_scan_counts_what_it_passes_over(export):
    scan = scan_export(export)
    cts = [series for series in scan.series.values() if series.kind == "ct"]
    assert sorted(series.patient_id for series in cts) == ["P1", "P2"]
    assert {len(series.paths) for series in cts} == {6}
    assert (len(scan.rois), scan.n_files, scan.n_not_dicom, scan.damaged) == (2, 15, 1, [])


def test_scan_is_the_same_in_other_processes(export, monkeypatch):
    here = look_into(export)[1]
    monkeypatch.setattr(scan_module, "IN_ONE_PROCESS", 0)
    monkeypatch.setattr(scan_module, "CHUNK", 2)
    assert look_into(export)[1] == here


def test_what_is_no_ct_volume_is_named(export):
    scout = dicom_slices("P1")[:1]
    scout[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    mip = dicom_slices("P1")
    screen = dicom_slices("P1")[:1]
    screen[0].ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
    capture = dicom_slices("P1")[:1]
    capture[0].SOPClassUID = capture[0].file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dose = dicom_slices("P1")[:1]
    dose[0].SOPClassUID = dose[0].file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.67"
    dose[0].Modality = "SR"
    scan_again = dicom_slices("P1")
    for image in mip:
        image.ImageType = ["DERIVED", "SECONDARY", "MIP"]
    for image in scan_again:
        image.ImagePositionPatient = [0, 0, 0]
    for name, images in (
        ("s", scout),
        ("m", mip),
        ("c", capture),
        ("d", dose),
        ("x", screen),
        ("b", scan_again),
    ):
        write_slices(images, export / name)
    rows = rows_by_kind(export)
    expected = {
        "localizer": "not a CT volume: a localizer (scout) image",
        "projection": "not a CT volume: a projection (MIP or the like): its values are not attenuation",
        "secondary-capture": "not a CT volume: a secondary capture: a screen capture, not a CT image",
        "dose-report": "not a CT volume: a dose report",
        "screen-save": "not a CT volume: a screen capture or a dose table, stored as CT",
        "bolus-tracking": "not a CT volume: bolus tracking: the same position repeatedly",
    }
    assert {kind: rows[kind].reason for kind in expected} == expected
    assert not any(rows[kind].accepted for kind in expected)


def test_a_coronal_reformation_is_not_taken(tmp_path):
    images = dicom_slices("P1")
    for number, image in enumerate(images):
        image.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        image.ImagePositionPatient = [0, number * 2.5, 0]
    write_slices(images, tmp_path)
    row = rows_by_kind(tmp_path)["reformat"]
    assert not row.accepted
    assert "coronal" in row.reason


def test_a_gap_is_said_before_a_pixel_is_read(export):
    (export / "b" / "IM003").unlink()
    row = next(row for row in look_into(export)[1] if row.patient_id == "P2")
    assert not row.accepted
    assert "expected slices 2.5 mm apart, found 5 mm between IM 3" in row.reason
    assert "one is missing" in row.reason


def test_two_acquisitions_of_one_series_are_taken_apart(tmp_path):
    uid, study = generate_uid(), generate_uid()
    for number, folder in ((1, "x"), (2, "y")):
        images = phase_slices("P1", "abdomen", study, AcquisitionNumber=number, SeriesInstanceUID=uid)
        write_slices(images, tmp_path / folder)
        if number == 2:
            write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg.dcm")
    rows = [row for row in look_into(tmp_path)[1] if row.kind == "ct"]
    assert [(row.acquisition, row.n_files, row.accepted, row.chosen) for row in rows] == [
        (1, 6, True, False),
        (2, 6, True, True),
    ]
    (case,) = map(flat, bring(tmp_path).cases)
    assert case.image == tmp_path / "y"


def test_copies_are_counted_and_do_no_harm(export):
    write_slices([pydicom.dcmread(path) for path in sorted((export / "b").iterdir())], export / "copy")
    row = next(row for row in look_into(export)[1] if row.patient_id == "P2")
    assert (row.n_files, row.n_slices, row.accepted) == (12, 6, True)


def test_an_emptied_series_uid_goes_by_folder(tmp_path):
    for name in ("a", "b"):
        images = dicom_slices(name)
        for image in images:
            image.SeriesInstanceUID = ""
        write_slices(images, tmp_path / name)
    assert [row.accepted for row in look_into(tmp_path)[1]] == [True, True]


def test_a_damaged_file_stops_nothing(export):
    path = export / "b" / "IM000"
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:400])
    rows = look_into(export)[1]
    assert any(row.patient_id == "P1" and row.chosen for row in rows)


# ---- which is taken


def test_the_preferred_phase_among_drawn_series_is_taken(tmp_path):
    study = generate_uid()
    for description in ("venous", "nativ", "arterial phase"):
        images = phase_slices("P1", description, study)
        write_slices(images, tmp_path / description[:3])
        if description != "arterial phase":
            write_seg(images, {"Tumor": box_tumor()}, tmp_path / f"{description}.dcm")
    rows = {row.phase: row for row in look_into(tmp_path)[1] if row.kind == "ct"}
    assert rows["nephrographic"].chosen
    assert (
        rows["corticomedullary"].reason
        == "kept for later (no ROI on it): nephrographic of this patient is taken"
    )
    assert rows["unenhanced"].reason == "kept for later (also drawn): nephrographic of this patient is taken"
    native_first = {row.phase: row.chosen for row in look_into(tmp_path, ("unenhanced", "nephrographic"))[1]}
    assert native_first["unenhanced"]
    (case,) = map(flat, bring(tmp_path, label()).cases)
    assert (case.phase, case.image.name) == ("nephrographic", "ven")
    finding = next(f for f in bring(tmp_path, label()).findings if f.code == "phases-kept")
    assert finding.message == (
        "1 of 3 usable CT series is taken (nephrographic); also in series.csv: 1 corticomedullary, 1 unenhanced"
    )


def test_import_joins_series_rois_and_labels(export):
    labels = [label(), label("P2", "ChRCC"), label("P3", "ChRCC"), label("P4", "oncocytoma")]
    result = bring(export, *labels)
    (case,) = map(flat, result.cases)
    assert (case.case_id, case.subtype, case.sex, case.age_years) == ("P1", "PRCC", "F", 63.0)
    assert case.synthetic
    assert case.image == export / "a" / "ct"
    assert [case.roi.name, case.roi_reader2.name] == ["second.dcm", "first.dcm"]
    reasons = {x.case_id: x.reason for x in result.exclusions}
    assert reasons.keys() == {"P2", "P3", "P4"}
    assert "no ROI" in reasons["P2"]
    assert reasons["P3"] == "labelled, but no CT of it was found"
    assert "oncocytoma" in reasons["P4"]


def test_labels_meet_by_patient_id_and_win_over_the_header(export):
    result = bring(export, label("tumor-1", patient_id="P1", sex="M", age_years=50.0, phase="excretory"))
    (case,) = map(flat, result.cases)
    assert (case.case_id, case.patient_id, case.sex, case.age_years) == ("tumor-1", "P1", "M", 50.0)
    assert case.phase == "excretory"
    assert {x.case_id: x.reason for x in result.exclusions} == {"P2": "no label row names it"}


def test_without_labels_cases_have_no_subtype(export):
    assert [case.subtype for case in bring(export).cases] == [None]


def test_series_that_share_a_folder_or_lie_in_two_become_lists(export):
    for number, image in enumerate(dicom_slices("P2")):
        image.save_as(export / "a" / "ct" / f"X{number}")
    (export / "d").mkdir()
    (export / "a" / "ct" / "IM000").rename(export / "d" / "IM000")
    result = bring(export, label())
    ((path, files),) = result.lists.items()
    assert [flat(case).image for case in result.cases] == [path]
    assert path.parent == (export / "study" / "series").resolve()
    assert sorted(file.name for file in files.files) == [f"IM{n:03d}" for n in range(6)]


def test_a_list_of_files_is_read_back_and_moves_with_the_study(tmp_path):
    study = tmp_path / "study"
    path = study / "series" / "x.series.json"
    files = (study / "data" / "a", tmp_path / "outside")
    save_series_files(path, SeriesFiles(series_uid="1.2", files=files), study)
    assert load_series_files(path).files == files
    study.rename(tmp_path / "moved")
    moved = load_series_files(tmp_path / "moved" / "series" / "x.series.json")
    assert moved.files == (tmp_path / "moved" / "data" / "a", tmp_path / "outside")
    moved_path = tmp_path / "moved" / "series" / "x.series.json"
    for content, where in (({"files": []}, ""), ({"files": "a"}, ", files"), ({}, ", files")):
        moved_path.write_text(json.dumps({"format": 1, "series_uid": "1.2", **content}))
        with pytest.raises(SeriesError) as refused:
            load_series_files(moved_path)
        assert refused.value.where == f"x.series.json{where}"


def test_lost_and_further_rois_are_said(export):
    images = [pydicom.dcmread(p) for p in sorted((export / "a" / "ct").iterdir())]
    write_seg(images, {"Tumor": box_tumor()}, export / "third.dcm", "Zzz^D")
    write_seg(dicom_slices("P9"), {"Tumor": box_tumor()}, export / "IM_9.dcm")
    write_seg(dicom_slices("P9"), {"Tumor": box_tumor()}, export / "Secret Name.dcm")
    size = (export / "Secret Name.dcm").stat().st_size
    found = {f.code: f.message for f in bring(export, label()).findings}
    told = f"a file of {size} bytes (.dcm), file IM_9.dcm"
    assert found["roi-orphan"] == f"2 ROI files refer to a CT series that is not in the export: {told}"
    assert found["roi-unused"] == "1 further ROIs of this series are not used"


def test_roi_files_outside_go_by_name(export, tmp_path):
    rois = tmp_path / "rois"
    rois.mkdir()
    for name in ("p2.nii.gz", "P2_reader2.nii.gz"):
        write_nifti(box_tumor().astype(np.uint8), rois / name)
    (export / "rois-elsewhere").mkdir()
    outside = find_roi_files(rois)
    cases = {case.case_id: flat(case) for case in bring(export, rois=outside).cases}
    assert [cases["P2"].roi.name, cases["P2"].roi_reader2.name] == ["p2.nii.gz", "P2_reader2.nii.gz"]
    assert cases["P1"].roi.name == "second.dcm"
    by_case = bring(export, label("T7", patient_id="P1"), rois=outside)
    assert [case.case_id for case in by_case.cases] == ["T7"]


def test_roi_files_are_refused_when_unclear(tmp_path):
    with pytest.raises(CohortError, match="found no such folder"):
        find_roi_files(tmp_path / "gone")
    with pytest.raises(CohortError, match="found none"):
        find_roi_files(tmp_path)
    for name in ("Smith.nii.gz", "Smith_seg.nrrd"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CohortError, match="one ROI file per annotator and case") as refusal:
        find_roi_files(tmp_path)
    assert "Smith" not in str(refusal.value)
    assert "a file of 1 bytes (.nrrd)" in str(refusal.value)


def test_a_series_without_patient_id_is_left_out(tmp_path):
    write_slices(dicom_slices(""), tmp_path)
    assert bring(tmp_path).exclusions[0].reason == "1 CT series without PatientID"


def test_a_folder_without_ct_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(CohortError, match=r"no CT \(0 other DICOM files, 1 other files\)"):
        bring(tmp_path)
    with pytest.raises(CohortError, match="found no such folder"):
        look_into(tmp_path / "gone")


# ---- the command


def test_dry_run_prints_and_writes_nothing(export, capsys):
    before = sorted(export.rglob("*"))
    assert run(["import", "dicom", str(export / "none"), str(export), "--dry-run", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["patients"] == 2
    by_patient = {(row["patient_id"], row["kind"]): row for row in data["series"]}
    assert by_patient["P1", "ct"]["chosen"]
    assert by_patient["P2", "ct"]["accepted"]
    assert not by_patient["P2", "ct"]["chosen"]
    assert by_patient["P1", "ct"]["phase"] == "unknown"
    assert run(["import", "dicom", str(export / "none"), str(export), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "2 patients, 2 usable CT series, 1 of them chosen" in text
    assert "Secret" not in text
    assert sorted(export.rglob("*")) == before


def dry_run(capsys, *arguments):
    assert run(["import", "dicom", *map(str, arguments), "--dry-run"]) == 0
    return capsys.readouterr().out


def test_a_dry_run_tells_how_to_find_a_series(tmp_path, capsys):
    images = phase_slices("P1", "Meyer arterial 2.5", generate_uid())
    write_slices(images, tmp_path / "a")
    write_seg(images, {"Tumor Meyer": box_tumor()}, tmp_path / "seg.dcm")
    write_seg(dicom_slices("P9"), {"Tumor": box_tumor()}, tmp_path / "lost.dcm")
    write_slices(dicom_slices(""), tmp_path / "b")
    text = dry_run(capsys, tmp_path / "none", tmp_path)
    (line,) = (line for line in text.splitlines() if line.startswith("P1"))
    assert "  2    arterial 2.5  ct " in line
    assert '  SeriesDescription: "arterial"  ' in line
    assert "  1: Tumor  yes     taken" in line
    assert [line.split()[0] for line in text.splitlines() if "segmentation" in line] == ["P9"]
    assert "usable, but without PatientID: fill it, or convert to NIfTI" in text
    assert text.endswith(
        f"next: `nephroscope new {tmp_path / 'none'}`, then the same command without --dry-run, with --labels TABLE\n"
    )
    assert "Meyer" not in text
    (tmp_path / "seg.dcm").unlink()
    assert "next: no ROI found: export SEG or RTSTRUCT too" in dry_run(capsys, tmp_path / "none", tmp_path)
    for path in sorted(tmp_path.glob("[ab]/*")):
        path.unlink()
    assert "next: no CT found: check the path" in dry_run(capsys, tmp_path / "none", tmp_path)


def test_a_dry_run_fits_labels_and_rois(export, tmp_path, capsys):
    labels, rois = tmp_path / "labels.csv", tmp_path / "rois"
    rois.mkdir()
    for name in ("P2.nii.gz", "Smith.nii.gz"):
        write_nifti(box_tumor().astype(np.uint8), rois / name)
    labels.write_text("case_id,subtype\nP1,papillary\nP7,papillary\nP8,papillary\n")
    more = (export / "none", export / "a", "--labels", labels)
    text = dry_run(capsys, *more)
    assert (
        "label rows for 1 of 1 patient with a CT; 2 cases of the label table without a CT here (P7, P8)"
        in text
    )
    text = dry_run(capsys, export / "none", export, "--labels", labels, "--rois", rois)
    assert "label rows for 1 of 2 patients with a CT (not P2); 2 cases" in text
    assert "1 ROI file without a patient or case here: a file of " in text
    assert "Smith" not in text
    for path in [path for path in export.rglob("*") if path.is_file() and pydicom.misc.is_dicom(path)]:
        image = pydicom.dcmread(path)
        image.PatientID = image.PatientID.replace("P", "00")
        image.save_as(path)
    labels.write_text("case_id,subtype\n1,papillary\n2,papillary\n")
    text = dry_run(capsys, export / "none", export, "--labels", labels)
    assert "001, which the table may call 1" in text
    assert LOST_ZEROS in text
    assert text.splitlines()[-1] == "next: correct the names in the label table, then this dry run again"
    labels.write_text("case_id,subtype,sex\nP1,papillary,blue\n")
    assert run(["import", "dicom", *map(str, more), "--dry-run"]) == 2
    assert "row 2, column sex" in capsys.readouterr().err


def test_roi_files_of_nobody_are_listed_with_the_near_misses(tmp_path):
    rois = tmp_path / "rois"
    rois.mkdir()
    for name in ("12004.nii.gz", "0012005.nii.gz", "12006_reader2.nii.gz"):
        (rois / name).write_bytes(b"x")
    found = find_roi_files(rois)
    (lost,) = found.findings(["0012004", "0012005", "0012006"], None)
    assert (lost.code, lost.severity) == ("roi-of-nobody", "warning")
    assert lost.message.startswith("2 ROI files")
    assert "did you mean 0012004?" in lost.message
    assert "did you mean 0012006?" in lost.message
    assert found.findings(["12004", "0012005", "12006"], None) == ()


def test_import_writes_who_got_what(export, tmp_path, capsys):
    study = tmp_path / "s"
    run(["new", str(study)])
    assert run(["import", "dicom", str(study), str(export)]) == 0
    lines = (study / "seen_series.csv").read_text().splitlines()
    assert len(lines) == 3
    assert "Secret" not in capsys.readouterr().out + "".join(lines)
    assert any(line.startswith("P1,P1,") and ",yes,yes,taken," in line for line in lines)


def test_real_import_without_labels(test_data):
    options = DicomOptions(subtypes=("PRCC", "ChRCC"), positive="PRCC")
    result = import_dicom(test_data / "dicom_seg", options)
    assert [case.case_id for case in result.cases] == ["99000"]
    reasons = {one.case_id: one.reason for one in result.exclusions}
    assert reasons["1CT1"] == "no usable CT series: a single image, which is no volume"


def test_a_case_of_a_list_is_read_and_checked(export, tmp_path, capsys):
    for number, image in enumerate(dicom_slices("P2")):
        image.save_as(export / "a" / "ct" / f"X{number}")
    study = tmp_path / "s"
    run(["new", str(study)])
    assert run(["import", "dicom", str(study), str(export)]) == 0
    assert (study / "series").is_dir()
    capsys.readouterr()
    assert run(["check", str(study), "--json"]) == 0
    (case,) = json.loads(capsys.readouterr().out)["cases"]
    assert case["measures"]["n_slices"] == 4


def test_two_acquisitions_in_one_multi_frame_file_are_taken_apart(tmp_path):
    enhanced_ct(times=(1, 2), shift_hu=50).save_as(tmp_path / "one.dcm", enforce_file_format=True)
    rows = look_into(tmp_path)[1]
    assert [(row.acquisition, row.n_slices, row.accepted, row.in_one_file) for row in rows] == [
        (1, 6, True, True),
        (2, 6, True, True),
    ]
    path = tmp_path / "study" / "series" / "x.series.json"
    found = SeriesFiles(series_uid=rows[1].series_uid, files=(tmp_path / "one.dcm",), acquisition=2)
    save_series_files(path, found, tmp_path / "study")
    assert load_series_files(path) == found
    first = read_dicom_series([tmp_path / "one.dcm"], acquisition=1)
    assert np.array_equal(read_ct(path, 40, 400, None).hu, np.maximum(first.hu + 50, -1024))


def test_an_import_prints_what_it_found_first(export, tmp_path, capsys):
    study = tmp_path / "s"
    run(["new", str(study)])
    capsys.readouterr()
    assert run(["import", "dicom", str(study), str(export), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["series"]) == 4
    run(["new", str(tmp_path / "t")])
    capsys.readouterr()
    assert run(["import", "dicom", str(tmp_path / "t"), str(export)]) == 0
    text = capsys.readouterr().out
    assert text.index("2 usable CT series") < text.index("cohort: 1 case")


def test_a_name_in_a_path_reaches_neither_table(export, tmp_path):
    """PatientName is Secret^Name in every test file."""
    (export / "a").rename(export / "SÉCRET, anna")
    study = Study.create(tmp_path / "s", subtypes=["PRCC", "ChRCC"])
    study.import_dicom(export)
    (case,) = map(flat, study.cohort.cases)
    assert case.image.name.endswith(".series.json")
    assert {case.roi.parent.name, case.roi_reader2.parent.name} == {"rois"}
    for name in ("cohort.csv", "series.csv", "seen_series.csv", "findings.json", "exclusions.csv"):
        assert "cret, anna" not in (study.folder.root / name).read_text().lower(), name
    assert any(f.code == "path-names-patient" for f in study.import_findings)
    assert study.check()["P1"].measures.n_slices == 4


def test_a_pseudonym_in_a_path_is_no_name(tmp_path):
    images = dicom_slices("TCGA-B9-4114")
    for image in images:
        image.PatientName = "TCGA-B9-4114"
    write_slices(images, tmp_path / "TCGA-B9-4114")
    assert scan_export(tmp_path).naming == set()


@pytest.mark.parametrize(
    ("name", "path", "named"),
    [
        ("Lee^Anna", "export/lee_a/ct", True),
        ("Lee^Anna", "export/sleeve/ct", False),
        ("Zwiebelmann^X", "export/zwiebelmannx/ct", True),
        ("Øe^Bo", "export/bo/ct", False),
        ("", "export/ct", False),
    ],
)
def test_short_names_must_be_words_of_the_path(name, path, named):
    assert names_patient({"PatientName": name, "PatientID": "7"}, Path(path)) is named


def test_what_an_import_says_about_its_roi_files_is_said_by_the_last_one_alone(tmp_path):
    export = Path(tmp_path / "export")
    write_slices(dicom_slices("P1"), export / "P1")
    study = Study.create(tmp_path / "study", ["PRCC", "ChRCC"])
    (tmp_path / "labels.csv").write_text("case_id,subtype\nP1,PRCC\n", encoding="utf-8")
    rois = tmp_path / "rois"
    rois.mkdir()
    write_nifti(box_tumor().astype(np.uint8), rois / "P01.nii.gz")
    study.import_dicom(export, tmp_path / "labels.csv", rois)
    assert "roi-of-nobody" in {f.code for f in study.import_findings}
    (rois / "P01.nii.gz").rename(rois / "P1.nii.gz")
    study.import_dicom(export, tmp_path / "labels.csv", rois)
    assert "roi-of-nobody" not in {f.code for f in study.import_findings}

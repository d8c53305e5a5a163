"""Which ROI file of an export belongs to which CT, and which to none: patients, acquisitions, organs, readers."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest

from ct_files import enhanced_ct, item
from nephroscope.base.tables import read_table
from nephroscope.imaging.masks.words import content_of
from nephroscope.intake.export.cases import DicomOptions, import_dicom, look_into
from nephroscope.intake.export.series_table import add_to_series_table
from nephroscope.intake.labels.rows import LabelRow
from one_series import flat
from phantoms import box_tumor, dicom_slices, write_seg, write_slices


def label(case_id="P1", **more):
    return LabelRow(row=2, case_id=case_id, subtype="papillary", **more)


def bring(folder, *labels):
    options = DicomOptions(
        subtypes=("PRCC", "ChRCC"), positive="PRCC", labels=list(labels) or None, study=folder / "study"
    )
    return import_dicom(folder, options)


def drawn(folder, patient="P1", same_reader=False, **files):
    """A CT, and SEG files with these segments, each another reader's: ``name=("Tumor", "Kidney")``."""
    images = dicom_slices(patient)
    write_slices(images, folder / patient)
    for number, (name, segments) in enumerate(files.items()):
        masks = {segment: np.roll(box_tumor(), 8 * n, axis=2) for n, segment in enumerate(segments)}
        write_seg(images, masks, folder / f"{name}.dcm", f"Reader^{0 if same_reader else number}")
    return images


def row_of(folder, name):
    return next(row for row in look_into(folder)[1] if row.files == (str(folder / f"{name}.dcm"),))


def codes(result):
    return {finding.code: finding.message for finding in result.findings}


def test_a_roi_of_another_patient_is_not_joined(tmp_path):
    images = drawn(tmp_path)
    for image in images:
        image.PatientID = "P2"
    write_seg(images, {"Tumor": box_tumor()}, tmp_path / "IM_1.dcm")
    result = bring(tmp_path)
    assert result.cases == ()
    assert [one.reason for one in result.exclusions] == [
        "no ROI: the file that refers to its CT series is not used: it refers to a CT that has another PatientID"
    ]
    assert codes(result)["roi-other-patient"] == (
        "1 ROI files were not used: each refers to a CT that has another PatientID: file IM_1.dcm"
    )
    assert row_of(tmp_path, "IM_1").reason == "it refers to a CT that has another PatientID"


@pytest.mark.parametrize("patient", ["", "p1 "])
def test_a_roi_without_patient_id_goes_by_its_series(tmp_path, patient):
    images = drawn(tmp_path)
    for image in images:
        image.PatientID = patient
    write_seg(images, {"Tumor": box_tumor()}, tmp_path / "seg.dcm")
    result = bring(tmp_path)
    assert [case.case_id for case in result.cases] == ["P1"]
    assert "roi-other-patient" not in codes(result)


@pytest.mark.parametrize(("frame", "numbers"), [(None, []), (3, [1]), (9, [2])])
def test_a_roi_on_a_file_of_two_acquisitions_goes_by_its_frame(tmp_path, frame, numbers):
    both = enhanced_ct(times=(1, 2))
    both.save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    seg = pydicom.dcmread(write_seg(dicom_slices("P1"), {"Tumor": box_tumor()}, tmp_path / "seg.dcm"))
    series = seg.ReferencedSeriesSequence[0]
    series.SeriesInstanceUID = both.SeriesInstanceUID
    series.ReferencedInstanceSequence = item(
        ReferencedSOPClassUID=both.SOPClassUID, ReferencedSOPInstanceUID=both.SOPInstanceUID
    )
    for group in seg.PerFrameFunctionalGroupsSequence:
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedSOPInstanceUID = both.SOPInstanceUID
        if frame:
            source.ReferencedFrameNumber = frame
    seg.save_as(tmp_path / "seg.dcm")
    rows = [row for row in look_into(tmp_path)[1] if row.kind == "ct"]
    assert [row.acquisition for row in rows if row.rois] == numbers
    (seg_row,) = (row for row in look_into(tmp_path)[1] if row.kind == "segmentation")
    assert seg_row.reason == (
        "taken" if frame else "it does not say on which acquisition of its CT series it was drawn"
    )
    result = bring(tmp_path)
    assert len(result.cases) == (1 if frame else 0)
    assert frame or "on which acquisition" in result.exclusions[0].reason


def test_a_liver_is_no_second_reader(tmp_path):
    drawn(tmp_path, one=["Tumor"], two=["Liver", "Spleen"])
    result = bring(tmp_path)
    (case,) = map(flat, result.cases)
    assert (case.roi.name, case.roi_reader2, case.organs) == ("one.dcm", None, None)
    assert (
        row_of(tmp_path, "two").reason
        == "it contains no tumor, only other structures (Liver, Spleen, Tissue)"
    )
    assert "readers-assumed" not in codes(result)


def test_kidneys_become_the_organs(tmp_path):
    drawn(tmp_path, one=["Kidney left", "Kidney right", "Aorta"], two=["Tumor"])
    (case,) = map(flat, bring(tmp_path).cases)
    assert (case.roi.name, case.roi_reader2, case.organs.name) == ("two.dcm", None, "one.dcm")
    row = row_of(tmp_path, "one")
    assert (row.accepted, row.chosen, row.reason) == (
        True,
        True,
        "kidneys and no tumor: kept as the organs of its CT",
    )


def test_a_patient_with_organs_only_is_left_out_with_the_reason(tmp_path):
    drawn(tmp_path, one=["Kidney"])
    (left_out,) = bring(tmp_path).exclusions
    assert left_out.reason.endswith("is not used: kidneys and no tumor: kept as the organs of its CT")


def test_a_segment_that_a_label_row_means_is_the_tumor(tmp_path):
    drawn(tmp_path, one=["Kidney"])
    by_name, by_number = bring(tmp_path, label(tumor_name="kidney ")), bring(tmp_path, label(tumor_label=1))
    assert [case.roi.name for case in map(flat, (*by_name.cases, *by_number.cases))] == ["one.dcm", "one.dcm"]
    assert bring(tmp_path, label(tumor_name="lesion")).cases == ()


@pytest.mark.parametrize(
    ("names", "content"),
    [
        (["Tumor", "Kidney"], ""),
        (["Segment_1"], ""),
        ([""], ""),
        ([], ""),
        (["liver lesion"], ""),
        (["adrenal mass"], ""),
        (["Kidney", "Segment_1"], ""),
        (["Liver", "bone"], "other"),
        (["Aorta"], "other"),
        (["Kidney cyst"], "other"),
        (["Kidney_L-GTV"], "other"),
        (["Niere links"], "organs"),
        (["Kidney", "Liver"], "other"),
        (["kidney_right", "aorta"], "organs"),
    ],
)
def test_what_a_file_says_that_it_holds(names, content):
    assert content_of([(name, (), frozenset()) for name in names]) == content


def test_codes_count_as_names_do():
    assert content_of([("ROI 1", ("Liver",), frozenset())]) == "other"
    assert content_of([("Kidney", (), frozenset({"108369006"}))]) == ""


def test_second_readers_are_said_to_be_assumed(tmp_path):
    drawn(tmp_path, same_reader=True, one=["Mass"], two=["Mass Meyer"])
    result = bring(tmp_path)
    assert {flat(result.cases[0]).roi.name, flat(result.cases[0]).roi_reader2.name} == {"one.dcm", "two.dcm"}
    assert codes(result)["readers-assumed"] == (
        "in 1 cases the second ROI file was taken as that of a second annotator (Mass)"
    )
    assert "readers-assumed" not in codes(bring(tmp_path, label("P2", patient_id="P2")))


def test_readers_whom_the_files_name_are_not_assumed(tmp_path):
    drawn(tmp_path, one=["Tumor"], two=["Mass Meyer"])
    result = bring(tmp_path)
    assert flat(result.cases[0]).roi_reader2.name == "two.dcm"
    assert "readers-assumed" not in codes(result)


def test_a_file_that_another_tumor_claims_is_no_second_reader(tmp_path):
    drawn(tmp_path, one=["Tumor"], two=["Tumor"])
    first = label("P1-1", patient_id="P1", roi=tmp_path / "one.dcm")
    second = label("P1-2", patient_id="P1", roi=tmp_path / "two.dcm")
    cases = map(flat, bring(tmp_path, first, second).cases)
    assert [(case.roi.name, case.roi_reader2) for case in cases] == [("one.dcm", None), ("two.dcm", None)]
    by_hand = replace(second, excluded="too blurred")
    for left_out in (replace(second, subtype="oncocytoma"), by_hand):
        (case,) = map(flat, bring(tmp_path, first, left_out).cases)
        assert (case.roi.name, case.roi_reader2) == ("one.dcm", None)
    (alone,) = map(flat, bring(tmp_path, first).cases)
    assert alone.roi_reader2.name == "two.dcm"


def test_a_segment_named_after_another_tumor_is_no_second_reader(tmp_path):
    drawn(tmp_path, one=["P1-1"], two=["P1-2"])
    rows = [label(f"P1-{n}", patient_id="P1") for n in (1, 2)]
    assert [(case.roi.name, case.roi_reader2) for case in map(flat, bring(tmp_path, *rows).cases)] == [
        ("one.dcm", None),
        ("two.dcm", None),
    ]


def test_two_readers_of_two_tumors_stay_two_readers(tmp_path):
    drawn(tmp_path, one=["Tumor 1", "Tumor 2"], two=["Tumor 1", "Tumor 2"])
    rows = [label(f"P1-{n}", patient_id="P1") for n in (1, 2)]
    named = [replace(row, tumor_name=f"Tumor {n}") for n, row in enumerate(rows, 1)]
    oncocytoma = replace(rows[1], subtype="oncocytoma")
    for table, n in ((rows, 2), (named, 2), ([named[0], oncocytoma], 1)):
        cases = [flat(case) for case in bring(tmp_path, *table).cases]
        assert [(case.roi.name, case.roi_reader2.name) for case in cases] == [("one.dcm", "two.dcm")] * n


def test_a_series_that_is_seen_again_is_told_anew(tmp_path):
    drawn(tmp_path, one=["Tumor"])
    study = tmp_path / "study"
    study.mkdir()
    not_yet = bring(tmp_path, label("P9"))
    add_to_series_table(study, not_yet.series, not_yet.cases)
    result = bring(tmp_path, label())
    add_to_series_table(study, result.series, result.cases)
    ((_, row),) = read_table(study / "seen_series.csv")[1]
    assert row[:2] == ["P1", "P1"]
    add_to_series_table(study, result.series, ())
    ((_, row),) = read_table(study / "seen_series.csv")[1]
    assert row[:2] == ["P1", "P1"]
    other = drawn(tmp_path / "more", "P2", two=["Tumor"])
    later = bring(tmp_path / "more")
    add_to_series_table(study, later.series, later.cases)
    assert [row[0] for _, row in read_table(study / "seen_series.csv")[1]] == ["P1", "P2"]
    assert other[0].PatientID == "P2"

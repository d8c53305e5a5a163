"""Which ROI file of an export belongs to which CT, and which to none: patients, acquisitions, organs, readers."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from ct_files import enhanced_ct, item
from nephroscope.base.errors import RoiError
from nephroscope.base.tables import read_table, save_table
from nephroscope.imaging.masks.words import content_of
from nephroscope.imaging.read import read_case_ct, read_case_roi, read_ct, read_roi
from nephroscope.intake.export.cases import DicomOptions, import_dicom, look_into
from nephroscope.intake.export.roi_files import find_roi_files
from nephroscope.intake.export.series_table import add_to_series_table
from nephroscope.intake.labels.rows import LabelRow
from nephroscope.intake.labels.whose_roi import tumor_unsaid
from nephroscope.records import ChoiceRule
from one_series import flat, one_series
from phantoms import (
    SHAPE,
    box_affine,
    box_hu,
    box_tumor,
    dicom_slices,
    window_gray,
    write_nifti,
    write_png,
    write_seg,
    write_slices,
)
from test_label_map import nrrd_bytes
from test_rtstruct import box, rtstruct, save


def label(case_id="P1", **more):
    return LabelRow(row=2, case_id=case_id, subtype="papillary", **more)


def bring(folder, *labels, rois=None):
    options = DicomOptions(
        subtypes=("PRCC", "ChRCC"),
        positive="PRCC",
        labels=list(labels) or None,
        study=folder / "study",
        rois=find_roi_files(rois),
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
    header, rows = read_table(study / "seen_series.csv")
    save_table(study / "seen_series.csv", ["mine", *header], [["seen", *row] for _, row in rows])
    other = drawn(tmp_path / "more", "P2", two=["Tumor"])
    later = bring(tmp_path / "more")
    add_to_series_table(study, later.series, later.cases)
    header, rows = read_table(study / "seen_series.csv")
    assert [row[0] for _, row in rows] == ["P1", "P2"]
    assert [(header[-1], row[-1]) for _, row in rows] == [("mine", "seen"), ("mine", "")]
    assert other[0].PatientID == "P2"


# ---- what a file says that it was drawn on


def changed_seg(folder, change):
    images = drawn(folder)
    write_seg(images, {"Tumor": box_tumor()}, folder / "IM_1.dcm")
    seg = pydicom.dcmread(folder / "IM_1.dcm")
    change(seg)
    seg.save_as(folder / "IM_1.dcm")
    return images


def _pet_first(seg):
    other = deepcopy(seg.ReferencedSeriesSequence[0])
    other.SeriesInstanceUID = "1.2.3.99"
    for image in other.ReferencedInstanceSequence:
        image.ReferencedSOPInstanceUID = generate_uid()
    seg.ReferencedSeriesSequence.insert(0, other)


def _by_frames_alone(seg):
    del seg.ReferencedSeriesSequence


def _renamed_series(seg):
    """As an anonymizer leaves it that changes Series Instance UIDs in images only."""
    seg.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3.99"


@pytest.mark.parametrize("change", [_pet_first, _by_frames_alone, _renamed_series])
def test_every_series_and_image_that_a_seg_names_counts(tmp_path, change):
    changed_seg(tmp_path, change)
    result = bring(tmp_path)
    assert [flat(case).roi.name for case in result.cases] == ["IM_1.dcm"]
    assert "roi-orphan" not in codes(result)
    assert row_of(tmp_path, "IM_1").reason == "taken"
    case = result.cases[0].chosen(ChoiceRule())
    found = [finding.code for finding in read_case_roi(case, case.roi, read_case_ct(case)).findings]
    assert found == ([] if change is _pet_first else ["roi-reference"])


@pytest.mark.parametrize("how", ["two series", "two frames of reference", "contours alone"])
def test_every_series_and_image_that_an_rtstruct_names_counts(tmp_path, how):
    images = drawn(tmp_path)
    made = rtstruct({"Tumor": [box(2, 10, 22, 8, 18)]}, series="1.2.3.99" if how != "contours alone" else "")
    made.PatientID = "P1"
    frame = made.ReferencedFrameOfReferenceSequence[0]
    if how == "two series":
        second = deepcopy(frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0])
        second.SeriesInstanceUID = images[0].SeriesInstanceUID
        frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence.append(second)
    elif how == "two frames of reference":
        made.ReferencedFrameOfReferenceSequence.append(deepcopy(frame))
        study = made.ReferencedFrameOfReferenceSequence[1].RTReferencedStudySequence[0]
        study.RTReferencedSeriesSequence[0].SeriesInstanceUID = images[0].SeriesInstanceUID
    else:
        outlined = Dataset()
        outlined.ReferencedSOPInstanceUID = images[2].SOPInstanceUID
        made.ROIContourSequence[0].ContourSequence[0].ContourImageSequence = [outlined]
    save(made, tmp_path / "IM_1.dcm")
    assert [flat(case).roi.name for case in bring(tmp_path).cases] == ["IM_1.dcm"]


def test_a_roi_that_names_nothing_is_told_with_the_way_out(tmp_path):
    def change(seg):
        del seg.ReferencedSeriesSequence
        for group in seg.PerFrameFunctionalGroupsSequence:
            del group.DerivationImageSequence

    changed_seg(tmp_path, change)
    result = bring(tmp_path)
    assert result.cases == ()
    assert codes(result)["roi-orphan"] == (
        "1 ROI files do not say on which CT they were drawn; give it with --rois, in a folder of ROI files named "
        "after their patient: file IM_1.dcm"
    )
    assert row_of(tmp_path, "IM_1").reason.startswith(
        "it does not say which CT series it was drawn on; give it with"
    )
    (tmp_path / "rois").mkdir()
    (tmp_path / "IM_1.dcm").rename(tmp_path / "rois" / "P1.dcm")
    assert [flat(case).roi.name for case in bring(tmp_path, rois=tmp_path / "rois").cases] == ["P1.dcm"]


# ---- ROI files outside the export


def test_the_column_roi_reaches_a_ct_without_any_other_roi(tmp_path):
    drawn(tmp_path / "x")
    (tmp_path / "masks").mkdir()
    mask = write_nifti(box_tumor().astype(np.uint8), tmp_path / "masks" / "any name.nii.gz")
    for typed in (mask, mask.relative_to(tmp_path)):
        result = bring(tmp_path / "x", label(roi=tmp_path / typed))
        assert [flat(case).roi for case in result.cases] == [mask]
    mask = write_nifti(box_tumor().astype(np.uint8), tmp_path / "x" / "beside.nii.gz")
    result = bring(tmp_path / "x", label(roi=Path("beside.nii.gz")))
    assert [flat(case).roi for case in result.cases] == [mask]
    assert bring(tmp_path / "x", label(roi=tmp_path / "gone.nii.gz")).cases == ()


def two_series(folder):
    """A CT of the preferred phase, and one 12 mm higher."""
    uids = {}
    for name, up_mm, text in (("a", 0.0, "arterial"), ("v", 12.0, "portal venous")):
        images = dicom_slices("P1")
        for image in images:
            image.SeriesDescription = text
            x, y, z = image.ImagePositionPatient
            image.ImagePositionPatient = [x, y, z + up_mm]
        write_slices(images, folder / "x" / name)
        uids[name] = images[0].SeriesInstanceUID
    return uids


def write_cropped(folder, affine):
    """Without the first slice and two rows, and from head to feet."""
    part = box_tumor()[:0:-1, 2:].astype(np.uint8)
    s, r, c = affine[:3, 0], affine[:3, 1], affine[:3, 2]
    x, y, z = affine[:3, 3] + (SHAPE[0] - 1) * s + 2 * r
    directions = " ".join(f"({','.join(map(str, axis))})" for axis in (c, r, -s))
    content = nrrd_bytes(part, space_origin=f"({x},{y},{z})", space_directions=directions)
    (folder / "P1.nrrd").write_bytes(content)


def write_as_seg(folder, affine, series="v"):
    images = [pydicom.dcmread(path) for path in sorted((folder.parent / "x" / series).iterdir())]
    write_seg(images, {"Tumor": box_tumor()}, folder / "P1.dcm")


def write_whole(folder, affine):
    write_nifti(box_tumor().astype(np.uint8), folder / "P1.nii.gz", affine)


@pytest.mark.parametrize("write", [write_whole, write_cropped, write_as_seg])
def test_of_several_series_the_one_whose_grid_the_roi_has_is_taken(tmp_path, write):
    uids = two_series(tmp_path)
    (tmp_path / "rois").mkdir()
    for up_mm, taken in ((0.0, "a"), (12.0, "v")):
        affine = box_affine()
        affine[2, 3] += up_mm
        if write is write_as_seg:
            write_as_seg(tmp_path / "rois", affine, taken)
        else:
            write(tmp_path / "rois", affine)
        (case,) = bring(tmp_path / "x", rois=tmp_path / "rois").cases
        chosen = case.chosen(ChoiceRule())
        assert chosen.ct.series_uid == uids[taken]
        roi = read_case_roi(chosen, chosen.roi, read_case_ct(chosen))
        assert np.array_equal(roi.voxels, box_tumor())
        assert roi.findings == ()


def test_a_roi_on_no_grid_goes_by_phase_and_is_told(tmp_path):
    uids = two_series(tmp_path)
    (tmp_path / "rois").mkdir()
    affine = box_affine()
    affine[2, 3] += 5.7
    write_whole(tmp_path / "rois", affine)
    (case,) = bring(tmp_path / "x", rois=tmp_path / "rois").cases
    chosen = case.chosen(ChoiceRule())
    assert chosen.ct.series_uid == uids["a"]
    found = read_case_roi(chosen, chosen.roi, read_case_ct(chosen)).findings
    assert "roi-resampled" in [finding.code for finding in found]


@pytest.mark.parametrize("name", ["P1.mha", "P1_seg.mhd", "p1_reader2.img", "P1.seg.mgz"])
def test_a_file_of_a_kind_that_is_not_read_is_named_where_it_is_missed(tmp_path, name):
    drawn(tmp_path)
    rois = tmp_path / "rois"
    rois.mkdir()
    for file in (name, "P3.nrrd"):
        (rois / file).write_bytes(b"x")
    result = bring(tmp_path, rois=rois)
    assert "files-not-read" in codes(result)
    (excluded,) = result.exclusions
    assert f", and {name} is of a kind that is not read: save it as .nii.gz, .nrrd or" in excluded.reason


def test_an_import_says_when_nothing_says_which_segment_is_the_tumor(tmp_path):
    drawn(tmp_path / "x", "P1", IM_1=("Segment_1", "Segment_2"))
    drawn(tmp_path / "x", "P2", IM_2=("Kidney", "Tumor"))
    write_nifti((box_tumor() * 2 + np.roll(box_tumor(), 20, 2)).astype(np.uint8), tmp_path / "P3.nii.gz")
    cases = [*bring(tmp_path / "x").cases]
    cases.append(
        one_series(case_id="P3", patient_id="P3", image=tmp_path, roi=tmp_path / "P3.nii.gz", format="nifti")
    )
    (told,) = tumor_unsaid(cases)
    assert (told.code, told.severity) == ("roi-tumor-unsaid", "warning")
    assert "(P1: 1 Segment 1, 2 Segment 2; P3: 1, 2)" in told.message
    assert told.message.startswith("2 cases will be refused")
    said = [replace(case, rois=[replace(roi, name="#2") for roi in case.rois]) for case in cases]
    assert tumor_unsaid(said) == []


@pytest.mark.parametrize("kind", ["nifti", "image"])
def test_an_image_is_never_its_own_roi(tmp_path, kind):
    if kind == "nifti":
        path = write_nifti(box_hu(), tmp_path / "a.nii.gz")
        volume = read_ct(path)
    else:
        path = write_png(window_gray(box_hu()[2]), tmp_path / "a.png")
        volume = read_ct(path, 40, 400, 0.7)
    copy = path.with_name("P1_seg" + "".join(path.suffixes))
    copy.write_bytes(path.read_bytes())
    for roi in (path, copy):
        with pytest.raises(
            RoiError, match="expected an ROI drawn on the image, found the image itself, or a copy"
        ):
            read_roi(roi, volume, "P1", 2)

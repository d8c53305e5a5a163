"""Label rows meet volumes: one tumor, several tumors of a patient, and whose ROI is whose."""

import unicodedata
from datetime import date
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from nephroscope.facade.study import Study
from nephroscope.imaging.read import read_case
from nephroscope.intake.labels.join import Found, join_found, settle_labels
from nephroscope.intake.labels.rows import LabelRow, read_labels
from nephroscope.intake.labels.whose_roi import RoiFile
from nephroscope.intake.nifti_folder import import_nifti
from one_series import flat
from phantoms import box_hu, box_tumor, dicom_slices, write_nifti, write_seg, write_slices

SUBTYPES = ("PRCC", "ChRCC")
SHARED = Path("seg.dcm")


def row(case_id, subtype="pRCC", patient_id="P1", **more):
    return LabelRow(row=2, case_id=case_id, patient_id=patient_id, subtype=subtype, **more)


def join(rows, *found, source=None):
    found = found or (Found(key="P1", image=Path("ct"), roi=SHARED, roi_reader2=Path("seg2.dcm")),)
    cases, excluded = join_found(found, rows, SUBTYPES, "dicom", source=source)
    return {case.case_id: flat(case) for case in cases}, {x.case_id: x.reason for x in excluded}


def test_tumors_told_by_label_number():
    cases, excluded = join([row("t1", tumor_label=1), row("t2", "ChRCC", tumor_label=2)])
    assert not excluded
    assert {n: (c.patient_id, c.subtype, c.roi, c.tumor_label) for n, c in cases.items()} == {
        "t1": ("P1", "PRCC", SHARED, 1),
        "t2": ("P1", "ChRCC", SHARED, 2),
    }
    assert cases["t2"].roi_reader2 == Path("seg2.dcm")


def test_tumors_told_by_segment_name():
    cases, _ = join([row("t1", tumor_name="Tumor left"), row("t2", tumor_name="Tumor right")])
    assert [(c.tumor_name, c.roi) for c in cases.values()] == [
        ("Tumor left", SHARED),
        ("Tumor right", SHARED),
    ]


@pytest.mark.parametrize(
    ("typed", "known"),
    [("tumor LEFT ", True), ("Neoplasm", True), ("#7", True), ("4147007", True), ("Tumour", False)],
)
def test_a_segment_that_is_not_there_is_told_at_import(typed, known):
    rois = [RoiFile(path=SHARED, names=("Tumor left", "Kidney Beil"), meanings=("Neoplasm",))]
    found = Found(key="P1", image=Path("ct"), roi=SHARED, rois=rois)
    cases, excluded = join([row("t1", tumor_name=typed)], found)
    assert bool(cases) == known
    if not known:
        assert excluded == {
            "t1": "no segment or contour of its ROI is called 'Tumour' (there are Tumor left, Kidney, Neoplasm)"
        }


def test_tumors_told_by_a_file_of_their_own(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"")
    (tmp_path / "rois").mkdir()
    (tmp_path / "rois" / "b.dcm").write_bytes(b"")
    (tmp_path / "labels.csv").write_text(
        "patient,case,histology,roi,organs\nP1,t1,pRCC,a.dcm,a.dcm\nP1,t2,pRCC,b.dcm,\n"
    )
    cases, _ = join(read_labels(tmp_path / "labels.csv"), source=tmp_path / "rois")
    assert cases["t1"].roi == cases["t1"].organs == (tmp_path / "a.dcm").resolve()
    assert cases["t2"].roi == (tmp_path / "rois" / "b.dcm").resolve()
    assert cases["t1"].roi_reader2 is None


def test_a_roi_or_organ_file_that_is_not_there():
    assert join([row("t1", roi=Path("x/gone.dcm"))])[1] == {"t1": "its ROI file gone.dcm is not there"}
    assert join([row("t1", organs=Path("x/gone.nii"))])[1] == {"t1": "its organ file gone.nii is not there"}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (
            [row("t1"), row("t2")],
            "but not every row says which ROI is its own; fill tumor_label, tumor_name or roi",
        ),
        ([row("t1", tumor_label=1), row("t2")], "but not every row says which ROI is its own"),
        ([row("t1", tumor_label=2), row("t2", tumor_label=2)], "for one CT volume name the same ROI"),
        ([row("t1"), row("t2", "oncocytoma")], "but not every row says which ROI is its own"),
    ],
)
def test_tumors_whose_roi_is_not_told_are_left_out(rows, found):
    """Also when the other tumor is of another subtype: the one ROI may be that one's."""
    cases, excluded = join(rows)
    assert not cases
    assert excluded["t1"].startswith("2 label rows (t1, t2) for one CT volume")
    assert found in excluded["t1"]


def test_a_tumor_left_out_by_hand_needs_no_roi():
    cases, excluded = join([row("t1"), row("t2", excluded="no consent")])
    assert cases["t1"].roi == SHARED
    assert excluded == {"t2": "left out by hand: no consent"}


def named(*rois):
    return Found(key="P1", image=Path("ct"), roi=SHARED, rois=tuple(rois))


def test_segments_named_after_cases():
    found = named(RoiFile(path=SHARED, names=("P1-1 tumor", "P1-2 tumor", "Kidney")))
    cases, _ = join([row("P1-1"), row("P1-2")], found)
    assert [(c.tumor_name, c.roi) for c in cases.values()] == [("P1-1 tumor", SHARED), ("P1-2 tumor", SHARED)]


@pytest.mark.parametrize("ending", ["-1 -2", "_T1 _T2", " tumor 01| tumor 02"])
def test_segments_named_after_the_number_of_a_tumor(ending):
    one, two = ending.split("|") if "|" in ending else ending.split()
    found = named(
        RoiFile(path=SHARED, names=("Tumor 1", "tumor_2", "Tumor 12")),
        RoiFile(path=Path("r2.dcm"), names=("Tumor 1",)),
    )
    cases, _ = join([row(f"P1{one}"), row(f"P1{two}")], found)
    assert [(c.tumor_name, c.roi_reader2) for c in cases.values()] == [
        ("Tumor 1", Path("r2.dcm")),
        ("tumor_2", None),
    ]


def test_two_segments_of_one_name_are_not_chosen_between():
    found = named(RoiFile(path=SHARED, names=("Tumor 1", "Tumor 1 old", "Tumor 2")))
    assert not join([row("P1-1"), row("P1-2")], found)[0]


def test_files_named_after_cases():
    found = named(RoiFile(path=Path("P1_t1_seg.nii")), RoiFile(path=Path("P1_t2_seg.nii")))
    cases, _ = join([row("P1_t1"), row("P1_t2")], found)
    assert [case.roi.name for case in cases.values()] == ["P1_t1_seg.nii", "P1_t2_seg.nii"]


def test_a_volume_of_its_own_name_stands_before_that_of_the_patient():
    volumes = [
        Found(key="P1", image=Path("a")),
        Found(key="t1", image=Path("b")),
        Found(key="t2", image=Path("c")),
    ]
    cases, excluded = join([row("t1"), row("t2")], *volumes)
    assert {name: case.image.name for name, case in cases.items()} == {"t1": "b", "t2": "c"}
    assert excluded == {"P1": "no label row names it"}


def test_numbers_of_cases_and_of_patients_are_told_apart():
    """Case 2 of patient 1 is not on the CT of patient 2."""
    rows = [
        row("1", patient_id="1", tumor_label=1),
        row("2", patient_id="1", tumor_label=2),
        row("3", patient_id="2"),
    ]
    cases, _ = join(rows, Found(key="1", image=Path("ct1")), Found(key="2", image=Path("ct2")))
    assert {name: case.image.name for name, case in cases.items()} == {"1": "ct1", "2": "ct1", "3": "ct2"}


def test_a_table_may_bring_the_roi_that_an_import_lacks(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"")
    bare = Found(key="P1", image=tmp_path / "ct", without_roi="no ROI here")
    assert join([row("P1")], bare)[1] == {"P1": "no ROI here"}
    assert join([row("P1", roi=Path("a.dcm"))], bare)[0]["P1"].roi == (tmp_path / "a.dcm").resolve()


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            [row("a", "favor papillary")],
            "pathology text 'favor papillary' is not in pathology.csv "
            "('favor' makes it uncertain or negates it)",
        ),
        ([row("a", "clear cell papillary rcc")], "subtype clear_cell_papillary is not in the study"),
        ([row("a", excluded="motion")], "left out by hand: motion"),
        ([row("a", excluded="motion"), row("a")], "contradict each other: some of them are left out by hand"),
        ([row("a"), row("a", "what?")], "two subtypes: PRCC and one not given"),
        ([row("a", side="left"), row("a", side="right")], "contradict each other: side left and right"),
    ],
)
def test_exclusions_have_reasons(rows, reason):
    settled, excluded = settle_labels(rows, SUBTYPES)
    assert not settled
    assert reason in excluded["a"].reason


def test_the_second_reading_is_kept_and_never_a_label():
    cases, _ = join([row("P1", subtype_reader2="chromophobe rcc")])
    assert (cases["P1"].subtype, cases["P1"].subtype_reader2) == ("PRCC", "ChRCC")
    assert join([row("P1", subtype_reader2="what?")])[0]["P1"].subtype_reader2 == "what?"


def test_without_labels_every_volume_is_a_case():
    cases, excluded = join(None)
    assert (cases["P1"].subtype, excluded) == (None, {})


def test_nifti_with_a_label_map_for_each_tumor(tmp_path):
    write_nifti(box_hu(), tmp_path / "P1.nii.gz")
    for name in ("P1_t1_seg", "P1_t2_seg"):
        write_nifti(box_tumor().astype(np.uint8), tmp_path / f"{name}.nii.gz")
    labels = [row("P1_t1"), row("P1_t2", "ChRCC")]
    result = import_nifti(tmp_path, labels, SUBTYPES, "PRCC", 1)
    assert [(case.case_id, case.roi.name) for case in map(flat, result.cases)] == [
        ("P1_t1", "P1_t1_seg.nii.gz"),
        ("P1_t2", "P1_t2_seg.nii.gz"),
    ]
    (left_out,) = import_nifti(tmp_path, [row("P1")], SUBTYPES, "PRCC", 1).exclusions
    assert left_out.reason == "no label map beside P1.nii.gz: which of several is the tumor's is not said"


def test_a_study_reads_its_columns_and_its_pathology_table(tmp_path):
    """The whole way: settings, an Excel table, an edited pathology.csv, findings and exclusions."""
    (tmp_path / "in").mkdir()
    for name in ("A", "B", "C", "D"):
        write_nifti(box_hu(), tmp_path / "in" / f"{name}.nii.gz")
        write_nifti(box_tumor().astype(np.uint8), tmp_path / "in" / f"{name}_seg.nii.gz")
    book = openpyxl.Workbook()
    for line in (
        ["Patient", "Befund", "Geburtsdatum", "CT-Datum", "Zweitbefund"],
        ["A", "papilläres NZK Typ 1", date(1950, 1, 1), date(2020, 1, 1), "chromophob"],
        ["B", "K17", None, None, None],
        ["C", "am ehesten papillär", None, None, None],
        ["D", "Onkozytom", None, None, None],
    ):
        book.active.append(line)
    book.save(tmp_path / "labels.xlsx")
    study = Study.create(tmp_path / "study", SUBTYPES)
    study.change("columns", subtype="Befund")
    texts = study.folder.root / "pathology.csv"
    texts.write_text(texts.read_text(encoding="utf-8") + "K17,ChRCC,our code\n", encoding="utf-8")
    cohort = study.import_nifti(tmp_path / "in", tmp_path / "labels.xlsx")
    assert {c.case_id: (c.subtype, c.age_years, c.subtype_reader2) for c in map(flat, cohort.cases)} == {
        "A": ("PRCC", 70, "ChRCC"),
        "B": ("ChRCC", None, None),
    }
    assert {x.case_id: x.reason for x in cohort.exclusions} == {
        "C": "pathology text 'am ehesten papillär' is not in pathology.csv "
        "('ehesten' makes it uncertain or negates it)",
        "D": "subtype oncocytoma is not in the study",
    }
    assert [f.code for f in study.import_findings] == ["age-from-dates", "subtype-unmapped"]
    stored = [path for path in study.folder.root.rglob("*") if path.is_file()]
    assert not any(b"1950" in path.read_bytes() for path in stored)


@pytest.mark.parametrize("column", ["", "tumor name", "tumor label"])
def test_two_tumors_in_one_dicom_seg_are_two_cases_with_their_own_voxels(tmp_path, column):
    """From the export to the masks: told by the segments' names, by the column tumor_name, and by the number."""
    images = dicom_slices("P7")
    write_slices(images, tmp_path / "in" / "ct")
    left, right = box_tumor(), np.zeros_like(box_tumor())
    right[2, 2:4, 2:4] = True
    write_seg(images, {"Tumor 1": left, "Tumor 2": right}, tmp_path / "in" / "seg.dcm")
    told = {"": ("", ""), "tumor name": ("Tumor 1", "Tumor 2"), "tumor label": ("1", "2")}[column]
    (tmp_path / "labels.csv").write_text(
        f"patient,case,histology,{column or 'extra'}\nP7,P7-1,pRCC,{told[0]}\nP7,P7-2,ChRCC,{told[1]}\n"
    )
    study = Study.create(tmp_path / "study", SUBTYPES)
    cohort = study.import_dicom(tmp_path / "in", tmp_path / "labels.csv")
    assert {c.case_id: (c.patient_id, c.subtype) for c in map(flat, cohort.cases)} == {
        "P7-1": ("P7", "PRCC"),
        "P7-2": ("P7", "ChRCC"),
    }
    masks = {case.case_id: read_case(case)[1].voxels for case in cohort.chosen}
    assert (int(masks["P7-1"].sum()), int(masks["P7-2"].sum())) == (int(left.sum()), 4)


def ct_of(name):
    return Found(key=name, image=Path(f"{name}.nii.gz"), roi=Path(f"{name}_seg.nii.gz"))


def test_near_twins_are_named_on_both_sides():
    rows = [row(name, patient_id=None) for name in ("7", "12001", "p1", "P9", "12.0")]
    found = [ct_of(name) for name in ("007", "0012001", "P1", "P9", "X")]
    cases, excluded = join_found(found, rows, SUBTYPES, "nifti")
    assert [case.case_id for case in cases] == ["P9"]
    assert {one.case_id: one.hint for one in excluded} == {
        **{"7": "did you mean 007?", "12001": "did you mean 0012001?", "p1": "did you mean P1?"},
        **{"007": "did you mean 7?", "0012001": "did you mean 12001?", "P1": "did you mean p1?"},
        **{"12.0": "", "X": ""},
    }
    assert {one.reason for one in excluded} == {
        "no label row names it",
        "labelled, but no CT of it was found",
    }


def test_names_that_look_the_same_meet():
    rows = [row("Fäll1", patient_id=None), row("P4", patient_id=None)]
    found = [ct_of(unicodedata.normalize("NFD", "Fäll1")), ct_of("P4\u200b")]
    cases, excluded = join_found(found, rows, SUBTYPES, "nifti")
    assert ([case.case_id for case in cases], excluded) == (["Fäll1", "P4"], ())


def test_two_volumes_whose_names_look_the_same_are_not_chosen_between():
    found = [ct_of("P4"), ct_of("P4\u200b")]
    cases, excluded = join_found(found, [row("P4", patient_id=None)], SUBTYPES, "nifti")
    assert cases == ()
    assert [one.reason for one in excluded] == ["two volumes whose names look the same"]

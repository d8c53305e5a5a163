"""Layouts of NIfTI folders that people have: the CT is the CT, the label map the ROI, or the case is left out."""

import unicodedata

import pytest

from nephroscope.facade.study import Study
from nephroscope.intake.labels.rows import LabelRow
from nephroscope.intake.nifti_folder import import_nifti
from one_series import flat
from phantoms import box_affine, box_hu, box_tumor, write_nifti

SUBTYPES = ("PRCC", "ChRCC")


def imported(folder, files, names, rois=None):
    """Image and ROI by case, relative to the folder, and reasons of exclusions."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    labels = [
        LabelRow(row=2, case_id=name, subtype="papillary", roi=(rois or {}).get(name) and folder / rois[name])
        for name in names
    ]
    found = import_nifti(folder, labels, SUBTYPES, "PRCC", 1)
    root = folder.resolve()
    pairs = {
        case.case_id: (case.image.relative_to(root).as_posix(), case.roi.relative_to(root).as_posix())
        for case in map(flat, found.cases)
    }
    return pairs, {one.case_id: one.reason for one in found.exclusions}


LAYOUTS = {
    "nnU-Net": ("imagesTr/P1_0000.nii.gz", "labelsTr/P1.nii.gz"),
    "nnU-Net test set": ("imagesTs/P1_0000.nii.gz", "labelsTs/P1.nii.gz"),
    "Decathlon": ("imagesTr/P1.nii.gz", "labelsTr/P1.nii.gz"),
    "images and masks": ("images/P1.nii.gz", "masks/P1.nii.gz"),
    "images and masks with endings": ("images/P1_ct.nii.gz", "masks/P1_mask.nii.gz"),
    "volumes and masks": ("volumes/P1.nii", "masks/P1.nii.gz"),
    "train and test": ("train/images/P1.nii.gz", "train/labels/P1.nii.gz"),
    "volume and segmentation": ("CT/P1.nii.gz", "Segmentation/P1.nii.gz"),
    "folder per case": ("P1/ct.nii.gz", "P1/tumor.nii.gz"),
    "folder per case, image and label": ("P1/image.nii.gz", "P1/label.nii.gz"),
    "TotalSegmentator": ("P1/ct.nii.gz", "P1/segmentations/kidney_tumor.nii.gz"),
    "TotalSegmentator beside": ("a/P1.nii.gz", "a/segmentations/kidney_lesion.nii.gz"),
    "side by side": ("P1_ct.nii.gz", "P1_tumor.nii.gz"),
    "BIDS": ("sub/P1_0000.nii.gz", "sub/P1_dseg.nii.gz"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path, layout):
    image, roi = LAYOUTS[layout]
    others = ["P1/segmentations/kidney_left.nii.gz"] if layout == "TotalSegmentator" else []
    assert imported(tmp_path, [image, roi, *others], ["P1"]) == ({"P1": (image, roi)}, {})


@pytest.mark.parametrize("layout", ["nnU-Net", "Decathlon", "volumes and masks", "TotalSegmentator"])
def test_layouts_with_the_column_roi(tmp_path, layout):
    image, roi = LAYOUTS[layout]
    assert imported(tmp_path, [image, roi], ["P1"], {"P1": roi}) == ({"P1": (image, roi)}, {})


def test_a_file_named_as_roi_is_never_a_ct(tmp_path):
    files = ["a/P1.nii.gz", "b/P1.nii.gz"]
    assert imported(tmp_path, files, ["P1"], {"P1": "b/P1.nii.gz"})[0] == {
        "P1": ("a/P1.nii.gz", "b/P1.nii.gz")
    }
    assert imported(tmp_path, files, ["P1"], {"P1": "a/P1.nii.gz"})[0] == {
        "P1": ("b/P1.nii.gz", "a/P1.nii.gz")
    }


def test_two_volumes_of_one_name_are_refused_with_what_to_do(tmp_path):
    pairs, reasons = imported(tmp_path, ["a/P1.nii.gz", "b/P1.nii.gz"], ["P1"])
    assert pairs == {}
    assert reasons["P1"].startswith("2 volumes and 0 label maps of this name, in a and b: ")
    assert "column roi" in reasons["P1"]


def test_several_channels_are_not_chosen_between(tmp_path):
    files = ["imagesTr/P1_0000.nii.gz", "imagesTr/P1_0001.nii.gz", "labelsTr/P1.nii.gz"]
    pairs, reasons = imported(tmp_path, files, ["P1"])
    assert pairs == {}
    assert reasons["P1"].startswith(
        "2 volumes and 1 label maps of this name (P1_0000.nii.gz, P1_0001.nii.gz)"
    )


def test_organs_without_a_tumor_are_no_roi(tmp_path):
    organs = [
        f"P1/segmentations/{name}.nii.gz" for name in ("kidney_left", "kidney_right", "kidney_cyst_left")
    ]
    pairs, reasons = imported(tmp_path, ["P1/ct.nii.gz", *organs], ["P1"])
    assert pairs == {}
    assert reasons["P1"] == "no label map beside ct.nii.gz; segmentations holds no file of a tumor"
    assert imported(tmp_path, ["P1/segmentations.nii.gz"], ["P1"])[0] == {}


def test_organs_beside_a_tumor_are_kept_as_organs(tmp_path):
    files = ["P1/ct.nii.gz", "P1/segmentations/kidney_left.nii.gz", "P1/segmentations/tumor.nii.gz"]
    imported(tmp_path, files, ["P1"])
    (case,) = import_nifti(
        tmp_path, [LabelRow(row=2, case_id="P1", subtype="papillary")], SUBTYPES, "PRCC", 1
    ).cases
    assert case.series[0].organs == (tmp_path / "P1" / "segmentations").resolve()


def test_decomposed_names_meet(tmp_path):
    name = unicodedata.normalize("NFD", "Fäll1")
    pairs, reasons = imported(tmp_path, [f"images/{name}.nii.gz", f"masks/{name}.nii.gz"], ["Fäll1"])
    assert (list(pairs), reasons) == (["Fäll1"], {})


@pytest.mark.parametrize(
    "places", [("imagesTr/P1_0000", "labelsTr/P1"), ("volumes/P1", "masks/P1"), ("b/P1", "a/P1")]
)
def test_the_ct_that_is_read_is_the_ct(tmp_path, places):
    ct, roi = places
    for name, voxels in ((ct, box_hu()), (roi, box_tumor().astype("uint8"))):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write_nifti(voxels, tmp_path / "in" / f"{name}.nii.gz", box_affine())
    (tmp_path / "l.csv").write_text(f"patient_id,subtype,roi\nP1,PRCC,in/{roi}.nii.gz\n")
    study = Study.create(tmp_path / "s", SUBTYPES)
    study.import_nifti(tmp_path / "in", tmp_path / "l.csv")
    volume, tumor = study.snapshot.read_case(study.snapshot.cases_to_read[0])
    assert volume.hu.max() == box_hu().max() > 100
    assert tumor.voxels.sum() == box_tumor().sum()

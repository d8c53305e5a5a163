"""Organs of other programs: folders, label maps and SEG give masks on the CT's grid, or the reason why not."""

import nibabel
import numpy as np
import pytest

from nephroscope.base.errors import RoiError
from nephroscope.imaging.dicom import files
from nephroscope.intake.export.cases import read_dicom_series
from nephroscope.regions.organs import organ_of, organs_of, read_organs
from one_series import one_series
from phantoms import (
    SHAPE,
    box_tumor,
    box_volume,
    dicom_slices,
    write_nifti,
    write_png,
    write_seg,
    write_slices,
)

LEFT, RIGHT = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
LEFT[1:4, 20:28, 30:38] = True
RIGHT[1:4, 24:32, 8:16] = True


def case_with(path, label, **more):
    return one_series(
        case_id="P1", patient_id="P1", image=path, format="nifti", roi=path, tumor_label=label, **more
    )


def test_a_folder_of_masks_gives_both_kidneys_and_their_union(tmp_path):
    for name, mask in (
        ("kidney_left", LEFT),
        ("kidney_right", RIGHT),
        ("aorta", LEFT & False),
        ("rib_left_1", LEFT),
    ):
        write_nifti(mask.astype(np.uint8), tmp_path / f"{name}.nii.gz")
    found = read_organs(tmp_path, box_volume(), "P1")
    assert set(found) == {
        "kidney_left",
        "kidney_right",
        "kidney",
    }  # the aorta's mask is empty, a rib is no organ
    assert np.array_equal(found["kidney_left"], LEFT)
    assert np.array_equal(found["kidney"], LEFT | RIGHT)


def test_a_folder_without_organs_is_refused(tmp_path):
    write_nifti(LEFT.astype(np.uint8), tmp_path / "rib_left_1.nii.gz")
    with pytest.raises(
        RoiError, match=r"expected masks such as kidney_left.nii.gz .* found none among 1 files"
    ):
        read_organs(tmp_path, box_volume(), "P1")


def test_a_label_map_has_the_values_of_kits(tmp_path):
    labels = np.where(box_tumor(), 2, np.where(LEFT, 1, 0)).astype(np.uint8)
    labels[0, 0, 0] = 3
    path = write_nifti(labels, tmp_path / "segmentation.nii.gz")
    found = read_organs(path, box_volume(), "P1")
    assert set(found) == {"kidney", "tumor", "cyst"}
    assert np.array_equal(found["kidney"], LEFT)
    assert np.array_equal(found["tumor"], box_tumor())


def test_values_without_names_are_refused(tmp_path):
    path = write_nifti((LEFT * 7).astype(np.uint8), tmp_path / "all.nii.gz")
    with pytest.raises(RoiError, match=r"expected named values.* found values without names: 0, 7"):
        read_organs(path, box_volume(), "P1")


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_values_named_in_the_header_are_taken(tmp_path, suffix):
    labels = (LEFT * 3 + RIGHT * 2 + box_tumor() * 52).astype(np.uint8)
    path = write_nifti(labels, tmp_path / f"total.{suffix}")
    image = nibabel.load(path)
    text = "".join(
        f'<Label Key="{key}" Red="1" Green="1" Blue="1" Alpha="1"><![CDATA[{name}]]></Label>'
        for key, name in ((2, "kidney_right"), (3, "kidney_left"), (52, "aorta"), (60, "heart"))
    )
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, f"<CaretExtension>{text}".encode()))
    named = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
    nibabel.save(named, tmp_path / f"named.{suffix}")
    found = read_organs(tmp_path / f"named.{suffix}", box_volume(), "P1")
    assert set(found) == {"kidney_left", "kidney_right", "kidney", "aorta"}
    assert np.array_equal(found["kidney_left"], LEFT)
    assert np.array_equal(found["aorta"], box_tumor())


def test_a_seg_gives_the_segments_that_name_an_organ(tmp_path):
    images = dicom_slices()
    volume = read_dicom_series(write_slices(images, tmp_path / "ct"))
    masks = {
        "Left kidney": LEFT,
        "Kidney, right": RIGHT,
        "Bone": LEFT,
        "Renal cyst": RIGHT,
        "Tumor": box_tumor(),
    }
    found = read_organs(write_seg(images, masks, tmp_path / "seg"), volume, "P1")
    assert set(found) == {"kidney_left", "kidney_right", "kidney", "cyst", "tumor"}
    assert np.array_equal(found["kidney_right"], RIGHT)
    only_bone = write_seg(images, {"Bone": LEFT}, tmp_path / "bone")
    with pytest.raises(RoiError, match=r"expected at least one of kidney_left.* found 1 Bone"):
        read_organs(only_bone, volume, "P1")


def test_what_is_no_roi_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("kidneys")
    with pytest.raises(RoiError, match="found a file of another kind"):
        read_organs(tmp_path / "notes.txt", box_volume(), "P1")
    with pytest.raises(RoiError, match="found no file"):
        read_organs(tmp_path / "absent.nii.gz", box_volume(), "P1")


@pytest.mark.parametrize(
    ("name", "codes", "organ"),
    [
        ("kidney_left", (), "kidney_left"),
        ("Right Kidney", (), "kidney_right"),
        ("Kidney R", (), "kidney_right"),
        ("Kidney", (), "kidney"),
        ("Segment 1", ("64033007",), "kidney"),
        ("Segment 1 left", ("64033007",), "kidney_left"),
        ("Organ", ("15825003",), "aorta"),
        ("kidney_cyst_left", (), "cyst"),
        ("Kidney tumor", (), "tumor"),
        ("Aorta", (), "aorta"),
        ("adrenal_gland_left", (), ""),
        ("portal_vein_and_splenic_vein", (), ""),
    ],
)
def test_names_and_codes_are_understood(name, codes, organ):
    assert organ_of(name, codes) == organ


def test_organs_of_a_case_are_its_own_or_beside_its_tumor(tmp_path):
    labels = np.where(box_tumor(), 2, np.where(LEFT, 1, 0)).astype(np.uint8)
    kits = write_nifti(labels, tmp_path / "kits.nii.gz")
    assert "kidney" in organs_of(case_with(kits, 2), box_volume())
    assert organs_of(case_with(kits, 1), box_volume()) == {}, "1 is the tumor: then 1 is no kidney"
    import SimpleITK

    nrrd = tmp_path / "kits.nrrd"
    SimpleITK.WriteImage(SimpleITK.ReadImage(kits), nrrd)
    assert "kidney" in organs_of(case_with(nrrd, 2), box_volume())
    assert organs_of(case_with(nrrd, 1), box_volume()) == {}
    other = write_nifti(RIGHT.astype(np.uint8), tmp_path / "kidneys.nii.gz")
    found = organs_of(case_with(kits, 1, organs=other), box_volume())
    assert np.array_equal(found["kidney"], RIGHT)


def test_a_seg_with_kidney_and_tumor_needs_no_other_file(tmp_path):
    images = dicom_slices()
    volume = read_dicom_series(write_slices(images, tmp_path / "ct"))
    both = write_seg(images, {"Kidney": LEFT, "Mass": box_tumor()}, tmp_path / "both")
    assert np.array_equal(organs_of(case_with(both, 1), volume)["kidney"], LEFT)
    alone = write_seg(images, {"Mass": box_tumor()}, tmp_path / "alone")
    assert organs_of(case_with(alone, 1), volume) == {}


def test_a_seg_of_many_organs_is_opened_once(tmp_path, monkeypatch):
    images = dicom_slices()
    volume = read_dicom_series(write_slices(images, tmp_path / "ct"))
    names = ("Left kidney", "Right kidney", "Aorta", "Liver", "Spleen", "Tumor")
    masks = {name: np.roll(box_tumor(), 3 * n, axis=2) for n, name in enumerate(names)}
    path = write_seg(images, masks, tmp_path / "seg")
    opened, read = [], files.read_object
    monkeypatch.setattr(files, "read_object", lambda path: opened.append(path) or read(path))
    found = organs_of(case_with(path, 1), volume)
    assert opened == [path]
    assert np.array_equal(found["spleen"], masks["Spleen"])
    assert np.array_equal(found["kidney"], masks["Left kidney"] | masks["Right kidney"])


def test_a_mask_image_beside_a_volume_of_one_slice_holds_no_kidneys(tmp_path):
    mask = write_png(box_tumor()[2].astype(np.uint8), tmp_path / "mask.png")
    assert organs_of(case_with(mask, 2), box_volume()) == {}


def test_real_seg_names_its_kidneys(test_data):
    """Their CT is not there: only what they say is asked."""
    from nephroscope.imaging.read import dicom_segments
    from nephroscope.regions.organs import _named

    paths = sorted((test_data / "kidney_seg").glob("*.dcm"))
    if not paths:
        pytest.skip("no real SEG")
    for path in paths:
        organs = [organ for organ, _ in _named(dicom_segments(path, "ROI"))]
        assert organs[0] == "kidney"
        assert set(organs) <= {"kidney", "tumor", "cyst"}

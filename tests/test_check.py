"""What `check` finds doubtful: each finding provoked once, and none where nothing is wrong."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nephroscope.intake.phantom.make import make_phantom
from nephroscope.records import CTVolume, Finding, RoiMask, VolumeGeometry
from nephroscope.regions import check
from nephroscope.regions.check import (
    check_cases,
    check_kidney,
    check_place,
    check_shape,
    check_size,
    check_table_size,
)
from nephroscope.regions.measure import measure
from nephroscope.regions.surroundings import (
    FLIPS,
    compare_with_kidney,
    find_body,
    gap_mm,
    measure_ct_under,
    measure_shell,
    mirrored_axes,
    side_of,
)
from one_series import changed, one_series
from phantoms import window_gray, write_nifti, write_png

ROOT = Path(__file__).parents[1]
SHAPE, SPACING_MM = (12, 80, 100), (4.0, 3.0, 3.0)
FAT, SOFT, KIDNEY_HU, AIR = -100, 40, 150, -1000


def affine():
    made = np.zeros((4, 4))
    made[2, 0], made[1, 1], made[0, 2], made[3, 3] = *SPACING_MM, 1
    made[:3, 3] = (-150, -120, 50)
    return made


GEOMETRY = VolumeGeometry(shape=SHAPE, affine=affine())


def abdomen():
    """An oval of muscle and fat with two kidneys, bowel gas, a spine and a table below; x from right to left."""
    hu = np.full(SHAPE, AIR, np.int16)
    row, col = np.ogrid[:80, :100]
    body = ((row - 38) / 32) ** 2 + ((col - 50) / 44) ** 2
    hu[:, body <= 1] = SOFT
    hu[:, body <= 0.85] = FAT
    hu[:, 62:68, 46:54] = 400
    hu[:, 20:26, 40:52] = -900
    hu[:, 75:77, 5:95] = 0
    for kidney in kidneys().values():
        hu[kidney] = KIDNEY_HU
    return hu


def kidneys():
    right, left = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    right[2:10, 44:56, 18:30] = True
    left[2:10, 44:56, 70:82] = True
    return {"kidney_right": right, "kidney_left": left}


def box(s=(4, 8), r=(36, 45), c=(72, 80)):
    voxels = np.zeros(SHAPE, bool)
    voxels[slice(*s), slice(*r), slice(*c)] = True
    return voxels


def scene(tumor, tumor_hu=SOFT):
    """The abdomen with a tumor; ``tumor_hu`` None draws the ROI and leaves the CT as it is."""
    hu = abdomen()
    if tumor_hu is not None:
        hu[tumor] = tumor_hu
    return CTVolume(hu=hu, geometry=GEOMETRY, series_uid="1"), RoiMask(
        voxels=tumor, geometry=GEOMETRY, case_id="c"
    )


def codes(findings):
    return [finding.code for finding in findings]


@pytest.fixture
def write_case(tmp_path):
    """Write a NIfTI case; gives its record."""

    def write(tumor, tumor_hu=SOFT, organs=False, **more):
        volume, _ = scene(tumor, tumor_hu)
        for name, mask in kidneys().items() if organs else ():
            (tmp_path / "organs").mkdir(exist_ok=True)
            write_nifti(mask.astype(np.uint8), tmp_path / "organs" / f"{name}.nii.gz", affine())
        return one_series(
            case_id="c",
            patient_id="c",
            format="nifti",
            image=write_nifti(volume.hu, tmp_path / "ct.nii.gz", affine()),
            roi=write_nifti(tumor.astype(np.uint8), tmp_path / "roi.nii.gz", affine()),
            organs=tmp_path / "organs" if organs else None,
            **more,
        )

    return write


def test_a_good_case_has_its_measures_and_no_doubt(write_case):
    checked = check_cases([write_case(box(), organs=True, size_cm=2.8)])["c"]
    (told,) = checked.findings
    assert (told.code, told.severity) == ("roi-measures", "note")
    assert told.message == (
        "10.4 ml, largest axial diameter 34 mm, in any direction 36 mm, 4 slices, side left, clinical table 2.8 cm"
    )
    assert checked.measures.side == "left"
    assert checked.measures.volume_ml == pytest.approx(4 * 9 * 8 * 36 / 1000)


@pytest.mark.parametrize("seed", [3, 4])
def test_clean_phantoms_give_no_warning(seed):
    from nephroscope.regions.check import check_case

    for index in range(6):
        phantom = make_phantom(seed, index, 6)
        volume = CTVolume(hu=phantom.hu, geometry=phantom.geometry, series_uid="1")
        size_cm, name = phantom.clinical.size_cm, phantom.clinical.case_id
        case = one_series(case_id=name, patient_id=name, image=Path(), format="dicom", size_cm=size_cm)
        for voxels in (phantom.reader1, phantom.reader2):
            roi = RoiMask(voxels=voxels, geometry=phantom.geometry, case_id=name)
            checked = check_case(case, volume, roi, find=index < 2)
            assert [f.message for f in checked.findings if f.severity != "note"] == []
            assert checked.measures.side != "unknown"


def test_the_body_has_its_gas_and_not_its_table():
    body = find_body(abdomen(), 3.0)
    assert body[:, 38, 50].all()
    assert body[:, 23, 45].all(), "gas in the bowel"
    assert not body[:, 76, :].any(), "the table"
    assert not body[:, 2, 2].any()
    row, col = np.ogrid[:80, :100]
    bridged = abdomen()
    bridged[:, 68:76, 50:52] = 0
    assert not find_body(bridged, 3.0)[:, 76, 10:90].any(), "a tube to the table"
    oval = ((row - 38) / 32) ** 2 + ((col - 50) / 44) ** 2 <= 1
    assert np.count_nonzero(body[0] != oval) <= 8


def test_a_fine_grid_finds_the_same_body():
    """0.75 mm pixels are looked at every 3 mm."""
    tumor = box()
    fine = VolumeGeometry(shape=(12, 320, 400), affine=affine() @ np.diag([1, 0.25, 0.25, 1]))
    hu = abdomen().repeat(4, axis=1).repeat(4, axis=2)
    wide = tumor.repeat(4, axis=1).repeat(4, axis=2)
    coarse = measure_ct_under(*scene(tumor, None))
    found = measure_ct_under(
        CTVolume(hu=hu, geometry=fine, series_uid="1"), RoiMask(voxels=wide, geometry=fine, case_id="c")
    )
    assert found.midline_mm == pytest.approx(coarse.midline_mm, abs=3)
    assert found.body_share == pytest.approx(coarse.body_share, rel=0.01)
    assert found.outside_share == 0


def test_outside_the_body():
    volume, roi = scene(box(r=(1, 5)), None)
    found = check_place(measure_ct_under(volume, roi), volume, roi)
    assert codes(found) == ["roi-outside-body", "roi-on-air"]
    assert found[0].message == "100% of the tumor lies outside the body"
    assert found[1].message == "100% of the tumor is air (below -300 HU); its mean is -1000 HU"


def test_gas_in_the_body_is_air_and_inside():
    volume, roi = scene(box(r=(20, 26), c=(40, 52)), None)
    assert codes(check_place(measure_ct_under(volume, roi), volume, roi)) == ["roi-on-air"]


def test_on_fat_names_the_tumor_that_contains_it():
    volume, roi = scene(box(c=(60, 68)), None)
    (found,) = check_place(measure_ct_under(volume, roi), volume, roi)
    assert (found.code, found.severity) == ("roi-on-fat", "warning")
    assert "100% of the tumor has the HU of fat" in found.message
    assert "angiomyolipoma" in found.message
    volume, roi = scene(box(c=(69, 80)), None)  # 9 of 11 columns and 1 of 9 rows are kidney
    mostly_fat = measure_ct_under(volume, roi).fat_share
    assert mostly_fat == pytest.approx(1 - 10 / 11 / 9)


def test_on_bone():
    volume, roi = scene(box(r=(62, 68), c=(46, 54)), None)
    (found,) = check_place(measure_ct_under(volume, roi), volume, roi)
    assert found.message == "100% of the tumor is above 300 HU: bone, metal or contrast medium, not tumor"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"s": (0, 3)}, "the lowest edge"),
        ({"s": (9, 12)}, "the highest edge"),
        ({"s": (0, 12)}, "the lowest and the highest edge"),
    ],
)
def test_cut_off_at_the_end_of_the_scan(part, words):
    volume, roi = scene(box(**part))
    (found,) = check_place(measure_ct_under(volume, roi), volume, roi)
    assert found.code == "roi-cut-off"
    assert words in found.message
    volume, roi = scene(box(s=(1, 11)))
    assert check_place(measure_ct_under(volume, roi), volume, roi) == []


def test_shape():
    _, roi = scene(box(s=(4, 5)))
    (found,) = check_shape(measure(roi), roi)
    assert found.message == "the tumor is one slice thick: slice 4 of 12, counted from 0"
    gap = box()
    gap[5] = False
    _, roi = scene(gap)
    skipped, parts = check_shape(measure(roi), roi)
    assert skipped.message == "no tumor is drawn on 1 slice between drawn ones: 5, counted from 0"
    assert parts.message == "the tumor is in 2 parts that do not touch (67%, 33%), but one case is one tumor"
    speck = box()
    speck[5, 20, 20] = True
    _, roi = scene(speck)
    (found,) = check_shape(measure(roi), roi)
    assert (found.code, found.severity) == ("roi-specks", "note")
    assert found.message == "1 specks next to the tumor make up 0.3% of its voxels"


def test_one_slice_of_a_scan_of_one_slice_is_no_doubt():
    voxels = box()[5:6]
    roi = RoiMask(voxels=voxels, geometry=VolumeGeometry(shape=voxels.shape, affine=affine()), case_id="c")
    assert check_shape(measure(roi), roi) == []


def test_size():
    _, roi = scene(box(s=(5, 6), r=(40, 43), c=(72, 75)))
    assert check_size(measure(roi), roi)[0].message == "the tumor has 9 voxels"
    measures = measure(roi)
    ordinary = replace(measures, n_voxels=500, volume_ml=2400.0, largest_diameter_mm=240.0)
    assert check_size(ordinary, roi, 0.4) == []
    (large,) = check_size(replace(ordinary, largest_diameter_mm=260.0), roi)
    assert (large.code, large.severity) == ("roi-large", "warning")
    (large,) = check_size(replace(ordinary, volume_ml=2600.0), roi)
    assert "2600 ml and 240 mm: larger than a kidney (2500 ml, 250 mm)" in large.message
    for impossible in (
        check_size(replace(ordinary, volume_ml=10_500.0), roi),
        check_size(ordinary, roi, 0.6),
    ):
        assert [(f.code, f.severity) for f in impossible] == [("roi-impossible", "refusal")]


def test_a_whole_body_is_refused_as_a_tumor(write_case):
    body = np.broadcast_to(find_body(abdomen(), 3.0), SHAPE).copy()
    checked = check_cases([write_case(body, None)])["c"]
    (refused,) = [f for f in checked.findings if f.severity == "refusal"]
    assert re.search(r"expected a tumor, found \d+ ml, 100% of the body in its slices", refused.message)


@pytest.mark.parametrize(
    ("size_cm", "words"),
    [
        (None, None),
        (0.0, None),
        (4.0, None),
        (2.7, None),
        (6.9, None),
        (2.5, "the largest axial diameter is 40 mm, the clinical table says 2.5 cm$"),
        (7.6, "says 7.6 cm$"),
        (40.0, "says 40 cm, ten times as much: mm were entered as cm"),
        (0.4, "says 0.4 cm, a tenth of it: a misplaced decimal point"),
    ],
)
def test_size_beside_the_clinical_table(size_cm, words):
    _, roi = scene(box())
    measures = replace(measure(roi), largest_axial_diameter_mm=40.0, largest_diameter_mm=50.0)
    case = one_series(case_id="c", patient_id="c", image=Path(), format="nifti", size_cm=size_cm)
    found = check_table_size(measures, case)
    if words is None:
        assert found == []
    else:
        assert codes(found) == ["roi-size-differs"]
        assert re.search(words, found[0].message)


def test_small_tumors_may_differ_by_the_rounding_of_the_table():
    measures = replace(measure(scene(box())[1]), largest_axial_diameter_mm=14.0, largest_diameter_mm=15.0)
    case = one_series(case_id="c", patient_id="c", image=Path(), format="nifti", size_cm=0.9)
    assert check_table_size(measures, case) == []
    assert codes(check_table_size(measures, changed(case, size_cm=0.8))) == ["roi-size-differs"]


def test_gap_is_the_distance_of_the_nearest_voxels():
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(4)
    spacing = np.array([4.0, 1.0, 0.7])
    for _ in range(30):
        one, two = np.zeros((9, 30, 40), bool), np.zeros((9, 30, 40), bool)
        one[1:5, 2:12, 2:12] = rng.random((4, 10, 10)) < 0.02
        one[2, 3, 4] = True
        two[3:8, 16:28, 14:38] = rng.random((5, 12, 24)) < 0.3
        expected = cdist(np.argwhere(one) * spacing, np.argwhere(two) * spacing).min()
        assert gap_mm(one, two, spacing) == pytest.approx(expected)
        assert gap_mm(two, one, spacing) == pytest.approx(expected)
    two[5:6, 12:13, 12:13] = one[4, 11, 11] = True  # neighbours by a corner
    assert gap_mm(one, two, spacing) == 0
    assert gap_mm(two, one, spacing) == 0


def test_gap_looks_beyond_the_box_of_a_hollow_tumor():
    one, two = np.zeros((3, 40, 50), bool), np.zeros((3, 40, 50), bool)
    one[1, 2, 10:40] = one[1, 2:32, 10] = True  # two sides of a square
    two[1, 16:32, 24:40] = True  # within it, 14 mm away; two whole blocks of voxels
    two[1, 15, 4] = True
    assert gap_mm(one, two, np.ones(3)) == pytest.approx(6)


def test_off_kidney_and_whole_kidney():
    both = kidneys()
    organs = {**both, "kidney": both["kidney_left"] | both["kidney_right"]}
    touching = compare_with_kidney(scene(box())[1], organs)
    assert (touching.gap_mm, touching.side) == (0, "left")
    assert check_kidney(touching, "c") == []
    near = compare_with_kidney(scene(box(r=(36, 43)))[1], organs)  # one row of 3 mm between
    assert near.gap_mm == pytest.approx(6)
    far = compare_with_kidney(scene(box(r=(30, 35)))[1], organs)
    (found,) = check_kidney(far, "c")
    assert found.message == "the tumor is 30 mm from the nearest kidney"
    whole = compare_with_kidney(scene(both["kidney_right"])[1], organs)
    assert (whole.dice, whole.side) == (1, "right")
    (found,) = check_kidney(whole, "c")
    assert found.message.startswith("the ROI is a whole kidney (Dice 1.00)")


def test_a_tumor_drawn_on_the_other_side_than_the_table_says(write_case):
    right = box(c=(20, 28))
    for voxels, drawn, other in ((box(), "left", "right"), (right, "right", "left")):
        for organs in (True, False):
            doubted = check_cases([write_case(voxels, organs=organs, side=other)])["c"]
            assert doubted.measures.side == drawn
            (found,) = [f for f in doubted.findings if f.severity == "warning"]
            assert (found.code, found.case_id) == ("roi-side-differs", "c")
            for said in (drawn, None):
                plain = check_cases([write_case(voxels, organs=organs, side=said)])["c"]
                assert "roi-side-differs" not in codes(plain.findings)
    middle = box(c=(46, 54))  # on neither side
    assert "roi-side-differs" not in codes(check_cases([write_case(middle, side="left")])["c"].findings)


def test_side_is_by_the_kidney_and_else_by_the_midline(write_case):
    assert side_of(60.0, 0.0) == "left"
    assert side_of(-60.0, 0.0) == "right"
    assert side_of(14.0, 0.0) == "unknown"
    assert side_of(100.0, None) == "unknown"
    middle = scene(box(r=(44, 50), c=(53, 57)))[1]
    assert (
        side_of(measure(middle).center_mm[0], measure_ct_under(*scene(middle.voxels)).midline_mm) == "unknown"
    )
    assert check_cases([write_case(middle.voxels, organs=True)])["c"].measures.side == "left"
    union = {"kidney": np.logical_or(*kidneys().values())}
    assert compare_with_kidney(scene(box())[1], union).side == "unknown"


def test_a_mirrored_roi_is_named(write_case):
    flipped = np.flip(box(s=(2, 4), r=(50, 60)), 1)  # rows 20 to 29: in the fat before the kidney
    found = {f.code: f.message for f in check_cases([write_case(flipped, None, organs=True)])["c"].findings}
    assert found["roi-off-kidney"] == "the tumor is 45 mm from the nearest kidney"
    assert found["roi-mirrored"].startswith("mirrored front to back or left to right and front to back, ")
    assert found["roi-mirrored"].endswith("on a kidney: the axes of its file may be mixed up")
    nowhere = check_cases([write_case(box(r=(56, 62), c=(40, 44)), None, organs=True)])["c"]
    assert "roi-off-kidney" in codes(nowhere.findings)
    assert "roi-mirrored" not in codes(nowhere.findings)


def test_mirror_images_are_tried_in_every_direction():
    true = box(s=(1, 3), r=(10, 14), c=(20, 26))
    hu = np.where(true, SOFT, AIR).astype(np.int16)
    volume = CTVolume(hu=hu, geometry=GEOMETRY, series_uid="1")
    for direction, axes in FLIPS.items():
        roi = RoiMask(voxels=np.flip(true, axes).copy(), geometry=GEOMETRY, case_id="c")
        assert mirrored_axes(volume, roi, None) == direction
        assert mirrored_axes(volume, roi, true, 0.5) == direction
        assert mirrored_axes(volume, roi, np.flip(true, (0, 1, 2)), 0.5) == ""


@pytest.mark.parametrize("organs", [False, True])
def test_a_roi_flipped_head_to_foot_on_fat_is_named(write_case, organs):
    """Its header is fine, its voxels run the other way: most of it falls into the fat before the kidney."""
    true = box(s=(1, 6), r=(38, 46), c=(72, 80))
    case = write_case(true, SOFT, organs=organs)
    assert "roi-mirrored" not in codes(check_cases([case])["c"].findings)
    write_nifti(np.flip(true, 0).astype(np.uint8), case.roi.path, affine())
    found = {f.code: f.message for f in check_cases([case])["c"].findings}
    assert "roi-on-fat" in found
    assert found["roi-mirrored"].startswith("mirrored head to foot, the tumor would lie on ")


def in_liver(write_case, liver_hu=60, organs=False):
    """A lesion deep in an even organ on the right, 50 mm from its edge in the plane; not the kidney of the scene."""
    case = write_case(box(s=(3, 8), r=(30, 40), c=(25, 35)), 30, organs=organs)
    volume, _ = scene(box(s=(3, 8), r=(30, 40), c=(25, 35)), 30)
    hu = volume.hu.copy()
    hu[:, 20:50, 15:45] = liver_hu + np.random.default_rng(1).normal(0, 15, hu[:, 20:50, 15:45].shape)
    hu[3:8, 30:40, 25:35] = 30
    write_nifti(hu, case.image, affine())
    return case


def test_a_lesion_deep_in_an_even_organ_is_doubted_where_no_kidney_is_known(write_case):
    assert "roi-no-fat-around" not in codes(check_cases([write_case(box())])["c"].findings)
    (found,) = [f for f in check_cases([in_liver(write_case)])["c"].findings if f.code == "roi-no-fat-around"]
    assert found.severity == "warning"
    known = codes(check_cases([in_liver(write_case, organs=True)])["c"].findings)
    assert "roi-off-kidney" in known
    assert "roi-no-fat-around" not in known
    bright = check_cases([in_liver(write_case, liver_hu=190)])["c"]  # a large kidney after contrast
    assert "roi-no-fat-around" not in codes(bright.findings)


def test_the_shell_around_a_tumor_is_2_to_15_mm_wide():
    """A cube of 10 mm in 1 mm voxels, fat beyond 5 mm from it in one direction; counted voxel by voxel."""
    shape, hu = (50, 60, 60), np.full((50, 60, 60), 60, np.int16)
    hu[:, :, 40:] = -100
    tumor = np.zeros(shape, bool)
    tumor[20:30, 25:35, 25:35] = True
    for spacing in (2.0, 3.0):
        geometry = VolumeGeometry(shape=shape, affine=np.diag([spacing, spacing, spacing, 1.0])[[2, 1, 0, 3]])
        found = measure_shell(CTVolume(hu=hu, geometry=geometry, series_uid="1"), tumor)
        places = np.argwhere(~tumor)
        low, high = np.array([20, 25, 25]), np.array([29, 34, 34])
        away = np.linalg.norm(np.maximum(0, np.maximum(low - places, places - high)) * spacing, axis=1)
        surface = away - spacing / 2  # from the edge of the last voxel
        shell = places[(surface > 2) & (surface < 15)]
        assert found.fat_share == pytest.approx((hu[tuple(shell.T)] <= 0).mean(), abs=0.01)
        assert found.bright_share == 0


def test_phase_of_text_and_image_are_compared(write_case):
    """Even kidneys at 150 HU say nothing without an aorta; at 35 HU they are unenhanced."""
    case = write_case(box(), organs=True, phase="corticomedullary")
    assert "phase-disagrees" not in codes(check_cases([case])["c"].findings)
    volume, _ = scene(box())
    dull = np.where(volume.hu == KIDNEY_HU, 35, volume.hu).astype(np.int16)
    write_nifti(dull, case.image, affine())
    assert "phase-disagrees" in codes(check_cases([case])["c"].findings)


def test_kidneys_beside_the_tumor_in_its_own_file_are_used(write_case, tmp_path):
    labels = np.where(box(r=(20, 28)), 2, np.where(kidneys()["kidney_left"], 1, 0)).astype(np.uint8)
    roi = write_nifti(labels, tmp_path / "kits.nii.gz", affine())
    checked = check_cases([changed(write_case(box(r=(20, 28))), roi=roi, tumor_label=2)])["c"]
    assert "roi-off-kidney" in codes(checked.findings)


def test_organs_that_cannot_be_read_do_not_spoil_the_case(write_case, tmp_path):
    case = changed(write_case(box()), organs=tmp_path / "absent.nii.gz")
    checked = check_cases([case])["c"]
    assert codes(checked.findings) == ["organs-unreadable", "roi-measures"]
    liver = tmp_path / "other"
    liver.mkdir()
    write_nifti(box().astype(np.uint8), liver / "liver.nii.gz", affine())
    checked = check_cases([changed(case, organs=liver)])["c"]
    assert codes(checked.findings) == ["organs-no-kidney", "roi-measures"]


def test_a_finding_about_organs_does_not_tell_the_path_of_the_file(write_case, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(13, "Permission denied", "/export/DOE^JANE/organs.nii.gz")

    monkeypatch.setattr(check, "organs_of", refuse)
    (finding, *_) = check_cases([write_case(box())])["c"].findings
    assert finding.message.endswith("the tumor was not compared with organs: Permission denied")


def test_one_bad_case_never_stops_the_others(write_case):
    good = write_case(box())
    bad = changed(good, case_id="bad", roi=good.image.with_name("absent.nii.gz"))
    known = Finding(code="x", severity="note", message="of the import", case_id="bad")
    found = check_cases([bad, good], [known])
    assert [(f.code, f.severity) for f in found["bad"].findings] == [("x", "note"), ("study", "refusal")]
    assert found["bad"].measures is None
    assert found["c"].measures is not None


@pytest.mark.parametrize(("gray", "codes_"), [(160, ["roi-measures"]), (0, ["roi-on-black", "roi-measures"])])
def test_slice_images_are_asked_what_they_can_answer(tmp_path, gray, codes_):
    from nephroscope.imaging.slice_images import ImageRow
    from nephroscope.intake.slice_images.cases import save_image_rows

    pixels = window_gray(abdomen()[5])
    pixels[36:45, 72:80] = gray
    row = ImageRow(
        case_id="c",
        file=write_png(pixels, tmp_path / "c.png"),
        mask=write_png(box()[5].astype(np.uint8), tmp_path / "m.png"),
        slice_index=0,
        row_mm=3.0,
        col_mm=3.0,
    )
    listed = save_image_rows([row], tmp_path)
    case = one_series(
        case_id="c", patient_id="c", image=listed, format="images", source="8-bit L40 W400", size_cm=2.8
    )
    checked = check_cases([case])["c"]
    assert codes(checked.findings) == ["eight-bit", *codes_]
    assert checked.measures.largest_axial_diameter_mm == pytest.approx(np.hypot(9, 7) * 3)
    assert checked.measures.volume_ml is None
    larger = check_cases([changed(case, size_cm=6.0)])["c"]
    assert "roi-size-differs" not in codes(larger.findings), "one slice need not be the largest"
    smaller = check_cases([changed(case, size_cm=1.5)])["c"]
    assert "roi-size-differs" in codes(smaller.findings)


def test_real_kidneys_are_found_out(test_data, tmp_path):
    """The masks are of the last 30 slices; their headers say the first, and so they lie on lung and bone."""
    from nephroscope.imaging.nifti import read_nifti
    from phantoms import read_label_map

    folder = test_data / "ct_with_kidneys"
    if not folder.is_dir():
        pytest.skip("no CT with kidneys")
    volume = read_nifti(folder / "example_ct.nii.gz")
    organs = {}
    for name in ("kidney_left", "kidney_right", "liver", "lung_lower_lobe_left"):
        organs[name] = np.zeros(volume.geometry.shape, bool)
        organs[name][82:] = read_label_map(folder / "example_seg_fast" / f"{name}.nii.gz")[0] > 0
        write_nifti(organs[name].astype(np.uint8), tmp_path / f"{name}.nii.gz", volume.geometry.affine)
    case = one_series(
        case_id="c",
        patient_id="c",
        image=folder / "example_ct.nii.gz",
        format="nifti",
        organs=tmp_path,
        phase="unenhanced",
    )
    found = {name: check_cases([changed(case, roi=tmp_path / f"{name}.nii.gz")])["c"] for name in organs}
    assert codes(found["kidney_left"].findings) == ["roi-is-kidney", "roi-measures"]
    assert {name: found[name].measures.side for name in ("kidney_left", "kidney_right", "liver")} == {
        "kidney_left": "left",
        "kidney_right": "right",
        "liver": "right",
    }
    assert {"roi-on-air", "roi-off-kidney"} <= set(codes(found["lung_lower_lobe_left"].findings))
    aside = check_cases([changed(case, roi=folder / "example_seg_fast" / "liver.nii.gz", organs=None)])["c"]
    assert {"roi-outside-body", "roi-on-air", "roi-on-fat"} <= set(codes(aside.findings))


def codes_in_source():
    """Every code that a finding or a refusal can have: arguments called code, and what is assigned to that name."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "src").rglob("*.py"))]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    makers = set()
    for node in nodes:
        if isinstance(node, ast.FunctionDef):
            names = [argument.arg for argument in node.args.args if argument.arg != "self"]
            makers |= {node.name} if names[:1] == ["code"] else set()
    for node in nodes:
        if isinstance(node, ast.Call):
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "code")
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if node.args and name in makers:
                yield node.args[0]
            pair = getattr(node.args[0], "elts", []) if name == "append" and len(node.args) == 1 else []
            if len(pair) == 2 and "-" in str(getattr(pair[0], "value", "")):
                yield pair[0]  # code and message, to become findings
        elif isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pair = (getattr(target, "elts", None), getattr(value, "elts", None))
            if all(pair) and len(pair[0]) == len(pair[1]):
                yield from (v for t, v in zip(*pair, strict=True) if getattr(t, "id", "") == "code")
            elif getattr(target, "id", "") == "code":
                yield value


def test_every_code_is_explained():
    """docs/reference/findings.md has a row for each code that the source can give, and for no other."""
    used = {
        leaf.value
        for node in codes_in_source()
        for leaf in ([node.body, node.orelse] if isinstance(node, ast.IfExp) else [node])
        if isinstance(leaf, ast.Constant) and re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", str(leaf.value))
    }
    page = (ROOT / "docs" / "reference" / "findings.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE))
    assert {
        "roi-measures",
        "roi-outside-body",
        "single-slice",
        "series",
        "unreadable",
        "roi-resampled",
    } <= used
    assert used - told == set(), "codes without a row"
    assert told - used == set(), "rows without a code"

"""The kidneys that are found in a CT, and those that are not; the pieces that they are found with."""

import os
from pathlib import Path

import numpy as np
import pytest

from nephroscope import read_ct
from nephroscope.imaging.nifti import read_nifti
from nephroscope.intake.phantom import make_phantom
from nephroscope.records import CTVolume, RoiMask, VolumeGeometry
from nephroscope.regions.basins import Pieces, Surroundings, find_basins, mostly
from nephroscope.regions.check import check_case
from nephroscope.regions.found_kidneys import check_found_kidneys
from nephroscope.regions.kidneys import block_means, find_kidneys, kidney_score
from one_series import one_series

DATA = Path(os.environ.get("NEPHROSCOPE_TEST_DATA", "../shared/data")) / "ct_with_kidneys"
real = pytest.mark.skipif(not DATA.is_dir(), reason="no real data in NEPHROSCOPE_TEST_DATA")


def ct(hu, geometry):
    return CTVolume(hu=hu.astype(np.int16), geometry=geometry, series_uid="1")


@pytest.fixture(scope="module")
def phantom():
    """A SYNTHETIC patient in the nephrographic phase with a tumor of the left kidney, and what is found."""
    made = make_phantom(1, 0, 12)
    volume = ct(made.hu, made.geometry)
    return volume, made.reader1, find_kidneys(volume, made.reader1)


def ball(shape, center, radius):
    places = np.indices(shape)
    return sum((places[i] - center[i]) ** 2 for i in range(3)) <= radius**2


def test_both_kidneys_of_a_phantom_are_found_on_their_sides(phantom):
    volume, tumor, found = phantom
    middle = volume.hu.shape[2] / 2
    for kidney, on_left in ((found.right, False), (found.left, True)):
        assert 90 < kidney.volume_ml < 160
        assert kidney.hu == pytest.approx(170, abs=15)
        assert (np.nonzero(kidney.voxels)[2].mean() > middle) == on_left
        assert np.count_nonzero(kidney.voxels & tumor) < 0.1 * np.count_nonzero(tumor)
    organs = found.organs()
    assert np.array_equal(organs["kidney"], organs["kidney_left"] | organs["kidney_right"])


def test_a_kidney_that_is_not_there_is_not_found(phantom):
    volume, tumor, found = phantom
    hu = volume.hu.copy()
    removed = found.left.voxels | tumor
    for axis in range(3):
        for step in (-6, -3, 3, 6):
            removed = removed | np.roll(found.left.voxels, step if axis else step // 3, axis)
    hu[removed & (hu < 400)] = -100
    again = find_kidneys(ct(hu, volume.geometry))
    assert again.left is None
    assert again.right.volume_ml == pytest.approx(found.right.volume_ml, rel=0.05)
    assert set(again.organs()) == {"kidney_right", "kidney"}


@pytest.mark.parametrize("made", ["noise", "air", "few slices", "thick slices"])
def test_nothing_is_found_where_there_is_nothing(phantom, made):
    volume, rng = phantom[0], np.random.default_rng(0)
    hu, affine = volume.hu, volume.geometry.affine.copy()
    if made == "noise":
        hu = rng.normal(40, 300, hu.shape)
    elif made == "air":
        hu = np.full(hu.shape, -1000)
    elif made == "few slices":
        hu = hu[10:13]
    else:
        affine[2, 0] = 9
    found = find_kidneys(ct(hu, VolumeGeometry(shape=hu.shape, affine=affine)))
    assert found.left is None
    assert found.right is None
    assert found.organs() == {}


def test_a_tumor_far_from_both_kidneys_is_doubted(phantom):
    volume, tumor, _ = phantom
    own = RoiMask(voxels=tumor, geometry=volume.geometry, case_id="c")
    assert check_found_kidneys(volume, own, "nephrographic") == []
    liver = ball(volume.hu.shape, (18, 110, 70), 6)
    away = RoiMask(voxels=liver, geometry=volume.geometry, case_id="c")
    (found,) = check_found_kidneys(volume, away, "nephrographic")
    assert (found.code, found.severity) == ("roi-no-kidney-near", "warning")
    case = one_series(case_id="c", patient_id="c", image=Path("ct.nii.gz"), format="nifti")
    assert "roi-no-kidney-near" in {one.code for one in check_case(case, volume, away, find=True).findings}
    assert "roi-no-kidney-near" not in {one.code for one in check_case(case, volume, away).findings}


def test_two_balls_that_touch_are_two_basins_and_a_long_one_is_one():
    two = ball((40, 40, 60), (20, 20, 18), 12) | ball((40, 40, 60), (20, 20, 38), 12)
    basins = find_basins(two, (1.0, 1.0, 1.0))
    assert set(np.unique(basins)) == {0, 1, 2}
    assert basins[20, 20, 18] != basins[20, 20, 38]
    assert np.array_equal(basins > 0, two)
    long = np.zeros((40, 40, 60), bool)
    long[10:30, 10:30, 5:55] = True
    assert find_basins(long, (1.0, 1.0, 1.0)).max() == 1


def test_what_two_pieces_measure_together_is_that_of_the_whole():
    mask = ball((40, 40, 40), (20, 20, 20), 12)
    basins = mask.astype(np.int64)
    basins[:, :, 20:] *= 2
    hu, everywhere = np.full(mask.shape, 105, np.float32), np.ones_like(mask)
    places = np.argwhere(mask).astype(float)
    pieces, one = (Pieces(own, hu, places, (1.0, 1.0, 1.0)) for own in (basins, mask.astype(np.int64)))
    for each in (pieces, one):
        each.see(Surroundings(searched=everywhere, fat=~mask, tumor=~everywhere))
    both, whole = pieces.measured([1, 2]), one.measured([1])
    assert both.ml == whole.ml == pytest.approx(4 / 3 * np.pi * 12**3 / 1000, rel=0.02)
    assert both.axes_mm == pytest.approx(whole.axes_mm)
    assert whole.axes_mm == pytest.approx((24, 24, 24), rel=0.02)
    assert both.solid == pytest.approx(1, abs=0.02)
    assert (both.free, both.fat, both.cut, both.hu, both.height_mm) == (1, 1, 0, 105, 25)
    assert pieces.measured([1]).free < 0.9
    assert kidney_score(both) < -20


def test_a_median_of_27_and_means_of_blocks():
    mask = np.zeros((5, 5, 5), bool)
    mask[2, 2, 2] = True
    assert not mostly(mask).any()
    assert mostly(~mask).all()
    hu = np.arange(4 * 5 * 4).reshape(4, 5, 4).astype(np.int16)
    found = block_means(hu, (2, 2, 2))
    assert found.shape == (2, 2, 2)
    assert found[1, 0, 1] == hu[2:4, 0:2, 2:4].mean()


@real
def test_both_kidneys_of_a_real_unenhanced_ct_are_found():
    whole = read_ct(DATA / "example_ct.nii.gz")
    hu = whole.hu[56:]  # the pelvis takes time and has none
    volume = ct(hu, VolumeGeometry(shape=hu.shape, affine=whole.geometry.affine))
    found = find_kidneys(volume)
    for side, least in (("left", 0.9), ("right", 0.8)):
        drawn = read_nifti(DATA / "example_seg_fast" / f"kidney_{side}.nii.gz").hu > 0
        own = getattr(found, side).voxels[-len(drawn) :]
        first = np.flatnonzero(drawn.any(axis=(1, 2)))[0]
        own, drawn = own[first:], drawn[first:]
        assert 2 * (own & drawn).sum() / (own.sum() + drawn.sum()) > least
    roi = RoiMask(voxels=found.left.voxels, geometry=volume.geometry, case_id="c")
    assert check_found_kidneys(volume, roi, "corticomedullary") == []  # the ROI hides the kidney
    small = RoiMask(voxels=ball(volume.hu.shape, (32, 60, 100), 3), geometry=volume.geometry, case_id="c")
    assert "phase-disagrees" in {one.code for one in check_found_kidneys(volume, small, "corticomedullary")}
    assert "phase-disagrees" not in {one.code for one in check_found_kidneys(volume, small, "unenhanced")}


@real
def test_a_real_ct_of_the_liver_has_no_kidneys():
    assert find_kidneys(read_ct(DATA / "example_ct_dicom")).organs() == {}

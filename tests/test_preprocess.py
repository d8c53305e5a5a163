import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nephroscope.base.errors import RoiError
from nephroscope.clinic.cut import AIR_HU, apply_window, cut_slices
from nephroscope.records import CTVolume, RoiMask, SliceSpec, VolumeGeometry
from small_study import geometry


def box_case(shape=(4, 40, 40), spacing_mm=(3.0, 1.0, 1.0), rows=(10, 30), cols=(10, 30), inside=100):
    """A cuboid of ``inside`` HU in fat of -100 HU on slices 1 and 2."""
    grid = geometry(shape, spacing_mm)
    voxels = np.zeros(shape, bool)
    voxels[1:3, rows[0] : rows[1], cols[0] : cols[1]] = True
    hu = np.where(voxels, inside, -100).astype(np.int16)
    return CTVolume(hu=hu, geometry=grid, series_uid="1"), RoiMask(voxels=voxels, geometry=grid, case_id="c")


def test_crop_keeps_physical_scale():
    """20 rows of 1 mm and 20 columns of 0.8 mm: the square box is 20 + 2 * 10 = 40 mm wide."""
    cut = cut_slices(*box_case(spacing_mm=(3.0, 1.0, 0.8)), SliceSpec(margin_mm=10))
    assert [part.slice_index for part in cut] == [1, 2]
    bright = cut[0].hu > 0
    assert bright[:, 128].mean() == pytest.approx(20 / 40, abs=2 / 256)
    assert bright[128].mean() == pytest.approx(16 / 40, abs=2 / 256)
    assert cut[0].mm_per_px == pytest.approx(40 / 256)
    assert cut[0].area_mm2 == pytest.approx(20 * 16)


def test_box_edges_are_pixel_edges():
    """A crop of exactly the tumor, at one output pixel per CT pixel, is the tumor and nothing else."""
    volume, roi = box_case(rows=(4, 36), cols=(4, 36))
    volume.hu[1, 4, 4:36] = np.arange(32)
    exact = cut_slices(volume, roi, SliceSpec(margin_mm=0, size_px=32))
    assert exact[0].hu[0].tolist() == list(range(32))


def test_resampling_is_bilinear():
    volume, roi = box_case(rows=(4, 20), cols=(4, 20))
    volume.hu[1] = np.arange(40) * 16
    cut = cut_slices(volume, roi, SliceSpec(margin_mm=0, size_px=32))
    inner = cut[0].hu[16, 2:-2].astype(int)
    assert set(np.diff(inner)) == {8}


def test_shrinking_is_antialiased():
    grid = geometry((1, 512, 512))
    hu = np.zeros(grid.shape, np.int16)
    hu[:, ::2] = 200
    volume = CTVolume(hu=hu, geometry=grid, series_uid="1")
    roi = RoiMask(voxels=np.ones(grid.shape, bool), geometry=grid, case_id="c")
    cut = cut_slices(volume, roi, SliceSpec(roi_mode="full", size_px=64))
    assert cut[0].hu.shape == (64, 64)
    assert np.abs(cut[0].hu[:, 1:-1].astype(int) - 100).max() <= 4


def test_beyond_the_image_lies_air():
    cut = cut_slices(*box_case(rows=(0, 20), cols=(0, 20)), SliceSpec(margin_mm=10))
    assert cut[0].hu[0, 0] == AIR_HU
    assert cut[0].hu[128, 128] == 100


def test_mask_mode_blanks_outside_the_tumor():
    cut = cut_slices(*box_case(), SliceSpec(roi_mode="mask", margin_mm=10))
    assert cut[0].hu[5, 5] == AIR_HU
    assert cut[0].hu[128, 128] == 100


def test_full_mode_keeps_the_whole_image_square():
    cut = cut_slices(*box_case(shape=(4, 40, 80)), SliceSpec(roi_mode="full"))
    assert cut[0].mm_per_px == pytest.approx(80 / 256)
    assert cut[0].hu[10, 128] == AIR_HU


def test_volume_order_and_flip_do_not_matter():
    """Stored from head to feet or from feet to head, the slices are the same."""
    volume, roi = box_case()
    affine = volume.geometry.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (volume.geometry.shape[0] - 1)
    affine[:3, 0] *= -1
    flipped = VolumeGeometry(shape=volume.geometry.shape, affine=affine)
    upside = CTVolume(hu=volume.hu[::-1].copy(), geometry=flipped, series_uid="1")
    mask = RoiMask(voxels=roi.voxels[::-1].copy(), geometry=flipped, case_id="c")
    one = cut_slices(volume, roi, SliceSpec())
    two = cut_slices(upside, mask, SliceSpec())
    for part, other in zip(one, reversed(two), strict=True):
        assert (part.hu == other.hu).all()


@given(st.floats(0.25, 4.0))
def test_rescaled_patient_gives_the_same_slices(scale):
    """Twice the spacing with twice the margin is the same picture."""
    spec = SliceSpec(margin_mm=5, size_px=64, min_area_mm2=0)
    one = cut_slices(*box_case(), spec)
    spacing_mm = (3 * scale, scale, scale)
    two = cut_slices(
        *box_case(spacing_mm=spacing_mm), SliceSpec(margin_mm=5 * scale, size_px=64, min_area_mm2=0)
    )
    assert np.abs(one[0].hu.astype(int) - two[0].hu).max() <= 1


@given(st.integers(0, 8), st.integers(0, 8))
def test_shifted_tumor_gives_the_same_slices(down, right):
    spec = SliceSpec(margin_mm=5, size_px=64)
    one = cut_slices(*box_case(rows=(8, 24), cols=(8, 24)), spec)
    two = cut_slices(*box_case(rows=(8 + down, 24 + down), cols=(8 + right, 24 + right)), spec)
    assert (one[0].hu == two[0].hu).all()


def test_small_sections_are_left_out_and_none_is_refused():
    volume, roi = box_case()
    roi.voxels[2] = False
    roi.voxels[2, 15, 15] = True
    assert [part.slice_index for part in cut_slices(volume, roi, SliceSpec(min_area_mm2=20))] == [1]
    with pytest.raises(RoiError, match=r"at least 900 mm2, found at most 400.0 mm2, on slice 1"):
        cut_slices(volume, roi, SliceSpec(min_area_mm2=900))


def test_mask_on_another_grid_is_refused():
    volume, _ = box_case()
    _, roi = box_case(spacing_mm=(3.0, 1.0, 1.1))
    with pytest.raises(RoiError, match="case c: expected the ROI on the grid of its CT"):
        cut_slices(volume, roi, SliceSpec())


def test_window_is_linear_exact():
    hu = np.array([-200, -160, 40, 240, 300], np.int16)
    assert apply_window(hu, SliceSpec()).tolist() == pytest.approx([0, 0, 0.5, 1, 1])

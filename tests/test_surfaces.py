import numpy as np
import pytest
from scipy.spatial import cKDTree

from nephroscope.regions.agreement import SurfaceDistances, border, surface_distances
from nephroscope.regions.surface import elements, surface_dice

ANISOTROPIC = np.diag([5.0, 0.7, 0.8, 1.0])


def box(shape, *ranges):
    voxels = np.zeros(shape, bool)
    voxels[tuple(slice(*pair) for pair in ranges)] = True
    return voxels


def ball(radius_mm, center_mm=(0, 0, 0), step_mm=1.0, size=61):
    axis = (np.arange(size) - size // 2) * step_mm
    s, r, c = np.meshgrid(axis, axis, axis, indexing="ij")
    z, y, x = center_mm
    return (s - z) ** 2 + (r - y) ** 2 + (c - x) ** 2 <= radius_mm**2


def blobs(seed, shape=(16, 30, 30)):
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    masks = [gaussian_filter(rng.normal(size=shape), 3) > 0.01 for _ in range(2)]
    for mask in masks:  # SimpleITK's contour does not see the end of the grid
        mask[[0, -1]], mask[:, [0, -1]], mask[:, :, [0, -1]] = False, False, False
    return masks


def test_a_box_moved_by_two_columns():
    """Of 4 x 4 faces across the move all are 2 columns of 0.8 mm off; the other sides coincide where they overlap."""
    one = box((10, 12, 20), (3, 7), (4, 8), (5, 11))
    two = np.roll(one, 2, 2)
    found = surface_distances(one, two, ANISOTROPIC)
    assert found.largest_mm == pytest.approx(1.6)
    assert found.hd95_mm == pytest.approx(1.6)
    # A box of 4 x 4 x 6 has 96 - 2 x 2 x 4 = 80 border voxels. The far face of 16 lies 1.6 off; of the column behind
    # it, 12 rim voxels, each 0.8 off; the 4 voxels inside the other's cap lie on its face, or 0.7 beside its rim.
    assert found.one_to_two_mm.size == 80
    assert np.isclose(found.one_to_two_mm, 1.6).sum() == 16
    assert np.isclose(found.one_to_two_mm, 0.8).sum() == 12


def test_a_mask_that_fills_the_grid_has_a_surface():
    full = np.ones((3, 4, 5), bool)
    assert len(border(full, np.eye(4))) == 60 - 6
    assert surface_distances(full, full, np.eye(4)).largest_mm == 0


def voxel(shape, *at):
    mask = np.zeros(shape, bool)
    mask[at] = True
    return mask


def test_surface_dice_is_that_of_its_authors_own_tests():
    """Two voxels 2 mm apart, and two blocks of which one is a slice of 2 mm thicker.

    Source: google-deepmind/surface-distance, surface_distance_test.py, at 1 mm.
    """
    one, two = voxel((8, 8, 8), 4, 4, 2), voxel((8, 8, 8), 4, 4, 4)
    assert surface_dice(one, two, np.diag([3.0, 2.0, 1.0, 1.0]), 1) == pytest.approx(0.5)
    one, two = box((100, 100, 100), (0, 50)), box((100, 100, 100), (0, 51))
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    assert surface_dice(one, two, affine, 1) == pytest.approx(0.836, abs=5e-4)
    (one_mm, one_mm2), (two_mm, two_mm2) = elements(one, affine), elements(two, affine)
    assert one_mm2.sum() == pytest.approx(2 * 100 * 100 + 4 * 100 * 2 * 50, rel=0.02)
    off = [cKDTree(b).query(a)[0] for a, b in ((one_mm, two_mm), (two_mm, one_mm))]
    means = [np.average(mm, weights=mm2) for mm, mm2 in zip(off, (one_mm2, two_mm2), strict=True)]
    assert means == pytest.approx((0.322, 0.339), abs=5e-4)
    within = [mm2[mm <= 1].sum() / mm2.sum() for mm, mm2 in zip(off, (one_mm2, two_mm2), strict=True)]
    assert within == pytest.approx((0.842, 0.830), abs=5e-4)
    assert max(mm.max() for mm in off) == pytest.approx(2.0)
    assert surface_distances(one, two, affine).largest_mm == pytest.approx(2.0)


def test_of_a_single_slice_the_outline_counts():
    """Same source; and two squares of 2 x 2 pixels of 2 x 1 mm, one with two more pixels below, worked by hand."""
    flat = np.diag([5.0, 2.0, 1.0, 1.0])
    one, two = voxel((1, 128, 128), 0, 50, 70), voxel((1, 128, 128), 0, 50, 72)
    assert surface_dice(one, two, flat, 1, flat=True) == pytest.approx(0.5)
    one, two = box((1, 6, 6), (0, 1), (1, 3), (1, 3)), box((1, 6, 6), (0, 1), (1, 4), (1, 3))
    corner = np.hypot(2, 1) / 2
    lengths = (4 * corner + 2 * 1 + 2 * 2, 4 * corner + 2 * 1 + 4 * 2)
    assert [elements(mask, flat, True)[1].sum() for mask in (one, two)] == pytest.approx(lengths)
    # Of the lower end, two corners and the side between them are 2 mm from the other outline; of the square, all of
    # its own end is 1 mm (its side) or 0 mm off, as the longer one passes at its corners.
    off = 2 * corner + 1
    assert surface_dice(one, two, flat, 1, flat=True) == pytest.approx(1 - off / sum(lengths))
    assert surface_dice(one, two, flat, 2, flat=True) == 1
    assert surface_distances(one, two, flat, flat=True).largest_mm == pytest.approx(2.0)


def test_masks_that_are_empty_tiny_or_at_the_edge():
    one = voxel((3, 4, 5), 0, 0, 0)
    empty = np.zeros_like(one)
    assert (surface_dice(one, empty, ANISOTROPIC), surface_dice(empty, one, ANISOTROPIC)) == (0, 0)
    assert surface_dice(one, one, ANISOTROPIC, 0) == 1
    full = np.ones((3, 4, 5), bool)
    assert surface_dice(full, full, ANISOTROPIC, 0) == 1, "what touches every edge has a surface there"
    padded = np.pad(one, 3)
    wide, narrow = (elements(mask, ANISOTROPIC)[1].sum() for mask in (padded, one))
    assert wide == pytest.approx(narrow), "nothing depends on how far the edge is"


def test_concentric_balls_are_the_difference_of_their_radii_apart():
    found = surface_distances(ball(20), ball(25), np.eye(4))
    assert found.mean_mm == pytest.approx(5, abs=0.3)
    assert found.hd95_mm == pytest.approx(5, abs=0.6)
    assert found.largest_mm == pytest.approx(5, abs=1)
    assert surface_dice(ball(20), ball(25), np.eye(4), 3) == 0
    assert surface_dice(ball(20), ball(25), np.eye(4), 7) == 1


def test_balls_moved_by_three_mm():
    """The distance at angle t from the move is about 3 |cos t|: mean 1.5; 95 % of the area below 3 x 0.95."""
    found = surface_distances(ball(22), ball(22, (0, 0, 3)), np.eye(4))
    assert found.largest_mm == pytest.approx(3, abs=0.1)
    assert found.mean_mm == pytest.approx(1.5, abs=0.15)
    assert found.hd95_mm == pytest.approx(2.85, abs=0.16)


def ellipsoid(center_mm, radii_mm):
    at = [
        (np.arange(n) - n / 2) * mm - center
        for n, mm, center in zip((20, 110, 110), np.diag(ANISOTROPIC), center_mm, strict=False)
    ]
    z, y, x = (axis / radius for axis, radius in zip(at, radii_mm, strict=True))
    return z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 <= 1


def test_surface_dice_is_what_the_package_of_its_authors_computes():
    """Computed with google-deepmind/surface-distance at commit 1f805ce, which triangulates some cells otherwise."""
    one, two = ellipsoid((0, 0, 0), (18, 20, 16)), ellipsoid((0, 4, 0), (16, 20, 18))
    for tolerance_mm, expected, flat in ((1, 0.52060, 0.15713), (2, 0.65854, 0.30017), (3, 0.84754, 0.57566)):
        assert surface_dice(one, two, ANISOTROPIC, tolerance_mm) == pytest.approx(expected, abs=5e-4)
        slices = (one[10:11], two[10:11])
        assert surface_dice(*slices, ANISOTROPIC, tolerance_mm, flat=True) == pytest.approx(flat, abs=5e-6)


def test_the_larger_direction_counts():
    far = SurfaceDistances(
        one_to_two_mm=np.zeros(100),
        two_to_one_mm=np.linspace(0, 10, 101),
    )
    near = SurfaceDistances(
        one_to_two_mm=far.two_to_one_mm,
        two_to_one_mm=far.one_to_two_mm,
    )
    for found in (far, near):
        assert found.hd95_mm == pytest.approx(9.5)
        assert found.largest_mm == 10
        assert found.mean_mm == pytest.approx(2.5)


def test_a_turned_grid_gives_the_same():
    one, two = blobs(3)
    turn = np.eye(4)
    turn[:2, :2] = [[0.6, -0.8], [0.8, 0.6]]
    turn[:3, 3] = 40, -70, 900
    plain, turned = (surface_distances(one, two, affine) for affine in (ANISOTROPIC, turn @ ANISOTROPIC))
    assert turned.hd95_mm == pytest.approx(plain.hd95_mm)
    dice = [surface_dice(one, two, affine, 1) for affine in (ANISOTROPIC, turn @ ANISOTROPIC)]
    assert dice[0] == pytest.approx(dice[1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_simpleitk_measures_contours_the_same(seed):
    sitk = pytest.importorskip("SimpleITK")
    one, two = blobs(seed)
    contours = []
    for mask in (one, two):
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing((0.8, 0.7, 5.0))
        contours.append(sitk.LabelContour(image))
    expected = sitk.HausdorffDistanceImageFilter()
    expected.Execute(*contours)
    found = surface_distances(one, two, ANISOTROPIC)
    assert int(sitk.GetArrayFromImage(contours[0]).sum()) == found.one_to_two_mm.size
    assert found.largest_mm == pytest.approx(expected.GetHausdorffDistance(), abs=1e-5)
    assert found.mean_mm == pytest.approx(expected.GetAverageHausdorffDistance(), abs=1e-5)


def test_distance_maps_agree():
    from scipy.ndimage import binary_erosion, distance_transform_edt

    one, two = blobs(5)
    rims = [mask & ~binary_erosion(mask) for mask in (one, two)]
    maps = [distance_transform_edt(~rim, sampling=(5.0, 0.7, 0.8)) for rim in rims]
    found = surface_distances(one, two, ANISOTROPIC)
    assert found.one_to_two_mm == pytest.approx(maps[1][rims[0]])
    assert found.two_to_one_mm == pytest.approx(maps[0][rims[1]])

import numpy as np
import pytest

from nephroscope.regions.agreement import SurfaceDistances, border, surface_distances

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


def test_areas_are_those_of_the_faces_in_mm2():
    one = box((6, 8, 9), (1, 4), (2, 6), (3, 8))  # 15 x 2.8 x 4 mm
    _, shown = border(one, ANISOTROPIC)
    assert shown.sum() == pytest.approx(2 * (15 * 2.8 + 15 * 4 + 2.8 * 4))
    points, shown = border(box((3, 3, 3), (1, 2), (1, 2), (1, 2)), ANISOTROPIC)
    assert points.tolist() == [[5.0, 0.7, 0.8]]
    assert shown == pytest.approx([2 * (5 * 0.7 + 5 * 0.8 + 0.7 * 0.8)])


def test_a_mask_that_fills_the_grid_has_a_surface():
    full = np.ones((3, 4, 5), bool)
    assert len(border(full, np.eye(4))[0]) == 60 - 6
    assert surface_distances(full, full, np.eye(4)).largest_mm == 0


def test_surface_dice_weighs_by_area_not_by_voxels():
    """A slab of one slice more: its cap of 5 mm is off, and so are the sides of the added slice."""
    one, two = box((8, 12, 12), (1, 3), (1, 11), (1, 11)), box((8, 12, 12), (1, 4), (1, 11), (1, 11))
    affine = np.diag([5.0, 1.0, 1.0, 1.0])
    found = surface_distances(one, two, affine)
    # Of one: the rim of the upper slice is on two's side, and the rings inside it lie 1, 2, 3 and 4 mm from that rim.
    # Of two: the third slice is 5 mm off, 10 x 10 faces of its cap and 40 sides of 5 mm2.
    total = 2 * 200 + 40 * 10 + 40 * 15
    for tolerance_mm, off_mm2 in ((0, 64 + 300), (2, 16 + 300), (4.99, 300), (5, 0)):
        assert found.dice(tolerance_mm) == pytest.approx((total - off_mm2) / total)


def test_concentric_balls_are_the_difference_of_their_radii_apart():
    found = surface_distances(ball(20), ball(25), np.eye(4))
    assert found.mean_mm == pytest.approx(5, abs=0.3)
    assert found.hd95_mm == pytest.approx(5, abs=0.6)
    assert found.largest_mm == pytest.approx(5, abs=1)
    assert found.dice(3) == 0
    assert found.dice(7) == 1


def test_balls_moved_by_three_mm():
    """The distance at angle t from the move is about 3 |cos t|: mean 1.5; 95 % of the area below 3 x 0.95."""
    found = surface_distances(ball(22), ball(22, (0, 0, 3)), np.eye(4))
    assert found.largest_mm == pytest.approx(3, abs=0.1)
    assert found.mean_mm == pytest.approx(1.5, abs=0.15)
    assert found.hd95_mm == pytest.approx(2.85, abs=0.16)
    assert found.dice(1.5) == pytest.approx(0.5, abs=0.07)


def test_the_larger_direction_counts():
    far = SurfaceDistances(
        one_to_two_mm=np.zeros(100),
        two_to_one_mm=np.linspace(0, 10, 101),
        one_mm2=np.ones(100),
        two_mm2=np.ones(101),
    )
    near = SurfaceDistances(
        one_to_two_mm=far.two_to_one_mm,
        two_to_one_mm=far.one_to_two_mm,
        one_mm2=far.two_mm2,
        two_mm2=far.one_mm2,
    )
    for found in (far, near):
        assert found.hd95_mm == pytest.approx(9.5)
        assert found.largest_mm == 10
        assert found.mean_mm == pytest.approx(2.5)
        assert found.dice(5) == pytest.approx((100 + 51) / 201)


def test_a_turned_grid_gives_the_same():
    one, two = blobs(3)
    turn = np.eye(4)
    turn[:2, :2] = [[0.6, -0.8], [0.8, 0.6]]
    turn[:3, 3] = 40, -70, 900
    plain, turned = (surface_distances(one, two, affine) for affine in (ANISOTROPIC, turn @ ANISOTROPIC))
    assert turned.hd95_mm == pytest.approx(plain.hd95_mm)
    assert turned.dice(1) == pytest.approx(plain.dice(1))


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

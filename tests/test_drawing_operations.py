"""Drawing by itself: interpolation, filling, parts, growing, boxes, polygons, runs."""

import numpy as np
import pytest

from nephroscope.base.errors import RoiError
from nephroscope.regions.interpolation import interpolate
from nephroscope.workstation.drawing.operations import (
    ellipsoid,
    fill_holes,
    grow,
    largest_part,
    mask_of,
    polygon,
    runs_of,
)

ROWS, COLUMNS = np.ogrid[:60, :60]


def disc(radius, row=30, column=30):
    return (ROWS - row) ** 2 + (COLUMNS - column) ** 2 <= radius**2


def dice(one, two):
    return 2 * np.count_nonzero(one & two) / (np.count_nonzero(one) + np.count_nonzero(two))


def ball(radius, middle, n):
    z = np.arange(n)[:, None, None]
    return (z - middle) ** 2 + (ROWS - 30) ** 2 + (COLUMNS - 30) ** 2 <= radius**2


def test_a_ball_comes_back_from_its_first_middle_and_last_slice():
    whole = ball(20, 20, 41)
    made = interpolate({index: whole[index] for index in (0, 20, 40)}, (1.0, 1.0))
    assert sorted(made) == [index for index in range(41) if index not in (0, 20, 40)]
    built = np.stack([made.get(index, whole[index]) for index in range(41)])
    assert dice(built, whole) > 0.93


def test_a_slanted_cylinder_moves_from_slice_to_slice():
    made = interpolate({0: disc(8, column=20), 4: disc(8, column=28)}, (1.0, 1.0))
    middle = np.argwhere(made[2]).mean(axis=0)
    assert middle == pytest.approx([30, 24], abs=0.3)
    assert np.count_nonzero(made[2]) == pytest.approx(np.count_nonzero(disc(8)), rel=0.02)


def test_rows_and_columns_of_different_spacing_keep_the_shape():
    flat = (((ROWS - 30) * 2.0) ** 2 + (COLUMNS - 30) ** 2) <= 16**2
    made = interpolate({0: flat, 2: flat}, (2.0, 1.0))
    assert np.array_equal(made[1], flat)


def test_interpolation_at_the_edge_of_the_image():
    edge = np.zeros((60, 60), bool)
    edge[:5, :5] = True
    assert np.array_equal(interpolate({3: edge, 5: edge}, (1.0, 1.0))[4], edge)


def test_one_slice_cannot_be_interpolated():
    with pytest.raises(RoiError) as refused:
        interpolate({3: disc(4)}, (1.0, 1.0))
    with pytest.raises(ValueError, match="none is empty"):
        interpolate({3: disc(4), 5: disc(4) & False, 8: disc(4)}, (1.0, 1.0))
    with pytest.raises(ValueError, match="between drawn ones"):
        interpolate({3: disc(4), 8: disc(4)}, (1.0, 1.0), [9])
    assert refused.value.found == "1"


def test_holes_are_filled_and_small_parts_dropped():
    ring = disc(10) & ~disc(5)
    assert np.array_equal(fill_holes(ring), disc(10))
    two = np.stack([disc(10), disc(10) | disc(3, 5, 5), disc(9)])
    assert np.array_equal(largest_part(two), np.stack([disc(10), disc(10), disc(9)]))
    assert not largest_part(np.zeros((2, 5, 5), bool)).any()


def test_a_region_grows_to_its_border_and_not_over_a_thin_bridge():
    hu = np.full((5, 60, 60), 20, np.int16)
    hu[1:4] = np.where(disc(9), 120, 20)
    hu[2][(ROWS == 30) & (COLUMNS > 39) & (COLUMNS < 50)] = 120  # one voxel wide
    hu[2][disc(5, 30, 54)] = 120
    grown, limit = grow(hu, (2, 30, 30), 30, (3.0, 1.0, 1.0))
    assert not limit
    assert not grown[0].any()
    assert not grown[4].any()
    assert dice(grown[1:4], np.stack([disc(9)] * 3)) > 0.97
    assert not grown[2][disc(4, 30, 54)].any()


def test_a_region_that_leaks_says_so():
    hu = np.full((3, 200, 200), 50, np.int16)
    grown, limit = grow(hu, (1, 100, 100), 10, (1.0, 1.0, 1.0))
    assert limit
    assert not grown[:, 0].any()


def test_an_ellipsoid_touches_all_sides_of_its_box():
    inside = ellipsoid((20, 40, 50), ((4, 14), (10, 30), (20, 24)))
    spans = [np.flatnonzero(inside.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    assert [(own[0], own[-1]) for own in spans] == [(4, 14), (10, 30), (20, 24)]
    assert np.count_nonzero(inside) == pytest.approx(np.pi / 6 * 11 * 21 * 5, rel=0.06)
    one = ellipsoid((3, 3, 3), ((1, 1), (1, 1), (1, 1)))
    assert np.argwhere(one).tolist() == [[1, 1, 1]]


@pytest.mark.parametrize(
    "box", [((4, 3), (0, 1), (0, 1)), ((0, 20), (0, 1), (0, 1)), ((-1, 3), (0, 1), (0, 1))]
)
def test_a_box_outside_is_refused(box):
    with pytest.raises(RoiError):
        ellipsoid((20, 40, 50), box)


def test_a_polygon_holds_the_centers_inside():
    assert np.argwhere(polygon((6, 6), [(0.5, 0.5), (0.5, 3.5), (2.5, 3.5), (2.5, 0.5)])).tolist() == [
        [row, column] for row in (1, 2) for column in (1, 2, 3)
    ]
    outside = polygon((6, 6), [(-5, -5), (-5, 50), (50, 50), (50, -5)])
    assert outside.all()
    star = [(0.2, 2.5), (5.4, 4.4), (2.2, -0.4), (2.2, 5.4), (5.4, 0.6)]
    assert not polygon((6, 6), star)[3, 2]  # twice around is outside
    assert polygon((6, 6), star)[2, 2]
    for wrong in ([(0, 0), (1, 1)], [(0, 0), (1, 1), (np.nan, 2)], [(0, 0), (1, 1), (1e308, -1e308)]):
        with pytest.raises(RoiError):
            polygon((6, 6), wrong)


def test_runs_and_masks_are_each_other():
    mask = np.random.default_rng(3).random((40, 30)) > 0.5
    runs = runs_of(mask)
    assert np.array_equal(mask_of(runs, mask.shape, "mask"), mask)
    assert runs_of(np.zeros((4, 4), bool)) == []
    assert not mask_of([], (4, 4), "mask").any()


@pytest.mark.parametrize(
    "run", [(-1, 0, 0), (4, 0, 0), (0, 3, 2), (0, 0, 4), (0, -1, 2), (2**40, 0, 0), (0, 0, 2**80)]
)
def test_a_run_outside_is_refused(run):
    with pytest.raises(RoiError):
        mask_of([run], (4, 4), "mask")

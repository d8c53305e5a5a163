"""A rough outline fitted to the CT around it."""

import numpy as np
import pytest

from nephroscope.regions.graph_cut import fit_outline


def disc(row, column, radius):
    rows, columns = np.ogrid[:64, :64]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def dice(one, two):
    return 2 * np.count_nonzero(one & two) / (np.count_nonzero(one) + np.count_nonzero(two))


@pytest.mark.parametrize(("inside_hu", "outside_hu"), [(120, 40), (30, 160)])
def test_an_outline_that_is_off_comes_nearer(inside_hu, outside_hu):
    tumor = disc(30, 32, 14)
    noise = np.random.default_rng(0).normal(0, 12, tumor.shape)
    hu = (np.where(tumor, inside_hu, outside_hu) + noise).astype(np.int16)
    rough = disc(33, 29, 14)
    fitted = fit_outline(hu, rough)
    assert dice(rough, tumor) < 0.85
    assert dice(fitted, tumor) > 0.95


def test_where_nothing_can_be_told_apart_the_outline_stays():
    rough = disc(30, 30, 12)
    fitted = fit_outline(np.full(rough.shape, 40, np.int16), rough)
    assert dice(fitted, rough) > 0.97
    whole = np.ones((64, 64), bool)
    assert np.array_equal(fit_outline(np.zeros((64, 64), np.int16), whole), whole)

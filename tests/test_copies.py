"""The paper's 15 copies: four geometries times four intensities, from one 8-bit JPEG, without chance."""

import numpy as np
import torch

from nephroscope.learning.training.batches import LabelledSlices
from nephroscope.learning.training.copies import (
    N_COPIES,
    SHIFT_GRAY,
    amplify,
    copy_name,
    copy_of,
    hu_of_gray,
    paper_spec,
    through_jpeg,
)
from small_study import SPEC


def gray_image():
    rows, cols = np.ogrid[:32, :32]
    return (60 + 2 * rows + 3 * cols).astype(np.uint8)  # 60 to 215: room for brighter and darker


def slices(n=3):
    rng = np.random.default_rng(0)
    hu = rng.normal(40, 60, (n, 32, 32)).astype(np.int16)
    return LabelledSlices(
        hu=hu,
        rows=np.arange(n, dtype=np.int64),
        labels=np.array([0, 1, 0][:n], dtype=np.int64),
        cases=np.array([0, 1, 2][:n], dtype=np.int64),
    )


def test_sixteen_different_images_and_the_first_is_the_original():
    gray = gray_image()
    made = [copy_of(gray, copy) for copy in range(N_COPIES)]
    assert np.array_equal(made[0], gray)
    assert len({image.tobytes() for image in made}) == 16
    assert len({copy_name(copy) for copy in range(N_COPIES)}) == 16
    assert {image.shape for image in made} == {(32, 32)}


def test_each_copy_is_what_it_is_called():
    gray = gray_image()
    by_name = {copy_name(copy): copy_of(gray, copy).astype(int) for copy in range(N_COPIES)}
    assert np.array_equal(by_name["brighter"], gray.astype(int) + SHIFT_GRAY)
    assert np.array_equal(by_name["darker"], gray.astype(int) - SHIFT_GRAY)
    assert np.array_equal(by_name["flipped left to right"], gray[:, ::-1])
    assert np.array_equal(by_name["flipped top to bottom"], gray[::-1])
    assert by_name["rotated"][0, 0] == 0  # turned in from outside
    step = np.where(np.arange(32) < 16, 40, 200).astype(np.uint8)[None].repeat(32, axis=0)
    assert 40 < copy_of(step, 1)[16, 16] < 200  # the edge is no edge any more


def test_jpeg_is_lossy_but_close_and_behind_the_window():
    hu = slices(1).hu[0]
    gray = through_jpeg(hu)
    exact = np.clip((hu - 40) / 400 + 0.5, 0, 1) * 255
    assert gray.dtype == np.uint8
    assert 0 < np.abs(gray - exact).mean() < 4
    assert through_jpeg(np.full((32, 32), 400, np.int16)).min() == 255  # above the window
    assert through_jpeg(np.full((32, 32), -400, np.int16)).max() == 0


def test_the_window_of_the_network_gives_the_gray_values_back():
    spec = paper_spec(SPEC)
    gray = np.arange(256, dtype=np.uint8)
    seen = (hu_of_gray(gray) - (spec.window_level_hu - spec.window_width_hu / 2)) / spec.window_width_hu
    assert np.array_equal(np.rint(seen * 255), gray)
    assert (spec.window_level_hu, spec.window_width_hu) == (40, 400)
    assert spec.size_px == SPEC.size_px


def test_amplified_slices_are_made_when_asked_for():
    plain = slices()
    images = amplify(plain)
    assert len(images) == 48
    assert images.hu is plain.hu  # never sixteen times the memory
    assert images.labels.tolist() == [0] * 16 + [1] * 16 + [0] * 16
    hu, labels = images.load(np.array([0, 17]), torch.device("cpu"))
    assert hu.shape == (2, 1, 32, 32)
    assert labels.tolist() == [0, 1]
    expected = hu_of_gray(copy_of(through_jpeg(plain.hu[1]), 1))
    assert np.array_equal(hu[1, 0].numpy(), expected.astype(np.float32))
    assert torch.equal(hu, images.load(np.array([0, 17]), torch.device("cpu"))[0])
    kept = images.take(np.array([47]))
    assert (kept.rows.tolist(), kept.copies.tolist()) == ([2], [15])
    assert amplify(plain, 1).copies.tolist() == [0, 0, 0]

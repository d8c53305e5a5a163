import numpy as np
import torch

from nephroscope.learning.training.augment import Draw, augment, draw_augmentation
from nephroscope.learning.training.batches import SHIFT_HU


def still(n=1, **changed):
    fields = {
        "rotation_deg": torch.zeros(n),
        "flip_columns": torch.ones(n),
        "flip_rows": torch.ones(n),
        "blur_sigma_px": torch.zeros(n),
        "shift_hu": torch.zeros(n),
    }
    return Draw(**(fields | {name: torch.full((n,), float(value)) for name, value in changed.items()}))


def picture(size=32):
    return torch.from_numpy(np.random.default_rng(0).normal(40, 100, (1, 1, size, size))).float()


def test_nothing_drawn_changes_nothing():
    hu = picture()
    assert torch.allclose(augment(hu, still()), hu, atol=1e-2)


def test_flips_and_quarter_turn_are_exact():
    hu = picture()
    assert torch.allclose(augment(hu, still(flip_columns=-1)), hu.flip(3), atol=1e-2)
    assert torch.allclose(augment(hu, still(flip_rows=-1)), hu.flip(2), atol=1e-2)
    assert torch.allclose(augment(hu, still(rotation_deg=90)), torch.rot90(hu, 1, (2, 3)), atol=1e-2)


def test_blur_keeps_the_mean_and_calms_the_noise():
    hu = picture()
    blurred = augment(hu, still(blur_sigma_px=1.0))
    assert blurred.std() < 0.5 * hu.std()
    spot = torch.zeros(1, 1, 33, 33)
    spot[0, 0, 16, 16] = 1
    line = augment(spot, still(blur_sigma_px=1.0))[0, 0, 16]
    assert line.argmax() == 16
    assert torch.allclose(line[15] / line[16], torch.tensor(np.exp(-0.5)).float(), atol=1e-3)


def test_each_slice_gets_its_own_blur():
    hu = picture().repeat(2, 1, 1, 1)
    draw = still(2)
    draw.blur_sigma_px[1] = 1.5
    out = augment(hu, draw)
    assert torch.allclose(out[0], hu[0], atol=1e-2)
    assert out[1].std() < 0.5 * hu[1].std()


def test_brightness_is_bounded_and_chance_is_replayed():
    one, two = (draw_augmentation(500, np.random.default_rng(7)) for _ in range(2))
    assert torch.equal(one.rotation_deg, two.rotation_deg)
    assert one.shift_hu.abs().max() <= SHIFT_HU == 10
    assert torch.allclose(augment(picture(), still(shift_hu=8)), picture() + 8, atol=1e-2)
    assert set(one.flip_rows.tolist()) == {-1.0, 1.0}

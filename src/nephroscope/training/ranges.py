"""How far augmentation goes, as numbers without torch: the report tells them."""

ROTATION_DEG = 30.0
SHIFT_HU = 10.0
BLUR_SHARE = 0.25
BLUR_SIGMA_PX = (0.5, 1.5)

"""A picture of what was predicted: the slice with the largest cross-section, the ROI's outline, R, L and a scale.

As radiologists see it: the patient's right is on the left of the picture. Pillow only.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from nephroscope.base.files import replacing
from nephroscope.records import CTVolume, RoiMask

LEVEL_HU, WIDTH_HU = 40.0, 400.0
SIDE_PX = 768
OUTLINE, LETTERS = (255, 208, 0), (255, 255, 255)
SCALE_MM = 50.0
MARGIN_PX = 12


def save_picture(path: Path, volume: CTVolume, roi: RoiMask | None, title: str = "") -> Path:
    """Write the picture as PNG; without an ROI it shows the middle slice."""
    areas = roi.voxels.sum(axis=(1, 2)) if roi is not None else np.zeros(volume.geometry.shape[0])
    index = int(areas.argmax()) if areas.any() else volume.geometry.shape[0] // 2
    inside = roi.voxels[index] if roi is not None else None
    _, row_mm, col_mm = volume.geometry.spacing_mm
    image = draw_slice(volume.hu[index], inside, (row_mm, col_mm), f"slice {index}", title)
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")
    return path


def draw_slice(
    hu: npt.NDArray[np.int16],
    inside: npt.NDArray[np.bool_] | None,
    spacing_mm: tuple[float, float],
    *texts: str,
) -> Image.Image:
    """A slice (R, C) with the outline of the tumor (R, C), true to scale in mm, R and L, and a scale of 5 cm.

    Args:
        hu: Rows to the back, columns to the patient's left.
        inside: The tumor.
        spacing_mm: Between rows and between columns.
        texts: Lines at the top.
    """
    gray = np.clip((hu.astype(np.float32) - LEVEL_HU) / WIDTH_HU + 0.5, 0, 1) * 255
    n_rows, n_cols = hu.shape
    px_per_mm = SIDE_PX / max(n_rows * spacing_mm[0], n_cols * spacing_mm[1])
    size = (
        max(round(n_cols * spacing_mm[1] * px_per_mm), 1),
        max(round(n_rows * spacing_mm[0] * px_per_mm), 1),
    )
    image = Image.fromarray(gray.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR).convert("RGB")
    if inside is not None:
        mask = np.asarray(Image.fromarray(inside).resize(size, Image.Resampling.NEAREST))
        pixels = np.array(image)
        pixels[_outline(mask)] = OUTLINE
        image = Image.fromarray(pixels)
    _letters(image, px_per_mm, texts)
    return image


def _letters(image: Image.Image, px_per_mm: float, texts: tuple[str, ...]) -> None:
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(18)
    width, height = image.size
    draw.text((MARGIN_PX, height / 2), "R", LETTERS, font, anchor="lm")
    draw.text((width - MARGIN_PX, height / 2), "L", LETTERS, font, anchor="rm")
    bar, base = SCALE_MM * px_per_mm, height - MARGIN_PX
    draw.line([(width - MARGIN_PX - bar, base), (width - MARGIN_PX, base)], LETTERS, 3)
    draw.text((width - MARGIN_PX - bar / 2, base - 6), "5 cm", LETTERS, font, anchor="mb")
    small = ImageFont.load_default(13)
    for line, text in enumerate(texts):
        plain = "".join(c if c.isprintable() else " " for c in text)[:110]
        draw.text((MARGIN_PX, MARGIN_PX + 18 * line), plain, LETTERS, small)


def _outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The pixels just around the tumor, two wide, so that the tumor itself is not covered."""
    wide = np.pad(mask, 2)
    grown = np.zeros_like(wide)
    for row in range(-2, 3):
        for col in range(-2, 3):
            grown |= np.roll(wide, (row, col), (0, 1))
    return np.asarray(grown[2:-2, 2:-2] & ~mask)

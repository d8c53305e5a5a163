"""A network as one ONNX file, from HU int16 (N, 1, size, size) to logits (N, n_subtypes), checked against torch."""

import copy
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nephroscope.base.errors import BundleError
from nephroscope.base.files import replacing
from nephroscope.clinic.session import NetworkSession

PARITY = 1e-4
TIMES_OWN_ERROR = 10
REFERENCE_SLICES = 8


class _Subtypes(nn.Module):
    """The network without spare outputs: a softmax over the rest is the probability given one of the subtypes."""

    def __init__(self, network: nn.Module, n_subtypes: int) -> None:
        super().__init__()
        self.network, self.n_subtypes = network, n_subtypes

    def forward(self, hu: Tensor) -> Tensor:
        logits: Tensor = self.network(hu)
        return logits[:, : self.n_subtypes]


class _Mean(nn.Module):
    """Several networks as one, whose softmax is the mean of their probabilities; without spare outputs."""

    def __init__(self, networks: Sequence[nn.Module], n_subtypes: int) -> None:
        super().__init__()
        self.networks, self.n_subtypes = nn.ModuleList(networks), n_subtypes

    def forward(self, hu: Tensor) -> Tensor:
        each = torch.stack([one(hu)[:, : self.n_subtypes].log_softmax(dim=1) for one in self.networks])
        return each.logsumexp(dim=0) - math.log(len(self.networks))


def mean_of(networks: Sequence[nn.Module], n_subtypes: int) -> nn.Module:
    """One network that answers with the mean probabilities of several; a single one is itself."""
    return networks[0] if len(networks) == 1 else _Mean(networks, n_subtypes)


@dataclass(frozen=True, eq=False, kw_only=True)
class Exported:
    """A network that was written as ONNX, and how close ONNX Runtime comes to torch.

    Attributes:
        logits: Torch's, of the reference slices, (N, n_subtypes).
        apart: Largest difference between both, as a share of the largest logit where that is above 1.
        allowed: 1e-4, or ten times what torch itself loses in fp32 against fp64.
    """

    logits: npt.NDArray[np.float32]
    apart: float
    allowed: float

    @property
    def is_same(self) -> bool:
        """True when ONNX Runtime computes what torch computes, as far as fp32 can."""
        return self.apart <= self.allowed


def export_onnx(
    network: nn.Module, n_subtypes: int, reference_hu: npt.NDArray[np.int16], path: Path
) -> npt.NDArray[np.float32]:
    """Write ``network`` as ONNX and prove that ONNX Runtime computes what torch computes.

    Args:
        network: With its window, in any precision and on any device; it is moved to the CPU.
        n_subtypes: Outputs kept.
        path: File to write.
        reference_hu: Real slices (N, size, size) on which both are compared; with phases (N, phases, size, size).

    Returns:
        Torch's logits of the reference slices, (N, n_subtypes).

    Raises:
        BundleError: They differ by more than fp32 explains; no file is left.
    """
    with replacing(path) as temporary:
        exported = write_onnx(network, n_subtypes, reference_hu, temporary)
        if not exported.is_same:
            limit = f"{exported.allowed:.2g} on {len(reference_hu)} reference slices"
            raise BundleError(
                where=path.name,
                expected=f"ONNX and torch logits within {limit}",
                found=f"a difference of {exported.apart:.2g}",
                remedy="nothing was written; train in fp32, or report this with the run folder",
            )
    return exported.logits


def write_onnx(
    network: nn.Module, n_subtypes: int, reference_hu: npt.NDArray[np.int16], path: Path
) -> Exported:
    """The same without a refusal: the file is written whatever the difference is."""
    module = _Subtypes(network, n_subtypes).cpu().float().eval()
    several = reference_hu.ndim == 4
    batch = torch.from_numpy(np.ascontiguousarray(reference_hu if several else reference_hu[:, None]))
    with torch.inference_mode():
        logits: npt.NDArray[np.float32] = module(batch).numpy()
    with warnings.catch_warnings():
        # One that draws gives maps, (N, labels, H, W), and takes planes of other sizes too.
        sizes = {2: "rows", 3: "columns"} if logits.ndim == 4 else {}
        warnings.simplefilter("ignore")  # the exporter warns of its successor, which is 15 times slower
        torch.onnx.export(
            module,
            (batch,),
            str(path),
            dynamo=False,
            input_names=["hu"],
            output_names=["logits"],
            dynamic_axes={"hu": {0: "slices", **sizes}, "logits": {0: "slices", **sizes}},
        )
    apart = _apart(NetworkSession(path).logits(reference_hu), logits)
    allowed = PARITY
    if not apart <= PARITY:  # a network far from settled amplifies the rounding of fp32 itself
        with torch.inference_mode():
            exact = copy.deepcopy(module).double()(batch).numpy()
        allowed = max(PARITY, TIMES_OWN_ERROR * _apart(logits, exact))
    return Exported(logits=logits, apart=apart, allowed=allowed)


def _apart(one: npt.NDArray[np.floating], two: npt.NDArray[np.floating]) -> float:
    """Largest difference; beyond 1, fp32 knows only so many digits."""
    return float(np.abs(one - two).max() / max(1.0, float(np.abs(two).max())))

"""A network as one ONNX file, from HU int16 (N, 1, size, size) to logits (N, n_subtypes), checked against torch."""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nephroscope.base.errors import BundleError
from nephroscope.base.files import replacing
from nephroscope.clinic.session import NetworkSession

PARITY = 1e-4
REFERENCE_SLICES = 8


class _Subtypes(nn.Module):
    """The network without spare outputs: a softmax over the rest is the probability given one of the subtypes."""

    def __init__(self, network: nn.Module, n_subtypes: int) -> None:
        super().__init__()
        self.network, self.n_subtypes = network, n_subtypes

    def forward(self, hu: Tensor) -> Tensor:
        logits: Tensor = self.network(hu)
        return logits[:, : self.n_subtypes]


def export_onnx(
    network: nn.Module, n_subtypes: int, reference_hu: npt.NDArray[np.int16], path: Path
) -> npt.NDArray[np.float32]:
    """Write ``network`` as ONNX and prove that ONNX Runtime computes what torch computes.

    Args:
        network: With its window, in any precision and on any device; it is moved to the CPU.
        n_subtypes: Outputs kept.
        path: File to write.
        reference_hu: Real slices (N, size, size) on which both are compared.

    Returns:
        Torch's logits of the reference slices, (N, n_subtypes).

    Raises:
        BundleError: They differ by more than 1e-4; no file is left.
    """
    module = _Subtypes(network, n_subtypes).cpu().float().eval()
    batch = torch.from_numpy(np.ascontiguousarray(reference_hu[:, None]))  # (N, 1, size, size)
    with torch.inference_mode():
        logits: npt.NDArray[np.float32] = module(batch).numpy()
    with replacing(path) as temporary:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns of its successor, which is 15 times slower
            torch.onnx.export(
                module,
                (batch,),
                str(temporary),
                dynamo=False,
                input_names=["hu"],
                output_names=["logits"],
                dynamic_axes={"hu": {0: "slices"}, "logits": {0: "slices"}},
            )
        apart = np.abs(NetworkSession(temporary).logits(reference_hu) - logits).max()
        apart /= max(1.0, np.abs(logits).max())  # beyond 1, fp32 knows only so many digits
        if not apart <= PARITY:
            raise BundleError(
                where=path.name,
                expected=f"ONNX and torch logits within {PARITY:g} on {len(reference_hu)} reference slices",
                found=f"a difference of {apart:.2g}",
                remedy="nothing was written; train in fp32, or report this with the run folder",
            )
    return logits

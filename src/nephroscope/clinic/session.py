"""A network in ONNX Runtime, for evaluation and clinic: HU slices give probabilities. No torch."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import BundleError

BATCH_SLICES = 4  # larger batches do not fit into the cache of a CPU and are slower


def runtime_version() -> str:
    """Version of ONNX Runtime; with another version the last digits of an answer may differ."""
    import onnxruntime

    return str(onnxruntime.__version__)


class NetworkSession:
    """An ONNX network loaded to compute on the CPU.

    Raises:
        BundleError: ONNX Runtime cannot load the file.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as raised

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except (
            *(raised.Fail, raised.InvalidArgument, raised.InvalidGraph, raised.InvalidProtobuf),
            *(raised.NoSuchFile, raised.NotImplemented, raised.RuntimeException),
        ) as error:
            raise BundleError(
                where=path.name,
                expected="an ONNX network",
                found=f"a file that ONNX Runtime cannot load ({type(error).__name__})",
                remedy="export the bundle again",
            ) from error

    def logits(self, hu: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        """Logits (N, n_subtypes) of slices (N, size, size) in HU."""
        parts = [
            self._session.run(["logits"], {"hu": np.ascontiguousarray(hu[i : i + BATCH_SLICES, None])})[0]
            for i in range(0, len(hu), BATCH_SLICES)
        ]
        return np.concatenate(parts)

    def probabilities(self, hu: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
        """Softmax of the logits of slices (N, size, size) in HU: (N, n_subtypes)."""
        logits = self.logits(hu).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return shares

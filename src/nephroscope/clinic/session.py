"""A network in ONNX Runtime, for evaluation and clinic: HU slices give probabilities. No torch."""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import BundleError

BATCH_SLICES = 4  # larger batches do not fit into the cache of a CPU and are slower
MOST_MEMORY = 4 << 30  # bytes


def runtime_version() -> str:
    """Version of ONNX Runtime; with another version the last digits of an answer may differ."""
    import onnxruntime

    return str(onnxruntime.__version__)


@cache
def _limit_memory() -> None:
    """Give the networks of bundles one memory, of which they cannot take more than `MOST_MEMORY`."""
    import onnxruntime as ort

    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(MOST_MEMORY, -1, -1, -1))


class NetworkSession:
    """An ONNX network loaded to compute on the CPU.

    Args:
        path: The file.
        content: Its bytes, when they were read and checked before; the network then takes limited memory.
        threads: That compute at the same time; 0: as many as the computer has cores.

    Raises:
        BundleError: ONNX Runtime cannot load the file.
    """

    def __init__(self, path: Path, content: bytes | None = None, threads: int = 0) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as raised

        onnxruntime.disable_telemetry_events()  # for a program that loaded it before this package
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3 if content is None else 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads sleep
        if content is not None:
            _limit_memory()
            options.add_session_config_entry("session.use_env_allocators", "1")
        self._name = path.name
        self._raised = (
            *(raised.Fail, raised.InvalidArgument, raised.InvalidGraph, raised.InvalidProtobuf),
            *(raised.NoSuchFile, raised.NotImplemented, raised.RuntimeException, raised.EPFail),
            *(ValueError, RuntimeError),  # names that are no text; what has no kind of its own
        )
        try:
            self._session = onnxruntime.InferenceSession(
                str(path) if content is None else content,
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,  # the same again, and a message on stdout
            )
        except self._raised as error:
            raise BundleError(
                where=path.name,
                expected="an ONNX network",
                found=f"a file that ONNX Runtime cannot load ({type(error).__name__})",
                remedy="export the bundle again",
            ) from error

    def logits(self, hu: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        """Logits (N, n_subtypes) of slices (N, size, size), or (N, phases, size, size), in HU.

        Raises:
            BundleError: The network cannot compute them, such as one for slices of another size.
        """
        batch = hu if hu.ndim == 4 else hu[:, None]
        try:
            parts = [
                self._session.run(["logits"], {"hu": np.ascontiguousarray(batch[i : i + BATCH_SLICES])})[0]
                for i in range(0, len(hu), BATCH_SLICES)
            ]
        except self._raised as error:
            raise BundleError(
                where=self._name,
                expected=f"a network from slices of {' x '.join(map(str, hu.shape[1:]))} pixels to logits",
                found=f"one that cannot compute them ({type(error).__name__})",
                remedy="export the bundle again",
            ) from error
        return np.concatenate(parts)

    def probabilities(self, hu: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
        """Softmax of the logits of slices (N, size, size) in HU: (N, n_subtypes)."""
        logits = self.logits(hu).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return shares

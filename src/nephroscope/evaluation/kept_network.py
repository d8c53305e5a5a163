"""A fold's network that computes no slice twice: what it answered is kept by the content of slices and network."""

import contextlib
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.evaluation.run_files import open_run_network, run_network_path
from nephroscope.files import replacing
from nephroscope.models.session import NetworkSession, runtime_version

KEPT = "answers"


@dataclass
class KeptNetwork:
    """The network of one fold of a run; it is loaded when it meets slices that it has not answered.

    An answer lies in the run's folder under a digest of the network's file, the slices and ONNX Runtime's version:
    when any of these changes there is none, so none can be out of date. The folder may be removed at any time.
    """

    run: Path
    index: int
    digest: str = field(init=False)
    _session: NetworkSession | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Raise StudyError where the network's file is lost."""
        path = run_network_path(self.run, self.index)
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()

    def probabilities(self, hu: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
        """Probabilities (N, n_subtypes) of slices (N, size, size) in HU, looked up or computed.

        Raises:
            StudyError: The network's file is damaged.
        """
        path = self.run / KEPT / f"{self._key(hu)}.npy"
        known = _known(path, len(hu))
        if known is not None:
            return known
        if self._session is None:
            self._session = open_run_network(self.run, self.index)
        answer = self._session.probabilities(hu)
        with contextlib.suppress(OSError):  # a full or read-only disk: then it is computed again next time
            path.parent.mkdir(exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, answer)
        return answer

    def _key(self, hu: npt.NDArray[np.int16]) -> str:
        told = f"{self.digest} {runtime_version()} {hu.shape} {hu.dtype.str}"
        return hashlib.sha256(told.encode() + np.ascontiguousarray(hu).data).hexdigest()[:32]


def _known(path: Path, n_slices: int) -> npt.NDArray[np.float64] | None:
    """What lies at ``path``, if it is whole: probabilities of so many slices."""
    try:
        kept = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    whole = kept.ndim == 2 and len(kept) == n_slices and np.allclose(kept.sum(axis=1), 1, rtol=0, atol=1e-9)
    return kept if whole else None

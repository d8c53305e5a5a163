"""The bundle: model.onnx, bundle.json, reference.npz and README.md in one folder, guarded by SHA-256 digests.

bundle.json is written last; it holds the digests of the others and one of itself. It carries no identifier of any
patient: training cases are known by a digest of their slices, so that a prediction on one of them can say so.
A bundle may come from anybody, so it is opened in a bounded way: sizes, fields, operators, memory and time are
limited.
"""

import hashlib
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.arrays import ArrayError, arrays_of_archive
from nephroscope.base.files import file_digest, save_json
from nephroscope.clinic.bundle_file import (
    CARD,
    EMBEDDING,
    FILES,
    FORMAT,
    MOST_BYTES,
    ONE_PHASE,
    BundleFile,
    Needs,
    check_size,
    content_digest,
    read_bundle_file,
    refusal,
)
from nephroscope.clinic.network_file import check_network
from nephroscope.clinic.score import ApplicabilityDomain, Scorer
from nephroscope.clinic.session import NetworkSession
from nephroscope.records import SliceSpec

REFERENCE_TOLERANCE = 1e-3  # logits; other processors round differently
SECONDS_TO_OPEN = 60.0  # of loading the network and trying a few slices


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An opened bundle: how to cut, how to answer, and what its file says.

    Attributes:
        format: Of bundle.json.
        trained_on: Digests of the slices of its training and validation cases.
        embedding: Of the distance from its training cases; None where foreign tumors are not recognized.
    """

    scorer: Scorer
    about: BundleFile
    format: int
    trained_on: frozenset[str]
    embedding: NetworkSession | None = None

    @property
    def spec(self) -> SliceSpec:
        """How to cut."""
        return self.scorer.spec

    @property
    def needs(self) -> Needs:
        """What a case must have."""
        return self.about.needs

    @property
    def phases(self) -> Mapping[str, int]:
        """Contrast phases of the training cases, with the number of cases; empty in bundles of format 1."""
        return self.about.training.phases


def slices_digest(hu: npt.NDArray[np.int16]) -> str:
    """By which a bundle knows a case it was trained on: digest of its slices (N, size, size)."""
    return hashlib.sha256(np.ascontiguousarray(hu).tobytes()).hexdigest()[:16]


def save_bundle_file(scorer: Scorer, about: Mapping[str, Any], folder: Path) -> None:
    """Write bundle.json for files already written into ``folder``.

    Args:
        scorer: Gives the fields that decide an answer.
        about: The other fields of `BundleFile`, as plain values.
        folder: Of the bundle.
    """
    names = [*FILES, *(name for name in (CARD, EMBEDDING) if (folder / name).is_file())]
    content = {
        "format": FORMAT if scorer.phases or about.get("facts") or EMBEDDING in names else ONE_PHASE,
        "research_use_only": "Not a medical device.",
        "subtypes": list(scorer.subtypes),
        "positive": scorer.positive,
        "slices": scorer.spec.as_dict,
        "slices_digest": scorer.spec.digest,
        "operating_point": asdict(scorer.point),
        "not_sure_margin": scorer.not_sure_margin,
        "applicability": {name: list(limits) for name, limits in scorer.domain.limits.items()},
        **({"phases": list(scorer.phases)} if scorer.phases else {}),
        **about,
        "sha256": {name: file_digest(folder / name) for name in names},
    }
    save_json(folder / "bundle.json", content | {"digest": content_digest(content)}, checksum=False)


def open_bundle(folder: Path, threads: int = 0) -> Bundle:
    """Open a bundle, checking format, digests, fields, network, slice specification and reference slices.

    Args:
        folder: The bundle.
        threads: As in `NetworkSession`.

    Raises:
        BundleError: A file is missing, changed, too large or of a newer format, a field is missing or not allowed,
            the network is not of a kind that this program exports, or it computes something else here.
    """
    about, number = read_bundle_file(folder)
    for name, digest in about.sha256.items():
        if hashlib.sha256(_read(folder, name)).hexdigest() != digest:
            found = "another content: the file was changed or damaged"
            raise refusal(folder, f"{name} with digest {digest[:16]}", found)
    session = _within_time(folder, about, threads)
    scorer = Scorer(
        network=session,
        subtypes=about.subtypes,
        positive=about.positive,
        point=about.operating_point,
        not_sure_margin=about.not_sure_margin,
        domain=ApplicabilityDomain(limits=about.applicability),
        spec=about.slices,
        facts=about.facts,
        sets=about.sets,
        sets_with_facts=about.sets_with_facts,
        model_digest=about.sha256["model.onnx"][:16],
        phases=about.phases,
    )
    digests, embedding = frozenset(about.training.slices_digests), None
    if EMBEDDING in about.sha256:
        content = _read(folder, EMBEDDING)
        check_network(EMBEDDING, content)
        embedding = NetworkSession(folder / EMBEDDING, content, threads)
    return Bundle(scorer=scorer, about=about, format=number, trained_on=digests, embedding=embedding)


def _within_time(folder: Path, about: BundleFile, threads: int) -> NetworkSession:
    """The network, loaded and tried on the reference slice, or a refusal when that takes too long."""
    answer: Future[NetworkSession] = Future()

    def work() -> None:
        try:
            answer.set_result(_network(folder, about, threads))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(
        target=work, daemon=True
    ).start()  # one that never ends does not keep the program from ending
    try:
        return answer.result(SECONDS_TO_OPEN)
    except TimeoutError as error:
        expected = f"a network that answers within {SECONDS_TO_OPEN:g} s"
        raise refusal(folder, expected, "one that takes longer") from error


def _network(folder: Path, about: BundleFile, threads: int) -> NetworkSession:
    """Stored slices must give their stored logits on this machine too."""
    content = _read(folder, "model.onnx")
    check_network("model.onnx", content)
    session = NetworkSession(folder / "model.onnx", content, threads)
    hu, stored = _reference(folder, about)
    tried = sorted(
        {len(hu) * quarter // 4 for quarter in (1, 2, 3)}
    )  # not the first, which shows little tumor
    logits = session.logits(hu[tried])
    if logits.shape != (len(tried), len(about.subtypes)):
        expected = f"a network with {len(about.subtypes)} outputs for {', '.join(about.subtypes)}"
        raise refusal(folder, expected, f"outputs of shape {list(logits.shape)}")
    apart = float(np.abs(logits - stored[tried]).max())
    if not apart <= REFERENCE_TOLERANCE:
        raise refusal(
            folder,
            f"the reference slices to give their stored logits within {REFERENCE_TOLERANCE:g}",
            f"a difference of {apart:.2g} on this machine",
            "update onnxruntime, or report this with `nephroscope info`",
        )
    return session


def _reference(folder: Path, about: BundleFile) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32]]:
    """Stored slices (N, size, size) and logits (N, n_subtypes)."""
    try:
        stored = arrays_of_archive(folder / "reference.npz", ("hu", "logits"), MOST_BYTES["reference.npz"])
    except ArrayError as error:
        raise refusal(folder, "reference.npz with hu and logits", str(error)) from error
    hu, logits = stored["hu"], stored["logits"]
    size, n = about.slices.size_px, len(hu) if hu.ndim else 0
    if (
        hu.dtype != np.int16
        or hu.shape != (n, *([len(about.phases)] if about.phases else []), size, size)
        or n < 1
        or logits.shape != (n, len(about.subtypes))
    ):
        found = f"{hu.dtype} {list(hu.shape)} and {logits.dtype} {list(logits.shape)}"
        raise refusal(folder, f"reference slices of {size} x {size} pixels in HU with their logits", found)
    return hu, logits.astype(np.float32)


def _read(folder: Path, name: str) -> bytes:
    if not (folder / name).is_file():
        raise refusal(folder, f"the file {name}", "none", "copy the whole folder again")
    check_size(folder, name)
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        found = f"one that cannot be read ({error.strerror})"
        raise refusal(folder, f"the file {name}", found, "copy the whole folder again") from error

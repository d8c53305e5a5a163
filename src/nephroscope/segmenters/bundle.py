"""A bundle that draws: the folds' networks, how they see a CT, and what they learned from. No torch.

It is a folder like that of a bundle that tells subtypes apart, with ``"kind": "segment"`` in bundle.json. It knows
the CTs that each network learned from by digests of their planes, and lets such a CT be drawn by the other networks.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from nephroscope.base.arrays import ArrayError, arrays_of_archive
from nephroscope.base.documents import from_plain, read_object
from nephroscope.base.errors import BundleError, NephroscopeError
from nephroscope.base.files import file_digest, save_json
from nephroscope.clinic.bundle_file import KIND, SEGMENT, content_digest, refusal
from nephroscope.clinic.network_file import check_network
from nephroscope.clinic.session import NetworkSession
from nephroscope.records import CTVolume, Estimate, VolumeGeometry
from nephroscope.records.planes import PlaneSpec
from nephroscope.segmenters.planes import MULTIPLE, draw_labels, make_planes, planes_digest, with_neighbors

FORMAT = 1
MORE_OPERATORS = frozenset(("ConvTranspose",))
TOLERANCE = 1e-3  # logits; other processors round differently
MOST_BYTES, MOST_NETWORKS = 64 << 20, 100
SHOWN_DIGITS = 8
Seen = Literal["", "out-of-fold", "trained-on"]


@dataclass(frozen=True, kw_only=True)
class DrawingNetwork:
    """One of the networks.

    Attributes:
        fold: Its number.
        file: Its name in the bundle.
        known: Digests of the planes that it learned from, or that decided when it stopped.
    """

    fold: int
    file: str
    known: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DrawingBundleFile:
    """bundle.json of a bundle that draws.

    Attributes:
        name: Of its author, ``model:NAME@VERSION``; the version is the beginning of ``digest``.
        labels: What it draws, as value 1, 2, ...
        planes: How it sees a CT; ``planes_digest`` is its digest.
        networks: One a fold.
        sha256: Of every other file.
        synthetic: True where it learned from phantoms.
        n_patients, n_cts: Those it learned from or was tested on.
        evaluation: By label, figures of out-of-fold drawings.
        digest: Of all other fields.
    """

    name: str
    labels: tuple[str, ...]
    planes: PlaneSpec
    planes_digest: str
    networks: tuple[DrawingNetwork, ...]
    sha256: dict[str, str]
    synthetic: bool
    n_patients: int
    n_cts: int
    evaluation: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    nephroscope: str = ""
    made: str = ""
    digest: str = ""

    @property
    def version(self) -> str:
        """Of the author of what it draws."""
        return self.digest[:SHOWN_DIGITS]


@dataclass(frozen=True, kw_only=True)
class DrawingBundle:
    """An opened bundle that draws."""

    about: DrawingBundleFile
    sessions: tuple[NetworkSession, ...]

    def draw(self, volume: CTVolume) -> tuple[npt.NDArray[np.uint8], Seen]:
        """Labels (S, R, C), and whether networks had seen the CT.

        ``out-of-fold``: some had, and only the others drew. ``trained-on``: all had, and drew none the less.
        """
        planes = make_planes(volume, self.about.planes)
        digest = planes_digest(planes)
        pairs = [*zip(self.about.networks, self.sessions, strict=True)]
        others = [session for network, session in pairs if digest not in network.known]
        seen: Seen = "" if len(others) == len(pairs) else "out-of-fold" if others else "trained-on"
        return draw_labels(others or self.sessions, volume, self.about.planes, planes), seen


def is_drawing_bundle(folder: Path) -> bool:
    """True for the folder of a bundle that draws.

    Raises:
        BundleError: Its bundle.json is damaged.
    """
    return (
        _is_bundle(folder)
        and read_object(folder / "bundle.json", 10**6, refusal=BundleError).get(KIND) == SEGMENT
    )


def read_drawing_bundle(folder: Path) -> DrawingBundleFile:
    """bundle.json of a bundle that draws, its fields checked.

    Raises:
        BundleError: There is none, it is damaged or of a newer format, or tells subtypes apart.
    """
    if not _is_bundle(folder):
        raise refusal(folder, "a folder with bundle.json", "none", "correct the path")
    path = folder / "bundle.json"
    content = read_object(path, 10**6, refusal=BundleError)
    if content.get(KIND) != SEGMENT:
        raise refusal(
            folder,
            "a bundle that draws, of `nephroscope train STUDY --task segment`",
            "one that tells subtypes apart",
            "use it with `nephroscope predict`",
        )
    if content.get("format") != FORMAT:
        raise refusal(folder, f"format {FORMAT}", f"{content.get('format')}", "update nephroscope")
    if content.get("digest") != content_digest(content):
        raise refusal(folder, "the digest of its other fields", "another: the file was changed or damaged")
    try:
        about = from_plain(content, DrawingBundleFile, path.name, refusal=BundleError)
    except BundleError:
        raise
    except NephroscopeError as error:
        raise BundleError(
            where=f"bundle.json, {error.where}",
            expected=error.expected,
            found=error.found,
            remedy=error.remedy,
        ) from error
    if about.planes.digest != about.planes_digest:
        raise refusal(folder, f"planes made as {about.planes_digest} says", f"{about.planes.digest}")
    files = {"reference.npz", "README.md", *(network.file for network in about.networks)}
    known = {"kidney", "tumor"}
    if (
        not 1 <= len(about.networks) <= MOST_NETWORKS
        or len({network.file for network in about.networks}) < len(about.networks)
        or any(name != Path(name).name or name.startswith(".") for name in files)
        or {*about.sha256} != files
        or not about.labels
        or not {*about.labels} <= known
        or not about.name.isprintable()
    ):
        raise refusal(folder, "networks with a file each, that draw kidney or tumor", "something else")
    return about


def open_drawing_bundle(folder: Path, threads: int = 0) -> DrawingBundle:
    """Open a bundle that draws; how it makes planes and what its networks compute is compared with what is stored.

    Args:
        folder: The bundle.
        threads: As in `NetworkSession`.

    Raises:
        BundleError: A file is missing, changed or too large, a network is none of ours, or planes or logits of the
            stored CT are others here.
    """
    about = read_drawing_bundle(folder)
    contents = {name: _read(folder, name, digest) for name, digest in about.sha256.items()}
    sessions = []
    for network in about.networks:
        check_network(network.file, contents[network.file], MORE_OPERATORS)
        sessions.append(NetworkSession(folder / network.file, contents[network.file], threads))
    _compare(folder, about, sessions)
    return DrawingBundle(about=about, sessions=tuple(sessions))


def save_drawing_bundle_file(about: Mapping[str, object], folder: Path) -> None:
    """Write bundle.json next to its files, with their digests and its own."""
    names = sorted(path.name for path in folder.iterdir() if path.name != "bundle.json")
    content = {
        "format": FORMAT,
        KIND: SEGMENT,
        "research_use_only": "Not a medical device.",
        **about,
        "sha256": {name: file_digest(folder / name) for name in names},
    }
    save_json(folder / "bundle.json", content | {"digest": content_digest(content)}, checksum=False)


def save_reference(volume: CTVolume, spec: PlaneSpec, logits: npt.NDArray[np.float32], path: Path) -> None:
    """Write a CT, its planes, and each network's logits of its middle plane, (networks, labels, H, W)."""
    np.savez_compressed(
        path,
        hu=volume.hu,
        spacing_mm=np.array(volume.geometry.spacing_mm),
        planes=make_planes(volume, spec),
        logits=logits,
    )


def volume_of(hu: npt.NDArray[np.int16], spacing_mm: tuple[float, ...]) -> CTVolume:
    """A CT from its voxels and spacing alone."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *spacing_mm, 1.0
    shape = (hu.shape[0], hu.shape[1], hu.shape[2])
    return CTVolume(hu=hu, geometry=VolumeGeometry(shape=shape, affine=affine), series_uid="reference")


def middle_of(planes: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """The middle plane with its neighbors, (1, 3, H, W), cut to a size that a network takes."""
    height, width = (n // MULTIPLE * MULTIPLE for n in planes.shape[1:])
    return with_neighbors(planes[:, :height, :width], [len(planes) // 2])


def _compare(folder: Path, about: DrawingBundleFile, sessions: list[NetworkSession]) -> None:
    """Refuse where the stored CT gives other planes or logits here."""
    try:
        stored = arrays_of_archive(
            folder / "reference.npz", ("hu", "spacing_mm", "planes", "logits"), MOST_BYTES
        )
        hu, spacing_mm = stored["hu"], stored["spacing_mm"]
        if hu.dtype != np.int16 or hu.ndim != 3 or spacing_mm.shape != (3,) or not (spacing_mm > 0).all():
            raise ArrayError(f"{hu.dtype} {list(hu.shape)}")
        planes = make_planes(volume_of(hu, tuple(map(float, spacing_mm))), about.planes)
    except ArrayError as error:
        raise refusal(folder, "reference.npz with a CT, its planes and their logits", str(error)) from error
    if planes.shape != stored["planes"].shape or not np.array_equal(planes, stored["planes"]):
        raise refusal(
            folder, "planes of the stored CT as they were", "others", "update nephroscope, or export it again"
        )
    for number, session in enumerate(sessions):
        logits = session.logits(middle_of(planes))[0]
        known = stored["logits"][number] if number < len(stored["logits"]) else np.zeros(0)
        if logits.shape != known.shape or len(logits) != len(about.labels) + 1:
            raise refusal(folder, f"a network that draws {', '.join(about.labels)}", f"{list(logits.shape)}")
        if not (apart := float(np.abs(logits - known).max())) <= TOLERANCE:
            found = f"a difference of {apart:.2g} on this machine"
            raise refusal(folder, f"stored logits within {TOLERANCE:g}", found, "update onnxruntime")


def _is_bundle(folder: Path) -> bool:
    return (folder / "bundle.json").is_file()


def _read(folder: Path, name: str, digest: str) -> bytes:
    path = folder / name
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        found = "none" if not path.is_file() else "a larger one"
        raise refusal(folder, f"the file {name} of at most {MOST_BYTES >> 20} MB", found)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise refusal(
            folder, f"{name} with digest {digest[:16]}", "another content: the file was changed or damaged"
        )
    return content

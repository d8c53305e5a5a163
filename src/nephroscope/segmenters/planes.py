"""A CT as a network that draws sees it, and what it draws back on the grid of the CT. NumPy and Pillow alone.

Training, the folds' own drawings and `segment` use this same code.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from nephroscope.imaging.grid import AIR_HU
from nephroscope.records import CTVolume
from nephroscope.records.planes import PlaneSpec
from nephroscope.regions.measure import find_parts

MULTIPLE = 16  # of rows and columns that a network takes
LEAST_SHARE = 0.1  # of the largest part of a label; smaller parts are left out
Bools = npt.NDArray[np.bool_]


class Network(Protocol):
    """What gives logits (N, labels, H, W) of planes with their neighbors (N, 3, H, W) in HU."""

    def logits(self, hu: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        """Logits; the first label is the background."""


def make_planes(volume: CTVolume, spec: PlaneSpec) -> npt.NDArray[np.int16]:
    """The planes of a CT in HU, (N, H, W), in the order of its slices.

    Args:
        volume: Canonical CT.
        spec: Size of a pixel, and how far apart planes lie.
    """
    places, size = _places(volume, spec), _size(volume, spec)
    return np.stack([np.rint(_resized(volume.hu[s], size)).astype(np.int16) for s in places])


def planes_of_mask(mask: Bools, volume: CTVolume, spec: PlaneSpec) -> Bools:
    """A mask (S, R, C) on the planes of its CT: pixels of which it covers half."""
    places, size = _places(volume, spec), _size(volume, spec)
    found: Bools = np.stack(
        [_resized(mask[s], size) >= 0.5 if mask[s].any() else np.zeros(size[::-1], np.bool_) for s in places]
    )
    return found


def planes_digest(planes: npt.NDArray[np.int16]) -> str:
    """By which a bundle knows a CT that it learned from."""
    return hashlib.sha256(np.ascontiguousarray(planes).tobytes()).hexdigest()[:16]


def with_neighbors(planes: npt.NDArray[np.int16], numbers: npt.ArrayLike) -> npt.NDArray[np.int16]:
    """Some planes, each between its neighbors, (n, 3, H, W); the first and last are their own neighbors."""
    middle = np.asarray(numbers, dtype=np.intp)
    around = np.clip(middle[:, None] + np.array([-1, 0, 1]), 0, len(planes) - 1)
    return np.asarray(planes[around])


def padded(planes: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Planes (..., H, W) with air below and to the right, so that a network takes their size."""
    missing = [-n % MULTIPLE for n in planes.shape[-2:]]
    pads = [(0, 0)] * (planes.ndim - 2) + [(0, n) for n in missing]
    return np.pad(planes, pads, constant_values=AIR_HU)


def label_shares(networks: Sequence[Network], planes: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Mean probability of each label at each pixel, (N, labels, H, W).

    Args:
        networks: One or several; their probabilities are averaged.
        planes: (N, H, W) in HU.
    """
    n, height, width = planes.shape
    seen, total = padded(planes), None
    for network in networks:
        parts = [
            network.logits(with_neighbors(seen, np.arange(i, min(i + 8, n))))[..., :height, :width]
            for i in range(0, n, 8)
        ]
        shares = _softmax(np.concatenate(parts))
        total = shares if total is None else total + shares
    if total is None:
        raise ValueError("no network")
    return total / np.float32(len(networks))


def draw_labels(
    networks: Sequence[Network],
    volume: CTVolume,
    spec: PlaneSpec,
    planes: npt.NDArray[np.int16] | None = None,
) -> npt.NDArray[np.uint8]:
    """What networks draw on a CT: the number of its label at each voxel (S, R, C), 0 for none.

    Between planes, probabilities go over from one to the next. Parts much smaller than the largest of a label are
    left out.

    Args:
        networks: Their probabilities are averaged.
        volume: Canonical CT.
        spec: How they see it.
        planes: Of `make_planes`, where they are known.
    """
    planes = make_planes(volume, spec) if planes is None else planes
    shares = label_shares(networks, planes)
    places = np.asarray(_places(volume, spec), dtype=np.float64)
    n_slices, n_rows, n_cols = volume.hu.shape
    labels = np.zeros((n_slices, n_rows, n_cols), np.uint8)
    for s in range(n_slices):
        at = float(np.interp(s, places, np.arange(len(places))))
        low = int(at)
        high, share = min(low + 1, len(places) - 1), np.float32(at - low)
        here = shares[low] * (1 - share) + shares[high] * share
        if float(here[1:].max()) * len(here) >= 1:  # somewhere a label may be the likeliest
            large = np.stack([_resized(one, (n_cols, n_rows)) for one in here])
            labels[s] = large.argmax(axis=0)
    for label in range(1, shares.shape[1]):
        labels[(labels == label) & ~_large_parts(labels == label)] = 0
    return labels


def _large_parts(mask: Bools) -> Bools:
    """The parts of a mask that are at least a tenth of its largest."""
    if not mask.any():
        return mask
    parts = find_parts(mask)
    return parts.mask(parts.sizes >= LEAST_SHARE * parts.sizes.max())


def _places(volume: CTVolume, spec: PlaneSpec) -> list[int]:
    """The slices of a CT that become planes."""
    step = max(round(spec.step_mm / volume.geometry.spacing_mm[0]), 1)
    return [*range(0, volume.hu.shape[0], step)]


def _size(volume: CTVolume, spec: PlaneSpec) -> tuple[int, int]:
    """Columns and rows of a plane."""
    _, row_mm, col_mm = volume.geometry.spacing_mm
    _, n_rows, n_cols = volume.hu.shape
    return max(round(n_cols * col_mm / spec.mm_per_px), 1), max(round(n_rows * row_mm / spec.mm_per_px), 1)


def _resized(values: npt.NDArray[np.generic], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """A plane in another size (columns, rows): a mean over what a pixel covers, or linear between pixels."""
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR))


def _softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return shares

"""Patches of planes for a network that draws: half of them on what is to be learned, half anywhere else."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nephroscope.imaging.grid import AIR_HU
from nephroscope.segmenters.planes import with_neighbors

AWAY = 0.25  # of a patch, that its middle lies at most from a pixel of what is learned
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class DrawnPlanes:
    """The planes of one CT: HU and labels (N, H, W), 0 for the background; ``patient`` numbers its patient."""

    hu: npt.NDArray[np.int16]
    labels: npt.NDArray[np.uint8]
    patient: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Patches:
    """Places on the planes of some CTs where a patch may lie.

    A place is (CT, plane, row, column) of its middle. ``rows`` numbers the planes that show the last label, and as
    many others, which are what is measured and exported with.
    """

    cts: tuple[DrawnPlanes, ...]
    n_labels: int
    size_px: int

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _planes(self) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """CT and plane of every plane (n, 2), and which labels it shows (n, labels)."""
        at = [(number, plane) for number, ct in enumerate(self.cts) for plane in range(len(ct.hu))]
        shown = [
            [(plane == label).any() for label in range(1, self.n_labels)]
            for ct in self.cts
            for plane in ct.labels
        ]
        return np.array(at, dtype=np.int64), np.array(shown, dtype=np.bool_)

    @cached_property
    def rows(self) -> Ints:
        """Numbers of planes: all that show the last label, and as many others evenly over the CTs."""
        wanted = self._planes[1][:, -1]
        others = np.flatnonzero(~wanted)
        step = max(len(others) // max(int(wanted.sum()), 1), 1)
        return np.sort(np.concatenate([np.flatnonzero(wanted), others[::step][: int(wanted.sum())]]))

    @property
    def labels(self) -> Ints:
        """For the digest of a task: voxels of each label of each CT, flattened."""
        counts = [np.bincount(ct.labels.ravel(), minlength=self.n_labels) for ct in self.cts]
        return np.concatenate(counts).astype(np.int64)

    def draw(self, per_ct: int, rng: np.random.Generator) -> Ints:
        """Places of an epoch (n, 4) in any order: of each CT half on what is learned, half on other planes.

        Of each CT as many lie on what is learned, its planes taken again where there are fewer: a small tumor counts
        as much as a large one.

        Args:
            per_ct: Of each CT at most; 0: as many as show the last label in the mean of the CTs, and as many others.
            rng: Chance of the epoch.
        """
        at, shown = self._planes
        n = per_ct - per_ct // 2 if per_ct else round(float(shown[:, -1].sum()) / len(self.cts))
        places = []
        for number, ct in enumerate(self.cts):
            own = np.flatnonzero(at[:, 0] == number)
            with_it, without = own[shown[own, -1]], own[~shown[own, -1]]
            rounds = -(-n // len(with_it)) if len(with_it) else 0
            chosen = [row for _ in range(rounds) for row in rng.permutation(with_it)][:n]
            places += [self._on(number, ct, int(at[row, 1]), self.n_labels - 1, rng) for row in chosen]
            for row in rng.permutation(without)[: per_ct - n if per_ct else n]:
                labels = np.flatnonzero(shown[row]) + 1
                label = int(rng.choice(labels)) if len(labels) else 0
                places.append(self._on(number, ct, int(at[row, 1]), label, rng))
        return rng.permutation(np.array(places, dtype=np.int64).reshape(-1, 4))

    def _on(
        self, number: int, ct: DrawnPlanes, plane: int, label: int, rng: np.random.Generator
    ) -> list[int]:
        """A place near a pixel of a label; of the background, anywhere on the plane."""
        if label:
            pixels = np.argwhere(ct.labels[plane] == label)
            reach = int(AWAY * self.size_px)
            middle = pixels[rng.integers(len(pixels))] + rng.integers(-reach, reach + 1, 2)
        else:
            middle = rng.integers(0, ct.hu.shape[1:])
        return [number, plane, int(middle[0]), int(middle[1])]

    def load(self, chosen: Ints, device: torch.device) -> tuple[Tensor, Tensor]:
        """HU (N, 3, size, size) and labels (N, size, size) of places (N, 4), or of planes by their numbers (N,)."""
        places = chosen if chosen.ndim == 2 else self._middles(self.rows[chosen])
        found = [self._patch(place) for place in places.tolist()]
        hu = torch.from_numpy(np.stack([one for one, _ in found]))
        labels = torch.from_numpy(np.stack([two for _, two in found]))
        return hu.to(device).float(), labels.to(device)

    def shown(self, rows: Ints) -> npt.NDArray[np.int16]:
        """HU (n, 3, size, size) of planes by their numbers."""
        return np.stack([self._patch(place)[0] for place in self._middles(rows).tolist()])

    def _middles(self, numbers: Ints) -> Ints:
        """A place on each of some planes: in the middle of what is drawn there, else of the plane."""
        at = self._planes[0][numbers]
        middles = []
        for ct, plane in at.tolist():
            labels = self.cts[ct].labels[plane]
            drawn = np.argwhere(labels > 0)
            middles.append(drawn.mean(axis=0) if len(drawn) else np.array(labels.shape) / 2)
        return np.concatenate([at, np.rint(np.array(middles)).astype(np.int64)], axis=1)

    def _patch(self, place: Sequence[int]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
        """HU (3, size, size) and labels (size, size) at a place, moved into the plane; air where it is smaller."""
        ct, size = self.cts[place[0]], self.size_px
        around = with_neighbors(ct.hu, [place[1]])[0]
        first = [
            min(max(middle - size // 2, 0), max(n - size, 0))
            for middle, n in zip(place[2:], around.shape[1:], strict=True)
        ]
        part = (slice(first[0], first[0] + size), slice(first[1], first[1] + size))
        hu = np.full((len(around), size, size), AIR_HU, np.int16)
        labels = np.zeros((size, size), np.int64)
        seen, drawn = around[:, part[0], part[1]], ct.labels[place[1]][part]
        hu[:, : seen.shape[1], : seen.shape[2]] = seen
        labels[: drawn.shape[0], : drawn.shape[1]] = drawn
        return hu, labels

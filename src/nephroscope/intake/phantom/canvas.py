"""A canvas to paint an abdomen on, and a scanner that adds blur and correlated noise."""

from copy import copy
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Vector = tuple[float, float, float]
Box = tuple[slice, slice, slice]
UPRIGHT = np.eye(3)
FOREVER = 1e6  # half axis along z of a solid that passes through the whole scan, mm


@dataclass(frozen=True, eq=False, kw_only=True)
class Solid:
    """An ellipsoid: center and half axes in mm, and a rotation whose rows are its axes in (x, y, z)."""

    center: Vector
    axes: Vector
    rotation: npt.NDArray[np.float64] = field(default_factory=lambda: UPRIGHT)

    def grown(self, mm: float) -> "Solid":
        """The same solid with all half axes longer by ``mm``, except those that pass through the scan."""
        a, b, c = self.axes
        longer = (a + mm, b + mm, c if c >= FOREVER else c + mm)
        return Solid(center=self.center, axes=longer, rotation=self.rotation)

    def at(self, place: npt.ArrayLike) -> Vector:
        """The point whose coordinates along the solid's own axes are ``place``, in units of the half axes."""
        x, y, z = self.rotation.T @ (np.asarray(place) * self.axes) + self.center
        return float(x), float(y), float(z)


class Canvas:
    """An abdomen to paint on: ``hu`` float32 (S, R, C); x, y, z are voxel centers in mm.

    x runs to the patient's left, y to the back, z to the head; (0, 0, 0) is the middle of the volume.
    """

    def __init__(self, shape: tuple[int, int, int], spacing_mm: Vector) -> None:
        self.hu: Floats = np.full(shape, -1000, np.float32)
        self.spacing_mm = spacing_mm
        self.z, self.y, self.x = (
            ((np.arange(n) - (n - 1) / 2) * step).astype(np.float32)
            for n, step in zip(shape, spacing_mm, strict=True)
        )

    def moved(self, mm: Vector) -> "Canvas":
        """The same canvas, on which everything that is painted lies further along x, y and z by so many mm."""
        same = copy(self)
        for name, by in zip("xyz", mm, strict=True):
            setattr(same, name, (getattr(self, name) - by).astype(np.float32))
        return same

    def box(self, solid: Solid) -> Box:
        """The voxels (S, R, C) that the solid may touch; a single slice if it passes through all of them."""
        reach = np.sqrt((solid.rotation.T**2) @ np.square(solid.axes))  # half extent along x, y, z
        box = []
        for i, (centers, step) in enumerate(zip((self.z, self.y, self.x), self.spacing_mm, strict=True)):
            middle, half = solid.center[2 - i], reach[2 - i] + step
            low, high = np.searchsorted(centers, [middle - half, middle + half])
            box.append(slice(int(low), int(high)))
        return slice(0, 1) if solid.axes[2] >= FOREVER else box[0], box[1], box[2]

    def local(self, solid: Solid, box: Box) -> list[Floats]:
        """Coordinates of the voxels of ``box`` along the solid's own axes, mm from its center."""
        z = self.z[box[0]][:, None, None] - np.float32(solid.center[2])
        y = self.y[box[1]][None, :, None] - np.float32(solid.center[1])
        x = self.x[box[2]][None, None, :] - np.float32(solid.center[0])
        return [row[0] * x + row[1] * y + row[2] * z for row in solid.rotation.astype(np.float32)]

    def level(self, solid: Solid, box: Box) -> tuple[Floats, Floats]:
        """A function that is 0 on the surface and negative inside, and how much it changes across a voxel."""
        turn = solid.rotation
        form = (turn.T @ (turn / np.square(solid.axes)[:, None])).astype(
            np.float32
        )  # |form x| is half the slope
        middle = np.asarray(solid.center, np.float32)
        x = self.x[box[2]] - middle[0]
        y = (self.y[box[1]] - middle[1])[:, None]
        z = (self.z[box[0]] - middle[2])[:, None, None]
        level, width = np.float32(-1), np.float32(0)
        for row, along, voxel in zip(form, (x, y, z), self.spacing_mm[::-1], strict=True):
            slope = row[0] * x + row[1] * y + row[2] * z
            level = level + along * slope
            width = width + np.abs(slope) * np.float32(2 * voxel)
        return np.asarray(level, np.float32), np.maximum(width, np.float32(1e-6))

    def coverage(self, solid: Solid, box: Box) -> Floats:
        """Share of each voxel of ``box`` inside the solid, to first order at the edge."""
        level, width = self.level(solid, box)
        return edge(level, width)

    def paint(self, solid: Solid, hu: float | Floats, within: Floats | None = None) -> None:
        """Fill the solid with ``hu``; ``within`` (1, R, C), a coverage, cuts it off."""
        box = self.box(solid)
        covered = self.coverage(solid, box)
        if within is not None:
            covered = covered * within[:, box[1], box[2]]
        place = self.hu[:, box[1], box[2]] if solid.axes[2] >= FOREVER else self.hu[box]
        blend(place, covered, hu)

    def waves(self, box: Box, scale_mm: float, rng: np.random.Generator, n_waves: int = 24) -> Floats:
        """A smooth random field with mean 0 and SD 1 on the voxels of ``box``; it does not depend on the grid.

        Args:
            box: Voxels (S, R, C).
            scale_mm: Typical distance between neighbouring maxima.
            rng: Random numbers for directions, lengths and phases of plane waves.
            n_waves: Number of plane waves.
        """
        direction = rng.normal(size=(n_waves, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        length_mm = scale_mm * rng.uniform(0.7, 1.4, size=n_waves)
        k = (2 * np.pi * direction / length_mm[:, None]).astype(np.float32)
        shift = rng.uniform(0, 2 * np.pi, size=n_waves).astype(np.float32)
        x, y, z = self.x[box[2]], self.y[box[1]], self.z[box[0]]
        across = x[:, None] * k[:, 0]  # (C, n)
        along = (z[:, None] * k[:, 2] + shift)[:, None, :] + y[:, None] * k[:, 1]  # (S, R, n)
        # cos(a + b) summed over the waves is one matrix product.
        rows = np.concatenate([np.cos(along), -np.sin(along)], axis=-1)
        columns = np.concatenate([np.cos(across), np.sin(across)], axis=-1)
        summed: Floats = np.float32(np.sqrt(2 / n_waves)) * (rows @ columns.T)
        return summed


def edge(level: Floats, width: Floats) -> Floats:
    """Share of a voxel with ``level`` below 0, from its change across the voxel."""
    covered: Floats = np.clip(0.5 - level / width, 0, 1)
    return covered


def blend(place: Floats, covered: Floats, hu: float | Floats) -> None:
    """Move the voxels of ``place``, a view, towards ``hu`` by the share covered."""
    change = np.asarray(hu, np.float32) - place
    change *= covered
    place += change


def turned(degrees: float, tilt: float = 0.0) -> npt.NDArray[np.float64]:
    """Rotation whose first axis points ``degrees`` from +x towards +y, leaning by ``tilt`` towards +z."""
    a, t = np.radians([degrees, tilt])
    spin = np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])
    lean = np.array([[np.cos(t), 0, np.sin(t)], [0, 1, 0], [-np.sin(t), 0, np.cos(t)]])
    rotation: npt.NDArray[np.float64] = lean @ spin
    return rotation


def scan(
    hu: Floats, pixel_mm: float, cutoff_per_mm: float, noise_hu: float, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """The image of an ideal abdomen, instead of a reconstruction.

    Args:
        hu: Ideal attenuation, (S, R, C).
        pixel_mm: Spacing of rows and columns.
        cutoff_per_mm: Frequency at which the kernel's transfer falls to 1/e, cycles/mm.
        noise_hu: Standard deviation of the noise.
        rng: Random numbers.

    Returns:
        HU as int16 (S, R, C), not below -1024.

    Source:
        Filtered back projection's noise power rises with frequency and falls with the square of the
        kernel's transfer (Riederer, Pelc, Chesler. Phys Med Biol 1978;23:446).
    """
    n_rows, n_columns = hu.shape[1:]
    frequency = np.hypot(
        np.fft.fftfreq(n_rows, pixel_mm)[:, None], np.fft.rfftfreq(n_columns, pixel_mm)[None, :]
    )
    transfer = np.exp(-np.square(frequency / cutoff_per_mm)).astype(np.float32)
    # The lowest frequencies keep some power, as beam hardening and scatter leave in real scans.
    ramp = np.sqrt(frequency + 0.02 * frequency.max()).astype(np.float32)
    full = np.hypot(np.fft.fftfreq(n_rows, pixel_mm)[:, None], np.fft.fftfreq(n_columns, pixel_mm)[None, :])
    power = (full + 0.02 * frequency.max()) * np.exp(-2 * np.square(full / cutoff_per_mm))
    gain = np.float32(noise_hu / np.sqrt(power.mean()))
    ramp *= gain * transfer
    scanned = np.empty(hu.shape, np.int16)
    for s, ideal in enumerate(hu):
        white = rng.standard_normal(ideal.shape, dtype=np.float32)
        spectrum = np.fft.rfft2(ideal) * transfer
        spectrum += np.fft.rfft2(white) * ramp
        image = np.fft.irfft2(spectrum, s=ideal.shape)
        scanned[s] = np.clip(np.rint(image, out=image), -1024, 3071, out=image)
    return scanned

"""Program: a CT as NIfTI -> kidney and tumor, by the 3D U-Net of MLCommons, trained on KiTS19; ONNX Runtime alone.

Run as ``python -m nephroscope.segmenters.kits19_unet IMAGE OUTPUT WEIGHTS``. Any network does that takes
(1, 1, 128, 128, 128) and gives (1, 3, 128, 128, 128): background, kidney, tumor.

Source: mlcommons/inference, vision/medical_imaging/3d-unet-kits19: voxels of 1.6 x 1.2 x 1.2 mm by linear
interpolation, slices from head to feet as in KiTS; HU from -79 to 304, minus 101, divided by 76.9; windows of 128
that overlap by half, weighted by a Gaussian of an eighth of their width, and divided by the sum of the weights;
a CT smaller than a window goes on with its outermost voxels. Other than there nothing is cut off at the edges: what
is missing to whole windows is added.
"""

import json
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nephroscope.base.files import file_digest
from nephroscope.imaging.masks.write import write_labels
from nephroscope.imaging.nifti import read_nifti

Floats = npt.NDArray[np.float32]
SPACING_MM = (1.6, 1.2, 1.2)
LOW_HU, HIGH_HU, MEAN_HU, DEVIATION_HU, OUTSIDE = -79.0, 304.0, 101.0, 76.9, -2.2
WINDOW, STRIDE = 128, 64
SIGMA = WINDOW / 8
LABELS = {1: "kidney", 2: "tumor"}


def main(image: Path, output: Path, weights: Path) -> None:
    """Draw, and write the label map with its JSON."""
    begun = time.monotonic()
    volume = read_nifti(image)
    labels = segment(volume.hu, volume.geometry.spacing_mm, load_network(weights))
    write_labels(labels, volume.geometry, output)
    says = {
        "tool": "kits19-unet",
        "version": file_digest(weights)[:8],
        "weights": file_digest(weights),
        "labels": {name: value for value, name in LABELS.items()},
        "seconds": round(time.monotonic() - begun, 1),
    }
    output.with_name(output.name.removesuffix(".gz").removesuffix(".nii") + ".json").write_text(
        json.dumps(says), encoding="utf-8"
    )


def load_network(weights: Path) -> Any:
    """The network, in ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])


def segment(
    hu: npt.NDArray[np.int16], spacing_mm: tuple[float, float, float], network: Any
) -> npt.NDArray[np.uint8]:
    """Labels (S, R, C): 0, 1 kidney, 2 tumor.

    Args:
        hu: Canonical CT (S, R, C).
        spacing_mm: Of it.
        network: From `load_network`.
    """
    shape = tuple(
        max(round(n * mm / wanted), 1) for n, mm, wanted in zip(hu.shape, spacing_mm, SPACING_MM, strict=True)
    )
    resampled = resized(hu[::-1].astype(np.float32), shape)
    scaled = (np.clip(resampled, LOW_HU, HIGH_HU) - MEAN_HU) / DEVIATION_HU
    scores = windows(scaled.astype(np.float32), network)
    whole = [resized(one, hu.shape) for one in scores]
    labels: npt.NDArray[np.uint8] = np.argmax(whole, axis=0).astype(np.uint8)[::-1]
    return np.ascontiguousarray(labels)


def resized(values: Floats, shape: tuple[int, ...]) -> Floats:
    """An array in another size by linear interpolation along each axis; its first and last voxels stay so."""
    for axis, n in enumerate(shape):
        at = np.linspace(0, values.shape[axis] - 1, n) if n > 1 else np.array([(values.shape[axis] - 1) / 2])
        low = np.floor(at).astype(np.intp)
        high = np.minimum(low + 1, values.shape[axis] - 1)
        share = (at - low).astype(np.float32).reshape([-1 if own == axis else 1 for own in range(3)])
        values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return values


def windows(scaled: Floats, network: Any) -> Floats:
    """Mean scores (3, S, R, C) of overlapping windows, each weighted most in its middle."""
    small = [max(WINDOW - n, 0) for n in scaled.shape]
    missing = [few or -(n - WINDOW) % STRIDE for few, n in zip(small, scaled.shape, strict=True)]
    before = [n // 2 for n in missing]
    pads = [(first, n - first) for first, n in zip(before, missing, strict=True)]
    padded = np.pad(scaled, [pad if few else (0, 0) for pad, few in zip(pads, small, strict=True)], "edge")
    padded = np.pad(
        padded,
        [(0, 0) if few else pad for pad, few in zip(pads, small, strict=True)],
        constant_values=OUTSIDE,
    )
    scores = np.zeros((len(LABELS) + 1, *padded.shape), np.float32)
    weights = np.zeros(padded.shape, np.float32)
    line = np.exp(-(((np.arange(WINDOW) - (WINDOW - 1) / 2) / SIGMA) ** 2) / 2)
    weight = np.cbrt(line[:, None, None] * line[:, None] * line).astype(np.float32)
    name = network.get_inputs()[0].name
    for place in product(*[range(0, n - WINDOW + 1, STRIDE) for n in padded.shape]):
        at = tuple(slice(first, first + WINDOW) for first in place)
        found = network.run(None, {name: padded[at][None, None]})[0][0]
        scores[(slice(None), *at)] += found * weight
        weights[at] += weight
    inner = tuple(slice(first, first + n) for first, n in zip(before, scaled.shape, strict=True))
    # Before they are resampled: weights differ from voxel to voxel.
    return np.divide(scores[(slice(None), *inner)], weights[inner], dtype=np.float32)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))

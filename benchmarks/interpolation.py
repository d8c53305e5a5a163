"""Dice of interpolation between drawn slices, and of the ellipsoid in a box, on real tumors; prints one JSON object.

Example: python benchmarks/interpolation.py FOLDER, with FOLDER/*/segmentation.nii.gz of KiTS (2 is tumor). Drawn are
N slices at even distances, the first and the last of the tumor among them, exactly as in the file.
"""

import json
import sys
from pathlib import Path

import numpy as np

from nephroscope.imaging.grid import canonical
from nephroscope.imaging.nifti import read_stored
from nephroscope.regions.interpolation import interpolate
from nephroscope.workstation.drawing.operations import ellipsoid, largest_part

TUMOR = 2


def dice(one, two):
    """Of two masks."""
    return 2 * np.count_nonzero(one & two) / (np.count_nonzero(one) + np.count_nonzero(two))


def main(folder):
    """Measure all tumors of a folder."""
    found = {"5": [], "3": [], "box": []}
    for path in sorted(folder.glob("*/segmentation.nii.gz")):
        stored = read_stored(path)
        labels, geometry = canonical(stored.values, stored.affine)
        spans = [np.flatnonzero((labels == TUMOR).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        window = tuple(slice(max(own[0] - 4, 0), own[-1] + 5) for own in spans)
        tumor = largest_part(labels[window] == TUMOR)
        slices = np.flatnonzero(tumor.any(axis=(1, 2)))
        for n in (5, 3):
            keys = np.unique(np.linspace(slices[0], slices[-1], n).round().astype(int)).tolist()
            made = interpolate({key: tumor[key] for key in keys}, geometry.spacing_mm[1:])
            whole = np.zeros_like(tumor)
            for index in range(len(tumor)):
                whole[index] = made.get(index, tumor[index] if index in keys else False)
            found[str(n)].append(dice(whole, tumor))
        ends = [np.flatnonzero(tumor.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        found["box"].append(dice(ellipsoid(tumor.shape, tuple((int(e[0]), int(e[-1])) for e in ends)), tumor))
    figures = {
        name: {"mean_dice": round(float(np.mean(values)), 4), "least_dice": round(float(min(values)), 4)}
        for name, values in found.items()
    }
    print(json.dumps({"tumors": len(found["5"]), **figures}, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

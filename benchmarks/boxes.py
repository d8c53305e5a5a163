"""Dice of what a box around a tumor proposes, with boxes drawn badly: the ellipse in it, and a graph cut beside it.

Example: python benchmarks/boxes.py SLICES VOLUMES, with SLICES/{images,masks}/*.png of KiTS19 (2 is tumor, gray is HU
from 0 to 255) and VOLUMES/*/segmentation.nii.gz of KiTS23. Each side of a box is moved by a share of the side, not
past the middle: evenly distributed up to 10 or 20 % ("even"), or normally with that as its deviation ("normal", which
is more: one side in three is then off by more than 10 %). Each box is drawn five times. A box that no longer meets
its tumor counts with a Dice of 0. Milliseconds are of the processor. Prints one JSON object.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from nephroscope.imaging.grid import canonical
from nephroscope.imaging.nifti import read_stored
from nephroscope.regions.graph_cut import fit_outline
from nephroscope.workstation.drawing.operations import ellipsoid, largest_part

TUMOR, TIMES = 2, 5
EXACT = ("exact", 0.0)
JITTERS = (EXACT, *((kind, share) for kind in ("even", "normal") for share in (0.1, 0.2)))


def dice(one, two):
    """Of two masks; 0 where they do not meet."""
    return 2 * np.count_nonzero(one & two) / (np.count_nonzero(one) + np.count_nonzero(two))


def box_of(mask):
    """First and last index along each axis."""
    axes = range(mask.ndim)
    spans = [np.flatnonzero(mask.any(axis=tuple(a for a in axes if a != axis))) for axis in axes]
    return [(int(span[0]), int(span[-1])) for span in spans]


def jittered(box, shape, jitter, rng):
    """The box with each side moved; at least one voxel is left of it."""
    found, (kind, share) = [], jitter
    for (first, last), n in zip(box, shape, strict=True):
        off = rng.uniform(-share, share, 2) if kind == "even" else rng.normal(0, share, 2)
        moves = np.clip(off, -0.49, 0.49) * (last - first + 1)
        low = int(np.clip(round(first + moves[0]), 0, n - 1))
        found.append((low, int(np.clip(round(last + moves[1]), low, n - 1))))
    return found


def in_slices(folder):
    """Dice by jitter of the ellipse and of the graph cut on single slices."""
    rng = np.random.default_rng(0)
    found = {}
    names = sorted(path.name for path in (folder / "masks").glob("*.png"))
    for jitter in JITTERS:
        rows, ms = {"ellipse": [], "graph_cut": []}, []
        for name in names:
            gray = np.asarray(Image.open(folder / "images" / name).convert("L"))
            tumor = np.asarray(Image.open(folder / "masks" / name)) == TUMOR
            if not tumor.any():
                continue  # only kidney is drawn on it
            for _ in range(1 if jitter == EXACT else TIMES):
                spans = jittered(box_of(tumor), tumor.shape, jitter, rng)
                inside = ellipsoid((1, *tumor.shape), ((0, 0), *spans))[0]
                rows["ellipse"].append(dice(inside, tumor))
                start = time.process_time()
                fitted = fit_outline(gray.astype(np.int16), inside)
                ms.append(1000 * (time.process_time() - start))
                rows["graph_cut"].append(dice(fitted, tumor))
        found[named(jitter)] = {method: figures(values) for method, values in rows.items()}
        found[named(jitter)]["graph_cut"] |= {
            "median_ms": round(np.median(ms)),
            "p95_ms": round(np.quantile(ms, 0.95)),
        }
    return {"slices": len(names), "jitter": found}


def in_volumes(folder):
    """Dice by jitter of the ellipsoid on whole tumors; there is no CT for a graph cut."""
    rng = np.random.default_rng(0)
    values = {jitter: [] for jitter in JITTERS}
    paths = sorted(folder.glob("*/segmentation.nii.gz"))
    for path in paths:
        stored = read_stored(path)
        labels, _ = canonical(stored.values, stored.affine)
        spans = box_of(labels == TUMOR)
        window = tuple(slice(max(first - 40, 0), last + 41) for first, last in spans)
        tumor = largest_part(labels[window] == TUMOR)
        for jitter in JITTERS:
            for _ in range(1 if jitter == EXACT else TIMES):
                box = jittered(box_of(tumor), tumor.shape, jitter, rng)
                values[jitter].append(dice(ellipsoid(tumor.shape, tuple(box)), tumor))
    return {"tumors": len(paths), "jitter": {named(j): {"ellipse": figures(v)} for j, v in values.items()}}


def named(jitter):
    """Such as "even 0.1"."""
    return "exact" if jitter == EXACT else f"{jitter[0]} {jitter[1]:g}"


def figures(values):
    """Mean, and the least, of Dice; misses are among them as 0."""
    return {"mean_dice": round(float(np.mean(values)), 4), "least_dice": round(float(min(values)), 4)}


if __name__ == "__main__":
    print(
        json.dumps(
            {"slices": in_slices(Path(sys.argv[1])), "volumes": in_volumes(Path(sys.argv[2]))}, indent=1
        )
    )

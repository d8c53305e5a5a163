"""How far an ROI lies from its true place after `rois transfer`, on pairs made from one real CT by known motions.

A real CT with masks of its organs is given the HU of two contrast phases, and the second phase is moved: as a whole
or only what lies around the kidney, by a shift and a turn of up to 3 degrees. Pairs to be refused are made too:
stretched by 5 and 10 %, mirrored, turned over, and noise. The lowest slice of the CT cuts both kidneys. Prints one
JSON object; "why" counts what `rois transfer` said of the pairs.

    python benchmarks/transfers.py --pairs 20 --kinds "as a whole" "organs alone" --data ../shared/data
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from nephroscope.imaging.grid import canonical
from nephroscope.imaging.nifti import read_stored
from nephroscope.imaging.read import read_ct
from nephroscope.records import CTVolume, RoiMask, VolumeGeometry
from nephroscope.regions.transfer import transfer_roi

ORGANS = {  # HU in corticomedullary, nephrographic and excretory phase. round numbers, SYNTHETIC
    "kidney": (160, 180, 140),
    "liver": (75, 115, 100),
    "spleen": (130, 120, 100),
    "aorta": (300, 160, 120),
    "inferior_vena_cava": (110, 160, 120),
    "pancreas": (100, 95, 80),
    "portal_vein_and_splenic_vein": (150, 165, 120),
}
TUMOR = {"bright": (110, 90, 70), "dark": (55, 70, 65)}
NOISE_HU = 12.0
LOWEST = 48  # slices of the CT that are used; the masks end at the 30th


def mask_of(path, n_slices):
    """A mask on the grid of the CT; the files hold its lowest slices alone."""
    stored = read_stored(path)
    mask = canonical(stored.values, stored.affine)[0] > 0
    return np.pad(mask, ((0, n_slices - len(mask)), (0, 0), (0, 0)))


def organs_of(folder, n_slices):
    """Masks by organ on the grid of the CT; kidneys left and right too."""
    found = {}
    for name in (*[one for one in ORGANS if one != "kidney"], "kidney_left", "kidney_right"):
        parts = sorted(folder.glob(f"{name}*.nii.gz"))
        masks = [mask for part in parts if (mask := mask_of(part, n_slices)).any()]
        if masks:
            found[name] = np.logical_or.reduce(masks)
    return found


def tumor_of(kidney, spacing, rng):
    """A ball of 10 to 20 mm radius that bulges out of a kidney."""
    edge = np.argwhere(kidney & ~ndimage.binary_erosion(kidney))
    center = edge[rng.integers(len(edge))]
    radius = rng.uniform(10, 20)
    at = np.indices(kidney.shape).reshape(3, -1).T
    return (np.linalg.norm((at - center) * spacing, axis=1) < radius).reshape(kidney.shape)


def enhanced(hu, organs, tumor, phase, kind):
    """The CT with the mean HU of each organ, and of the tumor, in a phase."""
    made = hu.astype(np.float64)
    for name, values in ORGANS.items():
        if name in organs:
            mask = organs[name]
            soft = mask & (made > -20) & (made < 200)
            weight = ndimage.gaussian_filter(mask.astype(float), 0.5)
            made += weight * (values[phase] - np.median(made[soft])) * (made > -60)
    weight = ndimage.gaussian_filter(tumor.astype(float), 0.5)
    return made * (1 - weight) + weight * TUMOR[kind][phase]


def moved(array, matrix, order, weight=None, fill=-1000.0):
    """An array as it looks after a motion of voxels, whole or where ``weight`` says."""
    back = np.linalg.inv(matrix)
    at = np.indices(array.shape).reshape(3, -1)
    source = back[:3, :3] @ at + back[:3, 3:]
    if weight is not None:
        source = at + (source - at) * weight.ravel()
    found = ndimage.map_coordinates(array, source, order=order, mode="constant", cval=fill)
    return found.reshape(array.shape)


def motion(center, spacing, rng, shift_mm, degrees, stretch=1.0):
    """4x4 in voxels: a turn and stretch about a center, and a shift of some mm."""
    turn = Rotation.from_rotvec(np.radians(degrees) * rng.normal(size=3) / np.sqrt(3)).as_matrix()
    linear = turn @ np.diag(np.broadcast_to(stretch, 3))
    scale = np.diag(spacing)
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.inv(scale) @ linear @ scale
    matrix[:3, 3] = center + np.asarray(shift_mm) / spacing - matrix[:3, :3] @ center
    return matrix


def pair(base, rng, how):
    """Both CTs, the ROI, both kidneys, and the true motion in voxels; None for what has no true motion."""
    hu, organs, geometry = base
    spacing = np.array(geometry.spacing_mm)
    side = ("kidney_left", "kidney_right")[rng.integers(2)]
    kidney = organs[side]
    tumor = tumor_of(kidney, spacing, rng)
    kind = ("bright", "dark")[rng.integers(2)]
    one, two = rng.choice(3, 2, replace=False)
    first = enhanced(hu, organs, tumor, one, kind)
    second = enhanced(hu, organs, tumor, two, kind)
    center = np.argwhere(kidney).mean(axis=0)
    shift = rng.normal(0, (8, 3, 2))
    stretch = {"stretched 5 %": 1.05, "stretched 10 %": 1.10, "along the body 10 %": (1.1, 1.0, 1.0)}
    matrix = motion(center, spacing, rng, shift, rng.uniform(0, 3), stretch.get(how, 1.0))
    weight = None
    if how == "organs alone":
        near = ndimage.distance_transform_edt(~(kidney | tumor), spacing)
        weight = np.clip(1 - (near - 12) / 25, 0, 1)
    if how == "mirrored":
        second, kidney_there = second[:, :, ::-1], organs["kidney"][:, :, ::-1]
    elif how == "upside down":
        second, kidney_there = second[::-1], organs["kidney"][::-1]
    elif how == "noise":
        second, kidney_there = rng.normal(40, 60, hu.shape), organs["kidney"]
    else:
        second = moved(second, matrix, 3, weight)
        kidney_there = moved(organs["kidney"].astype(float), matrix, 1, weight, 0.0) > 0.5
    volumes = []
    for number, array in enumerate((first, second)):
        noisy = np.clip(array + rng.normal(0, NOISE_HU, hu.shape), -1024, 3000)
        volumes.append(CTVolume(hu=noisy.round().astype(np.int16), geometry=geometry, series_uid=str(number)))
    roi = RoiMask(voxels=tumor, geometry=geometry, case_id="c")
    return volumes, roi, organs["kidney"] & ~tumor, kidney_there, matrix


def error_mm(found, roi, matrix):
    """Distance in mm of the tumor's center from its true place."""
    at = np.argwhere(roi.voxels).mean(axis=0)
    affine = roi.geometry.affine
    before, true = ((affine @ [*place, 1.0])[:3] for place in (at, (matrix @ [*at, 1.0])[:3]))
    return float(np.linalg.norm(np.asarray(found.shift_mm) - (true - before)))


KINDS = {
    "as a whole": True, "organs alone": True, "stretched 5 %": None, "stretched 10 %": False,
    "along the body 10 %": False, "mirrored": False, "upside down": False, "noise": False,
}  # fmt: skip


def measured(base, how, n, seed):
    """What came of some pairs of a kind, with the masks of the kidneys and without."""
    pairs = [
        pair(base, np.random.default_rng([seed, number, list(KINDS).index(how)]), how) for number in range(n)
    ]
    return [of_pairs(how, pairs, with_kidney) for with_kidney in (True, False)]


def of_pairs(how, pairs, with_kidney):
    """What came of some pairs."""
    errors, reasons = [], {}
    seconds = time.process_time()
    for (first, second), roi, here, there, matrix in pairs:
        organs = ({"kidney": here}, {"kidney": there}) if with_kidney else ()
        found = transfer_roi(first, roi, second, *organs)
        reasons[found.why] = reasons.get(found.why, 0) + 1
        if found.accepted and KINDS[how] is not False:
            errors.append(error_mm(found, roi, matrix))
    n_accepted = sum(count for why, count in reasons.items() if why in ("kidney-matches", "images-match"))
    made = {
        "pairs": how,
        "kidney_masks": with_kidney,
        "n": len(pairs),
        "accepted": n_accepted,
        "why": reasons,
    }
    made |= {"cpu_s_a_pair": round((time.process_time() - seconds) / len(pairs), 2)}
    if errors:
        made |= {
            "error_mm_median": round(float(np.median(errors)), 2),
            "error_mm_max": round(max(errors), 2),
            "n_under_0.4_mm": sum(e < 0.4 for e in errors),
        }
    return made


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    default = os.environ.get("NEPHROSCOPE_TEST_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(default))
    told = parser.parse_args()
    folder = told.data / "ct_with_kidneys"
    volume = read_ct(folder / "example_ct.nii.gz")
    organs = organs_of(folder / "example_seg_fast", len(volume.hu))
    organs["kidney"] = organs["kidney_left"] | organs["kidney_right"]
    shape = (LOWEST, *volume.hu.shape[1:])
    geometry = VolumeGeometry(shape=shape, affine=volume.geometry.affine)
    base = volume.hu[:LOWEST], {name: mask[:LOWEST] for name, mask in organs.items()}, geometry
    rows = [row for how in told.kinds for row in measured(base, how, told.pairs, told.seed)]
    print(json.dumps({"ct": "TotalSegmentator's example, 3 mm", "seed": told.seed, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()

"""What the kidney finder finds, and how often it takes something else for a kidney; prints one JSON object.

Usage: python benchmarks/kidneys.py FOLDER [--phantoms 40]

FOLDER is ct_with_kidneys (example_ct.nii.gz, example_seg_fast/, example_ct_dicom/). Its CT is of one patient, before
contrast medium; its masks are those of another program (TotalSegmentator), drawn on the highest 30 slices, where Dice
is computed. "as ..." is the same CT with kidneys, liver, spleen and aorta made brighter as in a phase. A kidney is
removed by filling it and what lies 6 mm around it with fat. Phantoms are SYNTHETIC.

- dice: of each kidney that was found (mean, least); kidneys that were not found are counted in `found`.
- false: found where there is no kidney, of so many sides; also a mask that does not meet its kidney (Dice below 0.3).
- seconds: of the processor, for each CT.
- doubted: ROIs with the finding `roi-no-kidney-near`: tumors as drawn, and balls of 12, 20 and 30 mm planted
  at random within an organ of the real CT (from the pelvis up).
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from nephroscope import read_ct
from nephroscope.imaging.nifti import read_nifti
from nephroscope.intake.phantom.anatomy import plan_anatomy
from nephroscope.intake.phantom.canvas import Canvas
from nephroscope.intake.phantom.make import make_phantom
from nephroscope.intake.phantom.patient import DESIGNS, draw_patient, draw_roster
from nephroscope.records import CTVolume, RoiMask, VolumeGeometry
from nephroscope.regions.found_kidneys import check_found_kidneys
from nephroscope.regions.kidneys import find_kidneys

SIDES = ("right", "left")
BRIGHTER = {  # kidney, liver, spleen, aorta
    "corticomedullary": (150, 20, 80, 250),
    "nephrographic": (130, 65, 80, 110),
    "excretory": (90, 55, 60, 80),
}
MISSED = 0.3
ABOVE_PELVIS, PLANTED = 56, 12


class Tally:
    """Sides with and without a kidney."""

    def __init__(self):
        self.rows = defaultdict(lambda: {"kidneys": 0, "dice": [], "false": 0, "sides": 0, "seconds": []})

    def add(self, name, volume, truth, slices=slice(None), tumor=None):
        """Look for kidneys; ``truth`` has a mask, or None, for each side."""
        row = self.rows[name]
        start = time.process_time()
        found = find_kidneys(volume, tumor)
        row["seconds"].append(time.process_time() - start)
        for side in SIDES:
            own, true = getattr(found, side), truth.get(side)
            row["sides"] += true is None
            row["kidneys"] += true is not None
            if own is not None and true is None:
                row["false"] += 1
            elif own is not None:
                dice = _dice(own.voxels[slices], true[slices])
                if dice < MISSED:
                    row["false"] += 1
                else:
                    row["dice"].append(dice)

    def report(self):
        """Figures by name."""
        return {
            name: {
                "scans": len(row["seconds"]),
                "kidneys": row["kidneys"],
                "found": len(row["dice"]),
                "mean_dice": round(float(np.mean(row["dice"])), 3) if row["dice"] else None,
                "least_dice": round(min(row["dice"]), 3) if row["dice"] else None,
                "sides_without_kidney": row["sides"],
                "false": row["false"],
                "seconds": round(float(np.mean(row["seconds"])), 2),
            }
            for name, row in self.rows.items()
        }


def _dice(one, two):
    return 2 * np.count_nonzero(one & two) / max(1, np.count_nonzero(one) + np.count_nonzero(two))


def _with(volume, hu):
    return CTVolume(hu=hu.astype(np.int16), geometry=volume.geometry, series_uid="1")


def _part(volume, first, last):
    hu = np.ascontiguousarray(volume.hu[first:last])
    geometry = VolumeGeometry(shape=hu.shape, affine=volume.geometry.affine)
    return CTVolume(hu=hu, geometry=geometry, series_uid="1")


def without(volume, kidney, rng):
    """The CT with a kidney, and what lies 6 mm around it, filled with fat."""
    grown = ndimage.distance_transform_edt(~kidney, sampling=volume.geometry.spacing_mm) <= 6
    grown &= volume.hu < 400
    hu = volume.hu.copy()
    hu[grown] = rng.normal(-100, 20, np.count_nonzero(grown)).round()
    return _with(volume, hu)


def real(folder, tally, rng):
    """The real CT, parts of it, and as it might look in other phases."""
    volume = read_ct(folder / "example_ct.nii.gz")

    def mask(name):
        path = folder / "example_seg_fast" / f"{name}.nii.gz"
        whole = np.zeros(volume.hu.shape, bool)
        whole[-nib.load(path).shape[2] :] = read_nifti(path).hu > 0  # the masks are of the last slices
        return whole

    truth = {side: mask(f"kidney_{side}") for side in SIDES}
    drawn = slice(int(np.flatnonzero(truth["left"].any(axis=(1, 2)))[0]), None)
    tally.add("real, unenhanced", volume, truth, drawn)
    tally.add("real, unenhanced, cut at its kidneys", _part(volume, drawn.start, None), _cut(truth, drawn))
    for first, last in ((0, 40), (0, 56), (20, 60), (104, 112)):
        tally.add("real, parts without kidneys", _part(volume, first, last), {})
    tally.add("real, portal venous, 4 cm of liver", read_ct(folder / "example_ct_dicom"), {})
    # Below the drawn slices, the finder says what a whole kidney is that is removed or made brighter.
    whole = {side: truth[side] | getattr(find_kidneys(volume), side).voxels for side in SIDES}
    for side in SIDES:
        left = {other: truth[other] for other in SIDES if other != side}
        tally.add("real, unenhanced, a kidney removed", without(volume, whole[side], rng), left, drawn)
    organs = {name: mask(name) for name in ("liver", "spleen", "aorta")}
    for phase, (kidney, *others) in BRIGHTER.items():
        hu = volume.hu.astype(np.float32)
        tissue = ndimage.uniform_filter(hu, 3) > -15
        hu[(whole["left"] | whole["right"]) & tissue] += kidney
        for organ, more in zip(organs.values(), others, strict=True):
            hu[organ & (volume.hu > -20)] += more
        bright = _with(volume, hu)
        tally.add(f"real, as {phase}", bright, truth, drawn)
        tally.add(
            f"real, as {phase}, cut at its kidneys", _part(bright, drawn.start, None), _cut(truth, drawn)
        )
        for side in SIDES:
            left = {other: truth[other] for other in SIDES if other != side}
            tally.add(f"real, as {phase}, a kidney removed", without(bright, whole[side], rng), left, drawn)


def doubted(volume, voxels, phase):
    """True where a ROI is doubted because no kidney is near."""
    roi = RoiMask(voxels=voxels, geometry=volume.geometry, case_id="c")
    return any(one.code == "roi-no-kidney-near" for one in check_found_kidneys(volume, roi, phase))


def planted(folder, rng):
    """How many of the balls planted in each organ of the real CT are doubted, by diameter in mm."""
    whole = read_ct(folder / "example_ct.nii.gz")
    volume = _part(whole, ABOVE_PELVIS, None)
    where, found = np.indices(volume.hu.shape), {}
    for organ in ("kidney_left", "kidney_right", "liver", "spleen"):
        drawn = read_nifti(folder / "example_seg_fast" / f"{organ}.nii.gz").hu > 0
        mask = np.zeros(volume.hu.shape, bool)
        mask[-len(drawn) :] = drawn
        spacing = volume.geometry.spacing_mm
        depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
        for radius in (6, 10, 15):
            places = np.argwhere(depth >= radius)
            rows = []
            for place in places[rng.integers(len(places), size=PLANTED)] if len(places) else ():
                away = sum(((where[i] - place[i]) * spacing[i]) ** 2 for i in range(3))
                rows.append(doubted(volume, away <= radius**2, "unenhanced"))
            if rows:
                found[f"{organ}, {2 * radius} mm"] = {"rois": len(rows), "doubted": sum(rows)}
    return found


def _cut(truth, slices):
    return {side: mask[slices] for side, mask in truth.items()}


def kidneys_of(seed, index, n_cases, phantom):
    """The kidneys as they were painted, without sinus fat and tumor."""
    design = DESIGNS["kits23"]
    subtype, look = draw_roster(seed, n_cases, design)[index]
    rng = np.random.default_rng([seed, index])
    _, acquisition = draw_patient(rng, index, subtype, look)
    plan = plan_anatomy(rng, acquisition.half_width_mm)
    canvas = Canvas(phantom.hu.shape, phantom.geometry.spacing_mm)
    found = {}
    for side, kidney in zip(SIDES, plan.kidneys, strict=True):
        mask = np.zeros(phantom.hu.shape, bool)
        box = canvas.box(kidney)
        mask[box] = canvas.coverage(kidney, box) >= 0.5
        found[side] = mask & (phantom.hu > -20) & ~phantom.reader1
    return found


def phantoms(n, tally, rng, seed=1):
    """SYNTHETIC patients, as they are, with their tumor known, and with a kidney removed; how many are doubted."""
    n_doubted = 0
    for index in range(n):
        phantom = make_phantom(seed, index, n)
        volume = CTVolume(hu=phantom.hu, geometry=phantom.geometry, series_uid="1")
        truth = kidneys_of(seed, index, n, phantom)
        tally.add("SYNTHETIC", volume, truth)
        tally.add("SYNTHETIC, tumor known", volume, truth, tumor=phantom.reader1)
        n_doubted += doubted(volume, phantom.reader1, phantom.clinical.phase)
        side = SIDES[index % 2]
        other = {name: mask for name, mask in truth.items() if name != side}
        tumor = phantom.reader1 & (ndimage.distance_transform_edt(~truth[side]) <= 3)
        removed = truth[side] | (phantom.reader1 if tumor.any() else False)
        tally.add("SYNTHETIC, a kidney removed", without(volume, removed, rng), other)
    return {"SYNTHETIC tumors": {"rois": n, "doubted": n_doubted}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--phantoms", type=int, default=40)
    asked = parser.parse_args()
    tally, rng = Tally(), np.random.default_rng(0)
    real(asked.folder, tally, rng)
    rois = {**phantoms(asked.phantoms, tally, rng), **planted(asked.folder, rng)}
    print(json.dumps({"kidneys": tally.report(), "rois": rois}, indent=1))

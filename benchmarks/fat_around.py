"""How often `roi-no-fat-around` doubts a real kidney tumor, and how often it finds an ROI that lies in the liver.

Usage: python benchmarks/fat_around.py FOLDER

FOLDER holds kits19_slices/ (images/, masks/, labels.csv) and ct_with_kidneys/ (example_ct.nii.gz, example_seg_fast/);
needs SciPy. Tumors are those drawn. ROIs of three sizes are planted at random where they lie wholly within a kidney,
the liver or the spleen: the masks say where, and in the slices the liver is the largest even region on the right.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from scipy import ndimage

from nephroscope import read_ct
from nephroscope.imaging.nifti import read_nifti
from nephroscope.records import CTVolume, VolumeGeometry
from nephroscope.regions.check import check_shell
from nephroscope.regions.surroundings import measure_shell

DOUBTED: dict[str, list[bool]] = defaultdict(list)
RNG = np.random.default_rng(0)


def add(name: str, volume: CTVolume, roi: np.ndarray, flat: bool) -> None:
    """Check one ROI."""
    DOUBTED[name].append(bool(check_shell(measure_shell(volume, roi, flat), "x")))


def plant(name: str, volume: CTVolume, organ: np.ndarray, n: int, flat: bool) -> None:
    """Check ROIs of 12, 20 and 30 mm within an organ (S, R, C)."""
    spacing = np.array(volume.geometry.spacing_mm)
    if flat:
        spacing[0] = 1e6
    depth = ndimage.distance_transform_edt(np.pad(organ, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    where = np.indices(organ.shape)
    for radius in (6, 10, 15):
        places = np.argwhere(depth >= radius)
        for place in places[RNG.integers(len(places), size=n)] if len(places) else ():
            away = sum(((where[i] - place[i]) * spacing[i]) ** 2 for i in range(3))
            add(f"{name}, {2 * radius} mm", volume, away <= radius**2, flat)


def main(folder: Path) -> None:
    """Print the shares."""
    slices = folder / "kits19_slices"
    for row in csv.DictReader((slices / "labels.csv").open(encoding="utf-8")):
        gray = np.asarray(Image.open(slices / "images" / row["file"]).convert("L"))
        mask = np.asarray(Image.open(slices / "masks" / row["file"]))
        mm = float(row["spacing_xy"])
        geometry = VolumeGeometry(shape=(1, *gray.shape), affine=np.diag([1.0, mm, mm, 1.0])[[2, 1, 0, 3]])
        volume = CTVolume(hu=gray[None].astype(np.int16), geometry=geometry, series_uid="1")
        if (mask == 2).any():
            add("slices: tumor as drawn", volume, (mask == 2)[None], True)
        plant("slices: kidney", volume, (mask == 1)[None], 4, True)
        even = ndimage.gaussian_filter(gray.astype(float), 3 / mm)
        even = (even > 50) & (even < 180) & ~ndimage.binary_dilation(mask > 0, iterations=4)
        even[:, gray.shape[1] // 2 :] = False
        parts, n = ndimage.label(ndimage.binary_opening(even, iterations=int(10 / mm)))
        areas = ndimage.sum(even, parts, range(1, n + 1)) * mm**2
        if n and areas.max() > 4500:
            plant("slices: liver", volume, (parts == 1 + areas.argmax())[None], 6, True)
    volume = read_ct(folder / "ct_with_kidneys" / "example_ct.nii.gz")
    for organ in ("kidney_left", "kidney_right", "liver", "spleen"):
        path = folder / "ct_with_kidneys" / "example_seg_fast" / f"{organ}.nii.gz"
        voxels = np.zeros(volume.hu.shape, bool)
        stored = nib.load(path)
        voxels[-stored.shape[2] :] = read_nifti(path).hu > 0  # the masks are of the last slices
        plant(f"volume: {organ}", volume, voxels, 60, False)
    for name, doubted in DOUBTED.items():
        print(f"{name}: {np.mean(doubted):.0%} of {len(doubted)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

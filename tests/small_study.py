"""A tiny study in memory or on disk for tests of the middle rooms: bright discs against dark ones."""

import json
from pathlib import Path

import numpy as np

from nephroscope import Study
from nephroscope.records import Cohort, CTVolume, RoiMask, SliceSpec, SplitConfig, VolumeGeometry
from nephroscope.study.slices import SliceStore, cut_cohort
from nephroscope.study.split import make_split
from one_series import one_series
from phantoms import write_nifti

SPEC = SliceSpec(size_px=32, margin_mm=4.0, min_area_mm2=1.0)
SUBTYPES = ("PRCC", "ChRCC")


def geometry(shape=(6, 24, 24), spacing_mm=(3.0, 1.0, 1.0)):
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *spacing_mm, 1.0
    return VolumeGeometry(shape=shape, affine=affine)


def make_cohort(n_cases=12, subtypes=SUBTYPES, **fields):
    cases = tuple(
        one_series(
            case_id=f"c{number:02}",
            patient_id=f"p{number:02}",
            image=Path("ct"),
            roi=Path("roi"),
            format="nifti",
            subtype=subtypes[number % len(subtypes)],
            **fields,
        )
        for number in range(n_cases)
    )
    return Cohort(subtypes=subtypes, positive=subtypes[0], cases=cases)


def read_disc(case):
    """A disc of 10 mm on 4 of 6 slices: papillary dark with a bright spot, the others bright."""
    number = int(case.case_id[1:])
    rng = np.random.default_rng(number)
    grid = geometry()
    hu = rng.normal(-60, 10, grid.shape)
    rows, cols = np.ogrid[:24, :24]
    disc = (rows - 12) ** 2 + (cols - 12) ** 2 <= 25
    voxels = np.zeros(grid.shape, bool)
    voxels[1:5] = disc
    hu[voxels] += 100 if case.subtype == "PRCC" else 200
    volume = CTVolume(hu=hu.astype(np.int16), geometry=grid, series_uid=f"1.2.{number}")
    return volume, RoiMask(voxels=voxels, geometry=grid, case_id=case.case_id)


def make_store(folder: Path, cohort: Cohort, spec: SliceSpec = SPEC) -> SliceStore:
    return cut_cohort(cohort.cases, read_disc, spec, folder, "digest")


def split_of(cohort, store, **config):
    slices_of = {name: store.slice_index[rows].tolist() for name, rows in store.rows_by_case.items()}
    return make_split(cohort, slices_of, SplitConfig(**config))


def make_study(root, n_cases=10):
    """A study of NIfTI files that lie in its own folder, cut to 32 x 32."""
    study = Study.create(root, ["PRCC", "ChRCC"])
    study.change("slices", size_px=32, margin_mm=4.0)
    study.change("evaluation", resamples=200)
    (root / "volumes").mkdir()
    lines = ["case_id,subtype,sex,age"]
    for case in make_cohort(n_cases).cases:
        volume, roi = read_disc(case)
        write_nifti(volume.hu, root / "volumes" / f"{case.case_id}.nii.gz", volume.geometry.affine)
        mask = roi.voxels.astype(np.uint8)
        write_nifti(mask, root / "volumes" / f"{case.case_id}_seg.nii.gz", volume.geometry.affine)
        lines.append(f"{case.case_id},{case.subtype},F,50")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    study.import_nifti(root / "volumes", root / "labels.csv")
    return study


def content_of(path: Path) -> dict:
    """What a JSON file of ours says, without its checksum: to be changed and written as an older version would."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("checksum", None)
    return content

"""What several phases bring where each carries a known part of the signal: rows and difference that `compare` gives.

    python benchmarks/phase_gain.py [--patients 200] [--epochs 12] [--seeds 1 2] [--only shared ...]

Tumors are discs in fat whose attenuation differs between the subtypes by a known number of SDs, independently in each
phase, so the AUC of an ideal reader is known: Phi(d / sqrt(2)) with d the root of the sum of squares. ``shared``: the
first two phases hold 1.5 SD each and the third nothing; ``one``: the first holds 2.1, the others nothing; ``none``:
nothing; ``missing by subtype``: as ``shared``, but the excretory phase exists in 9 of 10 PRCC and 3 of 10 ChRCC.
Elsewhere each phase but the first is missing in a quarter of the patients, by chance. `phases-shufflenet` (half
width, 32 x 32) is trained in three folds by patient, and `compare` asks it by subset of phases.

Prints JSON, a line for each kind of signal and seed: AUC by subset out of fold with interval and n, the AUC of an
ideal reader, all phases minus the best single one with interval, the probe "which phases exist", and findings.
"""

import argparse
import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from nephroscope import Study
from nephroscope.imaging.masks.write import write_nifti, write_volume
from nephroscope.questions.compare.phases import PRESENCE
from nephroscope.records import Case, Cohort, CTVolume, RoiMask, RoiRef, SeriesRef, VolumeGeometry
from nephroscope.study.cohort_table import save_cohort

PHASES = ("corticomedullary", "nephrographic", "excretory")
SHAPE, SD_HU, NOISE_HU, FAT_HU, TUMOR_HU = (4, 32, 32), 20.0, 15.0, -90.0, 60.0
SIGNALS = {
    "shared": (1.5, 1.5, 0.0),
    "one": (2.1, 0.0, 0.0),
    "none": (0.0, 0.0, 0.0),
    "missing by subtype": (1.5, 1.5, 0.0),
}
THERE = {"PRCC": 0.9, "ChRCC": 0.3}  # share of patients with an excretory phase, in the last kind
MODEL = "phases-shufflenet"


def ideal_auc(strengths: list[float]) -> float:
    """AUC of the best reader of normal values that differ by so many SD, independently."""
    return 0.5 * (1 + math.erf(math.hypot(*strengths) / 2))


def make_study(root: Path, kind: str, patients: int, seed: int) -> Study:
    """A study on disk of tumors whose attenuation in each phase is drawn by subtype."""
    rng = np.random.default_rng(seed)
    study = Study.create(root, ("PRCC", "ChRCC"))
    files = root / "volumes"
    files.mkdir()
    affine = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1]])  # index (z, y, x) to LPS mm
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    cases = []
    for number in range(patients):
        name, subtype = f"P{number:04d}", ("PRCC", "ChRCC")[number % 2]
        side = 0.5 if subtype == "PRCC" else -0.5
        at = rng.uniform(13, 19, 2)
        tumor = ((y - at[0]) ** 2 + (x - at[1]) ** 2 < rng.uniform(6, 9) ** 2) & (z < SHAPE[0])
        series, rois = [], []
        for order, (phase, strength) in enumerate(zip(PHASES, SIGNALS[kind], strict=True)):
            value = TUMOR_HU + SD_HU * (side * strength + rng.standard_normal())
            hu = np.where(tumor, value, FAT_HU) + rng.normal(0, NOISE_HU, SHAPE)
            by_subtype = kind == "missing by subtype" and phase == PHASES[2]
            if order and rng.random() > (THERE[subtype] if by_subtype else 0.75):
                continue
            geometry = VolumeGeometry(shape=SHAPE, affine=affine)
            image, mask = files / f"{name}-{phase}.nii.gz", files / f"{name}-{phase}-roi.nii.gz"
            write_volume(CTVolume(hu=hu.round().astype(np.int16), geometry=geometry, series_uid=""), image)
            write_nifti(RoiMask(voxels=tumor, geometry=geometry, case_id=name), mask)
            series.append(SeriesRef(name=phase, image=image, format="nifti", phase=phase))
            rois.append(RoiRef(author="reader-1", path=mask, series=phase))
        cases.append(
            Case(
                case_id=name,
                patient_id=name,
                subtype=subtype,
                series=tuple(series),
                rois=tuple(rois),
                synthetic=True,
            )
        )
    save_cohort(Cohort(subtypes=("PRCC", "ChRCC"), positive="PRCC", cases=tuple(cases)), root)
    study.change("slices", size_px=SHAPE[1], margin_mm=4.0, phases=PHASES)
    return study


def measured(kind: str, patients: int, epochs: int, seed: int) -> dict[str, object]:
    """Train on such a study, and what `compare` says of its phases."""
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder) / "study", kind, patients, seed)
        study.cut_slices()
        study.make_split(folds=3, seed=seed)
        training = replace(study.settings.training, model=MODEL, width=0.5, epochs=epochs)
        training = replace(
            training, learning_rate=2e-3, batch_size=32, slices_per_case=4, seed=seed, patience=0
        )
        study.train(training)
        found = study.compare(candidates=(), runs=(MODEL,), permutations=0).document
    (table,) = found.phases
    strengths = dict(zip(PHASES, SIGNALS[kind], strict=True))
    against = table.all_against_best
    return {
        "signal": kind,
        "seed": seed,
        "patients": patients,
        "subsets": {
            " + ".join(row.phases): {
                "auc": row.auc.value,
                "interval": [row.auc.low, row.auc.high],
                "n": row.n_cases,
                "ideal": ideal_auc([strengths[phase] for phase in row.phases]),
            }
            for row in table.rows
        },
        "all_minus_best": against
        and {
            "best": against.best_single,
            "difference": against.difference.value,
            "interval": [against.difference.low, against.difference.high],
            "p": against.p,
            "n": against.n_cases,
        },
        "which_phases_exist": next(
            [row.auc.value, row.auc.low, row.auc.high]
            for row in found.shortcuts.facts
            if row.name == PRESENCE
        ),
        "findings": [finding.code for finding in found.findings],
    }


def main() -> None:
    """Print a line for each kind of signal and seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=list(SIGNALS), default=list(SIGNALS))
    asked = parser.parse_args()
    for kind in asked.only:
        for seed in asked.seeds:
            print(json.dumps(measured(kind, asked.patients, asked.epochs, seed)), flush=True)


if __name__ == "__main__":
    main()

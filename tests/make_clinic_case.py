"""Make what the clinic check predicts: `python make_clinic_case.py FOLDER` gives a bundle and a case of each kind."""

import sys
from pathlib import Path

import numpy as np
from pydicom import dcmread

from compress import LOSSLESS, compress
from nephroscope.intake.phantom import write_phantoms
from nephroscope.learning.engine.runs import train_in
from nephroscope.learning.export import export_bundle
from nephroscope.learning.run_files import CompleteRun
from nephroscope.learning.score_run import score_run
from nephroscope.questions.evaluation.evaluate import RunFacts, build_report
from nephroscope.records import EvaluationConfig, TrainConfig
from nephroscope.study.snapshot import Snapshot
from phantoms import write_nifti
from small_study import make_cohort, make_store, read_disc, split_of


def main(folder: Path) -> None:
    """Train a tiny network on discs and export it; write a case of each kind."""
    cohort = make_cohort(8)
    store = make_store(folder / "slices", cohort)
    split = split_of(cohort, store, folds=2)
    config = TrainConfig(model="mobilenet_v2", epochs=1, batch_size=8)
    snapshot = Snapshot.of(cohort, store, split, EvaluationConfig(resamples=200))
    train_in(folder / "run", snapshot, config)
    run = CompleteRun(folder=folder / "run", snapshot=snapshot)
    predictions, points = score_run(run)
    facts = RunFacts(
        run="run",
        model=config.model,
        subtypes=cohort.subtypes,
        positive=cohort.positive,
        protocol=split.protocol,
        operating_points=tuple(points),
        cohort_digest=cohort.digest,
        run_digest="run",
        synthetic=True,
        converged=True,
    )
    export_bundle(run, build_report(facts, predictions, snapshot.settings.evaluation), folder / "bundle")
    volume, roi = read_disc(cohort.cases[0])
    write_nifti(volume.hu, folder / "ct.nii.gz", volume.geometry.affine)
    write_nifti(roi.voxels.astype(np.uint8), folder / "roi.nii.gz", volume.geometry.affine)
    write_phantoms(folder / "export", 2, 0)
    for path in sorted((folder / "export" / "SYNTHETIC-0001" / "ct").iterdir()):
        for syntax in LOSSLESS:
            image = dcmread(path)
            compress(image, syntax)
            (folder / "compressed" / syntax).mkdir(parents=True, exist_ok=True)
            image.save_as(folder / "compressed" / syntax / path.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

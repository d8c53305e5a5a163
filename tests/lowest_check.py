"""A small study from phantoms to an answer, on whatever versions are installed: `python lowest_check.py FOLDER`.

`dev.py lowest` runs it on the lowest versions that pyproject.toml allows, `dev.py newest` on the newest.
"""

import sys
from importlib.metadata import version
from pathlib import Path

from nephroscope import Study
from nephroscope.cli import run
from nephroscope.records import SplitConfig, TrainConfig

NAMES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "onnx",
    "onnxruntime",
    "matplotlib",
    "pydicom",
)


def main(folder: Path) -> None:
    """Run it; an exception or an exit code other than 0 fails."""
    print(", ".join(f"{name} {version(name)}" for name in NAMES))
    assert run(["models"]) == 0
    study = Study.create(folder / "study", ("PRCC", "ChRCC"))
    study.change("slices", size_px=64)
    study.import_phantom(12, 0)
    study.cut_slices()
    study.make_split(SplitConfig(folds=2))
    config = TrainConfig(model="shufflenet_v2_x1_0", epochs=2, slices_per_case=3)
    trained = study.train(config)
    trained.report()
    bundle = trained.export(folder / "bundle").folder
    case = study.cohort.chosen[0]
    assert case.roi is not None
    for command in (
        ["compare", study.folder.root, "--no-control"],
        ["predict", bundle, case.image, "--roi", case.roi.path],
        ["info"],
    ):
        assert run([str(part) for part in command]) == 0, command


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Time to the same AUC by case: `nephroscope train` and AUCMEDI, on the slices of the same SYNTHETIC patients.

    python benchmarks/peer.py --peer ENV/bin/python [--cases 216] [--seed 11] [--epochs 1 2 4 8] [--seconds 600]

AUCMEDI needs an environment of its own: python -m venv ENV && ENV/bin/pip install aucmedi "setuptools<81". Both train
MobileNetV2 from scratch in fp32 on slices of 128 x 128 with flips, rotation, brightness and blur (what each of them
has of these), and are tested on the same third of the patients after every training. Ours with the settings of the
demo, a new process and a whole training for each number of epochs; it also keeps a tenth of the patients to choose an
epoch by. AUCMEDI goes on epoch by epoch, with all other patients and the learning rate asked for, until its
``--seconds`` of training are up; what it takes to predict is not counted.

Prints JSON: the processor and its load before; then a line per training of ours and per epoch of AUCMEDI: seconds of
the clock and of the processor so far, and AUC by case. To hold a processor to AVX2 set ATEN_CPU_CAPABILITY=avx2 and
ONEDNN_MAX_CPU_ISA=AVX2. Run it on a machine that does nothing else.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from train import processor

MODEL, SIZE, BATCH = "mobilenet_v2", 128, 24
# Runs in AUCMEDI's environment: files and labels come on standard input, figures leave line by line.
OF_PEER = """
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
from aucmedi import DataGenerator, ImageAugmentation, NeuralNetwork
asked = json.load(sys.stdin)
off = dict.fromkeys("contrast saturation hue scale crop grid_distortion compression gaussian_noise downscaling gamma "
                    "elastic_transform".split(), False)
augmentation = ImageAugmentation(flip=True, rotate=True, brightness=True, gaussian_blur=True, **off)
size = (asked["size"], asked["size"])
network = NeuralNetwork(2, channels=1, architecture="2D.MobileNetV2", input_shape=size, pretrained_weights=False,
                        learning_rate=asked["learning_rate"])
common = dict(path_imagedir=asked["folder"], batch_size=asked["batch"], resize=size, image_format=None,
              grayscale=True, standardize_mode="tf")
labels = np.eye(2)[asked["labels"]]
train = DataGenerator(asked["train"], labels=labels, data_aug=augmentation, shuffle=True, **common)
test = DataGenerator(asked["test"], labels=None, data_aug=None, shuffle=False, **common)
clock = computed = 0.0
while clock < asked["seconds"]:
    began, before = time.perf_counter(), time.process_time()
    network.train(train, epochs=1, transfer_learning=False)
    clock += time.perf_counter() - began
    computed += time.process_time() - before
    scores = network.predict(test)[:, 1].tolist()
    print("FIGURES " + json.dumps({"s": clock, "processor_s": computed, "scores": scores}), flush=True)
"""


def main() -> None:
    """Make the study, train both ways, print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peer", help="Python of the environment that has AUCMEDI; without it only ours is timed"
    )
    parser.add_argument("--cases", type=int, default=216)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[1e-4, 1e-3], help="of AUCMEDI")
    parser.add_argument("--seconds", type=float, default=600)
    asked = parser.parse_args()
    print(json.dumps(processor()), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder), asked.cases, asked.seed)
        for epochs in asked.epochs:
            print(json.dumps(ours(study, epochs, asked.seed)), flush=True)
        for rate in asked.learning_rates if asked.peer else ():
            peers(study, Path(folder) / "png", asked.peer, rate, asked.seconds)


def make_study(folder: Path, cases: int, seed: int):
    """Phantoms, slices, and one fold with a third of the patients held out."""
    from nephroscope import Study
    from nephroscope.records import SplitConfig

    study = Study.create(folder / "study", ("PRCC", "ChRCC"))
    study.import_phantom(cases, seed)
    study.change("slices", size_px=SIZE)
    study.cut_slices()
    study.make_split(SplitConfig(folds=1, holdout=1 / 3, validation=0.1, seed=seed))
    return study


def ours(study, epochs: int, seed: int) -> dict[str, object]:
    """A whole training in a new process, and its AUC on the held-out patients."""
    from nephroscope.cli.demo import DEMO_TRAINING

    training = replace(DEMO_TRAINING, model=MODEL, epochs=epochs, seed=seed, precision="fp32")
    settings = (
        ("--model", MODEL),
        ("--epochs", epochs),
        ("--seed", seed),
        ("--precision", "fp32"),
        ("--learning-rate", training.learning_rate),
        ("--slices-per-case", training.slices_per_case),
        ("--patience", training.patience),
        ("--name", f"epochs-{epochs}"),
    )
    words = [str(part) for pair in settings for part in pair]
    before, began = os.times(), time.perf_counter()
    command = [sys.executable, "-m", "nephroscope", "train", str(study.folder.root), *words]
    subprocess.run(command, check=True, capture_output=True)
    seconds, after = time.perf_counter() - began, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    case = study.run(f"epochs-{epochs}").evaluate().groups[0].case["auc"]
    return {
        "who": "nephroscope",
        "epochs": epochs,
        "s": round(seconds, 1),
        "processor_s": round(used, 1),
        "auc_by_case": None if case.value is None else round(case.value, 3),
        "interval": None if case.value is None else [round(case.low, 3), round(case.high, 3)],
        "cases": case.n,
        "method": case.method,
    }


def peers(study, folder: Path, python: str, rate: float, seconds: float) -> None:
    """Print a line per epoch of AUCMEDI."""
    from PIL import Image

    from nephroscope.statistics.metrics import auc

    store, fold = study.slices(), study.split().folds[0]
    level, width = store.spec.window_level_hu, store.spec.window_width_hu
    subtypes = study.cohort.subtypes
    truth = {case.case_id: subtypes.index(case.subtype) for case in study.cohort.cases}
    folder.mkdir(exist_ok=True)
    names: dict[str, list[str]] = {}
    for case_id, rows in store.rows_by_case.items():
        for row in rows:
            gray = np.clip((store.hu[row] - level) / width + 0.5, 0, 1) * 255
            Image.fromarray(gray.astype(np.uint8)).save(folder / f"{row}.png")
            names.setdefault(case_id, []).append(f"{row}.png")
    learned, tested = sorted({*fold.train, *fold.validation}), sorted(fold.test)
    wanted = {
        "folder": str(folder),
        "size": SIZE,
        "batch": BATCH,
        "learning_rate": rate,
        "seconds": seconds,
        "train": [name for case in learned for name in names[case]],
        "labels": [truth[case] for case in learned for _ in names[case]],
        "test": [name for case in tested for name in names[case]],
    }
    child = subprocess.Popen(
        [python, "-c", OF_PEER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    child.stdin.write(json.dumps(wanted))
    child.stdin.close()
    positive = np.array([truth[case] == 1 for case in tested])
    epochs = 0
    for line in child.stdout:
        if not line.startswith("FIGURES "):
            continue
        figures, epochs = json.loads(line.removeprefix("FIGURES ")), epochs + 1
        scores = iter(figures["scores"])
        by_case = np.array([np.mean([next(scores) for _ in names[case]]) for case in tested])
        told = {
            "who": "AUCMEDI",
            "learning_rate": rate,
            "epochs": epochs,
            "s": round(figures["s"], 1),
            "processor_s": round(figures["processor_s"], 1),
            "auc_by_case": round(auc(by_case, positive), 3),
            "cases": len(tested),
        }
        print(json.dumps(told), flush=True)
    if child.wait() != 0:
        raise SystemExit(f"AUCMEDI ended with exit code {child.returncode}")


if __name__ == "__main__":
    main()

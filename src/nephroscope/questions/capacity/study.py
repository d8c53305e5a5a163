"""Accuracy against the number of weights on the folds of a study: what will be trained, and what was found."""

import csv
import logging
from typing import Any

from nephroscope.base.files import replacing, save_json
from nephroscope.base.progress import time_words
from nephroscope.questions.capacity.result import CapacityFigures
from nephroscope.questions.capacity.runs import (
    CapacityOptions,
    CapacityTrainings,
    points_of,
    seconds_needed,
    train_point,
)
from nephroscope.study.snapshot import Snapshot

FORMAT = 1
LEAST_SECONDS = 0.1  # shown where the estimate is shorter
logger = logging.getLogger(__name__)


def plan_capacity(snapshot: Snapshot, options: CapacityOptions) -> dict[str, Any]:
    """What would be trained, and ``seconds_about``, measured on this machine; nothing is trained."""
    trainings = CapacityTrainings(snapshot=snapshot, options=options)
    points, absent = points_of(options)
    left, seconds = seconds_needed(trainings, points)
    if left:
        logger.info(
            "capacity: %d networks, %d folds to train, about %s on this machine",
            len(points),
            left,
            time_words(seconds),
        )
    return {
        "format": FORMAT,
        "networks": [point.name for point in points],
        "absent": absent,
        "folds_left": left,
        "seconds_about": max(round(seconds, 1), LEAST_SECONDS) if left else 0.0,
    }


def study_capacity(snapshot: Snapshot, options: CapacityOptions) -> dict[str, Any]:
    """Train every network at every width on the study's folds, and set AUC against weights.

    A training that is complete is kept, and an interrupted one goes on at its epoch. Gives the content of
    capacity.json, which `save_capacity` writes.
    """
    plan = plan_capacity(snapshot, options)
    trainings = CapacityTrainings(snapshot=snapshot, options=options)
    points, _ = points_of(options)
    trained = []
    for number, point in enumerate(points, start=1):
        logger.info("capacity: network %d of %d, %s", number, len(points), point.name)
        trained.append(train_point(trainings, point))
    folder = trainings.folder
    return {
        "format": FORMAT,
        "synthetic": snapshot.cohort.synthetic,
        "epochs": trainings.config(points[0], 0).epochs,
        "absent": plan["absent"],
        **CapacityFigures(trained, snapshot.cohort, snapshot.settings.evaluation).result(),
        "files": [str(folder / f"capacity.{ending}") for ending in ("json", "csv", "svg", "png")],
    }


def save_capacity(snapshot: Snapshot, content: dict[str, Any]) -> None:
    """Write capacity.csv and, last, capacity.json."""
    folder = snapshot.folder.root / "capacity"
    with (
        replacing(folder / "capacity.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows(_rows(content))
    save_json(folder / "capacity.json", content)


def _rows(content: dict[str, Any]) -> list[list[object]]:
    header = ["network", "width", "trainable", "total", "repeats", "converged"]
    header += [f"{what}{end}" for what in ("auc", "accuracy") for end in ("", "_low", "_high")]
    rows: list[list[object]] = [[*header, "n_patients", "test_cases", "synthetic", "method"]]
    for p in content["points"]:
        row = [p["name"], p["width"], p["trainable"], p["total"], p["repeats"], p["converged"]]
        for what in ("auc", "accuracy"):
            row += ["" if p[what][end] is None else f"{p[what][end]:.6f}" for end in ("value", "low", "high")]
        rows.append([*row, content["n_patients"], content["group"], content["synthetic"], p["auc"]["method"]])
    return rows

"""A study in; accuracy against the number of weights on its folds out."""

import csv
import logging
from typing import TYPE_CHECKING, Any

from nephroscope.base.files import replacing, save_json
from nephroscope.base.progress import time_words

if TYPE_CHECKING:
    from nephroscope.facade.study import Study
    from nephroscope.questions.capacity.runs import CapacityInputs, CapacityOptions, Point

FORMAT = 1
logger = logging.getLogger(__name__)


def capacity(
    study: "Study", options: "CapacityOptions | None" = None, only_plan: bool = False
) -> dict[str, Any]:
    """Train every network at every width on the study's folds and set AUC against weights.

    What an earlier call trained is not trained again, and an interrupted training goes on at its epoch. Writes
    capacity/capacity.json, .csv, .svg and .png.

    Args:
        study: With its slices cut.
        options: By default all six networks at those of the widths 0.25, 0.5 and 1 that they have, each once.
        only_plan: Measure how long it will take, and train nothing.

    Returns:
        The content of capacity.json; with ``only_plan`` what would be trained and ``seconds_about``.
    """
    from nephroscope.questions.capacity.runs import CapacityInputs, CapacityOptions, points_of, seconds_needed

    inputs = CapacityInputs(
        folder=study.folder.root / "capacity",
        cohort=study.cohort,
        store=study.slices(),
        split=study.split(),
        training=study.settings.training,
        evaluation=study.settings.evaluation,
        options=options or CapacityOptions(),
    )
    points, absent = points_of(inputs.options)
    left, seconds = seconds_needed(inputs, points)
    if left:
        logger.info(
            "capacity: %d networks, %d folds to train, about %s on this machine",
            len(points),
            left,
            time_words(seconds),
        )
    plan = {
        "format": FORMAT,
        "networks": [point.name for point in points],
        "absent": absent,
        "folds_left": left,
        "seconds_about": round(seconds, 1),
    }
    return plan if only_plan else _run(inputs, points, absent)


def _run(inputs: "CapacityInputs", points: "list[Point]", absent: list[str]) -> dict[str, Any]:
    from nephroscope.questions.capacity.result import CapacityFigures
    from nephroscope.questions.capacity.runs import train_point
    from nephroscope.report.capacity_figures import capacity_figure
    from nephroscope.report.drawing import save_figures

    trained = []
    for number, point in enumerate(points, start=1):
        logger.info(
            "capacity: network %d of %d, %s", number, len(points), point.name
        )  # its bar is the training's
        trained.append(train_point(inputs, point))
    result = CapacityFigures(trained, inputs.cohort, inputs.evaluation).result()
    folder, synthetic = inputs.folder, inputs.cohort.synthetic
    content = {
        "format": FORMAT,
        "synthetic": synthetic,
        "epochs": inputs.config(points[0], 0).epochs,
        "absent": absent,
        **result,
        "files": [str(folder / f"capacity.{ending}") for ending in ("json", "csv", "svg", "png")],
    }
    save_figures(folder, {"capacity": capacity_figure(result, synthetic)})
    with (
        replacing(folder / "capacity.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows(_rows(content))
    save_json(folder / "capacity.json", content)
    return content


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

"""Accuracy against the number of weights on the folds of a study: what will be trained, and what was found."""

import logging
from dataclasses import asdict, dataclass, fields

from nephroscope.base.files import digest_of
from nephroscope.base.html import Record, ShownAsTable
from nephroscope.base.progress import time_words
from nephroscope.base.tables import save_table
from nephroscope.base.text import counted_noun
from nephroscope.learning.engine.divisions import fold_names
from nephroscope.questions.capacity.result import CapacityFigures, CapacityFindings
from nephroscope.questions.capacity.runs import (
    FOLDER,
    CapacityOptions,
    CapacityTrainings,
    points_of,
    seconds_needed,
    train_point,
)
from nephroscope.study.artifact import Artifact
from nephroscope.study.snapshot import Snapshot

FORMAT = 1
LEAST_SECONDS = 0.1  # shown where the estimate is shorter
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CapacityPlan:
    """What would be trained.

    Attributes:
        networks: By name.
        absent: Sentences on widths that a network does not have.
        folds_left: How many folds are not trained yet.
        seconds_about: How long they will take on this machine, by a short measurement.
    """

    networks: tuple[str, ...]
    absent: tuple[str, ...]
    folds_left: int
    seconds_about: float
    format: int = FORMAT


@dataclass(frozen=True, kw_only=True)
class CapacityResult(CapacityFindings, ShownAsTable):
    """The content of capacity.json.

    Attributes:
        absent: Sentences on widths that a network does not have.
        files: What was written.
    """

    synthetic: bool
    epochs: int
    absent: tuple[str, ...]
    files: tuple[str, ...]
    format: int = FORMAT

    def records(self) -> list[Record]:
        """A row per network: width, weights, AUC and accuracy with their limits."""
        return [
            {"network": p.name, "width": p.width, "trainable": p.trainable, "total": p.total}
            | {"repeats": p.repeats, "converged": p.converged}
            | p.auc.columns("auc")
            | p.accuracy.columns("accuracy")
            | {"n_patients": self.n_patients, "test_cases": self.group, "synthetic": self.synthetic}
            | {"method": p.auc.method}
            for p in self.points
        ]

    def summary(self) -> str:
        """The test set, and how many cases and patients."""
        counts = f"{counted_noun(self.n_cases, 'case')} of {counted_noun(self.n_patients, 'patient')}"
        return f"{'SYNTHETIC | ' if self.synthetic else ''}{self.group}: {counts}"


def capacity_file(snapshot: Snapshot) -> Artifact[CapacityResult]:
    """capacity.json of a study."""
    inputs = {
        "cohort.csv": snapshot.cohort.label_digest,
        "slices": snapshot.slices.digest,
        "splits.json": digest_of(fold_names(snapshot.split)),
        "[training]": snapshot.settings.training.digest,
        "[evaluation]": digest_of(asdict(snapshot.settings.evaluation)),
    }
    path = snapshot.folder.root / FOLDER / "capacity.json"
    return Artifact(path=path, kind=CapacityResult, number=FORMAT, made_from=inputs)


def plan_capacity(snapshot: Snapshot, options: CapacityOptions) -> CapacityPlan:
    """What would be trained, and how long it takes on this machine; nothing is trained."""
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
    return CapacityPlan(
        networks=tuple(point.name for point in points),
        absent=tuple(absent),
        folds_left=left,
        seconds_about=max(round(seconds, 1), LEAST_SECONDS) if left else 0.0,
    )


def study_capacity(snapshot: Snapshot, options: CapacityOptions) -> CapacityResult:
    """Train every network at every width on the study's folds, and set AUC against weights.

    A training that is complete is kept, and an interrupted one goes on at its epoch. `save_capacity` writes
    the result.
    """
    plan = plan_capacity(snapshot, options)
    trainings = CapacityTrainings(snapshot=snapshot, options=options)
    points, _ = points_of(options)
    trained = []
    for number, point in enumerate(points, start=1):
        logger.info("capacity: network %d of %d, %s", number, len(points), point.name)
        trained.append(train_point(trainings, point))
    found = CapacityFigures(trained, snapshot.cohort, snapshot.settings.evaluation).result()
    return CapacityResult(
        synthetic=snapshot.cohort.synthetic,
        epochs=trainings.config(points[0], 0).epochs,
        absent=plan.absent,
        files=tuple(str(trainings.folder / f"capacity.{ending}") for ending in ("json", "csv", "svg", "png")),
        **{f.name: getattr(found, f.name) for f in fields(found)},
    )


def save_capacity(snapshot: Snapshot, result: CapacityResult) -> None:
    """Write capacity.csv and, last, capacity.json."""
    folder = snapshot.folder.root / FOLDER
    rows = [
        [
            "" if v is None else f"{v:.6f}" if name.startswith(("auc", "accuracy")) else v
            for name, v in row.items()
        ]
        for row in result.records()
    ]
    save_table(folder / "capacity.csv", list(result.records()[0]), rows)
    capacity_file(snapshot).save(result)

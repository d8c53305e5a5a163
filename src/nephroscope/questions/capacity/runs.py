"""The trainings of a capacity study: which networks, where each is kept, how long it takes, and what it predicts.

The paper asks whether light networks are enough. Here every network, at every width, learns the same folds under the
same settings, in capacity/runs of the study, and the patients that a fold did not see answer.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.base.files import digest_of
from nephroscope.learning.engine.divisions import fold_names
from nephroscope.learning.engine.runs import train_in
from nephroscope.learning.networks.table import NETWORKS
from nephroscope.learning.run_files import CompleteRun, RunRecord, load_own_run
from nephroscope.learning.score_run import score_run
from nephroscope.records import OUT_OF_FOLD, Answer, TrainConfig
from nephroscope.study.snapshot import Snapshot

FOLDER = "capacity"
WIDTHS = (0.25, 0.5, 1.0)
VALIDATION_COST = 1 / 3  # of a slice, against training on it
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CapacityOptions:
    """What is compared.

    Attributes:
        models: Names of networks.
        widths: Multipliers of channels; a network takes part at those that it has. None named: 0.25, 0.5 and 1.
        epochs: Of every training; by default the study's.
        repeats: Trainings of each network from other initial weights; AUC is their mean.

    Raises:
        ConfigError: A network is not known, a width is one that none of them has, or there are no repeats.
    """

    models: tuple[str, ...] = tuple(NETWORKS)
    widths: tuple[float, ...] = ()
    epochs: int | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        for model in self.models:
            if model not in NETWORKS:
                raise _refusal("--models", f"one or more of {', '.join(NETWORKS)}", repr(model))
        for width in self.widths:
            if not any(NETWORKS[model].has_width(width) for model in self.models):
                known = "; ".join(f"{model} {NETWORKS[model].told_widths}" for model in self.models)
                raise _refusal("--widths", f"widths that the networks have ({known})", f"{width:g}")
        if not self.models:
            raise _refusal("--models", "at least one network", "none")
        if self.epochs is not None and self.epochs < 1:
            raise _refusal("--epochs", "a number of 1 or more", str(self.epochs))
        if not 1 <= self.repeats <= 100:
            raise _refusal("--repeats", "a number from 1 to 100", str(self.repeats))


@dataclass(frozen=True, kw_only=True)
class Point:
    """One network at one width."""

    model: str
    width: float

    @property
    def name(self) -> str:
        """As in tables, such as ``mobilenet_v2 x0.5``; a width of 1 is left out."""
        return self.model if self.width == 1 else f"{self.model} x{self.width:g}"


@dataclass(frozen=True, eq=False, kw_only=True)
class CapacityTrainings:
    """The trainings of a capacity study: which settings each has, and where it is kept.

    Raises:
        ConfigError: The folds are those of the leaky protocol.
    """

    snapshot: Snapshot
    options: CapacityOptions

    def __post_init__(self) -> None:
        if self.snapshot.split.leaky:
            raise ConfigError(
                where="capacity",
                expected="folds by patient",
                found="splits.json by image, LEAKY: it favors networks that remember patients",
                remedy="run `nephroscope split --protocol patient` first",
            )

    @property
    def folder(self) -> Path:
        """Of the capacity study."""
        return self.snapshot.folder.root / FOLDER

    def config(self, point: Point, repeat: int) -> TrainConfig:
        """Settings of one training: the study's, but for network, width, epochs and the repeat's seed."""
        training = self.snapshot.settings.training
        changed = replace(training, model=point.model, width=point.width, seed=training.seed + repeat)
        return changed if self.options.epochs is None else replace(changed, epochs=self.options.epochs)

    def run_folder(self, point: Point, repeat: int) -> Path:
        """Where a training lies: named by what it is, and by a digest of all that it is made from."""
        config = self.config(point, repeat)
        study, folds = self.snapshot, fold_names(self.snapshot.split)
        made_from = digest_of([config.digest, study.cohort.label_digest, study.slices.digest, folds])
        return self.folder / "runs" / f"{point.model}-{point.width:g}-seed{config.seed}-{made_from[:8]}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """A network that was trained: number of weights, and for each repeat its predictions and whether it converged."""

    point: Point
    trainable: int
    total: int
    predictions: tuple[tuple[Answer, ...], ...]
    converged: tuple[bool, ...]
    seconds: float


def points_of(options: CapacityOptions) -> tuple[list[Point], list[str]]:
    """The networks to train, and sentences on widths that a network does not have."""
    points, absent = [], []
    for model in dict.fromkeys(options.models):
        widths = [
            width for width in sorted(set(options.widths or WIDTHS)) if NETWORKS[model].has_width(width)
        ]
        points += [Point(model=model, width=width) for width in widths]
        without = [f"{width:g}" for width in sorted(set(options.widths)) if width not in widths]
        if without:
            absent.append(f"{model} has no width {', '.join(without)}")
    return points, absent


def seconds_needed(trainings: CapacityTrainings, points: Sequence[Point]) -> tuple[int, float]:
    """Number of folds left to train, and about how many seconds they take, by a short measurement of each network."""
    from nephroscope.learning.training.speed import seconds_per_slice

    left, seconds = 0, 0.0
    slices = _slices_per_epoch(trainings)
    for point in points:
        undone = [r for r in range(trainings.options.repeats) if not _complete(trainings, point, r)]
        if undone:
            config = trainings.config(point, 0)
            one = seconds_per_slice(
                config, len(trainings.snapshot.cohort.subtypes), trainings.snapshot.slices.spec
            )
            left += len(undone) * len(trainings.snapshot.split.folds)
            seconds += one * slices * config.epochs * len(undone)
    return left, seconds


def train_point(trainings: CapacityTrainings, point: Point) -> Trained:
    """Train one network as often as asked, going on where it was interrupted, and let unseen patients answer."""
    records: list[RunRecord] = []
    predictions = []
    for repeat in range(trainings.options.repeats):
        folder = trainings.run_folder(point, repeat)
        if not _complete(trainings, point, repeat):
            if trainings.options.repeats > 1:
                logger.info("%s, repeat %d of %d", point.name, repeat + 1, trainings.options.repeats)
            train_in(folder, trainings.snapshot, trainings.config(point, repeat))
        record, cases = _answers(trainings, folder)
        records.append(record)
        predictions.append(cases)
    trainable, total = _weights(point, len(trainings.snapshot.cohort.subtypes), trainings)
    return Trained(
        point=point,
        trainable=trainable,
        total=total,
        predictions=tuple(predictions),
        converged=tuple(record.converged for record in records),
        seconds=sum(record.seconds for record in records),
    )


def _answers(trainings: CapacityTrainings, folder: Path) -> tuple[RunRecord, tuple[Answer, ...]]:
    """The record of a training, and its answers to the test cases.

    Raises:
        StudyError: The training's folder is damaged; the remedy is one for a training of a capacity study.
    """
    run = CompleteRun(folder=folder, snapshot=trainings.snapshot)
    try:
        return load_own_run(folder), tuple(_test_cases(score_run(run)[0]))
    except StudyError as error:
        own = f"run {folder.name}"
        if not error.where.startswith(own):
            raise
        lost = f"{folder.name}/run.json" if "run.json" in error.where + error.expected else folder.name
        raise StudyError(
            where=f"capacity/runs/{folder.name}{error.where.removeprefix(own)}",
            expected=error.expected,
            found=error.found,
            remedy=f"remove capacity/runs/{lost} and start `nephroscope capacity` again",
        ) from error


def _complete(trainings: CapacityTrainings, point: Point, repeat: int) -> bool:
    return (trainings.run_folder(point, repeat) / "run.json").exists()


def _test_cases(predictions: Sequence[Answer]) -> list[Answer]:
    """The out-of-fold cases with a known subtype; with one fold, the first test set there is."""
    known = [p for p in predictions if p.truth is not None]
    groups = {p.group for p in known}
    chosen = OUT_OF_FOLD if OUT_OF_FOLD in groups else min(groups, default="")
    return sorted((p for p in known if p.group == chosen), key=lambda p: p.case_id)


def _weights(point: Point, n_subtypes: int, trainings: CapacityTrainings) -> tuple[int, int]:
    from nephroscope.learning.networks.networks import weights_of

    count = weights_of(point.model, n_subtypes, trainings.snapshot.settings.training.recipe, point.width)
    return count.trainable, count.total


def _slices_per_epoch(trainings: CapacityTrainings) -> float:
    """Slices that all folds work through in one epoch, validation at its lower cost."""
    most = trainings.snapshot.settings.training.slices_per_case
    counts = {name: len(rows) for name, rows in trainings.snapshot.slices.rows_by_case.items()}

    def drawn(names: frozenset[str]) -> int:
        return sum(min(counts[n], most) if most else counts[n] for n in names if n in counts)

    validation = (sum(counts.get(n, 0) for n in fold.validation) for fold in trainings.snapshot.split.folds)
    return sum(drawn(fold.train) for fold in trainings.snapshot.split.folds) + VALIDATION_COST * sum(
        validation
    )


def _refusal(where: str, expected: str, found: str) -> ConfigError:
    return ConfigError(where=where, expected=expected, found=found, remedy="correct it")

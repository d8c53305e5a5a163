"""The whole experiment: a setup in, every training done (going on where it stopped), the content of the page out."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nephroscope.base.files import save_json
from nephroscope.base.progress import track
from nephroscope.base.version import __version__
from nephroscope.learning.training.arm import read_record, train_arm
from nephroscope.questions.replicate.answers import (
    Answers,
    Part,
    answer_tests,
    joined,
    judge,
    make_parts,
    milliseconds_per_slice,
)
from nephroscope.questions.replicate.numbers import (
    LEAKY,
    LEAKY_EPOCH,
    Judged,
    Reading,
    area_two_ways,
    by_case,
    by_image,
    differences,
    figures,
    one_sided,
    take,
    three_of_each,
)
from nephroscope.questions.replicate.setup import Setup, test_sets
from nephroscope.records import EvaluationConfig

FORMAT = 1
# About how long a step takes beside MobileNetV2's on a CPU: for the time left only.
COST = {
    "shufflenet_v2_x1_0": 2,
    "mobilenet_v2": 4,
    "efficientnet_b0": 6,
    "resnet34": 8,
    "resnet50": 12,
    "resnet101": 20,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """The parts of one network under true or shuffled labels."""

    model: str
    paper: Part
    twin: tuple[Part, ...]

    def record(self, part: Part) -> dict[str, Any]:
        """The content of a part's arm.json."""
        return read_record(part.arm)

    @property
    def chosen_twin(self) -> Part:
        """The twin's fold that answers the test cases: lowest loss on the patients its epoch was chosen on."""

        def loss(part: Part) -> float:
            record = self.record(part)
            rows = [row for row in record["epochs"] if row["epoch"] == record["best_epoch"]]
            return float(rows[0]["validation_loss"]) if rows else float("inf")

        return min(self.twin, key=loss)


def train_all(setup: Setup, folder: Path) -> list[Part]:
    """Every part trained; one progress over the whole, with the time left."""
    parts = make_parts(setup, folder)
    total = sum(part.arm.steps_left * COST[part.model] for part in parts)
    for _ in track(_steps(parts), "replicate zuo2021", "step", max(total, 1)):
        pass
    return parts


def _steps(parts: Sequence[Part]) -> Iterator[None]:
    for part in parts:
        for _ in train_arm(part.arm):
            yield from (None for _ in range(COST[part.model]))


def group_parts(parts: Sequence[Part], models: Sequence[str], shuffled: bool) -> list[Trained]:
    """The parts network by network."""
    found = []
    for model in models:
        own = [part for part in parts if part.model == model and part.shuffled == shuffled]
        paper = next(part for part in own if part.kind == "paper")
        twin = tuple(part for part in own if part.kind == "twin")
        found.append(Trained(model=model, paper=paper, twin=twin))
    return found


def reading_of(setup: Setup, config: EvaluationConfig) -> Reading:
    """How every answer of this experiment is read."""
    cohort = setup.cohort
    return Reading(
        subtypes=cohort.subtypes,
        positive=cohort.subtypes.index(cohort.positive),
        config=config,
        seed=setup.options.seed,
    )


def results_of(trained: Trained, setup: Setup, reading: Reading) -> dict[str, Any]:
    """Everything about one network: validation and tests under both protocols, differences, resources."""
    found = validation_of(trained, setup, reading)
    paper, twin = trained.record(trained.paper), trained.record(trained.chosen_twin)
    answers = {
        "paper": answer_tests(trained.paper, setup),
        "twin": answer_tests(trained.chosen_twin, setup),
    }
    return {
        "model": trained.model,
        **found,
        "tests": {name: _test_figures(answers, of, reading) for name, of in test_sets(setup).items()},
        "resources": {
            "seconds_per_epoch": paper["seconds_per_epoch"],
            "images_per_epoch": paper["images_per_epoch"],
            "peak_memory_mb": max(
                (r["peak_memory_mb"] for r in (paper, twin) if r["peak_memory_mb"]), default=None
            ),
            "memory_of": paper["memory_of"],
            "weights_mb": paper["weights_mb"],
            "ms_per_slice": milliseconds_per_slice(trained.paper, setup),
            "device": paper["device"],
            "threads": paper["threads"],
            "precision": paper["precision"],
        },
    }


def validation_of(trained: Trained, setup: Setup, reading: Reading) -> dict[str, Any]:
    """The paper's validation, LEAKY, and the twin's patients out of fold: figures, difference, curves."""
    paper = by_image(judge(trained.paper, setup), reading, LEAKY)
    by_fold = [judge(part, setup) for part in trained.twin]
    out_of_fold = joined(by_fold)
    twin = by_image(out_of_fold, reading)
    record = trained.record(trained.paper)
    folds = [trained.record(part) for part in trained.twin]
    return {
        "paper": {
            "mark": LEAKY,
            "converged": record["converged"],
            "best_epoch": record["best_epoch"],
            "one_sided": one_sided(paper),
            "steps": record["steps"],
            "validation": figures(paper, reading),
            "n_train_images": record["n_train_images"],
            "epochs": record["epochs"],
        },
        "twin": {
            "converged": [fold["converged"] for fold in folds],
            "best_epoch": [fold["best_epoch"] for fold in folds],
            "one_sided": [one_sided(by_image(answers, reading)) for answers in by_fold],
            "steps": [fold["steps"] for fold in folds],
            "by_image": figures(twin, reading),
            "by_case": figures(by_case(out_of_fold, reading), reading),
            "epochs": [fold["epochs"] for fold in folds],
            "folds": [_patients_of(part, setup) for part in trained.twin],
        },
        "difference": differences(paper, twin, reading),
    }


def _patients_of(part: Part, setup: Setup) -> dict[str, int]:
    """How many patients a fold of the twin trains on, chooses its epoch on and is judged on."""
    found = {}
    for name, images in (("train", part.arm.train), ("choose", part.arm.choose), ("judge", part.judged)):
        case_ids = np.unique(setup.store.case_ids[images.rows]).tolist()
        found[f"{name}_patients"] = len({setup.cohort.by_id[case].patient_id for case in case_ids})
    return found


def _test_figures(answers: dict[str, Answers], case_ids: Sequence[str], reading: Reading) -> dict[str, Any]:
    """By image (three of a case), by case (two of three) and by case (mean over all slices), each with its twin."""
    of = {kind: take(a, np.flatnonzero(np.isin(a.case_ids, case_ids))) for kind, a in answers.items()}
    three = {kind: three_of_each(a, reading) for kind, a in of.items()}
    marks = {"paper": LEAKY_EPOCH, "twin": ""}
    judged: dict[str, dict[str, Judged]] = {
        "by_image": {kind: by_image(a, reading, marks[kind]) for kind, a in three.items()},
        "by_case": {kind: by_case(a, reading, marks[kind], majority=True) for kind, a in of.items()},
        "by_case_mean": {kind: by_case(a, reading, marks[kind]) for kind, a in of.items()},
    }
    found: dict[str, Any] = {
        how: {kind: figures(j, reading) for kind, j in both.items()}
        | {"difference": differences(both["paper"], both["twin"], reading)}
        for how, both in judged.items()
    }
    for part in found["by_case"].values():
        part.pop("auc")  # a vote has no score
    found["roc"] = {
        "by_image_paper": area_two_ways(judged["by_image"]["paper"], reading),
        "by_case_twin": area_two_ways(judged["by_case_mean"]["twin"], reading),
    }
    return found


def as_plain(content: Any) -> Any:
    """Records as plain objects for JSON."""
    if hasattr(content, "__dataclass_fields__"):
        return asdict(content)
    if isinstance(content, dict):
        return {str(key): as_plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [as_plain(value) for value in content]
    return content


def save_content(content: dict[str, Any], path: Path) -> None:
    """Write replicate.json."""
    save_json(path, {"format": FORMAT, "version": __version__, **as_plain(content)})

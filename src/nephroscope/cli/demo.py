"""The command demo: every step on phantoms, and the functions that its tests share."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from nephroscope.base.text import shell_line
from nephroscope.cli.command import Command, Outcome, StudyPath, Switch
from nephroscope.facade.study import Study
from nephroscope.records import Estimate, Evaluation, Finding, SliceSpec, SplitConfig, TrainConfig
from nephroscope.study.cohort_table import save_cohort

SUBTYPES = ("PRCC", "ChRCC")
DEMO_TRAINING = TrainConfig(
    model="shufflenet_v2_x1_0", epochs=8, learning_rate=2e-3, slices_per_case=5, patience=0
)
DEMO_SLICES = SliceSpec(size_px=128)  # a phantom's tumor has 20 to 80 pixels across
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DemoPlan:
    """Size and seed of a demo; the defaults take about two minutes on two cores.

    Attributes:
        n_cases: Number of phantoms; the share ``holdout`` of them is the test.
        shuffle_labels: Assign the subtypes at random; an honest evaluation must then stay at chance.
    """

    n_cases: int = 240
    seed: int = 0
    shuffle_labels: bool = False
    holdout: float = 0.3
    validation: float = 0.1
    slices: SliceSpec = DEMO_SLICES
    training: TrainConfig = DEMO_TRAINING


@dataclass(frozen=True, kw_only=True)
class DemoPrediction:
    """A held-out phantom predicted from its DICOM files, next to its probabilities in the evaluation."""

    case_id: str
    truth: str | None
    call: str | None
    reason: str
    probabilities: dict[str, float]
    evaluated: dict[str, float]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What `nephroscope demo --json` prints: paths, figures of the held-out phantoms, one prediction, seconds."""

    study: str
    report: str
    bundle: str
    run: str
    synthetic: bool
    shuffled_labels: bool
    converged: bool
    case: dict[str, Estimate]
    image: dict[str, Estimate]
    prediction: DemoPrediction
    timings: dict[str, float]
    seconds: float


def run_demo(root: Path, plan: DemoPlan) -> DemoResult:
    """Run every step in a new study at ``root``."""
    started = time.monotonic()
    seconds: dict[str, float] = {}

    def done(step: str) -> None:
        seconds[step] = round(time.monotonic() - started - sum(seconds.values()), 1)
        logger.info("demo: %s took %.0f s", step, seconds[step])

    study = Study.create(root, SUBTYPES)
    study.import_phantom(plan.n_cases, plan.seed)
    if plan.shuffle_labels:
        shuffle_labels(study, plan.seed)
    done("phantoms")
    study.change("slices", **asdict(plan.slices))
    study.cut_slices()
    study.make_split(SplitConfig(folds=1, holdout=plan.holdout, validation=plan.validation, seed=plan.seed))
    done("slices")
    training = replace(plan.training, seed=plan.seed)
    study.change("training", **asdict(training))
    run = study.train(training)
    done("training")
    evaluation, page = run.evaluate(), run.report()
    done("report")
    bundle = run.export(root / "bundle").folder
    prediction = _predict_one(study, evaluation, bundle)
    done("bundle")
    return DemoResult(
        study=str(root),
        report=str(page),
        bundle=str(bundle),
        run=run.name,
        synthetic=True,
        shuffled_labels=plan.shuffle_labels,
        converged=evaluation.converged,
        case=evaluation.groups[0].case,
        image=evaluation.groups[0].image,
        prediction=prediction,
        timings=seconds,
        seconds=round(time.monotonic() - started, 1),
    )


def shuffle_labels(study: Study, seed: int) -> None:
    """Assign the subtypes of the cohort to its cases at random, and note it in the findings."""
    cohort = study.cohort
    order = np.random.default_rng([seed, 0x5F]).permutation(len(cohort.cases))
    cases = tuple(
        replace(case, subtype=cohort.cases[other].subtype)
        for case, other in zip(cohort.cases, order, strict=True)
    )
    save_cohort(replace(cohort, cases=cases), study.folder.root)
    study.note(
        Finding(
            code="labels-shuffled",
            severity="warning",
            message="subtypes were assigned at random: results should be no better than chance",
            case_id="",
        )
    )


def _predict_one(study: Study, evaluation: Evaluation, bundle: Path) -> DemoPrediction:
    """Predict a held-out phantom from its DICOM files, as a clinic would, next to its evaluated probabilities."""
    from nephroscope.facade.prediction import FilesToPredict, predict_files

    known = evaluation.predictions[0]
    case = study.cohort.by_id[known.case_id]
    assert case.roi is not None  # noqa: S101 (phantoms have one)
    answer = predict_files(bundle, FilesToPredict(image=case.image, roi=case.roi.path, case_id=case.case_id))
    return DemoPrediction(
        case_id=case.case_id,
        truth=case.subtype,
        call=answer.call,
        reason=answer.reason,
        probabilities=answer.probabilities,
        evaluated=known.probabilities,
        seconds=answer.seconds,
    )


@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """Run every step on a SYNTHETIC cohort: phantoms, slices, training, evaluation, report, bundle, prediction.

    Example: nephroscope demo my-demo --seed 3
    """

    study: StudyPath
    """New study folder."""
    seed: int = 0
    """Random seed of phantoms, split and training."""
    cases: int = 240
    """Number of phantoms; three in ten form the test set."""
    shuffle_labels: Switch = False
    """Assign subtypes at random; results should then be no better than chance."""

    def goes_on(self, words: Sequence[str]) -> None:
        """Not at all: the demo wants a new folder."""

    def run(self) -> Outcome:
        """Run it."""
        plan = DemoPlan(n_cases=self.cases, seed=self.seed, shuffle_labels=self.shuffle_labels)
        found = run_demo(self.study, plan)
        one, auc = found.prediction, found.case["auc"]
        lines = [
            f"SYNTHETIC cohort. AUC by case on held-out phantoms: {auc}",
            f"case {one.case_id}: {one.call or 'not sure'} ({one.reason}); truth {one.truth}",
            f"report: {found.report}  (open it in a browser)",
            f"bundle: {found.bundle}  ({shell_line('nephroscope', 'predict', found.bundle)} IMAGE --roi ROI)",
            f"{found.seconds:.0f} s",
        ]
        return Outcome(data=found, text="\n".join(lines))

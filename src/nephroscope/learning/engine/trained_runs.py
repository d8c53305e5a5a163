"""Trained runs of a study, and networks trained on other divisions: what they predict, or why they are not ranked.

Every answer comes from the fold that did not see the patient: test parts for the figures, validation parts for what
is chosen after training. Scoring runs on ONNX Runtime; only training needs torch.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from nephroscope.base.documents import read_object
from nephroscope.base.errors import StudyError
from nephroscope.base.files import digest_of
from nephroscope.clinic.facts import FactsModel
from nephroscope.learning.engine.divisions import Division, present_division, same_folds
from nephroscope.learning.engine.predictions import HOLDOUT, Predictions, Probabilities, thresholds_of
from nephroscope.learning.networks.table import encoder_of, fuses
from nephroscope.learning.run_files import (
    CompleteRun,
    changed_since_run,
    check_started,
    load_run,
    load_run_split,
    open_run_network,
    run_config,
)
from nephroscope.learning.score_run import exported_folds, fusions, score_run
from nephroscope.records import Answer, Cohort, Fold, Split
from nephroscope.study.artifact import Artifact
from nephroscope.study.snapshot import Snapshot

FORMAT = 1  # of run.json
ANSWERS = 2  # 2: the mean of the folds' networks answers held-out cases
HELD_OUT = {"answers of held-out cases": str(ANSWERS)}  # of what is made from such answers
LEAKY = "LEAKY split by image: slices of one patient are used in both training and testing"


@dataclass(frozen=True, eq=False, kw_only=True)
class FoundRun:
    """A run of the study: what it predicts on the present folds, or the reason why it is not ranked.

    Attributes:
        leaky: True under the image protocol; it is then listed separately and never ranked.
    """

    name: str
    model: str
    predictions: Predictions | None = None
    reason: str = ""
    leaky: bool = False


def find_runs(snapshot: Snapshot, wanted: tuple[str, ...] | None, kept: Path) -> list[FoundRun]:
    """All runs of the study, or those of these names, each with its predictions or the reason why there are none.

    Raises:
        StudyError: There is no run of a name.
    """
    runs = snapshot.folder
    folders = runs.runs() if wanted is None else [runs.complete_run(name) for name in dict.fromkeys(wanted)]
    return [_look_at(folder, snapshot, kept) for folder in folders]


def run_of(snapshot: Snapshot, model: str) -> str | None:
    """Name of the newest run of a network that can be ranked; None where there is none."""
    for folder in reversed(snapshot.folder.runs()):
        try:
            is_it = run_config(folder).model == model
        except StudyError:  # damaged: a run of no known network
            continue
        if is_it and not why_not(folder, snapshot):
            return folder.name
    return None


def why_not(folder: Path, snapshot: Snapshot) -> str:
    """Why a run cannot be ranked on the present folds; empty when it can."""
    if not (folder / "run.json").exists():
        return "interrupted: go on with `nephroscope train --resume`"
    try:
        record = load_run(folder)
    except StudyError as error:
        return str(error)
    if changed := changed_since_run(record, snapshot):
        return f"out of date: {changed} changed since it was trained; train again"
    if record.leaky:
        return LEAKY
    try:
        check_started(folder, record)
        split = load_run_split(folder, snapshot.cohort)
        if not same_folds(split, snapshot.split):
            return "trained on other folds than splits.json: train again"
        for fold in split.folds:
            open_run_network(folder, fold.index)
    except StudyError as error:
        return str(error)
    return "" if record.converged else "did not converge"


def _look_at(folder: Path, snapshot: Snapshot, kept: Path) -> FoundRun:
    name, model = folder.name, ""
    try:
        model, reason = run_config(folder).model, why_not(folder, snapshot)
    except StudyError as error:
        reason = str(error)
    if reason:
        return FoundRun(name=name, model=model, reason=reason, leaky=reason == LEAKY)
    division = present_division(snapshot, 0)
    scored = ScoredRun(folder=folder, name=name, model=model)
    predictions = scored.predictions(division, snapshot, kept / f"{name}.json")
    return FoundRun(name=name, model=model, predictions=predictions)


@dataclass(frozen=True, kw_only=True)
class RunAnswers:
    """Probabilities of a run, as they are kept.

    Attributes:
        p: Of the test cases.
        fold: Index of the fold that answered, by case; -1 for held-out cases, which the mean of all folds answers.
        validation: Of each fold's validation part.
        image: Of the image alone, where clinical facts are fused with it.
    """

    p: dict[str, Probabilities]
    fold: dict[str, int]
    validation: dict[int, dict[str, Probabilities]]
    image: dict[str, Probabilities] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """A complete run that predicts: its folder, its name in tables and its network."""

    folder: Path
    name: str
    model: str

    def predictions(self, division: Division, snapshot: Snapshot, kept: Path) -> Predictions:
        """What it predicts on the folds it was trained on; kept, so that a run is scored once."""
        parts = [
            read_object(self.folder / "run.json", FORMAT),
            asdict(snapshot.settings.evaluation),
            snapshot.files_digest,
            *([snapshot.cohort.digest] if fuses(self.model) else []),
        ]
        artifact = Artifact(path=kept, kind=RunAnswers, number=ANSWERS, made_from=digest_of([ANSWERS, parts]))
        found = artifact.load()
        if found is None:
            found = self._score(division, snapshot)
            artifact.save(found)
        thresholds = thresholds_of(snapshot, division, found.validation)
        if thresholds:
            exported = exported_folds(self.folder)
            thresholds[HOLDOUT] = float(np.mean([thresholds[index] for index in exported]))
        return Predictions(
            name=self.name,
            kind="network",
            description=network_description(self.model),
            p=found.p,
            fold=found.fold,
            validation=found.validation,
            thresholds=thresholds,
            image=found.image,
        )

    def _score(self, division: Division, snapshot: Snapshot) -> RunAnswers:
        split, cohort = division.split, division.cohort
        models = self._models(split, snapshot, cohort) if fuses(self.model) else None
        answers = self._predict(split, snapshot, cohort, models)
        tested = {name for fold in split.folds for name in fold.test}
        validation = {}
        for fold in split.folds:  # each network is asked for its own validation part
            only = Fold(index=fold.index, train=fold.train, validation=frozenset(), test=fold.validation)
            part = replace(split, folds=(only,), holdout=frozenset())
            validation[fold.index] = _rows(self._predict(part, snapshot, cohort, models), cohort)
        return RunAnswers(
            p=_rows(answers, cohort),
            fold={p.case_id: p.fold if p.case_id in tested else HOLDOUT for p in answers},
            validation=validation,
            image={p.case_id: tuple(p.of_image[s] for s in cohort.subtypes) for p in answers}
            if models
            else {},
        )

    def _predict(
        self, split: Split, snapshot: Snapshot, cohort: Cohort, models: dict[int, FactsModel] | None
    ) -> list[Answer]:
        return score_run(self._run(split, snapshot, cohort), models)[0]

    def _models(self, split: Split, snapshot: Snapshot, cohort: Cohort) -> dict[int, FactsModel]:
        return fusions(self._run(split, snapshot, cohort))

    def _run(self, split: Split, snapshot: Snapshot, cohort: Cohort) -> CompleteRun:
        config = replace(snapshot.settings.evaluation, criterion="fixed")
        study = snapshot.with_labels(cohort, split).with_evaluation(config)
        return CompleteRun(folder=self.folder, snapshot=study)


def network_description(model: str) -> str:
    """A trained network in a sentence for the report's methods."""
    network = encoder_of(model) if fuses(model) else model
    words = f"{network}, trained on slices; mean probability over a tumor's slices"
    return words + ("; in one regression with age, sex and size" if fuses(model) else "")


def _rows(answers: list[Answer], cohort: Cohort) -> dict[str, Probabilities]:
    return {p.case_id: tuple(p.probabilities[s] for s in cohort.subtypes) for p in answers}

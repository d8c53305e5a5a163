"""A network as a learner: trained in a folder, its epoch chosen on patients that it does not learn from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nephroscope.base.files import digest_of
from nephroscope.base.version import install_line
from nephroscope.learning.baselines.inner_folds import INNER_FOLDS, patient_folds
from nephroscope.learning.engine.divisions import Division, fold_names
from nephroscope.learning.engine.predictions import Predictions
from nephroscope.learning.engine.runs import train_in
from nephroscope.learning.engine.trained_runs import ScoredRun, network_description
from nephroscope.learning.learner import Floats, Ints, StudyData
from nephroscope.learning.networks.table import phases_of
from nephroscope.learning.run_files import KeptNetwork, load_own_run
from nephroscope.records import Fold, Split, SplitConfig, TrainConfig
from nephroscope.study.slices import SliceStore
from nephroscope.study.snapshot import Snapshot

ANSWERS = "answers.json"


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedNetwork:
    """A trained network; a case gets the mean probability over its slices."""

    network: KeptNetwork
    store: SliceStore
    phases: tuple[str, ...] = ()

    def probabilities(self, case_ids: Sequence[str]) -> Floats:
        """Probabilities (n, K) of cases that have slices."""
        rows = [self.store.rows_by_case[case_id] for case_id in case_ids]
        return np.stack(
            [self.network.probabilities(self.store.shown(row, self.phases)).mean(axis=0) for row in rows]
        )


@dataclass(frozen=True, kw_only=True)
class NetworkLearner:
    """One of the networks under some settings."""

    config: TrainConfig

    @property
    def name(self) -> str:
        """The network's."""
        return self.config.model

    @property
    def description(self) -> str:
        """For the report's methods."""
        return network_description(self.config.model)

    def missing(self, data: StudyData) -> str:
        """Why it cannot be trained here; empty when it can."""
        from importlib.util import find_spec

        return "" if find_spec("torch") else f"torch is not installed: {install_line('train')}"

    def fit(self, data: StudyData, case_ids: Sequence[str], labels: Ints, seed: int) -> FittedNetwork:
        """Learn from four fifths of the patients and choose the epoch on the others; kept, and resumed, in the cache.

        Args:
            data: The study, without labels.
            case_ids: Cases with slices.
            labels: Index of each one's subtype, (n,).
            seed: Of the division and the training.
        """
        subtypes, by_id = data.cohort.subtypes, data.cohort.by_id
        patients = [by_id[case_id].patient_id for case_id in case_ids]
        inner = patient_folds(labels, patients, INNER_FOLDS, seed)
        chosen_on = frozenset(case for case, part in zip(case_ids, inner, strict=True) if part == 0)
        fold = Fold(index=0, train=frozenset(case_ids) - chosen_on, validation=chosen_on, test=frozenset())
        known = {case: subtypes[label] for case, label in zip(case_ids, labels.tolist(), strict=True)}
        cases = tuple(replace(c, subtype=known.get(c.case_id)) for c in data.cohort.cases)
        cohort, config = replace(data.cohort, cases=cases), replace(self.config, seed=seed)
        patient_of = {case.case_id: case.patient_id for case in cases}
        split = Split(protocol="patient", folds=(fold,), patient_of=patient_of, config=SplitConfig(folds=1))
        digest = digest_of([config.digest, cohort.label_digest, data.store.digest, fold_names(split)])
        folder = data.cache / "networks" / f"{self.name}-{digest}"
        if not (folder / "run.json").exists():
            train_in(folder, Snapshot.of(cohort, data.store, split), config)
        load_own_run(folder)
        phases = phases_of(self.config.model, data.store.spec.phases)
        return FittedNetwork(network=KeptNetwork(folder, 0), store=data.store, phases=phases)

    def predict(self, snapshot: Snapshot, division: Division, kept: Path) -> Predictions:
        """What it predicts on a division: one training a fold, kept below ``kept``; goes on where it stopped.

        The epoch is chosen on the validation part of the fold, as in a run of the study.
        """
        from nephroscope.learning.training.run import run_digests

        study = snapshot.with_labels(division.cohort, division.split)
        digest = digest_of([run_digests(study, self.config), fold_names(division.split)])
        folder = kept / self.name / f"{division.name}-{digest[:8]}"
        if not (folder / "run.json").exists():
            train_in(folder, study, self.config)
        load_own_run(folder)
        scored = ScoredRun(folder=folder, name=self.name, model=self.name)
        return scored.predictions(division, snapshot, folder / ANSWERS)

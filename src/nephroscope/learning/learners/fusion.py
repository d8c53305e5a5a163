"""A frozen network and clinical facts in one regression.

`nephroscope compare` gives the same for every trained run, a row for each subset; this one needs no training. It is
compared where it is asked for by name, so that it does not count among the pairs of every comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nephroscope.learning.baselines.fusion import Fusion, fit_fusion
from nephroscope.learning.baselines.inner_folds import INNER_FOLDS, Floats, Ints, patient_folds
from nephroscope.learning.learner import Fitted, Learner, StudyData
from nephroscope.learning.learners import learners_named

IMAGE = "frozen"
NO_FACTS = "no age, sex or size in cohort.csv"


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedFusion:
    """Members fitted on all training cases, and the regression on their answers and the facts."""

    data: StudyData
    members: tuple[Fitted, ...]
    fusion: Fusion

    def probabilities(self, case_ids: Sequence[str]) -> Floats:
        """Probabilities (n, K) of the subtypes in the cohort's order."""
        said = np.stack([member.probabilities(case_ids) for member in self.members])
        return self.fusion.probabilities(said, [self.data.cohort.by_id[c].clinical for c in case_ids])


@dataclass(frozen=True, kw_only=True)
class FusionLearner:
    """The regression of image and facts."""

    name: str = "fusion"
    description: str = (
        "logistic regression on the logits of a frozen network, from 5 inner folds of patients that had not seen the "
        "case, and on age, sex and log of size; held to the network's answer by a weak prior; gaps are filled with "
        "means inside the training cases and marked"
    )

    def missing(self, data: StudyData) -> str:
        """Why it cannot be used on this study; empty when it can."""
        if not any(c.clinical.age_years or c.clinical.sex or c.clinical.size_cm for c in data.cohort.cases):
            return NO_FACTS
        return learners_named([IMAGE])[0].missing(data)

    def remarks(self, data: StudyData) -> tuple[str, ...]:
        """Its members."""
        return (f"members: {', '.join(one.name for one in self._members())}, clinical facts",)

    def fit(self, data: StudyData, case_ids: Sequence[str], labels: Ints, seed: int) -> FittedFusion:
        """The regression from members fitted on inner folds; then each member fitted on all these cases."""
        members, by_id = self._members(), data.cohort.by_id
        patient_ids = [by_id[case_id].patient_id for case_id in case_ids]
        folds = patient_folds(labels, patient_ids, INNER_FOLDS, seed)
        n_subtypes = len(data.cohort.subtypes)
        said = np.full((len(members), len(case_ids), n_subtypes), 1 / n_subtypes)
        for fold in range(folds.max(initial=0) + 1):
            train, test = np.flatnonzero(folds != fold).tolist(), np.flatnonzero(folds == fold).tolist()
            for place, member in enumerate(members if train else ()):
                fitted = member.fit(data, [case_ids[i] for i in train], labels[train], seed)
                said[place, test] = fitted.probabilities([case_ids[i] for i in test])
        facts = [by_id[case_id].clinical for case_id in case_ids]
        return FittedFusion(
            data=data,
            members=tuple(member.fit(data, case_ids, labels, seed) for member in members),
            fusion=fit_fusion(said, facts, labels, patient_ids),
        )

    def _members(self) -> list[Learner]:
        return learners_named([IMAGE])


LEARNER = FusionLearner()

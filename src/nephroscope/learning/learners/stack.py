"""The other baselines combined, weighted by what each predicts of training cases that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nephroscope.learning.baselines.inner_folds import INNER_FOLDS, Floats, Ints, patient_folds
from nephroscope.learning.baselines.stack_weights import StackWeights, apply_stack, fit_stack
from nephroscope.learning.learner import Fitted, Learner, StudyData
from nephroscope.learning.learners import all_learners

MEMBERS = ("attenuation", "clinical", "frozen", "radiomics")
FEWEST_MEMBERS = 2


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedStack:
    """Members fitted on all training cases, and their weights by name."""

    members: dict[str, Fitted]
    weights: StackWeights

    def probabilities(self, case_ids: Sequence[str]) -> Floats:
        """Probabilities (n, K) of the subtypes in the cohort's order."""
        predicted = [member.probabilities(case_ids) for member in self.members.values()]
        return apply_stack(self.weights, np.stack(predicted))


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The out-of-fold stack of those of its members that this study allows."""

    members: tuple[str, ...] = MEMBERS
    name: str = "stack"
    description: str = (
        "the other baselines (attenuation, clinical, frozen, radiomics: those this study allows), combined by a "
        "logistic regression on their logits, shrunk towards the plain mean; weights from what each predicted in 5 "
        "inner folds of patients for cases it was not fitted on, applied to members fitted on all training cases"
    )

    def missing(self, data: StudyData) -> str:
        """Why there is nothing to combine; empty when two members or more can be computed."""
        reasons = {name: candidate.missing(data) for name, candidate in self._learners().items()}
        there = [name for name, reason in reasons.items() if not reason]
        if len(there) >= FEWEST_MEMBERS:
            return ""
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if reason)
        return f"nothing to combine, {len(there)} of {len(reasons)} members can be computed ({why})"

    def remarks(self, data: StudyData) -> tuple[str, ...]:
        """Which members this study allows."""
        return (f"members: {', '.join(self._present(data))}",)

    def fit(self, data: StudyData, case_ids: Sequence[str], labels: Ints, seed: int) -> FittedStack:
        """Weights from members fitted on inner folds; then each member fitted on all these cases."""
        members, by_id = self._present(data), data.cohort.by_id
        patient_ids = [by_id[case_id].patient_id for case_id in case_ids]
        folds = patient_folds(labels, patient_ids, INNER_FOLDS, seed)
        predicted = np.full(
            (len(members), len(case_ids), len(data.cohort.subtypes)), 1 / len(data.cohort.subtypes)
        )
        for fold in range(folds.max(initial=0) + 1):
            train, test = np.flatnonzero(folds != fold).tolist(), np.flatnonzero(folds == fold).tolist()
            if not train:
                continue
            for place, member in enumerate(members.values()):
                fitted = member.fit(data, [case_ids[i] for i in train], labels[train], seed)
                predicted[place, test] = fitted.probabilities([case_ids[i] for i in test])
        return FittedStack(
            members={name: member.fit(data, case_ids, labels, seed) for name, member in members.items()},
            weights=fit_stack(predicted, labels, patient_ids, seed),
        )

    def _learners(self) -> dict[str, Learner]:
        known = all_learners()
        return {name: known[name] for name in self.members if name in known}

    def _present(self, data: StudyData) -> dict[str, Learner]:
        return {name: each for name, each in self._learners().items() if not each.missing(data)}


LEARNER = Stack()

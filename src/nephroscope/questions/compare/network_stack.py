"""Networks and baselines combined, with weights from the validation part of each fold."""

from collections.abc import Mapping, Sequence

import numpy as np

from nephroscope.learning.baselines.inner_folds import INNER_FOLDS, patient_folds
from nephroscope.learning.baselines.stack_weights import StackWeights, apply_stack, fit_stack
from nephroscope.learning.engine.divisions import Division
from nephroscope.learning.engine.predictions import HOLDOUT, Predictions, Probabilities, thresholds_of
from nephroscope.statistics.metrics import Floats
from nephroscope.study.snapshot import Snapshot

NAME = "stack+networks"
HOW = (
    "weights from what each member predicted on the validation part of each fold: baselines by a fit on the training "
    "part alone, networks after their epoch was chosen on that same part, which makes them look too "
    "good there; the weights are "
    "then applied to baselines fitted on both parts"
)
NO_MEMBERS = ("stack", "attenuation+clinical", "fusion")  # made of others that are members themselves


def stack_with_networks(
    snapshot: Snapshot, division: Division, ranked: Sequence[Predictions]
) -> Predictions | None:
    """Networks and single baselines, weighted by what each predicted on the validation part of each fold.

    Each fold has its own weights; held-out cases get weights from all validation parts. No weight and no threshold
    sees a test case, but a network's epoch was chosen on the validation part that weighs it, which flatters it there.
    None where there is no network, or nothing else.
    """
    members = [a for a in ranked if a.name not in NO_MEMBERS and a.validation]
    if len(members) < 2 or all(member.kind != "network" for member in members):
        return None
    weights = {
        fold.index: _weights(snapshot, division, members, [fold.index]) for fold in division.split.folds
    }
    if any(member.fold[case] == HOLDOUT for member in members for case in member.fold):
        weights[HOLDOUT] = _weights(
            snapshot, division, members, [fold.index for fold in division.split.folds]
        )
    fold_of = members[0].fold
    p: dict[str, Probabilities] = {}
    for index in dict.fromkeys(fold_of.values()):
        cases = [case for case, own in fold_of.items() if own == index]
        said = np.stack([_table(member.p, cases) for member in members])
        found = apply_stack(weights[index], said)
        p |= {case: tuple(row) for case, row in zip(cases, found.tolist(), strict=True)}
    names = ", ".join(member.name for member in members)
    description = f"{names}; {HOW}"
    thresholds = _thresholds(snapshot, division, members)
    return Predictions(
        name=NAME, kind="stack", description=description, p=p, fold=dict(fold_of), thresholds=thresholds
    )


def _thresholds(snapshot: Snapshot, division: Division, members: Sequence[Predictions]) -> dict[int, float]:
    """Chosen, where the study chooses any, on what inner folds of the validation part say of it."""
    if snapshot.settings.evaluation.criterion == "fixed":
        return {}
    said = {fold.index: _inner(snapshot, division, members, fold.index) for fold in division.split.folds}
    return thresholds_of(snapshot, division, said)


def _inner(
    snapshot: Snapshot, division: Division, members: Sequence[Predictions], index: int
) -> dict[str, Probabilities]:
    """The stack's answers to a validation part, each case by weights that did not see its patient."""
    cases = sorted(members[0].validation[index])
    table = np.stack([_table(member.validation[index], cases) for member in members])
    labels = np.array([division.labels[case] for case in cases], dtype=np.intp)
    patients = [snapshot.cohort.by_id[case].patient_id for case in cases]
    inner = patient_folds(labels, patients, INNER_FOLDS, division.seed)
    found: dict[str, Probabilities] = {}
    for number in np.unique(inner).tolist():
        own, rest = np.flatnonzero(inner == number), np.flatnonzero(inner != number)
        if rest.size:
            weights = fit_stack(table[:, rest], labels[rest], [patients[i] for i in rest], division.seed)
            answers = apply_stack(weights, table[:, own])
        else:  # one patient: nothing to weigh by, so the plain mean
            answers = table[:, own].mean(axis=0)
        found |= {cases[i]: tuple(row) for i, row in zip(own.tolist(), answers.tolist(), strict=True)}
    return found


def _weights(
    snapshot: Snapshot, division: Division, members: Sequence[Predictions], folds: Sequence[int]
) -> StackWeights:
    tables, labels, patients = [], [], []
    for index in folds:
        cases = sorted(members[0].validation[index])
        tables.append(np.stack([_table(member.validation[index], cases) for member in members]))
        labels += [division.labels[case] for case in cases]
        patients += [snapshot.cohort.by_id[case].patient_id for case in cases]
    return fit_stack(np.concatenate(tables, axis=1), np.array(labels, dtype=np.intp), patients, division.seed)


def _table(rows: Mapping[str, Probabilities], cases: Sequence[str]) -> Floats:
    return np.array([rows[case] for case in cases], dtype=np.float64)

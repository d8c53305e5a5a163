"""Networks and baselines combined out of fold: their answers in; those of the combination, and its weights, out."""

from collections.abc import Mapping, Sequence

import numpy as np

from nephroscope.baselines.stack import StackWeights, apply_stack, fit_stack
from nephroscope.evaluation.metrics import Floats
from nephroscope.experiments.folds import HOLDOUT, Answers, Deal, Probabilities
from nephroscope.experiments.study_data import Material

NAME = "stack+networks"
NO_MEMBERS = ("stack", "attenuation+clinical")  # made of others that are members themselves


def stack_with_networks(material: Material, deal: Deal, ranked: Sequence[Answers]) -> Answers | None:
    """Networks and single baselines, weighed by what each said of the validation part of each fold.

    Each fold has weights of its own, from models that did not learn from those cases; held-out cases get weights
    from all validation parts. None where there is no network, or nothing beside it.
    """
    members = [a for a in ranked if a.name not in NO_MEMBERS and a.validation]
    if len(members) < 2 or all(member.kind != "network" for member in members):
        return None
    weights = {fold.index: _weights(material, deal, members, [fold.index]) for fold in deal.split.folds}
    if any(member.fold[case] == HOLDOUT for member in members for case in member.fold):
        weights[HOLDOUT] = _weights(material, deal, members, [fold.index for fold in deal.split.folds])
    fold_of = members[0].fold
    p: dict[str, Probabilities] = {}
    for index in dict.fromkeys(fold_of.values()):
        cases = [case for case, own in fold_of.items() if own == index]
        said = np.stack([_table(member.p, cases) for member in members])
        found = apply_stack(weights[index], said)
        p |= {case: tuple(row) for case, row in zip(cases, found.tolist(), strict=True)}
    names = ", ".join(member.name for member in members)
    told = f"{names}; weights from the validation part of each fold, answered by models that did not learn from it"
    return Answers(name=NAME, kind="stack", told=told, p=p, fold=dict(fold_of))


def _weights(
    material: Material, deal: Deal, members: Sequence[Answers], folds: Sequence[int]
) -> StackWeights:
    tables, labels, patients = [], [], []
    for index in folds:
        cases = sorted(members[0].validation[index])
        tables.append(np.stack([_table(member.validation[index], cases) for member in members]))
        labels += [deal.labels[case] for case in cases]
        patients += [material.cohort.by_id[case].patient_id for case in cases]
    return fit_stack(np.concatenate(tables, axis=1), np.array(labels, dtype=np.intp), patients, deal.seed)


def _table(rows: Mapping[str, Probabilities], cases: Sequence[str]) -> Floats:
    return np.array([rows[case] for case in cases], dtype=np.float64)

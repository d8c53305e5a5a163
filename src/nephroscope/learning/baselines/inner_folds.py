"""Divide the training cases into inner folds of patients, for choices that are made inside them."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
INNER_FOLDS = 5
SMALLEST = 1e-6  # a probability that is taken for zero: one sure mistake costs 14, not infinity


def patient_folds(labels: Ints, patient_ids: Sequence[str], n_folds: int, seed: int) -> Ints:
    """Number of the fold of each case, (n,): all tumors of a patient in one, each subtype spread evenly.

    Never more folds than patients; one where there is only one patient, and then nothing can be chosen.
    """
    found: dict[str, set[int]] = defaultdict(set)
    for patient, label in zip(patient_ids, labels, strict=True):
        found[patient].add(int(label))
    strata: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for patient in sorted(found):
        strata[tuple(sorted(found[patient]))].append(patient)
    rng = np.random.default_rng([seed, 0xF01D5])
    dealt = [patient for key in sorted(strata) for patient in rng.permutation(strata[key])]
    n_folds = max(1, min(n_folds, len(dealt)))
    fold_of = {str(patient): place % n_folds for place, patient in enumerate(dealt)}
    return np.array([fold_of[patient] for patient in patient_ids], np.intp)


def log_losses(probabilities: Floats, labels: Ints) -> Floats:
    """Minus log of the probability that each case (n, K) gave to its true subtype, (n,)."""
    true = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    losses: Floats = -np.log(np.clip(true, SMALLEST, 1.0))
    return losses


def by_patient(values: Floats, patient_ids: Sequence[str]) -> Floats:
    """Mean of each patient's values, (patients,), so that a patient with two tumors counts once."""
    _, place = np.unique(np.asarray(patient_ids), return_inverse=True)
    means: Floats = np.bincount(place, weights=values) / np.bincount(place)
    return means

"""What a learner predicts on a division of the patients: its fits, and what they predict for the test cases.

Every learner sees the same folds. A baseline learns from the training and the validation part of a fold and answers
its test part. Where something is chosen after the fit (a threshold, the weights of a stack), it is chosen on the
validation part: for a baseline from a fit on the training part alone, for a network from its only fit; its
epoch was chosen on that same part. No test case is seen by either. That fit of a baseline answers the test part too:
it learned from the very patients that a network learns from.

Held-out cases are answered by a fit on all development cases.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from nephroscope.clinic.call import youden_threshold
from nephroscope.learning.engine.divisions import Division
from nephroscope.learning.engine.fits import Fit, FitResult, address_of
from nephroscope.learning.learner import Learner
from nephroscope.study.snapshot import Snapshot

Probabilities = tuple[float, ...]
HOLDOUT = -1  # in place of a fold's index


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """What one learner predicts for all test cases of a division.

    Attributes:
        kind: baseline, network or stack.
        description: What the learner is, in a sentence.
        p: Probabilities of the subtypes, by case.
        fold: Index of the fold that answered, by case; -1 for held-out cases.
        validation: Of each fold's validation part, by a fit that did not learn from it, though a network's epoch was
            chosen on it; empty where it was not asked for.
        thresholds: On the positive subtype's probability, by index of fold.
        same_patients: Of a baseline, the test cases answered by fits on the training parts alone: the patients that a
            network learns from. Held-out cases have the mean over the folds. Empty where it was not asked for.
        image: Of the image alone, where clinical facts are fused with it.
    """

    name: str
    kind: str
    description: str
    p: Mapping[str, Probabilities]
    fold: Mapping[str, int]
    validation: Mapping[int, Mapping[str, Probabilities]] = field(default_factory=dict)
    thresholds: Mapping[int, float] = field(default_factory=dict)
    same_patients: Mapping[str, Probabilities] = field(default_factory=dict)
    image: Mapping[str, Probabilities] = field(default_factory=dict)

    def threshold_of(self, case_id: str) -> float:
        """The threshold for a case: its fold's; for a held-out case the mean of all; 0.5 where none was chosen."""
        if not self.thresholds:
            return 0.5
        own = self.thresholds.get(self.fold[case_id])
        return float(np.mean(list(self.thresholds.values()))) if own is None else own


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One fit of a learner on a division: its key, the fold it answers for, whom it learns from and predicts."""

    key: str
    fold: int
    learn: frozenset[str]
    predict: frozenset[str]
    validates: bool = False


def _parts(name: str, division: Division) -> Iterator[_Part]:
    folds, holdout = division.split.folds, division.split.holdout
    for fold in folds:
        key, both = f"{name}/{division.name}-f{fold.index}", fold.train | fold.validation
        yield _Part(key=key, fold=fold.index, learn=both, predict=fold.test)
        key = f"{key}-validation"
        asked = fold.validation | fold.test | holdout
        yield _Part(key=key, fold=fold.index, learn=fold.train, predict=asked, validates=True)
    if holdout and len(folds) > 1:
        everyone = frozenset().union(*(fold.test for fold in folds))
        yield _Part(key=f"{name}/{division.name}-holdout", fold=HOLDOUT, learn=everyone, predict=holdout)


def fits_of(snapshot: Snapshot, learner: Learner, division: Division, choosing: bool) -> list[Fit]:
    """The fits that one learner needs on one division; ``choosing`` adds those that answer the validation parts."""
    return [
        Fit(
            key=part.key,
            learner=address_of(learner),
            description=learner.description,
            study=str(snapshot.folder.root),
            digest=snapshot.digest,
            learn=tuple(sorted(part.learn)),
            labels=tuple(division.labels[name] for name in sorted(part.learn)),
            predict=tuple(sorted(part.predict)),
            seed=division.seed,
            n_subtypes=len(snapshot.cohort.subtypes),
        )
        for part in _parts(learner.name, division)
        if choosing or not part.validates
    ]


def predictions_of(
    snapshot: Snapshot, learner: Learner, division: Division, results: Mapping[str, FitResult]
) -> Predictions | str:
    """The predictions that the results of `fits_of` hold, or why there are none."""
    p: dict[str, Probabilities] = {}
    of_fold: dict[str, int] = {}
    validation: dict[int, dict[str, Probabilities]] = {}
    again: dict[str, list[Probabilities]] = {}
    of_part = {fold.index: fold.validation for fold in division.split.folds}
    for part in _parts(learner.name, division):
        result = results.get(part.key)
        if result is None:
            continue
        if result.refused:
            return result.refused
        found = dict(zip(sorted(part.predict), result.probabilities, strict=True))
        if part.validates:
            validation[part.fold] = {c: row for c, row in found.items() if c in of_part[part.fold]}
            for case, row in found.items():
                if case not in of_part[part.fold]:
                    again.setdefault(case, []).append(row)
        else:
            p |= found
            of_fold |= dict.fromkeys(found, part.fold)
    return Predictions(
        name=learner.name,
        kind="baseline",
        description=learner.description,
        p=p,
        fold=of_fold,
        validation=validation,
        thresholds=thresholds_of(snapshot, division, validation),
        same_patients={case: tuple(np.mean(rows, axis=0).tolist()) for case, rows in again.items()},
    )


def thresholds_of(
    snapshot: Snapshot, division: Division, validation: Mapping[int, Mapping[str, Probabilities]]
) -> dict[int, float]:
    """Thresholds chosen on the validation parts, where the study chooses any; else none, which means 0.5."""
    if snapshot.settings.evaluation.criterion == "fixed" or len(snapshot.cohort.subtypes) > 2:
        return {}
    at = snapshot.positive
    return {
        index: youden_threshold(
            [row[at] for row in cases.values()], [division.labels[name] == at for name in cases]
        )
        for index, cases in validation.items()
    }

"""Folds as jobs, and their results as answers: a candidate and a division of patients in; answers out.

Every candidate sees the same folds. A baseline learns from the training and the validation part of a fold and answers
its test part. Where something is chosen after the fit (a threshold, the weights of a stack), it is chosen on the
validation part: for a baseline from a fit on the training part alone, for a network from the one fit it has, whose
epoch was chosen on that same part. No test case is seen by either.

Held-out cases are answered by a fit on all development cases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nephroscope.base.errors import ConfigError
from nephroscope.clinic.call import youden_threshold
from nephroscope.learning.baselines.candidate import Candidate
from nephroscope.learning.engine.jobs import Job, Result, address_of
from nephroscope.records import DEVELOPMENT, INTERNAL_TEST, Case, Cohort, Fold, Split
from nephroscope.study.snapshot import Snapshot
from nephroscope.study.split import make_split

Probabilities = tuple[float, ...]
HOLDOUT = -1  # in place of a fold's index


@dataclass(frozen=True, eq=False, kw_only=True)
class Deal:
    """One division of patients, with the subtypes that hold in it.

    Attributes:
        name: ``r0`` is splits.json, ``r1`` ... are re-dealt, ``shuffled-1`` ... have permuted labels.
        labels: Index of each labelled case's subtype.
        seed: Of the candidates' own chance.
    """

    name: str
    split: Split
    labels: Mapping[str, int]
    seed: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """What one candidate says of all test cases of a deal.

    Attributes:
        kind: baseline, network or stack.
        told: What it is, in a sentence.
        p: Probabilities of the subtypes, by case.
        fold: Index of the fold that answered, by case; -1 for held-out cases.
        validation: Of each fold's validation part, by a fit that did not learn from it, though a network's epoch was
            chosen on it; empty where it was not asked for.
        thresholds: On the positive subtype's probability, by index of fold.
    """

    name: str
    kind: str
    told: str
    p: Mapping[str, Probabilities]
    fold: Mapping[str, int]
    validation: Mapping[int, Mapping[str, Probabilities]] = field(default_factory=dict)
    thresholds: Mapping[int, float] = field(default_factory=dict)

    def threshold_of(self, case_id: str) -> float:
        """The threshold for a case: its fold's; for a held-out case the mean of all; 0.5 where none was chosen."""
        if not self.thresholds:
            return 0.5
        own = self.thresholds.get(self.fold[case_id])
        return float(np.mean(list(self.thresholds.values()))) if own is None else own


def seed_of(*numbers: int) -> int:
    """A seed of its own for each tuple of numbers."""
    return int(np.random.SeedSequence([abs(n) for n in numbers]).generate_state(1)[0])


def jobs_of(snapshot: Snapshot, candidate: Candidate, deal: Deal, choosing: bool) -> list[Job]:
    """The fits that one candidate needs on one deal; ``choosing`` adds those that answer the validation parts."""
    jobs = []
    for fold in deal.split.folds:
        name = f"{candidate.name}/{deal.name}-f{fold.index}"
        everyone = fold.train | fold.validation
        jobs.append(_job(snapshot, candidate, deal, name, (everyone, fold.test)))
        if choosing:
            jobs.append(_job(snapshot, candidate, deal, f"{name}-validation", (fold.train, fold.validation)))
    if deal.split.holdout and len(deal.split.folds) > 1:
        developed = frozenset().union(*(fold.test for fold in deal.split.folds))
        name = f"{candidate.name}/{deal.name}-holdout"
        jobs.append(_job(snapshot, candidate, deal, name, (developed, deal.split.holdout)))
    return jobs


def answers_of(
    candidate: Candidate, deal: Deal, results: Mapping[str, Result], snapshot: Snapshot
) -> Answers | str:
    """The answers that the results of `jobs_of` hold, or why there are none."""
    p: dict[str, Probabilities] = {}
    of_fold: dict[str, int] = {}
    validation: dict[int, dict[str, Probabilities]] = {}
    parts: list[tuple[str, int, frozenset[str], bool]] = []
    for fold in deal.split.folds:
        key = f"{candidate.name}/{deal.name}-f{fold.index}"
        parts += [
            (key, fold.index, fold.test, False),
            (f"{key}-validation", fold.index, fold.validation, True),
        ]
    parts.append((f"{candidate.name}/{deal.name}-holdout", HOLDOUT, deal.split.holdout, False))
    for key, index, names, validated in parts:
        if key not in results:
            continue
        if results[key].refused:
            return results[key].refused
        found = dict(zip(sorted(names), results[key].probabilities, strict=True))
        if validated:
            validation[index] = found
        else:
            p |= found
            of_fold |= dict.fromkeys(found, index)
    return Answers(
        name=candidate.name,
        kind="baseline",
        told=candidate.told,
        p=p,
        fold=of_fold,
        validation=validation,
        thresholds=thresholds_of(validation, deal, snapshot),
    )


def thresholds_of(
    validation: Mapping[int, Mapping[str, Probabilities]], deal: Deal, snapshot: Snapshot
) -> dict[int, float]:
    """Thresholds chosen on the validation parts, where the study chooses any; else none, which means 0.5."""
    if snapshot.settings.evaluation.criterion == "fixed" or len(snapshot.cohort.subtypes) > 2:
        return {}
    at = snapshot.positive
    return {
        index: youden_threshold(
            [row[at] for row in cases.values()], [deal.labels[name] == at for name in cases]
        )
        for index, cases in validation.items()
    }


def present_deal(snapshot: Snapshot, seed: int) -> Deal:
    """The folds of splits.json with the true labels."""
    return Deal(name="r0", split=snapshot.split, labels=snapshot.labels, seed=seed)


def redealt(snapshot: Snapshot, repeat: int, seed: int) -> Deal:
    """Patients dealt anew under the same rules; held-out cases stay held out.

    Raises:
        ConfigError: There is a single fold, so nothing to deal.
    """
    if len(snapshot.split.folds) < 2:
        raise ConfigError(
            where="--repeats",
            expected="two folds or more, to be dealt again",
            found="a split with one",
            remedy="divide the patients with `nephroscope split STUDY --folds 5`, or leave --repeats out",
        )
    split = _deal_again(snapshot, snapshot.cohort, seed_of(seed, repeat, 1))
    return Deal(name=f"r{repeat}-{seed}", split=split, labels=snapshot.labels, seed=seed_of(seed, repeat, 2))


def shuffled(snapshot: Snapshot, permutation: int, seed: int) -> tuple[Deal, Cohort]:
    """Subtypes dealt out at random between patients, then folds by the very same rules; and the cohort with them.

    A patient's tumors keep together, and development and held-out patients keep apart, so that the counts stay.
    """
    rng = np.random.default_rng([abs(seed), permutation, 0x5F])
    tumors: dict[str, list[Case]] = {}
    for case in sorted(snapshot.cohort.cases, key=lambda case: case.case_id):
        if case.subtype is not None and case.case_id in snapshot.slices.rows_by_case:
            tumors.setdefault(case.patient_id, []).append(case)
    alike: dict[tuple[int, bool], list[list[Case]]] = {}
    for cases in tumors.values():
        held = any(case.case_id in snapshot.split.holdout for case in cases)
        alike.setdefault((len(cases), held), []).append(cases)
    given: dict[str, str | None] = {}
    for patients in alike.values():
        for own, other in zip(patients, rng.permutation(len(patients)), strict=True):
            given |= {a.case_id: b.subtype for a, b in zip(own, patients[other], strict=True)}
    cases_now = tuple(
        replace(case, subtype=given.get(case.case_id, case.subtype)) for case in snapshot.cohort.cases
    )
    cohort = replace(snapshot.cohort, cases=cases_now)
    subtypes = cohort.subtypes
    labels = {c.case_id: subtypes.index(c.subtype) for c in cohort.cases if c.subtype is not None}
    split = _deal_again(snapshot, cohort, seed_of(seed, permutation, 3))
    name = f"shuffled-{permutation}-{seed}"
    return Deal(name=name, split=split, labels=labels, seed=seed_of(seed, permutation, 4)), cohort


def test_cases(deal: Deal, snapshot: Snapshot) -> dict[str, list[str]]:
    """Test cases of a deal by test set; out-of-fold first, where there are folds."""
    names = sorted(frozenset().union(*(fold.test for fold in deal.split.folds)) | deal.split.holdout)
    groups: dict[str, list[str]] = {}
    for name in names:
        if name in deal.labels:
            groups.setdefault(snapshot.test_set_of(name, deal.split), []).append(name)
    return dict(sorted(groups.items(), key=lambda item: (item[0] != "out-of-fold", item[0])))


def same_folds(one: Split, other: Split) -> bool:
    """True when two splits have the same folds and the same held-out cases."""

    def parts(folds: Sequence[Fold]) -> set[tuple[frozenset[str], ...]]:
        return {(fold.train, fold.validation, fold.test) for fold in folds}

    return parts(one.folds) == parts(other.folds) and one.holdout == other.holdout


def _deal_again(snapshot: Snapshot, cohort: Cohort, seed: int) -> Split:
    held = snapshot.split.holdout
    cases = tuple(
        replace(case, cohort=INTERNAL_TEST) if case.case_id in held and case.cohort == DEVELOPMENT else case
        for case in cohort.cases
    )
    config = replace(snapshot.split.config, seed=seed, holdout=0.0)
    return make_split(replace(cohort, cases=cases), snapshot.slices.indices_by_case(), config)


def _job(
    snapshot: Snapshot,
    candidate: Candidate,
    deal: Deal,
    key: str,
    parts: tuple[frozenset[str], frozenset[str]],
) -> Job:
    learn, predict = (tuple(sorted(part)) for part in parts)
    return Job(
        key=key,
        candidate=address_of(candidate),
        told=candidate.told,
        study=str(snapshot.folder.root),
        digest=snapshot.digest,
        learn=learn,
        labels=tuple(deal.labels[name] for name in learn),
        predict=predict,
        seed=deal.seed,
        n_subtypes=len(snapshot.cohort.subtypes),
    )

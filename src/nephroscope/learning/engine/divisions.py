"""Divisions of the patients into folds: that of splits.json, others by the same rules, others of shuffled labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nephroscope.base.errors import ConfigError
from nephroscope.records import DEVELOPMENT, INTERNAL_TEST, OUT_OF_FOLD, Case, Cohort, Fold, Split
from nephroscope.study.snapshot import Snapshot
from nephroscope.study.split import make_split

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, eq=False, kw_only=True)
class Division:
    """One division of the patients, with the subtypes that its learners are given.

    Attributes:
        name: ``r0`` is splits.json; ``r1``, ... are divided again; ``shuffled-1``, ... have permuted labels.
        split: Folds and held-out cases.
        cohort: Its subtypes are the labels.
        seed: Of the learners' own chance.
    """

    name: str
    split: Split
    cohort: Cohort
    seed: int

    @cached_property
    def labels(self) -> "Mapping[str, int]":
        """Index of each labelled case's subtype."""
        subtypes = self.cohort.subtypes
        return {c.case_id: subtypes.index(c.subtype) for c in self.cohort.cases if c.subtype is not None}

    def test_cases(self) -> dict[str, list[str]]:
        """Labelled test cases by test set; the out-of-fold cases first, where there are folds."""
        tested = frozenset().union(*(fold.test for fold in self.split.folds)) | self.split.holdout
        sets: dict[str, list[str]] = {}
        for name in sorted(tested & self.labels.keys()):
            marked = self.cohort.by_id[name].cohort
            if marked == DEVELOPMENT:
                marked = INTERNAL_TEST if name in self.split.holdout else OUT_OF_FOLD
            sets.setdefault(marked, []).append(name)
        return dict(sorted(sets.items(), key=lambda item: (item[0] != OUT_OF_FOLD, item[0])))


def seed_of(*numbers: int) -> int:
    """Another seed for every tuple of numbers."""
    return int(np.random.SeedSequence([abs(n) for n in numbers]).generate_state(1)[0])


def present_division(snapshot: Snapshot, seed: int) -> Division:
    """The folds of splits.json with the true labels."""
    return Division(name="r0", split=snapshot.split, cohort=snapshot.cohort, seed=seed)


def divide_again(snapshot: Snapshot, repeat: int, seed: int) -> Division:
    """Other folds by the same rules; held-out cases stay held out.

    Raises:
        ConfigError: There is a single fold, so nothing to divide.
    """
    if len(snapshot.split.folds) < 2:
        raise ConfigError(
            where="--repeats",
            expected="a split with two folds or more",
            found="a split with one",
            remedy="divide the patients with `nephroscope split STUDY --folds 5`, or leave --repeats out",
        )
    split = _divide(snapshot, snapshot.cohort, seed_of(seed, repeat, 1))
    name = f"r{repeat}-{seed}"
    return Division(name=name, split=split, cohort=snapshot.cohort, seed=seed_of(seed, repeat, 2))


def shuffle_labels(snapshot: Snapshot, permutation: int, seed: int) -> Division:
    """Subtypes permuted at random between patients, then folds by the very same rules.

    A patient's tumors keep together, and development and held-out patients are permuted separately, so that the
    counts stay.
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
    split = _divide(snapshot, cohort, seed_of(seed, permutation, 3))
    name = f"shuffled-{permutation}-{seed}"
    return Division(name=name, split=split, cohort=cohort, seed=seed_of(seed, permutation, 4))


def same_folds(one: Split, other: Split) -> bool:
    """True when two splits have the same folds and the same held-out cases."""

    def parts(folds: Sequence[Fold]) -> set[tuple[frozenset[str], ...]]:
        return {(fold.train, fold.validation, fold.test) for fold in folds}

    return parts(one.folds) == parts(other.folds) and one.holdout == other.holdout


def fold_names(split: Split) -> list[list[list[str]]]:
    """Names of the cases of each fold's parts, sorted, for a digest."""
    return [[sorted(part) for part in (f.train, f.validation, f.test)] for f in split.folds]


def _divide(snapshot: Snapshot, cohort: Cohort, seed: int) -> Split:
    held = snapshot.split.holdout
    cases = tuple(
        replace(case, cohort=INTERNAL_TEST) if case.case_id in held and case.cohort == DEVELOPMENT else case
        for case in cohort.cases
    )
    config = replace(snapshot.split.config, seed=seed, holdout=0.0)
    return make_split(replace(cohort, cases=cases), snapshot.slices.indices_by_case(), config)

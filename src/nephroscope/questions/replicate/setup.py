"""Which cases are trained on, used to choose an epoch, and judged in a replication."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.learning.networks.table import NETWORKS
from nephroscope.learning.training.copies import N_COPIES
from nephroscope.questions.replicate.replication import TOGETHER
from nephroscope.records import DEVELOPMENT, INTERNAL_TEST, Cohort, Fold, SplitConfig, TrainConfig
from nephroscope.records.settings import with_recipe
from nephroscope.study.slices import SliceStore
from nephroscope.study.snapshot import Snapshot
from nephroscope.study.split import make_split

PAPER_TESTS = 3  # of each subtype
VALIDATION = 0.1
FOLDS = 5
LIGHTEST_FIRST = sorted(NETWORKS, key=lambda name: NETWORKS[name].paper_trainable)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicateOptions:
    """What may be chosen; the paper does not say how many epochs it trained.

    Attributes:
        models: Networks, each trained under both protocols.
        epochs: Of every training.
        images_per_epoch: Drawn from the augmented copies; None: as many as there are slices; 0: all of them.
        twin_folds: Trainings of the leak-free twin; None: 5, or as many as the smallest subtype has patients.
        shuffled_model: Network that also learns shuffled labels; None: the lightest chosen; "none": no network.
        seed: Of everything drawn.
    """

    models: tuple[str, ...] = tuple(NETWORKS)
    epochs: int = 30
    images_per_epoch: int | None = None
    twin_folds: int | None = None
    shuffled_model: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError(
                where="--models", expected="one or more networks", found="none", remedy="name one"
            )
        extra = () if self.shuffled_model in (None, "none") else (str(self.shuffled_model),)
        for name in (*self.models, *extra):
            if name not in NETWORKS:
                like = get_close_matches(name, NETWORKS, n=1)
                raise ConfigError(
                    where="--models" if name in self.models else "--shuffled-model",
                    expected=f"one of {', '.join(NETWORKS)}",
                    found=repr(name),
                    remedy=f"did you mean {like[0]}?" if like else "correct the name",
                )
        for where, value, low in (
            ("--epochs", self.epochs, 1),
            ("--twin-folds", self.twin_folds, 1),
            ("--seed", self.seed, 0),
            ("--images-per-epoch", self.images_per_epoch or 2, 2),
        ):
            if value is not None and value < low:
                expected = f"a whole number, {low} or more"
                raise ConfigError(where=where, expected=expected, found=str(value), remedy="correct it")

    @property
    def shuffled(self) -> str | None:
        """The network that learns shuffled labels."""
        if self.shuffled_model == "none":
            return None
        return self.shuffled_model or min(self.models, key=LIGHTEST_FIRST.index)


@dataclass(frozen=True, eq=False, kw_only=True)
class Setup:
    """A study as it is used here, and everything drawn from it.

    Attributes:
        snapshot: The study.
        cohort: Its cohort, with the test cases drawn where the study marks none.
        tests_drawn: True where they were drawn, as the paper did.
    """

    snapshot: Snapshot
    cohort: Cohort
    options: ReplicateOptions
    tests_drawn: bool

    @property
    def store(self) -> SliceStore:
        """The slices of the study."""
        return self.snapshot.slices

    @cached_property
    def development(self) -> tuple[str, ...]:
        """case_ids that may be trained on."""
        return tuple(name for name in self._usable if self.cohort.by_id[name].cohort == DEVELOPMENT)

    @cached_property
    def tests(self) -> tuple[str, ...]:
        """case_ids of all test cases."""
        return tuple(name for name in self._usable if self.cohort.by_id[name].cohort != DEVELOPMENT)

    @property
    def _usable(self) -> list[str]:
        cases = self.cohort.cases
        return [c.case_id for c in cases if c.subtype and c.case_id in self.store.rows_by_case]

    @cached_property
    def shuffled_cohort(self) -> Cohort:
        """Development patients with each other's subtypes."""
        return shuffle_between_patients(self.cohort, self.development, self.options.seed)

    @cached_property
    def n_slices(self) -> int:
        """Original slices of the development cases."""
        return sum(len(self.store.rows_by_case[name]) for name in self.development)

    @cached_property
    def paper_split(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """LEAKY: positions in the augmented copies to train and to validate on, divided by image."""
        n_images = self.n_slices * N_COPIES
        order = np.random.default_rng([self.options.seed, 0x21A6E]).permutation(n_images)
        n_validation = max(round(n_images * VALIDATION), 1)
        return np.sort(order[n_validation:]), order[:n_validation]

    @property
    def images_per_epoch(self) -> int:
        """Of every training, of either protocol."""
        asked, all_images = self.options.images_per_epoch, len(self.paper_split[0])
        return all_images if asked == 0 else min(asked or self.n_slices, all_images)

    @cached_property
    def n_folds(self) -> int:
        """Trainings of the twin."""
        if self.options.twin_folds is not None:
            return self.options.twin_folds
        return max(2, min(FOLDS, self._smallest))

    @property
    def _smallest(self) -> int:
        """Patients of the smaller subtype, under true and under shuffled labels."""
        cohorts = [self.cohort, *[self.shuffled_cohort] * (self.options.shuffled is not None)]
        patients: dict[tuple[int, str], set[str]] = defaultdict(set)
        for number, cohort in enumerate(cohorts):
            for name in self.development:
                case = cohort.by_id[name]
                patients[number, str(case.subtype)].add(case.patient_id)
        return min(len(names) for names in patients.values())

    def twin_folds(self, cohort: Cohort) -> tuple[Fold, ...]:
        """Patients to train on, to choose the epoch on and to judge; with one fold a tenth is judged."""
        n = self.n_folds if self.n_folds > 1 else max(2, min(10, self._smallest))
        slices_of = {c: self.store.slice_index[self.store.rows_by_case[c]].tolist() for c in self._usable}
        config = SplitConfig(folds=n, validation=VALIDATION, seed=self.options.seed)
        return make_split(cohort, slices_of, config).folds[: self.n_folds]

    def training(self, model: str) -> TrainConfig:
        """The paper's recipe for a network."""
        config = TrainConfig(
            model=model, epochs=self.options.epochs, seed=self.options.seed, augmentation=False
        )
        return with_recipe(config, "zuo2021")


def make_setup(snapshot: Snapshot, options: ReplicateOptions) -> Setup:
    """Check whether the study can be used, and draw test cases where none is marked.

    Raises:
        CohortError: There are not two subtypes, or too few patients of one.
    """
    cohort = snapshot.cohort
    if len(cohort.subtypes) != 2:
        raise CohortError(
            where="study.toml, subtypes",
            expected="two subtypes, as in the paper",
            found=f"{len(cohort.subtypes)} ({', '.join(cohort.subtypes)})",
            remedy="make a study of two of them with `nephroscope new --subtypes`",
        )
    setup = Setup(snapshot=snapshot, cohort=cohort, options=options, tests_drawn=False)
    if not setup.tests:
        drawn = _draw_tests(setup)
        cases = tuple(replace(c, cohort=INTERNAL_TEST) if c.patient_id in drawn else c for c in cohort.cases)
        setup = replace(setup, cohort=replace(cohort, cases=cases), tests_drawn=True)
    _check_enough(setup)
    return setup


def _patients_by_subtype(setup: Setup) -> dict[str, list[str]]:
    """Development patients of each subtype; one with both counts for the first."""
    of: dict[str, str] = {}
    for name in setup.development:
        case = setup.cohort.by_id[name]
        of.setdefault(case.patient_id, str(case.subtype))
    return {s: sorted(p for p, own in of.items() if own == s) for s in setup.cohort.subtypes}


def _check_enough(setup: Setup) -> None:
    fewer = "mark fewer as test cases in the column cohort of cohort.csv"
    drawn, remedy = "", f"import more cases, or {fewer}"
    if setup.tests_drawn:
        drawn, remedy = (
            " in addition to the test cases drawn",
            "import more cases: at least 4 patients of each subtype are needed",
        )
    for subtype, patients in _patients_by_subtype(setup).items():
        if len(patients) < 3:
            raise CohortError(
                where="replicate zuo2021",
                expected="at least 3 development patients of each subtype: for training, validation and test",
                found=f"{len(patients)} of {subtype}{drawn}",
                remedy=remedy,
            )


def _draw_tests(setup: Setup) -> set[str]:
    """Three patients of each subtype as in the paper, fewer than that where there are fewer than 12."""
    rng = np.random.default_rng([setup.options.seed, 0x7E57])
    drawn: set[str] = set()
    for patients in _patients_by_subtype(setup).values():
        n = min(PAPER_TESTS, max(len(patients) // 4, 1))
        drawn.update(str(name) for name in rng.permutation(patients)[:n])
    return drawn


def shuffle_between_patients(cohort: Cohort, names: Sequence[str], seed: int) -> Cohort:
    """Permute the subtypes between the patients of these cases; all tumors of a patient get one.

    Each true subtype gets the new ones in the shares of all, so that the new labels say nothing about the true
    ones, by construction and not only on average.
    """
    rng = np.random.default_rng([seed, 0x5F])
    of: dict[str, str] = {}
    for name in names:
        of.setdefault(cohort.by_id[name].patient_id, str(cohort.by_id[name].subtype))
    first, second = cohort.subtypes
    n_first = sum(own == first for own in of.values())
    kept = round(n_first * n_first / len(of))  # of the first subtype, that keep its name
    kept = max(1, 2 * n_first + 1 - len(of), min(kept, n_first - 1))
    new: dict[str, str] = {}
    for subtype, n in ((first, kept), (second, n_first - kept)):
        patients = [str(p) for p in rng.permutation(sorted(p for p, own in of.items() if own == subtype))]
        new |= {p: first if i < n else second for i, p in enumerate(patients)}
    chosen = frozenset(names)
    cases = tuple(replace(c, subtype=new[c.patient_id]) if c.case_id in chosen else c for c in cohort.cases)
    return replace(cohort, cases=cases)


def test_sets(setup: Setup) -> dict[str, list[str]]:
    """case_ids of all test cases together, then of each set."""
    sets = {TOGETHER: list(setup.tests)}
    for name in setup.tests:
        sets.setdefault(setup.cohort.by_id[name].cohort, []).append(name)
    return sets

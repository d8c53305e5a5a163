"""What a comparison does: which learners, on which divisions of the patients, under which labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from nephroscope.base.errors import ConfigError
from nephroscope.learning.engine.divisions import (
    Division,
    divide_again,
    present_division,
    seed_of,
    shuffle_labels,
)
from nephroscope.learning.engine.networks import NetworkLearner
from nephroscope.learning.engine.workers import Workers
from nephroscope.learning.learner import Learner
from nephroscope.learning.learners import all_learners, learners_named
from nephroscope.records import ComparisonConfig
from nephroscope.records.settings import check_main_pair
from nephroscope.study.snapshot import Snapshot

SLOW = ("radiomics", "stack")  # seconds for a fit, and a permutation has as many fits as there are folds
ON_REQUEST = (
    "fusion",
)  # compared where it is named: every comparison has the same of each network in a table of its own
NETWORK_PERMUTATIONS = 3


@dataclass(frozen=True, kw_only=True)
class ComparePlan:
    """What is compared, and how thoroughly.

    Attributes:
        candidates: Names of baselines; None takes all.
        runs: Names of runs; None takes all.
        repeats: Divisions of the patients, splits.json the first of them.
        seeds: Fits on splits.json with another seed each.
        permutations: Of the control with shuffled labels; 0 leaves it out.
        trained: Names of runs whose networks are trained again for each repeat and seed.
        control_networks: Train the networks on shuffled labels too.
        primary: Two names, first against second: the pair named before the results are seen; its p is not corrected.
            Empty takes that of study.toml.
        margin: What the first of the main pair may lose in AUC; None takes that of study.toml, 0 tests none.
        seed: All chance of the comparison is derived from it.
        workers: Where the work is done; None: here, and ``train`` as many folds at once as cores and memory allow.
        known: The baselines to choose from; None: all there are.
    """

    candidates: tuple[str, ...] | None = None
    runs: tuple[str, ...] | None = None
    repeats: int = 1
    seeds: int = 1
    permutations: int = 20
    trained: tuple[str, ...] = ()
    control_networks: bool = False
    primary: tuple[str, ...] = ()
    margin: float | None = None
    seed: int = 0
    workers: Workers | None = None
    known: tuple[Learner, ...] | None = None

    def __post_init__(self) -> None:
        _within("--repeats", self.repeats, 1, 1000)
        _within("--seeds", self.seeds, 1, 1000)
        _within("--seed", self.seed, 0, 2**31)
        check_main_pair(self.primary, self.margin or 0.0, "--")
        if self.permutations:
            _within("--permutations", self.permutations, 2, 10_000)

    def stated(self, config: ComparisonConfig) -> "ComparePlan":
        """The plan with the main pair and the margin of study.toml where it names none of its own."""
        margin = config.margin if self.margin is None else self.margin
        return replace(self, primary=self.primary or config.primary, margin=margin)

    @property
    def baselines(self) -> list[Learner]:
        """The baselines that are asked for."""
        if self.candidates is not None:
            return learners_named(tuple(dict.fromkeys(self.candidates)))
        if self.known is not None:
            return list(self.known)
        return [one for name, one in all_learners().items() if name not in ON_REQUEST]


def _within(where: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(
            where=where, expected=f"a number from {low} to {high}", found=str(value), remedy="correct it"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Schedule:
    """The divisions of the patients that a comparison needs, and who is fitted on them.

    Attributes:
        networks: Networks that are trained again for each repeat and seed, by the name of their run.
    """

    snapshot: Snapshot
    plan: ComparePlan
    networks: Mapping[str, NetworkLearner] = field(default_factory=dict)

    @cached_property
    def present(self) -> Division:
        """The folds of splits.json."""
        return present_division(self.snapshot, self.plan.seed)

    @cached_property
    def other_folds(self) -> list[Division]:
        """The patients divided again, as often as ``repeats`` asks."""
        return [divide_again(self.snapshot, r, self.plan.seed) for r in range(1, self.plan.repeats)]

    @cached_property
    def other_seeds(self) -> list[Division]:
        """The folds of splits.json with other seeds, as often as ``seeds`` asks."""
        seed = self.plan.seed
        return [
            replace(self.present, name=f"r0-seed{s}-{seed}", seed=seed_of(seed, s, 9))
            for s in range(1, self.plan.seeds)
        ]

    @cached_property
    def shuffled(self) -> list[Division]:
        """Divisions under permuted labels."""
        return [
            shuffle_labels(self.snapshot, i, self.plan.seed) for i in range(1, self.plan.permutations + 1)
        ]

    def repeats_of(self, learner: Learner) -> list[tuple[Learner, Division]]:
        """A learner on the other folds, then with the other seeds; a network's own seed changes too."""
        reseeded: list[tuple[Learner, Division]] = []
        for s, division in enumerate(self.other_seeds, start=1):
            if isinstance(learner, NetworkLearner):
                config = replace(learner.config, seed=learner.config.seed + s)
                reseeded.append((NetworkLearner(config=config), division))
            else:
                reseeded.append((learner, division))
        return [*((learner, division) for division in self.other_folds), *reseeded]

    def control_of(self, learner: Learner) -> list[tuple[Learner, Division]]:
        """A learner on permuted labels; what takes long (`SLOW`) gets a quarter of them, at least two."""
        times = self.plan.permutations
        if isinstance(learner, NetworkLearner):
            times = min(times, NETWORK_PERMUTATIONS) if self.plan.control_networks else 0
        elif learner.name in SLOW:
            times = max(2, times // 4)
        return [(learner, division) for division in self.shuffled[:times]]

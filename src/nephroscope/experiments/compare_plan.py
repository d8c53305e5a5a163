"""What is compared, and how thoroughly: numbers and names in; a plan, or what is wrong with them, out."""

from dataclasses import dataclass, field

from nephroscope.baselines.candidate import Candidate
from nephroscope.errors import ConfigError
from nephroscope.experiments.jobs import Means


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
        seed: All chance of the comparison is derived from it.
        means: Where the work is done.
        known: The baselines to choose from; None: all there are.
    """

    candidates: tuple[str, ...] | None = None
    runs: tuple[str, ...] | None = None
    repeats: int = 1
    seeds: int = 1
    permutations: int = 20
    trained: tuple[str, ...] = ()
    control_networks: bool = False
    seed: int = 0
    means: Means = field(default_factory=Means)
    known: tuple[Candidate, ...] | None = None

    def __post_init__(self) -> None:
        for name, value, low in (
            ("repeats", self.repeats, 1),
            ("seeds", self.seeds, 1),
            ("seed", self.seed, 0),
        ):
            _within(f"--{name}", value, low, 2**31 if name == "seed" else 1000)
        if self.permutations:
            _within("--permutations", self.permutations, 2, 10_000)


def _within(where: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(
            where=where, expected=f"a number from {low} to {high}", found=str(value), remedy="correct it"
        )

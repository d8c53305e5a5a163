"""What a multi-reader analysis found: figures, components, tests and differences, each with how it was had."""

from dataclasses import asdict, dataclass
from typing import Any

from nephroscope.evaluation.statistics.mrmc_anova import Components
from nephroscope.evaluation.statistics.mrmc_design import Figure, Method
from nephroscope.records import Estimate

# What is taken as fixed, and what the answer then holds for.
MODELS = {
    "": "random readers and random cases",
    "readers": "fixed readers and random cases",
    "cases": "random readers and fixed cases",
}
NAMES = {
    "": "random_readers_random_cases",
    "readers": "fixed_readers_random_cases",
    "cases": "random_readers_fixed_cases",
}


@dataclass(frozen=True, kw_only=True)
class TreatmentTest:
    """A test of no difference. ``p`` is None where it cannot be had; ``method`` says why.

    Attributes:
        statistic: F, chi-square, t or z, as ``method`` says.
        df1: Of the numerator; None for t and z.
        df2: Of the denominator, or of t; None for chi-square and z.
    """

    statistic: float | None
    df1: float | None
    df2: float | None
    p: float | None
    method: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """First treatment less second, over all readers or of one (``reader``)."""

    first: str
    second: str
    difference: Estimate
    test: TreatmentTest
    reader: str = ""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What one choice of fixed and random says: means by treatment, test of all, pairwise differences."""

    model: str
    means: dict[str, Estimate]
    test: TreatmentTest
    differences: tuple[Difference, ...]


@dataclass(frozen=True, kw_only=True)
class MrmcReport:
    """The whole analysis.

    Attributes:
        figures: (treatment, reader, figure with interval) of every cell.
        single_readers: Differences within each reader, by that reader's own variances.
        analyses: By name, as in `NAMES`.
    """

    figure: Figure
    covariance: Method
    treatments: tuple[str, ...]
    readers: tuple[str, ...]
    n_cases: int
    n_positive: int
    n_patients: int
    figures: tuple[tuple[str, str, Estimate], ...]
    components: Components
    analyses: dict[str, Analysis]
    single_readers: tuple[Difference, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``; the analysis of random readers and cases is also at the top."""
        figures = [{"treatment": t, "reader": r, **asdict(e)} for t, r, e in self.figures]
        each = {name: asdict(analysis) for name, analysis in self.analyses.items()}
        return asdict(self) | {"figures": figures, "analyses": each} | each[NAMES[""]]

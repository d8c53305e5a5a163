"""What came out: predictions, estimates with intervals, the evaluation."""

from dataclasses import dataclass
from typing import Literal

from nephroscope.base.errors import ConfigError
from nephroscope.records.cases import Finding
from nephroscope.records.settings import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """The threshold on the positive subtype's probability, and where it was chosen.

    Raises:
        ConfigError: ``chosen_on`` names a test set.
    """

    threshold: float
    criterion: str
    chosen_on: str

    def __post_init__(self) -> None:
        if "test" in self.chosen_on:
            raise ConfigError(
                where="operating point",
                expected="a threshold chosen before or beside the test cases",
                found=f"one chosen on {self.chosen_on!r}",
                remedy="choose it on the validation cases, or fix it",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePrediction:
    """Probabilities of one slice, in the order of the subtypes."""

    slice_index: int
    probabilities: tuple[float, ...]
    area_mm2: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePrediction:
    """The answer for one tumor.

    Attributes:
        probabilities: By subtype, mean over the slices.
        call: The subtype called, or None: not sure.
        reason: Why the call is what it is, in words.
        forced_call: What the call would be if "not sure" were not allowed; figures count it.
        model_digest: Of the weights that made it.
    """

    case_id: str
    patient_id: str
    probabilities: dict[str, float]
    slices: tuple[SlicePrediction, ...]
    forced_call: str
    call: str | None
    reason: str
    truth: str | None = None
    group: str = ""
    fold: int = 0
    findings: tuple[Finding, ...] = ()
    model_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its interval: never a bare number.

    ``value`` is None when it cannot be had (one class only); ``method`` then says why. ``n`` counts ``unit``.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: Literal["image", "case", "patient"]
    method: str

    def __str__(self) -> str:
        if self.value is None:
            return f"not available ({self.method})"
        plural = "" if self.n == 1 else "s"
        if self.low is None or self.high is None:
            return f"{self.value:.3f} ({self.n} {self.unit}{plural}; {self.method})"
        return (
            f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f}; {self.n} {self.unit}{plural}; {self.method})"
        )


@dataclass(frozen=True, kw_only=True)
class EvaluationGroup:
    """Figures of one set of test cases: out-of-fold, internal-test or external-test:NAME.

    ``image``, ``case`` and ``majority`` (three random slices, as the paper) hold estimates by name; confusion
    matrices are rows of truth by columns of call, in the order of the subtypes.
    """

    name: str
    image: dict[str, Estimate]
    case: dict[str, Estimate]
    majority: dict[str, Estimate]
    confusion_image: tuple[tuple[int, ...], ...]
    confusion_case: tuple[tuple[int, ...], ...]
    n_patients: int


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """Everything `evaluate` found for one run."""

    run: str
    model: str
    subtypes: tuple[str, ...]
    positive: str
    protocol: Protocol
    operating_points: tuple[OperatingPoint, ...]
    groups: tuple[EvaluationGroup, ...]
    predictions: tuple[CasePrediction, ...]
    cohort_digest: str
    run_digest: str
    synthetic: bool
    converged: bool

    @property
    def leaky(self) -> bool:
        """True under the image protocol."""
        return self.protocol == "image"

"""Results: answers about cases, figures with intervals, the evaluation of a run."""

from dataclasses import asdict, dataclass, field
from typing import Literal

from nephroscope.base.errors import ConfigError
from nephroscope.base.html import Record, ShownAsTable, html_table
from nephroscope.records.cohort import Finding
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
                expected="a threshold chosen in advance, or on other cases than the test cases",
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
class UsedFact:
    """A clinical fact that moved an answer.

    Attributes:
        name: age, sex or size.
        unit: Of ``value``: years, mm; empty for sex.
        log_odds: Log odds of the positive subtype with all facts, minus those without this one.
        probability_without: Of the positive subtype, if this fact alone were not known.
        source: Where it is from, such as ``cohort.csv``; empty where nobody said.
    """

    name: str
    value: str | float
    unit: str
    log_odds: float
    probability_without: float
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionSet:
    """The subtypes that an answer leaves possible: one, several or none.

    Attributes:
        confidence: Share of the calibration-like cases of each subtype that keep it in their set.
        n_patients: By subtype, on how many calibration patients the set rests.
        words: The same as a sentence.
    """

    subtypes: tuple[str, ...]
    confidence: float
    n_patients: dict[str, int]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideAnswer:
    """How far a case lies from the training cases; without numbers where foreign tumors are not recognized.

    Attributes:
        distance: From the nearest subtype's mean, in SDs of an embedding; beyond ``limit`` it is flagged.
        words: What the bundle knows of foreign tumors.
    """

    recognizes: bool
    distance: float | None
    limit: float | None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(ShownAsTable):
    """What a model says about one tumor, in evaluation and in the clinic.

    Attributes:
        probabilities: By subtype, mean over the slices.
        call: The subtype called; None means not sure.
        reason: Why the call was made, or why there is none.
        forced_call: The call if "not sure" were not allowed; figures count this one.
        model_digest: Digest of the weights that gave the answer.
        image_probabilities: Of the image alone, where clinical facts were used; else empty.
        facts: What each clinical fact moved.
        possible: The set of subtypes that these probabilities leave possible; None where the model has no sets.
        outside: How far it lies from the training cases; None where a bundle does not say.
        phases: Contrast phases that a model of several phases saw of the case; empty for others.
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
    image_probabilities: dict[str, float] = field(default_factory=dict)
    facts: tuple[UsedFact, ...] = ()
    possible: PredictionSet | None = None
    outside: OutsideAnswer | None = None
    phases: tuple[str, ...] = ()

    @property
    def of_image(self) -> dict[str, float]:
        """Probabilities of the image alone."""
        return self.image_probabilities or self.probabilities

    def records(self) -> list[Record]:
        """A row per slice: index, area in mm2, probability of each subtype."""
        return [
            {"case_id": self.case_id, "slice_index": one.slice_index, "area_mm2": one.area_mm2}
            | {f"p_{name}": p for name, p in zip(self.probabilities, one.probabilities, strict=True)}
            for one in self.slices
        ]

    def summary(self) -> str:
        """The call and its reason."""
        return f"case {self.case_id}: {self.call or 'not sure'} ({self.reason})"

    def _repr_html_(self) -> str:
        parts: list[Record] = [
            {"subtype": name, "probability": p, "slices": len(self.slices)}
            for name, p in self.probabilities.items()
        ]
        found: list[Record] = [asdict(finding) for finding in self.findings]
        tables = [html_table(parts, self.summary()), *([html_table(found, "findings")] if found else [])]
        return "\n".join([*tables, "<p>Research use only; not a medical device.</p>"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its interval.

    ``value`` is None when it could not be computed (one class only); ``method`` then says why. ``n`` counts ``unit``.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: Literal["image", "case", "patient"]
    method: str

    def __str__(self) -> str:
        return format(self, ".3f")

    def __format__(self, digits: str) -> str:
        """``f"{auc:.2f}"`` gives ``0.91 (0.84 to 0.96), 83 patients, DeLong``."""
        if self.value is None:
            return f"not available ({self.method})"
        number = f"{self.n} {self.unit}{'' if self.n == 1 else 's'}"
        return f"{self.interval(digits or '.3f')}, {number}, {self.method}"

    def columns(self, name: str) -> Record:
        """Value and limits as three columns of a table: ``auc``, ``auc_low``, ``auc_high``."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    def interval(self, digits: str = ".3f") -> str:
        """Value and interval, such as ``0.910 (0.840 to 0.960)``; a dash where there is no value."""
        if self.value is None:
            return "-"
        if self.low is None or self.high is None:
            return f"{self.value:{digits}}"
        return f"{self.value:{digits}} ({self.low:{digits}} to {self.high:{digits}})"


@dataclass(frozen=True, kw_only=True)
class EvaluationGroup:
    """Figures of one set of test cases: out-of-fold, internal-test or external-test:NAME.

    ``image``, ``case`` and ``majority`` (three random slices, as the paper) hold estimates by name; confusion
    matrices are rows of truth by columns of call, in the order of the subtypes. ``confusion_shares`` are those by
    case, of the cases of each subtype.
    """

    name: str
    image: dict[str, Estimate]
    case: dict[str, Estimate]
    majority: dict[str, Estimate]
    confusion_image: tuple[tuple[int, ...], ...]
    confusion_case: tuple[tuple[int, ...], ...]
    n_patients: int
    confusion_shares: tuple[tuple[Estimate, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class SetCoverage:
    """How often the true subtype was in the set, where the limits came from other cases.

    Attributes:
        name: ``all``, ``fold 0`` or a test set.
        coverage: Of all cases, and ``coverage_SUBTYPE`` of each.
        sizes: Share of cases with a set of one, of several and of none.
    """

    name: str
    coverage: dict[str, Estimate]
    sizes: dict[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class SetFigures:
    """Sets of possible subtypes of a run.

    Attributes:
        why_not: Why there are none; empty where there are.
        least, n_patients: By subtype, as a bundle has them: from the image's answers about all out-of-fold cases.
        least_with_facts, n_with_facts: The same for answers with clinical facts; empty where none were used.
        checked: Out-of-fold cases together, each fold (by limits of the other folds), held-out test sets.
    """

    confidence: float
    why_not: str = ""
    least: dict[str, float] = field(default_factory=dict)
    n_patients: dict[str, int] = field(default_factory=dict)
    least_with_facts: dict[str, float] = field(default_factory=dict)
    n_with_facts: dict[str, int] = field(default_factory=dict)
    checked: tuple[SetCoverage, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What an evaluation says about its run, apart from figures and predictions.

    ``operating_points`` has one for each fold; where held-out cases were answered by the mean of the folds' networks,
    that of the mean is the last, so that their fold of -1 finds it. ``findings`` are doubts about the evaluation.
    """

    run: str
    model: str
    subtypes: tuple[str, ...]
    positive: str
    protocol: Protocol
    operating_points: tuple[OperatingPoint, ...]
    cohort_digest: str
    run_digest: str
    synthetic: bool
    converged: bool
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evaluation(RunFacts, ShownAsTable):
    """The figures of one run on its test cases."""

    groups: tuple[EvaluationGroup, ...]
    predictions: tuple[Answer, ...]
    sets: SetFigures | None = None

    @property
    def leaky(self) -> bool:
        """True under the image protocol."""
        return self.protocol == "image"

    @property
    def auc(self) -> Estimate:
        """AUC by case of the first test set; macro-averaged over subtypes where there are more than two."""
        return self.groups[0].case["auc"]

    def records(self) -> list[Record]:
        """A row per figure: test set, counted by case, image or majority, value, limits, n, unit, method."""
        return [
            {"test_set": group.name, "counted_by": level, "figure": name, **asdict(estimate)}
            for group in self.groups
            for level, estimates in (
                ("case", group.case),
                ("image", group.image),
                ("majority", group.majority),
            )
            for name, estimate in estimates.items()
        ]

    def summary(self) -> str:
        """Run, subtypes and marks."""
        marks = [("SYNTHETIC", self.synthetic), ("LEAKY split by image", self.leaky)]
        marks.append(("did not converge", not self.converged))
        head = f"run {self.run}: {', '.join(self.subtypes)}; positive {self.positive}"
        return " | ".join([head, *(mark for mark, applies in marks if applies)])

    def _repr_html_(self) -> str:
        rows: list[Record] = [
            {"test set": group.name, "figure": name, "by case": by_case.interval()}
            | {"by image": group.image[name].interval() if name in group.image else None}
            | {"cases": by_case.n, "method, by case": by_case.method}
            for group in self.groups
            for name, by_case in group.case.items()
        ]
        return html_table(rows, self.summary())

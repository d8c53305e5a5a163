"""What `nephroscope predict` answers about one tumor, as one document."""

from dataclasses import dataclass, field
from typing import Literal

from nephroscope.records.cohort import Finding
from nephroscope.records.origin import RoiOrigin
from nephroscope.records.results import OutsideAnswer, PredictionSet, UsedFact

Side = Literal["left", "right", "unknown"]


@dataclass(frozen=True, kw_only=True)
class PredictedSlice:
    """One slice; ``slice_index`` counts from 0, from the feet."""

    slice_index: int
    area_mm2: float
    probabilities: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class PredictedSeries:
    """The CT that was used.

    Attributes:
        phase: Contrast phase, ``unknown`` where the files do not say it; ``evidence`` is the text it was found in.
        n_series: CT series of the patient among which it was chosen.
    """

    series_uid: str
    phase: str
    evidence: str
    n_slices: int
    slice_spacing_mm: float
    pixel_spacing_mm: tuple[float, float]
    n_series: int


@dataclass(frozen=True, kw_only=True)
class PredictedPhase:
    """One phase of the patient, for a bundle of several phases.

    Attributes:
        used: True where the network saw it.
        reason: ``drawn``, what came of the transfer, or why it was not used.
        shift_mm: How far the tumor lies from where it was drawn, to the left, the back and the head.
    """

    phase: str
    used: bool
    reason: str
    shift_mm: tuple[float, float, float] | None


@dataclass(frozen=True, kw_only=True)
class PredictedSide:
    """The side on which the tumor is said to be, and that on which it was drawn."""

    stated: Side
    drawn: Side


@dataclass(frozen=True, kw_only=True)
class UsedBundle:
    """The bundle that answered; ``phases`` are those of its training cases, with the number of cases."""

    model: str
    model_digest: str
    nephroscope: str
    made: str
    phases: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class JitteredAnswer:
    """The answer if the ROI were drawn otherwise: ``roi`` says how."""

    roi: str
    probabilities: dict[str, float]
    forced_call: str


@dataclass(frozen=True, kw_only=True)
class SecondAnswer:
    """What the bundle of the second of two linked questions says."""

    model: str
    model_digest: str
    probabilities: dict[str, float]
    call: str | None
    forced_call: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LinkedPrediction:
    """The answer to two linked questions, of which the prediction itself is the first.

    Attributes:
        probabilities: Of the first question's positive subtype, and of each of the second's.
        call: None: a question that decides it is not sure.
    """

    probabilities: dict[str, float]
    call: str | None
    forced_call: str
    reason: str
    second: SecondAnswer


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What `nephroscope predict --json` prints; docs/reference/prediction.schema.json describes it.

    Attributes:
        nephroscope: Version of the program.
        date: In UTC, ISO 8601.
        call: The subtype called; None means not sure.
        forced_call: The call if "not sure" were not allowed.
        threshold: On the probability of the subtype ``positive``; with three or more subtypes no call depends on it.
        timings: Seconds of each part.
        picture: File that was written; empty without one.
        image_probabilities: Of the image alone, where clinical facts were used; else empty.
        facts: What each clinical fact moved, in log odds of ``positive``.
        possible: Subtypes that the probabilities leave possible; null where the bundle has no sets.
        jitter: Answers with the ROI drawn 2 mm otherwise, where that was asked.
        outside: How far it lies from the training cases; null where the bundle does not say.
        linked: With a second question (``--then``), the answer to both; the other fields are of the first.
        roi: Who drew the ROI, and whether a person accepted it; null without one.
    """

    format: int
    nephroscope: str
    date: str
    case_id: str
    probabilities: dict[str, float]
    call: str | None
    forced_call: str
    reason: str
    positive: str
    threshold: float
    not_sure_margin: float
    series: PredictedSeries
    side: PredictedSide
    slices: tuple[PredictedSlice, ...]
    findings: tuple[Finding, ...]
    bundle: UsedBundle
    seconds: float
    timings: dict[str, float]
    model_digest: str
    phases: tuple[PredictedPhase, ...] = ()
    picture: str = ""
    image_probabilities: dict[str, float] = field(default_factory=dict)
    facts: tuple[UsedFact, ...] = ()
    possible: PredictionSet | None = None
    jitter: tuple[JitteredAnswer, ...] = ()
    outside: OutsideAnswer | None = None
    linked: LinkedPrediction | None = None
    roi: RoiOrigin | None = None
    research_use_only: bool = True

"""From the slices of a case to its answer: one `Scorer` for evaluation and clinic, so both say the same. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import BundleError
from nephroscope.clinic.call import decide, forced_call, mean_over_slices
from nephroscope.clinic.cut import apply_window
from nephroscope.clinic.facts import FactsModel
from nephroscope.clinic.sets import ConformalSets
from nephroscope.imaging.grid import AIR_HU
from nephroscope.records import (
    Answer,
    ClinicalFacts,
    Finding,
    OperatingPoint,
    SlicePrediction,
    SliceSpec,
    UsedFact,
    warning,
)

SLACK = 0.5  # of the training range, on each side
LEAST_SLACK = 0.1  # of the middle of the range, on each side, where the training cases hardly differ
MEAN, SD, SCALE = FEATURES = (
    "mean of the windowed slices",
    "SD of the windowed slices",
    "scale in mm per pixel",
)


@dataclass(frozen=True, kw_only=True)
class ApplicabilityDomain:
    """Lowest and highest value of each feature over the training cases, widened by half of their range."""

    limits: Mapping[str, tuple[float, float]]

    def allowed(self, name: str) -> tuple[float, float]:
        """The range in which a feature is not doubted.

        At least a tenth around its middle, as training cases may all have one field of view; and of the scale nothing
        below half of the smallest.
        """
        low, high = self.limits[name]
        middle, smallest = (low + high) / 2, low + (high - low) * SLACK / (1 + 2 * SLACK)
        half = max((high - low) / 2, LEAST_SLACK * abs(middle))
        low, high = middle - half, middle + half
        return (max(low, smallest / 2), high) if name == SCALE else (low, high)

    def doubts(self, case_id: str, features: Mapping[str, float]) -> list[Finding]:
        """A warning for each feature that lies outside."""
        found = []
        for name in self.limits:
            low, high = self.allowed(name)
            if not low <= features[name] <= high:
                text = f"{name} is {features[name]:.3g}; the training cases allow {low:.3g} to {high:.3g}"
                found.append(warning("outside-training-range", text, case_id=case_id))
        return found


def case_features(hu: npt.NDArray[np.int16], mm_per_px: float, spec: SliceSpec) -> dict[str, float]:
    """What is compared: brightness and contrast of the slices (N, size, size) in the window, and their scale."""
    windowed = apply_window(hu, spec)
    return {MEAN: float(windowed.mean()), SD: float(windowed.std()), SCALE: mm_per_px}


def learn_domain(features: Iterable[Mapping[str, float]]) -> ApplicabilityDomain:
    """The domain of these training cases."""
    columns: dict[str, list[float]] = {}
    for case in features:
        for name, value in case.items():
            columns.setdefault(name, []).append(value)
    limits = {}
    for name, values in columns.items():
        slack = SLACK * (max(values) - min(values))
        limits[name] = (min(values) - slack, max(values) + slack)
    return ApplicabilityDomain(limits=limits)


class Network(Protocol):
    """What answers: slices (N, size, size) in HU to probabilities (N, n_subtypes)."""

    def probabilities(self, hu: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
        """One row a slice, each row with the sum 1."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CaseInput:
    """What a network or a bundle sees of one case.

    Attributes:
        slices: HU by contrast phase, int16 (N, size, size) each; row i shows the same place in every phase.
        presence: By phase, bool (N,): where the phase has that place. Where it has not, its row is air.
        chosen: Phase of the series that was chosen; all its rows are present.
        clinical: What the clinical table says.
        slice_index, area_mm2: Of each row, on the chosen series.
        mm_per_px: Scale of all rows.
    """

    case_id: str
    patient_id: str
    slices: Mapping[str, npt.NDArray[np.int16]]
    presence: Mapping[str, npt.NDArray[np.bool_]]
    chosen: str
    slice_index: Sequence[int]
    area_mm2: Sequence[float]
    mm_per_px: float
    clinical: ClinicalFacts = field(default_factory=ClinicalFacts)
    findings: tuple[Finding, ...] = ()

    @property
    def hu(self) -> npt.NDArray[np.int16]:
        """The slices of the chosen series, int16 (N, size, size)."""
        return self.slices[self.chosen]

    def shown(self, phases: Sequence[str]) -> npt.NDArray[np.int16]:
        """The slices as a network of these phases sees them, (N, phases, size, size); those of `hu` without any."""
        if not phases:
            return self.hu
        air = np.full_like(self.hu, AIR_HU)
        return np.stack([self.slices.get(phase, air) for phase in phases], axis=1)

    def with_any(self, phases: Sequence[str]) -> "CaseInput":
        """The rows that one of these phases shows.

        Raises:
            BundleError: There is none.
        """
        nowhere = np.zeros(len(self.hu), np.bool_)
        seen = np.any([self.presence.get(phase, nowhere) for phase in phases], axis=0)
        if seen.all():
            return self
        if not seen.any():
            raise BundleError(
                where=f"case {self.case_id}",
                expected=f"a CT of one of the phases {', '.join(phases)}",
                found=", ".join(self.slices),
                remedy="name the phase of each series, or use a network of the phase that there is",
            )
        rows = np.flatnonzero(seen).tolist()
        return replace(
            self,
            slices={phase: hu[rows] for phase, hu in self.slices.items()},
            presence={phase: there[rows] for phase, there in self.presence.items()},
            slice_index=[self.slice_index[row] for row in rows],
            area_mm2=[self.area_mm2[row] for row in rows],
        )


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """A network with the rules that turn its probabilities into a call.

    ``phases`` are those that the network is shown, in order; none where it sees the chosen series. ``sets`` belong to
    answers of the image alone, ``sets_with_facts`` to those that clinical facts moved.
    """

    network: Network
    subtypes: tuple[str, ...]
    positive: str
    point: OperatingPoint
    not_sure_margin: float
    domain: ApplicabilityDomain
    spec: SliceSpec
    model_digest: str
    facts: FactsModel | None = None
    sets: ConformalSets | None = None
    sets_with_facts: ConformalSets | None = None
    phases: tuple[str, ...] = ()

    def answer(self, case: CaseInput) -> Answer:
        """Probabilities by slice and case, the call or "not sure", and why.

        Raises:
            BundleError: The network is for several phases, and the case has none of them.
        """
        case = case.with_any(self.phases) if self.phases else case
        seen = tuple(phase for phase in self.phases if case.presence.get(phase, np.zeros(1)).any())
        p = self.network.probabilities(case.shown(self.phases))  # (N, K)
        slices = tuple(
            SlicePrediction(slice_index=int(s), probabilities=tuple(row.tolist()), area_mm2=float(area))
            for s, row, area in zip(case.slice_index, p, case.area_mm2, strict=True)
        )
        doubts = self.domain.doubts(case.case_id, case_features(case.hu, case.mm_per_px, self.spec))
        return replace(self.conclude(case, slices, (*case.findings, *doubts)), phases=seen)

    def conclude(
        self, case: CaseInput, slices: tuple[SlicePrediction, ...], findings: tuple[Finding, ...]
    ) -> Answer:
        """The call that these slices and findings support, with the clinical facts where the model has any."""
        plain = Answer(
            case_id=case.case_id,
            patient_id=case.patient_id,
            probabilities={},
            slices=slices,
            forced_call="",
            call=None,
            reason="",
            findings=findings,
            model_digest=self.model_digest,
        )
        return self.concluded(plain, case.clinical)

    def concluded(self, answer: Answer, clinical: ClinicalFacts) -> Answer:
        """An answer of which only slices and findings count, with what this model says about them and these facts."""
        image: tuple[float, ...] = mean_over_slices(answer.slices)
        moved: tuple[UsedFact, ...] = ()
        mean, findings, sets = image, answer.findings, self.sets
        if self.facts is not None:
            mean = self.facts.probabilities(image, clinical)
            moved = self.facts.moved(image, clinical, self.subtypes.index(self.positive))
            findings = (*findings, *self.facts.doubts(clinical, answer.case_id))
            sets = self.sets_with_facts if moved else self.sets
        call, reason = decide(mean, self.subtypes, self.positive, self.point, self.not_sure_margin, findings)
        probabilities = dict(zip(self.subtypes, mean, strict=True))
        return replace(
            answer,
            probabilities=probabilities,
            forced_call=forced_call(mean, self.subtypes, self.positive, self.point),
            call=call,
            reason=reason,
            findings=findings,
            image_probabilities=dict(zip(self.subtypes, image, strict=True)) if moved else {},
            facts=moved,
            possible=sets.of(probabilities) if sets else None,
        )

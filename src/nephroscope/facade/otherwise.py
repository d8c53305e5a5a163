"""What is asked beside an answer: the same with the ROI drawn otherwise, and a second question that follows it."""

from collections.abc import Sequence
from dataclasses import asdict, replace

from nephroscope.base.errors import RoiError
from nephroscope.clinic.bundle import Bundle
from nephroscope.clinic.linked import link
from nephroscope.clinic.predict import OtherPhase, Phases, predict
from nephroscope.records import ClinicalFacts, CTVolume, RoiMask
from nephroscope.records.prediction import JitteredAnswer, LinkedPrediction, Prediction, SecondAnswer
from nephroscope.regions.jitter import jittered


def check_jitter(bundle: Bundle, roi: RoiMask | None) -> None:
    """Refuse a case whose answer no ROI changes.

    Raises:
        RoiError: There is no ROI, or none that matters to the network.
    """
    if roi is None or bundle.spec.roi_mode == "full":
        raise RoiError(
            where="--jitter",
            expected="an ROI that the network looks at",
            found="an answer about whole slices",
            remedy="leave --jitter out",
        )


def answers_jittered(
    bundle: Bundle, volume: CTVolume, roi: RoiMask, facts: ClinicalFacts, phases: Phases | None = None
) -> tuple[JitteredAnswer, ...]:
    """The answers with the ROI drawn 2 mm otherwise, on every phase in the same way.

    Args:
        bundle: Opened.
        volume: CT on which the tumor was drawn.
        roi: The tumor there.
        facts: Age, sex and size, where they are known.
        phases: For a bundle of several phases.
    """
    others = [(one, dict(jittered(one.roi))) for one in phases.others] if phases else []
    found = []
    for name, mask in jittered(roi):
        there = phases and replace(phases, others=_otherwise(others, name))
        answer = predict(bundle, volume, mask, facts=facts, phases=there)[0]
        found.append(
            JitteredAnswer(roi=name, probabilities=answer.probabilities, forced_call=answer.forced_call)
        )
    return tuple(found)


def _otherwise(others: Sequence[tuple[OtherPhase, dict[str, RoiMask]]], name: str) -> tuple[OtherPhase, ...]:
    return tuple(replace(one, roi=ways.get(name, one.roi)) for one, ways in others)


def linked_answer(first: Prediction, second: Prediction) -> LinkedPrediction:
    """The answer to both questions, of which the second asks which of the others it is."""
    both = link(first, second, first.positive)
    told = SecondAnswer(
        model=second.bundle.model,
        model_digest=second.model_digest,
        probabilities=dict(second.probabilities),
        call=second.call,
        forced_call=second.forced_call,
        reason=second.reason,
    )
    return LinkedPrediction(**asdict(both), second=told)

"""The answers of one bundle with the drawn and with the proposed ROI of the same cases: AUC, calls that flip."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nephroscope.base.errors import NephroscopeError
from nephroscope.clinic.bundle import Bundle
from nephroscope.clinic.predict import check_phase, predict
from nephroscope.records import ChosenCase, CTVolume, Estimate, EvaluationConfig, RoiMask
from nephroscope.regions.check import check_case
from nephroscope.statistics.auc import PairedTest, compare_aucs, compare_mean_aucs
from nephroscope.statistics.estimates import share_of_cases
from nephroscope.statistics.intervals import Patients, no_estimate
from nephroscope.statistics.margin import MarginTest, against_margin, interval_against_margin

NOT_SURE = "not sure"
SEEN = "seen-in-training"
NO_CASE = no_estimate("undefined: no case with an answer and a known subtype", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneAnswer:
    """An answer: probabilities, the call or "not sure", the call without that, and whether training saw the case."""

    probabilities: tuple[float, ...]
    call: str
    forced: str
    seen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoAnswers:
    """Both answers about a case.

    Attributes:
        drawn, proposed: By ROI; None where there is no answer.
        why: Why there is none of the proposal; empty where there is one.
    """

    case_id: str
    patient_id: str
    subtype: str | None
    drawn: OneAnswer | None
    proposed: OneAnswer | None
    why: str

    @property
    def flips(self) -> bool:
        """True where the proposal leads to another call; no answer, and "not sure", are calls too."""
        calls = [one.call if one is not None else "" for one in (self.drawn, self.proposed)]
        return calls[0] != calls[1]

    @property
    def moved(self) -> float:
        """Largest change of a probability; 1 where there is no answer of the proposal."""
        if self.drawn is None or self.proposed is None:
            return 1.0
        pairs = zip(self.drawn.probabilities, self.proposed.probabilities, strict=True)
        return max(abs(one - two) for one, two in pairs)


@dataclass(frozen=True, kw_only=True)
class AnswerEffect:
    """What proposals do to a bundle's answers.

    Attributes:
        bundle: Its network.
        n_cases: Cases that the drawn ROI answers.
        n_without: Of them, those that the proposal does not answer: no proposal, or one that is refused.
        n_seen: Cases that the training saw: their answers are too good, with either ROI.
        margin: Loss of AUC that would not matter, stated beforehand.
        auc_drawn, auc_proposed: Over the cases whose subtype is known; where the proposal has no answer, all subtypes
            count as equally probable. None without any.
        difference: Of the AUCs, proposed minus drawn.
        difference_answered: The same over the cases that both answer: what is left when the others are not looked at.
        shown: What ``difference`` shows against the margin.
        flips: Share of the cases whose call changes; "not sure" and no answer are calls too.
        forced_flips: The same of calls without "not sure", over the cases that both answer.
        cases: Each, those that move most first.
    """

    bundle: str
    n_cases: int
    n_without: int
    n_seen: int
    margin: float
    auc_drawn: float | None
    auc_proposed: float | None
    difference: Estimate
    difference_answered: Estimate
    shown: MarginTest
    flips: Estimate
    forced_flips: Estimate
    cases: tuple[TwoAnswers, ...]


def answer_twice(
    bundle: Bundle, case: ChosenCase, volume: CTVolume, drawn: RoiMask, proposed: RoiMask | None
) -> TwoAnswers:
    """Answer a case with both ROIs, with the doubts of `predict`."""
    answers: list[OneAnswer | None] = []
    why = "" if proposed is not None else "no proposal"
    for roi in (drawn, proposed):
        answer = None
        if roi is not None:
            try:
                answer = _answer(bundle, case, volume, roi)
            except NephroscopeError as error:
                why = str(error)
        answers.append(answer)
    return TwoAnswers(
        case_id=case.case_id,
        patient_id=case.patient_id,
        subtype=case.subtype,
        drawn=answers[0],
        proposed=answers[1],
        why=why,
    )


def _answer(bundle: Bundle, case: ChosenCase, volume: CTVolume, roi: RoiMask) -> OneAnswer | None:
    doubts = [*check_case(case, volume, roi).findings, *check_phase(bundle, case.phase, "", case.case_id)]
    if any(finding.severity == "refusal" for finding in doubts):
        return None
    answer, _ = predict(bundle, volume, roi, doubts, case.case_id, case.clinical)
    return OneAnswer(
        probabilities=tuple(answer.probabilities[name] for name in bundle.scorer.subtypes),
        call=answer.call or NOT_SURE,
        forced=answer.forced_call,
        seen=any(finding.code == SEEN for finding in answer.findings),
    )


def effect_on_answers(
    answers: Sequence[TwoAnswers], bundle: Bundle, margin: float, config: EvaluationConfig
) -> AnswerEffect:
    """Both sets of answers compared; see `AnswerEffect`."""
    asked = [one for one in answers if one.drawn is not None]
    both = [one for one in asked if one.proposed is not None]
    subtypes = bundle.scorer.subtypes
    labelled = [one for one in asked if one.subtype in subtypes]
    answered = [one for one in labelled if one.proposed is not None]
    test, left = (_compared(rows, subtypes, bundle.scorer.positive, config) for rows in (labelled, answered))
    names = ("the proposed ROI", "the drawn ROI")
    shown = (
        against_margin(test, margin, names)
        if test is not None
        else interval_against_margin(NO_CASE, margin, names)
    )
    patients = [one.patient_id for one in asked]
    forced = [one.drawn.forced != one.proposed.forced for one in both if one.drawn and one.proposed]
    return AnswerEffect(
        bundle=bundle.about.model,
        n_cases=len(asked),
        n_without=len(asked) - len(both),
        n_seen=sum(one.drawn.seen for one in asked if one.drawn is not None),
        margin=margin,
        auc_drawn=test.aucs[1] if test else None,
        auc_proposed=test.aucs[0] if test else None,
        difference=test.difference if test else NO_CASE,
        difference_answered=left.difference if left else NO_CASE,
        shown=shown,
        flips=share_of_cases([one.flips for one in asked], patients, config.confidence),
        forced_flips=share_of_cases(forced, [one.patient_id for one in both], config.confidence),
        cases=tuple(sorted(asked, key=lambda one: (-one.moved, one.case_id))),
    )


def _compared(
    rows: Sequence[TwoAnswers], subtypes: Sequence[str], positive: str, config: EvaluationConfig
) -> PairedTest | None:
    """The paired test of the AUCs, proposed minus drawn; of more than two subtypes, of the mean AUC."""
    if not rows:
        return None
    truth = np.array([subtypes.index(one.subtype or "") for one in rows], np.intp)
    patients = Patients.of([one.patient_id for one in rows], truth)
    equal = (1 / len(subtypes),) * len(subtypes)  # where there is no answer
    p = [
        np.array([equal if one is None else one.probabilities for one in picked])
        for picked in ([row.proposed for row in rows], [row.drawn for row in rows])
    ]
    if len(subtypes) == 2:
        at = subtypes.index(positive)
        return compare_aucs(p[0][:, at], p[1][:, at], truth == at, patients, config, bootstrap=False)
    areas = [[(one[:, at], truth == at) for at in range(len(subtypes))] for one in p]
    return compare_mean_aucs(areas[0], areas[1], patients, config)

"""A reader at work: which case comes next, what may be asked about it, and the answer.

Whatever is given out here reaches the reader's browser: no truth, nothing of other readers, and of the model only
what belongs to the aided case that the reader has now.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from nephroscope.workstation.reading.order import Step
from nephroscope.workstation.reading.protocol import (
    FOLDER,
    HIGHEST,
    LOWEST,
    MIDDLE,
    Arm,
    Protocol,
    read_protocol,
)
from nephroscope.workstation.reading.refusals import (
    ClockError,
    ClosedError,
    ContradictionError,
    OtherCaseError,
    ReadingError,
    SignInError,
    WashoutError,
)
from nephroscope.workstation.reading.store import (
    KeptAnswer,
    KeptStudy,
    Spent,
    Who,
    all_or_none,
    answers_of,
    keep_answer,
    keep_time,
    note_time,
    open_sitting,
    steps_of,
    study_of,
    time_of,
)

DAY_S = 24 * 3600.0
MOST, LONGEST_REQUEST = 10**9, 100
CLOCK_SLACK_S = 300.0  # by which a clock may be set back
State = Literal["reading", "washout", "done", "closed"]


@dataclass(frozen=True, kw_only=True)
class GivenAnswer:
    """What a reader answers; ``call`` None: not sure."""

    number: int
    sitting: int
    request: str
    call: str | None
    confidence: int
    spent: Spent


@dataclass(frozen=True, kw_only=True)
class OwnAnswer:
    """A reader's own unaided answer about the case, locked before the aided one is asked."""

    call: str | None
    confidence: int


@dataclass(frozen=True, kw_only=True)
class Seat:
    """What a reader sees of the study now. Everything here reaches the browser.

    Attributes:
        state: ``reading``, ``washout`` until ``not_before``, ``done``, or ``closed`` by the organizer.
        reader: Own pseudonym.
        scale: Lowest, middle and highest confidence about ``positive``.
        number: Of the answer that is asked for now; None where none is.
        code: Name of the case for this reader.
        done, of: Cases that are answered, and all of this period; practice cases while ``training``.
        period: Of ``periods``.
        unaided: The reader's own answer about the same case, in a sequential study.
        spent: On this case so far.
    """

    state: State
    title: str
    question: str
    reader: str
    subtypes: tuple[str, ...]
    positive: str
    scale: tuple[int, int, int]
    design: str
    number: int | None = None
    code: str = ""
    arm: Arm | None = None
    training: bool = False
    done: int = 0
    of: int = 0
    period: int = 1
    periods: int = 1
    not_before: str = ""
    unaided: OwnAnswer | None = None
    spent: Spent = field(default_factory=Spent)


@dataclass(frozen=True, kw_only=True)
class Work:
    """A reader's part of a study, as it is kept."""

    study: KeptStudy
    folder: Path
    protocol: Protocol
    who: Who
    steps: Sequence[Step]
    answers: dict[int, KeptAnswer]

    @property
    def step(self) -> Step | None:
        """The first step without an answer."""
        return next((step for step in self.steps if step.number not in self.answers), None)

    def need(self, number: int) -> Step:
        """The step that the reader has now, which must be this one.

        Raises:
            OtherCaseError: It is another one.
            FinalError: It is answered.
            ClosedError: The study takes no more answers.
        """
        step = self.step
        if self.study.closed_at is not None:
            raise ClosedError(
                where="reader study",
                expected="a study that goes on",
                found="that the organizer closed it",
                remedy="nothing more is to be done; thank you",
            )
        if step is None or step.number != number:
            raise OtherCaseError(
                where="case",
                expected="the case that you have now",
                found="another one",
                remedy="load the page again; it goes on at the next case",
            )
        return step


def work_of(db: sqlite3.Connection, state: Path, who: Who) -> Work:
    """A reader's part of a study.

    Raises:
        SignInError: There is no such study.
        LockedError: The protocol is not the one that was locked.
    """
    kept = study_of(db, who.study)
    if kept is None:
        raise SignInError(
            where="address",
            expected="a reader study",
            found="none",
            remedy="ask the organizer for the address",
        )
    folder = state / FOLDER / kept.folder
    return Work(
        study=kept,
        folder=folder,
        protocol=read_protocol(folder, kept.digest),
        who=who,
        steps=steps_of(db, who),
        answers=answers_of(db, who),
    )


def seat_of(db: sqlite3.Connection, work: Work, now: float) -> Seat:
    """What the reader sees now."""
    protocol, step = work.protocol, work.step
    seat = Seat(
        state="done",
        title=protocol.title,
        question=protocol.question,
        reader=work.who.reader,
        subtypes=protocol.subtypes,
        positive=protocol.positive,
        scale=(LOWEST, MIDDLE, HIGHEST),
        design=protocol.design,
        periods=2 if protocol.design == "crossover" else 1,
    )
    if work.study.closed_at is not None:
        return replace(seat, state="closed")
    if step is None:
        return replace(seat, period=seat.periods)
    part = [one for one in work.steps if (one.period, one.training) == (step.period, step.training)]
    codes = dict.fromkeys(one.code for one in part)
    left = {one.code for one in part if one.number not in work.answers}
    seat = replace(
        seat, period=step.period, training=step.training, done=len(codes) - len(left), of=len(codes)
    )
    begins = second_arm_begins(work, step)
    if begins is not None and now < begins:
        return replace(seat, state="washout", not_before=iso(begins))
    own = _own_unaided(work, step)
    return replace(
        seat,
        state="reading",
        number=step.number,
        code=step.code,
        arm=step.arm,
        unaided=own,
        spent=time_of(db, work.who, step.number)[0],
    )


def _own_unaided(work: Work, step: Step) -> OwnAnswer | None:
    """In a sequential study, the answer before the model's was shown."""
    if step.arm == "unaided" or work.protocol.design != "sequential":
        return None
    before = work.answers[step.number - 1]
    return OwnAnswer(call=before.call, confidence=before.confidence)


def iso(seconds: float) -> str:
    """A time in UTC, as ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def second_arm_begins(work: Work, step: Step) -> float | None:
    """When the washout of a crossover is over, in seconds since 1970; None for another step."""
    if step.period < 2:
        return None
    last = max(work.answers[one.number].answered_at for one in work.steps if one.period < step.period)
    return last + work.protocol.washout_days * DAY_S


def ready_step(work: Work, number: int, now: float) -> Step:
    """The step that the reader has now, which must be this one, in an arm that has begun.

    Raises:
        OtherCaseError: The reader has another case now.
        WashoutError: The second arm has not begun.
        ClockError: The computer's clock is behind a time it already showed, so nobody knows whether it has.
        ClosedError: The study takes no more answers.
    """
    step = work.need(number)
    begins = second_arm_begins(work, step)
    if begins is None:
        return step
    if now < work.study.latest - CLOCK_SLACK_S:
        raise ClockError(
            where="clock of this computer",
            expected=f"a time after {iso(work.study.latest)}",
            found=iso(now),
            remedy="set the clock right; the washout is counted from the last answer",
        )
    if now < begins:
        raise WashoutError(
            where=f"second arm of reader {work.who.reader}",
            expected=f"{work.protocol.washout_days} days after the last answer of the first arm",
            found=f"{(begins - now) / DAY_S:.1f} days before that",
            remedy=f"come back on or after {iso(begins)}",
        )
    return step


def open_step(db: sqlite3.Connection, work: Work, number: int, now: float) -> tuple[int, Spent]:
    """The reader sees the case from now on: the number of the sitting, and the time on the case before it."""
    ready_step(work, number, now)
    return open_sitting(db, work.who, number, now)


def note_spent(db: sqlite3.Connection, who: Who, number: int, sitting: int, spent: Spent, now: float) -> None:
    """Keep the time that the reader spent in this sitting so far.

    Raises:
        ReadingError: The time is impossible.
        OtherWindowError: The case was not opened, or opened again since.
        FinalError: The case is answered.
    """
    check_time(spent)
    check_numbers(number, sitting)
    keep_time(db, who, number, sitting, spent, now)


def check_time(spent: Spent) -> None:
    """Refuse what no clock can have counted."""
    if not spent.possible:
        raise ReadingError(
            where="reading time",
            expected="milliseconds from 0, active ones up to a day, others up to 400 days",
            found="something else",
            remedy="load the page again; the time until now is kept",
        )


def check_numbers(number: int, sitting: int, request: str = "") -> None:
    """Refuse numbers and texts that this program never gave out or asked for."""
    if not (0 <= number < MOST and 0 < sitting < MOST and len(request) <= LONGEST_REQUEST):
        raise OtherCaseError(
            where="case",
            expected=f"its number, that of a sitting, and a request of at most {LONGEST_REQUEST} characters",
            found="others",
            remedy="load the page again",
        )


def check_consistent(call: str | None, confidence: int, subtypes: Sequence[str], positive: str) -> None:
    """Refuse an answer whose confidence contradicts its call.

    Raises:
        ContradictionError: The call is no subtype, the confidence not on the scale, or one contradicts the other.
    """
    allowed = allowed_confidences(call, positive)
    if call is not None and call not in subtypes:
        raise ContradictionError(
            where="call",
            expected=f"{', '.join(subtypes)}, or not sure",
            found="another one",
            remedy="choose one of them",
        )
    if confidence not in allowed:
        raise ContradictionError(
            where="confidence",
            expected=f"{allowed[0]} to {allowed[-1]} with the call {call or 'not sure'}",
            found=str(confidence),
            remedy=f"the confidence says how likely {positive} is, not how sure you are of your call",
        )


def allowed_confidences(call: str | None, positive: str) -> tuple[int, ...]:
    """Confidences about the positive subtype that go with a call; the middle goes with each."""
    if call is None:
        return tuple(range(LOWEST + 1, HIGHEST))
    return tuple(range(MIDDLE, HIGHEST + 1)) if call == positive else tuple(range(LOWEST, MIDDLE + 1))


def answer_step(db: sqlite3.Connection, work: Work, given: GivenAnswer, now: float) -> KeptAnswer:
    """Keep a final answer; it is on the disk when this returns. The same request again changes nothing.

    Raises:
        FinalError: The case has another answer.
        ContradictionError: The confidence contradicts the call.
        OtherCaseError: The reader has another case now.
        OtherWindowError: The case was opened in another window since.
    """
    protocol = work.protocol
    check_time(given.spent)
    check_numbers(given.number, given.sitting, given.request)
    check_consistent(given.call, given.confidence, protocol.subtypes, protocol.positive)
    if given.number not in work.answers:
        work.need(given.number)
    answer = KeptAnswer(
        number=given.number,
        request=given.request,
        call=given.call,
        confidence=given.confidence,
        spent=given.spent,
        doubtful=False,
        answered_at=now,
    )
    return keep_answer(db, work.who, given.sitting, answer)


def seen_at(db: sqlite3.Connection, study: str, now: float) -> None:
    """Remember what the clock shows, so that a clock that is set back is noticed."""
    with all_or_none(db):
        note_time(db, study, now)

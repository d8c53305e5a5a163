"""Refusals of a reader study; the code of each is stable and the pages rely on it."""

from nephroscope.base.errors import NephroscopeError


class ReadingError(NephroscopeError):
    """A reader study cannot do what was asked.

    Attributes:
        status: HTTP status of the answer that carries it.
    """

    code = "reading"
    status = 409


class PlanError(ReadingError):
    """The protocol contradicts itself or the study, so it cannot be locked."""

    code = "reading-protocol"
    status = 422


class LockedError(ReadingError):
    """The protocol is locked, or its file is not as it was locked: a change is a new study."""

    code = "reading-protocol-locked"


class AidError(ReadingError):
    """The model has no independent answer about a case, so it cannot aid a reader there."""

    code = "reading-model"
    status = 422


class SignInError(ReadingError):
    """The code is no reader's of this study, or nobody is signed in."""

    code = "reading-sign-in"
    status = 403


class OtherCaseError(ReadingError):
    """Something was asked about a case that is not the one the reader has now."""

    code = "reading-not-this-case"


class OtherWindowError(ReadingError):
    """The case was opened in another window since, whose time counts."""

    code = "reading-other-window"


class FinalError(ReadingError):
    """The case is answered, and answers are final."""

    code = "reading-answer-final"


class ContradictionError(ReadingError):
    """Call and confidence contradict each other."""

    code = "reading-contradiction"
    status = 422


class WashoutError(ReadingError):
    """The second arm of a crossover begins later."""

    code = "reading-washout"


class ClockError(ReadingError):
    """The computer's clock is behind a time that it already showed."""

    code = "reading-clock"


class UnfinishedError(ReadingError):
    """Readers have cases left, so there is no result yet."""

    code = "reading-not-finished"


class ClosedError(ReadingError):
    """The study was closed, so no further answer is taken."""

    code = "reading-closed"

"""The answers of readers and models, and the truth of the cases."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nephroscope.records import Finding
from nephroscope.statistics.metrics import Bools, Floats, Ints

NO_FOLD = "-1"  # of held-out cases, in the answers of a run and of a comparison
# A reader's name and whether a program helped.
Who = tuple[str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseLabels:
    """Truth of the cases.

    Attributes:
        subtypes: Of the study, in order.
        positive: The subtype that sensitivity and confidence refer to.
        truth: Subtype by case_id.
        patient_of: patient_id by case_id.
        group_of: Test set by case_id (out-of-fold, internal-test, external-test:NAME); empty without a study.
    """

    subtypes: tuple[str, ...]
    positive: str
    truth: Mapping[str, str]
    patient_of: Mapping[str, str]
    group_of: Mapping[str, str] = field(default_factory=dict)

    def index(self, call: str) -> int:
        """Place of a subtype; one past the last for a subtype that is none of the study's."""
        return self.subtypes.index(call) if call in self.subtypes else len(self.subtypes)

    def indices(self, cases: list[str]) -> Ints:
        """Place of the true subtype of each case, (n,)."""
        return np.array([self.index(self.truth[case]) for case in cases], dtype=np.intp)

    def is_positive(self, cases: list[str]) -> Bools:
        """Which cases are the positive subtype, (n,)."""
        return np.array([self.truth[case] == self.positive for case in cases], dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderAnswer:
    """One answer about one case.

    Attributes:
        call: The subtype; None: not sure.
        confidence: How certain it is the positive subtype, on the scale of its table; None: not given.
        seconds: It took; None: not given.
        group: Test set of the case in the split of the model that answers; empty where it has none.
        fold: Of the fit that answered; the same for all cases of a person, or of one model.
    """

    call: str | None
    confidence: float | None
    seconds: float | None = None
    group: str = ""
    fold: str = ""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """All answers of one reader, or of one model.

    Attributes:
        name: As in the table, or the run's.
        aided: True when a program helped the reader.
        answers: By case_id.
        model: True for a program's answers.
        source: Where the answers are from.
        of_study: True for a run or baseline of the study, whose intervals are those of `evaluate`.
        baseline: True for a model of `nephroscope compare` that a network must beat.
        leaky: True for a run that was trained on slices of its test patients: it is shown but never tested.
        unrated: Why the confidences of the table are not used; empty where they are.
    """

    name: str
    aided: bool
    answers: Mapping[str, ReaderAnswer]
    model: bool = False
    source: str = ""
    of_study: bool = False
    baseline: bool = False
    leaky: bool = False
    unrated: str = ""

    @property
    def title(self) -> str:
        """Name for tables and sentences."""
        return f"{self.name}, aided" if self.aided else self.name

    @property
    def called(self) -> dict[str, str]:
        """Calls of the cases that have one."""
        return {case: r.call for case, r in self.answers.items() if r.call is not None}

    @property
    def rated(self) -> dict[str, float]:
        """Confidences of the cases that have one."""
        return {case: r.confidence for case, r in self.answers.items() if r.confidence is not None}

    def folds(self, cases: list[str]) -> list[str]:
        """The fit that answered each of these cases.

        Held-out cases that the mean of the folds' networks answered, or one more fit on all patients, add no fold.
        """
        found = [self.answers[case].fold for case in cases]
        folds = [fold for fold in found if fold != NO_FOLD]
        return [fold if fold != NO_FOLD or not folds else folds[0] for fold in found]

    def scores(self, cases: list[str]) -> Floats:
        """Confidences of these cases, (n,)."""
        rated = self.rated
        return np.array([rated[case] for case in cases], dtype=float)

    def right(self, cases: list[str], labels: CaseLabels) -> Bools:
        """Whether the call of each of these cases is the truth, (n,)."""
        called = self.called
        return np.array([called[case] == labels.truth[case] for case in cases], dtype=bool)


@dataclass(frozen=True, kw_only=True)
class CallTable:
    """A table of calls as read.

    Attributes:
        readers: People, unaided before aided, in the order of the table.
        models: Programs whose answers are in the table.
        scale: Of the readers' confidence, in words; empty without one.
        findings: Doubts about the table.
        margin: Loss of AUC against readers that would not matter in a model; 0 where none is stated.
    """

    readers: tuple[Reader, ...]
    models: tuple[Reader, ...]
    scale: str
    findings: tuple[Finding, ...]
    margin: float = 0.0

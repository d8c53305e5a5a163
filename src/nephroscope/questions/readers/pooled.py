"""Several readers of the same cases in; their mean, their mean beside a model, and aided beside unaided, out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nephroscope.base.errors import CohortError
from nephroscope.questions.readers.calls import Known, Reader
from nephroscope.records import Estimate
from nephroscope.statistics.metrics import Floats
from nephroscope.statistics.mrmc import NAMES, Difference, MrmcReport, against_one, analyse
from nephroscope.statistics.mrmc_design import Design, Figure, numbered

FIGURES: tuple[Figure, ...] = ("accuracy", "sensitivity", "specificity", "auc")
FEW_READERS = 5


@dataclass(frozen=True, kw_only=True)
class MeanOfReaders:
    """Mean of a figure over readers, of the cases that all of them answered; random readers and cases."""

    figure: Figure
    aided: bool
    n_readers: int
    n_cases: int
    mean: Estimate


@dataclass(frozen=True, kw_only=True)
class MeanBeside:
    """Mean of the readers less a model, or unaided less aided.

    Attributes:
        p_holm: Of ``found.test``, corrected within its question.
        sentence: What it says after correction, in words.
    """

    figure: Figure
    n_readers: int
    n_cases: int
    found: Difference
    p_holm: float | None = None
    sentence: str = ""


def mean_of_readers(readers: Sequence[Reader], known: Known, confidence: float) -> list[MeanOfReaders]:
    """Mean of each figure over readers that are all aided or all unaided; None, and why, where there is none."""
    found = []
    for figure in FIGURES:
        design, cases = _design([readers], known, figure)
        analysed = _analysed(design, figure, len(readers), confidence)
        if isinstance(analysed, str):
            mean = Estimate(value=None, low=None, high=None, n=len(cases), unit="case", method=analysed)
        else:
            mean = analysed.analyses[NAMES[""]].means[analysed.treatments[0]]
        found.append(
            MeanOfReaders(
                figure=figure, aided=readers[0].aided, n_readers=len(readers), n_cases=len(cases), mean=mean
            )
        )
    return found


def mean_beside_model(
    readers: Sequence[Reader], model: Reader, known: Known, confidence: float
) -> list[MeanBeside]:
    """Mean of the readers less the model, by figure, on the cases that all of them answered."""
    found = []
    for figure in FIGURES:
        design, cases = _design([[*readers, model]], known, figure)
        if isinstance(_checked(design, figure, len(readers)), str) or design is None:
            continue
        people = Design(
            treatments=design.treatments,
            readers=design.readers[:-1],
            ratings=design.ratings[:, :-1],
            truth=design.truth,
            patient=design.patient,
        )
        beside = against_one(people, design.ratings[0, -1], model.title, figure, confidence)
        if readers[0].aided:
            beside = replace(beside, first=f"{beside.first}, aided")
        found.append(MeanBeside(figure=figure, n_readers=len(readers), n_cases=len(cases), found=beside))
    return found


def aided_beside_unaided(
    unaided: Sequence[Reader], aided: Sequence[Reader], known: Known, confidence: float
) -> list[MeanBeside]:
    """Unaided less aided over the readers who did both, by figure; readers in the same order in both."""
    found = []
    for figure in FIGURES:
        design, cases = _design([unaided, aided], known, figure)
        analysed = _analysed(design, figure, len(unaided), confidence)
        if isinstance(analysed, str):
            continue
        difference = analysed.analyses[NAMES[""]].differences[0]
        found.append(MeanBeside(figure=figure, n_readers=len(unaided), n_cases=len(cases), found=difference))
    return found


def _design(
    arms: Sequence[Sequence[Reader]], known: Known, figure: Figure
) -> tuple[Design | None, list[str]]:
    """The crossing of the cases that everybody answered, in the order of the first reader; None without one."""
    everybody = [reader for arm in arms for reader in arm]
    answered = [set(reader.rated if figure == "auc" else reader.called) for reader in everybody]
    cases = [case for case in everybody[0].readings if all(case in of for of in answered)]
    if not cases:
        return None, cases
    ratings = [[_ratings(reader, cases, known, figure) for reader in arm] for arm in arms]
    design = Design(
        treatments=("unaided", "aided") if len(arms) == 2 else ("readers",),
        readers=tuple(reader.name for reader in arms[0]),
        ratings=np.array(ratings),
        truth=known.is_positive(cases),
        patient=numbered([known.patient_of[case] for case in cases]),
    )
    return design, cases


def _ratings(reader: Reader, cases: list[str], known: Known, figure: Figure) -> Floats:
    """Confidences; or 1 and 0 such that a case counts as right where the figure counts it so."""
    if figure == "auc":
        return reader.scores(cases)
    positive, called = known.is_positive(cases), reader.called
    if figure == "accuracy":
        right = reader.right(cases, known)
        return np.where(right, positive, ~positive).astype(float)
    return np.array([called[case] == known.positive for case in cases], dtype=float)


def _checked(design: Design | None, figure: Figure, n_readers: int) -> str | None:
    """Why there is no analysis, or None."""
    if n_readers < 2:
        return "undefined: one reader; a mean over readers needs two"
    if design is None:
        answer = "confidence" if figure == "auc" else "call"
        return f"undefined: no case with a {answer} of every reader"
    try:
        design.check(figure, "jackknife")
    except CohortError as error:
        return f"undefined: expected {error.expected}, found {error.found}"
    return None


def _analysed(design: Design | None, figure: Figure, n_readers: int, confidence: float) -> MrmcReport | str:
    why = _checked(design, figure, n_readers)
    if why is not None or design is None:
        return why or "undefined"
    return analyse(design, figure, "jackknife", confidence)

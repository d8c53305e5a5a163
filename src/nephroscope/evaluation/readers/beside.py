"""Two answers about the same cases in (reader and model, or unaided and aided); paired tests and a sentence out."""

from dataclasses import dataclass

from nephroscope.evaluation.intervals import Patients
from nephroscope.evaluation.readers.calls import Known, Reader
from nephroscope.evaluation.statistics.auc import PairedTest, compare_aucs
from nephroscope.evaluation.statistics.mcnemar import McNemarTest, exact_mcnemar
from nephroscope.records import EvaluationConfig


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two answers compared on the cases that both called, and on those that both rated.

    Attributes:
        first: Title of the one, ``second`` of the other; differences are first less second.
        n_called: Cases that both called, of ``n_patients`` patients.
        calls: Exact McNemar of being right; None where no case is called by both.
        areas: Paired test of the AUCs; None where no case is rated by both.
        n_rated: Cases that both rated.
        sentences: What this says, in words.
    """

    first: str
    second: str
    n_called: int
    n_patients: int
    calls: McNemarTest | None
    areas: PairedTest | None
    n_rated: int
    sentences: tuple[str, ...]


def compare_pair(one: Reader, two: Reader, known: Known, config: EvaluationConfig) -> Pair:
    """Compare two answers, paired by case."""
    called = [case for case in one.called if case in two.called]
    rated = [case for case in one.rated if case in two.rated]
    calls = areas = None
    if called:
        calls = exact_mcnemar(one.right(called, known), two.right(called, known), config.confidence)
    if rated:
        areas = compare_aucs(
            one.scores(rated),
            two.scores(rated),
            known.is_positive(rated),
            Patients.of([known.patient_of[case] for case in rated], known.indices(rated)),
            config,
        )
    n_patients = len({known.patient_of[case] for case in called})
    sentences = [_of_calls(one.title, two.title, calls, n_patients, 1 - config.confidence)]
    if areas is not None:
        sentences.append(_of_areas(one.title, two.title, areas, len(rated), 1 - config.confidence))
    return Pair(
        first=one.title,
        second=two.title,
        n_called=len(called),
        n_patients=n_patients,
        calls=calls,
        areas=areas,
        n_rated=len(rated),
        sentences=tuple(sentences),
    )


def p_words(p: float) -> str:
    """``p = 0.5``, ``p = 0.023``, ``p < 0.0001``."""
    if p < 0.0001:
        return "p < 0.0001"
    text = f"{p:.3f}" if p >= 0.001 else f"{p:.4f}"
    return f"p = {text.rstrip('0')}0" if text.rstrip("0").endswith(".") else f"p = {text.rstrip('0')}"


def _of_calls(one: str, two: str, test: McNemarTest | None, n_patients: int, alpha: float) -> str:
    if test is None or test.p is None:
        return f"{one} and {two} have no case in common that both called."
    clustered = "" if n_patients == test.n else f" of {n_patients} patients, taken as independent"
    how = f"exact McNemar {p_words(test.p)}, {test.n} cases{clustered}"
    first, second = test.both + test.only_one, test.both + test.only_two
    if test.p >= alpha:
        return f"No difference between {one} and {two} is shown (right in {first} and {second} of {test.n}; {how})."
    if first < second:
        one, two, first, second = two, one, second, first
    return f"{one} is right more often than {two} (in {first} and {second} of {test.n}; {how})."


def _of_areas(one: str, two: str, test: PairedTest, n: int, alpha: float) -> str:
    if test.p is None or test.difference.value is None:
        return f"The AUCs of {one} and {two} cannot be tested: {test.method} ({n} cases)."
    how = f"{test.method}, {p_words(test.p)}, {n} cases"
    if test.p >= alpha:
        return f"No difference between the AUCs of {one} and {two} is shown ({how})."
    better, other = (one, two) if test.difference.value > 0 else (two, one)
    return f"The AUC of {better} is higher than that of {other} ({how})."

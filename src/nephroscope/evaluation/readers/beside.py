"""Two answers about the same cases in (reader and model, or unaided and aided); their paired tests out."""

from dataclasses import dataclass

from nephroscope.evaluation.intervals import Patients
from nephroscope.evaluation.readers.calls import Known, Reader
from nephroscope.evaluation.statistics.auc import PairedTest, compare_aucs
from nephroscope.evaluation.statistics.mcnemar import McNemarTest, clustered_mcnemar, exact_mcnemar
from nephroscope.records import EvaluationConfig


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two answers compared on the cases that both called, and on those that both rated.

    Attributes:
        first: Title of the one, ``second`` of the other; differences are first less second.
        n_called: Cases that both called, of ``n_patients`` patients.
        calls: Exact McNemar of being right; where patients have several of the cases, the patient-bootstrap interval
            without a p. None where no case is called by both.
        areas: Paired test of the AUCs; None where no case is rated by both.
        n_rated: Cases that both rated.
        calls_p_holm: p of the calls, corrected within its question; ``areas_p_holm`` that of the AUCs.
        sentences: What this says after correction, in words.
    """

    first: str
    second: str
    n_called: int
    n_patients: int
    calls: McNemarTest | None
    areas: PairedTest | None
    n_rated: int
    calls_p_holm: float | None = None
    areas_p_holm: float | None = None
    sentences: tuple[str, ...] = ()


def compare_pair(one: Reader, two: Reader, known: Known, config: EvaluationConfig) -> Pair:
    """Compare two answers, paired by case; not yet corrected for other tests, and so without a sentence."""
    called = [case for case in one.called if case in two.called]
    rated = [case for case in one.rated if case in two.rated]
    areas = None
    if rated:
        areas = compare_aucs(
            one.scores(rated),
            two.scores(rated),
            known.is_positive(rated),
            Patients.of([known.patient_of[case] for case in rated], known.indices(rated)),
            config,
        )
    return Pair(
        first=one.title,
        second=two.title,
        n_called=len(called),
        n_patients=len({known.patient_of[case] for case in called}),
        calls=_of_calls(one, two, called, known, config) if called else None,
        areas=areas,
        n_rated=len(rated),
    )


def _of_calls(
    one: Reader, two: Reader, called: list[str], known: Known, config: EvaluationConfig
) -> McNemarTest:
    """The exact test where every case is another patient's; otherwise the interval by patient alone."""
    right_one, right_two = one.right(called, known), two.right(called, known)
    patients = Patients.of([known.patient_of[case] for case in called], known.indices(called))
    if patients.n < len(called):
        return clustered_mcnemar(right_one, right_two, patients, config, "case")
    return exact_mcnemar(right_one, right_two, config.confidence)

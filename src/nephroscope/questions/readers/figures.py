"""One reader's or model's answers in; accuracy, sensitivity, specificity, AUC and reading time out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nephroscope.questions.readers.calls import Known, Reader
from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.statistics.auc import PairedTest, compare_aucs
from nephroscope.statistics.estimates import Rows, estimate_all
from nephroscope.statistics.intervals import Patients, clopper_pearson
from nephroscope.statistics.mcnemar import McNemarTest, clustered_mcnemar, exact_mcnemar
from nephroscope.statistics.metrics import Proportion, proportions


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


SHARES = ("accuracy", "sensitivity", "specificity", "precision")


@dataclass(frozen=True, kw_only=True)
class ReadingTime:
    """Seconds a case, over the cases that say them."""

    n: int
    median_s: float
    lower_quartile_s: float
    upper_quartile_s: float


@dataclass(frozen=True, kw_only=True)
class ReaderFigures:
    """How one reader or model answered.

    Attributes:
        figures: coverage (share of cases with a call), accuracy, sensitivity, specificity and precision of the
            cases with a call, and auc of those with a confidence.
        counts: Cases by share: right and counted, such as ``{"accuracy": (9, 10)}``.
        time: None where no seconds are given.
        told: Where a model's answers are from.
        leaky: True for a run trained on slices of its test patients.
    """

    name: str
    aided: bool
    model: bool
    n_cases: int
    figures: Mapping[str, Estimate]
    counts: Mapping[str, tuple[int, int]]
    time: ReadingTime | None
    told: str = ""
    leaky: bool = False


def figures_of(reader: Reader, known: Known, config: EvaluationConfig) -> ReaderFigures:
    """Score all answers of a reader."""
    every = list(reader.readings)
    called = [case for case in every if reader.readings[case].call is not None]
    rated = list(reader.rated)
    sure = np.array([reader.readings[case].call is not None for case in every], dtype=bool)
    asked = Proportion(hits=sure, counted=np.ones_like(sure), empty="no case")
    shares = {"coverage": (asked, _rows(reader, every, known))}
    rows = _rows(reader, called, known)
    at = known.subtypes.index(known.positive)
    found = proportions(rows.truth, rows.called, known.subtypes, at)
    shares |= {name: (found[name], rows) for name in SHARES}
    exact = not reader.of_study
    figures = {name: _share(share, of, config, exact) for name, (share, of) in shares.items()}
    figures["auc"] = _area(reader, rated, known, config)
    return ReaderFigures(
        name=reader.name,
        aided=reader.aided,
        model=reader.model,
        n_cases=len(every),
        figures=figures,
        counts={name: (share.k, share.n) for name, (share, _) in shares.items()},
        time=_time(reader),
        told=reader.told,
        leaky=reader.leaky,
    )


def _rows(reader: Reader, cases: list[str], known: Known) -> Rows:
    """Truth, calls and patients of some cases; probabilities are not used."""
    truth, calls = known.indices(cases), reader.called
    called = [known.index(calls[case]) if case in calls else len(known.subtypes) for case in cases]
    return Rows(
        unit="case",
        truth=truth,
        called=np.array(called, dtype=np.intp),
        p=np.zeros((len(cases), len(known.subtypes))),
        patients=Patients.of([known.patient_of[case] for case in cases], truth),
    )


def _share(share: Proportion, rows: Rows, config: EvaluationConfig, exact: bool) -> Estimate:
    """A share with the exact interval, or as `evaluate` has it: Wilson, or the bootstrap over patients.

    Where a patient has several of the cases, no exact interval holds, and the bootstrap stands in its place.
    """
    if not exact or share.value is None or not rows.independent:
        return estimate_all(rows, {"share": share}, {}, config)["share"]
    low, high = clopper_pearson(share.k, share.n, config.confidence)
    method = f"exact (Clopper-Pearson), {100 * config.confidence:g} %"
    return Estimate(value=share.value, low=low, high=high, n=share.n, unit="case", method=method)


def _area(reader: Reader, rated: list[str], known: Known, config: EvaluationConfig) -> Estimate:
    if not rated:
        why = f"undefined: {reader.unrated or 'no confidence is given'}"
        return Estimate(value=None, low=None, high=None, n=0, unit="case", method=why)
    area = (reader.scores(rated), known.is_positive(rated))
    return estimate_all(_rows(reader, rated, known), {}, {"auc": [area]}, config)["auc"]


def _time(reader: Reader) -> ReadingTime | None:
    seconds = [r.seconds for r in reader.readings.values() if r.seconds is not None]
    if not seconds:
        return None
    low, median, high = (float(q) for q in np.quantile(seconds, [0.25, 0.5, 0.75]))
    return ReadingTime(n=len(seconds), median_s=median, lower_quartile_s=low, upper_quartile_s=high)

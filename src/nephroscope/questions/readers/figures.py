"""Accuracy, sensitivity, specificity, AUC and reading time of one reader or model."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nephroscope.questions.readers.answers import CaseLabels, Reader
from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.statistics.estimates import Rows, estimate_all
from nephroscope.statistics.intervals import Interval, Patients, clopper_pearson, no_estimate
from nephroscope.statistics.metrics import Proportion, proportions

SHARES = ("accuracy", "sensitivity", "specificity", "precision")


@dataclass(frozen=True, kw_only=True)
class ReadingTime:
    """Seconds per case, over the cases with a reading time."""

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
        told: Where a model's answers are from; the name is that of the JSON key.
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


def figures_of(reader: Reader, labels: CaseLabels, config: EvaluationConfig) -> ReaderFigures:
    """The figures of all answers of a reader."""
    every = list(reader.answers)
    called = [case for case in every if reader.answers[case].call is not None]
    rated = list(reader.rated)
    sure = np.array([reader.answers[case].call is not None for case in every], dtype=bool)
    covered = Proportion(hits=sure, counted=np.ones_like(sure), empty="no case")
    shares = {"coverage": (covered, _rows(reader, every, labels))}
    rows = _rows(reader, called, labels)
    at = labels.subtypes.index(labels.positive)
    found = proportions(rows.truth, rows.called, labels.subtypes, at)
    shares |= {name: (found[name], rows) for name in SHARES}
    exact = not reader.of_study
    figures = {name: _share(share, of, config, exact) for name, (share, of) in shares.items()}
    figures["auc"] = _area(reader, rated, labels, config)
    return ReaderFigures(
        name=reader.name,
        aided=reader.aided,
        model=reader.model,
        n_cases=len(every),
        figures=figures,
        counts={name: (share.k, share.n) for name, (share, _) in shares.items()},
        time=_time(reader),
        told=reader.source,
        leaky=reader.leaky,
    )


def _rows(reader: Reader, cases: list[str], labels: CaseLabels) -> Rows:
    """Truth, calls and patients of some cases; probabilities are not used."""
    truth, calls = labels.indices(cases), reader.called
    called = [labels.index(calls[case]) if case in calls else len(labels.subtypes) for case in cases]
    return Rows(
        unit="case",
        truth=truth,
        called=np.array(called, dtype=np.intp),
        p=np.zeros((len(cases), len(labels.subtypes))),
        patients=Patients.of([labels.patient_of[case] for case in cases], truth, reader.folds(cases)),
    )


def _share(share: Proportion, rows: Rows, config: EvaluationConfig, exact: bool) -> Estimate:
    """A share with the exact interval, or with the one that `evaluate` gives: Wilson, or Korn and Graubard.

    Where a patient has several of the cases, the exact interval is not valid and Korn and Graubard's is used.
    """
    if not exact or share.value is None or not rows.independent:
        return estimate_all(rows, {"share": share}, {}, config)["share"]
    limits = clopper_pearson(share.k, share.n, config.confidence)
    interval = Interval.of(limits, "exact (Clopper-Pearson)", config.confidence)
    return interval.around(share.value, share.n)


def _area(reader: Reader, rated: list[str], labels: CaseLabels, config: EvaluationConfig) -> Estimate:
    if not rated:
        return no_estimate(f"undefined: {reader.unrated or 'no confidence is given'}", 0)
    area = (reader.scores(rated), labels.is_positive(rated))
    return estimate_all(_rows(reader, rated, labels), {}, {"auc": [area]}, config)["auc"]


def _time(reader: Reader) -> ReadingTime | None:
    seconds = [r.seconds for r in reader.answers.values() if r.seconds is not None]
    if not seconds:
        return None
    low, median, high = (float(q) for q in np.quantile(seconds, [0.25, 0.5, 0.75]))
    return ReadingTime(n=len(seconds), median_s=median, lower_quartile_s=low, upper_quartile_s=high)

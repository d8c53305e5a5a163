"""The table of one test set: ranks with figures and remarks, calibration, pairs and words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar

from nephroscope.learning.engine.divisions import Division
from nephroscope.learning.engine.predictions import Predictions, Probabilities
from nephroscope.questions.compare.measures import TestSet, brier, figures_of, learned_from
from nephroscope.questions.compare.pairs import (
    compare_pairs,
    primary,
    summary,
    with_margin,
    with_same_patients,
)
from nephroscope.questions.compare.results import Calibration, RankedLearner, RankTable, Tempered
from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.statistics.logistic import intercept_and_slope
from nephroscope.statistics.metrics import Floats, Ints

LEAST, MOST = 0.05, 20.0  # bounds of the factor on log probabilities
TINY = 1e-6
HOW = (
    "one temperature for each fold, fitted to what the candidate predicted on the fold's validation part (targets "
    "shrunk as Platt's); held-out cases: to all validation parts"
)
NOT_ASKED = (
    "no temperature was chosen: validation parts are predicted only if a network is ranked or a "
    "threshold is chosen on them, and stack+networks already uses them for its weights"
)


def calibration_of(
    answers: Predictions, tests: TestSet, inside: Predictions | None, config: EvaluationConfig
) -> Calibration:
    """Intercept and slope of the positive subtype's probability on one test set.

    ``intercept`` (slope held at 1) and ``slope`` are of the answers as ranked; ``inside`` holds the same, and the
    Brier score, after the temperature, and is None where there is none: ``inside_told`` then says why.

    Args:
        answers: As ranked.
        tests: The test set.
        inside: The same answers after `temper`; None where they could not be.
        config: Of the intervals.
    """
    intercept, slope = _figures(answers, tests, config)
    if inside is None:
        return Calibration(intercept=intercept, slope=slope, inside=None, inside_told=NOT_ASKED)
    after = _figures(inside, tests, config)
    loss = brier(tests.probabilities(inside), tests, config, tests.answered_by(inside).n_folds)
    tempered = Tempered(intercept=after[0], slope=after[1], brier=loss)
    return Calibration(intercept=intercept, slope=slope, inside=tempered, inside_told=HOW)


def temper(answers: Predictions, division: Division) -> Predictions | None:
    """The answers with every fold's temperature applied; None where there are no predictions on a validation part.

    Source:
        Guo 2017, ICML (temperature); Platt 1999, Advances in Large Margin Classifiers (targets, which keep a fit on
        few cases finite).
    """
    folds = set(answers.fold.values())
    if not answers.validation or not {i for i in folds if i >= 0} <= answers.validation.keys():
        return None
    parts = {index: (index,) if index >= 0 else tuple(answers.validation) for index in folds}
    factors = {index: _factor_on(answers, division, part) for index, part in parts.items()}
    p: dict[str, Probabilities] = {}
    for index, factor in factors.items():
        cases = [case for case, own in answers.fold.items() if own == index]
        rows = scaled(np.array([answers.p[case] for case in cases], dtype=np.float64), factor)
        p |= {case: tuple(row) for case, row in zip(cases, rows.tolist(), strict=True)}
    return replace(answers, p=p)


def scaled(p: Floats, factor: float) -> Floats:
    """Probabilities (n, K) whose logarithms are multiplied by a factor; rows sum to one."""
    x = factor * np.log(np.clip(p, TINY, 1.0))
    q: Floats = np.exp(x - np.logaddexp.reduce(x, axis=1)[:, None])
    return q


def fitted_factor(p: Floats, truth: Ints) -> float:
    """The factor on the log probabilities (n, K) under which the targets are likeliest; 1 without cases.

    Targets are those of n_k cases of a subtype: (n_k + 1) / (n_k + K) for it, 1 / (n_k + K) for each other one.
    """
    if not truth.size:
        return 1.0
    k = p.shape[1]
    counts = np.bincount(truth, minlength=k)[truth][:, None]
    targets = (np.eye(k)[truth] * counts + 1) / (counts + k)

    def loss(log_factor: float) -> float:
        return float(-(targets * np.log(scaled(p, np.exp(log_factor)).clip(1e-300))).sum(axis=1).mean())

    found = minimize_scalar(loss, bounds=(np.log(LEAST), np.log(MOST)), method="bounded")
    return float(np.exp(found.x))


def _factor_on(answers: Predictions, division: Division, folds: Sequence[int]) -> float:
    said: dict[str, Probabilities] = {}
    for index in folds:
        said |= answers.validation[index]
    p = np.array(list(said.values()), dtype=np.float64).reshape(len(said), -1)
    return fitted_factor(p, np.array([division.labels[case] for case in said], dtype=np.intp))


def _figures(answers: Predictions, tests: TestSet, config: EvaluationConfig) -> tuple[Estimate, Estimate]:
    """Intercept and slope."""
    p, truth = tests.probabilities(answers)[:, tests.positive], tests.truth == tests.positive
    found = intercept_and_slope(p, truth, tests.patients, config, "case")
    return found["intercept"], found["slope"]


def tempered(ranked: Sequence[Predictions], division: Division) -> Mapping[str, Predictions]:
    """By name, the answers of every candidate that a temperature could be chosen for."""
    found = {answers.name: temper(answers, division) for answers in ranked}
    return {name: answers for name, answers in found.items() if answers is not None}


@dataclass(frozen=True, eq=False, kw_only=True)
class Ranked:
    """What is set into tables.

    Attributes:
        answers: Of every candidate, on all test sets.
        tempered: By name, the same after a temperature that was chosen inside, where there is one.
        remarks: By name, what users must know of a candidate on this study.
        division: The folds, from which it is known who learned from how many patients.
        primary: The pair named beforehand, first against second; empty where none was.
        margin: Loss of AUC that would not matter in the main pair; 0 where none is stated.
    """

    answers: Sequence[Predictions]
    tempered: Mapping[str, Predictions]
    remarks: Mapping[str, Sequence[str]]
    division: Division
    primary: Sequence[str] = ()
    margin: float = 0.0


def table_of(tests: TestSet, ranked: Ranked, config: EvaluationConfig) -> RankTable:
    """Table, pairs and words of one test set.

    Args:
        tests: Its cases.
        ranked: Every learner.
        config: Of the figures and intervals.
    """
    figures = {a.name: figures_of(a, tests, config) for a in ranked.answers}
    ordered = sorted(ranked.answers, key=lambda a: (-(figures[a.name]["auc"].value or 0.0), a.name))
    pairs = compare_pairs(ordered, tests, config)
    values = [figures[a.name]["auc"].value for a in ordered]
    rows = [
        RankedLearner(
            rank=None if value is None else 1 + sum(v is not None and v > value for v in values),
            name=a.name,
            kind=a.kind,
            description=a.description,
            remarks=tuple(ranked.remarks.get(a.name, ())),
            figures=figures[a.name],
            calibration=calibration_of(a, tests, ranked.tempered.get(a.name), config),
            learned_from=learned_from(a, tests, ranked.division),
        )
        for a, value in zip(ordered, values, strict=True)
    ]
    asked = primary(ordered, pairs, ranked.primary, 1 - config.confidence)
    if asked:
        learned = {row.name: row.learned_from for row in rows}
        asked = with_same_patients(asked, ordered, learned, tests, config)
        asked = with_margin(asked, ordered, ranked.margin, tests, config)
    words = summary(ordered, pairs, tests, asked)
    return RankTable(
        answer=words[0],
        n_cases=len(tests.cases),
        n_patients=tests.patients.n,
        candidates=tuple(rows),
        pairwise=tuple(pairs),
        primary=asked,
        words=tuple(words),
    )

"""Figures by case of one learner on one test set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from nephroscope.clinic.call import label_of
from nephroscope.learning.engine.divisions import Division
from nephroscope.learning.engine.predictions import HOLDOUT, Predictions
from nephroscope.records import Cohort, Estimate, EvaluationConfig
from nephroscope.statistics import intervals
from nephroscope.statistics.calibration import brier_interval
from nephroscope.statistics.estimates import Rows, areas_of, estimate_all, shares_of
from nephroscope.statistics.intervals import Interval, no_estimate, percentile_interval
from nephroscope.statistics.metrics import Bools, Floats, Ints, auc
from nephroscope.statistics.placements import area_interval
from nephroscope.statistics.resampling import patients_words
from nephroscope.study.snapshot import Snapshot


@dataclass(frozen=True, eq=False, kw_only=True)
class TestSet:
    """The cases of one test set: names, index of the true subtype (n,), and their patients."""

    __test__ = False  # no test, whatever its name says
    name: str
    cases: tuple[str, ...]
    truth: Ints
    subtypes: tuple[str, ...]
    positive: int
    patient_ids: tuple[str, ...]

    @classmethod
    def of(cls, name: str, cases: Sequence[str], labels: Mapping[str, int], cohort: Cohort) -> "TestSet":
        """The set of these cases under these labels."""
        return cls(
            name=name,
            cases=tuple(cases),
            truth=np.array([labels[case] for case in cases], dtype=np.intp),
            subtypes=cohort.subtypes,
            positive=cohort.subtypes.index(cohort.positive),
            patient_ids=tuple(cohort.by_id[case].patient_id for case in cases),
        )

    @cached_property
    def patients(self) -> intervals.Patients:
        """Who owns each case."""
        return intervals.Patients.of(self.patient_ids, self.truth)

    def answered_by(self, answers: Predictions) -> intervals.Patients:
        """Who owns each case, and how many folds answered: several on cross-validated cases, one on held-out ones."""
        return replace(self.patients, n_folds=len({answers.fold[case] for case in self.cases}) or 1)

    def areas(self, answers: Predictions) -> list[tuple[Floats, Bools]]:
        """Scores and truth behind the AUC: of the positive subtype, or of every one where there are more than two."""
        p = self.probabilities(answers)
        wanted = [self.positive] if len(self.subtypes) == 2 else range(len(self.subtypes))
        return [(p[:, i], self.truth == i) for i in wanted]

    def probabilities(self, answers: Predictions) -> Floats:
        """Probabilities (n, K)."""
        return np.array([answers.p[case] for case in self.cases], dtype=np.float64)

    def called(self, answers: Predictions) -> Ints:
        """Index of the subtype called, "not sure" not allowed, (n,)."""
        calls = [label_of(answers.p[c], answers.threshold_of(c), self.positive) for c in self.cases]
        return np.array(calls, dtype=np.intp)


def test_sets(snapshot: Snapshot, division: Division) -> dict[str, TestSet]:
    """The test sets of a division by name, under its labels; the out-of-fold cases first, where there are folds."""
    return {
        name: TestSet.of(name, cases, division.labels, snapshot.cohort)
        for name, cases in division.test_cases().items()
    }


def first_test_set(snapshot: Snapshot, division: Division) -> TestSet:
    """The one that ranks, repeats and control are about."""
    return next(iter(test_sets(snapshot, division).values()))


def figures_of(answers: Predictions, tests: TestSet, config: EvaluationConfig) -> dict[str, Estimate]:
    """AUC, accuracy, sensitivity, specificity, precision (of each subtype if over two) and Brier score."""
    rows = Rows(
        unit="case",
        truth=tests.truth,
        called=tests.called(answers),
        p=tests.probabilities(answers),
        patients=tests.answered_by(answers),
    )
    shares = shares_of(rows, tests.subtypes, tests.positive)
    found = estimate_all(rows, shares, areas_of(rows, tests.subtypes, tests.positive), config)
    first = {"auc": found.pop("auc")}
    first["auc_by_fold"] = mean_of_folds(answers, tests)
    return first | found | {"brier": brier(rows.p, tests, config, rows.patients.n_folds)}


def auc_estimate(answers: Predictions, tests: TestSet, config: EvaluationConfig) -> Estimate:
    """The AUC with its interval; the mean over subtypes where there are more than two."""
    interval = area_interval(tests.areas(answers), tests.answered_by(answers), config.confidence)
    return interval.around(auc_of(answers, tests) or 0.0, len(tests.cases))


def learned_from(answers: Predictions, tests: TestSet, division: Division) -> tuple[int, int]:
    """Patients that the fits behind the answers learned from: the fewest and the most of one fit.

    Networks learn from the training part; the validation part decides when they stop. Baselines learn from both.
    """
    owner = division.cohort.by_id
    parts = {fold.index: fold.train for fold in division.split.folds}
    if answers.kind != "network":
        parts = {fold.index: fold.train | fold.validation for fold in division.split.folds}
        everyone = frozenset[str]().union(*(fold.test for fold in division.split.folds))
        if len(parts) > 1:
            parts[HOLDOUT] = everyone
    used = {answers.fold[case] for case in tests.cases}
    asked = list(parts.values()) if used - parts.keys() else [parts[index] for index in used]
    sizes = [len({owner[case].patient_id for case in part}) for part in asked]
    return min(sizes, default=0), max(sizes, default=0)


def auc_of(answers: Predictions, tests: TestSet) -> float | None:
    """The AUC alone; the mean over subtypes where there are more than two."""
    values = [auc(scores, truth) for scores, truth in tests.areas(answers)]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def mean_of_folds(answers: Predictions, tests: TestSet) -> Estimate:
    """Mean of the AUCs within folds: each compares answers of one fit alone, so chance is 0.5.

    Pooled, answers of several fits are compared; a fit whose training part has more of a subtype expects more of it,
    and just there the test part has less: with nothing to learn the pooled AUC lies below 0.5.

    Source:
        Forman and Scholz 2010, SIGKDD Explor 12:49; Airola 2011, Comput Stat Data Anal 55:1828.
    """
    fold = np.array([answers.fold[case] for case in tests.cases])
    indices, areas = np.unique(fold).tolist(), tests.areas(answers)
    n = len(tests.cases)
    if len(indices) < 2:
        return no_estimate("undefined: one fit answered all cases", n)
    values, used = [], 0
    for index in indices:
        own = fold == index
        found = [auc(scores[own], truth[own]) for scores, truth in areas]
        known = [value for value in found if value is not None]
        if len(known) == len(found):
            values.append(float(np.mean(known)))
            used += int(own.sum())
    if not values:
        return no_estimate("undefined: no fold has a case of each class", 0)
    method = (
        f"mean of the AUCs within {len(values)} of {len(indices)} folds (those with each class); "
        "no interval: a fold has few cases"
    )
    return Interval(None, None, method).around(float(np.mean(values)), used)


def brier(p: Floats, tests: TestSet, config: EvaluationConfig, n_folds: int = 1) -> Estimate:
    """Mean squared distance of probability and truth: of the positive subtype, or summed over more than two.

    Lower is better; always saying the share of each class gives the spread of the classes, 0.25 where two are even.

    Source:
        Brier 1950, Mon Weather Rev 78:1.
    """
    truth = np.eye(len(tests.subtypes))[tests.truth]
    squares = (p - truth) ** 2
    loss = squares[:, tests.positive] if len(tests.subtypes) == 2 else squares.sum(axis=1)
    n, most = loss.size, 1.0 if len(tests.subtypes) == 2 else 2.0
    if n == 0:
        return no_estimate("undefined: nothing to count", 0)
    patients = replace(tests.patients, n_folds=n_folds)
    return brier_interval(loss, patients, most, config.confidence).around(float(loss.mean()), n)


def bootstrapped(
    statistic: intervals.Statistic, value: float, n: int, tests: TestSet, config: EvaluationConfig
) -> Estimate:
    """A value with the percentile interval of its statistic over redrawn patients."""
    return replace(spread_of(draws(statistic, tests, config), value, tests, config), n=n)


def widened(found: Estimate, n_folds: int, ends: tuple[float, float]) -> Estimate:
    """The estimate with the larger variance of cross-validated answers, cut to what it may be."""
    if found.value is None:
        return found
    interval = intervals.Interval(found.low, found.high, found.method).widened(found.value, n_folds, ends)
    return interval.around(found.value, found.n, found.unit)


def spread_of(drawn: Floats, value: float, tests: TestSet, config: EvaluationConfig) -> Estimate:
    """A value with the percentile interval of what `draws` gave, (resamples,)."""
    interval = percentile_interval(drawn, patients_words(tests.patients), config.confidence)
    return interval.around(value, len(tests.cases))


def draws(statistic: intervals.Statistic, tests: TestSet, config: EvaluationConfig) -> Floats:
    """The values of a statistic over redrawn patients, (resamples,); NaN where it is undefined."""
    found = intervals.clustered_bootstrap({"it": statistic}, tests.patients, config.resamples, config.seed)
    return found["it"]

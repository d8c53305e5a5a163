"""Figures of one candidate on one test set: its answers and the truth in; estimates by case out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nephroscope.evaluation import intervals
from nephroscope.evaluation.aggregate import label_of
from nephroscope.evaluation.estimates import Rows, areas_of, estimate_all, shares_of
from nephroscope.evaluation.metrics import Bools, Floats, Ints, auc
from nephroscope.experiments.folds import Answers
from nephroscope.records import Cohort, Estimate, EvaluationConfig

SHOWN = ("auc", "accuracy", "sensitivity", "specificity", "brier")


@dataclass(frozen=True, eq=False, kw_only=True)
class TestSet:
    """The cases of one test set: names, index of the true subtype (n,), and whose they are."""

    __test__ = False  # no test, whatever its name says
    name: str
    cases: tuple[str, ...]
    truth: Ints
    subtypes: tuple[str, ...]
    positive: int
    patient_ids: tuple[str, ...]

    @classmethod
    def of(cls, name: str, cases: Sequence[str], labels: dict[str, int], cohort: Cohort) -> "TestSet":
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

    @property
    def independent(self) -> bool:
        """True when every case is another patient's."""
        return self.patients.n == len(self.cases)

    def areas(self, answers: Answers) -> list[tuple[Floats, Bools]]:
        """Scores and truth behind the AUC: of the positive subtype, or of every one where there are more than two."""
        p = self.probabilities(answers)
        wanted = [self.positive] if len(self.subtypes) == 2 else range(len(self.subtypes))
        return [(p[:, i], self.truth == i) for i in wanted]

    def probabilities(self, answers: Answers) -> Floats:
        """Probabilities (n, K)."""
        return np.array([answers.p[case] for case in self.cases], dtype=np.float64)

    def called(self, answers: Answers) -> Ints:
        """Index of the subtype called, "not sure" not allowed, (n,)."""
        calls = [label_of(answers.p[c], answers.threshold_of(c), self.positive) for c in self.cases]
        return np.array(calls, dtype=np.intp)


def figures_of(answers: Answers, tests: TestSet, config: EvaluationConfig) -> dict[str, Estimate]:
    """AUC, accuracy, sensitivity, specificity, precision (of each subtype if over two) and Brier score."""
    rows = Rows(
        unit="case",
        truth=tests.truth,
        called=tests.called(answers),
        p=tests.probabilities(answers),
        patients=tests.patients,
    )
    shares = shares_of(rows, tests.subtypes, tests.positive)
    found = estimate_all(rows, shares, areas_of(rows, tests.subtypes, tests.positive), config)
    first = {"auc": found.pop("auc")}
    return first | found | {"brier": brier(rows.p, tests, config)}


def auc_of(answers: Answers, tests: TestSet) -> float | None:
    """The AUC alone; the mean over subtypes where there are more than two."""
    values = [auc(scores, truth) for scores, truth in tests.areas(answers)]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def brier(p: Floats, tests: TestSet, config: EvaluationConfig) -> Estimate:
    """Mean squared distance of probability and truth: of the positive subtype, or summed over more than two.

    Lower is better; always saying the share of each class gives the spread of the classes, 0.25 where two are even.

    Source:
        Brier 1950, Mon Weather Rev 78:1.
    """
    truth = np.eye(len(tests.subtypes))[tests.truth]
    squares = (p - truth) ** 2
    loss = squares[:, tests.positive] if len(tests.subtypes) == 2 else squares.sum(axis=1)
    return mean_estimate(loss, np.ones(loss.size, dtype=bool), tests, config)


def mean_estimate(values: Floats, counted: Bools, tests: TestSet, config: EvaluationConfig) -> Estimate:
    """Mean of a value over the counted cases, with a patient-bootstrap interval."""
    n = int(counted.sum())
    if n == 0:
        return Estimate(
            value=None, low=None, high=None, n=0, unit="case", method="undefined: nothing to count"
        )
    sums, counts = tests.patients.per_patient(values * counted), tests.patients.per_patient(counted)

    def statistic(weights: Floats) -> Floats:
        total = weights @ counts
        means: Floats = np.divide(weights @ sums, total, out=np.full(total.shape, np.nan), where=total > 0)
        return means

    return bootstrapped(statistic, float(values[counted].mean()), n, tests, config)


def bootstrapped(
    statistic: intervals.Statistic, value: float, n: int, tests: TestSet, config: EvaluationConfig
) -> Estimate:
    """A value with the percentile interval of its statistic over redrawn patients."""
    drawn = draws(statistic, tests, config)
    if drawn.size < 2:
        return Estimate(
            value=value, low=None, high=None, n=n, unit="case", method="no resample gives a value"
        )
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    method = f"patient bootstrap, {drawn.size} resamples of {tests.patients.n} patients, {_percent(config)}"
    return Estimate(value=value, low=float(low), high=float(high), n=n, unit="case", method=method)


def draws(statistic: intervals.Statistic, tests: TestSet, config: EvaluationConfig) -> Floats:
    """The values of a statistic over redrawn patients, those that are defined."""
    values = intervals.clustered_bootstrap({"it": statistic}, tests.patients, config.resamples, config.seed)[
        "it"
    ]
    return values[~np.isnan(values)]


def _percent(config: EvaluationConfig) -> str:
    return f"{100 * config.confidence:g} %"

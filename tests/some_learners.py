"""Learners for tests, found by name from other processes and machines: one knows, one guesses, one is slow."""

import time
from dataclasses import dataclass

import numpy as np

from nephroscope.base.errors import CohortError


@dataclass(frozen=True)
class Line:
    """One number of a case, and a line between two means: probability by distance to both."""

    means: tuple
    number: object

    def probabilities(self, case_ids):
        x = np.array([self.number(case) for case in case_ids])
        far = np.stack([(x - mean) ** 2 for mean in self.means], axis=1) / 2000
        p = np.exp(-far + far.min(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Learner:
    """Learns the mean of a number in each subtype."""

    name: str
    kind: str = "hu"
    seconds: float = 0.0
    description: str = "for tests"

    def missing(self, data):
        return "made to be missing" if self.kind == "missing" else ""

    def fit(self, data, case_ids, labels, seed):
        time.sleep(self.seconds)
        if self.kind == "refuses":
            raise CohortError(where="fold", expected="more", found="less", remedy="add cases")
        rng = np.random.default_rng(seed)
        drawn = {case.case_id: rng.normal() * 50 for case in data.cohort.cases}

        def number(case):
            if self.kind == "guess":
                return drawn[case]
            hu = float(data.store.hu[data.store.rows_by_case[case]][:, 12:20, 12:20].mean())
            return hu + (60 * drawn[case] / 50 if self.kind == "noisy" else 0)

        x = np.array([number(case) for case in case_ids])
        means = tuple(float(x[labels == i].mean()) for i in range(2))
        return Line(means=means, number=number)


@dataclass(frozen=True)
class Broken(Learner):
    """Gives numbers that are no probabilities."""

    def fit(self, data, case_ids, labels, seed):
        class Fitted:
            def probabilities(self, case_ids):
                return np.full((len(case_ids), 2), 0.7)

        return Fitted()


@dataclass(frozen=True)
class Remarks(Learner):
    """Has something to tell of a study."""

    def remarks(self, data):
        return (f"{len(data.cohort.cases)} cases, all of them SYNTHETIC discs",)


KNOWS = Learner("knows")
REMARKS = Remarks("remarks", "guess")
NOISY = Learner("noisy", "noisy")
GUESSES = Learner("guesses", "guess")
SLOW = Learner("slow", "noisy", seconds=0.4)
MISSING = Learner("absent", "missing")
REFUSES = Learner("refuses", "refuses")
BROKEN = Broken("broken")

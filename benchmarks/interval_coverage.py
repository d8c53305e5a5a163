"""How often 95 % intervals of an AUC hold the true value, and how often equal scores are told apart: a simulation.

Scores are normal; a patient's slices (1 to 8) share a part of variance 1 beside their own of 0.49. Run with
`python benchmarks/interval_coverage.py [STUDIES]`; 500 studies of each kind take about three minutes of one core.
"""

import sys

import numpy as np
from scipy.stats import norm

from nephroscope.records import EvaluationConfig
from nephroscope.statistics.auc import compare_aucs
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.tables.scores import auc_figures

SHARED, OWN, MOST = 1.0, 0.7, 8  # standard deviations between and within patients; slices of a patient
CONFIG = EvaluationConfig(resamples=500)


def study(rng, auc, n, slices):
    """Two equally good scores (2, rows), which rows are positive, and whose each is; n patients of each class."""
    size = rng.integers(1, MOST + 1, 2 * n) if slices else np.ones(2 * n, int)
    row = np.arange(2 * n).repeat(size)
    positive = row < n
    apart = norm.ppf(auc) * np.sqrt(2 * (SHARED**2 + OWN**2))
    noise = rng.normal(0, SHARED, (2, 2 * n))[:, row] + rng.normal(0, OWN, (2, row.size))
    return apart * positive + noise, positive, row


def owners(row, positive):
    """Rows by patient, each patient of one class."""
    return Patients.of([f"{i:06d}" for i in row], positive.astype(np.intp))


def simulate(studies, auc, n, slices):
    """Print the share of intervals that hold the AUC, by method, and of tests with p below 0.05."""
    rng = np.random.default_rng(n)
    held, told_apart = {}, []
    for _ in range(studies):
        scores, positive, row = study(rng, auc, n, slices)
        patients, unit = owners(row, positive), "image" if slices else "case"
        found = auc_figures(scores[0], positive, patients, unit, CONFIG).intervals
        if slices:
            as_if = owners(np.arange(row.size), positive)
            found["rows_as_patients"] = auc_figures(scores[0], positive, as_if, "case", CONFIG).auc
        for name, estimate in found.items():
            if estimate.low is not None:
                held.setdefault(name, []).append(estimate.low <= auc <= estimate.high)
        p = compare_aucs(*scores, positive, patients, EvaluationConfig(resamples=100)).p
        told_apart.append(p is not None and p < 0.05)
    shares = ", ".join(f"{name} {np.mean(of):.3f}" for name, of in held.items() if len(of) > studies / 10)
    kind = f"1 to {MOST} slices" if slices else "one row"
    print(f"AUC {auc}, {n} + {n} patients, {kind}: {shares}; p < 0.05 {np.mean(told_apart):.3f}", flush=True)


if __name__ == "__main__":
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    for wanted in (0.80, 0.92):
        for several in (False, True):
            for patients_of_each in (10, 20, 40, 80):
                simulate(times, wanted, patients_of_each, several)

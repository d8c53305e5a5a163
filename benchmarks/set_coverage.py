"""How often the sets of possible subtypes hold the truth, fold by fold: made logits of networks that differ.

    python benchmarks/set_coverage.py 400

Five folds of patients, half of each subtype; the logit of the true subtype lies an SD on its side. Each fold's
network has a shift of its own (SD as named), as networks trained on few patients have; exchangeable cases would not.
Limits come from the other folds, as in the report. Prints the mean coverage, and the spread over folds.
"""

import sys

import numpy as np

from nephroscope.clinic.sets import calibrate_sets

FOLDS, SUBTYPES = 5, ("PRCC", "ChRCC")


def coverages(n, shift, rng):
    """Coverage of each fold (FOLDS,) of one study with ``n`` patients of each subtype."""
    labels = np.arange(2 * n) % 2
    fold = np.arange(2 * n) // 2 % FOLDS
    logit = rng.normal(size=2 * n) + 1 - 2 * labels + shift * rng.normal(size=FOLDS)[fold]
    p = 1 / (1 + np.exp(-logit))
    rows = [dict(zip(SUBTYPES, pair, strict=True)) for pair in zip(p.tolist(), (1 - p).tolist(), strict=True)]
    truth = [SUBTYPES[label] for label in labels]
    found = []
    for k in range(FOLDS):
        others, own = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        limits = calibrate_sets(
            [rows[i] for i in others], [truth[i] for i in others], others.tolist(), SUBTYPES
        )
        if isinstance(limits, str):
            raise SystemExit(limits)
        found.append(np.mean([truth[i] in limits.of(rows[i]).subtypes for i in own]))
    return np.array(found)


def main():
    """A row for each size and shift."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print(
        "| patients | shift of a fold's network, SD | coverage | 5 % of folds below | folds at 0.6 or less |"
    )
    print("|---|---|---|---|---|")
    for n in (15, 28, 100):
        for shift in (0.0, 0.5, 1.0):
            rng = np.random.default_rng([n, int(10 * shift)])
            found = np.concatenate([coverages(n, shift, rng) for _ in range(times)])
            figures = f"{found.mean():.3f} | {np.quantile(found, 0.05):.2f} | {(found <= 0.6).mean():.3f}"
            print(f"| {n} + {n} | {shift:g} | {figures} |", flush=True)


if __name__ == "__main__":
    main()

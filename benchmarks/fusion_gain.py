"""What one fact of known strength adds to the AUC of an image by the regression of `fusion`, and the most it could.

    python benchmarks/fusion_gain.py 200

The image's logit differs by 1.5 SD between the subtypes, the age by the SDs named, independent of it. Five folds,
each answered by the regression of the other four. Prints the mean gain in AUC with its standard error, the gain of
the best possible combination, and the share of studies in which the likelihood-ratio test has p < 0.05.
"""

import sys

import numpy as np
from scipy.stats import norm

from nephroscope.learning.baselines.fusion import fit_fusion
from nephroscope.records import ClinicalFacts
from nephroscope.statistics.added_value import added_value
from nephroscope.statistics.metrics import auc

FOLDS, IMAGE_SD = 5, 1.5


def study(n, strength, rng, seed):
    """Gain in AUC of one study of ``n`` patients of each subtype, and the p of the test."""
    labels, owner = np.arange(2 * n) % 2, np.arange(2 * n)
    logit = IMAGE_SD * (rng.normal(size=2 * n) + IMAGE_SD * (labels - 0.5))
    p = 1 / (1 + np.exp(-logit))
    both = np.column_stack([1 - p, p])[None]
    age = np.clip(60 + 10 * (rng.normal(size=2 * n) + strength * labels), 1, 120)
    facts = [ClinicalFacts(age_years=float(one)) for one in age]
    fold, fused = owner // 2 % FOLDS, np.zeros(2 * n)
    for k in range(FOLDS):
        learn, ask = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        model = fit_fusion(both[:, learn], [facts[i] for i in learn], labels[learn], [str(i) for i in learn])
        fused[ask] = model.probabilities(both[:, ask], [facts[i] for i in ask])[:, 1]
    tested = added_value(logit[:, None], age[:, None], labels == 1, owner, seed=seed)
    return auc(fused, labels == 1) - auc(p, labels == 1), tested.p


def main():
    """A row for each strength and size."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print("| patients | age, SD | gain in AUC (SE) | most possible | p < 0.05 |\n|---|---|---|---|---|")
    for strength in (0.0, 0.5, 1.0):
        most = norm.cdf(np.hypot(IMAGE_SD, strength) / np.sqrt(2)) - norm.cdf(IMAGE_SD / np.sqrt(2))
        for n in (20, 40):
            rng = np.random.default_rng([n, round(strength * 10)])
            gains, p = zip(*(study(n, strength, rng, seed) for seed in range(times)), strict=True)
            shown = f"{np.mean(gains):.3f} ({np.std(gains) / np.sqrt(times):.3f}) | {most:.3f}"
            print(f"| {n} + {n} | {strength:g} | {shown} | {np.mean(np.array(p) < 0.05):.3f} |", flush=True)


if __name__ == "__main__":
    main()

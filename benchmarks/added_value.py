"""How often the likelihood-ratio test of clinical facts finds what is not there, and what is: simulated studies.

    python benchmarks/added_value.py 1000

The image is a linear network that learns from 30 noisy features in five folds of patients, so its out-of-fold logits
have the faults of real ones. Age, sex and size either depend on the subtype or not; "followed by size" makes size
follow the image's answer and tell nothing else. Prints the share of studies with p < 0.05.
"""

import sys

import numpy as np

from nephroscope.statistics.added_value import added_value

SIZES = (10, 20, 40)
FOLDS = 5


def out_of_fold(features, labels, rng):
    """Logits of a ridge regression, each case by the folds without it."""
    order = rng.permutation(len(labels))
    fold = np.empty(len(labels), int)
    for kind in (0, 1):
        own = order[labels[order] == kind]
        fold[own] = np.arange(len(own)) % FOLDS
    found = np.empty(len(labels))
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        mean = features[train].mean(axis=0)
        x = features[train] - mean
        solved = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ (labels[train] * 2.0 - 1))
        found[test] = 4 * (features[test] - mean) @ solved
    return found, fold


def study(n, image, facts, follows, rng):
    """Logits of the image and columns of the facts; effects in SD between the subtypes."""
    labels = np.repeat([0, 1], n)
    features = rng.normal(size=(2 * n, 30))
    features[:, 0] += labels * image
    logit, _ = out_of_fold(features, labels, rng)
    age = rng.normal(size=2 * n) + labels * facts
    sex = (rng.random(2 * n) < 0.5 + labels * facts * 0.15).astype(float)
    size = rng.normal(size=2 * n) + labels * facts * 0.5
    size += logit / logit.std() if follows else 0.0
    return logit, np.column_stack([age, sex, size]), labels == 1


def main():
    """A row for each setting."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print("| patients | image, SD | facts, SD | facts | image |\n|---|---|---|---|---|")
    for image, facts, follows in (
        (0.0, 0.0, False),
        (1.5, 0.0, False),
        (3.0, 0.0, False),
        (1.5, 0.0, True),
        (1.5, 0.5, False),
        (1.5, 1.0, False),
    ):
        for n in SIZES:
            rng = np.random.default_rng([n, round(image * 10), round(facts * 10), follows])
            found = np.zeros(2)
            for repeat in range(times):
                logit, columns, positive = study(n, image, facts, follows, rng)
                owner = np.arange(2 * n)
                image_column = logit[:, None]
                of_facts = added_value(image_column, columns, positive, owner, seed=repeat).p
                of_image = added_value(
                    columns, image_column, positive, owner, out_of_fold=FOLDS, seed=repeat
                ).p
                found += [of_facts < 0.05, of_image < 0.05]
            told = f"{image:g}{', followed by size' if follows else ''}"
            shares = found / times
            print(f"| {n} + {n} | {told} | {facts:g} | {shares[0]:.3f} | {shares[1]:.3f} |", flush=True)


if __name__ == "__main__":
    main()

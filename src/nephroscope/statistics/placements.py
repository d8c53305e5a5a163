"""The interval of an AUC, or of the mean of several: placement values by patient, on the logit scale.

With one row a patient this is DeLong's variance, with several Obuchowski's; the mean over subtypes sums the placement
values that a row has in each area.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import t as student

from nephroscope.records import counted_noun
from nephroscope.statistics.cross_validation import fold_words, variance_factor
from nephroscope.statistics.intervals import (
    FEWEST,
    NOTHING,
    WIDENED,
    Interval,
    Patients,
    delong_auc,
    is_rating,
    logit_limits,
    newcombe_auc,
)
from nephroscope.statistics.metrics import Area, Bools, Floats, Ints, placements

FEW_CLUSTERS = 30  # patients of a class with several rows: with fewer, t alone holds 0.91 to 0.94


@dataclass(frozen=True, eq=False, kw_only=True)
class Contributions:
    """What every row adds to an AUC, or to the mean of several: the value is the sum over the classes of their means.

    Attributes:
        value: The AUC, or the mean.
        rows: Contribution of each row, (n,), less the mean of its class.
        kind: Class of each row, (n,): rows of one class are positive in the same areas.
    """

    value: float
    rows: Floats
    kind: Ints


def contributions(parts: Sequence[Area]) -> Contributions:
    """Of the mean of the AUCs of ``parts``, the scores and truths of the same rows; each has both classes.

    Source:
        DeLong 1988, Biometrics 44:837 (placement values), summed over the areas as the mean is linear in them.
    """
    total, values = np.zeros(parts[0][1].size), []
    for scores, y in parts:
        of_positives, of_negatives = placements(scores[None], y)
        values.append(of_positives.mean())
        total[y] += of_positives[0] / of_positives.size
        total[~y] += of_negatives[0] / of_negatives.size
    pattern = sum((y.astype(np.float64) * 2.0**i for i, (_, y) in enumerate(parts)), np.zeros(total.size))
    _, kind = np.unique(pattern, return_inverse=True)
    kind = kind.reshape(-1)
    means = np.bincount(kind, weights=total) / np.bincount(kind)
    return Contributions(
        value=float(np.mean(values)), rows=(total - means[kind]) / len(parts), kind=kind.astype(np.intp)
    )


def variance_of(rows: Floats, kind: Ints, patients: Patients) -> tuple[float, float]:
    """Variance of a sum of contributions (n,) over patients, and its degrees of freedom; two patients of each class.

    Source:
        Obuchowski 1997, Biometrics 53:567, for any number of classes; degrees of freedom: Satterthwaite 1946,
        Biometrics Bull 2:110.
    """
    sums, counts = [], []
    for k in range(int(kind.max()) + 1):
        own = kind == k
        sums.append(np.bincount(patients.row[own], weights=rows[own], minlength=patients.n))
        counts.append(int(np.unique(patients.row[own]).size))
    alone = np.array([n / (n - 1) * (z @ z) for n, z in zip(counts, sums, strict=True)])
    every = np.sum(sums, axis=0)
    shared = float(every @ every) - sum(float(z @ z) for z in sums)
    variance = float(alone.sum()) + patients.n / (patients.n - 1) * shared
    if variance < NOTHING:
        return 0.0, float("inf")
    below = sum(v * v / (n - 1) for v, n in zip(alone.tolist(), counts, strict=True))
    return variance, float(alone.sum()) ** 2 / max(below, NOTHING**2)


def area_interval(parts: Sequence[Area], patients: Patients, confidence: float) -> Interval:
    """The interval of the mean AUC of ``parts``, areas of the same rows; both classes are in each.

    `delong_auc` for one area of independent rows. Otherwise on the logit scale from placement values by patient, with
    Satterthwaite's t; Newcombe's interval where a class has fewer than five patients or the variance is zero, and the
    wider limits of both for ratings of few levels, and for several rows of fewer than 30 patients of a class.

    Source:
        DeLong 1988; Obuchowski 1997; Newcombe 2006; why which: `benchmarks/interval_coverage.py`.
    """
    if patients.n == patients.row.size and len(parts) == 1:
        low, high, name = delong_auc(*parts[0], confidence, patients.n_folds)
        return Interval.of((low, high), name, confidence)
    name = f", mean of {len(parts)} areas" if len(parts) > 1 else ""
    ratings = all(is_rating(scores) for scores, _ in parts)
    return _by_placements(contributions(parts), patients, confidence, name, ratings)


def pair_areas(p: Floats, truth: Ints, pair: tuple[int, int]) -> tuple[Bools, list[Area]]:
    """The rows of two classes, and the two areas on them: by the probability of the one, and of the other.

    ``p`` are (n, K), ``truth`` indices of classes (n,). Their mean is Hand and Till's A(i, j).
    """
    rows: Bools = np.isin(truth, pair)
    return rows, [(p[rows, k], truth[rows] == k) for k in pair]


def hand_till(p: Floats, truth: Ints, patients: Patients, confidence: float) -> tuple[float, Interval]:
    """Mean over all pairs of classes of how well the two are told apart, whatever their frequency, and its interval.

    Source:
        Hand and Till 2001, Mach Learn 45:171 (M); variance by placement values, as of any mean of areas.
    """
    pairs = list(combinations(range(p.shape[1]), 2))
    rows, values, ratings = np.zeros(truth.size), [], []
    for pair in pairs:
        own, areas = pair_areas(p, truth, pair)
        found = contributions(areas)
        rows[own] += found.rows / len(pairs)
        values.append(found.value)
        ratings += [is_rating(scores) for scores, _ in areas]
    every = Contributions(value=float(np.mean(values)), rows=rows, kind=truth)
    name = f", Hand and Till's mean of {len(pairs)} pairs"
    return every.value, _by_placements(every, patients, confidence, name, all(ratings))


def _by_placements(
    found: Contributions, patients: Patients, confidence: float, name: str, ratings: bool
) -> Interval:
    """The interval of an AUC, or of the mean of several, from what every row adds to it."""
    words, independent = fold_words(patients.n_folds), patients.n == patients.row.size
    sizes = [patients.count(found.kind == k) for k in range(int(found.kind.max()) + 1)]
    whose = counted_noun(patients.n, "patient")
    if min(sizes) < 2 and not independent:
        return Interval(None, None, f"no interval: a class has one patient, of {whose}")
    factor = variance_factor(patients.n_folds)
    smallest, rest = min(sizes) / factor, max(patients.n - min(sizes), 1) / factor
    by_size = newcombe_auc(found.value, smallest, rest, confidence)
    variance, df = variance_of(found.rows, found.kind, patients) if min(sizes) > 1 else (0.0, 1.0)
    few = min(sizes) < FEWEST
    if few or not 0 < found.value < 1 or variance < NOTHING:
        why = f"a class has fewer than {FEWEST} patients" if few else "the placement values do not vary"
        return Interval.of(by_size, f"Newcombe 2006 method 5 on {whose}, as {why}{words}", confidence)
    quantile = float(student.ppf((1 + confidence) / 2, df))
    low, high = logit_limits(found.value, factor * variance, confidence, quantile)
    name = ("DeLong" if independent else "Obuchowski 1997") + name
    name += f" on the logit scale, t with {df:.1f} df, {whose}"
    if ratings:
        low, high, name = min(low, by_size[0]), max(high, by_size[1]), f"{name}, {WIDENED}"
    elif not independent and min(sizes) < FEW_CLUSTERS:
        low, high = min(low, by_size[0]), max(high, by_size[1])
        name += f", widened to Newcombe 2006 method 5, as a class has fewer than {FEW_CLUSTERS} patients"
    return Interval.of((low, high), name + words, confidence)

"""Whether intervals and tests of pooled out-of-fold answers keep their word: a simulation of whole cross-validations.

Six learners have independent features of the same strength (7 each, 2 of them informative), so that no difference
exists, and are fitted in 5 folds. `logistic` is the product's own regression with its inner choice of the penalty,
fitted for all studies at once (the script first prints how far that is from `fit_logistic`); `network` has one hidden
layer, its own random start and 120 steps of Adam: overconfident, and on another scale in every fold. The truth is the
mean over the folds' fits of the AUC (accuracy, Brier score) on new patients.

Run with `python benchmarks/cross_validated.py [STUDIES] [KIND ...]`; 100 studies of both kinds take about seven
minutes of one core. `python benchmarks/cross_validated.py STUDIES others` measures intervals that were not taken next
to the one that was: by influence functions for the mean AUC of the folds (LeDell 2015, Electron J Stat 9:1583), and
by nested cross-validation for the accuracy (Bates, Hastie and Tibshirani 2024, J Am Stat Assoc 119:1434).
"""

import sys
from itertools import combinations

import numpy as np

from nephroscope.learning.baselines.regression import STRENGTHS, fit_logistic
from nephroscope.records import EvaluationConfig
from nephroscope.statistics.auc import compare_aucs
from nephroscope.statistics.estimates import Rows, areas_of, estimate_all, shares_of
from nephroscope.statistics.intervals import Patients, normal_quantile
from nephroscope.statistics.mcnemar import holm
from nephroscope.statistics.metrics import auc
from nephroscope.statistics.placements import area_interval

FEATURES, INFORMATIVE, FOLDS, LEARNERS, NEW = 7, 2, 5, 6, 1000
CONFIG = EvaluationConfig(resamples=100)


def deal(y, member, rng, folds):
    """Folds (B, n) of the members (B, n), each class dealt in turn; -1 for the others."""
    fold, start = np.full(member.shape, -1), np.zeros(len(member), int)
    for own in (member & ~y, member & y):
        place = np.where(own, rng.random(own.shape), 9).argsort(1).argsort(1)
        fold = np.where(own, (place + start[:, None]) % folds, fold)
        start = (start + own.sum(1)) % folds
    return fold


def ridge(x, y, w, strength):
    """Ridge logistic regressions (B, n, p) weighted by w (B, n), by Newton's method: weights (B, p)."""
    b, penalty = (
        np.zeros((x.shape[0], x.shape[2])),
        np.r_[0.0, np.full(x.shape[2] - 1, 1.0)] / strength[:, None],
    )
    for _ in range(25):
        m = 1 / (1 + np.exp(-np.clip((x @ b[..., None])[..., 0], -30, 30)))
        slope = ((w * (y - m))[:, None] @ x)[:, 0] - penalty * b
        bend = (x * (w * m * (1 - m) + 1e-9)[..., None]).transpose(0, 2, 1) @ x
        step = np.linalg.solve(bend + (penalty + 1e-9)[:, :, None] * np.eye(x.shape[2]), slope[..., None])[
            ..., 0
        ]
        longest = np.abs(step).max(1, keepdims=True)
        b += step * np.minimum(1, 3 / np.maximum(longest, 1e-12))
        if longest.max() < 1e-6:
            break
    return b


def scaled(x, w):
    """Features with mean 0 and SD 1 in the members, a column of ones before them; means and SDs."""
    total = w.sum(1)[:, None, None]
    mean = (x * w[..., None]).sum(1, keepdims=True) / total
    sd = np.sqrt(((x - mean) ** 2 * w[..., None]).sum(1, keepdims=True) / total)
    return np.concatenate([np.ones((*x.shape[:2], 1)), (x - mean) / sd], 2), mean[:, 0], sd[:, 0]


def fit_regressions(x, y, member, rng):
    """Log odds of any (B, n, p) by the product's regression, each fitted on its members (B, n)."""
    inner, yes = deal(y, member, rng, 5), np.broadcast_to(y, member.shape).astype(float)
    loss = np.zeros((len(STRENGTHS), len(x)))
    for fold in range(5):
        learn, test = (member & (inner != fold)).astype(float), (member & (inner == fold)).astype(float)
        z, *_ = scaled(x, learn)
        for i, strength in enumerate(STRENGTHS):
            odds = (z @ ridge(z, yes, learn, np.full(len(x), strength))[..., None])[..., 0]
            loss[i] += (test * np.logaddexp(0, np.where(yes > 0, -odds, odds))).sum(1)
    z, mean, sd = scaled(x, member.astype(float))
    b = ridge(z, yes, member.astype(float), np.array(STRENGTHS)[np.round(loss, 9).argmin(0)])
    weights = b[:, 1:] / sd
    return lambda new: (new @ weights[..., None])[..., 0] + (b[:, 0] - (weights * mean).sum(1))[:, None]


def fit_networks(x, y, member, rng, hidden=16, steps=120):
    """Log odds of any (B, n, p) by networks of one hidden layer."""
    n_fits, _, p = x.shape
    share = member / member.sum(1, keepdims=True)
    first = rng.normal(size=(n_fits, p, hidden)) / p**0.5
    last = rng.normal(size=(n_fits, hidden, 1)) / hidden**0.5
    layers = [first, np.zeros((n_fits, 1, hidden)), last, np.zeros((n_fits, 1, 1))]
    mean, square = [0.0] * 4, [0.0] * 4

    def odds(new):
        return (np.tanh(new @ layers[0] + layers[1]) @ layers[2] + layers[3])[..., 0]

    for step in range(1, steps + 1):
        active = np.tanh(x @ layers[0] + layers[1])
        off = ((1 / (1 + np.exp(-odds(x))) - y) * share)[..., None]
        back = (off @ layers[2].transpose(0, 2, 1)) * (1 - active**2)
        slopes = [x.transpose(0, 2, 1) @ back, back.sum(1, keepdims=True)]
        slopes += [active.transpose(0, 2, 1) @ off, off.sum(1, keepdims=True)]
        for i, slope in enumerate(slopes):
            mean[i], square[i] = 0.9 * mean[i] + 0.1 * slope, 0.999 * square[i] + 0.001 * slope**2
            move = mean[i] / (1 - 0.9**step) / (np.sqrt(square[i] / (1 - 0.999**step)) + 1e-8)
            layers[i] = layers[i] - 0.02 * move
    return odds


FITS = {"logistic": fit_regressions, "network": fit_networks}


def cross_validate(kind, studies, n, apart, rng):
    """Out-of-fold probabilities (S, L, 2 n), folds (S, 2 n), and true AUC, accuracy and Brier score (3, S, L)."""
    y = np.arange(2 * n) < n
    fold = deal(y, np.ones((studies, 2 * n), bool), rng, FOLDS)
    x = rng.normal(size=(studies * LEARNERS, 2 * n, FEATURES))
    x[..., :INFORMATIVE] += apart * y[:, None]
    p, truth = np.empty((studies * LEARNERS, 2 * n)), np.zeros((3, studies * LEARNERS))
    new_y = np.arange(NEW) % 2 == 1
    new = rng.normal(size=(studies * LEARNERS, NEW, FEATURES))
    new[..., :INFORMATIVE] += apart * new_y[:, None]
    for k in range(FOLDS):
        member = np.repeat(fold != k, LEARNERS, 0)
        odds = FITS[kind](x, y, member, rng)
        p = np.where(member, p, 1 / (1 + np.exp(-odds(x))))
        q = 1 / (1 + np.exp(-odds(new)))
        of_fold = [[auc(row, new_y) for row in q], ((q >= 0.5) == new_y).mean(1), ((q - new_y) ** 2).mean(1)]
        truth += np.array(of_fold) / FOLDS
    shape = (studies, LEARNERS)
    return p.reshape(*shape, -1), fold, truth.reshape(3, *shape), y


def simulate(kind, studies, n, apart):
    """Print coverage and rejection with the larger variance of folds, and as if one fixed model had answered."""
    p, folds, truth, y = cross_validate(kind, studies, n, apart, np.random.default_rng(n))
    ids = [f"{i:03d}" for i in range(2 * n)]
    held = {(what, how): [] for what in ("AUC", "accuracy", "difference") for how in ("folds", "fixed")}
    pair, family = {"folds": [], "fixed": []}, {"folds": [], "fixed": []}
    for s in range(studies):
        for how, of in (("folds", folds[s].tolist()), ("fixed", [])):
            who = Patients.of(ids, y.astype(np.intp), of)
            for learner in range(LEARNERS):
                both = np.stack([1 - p[s, learner], p[s, learner]], 1)
                called = (both[:, 1] >= 0.5).astype(np.intp)
                rows = Rows(unit="case", truth=y.astype(np.intp), called=called, p=both, patients=who)
                shares = {"accuracy": shares_of(rows, ("no", "yes"), 1)["accuracy"]}
                found = estimate_all(rows, shares, areas_of(rows, ("no", "yes"), 1), CONFIG)
                for i, name in enumerate(("auc", "accuracy")):
                    true = truth[i, s, learner]
                    held["AUC" if name == "auc" else name, how].append(
                        found[name].low <= true <= found[name].high
                    )
            every = []
            for a, b in combinations(range(LEARNERS), 2):
                test = compare_aucs(p[s, a], p[s, b], y, who, CONFIG, bootstrap=False)
                every.append(test.p if how == "folds" else test.p_variance)
                d, true = test.difference, truth[0, s, a] - truth[0, s, b]
                if d.low is not None:
                    held["difference", how].append(d.low <= true <= d.high)
            pair[how] += [value is not None and value < 0.05 for value in every]
            family[how].append(any(value is not None and value < 0.05 for value in holm(every)))
    cover = ", ".join(
        f"{what} {np.mean(held[what, 'folds']):.3f} ({np.mean(held[what, 'fixed']):.3f})"
        for what in ("AUC", "accuracy", "difference")
    )
    print(
        f"{kind}, {n} + {n}, true AUC {truth[0].mean():.2f}: intervals hold {cover}; equal pairs p < 0.05 "
        f"{np.mean(pair['folds']):.3f} ({np.mean(pair['fixed']):.3f}); any of {len(every)} pairs after Holm "
        f"{np.mean(family['folds']):.3f} ({np.mean(family['fixed']):.3f})",
        flush=True,
    )


def by_influence(p, fold, y, confidence=0.95):
    """Mean AUC of the folds and its limits by influence functions, on the plain and on the logit scale."""
    areas, squares, share = [], [], {True: y.mean(), False: 1 - y.mean()}
    for k in range(FOLDS):
        own, yes = p[fold == k], y[fold == k]
        above = (own[yes][:, None] > own[~yes]) + 0.5 * (own[yes][:, None] == own[~yes])  # (m, n)
        areas.append(above.mean())
        parts = [(above.mean(1) - above.mean()) / share[True], (above.mean(0) - above.mean()) / share[False]]
        squares.append(np.mean(np.concatenate(parts) ** 2))
    value, se = float(np.mean(areas)), float((np.mean(squares) / y.size) ** 0.5)
    z = normal_quantile(confidence)
    inside = min(max(value, 1e-3), 1 - 1e-3)
    logit, half = np.log(inside / (1 - inside)), z * se / (inside * (1 - inside))
    ends = 1 / (1 + np.exp(-(logit + np.array([-half, half]))))
    return value, (value - z * se, value + z * se), (float(ends[0]), float(ends[1]))


def nested_errors(kind, x, y, fold, rng):
    """What nested cross-validation needs of studies (S, 2 n, p): for each fold k left out, errors inside and outside.

    Gives inside (K, S, 2 n), the errors of fits without the folds j and k on fold j (NaN on k), and outside (S, 2 n),
    those of fits without k on k.
    """
    inside, outside = np.full((FOLDS, *fold.shape), np.nan), np.empty(fold.shape)
    for k in range(FOLDS):
        wrong = (FITS[kind](x, y, fold != k, rng)(x) >= 0) != y
        outside = np.where(fold == k, wrong, outside)
    for j, k in combinations(range(FOLDS), 2):
        wrong = (FITS[kind](x, y, (fold != j) & (fold != k), rng)(x) >= 0) != y
        inside[k] = np.where(fold == j, wrong, inside[k])
        inside[j] = np.where(fold == k, wrong, inside[j])
    return inside, outside


def nested_interval(kind, x, y, rng, repeats):
    """Accuracy by cross-validation (S,), and the half width of its interval by nested cross-validation, at 95 %."""
    gaps, noise, errors = [], [], []
    for _ in range(repeats):
        fold = deal(y, np.ones((len(x), y.size), bool), rng, FOLDS)
        inside, outside = nested_errors(kind, x, y, fold, rng)
        errors.append(outside)
        for k in range(FOLDS):
            own = fold == k
            n = own.sum(1)
            mean = (outside * own).sum(1) / n
            gaps.append((np.nanmean(inside[k], 1) - mean) ** 2)
            noise.append((((outside - mean[:, None]) ** 2) * own).sum(1) / (n - 1) / n)
    found = np.mean(errors, 0)
    naive = np.std(errors[0], 1, ddof=1) / y.size**0.5
    mse = np.maximum(np.mean(gaps, 0) - np.mean(noise, 0), 0) * (FOLDS - 1) / FOLDS
    se = np.clip(mse**0.5, naive, naive * FOLDS**0.5)  # as in the paper: never below the plain one
    return 1 - found.mean(1), normal_quantile(0.95) * se


def others(kind, studies, n, apart, repeats=5):
    """Print how often the intervals that were not taken hold the truth, and how wide they are."""
    rng = np.random.default_rng([n, 7])
    p, folds, truth, y = cross_validate(kind, studies, n, apart, rng)
    ids = [f"{i:03d}" for i in range(2 * n)]
    kept, plain, logit, width = [], [], [], {"kept": [], "plain": []}
    for s in range(studies):
        who = Patients.of(ids, y.astype(np.intp), folds[s].tolist())
        for learner in range(LEARNERS):
            true = truth[0, s, learner]
            one = p[s, learner]
            own = area_interval([(one, y)], who, 0.95)
            kept.append(own.low <= true <= own.high)
            width["kept"].append(own.high - own.low)
            _, found, inside = by_influence(one, folds[s], y)
            plain.append(found[0] <= true <= found[1])
            logit.append(inside[0] <= true <= inside[1])
            width["plain"].append(found[1] - found[0])
    x = rng.normal(size=(studies, 2 * n, FEATURES))
    x[..., :INFORMATIVE] += apart * y[:, None]
    new_y = np.arange(NEW) % 2 == 1
    new = rng.normal(size=(studies, NEW, FEATURES))
    new[..., :INFORMATIVE] += apart * new_y[:, None]
    value, half = nested_interval(kind, x, y, rng, repeats)
    fold = deal(y, np.ones((studies, 2 * n), bool), rng, FOLDS)
    true = np.mean([((FITS[kind](x, y, fold != k, rng)(new) >= 0) == new_y).mean(1) for k in range(FOLDS)], 0)
    print(
        f"{kind}, {n} + {n}, true AUC {truth[0].mean():.2f}: AUC kept {np.mean(kept):.3f} (width "
        f"{np.mean(width['kept']):.2f}), influence functions {np.mean(plain):.3f} (width "
        f"{np.mean(width['plain']):.2f}), the same on the logit scale {np.mean(logit):.3f}; "
        f"accuracy by nested cross-validation, {repeats} repeats "
        f"{np.mean(np.abs(value - true) <= half):.3f} (width {2 * half.mean():.2f})",
        flush=True,
    )


def check():
    """Print how far the regressions fitted together are from the product's own, for the same penalty."""
    rng, y = np.random.default_rng(0), np.arange(40) < 20
    x = rng.normal(size=(4, 40, FEATURES))
    x[..., :INFORMATIVE] += 0.8 * y[:, None]
    together, far = fit_regressions(x, y, np.ones((4, 40), bool), rng)(x), []
    for values, odds in zip(x, together, strict=True):
        own = fit_logistic(values, y.astype(np.intp), [f"{i:02d}" for i in range(40)], 2, 0).probabilities(
            values
        )
        far.append(float(np.abs(own[:, 1] - 1 / (1 + np.exp(-odds))).max()))
    print(
        f"furthest probability from fit_logistic in 4 studies, whose inner folds differ: {np.round(far, 6)}"
    )


if __name__ == "__main__":
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    print(f"{times} studies of each; in parentheses: as if one fixed model had answered", flush=True)
    wanted = sys.argv[2:] or list(FITS)
    if wanted != ["others"]:
        check()
    for one in FITS if wanted == ["others"] else wanted:
        for signal in (0.0, 0.8, 1.6):
            for of_each in (10, 20, 40):
                (others if wanted == ["others"] else simulate)(one, times, of_each, signal)

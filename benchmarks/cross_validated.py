"""Whether intervals and tests of pooled out-of-fold answers keep their word: a simulation of whole cross-validations.

Six learners have independent features of the same strength (7 each, 2 of them informative), so that no difference
exists, and are fitted in 5 folds. `logistic` is the product's own regression with its inner choice of the penalty,
fitted for all studies at once (the script first prints how far that is from `fit_logistic`); `network` has one hidden
layer, its own random start and 120 steps of Adam: overconfident, and on another scale in every fold. The truth is the
mean over the folds' fits of the AUC (accuracy, Brier score) on new patients.

Run with `python benchmarks/cross_validated.py [STUDIES] [KIND ...]`; 100 studies of both kinds take about seven
minutes of one core.
"""

import sys
from itertools import combinations

import numpy as np

from nephroscope.learning.baselines.regression import STRENGTHS, fit_logistic
from nephroscope.records import EvaluationConfig
from nephroscope.statistics.auc import compare_aucs
from nephroscope.statistics.estimates import Rows, areas_of, estimate_all, shares_of
from nephroscope.statistics.intervals import Patients
from nephroscope.statistics.mcnemar import holm
from nephroscope.statistics.metrics import auc

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
    check()
    for wanted in sys.argv[2:] or FITS:
        for signal in (0.0, 0.8, 1.6):
            for of_each in (10, 20, 40):
                simulate(wanted, times, of_each, signal)

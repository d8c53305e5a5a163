"""Which network a bundle should hold: the fold's with the lowest validation loss, a fixed fold's, or all of them.

A simulation of whole trainings: small networks in five folds, a fifth of each training part kept for validation, the
epoch with the lowest validation loss kept in each fold, as `nephroscope train` does. The truth is measured on new
patients. Run with `python benchmarks/fold_choice.py [STUDIES]`; 200 studies of each kind take half a minute of one
core. `python benchmarks/fold_choice.py STUDY RUN ...` asks trained runs of a study instead, on its held-out cases.
"""

import sys

import numpy as np

from cross_validated import deal
from nephroscope.clinic.call import youden_threshold
from nephroscope.statistics.metrics import auc

FEATURES, INFORMATIVE, FOLDS, NEW, HIDDEN, EPOCHS = 7, 2, 5, 1000, 16, 120
WAYS = ("lowest loss", "fold 0", "mean of probabilities", "mean of logits")


def sigmoid(odds):
    """Probability of log odds."""
    return 1 / (1 + np.exp(-odds))


def train(x, y, learn, validate, rng):
    """Networks of one hidden layer for x (B, n, p), of the epoch with the lowest validation loss, and that loss."""
    n_fits, _, p = x.shape
    share = learn / learn.sum(1, keepdims=True)
    first = rng.normal(size=(n_fits, p, HIDDEN)) / p**0.5
    layers = [first, np.zeros((n_fits, 1, HIDDEN)), rng.normal(size=(n_fits, HIDDEN, 1)) / HIDDEN**0.5]
    layers.append(np.zeros((n_fits, 1, 1)))
    mean, square = [0.0] * 4, [0.0] * 4
    kept, lowest = [layer.copy() for layer in layers], np.full(n_fits, np.inf)
    for step in range(1, EPOCHS + 1):
        active = np.tanh(x @ layers[0] + layers[1])
        odds = (active @ layers[2] + layers[3])[..., 0]
        loss = (np.logaddexp(0, np.where(y, -odds, odds)) * validate).sum(1) / validate.sum(1)
        better = loss < lowest
        lowest = np.minimum(loss, lowest)
        for own, layer in zip(kept, layers, strict=True):
            own[better] = layer[better]
        off = ((sigmoid(odds) - y) * share)[..., None]
        back = (off @ layers[2].transpose(0, 2, 1)) * (1 - active**2)
        slopes = [x.transpose(0, 2, 1) @ back, back.sum(1, keepdims=True)]
        slopes += [active.transpose(0, 2, 1) @ off, off.sum(1, keepdims=True)]
        for i, slope in enumerate(slopes):
            mean[i], square[i] = 0.9 * mean[i] + 0.1 * slope, 0.999 * square[i] + 0.001 * slope**2
            move = mean[i] / (1 - 0.9**step) / (np.sqrt(square[i] / (1 - 0.999**step)) + 1e-8)
            layers[i] = layers[i] - 0.02 * move
    return lambda new: (np.tanh(new @ kept[0] + kept[1]) @ kept[2] + kept[3])[..., 0], lowest


def simulate(studies, n, apart):
    """Print the true figures of each way on new patients, for studies of n + n patients."""
    rng = np.random.default_rng([n, int(10 * apart)])
    y = np.arange(2 * n) < n
    x = rng.normal(size=(studies, 2 * n, FEATURES))
    x[..., :INFORMATIVE] += apart * y[:, None]
    new_y = np.arange(NEW) % 2 == 1
    new = rng.normal(size=(studies, NEW, FEATURES))
    new[..., :INFORMATIVE] += apart * new_y[:, None]
    fold = deal(y, np.ones((studies, 2 * n), bool), rng, FOLDS)
    said, losses, points, pooled = [], [], [], np.zeros((studies, 2 * n))
    for k in range(FOLDS):
        rest = fold != k
        validate = rest & (deal(y, rest, rng, 5) == 0)
        fitted, loss = train(x, y, rest & ~validate, validate, rng)
        said.append(fitted(new))
        losses.append(loss)
        own = sigmoid(fitted(x))
        pooled = np.where(rest, pooled, own)
        points.append([youden_threshold(row[v], y[v]) for row, v in zip(own, validate, strict=True)])
    odds, losses, points = np.array(said), np.array(losses), np.array(points)  # (K, S, NEW), (K, S), (K, S)
    p, best, every = sigmoid(odds), losses.argmin(0), np.arange(studies)
    answers = dict(zip(WAYS, (p[best, every], p[0], p.mean(0), sigmoid(odds.mean(0))), strict=True))
    threshold = dict(zip(WAYS, (points[best, every], points[0], points.mean(0), points.mean(0)), strict=True))
    of_folds = np.array([[auc(row, new_y) for row in one] for one in p])
    print(
        f"{n} + {n}: mean AUC of the folds' networks {of_folds.mean():.3f}, SD between folds "
        f"{of_folds.std(0).mean():.3f}; pooled out-of-fold {np.mean([auc(row, y) for row in pooled]):.3f}"
    )
    for way, q in answers.items():
        areas = np.array([auc(row, new_y) for row in q])
        brier, slope = ((q - new_y) ** 2).mean(), np.mean([slope_of(row, new_y) for row in q])
        called = q >= threshold[way][:, None]
        youden = called[:, new_y].mean(1) - called[:, ~new_y].mean(1)
        fixed = (q[:, new_y] >= 0.5).mean(1) - (q[:, ~new_y] >= 0.5).mean(1)
        print(
            f"  {way}: AUC {areas.mean():.3f} (SD over studies {areas.std():.3f}; worst tenth below "
            f"{np.quantile(areas, 0.1):.3f}), Brier {brier:.3f}, calibration slope {slope:.2f}, Youden's index "
            f"at 0.5 {fixed.mean():.3f}, at the threshold of the validation parts {youden.mean():.3f}",
            flush=True,
        )


def slope_of(p, y):
    """Calibration slope: logistic regression of the outcome on the log odds, by Newton's method."""
    odds = np.log(np.clip(p, 1e-6, 1 - 1e-6) / np.clip(1 - p, 1e-6, 1))
    x, b = np.stack([np.ones_like(odds), odds], 1), np.array([0.0, 1.0])
    for _ in range(30):
        m = sigmoid(x @ b)
        b = b + np.clip(np.linalg.solve((x * (m * (1 - m) + 1e-9)[:, None]).T @ x, x.T @ (y - m)), -2, 2)
    return b[1]


def of_runs(study, names):
    """Print the figures of each way on the held-out cases of a study, for its trained runs."""
    from nephroscope.facade.study import Study
    from nephroscope.learning.run_files import KeptNetwork, load_run, open_run
    from nephroscope.learning.score_run import _cut_cases

    for name in names:
        run = open_run(Study(study).snapshot, name)
        cohort, held = run.snapshot.cohort, run.snapshot.split.holdout
        losses = np.array([fold.best.validation_loss for fold in load_run(run.folder).folds])
        at, y, p = cohort.subtypes.index(cohort.positive), [], []
        networks = [KeptNetwork(run.folder, fold.index) for fold in run.snapshot.split.folds]
        for case in _cut_cases(run, held):
            y.append(cohort.by_id[case.case_id].subtype == cohort.positive)
            p.append([network.probabilities(case.hu)[:, at].mean() for network in networks])
        y, p = np.array(y), np.array(p).T  # (n,), (K, n)
        odds = np.log(np.clip(p, 1e-9, 1 - 1e-9) / np.clip(1 - p, 1e-9, 1))
        ways = (p[losses.argmin()], p[0], p.mean(0), sigmoid(odds.mean(0)))
        areas = ", ".join(f"{auc(row, y):.3f}" for row in p)
        print(
            f"run {name}, {y.size} held-out cases: AUC of each fold's network {areas}; lowest loss: {losses.argmin()}"
        )
        for way, q in zip(WAYS, ways, strict=True):
            print(
                f"  {way}: AUC {auc(q, y):.3f}, Brier {((q - y) ** 2).mean():.3f}, slope {slope_of(q, y):.2f}"
            )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        of_runs(sys.argv[1], sys.argv[2:])
    else:
        for signal in (0.8, 1.6):
            for of_each in (10, 20, 40):
                simulate(int(sys.argv[1]) if len(sys.argv) > 1 else 200, of_each, signal)

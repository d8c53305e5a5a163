"""Whether a term adds to what is known: a likelihood-ratio test of nested logistic regressions.

Both regressions are held to small slopes by a weak normal prior, so that they exist where the classes do not overlap.
With ten patients of a class the chi-squared limit rejects too often, so p comes from labels drawn under the smaller
model: the facts and the image's answers stay as they are, and only the outcome is drawn again.
"""

from dataclasses import dataclass

import numpy as np

from nephroscope.statistics.cross_validation import fold_words, variance_factor
from nephroscope.statistics.metrics import Bools, Floats, Ints

PRIOR_SD = 2.5  # of the slope of a column with SD 1, in log odds
STEPS, NEAR = 25, 1e-7  # of Newton's method, which the prior keeps from running away
DRAWS, TRIED = 999, 12  # label sets, and how many times as many are drawn to find those with the right count
HOW = (
    "likelihood-ratio test of nested logistic regressions (normal prior of SD 2.5 on the slope of a standardized "
    f"column); p from {DRAWS} sets of labels drawn under the smaller model, with as "
    "many positives"
)


@dataclass(frozen=True, kw_only=True)
class AddedTerm:
    """What a term adds.

    Attributes:
        statistic: Twice the gain in (penalized) log likelihood; 0 where a term of one sign has the wrong one.
        df: Columns that were added.
        p: None where a class has no patient.
        how: The test, or why there is none.
    """

    statistic: float
    df: int
    p: float | None
    how: str


def added_value(
    base: Floats, added: Floats, is_positive: Bools, owner: Ints, out_of_fold: int = 0, seed: int = 0
) -> AddedTerm:
    """The likelihood-ratio test of columns ``added`` (n, q) to columns ``base`` (n, r); an intercept is always there.

    Args:
        base: Columns of the smaller model, such as the out-of-fold logit of the image.
        added: Columns that are tested; without missing values.
        is_positive: Outcome (n,).
        owner: Number of each row's patient: a patient's rows count as one together and are drawn together.
        out_of_fold: Number of folds whose fits answered, where the single added column is such an answer; 0 where it
            is a fact. Such a score can only help by rising with the outcome, so the test is one-sided; and answers
            of fits that share patients vary more than independent ones, for which the gain is divided.
        seed: Of the draws.

    Source:
        Vickers, Cronin and Begg 2011, BMC Med Res Methodol 11:13 (test the term in the model, not the AUC); Davison
        and Hinkley 1997, Bootstrap Methods and their Application, 4.2 (p under a fitted smaller model); Nadeau
        and Bengio 2003, Mach Learn 52:239 (variance of answers of several folds).
    """
    added = added[:, added.std(axis=0) > 0] if added.size else added
    q = added.shape[1]
    if not q:
        return AddedTerm(statistic=0.0, df=0, p=None, how="the term is the same in all cases")
    if not is_positive.any() or is_positive.all():
        return AddedTerm(statistic=0.0, df=q, p=None, how="a class has no case")
    small = _standardized(base)
    whole = np.hstack([small, _standardized(added)[:, 1:]])
    weights = 1 / np.bincount(owner)[owner]
    at_null, own = _fit(small, is_positive[None].astype(np.float64), weights)
    p_null = 1 / (1 + np.exp(-small @ own[0]))
    labels = np.vstack([is_positive[None], _drawn(p_null, is_positive, owner, seed)]).astype(np.float64)
    at_null, _ = _fit(small, labels, weights)
    at_whole, slopes = _fit(whole, labels, weights)
    gains = np.maximum(2 * (at_whole - at_null), 0.0)
    how = HOW
    if out_of_fold:
        gains[slopes[:, -1] <= 0] = 0.0
        gains[0] /= variance_factor(out_of_fold)
        how += f"; one-sided{fold_words(out_of_fold)}"
    p = (1 + np.count_nonzero(gains[1:] >= gains[0] - 1e-9)) / (DRAWS + 1)
    return AddedTerm(statistic=float(gains[0]), df=q, p=float(p), how=how)


def _drawn(p: Floats, is_positive: Bools, owner: Ints, seed: int) -> Bools:
    """Label sets (DRAWS, n) under probabilities (n,), those with a number of positives as found, or nearest to it."""
    uniform = np.random.default_rng([seed, 0xADD]).random((TRIED * DRAWS, int(owner.max()) + 1))
    tried = uniform[:, owner] < p
    apart = np.abs(tried.sum(axis=1) - int(is_positive.sum()))
    nearest: Bools = tried[np.argsort(apart, kind="stable")[:DRAWS]]
    return nearest


def _standardized(columns: Floats) -> Floats:
    """An intercept and the columns with mean 0 and SD 1; those without spread are zero."""
    columns = columns.reshape(len(columns), -1)
    sd = columns.std(axis=0)
    scaled = (columns - columns.mean(axis=0)) / np.where(sd > 0, sd, 1.0)
    return np.hstack([np.ones((len(columns), 1)), scaled])


def _fit(x: Floats, labels: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Penalized log likelihood (b,) and slopes (b, r) of several label sets (b, n) on the same columns (n, r)."""
    prior = np.full(x.shape[1], PRIOR_SD**-2)
    prior[0] = 1e-4
    slopes = np.zeros((len(labels), x.shape[1]))
    squares = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-slopes @ x.T))
        gradient = ((labels - p) * weights) @ x - slopes * prior
        spread = p * (1 - p) * weights
        curvature = (spread @ squares).reshape(-1, *[x.shape[1]] * 2) + np.diag(prior)
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        size = np.abs(step).max(axis=1, keepdims=True)
        slopes = slopes + step * np.minimum(1.0, 3.0 / np.maximum(size, 1e-12))
        if size.max() < NEAR:
            break
    scores = slopes @ x.T
    likelihood = ((labels * scores - np.logaddexp(0, scores)) * weights).sum(axis=1)
    return likelihood - 0.5 * (slopes**2 * prior).sum(axis=1), slopes

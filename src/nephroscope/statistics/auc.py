"""AUCs of several scores of the same rows, their covariance, and the tests between them.

DeLong's formulas where every row is another patient's, Obuchowski's where patients have several rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2, norm
from scipy.stats import t as student

from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.statistics.cross_validation import fold_words, variance_factor
from nephroscope.statistics.exchange import NEAR, Exchange, exchange
from nephroscope.statistics.intervals import (
    FEWEST,
    NOTHING,
    ONE_PATIENT,
    Interval,
    Patients,
    auc_statistic,
    clustered_bootstrap,
    no_estimate,
    normal_quantile,
    percentile_interval,
)
from nephroscope.statistics.metrics import Area, Bools, Floats, delong_covariance, placements
from nephroscope.statistics.placements import contributions, variance_of
from nephroscope.statistics.resampling import grouped, is_grouped, patients_words


def clustered_covariance(scores: Floats, is_positive: Bools, patients: Patients) -> tuple[Floats, Floats]:
    """AUCs (m,) of m tests on the same rows, and their covariance (m, m) over patients.

    A patient may have rows of one class or of both; with one row per patient this is DeLong's covariance. ``scores``
    are (m, n), finite; there are at least two patients with a positive row, and two with a negative one.

    Source:
        Obuchowski 1997, Biometrics 53:567: sums of placement values by patient, minus the patient's number of rows
        times the AUC; S10, S01 and, for patients with both classes, S11.
    """
    of_positives, of_negatives = placements(scores, is_positive)
    aucs: Floats = of_positives.mean(axis=1)
    own, other = patients.row[is_positive], patients.row[~is_positive]
    m, n = np.bincount(own, minlength=patients.n), np.bincount(other, minlength=patients.n)
    x = _sums(of_positives, own, patients.n) - m * aucs[:, None]
    y = _sums(of_negatives, other, patients.n) - n * aucs[:, None]
    n_x, n_y, n_all = np.count_nonzero(m), np.count_nonzero(n), np.count_nonzero(m + n)
    both = n_all / (n_all - 1) * (x @ y.T) / (m.sum() * n.sum())
    alone_x = n_x / (n_x - 1) * (x @ x.T) / m.sum() ** 2
    alone_y = n_y / (n_y - 1) * (y @ y.T) / n.sum() ** 2
    covariance: Floats = alone_x + alone_y + both + both.T
    return aucs, covariance


def _sums(values: Floats, owner: np.ndarray[tuple[int], np.dtype[np.intp]], n_patients: int) -> Floats:
    """Sum of each row of values (m, n) over the rows of each patient, (m, P)."""
    return np.stack([np.bincount(owner, weights=row, minlength=n_patients) for row in values])


FEW = 20  # patients of a class: up to here the test is by exchange
EXCHANGED = "ranks exchanged within patients at random"
NOT_ASKED = "not computed"


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Difference of two AUCs, first minus second, and its test.

    Attributes:
        aucs: Of the first and the second score; None where a class has no row.
        difference: With the interval of ``se``; n counts patients.
        bootstrap: The same difference with the interval of the patient bootstrap.
        se: Standard error of the difference.
        z: Difference by standard error; t-distributed where ``df`` is given.
        p: Two-sided, of the test that ``method`` names; None where there is no test.
        p_variance: Two-sided, of ``z``: what DeLong's or Obuchowski's test gives whatever the number of patients.
        correlation: Of the two AUCs; None where one has no variance, or they come from different patients.
        method: Name of the test, or why there is none.
        df: Degrees of freedom of the unpaired test, of means, and with fewer than five patients of a class.
    """

    aucs: tuple[float | None, float | None]
    difference: Estimate
    bootstrap: Estimate
    se: float | None = None
    z: float | None = None
    p: float | None = None
    p_variance: float | None = None
    correlation: float | None = None
    method: str
    df: float | None = None


@dataclass(frozen=True, kw_only=True)
class OverallTest:
    """Whether several AUCs are all the same; ``method`` says why where there is no p."""

    chi2: float | None
    df: int
    p: float | None
    method: str


def auc_covariance(
    scores: Floats, is_positive: Bools, patients: Patients | None
) -> tuple[Floats | None, Floats | None, str]:
    """AUCs of scores (m, n), their covariance and its formula; None, and why, if a class has too few patients.

    Without ``patients`` each row is another patient's.
    """
    owner = np.arange(is_positive.size) if patients is None else patients.row
    n_positive, n_negative = (np.unique(owner[y]).size for y in (is_positive, ~is_positive))
    if min(n_positive, n_negative) == 0:
        return None, None, "undefined: a class has no row"
    if min(n_positive, n_negative) == 1:
        x, _ = placements(scores, is_positive)
        return x.mean(axis=1), None, "no variance: a class has one patient"
    if patients is None or patients.n == is_positive.size:
        return *delong_covariance(scores, is_positive), "DeLong 1988"
    return *clustered_covariance(scores, is_positive, patients), "Obuchowski 1997, rows clustered by patient"


def compare_aucs(
    one: Floats,
    two: Floats,
    is_positive: Bools,
    patients: Patients | None,
    config: EvaluationConfig,
    bootstrap: bool = True,
) -> PairedTest:
    """Test whether two scores (n,) of the same rows have the same AUC.

    Without ``patients`` each row is another patient's. ``bootstrap`` adds the bootstrap interval of the difference,
    which the test does not need. With at most 20 patients of a class, or without variance, the test exchanges ranks
    within patients. Where several folds answered the rows (``patients.n_folds``), the interval has the larger
    variance of cross-validated answers, and so has the test, which takes the variance of the exchanges.

    Source:
        DeLong 1988 if each row is another patient's; Obuchowski 1997 if patients have several; Bandos, Rockette and
        Gur 2005; Nadeau and Bengio 2003. How often each rejects equals: `benchmarks/interval_coverage.py` and
        `benchmarks/cross_validated.py`.
    """
    own = patients or Patients.of([f"{i:09d}" for i in range(is_positive.size)], is_positive.astype(np.intp))
    aucs, covariance, method = auc_covariance(np.stack([one, two]), is_positive, patients)
    if aucs is None:
        nothing = no_estimate(method, own.n, "patient")
        return PairedTest(aucs=(None, None), difference=nothing, bootstrap=nothing, method=method)
    value, pair = float(aucs[0] - aucs[1]), (float(aucs[0]), float(aucs[1]))
    if covariance is None:
        bare = Interval(None, None, ONE_PATIENT).around(value, own.n, "patient")
        none = replace(bare, method=method)
        return PairedTest(aucs=pair, difference=none, bootstrap=bare, method=method)
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    spread = float(covariance[0, 0] * covariance[1, 1])
    correlation = float(covariance[0, 1] / spread**0.5) if spread > NOTHING**2 else None
    if bootstrap:
        drawn = redrawn_aucs([one, two], is_positive, own, config)
        resampled = percentile_interval(drawn[0] - drawn[1], patients_words(own), config.confidence)
        resampled = resampled.widened(value, own.n_folds, (-1.0, 1.0))
    else:
        resampled = Interval(None, None, NOT_ASKED)
    fewest, df = min(own.count(is_positive), own.count(~is_positive)), None
    if fewest < FEWEST:
        first, second = contributions([(one, is_positive)]), contributions([(two, is_positive)])
        df = variance_of(first.rows - second.rows, first.kind, own)[1]
        df = df if np.isfinite(df) else None
    found, around = (value, variance, method), resampled.around(value, own.n, "patient")
    test = _tested(pair, found, around, config, df, own.n_folds)
    swaps, few = exchange([(one, is_positive)], [(two, is_positive)], own), fewest <= FEW
    return replace(exchanged(test, swaps, few, config, own.n_folds), correlation=correlation)


def exchanged(
    test: PairedTest, swaps: Exchange, few: bool, config: EvaluationConfig, n_folds: int
) -> PairedTest:
    """The test with the p of the exchanges where these are more to be trusted than the variance.

    These are tests of ``few`` patients, without variance, and of cross-validated answers; of equal AUCs without
    variance there is no test.
    """
    alike = test.p is None and abs(swaps.difference) < NEAR
    if n_folds > 1 and swaps.se > NOTHING:
        z = abs(swaps.difference) / (swaps.se * variance_factor(n_folds) ** 0.5)
        method = f"variance of {EXCHANGED}{fold_words(n_folds)}"
        return replace(test, p=2 * float(norm.sf(z)), method=method)
    if n_folds > 1 or alike or not (few or test.p is None):
        return test
    return replace(
        test,
        p=swaps.p(config.seed),
        method=EXCHANGED if test.p is not None else f"{EXCHANGED} ({test.method})",
    )


def compare_mean_aucs(
    one: Sequence[Area], two: Sequence[Area], patients: Patients, config: EvaluationConfig
) -> PairedTest:
    """Test whether two means of AUCs are the same, such as the macro AUCs of two learners.

    ``one`` and ``two`` are areas of the same rows with the same truths. The interval is from the placement values by
    patient, with Satterthwaite's t; the test exchanges ranks within patients.

    Source:
        As `compare_aucs`.
    """
    if not all(y.any() and not y.all() for _, y in one):
        nothing = no_estimate("undefined: a class has no case", patients.n, "patient")
        return PairedTest(
            aucs=(None, None), difference=nothing, bootstrap=nothing, method="undefined: a class has no case"
        )
    a, b = contributions(one), contributions(two)
    value, pair = a.value - b.value, (a.value, b.value)
    bare = Interval(None, None, NOT_ASKED).around(value, patients.n, "patient")
    if min(patients.count(a.kind == k) for k in range(int(a.kind.max()) + 1)) < 2:
        none = replace(bare, method=ONE_PATIENT)
        return PairedTest(aucs=pair, difference=none, bootstrap=bare, method=ONE_PATIENT)
    variance, df = variance_of(a.rows - b.rows, a.kind, patients)
    found = (value, variance, f"placement values of {len(one)} areas, by patient")
    test = _tested(pair, found, bare, config, df if np.isfinite(df) else None, patients.n_folds)
    return exchanged(test, exchange(one, two, patients), True, config, patients.n_folds)


def redrawn_aucs(
    scores: Sequence[Floats],
    is_positive: Bools,
    patients: Patients,
    config: EvaluationConfig,
    set_number: int = 0,
) -> list[Floats]:
    """AUCs of scores (n,) of the same rows over the same redrawn patients, (resamples,) each."""
    drawn_from = grouped(patients)
    statistics = {str(i): auc_statistic(each, is_positive, drawn_from) for i, each in enumerate(scores)}
    seed = config.seed + set_number
    return list(clustered_bootstrap(statistics, drawn_from, config.resamples, seed).values())


def compare_unpaired(
    one: tuple[Floats, Bools, Patients], two: tuple[Floats, Bools, Patients], config: EvaluationConfig
) -> PairedTest:
    """Test whether a score has the same AUC in two sets of different patients.

    Each set is given by its scores (n,), which rows are positive (n,), and their patients.

    Source:
        DeLong 1988 variances, added; degrees of freedom by Satterthwaite 1946, as pROC's unpaired test has them.
    """
    n = one[2].n + two[2].n
    parts = [auc_covariance(scores[None], y, patients) for scores, y, patients in (one, two)]
    (aucs_one, cov_one, method_one), (aucs_two, cov_two, method_two) = parts
    known = [None if aucs is None else float(aucs[0]) for aucs in (aucs_one, aucs_two)]
    method = method_one if aucs_one is None or cov_one is None else method_two
    if known[0] is None or known[1] is None:
        nothing = no_estimate(method, n, "patient")
        return PairedTest(aucs=(known[0], known[1]), difference=nothing, bootstrap=nothing, method=method)
    value, pair = known[0] - known[1], (known[0], known[1])
    if cov_one is None or cov_two is None:
        bare = Interval(None, None, ONE_PATIENT).around(value, n, "patient")
        why = f"{method}, unpaired"
        return PairedTest(aucs=pair, difference=replace(bare, method=why), bootstrap=bare, method=why)
    v_one, v_two = float(cov_one[0, 0]), float(cov_two[0, 0])
    variance, rows, df = v_one + v_two, (one[1].size, two[1].size), None
    if "Obuchowski" in method_one + method_two:
        rows, method = (one[2].n, two[2].n), "Obuchowski 1997, rows clustered by patient"
    if variance > NOTHING:
        df = variance**2 / (v_one**2 / (rows[0] - 1) + v_two**2 / (rows[1] - 1))
    drawn = [redrawn_aucs([s], y, who, config, i)[0] for i, (s, y, who) in enumerate((one, two))]
    in_groups = " in random groups" if is_grouped(one[2]) or is_grouped(two[2]) else ""
    resampled = percentile_interval(drawn[0] - drawn[1], f"{n} patients{in_groups}", config.confidence)
    found = (value, variance, f"{method}, unpaired")
    return _tested(pair, found, resampled.around(value, n, "patient"), config, df, one[2].n_folds)


def overall_test(aucs: Floats, covariance: Floats, method: str) -> OverallTest:
    """Test that all AUCs (m,) are the same, from their covariance (m, m).

    Source:
        DeLong 1988: the chi-squared statistic of the contrasts; its degrees of freedom are their rank.
    """
    contrasts = np.eye(aucs.size)[1:] - np.eye(aucs.size)[:1]
    differences, spread = contrasts @ aucs, contrasts @ covariance @ contrasts.T
    sizes, axes = np.linalg.eigh(spread)
    along = axes.T @ differences
    real = sizes > max(NOTHING, 1e-9 * float(sizes.max(initial=0.0)))
    df = int(np.count_nonzero(real))
    if df == 0 or np.abs(along[~real]).max(initial=0.0) > 1e-9:
        why = "no test: the differences have no variance"
        return OverallTest(chi2=None, df=df, p=None, method=why)
    value = float(np.sum(along[real] ** 2 / sizes[real]))
    less = "" if df == aucs.size - 1 else f"; {df} of {aucs.size - 1} contrasts vary"
    return OverallTest(chi2=value, df=df, p=float(chi2.sf(value, df)), method=f"{method}, chi-squared{less}")


def _tested(
    aucs: tuple[float, float],
    found: tuple[float, float, str],
    bootstrap: Estimate,
    config: EvaluationConfig,
    df: float | None = None,
    n_folds: int = 1,
) -> PairedTest:
    """The test of a difference; ``found`` is the difference, its variance and the name of the formula."""
    (value, variance, method), n = found, bootstrap.n
    if variance < NOTHING:
        method = "no test: " + (
            "both order the rows in the same way"
            if abs(value) < NOTHING
            else "the difference has no variance"
        )
        bare = Interval(None, None, method).around(value, n, "patient")
        return PairedTest(aucs=aucs, difference=bare, bootstrap=bootstrap, method=method)
    se, tail = (variance_factor(n_folds) * variance) ** 0.5, (1 + config.confidence) / 2
    z, method = value / se, method + fold_words(n_folds)
    half = se * (normal_quantile(config.confidence) if df is None else float(student.ppf(tail, df)))
    limits = max(-1.0, value - half), min(1.0, value + half)
    interval = Interval.of(limits, method, config.confidence)
    p = 2 * float(norm.sf(abs(z)) if df is None else student.sf(abs(z), df))
    return PairedTest(
        aucs=aucs,
        difference=interval.around(value, n, "patient"),
        bootstrap=bootstrap,
        se=se,
        z=z,
        p=p,
        p_variance=p,
        method=method,
        df=df,
    )


def compare_all(
    scores: Sequence[Floats], is_positive: Bools, patients: Patients | None, config: EvaluationConfig
) -> tuple[dict[tuple[int, int], PairedTest], OverallTest]:
    """Test of every pair, by the places of its scores, and of all at once."""
    pairs = {
        (i, j): compare_aucs(scores[i], scores[j], is_positive, patients, config)
        for i in range(len(scores))
        for j in range(i + 1, len(scores))
    }
    aucs, covariance, method = auc_covariance(np.stack(scores), is_positive, patients)
    if aucs is None or covariance is None:
        return pairs, OverallTest(chi2=None, df=0, p=None, method=method)
    n_folds = 1 if patients is None else patients.n_folds
    return pairs, overall_test(aucs, variance_factor(n_folds) * covariance, method + fold_words(n_folds))

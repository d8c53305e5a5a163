"""AUCs of several scores of the same rows, their covariance, and the tests between them.

DeLong's formulas where every row is another patient's, Obuchowski's where patients have several rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2, norm
from scipy.stats import t as student

from nephroscope.records import Estimate, EvaluationConfig, counted_noun
from nephroscope.statistics.intervals import (
    ONE_PATIENT,
    Interval,
    Patients,
    auc_statistic,
    clustered_bootstrap,
    logit_limits,
    no_estimate,
    normal_quantile,
    percentile_interval,
)
from nephroscope.statistics.metrics import Bools, Floats, delong_covariance, placements
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


def clustered_interval(
    scores: Floats, is_positive: Bools, patients: Patients, confidence: float
) -> tuple[float, float, str] | None:
    """Low, high and method of the interval of an AUC whose rows (n,) share patients, on the logit scale.

    None if a class has one patient, or there is no variance.

    Source:
        Obuchowski 1997, Biometrics 53:567; why not the bootstrap: `benchmarks/interval_coverage.py`.
    """
    if min(patients.count(is_positive), patients.count(~is_positive)) < 2:
        return None
    aucs, covariance = clustered_covariance(scores[None], is_positive, patients)
    value, variance = float(aucs[0]), float(covariance[0, 0])
    if not 0 < value < 1 or variance < 1e-12:
        return None
    low, high = logit_limits(value, variance, confidence)
    return low, high, f"Obuchowski 1997 on the logit scale, {counted_noun(patients.n, 'patient')}"


def _sums(values: Floats, owner: np.ndarray[tuple[int], np.dtype[np.intp]], n_patients: int) -> Floats:
    """Sum of each row of values (m, n) over the rows of each patient, (m, P)."""
    return np.stack([np.bincount(owner, weights=row, minlength=n_patients) for row in values])


NOTHING = 1e-12  # variances below this are rounding
NOT_ASKED = "not computed"


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Difference of two AUCs, first minus second, and its test.

    Attributes:
        aucs: The two AUCs; None where a class has no row.
        difference: With the interval of the test's own standard error; n counts patients.
        bootstrap: The same difference with the interval of the patient bootstrap.
        se: Standard error of the difference.
        z: Difference by standard error; t-distributed where ``df`` is given.
        p: Two-sided; None where there is no test.
        correlation: Of the two AUCs; None where one has no variance, or they come from different patients.
        method: Name of the test, or why there is none.
        df: Degrees of freedom of the unpaired test.
    """

    aucs: tuple[float | None, float | None]
    difference: Estimate
    bootstrap: Estimate
    se: float | None = None
    z: float | None = None
    p: float | None = None
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
    which the test does not need.

    Source:
        DeLong 1988 if each row is another patient's; Obuchowski 1997 if patients have several.
    """
    own = patients or Patients.of([f"{i:09d}" for i in range(is_positive.size)], is_positive.astype(np.intp))
    aucs, covariance, method = auc_covariance(np.stack([one, two]), is_positive, patients)
    if aucs is None:
        nothing = no_estimate(method, own.n, "patient")
        return PairedTest(aucs=(None, None), difference=nothing, bootstrap=nothing, method=method)
    value, pair = float(aucs[0] - aucs[1]), (float(aucs[0]), float(aucs[1]))
    variance, correlation = None, None
    if covariance is not None:
        variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
        spread = float(covariance[0, 0] * covariance[1, 1])
        correlation = float(covariance[0, 1] / spread**0.5) if spread > NOTHING**2 else None
    if covariance is None:
        resampled = Interval(None, None, ONE_PATIENT)
    elif bootstrap:
        drawn = redrawn_aucs([one, two], is_positive, own, config)
        resampled = percentile_interval(drawn[0] - drawn[1], patients_words(own), config.confidence)
    else:
        resampled = Interval(None, None, NOT_ASKED)
    test = _tested(pair, (value, variance, method), resampled.around(value, own.n, "patient"), config)
    return replace(test, correlation=correlation)


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
    value, variance, df = known[0] - known[1], None, None
    if cov_one is not None and cov_two is not None:
        v_one, v_two = float(cov_one[0, 0]), float(cov_two[0, 0])
        variance, rows = v_one + v_two, (one[1].size, two[1].size)
        if "Obuchowski" in method_one + method_two:
            rows, method = (one[2].n, two[2].n), "Obuchowski 1997, rows clustered by patient"
        if variance > NOTHING:
            df = variance**2 / (v_one**2 / (rows[0] - 1) + v_two**2 / (rows[1] - 1))
    resampled = Interval(None, None, ONE_PATIENT)
    if variance is not None:
        drawn = [redrawn_aucs([s], y, who, config, i)[0] for i, (s, y, who) in enumerate((one, two))]
        in_groups = " in random groups" if is_grouped(one[2]) or is_grouped(two[2]) else ""
        resampled = percentile_interval(drawn[0] - drawn[1], f"{n} patients{in_groups}", config.confidence)
    pair, found = (known[0], known[1]), (value, variance, f"{method}, unpaired")
    return _tested(pair, found, resampled.around(value, n, "patient"), config, df)


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
    found: tuple[float, float | None, str],
    bootstrap: Estimate,
    config: EvaluationConfig,
    df: float | None = None,
) -> PairedTest:
    """The test of a difference; ``found`` is the difference, its variance and the name of the formula."""
    (value, variance, method), n = found, bootstrap.n
    if variance is None or variance < NOTHING:
        if variance is not None:
            method = "no test: " + (
                "both order the rows in the same way"
                if abs(value) < NOTHING
                else "the difference has no variance"
            )
        bare = Interval(None, None, method).around(value, n, "patient")
        return PairedTest(aucs=aucs, difference=bare, bootstrap=bootstrap, method=method)
    se, tail = variance**0.5, (1 + config.confidence) / 2
    z = value / se
    half = se * (normal_quantile(config.confidence) if df is None else float(student.ppf(tail, df)))
    limits = max(-1.0, value - half), min(1.0, value + half)
    interval = Interval.of(limits, method, config.confidence)
    return PairedTest(
        aucs=aucs,
        difference=interval.around(value, n, "patient"),
        bootstrap=bootstrap,
        se=se,
        z=z,
        p=2 * float(norm.sf(abs(z)) if df is None else student.sf(abs(z), df)),
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
    return pairs, overall_test(aucs, covariance, method)

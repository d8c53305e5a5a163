"""AUCs of rows that share patients: scores and owners in, AUCs with Obuchowski's covariance out."""

import numpy as np

from nephroscope.evaluation.intervals import Patients, logit_limits
from nephroscope.evaluation.metrics import Bools, Floats
from nephroscope.evaluation.statistics.placements import placements
from nephroscope.records import counted_noun


def clustered_covariance(scores: Floats, is_positive: Bools, patients: Patients) -> tuple[Floats, Floats]:
    """AUCs (m,) of m tests on the same rows, and their covariance (m, m) over patients.

    A patient may have rows of one class or of both. With one row a patient this is DeLong's covariance.

    Args:
        scores: (m, n), finite.
        is_positive: (n,); at least two patients with a positive row, two with a negative one.
        patients: Whose each row is.

    Source:
        Obuchowski 1997, Biometrics 53:567: sums of placement values by patient, less the patient's number of rows
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

    None where there is none: a class of one patient, or no variance.

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

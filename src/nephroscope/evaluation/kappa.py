"""Two readings of the same cases, a label each, in; agreement and Cohen's kappa with intervals out."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from nephroscope.evaluation.intervals import Patients, clustered_bootstrap, wilson
from nephroscope.evaluation.metrics import Floats
from nephroscope.records import Estimate, EvaluationConfig


@dataclass(frozen=True, kw_only=True)
class LabelAgreement:
    """How far two readings agree.

    Attributes:
        labels: In the order of the table.
        table: Cases by first reading (rows) and second (columns).
        agreement: Share of the cases with the same label.
        kappa: Cohen's, unweighted.
    """

    labels: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    agreement: Estimate
    kappa: Estimate


def compare_labels(
    first: Sequence[str], second: Sequence[str], patient_ids: Sequence[str], config: EvaluationConfig
) -> LabelAgreement:
    """Agreement and kappa of two readings; patients are resampled where one has several cases.

    Args:
        first: Label of each case by the first reading; at least one case.
        second: By the second, in the same order.
        patient_ids: Whose case it is.
        config: Gives confidence, resamples and seed.
    """
    labels = tuple(dict.fromkeys([*sorted(set(first)), *sorted(set(second))]))
    rows, columns = ([labels.index(name) for name in reading] for reading in (first, second))
    patients = Patients.of(patient_ids, np.zeros(len(first), np.intp))
    counts = np.zeros((patients.n, len(labels), len(labels)))
    np.add.at(counts, (patients.row, np.array(rows), np.array(columns)), 1)
    table = counts.sum(axis=0)
    n, clustered = len(first), patients.n < len(first)
    drawn: dict[str, Floats] = {}
    if clustered:
        statistics = {
            "agreement": lambda weights: _agreement(np.tensordot(weights, counts, 1)),
            "kappa": lambda weights: cohen_kappa(np.tensordot(weights, counts, 1)),
        }
        drawn = clustered_bootstrap(statistics, patients, config.resamples, config.seed)

    def estimate(name: str, value: float, plain: tuple[float | None, float | None, str]) -> Estimate:
        low, high, method = _resampled(drawn[name], patients.n, config) if clustered else plain
        method = f"{method}, {100 * config.confidence:g} %" if low is not None else method
        return Estimate(value=value, low=low, high=high, n=n, unit="case", method=method)

    agreed = float(np.trace(table))
    agreement = estimate("agreement", agreed / n, (*wilson(agreed, n, config.confidence), "Wilson"))
    value = float(cohen_kappa(table[None])[0])
    if np.isnan(value):
        why = "undefined: both readings give one and the same label to every case"
        kappa = Estimate(value=None, low=None, high=None, n=n, unit="case", method=why)
    else:
        kappa = estimate("kappa", value, _plain(table, value, config))
    whole = tuple(tuple(int(k) for k in row) for row in table)
    return LabelAgreement(labels=labels, table=whole, agreement=agreement, kappa=kappa)


def cohen_kappa(tables: Floats) -> Floats:
    """Cohen's kappa of each table (b, K, K); NaN where chance alone would always agree.

    Source:
        Cohen 1960, Educ Psychol Meas 20:37.
    """
    n = tables.sum(axis=(1, 2))
    observed = _agreement(tables)
    chance = (tables.sum(axis=2) * tables.sum(axis=1)).sum(axis=1) / n**2
    missing = 1 - chance
    kappa: Floats = np.divide(observed - chance, missing, out=np.full(n.shape, np.nan), where=missing > 1e-12)
    return kappa


def kappa_se(table: Floats) -> float:
    """Large-sample standard error of kappa, for intervals (not for the test against 0).

    Source:
        Fleiss, Cohen and Everitt 1969, Psychol Bull 72:323, equation 13 with weights 0 and 1.
    """
    n, p = table.sum(), table / table.sum()
    kappa = float(cohen_kappa(table[None])[0])
    row, column = p.sum(axis=1), p.sum(axis=0)
    chance = float(row @ column)
    apart = p * (column[:, None] + row[None, :]) ** 2
    within = np.diag(p) @ (1 - (row + column) * (1 - kappa)) ** 2
    between = (1 - kappa) ** 2 * (apart.sum() - np.trace(apart))
    variance = (within + between - (kappa - chance * (1 - kappa)) ** 2) / (n * (1 - chance) ** 2)
    return float(max(variance, 0.0) ** 0.5)


def _agreement(tables: Floats) -> Floats:
    shares: Floats = np.trace(tables, axis1=1, axis2=2) / tables.sum(axis=(1, 2))
    return shares


def _plain(table: Floats, value: float, config: EvaluationConfig) -> tuple[float | None, float | None, str]:
    half = NormalDist().inv_cdf((1 + config.confidence) / 2) * kappa_se(table)
    if half < 1e-12:
        return None, None, f"no interval: {_why_no_error(table)}; see the agreement's"
    return max(-1.0, value - half), min(1.0, value + half), "Fleiss, Cohen and Everitt 1969"


def _why_no_error(table: Floats) -> str:
    if np.trace(table) == table.sum():
        return "no disagreement to estimate it from"
    if min(np.count_nonzero(table.sum(axis=axis)) for axis in (0, 1)) == 1:
        return "a reading gives one label to every case"
    return "no agreement to estimate it from"


def _resampled(
    values: Floats, n_patients: int, config: EvaluationConfig
) -> tuple[float | None, float | None, str]:
    known = values[~np.isnan(values)]
    if known.size < 2 or np.ptp(known) < 1e-12:
        return None, None, "no interval: every resample of the patients agrees"
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high), f"patient bootstrap, {known.size} resamples of {n_patients} patients"

"""How far readers of the same cases agree: Fleiss' kappa over all of them, and Cohen's kappa of each pair."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from scipy.stats import chi2
from scipy.stats import t as student

from nephroscope.base.text import is_not_sure
from nephroscope.records import Estimate, EvaluationConfig, counted_noun
from nephroscope.statistics.estimates import clustered_share
from nephroscope.statistics.intervals import (
    Interval,
    Patients,
    no_estimate,
    normal_quantile,
    share_limits,
)
from nephroscope.statistics.metrics import Floats, Proportion

Weights = Literal["none", "linear", "quadratic"]
FEW, FEWER = (
    100,
    20,
)  # cases: up to here the large-sample interval holds too rarely; below here chi-squared too
ADDED = 4  # patients that an interval adds


@dataclass(frozen=True, kw_only=True)
class LabelAgreement:
    """How far two readings agree.

    Attributes:
        labels: In the order of the table.
        table: Cases by first reading (rows) and second (columns).
        agreement: Share of the cases with the same label.
        kappa: Cohen's, unweighted unless weights are asked for.
    """

    labels: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    agreement: Estimate
    kappa: Estimate


def compare_labels(
    first: Sequence[str],
    second: Sequence[str],
    patient_ids: Sequence[str],
    config: EvaluationConfig,
    ordered: Sequence[str] = (),
    weights: Weights = "none",
) -> LabelAgreement:
    """Agreement and kappa of two readings, a label per case each; a patient may have several cases.

    ``weights`` is how much a near miss counts; they need ``ordered``, all labels from lowest to highest.
    """
    labels = tuple(ordered) or tuple(dict.fromkeys([*sorted(set(first)), *sorted(set(second))]))
    w = agreement_weights(len(labels), weights)
    rows, columns = ([labels.index(name) for name in reading] for reading in (first, second))
    patients = Patients.of(patient_ids, np.zeros(len(first), np.intp))
    counts = np.zeros((patients.n, len(labels), len(labels)))
    np.add.at(counts, (patients.row, np.array(rows), np.array(columns)), 1)
    table = counts.sum(axis=0)
    n, agreed, value = len(first), float(np.trace(table)), float(cohen_kappa(table[None], w)[0])
    if patients.n < n:
        share = Proportion(hits=np.equal(rows, columns), counted=np.ones(n, bool), empty="")
        limits, words = clustered_share(share, patients, config.confidence)
        of_agreement = Interval.of(limits, words, config.confidence)
        of_kappa = _clustered_interval(counts, w, config.confidence)
    else:
        of_agreement = Interval.of(*share_limits(agreed, n, config.confidence), config.confidence)
        of_kappa = _interval(table, value, w, config.confidence)
    why = "undefined: both readings give one and the same label to every case"
    return LabelAgreement(
        labels=labels,
        table=tuple(tuple(int(k) for k in row) for row in table),
        agreement=of_agreement.around(agreed / n, n),
        kappa=no_estimate(why, n) if np.isnan(value) else _holding(of_kappa, value).around(value, n),
    )


def agreement_weights(n_labels: int, kind: Weights) -> Floats:
    """How far two labels agree, 1 on the diagonal, (K, K).

    Source:
        Linear: Cicchetti and Allison 1971, Am J EEG Technol 11:101; quadratic: Fleiss and Cohen 1973.
    """
    if kind == "none" or n_labels < 2:
        return np.eye(n_labels)
    distance = np.abs(np.subtract.outer(np.arange(n_labels), np.arange(n_labels))) / (n_labels - 1)
    weights: Floats = 1 - (distance if kind == "linear" else distance**2)
    return weights


def cohen_kappa(tables: Floats, weights: Floats | None = None) -> Floats:
    """Cohen's kappa of each table (b, K, K); NaN where chance alone would always agree.

    Source:
        Cohen 1960, Educ Psychol Meas 20:37; with weights Cohen 1968, Psychol Bull 70:213.
    """
    w = np.eye(tables.shape[-1]) if weights is None else weights
    n = tables.sum(axis=(1, 2))
    observed = (tables * w).sum(axis=(1, 2)) / n
    chance = np.einsum("bi,bj,ij->b", tables.sum(axis=2), tables.sum(axis=1), w) / n**2
    missing = 1 - chance
    kappa: Floats = np.divide(observed - chance, missing, out=np.full(n.shape, np.nan), where=missing > 1e-12)
    return kappa


def kappa_se(table: Floats, weights: Floats | None = None) -> float:
    """Large-sample standard error of kappa, for intervals (not for the test against 0).

    Source:
        Fleiss, Cohen and Everitt 1969, Psychol Bull 72:323, equation 8; 13 is the same with weights 0 and 1.
    """
    w = np.eye(len(table)) if weights is None else weights
    n, p = table.sum(), table / table.sum()
    kappa = float(cohen_kappa(table[None], w)[0])
    row, column = p.sum(axis=1), p.sum(axis=0)
    chance = float(row @ w @ column)
    expected = (w @ column)[:, None] + (row @ w)[None, :]
    within = float((p * (w - expected * (1 - kappa)) ** 2).sum())
    variance = (within - (kappa - chance * (1 - kappa)) ** 2) / (n * (1 - chance) ** 2)
    return float(max(variance, 0.0) ** 0.5)


def _interval(table: Floats, value: float, weights: Floats, confidence: float) -> Interval:
    """The interval of Cohen's kappa of independent cases."""
    n = float(table.sum())
    if np.isnan(value):
        return Interval(None, None, "")
    if len(table) == 2 and n <= FEW:
        return _goodness_of_fit_interval(table, value, confidence)
    if n > FEW:
        half = normal_quantile(confidence) * kappa_se(table, weights)
        limits = max(-1.0, value - half), min(1.0, value + half)
        return Interval.of(limits, "Fleiss, Cohen and Everitt 1969", confidence)
    if n < 2:
        return Interval(None, None, "no interval: one case")
    labels = len(table)
    added = np.eye(labels) * (ADDED / 2 / labels) + ADDED / 2 / labels**2
    center, se = float(cohen_kappa((table + added)[None], weights)[0]), kappa_se(table + added, weights)
    half = float(student.ppf((1 + confidence) / 2, n - 1)) * se
    words = f"Fleiss, Cohen and Everitt 1969 with {ADDED} cases added, t with {n - 1:.0f} df"
    return Interval.of((max(-1.0, center - half), min(1.0, center + half)), words, confidence)


def _clustered_interval(counts: Floats, weights: Floats, confidence: float) -> Interval:
    """The interval of Cohen's kappa where patients have several cases; ``counts`` (P, K, K), a table a patient."""
    labels = counts.shape[1]
    agreed = np.zeros((labels, labels, labels))
    agreed[np.arange(labels), np.arange(labels), np.arange(labels)] = 1
    chance = np.full((1, labels, labels), 1 / labels**2)
    added = np.repeat([ADDED / 2 / labels, ADDED / 2], [labels, 1])
    units = np.concatenate([counts, agreed, chance])
    return _added_jackknife(
        lambda drawn: cohen_kappa(np.tensordot(drawn, units, 1), weights),
        added,
        len(counts),
        confidence,
        "Cohen 1960",
    )


def _added_jackknife(
    statistic: Callable[[Floats], Floats], added: Floats, n: int, confidence: float, name: str
) -> Interval:
    """The jackknife over ``n`` patients and some that are added, with t.

    ``statistic`` takes weights (b, n + a) of patients and of the added; ``added`` (a,) are the weights of the latter,
    ``ADDED`` in all: half agree, half do not. As with Agresti and Coull's shares, they keep the interval from being
    too narrow where few patients have the rarer label, or none disagrees.

    Source:
        Efron and Tibshirani 1993, chapter 11; Agresti and Coull 1998, Am Stat 52:119 (the idea for shares). Without
        the added patients it holds Fleiss' kappa in 0.80 to 1.00 of simulated studies of 10, with them in 0.94 to
        1.00: `benchmarks/interval_coverage.py`.
    """
    if n < 2:
        return Interval(None, None, f"{name}; no interval: it hangs on a single patient")
    base = np.concatenate([np.ones(n), added])
    center = float(statistic(base[None])[0])
    off = statistic(base - np.diag(base)) - center
    off -= off @ base / base.sum()
    total = float(base.sum())
    se = float((total - 1) / total * (off**2 / base).sum()) ** 0.5
    half = float(student.ppf((1 + confidence) / 2, n - 1)) * se
    words = f"{name}, jackknife over {counted_noun(n, 'patient')} and {ADDED} added, t with {n - 1} df"
    return Interval.of((max(-1.0, center - half), min(1.0, center + half)), words, confidence)


def _holding(interval: Interval, value: float) -> Interval:
    """The interval, as wide as it must be to hold the value."""
    if interval.low is None or interval.high is None:
        return interval
    return interval._replace(low=min(interval.low, value), high=max(interval.high, value))


def _goodness_of_fit_interval(table: Floats, value: float, confidence: float) -> Interval:
    """Limits of the kappa of two labels and few cases: where the three kinds of pairs no longer fit by chi-squared.

    Below `FEWER` cases by the square of t, as chi-squared holds 0.92 then. Holds also where no pair disagrees. The
    kappa behind it is that of one share of labels for both readings; where the readings use the labels unequally
    often, ``value`` differs from it, and the limits are moved to hold it.

    Source:
        Donner and Eliasziw 1992, Stat Med 11:1511.
    """
    n = float(table.sum())
    both, apart, neither = float(table[0, 0]), float(table[0, 1] + table[1, 0]), float(table[1, 1])
    share = (2 * both + apart) / (2 * n)
    spread = share * (1 - share)
    if spread == 0:
        return Interval(None, None, f"no interval: {_why_no_error(table)}; see the agreement's")
    center, bound = 1 - apart / (2 * n * spread), float(chi2.ppf(confidence, 1))
    if 1 < n < FEWER:
        bound = float(student.ppf((1 + confidence) / 2, n - 1)) ** 2
    lowest = -min(share / (1 - share), (1 - share) / share)

    def misfit(kappa: float) -> float:
        expected = (share**2 + spread * kappa, 2 * spread * (1 - kappa), (1 - share) ** 2 + spread * kappa)
        pairs = zip((both, apart, neither), expected, strict=True)
        return sum((k - n * e) ** 2 / (n * e) if e > 0 else (np.inf if k > 0 else 0.0) for k, e in pairs)

    def limit(end: float) -> float:
        inside, outside = center, end - np.sign(end - center) * 1e-9
        if not misfit(outside) > bound:
            return end
        for _ in range(80):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if misfit(middle) <= bound else (inside, middle)
        return inside

    low, high = float(max(-1.0, limit(lowest))), float(min(1.0, limit(1.0)))
    return Interval.of((min(low, value), max(high, value)), "Donner and Eliasziw 1992", confidence)


def _why_no_error(table: Floats) -> str:
    if np.trace(table) == table.sum():
        return "no disagreement to estimate it from"
    if min(np.count_nonzero(table.sum(axis=axis)) for axis in (0, 1)) == 1:
        return "a reading gives one label to every case"
    return "no agreement to estimate it from"


Labels = Mapping[str, str]  # case_id -> label


@dataclass(frozen=True, kw_only=True)
class ReaderPair(LabelAgreement):
    """How far two readers agree on the cases that both labelled."""

    first: str
    second: str


@dataclass(frozen=True, kw_only=True)
class KappaReport:
    """Agreement of several readers.

    Attributes:
        fleiss: Over the cases that every reader labelled.
        n_incomplete: Cases that some reader did not label; no part of ``fleiss``.
        n_not_sure: Answers of "not sure", which are no label; the method of ``fleiss`` counts them too.
        pairs: Every pair of readers that have a case in common.
    """

    readers: tuple[str, ...]
    labels: tuple[str, ...]
    weights: Weights
    fleiss: Estimate
    n_incomplete: int
    n_not_sure: int
    pairs: tuple[ReaderPair, ...]


def compare_readers(
    readings: Mapping[str, Labels],
    patient_of: Mapping[str, str],
    config: EvaluationConfig,
    ordered: Sequence[str] = (),
    weights: Weights = "none",
) -> KappaReport:
    """Fleiss' kappa over all readers and Cohen's kappa of each pair, each with its interval.

    Args:
        readings: Label by case_id of each reader; at least two. "Not sure" is no label unless ``ordered`` has it.
        patient_of: patient_id by case_id.
        config: Gives confidence, resamples and seed.
        ordered: All labels from lowest to highest; needed for weights.
        weights: Of Cohen's kappa; Fleiss' has none.
    """
    readers, given = tuple(readings), readings
    readings = {
        reader: {case: label for case, label in of.items() if label in ordered or not is_not_sure(label)}
        for reader, of in given.items()
    }
    n_not_sure = sum(len(of) - len(readings[reader]) for reader, of in given.items())
    note = f'; {counted_noun(n_not_sure, "answer")} of "not sure" left out, as no call' * (n_not_sure > 0)

    def with_note(estimate: Estimate) -> Estimate:
        return replace(estimate, method=estimate.method + note)

    every = list(dict.fromkeys(case for labels in given.values() for case in labels))
    complete = [case for case in every if all(case in labels for labels in readings.values())]
    names = tuple(ordered) or tuple(sorted({label for of in readings.values() for label in of.values()}))
    pairs = []
    for first, second in combinations(readers, 2):
        common = [case for case in every if case in readings[first] and case in readings[second]]
        if common:
            one, two = ([readings[name][case] for case in common] for name in (first, second))
            patients = [patient_of[case] for case in common]
            found = compare_labels(one, two, patients, config, names if ordered else (), weights)
            pair = ReaderPair(first=first, second=second, **vars(found))
            pairs.append(replace(pair, agreement=with_note(pair.agreement), kappa=with_note(pair.kappa)))
    counts = np.array(
        [[sum(readings[r][case] == name for r in readers) for name in names] for case in complete], float
    ).reshape(len(complete), len(names))
    fleiss = estimate_fleiss(counts, [patient_of[case] for case in complete], config)
    return KappaReport(
        readers=readers,
        labels=names,
        weights=weights,
        fleiss=with_note(fleiss),
        n_not_sure=n_not_sure,
        n_incomplete=len(every) - len(complete),
        pairs=tuple(pairs),
    )


def estimate_fleiss(counts: Floats, patient_ids: Sequence[str], config: EvaluationConfig) -> Estimate:
    """Fleiss' kappa with its interval; ``counts`` (n, K) of readers by case and label.

    Source:
        Fleiss 1971, Psychol Bull 76:378.
    """
    n = len(counts)
    if n == 0:
        return no_estimate("undefined: no case that every reader labeled", n)
    patients = Patients.of(patient_ids, np.zeros(n, np.intp))
    n_readers, n_labels = counts[0].sum(), counts.shape[1]
    agreed = patients.per_patient(((counts**2).sum(axis=1) - n_readers) / (n_readers * (n_readers - 1)))
    by_label = np.array([patients.per_patient(column) for column in counts.T])
    cases = patients.per_patient(np.ones(n))
    # Added for the interval: a case of each label that all agree on, and one on which they are divided.
    added = np.repeat([ADDED / 2 / n_labels, ADDED / 2], [n_labels, 1])
    agreed = np.concatenate([agreed, np.ones(n_labels), [_divided(n_readers, n_labels)]])
    even = np.full((n_labels, 1), n_readers / n_labels)
    by_label = np.hstack([by_label, n_readers * np.eye(n_labels), even])
    cases = np.concatenate([cases, np.ones(n_labels + 1)])

    def statistic(weights: Floats) -> Floats:
        total = weights @ cases
        shares = weights @ by_label.T / (total * n_readers)[:, None]
        chance = (shares**2).sum(axis=1)
        missing = 1 - chance
        kappa: Floats = np.divide(
            weights @ agreed / total - chance,
            missing,
            out=np.full(total.shape, np.nan),
            where=missing > 1e-12,
        )
        return kappa

    value = float(statistic(np.pad(np.ones((1, patients.n)), [(0, 0), (0, added.size)]))[0])
    if np.isnan(value):
        return no_estimate("undefined: every reader gives one and the same label to every case", n)
    interval = _added_jackknife(statistic, added, patients.n, config.confidence, "Fleiss 1971")
    return _holding(interval, value).around(value, n)


def _divided(n_readers: float, n_labels: int) -> float:
    """Share of the pairs of readers who agree where they are as divided as they can be."""
    each, over = divmod(n_readers, n_labels)
    pairs = over * (each + 1) * each + (n_labels - over) * each * (each - 1)
    return float(pairs / (n_readers * (n_readers - 1)))

"""Labels that several readers gave to the same cases in; Fleiss' kappa and Cohen's of each pair out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from nephroscope.evaluation.intervals import Patients, clustered_bootstrap
from nephroscope.evaluation.kappa import LabelAgreement, Weights, compare_labels
from nephroscope.evaluation.metrics import Floats
from nephroscope.evaluation.not_sure import is_not_sure
from nephroscope.evaluation.percentiles import percentile_interval
from nephroscope.records import Estimate, EvaluationConfig, counted_noun

Labels = Mapping[str, str]  # case_id -> label


@dataclass(frozen=True, kw_only=True)
class ReaderPair:
    """Cohen's kappa of two readers on the cases that both labelled."""

    first: str
    second: str
    found: LabelAgreement


@dataclass(frozen=True, kw_only=True)
class KappaReport:
    """Agreement of several readers.

    Attributes:
        fleiss: Over the cases that every reader labelled.
        n_incomplete: Cases that some reader did not label; no part of ``fleiss``.
        n_not_sure: Answers of "not sure", which are no label; ``fleiss`` says so too.
        pairs: Every pair of readers that have a case in common.
    """

    readers: tuple[str, ...]
    labels: tuple[str, ...]
    weights: Weights
    fleiss: Estimate
    n_incomplete: int
    n_not_sure: int
    pairs: tuple[ReaderPair, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        pairs = [
            {
                "first": pair.first,
                "second": pair.second,
                "labels": list(pair.found.labels),
                "table": [list(row) for row in pair.found.table],
                "agreement": asdict(pair.found.agreement),
                "kappa": asdict(pair.found.kappa),
            }
            for pair in self.pairs
        ]
        return asdict(self) | {"pairs": pairs}


def compare_readers(
    readings: Mapping[str, Labels],
    patient_of: Mapping[str, str],
    config: EvaluationConfig,
    ordered: Sequence[str] = (),
    weights: Weights = "none",
) -> KappaReport:
    """Fleiss' kappa over all readers and Cohen's kappa of each pair, patients being resampled.

    Args:
        readings: Reader to label by case_id; at least two readers. "Not sure" is no label unless ``ordered`` has it.
        patient_of: Whose each case is.
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
    told = f'; {counted_noun(n_not_sure, "answer")} of "not sure" left out, as no call'
    told *= n_not_sure > 0
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
            found = replace(
                found,
                agreement=replace(found.agreement, method=found.agreement.method + told),
                kappa=replace(found.kappa, method=found.kappa.method + told),
            )
            pairs.append(ReaderPair(first=first, second=second, found=found))
    counts = np.array(
        [[sum(readings[r][case] == name for r in readers) for name in names] for case in complete], float
    ).reshape(len(complete), len(names))
    fleiss = estimate_fleiss(counts, [patient_of[case] for case in complete], config)
    fleiss = replace(fleiss, method=fleiss.method + told)
    return KappaReport(
        readers=readers,
        labels=names,
        weights=weights,
        fleiss=fleiss,
        n_not_sure=n_not_sure,
        n_incomplete=len(every) - len(complete),
        pairs=tuple(pairs),
    )


def estimate_fleiss(counts: Floats, patient_ids: Sequence[str], config: EvaluationConfig) -> Estimate:
    """Fleiss' kappa with its patient bootstrap.

    Args:
        counts: How many readers gave each label, cases by labels (n, K), the same number of readers in all.
        patient_ids: Whose each case is.
        config: Gives confidence, resamples and seed.
    """
    n = len(counts)

    def without(why: str) -> Estimate:
        return Estimate(value=None, low=None, high=None, n=n, unit="case", method=why)

    if n == 0:
        return without("undefined: no case that every reader labelled")
    patients = Patients.of(patient_ids, np.zeros(n, np.intp))
    n_readers = counts[0].sum()
    agreed = patients.per_patient(((counts**2).sum(axis=1) - n_readers) / (n_readers * (n_readers - 1)))
    by_label = np.array([patients.per_patient(column) for column in counts.T])
    cases = patients.per_patient(np.ones(n))

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

    value = float(statistic(np.ones((1, patients.n)))[0])
    if np.isnan(value):
        return without("undefined: every reader gives one and the same label to every case")
    drawn = clustered_bootstrap({"kappa": statistic}, patients, config.resamples, config.seed)["kappa"]
    low, high, told = percentile_interval(drawn, counted_noun(patients.n, "patient"), config.confidence)
    link = "; " if low is None else ", "
    method = f"Fleiss 1971{link}{told}"
    return Estimate(value=value, low=low, high=high, n=n, unit="case", method=method)

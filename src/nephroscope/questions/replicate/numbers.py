"""Figures of one protocol, and the difference between two protocols, as estimates.

Every interval is over patients. A difference is the paper's protocol minus the leak-free twin, its
interval a bootstrap in which both are judged on the same redrawn patients.
"""

import zlib
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from nephroscope.clinic.call import majority_of_three
from nephroscope.questions.replicate.answers import Answers
from nephroscope.questions.replicate.replication import Area, AreaTwoWays
from nephroscope.records import Estimate, EvaluationConfig, SlicePrediction
from nephroscope.statistics import intervals
from nephroscope.statistics.auc import auc_covariance
from nephroscope.statistics.estimates import Rows, areas_of, estimate_all, shares_of
from nephroscope.statistics.intervals import (
    Interval,
    Patients,
    Statistic,
    auc_statistic,
    clustered_bootstrap,
    no_estimate,
    percentile_interval,
)
from nephroscope.statistics.metrics import Floats, auc

LEAKY, LEAKY_EPOCH = "LEAKY: split by image", "epoch chosen on a LEAKY split by image"
FIGURES = ("accuracy", "sensitivity", "specificity", "precision", "auc")
THRESHOLD = 0.5
FEWEST = 5  # patients for whom a bootstrap of a difference is worth printing


@dataclass(frozen=True, eq=False, kw_only=True)
class Judged:
    """What is counted: rows with their patients and cases; ``mark`` says what is LEAKY about them, or is empty."""

    rows: Rows
    patient_ids: "np.ndarray[tuple[int], np.dtype[np.str_]]"
    case_ids: "np.ndarray[tuple[int], np.dtype[np.str_]]"
    mark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How answers are read: the two subtypes, which is positive, the intervals, and the seed of the three slices."""

    subtypes: tuple[str, ...]
    positive: int
    config: EvaluationConfig
    seed: int


def by_image(answers: Answers, reading: Reading, mark: str = "") -> Judged:
    """Every image on its own."""
    rows = Rows(
        unit="image",
        truth=answers.truth,
        called=_called(answers.p, reading),
        p=answers.p,
        patients=Patients.of(answers.patient_ids.tolist(), answers.truth, range(answers.n_folds)),
    )
    return Judged(rows=rows, patient_ids=answers.patient_ids, case_ids=answers.case_ids, mark=mark)


def by_case(answers: Answers, reading: Reading, mark: str = "", majority: bool = False) -> Judged:
    """Each case once: its mean probability over all its images; called by it, or by two of three random images."""
    cases, first, owner = np.unique(answers.case_ids, return_index=True, return_inverse=True)
    n = np.bincount(owner)
    p = np.stack([np.bincount(owner, weights=column) / n for column in answers.p.T], axis=1)
    called = _called(p, reading)
    if majority:
        called = np.array([_vote(answers, str(case), reading) for case in cases], dtype=np.intp)
    truth, ids = answers.truth[first], answers.patient_ids[first]
    patients = Patients.of(ids.tolist(), truth, range(answers.n_folds))
    rows = Rows(unit="case", truth=truth, called=called, p=p, patients=patients)
    return Judged(rows=rows, patient_ids=ids, case_ids=cases, mark=mark)


def three_of_each(answers: Answers, reading: Reading) -> Answers:
    """Three random images of each case, the same for every network; all of a case that has fewer."""
    kept = []
    for case in np.unique(answers.case_ids):
        at = np.flatnonzero(answers.case_ids == case)
        drawn = _rng(str(case), reading).choice(len(at), size=min(3, len(at)), replace=False)
        kept += at[drawn].tolist()
    return take(answers, np.array(kept, dtype=np.intp))


def take(answers: Answers, kept: "np.ndarray[tuple[int], np.dtype[np.intp]]") -> Answers:
    """Only these images."""
    return Answers(
        rows=answers.rows[kept],
        truth=answers.truth[kept],
        p=answers.p[kept],
        case_ids=answers.case_ids[kept],
        patient_ids=answers.patient_ids[kept],
        n_folds=answers.n_folds,
    )


def figures(judged: Judged, reading: Reading) -> dict[str, Estimate]:
    """Accuracy, sensitivity, specificity, precision and AUC; LEAKY in the method of each where it is."""
    shares = shares_of(judged.rows, reading.subtypes, reading.positive)
    areas = areas_of(judged.rows, reading.subtypes, reading.positive)
    found = estimate_all(judged.rows, shares, areas, reading.config)
    found["auc"] = _with_one_patient(found["auc"], judged, reading)
    if judged.mark:
        found = {name: replace(e, method=f"{judged.mark}; {e.method}") for name, e in found.items()}
    return found


def _with_one_patient(area: Estimate, judged: Judged, reading: Reading) -> Estimate:
    """The interval of an AUC where a subtype has one patient; a bootstrap would be too narrow."""
    rows, y = judged.rows, judged.rows.truth == reading.positive
    m, n = rows.patients.count(y), rows.patients.count(~y)
    if area.value is None or rows.independent or min(m, n) > 1:
        return area
    low, high = intervals.newcombe_auc(area.value, m, n, reading.config.confidence)
    method = f"Newcombe 2006 method 5 on {m} and {n} patients, {100 * reading.config.confidence:g} %"
    return replace(area, low=low, high=high, method=method)


def differences(paper: Judged, twin: Judged, reading: Reading) -> dict[str, Estimate]:
    """Every figure under the paper's protocol minus the twin's, with its patient-bootstrap interval."""
    ids = np.concatenate([paper.patient_ids, twin.patient_ids])
    both = Patients.of(ids.tolist(), np.concatenate([paper.rows.truth, twin.rows.truth]))
    n = len(paper.patient_ids)
    owners = [replace(both, row=both.row[:n]), replace(both, row=both.row[n:])]
    pairs = [_statistics(j, o, reading) for j, o in zip((paper, twin), owners, strict=True)]
    values = [_values(judged, reading) for judged in (paper, twin)]
    known = [name for name in FIGURES if _known(values, name)]
    fewest = {name: min(_counted(j, name, reading) for j in (paper, twin)) for name in known}
    asked = {name: _minus(pairs[0][name], pairs[1][name]) for name in known if fewest[name] >= FEWEST}
    drawn = clustered_bootstrap(asked, both, reading.config.resamples, reading.config.seed)
    found, n_folds = {}, max(judged.rows.patients.n_folds for judged in (paper, twin))
    for name in FIGURES:
        one, two = values[0].get(name), values[1].get(name)
        gap = None if one is None or two is None else one - two
        what = f"{paper.mark}; paper's protocol minus twin" if paper.mark else "paper's protocol minus twin"
        why = f"undefined: {what}: one of the two could not be computed"
        if name in drawn and gap is not None:
            narrow = _estimate_of(gap, drawn[name], (both.n, what), reading.config)
            interval = Interval(narrow.low, narrow.high, narrow.method).widened(gap, n_folds, (-1.0, 1.0))
            found[name] = replace(narrow, **interval._asdict())
            continue
        if gap is not None:
            patients = f"{fewest[name]} patient{'s' * (fewest[name] != 1)}"
            why = f"{what}; no interval: {patients}, a bootstrap needs {FEWEST}"
        found[name] = replace(no_estimate(why, both.n, "patient"), value=gap)
    return found


def _counted(judged: Judged, name: str, reading: Reading) -> int:
    """How many patients a figure counts; of an AUC those of the smaller subtype."""
    rows, y = judged.rows, judged.rows.truth == reading.positive
    if name == "auc":
        return min(rows.patients.count(y), rows.patients.count(~y))
    return rows.patients.count(shares_of(rows, reading.subtypes, reading.positive)[name].counted)


def area_two_ways(judged: Judged, reading: Reading) -> AreaTwoWays:
    """AUC as the paper tests it, each row for itself, and with rows clustered by patient.

    Each with interval and two-sided p against 0.5.

    Source:
        DeLong 1988; Obuchowski 1997; intervals on the logit scale.
    """
    scores, y = judged.rows.p[:, reading.positive], judged.rows.truth == reading.positive
    found = []
    for patients in (None, judged.rows.patients):
        _, covariance, method = auc_covariance(scores[None], y, patients)
        value = auc(scores, y)
        variance = None if covariance is None else float(covariance[0, 0])
        if patients is None and not judged.rows.independent:
            method = f"{method}; treats {judged.rows.unit}s of one patient as independent"
        estimate, p = _tested(value, variance, (len(y), method, judged), reading.config)
        found.append(Area(estimate=estimate, p_against_half=p))
    naive, clustered = found
    by_subtype = _patients_by_subtype(judged, reading)
    return AreaTwoWays(naive=naive, clustered=clustered, patients_by_subtype=by_subtype)


def _patients_by_subtype(judged: Judged, reading: Reading) -> dict[str, int]:
    rows = judged.rows
    return {s: len(set(rows.patients.row[rows.truth == i].tolist())) for i, s in enumerate(reading.subtypes)}


def one_sided(judged: Judged) -> bool:
    """Whether every row is called the same subtype, so that accuracy is the share of that subtype and no more."""
    return len(set(judged.rows.called.tolist())) == 1


def _tested(
    value: float | None, variance: float | None, about: tuple[int, str, Judged], config: EvaluationConfig
) -> tuple[Estimate, float | None]:
    n, method, judged = about
    if judged.mark:
        method = f"{judged.mark}; {method}"
    unit = judged.rows.unit
    if value is None or variance is None or variance < 1e-12 or not 0 < value < 1:
        if value is not None and variance is not None:
            method = f"no interval: without variance ({method})"
        return replace(no_estimate(method, n, unit), value=value), None
    limits = intervals.logit_limits(value, variance, config.confidence)
    p = 2 * NormalDist().cdf(-abs(value - 0.5) / variance**0.5)
    return intervals.Interval.of(limits, method, config.confidence).around(value, n, unit), p


def _called(p: Floats, reading: Reading) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    hit = p[:, reading.positive] >= THRESHOLD
    return np.where(hit, reading.positive, 1 - reading.positive).astype(np.intp)


def _rng(case_id: str, reading: Reading) -> np.random.Generator:
    """Chance of this case alone: its three slices do not depend on which other cases there are."""
    return np.random.default_rng([reading.seed, zlib.crc32(case_id.encode())])


def _vote(answers: Answers, case_id: str, reading: Reading) -> int:
    slices = [
        SlicePrediction(slice_index=i, probabilities=tuple(answers.p[i].tolist()))
        for i in np.flatnonzero(answers.case_ids == case_id).tolist()
    ]
    return majority_of_three(slices, _rng(case_id, reading), THRESHOLD, reading.positive)


def _statistics(judged: Judged, owners: Patients, reading: Reading) -> dict[str, Statistic]:
    shares = shares_of(judged.rows, reading.subtypes, reading.positive)
    found = {n: intervals.ratio_statistic(s.hits, s.counted, owners) for n, s in shares.items()}
    scores, y = judged.rows.p[:, reading.positive], judged.rows.truth == reading.positive
    if y.any() and not y.all():
        found["auc"] = auc_statistic(scores, y, owners)
    return found


def _values(judged: Judged, reading: Reading) -> dict[str, float | None]:
    shares = shares_of(judged.rows, reading.subtypes, reading.positive)
    scores, y = judged.rows.p[:, reading.positive], judged.rows.truth == reading.positive
    return {name: share.value for name, share in shares.items()} | {"auc": auc(scores, y)}


def _known(values: list[dict[str, float | None]], name: str) -> bool:
    return all(part[name] is not None for part in values)


def _minus(one: Statistic, two: Statistic) -> Statistic:
    return lambda weights: one(weights) - two(weights)


def _estimate_of(value: float, drawn: Floats, about: tuple[int, str], config: EvaluationConfig) -> Estimate:
    n, what = about
    found = percentile_interval(drawn, "the patients", config.confidence)
    method = f"{what}{',' if found.low is not None else ';'} {found.method}"
    return found._replace(method=method).around(value, n, "patient")

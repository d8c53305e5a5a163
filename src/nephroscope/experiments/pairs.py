"""Every pair of candidates on the same cases: answers in; differences, paired tests and what the data support out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata

from nephroscope.evaluation import intervals
from nephroscope.evaluation.metrics import Bools, Floats, auc
from nephroscope.evaluation.percentiles import ONE_PATIENT
from nephroscope.evaluation.statistics.auc import compare_aucs
from nephroscope.evaluation.statistics.holm import holm
from nephroscope.evaluation.statistics.mcnemar import exact_mcnemar
from nephroscope.experiments.folds import Answers
from nephroscope.experiments.measures import TestSet, auc_of, bootstrapped, draws, spread_of
from nephroscope.records import Estimate, EvaluationConfig, counted_noun, p_is, p_words

TINY = 1e-9
EXCHANGED = "ranks exchanged within patients at random"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two candidates on the same cases; ``one`` ranks above ``two``.

    Attributes:
        difference: AUC of the first minus AUC of the second.
        p: Two-sided, of this pair alone; None where there is no test.
        p_holm: Corrected for the number of pairs.
        test: Its name, or why there is none.
        accuracy: Of the calls: difference, how many only one has right, exact McNemar, corrected as well.
        supported: True when the data show a difference of AUC after correction.
        words: The same as a sentence.
    """

    one: str
    two: str
    difference: Estimate
    p: float | None
    p_holm: float | None
    test: str
    accuracy: dict[str, Any]
    supported: bool = False
    words: str = ""


def compare_pairs(ranked: Sequence[Answers], tests: TestSet, config: EvaluationConfig) -> list[Pair]:
    """All pairs, tested on the very same cases and corrected together by Holm's method."""
    pairs = [_pair(one, two, tests, config) for one, two in combinations(ranked, 2)]
    corrected = holm([pair.p for pair in pairs])
    calls = holm([pair.accuracy["p"] for pair in pairs])
    alpha = 1 - config.confidence
    found = []
    for pair, p_holm, p_calls in zip(pairs, corrected, calls, strict=True):
        told = replace(
            pair,
            p_holm=p_holm,
            accuracy=pair.accuracy | {"p_holm": p_calls},
            supported=p_holm is not None and p_holm < alpha,
        )
        found.append(replace(told, words=words_of(told, tests, len(pairs))))
    return found


def words_of(pair: Pair, tests: TestSet, n_pairs: int) -> str:
    """What the data say of a pair; that two are the same is never among it."""
    patients = counted_noun(tests.patients.n, "patient")
    d = pair.difference
    if d.value is None:
        return f"{pair.one} and {pair.two} cannot be compared: {d.method}."
    between = "" if d.low is None or d.high is None else f", {d.low:.2f} to {d.high:.2f}"
    size = f"difference of AUC {d.value:.2f}{between}"
    if pair.p is None or pair.p_holm is None:
        return f"The data do not show that {pair.one} is better than {pair.two} ({size}; {pair.test}; {patients})."
    p = p_is(pair.p)
    if n_pairs > 1:
        p += f", {p_words(pair.p_holm)} corrected for {n_pairs} pairs"
    verb = "show" if pair.supported else "do not show"
    return f"The data {verb} that {pair.one} is better than {pair.two} ({size}, {p}, {patients})."


def _pair(one: Answers, two: Answers, tests: TestSet, config: EvaluationConfig) -> Pair:
    difference, p, test = _auc_difference(one, two, tests, config)
    return Pair(
        one=one.name,
        two=two.name,
        difference=difference,
        p=p,
        p_holm=None,
        test=test,
        accuracy=_calls(one, two, tests, config),
    )


def _auc_difference(
    one: Answers, two: Answers, tests: TestSet, config: EvaluationConfig
) -> tuple[Estimate, float | None, str]:
    if len(tests.subtypes) == 2:
        (a, truth), (b, _) = tests.areas(one)[0], tests.areas(two)[0]
        patients = None if tests.independent else tests.patients
        tested = compare_aucs(a, b, truth, patients, config, bootstrap=False)
        if tested.p is None and abs(tested.difference.value or 0.0) > TINY:
            return (
                tested.difference,
                exchanged_p(a, b, truth, tests, config),
                f"{EXCHANGED} ({tested.method})",
            )
        return tested.difference, tested.p, tested.method
    values = auc_of(one, tests), auc_of(two, tests)
    if values[0] is None or values[1] is None:
        why = "undefined: a class has no case"
        n = tests.patients.n
        return (
            Estimate(value=None, low=None, high=None, n=n, unit="patient", method=why),
            None,
            why,
        )
    counts = [tests.patients.count(tests.truth == i) for i in range(len(tests.subtypes))]
    if min(counts) < 2:  # a class of one patient is redrawn as itself: no spread, and any p would be made up
        value, n = values[0] - values[1], tests.patients.n
        return (
            Estimate(value=value, low=None, high=None, n=n, unit="patient", method=ONE_PATIENT),
            None,
            ONE_PATIENT,
        )
    return _by_bootstrap(macro_statistic(one, tests), macro_statistic(two, tests), values, tests, config)


def exchanged_p(one: Floats, two: Floats, truth: Bools, tests: TestSet, config: EvaluationConfig) -> float:
    """The p of a difference of AUC where it has no variance, as when one parts the classes without fault.

    Were both scores as good, a patient's ranks under the one and the other could change places: of so many random
    exchanges, the data's own among them, the share whose difference is at least as large.

    Source:
        Bandos, Rockette and Gur 2005, Stat Med 24:2873; (b + 1) / (m + 1): Phipson and Smyth 2010.
    """
    ranks = np.stack([rankdata(one), rankdata(two)])
    rng = np.random.default_rng([config.seed, 0xE8])
    observed = abs((auc(ranks[0], truth) or 0.0) - (auc(ranks[1], truth) or 0.0))
    as_large = 0
    for _ in range(config.resamples):
        swap = rng.integers(2, size=tests.patients.n)[tests.patients.row].astype(bool)
        a, b = np.where(swap, ranks[1], ranks[0]), np.where(swap, ranks[0], ranks[1])
        as_large += abs((auc(a, truth) or 0.0) - (auc(b, truth) or 0.0)) >= observed - TINY
    return (1 + as_large) / (1 + config.resamples)


def macro_statistic(answers: Answers, tests: TestSet) -> intervals.Statistic:
    """The AUC, or the mean over subtypes where there are more than two, as a function of patient weights."""
    parts = [intervals.auc_statistic(*area, tests.patients) for area in tests.areas(answers)]
    return intervals.mean_statistic(parts)


def _by_bootstrap(
    one: intervals.Statistic,
    two: intervals.Statistic,
    values: tuple[float | None, float | None],
    tests: TestSet,
    config: EvaluationConfig,
) -> tuple[Estimate, float | None, str]:
    """A difference tested by its spread over redrawn patients."""

    def statistic(weights: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        return one(weights) - two(weights)

    value = (values[0] or 0.0) - (values[1] or 0.0)
    drawn = draws(statistic, tests, config)
    estimate = replace(spread_of(drawn, value, tests, config), n=tests.patients.n, unit="patient")
    drawn = drawn[~np.isnan(drawn)]
    spread = float(drawn.std(ddof=1)) if drawn.size > 1 else 0.0
    if spread < TINY:
        return estimate, None, "no test: every resample of the patients agrees"
    p = 2 * float(norm.sf(abs(value) / spread))
    return estimate, p, "difference by its patient-bootstrap standard error"


def _calls(one: Answers, two: Answers, tests: TestSet, config: EvaluationConfig) -> dict[str, Any]:
    """Exact McNemar on the calls; it counts cases, so it is not for patients with two tumors."""
    right = [tests.called(answers) == tests.truth for answers in (one, two)]
    found = exact_mcnemar(right[0], right[1], config.confidence)
    counts = {"only_one_right": found.only_one, "only_two_right": found.only_two}
    if tests.independent:
        return {"difference": asdict(found.difference), "p": found.p, **counts, "test": found.method}
    gap = right[0].astype(np.float64) - right[1]
    sums, n = tests.patients.per_patient(gap), tests.patients.per_patient(np.ones(gap.size))
    estimate = bootstrapped(
        lambda w: (w @ sums) / (w @ n), float(gap.mean()), gap.size, tests, config, whole=True
    )
    why = "no McNemar test: patients have several tumors, and it takes cases for independent"
    return {"difference": asdict(estimate), "p": None, **counts, "test": why}

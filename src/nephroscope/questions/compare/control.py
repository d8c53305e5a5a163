"""The control with shuffled labels: the AUC of every learner when there is nothing to learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student

from nephroscope.learning.engine.divisions import Division, present_division
from nephroscope.learning.engine.engine import Engine
from nephroscope.learning.engine.predictions import Predictions
from nephroscope.learning.learner import Learner
from nephroscope.questions.compare.measures import auc_of, first_test_set, mean_of_folds
from nephroscope.questions.compare.plan import Schedule
from nephroscope.questions.compare.results import Control
from nephroscope.records import Estimate, counted_noun
from nephroscope.statistics.intervals import ALIKE, Interval
from nephroscope.study.snapshot import Snapshot

ALARM = 0.05  # chance that an honest comparison fails the t test of one learner or more
LIMIT = (
    0.60  # a mean AUC from here on is an alarm whatever the t test says: with few permutations it sees little
)


def control(
    schedule: Schedule, engine: Engine, learners: Mapping[str, Learner], first: Sequence[Predictions]
) -> list[Control]:
    """The same pipeline, folds and all, on labels permuted between patients; one row per learner.

    Args:
        schedule: Says how often for whom.
        engine: Fits and predicts.
        learners: By the name under which they were ranked.
        first: Predictions with the true labels.
    """
    asked = [(one, schedule.control_of(learners[one.name])) for one in first if one.name in learners]
    asked = [(one, wanted) for one, wanted in asked if wanted]
    found = iter(engine.predict([pair for _, wanted in asked for pair in wanted], "shuffled labels"))
    tried = []
    for one, wanted in asked:
        said = [(next(found), division) for _, division in wanted]
        tried.append((one.name, _tried(schedule.snapshot, one, said)))
    return [_row(schedule.snapshot, len(tried), name, of_name) for name, of_name in tried]


@dataclass(frozen=True, eq=False, kw_only=True)
class Tried:
    """AUCs with shuffled labels, pooled and as means over folds; why fits were refused; AUC with the true labels."""

    pooled: list[float]
    by_fold: list[float]
    refused: list[str]
    observed: float | None


def _tried(
    snapshot: Snapshot, answers: Predictions, said: Sequence[tuple[Predictions | str, Division]]
) -> Tried:
    asked = [(a, first_test_set(snapshot, division)) for a, division in said if isinstance(a, Predictions)]
    pooled = [auc_of(a, tests) for a, tests in asked]
    by_fold = [mean_of_folds(a, tests).value for a, tests in asked]
    return Tried(
        pooled=[v for v in pooled if v is not None],
        by_fold=[v for v in by_fold if v is not None],
        refused=[a for a, _ in said if isinstance(a, str)],
        observed=auc_of(answers, first_test_set(snapshot, present_division(snapshot, 0))),
    )


def _row(snapshot: Snapshot, n_rows: int, name: str, tried: Tried) -> Control:
    n_patients = len({snapshot.cohort.by_id[c].patient_id for c in snapshot.labels})
    aucs = tried.pooled
    return Control(
        name=name,
        permutations=len(aucs),
        auc=mean_over(aucs, n_patients, snapshot.settings.evaluation.confidence),
        auc_by_fold=float(np.mean(tried.by_fold)) if tried.by_fold else None,
        auc_by_fold_n=len(tried.by_fold),
        lowest=min(aucs, default=None),
        highest=max(aucs, default=None),
        range_n=len(aucs),
        observed=tried.observed,
        p=permutation_p(tried.observed, aucs),
        p_floor=1 / (1 + len(aucs)) if aucs else None,
        alarm=bool(alarm_of(aucs, n_rows)) if aucs else None,
        noticed_above=noticed_above(aucs, n_rows),
        words=words_of(name, aucs, n_rows, len(tried.refused)),
        refused=tuple(tried.refused),
    )


def permutation_p(observed: float | None, aucs: Sequence[float]) -> float | None:
    """Share of permutations, the true labels among them, whose AUC is at least the observed one.

    Source:
        Phipson and Smyth 2010, Stat Appl Genet Mol Biol 9:39: (b + 1) / (m + 1), never 0.
    """
    if observed is None or not aucs:
        return None
    return (1 + sum(value >= observed for value in aucs)) / (1 + len(aucs))


def mean_over(aucs: Sequence[float], n_patients: int, confidence: float) -> Estimate:
    """Mean AUC over permutations with Student's interval over them."""
    n = len(aucs)
    if n < 2:
        none = Interval(None, None, f"undefined: {counted_noun(n, 'permutation')}")
        return replace(none.around(0.0, n_patients, "patient"), value=aucs[0] if aucs else None)
    middle, error = float(np.mean(aucs)), float(np.std(aucs, ddof=1)) / n**0.5
    if error < ALIKE:
        why = f"mean of {n} permutations of labels between patients; no interval: all give the same AUC"
        return Interval(None, None, why).around(middle, n_patients, "patient")
    half = float(student.isf((1 - confidence) / 2, n - 1)) * error
    over = f"mean of {n} permutations of labels between patients, Student's t over permutations"
    interval = Interval.of((middle - half, middle + half), over, confidence)
    return interval.around(middle, n_patients, "patient")


def alarm_of(aucs: Sequence[float], n_rows: int) -> str:
    """Why these AUCs with shuffled labels are an alarm: ``limit``, ``test``, or empty where they are none.

    Args:
        aucs: One for each permutation.
        n_rows: Candidates that share the level of the test.
    """
    if not aucs:
        return ""
    mean = float(np.mean(aucs))
    tested = _tested_above(aucs, n_rows)
    if tested is not None and mean > tested:
        return "test"
    return "limit" if mean >= LIMIT else ""


def noticed_above(aucs: Sequence[float], n_rows: int) -> float | None:
    """The mean AUC above which these permutations, with the spread they have, raise an alarm; None without any."""
    if not aucs:
        return None
    tested = _tested_above(aucs, n_rows)
    return LIMIT if tested is None else min(LIMIT, tested)


def _tested_above(aucs: Sequence[float], n_rows: int) -> float | None:
    """The mean at which a one-sided t test against 0.5 rejects, at a level shared by all candidates (Bonferroni)."""
    n = len(aucs)
    if n < 2:
        return None
    error = float(np.std(aucs, ddof=1) / np.sqrt(n))
    quantile = float(student.isf(ALARM / max(n_rows, 1), n - 1))
    return 0.5 + quantile * error


def words_of(name: str, aucs: Sequence[float], n_rows: int, n_refused: int = 0) -> str:
    """What the control found of a candidate; never that there is no leak."""
    left = f"; {n_refused} more refused" if n_refused else ""
    above, n = noticed_above(aucs, n_rows), len(aucs)
    if above is None:
        return f"{name}: no permutation could be made, so this control says nothing{left}."
    plural = "" if n == 1 else "s"
    spread = (
        f"{n} permutation{plural} of the labels: mean AUC {np.mean(aucs):.2f} "
        f"(range {min(aucs):.2f} to {max(aucs):.2f}){left}"
    )
    why = alarm_of(aucs, n_rows)
    if why == "test":
        return (
            f"WARNING: {name}, {spread}: above 0.5 by more than chance: something leaks. Do not trust "
            "its figures."
        )
    if why:
        return (
            f"WARNING: {name}, {spread}: at or above the limit of {LIMIT:.2f}; there may be a leak, or "
            "it may be chance with so few permutations or patients. Run more --permutations before you "
            "trust its figures."
        )
    return (
        f"{name}, {spread}; only a mean above {above:.2f} would have been noticed. With nothing to "
        "learn, an AUC pooled over folds is 0.5 or slightly below, which can hide a small leak."
    )

"""The control with shuffled labels: candidates in; their AUC when there is nothing to learn out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from nephroscope.learning.baselines.candidate import Candidate
from nephroscope.learning.engine.folds import Answers, Deal, answers_of, jobs_of, present_deal, shuffled
from nephroscope.learning.engine.jobs import Job, Means, run_jobs
from nephroscope.learning.engine.networks import train_on
from nephroscope.questions.compare.measures import auc_of, first_test_set, mean_of_folds
from nephroscope.records import Cohort, Estimate, TrainConfig
from nephroscope.statistics.intervals import ALIKE
from nephroscope.study.snapshot import Snapshot

SLOW = ("radiomics", "stack")  # seconds for a fit, and a permutation has as many fits as there are folds
Shuffled = tuple[Deal, Cohort]
ALARM = 0.05  # chance that an honest comparison fails the t test of one candidate or more
LIMIT = (
    0.60  # a mean AUC from here on is an alarm whatever the t test says: with few permutations it sees little
)


@dataclass(frozen=True, eq=False, kw_only=True)
class ControlPlan:
    """How many times labels are permuted: for baselines, and for networks, which are trained each time.

    Those that take long (`SLOW`) get a quarter of the permutations, at least two.
    """

    permutations: int = 20
    seed: int = 0
    networks: Mapping[str, TrainConfig] = field(default_factory=dict)
    network_permutations: int = 3

    def times(self, name: str) -> int:
        """Permutations that a baseline gets."""
        return max(2, self.permutations // 4) if name in SLOW else self.permutations


def control(
    snapshot: Snapshot,
    candidates: Sequence[Candidate],
    first: Sequence[Answers],
    plan: ControlPlan,
    places: tuple[Path, Means],
) -> list[dict[str, Any]]:
    """The same pipeline, folds and all, on labels permuted between patients; one row per candidate.

    Args:
        snapshot: The study.
        candidates: Baselines that were ranked.
        first: Answers with the true labels.
        plan: How often.
        places: Folder of the comparison, and where the work is done.
    """
    folder, means = places
    deals = permuted(snapshot, plan)
    jobs = [job for c in candidates for job in control_jobs(snapshot, c, plan, deals)]
    results = run_jobs(jobs, folder / "folds", means, "shuffled labels")
    found: list[tuple[str, Tried]] = []
    for answers in first:
        own = next((c for c in candidates if c.name == answers.name), None)
        config = plan.networks.get(answers.name)
        if own is not None:
            some = deals[: plan.times(own.name)]
            said = [(answers_of(own, deal, results, snapshot), deal) for deal, _ in some]
        elif config is not None:
            some = deals[: plan.network_permutations]
            where = folder / "networks"
            said = [(train_on(snapshot, config, deal, cohort, where), deal) for deal, cohort in some]
        else:
            continue
        found.append((answers.name, _tried(snapshot, answers, said)))
    return [_row(snapshot, len(found), name, tried) for name, tried in found]


def permuted(snapshot: Snapshot, plan: ControlPlan) -> list[Shuffled]:
    """The permutations of a plan: folds dealt by permuted labels, and the cohort with these labels."""
    return [shuffled(snapshot, i, plan.seed) for i in range(1, plan.permutations + 1)]


def control_jobs(
    snapshot: Snapshot, candidate: Candidate, plan: ControlPlan, deals: Sequence[Shuffled]
) -> list[Job]:
    """The fits that a baseline needs on permuted labels."""
    some = deals[: plan.times(candidate.name)]
    return [job for deal, _ in some for job in jobs_of(snapshot, candidate, deal, False)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Tried:
    """AUCs with shuffled labels, pooled and as means over folds; fits that were refused; AUC with the true labels."""

    pooled: list[float]
    by_fold: list[float]
    refused: list[str]
    observed: float | None


def _tried(snapshot: Snapshot, answers: Answers, said: Sequence[tuple[Answers | str, Deal]]) -> Tried:
    asked = [(a, first_test_set(snapshot, deal)) for a, deal in said if isinstance(a, Answers)]
    pooled = [auc_of(a, tests) for a, tests in asked]
    by_fold = [mean_of_folds(a, tests).value for a, tests in asked]
    return Tried(
        pooled=[v for v in pooled if v is not None],
        by_fold=[v for v in by_fold if v is not None],
        refused=[a for a, _ in said if isinstance(a, str)],
        observed=auc_of(answers, first_test_set(snapshot, present_deal(snapshot, 0))),
    )


def _row(snapshot: Snapshot, n_rows: int, name: str, tried: Tried) -> dict[str, Any]:
    n_patients = len({snapshot.cohort.by_id[c].patient_id for c in snapshot.labels})
    confidence = snapshot.settings.evaluation.confidence
    aucs, mean = tried.pooled, mean_over(tried.pooled, n_patients, confidence)
    return {
        "name": name,
        "permutations": len(aucs),
        "auc": asdict(mean),
        "auc_by_fold": float(np.mean(tried.by_fold)) if tried.by_fold else None,
        "auc_by_fold_n": len(tried.by_fold),
        "lowest": min(aucs, default=None),
        "highest": max(aucs, default=None),
        "range_n": len(aucs),
        "unit": "permutation",
        "observed": tried.observed,
        "p": permutation_p(tried.observed, aucs),
        "p_floor": 1 / (1 + len(aucs)) if aucs else None,
        "alarm": bool(alarm_of(aucs, n_rows)) if aucs else None,
        "noticed_above": noticed_above(aucs, n_rows),
        "words": words_of(name, aucs, n_rows, len(tried.refused)),
        "refused": tried.refused,
    }


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
        why = f"undefined: {n} permutation{'' if n == 1 else 's'}"
        value = aucs[0] if aucs else None
        return Estimate(value=value, low=None, high=None, n=n_patients, unit="patient", method=why)
    middle, error = float(np.mean(aucs)), float(np.std(aucs, ddof=1)) / n**0.5
    if error < ALIKE:
        why = f"mean of {n} permutations of labels between patients; no interval: all give the same AUC"
        return Estimate(value=middle, low=None, high=None, n=n_patients, unit="patient", method=why)
    half = float(student.isf((1 - confidence) / 2, n - 1)) * error
    over = f"mean of {n} permutations of labels between patients, Student's t over permutations"
    method = f"{over}, {100 * confidence:g} %"
    return Estimate(
        value=middle, low=middle - half, high=middle + half, n=n_patients, unit="patient", method=method
    )


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
    """What the control found of a candidate; that there is no leak is never among it."""
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
            f"WARNING: {name}, {spread}: above 0.5 by more than chance; something leaks, and its figures are not to "
            "be believed."
        )
    if why:
        return (
            f"WARNING: {name}, {spread}: at or above the limit of {LIMIT:.2f}; something may leak, or these few "
            "permutations or patients had luck. Do not believe its figures before more --permutations."
        )
    return (
        f"{name}, {spread}; only a mean above {above:.2f} would have been noticed. With nothing to learn an AUC "
        "pooled over folds lies at 0.5 or somewhat below, so a small leak can hide."
    )

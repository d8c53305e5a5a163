"""The control with shuffled labels: candidates in; their AUC when there is nothing to learn out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from nephroscope.baselines.candidate import Candidate
from nephroscope.errors import CohortError
from nephroscope.experiments.folds import Answers, Deal, answers_of, jobs_of, shuffled, test_cases
from nephroscope.experiments.jobs import Means, run_jobs
from nephroscope.experiments.measures import TestSet, auc_of
from nephroscope.experiments.networks import train_on
from nephroscope.experiments.study_data import Material
from nephroscope.records import Cohort, Estimate, TrainConfig

SLOW = ("radiomics", "stack")  # seconds for a fit, and a permutation has as many fits as there are folds
ALARM = 0.05  # chance that an honest comparison raises one alarm over all its candidates


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
    material: Material,
    candidates: Sequence[Candidate],
    first: Sequence[Answers],
    plan: ControlPlan,
    places: tuple[Path, Means],
) -> list[dict[str, Any]]:
    """The same pipeline, folds and all, on labels permuted between patients; one row per candidate.

    Args:
        material: The study.
        candidates: Baselines that were ranked.
        first: Answers with the true labels.
        plan: How often.
        places: Folder of the comparison, and where the work is done.
    """
    folder, means = places
    deals = _deals(material, plan)
    jobs = [
        job
        for c in candidates
        for deal, _ in deals[: plan.times(c.name)]
        for job in jobs_of(material, c, deal, False)
    ]
    results = run_jobs(jobs, folder / "folds", means, "shuffled labels")
    found: list[tuple[str, list[float], list[str], float | None]] = []
    for answers in first:
        own = next((c for c in candidates if c.name == answers.name), None)
        config = plan.networks.get(answers.name)
        if own is not None:
            some = deals[: plan.times(own.name)]
            said = [(answers_of(own, deal, results, material), deal) for deal, _ in some]
        elif config is not None:
            some = deals[: plan.network_permutations]
            where = folder / "networks"
            said = [(train_on(material, config, deal, cohort, where), deal) for deal, cohort in some]
        else:
            continue
        aucs = [auc_of(a, _tests(material, deal)) for a, deal in said if isinstance(a, Answers)]
        observed = auc_of(answers, _tests(material, _true_deal(material)))
        refused = [a for a, _ in said if isinstance(a, str)]
        found.append((answers.name, [v for v in aucs if v is not None], refused, observed))
    return [_row(material, len(found), *row) for row in found]


def _true_deal(material: Material) -> Deal:
    return Deal(name="r0", split=material.split, labels=material.labels, seed=0)


def _deals(material: Material, plan: ControlPlan) -> list[tuple[Deal, Cohort]]:
    """Permutations whose patients can be dealt into folds; too few patients of a subtype refuses them all."""
    return [shuffled(material, i, plan.seed) for i in range(1, plan.permutations + 1)]


def _tests(material: Material, deal: Deal) -> TestSet:
    name, cases = next(iter(test_cases(deal, material).items()))
    return TestSet.of(name, cases, dict(deal.labels), material.cohort)


def _row(
    material: Material,
    n_rows: int,
    name: str,
    aucs: list[float],
    refused: list[str],
    observed: float | None,
) -> dict[str, Any]:
    n_patients = len({material.cohort.by_id[c].patient_id for c in material.labels})
    mean = _mean(aucs, n_patients)
    above = _above_chance(aucs, n_rows)
    return {
        "name": name,
        "permutations": len(aucs),
        "auc": asdict(mean),
        "lowest": min(aucs, default=None),
        "highest": max(aucs, default=None),
        "observed": observed,
        "p": permutation_p(observed, aucs),
        "at_chance": None if len(aucs) < 2 else not above,
        "words": _words(name, mean, aucs, above),
        "refused": refused,
    }


def permutation_p(observed: float | None, aucs: Sequence[float]) -> float | None:
    """Share of permutations, the true labels among them, whose AUC is at least the observed one.

    Source:
        Phipson and Smyth 2010, Stat Appl Genet Mol Biol 9:39: (b + 1) / (m + 1), never 0.
    """
    if observed is None or not aucs:
        return None
    return (1 + sum(value >= observed for value in aucs)) / (1 + len(aucs))


def _mean(aucs: Sequence[float], n_patients: int) -> Estimate:
    """Mean AUC over permutations with Student's interval over them."""
    n = len(aucs)
    if n < 2:
        why = f"undefined: {n} permutation{'' if n == 1 else 's'}"
        value = aucs[0] if aucs else None
        return Estimate(value=value, low=None, high=None, n=n_patients, unit="patient", method=why)
    middle, error = float(np.mean(aucs)), float(np.std(aucs, ddof=1)) / n**0.5
    half = float(student.ppf(0.975, n - 1)) * error
    method = f"mean of {n} permutations of labels between patients, Student's t over permutations, 95 %"
    return Estimate(
        value=middle, low=middle - half, high=middle + half, n=n_patients, unit="patient", method=method
    )


def _above_chance(aucs: Sequence[float], n_rows: int) -> bool:
    """One-sided t test of the mean against 0.5, at a level shared by all candidates (Bonferroni)."""
    if len(aucs) < 2:
        return False
    error = float(np.std(aucs, ddof=1)) / len(aucs) ** 0.5
    if error == 0:
        return float(np.mean(aucs)) > 0.5
    t = (float(np.mean(aucs)) - 0.5) / error
    return float(student.sf(t, len(aucs) - 1)) < ALARM / max(n_rows, 1)


def _words(name: str, mean: Estimate, aucs: Sequence[float], above: bool) -> str:
    if mean.value is None:
        return f"{name}: no permutation could be made."
    spread = f"mean AUC {mean.value:.2f}, {min(aucs):.2f} to {max(aucs):.2f} over {len(aucs)} permutations"
    if above:
        return (
            f"WARNING: with shuffled labels {name} stays above chance ({spread}): something leaks, "
            "and its figures are not to be believed."
        )
    return f"With shuffled labels {name} does not rise above chance ({spread})."


def refuse_few(permutations: int) -> None:
    """Refuse a control that could show nothing.

    Raises:
        CohortError: Fewer than two permutations.
    """
    if not 2 <= permutations <= 10_000:
        raise CohortError(
            where="--permutations",
            expected="a number from 2 to 10000",
            found=str(permutations),
            remedy="correct it, or leave the control out with --no-control",
        )

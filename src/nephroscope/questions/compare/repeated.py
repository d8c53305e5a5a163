"""How much a figure depends on chance: re-dealt folds and other seeds in; means, and both spreads apart, out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nephroscope.base.progress import time_words
from nephroscope.learning.baselines.candidate import Candidate
from nephroscope.learning.engine.folds import (
    Answers,
    Deal,
    answers_of,
    jobs_of,
    present_deal,
    redealt,
    seed_of,
)
from nephroscope.learning.engine.jobs import Job, Means, run_jobs
from nephroscope.learning.engine.networks import train_on
from nephroscope.questions.compare.measures import TestSet, auc_of, bootstrapped, first_test_set
from nephroscope.questions.compare.pairs import macro_statistic
from nephroscope.records import Estimate, EvaluationConfig, TrainConfig
from nephroscope.statistics.intervals import mean_statistic
from nephroscope.study.snapshot import Snapshot

NO_CHANCE = 1e-12


@dataclass(frozen=True, eq=False, kw_only=True)
class Chance:
    """What is repeated.

    Attributes:
        repeats: Divisions of the patients, splits.json the first of them.
        seeds: Fits on splits.json, each with another seed, the ranked one the first of them.
        seed: All others are derived from it.
        networks: By name in the table, settings of the networks that are trained again for each; costs hours.
    """

    repeats: int = 1
    seeds: int = 1
    seed: int = 0
    networks: Mapping[str, TrainConfig] = field(default_factory=dict)


def repeat_all(
    snapshot: Snapshot,
    candidates: Sequence[Candidate],
    first: Sequence[Answers],
    chance: Chance,
    places: tuple[Path, Means],
) -> list[dict[str, Any]]:
    """Each candidate over all divisions and seeds: mean AUC with interval, SD over splits and SD over seeds.

    Args:
        snapshot: The study.
        candidates: Baselines that were ranked.
        first: Answers on splits.json, networks included.
        chance: How often.
        places: Folder of the comparison, and where the work is done.
    """
    deals, reseeded = other_deals(snapshot, chance)
    folder, means = places
    jobs = [job for c in candidates for job in repeat_jobs(snapshot, c, [*deals, *reseeded])]
    results = run_jobs(jobs, folder / "folds", means, "repeats")
    rows = []
    for answers in first:
        own = next((c for c in candidates if c.name == answers.name), None)
        config = chance.networks.get(answers.name)
        if own is not None:
            more = [answers_of(own, deal, results, snapshot) for deal in [*deals, *reseeded]]
        elif config is not None:
            more = list(_trained(snapshot, config, (deals, reseeded), folder / "networks"))
        else:
            continue
        split_part, seed_part = more[: len(deals)], more[len(deals) :]
        rows.append(_row(snapshot, answers, split_part, seed_part))
    return rows


def repeat_jobs(snapshot: Snapshot, candidate: Candidate, deals: Sequence[Deal]) -> list[Job]:
    """The fits that a baseline needs on other divisions and with other seeds."""
    return [job for deal in deals for job in jobs_of(snapshot, candidate, deal, False)]


def other_deals(snapshot: Snapshot, chance: Chance) -> tuple[list[Deal], list[Deal]]:
    """Other divisions, and splits.json with other seeds."""
    deals = [redealt(snapshot, r, chance.seed) for r in range(1, chance.repeats)]
    base = present_deal(snapshot, chance.seed)
    reseeded = [
        replace(base, name=f"r0-seed{s}-{chance.seed}", seed=seed_of(chance.seed, s, 9))
        for s in range(1, chance.seeds)
    ]
    return deals, reseeded


def _trained(
    snapshot: Snapshot, config: TrainConfig, deals: tuple[Sequence[Deal], Sequence[Deal]], folder: Path
) -> list[Answers]:
    other_splits, other_seeds = deals
    answers = [train_on(snapshot, config, deal, snapshot.cohort, folder) for deal in other_splits]
    for s, deal in enumerate(other_seeds, start=1):
        answers.append(
            train_on(snapshot, replace(config, seed=config.seed + s), deal, snapshot.cohort, folder)
        )
    return answers


def _row(
    snapshot: Snapshot,
    first: Answers,
    splits: Sequence[Answers | str],
    seeds: Sequence[Answers | str],
) -> dict[str, Any]:
    """Figures of one candidate; a fit that was refused on some division is told, never skipped in silence."""
    config = snapshot.settings.evaluation
    refused = [answers for answers in (*splits, *seeds) if isinstance(answers, str)]
    by_split = [first, *(a for a in splits if isinstance(a, Answers))]
    by_seed = [first, *(a for a in seeds if isinstance(a, Answers))]
    tests = first_test_set(snapshot, present_deal(snapshot, 0))
    values = [auc_of(answers, tests) for answers in by_split]
    return {
        "name": first.name,
        "repeats": len(by_split),
        "auc": asdict(_mean_auc(by_split, tests, config)),
        "auc_by_repeat": values,
        **_spread("sd_over_splits", "division", values),
        "seeds": len(by_seed),
        **_spread("sd_over_seeds", "seed", [auc_of(answers, tests) for answers in by_seed]),
        "refused": refused,
    }


def _mean_auc(repeats: Sequence[Answers], tests: TestSet, config: EvaluationConfig) -> Estimate:
    """Mean over divisions of the AUC, with the interval of that mean over redrawn patients.

    The same patients come again in each division, so the interval does not shrink with their number.
    """
    values = [auc_of(answers, tests) for answers in repeats]
    known = [value for value in values if value is not None]
    n = tests.patients.n
    if len(known) < len(values):
        why = "undefined: a class has no case"
        return Estimate(value=None, low=None, high=None, n=n, unit="patient", method=why)
    statistic = mean_statistic([macro_statistic(answers, tests) for answers in repeats])
    found = bootstrapped(statistic, float(np.mean(known)), len(tests.cases), tests, config)
    return replace(found, method=f"mean over {len(repeats)} divisions; {found.method}")


def _spread(name: str, unit: str, values: Sequence[float | None]) -> dict[str, Any]:
    """Standard deviation over repeats, with the number of them and what each is, under keys that begin with a name.

    None with fewer than two; 0 means that nothing depends on this chance.
    """
    known = [value for value in values if value is not None]
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
    if sd is not None and sd <= NO_CHANCE:
        sd = 0.0
    return {name: sd, f"{name}_n": len(known), f"{name}_unit": unit}


def cost_words(chance: Chance, on_shuffled: int, seconds: Mapping[str, float]) -> str:
    """What training the networks again will cost, from the time their first run took; empty where none is trained."""
    each = chance.repeats - 1 + chance.seeds - 1 + on_shuffled
    if not each or not chance.networks:
        return ""
    parts = [f"{name}: {each} x {time_words(seconds.get(name, 0))}" for name in chance.networks]
    return f"{each * len(chance.networks)} trainings, where they are not kept yet ({'; '.join(parts)})"

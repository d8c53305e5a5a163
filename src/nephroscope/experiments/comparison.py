"""The comparison of a study: its folds and a plan in; one table of all candidates, pairs, controls and words out.

comparison/ of the study holds comparison.json, predictions.csv, folds/ (results of fits), runs/ (answers of trained
runs), networks/ (networks trained on other divisions) and grids.json.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nephroscope import __version__
from nephroscope.baselines.candidate import Candidate, all_candidates, candidates_named, remarks_of
from nephroscope.errors import ConfigError, NephroscopeError, StudyError
from nephroscope.evaluation.run_files import load_run
from nephroscope.experiments.comparison_file import (
    FILE,
    FOLDER,
    FORMAT,
    Comparison,
    load_comparison,
    made_from,
    save_answers,
)
from nephroscope.experiments.control import ControlPlan, control
from nephroscope.experiments.facts import facts_of
from nephroscope.experiments.folds import Answers, Deal, answers_of, jobs_of, present_deal, test_cases
from nephroscope.experiments.jobs import Means, run_jobs
from nephroscope.experiments.measures import TestSet
from nephroscope.experiments.networks import FoundRun, find_runs, run_config
from nephroscope.experiments.probe import probe
from nephroscope.experiments.repeated import Chance, cost_words, repeat_all
from nephroscope.experiments.stacked import NAME as STACK
from nephroscope.experiments.stacked import stack_with_networks
from nephroscope.experiments.study_data import Material
from nephroscope.experiments.table import table_of
from nephroscope.files import load_json, save_json
from nephroscope.records import Split
from nephroscope.study import StudyFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ComparePlan:
    """What is compared, and how thoroughly.

    Attributes:
        candidates: Names of baselines; None takes all.
        runs: Names of runs; None takes all.
        repeats: Divisions of the patients, splits.json the first of them.
        seeds: Fits on splits.json with another seed each.
        permutations: Of the control with shuffled labels; 0 leaves it out.
        trained: Names of runs whose networks are trained again for each repeat and seed.
        control_networks: Train the networks on shuffled labels too.
        seed: All chance of the comparison is derived from it.
        means: Where the work is done.
        known: The baselines to choose from; None: all there are.
    """

    candidates: tuple[str, ...] | None = None
    runs: tuple[str, ...] | None = None
    repeats: int = 1
    seeds: int = 1
    permutations: int = 20
    trained: tuple[str, ...] = ()
    control_networks: bool = False
    seed: int = 0
    means: Means = field(default_factory=Means)
    known: tuple[Candidate, ...] | None = None

    def __post_init__(self) -> None:
        for name, value, low in (
            ("repeats", self.repeats, 1),
            ("seeds", self.seeds, 1),
            ("seed", self.seed, 0),
        ):
            _within(f"--{name}", value, low, 2**31 if name == "seed" else 1000)
        if self.permutations:
            _within("--permutations", self.permutations, 2, 10_000)


def compare(material: Material, plan: ComparePlan) -> Comparison:
    """Compare everything that can be compared on the present folds, and write comparison.json.

    Raises:
        StudyError: The split is by image, or nothing can be compared.
        ConfigError: A candidate or run is unknown.
    """
    refuse_leaky(material.split)
    folder = material.folder.root / FOLDER
    deal = present_deal(material, plan.seed)
    runs = find_runs(material, plan.runs, folder / "runs")
    usable, refused = _usable(material, plan)
    ranked, no_answer = _ranked(material, plan, usable, runs, deal)
    candidates = [c for c in usable if c.name not in {row["name"] for row in no_answer}]
    configs = {run.name: run_config(material.folder.run(run.name)) for run in runs if run.answers is not None}
    remarks = {c.name: remarks_of(c, material.data) for c in candidates}
    groups = {
        name: table_of(
            TestSet.of(name, cases, dict(material.labels), material.cohort),
            ranked,
            material.settings.evaluation,
            remarks,
        )
        for name, cases in test_cases(deal, material).items()
    }
    main, (name, cases) = next(iter(groups.values())), next(iter(test_cases(deal, material).items()))
    chance = Chance(
        repeats=plan.repeats,
        seeds=plan.seeds,
        seed=plan.seed,
        networks={run: configs[run] for run in plan.trained if run in configs},
    )
    asked = ControlPlan(
        permutations=plan.permutations,
        seed=plan.seed,
        networks=chance.networks if plan.control_networks else {},
    )
    _say_cost(chance, asked, material.folder)
    places = folder, plan.means
    repeated = (
        repeat_all(material, candidates, ranked, chance, places) if plan.repeats + plan.seeds > 2 else []
    )
    tests = TestSet.of(name, cases, dict(material.labels), material.cohort)
    content = {
        "format": FORMAT,
        **_about(material, plan),
        "test_set": name,
        **main,
        "groups": groups,
        "not_compared": [*refused, *no_answer, *_runs_left_out(runs)],
        "leaky": [_leaky(material, run) for run in runs if run.leaky],
        "repeated": repeated,
        "control": control(material, candidates, ranked, asked, places) if plan.permutations else [],
        "shortcuts": probe(material, facts_of(material, folder), ranked, tests, deal),
    }
    save_answers(folder, ranked, material.cohort)
    save_json(folder / FILE, content)
    return Comparison(path=folder / FILE, content=content)


def _usable(material: Material, plan: ComparePlan) -> tuple[list[Candidate], list[dict[str, str]]]:
    """The baselines that this study allows, and the others with the reason."""
    known = {c.name: c for c in plan.known} if plan.known is not None else all_candidates()
    if plan.candidates is None:
        wanted = list(known.values())
    else:
        wanted = candidates_named(tuple(dict.fromkeys(plan.candidates)))
    usable, refused = [], []
    for candidate in wanted:
        try:
            why = candidate.missing(material.data)
        except NephroscopeError as error:
            why = str(error)
        if why:
            refused.append({"name": candidate.name, "kind": "baseline", "reason": why})
        else:
            usable.append(candidate)
    return usable, refused


def _ranked(
    material: Material, plan: ComparePlan, usable: Sequence[Candidate], runs: Sequence[FoundRun], deal: Deal
) -> tuple[list[Answers], list[dict[str, str]]]:
    """Answers of all that can be ranked on one deal, and who gave none."""
    scored = [run.answers for run in runs if run.answers is not None]
    _refuse_twins([*(c.name for c in usable), STACK], [answers.name for answers in scored])
    choosing = bool(scored) or material.settings.evaluation.criterion != "fixed"
    jobs = [job for c in usable for job in jobs_of(material, c, deal, choosing)]
    kept = material.folder.root / FOLDER / "folds"
    results = run_jobs(jobs, kept, plan.means, "folds")
    found = [(c.name, answers_of(c, deal, results, material)) for c in usable]
    ranked = [*(a for _, a in found if isinstance(a, Answers)), *scored]
    both = stack_with_networks(material, deal, ranked)
    if not ranked:
        raise StudyError(
            where="nephroscope compare",
            expected="a baseline that this study allows, or a trained run on these folds",
            found="neither",
            remedy="train a network, or add sex, age or size to cohort.csv",
        )
    silent = [
        {"name": name, "kind": "baseline", "reason": why} for name, why in found if isinstance(why, str)
    ]
    return [*ranked, *([both] if both else [])], silent


def _about(material: Material, plan: ComparePlan) -> dict[str, Any]:
    config = material.split.config
    return {
        "version": __version__,
        "subtypes": list(material.cohort.subtypes),
        "positive": material.cohort.positive,
        "synthetic": material.cohort.synthetic,
        "folds": len(material.split.folds),
        "protocol": material.split.protocol,
        "seed": plan.seed,
        "split_seed": config.seed,
        "criterion": material.settings.evaluation.criterion,
        "made_from": made_from(
            material.cohort, material.store.digest, material.split, material.settings.evaluation
        ),
        "runs_seen": [run.name for run in material.folder.runs() if (run / "run.json").exists()],
    }


def _runs_left_out(runs: Sequence[FoundRun]) -> list[dict[str, str]]:
    return [
        {"name": run.name, "kind": "network", "reason": run.reason}
        for run in runs
        if run.reason and not run.leaky
    ]


def _leaky(material: Material, run: FoundRun) -> dict[str, Any]:
    """A run on a split by image: told apart, with the AUC of its own evaluation where there is one."""
    path = material.folder.run(run.name) / "evaluation.json"
    auc = load_json(path, FORMAT)["case"]["auc"] if path.is_file() else None
    return {"name": run.name, "model": run.model, "reason": run.reason, "auc": auc}


def _say_cost(chance: Chance, asked: ControlPlan, folder: StudyFolder) -> None:
    seconds = {
        name: sum(fold["seconds"] for fold in load_run(folder.run(name))["folds"]) for name in chance.networks
    }
    on_shuffled = min(asked.network_permutations, asked.permutations) * bool(asked.networks)
    words = cost_words(chance, on_shuffled, seconds)
    if words:
        logger.info("%s", words)


def refuse_leaky(split: Split) -> None:
    """Refuse folds by image.

    Raises:
        StudyError: They are.
    """
    if split.leaky:
        raise StudyError(
            where="splits.json",
            expected="folds by patient",
            found="LEAKY folds by image, on which every candidate would look too good",
            remedy="run `nephroscope split STUDY --protocol patient`",
        )


def _refuse_twins(baselines: Sequence[str], runs: Sequence[str]) -> None:
    """Refuse a run that has a baseline's name: their figures would be taken for each other."""
    for name in runs:
        if name in baselines:
            raise StudyError(
                where=f"run {name}",
                expected="a name that no baseline has",
                found=f"the baseline {name}",
                remedy=f"rename the folder runs/{name}",
            )


def _within(where: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(
            where=where, expected=f"a number from {low} to {high}", found=str(value), remedy="correct it"
        )


__all__ = ["ComparePlan", "Comparison", "compare", "load_comparison"]

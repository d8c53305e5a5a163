"""The comparison of a study: its folds and a plan in; one table of all candidates, pairs, controls and words out.

comparison/ of the study holds comparison.json, predictions.csv, folds/ (results of fits), runs/ (answers of trained
runs), networks/ (networks trained on other divisions) and grids.json.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nephroscope.base.errors import ConfigError, NephroscopeError, StudyError
from nephroscope.base.files import load_json, save_json
from nephroscope.base.progress import time_words
from nephroscope.base.version import __version__
from nephroscope.learning.baselines.candidate import Candidate, remarks_of
from nephroscope.learning.baselines.candidates import all_candidates, candidates_named
from nephroscope.learning.engine.folds import Answers, Deal, answers_of, jobs_of, present_deal
from nephroscope.learning.engine.jobs import FORMAT as JOB_FORMAT
from nephroscope.learning.engine.jobs import Job, Means, is_kept, run_jobs
from nephroscope.learning.engine.networks import FoundRun, find_runs, run_config
from nephroscope.learning.engine.study_data import Material
from nephroscope.learning.run_files import load_run
from nephroscope.questions.compare.comparison_file import (
    FILE,
    FOLDER,
    FORMAT,
    Comparison,
    load_comparison,
    made_from,
    save_answers,
)
from nephroscope.questions.compare.control import ControlPlan, control, control_jobs, permuted
from nephroscope.questions.compare.facts import facts_of
from nephroscope.questions.compare.measures import test_sets
from nephroscope.questions.compare.probe import probe
from nephroscope.questions.compare.repeated import Chance, cost_words, other_deals, repeat_all, repeat_jobs
from nephroscope.questions.compare.stacked import NAME as STACK
from nephroscope.questions.compare.stacked import stack_with_networks
from nephroscope.questions.compare.table import Ranked, table_of, tempered
from nephroscope.records import Split, TrainConfig
from nephroscope.study.folder import StudyFolder


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


def _within(where: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(
            where=where, expected=f"a number from {low} to {high}", found=str(value), remedy="correct it"
        )


# Seconds of a fit where none is kept to go by: 74 cases, one core of two that had other work.
SECONDS_A_FIT = {"radiomics": 30.0, "stack": 65.0}
LEAVE_OUT = (
    "to do less: --candidates attenuation clinical (names of those wanted), --no-control, or a smaller "
    "--permutations; what is fitted is kept, so an interrupted comparison goes on"
)


def work_words(
    material: Material, jobs: Mapping[str, Sequence[Job]], kept: Path, means: Means
) -> tuple[str, ...]:
    """Lines for the log, one a candidate; a single line where everything is kept.

    Args:
        material: The study.
        jobs: All fits of each candidate by name: ranks, repeats and control.
        kept: Folder of results.
        means: Where the work is done.
    """
    left = {name: [job for job in own if not is_kept(kept, job)] for name, own in jobs.items()}
    n_cases = len(material.store.rows_by_case)
    if not any(left.values()):
        told = f"every fit of {', '.join(jobs)} is kept" if jobs else "no baseline to fit"
        return (f"compare: {n_cases} cases; {told}",)
    lines = [f"compare: {n_cases} cases; fits to make, on {_where(means)}:"]
    for name, own in jobs.items():
        lines.append(f"  {name}: {_candidate(name, len(own), len(left[name]), kept)}")
    return (*lines, LEAVE_OUT)


def _where(means: Means) -> str:
    if means.ray is not None:
        return f"the Ray cluster {means.ray}"
    return "one core (more by --jobs)" if means.jobs == 1 else f"{means.jobs} processes"


def _candidate(name: str, n: int, left: int, kept: Path) -> str:
    if not left:
        return f"{n} fits, all kept"
    before = f"{left} of {n} fits" if left < n else f"{n} fit{'' if n == 1 else 's'}"
    seconds, told = _seconds(kept / name)
    if seconds is None and name in SECONDS_A_FIT:
        seconds, told = SECONDS_A_FIT[name], "with 74 cases"
    if seconds is None:
        return before
    return f"{before}, {told} {seconds:.1f} s each, {time_words(seconds * left)} of computing"


def _seconds(folder: Path) -> tuple[float | None, str]:
    """Mean time of the fits of a candidate that this study keeps; whatever they were made from."""
    known = []
    for path in folder.glob("*.json"):
        try:
            known.append(float(load_json(path, JOB_FORMAT)["seconds"]))
        except (StudyError, KeyError, TypeError, ValueError):
            continue
    return (float(np.mean(known)), f"as {len(known)} before") if known else (None, "")


EVALUATION = 1  # format of evaluation.json
logger = logging.getLogger(__name__)


def compare(material: Material, plan: ComparePlan) -> Comparison:
    """Compare everything that can be compared on the present folds, and write comparison.json.

    Raises:
        StudyError: The split is by image, or nothing can be compared.
        ConfigError: A candidate or run is unknown.
    """
    refuse_leaky(material.split)
    folder = material.folder.root / FOLDER
    deal = present_deal(material, plan.seed)
    wanted = _wanted(plan)
    logger.info("compare: looking at the runs of the study; those that can be ranked are scored once")
    runs = find_runs(material, plan.runs, folder / "runs")
    configs = {run.name: run_config(material.folder.run(run.name)) for run in runs if run.answers is not None}
    chance, asked = _repeats_and_control(plan, configs)
    usable, refused = _usable(material, wanted)
    _say_work(material, plan, usable, (chance, asked, _choosing(material, runs)))
    ranked, no_answer = _ranked(material, plan, usable, runs, deal)
    candidates = [c for c in usable if c.name not in {row["name"] for row in no_answer}]
    everyone = Ranked(
        answers=ranked,
        tempered=tempered(ranked, deal),
        remarks={c.name: remarks_of(c, material.data) for c in candidates},
    )
    sets = test_sets(material, deal)
    groups = {name: table_of(tests, everyone, material.settings.evaluation) for name, tests in sets.items()}
    name, tests = next(iter(sets.items()))
    places = folder, plan.means
    repeated = (
        repeat_all(material, candidates, ranked, chance, places) if plan.repeats + plan.seeds > 2 else []
    )
    content = {
        "format": FORMAT,
        **groups[name],
        **_about(material, plan),
        "test_set": name,
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


def _repeats_and_control(plan: ComparePlan, configs: Mapping[str, TrainConfig]) -> tuple[Chance, ControlPlan]:
    """What is fitted beside the ranks; networks only where the plan names their runs."""
    networks = {run: configs[run] for run in plan.trained if run in configs}
    chance = Chance(repeats=plan.repeats, seeds=plan.seeds, seed=plan.seed, networks=networks)
    asked = ControlPlan(
        permutations=plan.permutations, seed=plan.seed, networks=networks if plan.control_networks else {}
    )
    return chance, asked


def _choosing(material: Material, runs: Sequence[FoundRun]) -> bool:
    """True where baselines are asked for the validation parts too: for a threshold, or beside networks."""
    return any(run.answers for run in runs) or material.settings.evaluation.criterion != "fixed"


def _wanted(plan: ComparePlan) -> list[Candidate]:
    """The baselines that are asked for."""
    if plan.candidates is not None:
        return candidates_named(tuple(dict.fromkeys(plan.candidates)))
    return list(plan.known) if plan.known is not None else list(all_candidates().values())


def _say_work(
    material: Material,
    plan: ComparePlan,
    wanted: Sequence[Candidate],
    more: tuple[Chance, ControlPlan, bool],
) -> None:
    """Tell in the log what will be fitted, and what training networks again will cost, before any of it starts."""
    chance, asked, choosing = more
    deal, (other, reseeded) = present_deal(material, plan.seed), other_deals(material, chance)
    shuffles = permuted(material, asked)
    jobs = {
        c.name: [
            *jobs_of(material, c, deal, choosing),
            *repeat_jobs(material, c, [*other, *reseeded]),
            *control_jobs(material, c, asked, shuffles),
        ]
        for c in wanted
    }
    for line in work_words(material, jobs, material.folder.root / FOLDER / "folds", plan.means):
        logger.info("%s", line)
    _say_cost(chance, asked, material.folder)


def _usable(material: Material, wanted: Sequence[Candidate]) -> tuple[list[Candidate], list[dict[str, str]]]:
    """The baselines that this study allows, and the others with the reason."""
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
    jobs = [job for c in usable for job in jobs_of(material, c, deal, _choosing(material, runs))]
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
        "made_from": made_from(material.cohort, material.store, material.split, material.settings.evaluation),
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
    auc = load_json(path, EVALUATION)["case"]["auc"] if path.is_file() else None
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


__all__ = ["ComparePlan", "Comparison", "compare", "load_comparison"]

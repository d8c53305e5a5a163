"""The comparison of a study: its folds and a plan in; one table of all candidates, pairs, controls and words out.

comparison/ of the study holds comparison.json, predictions.csv, folds/ (results of fits), runs/ (answers of trained
runs), networks/ (networks trained on other divisions) and grids.json.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nephroscope.base.errors import ConfigError, NephroscopeError, StudyError
from nephroscope.base.files import load_json, save_json
from nephroscope.base.version import __version__
from nephroscope.learning.baselines.candidate import Candidate, remarks_of
from nephroscope.learning.baselines.candidates import all_candidates, candidates_named
from nephroscope.learning.engine.folds import Answers, Deal, answers_of, jobs_of, present_deal
from nephroscope.learning.engine.jobs import Means, run_jobs
from nephroscope.learning.engine.networks import FoundRun, find_runs, run_of
from nephroscope.learning.engine.run_folds import train_new_run
from nephroscope.learning.engine.study_data import study_data
from nephroscope.learning.networks.table import NETWORKS
from nephroscope.learning.run_files import load_run, run_config
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
from nephroscope.questions.compare.workload import work_words
from nephroscope.records import Split, TrainConfig
from nephroscope.study.folder import StudyFolder
from nephroscope.study.snapshot import Snapshot


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


EVALUATION = 1  # format of evaluation.json
logger = logging.getLogger(__name__)


def compare(snapshot: Snapshot, plan: ComparePlan) -> Comparison:
    """Compare everything that can be compared on the present folds, and write comparison.json.

    Raises:
        StudyError: The split is by image, or nothing can be compared.
        ConfigError: A candidate or run is unknown.
    """
    refuse_leaky(snapshot.split)
    folder = snapshot.folder.root / FOLDER
    deal = present_deal(snapshot, plan.seed)
    wanted = _wanted(plan)
    logger.info("compare: looking at the runs of the study; those that can be ranked are scored once")
    runs = find_runs(snapshot, plan.runs, folder / "runs")
    configs = {run.name: run_config(snapshot.folder.run(run.name)) for run in runs if run.answers is not None}
    chance, asked = _repeats_and_control(plan, configs)
    usable, refused = _usable(snapshot, wanted)
    _say_work(snapshot, plan, usable, (chance, asked, _choosing(snapshot, runs)))
    ranked, no_answer = _ranked(snapshot, plan, usable, runs, deal)
    candidates = [c for c in usable if c.name not in {row["name"] for row in no_answer}]
    everyone = Ranked(
        answers=ranked,
        tempered=tempered(ranked, deal),
        remarks={c.name: remarks_of(c, study_data(snapshot)) for c in candidates},
    )
    sets = test_sets(snapshot, deal)
    groups = {name: table_of(tests, everyone, snapshot.settings.evaluation) for name, tests in sets.items()}
    name, tests = next(iter(sets.items()))
    places = folder, plan.means
    repeated = (
        repeat_all(snapshot, candidates, ranked, chance, places) if plan.repeats + plan.seeds > 2 else []
    )
    content = {
        "format": FORMAT,
        **groups[name],
        **_about(snapshot, plan),
        "test_set": name,
        "groups": groups,
        "not_compared": [*refused, *no_answer, *_runs_left_out(runs)],
        "leaky": [_leaky(snapshot, run) for run in runs if run.leaky],
        "repeated": repeated,
        "control": control(snapshot, candidates, ranked, asked, places) if plan.permutations else [],
        "shortcuts": probe(snapshot, facts_of(snapshot, folder), ranked, tests, deal),
    }
    save_answers(folder, ranked, snapshot.cohort)
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


def _choosing(snapshot: Snapshot, runs: Sequence[FoundRun]) -> bool:
    """True where baselines are asked for the validation parts too: for a threshold, or beside networks."""
    return any(run.answers for run in runs) or snapshot.settings.evaluation.criterion != "fixed"


def _wanted(plan: ComparePlan) -> list[Candidate]:
    """The baselines that are asked for."""
    if plan.candidates is not None:
        return candidates_named(tuple(dict.fromkeys(plan.candidates)))
    return list(plan.known) if plan.known is not None else list(all_candidates().values())


def _say_work(
    snapshot: Snapshot,
    plan: ComparePlan,
    wanted: Sequence[Candidate],
    more: tuple[Chance, ControlPlan, bool],
) -> None:
    """Tell in the log what will be fitted, and what training networks again will cost, before any of it starts."""
    chance, asked, choosing = more
    deal, (other, reseeded) = present_deal(snapshot, plan.seed), other_deals(snapshot, chance)
    shuffles = permuted(snapshot, asked)
    jobs = {
        c.name: [
            *jobs_of(snapshot, c, deal, choosing),
            *repeat_jobs(snapshot, c, [*other, *reseeded]),
            *control_jobs(snapshot, c, asked, shuffles),
        ]
        for c in wanted
    }
    for line in work_words(snapshot, jobs, snapshot.folder.root / FOLDER / "folds", plan.means):
        logger.info("%s", line)
    _say_cost(chance, asked, snapshot.folder)


def _usable(snapshot: Snapshot, wanted: Sequence[Candidate]) -> tuple[list[Candidate], list[dict[str, str]]]:
    """The baselines that this study allows, and the others with the reason."""
    usable, refused = [], []
    for candidate in wanted:
        try:
            why = candidate.missing(study_data(snapshot))
        except NephroscopeError as error:
            why = str(error)
        if why:
            refused.append({"name": candidate.name, "kind": "baseline", "reason": why})
        else:
            usable.append(candidate)
    return usable, refused


def _ranked(
    snapshot: Snapshot, plan: ComparePlan, usable: Sequence[Candidate], runs: Sequence[FoundRun], deal: Deal
) -> tuple[list[Answers], list[dict[str, str]]]:
    """Answers of all that can be ranked on one deal, and who gave none."""
    scored = [run.answers for run in runs if run.answers is not None]
    _refuse_twins([*(c.name for c in usable), STACK], [answers.name for answers in scored])
    jobs = [job for c in usable for job in jobs_of(snapshot, c, deal, _choosing(snapshot, runs))]
    kept = snapshot.folder.root / FOLDER / "folds"
    results = run_jobs(jobs, kept, plan.means, "folds")
    found = [(c.name, answers_of(c, deal, results, snapshot)) for c in usable]
    ranked = [*(a for _, a in found if isinstance(a, Answers)), *scored]
    both = stack_with_networks(snapshot, deal, ranked)
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


def _about(snapshot: Snapshot, plan: ComparePlan) -> dict[str, Any]:
    config = snapshot.split.config
    return {
        "version": __version__,
        "subtypes": list(snapshot.cohort.subtypes),
        "positive": snapshot.cohort.positive,
        "synthetic": snapshot.cohort.synthetic,
        "folds": len(snapshot.split.folds),
        "protocol": snapshot.split.protocol,
        "seed": plan.seed,
        "split_seed": config.seed,
        "criterion": snapshot.settings.evaluation.criterion,
        "made_from": made_from(
            snapshot.cohort, snapshot.slices, snapshot.split, snapshot.settings.evaluation
        ),
        "runs_seen": [run.name for run in snapshot.folder.runs() if (run / "run.json").exists()],
    }


def _runs_left_out(runs: Sequence[FoundRun]) -> list[dict[str, str]]:
    return [
        {"name": run.name, "kind": "network", "reason": run.reason}
        for run in runs
        if run.reason and not run.leaky
    ]


def _leaky(snapshot: Snapshot, run: FoundRun) -> dict[str, Any]:
    """A run on a split by image: told apart, with the AUC of its own evaluation where there is one."""
    path = snapshot.folder.run(run.name) / "evaluation.json"
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


def compare_study(
    snapshot: Snapshot, plan: ComparePlan | None = None, train: Sequence[str] = ()
) -> Comparison:
    """Rank baselines, trained runs and their stack on the present folds; writes comparison/ of the study.

    Args:
        snapshot: The study.
        plan: What is compared, and how thoroughly.
        train: Networks that are trained first where no run of theirs can be ranked.

    Raises:
        ConfigError: A network, candidate or number is not allowed.
        StudyError: The split is by image or stale, or nothing can be compared.
    """
    plan = plan or ComparePlan()
    refuse_leaky(snapshot.split)
    trained = _train(snapshot, train, plan.means)
    if plan.repeats > 1 or plan.seeds > 1 or plan.control_networks:
        plan = replace(plan, trained=tuple(trained))
    if plan.runs is not None:
        plan = replace(plan, runs=tuple(dict.fromkeys([*plan.runs, *trained])))
    return compare(snapshot, plan)


def _train(snapshot: Snapshot, networks: Sequence[str], means: Means) -> list[str]:
    """Names of the runs of these networks on the present folds, trained where there is none."""
    for network in networks:
        if network not in NETWORKS:
            raise ConfigError(
                where="--train",
                expected=f"networks: {', '.join(NETWORKS)}",
                found=repr(network),
                remedy="correct the name",
            )
    names = []
    for network in networks:
        name = run_of(snapshot, network)
        if name is None:
            logger.info("training %s on %d folds", network, len(snapshot.split.folds))
            config = replace(snapshot.settings.training, model=network)
            name = str(train_new_run(snapshot, config, means=means)["name"])
        names.append(name)
    return names


__all__ = ["ComparePlan", "Comparison", "compare", "compare_study", "load_comparison"]

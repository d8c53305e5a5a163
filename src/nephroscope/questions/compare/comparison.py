"""The comparison of a study: all learners on the same folds, with pairs, repeats, a control and shortcuts.

comparison/ of the study holds comparison.json, predictions.csv, folds/ (results of fits), runs/ (predictions of
trained runs), networks/ (networks trained on other divisions) and grids.json.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nephroscope.base.documents import read_document
from nephroscope.base.errors import ConfigError, NephroscopeError, StudyError
from nephroscope.base.version import __version__
from nephroscope.learning.engine.engine import Engine, by_name
from nephroscope.learning.engine.fits import Fit
from nephroscope.learning.engine.networks import NetworkLearner
from nephroscope.learning.engine.predictions import Predictions, fits_of
from nephroscope.learning.engine.runs import train_new_run
from nephroscope.learning.engine.study_data import study_data
from nephroscope.learning.engine.trained_runs import FoundRun, find_runs, run_of
from nephroscope.learning.engine.workers import Workers
from nephroscope.learning.learner import Learner, remarks_of
from nephroscope.learning.networks.table import FUSED_NETWORKS, TRAINABLE
from nephroscope.learning.run_files import run_config
from nephroscope.questions.compare.control import control
from nephroscope.questions.compare.document import (
    FOLDER,
    Comparison,
    comparison_file,
    complete_runs,
    load_comparison,
    made_from,
    save_answers,
)
from nephroscope.questions.compare.facts import facts_of
from nephroscope.questions.compare.fusion import fusion_tables
from nephroscope.questions.compare.measures import test_sets
from nephroscope.questions.compare.network_stack import NAME as STACK
from nephroscope.questions.compare.network_stack import stack_with_networks
from nephroscope.questions.compare.phases import phases_tables, presence_fact, presence_findings
from nephroscope.questions.compare.plan import ON_REQUEST, ComparePlan, Schedule
from nephroscope.questions.compare.probe import probe
from nephroscope.questions.compare.repeated import repeat_all
from nephroscope.questions.compare.results import ComparisonDocument, LeakyRun, NotCompared, RankTable
from nephroscope.questions.compare.table import Ranked, table_of, tempered
from nephroscope.questions.compare.workload import training_words, work_words
from nephroscope.questions.evaluation.evaluate import FORMAT as EVALUATION
from nephroscope.questions.evaluation.operating_points import few_chosen_on, threshold_doubts
from nephroscope.records import Estimate, Finding, Split, note, warning
from nephroscope.study.snapshot import Snapshot

OWN_RUN = "the trained run of this name is compared"
logger = logging.getLogger(__name__)


def compare_study(
    snapshot: Snapshot, plan: ComparePlan | None = None, train: Sequence[str] = ()
) -> Comparison:
    """Rank baselines, trained runs and their stack on the present folds; writes comparison/ into the study.

    Args:
        snapshot: The study.
        plan: What is compared, and how thoroughly.
        train: Networks that are trained first where no run of theirs can be ranked.

    Raises:
        ConfigError: A network, candidate or number is not allowed.
        StudyError: The split is by image or out of date, or nothing can be compared.
    """
    plan = (plan or ComparePlan()).stated(snapshot.settings.comparison)
    refuse_leaky(snapshot.split)
    _refuse_misspelled_primary(snapshot, plan, train)
    trained = _train(snapshot, train, plan.workers)
    if plan.repeats > 1 or plan.seeds > 1 or plan.control_networks:
        plan = replace(plan, trained=tuple(trained))
    if plan.runs is not None:
        plan = replace(plan, runs=tuple(dict.fromkeys([*plan.runs, *trained])))
    return compare(snapshot, plan)


def _train(snapshot: Snapshot, networks: Sequence[str], workers: Workers | None) -> list[str]:
    """Names of the runs of these networks on the present folds, trained where there is none."""
    for network in networks:
        if network not in TRAINABLE:
            raise ConfigError(
                where="--train",
                expected=f"networks: {', '.join(TRAINABLE)}",
                found=repr(network),
                remedy="correct the name",
            )
    names = []
    for network in networks:
        name = run_of(snapshot, network)
        if name is None:
            logger.info("training %s on %d folds", network, len(snapshot.split.folds))
            config = replace(snapshot.settings.training, model=network)
            name = train_new_run(snapshot, config, workers=workers).name
        names.append(name)
    return names


def compare(snapshot: Snapshot, plan: ComparePlan) -> Comparison:
    """Compare everything that can be compared on the present folds, and write comparison.json.

    Raises:
        StudyError: The split is by image, or nothing can be compared.
        ConfigError: A candidate or run is unknown.
    """
    refuse_leaky(snapshot.split)
    plan = plan.stated(snapshot.settings.comparison)
    folder, wanted = snapshot.folder.root / FOLDER, plan.baselines
    engine = Engine(snapshot=snapshot, folder=folder, workers=plan.workers or Workers())
    logger.info("compare: looking at the runs of the study; those that can be ranked are scored once")
    runs = find_runs(snapshot, plan.runs, folder / "runs")
    ranked_runs = {run.name for run in runs if run.predictions is not None}
    networks = {
        name: NetworkLearner(config=run_config(snapshot.folder.run(name)))
        for name in plan.trained
        if name in ranked_runs
    }
    _refuse_fused_again(networks)
    schedule = Schedule(snapshot=snapshot, plan=plan, networks=networks)
    choosing = bool(ranked_runs) or snapshot.settings.evaluation.criterion != "fixed"
    same = [one for one in wanted if one.name in ON_REQUEST and one.name in ranked_runs]
    usable, refused = _usable(snapshot, [one for one in wanted if one not in same])
    refused += [NotCompared(name=one.name, kind="baseline", reason=OWN_RUN) for one in same]
    possible = [*(one.name for one in usable), *sorted(ranked_runs), *([STACK] if ranked_runs else [])]
    pair = _main_pair(snapshot, plan, possible)
    _log_work(schedule, engine, usable, choosing)
    ranked, without_answer = _ranked(schedule, engine, usable, runs, choosing)
    baselines = [c for c in usable if c.name not in {row.name for row in without_answer}]
    learners = by_name(baselines, networks)
    division, config = schedule.present, snapshot.settings.evaluation
    remarks = {c.name: remarks_of(c, study_data(snapshot)) for c in baselines}
    pair = pair and _main_pair(snapshot, plan, [one.name for one in ranked])
    everyone = Ranked(
        answers=ranked,
        tempered=tempered(ranked, division),
        remarks=remarks,
        division=division,
        primary=pair,
        margin=plan.margin or 0.0,
    )
    sets = test_sets(snapshot, division)
    groups = {name: table_of(tests, everyone, config) for name, tests in sets.items()}
    repeats = plan.repeats + plan.seeds > 2
    facts = [*facts_of(snapshot, folder), *presence_fact(snapshot)]
    shortcuts = probe(snapshot, facts, ranked, next(iter(sets.values())), division)
    document = _document(
        snapshot,
        plan,
        groups,
        not_compared=(*refused, *without_answer, *_runs_left_out(runs)),
        leaky=tuple(_leaky(snapshot, run) for run in runs if run.leaky),
        repeated=tuple(repeat_all(schedule, engine, learners, ranked)) if repeats else (),
        findings=(*_pair_left_out(plan, pair), *_doubts(snapshot, everyone), *presence_findings(shortcuts)),
        control=tuple(control(schedule, engine, learners, ranked)) if plan.permutations else (),
        fusion=fusion_tables(snapshot, division, ranked, sets),
        shortcuts=shortcuts,
        phases=phases_tables(snapshot, division, runs, sets),
    )
    save_answers(folder, ranked, snapshot.cohort)
    file = comparison_file(snapshot.folder.root)
    file.save(document)
    return Comparison(path=file.path, document=document)


def _doubts(snapshot: Snapshot, ranked: Ranked) -> tuple[Finding, ...]:
    """Warnings where thresholds, temperatures or the weights of the stack rest on few validation cases."""
    subtypes = snapshot.cohort.subtypes
    labels = {name: subtypes[index] for name, index in ranked.division.labels.items()}
    words = few_chosen_on(snapshot.split, labels, subtypes)
    if not words:
        return ()
    found = [] if len(subtypes) > 2 else [*threshold_doubts(snapshot.settings.evaluation, words)]
    if ranked.tempered:
        text = f"the temperatures were chosen on {words}: they are largely chance"
        found.append(warning("temperature-few", text))
    if any(one.name == STACK for one in ranked.answers):
        found.append(
            warning("stack-few", f"the weights of {STACK} were fitted on {words}: they are largely chance")
        )
    return tuple(found)


def _document(
    snapshot: Snapshot, plan: ComparePlan, groups: dict[str, RankTable], **found: Any
) -> ComparisonDocument:
    return ComparisonDocument(
        version=__version__,
        subtypes=snapshot.cohort.subtypes,
        positive=snapshot.cohort.positive,
        synthetic=snapshot.cohort.synthetic,
        folds=len(snapshot.split.folds),
        protocol=snapshot.split.protocol,
        seed=plan.seed,
        split_seed=snapshot.split.config.seed,
        criterion=snapshot.settings.evaluation.criterion,
        made_from=made_from(snapshot),
        runs_seen=tuple(complete_runs(snapshot)),
        test_set=next(iter(groups)),
        groups=groups,
        **found,
    )


def _log_work(schedule: Schedule, engine: Engine, learners: Sequence[Learner], choosing: bool) -> None:
    """Log what will be fitted, and what training networks again will cost, before any of it starts."""
    snapshot = schedule.snapshot

    def fits(learner: Learner) -> list[Fit]:
        more = [*schedule.repeats_of(learner), *schedule.control_of(learner)]
        again = [fit for _, division in more for fit in fits_of(snapshot, learner, division, False)]
        return [*fits_of(snapshot, learner, schedule.present, choosing), *again]

    n_cases = len(snapshot.slices.rows_by_case)
    for line in work_words(n_cases, {c.name: fits(c) for c in learners}, engine.fits, engine.workers):
        logger.info("%s", line)
    if words := training_words(schedule):
        logger.info("%s", words)


def _usable(snapshot: Snapshot, wanted: Sequence[Learner]) -> tuple[list[Learner], list[NotCompared]]:
    """The baselines that this study allows, and the others with the reason."""
    usable, refused = [], []
    for learner in wanted:
        try:
            why = learner.missing(study_data(snapshot))
        except NephroscopeError as error:
            why = str(error)
        if why:
            refused.append(NotCompared(name=learner.name, kind="baseline", reason=why))
        else:
            usable.append(learner)
    return usable, refused


def _ranked(
    schedule: Schedule, engine: Engine, usable: Sequence[Learner], runs: Sequence[FoundRun], choosing: bool
) -> tuple[list[Predictions], list[NotCompared]]:
    """Predictions of all that can be ranked on the present folds, and who gave none."""
    scored = [run.predictions for run in runs if run.predictions is not None]
    _refuse_same_names([*(c.name for c in usable), STACK], [one.name for one in scored])
    found = engine.predict([(c, schedule.present) for c in usable], "folds", choosing)
    ranked = [*(one for one in found if isinstance(one, Predictions)), *scored]
    if not ranked:
        raise StudyError(
            where="nephroscope compare",
            expected="a baseline for which the study has the data, or a trained run on these folds",
            found="neither",
            remedy="train a network, or add sex, age or size to cohort.csv",
        )
    stack = stack_with_networks(schedule.snapshot, schedule.present, ranked)
    silent = [
        NotCompared(name=learner.name, kind="baseline", reason=why)
        for learner, why in zip(usable, found, strict=True)
        if isinstance(why, str)
    ]
    return [*ranked, *([stack] if stack else [])], silent


def _runs_left_out(runs: Sequence[FoundRun]) -> list[NotCompared]:
    return [
        NotCompared(name=run.name, kind="network", reason=run.reason)
        for run in runs
        if run.reason and not run.leaky
    ]


@dataclass(frozen=True, kw_only=True)
class _Area:
    auc: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class _Evaluated:
    """What is needed of evaluation.json."""

    case: _Area


def _leaky(snapshot: Snapshot, run: FoundRun) -> LeakyRun:
    path = snapshot.folder.run(run.name) / "evaluation.json"
    auc = read_document(path, _Evaluated, EVALUATION).case.auc if path.is_file() else None
    return LeakyRun(name=run.name, model=run.model, reason=run.reason, auc=auc)


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


def _refuse_misspelled_primary(snapshot: Snapshot, plan: ComparePlan, train: Sequence[str]) -> None:
    """Refuse a name of the main pair that cannot be ranked, before a network is trained for hours."""
    runs = [path.name for path in snapshot.folder.runs()] if plan.runs is None else [*plan.runs]
    parts = {name: name.rpartition("-") for name in plan.primary}
    numbered = [
        name for name, (model, _, number) in parts.items() if model in train and number.isdecimal()
    ]  # a second run of a network
    _main_pair(snapshot, plan, [*(c.name for c in plan.baselines), *runs, *train, *numbered, STACK])


def _main_pair(snapshot: Snapshot, plan: ComparePlan, names: Sequence[str]) -> tuple[str, ...]:
    """The main pair; none where it is that of study.toml and only some are compared, others than it names.

    Raises:
        ConfigError: The pair has a name that is not in ``names``, nor left out by what is asked for.
    """
    stated = plan.primary == snapshot.settings.comparison.primary
    whole: list[str] = []
    if stated and plan.candidates is not None:
        whole += [*(c.name for c in replace(plan, candidates=None).baselines), STACK]
    if stated and plan.runs is not None:
        whole += [*(path.name for path in snapshot.folder.runs()), STACK]
    for name in plan.primary:
        if name not in (*names, *whole):
            raise ConfigError(
                where="comparison.primary" if stated else "--primary",
                expected=f"two of {', '.join(names)}",
                found=repr(name),
                remedy="correct the name, or train the network first",
            )
    return plan.primary if set(plan.primary) <= {*names} else ()


def _pair_left_out(plan: ComparePlan, pair: Sequence[str]) -> list[Finding]:
    if not plan.primary or pair:
        return []
    pair_words = " against ".join(plan.primary)
    text = f"the main pair of study.toml, {pair_words}, is not compared here: not all was asked for"
    return [note("main-pair-left-out", text)]


def _refuse_fused_again(networks: Mapping[str, NetworkLearner]) -> None:
    """Refuse to train a network with clinical facts on other divisions: only the network would be trained.

    Raises:
        ConfigError: There is one.
    """
    for name, learner in networks.items():
        if learner.config.model in FUSED_NETWORKS:
            raise ConfigError(
                where="--train",
                expected="networks that can be trained again on other folds, seeds or labels",
                found=f"{name}, which is fused with clinical facts",
                remedy=f"name {FUSED_NETWORKS[learner.config.model]} instead, or leave out --repeats, --seeds and "
                "--control-networks",
            )


def _refuse_same_names(baselines: Sequence[str], runs: Sequence[str]) -> None:
    """Refuse a run that has a baseline's name: their figures would be taken for each other."""
    for name in runs:
        if name in baselines:
            raise StudyError(
                where=f"run {name}",
                expected="a name that no baseline has",
                found=f"the baseline {name}",
                remedy=f"rename the folder runs/{name}",
            )


__all__ = ["ComparePlan", "Comparison", "compare", "compare_study", "load_comparison"]

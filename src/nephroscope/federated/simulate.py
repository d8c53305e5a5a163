"""A group of hospitals played on one study that has several: the same steps, archives and keys, in processes.

Here all patients are in one place, so what the sites' figures say is compared with the figures of all cases together,
and the group's model with one that was trained on all patients at once.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import CohortError, ConfigError, GroupError
from nephroscope.base.lock import writing
from nephroscope.federated.aggregate import aggregate
from nephroscope.federated.coordinator import invite, new_group
from nephroscope.federated.figure_documents import Pooled
from nephroscope.federated.figures import answers_of
from nephroscope.federated.group import (
    COORDINATOR,
    FORMAT,
    SITE_NAME,
    Invitation,
    Plan,
    Refusal,
    Step,
    site_snapshot,
)
from nephroscope.federated.group_place import GroupPlace
from nephroscope.federated.place import SitePlace
from nephroscope.federated.played_site import SiteJob, of_site, play_sites
from nephroscope.learning.run_files import CompleteRun
from nephroscope.learning.score_run import score_run
from nephroscope.learning.training.run import close_run, open_run_folder, train_folds
from nephroscope.records import OUT_OF_FOLD, Estimate, Fold, Split, TrainConfig
from nephroscope.statistics.estimates import Rows, areas_of, estimate_all
from nephroscope.statistics.intervals import Patients
from nephroscope.study.snapshot import Snapshot, take_snapshot

CENTRAL = "central"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a group is played.

    Attributes:
        rounds: Exchanges of weights; they divide the epochs of [training] evenly.
        local_epochs: As in a plan.
        drop: Sites that leave, after ``drop_after`` rounds.
        quorum: Sites without which no round is closed; None: all that do not leave.
        proximal, local_norm: As in a plan.
        jobs: Sites at the same time; 1 does all in this process.
        central: Train on all patients at once, too.
    """

    rounds: int = 5
    local_epochs: int = 0
    drop: tuple[str, ...] = ()
    drop_after: int = 1
    quorum: int | None = None
    proximal: float = 0.0
    local_norm: bool = False
    jobs: int = 1
    central: bool = True


@dataclass(frozen=True, kw_only=True)
class ModelOnAll:
    """A model on all cases, dropped sites included: the AUC that only who has all cases can compute.

    Attributes:
        auc: On all cases.
        on_staying: On those of the sites that told figures.
        from_histograms: What the group computes from what its sites told.
        apart: Distance of the last two.
    """

    model: str
    auc: Estimate
    on_staying: Estimate
    from_histograms: float | None
    apart: float | None


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What came out.

    Attributes:
        sites: Patients by site.
        dropped: Sites that left.
        failed: Sites that could not do a step, and why; the group went on without them in it.
        models: The group's, the sites' own, their mean, and ``central``, which was trained on all patients at once.
        steps: Records of all steps.
        pooled: The figures of the group.
    """

    group: str
    sites: dict[str, int]
    dropped: tuple[str, ...]
    failed: tuple[Refusal, ...]
    rounds: int
    models: tuple[ModelOnAll, ...]
    best_single: str
    steps: tuple[Step, ...]
    pooled: Pooled
    synthetic: bool

    def auc(self, model: str) -> Estimate:
        """AUC of a model on all cases."""
        return next(one.auc for one in self.models if one.model == model)


def site_names(snapshot: Snapshot) -> dict[str, str]:
    """Name of each site of a study in its group, by site_id.

    Raises:
        CohortError: A patient is of two sites.
    """
    sites_of = defaultdict(set)
    for case in snapshot.cohort.cases:
        sites_of[case.patient_id].add(case.site_id)
    for patient, found in sorted(sites_of.items()):
        if len(found) > 1:
            raise CohortError(
                where=f"patient {patient}",
                expected="all tumors of a patient at one site",
                found=f"site_id {' and '.join(sorted(found))}",
                remedy="correct site_id in cohort.csv: else a site is tested on a patient that another learned from",
            )
    ids = sorted({site for found in sites_of.values() for site in found})
    plain = all(SITE_NAME.fullmatch(one) and one != COORDINATOR for one in ids)
    return {one: one if plain else f"site-{number:02}" for number, one in enumerate(ids, 1)}


def simulate(root: Path, out: Path, options: Options, training: TrainConfig | None = None) -> Simulation:
    """Play a group on the sites of a study; run again, it goes on where it stopped.

    Raises:
        CohortError: A site has too few patients.
        GroupError: The folder holds another simulation.
        StudyError: Another process plays in this folder.
    """
    with writing(out, "federate simulate"):
        return _play(root, out, options, training)


def _play(root: Path, out: Path, options: Options, training: TrainConfig | None) -> Simulation:
    snapshot = take_snapshot(root)
    if training is not None:
        snapshot = replace(snapshot, settings=replace(snapshot.settings, training=training))
    names = site_names(snapshot)
    unknown = set(options.drop) - set(names.values())
    if unknown or len(options.drop) >= len(names):
        raise ConfigError(
            where="--drop",
            expected=f"some of {', '.join(names.values())}, not all",
            found=", ".join(options.drop),
            remedy="correct the names",
        )
    place = _group(snapshot, out / "hospitals", options, len(names))
    jobs = {name: _job(root, out, place, site_id, name) for site_id, name in names.items()}
    plan = place.plan
    failed: list[Refusal] = []
    while len(place.made()) <= plan.figures:
        step = len(place.made())
        gone = options.drop if step > options.drop_after else ()
        there = [one.name for one in place.group().sites] if step else list(jobs)
        todo = [replace(jobs[name], step=step) for name in there if name not in gone]
        failed += play_sites(todo, options.jobs)
        absent = [one.site for one in failed if one.step == step]
        _check_enough(plan, step, len(todo), [one for one in failed if one.step == step])
        aggregate(place, [name for name in there if name in gone or name in absent])
    return _result(snapshot, out, place, names, options, failed)


def _check_enough(plan: Plan, step: int, n_asked: int, failed: Sequence[Refusal]) -> None:
    """Refuse to go on where too few sites did their step, naming each that could not and why."""
    if failed and n_asked - len(failed) < plan.quorum:
        raise GroupError(
            where=f"group {plan.name}, {plan.words(step)}",
            expected=f"that at least {plan.quorum} sites do it, the quorum",
            found=f"{n_asked - len(failed)}; " + "; ".join(f"{r.site} [{r.code}]: {r.why}" for r in failed),
            remedy="correct these sites and run it again, it goes on here; or lower --quorum",
        )


def _group(snapshot: Snapshot, folder: Path, options: Options, n_sites: int) -> GroupPlace:
    place = GroupPlace(folder)
    quorum = options.quorum or n_sites - len(options.drop)
    decided = {name: getattr(options, name) for name in ("rounds", "local_epochs", "proximal", "local_norm")}
    if not folder.exists():
        new_group(folder, snapshot.settings, quorum=quorum, days=0.0, **decided)
    plan = place.plan
    same = plan.training == replace(snapshot.settings.training, patience=0)
    if options.quorum:
        decided["quorum"] = options.quorum
    if not same or any(getattr(plan, name) != value for name, value in decided.items()):
        raise GroupError(
            where=f"folder {folder.parent.name}",
            expected="a simulation with these settings",
            found="one with others",
            remedy="choose another --out, or remove the folder",
        )
    return place


def _job(root: Path, out: Path, place: GroupPlace, site_id: str, name: str) -> SiteJob:
    path = place.folder / "invitations" / f"{name}.json"
    if not path.exists():
        invite(place, name)
    return SiteJob(
        study=str(root),
        place=str(out / "sites" / name),
        site_id=site_id,
        invitation=read_document(path, Invitation, FORMAT),
        exchange=str(place.exchange),
        step=0,
    )


def _result(
    snapshot: Snapshot,
    out: Path,
    place: GroupPlace,
    names: dict[str, str],
    options: Options,
    failed: Sequence[Refusal],
) -> Simulation:
    plan, group = place.plan, place.group()
    pooled = place.made()[-1].document("pooled.json", Pooled)
    joined = {one.name for one in group.sites}
    parts = {
        name: site_snapshot(of_site(snapshot, site_id), plan)
        for site_id, name in names.items()
        if name in joined
    }
    found = _on_all(out, place, parts)
    if options.central:
        found[CENTRAL] = _central(out / CENTRAL, snapshot, parts, plan)
    staying = {site for used in place.steps()[-1:] for site in (one.site for one in used.used)}
    told = {one.model: one.histogram.value for one in pooled.models}
    models = []
    for model, answers in found.items():
        on_staying = _auc(snapshot, {k: v for k, v in answers.items() if k in staying}, plan)
        value = told.get(model)
        apart = None if value is None or on_staying.value is None else abs(value - on_staying.value)
        models.append(
            ModelOnAll(
                model=model,
                auc=_auc(snapshot, answers, plan),
                on_staying=on_staying,
                from_histograms=value,
                apart=apart,
            )
        )
    result = Simulation(
        group=group.plan.id,
        sites={
            name: len({c.patient_id for c in part.cohort.cases if c.subtype}) for name, part in parts.items()
        },
        dropped=options.drop,
        failed=tuple(failed),
        rounds=plan.rounds,
        models=tuple(models),
        best_single=pooled.best_single,
        steps=tuple(place.steps()),
        pooled=pooled,
        synthetic=snapshot.cohort.synthetic,
    )
    save_document(out / "simulation.json", result, FORMAT)
    return result


Answered = dict[str, dict[str, "tuple[float, ...]"]]  # site -> case -> probabilities


def _on_all(out: Path, place: GroupPlace, parts: dict[str, Snapshot]) -> dict[str, Answered]:
    """Answers of every model to the cases of every site, also of those that left."""
    found: dict[str, Answered] = defaultdict(dict)
    archive = place.made()[place.plan.closing]
    for site, study in parts.items():
        own = SitePlace(out / "sites" / site)
        for model, (cases, p) in answers_of(own, study, archive).items():
            found[model][site] = {case: tuple(row) for case, row in zip(cases, p.tolist(), strict=True)}
    return dict(found)


def _central(folder: Path, snapshot: Snapshot, parts: dict[str, Snapshot], plan: Plan) -> Answered:
    """Train on the patients of all sites at once, with the folds of the sites put together."""
    study = snapshot.with_split(union([part.split for part in parts.values()]))
    if not (folder / "run.json").exists():
        open_run_folder(folder, study, plan.training, at_once=True)
        train_folds(folder, study, plan.training, [fold.index for fold in study.split.folds])
        close_run(folder, study, plan.training, keep_checkpoints=False)
    answers = score_run(CompleteRun(folder=folder, snapshot=study))[0]
    p = {
        one.case_id: tuple(one.probabilities[name] for name in study.cohort.subtypes)
        for one in answers
        if one.group == OUT_OF_FOLD
    }
    return {
        site: {case.case_id: p[case.case_id] for case in part.cohort.cases if case.case_id in p}
        for site, part in parts.items()
    }


def union(splits: Sequence[Split]) -> Split:
    """The folds of several sites put together, fold by fold."""
    first = splits[0]
    folds = [
        Fold(
            index=fold.index,
            **{
                name: frozenset[str]().union(*(getattr(split.folds[fold.index], name) for split in splits))
                for name in ("train", "validation", "test")
            },
        )
        for fold in first.folds
    ]
    patient_of = {name: patient for split in splits for name, patient in split.patient_of.items()}
    held = frozenset[str]().union(*(split.holdout for split in splits))
    return replace(first, folds=tuple(folds), patient_of=patient_of, holdout=held)


def _auc(snapshot: Snapshot, answers: Answered, plan: Plan) -> Estimate:
    cases = [(case, p) for site in sorted(answers) for case, p in sorted(answers[site].items())]
    truth = np.array([snapshot.labels[case] for case, _ in cases], dtype=np.intp)
    p = np.array([row for _, row in cases])
    by_id = snapshot.cohort.by_id
    patients = Patients.of([by_id[case].patient_id for case, _ in cases], truth, range(plan.split.folds))
    rows = Rows(unit="case", truth=truth, called=truth, p=p, patients=patients)
    at = snapshot.positive
    areas = (
        areas_of(rows, plan.subtypes, at) if len(plan.subtypes) == 2 else {"auc": [(p[:, at], truth == at)]}
    )
    return estimate_all(rows, {}, areas, snapshot.settings.evaluation)["auc"]

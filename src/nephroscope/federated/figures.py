"""The last step at a site: the group's model becomes a run here, and all models answer this site's patients."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import ConfigError, GroupError
from nephroscope.base.files import make_folder, publish_folder
from nephroscope.clinic.call import label_of
from nephroscope.federated.archive import Archive, as_json, manifest_of, write_archive
from nephroscope.federated.contents import is_mean, own_names
from nephroscope.federated.figure_documents import ALONE, MEAN, OTHERS, TOGETHER, ModelFigures, SiteFigures
from nephroscope.federated.group import FEWEST, Plan, site_snapshot
from nephroscope.federated.leaving import Waiting, keep_waiting, save_leaves, waiting_of
from nephroscope.federated.place import SitePlace
from nephroscope.federated.site import earlier_epochs, next_step, norms_here
from nephroscope.learning.run_files import Compute
from nephroscope.learning.training.rounds import (
    NETWORK,
    Arrays,
    arrays_from_bytes,
    case_probabilities,
    finish_shared_fold,
    measured_norms,
)
from nephroscope.learning.training.run import close_run, fold_task, open_run_folder
from nephroscope.records import OUT_OF_FOLD, Estimate, EvaluationConfig
from nephroscope.statistics.auc import auc_covariance
from nephroscope.statistics.calibration import calibrate
from nephroscope.statistics.cross_validation import variance_factor
from nephroscope.statistics.estimates import Rows, areas_of, estimate_all, shares_of
from nephroscope.statistics.histograms import noise_error, noisy, score_histogram
from nephroscope.statistics.intervals import Patients
from nephroscope.study.snapshot import Snapshot

Share = Literal["histogram", "scores", "figures"]
BINS, NOISY_BINS = 100, 20


def make_figures(
    place: SitePlace, snapshot: Snapshot, share: Share = "histogram", epsilon: float = 0.0
) -> Waiting:
    """Answer this site's patients with all models, and lay down the figures for approval.

    Args:
        place: Of the group.
        snapshot: The site's study.
        share: Histograms of scores, the scores themselves, or neither.
        epsilon: Of the noise on all histograms together; 0 for none. With noise nothing else is told.

    Raises:
        GroupError: The rounds are not over.
    """
    if not 0 <= epsilon <= 1000 or (epsilon and share != "histogram"):
        raise ConfigError(
            where="--epsilon",
            expected="0 for no noise, or up to 1000, with --share histogram",
            found=f"{epsilon} with {share}",
            remedy="choose one of them: figures without noise next to noisy ones would undo the noise",
        )
    archive, step = next_step(place)
    plan = place.group().plan
    if step != plan.figures:
        raise GroupError(
            where=f"group {plan.name}",
            expected="that all rounds and the closing exchange are done",
            found=f"that {plan.words(step)} is to come",
            remedy="run `nephroscope federate train-round STUDY`",
        )
    if waiting := waiting_of(place, step):
        return waiting
    study = site_snapshot(snapshot, plan)
    adopt(place, study, archive)
    answers = answers_of(place, study, archive)
    told, error = figures_of(study, plan, answers, share, epsilon)
    members = {"figures.json": as_json(told)}
    manifest = manifest_of(plan.id, step, place.site, archive.digest, members)
    path = place.waiting / place.name_of(step)
    digest = write_archive(path, manifest, members, place.folder)
    kept = keep_waiting(place, step, digest, members, {}, snapshot.cohort.synthetic)
    if error is None:
        return kept
    kept.leaves.risk["auc_error_of_noise"] = error
    return save_leaves(place, path, kept.leaves)


def group_weights(place: SitePlace, study: Snapshot, archive: Archive, fold: int) -> Arrays:
    """The group's weights of a fold, with this site's own batch norm where it stays here."""
    plan = place.invitation.plan
    weights = arrays_from_bytes(archive.read(f"fold-{fold}.safetensors"), archive.path.name)
    own = own_names(plan)
    if own:
        task = fold_task(study, plan.training, study.split.folds[fold])
        norms = norms_here(place, task, study, plan.rounds, own)
        weights |= {k.removeprefix(NETWORK): v for k, v in norms.items() if k.startswith(NETWORK)}
        if is_mean(place.receive()[plan.rounds]):
            whole = {NETWORK + name: value for name, value in weights.items()}
            weights |= measured_norms(task, Compute(threads=1), study.slices.spec, whole)
    return weights


def adopt(place: SitePlace, study: Snapshot, archive: Archive) -> None:
    """Make the group's model a complete run of this site, with the site's own learning curves."""
    plan = place.invitation.plan
    if (place.run / "run.json").exists():
        return
    training = place.group().training
    compute = open_run_folder(place.run, study, training, at_once=True)
    for fold in study.split.folds:
        task = fold_task(study, training, fold, compute)
        history = earlier_epochs(place, fold.index, plan.rounds + 1, training.epochs)
        weights = group_weights(place, study, archive, fold.index)
        finish_shared_fold(place.run / f"fold-{fold.index}", task, study, weights, history)
    close_run(place.run, study, training, keep_checkpoints=False)


def into_study(place: SitePlace, study: Path) -> Path:
    """Copy the run into the study, where evaluate, report and export find it; gives its folder."""
    target = study / "runs" / f"federated-{place.invitation.plan.name}"
    if not target.exists():
        draft = target.with_name(f".{target.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        make_folder(target.parent)
        shutil.copytree(place.run, draft)
        publish_folder(draft, target)
    return target


Probabilities = npt.NDArray[np.float64]
Answers = dict[str, tuple[list[str], Probabilities]]  # model -> cases, probabilities (n, n_subtypes)


def answers_of(place: SitePlace, study: Snapshot, archive: Archive) -> Answers:
    """Probabilities of all out-of-fold cases by every model, each case by the networks of its fold."""
    plan = place.invitation.plan
    members = [member.name for member in archive.manifest.members]
    sites = sorted({name.rpartition("-fold-")[0].removeprefix(ALONE) for name in members if ALONE in name})
    names: list[str] = []
    parts: dict[str, list[Probabilities]] = {}
    for fold in study.split.folds:
        cases = sorted(name for name in fold.test if study.test_set_of(name) == OUT_OF_FOLD)
        names += cases
        weights = {TOGETHER: group_weights(place, study, archive, fold.index)}
        for site in sites:
            content = archive.read(f"{ALONE}{site}-fold-{fold.index}.safetensors")
            weights[ALONE + site] = arrays_from_bytes(content, archive.path.name)
        for model, own in weights.items():
            p = case_probabilities(study, plan.training, own, cases)
            parts.setdefault(model, []).append(p)
    found = {model: np.concatenate(p) for model, p in parts.items()}
    alone = {site: found[ALONE + site] for site in sites}
    found[MEAN] = np.mean(list(alone.values()), axis=0)
    others = [p for site, p in alone.items() if site != place.site]
    if others:
        found[OTHERS] = np.mean(others, axis=0)
    return {model: (names, p) for model, p in found.items()}


def figures_of(
    study: Snapshot, plan: Plan, answers: Answers, share: Share, epsilon: float
) -> tuple[SiteFigures, float | None]:
    """What is told of these answers, and the error that the noise makes in the AUC of the group's model."""
    names = answers[TOGETHER][0]
    by_id, positive = study.cohort.by_id, study.positive
    truth = np.array([study.labels[name] for name in names], dtype=np.intp)
    patients = Patients.of([by_id[name].patient_id for name in names], truth, range(plan.split.folds))
    is_positive = truth == positive
    smallest = min(patients.count(is_positive), patients.count(~is_positive))
    few = smallest < FEWEST
    models, error = [], None
    for model, (_, p) in sorted(answers.items()):
        bins = NOISY_BINS if epsilon else BINS
        histogram = score_histogram(p[:, positive], is_positive, bins)
        if epsilon:
            rng = np.random.default_rng()  # of the system, never a seed: who knows the noise can take it away
            each = epsilon / len(answers)  # every model answers the same patients: what each tells adds up
            first = np.unique(patients.row, return_index=True)[1]  # a case of each patient, not more
            histogram = score_histogram(p[first, positive], is_positive[first], bins)
            if model == TOGETHER:
                error = noise_error(histogram, each, rng)
            models.append(_told(model, noisy(histogram, each, rng)))
        elif few:
            continue
        else:
            rows = Rows(unit="case", truth=truth, called=_called(p, positive), p=p, patients=patients)
            config = study.settings.evaluation
            own = _scores(p[:, positive], is_positive) if share == "scores" else None
            models.append(_figures(model, rows, plan, config, None if share == "figures" else histogram, own))
    hidden = few or epsilon > 0
    told = SiteFigures(
        patients=None if hidden else patients.n,
        positive=None if hidden else int(is_positive.sum()),
        negative=None if hidden else int((~is_positive).sum()),
        folds=plan.split.folds,
        epsilon=epsilon,
        models=tuple(models),
        reason=f"fewer than {FEWEST} patients of a subtype" if few and not epsilon else "",
    )
    return told, error


def _called(p: Probabilities, positive: int) -> npt.NDArray[np.intp]:
    return np.array([label_of(row, 0.5, positive) for row in p], dtype=np.intp)


def _scores(p: npt.NDArray[np.float64], is_positive: npt.NDArray[np.bool_]) -> tuple[tuple[float, ...], ...]:
    """Scores by class in order of size: no place in a table says whose they are."""
    return tuple(
        tuple(sorted(round(float(one), 6) for one in p[is_positive == flag])) for flag in (False, True)
    )


def _told(model: str, histogram: npt.NDArray[np.int64]) -> ModelFigures:
    """A model of which only a noisy histogram is told."""
    return ModelFigures(
        model=model, estimates={}, auc_variance=None, expected=None, histogram=_rows(histogram), scores=None
    )


def _rows(histogram: npt.NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(n) for n in row) for row in histogram)


def _figures(
    model: str,
    rows: Rows,
    plan: Plan,
    config: EvaluationConfig,
    histogram: npt.NDArray[np.int64] | None,
    scores: Sequence[Sequence[float]] | None,
) -> ModelFigures:
    at = plan.subtypes.index(plan.positive)
    is_positive, p = rows.truth == at, rows.p[:, at]
    areas = {"auc": [(p, is_positive)]} if len(plan.subtypes) > 2 else areas_of(rows, plan.subtypes, at)
    estimates = estimate_all(rows, shares_of(rows, plan.subtypes, at), areas, config)
    if model == TOGETHER:
        estimates |= calibrate(p, is_positive, rows.patients, config)
    if histogram is None and scores is None:
        estimates = {name: one for name, one in estimates.items() if not _small_cell(name, one)}
    _, covariance, _ = auc_covariance(p[None, :], is_positive, rows.patients)
    variance = None if covariance is None else float(covariance[0, 0]) * variance_factor(plan.split.folds)
    return ModelFigures(
        model=model,
        estimates=estimates,
        auc_variance=variance,
        expected=float(p.sum()),
        histogram=None if histogram is None else _rows(histogram),
        scores=None if scores is None else tuple(tuple(one) for one in scores),
    )


def _small_cell(name: str, share: Estimate) -> bool:
    """True for a share with one to four hits or misses."""
    if name not in ("accuracy", "sensitivity", "specificity") and not name.startswith("precision"):
        return False
    hits = round((share.value or 0.0) * share.n)
    return 0 < hits < FEWEST or 0 < share.n - hits < FEWEST

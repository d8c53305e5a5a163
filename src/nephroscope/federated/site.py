"""What a site does: ask to join, train a round, close the training. Each gives an archive that waits for approval."""

import hmac
import json
import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from nephroscope.base.errors import GroupError
from nephroscope.base.version import __version__
from nephroscope.federated.archive import Archive, as_json, manifest_of, write_archive
from nephroscope.federated.contents import is_mean, measures_norms, norm_name, own_names
from nephroscope.federated.group import (
    FEWEST,
    FoldFigures,
    Invitation,
    Joining,
    Plan,
    RoundFigures,
    n_patients,
    site_snapshot,
)
from nephroscope.federated.keys import make_key
from nephroscope.federated.leaving import Change, Waiting, keep_waiting, waiting_of
from nephroscope.federated.place import SitePlace, make_place
from nephroscope.federated.readiness import counts_of, readiness_findings
from nephroscope.learning.run_files import METRICS, Compute
from nephroscope.learning.training.checkpoint import CHECKPOINT
from nephroscope.learning.training.fit import Epoch, FoldTask, cases_by_subtype
from nephroscope.learning.training.rounds import (
    NETWORK,
    Arrays,
    arrays_as_bytes,
    arrays_from_bytes,
    checkpoint_arrays,
    measured_norms,
    round_task,
    run_round,
    train_alone,
    validation_loss,
)
from nephroscope.learning.training.run import fold_task, open_run_folder
from nephroscope.records import Fold, SliceSpec
from nephroscope.study.snapshot import Snapshot


def join(folder: Path, snapshot: Snapshot, invitation: Invitation, exchange: Path | None) -> Waiting:
    """Make the place of a group, its key, and the request to join, which waits for approval.

    Raises:
        GroupError: The study does not fit the plan, or the place is that of another invitation.
    """
    study = site_snapshot(snapshot, invitation.plan)
    place = make_place(folder, invitation, exchange)
    public = make_key(folder)
    joining = Joining(
        key=public,
        proof=hmac.new(invitation.code.encode(), public.encode(), "sha256").hexdigest(),
        counts=counts_of(study),
        synthetic=study.cohort.synthetic,
        findings=readiness_findings(study, invitation.plan),
    )
    return _keep(place, study, 0, "", {"joining.json": as_json(joining)}, {})


def train_next(place: SitePlace, snapshot: Snapshot) -> Waiting:
    """Train the next round, or close the training, whichever the coordinator waits for.

    Raises:
        GroupError: The coordinator waits for nothing from here, or only for figures.
        ArchiveError: What the coordinator sent is refused.
    """
    archive, step = next_step(place)
    plan = place.group().plan
    if step > plan.closing:
        raise GroupError(
            where=f"group {plan.name}",
            expected="a round to train",
            found="that all rounds are done",
            remedy="run `nephroscope federate evaluate STUDY`",
        )
    if waiting := waiting_of(place, step):
        return waiting
    study, training = site_snapshot(snapshot, plan), place.group().training
    compute = open_run_folder(place.run, study, training, at_once=True)
    if step == plan.closing:
        return _close(place, archive, study, compute)
    members: dict[str, bytes] = {}
    changes: dict[str, Change] = {}
    folds = []
    for fold in study.split.folds:
        task = fold_task(study, training, fold, compute)
        given = given_arrays(place, archive, task, study)
        received = None
        if step > 1 and told(study, fold):
            norms = _norms_of_mean(archive, task, compute, given, study)
            received = validation_loss(task, compute, study.slices.spec, _with(given, norms))
        arrays = _train(place, step, task, compute, given, study.slices.spec)
        own = own_names(plan)
        shared = {name: value for name, value in arrays.items() if name not in own}
        name = f"fold-{fold.index}.safetensors"
        members[name], changes[name] = arrays_as_bytes(shared), Change(before=given, after=shared)
        folds.append(figures_of(study, fold, task, received))
    members["figures.json"] = as_json(RoundFigures(folds=tuple(folds), versions=versions()))
    kept = _keep(place, study, step, archive.digest, members, changes)
    _forget(place, plan, step)
    return kept


def next_step(place: SitePlace) -> tuple[Archive, int]:
    """The coordinator's newest archive, and the step that it waits for.

    Raises:
        GroupError: It has nothing from here to wait for.
    """
    found = place.receive()
    plan = place.invitation.plan
    step = len(found)
    if not found or (place.sent / place.name_of(step)).exists():
        raise GroupError(
            where=f"group {plan.name}",
            expected="an archive of the coordinator that was not answered yet",
            found="none" if found else "none: the group is not closed yet",
            remedy="wait until the coordinator has every site's, and run the command again",
        )
    if step > plan.figures:
        raise GroupError(
            where=f"group {plan.name}",
            expected="a step to do",
            found="none: the group is finished",
            remedy="look at its page, and at the run in this study",
        )
    return found[-1], step


def given_arrays(place: SitePlace, archive: Archive, task: FoldTask, study: Snapshot) -> Arrays:
    """Tensors of a fold in the coordinator's archive, with this site's batch norm where it stays here."""
    name = f"fold-{task.fold}.safetensors"
    given = arrays_from_bytes(archive.read(name), f"{archive.path.name}, {name}")
    own = own_names(place.invitation.plan)
    if own:
        step = archive.manifest.step
        given |= norms_here(place, task, study, step, own)
    return given


def norms_here(place: SitePlace, task: FoldTask, study: Snapshot, step: int, own: frozenset[str]) -> Arrays:
    """This site's batch norm after the rounds up to ``step``; before its first one that of the first archive."""
    if norms := own_norms(place, task, study, step, own):
        return norms
    name = f"fold-{task.fold}.safetensors"
    first = arrays_from_bytes(place.receive()[0].read(name), name)
    return {key: value for key, value in first.items() if key in own}


def own_norms(place: SitePlace, task: FoldTask, study: Snapshot, step: int, own: frozenset[str]) -> Arrays:
    """This site's batch norm after the last round up to ``step`` that it trained; nothing before the first."""
    for earlier in range(step, 0, -1):
        folder = place.round(earlier, task.fold)
        if (folder / CHECKPOINT).exists():
            arrays = checkpoint_arrays(folder, task, study.slices.spec)
            return {name: value for name, value in arrays.items() if name in own}
    return {}


def _norms_of_mean(
    archive: Archive, task: FoldTask, compute: Compute, given: Arrays, study: Snapshot
) -> Arrays:
    """Statistics of batch norm of a mean, from this site's patients; none where the weights are of one site."""
    return measured_norms(task, compute, study.slices.spec, given) if is_mean(archive) else {}


def _with(given: Arrays, norms: Arrays) -> Arrays:
    return given | {NETWORK + name: value for name, value in norms.items()}


def _train(
    place: SitePlace, step: int, task: FoldTask, compute: Compute, given: Arrays, spec: SliceSpec
) -> Arrays:
    """The tensors of a round."""
    group = place.group()
    until = step * group.epochs
    history = earlier_epochs(place, task.fold, step, until - group.epochs)
    this = round_task(task, until, group.plan.proximal, len(group.sites))
    return run_round(place.round(step, task.fold), this, compute, spec, given, history)[0]


def told(study: Snapshot, fold: Fold) -> bool:
    """True where the loss on the validation part of a fold may leave: a mean over fewer patients tells of each."""
    return n_patients(study, fold.validation) >= FEWEST


def figures_of(study: Snapshot, fold: Fold, task: FoldTask, received: float | None) -> FoldFigures:
    """What the site says of a fold; subtypes with one to four patients are not counted."""
    cases: tuple[int, ...] | None = tuple(int(n) for n in cases_by_subtype(task))
    subtypes, by_id = study.cohort.subtypes, study.cohort.by_id
    for subtype in subtypes:
        n = n_patients(study, [name for name in fold.train if by_id[name].subtype == subtype])
        if 0 < n < FEWEST:
            cases = None
    return FoldFigures(
        index=fold.index,
        patients=n_patients(study, fold.train),
        cases=cases,
        received_loss=received if received is None or math.isfinite(received) else None,
    )


def earlier_epochs(place: SitePlace, fold: int, step: int, n: int) -> list[Epoch]:
    """The epochs of a fold before a round, as far as this site trained them; rounds it missed have no figures."""
    epochs: list[Epoch] = []
    for earlier in range(step - 1, 0, -1):
        path = place.round(earlier, fold) / METRICS
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            epochs = [_epoch(json.loads(line)) for line in lines]
            break
    nothing = dict.fromkeys(("train_loss", "validation_loss"), math.nan)
    nothing |= dict.fromkeys(("train_accuracy", "validation_accuracy", "learning_rate", "seconds"), 0.0)
    return epochs[:n] + [Epoch(epoch=number + 1, **nothing) for number in range(len(epochs), n)]


def _epoch(fields: dict[str, float | None]) -> Epoch:
    values = {name: math.nan if value is None else value for name, value in fields.items()}
    return Epoch(**{**values, "epoch": int(values["epoch"])})  # type: ignore[arg-type]


def _close(place: SitePlace, archive: Archive, study: Snapshot, compute: Compute) -> Waiting:
    """Measure batch norm of the last round's mean, and train a model on this site's patients alone."""
    plan, spec = place.invitation.plan, study.slices.spec
    folds, members = [], {}
    for fold in study.split.folds:
        task = fold_task(study, place.group().training, fold, compute)
        folder = place.folder / "alone" / f"fold-{fold.index}"
        members[f"alone-fold-{fold.index}.safetensors"] = train_alone(folder, task, compute, spec)
        given = given_arrays(place, archive, task, study)
        norms = _norms_of_mean(archive, task, compute, given, study)
        if norms and measures_norms(plan):
            members[norm_name(fold.index)] = arrays_as_bytes(norms)
        received = validation_loss(task, compute, spec, _with(given, norms)) if told(study, fold) else None
        folds.append(figures_of(study, fold, task, received))
    changes = {
        name: Change(before={}, after=arrays_from_bytes(content, name))
        for name, content in members.items()
        if name.startswith("alone")
    }
    members["figures.json"] = as_json(RoundFigures(folds=tuple(folds), versions=versions()))
    return _keep(place, study, plan.closing, archive.digest, members, changes)


def versions() -> dict[str, str]:
    """Of what trained: weights of other versions differ in their last bits."""
    return {"nephroscope": __version__, **{name: version(name) for name in ("torch", "numpy")}}


def _keep(
    place: SitePlace,
    study: Snapshot,
    step: int,
    previous: str,
    members: dict[str, bytes],
    changes: dict[str, Change],
) -> Waiting:
    """Sign an archive, and lay it down with the page of what would leave."""
    manifest = manifest_of(place.invitation.plan.id, step, place.site, previous, members)
    path = place.waiting / place.name_of(step)
    digest = write_archive(path, manifest, members, place.folder)
    return keep_waiting(place, step, digest, members, changes, study.cohort.synthetic)


def _forget(place: SitePlace, plan: Plan, step: int) -> None:
    """Remove checkpoints of earlier rounds that nothing needs any more."""
    if plan.local_norm:
        return
    for earlier in range(1, step):
        for path in _checkpoints(place, earlier, plan):
            path.unlink(missing_ok=True)


def _checkpoints(place: SitePlace, step: int, plan: Plan) -> Sequence[Path]:
    return [place.round(step, fold) / CHECKPOINT for fold in range(plan.split.folds)]

"""Close a step: the first weights, the mean of a round, the group's model."""

from collections.abc import Sequence

import numpy as np

from nephroscope.federated.archive import Archive, as_json
from nephroscope.federated.contents import figures_in, fold_name, is_mean, measures_norms, norm_name, tensors
from nephroscope.federated.coordinator import (
    Arrived,
    check_complete,
    group_of,
    lay_out,
    look,
    publish,
    record_of,
)
from nephroscope.federated.group import Plan, RoundFigures, Step
from nephroscope.federated.group_place import GroupPlace
from nephroscope.federated.mean import drift, mean_of, sums_of
from nephroscope.learning.training.rounds import Arrays, arrays_as_bytes, final_weights, first_arrays


def aggregate(place: GroupPlace, without: Sequence[str] = ()) -> tuple[Archive, Step]:
    """Close the present step from what came; gives the coordinator's archive and its record.

    Raises:
        GroupError: Somebody is missing, and it may not go on without them.
        ArchiveError: The tensors of two sites do not fit each other.
    """
    lay_out(place)
    arrived, plan = look(place), place.plan
    check_complete(arrived, plan, without)
    if arrived.step == 0:
        return _begin(place, arrived)
    if arrived.step <= plan.rounds:
        return _mean(place, arrived)
    if arrived.step == plan.closing:
        return _close(place, arrived)
    from nephroscope.federated.pooled import pool_figures

    return publish(place, arrived, pool_figures(place, arrived), record_of(arrived, plan))


def _begin(place: GroupPlace, arrived: Arrived) -> tuple[Archive, Step]:
    plan = place.plan
    members = {"group.json": as_json(group_of(arrived, plan))}
    for fold in range(plan.split.folds):
        arrays = first_arrays(plan.training, fold, len(plan.subtypes), plan.slices)
        members[fold_name(fold)] = arrays_as_bytes(arrays)  # whole: batch norm of a site begins there, too
    return publish(place, arrived, members, record_of(arrived, plan))


def _mean(place: GroupPlace, arrived: Arrived) -> tuple[Archive, Step]:
    plan, before = place.plan, place.made()[-1]
    figures = {site: figures_in(archive, plan) for site, archive in arrived.archives.items()}
    members, drifts = {}, []
    for fold in range(plan.split.folds):
        name = fold_name(fold)
        arrays = {site: tensors(archive, name) for site, archive in arrived.archives.items()}
        mean = mean_of(arrays, {site: found.folds[fold].patients for site, found in figures.items()})
        drifts.append(drift(arrays, mean, tensors(before, name)))
        members[name] = arrays_as_bytes(mean)
    record = record_of(
        arrived, plan, losses=group_losses(list(figures.values()), plan), drift=_mean_drift(drifts)
    )
    return publish(place, arrived, members, record)


def _close(place: GroupPlace, arrived: Arrived) -> tuple[Archive, Step]:
    """The group's model, that of the last round, next to those of its sites alone.

    The learning rate has fallen to zero by then. A choice of the round by validation loss would rest on few patients
    of each site, whose loss would have to leave it. A group of one site needs no such choice: its model is the one
    that this site trained alone, with the best epoch, as `train` gives it.
    """
    plan, last = place.plan, place.made()[-1]
    figures = [figures_in(archive, plan) for _, archive in sorted(arrived.archives.items())]
    is_one_training = len(place.group().sites) == 1 and not (plan.local_norm or plan.proximal)
    members = {}
    for fold in range(plan.split.folds):
        counts = sums_of([one.folds[fold].cases for one in figures]) if plan.training.class_weights else None
        weights = final_weights(
            tensors(last, fold_name(fold)), None if counts is None else np.array(counts)
        ) | mean_norms(arrived, plan, last, fold)
        alone = {
            site: archive.read(f"alone-{fold_name(fold)}")
            for site, archive in sorted(arrived.archives.items())
        }
        members[fold_name(fold)] = next(iter(alone.values())) if is_one_training else arrays_as_bytes(weights)
        members |= {f"alone-{site}-{fold_name(fold)}": content for site, content in alone.items()}
    return publish(place, arrived, members, record_of(arrived, plan, losses=group_losses(figures, plan)))


def mean_norms(arrived: Arrived, plan: Plan, before: Archive, fold: int) -> Arrays:
    """Statistics of batch norm of the mean that the sites received, as measured at each; empty without a mean.

    Args:
        arrived: What came.
        plan: Of the group.
        before: The archive that the sites answered.
        fold: Of the division.
    """
    if not (is_mean(before) and measures_norms(plan)):
        return {}
    arrays = {site: tensors(archive, norm_name(fold)) for site, archive in arrived.archives.items()}
    patients = {site: figures_in(a, plan).folds[fold].patients for site, a in arrived.archives.items()}
    return mean_of(arrays, patients)


def group_losses(figures: Sequence[RoundFigures], plan: Plan) -> tuple[float | None, ...]:
    """Validation loss of the model that sites received, by fold: the mean over sites by their patients."""
    found: list[float | None] = []
    for fold in range(plan.split.folds):
        own = [one.folds[fold] for one in figures]
        told = [(f.received_loss, f.patients) for f in own if f.received_loss is not None]
        n = sum(patients for _, patients in told)
        found.append(sum(loss * patients for loss, patients in told) / n if n else None)
    return tuple(found)


def _mean_drift(drifts: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    """Mean over folds, by site."""
    found: dict[str, float | None] = {}
    for site in drifts[0]:
        values = [value for one in drifts if (value := one[site]) is not None]
        found[site] = sum(values) / len(values) if values else None
    return found

"""What must be in a site's archive: figures of every fold, and finite tensors of the group's network."""

from nephroscope.base.errors import ArchiveError, NephroscopeError
from nephroscope.federated.archive import Archive, refused
from nephroscope.federated.group import Plan, RoundFigures, Step
from nephroscope.learning.training.rounds import (
    NETWORK,
    VARIANCE,
    Arrays,
    arrays_from_bytes,
    network_shapes,
    norm_names,
    norm_shapes,
)


def check_contents(archive: Archive, plan: Plan, is_mean: bool) -> None:
    """Refuse an archive of a round or of the closing exchange whose tensors or figures cannot be used.

    Args:
        archive: Of a site.
        plan: Of the group.
        is_mean: What it answers held the mean of several sites' weights, so that statistics of batch norm are due.

    Raises:
        ArchiveError: They cannot.
    """
    step = archive.manifest.step
    if not 1 <= step <= plan.closing:
        return
    try:
        figures_in(archive, plan)
        for fold in range(plan.split.folds):
            if step == plan.closing:
                found = tensors(archive, f"alone-{fold_name(fold)}")
                found = {NETWORK + name: value for name, value in found.items()}
            else:
                found = tensors(archive, fold_name(fold))
            check_network(found, plan, fold)
            if is_mean and measures_norms(plan):
                check_norms(tensors(archive, norm_name(fold)), plan, fold)
    except NephroscopeError as error:
        if error.code.startswith("archive-"):
            raise
        raise refused("damaged", archive.path, error.expected, error.found) from error


def fold_name(fold: int) -> str:
    """Name of the tensors of a fold."""
    return f"fold-{fold}.safetensors"


def norm_name(fold: int) -> str:
    """Name of the statistics of batch norm that belong to the mean of a fold."""
    return f"norm-fold-{fold}.safetensors"


def measures_norms(plan: Plan) -> bool:
    """True where the statistics of batch norm of a mean are measured by all sites together."""
    return not plan.local_norm and bool(norm_shapes(plan.training, len(plan.subtypes), plan.slices))


def is_mean(archive: Archive) -> bool:
    """True where an archive of the coordinator holds the mean of the weights of several sites."""
    record = archive.document("step.json", Step)
    return record.step > 0 and len(record.used) > 1


def tensors(archive: Archive, name: str) -> Arrays:
    """The tensors of a member."""
    return arrays_from_bytes(archive.read(name), f"{archive.path.name}, {name}")


def figures_in(archive: Archive, plan: Plan) -> RoundFigures:
    """What a site says of a round.

    Raises:
        ArchiveError: It is not about every fold, or counts what cannot be.
    """
    found = archive.document("figures.json", RoundFigures)
    sound = all(fold.patients >= 1 and (fold.cases is None or min(fold.cases) >= 0) for fold in found.folds)
    if [fold.index for fold in found.folds] != list(range(plan.split.folds)) or not sound:
        raise ArchiveError(
            where=f"archive {archive.path.name}, figures.json",
            expected=f"figures of {plan.split.folds} folds",
            found="others",
            remedy="ask the site to train the round again",
        )
    return found


def check_network(arrays: Arrays, plan: Plan, fold: int) -> None:
    """Refuse tensors that are not those of the group's network.

    Raises:
        ArchiveError: They are not.
    """
    own = own_names(plan)
    like = network_shapes(plan.training, len(plan.subtypes), plan.slices)
    wanted = {name: shape for name, shape in like.items() if name not in own}
    found = {
        name: (v.shape, v.dtype.str)
        for name, v in arrays.items()
        if name.startswith(NETWORK) and name not in own
    }
    if wanted != found:
        raise ArchiveError(
            where=f"fold {fold}",
            expected=f"the tensors of {plan.training.model}",
            found="others",
            remedy="look which version of nephroscope the sites have",
        )


def check_norms(arrays: Arrays, plan: Plan, fold: int) -> None:
    """Refuse statistics that are not those of the batch norm of the group's network.

    Raises:
        ArchiveError: They are not.
    """
    wanted = norm_shapes(plan.training, len(plan.subtypes), plan.slices)
    found = {name: (value.shape, value.dtype.str) for name, value in arrays.items()}
    if wanted != found or any(arrays[name].min() < 0 for name in wanted if name.endswith(VARIANCE)):
        raise ArchiveError(
            where=f"fold {fold}",
            expected=f"mean and variance of each batch norm of {plan.training.model}, none below 0",
            found="others",
            remedy="look which version of nephroscope the sites have",
        )


def own_names(plan: Plan) -> frozenset[str]:
    """The tensors that stay at each site: those of batch norm, where the plan says so."""
    if not plan.local_norm:
        return frozenset()
    return norm_names(plan.training, len(plan.subtypes), plan.slices)

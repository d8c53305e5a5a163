"""What must be in a site's archive: figures that can be, and finite tensors of the group's network."""

from nephroscope.base.errors import ArchiveError, NephroscopeError
from nephroscope.federated.archive import Archive, refused
from nephroscope.federated.figure_documents import ModelFigures, SiteFigures
from nephroscope.federated.group import FoldFigures, Plan, RoundFigures, Step
from nephroscope.learning.training.rounds import (
    NETWORK,
    VARIANCE,
    Arrays,
    arrays_from_bytes,
    moment_shapes,
    network_shapes,
    norm_names,
    norm_shapes,
)

MOST_CASES = 1_000_000  # of a bin


def check_contents(archive: Archive, plan: Plan, is_mean: bool) -> None:
    """Refuse an archive whose tensors or figures cannot be used: what is wrong in one stops no other site.

    Args:
        archive: Of a site.
        plan: Of the group.
        is_mean: What it answers held the mean of several sites' weights, so that statistics of batch norm are due.

    Raises:
        ArchiveError: They cannot.
    """
    step = archive.manifest.step
    if step == 0:
        return
    try:
        if step == plan.figures:
            last_figures_in(archive)
            return
        figures_in(archive, plan)
        for fold in range(plan.split.folds):
            if step == plan.closing:
                found = tensors(archive, f"alone-{fold_name(fold)}")
                check_network({NETWORK + name: value for name, value in found.items()}, plan, fold)
            else:
                check_network(tensors(archive, fold_name(fold)), plan, fold, of_round=True)
            if step == plan.closing and is_mean and measures_norms(plan):
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
    sound = all(_is_sound(fold, plan) for fold in found.folds)
    if [fold.index for fold in found.folds] != list(range(plan.split.folds)) or not sound:
        raise ArchiveError(
            where=f"archive {archive.path.name}, figures.json",
            expected=f"figures of {plan.split.folds} folds",
            found="others",
            remedy="ask the site to train the round again",
        )
    return found


def _is_sound(fold: FoldFigures, plan: Plan) -> bool:
    """True where these counts can be."""
    counts = fold.cases is None or (len(fold.cases) == len(plan.subtypes) and min(fold.cases) >= 0)
    return fold.patients >= 1 and counts


def last_figures_in(archive: Archive) -> SiteFigures:
    """What a site says at the end.

    Raises:
        ArchiveError: A histogram or figure of a model is none.
    """
    found = archive.document("figures.json", SiteFigures)
    odd = [model.model for model in found.models if not _is_told(model)]
    counts = [n for n in (found.patients, found.positive, found.negative) if n is not None]
    if odd or min(counts, default=0) < 0 or found.folds < 1:
        raise ArchiveError(
            where=f"archive {archive.path.name}, figures.json",
            expected="counts, histograms of two classes, and figures between their limits",
            found=f"something else{f' for {odd[0]}' if odd else ''}",
            remedy="ask the site to run `nephroscope federate evaluate --again`",
        )
    return found


def _is_told(model: ModelFigures) -> bool:
    """True where the figures of a model can be."""
    rows, auc = model.histogram or ((0,), (0,)), model.estimates.get("auc")
    scores = model.scores or ((), ())
    return (
        len(rows) == 2
        and 1 <= len(rows[0]) == len(rows[1]) <= 1000
        and all(0 <= n <= MOST_CASES for row in rows for n in row)
        and len(scores) == 2
        and all(0 <= p <= 1 for row in scores for p in row)
        and (auc is None or auc.value is None or 0 <= auc.value <= 1)
        and (model.auc_variance is None or 0 <= model.auc_variance <= 1)
        and (model.expected is None or 0 <= model.expected <= MOST_CASES)
    )


def check_network(arrays: Arrays, plan: Plan, fold: int, of_round: bool = False) -> None:
    """Refuse tensors that are not those of the group's network.

    Args:
        arrays: The tensors.
        plan: Of the group.
        fold: Of the division.
        of_round: With the moments of the optimizer, and without what stays at a site.

    Raises:
        ArchiveError: They are not.
    """
    asked = (plan.training, len(plan.subtypes), plan.slices)
    wanted = network_shapes(*asked)
    if of_round:
        own = own_names(plan)
        wanted = {name: like for name, like in (wanted | moment_shapes(*asked)).items() if name not in own}
    found = {name: (value.shape, value.dtype.str) for name, value in arrays.items()}
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

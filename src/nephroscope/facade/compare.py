"""The verb that compares: a study and a plan in, networks trained where they are asked for, the comparison out."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nephroscope.base.errors import ConfigError
from nephroscope.learning.networks.table import NETWORKS

if TYPE_CHECKING:
    from nephroscope.facade.study import Study
    from nephroscope.learning.engine.jobs import Means
    from nephroscope.learning.engine.study_data import Material
    from nephroscope.questions.compare.comparison import ComparePlan, Comparison

logger = logging.getLogger(__name__)


def material_of(study: "Study") -> "Material":
    """What experiments on a study are made from; refuses what is stale."""
    from nephroscope.learning.engine.study_data import Material

    return Material(
        folder=study.folder,
        settings=study.settings,
        cohort=study.cohort,
        store=study.slices(),
        split=study.split(),
    )


def compare_study(
    study: "Study", plan: "ComparePlan | None" = None, train: Sequence[str] = ()
) -> "Comparison":
    """Rank baselines, trained runs and their stack on the present folds; writes comparison/ of the study.

    Args:
        study: With slices.
        plan: What is compared, and how thoroughly.
        train: Networks that are trained first where no run of theirs can be ranked.

    Raises:
        ConfigError: A network, candidate or number is not allowed.
        StudyError: The split is by image or stale, or nothing can be compared.
    """
    from nephroscope.questions.compare.comparison import ComparePlan, compare, refuse_leaky

    plan, material = plan or ComparePlan(), material_of(study)
    refuse_leaky(material.split)
    trained = _train(study, material, train, plan.means)
    if plan.repeats > 1 or plan.seeds > 1 or plan.control_networks:
        plan = replace(plan, trained=tuple(trained))
    if plan.runs is not None:
        plan = replace(plan, runs=tuple(dict.fromkeys([*plan.runs, *trained])))
    return compare(material, plan)


def _train(study: "Study", material: "Material", networks: Sequence[str], means: "Means") -> list[str]:
    """Names of the runs of these networks on the present folds, trained where there is none."""
    from nephroscope.learning.engine.networks import run_of

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
        name = run_of(material, network)
        if name is None:
            logger.info("training %s on %d folds", network, len(material.split.folds))
            name = str(study.train(replace(study.settings.training, model=network), means=means)["name"])
        names.append(name)
    return names

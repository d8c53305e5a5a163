"""The trainings of an experiment: a `Setup` in, an `Arm` for each network, protocol and fold out."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from nephroscope.records.digest import digest_of
from nephroscope.replicate.setup import Setup
from nephroscope.training.arm import Arm
from nephroscope.training.batches import labelled_slices
from nephroscope.training.copies import RECIPE, AmplifiedSlices, amplify, paper_spec

VERSION = 1  # of what an arm computes; part of its digest
Kind = Literal["paper", "twin"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """One training and the images it is judged on afterwards."""

    model: str
    kind: Kind
    shuffled: bool
    arm: Arm
    judged: AmplifiedSlices


def make_parts(setup: Setup, folder: Path) -> list[Part]:
    """Every training of the experiment, network by network; each folder is named by what it depends on."""
    parts = []
    for model in setup.options.models:
        parts += [_paper_part(setup, model, False, folder), *_twin_parts(setup, model, False, folder)]
    shuffled = setup.options.shuffled
    if shuffled is not None:
        parts += [_paper_part(setup, shuffled, True, folder), *_twin_parts(setup, shuffled, True, folder)]
    return parts


def _paper_part(setup: Setup, model: str, shuffled: bool, folder: Path) -> Part:
    cohort = setup.shuffled_cohort if shuffled else setup.cohort
    images = amplify(labelled_slices(setup.store, cohort, frozenset(setup.development)))
    train, validation = setup.paper_split
    batch = setup.training(model).batch_size
    if setup.options.images_per_epoch != 0:
        validation = validation[: max(setup.images_per_epoch, batch)]
    if len(validation) >= batch:
        validation = validation[: len(validation) // batch * batch]  # the last partial batch is dropped
    choose = _renumbered(images.take(validation))
    return _part(setup, model, ("paper", shuffled, 0), (images.take(train), choose, choose), folder)


def _twin_parts(setup: Setup, model: str, shuffled: bool, folder: Path) -> list[Part]:
    cohort = setup.shuffled_cohort if shuffled else setup.cohort
    parts = []
    for fold in setup.twin_folds(cohort):
        train, choose, judged = (
            labelled_slices(setup.store, cohort, names) for names in (fold.train, fold.validation, fold.test)
        )
        images = (amplify(train), amplify(choose, 1), amplify(judged, 1))
        parts.append(_part(setup, model, ("twin", shuffled, fold.index), images, folder))
    return parts


def _part(
    setup: Setup,
    model: str,
    what: tuple[Kind, bool, int],
    images: tuple[AmplifiedSlices, AmplifiedSlices, AmplifiedSlices],
    folder: Path,
) -> Part:
    kind, shuffled, fold = what
    train, choose, judged = images
    config = setup.training(model)
    content = [VERSION, RECIPE, kind, shuffled, fold, config.digest, setup.images_per_epoch]
    content += [setup.store.digest, *(_digest(part) for part in (train, choose))]
    name = "-".join([model, kind, *["shuffled"] * shuffled, *[f"fold{fold}"] * (kind == "twin")])
    arm = Arm(
        folder=folder / "arms" / f"{name}-{digest_of(content)}",
        train=train,
        choose=choose,
        choose_by="accuracy" if kind == "paper" else "loss",
        images_per_epoch=setup.images_per_epoch,
        n_subtypes=2,
        config=config,
        spec=paper_spec(setup.store.spec),
        fold=fold,
    )
    return Part(model=model, kind=kind, shuffled=shuffled, arm=arm, judged=judged)


def _digest(images: AmplifiedSlices) -> str:
    return digest_of([images.rows.tolist(), images.copies.tolist(), images.labels.tolist()])


def _renumbered(images: AmplifiedSlices) -> AmplifiedSlices:
    """With cases numbered from 0 without gaps, as the mean over cases needs."""
    return replace(images, cases=np.unique(images.cases, return_inverse=True)[1].astype(np.int64))

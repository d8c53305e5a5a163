"""Train a network that draws on the folds of a study, by the same engine as any other; the planes are made first."""

from dataclasses import replace

from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.base.text import counted_noun
from nephroscope.learning.engine.runs import extend_run, resume_run, train_new_run
from nephroscope.learning.engine.workers import Workers
from nephroscope.learning.networks.table import DRAWING_NETWORKS, draws
from nephroscope.learning.planes import PlaneStore, kidneys_of, prepare_planes
from nephroscope.learning.run_files import RunRecord
from nephroscope.records import Split, TrainConfig
from nephroscope.study.snapshot import Snapshot

FEWEST_PATIENTS = 20  # with tumors, below which tumors are learned only where somebody insists
BY_CHOICE = "unet, unet-kidney or unet-tumor"


def train_drawing(
    snapshot: Snapshot,
    config: TrainConfig,
    name: str | None = None,
    workers: Workers | None = None,
    division: Split | None = None,
) -> RunRecord:
    """Train all folds under a new name, by default the network's; gives its record.

    A network that tells subtypes apart in ``config`` leaves the choice to what was drawn: see `chosen_network`.
    ``division`` as in `train_new_run`.

    Raises:
        ConfigError: A setting cannot be used by a network that draws.
        StudyError: The split is by image, too little was drawn, or a part of a fold has no CT.
    """
    snapshot = snapshot.with_split(division) if division else snapshot
    _check(snapshot, config)
    place = _with_segmenters(snapshot)
    if name is not None:
        place.folder.new_run(name, numbered=False)  # refused before the CTs are read
    store = prepare_planes(snapshot)
    model = config.model if draws(config.model) else chosen_network(store)
    _check_drawn(store, model)
    return train_new_run(place, replace(config, model=model), name, workers, division)


def resume_drawing(snapshot: Snapshot, name: str | None = None, workers: Workers | None = None) -> RunRecord:
    """Go on with the named run, or with the last one that was interrupted; gives its record."""
    place = _with_segmenters(snapshot)
    place.folder.interrupted_run(name)
    prepare_planes(snapshot)
    return resume_run(place, name, workers)


def extend_drawing(
    snapshot: Snapshot, n_more: int, name: str | None = None, workers: Workers | None = None
) -> RunRecord:
    """Give the named complete run, or the last one, so many more epochs; gives its record."""
    prepare_planes(snapshot)
    return extend_run(_with_segmenters(snapshot), n_more, name, workers)


def chosen_network(store: PlaneStore) -> str:
    """What can be learned from what was drawn: kidneys where each CT has them, tumors of 20 patients or more.

    Raises:
        StudyError: Neither.
    """
    n_patients = len({ct.patient_id for ct in store.cts})
    kidneys, tumors = not kidneys_of(store)[False], n_patients >= FEWEST_PATIENTS
    if kidneys:
        return "unet" if tumors else "unet-kidney"
    if tumors:
        return "unet-tumor"
    raise StudyError(
        where="train --task segment",
        expected=f"masks of the kidneys of each CT, or drawn tumors of at least {FEWEST_PATIENTS} patients",
        found=f"{counted_noun(n_patients, 'patient')}, and masks of the kidneys of {kidneys_of(store)[True]} of "
        f"{counted_noun(len(store.cts), 'CT')}",
        remedy="draw more, give masks of the kidneys in the column organs of series.csv, or insist with "
        "--model unet-tumor",
    )


def _with_segmenters(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, folder=snapshot.folder.segmenters)


def _check(snapshot: Snapshot, config: TrainConfig) -> None:
    for setting, found, wanted in (
        ("recipe", config.recipe, "default"),
        ("pretrained", config.pretrained, False),
    ):
        if found != wanted:
            raise ConfigError(
                where=f"training.{setting}, --task segment",
                expected=str(wanted).lower(),
                found=str(found).lower(),
                remedy="leave it out: a network that draws begins from chance",
            )
    if snapshot.split.leaky:
        raise StudyError(
            where="train --task segment",
            expected="a split by patient",
            found="one by image",
            remedy="divide the patients with `nephroscope split STUDY --protocol patient`",
        )


def _check_drawn(store: PlaneStore, model: str) -> None:
    if "kidney" in DRAWING_NETWORKS[model] and not kidneys_of(store)[True]:
        raise StudyError(
            where=f"--model {model}",
            expected="masks of the kidneys of some CTs",
            found="none",
            remedy="give them in the column organs of series.csv, or take --model unet-tumor",
        )

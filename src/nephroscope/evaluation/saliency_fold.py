"""One fold and the slices that it answered in; their maps, and their agreement with those of random weights, out.

Torch is imported when a map is wanted, not before.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.errors import StudyError
from nephroscope.evaluation.saliency import Map, Place, rank_agreement
from nephroscope.evaluation.score_run import RunToScore
from nephroscope.files import load_json
from nephroscope.records import TrainConfig

SAME = 0.02  # largest difference of a slice's probability from the answer that is explained
DRAWS = 3  # random networks a fold
Agreement = dict[str, dict[Place, float]]  # random, random_size and mirrored


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One slice to be explained: the fold that answered it, the subtype called, and what the answer was."""

    place: Place
    fold: int
    subtype: int
    p: float


def weights_of(run: RunToScore, fold: int) -> Path:
    """Where the weights of a fold lie."""
    return run.folder / f"fold-{fold}" / "weights.safetensors"


def fold_maps(
    run: RunToScore, number: int, asked: Sequence[Asked], sample: Set[Place], agreement: Agreement
) -> Map:
    """Maps of the slices that one fold answered, (N, h, w); adds to ``agreement`` for those of the sample."""
    from nephroscope.models.networks import SubtypeNetwork, build_network
    from nephroscope.models.saliency import grad_cam, with_random_weights
    from nephroscope.training.checkpoint import load_weights

    n = len(run.cohort.subtypes)
    config = TrainConfig(**load_json(run.folder / "config.json", 1)["training"])

    def build() -> SubtypeNetwork:
        return build_network(config.model, n, run.store.spec, config.recipe, width=config.width)

    network = build()
    load_weights(network, weights_of(run, number))
    hu = np.stack([_slice(run, one.place) for one in asked])
    subtype = np.array([one.subtype for one in asked])
    maps, p = grad_cam(network, hu, subtype, n)
    _check_same(run, number, asked, p)
    at = np.array([i for i, one in enumerate(asked) if one.place in sample], dtype=np.intp)
    if at.size:
        mirrored, _ = grad_cam(network, hu[at, :, ::-1], subtype[at], n)
        drawn = []
        for draw in range(DRAWS):
            other = with_random_weights(build, hu[at], seed=1000 * number + draw)
            drawn.append(rank_agreement(maps[at], grad_cam(other, hu[at], subtype[at], n)[0]))
        found = {
            "random": _mean_known(np.stack(drawn)),
            "random_size": _mean_known(np.abs(np.stack(drawn))),
            "mirrored": rank_agreement(maps[at], mirrored[:, :, ::-1]),
        }
        for name, values in found.items():
            agreement[name] |= {asked[i].place: float(v) for i, v in zip(at, values, strict=True)}
    return maps


def _mean_known(drawn: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over the draws (d, N) that have a value, (N,); NaN where none has."""
    known = ~np.isnan(drawn)
    total, n = np.where(known, drawn, 0).sum(axis=0), known.sum(axis=0)
    mean: npt.NDArray[np.float64] = np.divide(total, n, out=np.full(n.shape, np.nan), where=n > 0)
    return mean


def _check_same(run: RunToScore, number: int, asked: Sequence[Asked], p: npt.NDArray[np.float32]) -> None:
    """A map explains an answer only when its network gives that answer.

    Raises:
        StudyError: It does not.
    """
    apart = max(abs(float(p[i, one.subtype]) - one.p) for i, one in enumerate(asked) if np.isfinite(one.p))
    if not apart <= SAME:
        raise StudyError(
            where=f"run {run.folder.name}/fold-{number}/weights.safetensors",
            expected=f"the probabilities of model.onnx on the slices shown, within {SAME:g}",
            found=f"a difference of {apart:.2g}",
            remedy="the files do not belong together: train the run again",
        )


def _slice(run: RunToScore, place: Place) -> npt.NDArray[np.int16]:
    case_id, slice_index = place
    rows = run.store.rows_by_case[case_id]
    return np.asarray(run.store.hu[rows[list(run.store.slice_index[rows]).index(slice_index)]])

"""Saliency maps of slices of a run, each by the network that answered the slice, and the checks of the maps.

They are stored in the run folder with a digest of weights and slices, so a second report computes nothing. Without
torch, weights or convergence there are no maps, and `SaliencyOfRun.missing` says why.
"""

import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.documents import as_plain, from_plain
from nephroscope.base.errors import NephroscopeError, StudyError
from nephroscope.base.files import digest_of, file_digest, load_sealed, save_sealed
from nephroscope.base.progress import track
from nephroscope.base.version import install_line
from nephroscope.clinic.cut import cut_slices
from nephroscope.learning.run_files import WEIGHTS, CompleteRun, fold_file, run_config
from nephroscope.learning.score_run import ALL_FOLDS, exported_folds
from nephroscope.questions.saliency.checks import (
    Map,
    Place,
    SaliencyOfRun,
    mean_over_patients,
    rank_agreement,
    share_inside,
    shown_map,
)
from nephroscope.records import Answer, ChosenCase, CTVolume, Estimate, RoiMask

SAME = 0.02  # largest difference of a slice's probability from the answer that is explained
DRAWS = 3  # random networks a fold
RANDOM_FOLDS = 1_000_000  # seeds are not negative
Agreement = dict[str, dict[Place, float]]  # random, random_size and mirrored


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedSlice:
    """One slice to be explained: the fold that answered it, the subtype called, and what the answer was.

    The fold is `ALL_FOLDS` where the mean of the folds' networks answered.
    """

    place: Place
    fold: int
    subtype: int
    p: float


def fold_maps(
    run: CompleteRun,
    number: int,
    slices: Sequence[ExplainedSlice],
    sample: Set[Place],
    agreement: Agreement,
) -> Map:
    """Maps of the slices that one fold answered, (N, h, w); adds to ``agreement`` for those of the sample.

    Where the mean of several networks answered, the map is the mean of theirs, each divided by its largest value, so
    that every network counts the same.
    """
    from nephroscope.learning.networks.networks import SubtypeNetwork, build_network
    from nephroscope.learning.networks.saliency import grad_cam, with_random_weights
    from nephroscope.learning.training.checkpoint import load_weights

    n = len(run.snapshot.cohort.subtypes)
    config = run_config(run.folder)

    def build() -> SubtypeNetwork:
        return build_network(config.model, n, run.snapshot.slices.spec, config.recipe, width=config.width)

    def explained(
        pixels: npt.NDArray[np.int16], subtype: npt.NDArray[np.intp]
    ) -> tuple[Map, npt.NDArray[np.float32]]:
        found = []
        for index in _networks(run, number):
            network = build()
            load_weights(network, fold_file(run.folder, index, WEIGHTS).path)
            found.append(grad_cam(network, pixels, subtype, n))
        if len(found) == 1:
            return found[0]
        return np.mean([_of_equal_size(maps) for maps, _ in found], axis=0), np.mean(
            [p for _, p in found], axis=0
        )

    hu = np.stack([_slice(run, one.place) for one in slices])
    subtype = np.array([one.subtype for one in slices])
    maps, p = explained(hu, subtype)
    _check_same(run, number, slices, p)
    at = np.array([i for i, one in enumerate(slices) if one.place in sample], dtype=np.intp)
    if at.size:
        mirrored, _ = explained(hu[at, :, ::-1], subtype[at])
        drawn = []
        for draw in range(DRAWS):
            other = with_random_weights(build, hu[at], seed=1000 * (number % RANDOM_FOLDS) + draw)
            drawn.append(rank_agreement(maps[at], grad_cam(other, hu[at], subtype[at], n)[0]))
        found = {
            "random": _mean_known(np.stack(drawn)),
            "random_size": _mean_known(np.abs(np.stack(drawn))),
            "mirrored": rank_agreement(maps[at], mirrored[:, :, ::-1]),
        }
        for name, values in found.items():
            agreement[name] |= {slices[i].place: float(v) for i, v in zip(at, values, strict=True)}
    return maps


def _networks(run: CompleteRun, number: int) -> tuple[int, ...]:
    """The folds whose networks gave an answer."""
    return exported_folds(run.folder) if number == ALL_FOLDS else (number,)


def _of_equal_size(maps: Map) -> Map:
    """Maps (N, h, w) divided by the largest absolute value of each."""
    largest = np.abs(maps).max(axis=(1, 2), keepdims=True)
    same: Map = np.divide(maps, largest, out=np.zeros_like(maps), where=largest > 0)
    return same


def _mean_known(drawn: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over the draws (d, N) that have a value, (N,); NaN where none has."""
    known = ~np.isnan(drawn)
    total, n = np.where(known, drawn, 0).sum(axis=0), known.sum(axis=0)
    mean: npt.NDArray[np.float64] = np.divide(total, n, out=np.full(n.shape, np.nan), where=n > 0)
    return mean


def _check_same(
    run: CompleteRun, number: int, slices: Sequence[ExplainedSlice], p: npt.NDArray[np.float32]
) -> None:
    """A map explains an answer only when its network gives that answer.

    Raises:
        StudyError: It does not.
    """
    gap = max(abs(float(p[i, one.subtype]) - one.p) for i, one in enumerate(slices) if np.isfinite(one.p))
    if not gap <= SAME:
        raise StudyError(
            where=f"run {run.folder.name}/fold-{number}/weights.safetensors",
            expected=f"the probabilities of model.onnx on the slices shown, within {SAME:g}",
            found=f"a difference of {gap:.2g}",
            remedy="the files do not belong together: train the run again",
        )


def _slice(run: CompleteRun, place: Place) -> npt.NDArray[np.int16]:
    case_id, slice_index = place
    store = run.snapshot.slices
    rows = store.rows_by_case[case_id]
    return np.asarray(store.hu[rows[list(store.slice_index[rows]).index(slice_index)]])


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredMaps:
    """What took time to compute; ``key`` is a digest of everything that it depends on."""

    key: str
    signed: Mapping[Place, Map]
    rois: Mapping[Place, npt.NDArray[np.bool_]]
    agreement: Agreement


@dataclass(frozen=True, kw_only=True)
class _Index:
    """What the arrays of the file are; None in ``agreement`` is NaN."""

    key: str
    maps: tuple[Place, ...]
    rois: tuple[Place, ...]
    agreement: dict[str, tuple[tuple[str, int, float | None], ...]]


def save_maps(path: Path, stored: StoredMaps) -> None:
    """Write them to one compressed file, whole or not at all."""
    index = _Index(
        key=stored.key,
        maps=tuple(stored.signed),
        rois=tuple(stored.rois),
        agreement={
            name: tuple((*place, None if math.isnan(v) else v) for place, v in values.items())
            for name, values in stored.agreement.items()
        },
    )
    arrays = {"about": np.frombuffer(json.dumps(as_plain(index), allow_nan=False).encode(), np.uint8)}
    for name, images in (("signed", stored.signed), ("roi", stored.rois)):
        if images:
            arrays[name] = np.stack([*images.values()])
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    save_sealed(path, file.getvalue())


def load_maps(path: Path, key: str) -> StoredMaps | None:
    """What an earlier report stored; None if there is nothing, or it is out of date or damaged."""
    content = load_sealed(path)
    if content is None:
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            index = from_plain(json.loads(file["about"].tobytes()), _Index, path.name)
            if index.key != key:
                return None
            return StoredMaps(
                key=key,
                signed=dict(zip(index.maps, file["signed"], strict=True)),
                rois=dict(zip(index.rois, file["roi"], strict=True)) if index.rois else {},
                agreement={
                    name: {(case_id, i): math.nan if v is None else v for case_id, i, v in values}
                    for name, values in index.agreement.items()
                },
            )
    except (ValueError, KeyError, StudyError):  # of another version
        return None


METHOD = 1  # raised when maps or checks are computed differently: old files are then computed again
CHECKED = 4  # patients per fold for the checks
WITHIN = 1000  # means "in the ROI" where a mask is cut as if it were HU
CaseReader = Callable[[ChosenCase], tuple[CTVolume, RoiMask]]


def saliency_of_run(
    run: CompleteRun,
    predictions: Sequence[Answer],
    wanted: Mapping[str, Sequence[int]],
    outlined: Iterable[str],
    read: CaseReader,
) -> SaliencyOfRun:
    """Maps of the wanted slices, and the checks on a sample of all test patients, whatever was called.

    Args:
        run: Complete.
        predictions: Of `score_run`; the map is for the forced call of a case.
        wanted: slice_index by case_id.
        outlined: case_id of those to outline the ROI of.
        read: Gives the CT and ROI of a case.
    """
    by_case = {p.case_id: p for p in predictions}
    sample = _sample(run, predictions)
    places = dict.fromkeys([(c, i) for c, indices in wanted.items() for i in indices] + sample)
    slices = [_explained(run, by_case[case_id], index) for case_id, index in places]
    missing = _missing(run, {index for one in slices for index in _networks(run, one.fold)})
    if missing or not slices:
        return SaliencyOfRun(missing=missing or "no case was answered")
    path, key = run.folder / "saliency" / "maps.npz", _key(run, slices, sample)
    stored = load_maps(path, key)
    try:
        signed, agreement = (stored.signed, stored.agreement) if stored else _all_maps(run, slices, sample)
    except NephroscopeError as error:
        return SaliencyOfRun(missing=str(error))
    rois = dict(stored.rois) if stored else {}
    left = {*outlined, *(case_id for case_id, _ in sample)} - {case_id for case_id, _ in rois}
    rois |= _rois(run, sorted(left), {*places}, read)
    if stored is None or len(rois) > len(stored.rois):
        save_maps(path, StoredMaps(key=key, signed=signed, rois=rois, agreement=agreement))
    return SaliencyOfRun(signed=signed, rois=rois, figures=_figures(run, sample, agreement, signed, rois))


def _sample(run: CompleteRun, predictions: Sequence[Answer]) -> list[Place]:
    """The slice with the largest tumor of up to `CHECKED` patients a fold, drawn by the study's seed."""
    rng = np.random.default_rng(run.snapshot.settings.evaluation.seed)
    chosen: dict[int, dict[str, Place]] = {}
    ordered = sorted(predictions, key=lambda p: p.case_id)
    for at in rng.permutation(len(ordered)):
        p = ordered[at]
        fold, done = chosen.setdefault(p.fold, {}), {name for f in chosen.values() for name in f}
        if p.patient_id not in done and len(fold) < CHECKED and p.slices:
            largest = max(p.slices, key=lambda s: (s.area_mm2, -s.slice_index))
            fold[p.patient_id] = (p.case_id, largest.slice_index)
    return [place for number in sorted(chosen) for place in chosen[number].values()]


def _explained(run: CompleteRun, prediction: Answer, slice_index: int) -> ExplainedSlice:
    """Under the image protocol the slices of a case are answered by different folds."""
    name = f"{prediction.case_id}#{slice_index}"
    folds = [fold.index for fold in run.snapshot.split.folds if name in fold.test]
    subtype = run.snapshot.cohort.subtypes.index(prediction.forced_call)
    by_slice = {s.slice_index: s.probabilities[subtype] for s in prediction.slices}
    return ExplainedSlice(
        place=(prediction.case_id, slice_index),
        fold=folds[0] if folds else prediction.fold,
        subtype=subtype,
        p=by_slice.get(slice_index, np.nan),
    )


def _missing(run: CompleteRun, folds: set[int]) -> str:
    if find_spec("torch") is None:
        return f"torch is not installed here ({install_line('train')})"
    for number in sorted(folds):
        if not _weights_of(run, number).is_file():
            return f"fold-{number}/weights.safetensors is not in the run folder"
    return ""


def _weights_of(run: CompleteRun, fold: int) -> Path:
    return run.folder / f"fold-{fold}" / WEIGHTS


def _key(run: CompleteRun, slices: list[ExplainedSlice], sample: list[Place]) -> str:
    """Digest of everything that maps and checks depend on."""
    folds = sorted({index for one in slices for index in _networks(run, one.fold)})
    digests = {number: file_digest(_weights_of(run, number)) for number in folds}
    return digest_of(
        [METHOD, DRAWS, digests, run.snapshot.slices.digest, [asdict(one) for one in slices], sample]
    )


def _all_maps(
    run: CompleteRun, slices: list[ExplainedSlice], sample: list[Place]
) -> tuple[Mapping[Place, Map], Agreement]:
    """Signed maps, and for the sample the agreement with random weights and with mirrored slices."""
    signed: dict[Place, Map] = {}
    agreement: Agreement = {"random": {}, "random_size": {}, "mirrored": {}}
    folds = sorted({one.fold for one in slices})
    for number in track(folds, "saliency", "fold", len(folds)):
        of_fold = [one for one in slices if one.fold == number]
        maps = fold_maps(run, number, of_fold, {*sample}, agreement)
        signed |= {one.place: values for one, values in zip(of_fold, maps, strict=True)}
    return signed, agreement


def _rois(
    run: CompleteRun, case_ids: list[str], places: Set[Place], read: CaseReader
) -> dict[Place, npt.NDArray[np.bool_]]:
    """The tumor on the slices asked for, cut as the slices were; cases that cannot be read are left out."""
    found: dict[Place, npt.NDArray[np.bool_]] = {}
    for case_id in track(case_ids, "outlines", "case", len(case_ids)):
        try:
            volume, roi = read(run.snapshot.cohort.by_id[case_id])
            inside = np.where(roi.voxels, np.int16(WITHIN), np.int16(0))
            as_hu = CTVolume(hu=inside, geometry=volume.geometry, series_uid=volume.series_uid)
            cut = cut_slices(as_hu, roi, run.snapshot.slices.spec)
        except (NephroscopeError, OSError):
            continue  # the n of the figures shows how many are left
        masks = {(case_id, part.slice_index): part.hu > WITHIN // 2 for part in cut}
        found |= {place: mask for place, mask in masks.items() if place in places}
    return found


def _figures(
    run: CompleteRun,
    sample: list[Place],
    agreement: Agreement,
    signed: Mapping[Place, Map],
    rois: Mapping[Place, npt.NDArray[np.bool_]],
) -> dict[str, Estimate]:
    values: dict[str, tuple[str, Iterable[float]]] = {
        name: (what, [agreement[name][place] for place in sample])
        for name, what in (
            ("random", f"Spearman with the maps of {DRAWS} networks of random weights"),
            ("random_size", f"size of Spearman with the maps of {DRAWS} networks of random weights"),
            ("mirrored", "Spearman with the map of the mirrored slice, mirrored back"),
        )
    }
    with_roi = [place for place in sample if place in rois]
    if with_roi:
        masks = np.stack([rois[place] for place in with_roi])
        shown = np.stack([shown_map(signed[place], masks.shape[-1]) for place in with_roi])
        inside, area = share_inside(shown, masks), masks.mean(axis=(1, 2))
        values["inside"] = "share of the map in the ROI", inside
        values["area"] = "share of the slice in the ROI", area
        excess = "share of the map in the ROI, less the ROI's share of the slice"
        values["inside_above_area"] = excess, inside - area
    config = run.snapshot.settings.evaluation
    return {name: mean_over_patients([*each], what, config) for name, (what, each) in values.items()}

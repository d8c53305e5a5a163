"""A scored run and the slices asked for in; the map of each by the network that answered it, and the checks, out.

Kept in the run folder under a digest of weights, slices and question, so a second report computes nothing.
Without torch, weights or convergence there are no maps, and the reason is told.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import asdict
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from nephroscope.errors import NephroscopeError
from nephroscope.evaluation.saliency import (
    Map,
    Place,
    SaliencyOfRun,
    mean_over_patients,
    share_inside,
    shown_map,
)
from nephroscope.evaluation.saliency_file import KeptMaps, load_maps, save_maps
from nephroscope.evaluation.saliency_fold import DRAWS, Agreement, Asked, fold_maps, weights_of
from nephroscope.evaluation.score_run import RunToScore
from nephroscope.progress import track
from nephroscope.records import Case, CasePrediction, CTVolume, Estimate, RoiMask
from nephroscope.records.digest import digest_of
from nephroscope.slices.preprocess import cut_slices

METHOD = 1  # raised when maps or checks are computed another way: old files are then made again
CHECKED = 4  # patients a fold for the checks
WITHIN = 1000  # stands for "in the ROI" where a mask is cut as if it were HU
Reader = Callable[[Case], tuple[CTVolume, RoiMask]]


def saliency_of_run(
    run: RunToScore,
    predictions: Sequence[CasePrediction],
    wanted: Mapping[str, Sequence[int]],
    outlined: Iterable[str],
    read: Reader,
) -> SaliencyOfRun:
    """Maps of the wanted slices, and the checks on a sample of all test patients, whatever was called.

    Args:
        run: Complete.
        predictions: Of `score_run`; the map is for the forced call of a case.
        wanted: slice_index by case_id.
        outlined: case_id of those whose ROI is wanted as well.
        read: Gives the CT and ROI of a case.
    """
    by_case = {p.case_id: p for p in predictions}
    sample = _sample(run, predictions)
    places = dict.fromkeys([(c, i) for c, indices in wanted.items() for i in indices] + sample)
    asked = [_asked(run, by_case[case_id], index) for case_id, index in places]
    missing = _missing(run, {one.fold for one in asked})
    if missing or not asked:
        return SaliencyOfRun(missing=missing or "no case was answered")
    path, key = run.folder / "saliency" / "maps.npz", _key(run, asked, sample)
    kept = load_maps(path, key)
    try:
        signed, agreement = (kept.signed, kept.agreement) if kept else _all_maps(run, asked, sample)
    except NephroscopeError as error:
        return SaliencyOfRun(missing=str(error))
    rois = dict(kept.rois) if kept else {}
    left = {*outlined, *(case_id for case_id, _ in sample)} - {case_id for case_id, _ in rois}
    rois |= _rois(run, sorted(left), {*places}, read)
    if kept is None or len(rois) > len(kept.rois):
        save_maps(path, KeptMaps(key=key, signed=signed, rois=rois, agreement=agreement))
    return SaliencyOfRun(signed=signed, rois=rois, figures=_figures(run, sample, agreement, signed, rois))


def _sample(run: RunToScore, predictions: Sequence[CasePrediction]) -> list[Place]:
    """The slice with the largest tumor of up to `CHECKED` patients a fold, drawn by the study's seed."""
    rng = np.random.default_rng(run.config.seed)
    chosen: dict[int, dict[str, Place]] = {}
    ordered = sorted(predictions, key=lambda p: p.case_id)
    for at in rng.permutation(len(ordered)):
        p = ordered[at]
        fold, done = chosen.setdefault(p.fold, {}), {name for f in chosen.values() for name in f}
        if p.patient_id not in done and len(fold) < CHECKED and p.slices:
            largest = max(p.slices, key=lambda s: (s.area_mm2, -s.slice_index))
            fold[p.patient_id] = (p.case_id, largest.slice_index)
    return [place for number in sorted(chosen) for place in chosen[number].values()]


def _asked(run: RunToScore, prediction: CasePrediction, slice_index: int) -> Asked:
    """Under the image protocol the slices of a case are answered by different folds."""
    name = f"{prediction.case_id}#{slice_index}"
    folds = [fold.index for fold in run.split.folds if name in fold.test]
    subtype = run.cohort.subtypes.index(prediction.forced_call)
    by_slice = {s.slice_index: s.probabilities[subtype] for s in prediction.slices}
    return Asked(
        place=(prediction.case_id, slice_index),
        fold=folds[0] if folds else prediction.fold,
        subtype=subtype,
        p=by_slice.get(slice_index, np.nan),
    )


def _missing(run: RunToScore, folds: set[int]) -> str:
    if find_spec("torch") is None:
        return "torch is not installed here (pip install nephroscope[train])"
    for number in sorted(folds):
        if not weights_of(run, number).is_file():
            return f"fold-{number}/weights.safetensors is not in the run folder"
    return ""


def _key(run: RunToScore, asked: list[Asked], sample: list[Place]) -> str:
    """Of everything that maps and checks are made from."""
    digests = {}
    for number in sorted({one.fold for one in asked}):
        with weights_of(run, number).open("rb") as file:
            digests[number] = hashlib.file_digest(file, "sha256").hexdigest()
    return digest_of([METHOD, DRAWS, digests, run.store.digest, [asdict(one) for one in asked], sample])


def _all_maps(
    run: RunToScore, asked: list[Asked], sample: list[Place]
) -> tuple[Mapping[Place, Map], Agreement]:
    """Signed maps, and for the sample the agreement with random weights and with mirrored slices."""
    signed: dict[Place, Map] = {}
    agreement: Agreement = {"random": {}, "random_size": {}, "mirrored": {}}
    folds = sorted({one.fold for one in asked})
    for number in track(folds, "saliency", "fold", len(folds)):
        of_fold = [one for one in asked if one.fold == number]
        maps = fold_maps(run, number, of_fold, {*sample}, agreement)
        signed |= {one.place: values for one, values in zip(of_fold, maps, strict=True)}
    return signed, agreement


def _rois(
    run: RunToScore, case_ids: list[str], places: Set[Place], read: Reader
) -> dict[Place, npt.NDArray[np.bool_]]:
    """The tumor on the slices asked for, cut as the slices were; cases that cannot be read are left out."""
    found: dict[Place, npt.NDArray[np.bool_]] = {}
    for case_id in track(case_ids, "outlines", "case", len(case_ids)):
        try:
            volume, roi = read(run.cohort.by_id[case_id])
            inside = np.where(roi.voxels, np.int16(WITHIN), np.int16(0))
            as_hu = CTVolume(hu=inside, geometry=volume.geometry, series_uid=volume.series_uid)
            cut = cut_slices(as_hu, roi, run.store.spec)
        except (NephroscopeError, OSError):
            continue  # counted: the figures say on how many patients they stand
        found |= {
            (case_id, part.slice_index): part.hu > WITHIN // 2
            for part in cut
            if (case_id, part.slice_index) in places
        }
    return found


def _figures(
    run: RunToScore,
    sample: list[Place],
    agreement: Agreement,
    signed: Mapping[Place, Map],
    rois: Mapping[Place, npt.NDArray[np.bool_]],
) -> dict[str, Estimate]:
    told = {
        "random": f"Spearman with the maps of {DRAWS} networks of random weights",
        "random_size": f"size of Spearman with the maps of {DRAWS} networks of random weights",
        "mirrored": "Spearman with the map of the mirrored slice, mirrored back",
    }
    found = {
        name: mean_over_patients([agreement[name][place] for place in sample], text, run.config)
        for name, text in told.items()
    }
    with_roi = [place for place in sample if place in rois]
    if with_roi:
        masks = np.stack([rois[place] for place in with_roi])
        shown = np.stack([shown_map(signed[place], masks.shape[-1]) for place in with_roi])
        inside = share_inside(shown, masks)
        area = masks.mean(axis=(1, 2))
        pairs = {
            "inside": ("share of the map in the ROI", inside),
            "area": ("share of the slice in the ROI", area),
            "inside_above_area": (
                "share of the map in the ROI, less the ROI's share of the slice",
                inside - area,
            ),
        }
        found |= {name: mean_over_patients([*v], text, run.config) for name, (text, v) in pairs.items()}
    return found

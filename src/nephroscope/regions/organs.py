"""Read organ masks of other programs: kidneys, vessels and more on the CT's grid, with one set of names."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import RoiError
from nephroscope.imaging.files import LABEL_MAPS, file_kind, safe_name
from nephroscope.imaging.masks.label_map import named_values, read_label_map
from nephroscope.imaging.masks.resample import fit_to_ct
from nephroscope.imaging.masks.segments import (
    LabelMap,
    Segment,
    TumorQuery,
    labels_of,
    listed,
    most_voxels,
    values_in,
)
from nephroscope.imaging.read import read_dicom_roi, read_opened, refusing_damage, segments_of
from nephroscope.records import ChosenCase, CTVolume
from nephroscope.records.settings import READERS

Organs = dict[str, npt.NDArray[np.bool_]]
KITS = {1: "kidney", 2: "tumor", 3: "cyst"}
NAMES = ("kidney_left", "kidney_right", "kidney", "aorta", "liver", "spleen", "tumor", "cyst")
# SNOMED CT: left and right kidney, kidney, aorta, liver, spleen.
CODES = {
    "18639004": "kidney_left",
    "9846003": "kidney_right",
    "64033007": "kidney",
    "15825003": "aorta",
    "10200004": "liver",
    "78961009": "spleen",
}
SUFFIXES = (".nii.gz", ".nii", ".nrrd")


def read_organs(path: Path, volume: CTVolume, case_id: str) -> Organs:
    """Masks (S, R, C) by name: those of `NAMES` that exist and are not empty; ``kidney`` is left and right together.

    Args:
        path: A folder of masks from TotalSegmentator, a label map (KiTS values, or named ones), a DICOM SEG or an
            RTSTRUCT.
        volume: CT of the case.
        case_id: Names the case in refusals.

    Raises:
        RoiError: It cannot be read, lies on another series, or holds no organ of `NAMES`.
    """
    return _read(
        path,
        volume,
        TumorQuery(case_id=case_id, where=f"case {case_id}, organs {safe_name(path, case_id)}", label=2),
    )


def _read(path: Path, volume: CTVolume, query: TumorQuery, needed: str = "") -> Organs:
    found: Organs = {}
    for name, mask in _masks(path, volume, query, needed):
        if mask.any():
            found[name] = found[name] | mask if name in found else mask
    sides = [found[name] for name in ("kidney_left", "kidney_right", "kidney") if name in found]
    if sides:
        found["kidney"] = np.logical_or.reduce(sides)
    return found


def organs_of(case: ChosenCase, volume: CTVolume) -> Organs:
    """Organs of a case: from its organ file or folder, otherwise from its ROI file; empty where there are none.

    Raises:
        RoiError: Its organs cannot be read.
    """
    if case.ct.organs is not None:
        return read_organs(case.ct.organs, volume, case.case_id)
    roi = case.roi_by(READERS[0]) or case.roi
    if roi is None or case.format == "images" or not _may_hold_kidneys(roi.path, roi.label):
        return {}
    where = f"case {case.case_id}, ROI {safe_name(roi.path, case.case_id)}"
    try:
        query = TumorQuery(case_id=case.case_id, where=where, label=roi.label)
        return _read(roi.path, volume, query, needed="kidney")
    except RoiError:  # it holds a tumor and no organ that has a name here
        return {}


def _may_hold_kidneys(roi: Path, tumor_label: int) -> bool:
    """False when the header of the file shows that it names no kidney."""
    kind = file_kind(roi)
    named = KITS.get(tumor_label) == "tumor" or kind == "nrrd"
    return kind == "dicom" or (kind in LABEL_MAPS and (named or any(named_values(roi))))


def organ_of(name: str, codes: Iterable[str] = ()) -> str:
    """The name in `NAMES` for what an annotator or program called an organ; empty for anything else."""
    by_code = [CODES[code] for code in codes if code in CODES]
    words = set(re.split(r"[\W_]+", name.casefold()))
    if words & {"cyst", "cysts"}:
        return "cyst"
    segment = Segment(number=1, name=name)
    if segment.says_tumor or segment.says_lesion:
        return "tumor"
    if words & {"kidney", "kidneys"} or by_code[:1] == ["kidney"]:
        sides = [side for side in ("left", "right") if words & {side, side[0]}]
        return f"kidney_{sides[0]}" if len(sides) == 1 else "kidney"
    plain = [organ for organ in ("aorta", "liver", "spleen") if words & {organ, f"{organ}s"}]
    return next(iter([*plain, *by_code]), "")


def _masks(
    path: Path, volume: CTVolume, query: TumorQuery, needed: str
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    if path.is_dir():
        yield from _folder(path, volume, query)
    elif file_kind(path) in LABEL_MAPS:
        stored = read_label_map(path, query.where, most_voxels(volume.geometry))
        for organ, layer, value in _labels(stored, query):
            mask = stored.layers[layer] == value
            if mask.any():
                yield organ, fit_to_ct(mask, stored.affine, volume.geometry, query)[0]
    else:
        yield from _segments(path, volume, query, needed)


def _folder(folder: Path, volume: CTVolume, query: TumorQuery) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    files = [(name, folder / f"{name}{suffix}") for name in NAMES for suffix in SUFFIXES]
    files = [(name, path) for name, path in files if path.is_file()]
    if not files:
        raise query.refusal(
            expected="masks such as kidney_left.nii.gz and kidney_right.nii.gz",
            found=f"none among {sum(1 for _ in folder.iterdir())} files",
            remedy="give the folder written by TotalSegmentator, or name the masks in the same way",
        )
    for name, path in files:
        stored = read_label_map(path, f"{query.where}/{path.name}", most_voxels(volume.geometry))
        mask = stored.layers[0] > 0
        if mask.any():
            yield name, fit_to_ct(mask, stored.affine, volume.geometry, query)[0]


def _labels(stored: LabelMap, query: TumorQuery) -> list[tuple[str, int, int]]:
    """Organ, layer and value of the labels of a label map."""
    if not stored.segments:
        values = sorted({value for layer in stored.layers for value in labels_of(layer)})
        if KITS.get(query.label) == "tumor" and KITS.keys() >= set(values):
            return [(KITS[value], 0, value) for value in values]
        raise query.refusal(
            expected="named values, or those of KiTS: 1 kidney, 2 tumor, 3 cyst",
            found=f"values without names: {values_in(stored)}",
            remedy="give one mask per organ (kidney_left.nii.gz ...), or a label map with names",
        )
    return [(organ, s.layer, s.number) for organ, s in _some(stored.segments, query)]


def _segments(
    path: Path, volume: CTVolume, query: TumorQuery, needed: str = ""
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """The organs in a SEG or RTSTRUCT, which is read once; none when no name begins with ``needed``."""
    opened = read_dicom_roi(path, query.where)
    with refusing_damage(query.where):
        segments = segments_of(opened)
    if not any(organ.startswith(needed) for organ, _ in _some(segments, query)):
        return
    for organ, segment in _some(segments, query):
        asked = replace(query, label=segment.number, name="", exact=True)
        yield organ, read_opened(opened, volume, asked)[0]


def _named(segments: Iterable[Segment]) -> list[tuple[str, Segment]]:
    """Segments that are an organ of `NAMES`, with that name."""
    found = [(organ_of(" ".join((s.name, *s.meanings)), s.codes), s) for s in segments]
    return [(organ, segment) for organ, segment in found if organ]


def _some(segments: Sequence[Segment], query: TumorQuery) -> list[tuple[str, Segment]]:
    """The same; a file without any is refused."""
    found = _named(segments)
    if not found:
        raise query.refusal(
            expected=f"at least one of {', '.join(NAMES)}",
            found=listed(segments),
            remedy="give the file that holds the kidneys",
        )
    return found

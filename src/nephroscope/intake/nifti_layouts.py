"""Which NIfTI file is the CT of a case and which its label map, in the layouts that people have.

```text
CASE.nii.gz + CASE_seg.nii.gz                     side by side (_mask, -label, _roi, _tumor ...)
CASE/imaging.nii.gz + CASE/segmentation.nii.gz    a folder per case, as in KiTS (ct, image; tumor, mask ...)
imagesTr/CASE_0000.nii.gz + labelsTr/CASE.nii.gz  nnU-Net; without _0000 the Medical Segmentation Decathlon
images/CASE.nii.gz + masks/CASE.nii.gz            a folder of images and one of masks
CASE/ct.nii.gz + CASE/segmentations/*.nii.gz      TotalSegmentator: the file of the tumor, others are organs
```
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path

_PART = r"(?:[_-]?(?:tr|ts|va|train|training|test|val|validation))?$"
_IMAGES = re.compile(
    rf"(?:images?|imgs?|volumes?|vols?|cts?|scans?|ct[_-]?scans?|bilder){_PART}", re.IGNORECASE
)
_MASKS = re.compile(
    r"(?:labels?|masks?|masken|segs?|segmentations?|rois?|gt|ground[_-]?truths?|annotations?|predictions?|infer"
    rf"|contours?){_PART}",
    re.IGNORECASE,
)
MASK_NAME = re.compile(
    r"[_-](seg|segmentation|dseg|mask|masks|label|labels|roi|tumou?r|gt|annotation)$", re.IGNORECASE
)
_CT_NAME = re.compile(r"[_-](0000|ct|image|img|volume|vol|scan)$", re.IGNORECASE)
_CHANNEL = re.compile(r"[_-]0\d{3}$")
_CT_OF_FOLDER = ("imaging", "image", "img", "ct", "volume", "vol", "scan")
_MASK_OF_FOLDER = ("segmentation", "seg", "mask", "label", "labels", "roi", "tumor", "tumour")
_ORGANS_OF_FOLDER = ("segmentations", "organs", "total", "totalsegmentator")  # one label map of all organs
_TUMOR = re.compile(
    r"tumou?r|tumeur|lesion|läsion|raumforderung|mass(?![a-z])|masse|cancer|rcc|肿瘤|病灶", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class SortedFiles:
    """NIfTI files by case.

    Attributes:
        volumes, masks: CT volumes and label maps; more than one of a case cannot be chosen between.
        parts: Label maps of single tumors of a case, named after them.
        organs: Folder or label map of organs.
    """

    volumes: dict[str, list[Path]]
    masks: dict[str, list[Path]]
    parts: dict[str, list[Path]]
    organs: dict[str, Path]


def sort_files(folder: Path, named_rois: Set[Path]) -> SortedFiles:
    """Sort the NIfTI files below a folder.

    Args:
        folder: Of the import.
        named_rois: Files that the label table names as ROIs; they are no CT.
    """
    files = SortedFiles(
        volumes=defaultdict(list), masks=defaultdict(list), parts=defaultdict(list), organs={}
    )
    paths = {
        path: stem
        for path in sorted(folder.rglob("*"))
        if (stem := _stem(path)) and path.resolve() not in named_rois
    }
    of_case = _segmentations_of_cases(folder, paths)
    for path, stem in paths.items():
        place = path.parent.name
        if path in of_case:
            _add_part(files, of_case[path], path, stem)
        elif _IMAGES.match(place) and path.parent != folder:
            files.volumes[stem].append(path)
        elif _MASKS.match(place) and path.parent != folder:
            files.masks[MASK_NAME.sub("", stem)].append(path)
        elif stem.casefold() in _CT_OF_FOLDER:
            files.volumes[place].append(path)
        elif stem.casefold() in _MASK_OF_FOLDER:
            files.masks[place].append(path)
        elif stem.casefold() in _ORGANS_OF_FOLDER:
            files.organs[place] = path
        elif MASK_NAME.search(stem):
            files.masks[MASK_NAME.sub("", stem)].append(path)
        else:
            files.volumes[stem].append(path)
    _rename(files)
    return files


def _stem(path: Path) -> str:
    """Name of a NIfTI file without its ending; empty for other files, and for those of a Mac that hold no image."""
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name)
    return "" if stem == path.name or path.name.startswith(".") or not path.is_file() else stem


def _segmentations_of_cases(folder: Path, paths: Iterable[Path]) -> dict[Path, str]:
    """Files in a folder of segmentations that lies next to the one CT of a case, with the case."""
    beside: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        beside[path.parent].append(path)
    of_case: dict[Path, str] = {}
    for place, files in beside.items():
        cts = [p for p in beside.get(place.parent, ()) if not MASK_NAME.search(_stem(p))]
        cts = [p for p in cts if _stem(p).casefold() not in (*_MASK_OF_FOLDER, *_ORGANS_OF_FOLDER)]
        if place == folder or not _MASKS.match(place.name) or len(cts) != 1:
            continue
        stem = _stem(cts[0])
        case = place.parent.name if stem.casefold() in _CT_OF_FOLDER else stem
        if not any(MASK_NAME.sub("", _stem(path)) == case for path in files):
            of_case |= dict.fromkeys(files, case)
    return of_case


def _add_part(files: SortedFiles, case: str, path: Path, stem: str) -> None:
    if _TUMOR.search(stem):
        files.parts[case].append(path)
    else:
        files.organs[case] = path.parent


def _rename(files: SortedFiles) -> None:
    """Give volumes the name of their label map: CASE_0000 and CASE_ct are CASE, where there is one of that name."""
    for name in sorted(files.volumes):
        bare = _CHANNEL.sub("", _CT_NAME.sub("", name))
        in_images = all(_IMAGES.match(path.parent.name) for path in files.volumes[name])
        if bare != name and (bare in files.masks or (in_images and _CHANNEL.search(name))):
            files.volumes[bare] += files.volumes.pop(name)

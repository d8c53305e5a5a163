"""Features of the cases of a study, each computed once: a JSON per case under the digest of its inputs.

The key holds the slices that were cut of the case (HU, area and place of each), the content of its ROI files, the
settings and the version of MIRP. So a changed ROI, CT or setting is computed again, and a moved study is not.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import CohortError, RoiError, StudyError
from nephroscope.base.parallel import map_in_processes
from nephroscope.base.progress import track
from nephroscope.learning.baselines.radiomics.extract import (
    SLICES,
    VOLUME,
    RadiomicsSettings,
    crop,
    extract,
    mirp_version,
)
from nephroscope.learning.learner import StudyData
from nephroscope.records import ChosenCase, Cohort, CTVolume, RoiMask, VolumeGeometry
from nephroscope.records.settings import READERS

FORMAT = 1
Features = dict[str, float | None]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class KeptFeatures:
    """Features of a case as they are kept, and what they were computed with; ``why_none`` where there are none.

    ``key`` is the digest of its inputs; empty in files of older versions.
    """

    mirp: str
    settings: str
    n_roi_voxels: int
    why_none: str
    features: Features
    key: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Task:
    """What a process needs for one case: CT and ROI cut to the tumor, and where the features go."""

    volume: CTVolume
    roi: RoiMask
    settings: RadiomicsSettings
    path: Path


def settings_of(cohort: Cohort) -> RadiomicsSettings:
    """In volume, or by slice for all as soon as one case is slice images: features of one kind in a study."""
    return SLICES if any(case.format == "images" for case in cohort.chosen) else VOLUME


def features_of_cases(data: StudyData, case_ids: Sequence[str]) -> dict[str, Features]:
    """Features by case_id, from the cache where they are there; an interrupted extraction goes on.

    A case whose ROI is too small for any feature has none: an empty dict, and a warning in the log.

    Raises:
        CohortError: A case has no slices, by which its features are keyed.
    """
    settings = settings_of(data.cohort)
    paths = {name: _path_of(data, data.cohort.by_id[name], settings) for name in case_ids}
    held = {name: content for name, path in paths.items() if (content := _held(path)) is not None}
    todo = [data.cohort.by_id[name] for name in paths if name not in held]
    if todo:
        _extract(data, todo, paths, settings)
        held |= {case.case_id: _read(paths[case.case_id]) for case in todo}
    for name, content in held.items():
        if content.why_none:
            logger.warning("case %s has no radiomics features: %s", name, content.why_none)
    return {name: content.features for name, content in held.items()}


def _read(path: Path) -> KeptFeatures:
    return read_document(path, KeptFeatures, FORMAT)


def _held(path: Path) -> KeptFeatures | None:
    """What is kept of a case; None when there is nothing, or something damaged."""
    if not path.exists():
        return None
    try:
        held = _read(path)
    except StudyError:
        held = None
    if held is None or held.key not in ("", path.stem):
        logger.warning("%s is damaged and is made again", path.name)
        return None
    return held


def _extract(
    data: StudyData, todo: Sequence[ChosenCase], paths: dict[str, Path], settings: RadiomicsSettings
) -> None:
    logger.info(
        "radiomics: features of %d of %d cases are computed first, seconds each", len(todo), len(paths)
    )
    behind_window = sum(case.source != "HU" for case in todo)
    if behind_window:
        logger.info(
            "radiomics: %d of %d cases are 8-bit images behind a window; what lies outside it is lost",
            behind_window,
            len(todo),
        )
    tasks = (_task(data, case, paths[case.case_id], settings) for case in todo)
    done: Iterator[None] = map(extract_and_save, tasks)
    if len(todo) > 2:  # a process takes two seconds to start
        done = map_in_processes(extract_and_save, tasks)
    for _ in track(done, "radiomics", "case", len(todo)):
        pass


def _task(data: StudyData, case: ChosenCase, path: Path, settings: RadiomicsSettings) -> _Task:
    volume, roi = data.read(case)
    hu, mask = crop(volume.hu, roi.voxels)
    grid = VolumeGeometry(shape=hu.shape, affine=volume.geometry.affine)
    return _Task(
        volume=CTVolume(hu=hu, geometry=grid, series_uid=volume.series_uid),
        roi=RoiMask(voxels=mask, geometry=grid, case_id=case.case_id),
        settings=settings,
        path=path,
    )


def extract_and_save(task: _Task) -> None:
    """Compute the features of one case and keep them, whole or not at all."""
    features: Features = {}
    why_none = ""
    try:
        features = extract(task.volume, task.roi, task.settings)
    except RoiError as error:
        why_none = f"expected {error.expected}, found {error.found}"
    kept = KeptFeatures(
        mirp=mirp_version(),
        settings=task.settings.summary,
        n_roi_voxels=int(task.roi.voxels.sum()),
        why_none=why_none,
        features=features,
        key=task.path.stem,
    )
    save_document(task.path, kept, FORMAT)


def _path_of(data: StudyData, case: ChosenCase, settings: RadiomicsSettings) -> Path:
    rows = data.store.rows_by_case.get(case.case_id)
    if rows is None:
        raise CohortError(
            where=f"case {case.case_id}, radiomics",
            expected="slices of the case",
            found="none",
            remedy="run `nephroscope slices` and compare the cases that it cuts",
        )
    tumors = [case.roi_by(author) for author in dict.fromkeys((*READERS, *case.authors()))]
    label, name = next(((roi.label, roi.name) for roi in tumors if roi), (1, ""))
    key = hashlib.sha256(f"{settings.digest} {label} {name}".encode())
    for column in (data.store.hu, data.store.slice_index, data.store.area_mm2, data.store.mm_per_px):
        key.update(column[rows].tobytes())
    for roi in tumors:
        if roi is not None and roi.path.is_file():
            about = roi.path.stat()
            key.update(_digest_of_file(roi.path, about.st_size, about.st_mtime_ns))
    return data.cache / "radiomics" / f"{key.hexdigest()[:32]}.json"


@lru_cache(maxsize=4096)
def _digest_of_file(path: Path, size: int, time_ns: int) -> bytes:
    """SHA-256 of a file; read again when its size or time has changed."""
    return hashlib.sha256(path.read_bytes()).digest()

"""What a CT and its ROI tell in a few numbers: cases in, attenuation in the tumor and its diameter out, cached."""

import math
import re
from collections.abc import Mapping

import numpy as np

from nephroscope.baselines.candidate import StudyData
from nephroscope.baselines.features import FeatureTable, cached_table
from nephroscope.errors import NephroscopeError
from nephroscope.progress import track
from nephroscope.records import Case, CTVolume, RoiMask
from nephroscope.records.digest import digest_of
from nephroscope.roi.checks.enhancement import Enhancement, measure_enhancement
from nephroscope.roi.checks.measure import axial_diameter_mm, crop
from nephroscope.roi.checks.organs import organs_of

VERSION = 1  # part of the cache's key: raise it when a number below is computed otherwise
ATTENUATION = ("mean_hu", "sd_hu", "p10_hu", "median_hu", "p90_hu", "to_cortex", "to_aorta")
DIAMETER = "roi_diameter_cm"
LEAST_HU = 20.0  # below this, a ratio to an organ says more of noise than of the tumor
WINDOWED = re.compile(r"8-bit L(-?[\d.]+) W([\d.]+)")


def measured_table(data: StudyData) -> FeatureTable:
    """A row for every case of the cohort; those that have no slices, or cannot be read, are NaN and noted."""
    digest = digest_of([VERSION, data.seen, data.cohort.digest_of("case_id", "organs", "source")])
    return cached_table(data.cache, "measured", digest, lambda: _measure_all(data))


def attenuation_table(data: StudyData) -> FeatureTable:
    """HU inside the tumor (mean, SD, percentiles) and the ratio of its mean to renal cortex and aorta."""
    return measured_table(data).only(ATTENUATION)


def tells_attenuation(data: StudyData) -> tuple[str, ...]:
    """What HU are worth on this study: behind which window they were seen, and how many ratios are known."""
    table, told = attenuation_table(data), []
    windows = {case.source for case in data.cohort.cases if WINDOWED.fullmatch(case.source)}
    for source in sorted(windows):
        told.append(f"HU of cases with source {source} are clipped to {_ends(source)}")
    for name, organ in (("to_cortex", "renal cortex"), ("to_aorta", "aorta")):
        n = int(np.isfinite(table.column(name)).sum())
        told.append(f"ratio to {organ} known for {n} of {len(table.case_ids)} cases")
    return tuple(told)


def _measure_all(data: StudyData) -> FeatureTable:
    cases, notes, rows = data.cohort.cases, {}, []
    for case in track(cases, "attenuation", "case", len(cases)):
        row: dict[str, float] = {}
        try:
            if case.case_id in data.store.rows_by_case:
                row, note = _measure(case, *data.read(case))
            else:
                note = "no slices were cut"
        except (NephroscopeError, OSError) as error:
            note = _why(error)
        rows.append([row.get(name, math.nan) for name in (*ATTENUATION, DIAMETER)])
        if note:
            notes[case.case_id] = note
    return FeatureTable(
        case_ids=tuple(case.case_id for case in cases),
        names=(*ATTENUATION, DIAMETER),
        values=np.array(rows, np.float64),
        notes=notes,
    )


def _measure(case: Case, volume: CTVolume, roi: RoiMask) -> tuple[dict[str, float], str]:
    """Numbers by name, and what is to be said of them."""
    codes = {finding.code for finding in (*volume.findings, *roi.findings)}
    hu = volume.hu[roi.voxels].astype(np.float64)
    low, middle, high = np.percentile(hu, (10, 50, 90))
    row = {"mean_hu": hu.mean(), "sd_hu": hu.std(), "p10_hu": low, "median_hu": middle, "p90_hu": high}
    if "no-mask" in codes:
        return row, "no mask: HU of the whole image, with what lies beside the tumor"
    if "spacing-unknown" not in codes:
        box, _ = crop(roi.voxels)
        row[DIAMETER] = axial_diameter_mm(box, roi.geometry.affine) / 10
    if case.format == "images":
        return row, ""
    try:
        organs = {name: mask for name, mask in organs_of(case, volume).items() if name != "tumor"}
        enhancement = measure_enhancement(volume, {**organs, "tumor": roi.voxels}) if organs else None
    except (NephroscopeError, OSError) as error:
        return row, f"no ratio to organs: {_why(error)}"
    return {**row, **_ratios(row, enhancement)}, ""


def _ratios(row: Mapping[str, float], enhancement: Enhancement | None) -> dict[str, float]:
    """Mean HU of the tumor over the median HU of each organ that is there and brighter than `LEAST_HU`."""
    if enhancement is None:
        return {}
    organs = {"to_cortex": enhancement.cortex_hu, "to_aorta": enhancement.aorta_hu}
    return {name: row["mean_hu"] / hu for name, hu in organs.items() if hu is not None and hu >= LEAST_HU}


def _why(error: NephroscopeError | OSError) -> str:
    """A refusal's own words; of the system's only what is wrong, as its paths may name a patient."""
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)


def _ends(source: str) -> str:
    match = WINDOWED.fullmatch(source)
    level, width = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
    return f"{level - width / 2:g} to {level + width / 2:g}"

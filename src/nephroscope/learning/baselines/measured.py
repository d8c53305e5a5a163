"""Features that are measured or known without a network: attenuation in the ROI; age, sex and size."""

import math
import re
from collections.abc import Mapping

import numpy as np

from nephroscope.base.errors import NephroscopeError
from nephroscope.base.files import digest_of
from nephroscope.base.progress import track
from nephroscope.learning.baselines.features import FeatureTable, cached_table
from nephroscope.learning.learner import StudyData
from nephroscope.records import Case, ChosenCase, CTVolume, RoiMask
from nephroscope.regions.enhancement import Enhancement, measure_enhancement
from nephroscope.regions.measure import axial_diameter_mm, crop
from nephroscope.regions.organs import organs_of

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


def attenuation_notes(data: StudyData) -> tuple[str, ...]:
    """What HU are worth on this study: behind which window they were seen, and how many ratios are known."""
    table, notes = attenuation_table(data), []
    windows = {case.source for case in data.cohort.chosen if WINDOWED.fullmatch(case.source)}
    for source in sorted(windows):
        notes.append(f"HU of cases with source {source} are clipped to {_ends(source)}")
    for name, organ in (("to_cortex", "renal cortex"), ("to_aorta", "aorta")):
        n = int(np.isfinite(table.column(name)).sum())
        notes.append(f"ratio to {organ} known for {n} of {len(table.case_ids)} cases")
    return tuple(notes)


def _measure_all(data: StudyData) -> FeatureTable:
    cases, notes, rows = data.cohort.chosen, {}, []
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


def _measure(case: ChosenCase, volume: CTVolume, roi: RoiMask) -> tuple[dict[str, float], str]:
    """Numbers by name, and a note on them."""
    codes = {finding.code for finding in (*volume.findings, *roi.findings)}
    hu = volume.hu[roi.voxels].astype(np.float64)
    low, middle, high = np.percentile(hu, (10, 50, 90))
    row = {"mean_hu": hu.mean(), "sd_hu": hu.std(), "p10_hu": low, "median_hu": middle, "p90_hu": high}
    if "no-mask" in codes:
        return row, "no mask: HU of the whole image, with the tissue around the tumor"
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


NAMES = ("age_years", "male", "log_size_cm")


def clinical_table(data: StudyData) -> FeatureTable:
    """Age at imaging, 1 for men and 0 for women, and the natural log of the largest diameter in cm.

    Size is the table's. Where a case has none, it is the largest axial diameter of its ROI, as a radiologist would
    measure it on the CT; that, too, is known before surgery.
    """
    cases, notes = data.cohort.cases, {}
    measured = measured_table(data) if any(case.clinical.size_cm is None for case in cases) else None
    rows = []
    for place, case in enumerate(cases):
        roi_cm = float(measured.column(DIAMETER)[place]) if measured is not None else math.nan
        row = (
            _number(case.clinical.age_years),
            {"M": 1.0, "F": 0.0}.get(case.clinical.sex or "", math.nan),
            _log_size(case, roi_cm),
        )
        rows.append(row)
        gaps = [name for name, value in zip(("age", "sex", "size"), row, strict=True) if math.isnan(value)]
        if gaps:
            notes[case.case_id] = f"no {', '.join(gaps)}"
    return FeatureTable(
        case_ids=tuple(case.case_id for case in cases),
        names=NAMES,
        values=np.array(rows, np.float64),
        notes=notes,
    )


def why_no_clinical(data: StudyData) -> str:
    """Why there is no clinical baseline; empty when a single case has an age, a sex or a size."""
    known = any(
        case.clinical.age_years is not None
        or case.clinical.sex in ("M", "F")
        or case.clinical.size_cm is not None
        for case in data.cohort.cases
    )
    return "" if known else "no age, sex or size in cohort.csv"


def clinical_notes(data: StudyData) -> tuple[str, ...]:
    """How many sizes were measured on ROIs, and which columns are empty."""
    cases, table = data.cohort.cases, clinical_table(data)
    from_roi = sum(
        case.clinical.size_cm is None and not math.isnan(size)
        for case, size in zip(cases, table.column("log_size_cm"), strict=True)
    )
    notes = (
        [f"{from_roi} of {len(cases)} sizes are the largest axial diameter of the ROI"] if from_roi else []
    )
    empty = [name for name in NAMES if not any(math.isfinite(value) for value in table.column(name))]
    return (*notes, *(f"{name} is not known of any case" for name in empty))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _log_size(case: Case, roi_cm: float) -> float:
    size_cm = _number(case.clinical.size_cm) if case.clinical.size_cm is not None else roi_cm
    return math.log(size_cm) if size_cm > 0 else math.nan

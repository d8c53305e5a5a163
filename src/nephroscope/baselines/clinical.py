"""Age, sex and size: the manifest in, three columns out; a size that no table tells is measured on the ROI."""

import math

import numpy as np

from nephroscope.baselines.candidate import StudyData
from nephroscope.baselines.features import FeatureTable
from nephroscope.baselines.measured import DIAMETER, measured_table
from nephroscope.records import Case

NAMES = ("age_years", "male", "log_size_cm")


def clinical_table(data: StudyData) -> FeatureTable:
    """Age at imaging, 1 for men and 0 for women, and the natural log of the largest diameter in cm.

    Size is the table's. Where a case has none, it is the largest axial diameter of its ROI, as a radiologist would
    measure it on the CT; that, too, is known before surgery.
    """
    cases, notes = data.cohort.cases, {}
    measured = measured_table(data) if any(case.size_cm is None for case in cases) else None
    rows = []
    for place, case in enumerate(cases):
        roi_cm = float(measured.column(DIAMETER)[place]) if measured is not None else math.nan
        row = (
            _number(case.age_years),
            {"M": 1.0, "F": 0.0}.get(case.sex or "", math.nan),
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


def lacks_clinical(data: StudyData) -> str:
    """Why there is no clinical baseline; empty when a single case has an age, a sex or a size."""
    known = any(
        case.age_years is not None or case.sex in ("M", "F") or case.size_cm is not None
        for case in data.cohort.cases
    )
    return "" if known else "no age, sex or size in cohort.csv"


def tells_clinical(data: StudyData) -> tuple[str, ...]:
    """How many sizes were measured on ROIs, and which columns are empty."""
    cases, table = data.cohort.cases, clinical_table(data)
    from_roi = sum(
        case.size_cm is None and not math.isnan(size)
        for case, size in zip(cases, table.column("log_size_cm"), strict=True)
    )
    told = [f"{from_roi} of {len(cases)} sizes are the largest axial diameter of the ROI"] if from_roi else []
    empty = [name for name in NAMES if not any(math.isfinite(value) for value in table.column(name))]
    return (*told, *(f"{name} is not known of any case" for name in empty))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _log_size(case: Case, roi_cm: float) -> float:
    size_cm = _number(case.size_cm) if case.size_cm is not None else roi_cm
    return math.log(size_cm) if size_cm > 0 else math.nan

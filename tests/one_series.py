"""Cases of one series with the ROIs of one or two readers, for tests that need no more."""

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

from nephroscope.records import Case, ChoiceRule, ChosenCase, ClinicalFacts, RoiRef, SeriesRef

SERIES = ("image", "format", "phase", "source", "organs", "series_uid")
ROIS = ("roi", "roi_reader2", "tumor_label", "tumor_name")
CLINICAL = tuple(f.name for f in fields(ClinicalFacts))


def one_series(case_id, patient_id=None, **values):
    """A chosen case from the fields it had when it was one series: image, format, phase, roi, roi_reader2, sex ..."""
    of_series = {"image": Path("ct"), "format": "nifti"} | {n: values.pop(n) for n in SERIES if n in values}
    of_rois = {n: values.pop(n) for n in ROIS if n in values}
    clinical = ClinicalFacts(**{n: values.pop(n) for n in CLINICAL if n in values})
    case = Case(
        case_id=case_id,
        patient_id=patient_id or case_id,
        clinical=clinical,
        series=(SeriesRef(name="ct", **of_series),),
        rois=_rois(**of_rois),
        **values,
    )
    return case.chosen(ChoiceRule())


def _rois(roi=None, roi_reader2=None, tumor_label=1, tumor_name=""):
    drawn = {"reader-1": roi, "reader-2": roi_reader2}
    return tuple(
        RoiRef(author=author, path=path, series="ct", label=tumor_label, name=tumor_name)
        for author, path in drawn.items()
        if path is not None
    )


def as_one_series(case):
    """The fields of a case, by their old names; of several series, the chosen one."""
    chosen = case if isinstance(case, ChosenCase) else case.chosen(ChoiceRule())
    ct, drawn = chosen.ct, {roi.author: roi for roi in case.rois if roi.series == chosen.ct.name}
    first = next(iter(drawn.values()), None)
    own = {
        f.name: getattr(case, f.name) for f in fields(Case) if f.name not in ("series", "rois", "clinical")
    }
    return {
        **own,
        **{name: getattr(ct, name) for name in SERIES},
        **{name: getattr(case.clinical, name) for name in CLINICAL},
        "roi": drawn["reader-1"].path if "reader-1" in drawn else None,
        "roi_reader2": drawn["reader-2"].path if "reader-2" in drawn else None,
        "tumor_label": first.label if first else 1,
        "tumor_name": first.name if first else "",
    }


def changed(case, **values):
    """The case with some of these fields changed."""
    rule = case.rule if isinstance(case, ChosenCase) else ChoiceRule()
    return one_series(**{**as_one_series(case), **values}).chosen(rule)


def flat(case):
    """The old fields of a case as attributes."""
    return SimpleNamespace(**as_one_series(case))

"""Label rows and what was found on disk in, cases and exclusions out: the rules that all three doors share."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nephroscope.cohort.labels import LabelRow, match_subtype
from nephroscope.records import Case, Exclusion, ImageFormat, Sex

# What must be the same in all rows of one case.
OF_A_CASE = (
    "subtype",
    "patient_id",
    "sex",
    "age_years",
    "size_cm",
    "phase",
    "site_id",
    "cohort",
    "synthetic",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One CT volume on disk that may become a case, or the ``refusal`` why it cannot."""

    key: str
    image: Path
    roi: Path | None = None
    roi_reader2: Path | None = None
    sex: Sex | None = None
    age_years: float | None = None
    synthetic: bool = False
    refusal: str = ""


def settle_labels(
    rows: Iterable[LabelRow], subtypes: tuple[str, ...]
) -> tuple[dict[str, LabelRow], dict[str, Exclusion]]:
    """One label per case, with the study's own name of the subtype; or one exclusion, with the reason.

    A case is left out, never guessed at, when its rows contradict each other, when its patient has two sexes, or
    when its subtype is not in the study.
    """
    by_case: dict[str, list[LabelRow]] = defaultdict(list)
    for row in rows:
        by_case[row.case_id].append(row)
    sexes: dict[str, set[str]] = defaultdict(set)
    for name, group in by_case.items():
        sexes[group[0].patient_id or name] |= {row.sex for row in group if row.sex}
    settled: dict[str, LabelRow] = {}
    excluded: dict[str, Exclusion] = {}
    for name, group in by_case.items():
        typed = " and ".join(sorted({row.subtype for row in group}))
        matched = {match_subtype(row.subtype, subtypes) or row.subtype for row in group}
        label, reason = _one_label(group, matched)
        patient_sexes = sorted(sexes[group[0].patient_id or name])
        if not reason and len(patient_sexes) > 1:
            reason = f"its patient has two sexes: {' and '.join(patient_sexes)}"
        if not reason and label.subtype not in subtypes:
            reason = f"subtype {typed} is not in the study"
        if reason:
            excluded[name] = Exclusion(case_id=name, reason=reason, subtype=typed)
        else:
            settled[name] = label
    return settled, excluded


def join_found(
    found: Sequence[Found],
    labels: list[LabelRow] | None,
    subtypes: tuple[str, ...],
    format: ImageFormat,
    tumor_label: int = 1,
) -> tuple[tuple[Case, ...], tuple[Exclusion, ...]]:
    """Cases where a volume, its ROI and its label meet; an exclusion for each that stays alone.

    A volume meets the label whose case_id or patient_id is its key. Without ``labels`` cases have no subtype.
    """
    settled, excluded = settle_labels(labels or [], subtypes)
    everyone: dict[str, set[str]] = defaultdict(set)
    for row in labels or []:
        everyone[row.case_id].add(row.case_id)
        everyone[row.patient_id or row.case_id].add(row.case_id)
    cases: list[Case] = []
    for volume in found:
        names = sorted(everyone[volume.key])
        if labels is None:
            names, settled = (
                [volume.key],
                {**settled, volume.key: LabelRow(row=0, case_id=volume.key, subtype="")},
            )
        if not names:
            excluded[volume.key] = Exclusion(case_id=volume.key, reason="no label row names it")
        for name in names:
            if name in excluded:
                continue
            label = settled.pop(name)
            reason = volume.refusal
            if len(names) > 1:
                reason = f"{len(names)} label rows ({', '.join(names)}) for one CT volume"
            if reason:
                excluded[name] = Exclusion(case_id=name, reason=reason, subtype=label.subtype)
            else:
                cases.append(_case(volume, label, format, tumor_label))
    for name, label in settled.items():
        excluded[name] = Exclusion(
            case_id=name, reason="labelled, but no CT of it was found", subtype=label.subtype
        )
    return tuple(cases), tuple(excluded.values())


def case_fields(label: LabelRow) -> dict[str, Any]:
    """What a label says of a case, as fields of `Case`."""
    return {
        "case_id": label.case_id,
        "patient_id": label.patient_id or label.case_id,
        "subtype": label.subtype or None,
        "sex": label.sex,
        "age_years": label.age_years,
        "size_cm": label.size_cm,
        "phase": label.phase,
        "site_id": label.site_id,
        "cohort": label.cohort,
        "synthetic": label.synthetic,
    }


def _case(volume: Found, label: LabelRow, format: ImageFormat, tumor_label: int) -> Case:
    known = case_fields(label)
    known["sex"] = label.sex or volume.sex
    known["age_years"] = label.age_years if label.age_years is not None else volume.age_years
    known["synthetic"] = label.synthetic or volume.synthetic
    return Case(
        **known,
        image=volume.image,
        format=format,
        roi=volume.roi,
        roi_reader2=volume.roi_reader2,
        tumor_label=tumor_label,
    )


def _one_label(group: list[LabelRow], matched: set[str]) -> tuple[LabelRow, str]:
    """The label all rows of a case agree on, and the reason when they do not."""
    label = replace(group[0], subtype=min(matched))
    if len(matched) > 1:
        return label, f"two subtypes: {' and '.join(sorted(matched))}"
    for name in OF_A_CASE[1:]:
        values = {value for value in (getattr(row, name) for row in group) if value is not None}
        if len(values) > 1:
            listed = " and ".join(sorted(str(value) for value in values))
            return label, f"its rows contradict each other: {name} {listed}"
        if values:
            label = replace(label, **{name: values.pop()})
    return label, ""

"""Join label rows with the images and ROIs that were found: the rules that all imports share."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nephroscope.base.identifiers import clean_name, near_names
from nephroscope.imaging.masks.origin import program_behind
from nephroscope.intake.labels.pathology import PATHOLOGY_FILE, default_table, name_of_subtype, shortened
from nephroscope.intake.labels.rows import LabelRow
from nephroscope.intake.labels.whose_roi import NamedRoi, RoiChoice, choose_rois, find_beside
from nephroscope.intake.safe_text import clean_text
from nephroscope.records import Case, ClinicalFacts, Exclusion, ImageFormat, RoiRef, SeriesRef, Sex
from nephroscope.records.cases import series_name
from nephroscope.records.cohort import Reason

# What must be the same in all rows of one case.
OF_A_CASE = (
    *("subtype", "patient_id", "subtype_reader2", "sex", "age_years", "size_cm", "side", "phase", "site_id"),
    *("cohort", "tumor_label", "tumor_name", "roi", "organs", "excluded", "synthetic"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One CT volume on disk that may become the series of a case, or of several of one patient, or why it cannot.

    Attributes:
        key: case_id or patient_id by which label rows find it.
        image: As in `SeriesRef`.
        roi: The ROI of a volume with one tumor, or the file that holds those of all its tumors.
        rois: All ROI files with the names of their segments, readers in order; needed only where a patient has
            several tumors and the label rows do not say which ROI is whose, or where more than two authors drew.
        models: Of the ROI files that a program drew, the author.
        organs: Kidneys and vessels, where the import knows a file of them.
        refusal: Why there is no case in it.
        without_roi: Why it has no ROI; no refusal where the label row names one in its column ``roi``.
        other_series: Further CT volumes of the same patient: series of the same cases.
        keep_incomplete: A case also without an ROI or without a label: drawn and labelled later.
    """

    key: str
    image: Path
    roi: Path | None = None
    roi_reader2: Path | None = None
    rois: Sequence[NamedRoi] = ()
    models: Mapping[Path, str] = field(default_factory=dict)
    organs: Path | None = None
    series_uid: str = ""
    sex: Sex | None = None
    age_years: float | None = None
    synthetic: bool = False
    phase: str = "unknown"
    refusal: str = ""
    without_roi: str = ""
    other_series: "tuple[Found, ...]" = ()
    keep_incomplete: bool = False


def settle_labels(
    rows: Iterable[LabelRow], subtypes: tuple[str, ...], keep_incomplete: bool = False
) -> tuple[dict[str, LabelRow], dict[str, Exclusion]]:
    """One label per case, with the study's own name of the subtype; or one exclusion, with the reason.

    A case is left out, never guessed at, when a person says so, when its rows contradict each other, when its
    patient has two sexes, when pathology.csv does not tell its subtype, or when that is not in the study. With
    ``keep_incomplete`` a case whose cell of the subtype is empty has none yet.
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
        typed = shortened(" and ".join(sorted({row.subtype for row in group})))
        label, reason = _one_label(group, {_meaning(row, subtypes) for row in group})
        patient_sexes = sorted(sexes[group[0].patient_id or name])
        if not reason and len(patient_sexes) > 1:
            reason = Reason(f"its patient has two sexes: {' and '.join(patient_sexes)}", "contradicting")
        unlabelled = keep_incomplete and not typed
        if not reason and not label.subtype and not unlabelled:
            why = default_table().obstacle(group[0].subtype)
            reason = Reason(f"pathology text {typed!r} is not in {PATHOLOGY_FILE}{why}", "subtype-unclear")
        if not reason and label.subtype not in subtypes and not unlabelled:
            reason = Reason(f"subtype {label.subtype} is not in the study", "another-subtype")
        if reason:
            excluded[name] = Exclusion(case_id=name, reason=reason, subtype=typed)
        else:
            second = label.subtype_reader2
            second = second and (name_of_subtype(second, subtypes) or second)
            settled[name] = replace(label, subtype_reader2=second)
    return settled, excluded


def _meaning(row: LabelRow, subtypes: tuple[str, ...]) -> str:
    """The study's or the table's name of a row's subtype; empty when nobody can tell."""
    return (
        row.mapped_subtype if row.mapped_subtype is not None else name_of_subtype(row.subtype, subtypes) or ""
    )


def join_found(
    found: Sequence[Found],
    labels: list[LabelRow] | None,
    subtypes: tuple[str, ...],
    format: ImageFormat,
    tumor_label: int | None = None,
    source: Path | None = None,
) -> tuple[tuple[Case, ...], tuple[Exclusion, ...]]:
    """Cases where a volume, its ROI and its label meet; an exclusion for each that stays alone.

    A volume meets the label whose case_id is its key, else all labels whose patient_id is: several tumors of a
    patient are several cases on one volume, when each label row says which ROI is its own (`choose_rois`).

    Args:
        found: Volumes on disk.
        labels: Rows of the label table; without any, cases have no subtype.
        subtypes: The study's.
        format: Of all these volumes.
        tumor_label: Value of the tumor in label maps, where a label row does not say it; None: nobody said it.
        source: Folder of the import; paths of the column roi that do not start at the table's folder start here.
    """
    if labels is None:
        settled = {volume.key: LabelRow(row=0, case_id=volume.key, subtype="") for volume in found}
        excluded: dict[str, Exclusion] = {}
    else:
        settled, excluded = settle_labels(labels, subtypes, any(one.keep_incomplete for one in found))
    found = [
        replace(one, without_roi="") if one.keep_incomplete and not one.rois else one
        for one in _cleaned(found)
    ]
    of_volume = _names_of(found, labels)
    meant = _hints(of_volume, labels)
    first = {row.case_id: row for row in reversed(labels or [])}
    cases: list[Case] = []
    for volume in found:
        names = of_volume[volume.key]
        if not names and volume.keep_incomplete and volume.key not in settled.keys() | excluded.keys():
            names = [volume.key]
            settled[volume.key] = first[volume.key] = LabelRow(row=0, case_id=volume.key, subtype="")
        if not names:
            excluded[volume.key] = Exclusion(
                case_id=volume.key,
                reason="no label row names it",
                hint=meant.get(volume.key, ""),
                kind="no-label",
            )
        rows = [settled.pop(name) for name in names if name in settled]
        near = [Path(), *([source] if source else []), volume.image, volume.image.parent]
        others = [first[name] for name in names if name in excluded]
        chosen, reason = choose_rois(rows, others, volume, near)
        alone = len(rows) + len(others) == 1
        further = [_on_other_series(rows, others, other) for other in volume.other_series]
        for row in rows:
            why = volume.refusal or reason or _no_roi(chosen[row.case_id], volume)
            if why:
                excluded[row.case_id] = Exclusion(case_id=row.case_id, reason=why, subtype=row.subtype)
                continue
            phase = row.phase if row.phase != "unknown" else volume.phase
            own = replace(volume, phase=phase, organs=find_beside(row.organs, near) or volume.organs)
            drawn = [(own, chosen[row.case_id]), *((other, on[row.case_id]) for other, on in further)]
            cases.append(_case(row, drawn, format, tumor_label, alone))
    for name, label in settled.items():
        excluded[name] = Exclusion(
            case_id=name,
            reason="labelled, but no CT of it was found",
            subtype=label.subtype,
            hint=meant.get(name) or meant.get(label.patient_id or "", ""),
            kind="no-ct",
        )
    return tuple(cases), tuple(excluded.values())


def _cleaned(found: Sequence[Found]) -> list[Found]:
    """Volumes under names without invisible signs; of two that look the same, neither can be told from the other."""
    named = [replace(volume, key=clean_name(volume.key)) for volume in found]
    n_of = Counter(volume.key for volume in named)
    twice = "two volumes whose names look the same"
    return [v if n_of[v.key] == 1 else replace(v, refusal=v.refusal or twice) for v in named]


def _hints(of_volume: Mapping[str, Sequence[str]], labels: Sequence[LabelRow] | None) -> dict[str, str]:
    """For names on one side only, the name on the other that they may be, as a question."""
    if labels is None:
        return {}
    alone = [key for key, names in of_volume.items() if not names]
    listed = {name for row in labels for name in (row.case_id, row.patient_id) if name}
    pairs = {**near_names(listed, alone), **near_names(alone, listed)}
    return {name: f"did you mean {twin}?" for name, twin in pairs.items()}


def _no_roi(choice: RoiChoice, volume: Found) -> str:
    """Why there is no ROI for a tumor, also when the names in its file are known and the one asked for is none."""
    if not choice.path:
        return volume.without_roi
    names = [name for roi in volume.rois if roi.path == choice.path for name in (*roi.names, *roi.meanings)]
    name = choice.tumor_name.strip()
    code = re.fullmatch(
        r"#\d+|[A-Z]{0,3}-?\d[\dA-F.]{3,}", name
    )  # numbers and codes are looked up in the file
    if not name or not names or code or name.casefold() in {one.strip().casefold() for one in names}:
        return ""
    known = ", ".join(dict.fromkeys(words for one in names if (words := clean_text(one))))
    return f"no segment or contour of its ROI is called {name!r} (there are {known or 'others'})"


def _names_of(found: Sequence[Found], labels: list[LabelRow] | None) -> dict[str, list[str]]:
    """Cases of each volume: the one of its name, else those of the patient that have no volume of their own."""
    keys = {volume.key for volume in found}
    if labels is None:
        return {key: [key] for key in keys}
    patients = {row.patient_id for row in labels}
    of_key: dict[str, set[str]] = {key: set() for key in keys}
    for row in labels:
        # Where cases and patients are both numbered, case 2 of patient 1 is not on the CT of patient 2.
        anothers = row.case_id in patients and row.case_id != row.patient_id and row.patient_id in keys
        own = row.case_id in keys and not anothers
        key = row.case_id if own else row.patient_id or row.case_id
        if key in of_key:
            of_key[key].add(row.case_id)
    return {key: sorted(names) for key, names in of_key.items()}


def case_fields(label: LabelRow) -> dict[str, Any]:
    """What a label says of a case, as fields of `Case`."""
    return {
        "case_id": label.case_id,
        "patient_id": label.patient_id or label.case_id,
        "subtype": label.subtype or None,
        "subtype_reader2": label.subtype_reader2,
        "clinical": ClinicalFacts(
            sex=label.sex, age_years=label.age_years, size_cm=label.size_cm, side=label.side
        ),
        "site_id": label.site_id,
        "cohort": label.cohort,
        "synthetic": label.synthetic,
    }


def _on_other_series(
    rows: Sequence[LabelRow], others: Sequence[LabelRow], volume: Found
) -> tuple[Found, dict[str, RoiChoice]]:
    """A further series with the ROI of each case on it; none where it cannot be told."""
    bare, others = ([replace(row, roi=None, organs=None) for row in each] for each in (rows, others))
    chosen, reason = choose_rois(bare, others, volume, ())
    none = RoiChoice(path=None)
    if reason:
        return volume, {row.case_id: none for row in rows}
    return volume, {name: none if _no_roi(choice, volume) else choice for name, choice in chosen.items()}


def _case(
    label: LabelRow,
    drawn: Sequence[tuple[Found, RoiChoice]],
    format: ImageFormat,
    tumor_label: int | None,
    alone: bool,
) -> Case:
    """The case of a label row with its series, the first of which describes the patient, and the ROIs on each."""
    known, first = case_fields(label), drawn[0][0]
    facts: ClinicalFacts = known["clinical"]
    age_years = facts.age_years if facts.age_years is not None else first.age_years
    known["clinical"] = replace(facts, sex=facts.sex or first.sex, age_years=age_years)
    known["synthetic"] = label.synthetic or first.synthetic
    series: list[SeriesRef] = []
    rois: list[RoiRef] = []
    for volume, choice in drawn:
        name = series_name(volume.phase, [one.name for one in series])
        series.append(
            SeriesRef(
                name=name,
                phase=volume.phase,
                image=volume.image,
                format=format,
                series_uid=volume.series_uid,
                organs=volume.organs,
            )
        )
        rois += [
            RoiRef(
                author=author,
                path=path,
                series=name,
                label=choice.tumor_label or tumor_label or 1,
                name=choice.tumor_name or ("#1" if tumor_label == 1 else ""),  # 1 alone chooses nothing
            )
            for author, path in _authors(volume, choice, alone).items()
        ]
    return Case(**known, series=tuple(series), rois=tuple(rois))


def _authors(volume: Found, choice: RoiChoice, alone: bool) -> dict[str, Path]:
    """Who drew the tumor on a series: people are numbered in order, programs go by their name.

    Besides the chosen ROI and the second reader's, these are all other files of the series where its patient has one
    tumor; of several tumors, the programs' files in which a segment has the same name.
    """
    others = []
    if choice.path in [roi.path for roi in volume.rois]:
        others = [
            roi.path
            for roi in volume.rois
            if alone or (roi.path in volume.models and choice.tumor_name and choice.tumor_name in roi.names)
        ]
    found: dict[str, Path] = {}
    n_readers = 0
    for path in dict.fromkeys((choice.path, choice.reader2, *others)):
        if path is None:
            continue
        if model := volume.models.get(path) or program_behind(path):
            found.setdefault(model, path)
        else:
            n_readers += 1
            found[f"reader-{n_readers}"] = path
    return found


def _one_label(group: list[LabelRow], matched: set[str]) -> tuple[LabelRow, str]:
    """The label all rows of a case agree on, and the reason why it is left out."""
    label = replace(group[0], subtype=min(matched))
    if all(row.excluded for row in group):
        told = " and ".join(sorted({row.excluded for row in group}))
        return label, Reason(f"left out by hand: {told}", "by-hand")
    if any(row.excluded for row in group):
        text = "its rows contradict each other: some of them are left out by hand"
        return label, Reason(text, "contradicting")
    if len(matched) > 1:
        both = " and ".join(sorted(name or "one not given" for name in matched))
        return label, Reason(f"two subtypes: {both}", "contradicting")
    for name in OF_A_CASE[1:]:
        values = {value for value in (getattr(row, name) for row in group) if value not in (None, "")}
        if len(values) > 1:
            listed = " and ".join(sorted(str(value) for value in values))
            return label, Reason(f"its rows contradict each other: {name} {listed}", "contradicting")
        if values:
            label = replace(label, **{name: values.pop()})
    return label, ""

"""Label rows and what was found on disk in, cases and exclusions out: the rules that all three doors share."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from nephroscope.intake.labels.pathology import PATHOLOGY_FILE, default_table, name_of_subtype, shortened
from nephroscope.intake.labels.rows import LabelRow
from nephroscope.intake.safe_text import clean_text
from nephroscope.records import Case, ClinicalFacts, Exclusion, ImageFormat, RoiRef, SeriesRef, Sex
from nephroscope.records.cases import series_name
from nephroscope.records.settings import READERS


class NamedRoi(Protocol):
    """A ROI file of a CT volume, and what its segments or contours are called, where that is known."""

    @property
    def path(self) -> Path:
        """Of the file."""

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of segments or contours."""

    @property
    def meanings(self) -> tuple[str, ...]:
        """What their codes mean, in words, by which they may be called too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiFile:
    """The plain `NamedRoi`."""

    path: Path
    names: tuple[str, ...] = ()
    meanings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiChoice:
    """The ROI of one tumor, and the second reader's; ``tumor_label`` None is the import's default."""

    path: Path | None
    reader2: Path | None = None
    tumor_label: int | None = None
    tumor_name: str = ""


def choose_rois(
    rows: Sequence[LabelRow], others: Sequence[LabelRow], volume: "Found", near: Sequence[Path]
) -> tuple[dict[str, RoiChoice], str]:
    """The ROI of each case on one CT volume and the second reader's, or the reason why it cannot be told.

    What one tumor's row claims, by its column roi or in its name, is never the second reader's of another tumor.
    The arguments are those of `_choose`.
    """
    chosen, reason = _choose(rows, [row for row in others if not row.excluded], volume, near)
    claims = {name: {choice.path} for name, choice in chosen.items()}
    named = _by_name(others, volume.rois)
    for row in others:
        choice = named.get(row.case_id)
        claims[row.case_id] = {find_beside(row.roi, near), choice.path if choice else None}
    settled = {}
    for name, choice in chosen.items():
        second = choice.reader2 or (volume.roi_reader2 if choice.path == volume.roi else None)
        of_others = set().union(*(paths for other, paths in claims.items() if other != name)) - {choice.path}
        settled[name] = replace(choice, reader2=None if second in of_others else second)
    return settled, reason


def _choose(
    rows: Sequence[LabelRow], others: Sequence[LabelRow], volume: "Found", near: Sequence[Path]
) -> tuple[dict[str, RoiChoice], str]:
    """The ROI of each case on one CT volume, or the reason why it cannot be told.

    A row tells it by its columns roi, tumor_name and tumor_label. Where no row of several does, a segment or a file
    whose name holds the case_id, or the tumor's number (``P7-2``, ``P7_T2``: 2), is taken, if there is exactly one.

    Args:
        rows: One per tumor that is to be a case, with different case_ids.
        others: Those of tumors that are left out, such as of another subtype: the one ROI may be theirs.
        volume: Its ROI, and all its ROI files where there are several.
        near: Folders in which relative paths of the column roi are looked for.
    """
    chosen: dict[str, RoiChoice] = {}
    for row in rows:
        path = volume.roi if row.roi is None else find_beside(row.roi, near)
        if row.roi is not None and path is None:
            return {}, f"its ROI file {row.roi.name} is not there"
        if row.organs is not None and find_beside(row.organs, near) is None:
            return {}, f"its organ file {row.organs.name} is not there"
        name = row.tumor_name or (f"#{row.tumor_label}" if row.tumor_label else "")
        chosen[row.case_id] = RoiChoice(path=path, tumor_label=row.tumor_label, tumor_name=name)
    n, listed = len(rows) + len(others), ", ".join(sorted(row.case_id for row in (*rows, *others)))
    if n == 1 or not rows:
        return chosen, ""
    told = [row for row in rows if row.roi or row.tumor_label or row.tumor_name]
    if not told:
        chosen = _by_name(rows, volume.rois)
    if len(chosen) < len(rows) or (told and len(told) < len(rows)):
        return {}, (
            f"{n} label rows ({listed}) for one CT volume, and not each says which ROI is its own; "
            "fill tumor_label, tumor_name or roi"
        )
    if len(set(chosen.values())) < len(rows):
        return {}, f"{n} label rows ({listed}) for one CT volume name the same ROI"
    return chosen, ""


def find_beside(path: Path | None, near: Sequence[Path]) -> Path | None:
    """A path as typed in a table, found in one of these folders, or None."""
    if path is None:
        return None
    return next(((place / path).resolve() for place in near if (place / path).exists()), None)


def _by_name(rows: Sequence[LabelRow], rois: Sequence[NamedRoi]) -> dict[str, RoiChoice]:
    """The one segment or file that is named after each case; cases without exactly one are not in it.

    The same name in a second file is the second reader's.
    """
    chosen = {}
    for row in rows:
        for wanted in _names(row):
            segments = [
                (roi.path, name) for roi in rois for name in roi.names if wanted.search(_spaced(name))
            ]
            files = [(roi.path, "") for roi in rois if wanted.search(_spaced(roi.path.name))]
            found = segments or files
            one_each = (
                len({path for path, _ in found}) == len(found) and len({name for _, name in found}) == 1
            )
            if len(found) == 1 or (segments and one_each):
                path, name = found[0]
                reader2 = found[1][0] if len(found) > 1 else None
                chosen[row.case_id] = RoiChoice(path=path, reader2=reader2, tumor_name=name)
            if found:
                break
    return chosen


def _names(row: LabelRow) -> list[re.Pattern[str]]:
    """How a case may be named: its case_id, then ``tumor 2`` where the case_id ends in the tumor's number."""
    wanted = [re.compile(rf"(?<!\w){re.escape(_spaced(row.case_id))}(?!\w)")]
    ending = _spaced(row.case_id.removeprefix(row.patient_id or ""))
    number = re.fullmatch(r"\W*(?:t|tumou?r|lesion|mass)? ?0*(\d{1,2})", ending)
    if number and row.patient_id and row.case_id.startswith(row.patient_id):
        words = r"t|tumou?r|lesion|mass|roi|tumeur|läsion|raumforderung"
        wanted.append(re.compile(rf"(?<!\w)(?:{words}) ?0*{number[1]}(?!\d)"))
    return wanted


def _spaced(text: str) -> str:
    return re.sub(r"[\s_-]+", " ", text.casefold())


# What must be the same in all rows of one case.
OF_A_CASE = (
    *("subtype", "patient_id", "subtype_reader2", "sex", "age_years", "size_cm", "side", "phase", "site_id"),
    *("cohort", "tumor_label", "tumor_name", "roi", "organs", "excluded", "synthetic"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One CT volume on disk that may become a case, or several of one patient, or why it cannot.

    Attributes:
        key: case_id or patient_id by which label rows find it.
        image: As in `Case`.
        roi: The ROI of a volume with one tumor, or the file that holds those of all its tumors.
        rois: All ROI files with the names of their segments, readers in order; needed only where a patient has
            several tumors and the label rows do not say which ROI is whose.
        organs: Kidneys and vessels, where the import knows a file of them.
        refusal: Why there is no case in it.
        without_roi: Why it has no ROI; no refusal where the label row names one in its column ``roi``.
    """

    key: str
    image: Path
    roi: Path | None = None
    roi_reader2: Path | None = None
    rois: Sequence[NamedRoi] = ()
    organs: Path | None = None
    sex: Sex | None = None
    age_years: float | None = None
    synthetic: bool = False
    phase: str = "unknown"
    refusal: str = ""
    without_roi: str = ""


def settle_labels(
    rows: Iterable[LabelRow], subtypes: tuple[str, ...]
) -> tuple[dict[str, LabelRow], dict[str, Exclusion]]:
    """One label per case, with the study's own name of the subtype; or one exclusion, with the reason.

    A case is left out, never guessed at, when a person says so, when its rows contradict each other, when its
    patient has two sexes, when pathology.csv does not tell its subtype, or when that is not in the study.
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
            reason = f"its patient has two sexes: {' and '.join(patient_sexes)}"
        if not reason and not label.subtype:
            why = default_table().obstacle(group[0].subtype)
            reason = f"pathology text {typed!r} is not in {PATHOLOGY_FILE}{why}"
        if not reason and label.subtype not in subtypes:
            reason = f"subtype {label.subtype} is not in the study"
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
    tumor_label: int = 1,
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
        tumor_label: Value of the tumor in label maps, where a label row does not say it.
        source: Folder of the import; paths of the column roi that do not start at the table's folder start here.
    """
    if labels is None:
        settled = {volume.key: LabelRow(row=0, case_id=volume.key, subtype="") for volume in found}
        excluded: dict[str, Exclusion] = {}
    else:
        settled, excluded = settle_labels(labels, subtypes)
    of_volume = _names_of(found, labels)
    first = {row.case_id: row for row in reversed(labels or [])}
    cases: list[Case] = []
    for volume in found:
        names = of_volume[volume.key]
        if not names:
            excluded[volume.key] = Exclusion(case_id=volume.key, reason="no label row names it")
        rows = [settled.pop(name) for name in names if name in settled]
        near = [Path(), *([source] if source else []), volume.image, volume.image.parent]
        others = [first[name] for name in names if name in excluded]
        chosen, reason = choose_rois(rows, others, volume, near)
        for row in rows:
            why = volume.refusal or reason or _no_roi(chosen[row.case_id], volume)
            if why:
                excluded[row.case_id] = Exclusion(case_id=row.case_id, reason=why, subtype=row.subtype)
            else:
                organs = find_beside(row.organs, near) or volume.organs
                cases.append(_case(volume, row, chosen[row.case_id], format, tumor_label, organs))
    for name, label in settled.items():
        excluded[name] = Exclusion(
            case_id=name, reason="labelled, but no CT of it was found", subtype=label.subtype
        )
    return tuple(cases), tuple(excluded.values())


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
        "clinical": ClinicalFacts(sex=label.sex, age_years=label.age_years, size_cm=label.size_cm),
        "site_id": label.site_id,
        "cohort": label.cohort,
        "synthetic": label.synthetic,
    }


def _case(
    volume: Found,
    label: LabelRow,
    choice: RoiChoice,
    format: ImageFormat,
    tumor_label: int,
    organs: Path | None,
) -> Case:
    known = case_fields(label)
    facts: ClinicalFacts = known["clinical"]
    age_years = facts.age_years if facts.age_years is not None else volume.age_years
    known["clinical"] = replace(facts, sex=facts.sex or volume.sex, age_years=age_years)
    known["synthetic"] = label.synthetic or volume.synthetic
    phase = label.phase if label.phase != "unknown" else volume.phase
    name = series_name(phase)
    series = SeriesRef(name=name, phase=phase, image=volume.image, format=format, organs=organs)
    rois = tuple(
        RoiRef(
            author=author,
            path=path,
            series=name,
            label=choice.tumor_label or tumor_label,
            name=choice.tumor_name,
        )
        for author, path in zip(READERS, (choice.path, choice.reader2), strict=True)
        if path is not None
    )
    return Case(**known, series=(series,), rois=rois)


def _one_label(group: list[LabelRow], matched: set[str]) -> tuple[LabelRow, str]:
    """The label all rows of a case agree on, and the reason why it is left out."""
    label = replace(group[0], subtype=min(matched))
    if all(row.excluded for row in group):
        return label, f"left out by hand: {' and '.join(sorted({row.excluded for row in group}))}"
    if any(row.excluded for row in group):
        return label, "its rows contradict each other: some of them are left out by hand"
    if len(matched) > 1:
        return label, f"two subtypes: {' and '.join(sorted(name or 'one not told' for name in matched))}"
    for name in OF_A_CASE[1:]:
        values = {value for value in (getattr(row, name) for row in group) if value not in (None, "")}
        if len(values) > 1:
            listed = " and ".join(sorted(str(value) for value in values))
            return label, f"its rows contradict each other: {name} {listed}"
        if values:
            label = replace(label, **{name: values.pop()})
    return label, ""

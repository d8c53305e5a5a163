"""Choose one CT with its mask for each patient of the Imaging Data Commons, with the reason for each series.

The index does not say on which CT a mask was drawn. An RCC-AID mask names the number of its CT series; for others,
the CT series of their study are candidates. After the download of the (small) masks, the series that they refer to
decides (`nephroscope.intake.public.idc`).
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nephroscope.intake.labels.pathology import PathologyTable, match_subtype
from nephroscope.intake.phase.series import SeriesCandidate, SeriesText, name_phases, prefer
from nephroscope.intake.public.idc_index import COLLECTIONS, OWN, IdcSeries
from nephroscope.intake.public.same_patients import public_patient
from nephroscope.records import Case, Exclusion
from nephroscope.records.cohort import Reason

FEWEST_IMAGES = 10
RCC_AID = re.compile(r"\b(arterial|venous|delayed)\b.*\bCT series (\d+)")
PHASE_OF_RCC_AID = {"arterial": "corticomedullary", "venous": "nephrographic", "delayed": "excretory"}
NO_VOLUME = re.compile(r"\b(cor|coronals?|sag|sagittals?|mips?|mpr|reformat\w*|oblique)\b", re.IGNORECASE)
CORRECTED = re.compile(r"corrected", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdcRequest:
    """What to look for.

    Attributes:
        masks: Sources of masks, the preferred first.
        subtypes: Subtypes of the study.
        preference: Contrast phases, the preferred first.
        histology: Subtype as typed, by patient, for collections without one; None if no table was given.
        known: Cases already in the study, by `public_patient`.
        pathology: The study's pathology.csv; None uses the default table.
    """

    masks: tuple[str, ...]
    subtypes: tuple[str, ...]
    preference: tuple[str, ...]
    histology: Mapping[str, str] | None = None
    known: Mapping[str, Case]
    pathology: PathologyTable | None = None

    @property
    def drawn_by(self) -> list[str]:
        """The sources that were requested by name."""
        return [name for name in self.masks if name != OWN]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSeries:
    """A series of the index, the phase of a CT, whether it is downloaded, and why."""

    series: IdcSeries
    phase: str
    chosen: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The CT chosen for a patient, and the masks that may belong to it.

    Attributes:
        subtype: As typed; None if not known.
        phases: Phase of each CT to which the patient's masks may refer, by series UID.
        said: Phase of each CT series of the patient by its description.
    """

    ct: IdcSeries
    masks: tuple[IdcSeries, ...]
    subtype: str | None
    phases: Mapping[str, str]
    said: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class IdcPlan:
    """Series to download, patients chosen and left out with reasons, and the number already in the study."""

    series: tuple[PlannedSeries, ...]
    choices: tuple[Choice, ...]
    exclusions: tuple[Exclusion, ...]
    n_known: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A mask and a CT on which it may have been drawn."""

    mask: IdcSeries
    ct: IdcSeries
    phase: str


def plan_idc(series: Sequence[IdcSeries], request: IdcRequest) -> IdcPlan:
    """Choose for each patient a CT of the earliest study with a mask, by phase, and the masks of that CT."""
    groups: dict[tuple[str, str], list[IdcSeries]] = defaultdict(list)
    for one in series:
        groups[one.collection, one.patient_id].append(one)
    planned: list[PlannedSeries] = []
    choices: list[Choice] = []
    exclusions: list[Exclusion] = []
    n_known = 0
    for (collection, patient), group in sorted(groups.items()):
        if not any(one.modality == "CT" for one in group):
            continue
        said = phases_in_index(group)
        subtype, reason = _subtype(collection, patient, request)
        known = request.known.get(public_patient(patient) or "")
        choice = None
        if known and known.site_id == collection:
            n_known, reason = n_known + 1, "the patient is in the study already"
        elif known:
            reason = f"the same patient as {known.patient_id}, already in the study from {known.site_id}"
        elif not reason:
            choice = _choose(group, said, request, subtype)
            text = f"the patient has no mask of {' or '.join(request.drawn_by)}"
            reason = "" if choice else Reason(text, "no-roi")
        if choice:
            choices.append(choice)
        elif not (known and known.site_id == collection):
            exclusions.append(Exclusion(case_id=patient, reason=reason, subtype=subtype or ""))
        planned += [_explain(one, choice, reason, request, said.get(one.series_uid, "")) for one in group]
    return IdcPlan(
        series=tuple(planned), choices=tuple(choices), exclusions=tuple(exclusions), n_known=n_known
    )


def is_axial_volume(ct: IdcSeries) -> bool:
    """True when a CT series may hold a whole tumor: not a scout or reformation, by size and description."""
    return ct.n_files >= FEWEST_IMAGES and not NO_VOLUME.search(ct.description)


def best_mask(masks: Sequence[IdcSeries], sources: Sequence[str]) -> IdcSeries:
    """The best of several masks of one CT: by source, then corrected by a radiologist, then by UID."""
    return min(
        masks,
        key=lambda mask: (
            sources.index(mask.source),
            not CORRECTED.search(mask.description),
            mask.series_uid,
        ),
    )


def phases_in_index(group: Sequence[IdcSeries]) -> dict[str, str]:
    """The contrast phase of each CT series from the descriptions in its study, by series UID."""
    cts = [one for one in group if one.modality == "CT"]
    texts = [
        SeriesText(
            modality="CT",
            series_description=ct.description,
            study_description=ct.study_description,
            series_number=ct.number,
            study_uid=ct.study_uid,
            series_uid=ct.series_uid,
        )
        for ct in cts
    ]
    return {ct.series_uid: call.phase for ct, call in zip(cts, name_phases(texts), strict=True)}


def _subtype(collection: str, patient: str, request: IdcRequest) -> tuple[str | None, str]:
    """The subtype as typed, and the reason if it excludes the patient."""
    typed = COLLECTIONS[collection]
    if not typed and request.histology is None:
        return None, ""
    if not typed:
        typed = (request.histology or {}).get(public_patient(patient) or patient, "")
        if not typed:
            return None, Reason("the KiTS table has no histology for it", "subtype-unclear")
    if match_subtype(typed, request.subtypes, request.pathology):
        return typed, ""
    return typed, Reason(f"subtype {typed} is not in the study", "another-subtype")


def _choose(
    group: Sequence[IdcSeries], said: Mapping[str, str], request: IdcRequest, subtype: str | None
) -> Choice | None:
    for source in request.masks:
        pairs = [pair for mask in group if mask.source == source for pair in _pairs(mask, group, said)]
        if not pairs:
            continue
        first = min((pair.ct.study_date, pair.ct.study_uid) for pair in pairs)
        pairs = [pair for pair in pairs if (pair.ct.study_date, pair.ct.study_uid) == first]
        ct = prefer_ct({pair.ct: pair.phase for pair in pairs}, request.preference)
        return Choice(
            ct=ct,
            masks=tuple(dict.fromkeys(pair.mask for pair in pairs if pair.ct == ct)),
            subtype=subtype,
            phases={pair.ct.series_uid: pair.phase for pair in pairs},
            said=said,
        )
    return None


def prefer_ct(phase_of: Mapping[IdcSeries, str], preference: Sequence[str]) -> IdcSeries:
    """The CT of a patient to use: by phase, then by number of images."""
    cts = sorted(
        phase_of, key=lambda ct: ct.series_uid
    )  # the same choice in whatever order the index lists them
    candidates = [SeriesCandidate(phase=phase_of[ct], n_slices=ct.n_files) for ct in cts]
    return cts[prefer(candidates, preference)]


def _pairs(mask: IdcSeries, group: Sequence[IdcSeries], said: Mapping[str, str]) -> list[_Pair]:
    """The mask with the CT named in its description, otherwise with each CT of its study that may hold a tumor."""
    cts = [one for one in group if one.modality == "CT" and one.study_uid == mask.study_uid]
    if names := RCC_AID.search(mask.description):
        named = [ct for ct in cts if ct.number.isdecimal() and int(ct.number) == int(names[2])]
        return [_Pair(mask=mask, ct=ct, phase=PHASE_OF_RCC_AID[names[1]]) for ct in named]
    whole = [ct for ct in cts if is_axial_volume(ct)]
    return [_Pair(mask=mask, ct=ct, phase=said[ct.series_uid]) for ct in whole or cts]


def _explain(
    one: IdcSeries, choice: Choice | None, reason: str, request: IdcRequest, phase: str
) -> PlannedSeries:
    if choice is None:
        return PlannedSeries(series=one, phase=phase, chosen=False, reason=reason)
    if one.modality == "CT":
        phase = choice.phases.get(one.series_uid, phase)
    reason = _why_ct(one, choice, phase) if one.modality == "CT" else _why_mask(one, choice, request)
    return PlannedSeries(series=one, phase=phase, chosen=one in (choice.ct, *choice.masks), reason=reason)


def _why_ct(ct: IdcSeries, choice: Choice, phase: str) -> str:
    if ct == choice.ct:
        others = len(choice.phases) - 1
        known = (
            "" if RCC_AID.search(choice.masks[0].description) else "; the reference in its mask will decide"
        )
        return phase + (f", preferred to {others} other CT" if others else "") + known
    if ct.n_files < FEWEST_IMAGES:
        return f"{ct.n_files} images are not a volume"
    if not is_axial_volume(ct):
        return "a reformation or projection by its description"
    if ct.series_uid in choice.phases:
        taken = choice.phases[choice.ct.series_uid]
        return (
            f"{taken} is preferred"
            if phase != taken
            else f"{ct.n_files} images, the chosen {choice.ct.n_files}"
        )
    return (
        "no mask is known to belong to it"
        if ct.study_uid == choice.ct.study_uid
        else "another study than the chosen one"
    )


def _why_mask(mask: IdcSeries, choice: Choice, request: IdcRequest) -> str:
    if mask in choice.masks:
        said = RCC_AID.search(mask.description)
        return (
            f"of CT series {said[2]}, by its description"
            if said
            else "of this study; its own reference will decide"
        )
    if mask.source not in request.masks:
        return f"{mask.source} was not requested"
    if mask.source != choice.masks[0].source:
        return f"{choice.masks[0].source} is preferred"
    return "its CT is not the chosen one"

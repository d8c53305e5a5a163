"""Series of the Imaging Data Commons in; one CT with its mask per patient out, and for every series the reason.

What the index does not say, and what stands for it: the CT that a mask was drawn on. An RCC-AID mask names the
number of its CT series; for the others it is one of the CT series of their study. After the download of the (small)
masks, their own Referenced Series Sequence decides (`nephroscope.intake.public.idc`).
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

FEWEST_IMAGES = 10
RCC_AID = re.compile(r"\b(arterial|venous|delayed)\b.*\bCT series (\d+)")
PHASE_OF_RCC_AID = {"arterial": "corticomedullary", "venous": "nephrographic", "delayed": "excretory"}
NO_VOLUME = re.compile(r"\b(cor|coronals?|sag|sagittals?|mips?|mpr|reformat\w*|oblique)\b", re.IGNORECASE)
CORRECTED = re.compile(r"corrected", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for.

    Attributes:
        masks: Sources of masks, the preferred first.
        subtypes: The study's.
        preference: Contrast phases, the preferred first.
        histology: Subtype as typed, by patient, for collections that do not say it; None where nobody said.
        known: Cases of the study by `public_patient`.
        pathology: The study's table of what names of subtypes mean; by default ours.
    """

    masks: tuple[str, ...]
    subtypes: tuple[str, ...]
    preference: tuple[str, ...]
    histology: Mapping[str, str] | None = None
    known: Mapping[str, Case]
    pathology: PathologyTable | None = None

    @property
    def drawn_by(self) -> list[str]:
        """The sources that were asked for by name."""
        return [name for name in self.masks if name != OWN]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSeries:
    """A series of the index, the phase of a CT, and whether and why it is to be fetched."""

    series: IdcSeries
    phase: str
    chosen: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One patient: the CT to take and the masks that may be its.

    Attributes:
        subtype: As typed; None where nobody said.
        phases: Of each CT that the patient's masks may refer to, by series UID.
        said: Phases of all CT series of the patient by their descriptions.
    """

    ct: IdcSeries
    masks: tuple[IdcSeries, ...]
    subtype: str | None
    phases: Mapping[str, str]
    said: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class IdcPlan:
    """What to fetch and why; who is left out and why; how many are in the study already."""

    series: tuple[PlannedSeries, ...]
    choices: tuple[Choice, ...]
    exclusions: tuple[Exclusion, ...]
    n_known: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A mask and a CT that it may have been drawn on."""

    mask: IdcSeries
    ct: IdcSeries
    phase: str


def plan_idc(series: Sequence[IdcSeries], wanted: Wanted) -> IdcPlan:
    """Choose for each patient the CT of the earliest study with a mask, by phase, and the masks of that CT."""
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
        subtype, reason = _subtype(collection, patient, wanted)
        known = wanted.known.get(public_patient(patient) or "")
        choice = None
        if known and known.site_id == collection:
            n_known, reason = n_known + 1, "the patient is in the study already"
        elif known:
            reason = f"the same patient as {known.patient_id}, already in the study from {known.site_id}"
        elif not reason:
            choice = _choose(group, said, wanted, subtype)
            reason = "" if choice else f"the patient has no mask of {' or '.join(wanted.drawn_by)}"
        if choice:
            choices.append(choice)
        elif not (known and known.site_id == collection):
            exclusions.append(Exclusion(case_id=patient, reason=reason, subtype=subtype or ""))
        planned += [_explain(one, choice, reason, wanted, said.get(one.series_uid, "")) for one in group]
    return IdcPlan(
        series=tuple(planned), choices=tuple(choices), exclusions=tuple(exclusions), n_known=n_known
    )


def is_axial_volume(ct: IdcSeries) -> bool:
    """Whether a CT series may hold a whole tumor: no scout, no reformat, by its size and its description."""
    return ct.n_files >= FEWEST_IMAGES and not NO_VOLUME.search(ct.description)


def best_mask(masks: Sequence[IdcSeries], sources: Sequence[str]) -> IdcSeries:
    """Of several masks of one CT: by source, then one that a radiologist corrected, then by UID."""
    return min(
        masks,
        key=lambda mask: (
            sources.index(mask.source),
            not CORRECTED.search(mask.description),
            mask.series_uid,
        ),
    )


def phases_in_index(group: Sequence[IdcSeries]) -> dict[str, str]:
    """The contrast phase of each CT series by the descriptions of its study, by series UID."""
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


def _subtype(collection: str, patient: str, wanted: Wanted) -> tuple[str | None, str]:
    """The subtype as typed, and the reason why it keeps the patient out."""
    typed = COLLECTIONS[collection]
    if not typed and wanted.histology is None:
        return None, ""
    if not typed:
        typed = (wanted.histology or {}).get(public_patient(patient) or patient, "")
        if not typed:
            return None, "the KiTS table says no histology of it"
    return typed, "" if match_subtype(
        typed, wanted.subtypes, wanted.pathology
    ) else f"subtype {typed} is not in the study"


def _choose(
    group: Sequence[IdcSeries], said: Mapping[str, str], wanted: Wanted, subtype: str | None
) -> Choice | None:
    for source in wanted.masks:
        pairs = [pair for mask in group if mask.source == source for pair in _pairs(mask, group, said)]
        if not pairs:
            continue
        first = min((pair.ct.study_date, pair.ct.study_uid) for pair in pairs)
        pairs = [pair for pair in pairs if (pair.ct.study_date, pair.ct.study_uid) == first]
        ct = prefer_ct({pair.ct: pair.phase for pair in pairs}, wanted.preference)
        return Choice(
            ct=ct,
            masks=tuple(dict.fromkeys(pair.mask for pair in pairs if pair.ct == ct)),
            subtype=subtype,
            phases={pair.ct.series_uid: pair.phase for pair in pairs},
            said=said,
        )
    return None


def prefer_ct(phase_of: Mapping[IdcSeries, str], preference: Sequence[str]) -> IdcSeries:
    """The CT of a patient to take, by phase and then by the number of its images."""
    cts = list(phase_of)
    candidates = [
        SeriesCandidate(phase=phase, n_slices=ct.n_files, uid=ct.series_uid) for ct, phase in phase_of.items()
    ]
    return cts[prefer(candidates, preference)]


def _pairs(mask: IdcSeries, group: Sequence[IdcSeries], said: Mapping[str, str]) -> list[_Pair]:
    """The mask with the CT that its description names, else with each CT of its study that may hold a tumor."""
    cts = [one for one in group if one.modality == "CT" and one.study_uid == mask.study_uid]
    if names := RCC_AID.search(mask.description):
        named = [ct for ct in cts if ct.number.isdecimal() and int(ct.number) == int(names[2])]
        return [_Pair(mask=mask, ct=ct, phase=PHASE_OF_RCC_AID[names[1]]) for ct in named]
    whole = [ct for ct in cts if is_axial_volume(ct)]
    return [_Pair(mask=mask, ct=ct, phase=said[ct.series_uid]) for ct in whole or cts]


def _explain(one: IdcSeries, choice: Choice | None, reason: str, wanted: Wanted, phase: str) -> PlannedSeries:
    if choice is None:
        return PlannedSeries(series=one, phase=phase, chosen=False, reason=reason)
    if one.modality == "CT":
        phase = choice.phases.get(one.series_uid, phase)
    reason = _why_ct(one, choice, phase) if one.modality == "CT" else _why_mask(one, choice, wanted)
    return PlannedSeries(series=one, phase=phase, chosen=one in (choice.ct, *choice.masks), reason=reason)


def _why_ct(ct: IdcSeries, choice: Choice, phase: str) -> str:
    if ct == choice.ct:
        others = len(choice.phases) - 1
        known = (
            "" if RCC_AID.search(choice.masks[0].description) else "; expected, its mask's reference decides"
        )
        return phase + (f", preferred to {others} other CT" if others else "") + known
    if ct.n_files < FEWEST_IMAGES:
        return f"{ct.n_files} images are no volume"
    if not is_axial_volume(ct):
        return "a reformat or projection by its description"
    if ct.series_uid in choice.phases:
        taken = choice.phases[choice.ct.series_uid]
        return (
            f"{taken} is preferred"
            if phase != taken
            else f"{ct.n_files} images, the chosen {choice.ct.n_files}"
        )
    return (
        "no mask is known to be of it"
        if ct.study_uid == choice.ct.study_uid
        else "a study other than the chosen"
    )


def _why_mask(mask: IdcSeries, choice: Choice, wanted: Wanted) -> str:
    if mask in choice.masks:
        said = RCC_AID.search(mask.description)
        return (
            f"of CT series {said[2]}, by its description"
            if said
            else "of this study; its own reference decides"
        )
    if mask.source not in wanted.masks:
        return f"{mask.source} is not asked for"
    if mask.source != choice.masks[0].source:
        return f"{choice.masks[0].source} is preferred"
    return "its CT is not the chosen one"

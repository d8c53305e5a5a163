"""Name the contrast phase of CT series from DICOM attributes, with the words it was found in.

Corticomedullary is arterial, nephrographic is portal venous, excretory is delayed. `name_phase` uses one series,
`name_phases` also the other series of its study, and `prefer` chooses among the series of a patient.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from nephroscope.intake.phase.text import TextPhase, phase_of_delay, phase_of_text, seconds_of_day
from nephroscope.intake.phase.vocabulary import CONTRAST, MIXED, NO_PHASE, NOTHING, SEVERAL, WEAK
from nephroscope.records import PHASES as PREFERRED

PHASES = ("unenhanced", "corticomedullary", "nephrographic", "excretory", "unknown")
ARTERIAL_FIRST = PREFERRED  # the default of study.toml
NO_AGENT = {
    "none",
    "no",
    "no contrast",
    "without",
    "nc",
    "non contrast",
    "noncontrast",
    "ohne",
    "keine",
    "keins",
    "sans",
}
NO_AGENT |= {"sin contraste", "nessuno", "geen", "0", "off"}
BEFORE_INJECTION_S = 7200.0
# Order within a study, in s: the phase of a series by the time between it and a named one. The gaps between the
# ranges are wide on purpose: corticomedullary is at about 30 s, nephrographic at about 90 s.
SAME_ACQUISITION_S = 5.0
AFTER_S = (
    ("corticomedullary", 35.0, 90.0, "nephrographic"),
    ("corticomedullary", 200.0, 1500.0, "excretory"),
    ("nephrographic", 150.0, 1500.0, "excretory"),
)
BEFORE_S = ("corticomedullary", 15.0, 1800.0, "unenhanced")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesText:
    """DICOM attributes of a series that may show its phase (see `TAGS`); empty when absent."""

    modality: str = ""
    series_description: str = ""
    protocol_name: str = ""
    study_description: str = ""
    image_comments: str = ""
    image_type: str = ""
    body_part: str = ""
    contrast_agent: str = ""
    contrast_start_time: str = ""
    acquisition_time: str = ""
    series_time: str = ""
    series_number: str = ""
    kernel: str = ""
    study_uid: str = ""
    series_uid: str = ""


TAGS = {
    "modality": "Modality",
    "series_description": "SeriesDescription",
    "protocol_name": "ProtocolName",
    "study_description": "StudyDescription",
    "image_comments": "ImageComments",
    "image_type": "ImageType",
    "body_part": "BodyPartExamined",
    "contrast_agent": "ContrastBolusAgent",
    "contrast_start_time": "ContrastBolusStartTime",
    "acquisition_time": "AcquisitionTime",
    "series_time": "SeriesTime",
    "series_number": "SeriesNumber",
    "kernel": "ConvolutionKernel",
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
}
PHASE_TAGS = tuple(TAGS.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseCall:
    """The phase of a series, one of `PHASES`.

    Attributes:
        evidence: The text it was found in, ``SeriesDescription: "ven"``, or why it is unknown.
        source: The DICOM attribute, ``time`` (of injection and scan), ``order`` (in the study), or empty.
    """

    phase: str
    evidence: str
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesCandidate:
    """A series that could be used for a patient: phase, number of slices, slice distance in mm, kernel, number.

    Attributes:
        conventional: False for a sharp kernel, and where it is not said that the values are HU.
        number: Series Number; None where there is none.
    """

    phase: str
    n_slices: int
    spacing_mm: float | None = None
    conventional: bool = True
    number: int | None = None


def series_text(header: Any) -> SeriesText:
    """From a pydicom header; damaged attributes count as absent."""
    from nephroscope.imaging.dicom.files import DICOM_DAMAGE

    found = {}
    for name, tag in TAGS.items():
        with suppress(*DICOM_DAMAGE):
            found[name] = _plain(header.get(tag))
    return SeriesText(**found)


def name_phase(text: SeriesText) -> PhaseCall:
    """The phase of one series from its own attributes; ``unknown`` rather than a guess."""
    if text.modality and text.modality.upper() != "CT":
        return PhaseCall(phase="unknown", evidence=f"Modality {text.modality}: not CT", source="Modality")
    if "LOCALIZER" in text.image_type.upper():
        return PhaseCall(phase="unknown", evidence="ImageType: localizer", source="ImageType")
    own = phase_of_text(text.series_description)
    if own.phase != "unknown" or own.says in ("conflict", MIXED, NO_PHASE):
        return _call(own, "SeriesDescription")
    comment = phase_of_text(text.image_comments)
    if comment.phase != "unknown" and comment.says != SEVERAL:
        return _call(comment, "ImageComments")
    return _from_time(text) or _from_examination(text, own) or _unknown(own)


def name_phases(texts: Sequence[SeriesText]) -> list[PhaseCall]:
    """The phases of several series, in the same order; the order in the study may decide.

    A series with a clear description or clear times is named as by `name_phase`, whatever the others are. A protocol
    or study description counts only where no series of its examination clearly has another phase.
    """
    calls = [name_phase(text) for text in texts]
    studies: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        studies[text.study_uid or f"row {i}"].append(i)
    for members in studies.values():
        clear = [i for i in members if _is_own(calls[i])]
        for i in members:
            calls[i] = _unless_contradicted(i, texts, calls, clear)
        ordered = {i: _from_order(i, texts, calls, clear) for i in members if calls[i].phase == "unknown"}
        for i, call in ordered.items():
            calls[i] = call or calls[i]
    return calls


def prefer(candidates: Sequence[SeriesCandidate], preference: Sequence[str] = ARTERIAL_FIRST) -> int:
    """Position of the series to use: the first by `preference_key`; of equal ones, the first given.

    Args:
        candidates: Series of one patient, at least one.
        preference: Phases, the preferred first; all others come last.
    """
    return min(range(len(candidates)), key=lambda i: preference_key(candidates[i], preference))


def preference_key(one: SeriesCandidate, preference: Sequence[str]) -> tuple[int, bool, int, float, float]:
    """Sorts series: by phase, then conventional ones, most slices, smallest slice distance, lowest Series Number."""
    rank = {phase: i for i, phase in enumerate(preference)}
    number = float("inf") if one.number is None else one.number
    by_phase = rank.get(one.phase, len(rank))
    return by_phase, not one.conventional, -one.n_slices, one.spacing_mm or float("inf"), number


def _call(reading: TextPhase, source: str) -> PhaseCall:
    why = {
        "conflict": ": more than one phase",
        MIXED: ": more than one phase",
        NO_PHASE: ": not an image of a phase",
    }
    tail = why.get(reading.says, "") if reading.phase == "unknown" else ""
    return PhaseCall(phase=reading.phase, evidence=f'{source}: "{reading.words}"{tail}', source=source)


def _unknown(own: TextPhase) -> PhaseCall:
    if own.says in (CONTRAST, SEVERAL):
        return PhaseCall(phase="unknown", evidence=f'SeriesDescription: "{own.words}" does not name a phase')
    return PhaseCall(phase="unknown", evidence="no words or times that show a phase")


def _from_time(text: SeriesText) -> PhaseCall | None:
    """From the time between start of injection and scan."""
    start_s, scan_s = seconds_of_day(text.contrast_start_time), seconds_of_day(text.acquisition_time)
    if start_s is None or scan_s is None:
        return None
    delay_s = scan_s - start_s
    phase = "unenhanced" if -BEFORE_INJECTION_S <= delay_s < 0 else phase_of_delay(delay_s)
    evidence = f"AcquisitionTime is {delay_s:.0f} s after ContrastBolusStartTime"
    return None if phase == "unknown" else PhaseCall(phase=phase, evidence=evidence, source="time")


def _from_examination(text: SeriesText, own: TextPhase) -> PhaseCall | None:
    """From the protocol, the study description or the agent, where these name one phase and the series none."""
    if own.says == SEVERAL:
        return None
    no_agent = text.contrast_agent.strip().casefold() in NO_AGENT
    for source, words in (("ProtocolName", text.protocol_name), ("StudyDescription", text.study_description)):
        reading = phase_of_text(words)
        if reading.says != NOTHING and (reading.says != "named" or reading.level == WEAK):
            continue
        contrast = own.says == CONTRAST or bool(text.contrast_agent and not no_agent)
        if reading.phase != "unknown" and not (reading.phase == "unenhanced" and contrast):
            return _call(reading, source)
    if no_agent and own.says == NOTHING:
        evidence = f'ContrastBolusAgent: "{text.contrast_agent}"'
        return PhaseCall(phase="unenhanced", evidence=evidence, source="ContrastBolusAgent")
    return None


def _is_own(call: PhaseCall) -> bool:
    return call.phase != "unknown" and call.source in ("SeriesDescription", "ImageComments", "time")


def _unless_contradicted(
    i: int, texts: Sequence[SeriesText], calls: Sequence[PhaseCall], clear: Sequence[int]
) -> PhaseCall:
    """The call of ``i``, unless it comes from a protocol or study that also has a series of another phase."""
    call = calls[i]
    if call.source not in ("ProtocolName", "StudyDescription"):
        return call
    for k in clear:
        same = call.source == "StudyDescription" or texts[k].protocol_name == texts[i].protocol_name
        if same and calls[k].phase != call.phase:
            evidence = f"{call.evidence} also belongs to a series named {calls[k].phase}"
            return replace(call, phase="unknown", evidence=evidence)
    return call


def _from_order(
    i: int, texts: Sequence[SeriesText], calls: Sequence[PhaseCall], clear: Sequence[int]
) -> PhaseCall | None:
    """From the time to clearly named series of the same study, where all of them agree."""
    at_s, own = seconds_of_day(texts[i].acquisition_time), phase_of_text(texts[i].series_description)
    if at_s is None or own.says in (NO_PHASE, MIXED) or calls[i].source in ("Modality", "ImageType"):
        return None
    said: dict[str, str] = {}
    for k in clear:
        other_s = seconds_of_day(texts[k].acquisition_time)
        if other_s is None:
            continue
        phase, relation = _relation(at_s - other_s, calls[k].phase)
        if phase:
            name = f"series {texts[k].series_number}" if texts[k].series_number else "a series"
            said.setdefault(
                phase, f"acquired {relation} {name}, named {calls[k].phase} ({calls[k].evidence})"
            )
    said = {phase: words for phase, words in said.items() if not own.mentioned or phase in own.mentioned}
    if len(said) != 1 or (own.says == CONTRAST and "unenhanced" in said):
        return None
    ((phase, words),) = said.items()
    return PhaseCall(phase=phase, evidence=words, source="order")


def _relation(later_s: float, phase: str) -> tuple[str, str]:
    """Phase of a series acquired ``later_s`` after one of ``phase``, and the relation; empty where not clear."""
    if abs(later_s) <= SAME_ACQUISITION_S:
        return phase, "together with"
    named, low, high, implied = BEFORE_S
    if phase == named and low <= -later_s <= high:
        return implied, f"{-later_s:.0f} s before"
    for named, low, high, implied in AFTER_S:
        if phase == named and low <= later_s <= high:
            return implied, f"{later_s:.0f} s after"
    return "", ""


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    parts = value if isinstance(value, Sequence) or hasattr(value, "append") else [value]
    return " ".join(str(part) for part in parts).strip()

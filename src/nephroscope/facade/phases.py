"""The phases of one patient for a bundle that takes several: given as ``--series PHASE=PATH``, or found in a folder.

The ROI is drawn on one of them; on the others it is placed by the code of `nephroscope rois transfer`, or given too.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from nephroscope.base.errors import ConfigError, NephroscopeError, RoiError, SeriesError
from nephroscope.clinic.predict import OtherPhase, Phases
from nephroscope.facade.patient import PatientCt, lies_on_grid, read_patient
from nephroscope.imaging.read import UnplacedRoi, read_roi
from nephroscope.records import Answer, CTVolume, Finding, RoiMask, RoiRef, note
from nephroscope.records.prediction import PredictedPhase
from nephroscope.records.settings import PHASES
from nephroscope.regions.transfer import transfer_roi

NO_SERIES = "no series of this phase"
NOT_TAKEN = "drawn, but no phase that this network takes"
NOT_SHOWN = "the series does not show the slices of the tumor"
WORDS = {
    "arterial": "corticomedullary",
    "venous": "nephrographic",
    "delayed": "excretory",
    "native": "unenhanced",
}


class FurtherSeries(Protocol):
    """Where the CT of a further phase is read."""

    def read(self) -> CTVolume:
        """The CT."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PlacedPhases:
    """The phases for `predict`, what came of placing the tumor on each, and findings about those left out."""

    phases: Phases
    told: tuple[PredictedPhase, ...]
    findings: tuple[Finding, ...]

    def of_answer(self, answer: Answer, phases: Sequence[str]) -> tuple[PredictedPhase, ...]:
        """What is said of each phase of the patient, and of those that a network of these phases did not get."""
        found = []
        for one in self.told:
            used, reason = one.phase in answer.phases, one.reason
            if one.used and not used:
                reason = NOT_SHOWN if one.phase in phases else NOT_TAKEN
            found.append(replace(one, used=used, reason=reason))
        known = {one.phase for one in self.told}
        missing = [phase for phase in phases if phase not in known]
        return (
            *found,
            *(PredictedPhase(phase=p, used=False, reason=NO_SERIES, shift_mm=None) for p in missing),
        )


def phase_named(word: str, option: str = "--series") -> str:
    """One of our phases from a word such as ``arterial``.

    Raises:
        ConfigError: It is none.
    """
    phase = WORDS.get(word.strip().casefold(), word.strip().casefold())
    if phase not in PHASES[:-1]:
        raise ConfigError(
            where=option,
            expected=f"PHASE=PATH, with a phase of {', '.join((*PHASES[:-1], *WORDS))}",
            found=repr(word),
            remedy="correct the phase",
        )
    return phase


def by_phase(given: tuple[str, ...], option: str) -> dict[str, Path]:
    """Paths by phase from ``PHASE=PATH``, in the order given.

    Raises:
        ConfigError: One has no phase or no path, or a phase is there twice.
    """
    found: dict[str, Path] = {}
    for text in given:
        word, _, path = text.partition("=")
        phase = phase_named(word if path else f"{text}=", option)
        if phase in found:
            raise ConfigError(
                where=option, expected="each phase once", found=f"{phase} twice", remedy="remove one of them"
            )
        found[phase] = Path(path)
    return found


def check_series(
    series: Collection[str], rois: Collection[str], phases: Sequence[str], others: Collection[str] = ()
) -> None:
    """Refuse series and ROIs by phase that a bundle for these phases would not use.

    Raises:
        ConfigError: A series is of no phase of the bundle, or an ROI is given for a phase without a series.
    """
    unused = [phase for phase in series if phase not in phases]
    if unused:
        raise ConfigError(
            where="--series",
            expected=f"phases of this bundle: {', '.join(phases)}"
            if phases
            else "IMAGE: this bundle is for one series",
            found=", ".join(unused),
            remedy="leave these series out" if phases else "give the series to answer about as IMAGE",
        )
    alone = [phase for phase in rois if phase not in series and phase not in others]
    if alone:
        raise ConfigError(
            where="--series-roi",
            expected="ROIs on phases of which there is a series",
            found=", ".join(alone),
            remedy="give the series too, or leave the ROI out",
        )


def read_series(series: Mapping[str, Path], roi: UnplacedRoi | None) -> tuple[PatientCt, dict[str, CTVolume]]:
    """The CT on which the ROI was drawn, the first on whose grid it lies, and the others by phase.

    Raises:
        SeriesError: One cannot be read as a CT.
        RoiError: The ROI lies on none of them, or is damaged.
    """
    read = {phase: read_patient(path, None) for phase, path in series.items()}
    drawn = next(iter(read))
    findings: tuple[Finding, ...] = ()
    if roi is not None:
        faults: list[NephroscopeError] = []
        fitting = [phase for phase, ct in read.items() if _lies_on(roi, ct.volume, faults)]
        if not fitting:
            if len(faults) == len(read) and len({one.found for one in faults}) == 1:
                raise faults[0]  # the same on every series: it is the ROI's
            raise RoiError(
                where="--roi",
                expected="an ROI that was drawn on one of the series given",
                found=f"one that lies on the grid of none: {', '.join(read)}",
                remedy="give the series on which it was drawn, or a --series-roi for each",
            )
        drawn = fitting[0]
        if len(fitting) > 1:
            text = f"the ROI fits the grid of {', '.join(fitting)}: taken as drawn on {drawn}, which was given first"
            findings = (note("roi-series-assumed", text, where=drawn),)
    volume = replace(read[drawn].volume, findings=(*read[drawn].volume.findings, *findings))
    ct = replace(read[drawn], volume=volume, phase=drawn, evidence="--series", n_series=len(read), others=())
    return ct, {phase: one.volume for phase, one in read.items() if phase != drawn}


def _lies_on(roi: UnplacedRoi, volume: CTVolume, faults: list[NephroscopeError]) -> bool:
    try:
        return lies_on_grid(roi.on(volume))
    except NephroscopeError as error:
        faults.append(error)
        return False


def place_phases(
    ct: PatientCt,
    roi: RoiMask,
    others: Mapping[str, CTVolume | FurtherSeries],
    rois: Mapping[str, Path | RoiRef],
) -> PlacedPhases:
    """The tumor on each other phase: as given, or by registration; a phase on which it cannot be placed is left out.

    Args:
        ct: With the phase on which the tumor was drawn.
        roi: The tumor there.
        others: The other CTs by phase, or where to read them; one that cannot be read is left out too.
        rois: ROIs that were drawn on them, by phase.

    Raises:
        RoiError: A given ROI does not lie on its CT.
    """
    placed, told, findings = [], [], []
    for phase, other in others.items():
        voxels, reason, shift = None, "", None
        try:
            volume = other if isinstance(other, CTVolume) else other.read()
            if phase not in rois:
                found = transfer_roi(ct.volume, roi, volume)
                voxels, reason, shift = found.voxels, found.reason, found.shift_mm
        except (ConfigError, SeriesError, OSError) as error:
            reason = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
        if phase in rois and not reason:
            there, said = _given_roi(rois[phase], volume, roi.case_id)
            placed.append(OtherPhase(phase=phase, volume=volume, roi=there))
            told.append(PredictedPhase(phase=phase, used=True, reason=said, shift_mm=None))
            continue
        told.append(PredictedPhase(phase=phase, used=voxels is not None, reason=reason, shift_mm=shift))
        if voxels is None:
            text = f"the {phase} series is left out: {reason}"
            findings.append(note("phase-left-out", text, case_id=roi.case_id, where=phase))
        else:
            mask = RoiMask(voxels=voxels, geometry=volume.geometry, case_id=roi.case_id)
            placed.append(OtherPhase(phase=phase, volume=volume, roi=mask))
    drawn = PredictedPhase(phase=ct.phase, used=True, reason="drawn", shift_mm=(0.0, 0.0, 0.0))
    phases = Phases(drawn=ct.phase, others=tuple(placed))
    return PlacedPhases(phases=phases, told=(drawn, *told), findings=tuple(findings))


def _given_roi(given: Path | RoiRef, volume: CTVolume, case_id: str) -> tuple[RoiMask, str]:
    """The tumor on a CT, and in a word how it came there."""
    if isinstance(given, Path):
        return read_roi(given, volume, case_id), "drawn"
    mask = read_roi(given.path, volume, case_id, given.label, given.name)
    return mask, "transferred" if given.is_transferred else "drawn"

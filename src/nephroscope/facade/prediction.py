"""A patient's files and a bundle -> the answer with everything that is doubtful about it, as one document.

The CT and the ROI are checked as `nephroscope check` does, by the same code. A warning that is found there, or a
contrast phase that the network never saw, leaves the answer at "not sure".
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nephroscope.base.errors import RoiError
from nephroscope.base.files import replacing
from nephroscope.base.version import __version__
from nephroscope.clinic.bundle import Bundle, open_bundle
from nephroscope.clinic.linked import check_linked
from nephroscope.clinic.predict import Phases, check_phase, check_roi_given, predict, whole_image
from nephroscope.facade.answer_files import AnswerFiles, AskedRoi, UsedRoi, prepare, write_answer_files
from nephroscope.facade.otherwise import answers_jittered, check_jitter, linked_answer
from nephroscope.facade.own_roi import check_source, own_roi
from nephroscope.facade.patient import PatientCt, read_patient
from nephroscope.facade.phases import FurtherSeries, PlacedPhases, check_series, place_phases, read_series
from nephroscope.imaging.picture import SlicePicture, draw_slice
from nephroscope.imaging.read import read_roi
from nephroscope.imaging.slice_images import source_words
from nephroscope.records import (
    Answer,
    Case,
    ChoiceRule,
    ChosenCase,
    ClinicalFacts,
    CTVolume,
    Finding,
    RoiMask,
    RoiOrigin,
    RoiRef,
    SeriesRef,
)
from nephroscope.records.prediction import (
    PredictedSeries,
    PredictedSide,
    PredictedSlice,
    Prediction,
    Side,
    UsedBundle,
)
from nephroscope.regions.check import check_case

if TYPE_CHECKING:
    from nephroscope.exchange.source import SourceSeries

FORMAT = 1
PICTURE_PX = 768
GIVEN = "given with the question"


@dataclass(frozen=True, kw_only=True)
class FilesToPredict:
    """The files of one case to predict, and what is known of it.

    Attributes:
        image: As in `read_patient`.
        roi: As in `read_roi`, with ``tumor_label`` and ``tumor_name``; None for a bundle of whole slices, or to take
            the one that lies in the folder of the patient, as `own_roi` finds it.
        case_id: Name of the case; None takes the PatientID of the DICOM files.
        side: Side of the patient on which the tumor is said to be.
        picture: PNG to write: the slice with the largest cross-section and the ROI's outline.
        objects: DICOM objects of the answer to write.
        window_level_hu, window_width_hu, spacing_mm: Of an 8-bit slice.
        facts: Age, sex and size, from `given_facts`.
        facts_from: By name (age, sex, size), where each is from; others were given with the question.
        origin: Who drew the ROI, where the caller knows it; None: as its file says. What nobody accepted is doubted.
        jitter: Answer with the ROI drawn 2 mm otherwise too.
        series, series_rois: CTs by phase instead of ``image``, and ROIs drawn on further ones.
        phase: Contrast phase of ``image``, where it is known otherwise than from its files.
        further: CTs of other phases next to ``image``.
    """

    image: Path
    roi: Path | None = None
    case_id: str | None = None
    tumor_label: int = 1
    tumor_name: str = ""
    side: Side = "unknown"
    picture: Path | None = None
    objects: AnswerFiles = field(default_factory=AnswerFiles)
    window_level_hu: float = 40.0
    window_width_hu: float = 400.0
    spacing_mm: float | None = None
    facts: ClinicalFacts = field(default_factory=ClinicalFacts)
    facts_from: Mapping[str, str] = field(default_factory=dict)
    origin: RoiOrigin | None = None
    jitter: bool = False
    series: Mapping[str, Path] = field(default_factory=dict)
    series_rois: Mapping[str, Path | RoiRef] = field(default_factory=dict)
    phase: str = ""
    further: Mapping[str, FurtherSeries] = field(default_factory=dict)

    @property
    def asked_roi(self) -> AskedRoi:
        """The ROI file, and which tumor of it is meant."""
        return AskedRoi(path=self.roi, label=self.tumor_label, name=self.tumor_name)


def predict_files(
    bundle: Path | Bundle, files: FilesToPredict, second: Prediction | None = None
) -> Prediction:
    """Predict from files. Nothing is written before everything that is asked for is computed.

    Args:
        bundle: Its folder, or opened before.
        files: Of the case.
        second: The answer of the bundle of a second question, which is linked to this one.

    Raises:
        BundleError: The bundle is damaged, not allowed, or has a newer format.
        SeriesError: The image cannot be read as a CT, or it is not clear which series is meant.
        RoiError: The ROI is missing, empty, no tumor, does not lie on the CT, or is none that a report can refer to;
            or none was given and several are in the folder.
        ConfigError: An object would be written over another file.
    """
    started = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(_timed_open, bundle)  # ONNX Runtime is loaded while the CT is read
        known = files.case_id or ""
        found = None if files.roi or files.series else own_roi(opening.result()[0], files.image)
        files = replace(files, roi=files.roi or found)
        unplaced = (
            read_roi(files.roi, None, known, files.tumor_label, files.tumor_name) if files.roi else None
        )
        others: dict[str, CTVolume | FurtherSeries] = dict(files.further)
        if files.series:
            ct, further = read_series(files.series, unplaced)
            others |= further
        else:
            ct = read_patient(
                files.image, unplaced, files.window_level_hu, files.window_width_hu, files.spacing_mm
            )
        ct = ct if files.phase in ("", ct.phase) else replace(ct, phase=files.phase, evidence="given")
        name = files.case_id or ct.name
        roi = replace(unplaced, case_id=name).on(ct.volume) if unplaced else None
        origin = files.origin or (roi.origin if roi is not None else None)
        if roi is not None:
            roi = replace(roi, findings=(*roi.findings, *check_source(origin, found, name)))
        read = time.perf_counter()
        opened, open_s = opening.result()
    if files.series or (files.series_rois and not files.further):
        phases, in_folder = opened.scorer.phases, [one.phase for one in ct.others]
        check_series(files.series, files.series_rois, phases, in_folder)
    if files.jitter:
        check_jitter(opened, roi)
    source = prepare(files.objects, files.image, files.asked_roi, ct.volume)
    case = _case(files, ct, name)
    ct, placed = replace(ct, name=name), None
    if opened.scorer.phases:
        placed = phases_of_patient(opened, ct, roi, others, files.series_rois)
    answer, drawn, parts = answer_with_doubts(opened, ct, roi, files.side, case, files.facts, placed)
    seconds = {"open_bundle": open_s, "read": read - started} | parts
    seconds["total"] = time.perf_counter() - started
    sides = PredictedSide(stated=files.side, drawn=drawn)
    made = _document(opened, answer, ct, sides, seconds, files.picture)
    used = [replace(one, source=files.facts_from.get(one.name, GIVEN)) for one in made.facts]
    made = replace(made, facts=tuple(used), roi=origin)
    if placed:
        made = replace(made, phases=placed.of_answer(answer, opened.scorer.phases))
    if files.jitter and roi is not None:
        there = placed.phases if placed else None
        made = replace(made, jitter=answers_jittered(opened, ct.volume, roi, files.facts, there))
    if second is not None:
        made = replace(made, linked=linked_answer(made, second))
    _write(files, made, source, ct.volume, roi)
    return made


def _write(
    files: FilesToPredict,
    made: Prediction,
    source: "SourceSeries | None",
    volume: CTVolume,
    roi: RoiMask | None,
) -> None:
    """The files that are wanted of an answer; the objects first, which may be refused."""
    if source is not None:
        shown = picture_of(volume, roi) if files.objects.sc else None
        used = UsedRoi(mask=roi, origin=made.roi, picture=shown)
        write_answer_files(files.objects, made, source, files.asked_roi, used)
    if files.picture is not None:
        save_picture(files.picture, volume, roi)


def predict_linked(
    bundle: Path | Bundle, then: Path | Bundle, files: FilesToPredict
) -> tuple[Prediction, Prediction]:
    """Ask two linked questions; the first answer has both in ``linked``, and so have the objects that are written.

    Args:
        bundle: Of the first question.
        then: Of the second: which of the others it is.
        files: Of the case.

    Raises:
        NephroscopeError: As `predict_files`; ConfigError where the questions do not follow each other.
    """
    one, two = (open_bundle(each) if isinstance(each, Path) else each for each in (bundle, then))
    check_linked(one.scorer.subtypes, one.scorer.positive, two.scorer.subtypes)
    second = predict_files(two, replace(files, picture=None, objects=AnswerFiles()))
    return predict_files(one, files, second), second


def phases_of_patient(
    bundle: Bundle,
    ct: PatientCt,
    roi: RoiMask | None,
    others: Mapping[str, CTVolume | FurtherSeries] | None = None,
    rois: Mapping[str, Path | RoiRef] | None = None,
) -> PlacedPhases:
    """The phases of a patient that a bundle of several phases takes; without an ROI, the one that was given alone.

    Args:
        bundle: Of several phases.
        ct: The CT on which the tumor was drawn, with the further series of the patient's folder.
        roi: The tumor there.
        others: Further CTs by phase.
        rois: ROIs that were drawn on them, by phase.

    Raises:
        RoiError: A given ROI does not lie on its CT.
    """
    found = {one.phase: one for one in ct.others} | dict(others or {})
    wanted = {phase: found[phase] for phase in bundle.scorer.phases if phase in found and phase != ct.phase}
    if roi is None:
        roi, wanted = whole_image(ct.volume, ct.name), {}
    return place_phases(ct, roi, wanted, rois or {})


def answer_with_doubts(  # noqa: PLR0913
    bundle: Bundle,
    ct: PatientCt,
    roi: RoiMask | None,
    side: Side = "unknown",
    case: ChosenCase | None = None,
    facts: ClinicalFacts | None = None,
    placed: PlacedPhases | None = None,
) -> tuple[Answer, Side, dict[str, float]]:
    """The answer, the side on which the tumor was drawn, and the seconds of each part.

    Args:
        bundle: Opened.
        ct: With its phase.
        roi: The tumor on its grid; None for a bundle of whole slices.
        side: On which the tumor is said to be.
        case: Where the files lie, for kidneys in the ROI file; None for a CT in memory.
        facts: Age, sex and size, where they are known.
        placed: Other phases, for a bundle that takes several.

    Raises:
        RoiError: The ROI is missing, is no tumor, or does not lie on the CT.
        BundleError: The bundle needs more than the slices of one series.
    """
    started = time.perf_counter()
    check_roi_given(bundle, roi, ct.name)
    if bundle.spec.roi_mode == "full" and roi is not None and roi.voxels.all():
        roi = None  # a mask of the whole image says nothing of a tumor
    doubts: Sequence[Finding] = placed.findings if placed else ()
    if not bundle.scorer.phases:
        doubts = check_phase(bundle, ct.phase, ct.evidence, ct.name)
    drawn: Side = "unknown"
    if roi is not None:
        case = case or in_memory(ct.volume, roi.case_id or ct.name, ct.phase)
        clinical = ClinicalFacts(side=None if side == "unknown" else side)
        checked = check_case(replace(case, clinical=clinical), ct.volume, roi)
        drawn = checked.measures.side if checked.measures else drawn
        doubts = [*checked.findings, *doubts]
    refused = next((finding for finding in doubts if finding.severity == "refusal"), None)
    if refused is not None:
        raise RoiError(
            where=f"case {ct.name}",
            expected="a tumor",
            found=refused.message.removeprefix("expected a tumor, found ").partition(";")[0],
            remedy="choose another label, or export the ROI again",
        )
    checked_s = time.perf_counter() - started
    phases = placed.phases if placed else Phases(drawn=ct.phase)
    answer, parts = predict(bundle, ct.volume, roi, doubts, ct.name, facts, phases)
    return answer, drawn, {"check": checked_s} | parts


def picture_of(volume: CTVolume, roi: RoiMask | None) -> SlicePicture:
    """The slice on which the tumor is largest, with its outline; without an ROI the middle slice."""
    shown = None if roi is not None else volume.geometry.shape[0] // 2
    tumor = roi if roi is not None else whole_image(volume, "")
    return draw_slice(volume, tumor, shown, size_px=PICTURE_PX, outline=roi is not None)


def save_picture(path: Path, volume: CTVolume, roi: RoiMask | None) -> None:
    """Write the picture of `picture_of` as PNG."""
    with replacing(path) as temporary:
        picture_of(volume, roi).image.save(temporary, format="PNG")


def in_memory(volume: CTVolume, case_id: str, phase: str) -> ChosenCase:
    """A case of a CT that was read before, without files."""
    gray = any(finding.code == "eight-bit" for finding in volume.findings)
    series = SeriesRef(
        name="ct",
        image=Path(),
        format="images" if gray else "dicom",
        phase=phase,
        series_uid=volume.series_uid,
    )
    return Case(case_id=case_id, patient_id=case_id, series=(series,)).chosen(ChoiceRule())


def _case(files: FilesToPredict, ct: PatientCt, name: str) -> ChosenCase:
    case = in_memory(ct.volume, name, ct.phase)
    words = source_words(files.window_level_hu, files.window_width_hu)
    series = replace(case.ct, source=words if case.format == "images" else "HU")
    rois: tuple[RoiRef, ...] = ()
    if files.roi is not None:
        rois = (
            RoiRef(
                author="reader-1", path=files.roi, series="ct", label=files.tumor_label, name=files.tumor_name
            ),
        )
    return replace(case, ct=series, series=(series,), rois=rois)


def _document(
    bundle: Bundle,
    answer: Answer,
    ct: PatientCt,
    side: PredictedSide,
    seconds: dict[str, float],
    picture: Path | None,
) -> Prediction:
    timings = {name: round(value, 4) for name, value in seconds.items()}
    slice_mm, row_mm, col_mm = ct.volume.geometry.spacing_mm
    return Prediction(
        format=FORMAT,
        nephroscope=__version__,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        case_id=answer.case_id,
        probabilities=answer.probabilities,
        call=answer.call,
        forced_call=answer.forced_call,
        reason=answer.reason,
        positive=bundle.scorer.positive,
        threshold=bundle.scorer.point.threshold,
        not_sure_margin=bundle.scorer.not_sure_margin,
        series=PredictedSeries(
            series_uid=ct.volume.series_uid,
            phase=ct.phase,
            evidence=ct.evidence,
            n_slices=ct.volume.geometry.shape[0],
            slice_spacing_mm=round(float(slice_mm), 4),
            pixel_spacing_mm=(round(float(row_mm), 4), round(float(col_mm), 4)),
            n_series=ct.n_series,
        ),
        side=side,
        slices=tuple(
            PredictedSlice(
                slice_index=part.slice_index,
                area_mm2=round(part.area_mm2, 1),
                probabilities=dict(zip(answer.probabilities, part.probabilities, strict=True)),
            )
            for part in answer.slices
        ),
        findings=answer.findings,
        bundle=UsedBundle(
            model=bundle.about.model,
            model_digest=answer.model_digest,
            nephroscope=bundle.about.nephroscope,
            made=bundle.about.made,
            phases=dict(bundle.phases),
        ),
        seconds=timings["total"],
        timings=timings,
        model_digest=answer.model_digest,
        picture=str(picture) if picture else "",
        image_probabilities=answer.image_probabilities,
        facts=answer.facts,
        possible=answer.possible,
        outside=answer.outside,
    )


def _timed_open(bundle: Path | Bundle) -> tuple[Bundle, float]:
    started = time.perf_counter()
    return open_bundle(bundle) if isinstance(bundle, Path) else bundle, time.perf_counter() - started

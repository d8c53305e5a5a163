"""Predict with a bundle: probabilities by subtype and slice, and a call or "not sure". No torch."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nephroscope.clinic.bundle import Bundle, open_bundle, slices_digest
from nephroscope.clinic.cut import cut_slices
from nephroscope.clinic.score import CaseInput
from nephroscope.imaging.read import UnplacedRoi, read_ct, read_roi
from nephroscope.records import Answer, CTVolume, RoiMask, note

UNKNOWN = "unknown"  # phase of a CT that is given without a study


@dataclass(frozen=True, kw_only=True)
class ImageToPredict:
    """The files of one case to predict.

    Attributes:
        image: As in `read_ct`, with ``window_level_hu``, ``window_width_hu`` and ``spacing_mm`` of an 8-bit slice.
        roi: As in `read_roi`, with ``tumor_label`` and ``tumor_name``.
    """

    image: Path
    roi: Path
    case_id: str
    tumor_label: int = 1
    tumor_name: str = ""
    window_level_hu: float = 40.0
    window_width_hu: float = 400.0
    spacing_mm: float | None = None


def predict_files(bundle: Path, case: ImageToPredict) -> tuple[Answer, dict[str, float]]:
    """Predict from files; gives the answer and the seconds that each part took.

    Raises:
        BundleError: The bundle is damaged or has a newer format.
        SeriesError: The image cannot be read as a CT.
        RoiError: The ROI is missing, empty or does not lie on the CT.
    """
    started = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(_timed_open, bundle)  # ONNX Runtime is loaded while the CT is read
        volume = read_ct(case.image, case.window_level_hu, case.window_width_hu, case.spacing_mm)
        roi = read_roi(case.roi, volume, case.case_id, case.tumor_label, case.tumor_name)
        read = time.perf_counter()
        opened, open_s = opening.result()
    seconds = {"open_bundle": open_s, "read": read - started}
    answer, parts = predict(opened, volume, roi)
    seconds |= parts | {"total": time.perf_counter() - started}
    return answer, {name: round(value, 4) for name, value in seconds.items()}


def predict(bundle: Bundle, volume: CTVolume, roi: RoiMask | UnplacedRoi) -> tuple[Answer, dict[str, float]]:
    """Predict from a CT in memory; gives the answer and the seconds that cutting and network took.

    Raises:
        RoiError: The ROI does not lie on the CT, or no cross-section is large enough.
        BundleError: The bundle needs more than the slices of one series.
    """
    started = time.perf_counter()
    if isinstance(roi, UnplacedRoi):
        roi = roi.on(volume)
    cut = cut_slices(volume, roi, bundle.spec)
    case = CaseInput(
        case_id=roi.case_id,
        patient_id=roi.case_id,
        slices={UNKNOWN: np.stack([part.hu for part in cut])},
        presence={UNKNOWN: np.ones(len(cut), np.bool_)},
        chosen=UNKNOWN,
        slice_index=[part.slice_index for part in cut],
        area_mm2=[part.area_mm2 for part in cut],
        mm_per_px=cut[0].mm_per_px,
        findings=(*volume.findings, *roi.findings),
    )
    bundle.needs.check(case)
    ready = time.perf_counter()
    answer = bundle.scorer.answer(case)
    notes = [note(code, message, case_id=roi.case_id) for code, message in _about(bundle, case)]
    seconds = {"cut": ready - started, "network": time.perf_counter() - ready}
    return replace(answer, findings=(*answer.findings, *notes)), seconds


def _about(bundle: Bundle, case: CaseInput) -> list[tuple[str, str]]:
    notes = []
    if slices_digest(case.hu) in bundle.trained_on:
        notes.append(
            ("seen-in-training", "this case was used to train the network: the answer is not independent")
        )
    if bundle.synthetic:
        notes.append(
            (
                "synthetic-training",
                "the network was trained on SYNTHETIC phantoms: the answer has no clinical meaning",
            )
        )
    if bundle.leaky:
        notes.append(
            (
                "leaky-split",
                "LEAKY: the network was trained with a split by image, so its figures are too good",
            )
        )
    return notes


def _timed_open(folder: Path) -> tuple[Bundle, float]:
    started = time.perf_counter()
    return open_bundle(folder), time.perf_counter() - started

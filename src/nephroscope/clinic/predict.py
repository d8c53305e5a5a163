"""CT and ROI and a bundle in, the answer out: probabilities by subtype and slice, a call or "not sure". No torch."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nephroscope.clinic.bundle import Bundle, open_bundle, slices_digest
from nephroscope.clinic.cut import cut_slices
from nephroscope.clinic.score import CutCase
from nephroscope.imaging.read import read_ct, read_roi
from nephroscope.records import Answer, CTVolume, Finding, RoiMask


@dataclass(frozen=True, kw_only=True)
class ImageToPredict:
    """What to predict on.

    Attributes:
        image: Folder of a DICOM series, a NIfTI file, or a PNG or JPEG slice.
        roi: DICOM SEG, NIfTI label map, or a PNG mask.
        tumor_label: Value of the tumor in a label map, or number of its segment.
        tumor_name: Label or code of its segment, or name of its contour; empty where the file says it itself.
        window_level_hu, window_width_hu: Through which an 8-bit slice was exported; not used for CT.
        spacing_mm: Pixel spacing of an 8-bit slice.
    """

    image: Path
    roi: Path
    case_id: str
    tumor_label: int = 1
    tumor_name: str = ""
    window_level_hu: float = 40.0
    window_width_hu: float = 400.0
    spacing_mm: float | None = None


def predict_files(bundle: Path, what: ImageToPredict) -> tuple[Answer, dict[str, float]]:
    """Predict from files; gives the answer and the seconds of each part.

    Raises:
        BundleError: The bundle is damaged or of a newer format.
        SeriesError: The image cannot be read as CT.
        RoiError: The ROI is missing, empty or lies elsewhere.
    """
    started = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(_timed_open, bundle)  # ONNX Runtime loads while the CT is read
        volume = read_ct(what.image, what.window_level_hu, what.window_width_hu, what.spacing_mm)
        roi = read_roi(what.roi, volume, what.case_id, what.tumor_label, what.tumor_name)
        read = time.perf_counter()
        opened, open_s = opening.result()
    seconds = {"open_bundle": open_s, "read": read - started}
    answer, parts = predict(opened, volume, roi)
    seconds |= parts | {"total": time.perf_counter() - started}
    return answer, {name: round(value, 4) for name, value in seconds.items()}


def predict(bundle: Bundle, volume: CTVolume, roi: RoiMask) -> tuple[Answer, dict[str, float]]:
    """Predict on a volume in memory; gives the answer and the seconds of cutting and network.

    Raises:
        RoiError: The ROI lies on another grid, or no cross-section is large enough.
    """
    started = time.perf_counter()
    cut = cut_slices(volume, roi, bundle.spec)
    case = CutCase(
        case_id=roi.case_id,
        patient_id=roi.case_id,
        hu=np.stack([part.hu for part in cut]),
        slice_index=[part.slice_index for part in cut],
        area_mm2=[part.area_mm2 for part in cut],
        mm_per_px=cut[0].mm_per_px,
        findings=(*volume.findings, *roi.findings),
    )
    ready = time.perf_counter()
    answer = bundle.scorer.answer(case)
    notes = [_note(code, message, roi.case_id) for code, message in _about(bundle, case)]
    seconds = {"cut": ready - started, "network": time.perf_counter() - ready}
    return replace(answer, findings=(*answer.findings, *notes)), seconds


def _about(bundle: Bundle, case: CutCase) -> list[tuple[str, str]]:
    notes = []
    if slices_digest(case.hu) in bundle.trained_on:
        notes.append(
            ("seen-in-training", "this case was used to train the model: the answer is not independent")
        )
    if bundle.synthetic:
        notes.append(
            ("synthetic-training", "the model was trained on SYNTHETIC phantoms: no clinical meaning")
        )
    if bundle.leaky:
        notes.append(
            ("leaky-split", "LEAKY: the model was trained under the image split; its figures are inflated")
        )
    return notes


def _note(code: str, message: str, case_id: str) -> Finding:
    return Finding(code=code, severity="note", message=message, case_id=case_id)


def _timed_open(folder: Path) -> tuple[Bundle, float]:
    started = time.perf_counter()
    return open_bundle(folder), time.perf_counter() - started

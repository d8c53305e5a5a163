"""The folder of a patient, without ``--roi`` -> the one SEG or RTSTRUCT in it that was drawn on a CT series there."""

from collections.abc import Iterable
from pathlib import Path

from nephroscope.base.errors import NephroscopeError, RoiError
from nephroscope.base.text import first_few
from nephroscope.clinic.bundle import Bundle
from nephroscope.facade.patient import files_of_patient
from nephroscope.imaging.dicom.files import read_header
from nephroscope.imaging.dicom.series import is_ct_image
from nephroscope.imaging.dicom.slice_header import text_of
from nephroscope.imaging.files import safe_name
from nephroscope.imaging.masks.origin import check_origin
from nephroscope.imaging.masks.rtstruct import series_uids as rtstruct_series
from nephroscope.imaging.masks.seg import series_uids as seg_series
from nephroscope.imaging.masks.words import content_of
from nephroscope.imaging.read import read_dicom_roi, segments_of
from nephroscope.records import Finding, RoiOrigin, note

TAGS = ("PatientID", "SOPClassUID", "SeriesInstanceUID", "Modality", "ImageType")


def own_roi(bundle: Bundle, image: Path) -> Path | None:
    """The ROI file of a patient's folder, where a bundle needs one and exactly one fits; None where none does.

    It fits where it names a CT series of the folder, has the same PatientID, and may hold a tumor: an
    object of kidneys only is none.

    Raises:
        RoiError: Several fit.
    """
    if bundle.spec.roi_mode == "full" or not image.is_dir():
        return None
    patients, objects = _sorted_out(files_of_patient(image))
    fitting = [path for path in objects if _fits(path, patients)]
    if len(fitting) > 1:
        raise RoiError(
            where="the patient's folder",
            expected="one SEG or RTSTRUCT of a tumor that was drawn on a CT series there",
            found=f"{len(fitting)}: {first_few(_named(path, image) for path in fitting)}",
            remedy="say with --roi FILE which of them is meant",
        )
    return fitting[0] if fitting else None


def check_source(origin: RoiOrigin | None, found: Path | None, case_id: str) -> list[Finding]:
    """What is to be said of where an ROI is from: who drew it, and a note where it was found and not given."""
    findings = [] if origin is None else [*check_origin(origin, case_id)]
    if found is not None:
        name = safe_name(found, case_id)
        text = f"no ROI was given; {name} is the only one in the folder that was drawn on a CT there"
        findings.append(note("roi-found", text, case_id=case_id))
    return findings


def _sorted_out(files: Iterable[Path]) -> tuple[dict[str, str], list[Path]]:
    """The PatientID of each CT series, and the SEG and RTSTRUCT files."""
    patients: dict[str, str] = {}
    objects = []
    for path in files:
        header = read_header(path, TAGS)
        if header is None:
            continue
        if text_of(header, "Modality") in ("SEG", "RTSTRUCT"):
            objects.append(path)
        elif is_ct_image(header):
            patients.setdefault(text_of(header, "SeriesInstanceUID"), text_of(header, "PatientID"))
    return patients, objects


def _fits(path: Path, patients: dict[str, str]) -> bool:
    try:
        roi = read_dicom_roi(path, "ROI")
        uids = set(seg_series(roi) if roi.Modality == "SEG" else rtstruct_series(roi)) & patients.keys()
        segments = [(one.name, one.meanings, one.codes) for one in segments_of(roi)]
    except (NephroscopeError, AttributeError, TypeError, ValueError):
        return True  # may be the tumor's: reading it again says what is damaged
    patient = text_of(roi, "PatientID").casefold()
    of_cts = {patients[uid].casefold() for uid in uids}
    return bool(of_cts and (not patient or patient in of_cts) and not content_of(segments))


def _named(path: Path, folder: Path) -> str:
    """A file as it may be printed: folders below may be called after the patient, and are left out."""
    return safe_name(path) if path.parent == folder else f"{safe_name(path)} in a folder below"

"""De-identify one file of an export: write it, verify it, or say why not.

CT, SEG and RTSTRUCT are copied; all other kinds are left out, because they may contain text that no rule can clean.
A file is written under a temporary name, read back and searched, and only then renamed: every final file is verified.
"""

import errno
import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nephroscope.base.files import replacing
from nephroscope.imaging.dicom.files import DICOM_DAMAGE
from nephroscope.imaging.dicom.hounsfield import PROJECTION
from nephroscope.intake.deidentify.patients import Patients, issuer_of, silent_pydicom
from nephroscope.intake.deidentify.pixels import CUT, clean_pixels
from nephroscope.intake.deidentify.pseudonyms import Secrets
from nephroscope.intake.deidentify.rules import Options, Rules, deidentify_dataset, new_file_meta
from nephroscope.intake.deidentify.verify import Identity, find_leaks, identity_of, pixel_bytes
from nephroscope.intake.export.kinds import (
    CT,
    IN_WORDS,
    KINDS,
    LOCALIZER,
    RTSTRUCT,
    SEG,
    kind_of,
    sop_class,
)

_TAKEN = {CT: "CT", LOCALIZER: "CT", PROJECTION: "CT", SEG: "SEG", RTSTRUCT: "RTSTRUCT"}
_OTHER_MODALITIES = {"mr", "pt", "us", "nm", "cr", "dx", "rf", "xa", "mg", "reg"}
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # the next file would fail too
# Keys of the summary, which other programs may read.
_BURNED_IN = "CT whose header says that text is burned in"
_SECONDARY = "CT of ImageType SECONDARY or SCREEN: text may be burned in, look at it"
_TWO_ISSUERS = "its patient number was given by two issuers to two patients, and it does not say by which"
_NO_ID = "no PatientID: the pseudonym identifies the examination, not the patient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One file to de-identify, the destination folder, key and options.

    ``names`` are words of the names in the label table, which no file may hold.
    """

    path: Path
    destination: Path
    secrets: Secrets
    options: Options
    patients: Patients = field(default_factory=Patients)
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """The result for one file.

    Attributes:
        outcome: ``written``, ``there`` (from an earlier run, or twice in the export), ``left out``, ``not dicom`` or
            ``refused``.
        kind: CT, SEG, RTSTRUCT, or what was left out.
        reason: Reason of a refusal, without any value of the file.
        doubts: Doubts about a written file.
        target: Path of the written file.
        patient: Original identifier of the patient, only for the linkage table, never for messages.
        issuer: Who gave that identifier, if the file says so; likewise.
        pseudonym: New identifier of the patient.
        words: Names and identifiers in it, only for cleaning the label table, never for messages.
    """

    outcome: str
    kind: str = ""
    reason: str = ""
    doubts: tuple[str, ...] = ()
    target: str = ""
    patient: str = ""
    issuer: str = ""
    pseudonym: str = ""
    words: frozenset[str] = frozenset()


def process_file(job: Job) -> FileResult:
    """De-identify one file, whatever it is."""
    try:
        with silent_pydicom():
            return _process(job)
    except DICOM_DAMAGE as error:
        if isinstance(error, OSError) and error.errno in _DISK:
            raise
        return FileResult(outcome="refused", reason=f"cannot be read or written ({type(error).__name__})")


def _process(job: Job) -> FileResult:
    import pydicom
    from pydicom.errors import InvalidDicomError

    if job.path.is_symlink() or not (job.path.is_file() or job.path.is_dir()):
        return FileResult(outcome="refused", reason="a link or a device, which is not followed")
    try:
        dataset = pydicom.dcmread(job.path)
    except InvalidDicomError:
        return FileResult(outcome="not dicom")
    if not sop_class(dataset):
        return FileResult(outcome="refused", reason="no SOP class; it may be damaged")
    found = kind_of(dataset)
    kind = _TAKEN.get(found, "")
    if not kind:
        return FileResult(outcome="left out", kind=_in_words(found))
    if str(dataset.get("BurnedInAnnotation") or "NO").strip().upper() != "NO":
        return FileResult(outcome="left out", kind=_BURNED_IN)
    reason = _refusal(dataset, kind)
    if reason:
        return FileResult(outcome="refused", kind=kind, reason=reason)
    return _write(job, dataset, kind)


def _write(job: Job, dataset: Any, kind: str) -> FileResult:
    identity, pixels, patient = identity_of(dataset, job.names), pixel_bytes(dataset), _patient(dataset)
    doubts, class_uid = _doubts(dataset, kind), sop_class(dataset)
    key = job.patients.key(patient, dataset)
    if not key:
        return FileResult(outcome="refused", kind=kind, reason=_TWO_ISSUERS)
    pseudonym = job.secrets.pseudonym(key)
    instance = _instance(dataset)
    content = pixels if pixels is not None and kind == "CT" else job.path.read_bytes()
    place = _place(job.secrets, dataset, instance, content)
    target = job.destination / pseudonym / place
    result = FileResult(
        outcome="there",
        kind=kind,
        doubts=doubts,
        target=f"{pseudonym}/{place.as_posix()}",
        patient=patient,
        issuer=issuer_of(dataset),
        pseudonym=pseudonym,
        words=identity.words | identity.ids,
    )
    if target.exists():
        return result
    reason, cut = clean_pixels(dataset)
    if reason:
        return FileResult(outcome="refused", kind=kind, reason=reason)
    if cut:
        result = replace(result, doubts=(*doubts, CUT))
    pixels = pixel_bytes(dataset)
    rules = Rules(secrets=job.secrets, options=job.options, patient=key, names=identity.names)
    deidentify_dataset(dataset, rules)
    dataset.SOPClassUID, dataset.SOPInstanceUID = class_uid, job.secrets.uid(instance)
    dataset.file_meta = new_file_meta(dataset, class_uid, dataset.SOPInstanceUID)
    dataset.preamble = bytes(128)
    leaks = _save(dataset, target, identity, pseudonym, pixels)
    if leaks:
        return FileResult(
            outcome="refused", reason=f"not written, because it still contained: {'; '.join(leaks)}"
        )
    return replace(result, outcome="written")


def _save(dataset: Any, target: Path, identity: Identity, pseudonym: str, pixels: bytes | None) -> list[str]:
    """Write, read back and search; the file gets its final name only if nothing is found."""
    leaks: list[str] = []
    try:
        with replacing(target) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
            leaks = find_leaks(temporary, identity, pseudonym, pixels)
            if leaks:
                raise _LeakError
    except _LeakError:
        _remove_empty(target.parent)
        _remove_empty(target.parent.parent)
    return leaks


class _LeakError(Exception):
    """Leaves the block that would rename the file."""


def _remove_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        os.rmdir(folder)  # noqa: PTH106


def _place(secrets: Secrets, dataset: Any, instance: str, content: bytes) -> Path:
    """Folder and file name below the patient. Files with the same UID but other content stay different files."""
    series = secrets.letters("series", str(dataset.get("SeriesInstanceUID") or ""), 12)
    digest = hashlib.sha256(content).hexdigest()
    return Path(f"S-{series}") / f"I-{secrets.letters('instance', instance + digest, 16)}.dcm"


def _instance(dataset: Any) -> str:
    return str(dataset.get("SOPInstanceUID") or dataset.file_meta.get("MediaStorageSOPInstanceUID") or "")


def _patient(dataset: Any) -> str:
    """Patient ID; if empty, the study or the frame of reference."""
    for name in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        found = str(dataset.get(name) or "").strip()
        if found:
            return found
    return ""


def _refusal(dataset: Any, kind: str) -> str:
    if not _patient(dataset):
        return "no PatientID, study or frame of reference that shows which patient it belongs to"
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_transfer_syntax or syntax.is_private:
        return "its transfer syntax is not a DICOM one"
    if not _instance(dataset):
        return "no SOP Instance UID"
    if kind == "CT" and "Rows" not in dataset:
        return "it is cut short before the image"
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x0010) in dataset and (group, 0x3000) not in dataset:
            return "an overlay in the bits of the pixels, which may contain text"
    return ""


def _doubts(dataset: Any, kind: str) -> tuple[str, ...]:
    words = {str(word).upper() for word in dataset.get("ImageType") or []}
    secondary = kind == "CT" and any(word == "SECONDARY" or word.startswith("SCREEN") for word in words)
    no_id = not str(dataset.get("PatientID") or "").strip()
    return ((_SECONDARY,) if secondary else ()) + ((_NO_ID,) if no_id else ())


def _in_words(kind: str) -> str:
    """What was left out, in our own words: a modality is typed by people and may contain anything."""
    if kind in IN_WORDS or kind in KINDS.values():
        return IN_WORDS.get(kind, kind)
    modality = kind.removesuffix("-image")
    return f"modality {modality.upper()}" if modality in _OTHER_MODALITIES else "another kind"

"""What a PACS can be asked, whatever it speaks: to keep objects, which it has, and to give a series."""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from nephroscope.base.errors import PacsError
from nephroscope.base.files import replacing
from nephroscope.exchange.uids import is_uid
from nephroscope.imaging.dicom.files import DICOM_DAMAGE, parse_header, quiet, read_header

IDENTITY = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
# Of what this program reads and writes; a PACS may hold more, which is left there.
CT_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("2", "2.1", "2.2"))
ROI_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("66.4", "66.7", "481.3"))
ANSWER_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("88.34", "88.33", "7"))


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """A DICOM file and what names its object."""

    path: Path
    sop_class: str
    sop_uid: str
    series_uid: str
    study_uid: str
    syntax: str


@dataclass(frozen=True, kw_only=True)
class Query:
    """Which series are meant; an empty field means any.

    Attributes:
        date: Of the study, ``20240131`` or ``20240101-20240131``.
        modalities: Of the series.
    """

    patient_id: str = ""
    study_uid: str = ""
    series_uid: str = ""
    accession: str = ""
    date: str = ""
    modalities: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """True when everything in the PACS would match."""
        return not (self.patient_id or self.study_uid or self.series_uid or self.accession or self.date)


@dataclass(frozen=True, kw_only=True)
class RemoteSeries:
    """A series in a PACS, without name and date of birth.

    Attributes:
        n_images: As the PACS counts them; None where it does not say.
    """

    study_uid: str
    series_uid: str
    patient_id: str
    date: str
    modality: str
    description: str
    n_images: int | None


Keep = Callable[[bytes], bool]  # one DICOM file as it came; False where it is not wanted


class Peer(Protocol):
    """A PACS."""

    def store(self, objects: Sequence[StoredObject]) -> dict[str, str]:
        """Send objects; for each SOP Instance UID why it was not taken, or the empty string."""

    def instances(self, study_uid: str, series_uid: str) -> set[str]:
        """SOP Instance UIDs that it has of a series."""

    def series(self, query: Query) -> list[RemoteSeries]:
        """The series that match."""

    def fetch(self, series: RemoteSeries, keep: Keep) -> None:
        """Let each object of a series be kept as it comes."""


def unreachable(where: object, found: str) -> PacsError:
    """The refusal of a PACS that does not answer as it should."""
    return PacsError(
        where=f"PACS {where}",
        expected="an answer",
        found=found,
        remedy="check address, AE titles and certificates, and whether it is running; then run the command again",
    )


def read_stored(path: Path) -> StoredObject | None:
    """What names the object in a file; None where it is no DICOM object that could be sent."""
    header = read_header(path, IDENTITY)
    return None if header is None else _named(header, path)


def header_of(content: bytes) -> StoredObject | None:
    """What names the object in the bytes of a file; its path is empty."""
    try:
        with quiet():
            header = parse_header(io.BytesIO(content), IDENTITY)[0]
    except DICOM_DAMAGE:
        return None
    return _named(header, Path())


def _named(header: Any, path: Path) -> StoredObject | None:
    sop_class, sop, series, study = (str(header.get(name) or "") for name in IDENTITY)
    if not all(map(is_uid, (sop_class, sop, series, study))):
        return None
    return StoredObject(
        path=path,
        sop_class=sop_class,
        sop_uid=sop,
        series_uid=series,
        study_uid=study,
        syntax=str(header.file_meta.TransferSyntaxUID),
    )


def objects_below(paths: Iterable[Path]) -> list[StoredObject]:
    """The DICOM objects in files and in folders, below them too; each SOP Instance UID once.

    Raises:
        PacsError: A file that was named is no DICOM object.
    """
    found: dict[str, StoredObject] = {}
    for path in paths:
        inside = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        for file in inside:
            one = read_stored(file)
            if one is not None:
                found.setdefault(one.sop_uid, one)
            elif not path.is_dir():
                raise PacsError(
                    where="a file to be sent",
                    expected="a DICOM object with its UIDs",
                    found="no such file" if not file.exists() else "another kind of file",
                    remedy="give DICOM files, or a folder of them",
                )
    return list(found.values())


def write_received(content: bytes, folder: Path) -> StoredObject | None:
    """Keep a DICOM file that came as ``folder/SERIES/SOP.dcm``, whole or not at all; None where it is none."""
    header = header_of(content)
    if header is None:
        return None
    place = folder / header.series_uid / f"{header.sop_uid}.dcm"
    with replacing(place) as temporary:
        temporary.write_bytes(content)
    return replace(header, path=place)


def text_in(data: Any, keyword: str) -> str:
    """A value of an answer as text."""
    value = data.get(keyword)
    return "" if value is None else str(value).strip()


def series_of(one: Any, study: Any, query: Query) -> RemoteSeries:
    """A series as a PACS answers of it and of its study."""
    counted = text_in(one, "NumberOfSeriesRelatedInstances")
    return RemoteSeries(
        study_uid=text_in(one, "StudyInstanceUID") or text_in(study, "StudyInstanceUID"),
        series_uid=text_in(one, "SeriesInstanceUID"),
        patient_id=text_in(study, "PatientID") or query.patient_id,
        date=text_in(study, "StudyDate"),
        modality=text_in(one, "Modality"),
        description=text_in(one, "SeriesDescription"),
        n_images=int(counted) if counted.isdigit() else None,
    )

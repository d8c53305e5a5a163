"""The DICOM images of a CT that was read -> what an object about it copies and refers to."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.multival import MultiValue
from pydicom.valuerep import validate_value

from nephroscope.base.errors import SeriesError
from nephroscope.base.text import counted_noun
from nephroscope.exchange.uids import is_uid
from nephroscope.imaging.dicom.files import DICOM_DAMAGE, quiet, read_header
from nephroscope.imaging.dicom.series import is_ct_image, is_series_list, load_series_files
from nephroscope.imaging.masks.write import image_planes
from nephroscope.records import CTVolume

MOST_FILES = 200_000
MOST_SERIES_NUMBER = 1_000_000
RAISE = 2  # what pydicom calls this validation mode
IDENTITY = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")
# Of type 2: an image that lacks them, as after de-identification, has them empty.
MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName"),
)
# Beside what highdicom copies: whose number it is, and what belongs to patient and study.
COPIED = (
    *(
        "IssuerOfPatientID",
        "IssuerOfPatientIDQualifiersSequence",
        "TypeOfPatientID",
        "PatientIdentityRemoved",
    ),
    *("DeidentificationMethod", "DeidentificationMethodCodeSequence", "StudyDescription"),
    *(
        "IssuerOfAccessionNumberSequence",
        "PatientAge",
        "PatientSize",
        "PatientWeight",
        "TimezoneOffsetFromUTC",
    ),
)
SEXES = ("M", "F", "O")
DATES, TIMES = ("StudyDate", "PatientBirthDate"), ("StudyTime",)
_DATE, _TIME = (
    re.compile(r"(\d{4})[-./]?(\d\d)[-./]?(\d\d)"),
    re.compile(r"\d\d(:?\d\d(:?\d\d(\.\d{1,6})?)?)?"),
)


@dataclass(frozen=True, kw_only=True)
class SliceImage:
    """The image that holds a slice; ``frame`` counts from 1 in an enhanced CT and is None elsewhere."""

    sop_class: str
    sop_uid: str
    frame: int | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class SourceSeries:
    """The images of a CT.

    Attributes:
        series_uid: Of the series.
        headers: Without pixels, one per file; the first is tidy.
        files: Their files.
        slices: The image of each slice of the volume, in its order.
    """

    series_uid: str
    headers: tuple[Any, ...]
    files: tuple[Path, ...]
    slices: tuple[SliceImage, ...]

    @property
    def series_number(self) -> int:
        """Of the series; 0 where there is none."""
        return int(self.headers[0].SeriesNumber)

    def copy_to(self, made: Any) -> None:
        """Copy what the object about this series has in common with it, beside what highdicom copies."""
        for keyword in COPIED:
            if keyword in self.headers[0]:
                made[keyword] = self.headers[0][keyword]


def read_source_series(image: Path, volume: CTVolume) -> SourceSeries:
    """The images from which a CT volume was read.

    Args:
        image: What was given to `read_ct` or `predict`: a folder, of one series or of a patient, or a list of files.
        volume: The CT that was read from it.

    Raises:
        SeriesError: The CT is not DICOM, or its images lack what an object about them must name.
    """
    where = f"series {volume.series_uid}"
    if not volume.image_uids:
        raise SeriesError(
            where=where,
            expected="a CT of DICOM images: an SR, SEG or secondary capture belongs to a patient's study",
            found="a CT without a study (NIfTI or slice image), or images without SOP Instance UID",
            remedy="give the folder of the DICOM series",
        )
    with quiet():
        found = list(_of_series(_files(image), volume))
        try:
            slices = _slices(found, volume)
        except (*DICOM_DAMAGE, TypeError) as error:
            raise _lacking(where, "its images without their places") from error
    studies = {
        (str(header.get("StudyInstanceUID", "")), str(header.get("PatientID") or "")) for _, header in found
    }
    unusable = [uid for uid, _ in studies if not is_uid(uid)]
    if unusable:
        raise _lacking(where, "images without a usable Study Instance UID")
    if len(studies) > 1:
        raise _lacking(where, f"images of {len(studies)} studies or patients under one series")
    missing = slices.count(None)
    if missing:
        raise _lacking(where, f"no image for {missing} of its {counted_noun(len(slices), 'slice')}")
    return SourceSeries(
        series_uid=volume.series_uid,
        headers=tuple(header for _, header in found),
        files=tuple(path for path, _ in found),
        slices=tuple(one for one in slices if one is not None),
    )


def _lacking(where: str, found: str) -> SeriesError:
    return SeriesError(
        where=where,
        expected="the images from which the CT was read",
        found=found,
        remedy="give the folder of the original series",
    )


def _files(image: Path) -> Iterator[Path]:
    if is_series_list(image):
        yield from load_series_files(image).files
    elif image.is_dir():
        yield from islice((path for path in sorted(image.rglob("*")) if path.is_file()), MOST_FILES)


def _of_series(paths: Iterable[Path], volume: CTVolume) -> Iterator[tuple[Path, Any]]:
    """Each image of the volume once, its text decoded."""
    import pydicom

    seen: set[str] = set()
    for path in paths:
        brief = read_header(path, IDENTITY)
        if brief is None or not is_ct_image(brief):
            continue
        uid = str(brief.get("SOPInstanceUID", ""))
        if uid in seen or uid not in volume.image_uids:
            continue
        if str(brief.get("SeriesInstanceUID", "")) != volume.series_uid:
            continue
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            if not seen:
                tidy(header)
        except DICOM_DAMAGE:
            continue
        seen.add(uid)
        yield path, header


def tidy(header: Any) -> None:
    """Make what is copied of an image as the standard wants it, text as UTF-8.

    What a PACS finds the patient by stays as it is.
    """
    header.decode()
    header.SpecificCharacterSet = "ISO_IR 192"
    for keyword in MAY_BE_EMPTY:
        value = header.get(keyword)
        if value is None:
            setattr(header, keyword, "")
        elif isinstance(value, MultiValue):
            setattr(header, keyword, value[0])
    if header.PatientSex not in SEXES:
        header.PatientSex = ""
    _tidy_values(header)
    for keyword in COPIED:
        if keyword in header and not _is_valid(header, keyword):
            del header[keyword]


def _tidy_values(header: Any) -> None:
    for keyword in DATES:
        parts = _DATE.fullmatch(str(header.get(keyword)).strip())
        setattr(header, keyword, "".join(parts.groups()) if parts else "")
    for keyword in TIMES:
        known = _TIME.fullmatch(str(header.get(keyword)).strip())
        setattr(header, keyword, known[0].replace(":", "") if known else "")
    header.StudyID = str(header.StudyID)[:16]
    if "StudyDescription" in header:
        header.StudyDescription = str(header.StudyDescription)[:64]
    try:
        number = int(header.get("SeriesNumber") or 0)
    except (TypeError, ValueError):
        number = 0
    header.SeriesNumber = number if 0 <= number < MOST_SERIES_NUMBER else 0


def _is_valid(header: Any, keyword: str) -> bool:
    """True for a value that its representation allows (PS3.5 6.2)."""
    element = header[keyword]
    if element.VR == "SQ":
        return True
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    try:
        for value in values:
            validate_value(element.VR, str(value), RAISE)
    except ValueError:
        return False
    return True


def _slices(found: list[tuple[Path, Any]], volume: CTVolume) -> list[SliceImage | None]:
    """For each slice of the volume its image, by place."""
    to_index = np.linalg.inv(volume.geometry.affine)
    slices: list[SliceImage | None] = [None] * volume.geometry.shape[0]
    for _, header in found:
        planes = image_planes(header, f"series {volume.series_uid}")
        several = "PerFrameFunctionalGroupsSequence" in header
        for number, (affine, _) in enumerate(planes, start=1):
            index = round(float((to_index @ affine[:, 2])[0]))
            if 0 <= index < len(slices) and slices[index] is None:
                slices[index] = SliceImage(
                    sop_class=str(header.SOPClassUID),
                    sop_uid=str(header.SOPInstanceUID),
                    frame=number if several else None,
                )
    return slices

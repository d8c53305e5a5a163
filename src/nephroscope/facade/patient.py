"""What a clinic has of a patient -> the CT that the ROI was drawn on, with its phase and the patient's pseudonym.

A folder may hold one series or all of a patient's; the ROI says which one is meant: a SEG or RTSTRUCT names it, a
label map has its grid. Cases are named by the PatientID of the DICOM files, which is a pseudonym once these are
de-identified, or as the user says; never by a folder or file.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.errors import NephroscopeError, SeriesError
from nephroscope.base.text import counted_noun, first_few
from nephroscope.imaging.dicom.files import read_header
from nephroscope.imaging.dicom.series import is_ct_image, is_series_list, load_series_files, read_dicom_series
from nephroscope.imaging.dicom.slice_header import text_of
from nephroscope.imaging.files import file_kind
from nephroscope.imaging.masks.rtstruct import series_uids as rtstruct_series
from nephroscope.imaging.masks.seg import series_uids as seg_series
from nephroscope.imaging.read import UnplacedRoi, read_ct, read_dicom_roi
from nephroscope.intake.phase.series import PHASE_TAGS, SeriesText, name_phases, series_text
from nephroscope.records import CTVolume, RoiMask

UNNAMED = "case"  # of a patient whose files give no pseudonym
TAGS = ("PatientID", "SOPClassUID", "SeriesNumber", *PHASE_TAGS)
MOST_FILES = 200_000
LONGEST_NAME = 64  # of DICOM's value representation LO


@dataclass(frozen=True, eq=False, kw_only=True)
class PatientCt:
    """The CT of a patient.

    Attributes:
        name: Pseudonym.
        phase: Contrast phase, ``unknown`` where the files do not say it; ``evidence`` is the text it was found in.
        n_series: CT series from which it was chosen.
        others: The first series of each further phase among them, not read.
    """

    volume: CTVolume
    name: str
    phase: str = "unknown"
    evidence: str = ""
    n_series: int = 1
    others: tuple["OtherFiles", ...] = ()


@dataclass(frozen=True, kw_only=True)
class OtherFiles:
    """The files of another series of a patient, and its phase."""

    phase: str
    uid: str
    files: tuple[Path, ...]

    def read(self) -> CTVolume:
        """The CT.

        Raises:
            SeriesError: It cannot be read as one.
        """
        return read_dicom_series(self.files, self.uid)


@dataclass(frozen=True, kw_only=True)
class _Series:
    """The files of a CT series, and what its first header says."""

    uid: str
    files: tuple[Path, ...]
    patient_id: str
    text: SeriesText

    def __str__(self) -> str:
        number = f"series {self.text.series_number}" if self.text.series_number else "a series without number"
        return f"{number} ({counted_noun(len(self.files), 'image')})"


def read_patient(
    image: Path,
    roi: UnplacedRoi | None,
    window_level_hu: float = 40.0,
    window_width_hu: float = 400.0,
    spacing_mm: float | None = None,
) -> PatientCt:
    """The CT of a patient from a folder of one or of several series, a NIfTI file, or a PNG or JPEG slice.

    Args:
        image: As in `read_ct`; or a folder with several series, below it too; or a list of files in ``series/`` of a
            study.
        roi: Decides between several series.
        window_level_hu: As in `read_ct`.
        window_width_hu: As in `read_ct`.
        spacing_mm: As in `read_ct`.

    Raises:
        SeriesError: There is no usable CT, or the ROI does not say which of several it was drawn on.
        RoiError: The ROI cannot be read.
    """
    if is_series_list(image):
        volume = read_ct(image)
        listed = next(iter(_series_in(load_series_files(image).files, only_first=True)))
        return _named(volume, listed, [listed])
    if not image.is_dir():
        return PatientCt(volume=read_ct(image, window_level_hu, window_width_hu, spacing_mm), name=UNNAMED)
    if not any(path.is_dir() for path in image.iterdir()):
        try:
            volume = read_ct(image)
        except SeriesError as error:
            if error.expected != "one CT series":
                raise
        else:
            first = next(
                s for s in _series_in(files_of_patient(image), only_first=True) if s.uid == volume.series_uid
            )
            return _named(volume, first, [first])
    found = list(_series_in(files_of_patient(image)))
    if not found:
        raise SeriesError(
            where="the patient's folder",
            expected="a CT series",
            found="none, here or in the folders below",
            remedy="check the path and the export",
        )
    volume, chosen = _drawn_on(found, roi)
    return _named(volume, chosen, found)


def _named(volume: CTVolume, chosen: _Series, found: Sequence[_Series]) -> PatientCt:
    calls = name_phases([one.text for one in found])
    call = calls[found.index(chosen)]
    others: dict[str, OtherFiles] = {}
    for one, other in zip(found, calls, strict=True):
        if one is not chosen and other.phase not in ("unknown", call.phase):
            others.setdefault(other.phase, OtherFiles(phase=other.phase, uid=one.uid, files=one.files))
    name = "".join(c for c in chosen.patient_id if c.isprintable()).strip()[:LONGEST_NAME] or UNNAMED
    return PatientCt(
        volume=volume,
        name=name,
        phase=call.phase,
        evidence=call.evidence,
        n_series=len(found),
        others=tuple(others.values()),
    )


def files_of_patient(folder: Path) -> Iterator[Path]:
    """Files of a folder and those below it, in the order of their names.

    Raises:
        SeriesError: There are too many for one patient.
    """
    for n, path in enumerate(p for p in sorted(folder.rglob("*")) if p.is_file()):
        if n >= MOST_FILES:
            raise SeriesError(
                where="the patient's folder",
                expected=f"the files of one patient, at most {MOST_FILES:,}",
                found="more",
                remedy="give the folder of one patient",
            )
        yield path


def _series_in(files: Iterable[Path], only_first: bool = False) -> Iterator[_Series]:
    """The CT series among these files; with ``only_first`` each at its first file."""
    members: dict[str, list[Path]] = {}
    about: dict[str, tuple[str, SeriesText]] = {}
    for path in files:
        header = read_header(path, TAGS)
        if header is None or not is_ct_image(header):
            continue
        uid = text_of(header, "SeriesInstanceUID") or "without UID"
        members.setdefault(uid, []).append(path)
        if uid not in about:
            about[uid] = (text_of(header, "PatientID"), series_text(header))
            if only_first:
                yield _Series(uid=uid, files=(path,), patient_id=about[uid][0], text=about[uid][1])
    if not only_first:
        for uid, paths in members.items():
            yield _Series(uid=uid, files=tuple(paths), patient_id=about[uid][0], text=about[uid][1])


def _drawn_on(found: Sequence[_Series], roi: UnplacedRoi | None) -> tuple[CTVolume, _Series]:
    """The series on which the ROI was drawn: named by it, or the only one that has its grid."""
    if len(found) == 1:
        return read_dicom_series(found[0].files, found[0].uid), found[0]
    if roi is None:
        raise _unclear(found, "several")
    if file_kind(roi.path) == "dicom":
        dicom = read_dicom_roi(roi.path, "ROI")
        uids = set(seg_series(dicom) if dicom.Modality == "SEG" else rtstruct_series(dicom))
        named = [one for one in found if one.uid in uids]
        if len(named) == 1:
            return read_dicom_series(named[0].files, named[0].uid), named[0]
        if len(uids) == 1 and not named:
            raise _unclear(found, "none on which the ROI was drawn, among several")
        found = named or found
    matching = []
    for one in found:
        try:
            volume = read_dicom_series(one.files, one.uid)
            placed = roi.on(volume)
        except NephroscopeError:
            continue  # scouts and other series that are no volume, and those on which it does not lie
        if lies_on_grid(placed):
            matching.append((volume, one))
    if len(matching) != 1:
        raise _unclear(found, f"{len(matching)} that have the grid of the ROI, among several")
    return matching[0]


def lies_on_grid(roi: RoiMask) -> bool:
    """True when the ROI was drawn on the grid of this CT."""
    return not {"roi-resampled", "roi-outside"} & {finding.code for finding in roi.findings}


def _unclear(found: Sequence[_Series], what: str) -> SeriesError:
    return SeriesError(
        where="the patient's folder",
        expected="one CT series, or several with an ROI that says which one it was drawn on",
        found=f"{what}: {first_few(found)}",
        remedy="give the folder of the series on which the ROI was drawn",
    )

"""ROI files outside a DICOM export, matched by the patient or case in their name, such as CASE_reader2.seg.nrrd."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nephroscope.base.errors import CohortError, SeriesError
from nephroscope.base.identifiers import clean_name, near_names
from nephroscope.base.text import counted_noun, first_few
from nephroscope.imaging.dicom.acquisitions import without_copies
from nephroscope.imaging.dicom.files import read_header
from nephroscope.imaging.dicom.slice_header import SliceHeader
from nephroscope.imaging.dicom.stack import stack_of
from nephroscope.imaging.files import file_kind, file_name
from nephroscope.imaging.grid import canonical_grid
from nephroscope.imaging.masks.label_map import grid_of
from nephroscope.imaging.masks.resample import lies_on
from nephroscope.intake.export.kinds import ROI_TAGS, referenced
from nephroscope.intake.labels.rows import LabelRow
from nephroscope.intake.labels.whose_roi import RoiFile, find_beside
from nephroscope.intake.other_files import in_words
from nephroscope.records import Finding, warning

SUFFIX = re.compile(r"(\.seg)?\.(nii|nii\.gz|nrrd|nhdr|dcm)$", re.IGNORECASE)
READER = re.compile(r"[_-](?:reader|r)[_-]?([12])$", re.IGNORECASE)
MASK = re.compile(r"[_-](seg|segmentation|mask|label|labels|roi|tumou?r)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class RoiFiles:
    """Paths of the first and second reader, by name in lower case; and files of kinds that are not read."""

    by_name: dict[str, dict[int, Path]] = field(default_factory=dict)
    not_read: tuple[Path, ...] = ()

    def not_read_of(self, patient: str, cases: Sequence[str]) -> Path | None:
        """A file named after a patient or one of these cases, of a kind that is not read."""
        names = {name.lower() for name in (patient, *cases)} - {""}
        return next((path for path in self.not_read if _owner(path.name.partition(".")[0])[0] in names), None)

    def of(self, patient: str, cases: Sequence[str]) -> list[Path]:
        """The ROI files of a patient with these cases, first reader first."""
        readers = next((self.by_name[n.lower()] for n in (patient, *cases) if n.lower() in self.by_name), {})
        return [path for _, path in sorted(readers.items())]

    def of_cases(self, cases: Sequence[str]) -> tuple[RoiFile, ...]:
        """The first reader's files named after the cases of a patient, who may have several tumors."""
        files = [self.by_name.get(case, {}) for case in dict.fromkeys(case.lower() for case in cases)]
        return tuple(RoiFile(path=readers[1]) for readers in files if 1 in readers)

    def of_patients(
        self, labels: Sequence[LabelRow] | None, folder: Path | None = None
    ) -> dict[str, list[Path]]:
        """By patient in lower case, the ROI files named after them or their cases, or in their column roi.

        Args:
            labels: Rows of the label table.
            folder: Where paths of that column may start.
        """
        found = {name: [*readers.values()] for name, readers in self.by_name.items()}
        for row in labels or []:
            patient, own = (row.patient_id or row.case_id).lower(), self.by_name.get(row.case_id.lower(), {})
            typed = find_beside(row.roi, [Path(), *([folder] if folder else [])])
            more = [*([typed] if typed else []), *own.values()]
            if more:
                found[patient] = [*dict.fromkeys((*found.get(patient, ()), *more))]
        return found

    def of_nobody(self, patients: Iterable[str], labels: Sequence[LabelRow] | None) -> list[Path]:
        """Files whose name is neither that of one of these patients nor that of a case of theirs."""
        known = {patient.lower() for patient in patients}
        known |= {
            row.case_id.lower() for row in labels or [] if (row.patient_id or row.case_id).lower() in known
        }
        return [path for name, of in self.by_name.items() if name not in known for path in of.values()]

    def findings(self, patients: Iterable[str], labels: Sequence[LabelRow] | None) -> tuple[Finding, ...]:
        """A warning that lists the files `of_nobody`, with the patient or case that each may mean."""
        patients = [*patients]
        lost = self.of_nobody(patients, labels)
        if not lost:
            return ()
        owners = {_owner(SUFFIX.sub("", path.name))[0]: path for path in lost}
        meant = near_names(owners, [*patients, *(row.case_id for row in labels or [])])
        listed = (
            f"{file_name(path)}{f': did you mean {meant[owner]}?' if owner in meant else ''}"
            for owner, path in owners.items()
        )
        text = f"{counted_noun(len(lost), 'ROI file')} without a patient or case here: {first_few(listed)}; "
        return (warning("roi-of-nobody", text + "name each after its patient or case, such as CASE.nii.gz"),)


def was_drawn_on(path: Path, series_uid: str, slices: Sequence[SliceHeader]) -> bool:
    """True when an ROI file names a CT series, or all voxels of its label map coincide with the CT's."""
    if file_kind(path) == "dicom":
        header = read_header(path, ROI_TAGS)
        return header is not None and any(place.series_uid == series_uid for place in referenced(header))
    grid = grid_of(path)
    if grid is None:
        return False
    try:
        kept, _ = without_copies(slices)
        stack = stack_of([slices[index] for index in kept], "series")
    except SeriesError:
        return False
    first = slices[0]
    ct = canonical_grid((len(stack.order), first.rows or 0, first.columns or 0), stack.affine)
    return lies_on(grid, ct)


def find_roi_files(folder: Path | None) -> RoiFiles:
    """ROI files below a folder.

    Raises:
        CohortError: There is no such folder, no ROI file in it, or two for one reader of one case.
    """
    by_name: dict[str, dict[int, Path]] = {}
    not_read = []
    if folder is None:
        return RoiFiles()
    for path in sorted(folder.resolve().rglob("*")):
        stem = SUFFIX.sub("", path.name)
        if not path.is_file() or path.name.startswith("."):
            continue
        if stem == path.name:
            not_read.append(path)
            continue
        owner, number = _owner(stem)
        readers = by_name.setdefault(owner, {})
        if number in readers:
            raise CohortError(
                where="folder of ROI files",
                expected="one ROI file per annotator and case",
                found=f"{file_name(readers[number])} and {file_name(path)}, for one case and annotator",
                remedy="name the second annotator's file CASE_reader2, and remove other copies",
            )
        readers[number] = path
    if not by_name:
        raise CohortError(
            where="folder of ROI files",
            expected="ROI files named after their patient or case (.nii.gz, .nrrd, .seg.nrrd, .dcm)",
            found=in_words(not_read) if folder.is_dir() else "no such folder",
            remedy="check the path",
        )
    return RoiFiles(by_name=by_name, not_read=tuple(not_read))


def _owner(stem: str) -> tuple[str, int]:
    """The patient or case that a file is named after, in lower case, and the number of its reader."""
    stem = clean_name(stem)
    reader = READER.search(stem)
    return MASK.sub("", READER.sub("", stem)).lower(), int(reader[1]) if reader else 1

"""ROI files outside a DICOM export, matched by the patient or case in their name, such as CASE_reader2.seg.nrrd."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nephroscope.base.errors import CohortError
from nephroscope.imaging.files import file_name
from nephroscope.intake.labels.rows import LabelRow
from nephroscope.intake.labels.whose_roi import RoiFile
from nephroscope.intake.other_files import in_words

SUFFIX = re.compile(r"(\.seg)?\.(nii|nii\.gz|nrrd|nhdr|dcm)$", re.IGNORECASE)
READER = re.compile(r"[_-](?:reader|r)[_-]?([12])$", re.IGNORECASE)
MASK = re.compile(r"[_-](seg|segmentation|mask|label|labels|roi|tumou?r)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class RoiFiles:
    """Paths of the first and second reader, by name in lower case; files of kinds that are not read."""

    by_name: dict[str, dict[int, Path]] = field(default_factory=dict)
    not_read: tuple[Path, ...] = ()

    def of(self, patient: str, cases: Sequence[str]) -> list[Path]:
        """The ROI files of a patient with these cases, first reader first."""
        readers = next((self.by_name[n.lower()] for n in (patient, *cases) if n.lower() in self.by_name), {})
        return [path for _, path in sorted(readers.items())]

    def of_cases(self, cases: Sequence[str]) -> tuple[RoiFile, ...]:
        """The first reader's files named after the cases of a patient, who may have several tumors."""
        files = [self.by_name.get(case, {}) for case in dict.fromkeys(case.lower() for case in cases)]
        return tuple(RoiFile(path=readers[1]) for readers in files if 1 in readers)

    def patients(self, labels: Sequence[LabelRow] | None) -> set[str]:
        """Names, in lower case, of the patients with an ROI file named after them or after one of their cases."""
        of_cases = {
            r.patient_id.lower() for r in labels or [] if r.patient_id and r.case_id.lower() in self.by_name
        }
        return of_cases | self.by_name.keys()

    def of_nobody(self, patients: Iterable[str], labels: Sequence[LabelRow] | None) -> list[Path]:
        """Files whose name is neither that of one of these patients nor that of a case of theirs."""
        known = {patient.lower() for patient in patients}
        known |= {
            row.case_id.lower() for row in labels or [] if (row.patient_id or row.case_id).lower() in known
        }
        return [path for name, of in self.by_name.items() if name not in known for path in of.values()]


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
        reader = READER.search(stem)
        stem = MASK.sub("", READER.sub("", stem))
        number = int(reader[1]) if reader else 1
        readers = by_name.setdefault(stem.lower(), {})
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

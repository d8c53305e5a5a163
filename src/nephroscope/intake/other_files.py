"""Files of kinds that are not read: counted and named, so that nobody looks for them in vain."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from nephroscope.base.tables import names
from nephroscope.base.text import counted_noun
from nephroscope.imaging.files import safe_name
from nephroscope.records import Finding, Severity

MOST_NAMED = 3  # files of one ending that are kept to be named
# Endings of images and masks that other programs write and that are not read.
UNREAD_IMAGES = {
    *(".mha", ".mhd", ".hdr", ".img", ".mgz", ".mgh", ".mnc", ".mat", ".npy", ".npz", ".stl", ".vtk", ".vti"),
    *(".tif", ".tiff", ".bmp", ".zip", ".7z", ".rar", ".tar", ".tgz", ".h5"),
}
TABLES = {".csv", ".xlsx"}


def ending_of(path: Path) -> str:
    """The ending of a name in lower case, that of ``a.tar.gz`` is ``.gz``; short endings only."""
    return path.suffix.lower() if len(path.suffix) <= 6 else ""


def in_words(paths: Iterable[Path]) -> str:
    """How many files of which endings: ``2 .mha, 1 .txt``."""
    counts = Counter(ending_of(path) or "without ending" for path in paths)
    return ", ".join(f"{n} {ending}" for ending, n in sorted(counts.items())) or "none"


def of_other_kinds(paths: Sequence[Path], n_files: int) -> list[Finding]:
    """What was passed over: a warning if there are images or masks among it, otherwise a note.

    Args:
        paths: Some of the files.
        n_files: How many there are.
    """
    only_tables = n_files == len(paths) and all(ending_of(path) in TABLES for path in paths)
    if not n_files or only_tables:  # the label table often lies in the export
        return []
    images = [path for path in paths if ending_of(path) in UNREAD_IMAGES]
    severity: Severity = "warning" if images else "note"
    advice = "; save images and masks as .nii.gz, .nrrd or DICOM" if images else ""
    named = names(safe_name(path) for path in images or paths)
    text = f"{counted_noun(n_files, 'file')} of kinds that are not read: {named}{advice}"
    return [Finding(code="files-not-read", severity=severity, message=text, case_id="")]

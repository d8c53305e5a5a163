"""Which files make up the CT of a case, where they are not simply a folder's: written and read back as JSON."""

from dataclasses import dataclass
from pathlib import Path

from nephroscope.cohort.tables import relative_to
from nephroscope.errors import SeriesError
from nephroscope.files import load_json, save_json

FORMAT = 1
SUFFIX = ".series.json"


@dataclass(frozen=True, kw_only=True)
class SeriesFiles:
    """The files of one series, or of one acquisition of it.

    ``acquisition`` counts from 1 where one file holds several and only one of them is meant; else None.
    """

    series_uid: str
    files: tuple[Path, ...]
    acquisition: int | None = None


def save_series_files(path: Path, content: SeriesFiles, study: Path) -> None:
    """Write the list; files below the ``study`` folder are written relative to it."""
    files = [relative_to(study, file) for file in content.files]
    listed = {"series_uid": content.series_uid, "acquisition": content.acquisition, "files": files}
    save_json(path, {"format": FORMAT, **listed})


def load_series_files(path: Path, study: Path | None = None) -> SeriesFiles:
    """Read the list back.

    Args:
        path: As `save_series_files` wrote it.
        study: Where relative paths start; by default two folders up, as in ``STUDY/series/CASE.series.json``.

    Raises:
        StudyError: The file is damaged or of a newer format.
        SeriesError: It names no files.
    """
    content = load_json(path, FORMAT)
    files, uid, acquisition = content.get("files"), content.get("series_uid"), content.get("acquisition")
    named = isinstance(files, list) and isinstance(uid, str) and isinstance(acquisition, int | None)
    if not named or not files:
        raise SeriesError(
            where=path.name,
            expected="a series_uid and a list of files",
            found="something else",
            remedy="import the case again",
        )
    root = study or path.resolve().parent.parent
    paths = tuple(root / str(file) for file in files)
    return SeriesFiles(series_uid=str(uid), files=paths, acquisition=acquisition)


def is_series_list(path: Path) -> bool:
    """True for the path of such a list."""
    return path.name.endswith(SUFFIX)

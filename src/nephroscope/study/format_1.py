"""A study of format 1, whose cases had one series each, rewritten once as format 2; its tables are kept.

Cells are moved, not read: mistakes in them are named when the new tables are.
"""

import logging
import re
import shutil
from pathlib import Path

from nephroscope.base.errors import StudyError
from nephroscope.base.files import copy_file, save_text, temporary_for
from nephroscope.base.tables import read_table, save_table
from nephroscope.records.cases import series_name
from nephroscope.records.settings import READERS

KEPT = "format-1"
FILES = ("cohort.csv", "series.csv", "rois.csv", "study.toml")
SERIES_COLUMNS = ("phase", "format", "image", "source", "organs")
ROI_COLUMNS = ("roi", "roi_reader2", "tumor_label", "tumor_name")
logger = logging.getLogger(__name__)


def rewrite_format_1(root: Path) -> None:
    """Rewrite cohort.csv as three tables, and number study.toml 2; an interrupted rewriting is done again.

    What it replaces lies in the folder ``format-1`` afterwards. The table of all series that the imports saw, which
    was series.csv, is seen_series.csv now.

    Raises:
        StudyError: The folder cannot be written.
    """
    kept = root / KEPT
    try:
        if not _has_new_tables(root):
            kept = _keep(root)
            if (kept / "cohort.csv").exists():
                _rewrite_tables(kept / "cohort.csv", root)
        text = (root / "study.toml").read_text(encoding="utf-8")
        save_text(root / "study.toml", _numbered(text))
    except OSError as error:
        raise StudyError(
            where=f"study {root.name}",
            expected="permission to write in the folder, to convert a study of format 1 once",
            found=error.strerror or type(error).__name__,
            remedy="get write permission, or copy the study to a folder of your own",
        ) from error
    logger.info(
        "study %s is rewritten in format 2; its former tables are kept in %s/", root.resolve().name, kept.name
    )


def _has_new_tables(root: Path) -> bool:
    """True when cohort.csv is of format 2 already: nobody's later edits are replaced by the kept tables."""
    cohort = root / "cohort.csv"
    if not cohort.exists():
        return False
    header = [name.lower().replace(" ", "_") for name in read_table(cohort)[0]]
    return "image" not in header and (root / "series.csv").exists()


def _keep(root: Path) -> Path:
    """Copy what is replaced into a folder that appears complete; after an interruption it is found again."""
    names = [KEPT, *(f"{KEPT}-{number}" for number in range(2, 100))]
    for kept in map(root.joinpath, names):
        if not kept.exists():
            break
        if all(_content(kept / name) == _content(root / name) for name in ("cohort.csv", "study.toml")):
            return kept
    temporary = temporary_for(root / KEPT)
    shutil.rmtree(temporary, ignore_errors=True)
    for name in FILES:
        if (root / name).exists():
            temporary.mkdir(exist_ok=True)
            copy_file(root / name, temporary / name)
    return temporary.replace(kept)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _rewrite_tables(old: Path, root: Path) -> None:
    from nephroscope.intake.export.series_table import SEEN_FILE

    header, rows = read_table(old)
    header = [name.lower().replace(" ", "_") for name in header]
    facts = [name for name in header if name not in (*SERIES_COLUMNS, *ROI_COLUMNS)]
    series: list[list[str]] = []
    rois: list[list[str]] = []
    for _, row in rows:
        cells = dict(zip(header, row, strict=True))
        case_id, name = cells.get("case_id", ""), series_name(cells.get("phase", ""))
        series.append([case_id, name, *(cells.get(column, "") for column in SERIES_COLUMNS)])
        drawn = [
            (author, cells.get(column, "")) for author, column in zip(READERS, ROI_COLUMNS, strict=False)
        ]
        tumor = [cells.get(column, "") for column in ROI_COLUMNS[2:]]
        rois += [[case_id, author, name, path, *tumor] for author, path in drawn if path]
    if (old.parent / "series.csv").exists():
        copy_file(old.parent / "series.csv", root / SEEN_FILE)
    save_table(root / "rois.csv", ("case_id", "author", "series", *ROI_COLUMNS[:1], *ROI_COLUMNS[2:]), rois)
    save_table(root / "series.csv", ("case_id", "series", *SERIES_COLUMNS), series)
    at = [header.index(name) for name in facts]
    save_table(root / "cohort.csv", facts, [[row[index] for index in at] for _, row in rows])


def _numbered(text: str) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    document["format"] = 2
    return tomlkit.dumps(document)


# What an older version wrote as a reason -> its kind.
_OLDER = (
    (r"left out by hand: .*", "by-hand"),
    (r"subtype .* is not in the study.*", "another-subtype"),
    (r"pathology text .* is not in .*|tumor_histologic_subtype is .*", "subtype-unclear"),
    (r"labelled, but no CT.*|no CT.*|.*download it with .*|none of its .* images exists.*", "no-ct"),
    (r"no usable CT.*", "no-usable-ct"),
    (r"no label row.*", "no-label"),
    (r"no ROI.*|no label map.*|no mask.*|.*label map can be used|its ROI file .*", "no-roi"),
    (r".*label rows .* for one CT volume.*", "whose-roi"),
    (
        r".*contradict.*|two subtypes.*|its patient has two sexes.*|image .* is labelled for.*",
        "contradicting",
    ),
    (r"slice numbers .*", "slice-order"),
)


def kind_of_older(reason: str) -> str:
    """The kind of an exclusion that was written without one; empty where its reason is of no kind."""
    return next((kind for pattern, kind in _OLDER if re.fullmatch(pattern, reason)), "")

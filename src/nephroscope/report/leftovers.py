"""The report that lies in a folder and the files of the new one in; files that only the old one had, gone.

The old report.json names its figures and tables; nothing else is touched, so a file of the user's own stays.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nephroscope.errors import StudyError
from nephroscope.files import load_json

FORMAT = 1
ENDINGS = {"figures": (".svg", ".png"), "tables": (".csv",)}


def remove_leftovers(folder: Path, kept: dict[str, Iterable[str]]) -> list[Path]:
    """Delete the figures and tables that the report of an earlier time wrote and the new one does not have.

    Args:
        folder: Of the report, its old report.json not yet replaced.
        kept: Names of the new ``figures`` and ``tables``.

    Returns:
        What was deleted.
    """
    old, gone = _old_report(folder / "report.json"), []
    for kind, endings in ENDINGS.items():
        told = old.get(kind)
        names = {name for name in told if isinstance(name, str)} if isinstance(told, dict | list) else set()
        for name in sorted(names - set(kept[kind])):
            for path in (folder / kind / f"{name}{ending}" for ending in endings):
                if path.parent == folder / kind and Path(name).name == name and path.is_file():
                    path.unlink()
                    gone.append(path)
    return gone


def _old_report(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return load_json(path, FORMAT)
    except StudyError:  # not a report of ours, or of a newer version: nothing is known of its files
        return {}

"""findings.json: what the imports found worth knowing, kept with the study for its report."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from nephroscope.files import load_json, save_json
from nephroscope.records import Finding

FORMAT = 1


def save_findings(folder: Path, findings: Iterable[Finding]) -> None:
    """Write them into the study folder."""
    content = {"format": FORMAT, "findings": [asdict(finding) for finding in findings]}
    save_json(folder / "findings.json", content)


def load_findings(folder: Path) -> tuple[Finding, ...]:
    """Read them; none where nothing was imported yet.

    Raises:
        StudyError: The file is damaged or of a newer format.
    """
    path = folder / "findings.json"
    if not path.exists():
        return ()
    return tuple(Finding(**finding) for finding in load_json(path, FORMAT)["findings"])

"""findings.json of a study: what the imports found worth knowing."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.documents import read_document, save_document
from nephroscope.base.errors import StudyError
from nephroscope.records import Finding

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _FindingsFile:
    findings: tuple[Finding, ...]


def save_findings(folder: Path, findings: Iterable[Finding]) -> None:
    """Write them into the study folder, unless they are there."""
    findings = tuple(findings)
    with contextlib.suppress(StudyError):  # a damaged file is written again
        if (folder / "findings.json").exists() and load_findings(folder) == findings:
            return
    save_document(folder / "findings.json", _FindingsFile(findings=findings), FORMAT)


def load_findings(folder: Path) -> tuple[Finding, ...]:
    """Read them; none where nothing was imported yet.

    Raises:
        StudyError: The file is damaged or of a newer format.
    """
    path = folder / "findings.json"
    if not path.exists():
        return ()
    remedy = "remove the file; `nephroscope check` finds again what concerns the images"
    return read_document(path, _FindingsFile, FORMAT, remedy).findings

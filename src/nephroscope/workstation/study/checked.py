"""What the last check of the study found, as `nephroscope check --json` printed it."""

import contextlib
import json
from dataclasses import dataclass

from nephroscope.base.documents import from_plain
from nephroscope.workstation.place import Place


@dataclass(frozen=True, kw_only=True)
class ListedFinding:
    """A finding without its case."""

    code: str
    severity: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Measures of a tumor; None where they are not known."""

    volume_ml: float | None = None
    largest_axial_diameter_mm: float | None = None
    n_slices: int | None = None
    side: str = "unknown"


@dataclass(frozen=True, kw_only=True)
class CheckedCase:
    """A case as it was checked."""

    case_id: str
    findings: tuple[ListedFinding, ...] = ()
    measures: Measures | None = None
    phase: str = ""
    roi: str = ""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A check, as far as pages show it."""

    cases: tuple[CheckedCase, ...] = ()
    of_the_import: tuple[ListedFinding, ...] = ()
    of_the_study: tuple[ListedFinding, ...] = ()


def last_check(place: Place) -> tuple[float | None, Checked]:
    """When the last check in the browser ended, in seconds since 1970 or None, and what it found."""
    with place.database() as db:
        ended = "command = 'check' AND state IN ('done', 'partly') ORDER BY number DESC"
        row = db.execute(f"SELECT id, ended FROM jobs WHERE {ended}").fetchone()  # noqa: S608
    if row is None:
        return None, Checked()
    with contextlib.suppress(OSError, ValueError):
        content = json.loads((place.state / "jobs" / row["id"] / "result.json").read_text(encoding="utf-8"))
        return row["ended"], from_plain(content, Checked, "result of the check", "check the study again")
    return None, Checked()

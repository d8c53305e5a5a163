"""check/warnings.json of a study: what the last `check` doubted about each ROI, for the report."""

from collections.abc import Iterable
from dataclasses import dataclass

from nephroscope.records import Finding
from nephroscope.study.artifact import Artifact
from nephroscope.study.snapshot import Snapshot

FORMAT = 1
SLICES = "[slices] in study.toml"  # how slices are cut does not matter to an ROI


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiWarnings:
    """Warnings whose code begins with ``roi-``, each with its case."""

    findings: tuple[Finding, ...]


def roi_warnings(snapshot: Snapshot) -> Artifact[RoiWarnings]:
    """The file; out of date when the tables of cases, series or ROIs, or how an ROI is chosen, changed."""
    made_from = {name: digest for name, digest in snapshot.slices_made_from.items() if name != SLICES}
    path = snapshot.folder.root / "check" / "warnings.json"
    return Artifact(path=path, kind=RoiWarnings, number=FORMAT, made_from=made_from)


def save_roi_warnings(snapshot: Snapshot, findings: Iterable[Finding]) -> None:
    """Keep those of a check that are about an ROI."""
    doubts = (f for f in findings if f.severity == "warning" and f.code.startswith("roi-"))
    roi_warnings(snapshot).save(RoiWarnings(findings=tuple(dict.fromkeys(doubts))))

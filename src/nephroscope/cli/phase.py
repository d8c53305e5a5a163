"""The command phase: reads a table of series and prints the phase of each, with the evidence."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.errors import CohortError
from nephroscope.cli.command import Command, Outcome, Switch, table
from nephroscope.intake.labels.columns import opening_findings
from nephroscope.intake.phase.series import PHASES
from nephroscope.intake.phase.table import PhaseTable, agreements, disagreements, read_phase_table
from nephroscope.intake.safe_text import clean_text

LISTED = 60


@dataclass(frozen=True, kw_only=True)
class Phase(Command):
    """Name the contrast phase of each series in a table, with the text or time it relies on.

    Example: nephroscope phase --table seen_series.csv --json
    """

    table: Path
    """Table (CSV or Excel) with a row per series and DICOM keywords as titles, or a seen_series.csv."""
    compare: Switch = False
    """Only compare with the experts' labels in the column `phase`, grouped by the column `source`."""

    def run(self) -> Outcome:
        """Name the phases."""
        found = read_phase_table(self.table)
        if self.compare and not found.labels:
            raise CohortError(
                where=self.table.name,
                expected="a column phase with the experts' labels",
                found="none",
                remedy="leave out --compare, or rename the column to phase",
            )
        data = [
            {"SeriesInstanceUID": text.series_uid, "phase": call.phase, "evidence": call.evidence}
            for text, call in zip(found.texts, found.calls, strict=True)
        ]
        doubts = "\n".join(doubt.message for doubt in opening_findings(found.raw))
        if not self.compare:
            return Outcome(data=data, text=_listed(found), warning=doubts)
        text = _comparison(found)
        return Outcome(data=data, text=text, warning=text if self.json else doubts)


def _listed(found: PhaseTable) -> str:
    """The first series with their phases, then the number per phase. Descriptions are cleaned of names."""
    rows = [
        (
            text.series_number[:6],
            clean_text(text.series_description)[:50],
            text.series_uid[-8:],
            call.phase,
            call.evidence,
        )
        for text, call in zip(found.texts, found.calls, strict=True)
    ]
    header = ("number", "description, known words", "UID ends in", "phase", "evidence")
    filled = [c for c in range(len(header)) if any(row[c] for row in rows) or c == len(header) - 2]
    shown = ([row[c] for c in filled] for row in rows[:LISTED])
    lines = [table(shown, [header[c] for c in filled])]
    if len(rows) > LISTED:
        lines.append(f"... {len(rows) - LISTED} more; --json lists all")
    counts = Counter(call.phase for call in found.calls)
    by_phase = ", ".join(f"{counts[phase]} {phase}" for phase in PHASES if counts[phase])
    return "\n".join([*lines, f"{len(rows)} series: {by_phase or 'none'}"])


def _comparison(found: PhaseTable) -> str:
    parts = []
    for agreement in agreements(found):
        labels = [phase for phase in PHASES if any(label == phase for label, _ in agreement.counts)]
        rows = [[label, *(agreement.counts.get((label, called), 0) for called in PHASES)] for label in labels]
        name = f"source {agreement.source}" if agreement.source else "all"
        right = f"{agreement.right} of {agreement.named} named as labeled"
        parts.append(f"{name}: {agreement.n} series; {right}, {agreement.n - agreement.named} unknown")
        parts.append(table(rows, ("label \\ called", *PHASES)))
    for i in disagreements(found):
        call = found.calls[i]
        parts.append(f"labeled {found.labels[i]!r}, called {call.phase}: {call.evidence}")
    return "\n".join(parts)

"""Name the phase of each series in a table, and compare the phases with experts' labels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.columns import plain_title
from nephroscope.base.errors import CohortError
from nephroscope.base.tables import read_table
from nephroscope.intake.phase.series import (
    PHASE_TAGS,
    PHASES,
    PhaseCall,
    SeriesText,
    name_phase,
    name_phases,
    series_text_of_row,
)

LABEL, SOURCE = "phase", "source"
OURS = {"series_uid", "phase", "evidence"}  # columns of the study's seen_series.csv


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTable:
    """Series of a table: one text and call per row; ``labels`` is empty without such a column."""

    texts: tuple[SeriesText, ...]
    calls: tuple[PhaseCall, ...]
    labels: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Calls and experts' labels of one source: ``counts`` of (labelled phase, called phase)."""

    source: str
    counts: dict[tuple[str, str], int]

    @property
    def n(self) -> int:
        """Series with a phase as label."""
        return sum(self.counts.values())

    @property
    def named(self) -> int:
        """Series with a phase called, not ``unknown``."""
        return sum(n for (_, called), n in self.counts.items() if called != "unknown")

    @property
    def right(self) -> int:
        """Series called correctly."""
        return sum(n for (label, called), n in self.counts.items() if label == called)


def read_phase_table(path: Path) -> PhaseTable:
    """Name the phase of each row of a CSV whose columns are DICOM keywords, in any case; any may be missing.

    The study's seen_series.csv has phases but no descriptions: its rows keep the phases of the import.

    Raises:
        CohortError: It is not a table, or no column is a DICOM attribute that we use.
    """
    header, rows = read_table(path)
    if set(header) >= OURS:
        return _named_before([dict(zip(header, row, strict=True)) for _, row in rows])
    if not {plain_title(name) for name in header} & {plain_title(tag) for tag in PHASE_TAGS}:
        raise CohortError(
            where=path.name,
            expected="columns with DICOM names, such as SeriesInstanceUID and SeriesDescription",
            found=", ".join(header[:8]),
            remedy="rename the columns",
        )
    records = [dict(zip(header, row, strict=True)) for _, row in rows]
    texts = tuple(series_text_of_row(record) for record in records)
    return PhaseTable(
        texts=texts,
        calls=tuple(name_phases(texts)),
        labels=tuple(r[LABEL] for r in records) if LABEL in header else (),
        sources=tuple(r[SOURCE] for r in records) if SOURCE in header else ("",) * len(records),
    )


def _named_before(records: list[dict[str, str]]) -> PhaseTable:
    return PhaseTable(
        texts=tuple(SeriesText(series_uid=record["series_uid"]) for record in records),
        calls=tuple(
            PhaseCall(
                phase=record["phase"] if record["phase"] in PHASES else "unknown", evidence=record["evidence"]
            )
            for record in records
        ),
        labels=(),
        sources=("",) * len(records),
    )


def agreements(table: PhaseTable) -> list[Agreement]:
    """Calls and labels by source; labels are parsed like descriptions, and labels without a phase are left out."""
    by_source: dict[str, Counter[tuple[str, str]]] = {}
    for call, label, source in zip(table.calls, table.labels, table.sources, strict=True):
        phase = phase_of_label(label)
        if phase != "unknown":
            by_source.setdefault(source, Counter())[phase, call.phase] += 1
    return [Agreement(source=source, counts=dict(counts)) for source, counts in sorted(by_source.items())]


def disagreements(table: PhaseTable) -> list[int]:
    """Positions of rows called another phase than the label, except ``unknown``."""
    pairs: Sequence[tuple[PhaseCall, str]] = list(zip(table.calls, table.labels, strict=True))
    return [
        i
        for i, (call, label) in enumerate(pairs)
        if "unknown" not in (call.phase, phase_of_label(label)) and call.phase != phase_of_label(label)
    ]


def phase_of_label(label: str) -> str:
    """An expert's label, in any words, as one of the phases."""
    return name_phase(SeriesText(series_description=label)).phase

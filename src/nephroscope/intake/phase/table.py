"""Name the phase of each series in a table, and compare the phases with experts' labels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nephroscope.base.columns import CheckedTable, Column, Sought
from nephroscope.base.sheet import RawTable
from nephroscope.intake.phase.series import PHASES, TAGS, PhaseCall, SeriesText, name_phase, name_phases

# What hospitals call the attributes of a series next to DICOM's own names, as `plain_title` makes titles.
OTHER_TITLES = {
    "series_description": "serienbeschreibung descriptiondelaserie descriptionserie descripciondelaserie "
    "descripciondeserie descripcionserie descrizioneserie 序列描述 序列名称",
    "protocol_name": "protocol protokoll protokollname nomduprotocole protocole protocolo nombredelprotocolo "
    "协议名称 扫描协议",
    "study_description": "studienbeschreibung untersuchung descriptiondelexamen descripciondelestudio "
    "检查描述 检查名称",
    "series_number": "seriennummer numerodeserie nserie 序列号",
    "series_uid": "seriesuid serienuid 序列uid",
    "study_uid": "studyuid studienuid 检查uid",
    "contrast_agent": "kontrastmittel produitdecontraste contraste 对比剂",
    "acquisition_time": "aufnahmezeit heuredacquisition horadeadquisicion 采集时间",
    "series_time": "serienzeit heuredelaserie horadelaserie 序列时间",
    "modality": "modalitat modalite modalidad 设备类型",
    "body_part": "bodypart korperregion regionanatomique regionanatomica 检查部位",
}


def _text_column(name: str, tag: str) -> Column[str]:
    return Column(name=name, titles=f"{tag} {OTHER_TITLES.get(name, '')}".casefold(), parse=str)


TEXTS = tuple(_text_column(name, tag) for name, tag in TAGS.items())
LABEL, SOURCE = (Column(name=name, parse=str) for name in ("phase", "source"))
EVIDENCE = Column(name="evidence", parse=str)  # of the study's seen_series.csv, whose phases stay
SERIES = Sought(
    columns=(*TEXTS, LABEL, SOURCE, EVIDENCE),
    one_of=(tuple(TAGS),),
    expected="columns with DICOM names, such as SeriesInstanceUID and SeriesDescription",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTable:
    """Series of a table: one text and call per row; ``labels`` is empty without such a column."""

    raw: RawTable
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
    """Name the phase of each row of a CSV or workbook whose columns are DICOM keywords; any may be missing.

    The study's seen_series.csv has phases but no descriptions: its rows keep the phases of the import.

    Raises:
        CohortError: It is not a table, or no column is a DICOM attribute that we use.
    """
    table = CheckedTable.read(path, SERIES)
    texts = tuple(
        SeriesText(**{column.name: row.text(column).strip() for column in TEXTS}) for row in table.rows
    )
    labels = tuple(row.text(LABEL) for row in table.rows) if table.has(LABEL) else ()
    calls = name_phases(texts)
    if table.has(LABEL) and table.has(EVIDENCE):
        calls = [
            PhaseCall(phase=phase if phase in PHASES else "unknown", evidence=row.text(EVIDENCE))
            for phase, row in zip(labels, table.rows, strict=True)
        ]
        labels = ()
    sources = tuple(row.text(SOURCE) for row in table.rows)
    return PhaseTable(raw=table.raw, texts=texts, calls=tuple(calls), labels=labels, sources=sources)


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

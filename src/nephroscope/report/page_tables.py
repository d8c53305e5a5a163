"""Everything on the page that is a table, by name, in; the same as CSV files beside it, out."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from nephroscope.base.files import replacing
from nephroscope.records import Estimate
from nephroscope.report import characteristics, tables
from nephroscope.report.appraisal import Appraisal
from nephroscope.report.cards import case_table
from nephroscope.report.content import ReportContent
from nephroscope.report.figures import slug
from nephroscope.report.probability_tables import probability_tables
from nephroscope.report.tables import Cell, Table


def page_tables(content: ReportContent, appraisal: Appraisal) -> dict[str, Table]:
    """Name -> table; the name is that of its file."""
    found: dict[str, Table | None] = {
        "who": characteristics.characteristics_by_subtype(content.cohort, content.slice_counts),
        "parts": characteristics.characteristics_by_part(
            content.cohort, content.split, content.slice_counts, content.evaluation.confidence
        ),
        "left-out": tables.exclusion_table(content),
        "findings": tables.finding_table(content),
        "split": tables.split_table(content),
        "runs": tables.run_table(content) if len(content.runs) > 1 else None,
    }
    for group in content.main.report.groups:
        found[f"figures-{slug(group.name)}"] = tables.figure_table(content, group)
    found |= probability_tables(appraisal)
    found["cases"] = case_table(content)
    return {name: table for name, table in found.items() if table is not None and table.rows}


def save_tables(folder: Path, found: Mapping[str, Table], marks: Sequence[str]) -> None:
    """Write NAME.csv of each: a cell's small print in brackets; notes and marks in columns of their own."""
    for name, table in found.items():
        header = [*table.header, *(["notes"] if table.notes else []), *(["mark"] if marks else [])]
        rows = []
        for i, row in enumerate(table.rows):
            notes = [" | ".join(table.notes) if i == 0 else ""] if table.notes else []
            rows.append([*map(_text, row), *notes, *([" ".join(marks)] if marks else [])])
        save_rows(folder / f"{name}.csv", header, rows)


def save_estimates(path: Path, content: ReportContent, appraisal: Appraisal) -> None:
    """Write every estimate of the page in one row each: value, interval, n, unit, method."""
    rows = [
        [group.name, part, name, *_columns(e)]
        for group in content.main.report.groups
        for part in ("case", "majority", "image")
        for name, e in getattr(group, part).items()
    ]
    for group in appraisal.groups.values():
        rows += [
            [group.name, f"calibration, {how}", name, *_columns(e)]
            for how, figures in group.calibration.items()
            for name, e in figures.items()
        ]
        for s in group.subgroups:
            rows += [
                [group.name, f"{s.attribute}: {s.value}", name, *_columns(e)] for name, e in s.figures.items()
            ]
    mark = " ".join(content.marks)
    header = ["test_set", "part", "figure", "value", "low", "high", "n", "unit", "method", "mark"]
    save_rows(path, header, [[*row, mark] for row in rows])


def save_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a CSV, whole or not at all."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def _text(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell.text} ({cell.small})" if cell.small else cell.text


def _columns(e: Estimate) -> list[object]:
    numbers = ["" if x is None else f"{x:.6g}" for x in (e.value, e.low, e.high)]
    return [*numbers, e.n, e.unit, e.method]

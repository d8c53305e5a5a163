"""A scored run in; the shortcut probe on what the study folder knows without reading an image, out, and its table."""

from collections.abc import Callable, Mapping
from typing import Any

from nephroscope.experiments.facts import Fact
from nephroscope.experiments.folds import Answers, Deal
from nephroscope.experiments.measures import TestSet
from nephroscope.experiments.probe import probe
from nephroscope.experiments.study_data import Material
from nephroscope.records import Case, Estimate, EvaluationReport
from nephroscope.report.content import Scan
from nephroscope.report.tables import Cell, Letters, Table

FACTS: tuple[tuple[str, Callable[[Case, Scan], str | float | None]], ...] = (
    ("maker of the scanner", lambda case, scan: scan.manufacturer or None),
    ("sex", lambda case, scan: case.sex),
    ("site", lambda case, scan: case.site_id),
    ("phase", lambda case, scan: case.phase if case.phase != "unknown" else None),
    ("source of intensities", lambda case, scan: case.source),
    ("slice spacing", lambda case, scan: scan.spacing_mm),
)


def probe_run(material: Material, report: EvaluationReport, scans: Mapping[str, Scan]) -> dict[str, Any]:
    """The probe on the first test set of a run with this run's answers; empty for a LEAKY run or one that failed.

    Args:
        material: The study and the split of the run.
        report: Of the run.
        scans: What series.csv says, by case_id.
    """
    if report.leaky or not report.converged:
        return {}
    labels = dict(material.labels)
    group = report.groups[0].name
    asked = [p for p in report.predictions if p.group == group and p.case_id in labels]
    answers = Answers(
        name=report.run,
        kind="network",
        told=report.model,
        p={p.case_id: tuple(p.probabilities[s] for s in report.subtypes) for p in asked},
        fold={p.case_id: p.fold for p in asked},
    )
    tests = TestSet.of(group, sorted(p.case_id for p in asked), labels, material.cohort)
    deal = Deal(name="r0", split=material.split, labels=labels, seed=0)
    return probe(material, _facts(material, labels, scans), [answers], tests, deal)


def _facts(material: Material, labels: Mapping[str, int], scans: Mapping[str, Scan]) -> list[Fact]:
    cases = [material.cohort.by_id[name] for name in sorted(labels)]
    facts = []
    for name, read in FACTS:
        values = {c.case_id: read(c, scans.get(c.case_id, Scan())) for c in cases}
        known = {case_id: value for case_id, value in values.items() if value is not None}
        unit = "mm" if name == "slice spacing" else ""
        facts.append(Fact(name=name, told=name, values=known, unit=unit))
    return facts


def shortcut_section_table(found: Mapping[str, Any], run: str) -> Table:
    """Each fact as a predictor, and how the run's network follows it within a subtype."""
    letters = Letters()
    gaps = {gap["fact"]: gap for gap in found["follows"] if gap["name"] == run}
    rows = []
    for row in found["facts"]:
        gap = gaps.get(row["name"])
        values = row["levels"][:4] + (["…"] if len(row["levels"]) > 4 else [])
        follows: str | Cell = ""
        if gap is not None:
            cell = letters.cell(Estimate(**gap["gap"]))
            sides = f"{gap['one']} against {gap['other']}"
            follows = cell if isinstance(cell, str) else Cell(cell.text, f"{sides} · {cell.small}")
        rows.append((row["name"], ", ".join(values), letters.cell(Estimate(**row["auc"])), follows))
    header = (
        "Fact",
        "Values",
        "AUC of the fact alone",
        "Difference in the network's probability, within a subtype",
    )
    return Table(
        caption="What tells the subtype without the tumor",
        header=header,
        rows=tuple(rows),
        notes=(*letters.notes, *_shortcut_notes(found)),
    )


def _shortcut_notes(found: Mapping[str, Any]) -> tuple[str, ...]:
    notes = ["Values: over all cases with a label, held-out ones included."]
    if any((row["auc"]["value"] or 0.5) < 0.5 for row in found["facts"]):
        notes.append(
            "An AUC below 0.5: what the fact told in the other folds did not hold in the fold tested."
        )
    return tuple(notes)


def shortcut_words(found: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sentences for the limitations (a fact does tell the subtype), and all sentences."""
    words = tuple(found["words"])
    if len({gap["name"] for gap in found.get("follows", ())}) == 1:
        words = tuple(text.replace("No candidate is seen", "This network is not seen") for text in words)
    return tuple(text for text in words if " AUC " in text), words

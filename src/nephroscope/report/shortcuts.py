"""A scored run in; the shortcut probe on what the study folder knows without reading an image, out, and its table."""

from collections.abc import Mapping, Sequence
from typing import Any

from nephroscope.learning.engine.folds import Answers, Deal
from nephroscope.questions.compare.facts import Fact
from nephroscope.questions.compare.measures import TestSet
from nephroscope.questions.compare.probe import probe
from nephroscope.questions.evaluation.subgroups import UNKNOWN, attributes_of
from nephroscope.records import Case, Estimate, Evaluation
from nephroscope.report.content import Scan
from nephroscope.report.tables import Cell, Letters, Table
from nephroscope.study.snapshot import Snapshot

WORDS = ("vendor", "sex", "site", "phase")  # named, and their values too, as in the figures by subgroup


def probe_run(snapshot: Snapshot, report: Evaluation, scans: Mapping[str, Scan]) -> dict[str, Any]:
    """The probe on the first test set of a run with this run's answers; empty for a LEAKY run or one that failed.

    Args:
        snapshot: The study and the split of the run.
        report: Of the run.
        scans: What series.csv says, by case_id.
    """
    if report.leaky or not report.converged:
        return {}
    labels = dict(snapshot.labels)
    group = report.groups[0].name
    asked = [p for p in report.predictions if p.group == group and p.case_id in labels]
    answers = Answers(
        name=report.run,
        kind="network",
        told=report.model,
        p={p.case_id: tuple(p.probabilities[s] for s in report.subtypes) for p in asked},
        fold={p.case_id: p.fold for p in asked},
    )
    tests = TestSet.of(group, sorted(p.case_id for p in asked), labels, snapshot.cohort)
    cases = [snapshot.cohort.by_id[name] for name in sorted(labels)]
    deal = Deal(name="r0", split=snapshot.split, labels=labels, seed=0)
    return probe(snapshot, facts_known(cases, scans), [answers], tests, deal)


def facts_known(cases: Sequence[Case], scans: Mapping[str, Scan]) -> list[Fact]:
    """What the study folder knows of the cases beside the tumor, named as in the figures by subgroup."""
    seen = {c.case_id: scans.get(c.case_id, Scan()) for c in cases}
    said = {c.case_id: attributes_of(c, {"vendor": seen[c.case_id].manufacturer or UNKNOWN}) for c in cases}
    spacing = {case_id: scan.spacing_mm for case_id, scan in seen.items() if scan.spacing_mm is not None}
    return [
        *(
            Fact(name=name, told=name, values={c: of[name] for c, of in said.items() if of[name] != UNKNOWN})
            for name in WORDS
        ),
        Fact(name="source", told="source of intensities", values={c.case_id: c.source for c in cases}),
        Fact(name="slice spacing", told="slice spacing", values=spacing, unit="mm"),
    ]


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

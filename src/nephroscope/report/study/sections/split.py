"""Section Split: how many patients, cases and slices are in each part of each fold."""

from collections import Counter
from collections.abc import Iterable

from nephroscope.records import counted_noun
from nephroscope.report.cohort.characteristics import characteristics_by_part
from nephroscope.report.page.section import Block, Filled, Fold, Section, ShownTable, Text
from nephroscope.report.page.table import Table
from nephroscope.report.study.appraisal import RunSource
from nephroscope.report.study.content import ReportContent


def _fill(source: RunSource) -> Filled:
    content = source.content
    table = split_table(content)
    summary = f"{table.caption} of {counted_noun(len(content.split.folds), 'fold')}"
    blocks: list[Block] = [Text(table.notes[0], "notes"), Fold(summary, [ShownTable("split", table)])]
    parts = characteristics_by_part(
        content.cohort, content.split, content.slice_counts, content.evaluation.confidence
    )
    if parts is not None:
        blocks.append(ShownTable("parts", parts))
    return Filled(blocks=blocks)


SPLIT = Section(id="split", title="Split", navigation="Split", fill=_fill)


def split_table(content: ReportContent) -> Table:
    """Patients / cases / slices in each part of each fold, by subtype."""
    split, subtypes = content.split, content.cohort.subtypes
    parts: list[tuple[str, str, Iterable[str]]] = []
    for fold in split.folds:
        parts += [
            (f"{fold.index}", "train", fold.train),
            ("", "validation", fold.validation),
            ("", "test", fold.test),
        ]
    if split.holdout and len(split.folds) > 1:
        parts.append(("all", "hold-out", split.holdout))
    rows = tuple(
        (fold, part, *(_counts(content, names, subtype) for subtype in (*subtypes, None)))
        for fold, part, names in parts
    )
    note = "No patient is in two parts of a fold."
    if split.leaky:
        note = "LEAKY: slices of one patient are in several parts of a fold; that patient is counted in each."
    header = ("Fold", "Part", *subtypes, "all")
    return Table(caption="Patients / cases / slices in each part", header=header, rows=rows, notes=(note,))


def _counts(content: ReportContent, names: Iterable[str], subtype: str | None) -> str:
    """Patients / cases / slices of a part; under the image protocol its names are slices."""
    by_id, leaky = content.cohort.by_id, content.split.leaky
    owners = Counter(name.rpartition("#")[0] if leaky else name for name in names)
    cases = [by_id[i] for i in owners if i in by_id and subtype in (None, by_id[i].subtype)]
    n_slices = sum(owners[c.case_id] if leaky else content.slice_counts.get(c.case_id, 0) for c in cases)
    return f"{len({c.patient_id for c in cases})} / {len(cases)} / {n_slices}"

"""Section Shuffled labels: the same candidates with labels permuted between patients."""

from collections.abc import Sequence

from nephroscope.questions.compare.results import Control
from nephroscope.records import counted_noun, p_words
from nephroscope.report.page.section import Evidence, Filled, Section, ShownTable, Text
from nephroscope.report.page.table import Cell, Column, Table, build_table
from nephroscope.report.study.appraisal import RunSource
from nephroscope.report.study.sections.comparison import counted_value, more_sentences, p_cell, refused_notes

METHOD = (
    "Labels were permuted between patients, folds were made by the same rules, and every baseline was fitted and "
    "tested as with the true labels. A warning is given for a mean AUC of 0.60 or more, or above 0.5 by "
    "a one-sided t test over "
    "permutations at 0.05, corrected for all candidates (Bonferroni). Pooled over few folds, the AUC of a model that "
    "has nothing to learn is somewhat below 0.5, which can hide small leaks; the mean of the AUCs "
    "within folds is then 0.5."
)


def _fill(source: RunSource) -> Filled | None:
    found = source.comparison
    if found is None or found.stale or not found.found.control:
        return None
    return filled_control(found.found.control, found.found.first.n_cases)


CONTROL = Section(
    id="control",
    title="Shuffled labels",
    level=3,
    fill=_fill,
    hint=(
        "No control with shuffled labels was run. It measures what the same pipeline scores when there is nothing to "
        "learn, and so reveals a large leak: `nephroscope compare {study}` runs it."
    ),
)


def filled_control(rows: Sequence[Control], n_cases: int) -> Filled:
    """Table and sentences; a warning is also a limitation of the page."""
    sentences = [row.words for row in rows]
    warnings = tuple(text for text in sentences if text.startswith("WARNING"))
    leads = [*warnings, *_no_alarm(rows)]
    return Filled(
        blocks=[
            *(Text(text, "lead") for text in leads),
            *more_sentences([text for text in sentences if text not in warnings]),
            ShownTable("control", control_table(rows, n_cases), small=True),
        ],
        limitations=warnings,
        most_serious=warnings,
        methods=(("Shuffled labels", METHOD),),
        evidence={"control": Evidence("control with shuffled labels", "#control; tables/control.csv")},
    )


def control_table(rows: Sequence[Control], n_cases: int) -> Table:
    """A row for each candidate: AUC over permutations, their range, and the AUC with the true labels."""
    columns: list[Column[Control]] = [
        Column("Candidate", lambda row: row.name),
        Column("Permutations", lambda row: row.permutations),
        Column("Refused", lambda row: len(row.refused)),
        Column("Mean AUC, labels shuffled", lambda row: row.auc),
        Column(
            "Same, mean of folds",
            lambda row: counted_value(row.auc_by_fold, row.auc_by_fold_n, "permutation"),
        ),
        Column("Range", _range),
        Column("AUC, true labels", lambda row: counted_value(row.observed, n_cases, "case")),
        Column("Permutation p", _permutation_p),
    ]
    return build_table("With labels shuffled between patients", columns, rows, refused_notes(rows))


def _range(row: Control) -> str | Cell:
    if row.lowest is None:
        return "-"
    return Cell(
        f"{row.lowest:.2f} to {row.highest:.2f}", f"n = {counted_noun(row.permutations, 'permutation')}"
    )


def _no_alarm(rows: Sequence[Control]) -> list[str]:
    """How many candidates gave no alarm, and how large a leak the control would have missed."""
    quiet = [row.noticed_above or 0.0 for row in rows if row.alarm is False]
    if not quiet:
        return []
    return [
        f"No warning for {len(quiet)} of {counted_noun(len(rows), 'candidate')}. This does not prove "
        f"that nothing leaks: with these permutations, a mean AUC of up to {max(quiet):.2f} would not "
        "have been noticed."
    ]


def _permutation_p(row: Control) -> str | Cell:
    if row.p is None or row.p != row.p_floor:
        return p_cell(row.p)
    smallest = f"the smallest p possible with {counted_noun(row.permutations, 'permutation')}"
    return Cell(f"<= {p_words(row.p)}", smallest)

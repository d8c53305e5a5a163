"""Section Clinical facts: what image, age, sex and size, and radiomics add to each other."""

import math
from functools import partial

import matplotlib as mpl
from matplotlib.figure import Figure

from nephroscope.base.documents import plain_json
from nephroscope.questions.compare.results import AddedValue, FusionTable, SubsetRow
from nephroscope.records import p_words
from nephroscope.report.page.drawing import COLORS, INK, STYLE
from nephroscope.report.page.names import group_title, slug, with_marks
from nephroscope.report.page.section import (
    Block,
    Evidence,
    Filled,
    Heading,
    Section,
    ShownFigure,
    ShownTable,
    Text,
)
from nephroscope.report.page.table import Column, Table, build_table
from nephroscope.report.study.appraisal import RunSource

METHOD = (
    "Image, clinical facts (age, sex, log of size) and radiomics were combined by logistic regressions with a weak "
    "prior. Each fold was answered by a regression on the out-of-fold answers about the other folds' cases; networks "
    "behind these answers had the fold's patients among their training cases, so the image's weight is not wholly "
    "blind to them. Missing facts got the mean of the fitted cases and a column that marks them. Whether a part adds "
    "something was tested by the likelihood ratio of nested regressions (p from labels drawn under the smaller one). "
    "The difference of AUC is an estimate: its test on the same data hardly ever rejects (Vickers, Cronin and Begg "
    "2011). A net reclassification index without categories is not given, as it also rises for useless markers "
    "(Hilden and Gerds 2014; Pepe 2015)."
)
WORDS = {"image": "image", "facts": "clinical facts", "radiomics": "radiomics"}


def _fill(source: RunSource) -> Filled | None:
    compared = source.comparison
    if compared is None or compared.stale:
        return None
    found = [table for table in compared.found.fusion if table.image == source.report.run]
    if not found:
        return None
    blocks: list[Block] = []
    for table in found:
        suffix = slug(table.test_set)
        blocks += [Heading(group_title(table.test_set))] if len(found) > 1 else []
        blocks += [Text(text, "lead") for text in table.words]
        blocks += [
            ShownTable(f"facts-{suffix}", subset_table(table), small=True),
            ShownTable(f"facts-added-{suffix}", added_table(table), small=True),
            ShownFigure(
                f"facts-decision-{suffix}",
                _caption(table),
                partial(decision_lines, table, source.content.marks),
            ),
        ]
    return Filled(
        blocks=blocks,
        methods=(("Clinical facts", METHOD),),
        evidence={"facts": Evidence("added value of clinical facts", "#facts; tables/facts-*.csv")},
        data=[plain_json(table) for table in found],
    )


FACTS = Section(
    id="facts",
    title="Clinical facts",
    level=3,
    fill=_fill,
    hint=(
        "It was not asked what age, sex and size add to the image: `nephroscope compare {study}` does, where "
        "cohort.csv has them."
    ),
)


def subset_table(found: FusionTable) -> Table:
    """A row for each subset of the parts."""
    columns: list[Column[SubsetRow]] = [
        Column("Parts", lambda row: _name(row.parts)),
        Column("AUC", lambda row: row.auc),
        Column("Brier score", lambda row: row.brier),
        Column("Calibration slope", lambda row: row.slope),
        Column("Calibration intercept", lambda row: row.intercept),
    ]
    return build_table(f"{found.image}, clinical facts and radiomics: every subset", columns, found.rows)


def added_table(found: FusionTable) -> Table:
    """A row for each part that is added to others."""
    columns: list[Column[AddedValue]] = [
        Column("Added", lambda row: WORDS[row.added]),
        Column("To", lambda row: _name(row.to)),
        Column("Likelihood ratio", lambda row: f"{row.statistic:.2f}"),
        Column("Columns", lambda row: row.df),
        Column("p", lambda row: "-" if row.p is None else p_words(row.p).removeprefix("p ")),
        Column("Difference of AUC", lambda row: row.difference),
    ]
    notes = tuple(dict.fromkeys(row.test for row in found.added))
    return build_table("What each part adds", columns, found.added, notes)


def _name(parts: tuple[str, ...]) -> str:
    return " + ".join(WORDS[part] for part in parts)


def _caption(table: FusionTable) -> str:
    return (
        "Net benefit of acting on the probability of each subset, over the threshold from which one would act; 0 is "
        f"acting on nobody. {table.n_cases} cases of {table.n_patients} patients; intervals are in report.json."
    )


def decision_lines(table: FusionTable, marks: tuple[str, ...]) -> Figure:
    """Decision curves of image, facts, both, and all parts."""
    wanted = [("image",), ("facts",), ("image", "facts"), ("image", "facts", "radiomics")]
    rows = [row for row in table.rows if row.parts in wanted]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.9, 4.3), layout="constrained")
        axes = figure.subplots()
        highest = 0.1
        for row, color, style in zip(rows, COLORS, ("-", "--", "-", "-."), strict=False):
            y = [math.nan if value is None else value for value in row.decision.net_benefit]
            highest = max(highest, *(value for value in y if math.isfinite(value)))
            axes.plot(row.decision.thresholds, y, style, color=color, lw=1.6, label=_name(row.parts))
        axes.axhline(0, color=INK, lw=0.9, label="call none positive")
        axes.set(xlim=(0, 1), ylim=(-0.1, 1.15 * highest))
        axes.set(xlabel="Threshold probability", ylabel="Net benefit per case")
        axes.set_title(with_marks("Decision curves", marks))
        figure.legend(loc="outside lower center", fontsize=8, ncols=2)
    return figure

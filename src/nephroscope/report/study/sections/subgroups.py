"""Section Subgroups: AUC and accuracy of each subgroup, and its difference from all other cases."""

from dataclasses import replace

import matplotlib as mpl
from matplotlib.figure import Figure

from nephroscope.questions.evaluation.subgroups import Subgroup
from nephroscope.records import Estimate, counted_noun, p_words
from nephroscope.report.page.drawing import COLORS, GRID, INK, QUIET, STYLE
from nephroscope.report.page.names import group_name, group_title, slug, with_marks
from nephroscope.report.page.section import Block, Filled, Section, ShownFigure, ShownTable, Text
from nephroscope.report.page.table import Cell, Column, Table, build_table
from nephroscope.report.study.appraisal import GroupAppraisal, RunSource
from nephroscope.report.study.content import ReportContent


def _fill(source: RunSource) -> Filled:
    content, blocks = source.content, list[Block]()
    for group in source.report.groups:
        if group.name in source.appraisal.groups:
            blocks += _of_group(content, source.appraisal.groups[group.name], group.n_patients)
    return Filled(blocks=blocks or [Text("No subgroup has figures.", "empty")])


SUBGROUPS = Section(id="subgroups", title="Subgroups", navigation="Subgroups", fill=_fill)


def _of_group(content: ReportContent, group: GroupAppraisal, n_patients: int) -> list[Block]:
    name = f"subgroups-{slug(group.name)}"
    table = ShownTable(name, subgroup_rows(group), small=True)
    if not group.has_subgroups:
        few = (
            f"{group_title(group.name)}: {counted_noun(n_patients, 'patient')}; no subgroup has enough "
            f"patients of each subtype for a figure; tables/{name}.csv lists the subgroups."
        )
        return [Text(few, "empty"), *([replace(table, shown="file")] if group.subgroups else [])]
    blocks: list[Block] = [table]
    if _with_auc(group):
        caption = "AUC by case of every subgroup that is large enough, with its interval."
        blocks.insert(0, ShownFigure(name, caption, lambda: forest(content, group)))
    return blocks


def subgroup_rows(group: GroupAppraisal) -> Table:
    """Every subgroup with its figures, and its difference from all other cases."""
    columns: list[Column[Subgroup]] = [
        Column("Subgroup", lambda s: f"{s.attribute}: {s.value}"),
        Column("Patients", _patients),
        Column("AUC", lambda s: s.figures.get("auc")),
        Column("Accuracy", lambda s: s.figures.get("accuracy")),
        Column("Gap in AUC to the others", lambda s: s.gaps.get("auc")),
        Column("p", _p),
    ]
    note = (
        "A wide interval does not mean that the model works equally well in both groups; there are too few cases "
        "to tell."
    )
    return build_table(f"Subgroups, {group_name(group.name)}", columns, group.subgroups, [note])


def _patients(subgroup: Subgroup) -> Cell:
    return Cell(
        f"{subgroup.n_patients}", ", ".join(f"{n} {name}" for name, n in subgroup.n_by_subtype.items())
    )


def _p(subgroup: Subgroup) -> Cell | None:
    if subgroup.p is None:
        return None
    return Cell(p_words(subgroup.p), "" if subgroup.p_holm is None else f"Holm {p_words(subgroup.p_holm)}")


def forest(content: ReportContent, group: GroupAppraisal) -> Figure:
    """AUC of every subgroup with its interval; the line is that of all cases."""
    rows = _with_auc(group)
    whole = next(g for g in content.main.report.groups if g.name == group.name).case["auc"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.2, 0.9 + 0.24 * len(rows)), layout="constrained")
        axes = figure.subplots()
        if whole.value is not None:
            axes.axvline(whole.value, color=COLORS[0], lw=1)
        axes.axvline(0.5, color=GRID, lw=1)
        for y, (_, e) in enumerate(rows):
            axes.plot([e.low or 0, e.high or 0], [y, y], color=QUIET, lw=1.2)
            axes.plot(e.value or 0, y, "s", color=INK, ms=4.5)
            axes.text(1.04, y, e.interval(".2f"), va="center", fontsize=8)
        axes.set_yticks(range(len(rows)), [label for label, _ in rows])
        axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), xlabel="AUC by case; blue: all cases")
        axes.set_title(with_marks("Subgroups", content.marks))
        axes.tick_params(axis="y", length=0)
    return figure


def _with_auc(group: GroupAppraisal) -> list[tuple[str, Estimate]]:
    return [
        (f"{s.attribute}: {s.value} (n = {s.n_cases})", s.figures["auc"])
        for s in group.subgroups
        if s.figures["auc"].value is not None and s.figures["auc"].low is not None
    ]

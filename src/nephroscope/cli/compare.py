"""The command compare: baselines, networks and their stack on the same folds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from nephroscope.cli.command import (
    Command,
    CountOption,
    NamesOption,
    NumberOption,
    Outcome,
    StudyPath,
    Switch,
    TextOption,
    table,
)
from nephroscope.records import counted_noun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nephroscope.questions.compare.comparison import Comparison
    from nephroscope.questions.compare.results import ComparisonDocument, RankedLearner
    from nephroscope.report.page.table import Table

SomeNames = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")]
TEMPERED = "tempered: by one temperature per fold, chosen on its validation part; not used in ranks and pairs"
FIGURES = {
    "auc": "AUC",
    "auc_by_fold": "AUC, mean of folds",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "brier": "brier",
}


@dataclass(frozen=True, kw_only=True)
class Compare(Command):
    """Rank baselines, trained networks and a stacked combination of them on the same folds, with paired tests.

    Also runs a control with shuffled labels, and tests how well vendor, sex, site, phase and the CT grid alone
    predict the subtype. Each result is saved in the folder comparison/ of the study;
    if interrupted, run it again to continue.

    Example: nephroscope compare my-study --train mobilenet_v2 --repeats 10 --jobs 4
    """

    study: StudyPath
    """Study folder; slices must be cut."""
    candidates: SomeNames = None
    """Baselines to compare; by default all for which the study has the data."""
    runs: SomeNames = None
    """Trained runs to compare; by default all those on the current folds."""
    train: NamesOption = ()
    """Networks to train first if not yet trained on these folds; they are retrained for --repeats and --seeds."""
    repeats: int = 1
    """Number of times to divide the patients, first as in splits.json; of the networks, only those in --train."""
    seeds: int = 1
    """Number of times to fit on the same folds, each with a different random seed."""
    permutations: int = 20
    """Number of label permutations in the control; a quarter as many for slow candidates."""
    no_control: Switch = False
    """Skip the control with shuffled labels."""
    control_networks: Switch = False
    """Also train the networks of --train on shuffled labels, three times."""
    primary: NamesOption = ()
    """The main pair, named before any result is seen (or in study.toml): first against second, by its own p."""
    margin: NumberOption = None
    """Loss of AUC that would not matter: is the first of the main pair at most so much worse than the second?"""
    jobs: CountOption = None
    """Number of processes on this machine; by default one, and for --train as many as cores and memory allow."""
    ray: TextOption = None
    """Address of a Ray cluster to use instead, or auto; every machine must see the study under the same path."""
    seed: int = 0
    """Random seed of the whole comparison."""
    details: Switch = False
    """Also print pairs, calibration, repeats, the control and the shortcuts."""

    def run(self) -> Outcome:
        """Compare."""
        from nephroscope.facade.study import Study
        from nephroscope.learning.engine.workers import Workers
        from nephroscope.questions.compare.comparison import ComparePlan

        workers = None
        if self.jobs is not None or self.ray:
            workers = Workers(jobs=1 if self.jobs is None else self.jobs, ray=self.ray)
        plan = ComparePlan(
            candidates=self.candidates,
            runs=self.runs,
            repeats=self.repeats,
            seeds=self.seeds,
            permutations=0 if self.no_control else self.permutations,
            control_networks=self.control_networks,
            primary=self.primary,
            margin=self.margin,
            seed=self.seed,
            workers=workers,
        )
        found = Study(self.study).compare(plan, self.train)
        return Outcome(data=found.content, text=comparison_text(found, self.details))


def comparison_text(comparison: "Comparison", details: bool = False) -> str:
    """The answer and the ranks of every test set, warnings, and what was left out; with ``details`` all of it."""
    found = comparison.found
    lines = [f"{'SYNTHETIC: ' if found.synthetic else ''}{found.first.answer}", ""]
    for name in found.groups:
        lines += [*_ranks(name, found), ""]
    lines += [f"{one.test_set}, {one.image}: {text}" for one in found.fusion for text in one.words]
    lines += _phases(found)
    lines += _details(found) if details else [row.words for row in found.control if row.alarm]
    lines += [f"{f.severity} [{f.code}]: {f.message}" for f in found.findings]
    lines += [f"not compared: {row.name}: {row.reason}" for row in found.not_compared]
    lines += [f"not ranked: {row.name}: {row.reason}" for row in found.leaky]
    lines += [] if details else ["pairs, calibration, control with shuffled labels, shortcuts: --details"]
    lines.append(f"wrote {comparison.path}")
    return "\n".join(lines)


def _phases(found: "ComparisonDocument") -> list[str]:
    """AUC of networks of several phases by subset of phases, and all against the best one."""
    lines = []
    for one in found.phases:
        rows = [[" + ".join(row.phases), str(row.n_cases), row.auc.interval()] for row in one.rows]
        lines += [f"{one.name}, {one.test_set}:", table(rows, ("shown", "cases", "AUC"))]
        lines += [one.all_against_best.words] if one.all_against_best else []
    return lines


def _ranks(name: str, found: "ComparisonDocument") -> list[str]:
    """The ranks of one test set, and what must be known of each candidate."""
    ranks = found.groups[name]
    mark = " | SYNTHETIC" if found.synthetic else ""
    counts = f"{counted_noun(ranks.n_cases, 'case')} of {counted_noun(ranks.n_patients, 'patient')}"
    rows = [[c.rank or "-", c.name, *(c.figures[f].interval() for f in FIGURES)] for c in ranks.candidates]
    lines = [f"{name}: {counts}, positive {found.positive}{mark}"]
    lines.append(table(rows, ["rank", "candidate", *FIGURES.values()]))
    return [*lines, *(f"{c.name}: {remark}" for c in ranks.candidates for remark in c.remarks)]


def _details(found: "ComparisonDocument") -> list[str]:
    """Everything else, in the tables of the report."""
    from nephroscope.report.study.sections.comparison import comparison_tables
    from nephroscope.report.study.sections.control import control_table
    from nephroscope.report.study.sections.facts import added_table, subset_table
    from nephroscope.report.study.sections.shortcuts import shortcut_table

    shown = {
        name: one for name, one in comparison_tables(found).items() if name.startswith(("pairs", "repeats"))
    }
    lines = [line for one in shown.values() if one.rows for line in _shown(one)]
    for name, ranks in found.groups.items():
        conclusions = (
            ranks.words[1:] if name == found.test_set else ranks.words
        )  # the answer is printed on top
        lines += [*conclusions, "", *_calibration(ranks.candidates), ""]
    network = next((row.name for row in found.first.candidates if row.kind == "network"), "")
    if found.control:
        lines += [
            *_shown(control_table(found.control, found.first.n_cases)),
            *(row.words for row in found.control),
        ]
    for one in found.fusion:
        lines += [*_shown(subset_table(one)), *_shown(added_table(one))]
    return [*lines, "", *_shown(shortcut_table(found.shortcuts, network)), *found.shortcuts.words, ""]


def _shown(one: "Table") -> list[str]:
    header, *rows = one.texts
    notes = [note[3:] if note[1:3] == ": " else note for note in one.notes]  # no letters in these cells
    return [f"{one.caption}:", table(rows, header), *notes, ""]


def _calibration(rows: "Sequence[RankedLearner]") -> list[str]:
    """Slope and intercept of every candidate, and the slope after temperature scaling within the folds."""
    cells = []
    for row in rows:
        found = row.calibration
        after = [found.inside.slope.interval(), found.inside.brier.interval()] if found.inside else ["-", "-"]
        cells.append([row.name, found.slope.interval(), found.intercept.interval(), *after])
    lines = ["calibration, ideal at slope 1 and intercept 0 (slope below 1: overconfident):"]
    lines.append(table(cells, ("candidate", "slope", "intercept", "slope, tempered", "Brier, tempered")))
    slopes = {row.name: row.calibration.slope for row in rows}
    lines += [f"{name}, slope: {slope.method}" for name, slope in slopes.items() if slope.value is None]
    if any(row.calibration.inside for row in rows):
        return [*lines, TEMPERED]
    return [*lines, next(row.calibration.inside_told for row in rows)]

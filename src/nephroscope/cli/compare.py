"""The command compare: baselines, networks and their stack on the same folds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from nephroscope.cli.command import Command, NamesOption, Outcome, StudyPath, Switch, TextOption, table
from nephroscope.records import counted_noun, p_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nephroscope.questions.compare.comparison import Comparison
    from nephroscope.questions.compare.results import (
        ComparisonDocument,
        Control,
        Pair,
        RankedLearner,
        Repeated,
        Shortcuts,
    )

SomeNames = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")]
PAIR_HEADER = (
    *("pair", "difference of AUC", "p", "p, Holm"),
    *("supported", "only one correct", "McNemar p", "p, Holm"),
)
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
    """The main pair, named before any result is seen: first against second, by its own p without correction."""
    jobs: int = 1
    """Number of processes on this machine."""
    ray: TextOption = None
    """Address of a Ray cluster to use instead, or auto; every machine must see the study under the same path."""
    seed: int = 0
    """Random seed of the whole comparison."""

    def run(self) -> Outcome:
        """Compare."""
        from nephroscope.facade.study import Study
        from nephroscope.learning.engine.workers import Workers
        from nephroscope.questions.compare.comparison import ComparePlan

        plan = ComparePlan(
            candidates=self.candidates,
            runs=self.runs,
            repeats=self.repeats,
            seeds=self.seeds,
            permutations=0 if self.no_control else self.permutations,
            control_networks=self.control_networks,
            primary=self.primary,
            seed=self.seed,
            workers=Workers(jobs=self.jobs, ray=self.ray),
        )
        found = Study(self.study).compare(plan, self.train)
        return Outcome(data=found.content, text=comparison_text(found))


def comparison_text(comparison: "Comparison") -> str:
    """The comparison as sentences and tables, the answer first."""
    found = comparison.found
    lines = [f"{'SYNTHETIC: ' if found.synthetic else ''}{found.first.answer}", ""]
    for name in found.groups:
        lines += _test_set(name, found)
    for part in (_repeated(found.repeated), _control(found.control), _shortcuts(found.shortcuts)):
        lines += [*part, ""] if part else []
    lines += [f"not compared: {row.name}: {row.reason}" for row in found.not_compared]
    lines += [f"not ranked: {row.name}: {row.reason}" for row in found.leaky]
    lines.append(f"wrote {comparison.path}")
    return "\n".join(lines)


def _test_set(name: str, found: "ComparisonDocument") -> list[str]:
    """One test set: ranks, pairs, conclusions, calibration."""
    ranks = found.groups[name]
    mark = " | SYNTHETIC" if found.synthetic else ""
    counts = f"{counted_noun(ranks.n_cases, 'case')} of {counted_noun(ranks.n_patients, 'patient')}"
    rows = [[c.rank or "-", c.name, *(c.figures[f].interval() for f in FIGURES)] for c in ranks.candidates]
    lines = [f"{name}: {counts}, positive {found.positive}{mark}"]
    lines.append(table(rows, ["rank", "candidate", *FIGURES.values()]))
    lines += [f"{c.name}: {remark}" for c in ranks.candidates for remark in c.remarks]
    conclusions = ranks.words[1:] if name == found.test_set else ranks.words  # the answer is printed on top
    return [*lines, "", *_pairs(ranks.pairwise), *conclusions, "", *_calibration(ranks.candidates), ""]


def _pairs(pairs: "Sequence[Pair]") -> list[str]:
    """A row per pair: AUCs and calls, each with p alone and p corrected for all pairs."""
    if not pairs:
        return []
    rows = [
        [
            *(f"{pair.one}, {pair.two}", pair.difference.interval(), _p(pair.p), _p(pair.p_holm)),
            "yes" if pair.supported else "no",
            f"{pair.accuracy.only_one_right}, {pair.accuracy.only_two_right}",
            *(_p(pair.accuracy.p), _p(pair.accuracy.p_holm)),
        ]
        for pair in pairs
    ]
    tests = "; ".join(dict.fromkeys(pair.test for pair in pairs))
    no_test = dict.fromkeys(pair.accuracy.test for pair in pairs if pair.accuracy.p is None)
    return [f"pairs, first minus second (AUC: {tests}):", table(rows, PAIR_HEADER), *no_test, ""]


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


def _repeated(rows: "Sequence[Repeated]") -> list[str]:
    if not rows:
        return []
    header = ["candidate", "mean AUC", "SD over divisions (number)", "SD over seeds (number)", "refused"]
    cells = [
        [
            *(r.name, r.auc.interval()),
            "-" if r.sd_over_splits is None else f"{r.sd_over_splits:.3f} ({r.sd_over_splits_n})",
            "-" if r.sd_over_seeds is None else f"{r.sd_over_seeds:.3f} ({r.sd_over_seeds_n})",
            len(r.refused),
        ]
        for r in rows
    ]
    return ["repeated:", table(cells, header), *_refused(rows)]


def _control(rows: "Sequence[Control]") -> list[str]:
    if not rows:
        return []
    header = [
        "candidate",
        "permutations",
        "refused",
        "mean AUC",
        "mean of folds",
        "range",
        "AUC, true labels",
    ]
    cells = [
        [
            *(r.name, r.permutations, len(r.refused), r.auc.interval(), _number(r.auc_by_fold)),
            "-" if r.lowest is None else f"{r.lowest:.3f} to {r.highest:.3f}",
            _number(r.observed),
            f"{'<= ' if r.p is not None and r.p == r.p_floor else ''}{_p(r.p)}",
        ]
        for r in rows
    ]
    head = "control with shuffled labels (AUCs over the permutations):"
    return [head, table(cells, [*header, "p"]), *(row.words for row in rows), *_refused(rows)]


def _refused(rows: "Sequence[Repeated | Control]") -> list[str]:
    return [f"{r.name}: refused: {why}" for r in rows for why in dict.fromkeys(r.refused)]


def _shortcuts(found: "Shortcuts") -> list[str]:
    cells = [
        [row.name, row.auc.interval(), "; ".join(filter(None, [row.how, row.auc.method]))]
        for row in found.facts
    ]
    return ["facts other than the tumor:", table(cells, ["fact", "AUC alone", "how"]), *found.words]


def _p(p: float | None) -> str:
    return "-" if p is None else p_words(p)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

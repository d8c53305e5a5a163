"""The command compare: baselines, networks and their stack on the same folds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from nephroscope.cli.command import Command, NamesOption, Outcome, StudyPath, Switch, TextOption, table
from nephroscope.records import Estimate, counted_noun, p_words

if TYPE_CHECKING:
    from nephroscope.questions.compare.comparison import Comparison

SomeNames = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")]
FIGURES = {
    "auc": "AUC",
    "auc_by_fold": "AUC, mean of folds",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "brier": "brier",
}


@dataclass(frozen=True, kw_only=True)
class Compare(Command):
    """Rank baselines, trained networks and their out-of-fold stack on the same folds, with paired tests.

    Also runs a control with shuffled labels, and tests how well vendor, sex, site, phase and the CT grid alone
    predict the subtype. Each result is saved in comparison/ of the study, so an interrupted comparison continues.

    Example: nephroscope compare my-study --train mobilenet_v2 --repeats 10 --jobs 4
    """

    study: StudyPath
    """Study folder; slices must be cut."""
    candidates: SomeNames = None
    """Baselines; by default all that the data of the study allow."""
    runs: SomeNames = None
    """Trained runs; by default all on the current folds."""
    train: NamesOption = ()
    """Networks to train first if they have no run on these folds, and again for --repeats and --seeds."""
    repeats: int = 1
    """Number of divisions of the patients, splits.json first; of the networks only those of --train."""
    seeds: int = 1
    """Number of random seeds for fits on the same folds."""
    permutations: int = 20
    """Number of label permutations in the control; slow candidates get a quarter."""
    no_control: Switch = False
    """Skip the control with shuffled labels."""
    control_networks: Switch = False
    """Train the networks of --train on shuffled labels too, three times."""
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
            seed=self.seed,
            workers=Workers(jobs=self.jobs, ray=self.ray),
        )
        found = Study(self.study).compare(plan, self.train)
        return Outcome(data=found.content, text=comparison_text(found))


def comparison_text(found: "Comparison") -> str:
    """The comparison as sentences and tables, the answer first."""
    content = found.content
    lines = [f"{'SYNTHETIC: ' if content['synthetic'] else ''}{content['answer']}", ""]
    for name, group in content["groups"].items():
        lines += _group(name, group, content)
    for key, lines_of in (("repeated", _repeated), ("control", _control), ("shortcuts", _shortcuts)):
        if content[key]:
            lines += [*lines_of(content[key]), ""]
    lines += [f"not compared: {row['name']}: {row['reason']}" for row in content["not_compared"]]
    lines += [f"not ranked: {row['name']}: {row['reason']}" for row in content["leaky"]]
    lines.append(f"wrote {found.path}")
    return "\n".join(lines)


def _group(name: str, group: dict[str, Any], content: dict[str, Any]) -> list[str]:
    """One test set: ranks, pairs, conclusions, calibration."""
    mark = " | SYNTHETIC" if content["synthetic"] else ""
    head = f"{name}: {_counted(group)}, positive {content['positive']}"
    rows = [[c["rank"] or "-", c["name"], *(_cell(c[f]) for f in FIGURES)] for c in group["candidates"]]
    lines = [head + mark, table(rows, ["rank", "candidate", *FIGURES.values()])]
    lines += [f"{c['name']}: {remark}" for c in group["candidates"] for remark in c.get("remarks", ())]
    words = (
        group["words"][1:] if name == content["test_set"] else group["words"]
    )  # the answer is printed on top
    return [*lines, "", *_pairs(group["pairwise"]), *words, "", *_calibration(group["candidates"]), ""]


def _counted(group: dict[str, Any]) -> str:
    return f"{counted_noun(group['n_cases'], 'case')} of {counted_noun(group['n_patients'], 'patient')}"


def _pairs(pairs: list[dict[str, Any]]) -> list[str]:
    """A row per pair: AUCs and calls, each with p alone and p corrected for all pairs."""
    if not pairs:
        return []
    rows = [
        [
            f"{pair['one']}, {pair['two']}",
            _cell(pair["difference"]),
            _p(pair["p"]),
            _p(pair["p_holm"]),
            "yes" if pair["supported"] else "no",
            f"{pair['accuracy']['only_one_right']}, {pair['accuracy']['only_two_right']}",
            _p(pair["accuracy"]["p"]),
            _p(pair["accuracy"]["p_holm"]),
        ]
        for pair in pairs
    ]
    header = (
        "pair",
        "difference of AUC",
        "p",
        "p, Holm",
        "supported",
        "only one correct",
        "McNemar p",
        "p, Holm",
    )
    tests = dict.fromkeys(pair["test"] for pair in pairs)
    lines = [f"pairs, first minus second (AUC: {'; '.join(tests)}):", table(rows, header)]
    why = dict.fromkeys(pair["accuracy"]["test"] for pair in pairs if pair["accuracy"]["p"] is None)
    return [*lines, *why, ""]


def _calibration(rows: list[dict[str, Any]]) -> list[str]:
    """Slope and intercept of every candidate, and the slope after temperature scaling within the folds."""
    cells = []
    for row in rows:
        found = row["calibration"]
        inside = found["inside"]
        after = [_cell(inside["slope"]), _cell(inside["brier"])] if inside else ["-", "-"]
        cells.append([row["name"], _cell(found["slope"]), _cell(found["intercept"]), *after])
    header = ("candidate", "slope", "intercept", "slope, tempered", "Brier, tempered")
    lines = [
        "calibration, ideal at slope 1 and intercept 0 (slope below 1: overconfident):",
        table(cells, header),
    ]
    lines += [
        f"{row['name']}, slope: {row['calibration']['slope']['method']}"
        for row in rows
        if row["calibration"]["slope"]["value"] is None
    ]
    note = "tempered: by one temperature per fold, chosen on its validation part; not used in ranks and pairs"
    if not any(row["calibration"]["inside"] for row in rows):
        note = next(row["calibration"]["inside_told"] for row in rows)
    return [*lines, note]


def _repeated(rows: list[dict[str, Any]]) -> list[str]:
    header = [
        "candidate",
        "mean AUC",
        "SD over divisions (number)",
        "SD over seeds (number)",
        "refused",
    ]
    cells = [
        [
            r["name"],
            _cell(r["auc"]),
            _of(r["sd_over_splits"], r["sd_over_splits_n"]),
            _of(r["sd_over_seeds"], r["sd_over_seeds_n"]),
            len(r["refused"]),
        ]
        for r in rows
    ]
    refused = [f"{r['name']}: refused: {why}" for r in rows for why in dict.fromkeys(r["refused"])]
    return ["repeated:", table(cells, header), *refused]


def _control(rows: list[dict[str, Any]]) -> list[str]:
    header = ["candidate", "permutations", "refused", "mean AUC", "mean of folds", "range"]
    cells = [
        [
            r["name"],
            r["permutations"],
            len(r["refused"]),
            _cell(r["auc"]),
            _sd(r["auc_by_fold"]),
            "-" if r["lowest"] is None else f"{r['lowest']:.3f} to {r['highest']:.3f}",
            _sd(r["observed"]),
            _permutation_p(r),
        ]
        for r in rows
    ]
    refused = [f"{r['name']}: refused: {why}" for r in rows for why in dict.fromkeys(r["refused"])]
    head = "control with shuffled labels (AUCs over the permutations):"
    return [head, table(cells, [*header, "AUC, true labels", "p"]), *(row["words"] for row in rows), *refused]


def _permutation_p(row: dict[str, Any]) -> str:
    """The permutation p of a row of the control; <= where more permutations could give a smaller p."""
    p = row["p"]
    if p is None:
        return "-"
    return f"<= {p_words(p)}" if p == row["p_floor"] else p_words(p)


def _shortcuts(probe: dict[str, Any]) -> list[str]:
    cells = [
        [row["name"], _cell(row["auc"]), "; ".join(filter(None, [row["how"], row["auc"]["method"]]))]
        for row in probe["facts"]
    ]
    return ["facts other than the tumor:", table(cells, ["fact", "AUC alone", "how"]), *probe["words"]]


def _cell(estimate: dict[str, Any]) -> str:
    return Estimate(**estimate).interval()


def _of(value: float | None, n: int) -> str:
    return "-" if value is None else f"{value:.3f} ({n})"


def _p(p: float | None) -> str:
    return "-" if p is None else p_words(p)


def _sd(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
